"""Sources of training examples: a file, or a folder in one of the layouts that data sets come in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from retrieval.errors import TrainingDataError
from retrieval.training.data.examples import Example, ExampleReport, examples_of
from retrieval.training.data.judged import find_judged, read_judged
from retrieval.training.data.rows import is_tabular, read_rows
from retrieval.training.data.taught import find_teacher_file, read_taught
from retrieval.training.data.teacher_lines import lines_hold
from retrieval.training.recipe import Recipe

INSTRUCTION = "Instruct: {instruction} \n Query: {query}"
"""KaLM's format of an instructed query, with its spaces (HITsz-TMG/KaLM-Embedding, data/example.jsonl)."""


@dataclass(frozen=True)
class Source:
    """Where examples come from; several sources are several tasks.

    Args:
        path: a tabular file (see `data.rows`), a file of a teacher's scores (see `data.teacher_lines`), or a folder:
            MS MARCO's or BEIR's layout, or files named after splits ("train.tsv.gz", "sts12.test.tsv.gz").
        split: of a folder; None takes "train".
        instruction: of its queries, instead of the recipe's.
    """

    path: Path
    split: str | None = None
    instruction: str | None = None

    @property
    def name(self) -> str:
        """What reports call it: its last part and the split."""
        return f"{self.path.resolve().name}" + (f" ({self.split})" if self.split else "")

    def instruction_for(self, recipe: Recipe) -> str:
        """Return the instruction of its queries; empty where there is none."""
        return recipe.instruction if self.instruction is None else self.instruction


def read_source(source: Source, recipe: Recipe, report: ExampleReport) -> Iterator[Example]:
    """Yield the examples of a source as the recipe needs them.

    Examples stream, except where a reference encoder looks at the pairs first. Of equal sentences only the first is
    kept: as in-batch negatives of each other they would be pushed apart.

    Args:
        source: the file or folder.
        recipe: which kind of examples, how many negatives.
        report: counts examples, and rows that cannot be used with the place of the first of each kind.

    Raises:
        TrainingDataError: there is no such source, or it does not hold this kind of examples.
        EncoderError: the reference encoder cannot be loaded.
        DocumentError: a file cannot be opened, or the report is strict and a row is bad.
    """
    instruction = source.instruction_for(recipe)
    seen: set[int] = set()
    for example in _examples(source, recipe, report):
        if recipe.data == "sentences":
            digest = hash(example["text"])  # some 70 bytes for each sentence, however long
            if digest in seen:
                report.note(str(source.path), "repeated sentence left out")
                continue
            seen.add(digest)
        if instruction and "query" in example:
            example["query"] = INSTRUCTION.format(instruction=instruction, query=example["query"])
        report.read += 1
        yield example


def _examples(source: Source, recipe: Recipe, report: ExampleReport) -> Iterator[Example]:
    if not recipe.reference or recipe.data not in ("pairs", "tuples"):
        yield from _raw_examples(source, recipe, report)
        return
    from retrieval.encoders import load_encoder
    from retrieval.training.data.mined import mined_tuples

    pairs = _raw_examples(source, replace(recipe, data="pairs"), report)
    encoder = load_encoder(recipe.reference)
    try:
        yield from mined_tuples(pairs, encoder, recipe, report, str(source.path))
    finally:
        encoder.close()


def _raw_examples(source: Source, recipe: Recipe, report: ExampleReport) -> Iterator[Example]:
    path = source.path
    if path.is_file():
        if recipe.data == "scored_tuples" and lines_hold(path):
            yield from read_taught(path, recipe, report, source.split)
            return
        if source.split is not None:
            raise TrainingDataError(f"{path} is a file and has no split {source.split!r}; leave the split out")
        yield from _file_examples(path, recipe, report)
        return
    if not path.is_dir():
        raise TrainingDataError(f"no training data at {path}: neither a file nor a folder")
    if recipe.data == "scored_tuples" and (lines := find_teacher_file(path)):
        yield from read_taught(lines, recipe, report, source.split)
        return
    judged = find_judged(path, source.split)
    if judged is not None:
        yield from read_judged(judged, recipe, report)
        return
    for file in _split_files(path, source.split):
        yield from _file_examples(file, recipe, report)


def _split_files(folder: Path, split: str | None) -> list[Path]:
    """Return the files of a split: "train.tsv.gz" or "sts12.train.tsv.gz"; all files where none is named after one."""
    tabular = [file for file in sorted(folder.iterdir()) if file.is_file() and is_tabular(file)]
    splits: dict[str, list[Path]] = {}
    for file in tabular:
        stem = re.sub(r"(\.(tsv|csv|jsonl|ndjson|txt|parquet|gz|zst))+$", "", file.name)
        splits.setdefault(stem.rpartition(".")[2], []).append(file)
    chosen = split or "train"
    if chosen in splits:
        return splits[chosen]
    if not tabular:
        raise TrainingDataError(f"no training data in {folder}: no .tsv, .csv, .jsonl, .txt or .parquet file")
    raise TrainingDataError(f"{folder} has no files for split {chosen!r}; it has {', '.join(splits)}")


def _file_examples(path: Path, recipe: Recipe, report: ExampleReport) -> Iterator[Example]:
    fits = False
    for number, row in read_rows(path, report):
        place = f"{path}:{number}"
        try:
            yield from examples_of(row, place, recipe, report)
            fits = True
        except TrainingDataError as error:
            if not fits:  # the whole file is of another kind
                raise
            report.skip(place, "missing column", str(error).removeprefix(f"{place}: "))


def as_sources(data: Source | str | Path, split: str | None = None) -> Source:
    """Return a source for what users write for one."""
    if isinstance(data, Source):
        return data if split is None else replace(data, split=split)
    return Source(Path(data), split)
