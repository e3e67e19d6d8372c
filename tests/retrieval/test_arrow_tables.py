"""Parquet and Arrow files: rows, metadata, vectors, damage."""

from __future__ import annotations

import datetime
import decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retrieval.documents import Document, read_documents
from retrieval.errors import DocumentError


def write_parquet(table, path):
    pq.write_table(table, path, row_group_size=1000)


def write_file(table, path):
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def write_stream(table, path):
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)


WRITERS = [("a.parquet", write_parquet), ("a.arrow", write_file), ("a.feather", write_stream)]


@pytest.fixture(params=WRITERS, ids=["parquet", "arrow file", "arrow stream"])
def save(request, tmp_path):
    """Write a table in each of the formats and return its path."""
    name, write = request.param

    def saved(table):
        write(table, tmp_path / name)
        return tmp_path / name

    return saved


def table_of(n_rows, **columns):
    return pa.table(
        {"id": [str(row) for row in range(n_rows)], "text": [f"text {row}" for row in range(n_rows)], **columns}
    )


def test_rows_become_documents(save):
    path = save(table_of(3000, title=[f"t{row}" for row in range(3000)], year=list(range(3000))))
    documents = list(read_documents(path))
    assert documents == [Document(str(row), f"text {row}", f"t{row}", {"year": row}) for row in range(3000)]


def test_every_type_with_a_json_form_becomes_metadata(save):
    moment = datetime.datetime(2024, 1, 31, 10, 0, 0, 123456)
    table = table_of(
        1,
        tags=pa.array([["a", None]]),
        author=pa.array([{"name": "n", "born": datetime.date(1990, 1, 1)}]),
        counts=pa.array([[("x", 1)]], pa.map_(pa.string(), pa.int32())),
        day=pa.array([datetime.date(2024, 1, 31)]),
        at=pa.array([moment], pa.timestamp("ns")),
        price=pa.array([decimal.Decimal("1.50")]),
        nothing=pa.nulls(1),
        lang=pa.array(["en"]).dictionary_encode(),
    )
    (document,) = read_documents(save(table))
    assert document.metadata == {
        "tags": ["a", None],
        "author": {"name": "n", "born": "1990-01-01"},
        "counts": {"x": 1},
        "day": "2024-01-31",
        "at": "2024-01-31T10:00:00.123456",
        "price": 1.5,
        "nothing": None,
        "lang": "en",
    }


def test_columns_without_a_json_form_are_left_out_and_noted(save):
    path = save(table_of(1, image=pa.array([b"\xff"]), parts=pa.array([[{"raw": b"\xff"}]])))
    reader = read_documents(path)
    assert [document.metadata for document in reader] == [{}]
    assert reader.report.noted == {"column left out of the metadata": 2}
    with pytest.raises(DocumentError, match=r"'image'.*no JSON form"):
        list(read_documents(path, metadata=["image"]))


def test_only_named_columns_are_kept(save):
    path = save(table_of(1, year=[2020], lang=["en"]))
    assert [document.metadata for document in read_documents(path, metadata=["lang"])] == [{"lang": "en"}]
    assert [document.metadata for document in read_documents(path, metadata=[])] == [{}]


def test_unusable_rows_are_counted_with_their_number(save):
    table = pa.table(
        {"id": ["a", None, "c", "d"], "text": ["x", "y", None, "z"], "score": [1.0, 1.0, 1.0, float("nan")]}
    )
    reader = read_documents(save(table))
    assert [document.id for document in reader] == ["a"]
    assert reader.report.skipped == {"no id": 1, "empty text": 1, "metadata value is not JSON": 1}
    assert ":2: no id" in reader.report.examples["no id"][0]


def test_missing_columns_are_listed(save):
    with pytest.raises(DocumentError, match="no id column: found columns 'key', 'text'"):
        list(read_documents(save(pa.table({"key": ["a"], "text": ["x"]}))))


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.float32()), pa.list_(pa.float64(), 3), pa.large_list(pa.float16()), pa.list_(pa.int32())]
)
def test_vectors_of_every_list_type_come_as_float32(save, kind):
    rows = np.arange(2500 * 3).reshape(2500, 3) % 100
    values = pa.array(rows.astype(np.float16).ravel() if "half" in str(kind) else rows.ravel())
    if "fixed" in str(kind):
        column = pa.FixedSizeListArray.from_arrays(values.cast(pa.float64()), 3)
    else:
        column = pa.ListArray.from_arrays(np.arange(0, 7501, 3, dtype=np.int32), values).cast(kind)
    reader = read_documents(save(table_of(2500, embedding=column)), vector="embedding")
    batches = list(reader.with_vectors(batch_size=600))
    assert [len(documents) for documents, _ in batches] == [600, 600, 600, 600, 100]
    assert all(vectors.dtype == np.float32 for _, vectors in batches)
    np.testing.assert_array_equal(np.concatenate([vectors for _, vectors in batches]), rows)
    assert [document.id for documents, _ in batches for document in documents] == [str(row) for row in range(2500)]
    assert "embedding" not in batches[0][0][0].metadata
    assert reader.report.read == 2500


