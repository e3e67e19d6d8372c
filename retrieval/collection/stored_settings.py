"""The collection's settings between the manifest (JSON) and the frozen structures that the code uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import msgspec

from indexes.bm25 import BM25Settings
from indexes.errors import CorruptIndexError
from retrieval.analysis import Analyser, AnalyserSettings
from retrieval.chunking import ChunkSettings
from retrieval.collection.settings import Fields, Fusion
from retrieval.errors import AnalyserMismatchError, CollectionError


@dataclass(frozen=True)
class CollectionSettings:
    """Everything that a collection remembers about how it was set up.

    Attributes:
        analyser: how text becomes terms; fixed.
        fields: how title and text count for BM25; fixed.
        long: what happens to texts longer than the encoder reads; fixed.
        bm25: default parameters of BM25.
        fusion: default fusion of hybrid search.
    """

    analyser: AnalyserSettings = field(default_factory=AnalyserSettings)
    fields: Fields = field(default_factory=Fields)
    long: ChunkSettings = field(default_factory=ChunkSettings)
    bm25: BM25Settings = field(default_factory=BM25Settings)
    fusion: Fusion = field(default_factory=Fusion)

    def to_json(self) -> dict[str, Any]:
        """Return what the manifest stores; the analyser's fingerprint is stored beside its settings."""
        stored = msgspec.to_builtins({name: asdict(getattr(self, name)) for name in _TYPES})
        stored["fields"] = {name: stored["fields"][name] for name in _BOOSTS} | _from_metadata(self.fields)
        return {**stored, "analyser_fingerprint": _fingerprint(self)}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> CollectionSettings:
        """Read what the manifest stores.

        Raises:
            CorruptIndexError: something in it is not a setting.
            AnalyserMismatchError: this version analyses text by other rules than the collection was built with.
        """
        try:
            settings = cls(**{name: msgspec.convert(stored[name], kind) for name, kind in _TYPES.items()})
        except (msgspec.ValidationError, KeyError) as error:
            raise CorruptIndexError(f"the manifest's settings cannot be read: {error}") from None
        expected, found = stored.get("analyser_fingerprint"), _fingerprint(settings)
        if expected != found:
            raise AnalyserMismatchError(
                "this version analyses text by other rules than the collection was built with "
                f"({differences(expected if isinstance(expected, dict) else {}, found)}); index the documents again"
            )
        return settings

    def check_analyser(self, offered: AnalyserSettings) -> None:
        """Refuse an analyser that differs from the stored one.

        Raises:
            AnalyserMismatchError: showing the difference.
        """
        if offered != self.analyser:
            shown = differences(asdict(self.analyser), asdict(offered))
            raise AnalyserMismatchError(f"the collection was built with another analyser: {shown}; open it without one")

    def check(self, offered: Mapping[str, Any]) -> None:
        """Refuse settings that are not the stored ones.

        Args:
            offered: `fields`, `long`, `bm25` or `fusion`, by name.

        Raises:
            CollectionError: showing the difference.
        """
        for name, settings in offered.items():
            stored = getattr(self, name)
            if settings != stored:
                shown = differences(asdict(stored), asdict(settings))
                raise CollectionError(
                    f"the collection was created with another {name}: {shown}; leave it out, or create another one"
                )


_TYPES: dict[str, type] = {
    "analyser": AnalyserSettings,
    "fields": Fields,
    "long": ChunkSettings,
    "bm25": BM25Settings,
    "fusion": Fusion,
}


_BOOSTS = ("title_boost", "text_boost")
"""What every collection stores of its fields."""


def _from_metadata(fields: Fields) -> dict[str, Any]:
    """Return what a collection says of its fields beside the boosts: nothing where all words are title's and text's."""
    return {
        name: value for name, value in asdict(fields).items() if value != getattr(Fields, name) and name not in _BOOSTS
    }


def _fingerprint(settings: CollectionSettings) -> dict[str, Any]:
    """Return what determines the terms of a document.

    Versions that know terms of title and text only would analyse new documents by other rules: they see it here.
    """
    fingerprint = msgspec.to_builtins(Analyser(settings.analyser).fingerprint())
    others = _from_metadata(settings.fields)
    return {**fingerprint, "fields": others} if others else fingerprint


def differences(stored: dict[str, Any], offered: dict[str, Any]) -> str:
    """Say in one line how two flat mappings differ: "name: stored -> offered"."""
    absent = "(absent)"
    names = [name for name in {**stored, **offered} if stored.get(name, absent) != offered.get(name, absent)]
    return ", ".join(f"{name}: {stored.get(name, absent)!r} -> {offered.get(name, absent)!r}" for name in names)


def shared_facts(several: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what flat mappings agree on, such as how the vectors of merged segments were all computed."""
    first, *others = several
    missing = object()
    return {name: value for name, value in first.items() if all(other.get(name, missing) == value for other in others)}
