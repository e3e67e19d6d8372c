"""A folder of text files, walked in a fixed order; each file is one document."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from retrieval.documents.report import ReadReport
from retrieval.documents.rows import Item
from retrieval.documents.text_files import kind_of, read_text_file
from retrieval.errors import DocumentError, MissingExtraError


def read_folder(folder: Path, report: ReadReport) -> Iterator[Item]:
    """Read every text, Markdown, HTML, reStructuredText and PDF file below a folder, sorted by path.

    The id is the path below the folder. Hidden files and folders, files of other kinds, links to folders and links
    that leave the folder are not read, but noted.

    Raises:
        DocumentError: The path is no folder that can be read.
    """
    for path in walk(folder, report):
        name = path.relative_to(folder).as_posix()
        kind = kind_of(path)
        if kind is None:
            report.note(str(path), "file of another kind")
            continue
        try:
            document = read_text_file(path, name, kind, report)
        except DocumentError as error:
            if report.strict:
                raise
            report.skip(str(path), "unreadable file", str(error))
        except MissingExtraError as error:
            report.skip(str(path), "missing package", str(error))
        else:
            if document is not None:
                yield document, None


def walk(folder: Path, report: ReadReport) -> Iterator[Path]:
    """Yield the regular, visible files below a folder, each once, in the order of their names.

    A link to a folder is not followed: what it leads to is read under its own name, or lies outside.
    """
    try:
        root = folder.resolve(strict=True)
    except OSError as error:
        raise DocumentError(f"cannot read {folder}: {error.strerror or error}") from None
    waiting = [folder]
    while waiting:
        current = waiting.pop()
        try:
            with os.scandir(current) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            if current is folder:
                raise DocumentError(f"cannot read {folder}: {error.strerror or error}") from None
            report.skip(str(current), "unreadable folder", error.strerror or str(error))
            continue
        below = []
        for entry in entries:
            path = current / entry.name
            if entry.name.startswith("."):
                report.note(str(path), "hidden file or folder")
            elif entry.is_dir(follow_symlinks=False):
                below.append(path)
            elif entry.is_symlink() and not _stays_inside(path, root):
                report.note(str(path), "link not followed", "it leads to a folder, to nothing, or out of the folder")
            elif entry.is_file():
                yield path
            else:
                report.note(str(path), "no regular file")
        waiting.extend(reversed(below))


def _stays_inside(link: Path, root: Path) -> bool:
    try:
        target = link.resolve(strict=True)
        return target.is_file() and target.is_relative_to(root)
    except (OSError, RuntimeError):  # RuntimeError: a loop of links, before Python 3.13
        return False
