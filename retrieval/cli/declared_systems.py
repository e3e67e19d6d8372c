"""`--systems FILE`: systems that a TOML file declares, with the settings that `--system` has no place for.

    [[systems]]
    name = "BM25 k1=0.9 b=0.4"
    system = "bm25"
    bm25 = { k1 = 0.9, b = 0.4 }

    [[systems]]
    name = "hybrid, weighted scores"
    system = "hybrid"
    long = "chunk"
    fusion = { method = "weighted" }

`system` is what stands behind the equals sign of `--system`. What `bm25` and `fusion` do not name has the default of
`BM25Settings` and `Fusion`; where `long` is left out, `--long` counts. `eval/systems.toml` is such a file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from retrieval.errors import QueryError

if TYPE_CHECKING:
    from indexes.bm25_formula import BM25Settings
    from retrieval.collection.settings import Fusion

T = TypeVar("T")


@dataclass(frozen=True)
class DeclaredSystem:
    """A system as a user wrote it, before any model is loaded.

    Attributes:
        name: what reports call it.
        system: what it is, as `--system` has it.
        long: what collections do with texts longer than the encoder reads; None leaves it to `--long`.
        bm25: parameters of its searches of words; None for the defaults.
        fusion: how its searches fuse lists; None for the defaults.
    """

    name: str
    system: str
    long: Literal["chunk", "truncate"] | None = None
    bm25: BM25Settings | None = None
    fusion: Fusion | None = None


def read_systems(file: Path) -> list[DeclaredSystem]:
    """Return the systems that a file declares, in its order.

    Raises:
        QueryError: the file cannot be read, is not TOML, declares no system, or has a key or a value that is none.
    """
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as fault:
        raise QueryError(f"--systems: cannot read {file}: {fault.strerror or fault}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as fault:
        raise QueryError(f"--systems: {file} is not TOML: {fault}") from None
    _check_keys(content, ["systems"], f"{file}: the file")
    tables = content.get("systems")
    if not isinstance(tables, list) or not tables:
        raise QueryError(f"--systems: {file} declares no system; add a [[systems]] with name and system")
    return [_declared(table, f"{file}: system {number}") for number, table in enumerate(tables, 1)]


def _declared(table: object, place: str) -> DeclaredSystem:
    from indexes.bm25_formula import BM25Settings
    from retrieval.collection.settings import Fusion

    if not isinstance(table, Mapping):
        raise QueryError(f"--systems: {place} is {table!r}, not a table with name and system")
    _check_keys(table, [field.name for field in fields(DeclaredSystem)], place)
    for key in ("name", "system"):
        if not isinstance(table.get(key), str) or not table[key].strip():
            raise QueryError(f'--systems: {place} has no {key}; add {key} = "…"')
    long = table.get("long")
    if long not in (None, "chunk", "truncate"):
        raise QueryError(f"--systems: {place}: long is 'chunk' or 'truncate', not {long!r}")
    return DeclaredSystem(
        table["name"],
        table["system"],
        long,
        _settings(BM25Settings, table.get("bm25"), f"{place}: bm25"),
        _settings(Fusion, table.get("fusion"), f"{place}: fusion"),
    )


def _settings(kind: type[T], values: Any, place: str) -> T | None:
    """Return settings with the values given and defaults for the others; None where nothing is given."""
    import msgspec

    if values is None:
        return None
    if isinstance(values, Mapping):
        _check_keys(values, [field.name for field in fields(kind)], place)  # type: ignore[arg-type]  # a dataclass
    try:
        return msgspec.convert(values, kind)
    except (msgspec.ValidationError, QueryError) as fault:
        raise QueryError(f"--systems: {place}: {fault}") from None


def _check_keys(table: Mapping[str, Any], known: list[str], place: str) -> None:
    for key in table:
        if key not in known:
            raise QueryError(f"--systems: {place} has no key {key!r}; it knows {', '.join(known)}")
