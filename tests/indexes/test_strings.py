"""Strings on disk are read back as they were written, one by one and many at once; damage is named."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexes import strings
from indexes.array_writer import save_array
from indexes.arrays import ArrayFolder
from indexes.block_checksums import BLOCK
from indexes.errors import CorruptIndexError
from indexes.storage import seal
from indexes.strings import Strings, StringsWriter

MANY = 40  # more than are read one by one
TEXTS = st.lists(st.one_of(st.text(max_size=12), st.sampled_from(["", "\0", "a\0b", "é", "東京", "👾"])), min_size=1)


def write(directory, texts):
    with StringsWriter(directory, "s") as writer:
        writer.extend([text.encode() for text in texts])
    return Strings(ArrayFolder(directory), "s")


def save(directory, content, offsets):
    save_array(directory, "s-bytes", np.frombuffer(content, np.uint8))
    save_array(directory, "s-offsets", np.array(offsets, np.int64))
    return Strings(ArrayFolder(directory), "s")


@given(texts=TEXTS, data=st.data())
def test_some_are_those_that_were_written(tmp_path_factory, texts, data):
    stored = write(tmp_path_factory.mktemp("s"), texts)
    numbers = data.draw(st.lists(st.integers(0, len(texts) - 1), max_size=3 * MANY))
    assert stored.some(np.array(numbers, np.int64)) == [texts[number] for number in numbers]
    assert [stored[number] for number in numbers] == [texts[number] for number in numbers]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("x" * 5000, id="long"),
        pytest.param("", id="empty"),
        pytest.param("x\0", id="separator at the end"),
        pytest.param("\0", id="separator alone"),
    ],
)
def test_many_are_read_whatever_they_hold(tmp_path, text):
    texts = [f"before {number}" for number in range(MANY)] + [text] * MANY
    order = np.random.default_rng(0).permutation(len(texts))
    assert write(tmp_path, texts).some(order) == [texts[number] for number in order]


def test_more_than_are_decoded_together(tmp_path, monkeypatch):
    monkeypatch.setattr(strings, "_TOGETHER", 17)
    texts = [f"{number}é" for number in range(100)]
    numbers = np.arange(99, -1, -1)
    assert write(tmp_path, texts).some(numbers) == texts[::-1]


@pytest.mark.parametrize("repeats", [1, MANY])
@pytest.mark.parametrize("offsets", [[0, -1, 8], [0, 9, 8], [0, 1 << 62, 8]])
def test_places_outside_the_bytes_are_damage(tmp_path, offsets, repeats):
    stored = save(tmp_path, b"abcdefgh", offsets)
    for number in (0, 1):
        with pytest.raises(CorruptIndexError, match=r"file damaged: .*s-offsets\.npy or the bytes beside it"):
            stored.some(np.full(repeats, number))


@pytest.mark.parametrize("repeats", [1, MANY])
def test_strings_that_are_utf8_only_together_are_damage(tmp_path, repeats):
    content = b"a" + "é".encode()
    stored = save(tmp_path, content, [0, 2, 3])
    for numbers in ([0], [1], [0, 1]):
        with pytest.raises(CorruptIndexError, match=r"file damaged: .*s-offsets\.npy or the bytes beside it"):
            stored.some(np.tile(numbers, repeats))


def test_no_such_string(tmp_path):
    stored = write(tmp_path, ["a", "b"])
    with pytest.raises(IndexError):
        stored[2]
    for repeats in (1, MANY):
        with pytest.raises(IndexError):
            stored.some(np.full(repeats, 2))


@pytest.mark.parametrize("repeats", [1, MANY])
@pytest.mark.parametrize("file", ["s-bytes.npy", "s-offsets.npy"])
def test_what_is_read_is_compared_with_its_checksum_and_nothing_else(tmp_path, file, repeats):
    n, width = 50_000, 16
    texts = [f"{number:0{width}}" for number in range(n)]
    write(tmp_path, texts)
    seal(tmp_path)
    content = bytearray((tmp_path / file).read_bytes())
    damaged_block = 3
    content[damaged_block * BLOCK + BLOCK // 2] ^= 1
    (tmp_path / file).unlink()  # what is mapped elsewhere keeps its file
    (tmp_path / file).write_bytes(content)
    stored = Strings(ArrayFolder(tmp_path), "s")
    per_string = width if file == "s-bytes.npy" else 8
    inside = (damaged_block * BLOCK + BLOCK // 4) // per_string
    assert stored.some(np.full(repeats, 5)) == [texts[5]] * repeats
    assert stored.some(np.full(repeats, n - 1)) == [texts[-1]] * repeats
    with pytest.raises(CorruptIndexError, match=rf"{file}, bytes 196,608 to 262,144 do not match"):
        stored.some(np.full(repeats, inside))
