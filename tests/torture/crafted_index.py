"""Indexes to be crafted: small collections, changes to their bytes and their manifest, and new checksums over all.

Every change is drawn from a random generator, so that a seed and a number reproduce it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import shutil
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from indexes import block_checksums
from retrieval import BM25Settings, ChunkSettings, Collection, Document, Fields, FunctionEncoder
from tests.indexes.format_one_files import to_format_one
from tests.torture.crafted_files import change_block_checksums, change_file, load
from tests.torture.crafted_lists import change_chunks, change_packed_list
from tests.torture.crafted_manifest import DIMENSION, change_manifest

WORDS = ["owl", "night", "fly", "winter", "swim", "song", "nest", "egg", "東京", "mice"]


# --- Collections to start from ----------------------------------------------------------------------------------------


def encoder() -> FunctionEncoder:
    """Return an encoder that reads six words, so that longer documents have several passages."""

    def vectors(texts: Any) -> np.ndarray:
        return np.array([[text.count(word) + 0.25 for word in WORDS[:DIMENSION]] for text in texts], np.float32)

    return FunctionEncoder(vectors, name="crafted", version="1", dimension=DIMENSION, max_tokens=6)


def open_template(name: str, directory: Path) -> Collection:
    """Open a collection that began as a copy of a template."""
    return Collection.open(directory, encoder=encoder() if name == "passages" else None)


def make_templates(folder: Path) -> dict[str, Path]:
    """Make the collections: given vectors, words only, an encoder with several passages a document, and format 1."""
    random_ = random.Random(1)
    given = Collection.create(folder / "given", encoder=None)
    given.add(_documents(0, 12, random_), vectors=_vectors(12, random_))
    given.add(_documents(12, 8, random_), vectors=_vectors(8, random_))
    given.add(_documents(20, 4, random_), vectors=_vectors(4, random_))
    given.delete(["d1", "d5", "d13"])
    words = Collection.create(folder / "words", encoder=None, fields=Fields(2.5, 1), bm25=BM25Settings(k1=0.9, b=1.0))
    words.add(_documents(0, 15, random_))
    passages = Collection.create(folder / "passages", encoder=encoder(), long=ChunkSettings(overlap_tokens=1))
    passages.add(_documents(0, 10, random_))
    passages.add(_documents(10, 6, random_))
    passages.delete(["d2"])
    old = Path(shutil.copytree(folder / "given", folder / "old"))
    manifest = read_manifest(old)
    manifest["format"] = 1
    for name, record in part_records(manifest).items():
        if name.endswith("-lexical"):
            to_format_one(old / "parts" / name)
            sign_part(old / "parts" / name, record)
    write_manifest(old, manifest)
    return {path.name: path for path in (folder / "given", folder / "words", folder / "passages", old)}


def _documents(first: int, count: int, random_: random.Random) -> list[Document]:
    documents = []
    for number in range(first, first + count):
        text = " ".join(random_.choices(WORDS, k=random_.randint(1, 14)))
        metadata = {"year": 2000 + number, "tags": random_.sample("abc", 2), "a": {"b": number % 3}}
        title = " ".join(random_.choices(WORDS, k=2)) if number % 2 else ""
        documents.append(Document(f"d{number}", text, title, metadata if number % 3 else {}))
    return documents


def _vectors(count: int, random_: random.Random) -> np.ndarray:
    return np.array([[random_.gauss(0, 1) for _ in range(DIMENSION)] for _ in range(count)], np.float32)


# --- Signing ----------------------------------------------------------------------------------------------------------


def sign_part(directory: Path, record: dict[str, Any], *, blocks: bool = True) -> None:
    """Make checksums and the manifest's record of a part fit its files.

    Args:
        directory: the part.
        record: what the manifest says of it; changed.
        blocks: whether to write the block checksums anew.
    """
    files = {path.name: path.read_bytes() for path in sorted(directory.iterdir()) if path.is_file()}
    if blocks:
        files.pop(block_checksums.NAME, None)
        size = block_checksums.BLOCK
        sums = {
            name: [zlib.crc32(content[at : at + size]) for at in range(0, len(content), size)]
            for name, content in files.items()
        }
        files[block_checksums.NAME] = block_checksums.encode_checksums(sums)
        (directory / block_checksums.NAME).write_bytes(files[block_checksums.NAME])
    record["files"] = {
        name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()} for name, content in files.items()
    }


def read_manifest(directory: Path) -> dict[str, Any]:
    """Return the manifest as plain values."""
    return json.loads((directory / "manifest.json").read_bytes())["manifest"]


def write_manifest(directory: Path, manifest: Any) -> None:
    """Write a manifest, whatever is in it, with a checksum that fits."""
    content = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
    digest = hashlib.sha256(content).hexdigest().encode()
    (directory / "manifest.json").write_bytes(b'{"sha256": "' + digest + b'", "manifest":\n' + content + b"}\n")


def part_records(manifest: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the manifest's records of parts, by name; changing one changes the manifest."""
    records = []
    for segment in manifest["segments"]:
        dense = segment.get("dense")
        sparse = segment.get("sparse")
        records += [segment["documents"], segment["lexical"], segment.get("tombstones"), dense and dense["part"]]
        records += [sparse and sparse["part"], *(tokens["part"] for tokens in segment.get("tokens", {}).values())]
    return {record["name"]: record for record in records if record}


