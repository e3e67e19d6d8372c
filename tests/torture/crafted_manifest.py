"""Changes to the manifest of an index that a crafted one has: values, and which part stands where."""

from __future__ import annotations

import json
import random
from typing import Any

from tests.torture.crafted_files import EXTREMES

DIMENSION = 6

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
