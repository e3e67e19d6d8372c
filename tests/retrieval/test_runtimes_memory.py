"""Batches that do not fit into memory, for real: a process whose address space ends shortly above what it has taken."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
import numpy as np
from retrieval.encoders import load_encoder

texts = [f"{number} " + "word " * 250 for number in range(240)]
expected = load_encoder("embedded").encode_passages(texts[::24])
encoder = load_encoder("embedded", runtime=sys.argv[1], batch_tokens=60_000)
encoder.encode_passages(texts[:16])  # long enough for all threads: each takes memory of its own when it first works
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + 700 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
found = encoder.encode_passages(texts)
print(np.abs(found[::24] - expected).max() < 1e-5)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="address spaces are limited on Linux")
@pytest.mark.parametrize("threads", [1, 2])  # OpenVINO gives nothing back with one thread, and an error with two
@pytest.mark.parametrize("runtime", ["torch", "onnx", "openvino"])
def test_a_batch_that_memory_does_not_hold_is_split(runtime, threads):
    for module in {"torch": (), "onnx": ("onnxruntime", "onnxscript"), "openvino": ("openvino", "onnxscript")}[runtime]:
        pytest.importorskip(module)
    command = [sys.executable, "-X", "faulthandler", "-c", SCRIPT, runtime]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    for _ in range(3):  # the C library ends a process where it finds no bytes for itself, which no caller can prevent
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if done.returncode in (0, 1):
            break
    assert (done.returncode, done.stdout.strip()) == (0, "True"), done.stderr
    assert "does not fit into memory" in done.stderr
    assert "it is run again in halves" in done.stderr