# --- One crafted index ------------------------------------------------------------------------------------------------


def craft(templates: dict[str, Path], directory: Path, random_: random.Random) -> tuple[str, str]:
    """Make a crafted index; returns the template's name and what was changed.

    Args:
        templates: what to start from, never changed.
        directory: where it goes; must not exist.
        random_: decides everything.
    """
    name = random_.choice(["given", "passages", "passages", "words", "old"])
    shutil.copytree(templates[name], directory, copy_function=shutil.copyfile)
    (directory / "writer.lock").unlink(missing_ok=True)
    manifest = read_manifest(directory)
    changes: list[str] = []
    kind = random_.random()
    if kind < 0.75:
        files = [path for template in templates.values() for path in sorted(template.rglob("*.npy"))]
        mine = sorted(directory.rglob("*.npy"))
        for _ in range(random_.choice([1, 1, 1, 2, 3])):
            path = random_.choice(mine)
            lists = path.parent if path.parent.name.endswith("-lexical") and name != "old" else None
            if lists and random_.random() < 0.4:
                with contextlib.suppress(Exception):  # whatever an earlier change makes numpy raise
                    changes.append(random_.choice([change_packed_list, change_chunks])(lists, random_))
            elif path.exists():
                changes.append(change_file(path, random_, files))
        records = part_records(manifest)
        for part in sorted({path.parent for path in mine}):
            sign_part(part, records[part.name])
        if random_.random() < 0.3:
            _fit_counts(directory, manifest)
            changes.append("counts fitted")
    elif kind < 0.8:
        path = random_.choice(sorted(directory.rglob(block_checksums.NAME)))
        changes.append(change_block_checksums(path, random_))
        sign_part(path.parent, part_records(manifest)[path.parent.name], blocks=False)
    if kind >= 0.8 or random_.random() < 0.05:
        changes.append(change_manifest(manifest, random_))
        if random_.random() < 0.3:  # where the first change left something to change
            with contextlib.suppress(AttributeError, IndexError, KeyError, TypeError, ValueError):
                changes.append(change_manifest(manifest, random_))
    if random_.random() < 0.01:
        deep = b'{"format": 1, "generation": 1, "settings": {"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}"
        write_manifest(directory, deep)
        return name, "manifest: very deep"
    write_manifest(directory, manifest)
    return name, "; ".join(changes)


def _fit_counts(directory: Path, manifest: dict[str, Any]) -> None:
    """Let the manifest count what the files now hold, so that they are looked at more closely."""
    for segment in manifest["segments"]:
        parts = directory / "parts"
        sequences = load(parts / segment["documents"]["name"] / "sequences.npy")
        if sequences is not None:
            segment["n_documents"] = sequences.size
        if segment.get("dense"):
            vectors = load(parts / segment["dense"]["part"]["name"] / "vectors.npy")
            if vectors is not None and vectors.ndim:
                segment["dense"]["n_passages"] = len(vectors)
        if segment.get("tombstones"):
            deleted = load(parts / segment["tombstones"]["name"] / "deleted-rows.npy")
            if deleted is not None:
                segment["n_deleted"] = deleted.size
