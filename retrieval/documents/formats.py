"""The formats that documents are read from, and how one is recognised."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

from retrieval.documents.arrow_tables import read_arrow, read_parquet
from retrieval.documents.columns import Columns
from retrieval.documents.delimited import read_csv, read_msmarco, read_tsv
from retrieval.documents.folder import read_folder, walk
from retrieval.documents.json_values import shorten
from retrieval.documents.jsonl import read_jsonl
from retrieval.documents.report import ReadReport
from retrieval.documents.rows import Item
from retrieval.documents.streams import DAMAGE, check_regular, open_bytes
from retrieval.documents.text_files import KINDS, kind_of, read_text_file
from retrieval.errors import DocumentError

Read: TypeAlias = Callable[[Path, Columns, ReadReport], Iterator[Item]]

_TABLES: dict[str, Read] = {
    "jsonl": read_jsonl,
    "csv": read_csv,
    "tsv": read_tsv,
    "parquet": read_parquet,
    "arrow": read_arrow,
    "msmarco": read_msmarco,
}
_TEXT_KINDS = tuple(dict.fromkeys(KINDS.values()))
FORMATS = ("folder", "beir", *_TABLES, *_TEXT_KINDS, "ir_datasets")

_SUFFIXES = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
}
_MAGIC = ((b"PAR1", "parquet"), (b"ARROW1", "arrow"), (b"%PDF-", "pdf"), (b"{", "jsonl"))
_COMPRESSED = (".gz", ".zst")
_BEIR_CORPUS = ("corpus.jsonl", "corpus.jsonl.gz", "corpus.jsonl.zst")
_MARCO_COLLECTION = ("collection.tsv", "collection.tsv.gz", "collection.tsv.zst")


def check_format(name: str) -> None:
    """Raise a `DocumentError` that lists the formats unless this is one."""
    if name not in FORMATS:
        raise DocumentError(f"unknown format {name!r}; the formats are {', '.join(FORMATS)}")


def check_exists(path: Path) -> None:
    """Raise a `DocumentError` unless there is a file or folder at this path, and no pipe or device."""
    try:
        check_regular(path, path.stat())
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a NUL in the name
        raise DocumentError(f"no such file or folder: {shorten(str(path), 200)[1:-1]}") from None
    except OSError as error:
        raise DocumentError(f"cannot read {shorten(str(path), 200)[1:-1]}: {error.strerror or error}") from None


def recognise_format(path: Path) -> str:
    """Tell the format of a file or folder by its name, by what a folder holds, or by a file's first bytes.

    Raises:
        DocumentError: There is no such file or folder, or nothing tells its format.
    """
    check_exists(path)
    if path.is_dir():
        if _first_file(path, _BEIR_CORPUS):
            return "beir"
        return "msmarco" if _first_file(path, _MARCO_COLLECTION) else "folder"
    if path.name in _MARCO_COLLECTION:
        return "msmarco"
    plain = path.with_suffix("") if path.suffix.lower() in _COMPRESSED else path
    return _SUFFIXES.get(plain.suffix.lower()) or kind_of(plain) or _recognise_content(path)


def read_path(path: Path, name: str, columns: Columns, report: ReadReport) -> Iterator[Item]:
    """Read a file or folder in the named format.

    Raises:
        DocumentError: The path does not fit the format, or cannot be read at all.
    """
    check_exists(path)
    if name == "folder":
        if not path.is_dir():
            raise DocumentError(f"{path} is no folder; leave the format out to read it as what it is")
        yield from read_folder(path, report)
    elif name in _TEXT_KINDS:
        if path.is_dir():
            raise DocumentError(f"{path} is a folder; read it with the format 'folder'")
        document = read_text_file(path, path.name, name, report)
        if document is not None:
            yield document, None
    elif name == "beir":
        yield from read_jsonl(_beir_corpus(path), columns, report)
    else:
        for file in _files(path, name, report):
            yield from _TABLES[name](file, columns, report)


def _files(path: Path, name: str, report: ReadReport) -> Iterator[Path]:
    """Yield the file itself, or the files of the format below a folder."""
    if not path.is_dir():
        yield path
    elif name == "msmarco":
        collection = _first_file(path, _MARCO_COLLECTION)
        if collection is None:
            raise DocumentError(f"{path} holds no {' or '.join(_MARCO_COLLECTION)}")
        yield collection
    else:
        found = False
        for file in walk(path, report):
            plain = file.with_suffix("") if file.suffix.lower() in _COMPRESSED else file
            if _SUFFIXES.get(plain.suffix.lower()) == name:
                found = True
                yield file
        if not found:
            raise DocumentError(f"{path} holds no {name} files")


def _beir_corpus(path: Path) -> Path:
    if not path.is_dir():
        return path
    corpus = _first_file(path, _BEIR_CORPUS)
    if corpus is None:
        raise DocumentError(f"{path} is no BEIR folder: it holds no {' or '.join(_BEIR_CORPUS)}")
    return corpus


def _first_file(folder: Path, names: tuple[str, ...]) -> Path | None:
    return next((folder / name for name in names if _is_file(folder / name)), None)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a folder that may be listed, but not entered
        return False


def _recognise_content(path: Path) -> str:
    with open_bytes(path) as stream:
        try:
            head = stream.peek(64).removeprefix(b"\xef\xbb\xbf").lstrip()
        except DAMAGE:
            head = b""
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    if head.startswith(b"["):
        raise DocumentError(f"{path} is one JSON array; write one object a line (jq -c '.[]' turns it into JSON lines)")
    raise DocumentError(f"the format of {path} is not recognised; name one of {', '.join(FORMATS)}")
