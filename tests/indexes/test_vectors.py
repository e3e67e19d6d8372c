"""The vector store: what goes in comes out, and nothing that cannot be searched goes in."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexes.errors import CorruptIndexError, StorageError, VectorError
from indexes.vectors import VectorStore, VectorStoreWriter, check_vectors, normalise


def write(directory, vectors, rows, cuts=()):
    directory.mkdir(exist_ok=True)
    with VectorStoreWriter(directory, vectors.shape[1]) as writer:
        for start, stop in zip((0, *cuts), (*cuts, len(vectors)), strict=True):
            writer.append(vectors[start:stop], rows[start:stop])
    return VectorStore.open(directory)


@pytest.fixture
def store_directory(tmp_path, rng):
    write(tmp_path, rng.standard_normal((20, 6)).astype(np.float32), np.repeat(np.arange(10), 2))
    return tmp_path


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def test_round_trip(tmp_path, rng):
    vectors = rng.standard_normal((5, 3)).astype(np.float32)
    rows = np.array([0, 0, 2, 3, 3])
    store = write(tmp_path, vectors, rows)
    np.testing.assert_array_equal(store.vectors, vectors)
    np.testing.assert_array_equal(store.rows, rows)
    assert (store.n_passages, store.n_documents, store.dimension) == (5, 3, 3)
    assert store.passages_of(0) == (0, 2)
    assert store.passages_of(1) == (2, 2)
    assert store.passages_of(3) == (3, 5)
    np.testing.assert_array_equal(store.gather(np.array([4, 1])), vectors[[4, 1]])
    assert store.problems() == []
    assert not store.vectors.flags.writeable


def test_files_are_what_numpy_saves(store_directory):
    vectors = np.load(store_directory / "vectors.npy", allow_pickle=False)
    written = (store_directory / "vectors.npy").read_bytes()
    np.save(store_directory / "again.npy", vectors, allow_pickle=False)
    assert (store_directory / "again.npy").read_bytes() == written


@given(cuts=st.lists(st.integers(0, 20), max_size=5).map(sorted))
def test_blocks_leave_no_trace(tmp_path_factory, cuts):
    vectors = np.random.default_rng(0).standard_normal((20, 4)).astype(np.float32)
    rows = np.arange(20) // 3
    whole, parts = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("parts")
    write(whole, vectors, rows)
    write(parts, vectors, rows, cuts)
    for path in whole.iterdir():
        assert (parts / path.name).read_bytes() == path.read_bytes()


def test_empty_store(tmp_path):
    store = write(tmp_path, np.empty((0, 4), np.float32), np.empty(0, np.int64))
    assert (store.n_passages, store.n_documents, store.dimension) == (0, 0, 4)
    assert store.passages_of(0) == (0, 0)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int64, bool])
def test_other_real_types_are_converted(dtype):
    assert check_vectors(np.ones((2, 3), dtype)).dtype == np.float32


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_refuses_what_is_not_finite_and_names_the_row(tmp_path, bad):
    vectors = np.zeros((4, 3))
    vectors[2, 1] = bad
    with VectorStoreWriter(tmp_path, 3) as writer, pytest.raises(VectorError, match="vector 2 "):
        writer.append(vectors, np.arange(4))


@pytest.mark.parametrize(
    "vectors", [np.zeros(3), np.zeros((2, 4)), np.zeros((2, 3, 1)), np.zeros((2, 3), complex), np.array([["a"] * 3])]
)
def test_refuses_other_shapes_and_types(vectors):
    with pytest.raises(ValueError, match="vectors"):
        check_vectors(vectors, 3)


def test_refuses_vectors_too_long_to_multiply():
    with pytest.raises(VectorError, match="vector 1 is longer than"):
        check_vectors(np.array([[1.0, 0.0], [3e38, 0.0]]))


@pytest.mark.parametrize("rows", [[0, 2, 1], [-1, 0, 1], [0, 1], [0.0, 1.0, 2.0], [0, 1, 2**31]])
def test_refuses_impossible_rows(tmp_path, rows):
    with VectorStoreWriter(tmp_path, 2) as writer, pytest.raises(VectorError, match="row"):
        writer.append(np.zeros((3, 2)), np.array(rows))


def test_rows_go_on_from_block_to_block(tmp_path):
    with VectorStoreWriter(tmp_path, 2) as writer:
        writer.append(np.zeros((2, 2)), np.array([0, 5]))
        writer.append(np.zeros((1, 2)), np.array([5]))
        with pytest.raises(VectorError, match="must not decrease"):
            writer.append(np.zeros((1, 2)), np.array([4]))


def test_a_dimension_is_at_least_one(tmp_path):
    with pytest.raises(VectorError, match="at least 1"):
        VectorStoreWriter(tmp_path, 0)


def test_normalise_is_a_unit_vector_in_the_same_direction(rng):
    vectors = rng.standard_normal((50, 33)) * np.exp(rng.uniform(-60, 60, (50, 1)))
    unit = normalise(vectors)
    assert unit.dtype == np.float32
    np.testing.assert_allclose(unit, vectors / np.linalg.norm(vectors, axis=1, keepdims=True), rtol=2e-7)


def test_normalise_leaves_zero_vectors(rng):
    vectors = rng.standard_normal((3, 4))
    vectors[1] = 0
    np.testing.assert_array_equal(normalise(vectors)[1], 0)


@given(seed=st.integers(0, 2**32 - 1), dimension=st.integers(1, 700))
def test_normalise_twice_is_normalise_once(seed, dimension):
    once = normalise(np.random.default_rng(seed).standard_normal((8, dimension)))
    np.testing.assert_array_equal(normalise(once), once)


@pytest.mark.parametrize("name", ["vectors.npy", "passage-rows.npy", "largest-norm.npy"])
@pytest.mark.parametrize("damage", ["missing", "empty", "shorter", "header"])
def test_damaged_files_are_named(store_directory, name, damage):
    path = store_directory / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes({"empty": b"", "shorter": content[:-1], "header": b"X" + content[1:]}[damage])
    with pytest.raises(CorruptIndexError, match=name):
        VectorStore.open(store_directory)


@pytest.mark.parametrize("name", ["vectors.npy", "passage-rows.npy"])
def test_bytes_behind_an_array_are_noticed(store_directory, name):
    with (store_directory / name).open("ab") as file:
        file.write(b"\0\0\0\0")
    with pytest.raises(CorruptIndexError, match=name):
        VectorStore.open(store_directory)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("vectors", np.zeros((20, 6))),
        ("vectors", np.zeros(20, np.float32)),
        ("vectors", np.asfortranarray(np.zeros((20, 6), np.float32))),
        ("passage-rows", np.zeros(19, np.int32)),
        ("passage-rows", np.arange(20, dtype=np.int64)),
        ("passage-rows", np.arange(20, dtype=np.int32)[::-1]),
        ("passage-rows", np.arange(-1, 19, dtype=np.int32)),
        ("largest-norm", np.array([np.nan])),
        ("largest-norm", np.array([-1.0])),
    ],
)
def test_arrays_that_no_writer_wrote_are_refused(store_directory, name, array):
    np.save(store_directory / f"{name}.npy", array, allow_pickle=False)
    with pytest.raises(CorruptIndexError, match=name):
        VectorStore.open(store_directory)


def test_an_unfinished_store_does_not_open(tmp_path):
    with pytest.raises(KeyError), VectorStoreWriter(tmp_path, 3) as writer:
        writer.append(np.ones((2, 3)), np.arange(2))
        raise KeyError
    with pytest.raises(StorageError):
        VectorStore.open(tmp_path)


def test_damaged_values_are_found_on_request(store_directory):
    path = store_directory / "vectors.npy"
    content = bytearray(path.read_bytes())
    content[-4:] = np.float32(np.nan).tobytes()
    path.write_bytes(content)
    (problem,) = VectorStore.open(store_directory).problems()
    assert "vector 19 " in problem
