"""What fuzzing of the readers has found: each fault is an error of ours or counted, in bounded time and memory."""

from __future__ import annotations

import decimal
import gzip
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.documents import Document, delimited, read_documents
from retrieval.errors import DocumentError

FAR = pyarrow.array([2**62, 1], pyarrow.int64())


def read(source, **options):
    reader = read_documents(source, **options)
    return list(reader), reader.report


def in_a_process(code, *arguments):
    """Run code that may end its process, or changes whose it is."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({1: "x"}, "no id column"),
        ({None: "x", "id": "a", "text": "x"}, "metadata key is not text"),
        ({"id": 10**5000, "text": "x"}, "id is too long"),
        ({"id": "a", "text": "x", "metadata": "{\ud800"}, "metadata value is not JSON"),
        ({"id": "a", "text": "x", "n": decimal.Decimal("sNaN")}, "metadata value is not JSON"),
    ],
)
def test_odd_mappings_are_counted(row, reason):
    documents, report = read([row, {"id": "b", "text": "y"}])
    assert documents == [Document("b", "y")]
    assert report.skipped == {reason: 1}


@pytest.mark.parametrize("name", ["corpus", "corpus.jsonl"])
def test_damaged_gzip_is_recognised_or_refused(tmp_path, name):
    packed = bytearray(gzip.compress(b'{"id":"a","text":"x"}\n' * 100))
    packed[10:30] = random.Random(0).randbytes(20)
    (tmp_path / name).write_bytes(packed)
    try:
        documents, report = read(tmp_path / name)
    except DocumentError as error:
        assert "not recognised" in str(error)  # without a name that tells
    else:
        assert (documents, report.skipped) == ([], {"damaged file": 1})


@pytest.fixture
def memory_folder():
    """A folder whose file system holds any time, where there is one."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        yield Path(folder)


@pytest.mark.parametrize("moment", [10**12, -(10**11)])
def test_files_of_years_beyond_the_calendar_have_no_date(memory_folder, moment):
    path = memory_folder / "a.txt"
    path.write_text("x")
    os.utime(path, (0, moment))
    if path.stat().st_mtime != moment:
        pytest.skip("the file system holds no such time")
    (document,), _ = read(path)
    assert document.metadata["modified"] is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
@pytest.mark.parametrize("name", ["pipe", "pipe.jsonl", "pipe.parquet"])
def test_pipes_and_devices_are_refused_at_once(tmp_path, name):
    os.mkfifo(tmp_path / name)
    for path in (tmp_path / name, "/dev/zero"):
        for form in (None, "jsonl", "csv", "parquet", "arrow", "html"):
            with pytest.raises(DocumentError, match="pipe or device"):
                read(path, format=form)


class TestDelimited:
    def test_a_header_that_cannot_be_read_is_not_replaced_by_the_next_row(self, tmp_path):
        (tmp_path / "a.csv").write_bytes(b"id,te\xff\nid,text\n1,x\n")
        with pytest.raises(DocumentError, match=r"header line cannot be read \(invalid UTF-8\)"):
            read(tmp_path / "a.csv")

    def test_rows_of_empty_values_are_counted(self, tmp_path):
        (tmp_path / "a.tsv").write_text("id\ttext\n\t\n1\tx\n\n")
        documents, report = read(tmp_path / "a.tsv")
        assert documents == [Document("1", "x")]
        assert report.skipped == {"empty id": 1}

    def test_a_row_without_end_is_bounded_and_says_which_lines_are_lost(self, tmp_path, monkeypatch):
        monkeypatch.setattr(delimited, "MAXIMUM_BYTES", 1000)
        (tmp_path / "a.csv").write_text("id,text\n1,x\n" + 'a,"' + '\n","' * 300 + '"\n2,y\n')
        documents, report = read(tmp_path / "a.csv")
        assert documents[0] == Document("1", "x")
        assert "lines 3 to 25" in report.examples["malformed CSV"][0]


