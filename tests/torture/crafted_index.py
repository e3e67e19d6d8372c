"""Indexes to be crafted: small collections, changes to their bytes and their manifest, and new checksums over all.

Every change is drawn from a random generator, so that a seed and a number reproduce it.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import json
import random
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from indexes import block_checksums
from retrieval import BM25Settings, ChunkSettings, Collection, Document, Fields, FunctionEncoder

WORDS = ["owl", "night", "fly", "winter", "swim", "song", "nest", "egg", "東京", "mice"]
DIMENSION = 6
_HEADER = 128  # bytes before the numbers in every file that numpy writes here

EXTREMES = [-1, 0, 1, 2, 255, 2**15, 2**31 - 1, -(2**31), 2**31, 2**32, 2**53, 2**62, 2**63 - 1, -(2**63)]
ODD_NUMBERS = [*EXTREMES, 2**63, 2**64, 10**30, -(10**30), 1.5, 1e308, -0.0]
ODD_NAMES = [
    "",
    ".",
    "..",
    "../sentinel",
    "../../sentinel",
    "/etc/passwd",
    "00000001-documents/../../../sentinel",
    "00000001-documents\0",
    "00000001-documents\n",
    "٠٠٠٠٠٠٠١-documents",
    "00000001-Documents",
    "9" * 5000 + "-documents",
    "a" * 300,
    "manifest.json",
    "\ud7ff",
]


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
    """Make the collections: given vectors, words only, and an encoder with several passages a document."""
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
    return {path.name: path for path in (folder / "given", folder / "words", folder / "passages")}


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
        records += [segment["documents"], segment["lexical"], segment.get("tombstones"), dense and dense["part"]]
    return {record["name"]: record for record in records if record}


# --- Changes to files -------------------------------------------------------------------------------------------------


def _load(path: Path) -> np.ndarray | None:
    try:
        return np.load(path, allow_pickle=False)
    except Exception:  # whatever an earlier change makes numpy raise
        return None


def _save(path: Path, array: np.ndarray) -> None:
    stream = io.BytesIO()
    np.save(stream, array)
    path.write_bytes(stream.getvalue())


def _numbers(path: Path, random_: random.Random) -> str:
    """Change some numbers of an array."""
    array = _load(path)
    if array is None or not array.size:
        return _noise(path, random_)
    flat = array.copy().reshape(-1)
    for _ in range(random_.choice([1, 1, 1, 2, 5])):
        at = random_.choice([0, len(flat) - 1, random_.randrange(len(flat)), random_.randrange(len(flat))])
        flat[at] = _number(flat, at, random_)
    _save(path, flat.reshape(array.shape))
    return "numbers"


def _number(flat: np.ndarray, at: int, random_: random.Random) -> Any:
    if flat.dtype.kind == "f":
        return random_.choice([np.nan, np.inf, -np.inf, 0.0, 1e38, -1e38, 1e-45, float(flat[at]) * 2, 1e15])
    information = np.iinfo(flat.dtype)
    wanted = random_.choice(
        [
            *EXTREMES,
            int(flat[at]) + 1,
            int(flat[at]) - 1,
            int(flat[random_.randrange(len(flat))]),
            int(information.max),
            int(information.min),
            int(flat.max()) + 1,
            random_.randrange(int(information.min), int(information.max)),
        ]
    )
    return min(max(wanted, int(information.min)), int(information.max))


def _order(path: Path, random_: random.Random) -> str:
    """Swap, reverse, shuffle or repeat rows."""
    array = _load(path)
    if array is None or not len(array):
        return _noise(path, random_)
    rows = list(range(len(array)))
    how = random_.choice(["swap", "reverse", "shuffle", "same", "shift"])
    if how == "swap":
        one, other = random_.choice(rows), random_.choice(rows)
        rows[one], rows[other] = rows[other], rows[one]
    elif how == "reverse":
        rows.reverse()
    elif how == "shuffle":
        random_.shuffle(rows)
    elif how == "same":
        rows = [random_.choice(rows)] * len(rows)
    else:
        rows = [*rows[1:], rows[0]]
    _save(path, array[rows])
    return how


def _length(path: Path, random_: random.Random) -> str:
    """Make an array longer or shorter."""
    array = _load(path)
    if array is None or not len(array):
        return _noise(path, random_)
    length = random_.choice([0, 1, len(array) - 1, len(array) + 1, 2 * len(array)])
    _save(path, np.resize(array, (length, *array.shape[1:])))
    return f"{length} rows"


def _header_of(path: Path, random_: random.Random) -> str:
    """Write another header before the numbers."""
    content = path.read_bytes()
    array = _load(path)
    count, width = (0, 1) if array is None else (array.size, array.itemsize)
    shape = random_.choice(
        [
            f"({count},)", f"({count}, 1)", f"(1, {count})", "()", "(0,)", f"(0, {2**62})", f"({2**62}, 0)",
            f"({2**40},)", f"({2**64 + count},)", "(-1,)", f"(-1, -{count})", "(True,)", f"({count}.0,)", "[1]", "None",
            f"({2**32}, {2**32})", f"({count * width},)", "(" * 80 + ")" * 80, "(" + "1," * 200 + ")",
        ]
    )  # fmt: skip
    codes = ["<i8", "<i4", "<u4", "<f4", "<f8", "|u1", ">i8", "|O", "|V0", "|S0", "<U1", "<f2", "<c8", "<M8[ns]"]
    kept = "" if array is None else np.lib.format.dtype_to_descr(array.dtype)
    code = random_.choice([*codes, *[kept] * 8])
    fortran = random_.choice(["False"] * 6 + ["True", "None"])
    header = f"{{'descr': '{code}', 'fortran_order': {fortran}, 'shape': {shape}, }}"
    header += " " * (64 - (len(header) + 11) % 64) + "\n"
    start = random_.choice([b"\x93NUMPY\x01\x00"] * 5 + [b"\x93NUMPY\x02\x00", b"\x93NUMPY\x03\x00", b"PK\x03\x04abcd"])
    length = random_.choice([len(header)] * 5 + [0, 65535])
    path.write_bytes(start + length.to_bytes(2, "little") + header.encode() + content[_HEADER:])
    return f"header {code} {shape[:40]}"


def _noise(path: Path, random_: random.Random) -> str:
    """Put random bytes somewhere, or everywhere behind the header."""
    content = bytearray(path.read_bytes())
    if not content:
        return "nothing"
    if random_.random() < 0.3:
        content[_HEADER:] = random_.randbytes(max(0, len(content) - _HEADER))
    else:
        at = random_.randrange(len(content))
        piece = random_.randbytes(random_.randint(1, 9))
        content[at : at + len(piece)] = piece[: len(content) - at]
    path.write_bytes(content)
    return "noise"


def _gone(path: Path, random_: random.Random) -> str:
    """Leave nothing, or nothing but zeros."""
    how = random_.choice(["removed", "empty", "zeros"])
    if how == "removed":
        path.unlink()
    else:
        path.write_bytes(b"" if how == "empty" else bytes(path.stat().st_size))
    return how


_TEXTS = [
    b"", b"\xff\xfe", b"\x00", b"\xed\xa0\x80", b"{", b"[]", b"null", b"1", b'"a"', b'{"year": NaN}',
    b'{"year": 1e999}', b'{"year": ' + b"9" * 5000 + b"}", b'{"year": ' + b"9" * 25 + b"}", b"[" * 5000,
    b'{"a":' * 3000 + b"1" + b"}" * 3000,
    b'{"year": {"year": [[[]]]}}', b'{"tags": [null, {}, [], true, -1.5, "a"]}', b'{"\xff": 1}', b'{"a": "\\ud800"}',
    b'{"year": 1, "year": 2}', "ﷺ".encode() * 50, b"d1", b"a" * 100_000,
]  # fmt: skip


def _strings(path: Path, random_: random.Random) -> str:
    """Replace a string, with offsets that fit."""
    name = path.name.rpartition("-")[0]
    content, offsets = (path.with_name(f"{name}-{which}.npy") for which in ("bytes", "offsets"))
    old, places = _load(content), _load(offsets)
    if old is None or places is None or len(places) < 2 or places.min() < 0:
        return _noise(path, random_)
    with contextlib.suppress(ValueError):
        strings = [bytes(old[begin:end]) for begin, end in itertools.pairwise(places)]
        text = random_.choice(_TEXTS)
        strings[random_.randrange(len(strings))] = text
        _save(content, np.frombuffer(b"".join(strings), np.uint8))
        _save(offsets, np.cumsum([0, *map(len, strings)]).astype(np.int64))
        return f"string {text[:20]!r}"
    return "nothing"


def _other(path: Path, random_: random.Random, files: list[Path]) -> str:
    """Put another file in its place: of the same name from another part or collection, or any."""
    same = [other for other in files if other.name == path.name and other != path]
    other = random_.choice(same if same and random_.random() < 0.7 else files)
    content = other.read_bytes()
    path.write_bytes(content)
    return f"is {other.parent.name}/{other.name}"


_FILE_CHANGES: list[Callable[[Path, random.Random], str]] = [
    *[_numbers] * 9, _order, _order, _order, _length, _header_of, _noise, _noise, _gone
]  # fmt: skip


def change_file(path: Path, random_: random.Random, files: list[Path]) -> str:
    """Change a file of a part in some way, and say how."""
    if random_.random() < 0.1:
        done = _other(path, random_, files)
    elif path.name.startswith(("texts-", "ids-", "metadata-", "dictionary-")) and random_.random() < 0.4:
        done = _strings(path, random_)
    else:
        done = random_.choice(_FILE_CHANGES)(path, random_)
    return f"{path.parent.name}/{path.name}: {done}"


def change_block_checksums(path: Path, random_: random.Random) -> str:
    """Write block checksums that are not what they should be."""
    how = random_.choice(["noise", "types", "names", "short", "wrong", "nested"])
    if how == "noise":
        content = random_.randbytes(random_.randint(0, 200))
    elif how == "nested":
        content = b'{"a":' * 20_000
    else:
        blocks = json.loads(path.read_bytes())["blocks"]
        name = random_.choice(sorted(blocks))
        if how == "names":
            blocks["../" + name] = blocks.pop(name)
        else:
            wrong = random_.choice(["0123456g", " " * 8, "\N{ARABIC-INDIC DIGIT ONE}" * 8, random_.randbytes(4).hex()])
            blocks[name] = {"types": 2**40, "short": blocks[name][:-1], "wrong": wrong}[how]
        content = json.dumps(blocks).encode()
    path.write_bytes(b'{"crc32": "%08x", "blocks": %s}\n' % (zlib.crc32(content), content))
    return f"{path.parent.name}/{path.name}: {how}"


# --- Changes to the manifest ------------------------------------------------------------------------------------------


def change_manifest(manifest: dict[str, Any], random_: random.Random) -> str:
    """Change something in the manifest, and say what."""
    if random_.random() < 0.3:
        return _rearrange(manifest, random_)
    holder, key, path = _place(manifest, random_)
    how = random_.choice(["value", "value", "value", "remove", "add"])
    if how == "remove":
        if isinstance(holder, dict):
            holder.pop(key)
        else:
            del holder[key]
    elif how == "add" and isinstance(holder, dict):
        holder[random_.choice(["new", "", "parts", "segments", "format"])] = _value(random_)
    else:
        holder[key] = _value(random_)
    return f"manifest {path}: {how}"


def _value(random_: random.Random) -> Any:
    nested: Any = []
    for _ in range(random_.choice([1, 50, 400, random_.randrange(900)])):
        nested = [nested]
    odd = [None, True, False, [], {}, {"a": {"b": []}}, nested, {"kind": "given"}, "x" * 10_000]
    return random_.choice([random_.choice(ODD_NUMBERS), random_.choice(ODD_NAMES), random_.choice(odd)])


def _place(manifest: dict[str, Any], random_: random.Random) -> tuple[Any, Any, str]:
    """Choose a place in the manifest: what holds it, its key there, and the way to it.

    Which encoder to load is left alone: a collection may name any model, that is what `source` is for.
    """
    holder: Any = manifest
    path: list[str] = []
    while True:
        keys = [
            key for key in (holder if isinstance(holder, dict) else range(len(holder))) if key not in ("source", "kind")
        ]
        key = random_.choice(keys)
        path.append(str(key))
        value = holder[key]
        if not isinstance(value, (dict, list)) or not value or random_.random() < 0.15:
            return holder, key, ".".join(path)
        if not [inner for inner in value if inner not in ("source", "kind")]:
            return holder, key, ".".join(path)
        holder = value


def _rearrange(manifest: dict[str, Any], random_: random.Random) -> str:
    segments = manifest["segments"]
    one, other = random_.choice(segments), random_.choice(segments)
    kind = random_.choice(["documents", "lexical", "dense", "tombstones"])
    how = random_.choice(
        [
            "twice",
            "swapped segments",
            "swapped parts",
            "crossed",
            "none",
            "counts",
            "dimension",
            "next",
            "settings",
            "deep",
        ]
    )
    if how == "twice":
        segments.append(json.loads(json.dumps(one)))
    elif how == "swapped segments":
        random_.shuffle(segments)
    elif how == "swapped parts":
        one[kind], other[kind] = other.get(kind), one.get(kind)
    elif how == "crossed":
        one["documents"], one["lexical"] = one["lexical"], one["documents"]
    elif how == "none":
        one[kind] = None
    elif how == "counts":
        one[random_.choice(["n_documents", "n_deleted"])] = random_.choice([*ODD_NUMBERS, one["n_documents"] + 1])
    elif how == "dimension" and manifest["encoder"]:
        manifest["encoder"]["dimension"] = random_.choice([*ODD_NUMBERS, DIMENSION + 1])
        if one.get("dense"):
            one["dense"]["n_passages"] = random_.choice(ODD_NUMBERS)
    elif how == "next":
        manifest[random_.choice(["next_part", "next_sequence", "generation", "format"])] = random_.choice(ODD_NUMBERS)
    elif how == "settings":
        name = random_.choice(sorted(manifest["settings"]))
        inner = manifest["settings"][name]
        inner[random_.choice(sorted(inner))] = random_.choice([_value(random_), 1e100, 0, "weighted", 100])
    else:
        manifest["settings"]["deep"] = json.loads("[" * 400 + "]" * 400)
    return f"manifest: {how}"


# --- One crafted index ------------------------------------------------------------------------------------------------


def craft(templates: dict[str, Path], directory: Path, random_: random.Random) -> tuple[str, str]:
    """Make a crafted index; returns the template's name and what was changed.

    Args:
        templates: what to start from, never changed.
        directory: where it goes; must not exist.
        random_: decides everything.
    """
    name = random_.choice(["given", "passages", "passages", "words"])
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
            if path.exists():
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
        sequences = _load(parts / segment["documents"]["name"] / "sequences.npy")
        if sequences is not None:
            segment["n_documents"] = sequences.size
        if segment.get("dense"):
            vectors = _load(parts / segment["dense"]["part"]["name"] / "vectors.npy")
            if vectors is not None and vectors.ndim:
                segment["dense"]["n_passages"] = len(vectors)
        if segment.get("tombstones"):
            deleted = _load(parts / segment["tombstones"]["name"] / "deleted-rows.npy")
            if deleted is not None:
                segment["n_deleted"] = deleted.size
