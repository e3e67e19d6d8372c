"""Token vectors in memory and on disk, against plain lists of matrices."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from indexes.arrays import ArrayFolder
from indexes.errors import CorruptIndexError, VectorError
from indexes.storage import seal
from indexes.token_store import TokenStore, TokenStoreWriter
from indexes.token_vectors import TokenVectors, empty, encoded, gathered, largest_error

STORAGES = ["float16", "int8"]


def packed(texts, width=3):
    """Return texts, each a list of rows, as token vectors."""
    offsets = np.cumsum([0, *map(len, texts)], dtype=np.int64)
    return TokenVectors(offsets, np.array([row for text in texts for row in text], np.float32).reshape(-1, width))


def texts_of(vectors):
    """Return the decoded vectors of each text."""
    return [vectors.decoded()[begin:end] for begin, end in pairwise(vectors.offsets)]


@st.composite
def token_vectors(draw, largest=1000.0, min_size=0):
    lengths = draw(st.lists(st.integers(0, 5), min_size=min_size, max_size=8))
    numbers = st.floats(-largest, largest, width=32)
    values = draw(arrays.arrays(np.float32, (sum(lengths), draw(st.integers(1, 4))), elements=numbers))
    return TokenVectors(np.cumsum([0, *lengths], dtype=np.int64), values)


def store_of(directory, vectors, storage, blocks=1):
    """Write vectors in some blocks, sealed, and open them."""
    directory.mkdir()
    bounds = np.linspace(0, len(vectors), blocks + 1).astype(int)
    with TokenStoreWriter(directory, vectors.width, storage) as writer:
        for begin, end in pairwise(bounds):
            writer.append(encoded(vectors.some(begin, end), storage))
    assert (writer.n_texts, writer.n_tokens) == (len(vectors), len(vectors.values))
    seal(directory)
    return TokenStore(ArrayFolder(directory), storage)


class TestForms:
    @pytest.mark.parametrize("storage", STORAGES)
    @given(vectors=token_vectors())
    def test_no_number_is_further_off_than_is_stated(self, storage, vectors):
        stored = encoded(vectors, storage)
        error = np.abs(stored.decoded().astype(np.float64) - vectors.values)
        assert (error <= largest_error(vectors, storage)[:, None]).all()
        assert (stored.offsets == vectors.offsets).all()
        assert stored.checked() is stored

    @given(vectors=token_vectors(largest=2.0**-140))
    def test_numbers_too_small_for_steps_become_zero(self, vectors):
        assert np.abs(encoded(vectors, "int8").decoded()).max(initial=0) <= 2.0**-139

    def test_steps_are_those_of_the_largest_number_of_the_token(self):
        stored = encoded(packed([[[127.0, -63.5, 0.4], [0.0, 0.0, 0.0]]]), "int8")
        assert stored.values.tolist() == [[127, -64, 0], [0, 0, 0]]
        assert stored.scales.tolist() == [1.0, 0.0]

    def test_halves_are_kept_exactly_where_they_have_eleven_bits(self):
        values = np.array([[[1 / 16, -2047.0, 0.5]]], np.float32)
        assert (encoded(packed(values), "float16").decoded() == values[0]).all()

    def test_a_token_is_stored_as_it_is_in_any_company(self):
        texts = np.random.default_rng(1).normal(size=(6, 4, 3)).tolist()
        for storage in STORAGES:
            together = texts_of(encoded(packed(texts), storage))
            for alone, other in zip(texts, together, strict=True):
                np.testing.assert_array_equal(texts_of(encoded(packed([alone]), storage))[0], other)

    @pytest.mark.parametrize("storage", STORAGES)
    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_numbers_that_are_none_are_refused(self, storage, value):
        with pytest.raises(VectorError, match="not finite"):
            encoded(packed([[[1.0, value, 0.0]]]), storage)

    def test_numbers_too_large_for_the_storage_are_refused(self):
        large = packed([[[1.0, -70_000.0, 0.0]]])
        with pytest.raises(VectorError, match="70000, and float16 takes numbers up to 65504; store them as 'int8'"):
            encoded(large, "float16")
        assert encoded(large, "int8").decoded()[0, 1] == pytest.approx(-70_000)
        with pytest.raises(VectorError, match="int8 takes numbers up to 1e"):
            encoded(packed([[[1e16, 0, 0]]]), "int8")
        with pytest.raises(VectorError, match="'float16' or 'int8', not 'float8'"):
            encoded(large, "float8")

    @pytest.mark.parametrize(
        "wrong",
        [
            TokenVectors(np.array([0, 2, 1]), np.zeros((1, 3), np.float32)),
            TokenVectors(np.array([1, 1]), np.zeros((1, 3), np.float32)),
            TokenVectors(np.array([0, 2]), np.zeros((1, 3), np.float32)),
            TokenVectors(np.array([0.0, 1.0]), np.zeros((1, 3), np.float32)),
            TokenVectors(np.empty(0, np.int64), np.zeros((0, 3), np.float32)),
            TokenVectors(np.array([0, 1]), np.zeros(1, np.float32)),
            TokenVectors(np.array([0, 1]), np.zeros((1, 0), np.float32)),
            TokenVectors(np.array([0, 1]), np.zeros((1, 3))),
            TokenVectors(np.array([0, 1]), np.zeros((1, 3), np.int8)),
            TokenVectors(np.array([0, 1]), np.zeros((1, 3), np.float16), np.ones(1, np.float32)),
            TokenVectors(np.array([0, 1]), np.zeros((1, 3), np.int8), np.ones(2, np.float32)),
            TokenVectors(np.array([0, 1]), np.zeros((1, 3), np.int8), -np.ones(1, np.float32)),
        ],
    )
    def test_arrays_that_do_not_fit_each_other_are_refused(self, wrong):
        with pytest.raises(VectorError):
            wrong.checked()


@given(st.data(), st.sampled_from([None, *STORAGES]))
def test_gathering_is_choosing_from_the_list_of_all(data, storage):
    width = data.draw(st.integers(1, 3))
    blocks = data.draw(
        st.lists(
            st.lists(
                st.lists(st.lists(st.floats(-9, 9, width=16), min_size=width, max_size=width), max_size=3), max_size=4
            ),
            min_size=1,
            max_size=4,
        )
    )
    vectors = [packed(block, width) for block in blocks]
    if storage is not None:
        vectors = [encoded(block, storage) for block in vectors]
    every = [text for block in vectors for text in texts_of(block)]
    numbers = data.draw(st.lists(st.integers(0, len(every) - 1), max_size=9)) if every else []
    found = gathered(vectors, np.array(numbers, np.int64))
    assert len(found) == len(numbers)
    found.checked()
    for number, text in zip(numbers, texts_of(found), strict=True):
        np.testing.assert_array_equal(text, every[number])


class TestStore:
    @pytest.mark.parametrize("storage", STORAGES)
    @given(data=st.data())
    def test_it_gives_back_what_was_written(self, storage, data, tmp_path_factory):
        vectors = data.draw(token_vectors())
        directory = tmp_path_factory.mktemp("store") / "s"
        store = store_of(directory, vectors, storage, data.draw(st.integers(1, 3)))
        expected = texts_of(encoded(vectors, storage))
        assert (len(store), store.n_tokens, store.width) == (len(vectors), len(vectors.values), vectors.width)
        rows = data.draw(st.lists(st.integers(0, len(vectors) - 1), max_size=6)) if len(vectors) else []
        chosen = np.array(rows, np.int64)
        assert store.lengths(chosen).tolist() == [len(expected[row]) for row in rows]
        for row, text in zip(rows, texts_of(store.gather(chosen)), strict=True):
            np.testing.assert_array_equal(text, expected[row])
        every = [text for block in store.blocks(np.arange(len(vectors))) for text in texts_of(block)]
        assert len(every) == len(expected)
        assert all(np.array_equal(one, other) for one, other in zip(every, expected, strict=True))
        assert store.problems() == []

    @pytest.mark.parametrize("storage", STORAGES)
    def test_its_bytes_are_the_same_in_any_blocks(self, storage, tmp_path):
        vectors = packed(np.random.default_rng(2).normal(size=(20, 3, 3)).tolist())
        contents = []
        for blocks in (1, 3, 20):
            store_of(tmp_path / str(blocks), vectors, storage, blocks)
            contents.append({path.name: path.read_bytes() for path in (tmp_path / str(blocks)).iterdir()})
        assert contents[0] == contents[1] == contents[2]

    def test_what_does_not_belong_into_it_is_refused(self, tmp_path):
        with TokenStoreWriter(tmp_path, 3, "float16") as writer:
            with pytest.raises(VectorError, match="holds 3 x float16, not 3 x int8"):
                writer.append(encoded(packed([[[1, 2, 3]]]), "int8"))
            with pytest.raises(VectorError, match="not 2 x float16"):
                writer.append(encoded(packed([[[1, 2]]], 2), "float16"))
            with pytest.raises(VectorError, match="not 3 x float32"):
                writer.append(packed([[[1, 2, 3]]]))
        with pytest.raises(VectorError, match="width of at least 1, not 0"):
            TokenStoreWriter(tmp_path / "no", 0, "float16")

    def test_texts_without_tokens_and_no_texts(self, tmp_path):
        store = store_of(tmp_path / "gaps", packed([[], [[1, 2, 3]], []]), "float16")
        assert [len(text) for text in texts_of(store.gather(np.array([2, 0, 1, 1])))] == [0, 0, 1, 1]
        with TokenStoreWriter(tmp_path, 3, "int8") as writer:
            writer.append(empty(3, "int8"))
        store = TokenStore(ArrayFolder(tmp_path), "int8")
        assert (len(store), list(store.blocks(np.arange(0)))) == (0, [])

    def test_damage_is_named_when_it_is_read_and_not_before(self, tmp_path):
        vectors = packed(np.random.default_rng(3).normal(size=(40, 50, 128)).tolist(), 128)  # 512 KiB, several blocks
        store_of(tmp_path / "s", vectors, "float16")
        path = tmp_path / "s" / "token-vectors.npy"
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        store = TokenStore(ArrayFolder(tmp_path / "s"), "float16")
        assert len(store.gather(np.array([0, 1]))) == 2
        with pytest.raises(CorruptIndexError, match=r"token-vectors\.npy, bytes"):
            store.gather(np.array([39]))
        assert "token-vectors" in store.problems()[0]

    @pytest.mark.parametrize(
        ("name", "values"),
        [
            ("token-offsets", np.array([0, 2, 1, 3])),
            ("token-offsets", np.array([1, 2, 2, 3])),
            ("token-offsets", np.array([0, 1, 2, 2**62])),
            ("token-offsets", np.array([0, -1, 2, 3])),
            ("token-offsets", np.empty(0, np.int64)),
            ("token-offsets", np.array([0, 1, 2, 4])),
            ("token-vectors", np.zeros((3, 3), np.float32)),
            ("token-vectors", np.zeros(9, np.float16)),
        ],
    )
    def test_crafted_files_are_refused(self, tmp_path, name, values):
        directory = tmp_path / "s"
        store_of(directory, packed([[[1, 2, 3]], [[1, 2, 3]], [[4, 5, 6]]]), "float16")
        (directory / "block-checksums.json").unlink()
        np.save(directory / f"{name}.npy", values)
        with pytest.raises(CorruptIndexError, match=r"token-(offsets|vectors)\.npy"):
            TokenStore(ArrayFolder(directory), "float16")

    @pytest.mark.parametrize(
        ("storage", "name", "values"),
        [
            ("float16", "token-vectors", np.full((1, 3), np.nan, np.float16)),
            ("int8", "token-scales", np.array([np.inf], np.float32)),
            ("int8", "token-scales", np.array([-1], np.float32)),
        ],
    )
    def test_crafted_numbers_are_refused_when_they_are_read(self, tmp_path, storage, name, values):
        directory = tmp_path / "s"
        store_of(directory, packed([[[1, 2, 3]]]), storage)
        (directory / "block-checksums.json").unlink()
        np.save(directory / f"{name}.npy", values)
        store = TokenStore(ArrayFolder(directory), storage)
        with pytest.raises(CorruptIndexError, match="not finite"):
            store.gather(np.array([0]))
        assert len(store.problems()) == 1

    def test_an_interrupted_store_does_not_open(self, tmp_path):
        with pytest.raises(KeyboardInterrupt), TokenStoreWriter(tmp_path, 3, "float16") as writer:
            writer.append(encoded(packed([[[1, 2, 3]]]), "float16"))
            raise KeyboardInterrupt
        with pytest.raises(CorruptIndexError):
            TokenStore(ArrayFolder(tmp_path), "float16")
