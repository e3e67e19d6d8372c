from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from retrieval import staging as staging_module
from retrieval.encoders import FunctionEncoder
from retrieval.staging import Staging, passage_hash, passage_hashes, staging_key

KEY = {"identity": {"name": "x"}, "precision": "fp32"}


def vectors_of(texts) -> np.ndarray:
    return np.array([[len(text), sum(map(ord, text)), 1] for text in texts], np.float32).reshape(-1, 3)


def stage(staging: Staging, texts) -> None:
    staging.add(passage_hashes(texts), vectors_of(texts))


def blocks(directory: Path) -> list[Path]:
    return sorted(directory.glob("*/*.safetensors"))


def test_hash_is_of_the_text():
    assert passage_hash("a") != passage_hash("b")
    assert passage_hash("a") == passage_hashes(["b", "a"])[1].tobytes()
    assert len(passage_hash("\ud800")) == 16
    assert passage_hashes([]).shape == (0, 16)


@settings(max_examples=40)
@given(st.lists(st.lists(st.text(max_size=3), max_size=6), max_size=6), st.lists(st.text(max_size=3), max_size=12))
def test_finds_what_was_added(tmp_path_factory, added, wanted):
    staging = Staging(tmp_path_factory.mktemp("staging"), KEY, 3)
    for number, texts in enumerate(added):
        stage(staging, texts)
        if number % 2:
            staging.flush()
    present = {text for texts in added for text in texts}
    found, vectors = staging.find(passage_hashes(wanted))
    assert found.tolist() == [text in present for text in wanted]
    np.testing.assert_array_equal(vectors, vectors_of([text for text in wanted if text in present]))


def test_another_process_goes_on(tmp_path):
    staging = Staging(tmp_path, KEY, 3)
    stage(staging, ["a", "b"])
    staging.flush()
    stage(staging, ["c"])
    staging.flush()
    stage(staging, ["lost"])  # never written
    again = Staging(tmp_path, KEY, 3)
    found, vectors = again.find(passage_hashes(["c", "lost", "a"]))
    assert found.tolist() == [True, False, True]
    np.testing.assert_array_equal(vectors, vectors_of(["c", "a"]))
    assert len(again) == 3


def test_nothing_is_written_before_it_is_due(tmp_path, monkeypatch):
    staging = Staging(tmp_path / "staging", KEY, 3)
    stage(staging, ["a"])
    assert not (tmp_path / "staging").exists()
    now = staging_module.time.monotonic()
    monkeypatch.setattr(staging_module.time, "monotonic", lambda: now + staging_module.BLOCK_SECONDS)
    stage(staging, ["b"])
    assert len(blocks(tmp_path / "staging")) == 1
    assert len(Staging(tmp_path / "staging", KEY, 3)) == 2


@pytest.mark.parametrize("step", [1.0, 7.0, 14.0])
def test_no_more_than_the_seconds_of_a_block_are_lost(tmp_path, monkeypatch, step):
    """Steps of encoding of equal length: at no moment is more work than that not durable."""
    now = [1000.0]
    monkeypatch.setattr(staging_module.time, "monotonic", lambda: now[0])
    staging = Staging(tmp_path, KEY, 3)
    n_blocks, durable_at = 0, now[0]
    for number in range(60):
        now[0] += step
        assert now[0] - durable_at <= staging_module.BLOCK_SECONDS
        stage(staging, [str(number)])
        if len(blocks(tmp_path)) > n_blocks:
            n_blocks, durable_at = len(blocks(tmp_path)), now[0]
    assert n_blocks <= 60 * step / (staging_module.BLOCK_SECONDS - 2 * step) + 1  # and not at every step


def test_a_block_is_written_when_it_is_large(tmp_path, monkeypatch):
    monkeypatch.setattr(staging_module, "BLOCK_BYTES", 24)
    staging = Staging(tmp_path, KEY, 3)
    stage(staging, ["a"])
    assert not blocks(tmp_path)
    stage(staging, ["b"])
    assert len(blocks(tmp_path)) == 1


def test_a_block_can_be_read_by_others(tmp_path):
    staging = Staging(tmp_path, KEY, 3)
    stage(staging, ["a", "b"])
    staging.flush()
    tensors = load_file(blocks(tmp_path)[0])
    np.testing.assert_array_equal(tensors["vectors"], vectors_of(["a", "b"]))
    np.testing.assert_array_equal(tensors["hashes"], passage_hashes(["a", "b"]))


