"""JSON lines, CSV, TSV and MS MARCO files: what is read, what is skipped and counted, what is an error."""

from __future__ import annotations

import csv
import gzip
import json

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.documents import Document, read_documents, streams
from retrieval.errors import DocumentError

ROWS = [{"id": str(number), "text": f"text {number} é 文", "title": f"title {number}"} for number in range(50)]
EXPECTED = [Document(**row) for row in ROWS]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()

# Text without surrogates, and without what the csv module cannot write back: NUL and bare carriage returns.
cell = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=20)


def write(path, data):
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def read(path, **options):
    reader = read_documents(path, **options)
    return list(reader), reader.report


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """A folder to write to again and again, for tests of many examples."""
    return tmp_path_factory.mktemp("scratch")


@pytest.fixture
def zstd_lines(tmp_path):
    path = tmp_path / "made.zst"
    with pyarrow.output_stream(path, compression="zstd") as stream:
        stream.write(LINES)
    return path.read_bytes()


class TestCompressionAndEncoding:
    def test_plain_gzip_and_zstandard_read_alike(self, tmp_path, zstd_lines):
        paths = [
            write(tmp_path / "corpus.jsonl", LINES),
            write(tmp_path / "corpus.jsonl.gz", gzip.compress(LINES)),
            write(tmp_path / "corpus.jsonl.zst", zstd_lines),
            write(tmp_path / "two.jsonl.gz", gzip.compress(LINES[:100]) + gzip.compress(LINES[100:])),
            write(tmp_path / "misnamed.jsonl", gzip.compress(LINES)),
        ]
        for path in paths:
            documents, report = read(path)
            assert documents == EXPECTED
            assert (report.read, report.skipped) == (len(ROWS), {})

    @pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
    def test_byte_order_marks_are_understood(self, tmp_path, encoding):
        documents, _ = read(write(tmp_path / "corpus.jsonl", LINES.decode().encode(encoding)))
        assert documents == EXPECTED

    def test_a_broken_gzip_tail_is_counted_and_what_came_before_is_read(self, tmp_path):
        packed = gzip.compress(LINES)
        documents, report = read(write(tmp_path / "corpus.jsonl.gz", packed[: len(packed) // 2]))
        assert documents == EXPECTED[: len(documents)]
        assert documents
        assert report.skipped == {"damaged file": 1}
        assert f"corpus.jsonl.gz:{len(documents) + 1}: damaged file" in report.examples["damaged file"][0]

    @pytest.mark.parametrize("ending", ["truncated", "garbage"])
    def test_a_broken_zstandard_tail_is_counted(self, tmp_path, zstd_lines, ending):
        data = zstd_lines[:-20] if ending == "truncated" else zstd_lines + b"garbage"
        documents, report = read(write(tmp_path / "corpus.jsonl.zst", data))
        assert documents == EXPECTED[: len(documents)]
        assert report.skipped == {"damaged file": 1}

    def test_a_utf16_file_cut_inside_a_character_is_counted(self, tmp_path):
        data = LINES.decode().encode("utf-16")
        documents, report = read(write(tmp_path / "corpus.jsonl", data[:-1]))
        assert len(documents) >= len(EXPECTED) - 1
        assert report.n_skipped == 1

    def test_lines_longer_than_the_limit_are_skipped(self, tmp_path, monkeypatch):
        monkeypatch.setattr(streams, "MAXIMUM_BYTES", 100)
        lines = '{"id":"a","text":"x"}\n{"id":"b","text":"' + "y" * 500 + '"}\n{"id":"c","text":"z"}\n'
        documents, report = read(write(tmp_path / "corpus.jsonl", lines))
        assert [document.id for document in documents] == ["a", "c"]
        assert report.skipped == {"line too long": 1}


class TestJsonLines:
    @pytest.mark.parametrize(
        ("line", "reason"),
        [
            (b'{"id": "b", "text": ', "invalid JSON"),
            (b'{"id": "b", "text": NaN}', "invalid JSON"),
            (b"\x00\x00\x00", "invalid JSON"),
            (b"[" * 100_000, "invalid JSON"),
            (b'{"id": "b", "text": "\\ud800"}', "invalid JSON"),
            (b'{"id": "b", "text": "\xff"}', "invalid UTF-8"),
            (b'["b", "x"]', "not an object"),
            (b"3", "not an object"),
            (b'{"text": "x"}', "no id column"),
            (b'{"id": null, "text": "x"}', "no id"),
            (b'{"id": "", "text": "x"}', "empty id"),
            (b'{"id": 1.5, "text": "x"}', "id is not a string or an integer"),
            (b'{"id": true, "text": "x"}', "id is not a string or an integer"),
            (b'{"id": "b"}', "no text column"),
            (b'{"id": "b", "text": 5}', "text is not a string"),
            (b'{"id": "b", "text": "x", "title": []}', "title is not a string"),
            (b'{"id": "b", "text": null}', "empty text"),
            (b'{"id": "b", "text": " \\n", "title": "\\t"}', "empty text"),
            (b'{"id": "b", "text": "x", "n": 1' + b"0" * 30 + b"}", "metadata value is not JSON"),
        ],
    )
    def test_an_unusable_line_is_skipped_and_counted(self, tmp_path, line, reason):
        path = write(tmp_path / "corpus.jsonl", b'{"id":"a","text":"x"}\n' + line + b'\n\n{"id":"c","text":"x"}')
        documents, report = read(path)
        assert [document.id for document in documents] == ["a", "c"]
        assert report.skipped == {reason: 1}
        assert report.examples[reason][0].startswith(f"{path}:2: {reason}")
        assert "\n" not in report.summary()
        with pytest.raises(DocumentError, match=r"corpus\.jsonl:2: ") as caught:
            read(path, strict=True)
        assert reason in str(caught.value)

    def test_integer_ids_and_null_texts(self, tmp_path):
        documents, _ = read(write(tmp_path / "a.jsonl", '{"id": 7, "text": null, "title": "only a title"}'))
        assert documents == [Document("7", "", "only a title")]

    def test_metadata_is_all_other_columns_and_the_metadata_object(self, tmp_path):
        line = (
            '{"_id": "a", "text": "x", "title": "t", "metadata": {"url": "u", "n": 1}, "n": 2, "tags": ["p", {"q": 1}]}'
        )
        (document,), _ = read(write(tmp_path / "a.jsonl", line))
        assert document.metadata == {"url": "u", "n": 2, "tags": ["p", {"q": 1}]}

    def test_columns_can_be_named(self, tmp_path):
        line = '{"key": "a", "abstract": "x", "body": "y", "heading": "t", "year": 2020, "lang": "en"}'
        path = write(tmp_path / "a.jsonl", line)
        (document,), _ = read(path, id="key", text=["abstract", "body"], title="heading", metadata=["year"])
        assert document == Document("a", "x\ny", "t", {"year": 2020})
        (document,), _ = read(path, id="row", title=None)
        assert document.id == "a.jsonl:1"
        assert document.title == ""
        assert document.text == "y"

    def test_rows_may_differ_in_their_columns(self, tmp_path):
        lines = '{"id": "a", "text": "x"}\n{"docno": "b", "contents": "y", "headline": "z"}\n'
        documents, _ = read(write(tmp_path / "a.jsonl", lines))
        assert documents == [Document("a", "x"), Document("b", "y", "z")]

    @given(st.binary(max_size=300))
    def test_random_bytes_never_raise(self, scratch, data):
        path = write(scratch / "corpus.jsonl", data)
        documents, report = read(path, id="row")
        assert report.read == len(documents)

    @given(st.lists(st.tuples(st.sampled_from([b'{"id":"a","text":"b"}', b"{", b"\xff", b"[]", b""]))))
    def test_every_line_is_read_or_counted(self, scratch, lines):
        path = write(scratch / "corpus.jsonl", b"\n".join(line for (line,) in lines))
        _, report = read(path)
        assert report.read + report.n_skipped == sum(1 for (line,) in lines if line)


class TestCsv:
    @given(st.lists(st.tuples(cell, cell, cell), max_size=10))
    def test_reads_back_what_the_csv_module_writes(self, scratch, cells):
        path = scratch / "corpus.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "title", "text"])
            writer.writerows([(f"i{identifier}", title, text) for identifier, title, text in cells])
        documents, report = read(path)
        usable = [(f"i{i}", title, text) for i, title, text in cells if text.strip() or title.strip()]
        assert [(document.id, document.title, document.text) for document in documents] == usable
        assert report.n_skipped == len(cells) - len(usable)

    def test_metadata_literals_are_read_as_json_would(self, tmp_path):
        header = "id,text,year,price,code,flag,none,version,far\n"
        path = write(tmp_path / "a.csv", header + "1,x,2020,9.90,007,TRUE,,1.2.3,123456789012345678901\n")
        (document,), _ = read(path)
        assert document.metadata == {
            "year": 2020,
            "price": 9.9,
            "code": "007",
            "flag": True,
            "none": None,
            "version": "1.2.3",
            "far": "123456789012345678901",
        }

    def test_ids_and_texts_stay_as_they_are_written(self, tmp_path):
        (document,), _ = read(write(tmp_path / "a.csv", "id,text\n007,1.50\n"))
        assert document == Document("007", "1.50")

    @pytest.mark.parametrize(
        ("line", "reason"),
        [
            (b"b", "too few columns"),
            (b"b,x,y", "too many columns"),
            (b"b,\xff", "invalid UTF-8"),
            (b"b,\x00", "NUL bytes"),
            (b'b,"x"y', "malformed CSV"),
            (b",x", "empty id"),
            (b"b,", "empty text"),
        ],
    )
    def test_an_unusable_row_is_skipped_and_counted(self, tmp_path, line, reason):
        path = write(tmp_path / "corpus.csv", b'id,text\r\na,"two\r\nlines"\r\n' + line + b"\r\nc,x\r\n")
        documents, report = read(path)
        assert [document.id for document in documents] == ["a", "c"]
        assert report.skipped == {reason: 1}
        assert report.examples[reason][0].startswith(f"{path}:4: {reason}")

    def test_an_unclosed_quote_is_counted(self, tmp_path):
        documents, report = read(write(tmp_path / "a.csv", 'id,text\na,x\nb,"never closed\nc,x\n'))
        assert [document.id for document in documents] == ["a"]
        assert report.skipped == {"malformed CSV": 1}

    def test_long_fields_are_read(self, tmp_path):
        (document,), _ = read(write(tmp_path / "a.csv", "id,text\na," + "x" * 300_000))
        assert len(document.text) == 300_000

    @pytest.mark.parametrize(
        ("header", "options", "message"),
        [
            ("a,b", {}, "no id column: found columns 'a', 'b'"),
            ("id,b", {}, "no text column"),
            ("id,text,text", {}, "'text' occurs twice"),
            ("id,text", {"title": "heading"}, "no column 'heading'; found columns 'id', 'text'"),
            ("id,text", {"metadata": ["year"]}, "no column 'year'"),
            ("id,text", {"id": "key"}, "no column 'key'"),
        ],
    )
    def test_missing_columns_are_an_error_that_lists_those_found(self, tmp_path, header, options, message):
        reader = read_documents(write(tmp_path / "a.csv", header + "\n1,2\n"), **options)
        with pytest.raises(DocumentError, match=r"a\.csv: ") as caught:
            list(reader)
        assert message in str(caught.value)

    def test_names_of_columns_are_recognised_in_any_case(self, tmp_path):
        (document,), _ = read(write(tmp_path / "a.csv", "ID, Title ,Body\n1,t,x\n"))
        assert document == Document("1", "x", "t")

    def test_an_empty_file_has_no_documents(self, tmp_path):
        assert read(write(tmp_path / "a.csv", ""))[0] == []

    @given(st.binary(max_size=200))
    def test_random_bytes_never_raise(self, scratch, data):
        for name, header in (("a.csv", b"id,text\n"), ("a.tsv", b"id\ttext\n")):
            documents, report = read(write(scratch / name, header + data))
            assert report.read == len(documents)


class TestTsvAndMsMarco:
    def test_quotes_in_tsv_are_characters(self, tmp_path):
        documents, _ = read(write(tmp_path / "a.tsv", 'id\ttext\nq1\t"quoted\nq2\tinch 5"\n'))
        assert documents == [Document("q1", '"quoted'), Document("q2", 'inch 5"')]

    @pytest.mark.parametrize(
        ("line", "expected"),
        [
            ("0\tA passage", Document("0", "A passage")),
            ("D1\tThe title\tThe body", Document("D1", "The body", "The title")),
            ("D1\thttp://u\tTitle\tBody", Document("D1", "Body", "Title", {"url": "http://u"})),
        ],
    )
    def test_ms_marco_layouts(self, tmp_path, line, expected):
        path = write(tmp_path / "collection.tsv.gz", gzip.compress(line.encode() + b"\r\n"))
        assert read(path)[0] == [expected]
        assert read(tmp_path)[0] == [expected]

    def test_ms_marco_rows_of_other_widths_are_counted(self, tmp_path):
        documents, report = read(write(tmp_path / "collection.tsv", "0\tx\n1\n2\ty\tz\n3\tw\n"))
        assert [document.id for document in documents] == ["0", "3"]
        assert report.skipped == {"too few columns": 1, "too many columns": 1}

    def test_a_file_of_one_column_is_no_ms_marco_file(self, tmp_path):
        with pytest.raises(DocumentError, match="1 columns"):
            read(write(tmp_path / "collection.tsv", "only text\n"))