class TestTables:
    @pytest.mark.parametrize(
        "column",
        [
            FAR.cast(pyarrow.timestamp("us")),
            FAR.cast(pyarrow.timestamp("ms", "UTC")),
            pyarrow.array([10**7, 1], pyarrow.int32()).cast(pyarrow.date32()),
            pyarrow.array([[2**62], [1]], pyarrow.list_(pyarrow.timestamp("us"))),
        ],
    )
    @pytest.mark.parametrize("suffix", ["parquet", "arrow"])
    def test_dates_beyond_the_calendar_cost_their_row_only(self, tmp_path, suffix, column):
        table = pyarrow.table({"id": ["a", "b"], "text": ["x", "y"], "at": column})
        path = tmp_path / f"a.{suffix}"
        if suffix == "parquet":
            pyarrow.parquet.write_table(table, path)
        else:
            with pyarrow.ipc.new_file(str(path), table.schema) as writer:
                writer.write_table(table)
        documents, report = read(path)
        assert [document.id for document in documents] == ["b"]
        assert report.skipped == {"undecodable row": 1}

    def test_columns_that_share_a_beginning_are_kept_apart(self, tmp_path):
        table = pyarrow.table({"id": ["a"], "text": ["x"], "a": [{"b": b"bytes"}], "a.b": [1]})
        pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
        documents, report = read(tmp_path / "a.parquet")
        assert documents == [Document("a", "x", metadata={"a.b": 1})]
        assert report.noted == {"column left out of the metadata": 1}

    def test_an_arrow_stream_that_ends_before_its_file_is_damaged(self, tmp_path):
        path = tmp_path / "a.arrow"
        table = pyarrow.table({"id": ["a", "b"], "text": ["x", "y"]})
        with pyarrow.ipc.new_stream(str(path), table.schema) as writer:
            writer.write_table(table)
        assert read(path)[1].skipped == {}
        end_of_stream = b"\xff\xff\xff\xff\0\0\0\0"
        data = path.read_bytes()
        second = data.index(b"\xff\xff\xff\xff", 4)
        path.write_bytes(data[:second] + end_of_stream + data[second + 8 :])
        documents, report = read(path)
        assert (documents, report.skipped) == ([], {"damaged file": 1})

    def test_an_arrow_file_that_shrinks_while_it_is_read_does_not_end_the_process(self, tmp_path):
        path = tmp_path / "a.arrow"
        table = pyarrow.table({"id": [str(n) for n in range(5000)], "text": ["x" * 500] * 5000})
        with pyarrow.ipc.new_file(str(path), table.schema) as writer:
            writer.write_table(table)
        code = (
            "import os, sys; from pathlib import Path; from retrieval.documents import read_documents\n"
            "reader = read_documents(Path(sys.argv[1])); documents = iter(reader); next(documents)\n"
            "os.truncate(sys.argv[1], 4096); count = 1 + sum(1 for _ in documents)\n"
            "print(count, reader.report.skipped)"
        )
        done = in_a_process(code, path)
        assert (done.returncode, done.stdout) == (0, "1024 {'damaged file': 1}\n"), done.stderr


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("a.html", " "),
        ("a.html", "<a "),
        ("a.html", '<a b="'),
        ("a.html", "<!--"),
        ("a.md", "["),
        ("a.md", "<!--"),
        ("a.md", "**a"),
        ("a.rst", "`a `a `a\n"),
        ("a.rst", "a_ b_ c_ \n"),
        ("a.rst", ":::::::::\n"),
    ],
)
def test_markup_is_read_in_linear_time(tmp_path, name, unit):
    """Each of these took quadratic time: minutes for 200,000 characters."""
    path = tmp_path / name
    path.write_text("words " + unit * (200_000 // len(unit)) + " end")
    start = time.process_time()
    (document,), _ = read(path)
    assert "words" in document.full_text
    assert "end" in document.full_text
    assert time.process_time() - start < 20


def test_deeply_nested_lists_are_read_as_text_and_noted(tmp_path):
    (tmp_path / "a.rst").write_text(f"{'- ' * 40}word\n" * 100)
    (document,), report = read(tmp_path / "a.rst")
    assert document.text.count("word") == 100
    assert report.noted == {"markup read as plain text": 1}


def test_roles_of_one_document_do_not_reach_the_next(tmp_path):
    (tmp_path / "a.rst").write_text(".. default-role:: literal\n\n.. role:: mine(strong)\n\n:mine:`x`\n")
    (tmp_path / "b.rst").write_text(":mine:`x` `y`\n")
    alone, _ = read(tmp_path / "b.rst")
    assert read(tmp_path)[0][-1].text == alone[0].text
    from docutils.parsers.rst import roles

    assert "mine" not in roles._roles
    assert "" not in roles._roles


def test_front_matter_without_a_title_takes_no_other_line(tmp_path):
    (tmp_path / "a.md").write_text("---\ntitle:\nauthor: x\n---\n# Head\ntext\n")
    assert read(tmp_path / "a.md")[0][0].title == "Head"


def test_pages_of_too_many_tags_are_text(tmp_path, monkeypatch):
    monkeypatch.setattr("retrieval.documents.html_text.MOST_TAGS", 100)
    (tmp_path / "a.html").write_text("<b>word" * 101)
    (document,), report = read(tmp_path / "a.html")
    assert document.text.count("word") == 101
    assert report.noted == {"markup read as plain text": 1}


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only the superuser can become another")
@pytest.mark.parametrize("mode", [0o000, 0o444, 0o111])
def test_a_folder_that_may_not_be_read_or_entered(mode):
    """Run as a user without rights: no foreign error, and nothing missing in silence."""
    code = (
        "import os, sys, tempfile; from pathlib import Path\n"
        "from retrieval.documents import read_documents; from retrieval.errors import DocumentError\n"
        "from eval.testsets import read_testset; from eval.errors import TestSetError\n"
        "root = Path(tempfile.mkdtemp()); root.chmod(0o755); folder = root / 'f'; folder.mkdir()\n"
        "(folder / 'a.txt').write_text('x'); list(read_documents(folder)); folder.chmod(int(sys.argv[1]))\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try:\n    reader = read_documents(folder); print(len(list(reader)), reader.report.skipped)\n"
        "except DocumentError as error:\n    print('refused', 'Permission denied' in str(error))\n"
        "try:\n    read_testset(folder)\nexcept TestSetError:\n    print('no test set')\n"
    )
    done = in_a_process(code, mode)
    expected = "0 {'unreadable file': 1}" if mode == 0o444 else "refused True"
    assert done.stdout == f"{expected}\nno test set\n", done.stderr


@given(st.binary(max_size=300), st.sampled_from(["parquet", "arrow"]))
def test_random_bytes_are_no_table(tmp_path_factory, data, suffix):
    path = tmp_path_factory.getbasetemp() / f"fuzz.{suffix}"
    magic = b"PAR1" if suffix == "parquet" else b"ARROW1\0\0"
    path.write_bytes(magic + data + magic.rstrip(b"\0"))
    with pytest.raises(DocumentError, match="is no readable"):
        read(path)


def test_a_header_of_very_many_columns_is_read_in_linear_time(tmp_path):
    path = tmp_path / "wide.csv"
    path.write_text("," * 200_000, encoding="utf-8")
    with pytest.raises(DocumentError, match="no id column"):  # minutes, if every name were looked for in all others
        read(path)
