"""Folders of text files: which are read, in which order, with which ids, titles and metadata."""

from __future__ import annotations

import datetime
import gzip
import os
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.documents import Document, read_documents, streams
from retrieval.errors import DocumentError, MissingExtraError


def read(path, **options):
    reader = read_documents(path, **options)
    return list(reader), reader.report


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "docs"
    (root / "sub" / "deep").mkdir(parents=True)
    (root / "b.txt").write_text("plain é")
    (root / "a.md").write_text("# Heading\nbody")
    (root / "sub" / "page.HTML").write_text("<title>Page</title><p>words")
    (root / "sub" / "deep" / "notes.rst").write_text("Notes\n=====\n\ntext")
    return root


def test_files_become_documents_in_the_order_of_their_paths(folder):
    os.utime(folder / "a.md", (0, 1_700_000_000))
    documents, report = read(folder)
    assert [(document.id, document.title, document.text) for document in documents] == [
        ("a.md", "Heading", "body"),
        ("b.txt", "b", "plain é"),
        ("sub/page.HTML", "Page", "words"),
        ("sub/deep/notes.rst", "Notes", "text"),
    ]
    assert documents[0].metadata == {"path": "a.md", "modified": "2023-11-14T22:13:20+00:00", "format": "markdown"}
    assert [document.metadata["format"] for document in documents[1:]] == ["text", "html", "rst"]
    assert all(datetime.datetime.fromisoformat(document.metadata["modified"]) for document in documents)
    assert (report.read, report.skipped, report.noted) == (4, {}, {})


def test_hidden_files_and_other_kinds_are_noted(folder):
    (folder / ".git").mkdir()
    (folder / ".git" / "x.txt").write_text("hidden")
    (folder / ".hidden.txt").write_text("hidden")
    (folder / "image.png").write_bytes(b"\x89PNG")
    (folder / "Makefile").write_text("all:")
    documents, report = read(folder, strict=True)
    assert len(documents) == 4
    assert report.noted == {"hidden file or folder": 2, "file of another kind": 2}


def test_links_that_leave_or_loop_are_not_followed(folder, tmp_path):
    (tmp_path / "secret.txt").write_text("outside")
    (folder / "leaves.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "up").symlink_to(tmp_path)
    (folder / "loop").symlink_to(folder)
    (folder / "self.txt").symlink_to(folder / "self.txt")
    (folder / "gone.txt").symlink_to(folder / "nothing.txt")
    (folder / "sub" / "alias.txt").symlink_to(folder / "b.txt")
    documents, report = read(folder)
    assert [document.id for document in documents] == [
        "a.md",
        "b.txt",
        "sub/alias.txt",
        "sub/page.HTML",
        "sub/deep/notes.rst",
    ]
    assert report.noted == {"link not followed": 5}


def test_a_linked_folder_can_be_read_itself(folder, tmp_path):
    (tmp_path / "link").symlink_to(folder)
    assert [document.id for document in read(tmp_path / "link")[0]] == [document.id for document in read(folder)[0]]


@pytest.mark.skipif(sys.platform == "win32", reason="no named pipes")
def test_a_named_pipe_is_not_opened(folder):
    os.mkfifo(folder / "pipe.txt")
    documents, report = read(folder)
    assert len(documents) == 4
    assert report.noted == {"no regular file": 1}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty text"),
        (b" \n\t", "empty text"),
        (b"caf\xe9", "invalid UTF-8"),
        (b"a\x00b", "NUL bytes"),
        (b"\xff\xfea", "invalid UTF-16"),
    ],
)
def test_unusable_files_are_counted(folder, data, reason):
    (folder / "z.txt").write_bytes(data)
    documents, report = read(folder)
    assert len(documents) == 4
    assert report.skipped == {reason: 1}
    with pytest.raises(DocumentError, match=r"z\.txt: "):
        read(folder, strict=True)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_byte_order_marks_are_understood(folder, encoding):
    (folder / "b.txt").write_bytes("plain é".encode(encoding))
    assert read(folder)[0][1].text == "plain é"


def test_a_page_may_declare_its_encoding(folder):
    (folder / "old.html").write_bytes('<meta charset="iso-8859-1"><title>Caf\xe9</title>\xe9t\xe9'.encode("latin-1"))
    (folder / "odd.html").write_bytes(b'<meta charset="no-such"><p>\xe9')
    documents, report = read(folder)
    assert documents[2].title == "Café"
    assert documents[2].text == "été"
    assert report.skipped == {"invalid text": 1}


def test_markup_that_breaks_its_parser_is_read_as_text_and_noted(folder):
    (folder / "long.rst").write_text("word " * 3000)
    documents, report = read(folder)
    assert documents[2].id == "long.rst"
    assert documents[2].text == ("word " * 3000).strip()
    assert report.noted == {"markup read as plain text": 1}


def test_a_file_that_is_too_large_is_skipped(folder, monkeypatch):
    monkeypatch.setattr(streams, "MAXIMUM_BYTES", 100)
    (folder / "z.txt").write_text("x" * 101)
    assert read(folder)[1].skipped == {"file too large": 1}


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_unreadable_files_and_folders_are_counted(folder):
    (folder / "b.txt").chmod(0)
    (folder / "sub").chmod(0)
    try:
        documents, report = read(folder)
    finally:
        (folder / "sub").chmod(0o755)
    assert [document.id for document in documents] == ["a.md"]
    assert report.skipped == {"unreadable file": 1, "unreadable folder": 1}


def test_file_names_that_are_no_text_are_counted(folder):
    name = os.fsdecode(b"bad\xff.txt")
    try:
        (folder / name).write_text("x")
    except OSError:
        pytest.skip("the file system refuses such names")
    documents, report = read(folder)
    assert len(documents) == 4
    assert report.skipped == {"lone surrogate": 1}
    assert report.summary().encode()


def test_pdf_needs_its_extra(folder, monkeypatch):
    (folder / "paper.pdf").write_bytes(b"%PDF-1.4")
    assert read(folder)[1].skipped == {"unreadable PDF": 1}
    monkeypatch.setitem(sys.modules, "pypdf", None)
    documents, report = read(folder)
    assert len(documents) == 4
    assert report.skipped == {"missing package": 1}
    assert "pip install 'retrieval-engine[pdf]'" in report.examples["missing package"][0]
    with pytest.raises(MissingExtraError, match=r"retrieval-engine\[pdf\]"):
        read(folder / "paper.pdf")


def test_a_single_file_is_a_document(folder):
    assert read(folder / "a.md")[0][0].id == "a.md"
    (document,), _ = read(folder / "b.txt", format="markdown")
    assert document.metadata["format"] == "markdown"
    (folder / "c.txt.gz").write_bytes(gzip.compress(b"packed"))
    assert read(folder / "c.txt.gz")[0][0].text == "packed"


def test_an_empty_folder_has_no_documents(tmp_path):
    assert read(tmp_path)[0] == []


words = st.text(st.characters(exclude_categories=["Cs"]), max_size=100).map(str.encode)


@given(st.binary(max_size=200) | words, st.sampled_from(["html", "rst", "md", "txt"]))
def test_random_bytes_never_raise(tmp_path_factory, data, suffix):
    path = tmp_path_factory.getbasetemp() / f"fuzz.{suffix}"
    path.write_bytes(data)
    documents, report = read(path)
    assert report.read == len(documents)
    assert len(documents) + report.n_skipped == 1
    assert all(isinstance(document, Document) for document in documents)
