"""Training examples of judged collections: folders in MS MARCO's or BEIR's layout.

A query's positives are its judged passages of a grade above 0. Hard negatives come from MS MARCO's file of id triples
(`qidpidtriples.<split>.tsv`); BEIR folders have none (see `retrieval.training.negatives` for mining them).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from retrieval.documents.report import ReadReport
from retrieval.errors import TrainingDataError
from retrieval.training.data.collection_texts import (
    PACKED,
    CollectionTexts,
    find_texts,
    first_file,
    is_beir,
    read_texts,
)
from retrieval.training.data.examples import Example, ExampleReport, tuple_example
from retrieval.training.data.rows import text_lines
from retrieval.training.recipe import Recipe


@dataclass(frozen=True)
class JudgedFolder:
    """The files of one split of a judged collection.

    Attributes:
        passages: passages by id (`collection.tsv`, `corpus.jsonl`).
        queries: query texts by id.
        judgements: qrels.
        triples: query id, positive id, negative id on each line; None where there is no such file.
    """

    passages: Path
    queries: Path
    judgements: Path
    triples: Path | None = None


def find_judged(folder: Path, split: str | None) -> JudgedFolder | None:
    """Return the files of a judged collection, None where the folder is none.

    Args:
        folder: what to look at.
        split: of the judgements; None takes "train".

    Raises:
        TrainingDataError: the split or a file is missing; the message lists the splits there are.
    """
    beir = is_beir(folder)
    files = sorted((folder / "qrels" if beir else folder).iterdir())
    pattern = r"([^.]+)\.tsv" if beir else r"qrels(?:\.([^.]+))?\.tsv"
    matches = {file: re.fullmatch(pattern + PACKED, file.name) for file in files}
    splits = {match[1] or "all": file for file, match in matches.items() if match}
    if not splits:
        return None
    chosen = split or "train"
    if chosen not in splits:
        raise TrainingDataError(f"{folder} has no judgements for split {chosen!r}; it has {', '.join(splits)}")
    passages, queries = find_texts(folder, chosen)
    triples = None if beir else find_triples(folder, chosen)
    return JudgedFolder(passages, queries, splits[chosen], triples)


def find_triples(folder: Path, split: str) -> Path | None:
    """Return the file of a split's id triples, None where there is none."""
    return first_file(folder, [f"qidpidtriples.{split}.tsv", "qidpidtriples.tsv"])


def read_judged(folder: JudgedFolder, recipe: Recipe, report: ExampleReport) -> Iterator[Example]:
    """Yield examples: passages as sentences, judged pairs, or tuples with the negatives of the id triples.

    Args:
        folder: see `find_judged`.
        recipe: says which kind, and how many negatives.
        report: counts ids without a text and queries with too few negatives.

    Raises:
        TrainingDataError: the folder cannot give this kind of examples.
    """
    if recipe.data == "scored_tuples":
        raise TrainingDataError(
            f"{folder.judgements.parent} has no file of a teacher's scores, with lines of the positive's and the "
            "negative's score, query id, positive id and negative id; `retrieval teach score` makes one"
        )
    if recipe.data not in ("sentences", "pairs", "tuples"):
        raise TrainingDataError(
            f"{folder.judgements} judges passages; recipe {recipe.name!r} needs {recipe.data} examples: two sentences "
            "and a label or score in each row of a file"
        )
    if recipe.data == "sentences":
        for _, text in read_texts(folder.passages, report):
            yield {"text": text}
        return
    with CollectionTexts(folder.passages, folder.queries, report) as texts:
        for place, query, ids in _id_tuples(folder, recipe, report):
            found = texts.find(query, ids, place)
            if found is not None:
                yield tuple_example(*found, recipe)


def _id_tuples(
    folder: JudgedFolder, recipe: Recipe, report: ExampleReport
) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Yield (place, query id, (positive id, negative ids …))."""
    if recipe.data == "pairs":
        for place, query, positive in _positives(folder.judgements, report):
            yield place, query, (positive,)
        return
    if folder.triples is None:
        raise TrainingDataError(
            f"{folder.judgements.parent} has no qidpidtriples file and so no hard negatives; train on pairs, or mine "
            "negatives first (retrieval.training.negatives)"
        )
    triples = read_triples(folder.triples, report)
    if recipe.negatives == 1:  # streams, however long the file
        for place, query, positive, negative in triples:
            yield place, query, (positive, negative)
        return
    gathered: dict[tuple[str, str], list[str]] = {}
    first_place: dict[tuple[str, str], str] = {}
    for place, query, positive, negative in triples:
        negatives = gathered.setdefault((query, positive), [])
        first_place.setdefault((query, positive), place)
        if len(negatives) < recipe.negatives and negative not in negatives:
            negatives.append(negative)
    for (query, positive), negatives in gathered.items():
        place = first_place[query, positive]
        if len(negatives) < recipe.negatives:
            detail = (
                f"query {query!r} has {len(negatives)} instead of {recipe.negatives}; lower `negatives` or mine more"
            )
            report.skip(place, "too few negatives", detail)
        else:
            yield place, query, (positive, *negatives)


def _positives(path: Path, report: ExampleReport) -> Iterator[tuple[str, str, str]]:
    """Yield (place, query id, passage id) of a qrels file: TREC's four columns, or BEIR's three with a header."""
    for number, line in text_lines(path, report):
        parts = line.split()
        query, passage, grade = parts[0], parts[-2] if len(parts) > 2 else "", parts[-1]
        if number == 1 and grade == "score":
            continue
        if len(parts) not in (3, 4) or not re.fullmatch(r"-?\d+", grade):
            report.skip(
                f"{path}:{number}", "not a judgement", f"{line[:80]!r} is not: query id, [0,] passage id, grade"
            )
        elif int(grade) > 0:
            yield f"{path}:{number}", query, passage


def read_triples(path: Path, report: ReadReport) -> Iterator[tuple[str, str, str, str]]:
    """Yield (place, query id, positive id, negative id) of each line; lines that are no triples are counted."""
    for number, line in text_lines(path, report):
        parts = line.split()
        if len(parts) == 3:
            yield f"{path}:{number}", parts[0], parts[1], parts[2]
        else:
            report.skip(f"{path}:{number}", "not a triple", f"{line[:80]!r} is not: query id, positive id, negative id")