def test_vectors_skip_with_their_documents(save):
    table = pa.table({"id": ["a", None, "c"], "text": ["x", "x", "x"], "v": [[1.0], [2.0], [3.0]]})
    ((documents, vectors),) = read_documents(save(table), vector="v").with_vectors()
    assert [document.id for document in documents] == ["a", "c"]
    assert vectors.tolist() == [[1.0], [3.0]]


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        ([[1.0, 2.0], [1.0]], "document '1': its vector has 1 dimensions, those before 2"),
        ([[1.0], [float("nan")]], "NaN or infinity"),
        ([[1.0], [None]], "NaN or infinity"),
        ([[1.0], None], "without a vector"),
        (pa.array([[], []], pa.list_(pa.float32())), "has no vector"),
        (["a", "b"], "holds no vectors"),
    ],
)
def test_unusable_vectors_are_errors(save, vectors, message):
    reader = read_documents(save(table_of(2, v=vectors)), vector="v")
    with pytest.raises(DocumentError) as caught:
        list(reader.with_vectors())
    assert message in str(caught.value)


def test_with_vectors_needs_a_vector_column(save):
    with pytest.raises(DocumentError, match="no vector column"):
        list(read_documents(save(table_of(1))).with_vectors())


def test_vectors_from_json_lines(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"id":"a","text":"x","v":[1,2.5]}\n{"id":"b","text":"x","v":[3,4]}\n')
    ((documents, vectors),) = read_documents(path, vector="v").with_vectors()
    assert (vectors.dtype, vectors.tolist()) == (np.float32, [[1, 2.5], [3, 4]])
    assert documents[0].metadata == {}
    path.write_text('{"id":"a","text":"x"}\n')
    with pytest.raises(DocumentError, match="'a' has no vector"):
        list(read_documents(path, vector="v").with_vectors())


def test_a_row_with_invalid_utf8_is_skipped_alone(save):
    bad = pa.Array.from_buffers(pa.string(), 3, pa.array([b"good", b"\xff\xfe", b"fine"]).buffers())
    reader = read_documents(save(pa.table({"id": ["a", "b", "c"], "text": bad})))
    assert [document.id for document in reader] == ["a", "c"]
    assert reader.report.skipped == {"undecodable row": 1}


def test_files_of_another_kind_are_refused(tmp_path):
    for name in ("a.parquet", "a.arrow"):
        (tmp_path / name).write_bytes(b"nothing of the kind")
        with pytest.raises(DocumentError, match="is no readable"):
            list(read_documents(tmp_path / name))


def test_damaged_bytes_are_errors_or_counted_never_crashes(save):
    path = save(table_of(2000, tags=[["a", "b"]] * 2000))
    data = bytearray(path.read_bytes())
    generator = np.random.default_rng(1)
    for _ in range(30):
        damaged = bytearray(data)
        for position in generator.integers(0, len(data), 5):
            damaged[position] = generator.integers(0, 256)
        path.write_bytes(damaged)
        reader = read_documents(path)
        try:
            documents = list(reader)
        except DocumentError as error:
            assert "\n" not in str(error)
        else:
            assert reader.report.read == len(documents)


def test_a_truncated_stream_is_counted(tmp_path):
    write_stream(table_of(5000).combine_chunks(), tmp_path / "a.arrow")
    with pa.OSFile(str(tmp_path / "a.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table_of(1).schema) as writer:
        for batch in table_of(5000).to_batches(max_chunksize=1000):
            writer.write_batch(batch)
    data = (tmp_path / "a.arrow").read_bytes()
    (tmp_path / "a.arrow").write_bytes(data[: len(data) // 2])
    reader = read_documents(tmp_path / "a.arrow")
    assert [document.id for document in reader] == [str(row) for row in range(2000)]
    assert reader.report.skipped == {"damaged file": 1}


def test_a_folder_of_parquet_files_is_read_in_order_when_forced(tmp_path):
    for part in (2, 1):
        write_parquet(pa.table({"id": [f"{part}"], "text": ["x"]}), tmp_path / f"part-{part}.parquet")
    assert [document.id for document in read_documents(tmp_path, format="parquet")] == ["1", "2"]
    with pytest.raises(DocumentError, match="holds no csv files"):
        list(read_documents(tmp_path, format="csv"))
