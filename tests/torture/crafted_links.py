"""Indexes in which something else stands in the place of a file or a directory: links, pipes, directories."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

PLACES = [
    "manifest.json",
    "manifest.json.tmp",
    "writer.lock",
    "parts",
    "parts/documents",
    "parts/lexical",
    "parts/tombstones",
    "parts/dense",
    "parts/leftover",
    "parts/documents/texts-bytes.npy",
    "parts/documents/block-checksums.json",
    "parts/documents/sequences.npy",
    "parts/lexical/postings-rows.npy",
    "parts/dense/vectors.npy",
    "parts/tombstones/deleted-rows.npy",
    "staging",
    "staging/key",
    "staging/key/block",
    "staging/other",
]


def _to_file(path: Path, sentinel: Path, original: Path | None) -> None:
    path.symlink_to(sentinel / "file")


def _to_directory(path: Path, sentinel: Path, original: Path | None) -> None:
    path.symlink_to(sentinel / "directory")


def _to_the_same(path: Path, sentinel: Path, original: Path | None) -> None:
    """Link to what was there, byte by byte the same, outside."""
    path.symlink_to(original or sentinel / "file")


def _to_nothing(path: Path, sentinel: Path, original: Path | None) -> None:
    path.symlink_to(sentinel / "missing")


def _to_itself(path: Path, sentinel: Path, original: Path | None) -> None:
    path.symlink_to(path)


def _pipe(path: Path, sentinel: Path, original: Path | None) -> None:
    os.mkfifo(path)


def _directory(path: Path, sentinel: Path, original: Path | None) -> None:
    path.mkdir()


def _file(path: Path, sentinel: Path, original: Path | None) -> None:
    path.write_bytes(b"not what is expected here")


def _second_name(path: Path, sentinel: Path, original: Path | None) -> None:
    (path if not path.is_dir() else path / "second-name").hardlink_to(sentinel / "file")


REPLACEMENTS: list[Callable[[Path, Path, Path | None], None]] = [
    _to_file, _to_directory, _to_the_same, _to_nothing, _to_itself, _pipe, _directory, _file, _second_name
]  # fmt: skip

CASES = [(place, replacement) for place in PLACES for replacement in REPLACEMENTS]


def make_sentinel(folder: Path) -> None:
    """Make what must stay untouched, with whole collections in it that links can lead to."""
    (folder / "directory").mkdir(parents=True)
    (folder / "file").write_text("untouched")
    (folder / "directory" / "inner.safetensors").write_text("untouched")


def craft(templates: dict[str, Path], directory: Path, sentinel: Path, case: int) -> tuple[str, str]:
    """Make the index of a case; returns the template's name and what was put where."""
    place, replace = CASES[case]
    name = "passages" if place.startswith(("staging", "parts/dense")) else "given"
    shutil.copytree(templates[name], directory)
    (directory / "writer.lock").unlink(missing_ok=True)
    path = directory / Path(*_parts(place, directory, sentinel.parent))
    original = templates[name] / path.relative_to(directory)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    replace(path, sentinel, original if original.exists() else None)
    return name, f"{place}: {replace.__name__}"


def _parts(place: str, directory: Path, folder: Path) -> Iterator[str]:
    """Fill in the names of a part, and of the folder and a block of the staging area."""
    for part in place.split("/"):
        if place.startswith("parts/") and part in ("documents", "lexical", "dense", "tombstones"):
            yield next(path.name for path in sorted((directory / "parts").iterdir()) if path.name.endswith(part))
        elif part == "leftover":
            yield "00000099-documents"
        elif part == "key":
            yield (folder / "staging-key").read_text()
        elif part == "block":
            yield "0" * 64 + ".safetensors"
        else:
            yield part
