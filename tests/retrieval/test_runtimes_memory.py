"""Batches that do not fit into memory, for real: a process whose address space ends shortly above what it has taken."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="address spaces are limited on Linux"),
]

PACKAGES = {"torch": (), "onnx": ("onnxruntime", "onnxscript"), "openvino": ("openvino", "onnxscript")}

LIMIT = """
import resource, sys
import numpy as np
from retrieval.encoders import load_encoder

def limit(more):
    pages = int(open("/proc/self/statm").read().split()[0])
    room = pages * resource.getpagesize() + more * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (room, room))
"""


def run(script: str, runtime: str, threads: int) -> subprocess.CompletedProcess[str]:
    """Run a script with a runtime, again where the C library ended it: it found no bytes for a thread's own variables,
    which no caller can prevent."""
    for module in PACKAGES[runtime]:
        pytest.importorskip(module)
    command = [sys.executable, "-X", "faulthandler", "-c", LIMIT + script, runtime]
    for _ in range(3):
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": str(threads)}
        )
        if "cannot allocate memory for thread-local data" not in done.stderr:
            break
    return done


SPLIT = """
texts = [f"{number} " + "word " * 250 for number in range(240)]
expected = load_encoder("embedded").encode_passages(texts[::24])
encoder = load_encoder("embedded", runtime=sys.argv[1], batch_tokens=60_000)
encoder.encode_passages(texts[:16])  # long enough for all threads: each takes memory of its own when it first works
limit(700)
found = encoder.encode_passages(texts)
print(np.abs(found[::24] - expected).max() < 1e-5)
"""


# OpenVINO gives nothing back with one thread, and an error with two (where the process may run on two processors).
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("runtime", PACKAGES)
def test_a_batch_that_memory_does_not_hold_is_split(runtime, threads):
    done = run(SPLIT, runtime, threads)
    assert (done.returncode, done.stdout.strip()) == (0, "True"), done.stderr
    assert "does not fit into memory" in done.stderr
    assert "it is run again in halves" in done.stderr


HALVES = """
words = "one two three four five six seven eight nine ten".split()
texts = [f"{one} {other} " + "word " * 250 for one in words for other in words[:6]]  # equally long
encoder = load_encoder("embedded", runtime=sys.argv[1], batch_tokens=60_000)
expected = encoder.encode_passages(texts[:30])
limit(100)
found = encoder.encode_passages(texts)
print(np.abs(found[:30] - expected).max() < 1e-5)
"""


@pytest.mark.parametrize("threads", [1, 2])
def test_halves_may_have_the_shape_of_the_batch_before(threads):
    done = run(HALVES, "openvino", threads)
    assert (done.returncode, done.stdout.strip()) == (0, "True"), done.stderr
    assert done.stderr.count("it is run again in halves") == 1, done.stderr
