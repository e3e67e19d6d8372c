"""Changes to the files of an index that a crafted one has: numbers, order, lengths, headers, whole files."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import random
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

_HEADER = 128  # bytes before the numbers in every file that numpy writes here

EXTREMES = [-1, 0, 1, 2, 255, 2**15, 2**31 - 1, -(2**31), 2**31, 2**32, 2**53, 2**62, 2**63 - 1, -(2**63)]


def load(path: Path) -> np.ndarray | None:
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
    array = load(path)
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
    array = load(path)
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
    array = load(path)
    if array is None or not len(array):
        return _noise(path, random_)
    length = random_.choice([0, 1, len(array) - 1, len(array) + 1, 2 * len(array)])
    _save(path, np.resize(array, (length, *array.shape[1:])))
    return f"{length} rows"


def _header_of(path: Path, random_: random.Random) -> str:
    """Write another header before the numbers."""
    content = path.read_bytes()
    array = load(path)
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
    old, places = load(content), load(offsets)
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
