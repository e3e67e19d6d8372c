"""Definitions: a task as a small TOML file that says where the data lies and which columns hold what.

    name = "STSBenchmark"
    kind = "STS"
    folder = "stsb"
    file = "{split}.tsv"
    score = "score"
    references = [{ system = "all-MiniLM-L6-v2", value = 0.82032, source = "MTEB results", tolerance = 0.002 }]

`{split}`, `{train_split}`, `{subset}` and `{language}` stand for the splits, the subset and the part of the subset
before its first hyphen, in every text below. A definition with `subsets` is one task for each, named `<name>.<subset>`.
What a kind reads beside the keys of `Definition` is in its own definition class, see `eval.tasks.kinds`. A key that is
not known is an error, so that a misspelt one never falls back to a default.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from eval.errors import TaskError
from eval.tasks.base import Reference

if TYPE_CHECKING:
    from eval.tasks.system import System
    from retrieval.encoders import Encoder

EMBEDDED_MODEL = "all-MiniLM-L6-v2"
"""What others call the embedded encoder."""

_PLACES = ("split", "subset", "language", "train_split")


class PublishedFigure(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A main score that somebody else published.

    Attributes:
        system: the model's name, without its owner: "all-MiniLM-L6-v2".
        value: of the main score.
        source: who measured it, with what.
        tolerance: how near the same system has to come; left out where data or protocol differ, which `source` says.
        subset: of a definition with several; empty for all.
    """

    system: str
    value: float
    source: str
    tolerance: float | None = None
    subset: str = ""


class Definition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every kind of task says.

    Attributes:
        name: unique among the tasks; letters, digits, full stops, hyphens, underscores.
        kind: one of `eval.tasks.kinds`.
        folder: of the data, below the data folder (of a user's own definition: beside its file).
        split: which part is measured.
        subset: which language or language pair, where the data is divided by it.
        subsets: several of them: a task for each.
        description: a sentence for people.
        references: published figures.
    """

    name: str
    kind: str
    folder: str = "."
    split: str = "test"
    subset: str = ""
    subsets: tuple[str, ...] = ()
    description: str = ""
    references: tuple[PublishedFigure, ...] = ()

    def place(self, data: Path) -> Path:
        """Return the folder that the data lies in."""
        return data / self.folder

    def as_dict(self) -> dict[str, Any]:
        """Return what decides the scores, as JSON values: all but the description and the published figures."""
        values: dict[str, Any] = msgspec.to_builtins(self)
        return {key: value for key, value in values.items() if key not in ("description", "references", "subsets")}

    def reference_for(self, system: System) -> Reference | None:
        """Return the published figure of a system: its own name or that of its encoder is the figure's.

        Without a tolerance where the encoder's settings are not those that the figure was measured with.
        """
        names, as_published = {system.name}, True
        if system.encoder is not None:
            source = system.encoder.source or ""
            names |= {source, Path(source).name, EMBEDDED_MODEL if source == "embedded" else ""}
            as_published = EMBEDDED_MODEL not in names or _is_plain_embedded(system.encoder)
        for figure in self.references:
            if figure.system in names:
                return Reference(figure.value, figure.source, figure.tolerance if as_published else None)
        return None


def _is_plain_embedded(encoder: Encoder) -> bool:
    """Say whether the model runs as published: 384 dimensions, 256 tokens, no prompts, single precision."""
    identity = encoder.identity()
    prompts = (identity.get("query_prompt"), identity.get("passage_prompt"))
    precise = encoder.execution().get("precision", "fp32") == "fp32"
    return encoder.dimension == 384 and encoder.max_tokens == 256 and not any(prompts) and precise


class TextDefinition(Definition, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every kind says that measures vectors of texts out of one file a split.

    Attributes:
        file: below the folder; TSV under a header (no quoting) or JSON lines; .gz or .zst may be left out.
        encode: which side of the encoder reads the texts.
        prompt: put before every text, beside what the encoder itself puts there.
    """

    file: str = "{split}.tsv"
    encode: Literal["passages", "queries"] = "passages"
    prompt: str = ""


def read_definitions(file: str | Path) -> list[Definition]:
    """Read a definition: one task, or one for each of its subsets.

    Raises:
        TaskError: the file cannot be read, is not TOML, names no kind that is known, has a key that its kind does not
            know (the known ones are listed) or a value of a wrong type.
    """
    file = Path(file)
    try:
        raw = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as fault:
        raise TaskError(f"cannot read the task definition {file}: {fault.strerror or fault}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as fault:
        raise TaskError(f"{file} is not TOML: {fault}") from None
    return [_filled(definition, file) for definition in _expanded(_converted(raw, file), file)]


def _converted(raw: dict[str, Any], file: Path) -> Definition:
    from eval.tasks.kinds import definition_class  # the kinds' definitions derive from the one here

    kind = raw.get("kind")
    if not isinstance(kind, str):
        raise TaskError(f'{file} names no kind of task; add kind = "STS" or another')
    try:
        definition_type = definition_class(kind)
    except TaskError as fault:
        raise TaskError(f"{file}: {fault}") from None
    _check_keys(raw, definition_type, f"a task of kind {kind!r}", file)
    figures = raw.get("references", ())
    for figure in figures if isinstance(figures, list) else ():
        if isinstance(figure, dict):
            _check_keys(figure, PublishedFigure, "a reference", file)
    try:
        definition = msgspec.convert(raw, definition_type, str_keys=True)
    except msgspec.ValidationError as fault:
        raise TaskError(f"{file}: {fault}") from None
    if not re.fullmatch(r"[\w.+-]+", definition.name):
        raise TaskError(f"{file}: the name {definition.name!r} is not made of letters, digits, '.', '+', '-' and '_'")
    return definition


def _check_keys(raw: dict[str, Any], struct: type[msgspec.Struct], what: str, file: Path) -> None:
    for key in raw:
        if key not in struct.__struct_fields__:
            raise TaskError(
                f"{file}: {what} has no key {key!r}; it knows {', '.join(sorted(struct.__struct_fields__))}"
            )


def _expanded(definition: Definition, file: Path) -> list[Definition]:
    if not definition.subsets:
        return [definition]
    if definition.subset:
        raise TaskError(f"{file}: 'subset' and 'subsets' exclude each other; leave one out")
    if len(set(definition.subsets)) < len(definition.subsets):
        raise TaskError(f"{file}: 'subsets' names one of them twice")
    return [
        msgspec.structs.replace(
            definition,
            name=f"{definition.name}.{subset}",
            subset=subset,
            references=tuple(figure for figure in definition.references if figure.subset in ("", subset)),
        )
        for subset in definition.subsets
    ]


def _filled(definition: Definition, file: Path) -> Definition:
    """Put split and subset where their names stand in braces, and check that paths stay below the data folder."""
    subset, train_split = definition.subset, getattr(definition, "train_split", "")
    parts = (definition.split, subset, subset.partition("-")[0], train_split)
    values = dict(zip(_PLACES, parts, strict=True))
    changed: dict[str, str] = {}
    for key in definition.__struct_fields__:
        text = getattr(definition, key)
        if isinstance(text, str) and "{" in text and key not in ("description", "prompt"):
            for place in _PLACES:
                text = text.replace(f"{{{place}}}", values[place])
            changed[key] = text
    filled = msgspec.structs.replace(definition, **changed)
    for key in ("folder", "file", "train_file", "candidates"):
        path = PurePosixPath(getattr(filled, key, ""))
        if path.is_absolute() or ".." in path.parts:
            raise TaskError(f"{file}: {key} {str(path)!r} leaves the data folder; give a path below it")
    return filled
