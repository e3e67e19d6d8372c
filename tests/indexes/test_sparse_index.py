"""The index of sparse vectors on disk: what goes in comes out, whatever the blocks; merging; what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexes.array_writer import save_array
from indexes.documents import DocumentsWriter
from indexes.errors import CorruptIndexError, VectorError
from indexes.lists import Lists
from indexes.sparse_index import SHAPE, SparseIndex, SparseIndexWriter, merge_sparse
from indexes.sparse_vectors import SparseVectors
from tests.indexes.sparse_oracle import dictionaries, files, saved, vectors_of

IMPACTS = st.one_of(st.sampled_from([1, 2, 255]), st.integers(1, 255))
DIMENSIONS = st.one_of(st.integers(0, 9), st.sampled_from([127, 128, 300]))
VECTORS = st.lists(st.dictionaries(DIMENSIONS, IMPACTS, max_size=6), max_size=24)
TYPES = st.sampled_from([np.uint8, None])


@given(vectors=VECTORS, dtype=TYPES, data=st.data())
def test_what_goes_in_comes_out_whatever_the_blocks(tmp_path_factory, vectors, dtype, data):
    directory = tmp_path_factory.mktemp("index")
    made = vectors_of(vectors, dtype)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(vectors)), max_size=4), label="cuts"))
    index = saved(directory / "blocks", made, cuts)
    saved(directory / "whole", made)
    assert files(directory / "blocks") == files(directory / "whole")
    assert (index.n_documents, index.n_postings) == (len(vectors), len(made.dimensions))
    assert index.n_dimensions == max((dimension + 1 for vector in vectors for dimension in vector), default=0)
    assert index.payload == ("binary" if dtype is None else "impacts")
    frequencies = np.bincount(made.dimensions, minlength=index.n_dimensions)
    assert index.document_frequencies().tolist() == frequencies.tolist()
    rows = np.array(data.draw(st.lists(st.integers(0, len(vectors) - 1), max_size=9) if vectors else st.just([])), int)
    found = index.vectors(rows)
    assert found.weights is None if dtype is None else found.weights.dtype == np.uint8
    assert dictionaries(found) == [dictionaries(made)[row] for row in rows]


def test_the_type_of_what_is_written_does_not_matter(tmp_path):
    vectors = vectors_of([{0: 1, 9: 255}, {}, {3: 7, 9: 2}])
    saved(tmp_path / "plain", vectors)
    for name, dtype in (("float32", np.float32), ("float64", np.float64), ("int64", np.int64)):
        other = SparseVectors(
            vectors.offsets.astype(np.uint32), vectors.dimensions.astype(np.uint16), vectors.weights.astype(dtype)
        )
        saved(tmp_path / name, other)
        assert files(tmp_path / name) == files(tmp_path / "plain")


def test_binary_vectors_may_have_weights_of_one(tmp_path):
    saved(tmp_path / "without", vectors_of([{0: 1, 4: 1}, {2: 1}], None))
    (tmp_path / "with").mkdir()
    with SparseIndexWriter(tmp_path / "with", "binary") as writer:
        writer.add_many(vectors_of([{0: 1, 4: 1}, {2: 1}], np.float32))
    assert files(tmp_path / "with") == files(tmp_path / "without")


@pytest.mark.parametrize(
    ("payload", "dtype", "weight", "message"),
    [
        ("impacts", np.float32, 0.0, "impacts are integers from 1 to 255, entry 1 is 0.0; make them with `quantised`"),
        ("impacts", np.uint8, 0, "entry 1 is 0;"),
        ("impacts", np.float64, 256.0, "entry 1 is 256.0;"),
        ("impacts", np.int64, 2**32 + 1, "entry 1 is 4294967297;"),
        ("impacts", np.float64, 1.5, "entry 1 is 1.5;"),
        ("impacts", np.float64, 1e30, r"entry 1 is 1e\+30;"),
        ("impacts", np.float32, -1.0, "not negative, entry 1 is -1.0"),
        ("impacts", None, 1, "vectors without weights are indexed with payload 'binary'"),
        ("binary", np.uint8, 2, "binary vectors have no weights but 1, entry 1 is 2; index .* with payload 'impacts'"),
        ("binary", np.float32, 0.0, "binary vectors have no weights but 1, entry 1 is 0.0"),
    ],
)
def test_what_the_payload_does_not_hold_is_refused_and_leaves_nothing(tmp_path, payload, dtype, weight, message):
    good = vectors_of([{2: 1}], None if payload == "binary" else np.uint8)
    for name, tries in (("tried", True), ("not", False)):
        (tmp_path / name).mkdir()
        with SparseIndexWriter(tmp_path / name, payload) as writer:
            writer.add_many(good)
            if tries:
                with pytest.raises(VectorError, match=message):
                    writer.add_many(vectors_of([{0: 1}, {900: weight}], dtype))
            writer.add_many(good)
    assert files(tmp_path / "tried") == files(tmp_path / "not")


def test_an_unknown_payload_is_refused(tmp_path):
    with pytest.raises(ValueError, match="unknown payload 'counts': 'impacts' or 'binary'"):
        SparseIndexWriter(tmp_path, "counts")


def test_vectors_out_of_order_are_refused(tmp_path):
    with SparseIndexWriter(tmp_path, "binary") as writer, pytest.raises(VectorError, match="5 is followed by 5"):
        writer.add_many(SparseVectors(np.array([0, 2]), np.array([5, 5], np.int32)))


def test_an_index_is_not_there_before_its_block_is_left(tmp_path):
    with pytest.raises(KeyError), SparseIndexWriter(tmp_path, "binary") as writer:
        writer.add_many(vectors_of([{1: 1}], None))
        raise KeyError
    with pytest.raises(CorruptIndexError, match=SHAPE):
        SparseIndex.open(tmp_path)


# --- Merging ----------------------------------------------------------------------------------------------------------


@given(parts=st.lists(VECTORS, min_size=1, max_size=3), dtype=TYPES, data=st.data())
def test_merged_is_byte_for_byte_what_is_built_from_these_vectors(tmp_path_factory, parts, dtype, data):
    directory = tmp_path_factory.mktemp("merge")
    inputs, kept = [], []
    for number, vectors in enumerate(parts):
        index = saved(directory / str(number), vectors_of(vectors, dtype))
        size = len(vectors)
        keep = data.draw(st.lists(st.booleans(), min_size=size, max_size=size), label="keep")
        inputs.append((index, np.flatnonzero(keep)))
        kept += [vector for vector, wanted in zip(vectors, keep, strict=True) if wanted]
    order = data.draw(st.permutations(range(len(kept))), label="order")
    (directory / "merged").mkdir()
    merge_sparse(inputs, np.array(order, np.int64), directory / "merged")
    saved(directory / "built", vectors_of([kept[place] for place in order], dtype))
    assert files(directory / "merged") == files(directory / "built")


@pytest.mark.parametrize("dtype", [np.uint8, None])
def test_columns_are_merged_too(tmp_path, dtype):
    """Dimensions in most documents, in some, and in few: what is a column in one part need not be in another."""
    rng = np.random.default_rng(3)
    held = rng.random((1200, 40)) < np.linspace(0.9, 0.001, 40) ** 2
    held[:400, 20:] |= rng.random((400, 20)) < 0.3
    vectors = [{int(d): int(rng.integers(1, 256)) for d in np.flatnonzero(row)} for row in held]
    parts = [vectors[:400], vectors[400:401], vectors[401:]]
    inputs = []
    for number, part in enumerate(parts):
        index = saved(tmp_path / str(number), vectors_of(part, dtype))
        inputs.append((index, np.flatnonzero(rng.random(len(part)) < 0.8)))
    kept = [part[row] for part, (_, rows) in zip(parts, inputs, strict=True) for row in rows.tolist()]
    order = rng.permutation(len(kept))
    (tmp_path / "merged").mkdir()
    merge_sparse(inputs, order, tmp_path / "merged")
    built = saved(tmp_path / "built", vectors_of([kept[place] for place in order.tolist()], dtype))
    assert files(tmp_path / "merged") == files(tmp_path / "built")
    assert (built.postings.for_kernels().dense.size > 0) == (dtype is not None)
    assert built.postings.for_kernels().rows.size > 0


def test_what_cannot_be_merged_is_refused(tmp_path):
    weighted, binary = (
        saved(tmp_path / "w", vectors_of([{1: 2}, {3: 4}])),
        saved(tmp_path / "b", vectors_of([{}], None)),
    )
    both, out = np.arange(2), tmp_path / "out"
    out.mkdir()
    for inputs, order, message in (
        ([], both[:0], "of one payload can be merged, not of none"),
        ([(weighted, both), (binary, both[:1])], np.arange(3), "not of .*'binary', 'impacts'"),
        ([(weighted, both)], both[:1], "2 rows are kept and 1 are ordered"),
        ([(weighted, both[::-1])], both, "rows to keep of .* must ascend from 0 to 1"),
        ([(weighted, np.array([0, 0]))], both, "must ascend from 0 to 1"),
        ([(weighted, np.array([1, 2]))], both, "must ascend from 0 to 1"),
        ([(weighted, np.array([-1, 1]))], both, "must ascend from 0 to 1"),
    ):
        with pytest.raises(ValueError, match=message):
            merge_sparse(inputs, order, out)
    assert not list(out.iterdir())


# --- Damage -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, None])
def test_damaged_files_are_named(tmp_path, dtype):
    rng = np.random.default_rng(5)
    vectors = [
        {int(d): 3 for d in rng.choice(50, 6, replace=False)} | ({50: 9} if row % 2 else {}) for row in range(40)
    ]
    saved(tmp_path, vectors_of(vectors, dtype))
    paths = sorted(tmp_path.iterdir())
    assert len(paths) == (12 if dtype else 9)
    for path in paths:
        content = path.read_bytes()
        array = np.load(path)
        other_type = array.astype(np.int32 if array.dtype != np.int32 else np.int64)
        for damage in (None, b"", content[:-1], content[: len(content) // 2], b"\xff" + content[1:], other_type):
            path.unlink()
            if isinstance(damage, np.ndarray):
                save_array(path.parent, path.stem, damage)
            elif damage is not None:
                path.write_bytes(damage)
            with pytest.raises(CorruptIndexError, match=path.stem):
                SparseIndex.open(tmp_path)
            path.touch()
        for shape in (array[:-1], np.append(array, array[-1:])):
            if path.stem not in ("postings-columns", "document-lists"):
                path.unlink()
                save_array(path.parent, path.stem, shape)
                with pytest.raises(CorruptIndexError, match="file damaged"):
                    SparseIndex.open(tmp_path)
        path.write_bytes(content)
    SparseIndex.open(tmp_path)


@pytest.mark.parametrize("shape", [[-1, 3, 1], [2, -1, 1], [2, 4, 2], [2, 4, -1], [2, 2**22 + 1, 1], [2**31, 4, 1]])
def test_impossible_numbers_are_damage(tmp_path, shape):
    saved(tmp_path, vectors_of([{1: 2}, {3: 4}]))
    (tmp_path / f"{SHAPE}.npy").unlink()
    save_array(tmp_path, SHAPE, np.array(shape))
    with pytest.raises(CorruptIndexError, match=f"{SHAPE}.npy holds impossible numbers"):
        SparseIndex.open(tmp_path)


@pytest.mark.parametrize("shape", [[1, 4, 1], [3, 4, 1], [2, 3, 1], [2, 5, 1]])
def test_other_numbers_than_those_of_the_files_are_damage(tmp_path, shape):
    saved(tmp_path, vectors_of([{1: 2}, {3: 4}]))
    (tmp_path / f"{SHAPE}.npy").unlink()
    save_array(tmp_path, SHAPE, np.array(shape))
    with pytest.raises(CorruptIndexError, match="expected int64"):
        SparseIndex.open(tmp_path)


@pytest.mark.parametrize(("dtype", "impact"), [(np.uint8, 256), (np.uint8, 2**31), (None, 2)])
def test_impacts_that_are_too_large_are_damage_and_do_not_wrap_around(tmp_path, dtype, impact):
    index = saved(tmp_path / "index", vectors_of([{1: 1}, {0: 1, 3: 1}], dtype))
    for name in ("document-lists", "document-offsets"):
        (tmp_path / "index" / f"{name}.npy").unlink()
    with DocumentsWriter(tmp_path / "index") as writer:
        members = np.array([1, 0, 3], np.int32)
        writer.append(Lists(np.array([0, 1, 3]), members, np.array([1, impact, 1], np.uint32)))
    index = SparseIndex.open(tmp_path / "index")
    assert dictionaries(index.vectors(np.array([0]))) == [{1: 1}]
    with pytest.raises(CorruptIndexError, match=f"an impact of {impact:,}"):
        index.vectors(np.array([1]))
    (tmp_path / "merged").mkdir()
    with pytest.raises(CorruptIndexError, match=f"an impact of {impact:,}"):
        merge_sparse([(index, np.arange(2))], np.arange(2), tmp_path / "merged")