@pytest.mark.parametrize("damage", ["cut", "changed", "renamed", "temporary", "empty"])
def test_damaged_blocks_are_removed_and_the_others_kept(tmp_path, damage):
    staging = Staging(tmp_path, KEY, 3)
    stage(staging, ["a"])
    staging.flush()
    (whole,) = blocks(tmp_path)
    stage(staging, ["b"])
    staging.flush()
    (victim,) = set(blocks(tmp_path)) - {whole}
    content = victim.read_bytes()
    if damage == "cut":
        victim.write_bytes(content[:-3])
    elif damage == "changed":
        victim.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "renamed":
        victim.rename(victim.with_name("0" * 64 + ".safetensors"))
    elif damage == "temporary":
        victim.rename(victim.with_suffix(".tmp"))
    else:
        victim.write_bytes(b"")
    again = Staging(tmp_path, KEY, 3)
    assert again.find(passage_hashes(["a", "b"]))[0].tolist() == [True, False]
    assert list(whole.parent.iterdir()) == [whole]


def test_vectors_that_do_not_fit_are_not_adopted(tmp_path):
    staging = Staging(tmp_path, KEY, 3)
    stage(staging, ["a"])
    staging.flush()
    assert len(Staging(tmp_path, KEY, 4)) == 0
    staging = Staging(tmp_path, KEY, 3)
    staging.add(passage_hashes(["a"]), np.array([[np.nan, 0, 0]], np.float32))
    staging.flush()
    assert len(Staging(tmp_path, KEY, 3)) == 0


def test_encoders_and_precisions_are_kept_apart(tmp_path):
    encoders = [
        FunctionEncoder(lambda texts: np.ones((len(texts), 3)), name, version=1, dimension=3) for name in ("one", "two")
    ]
    keys = [staging_key(encoder) for encoder in encoders] + [staging_key(encoders[0]) | {"precision": "bf16"}]
    for number, key in enumerate(keys):
        staging = Staging(tmp_path, key, 3)
        assert len(staging) == 0
        stage(staging, [str(number)])
        staging.flush()
    assert len(Staging.for_encoder(tmp_path, encoders[0])) == 1
    Staging.for_encoder(tmp_path, encoders[0]).clear()
    assert [len(Staging(tmp_path, key, 3)) for key in keys] == [0, 1, 1]


def test_clear_leaves_nothing(tmp_path):
    staging = Staging(tmp_path / "staging", KEY, 3)
    stage(staging, ["a"])
    staging.flush()
    staging.clear()
    assert not (tmp_path / "staging").exists()
    assert staging.find(passage_hashes(["a"]))[0].tolist() == [False]
    stage(staging, ["b"])
    staging.flush()
    assert len(Staging(tmp_path / "staging", KEY, 3)) == 1


_WRITER = """
import sys
from pathlib import Path
import numpy as np
from retrieval import staging
staging.BLOCK_BYTES = 4000
area = staging.Staging(Path(sys.argv[1]), {"identity": {"name": "x"}, "precision": "fp32"}, 3)
number = 0
while True:
    texts = [str(number + step) for step in range(100)]
    vectors = np.array([[len(text), sum(map(ord, text)), 1] for text in texts], np.float32)
    area.add(staging.passage_hashes(texts), vectors)
    number += 100
    print(number, flush=True)
"""


def test_a_killed_process_leaves_only_whole_blocks(tmp_path):
    writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert writer.stdout is not None
        for _ in range(20):
            added = int(writer.stdout.readline())
    finally:
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
    again = Staging(tmp_path, KEY, 3)
    texts = [str(number) for number in range(added)]
    found, vectors = again.find(passage_hashes(texts))
    kept = [text for text, inside in zip(texts, found.tolist(), strict=True) if inside]
    assert len(kept) >= added - 500
    np.testing.assert_array_equal(vectors, vectors_of(kept))


@pytest.mark.parametrize(
    "header",
    [
        '{"hashes": {"dtype": "U8", "shape": [Infinity, 16], "data_offsets": [0, 0]}}',
        '{"hashes": {"dtype": "U8", "shape": [0, 1e300], "data_offsets": [0, 0]}}',
        '{"hashes": {"dtype": "U8", "shape": [0, 16, 1], "data_offsets": [0, 0]}}',
        '{"hashes": {"dtype": "U8", "shape": [0, 16], "data_offsets": [0, NaN]}}',
        '{"hashes": 7}',
        "[7]",
        '"hashes"',
        "[" * 100_000,
    ],
)
def test_crafted_blocks_are_removed(tmp_path, header):
    staging = Staging(tmp_path, KEY, 3)
    stage(staging, ["a"])
    staging.flush()
    (whole,) = blocks(tmp_path)
    content = len(header).to_bytes(8, "little") + header.encode()
    crafted = whole.with_name(f"{hashlib.sha256(content).hexdigest()}.safetensors")
    crafted.write_bytes(content)
    assert len(Staging(tmp_path, KEY, 3)) == 1
    assert list(whole.parent.iterdir()) == [whole]


def test_a_block_of_nothing_is_no_obstacle(tmp_path):
    staging = Staging(tmp_path, KEY, 3)
    staging._hashes, staging._vectors = [np.empty((0, 16), np.uint8)], [np.empty((0, 3), np.float32)]
    staging.flush()
    assert Staging(tmp_path, KEY, 3).find(passage_hashes(["a"]))[0].tolist() == [False]
