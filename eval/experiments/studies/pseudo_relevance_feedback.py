"""What pseudo-relevance feedback is worth: RM3 and Rocchio on BM25's queries, mean and Rocchio on vectors.

No parameter is tuned: those of RM3 and Rocchio are Anserini's, those of vectors the ones of Li et al. (2021) that
Pyserini's reproduction runs. Vectors are all-MiniLM-L6-v2's, of texts cut at its 256 tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eval.experiments.options import Options
from eval.measures import evaluate_run
from eval.outcome import Outcome
from eval.significance import PairedDifference, compare_means
from eval.testsets import TestSet, read_testset
from retrieval import Collection

TITLE = "Pseudo-relevance feedback"

_SETS = {
    "bm25": ("cranfield", "cacm", "vaswani", "nfcorpus", "scifact", "msmarco-dl19"),
    "dense": ("cranfield", "cacm", "vaswani"),
}
_GRADED = {"msmarco-dl19": 2}
"""Grade from which on a document counts as relevant where that is not 1: TREC DL's rule for measures without grades."""

_POOL = (
    "on msmarco-dl19, grades from 2 on are relevant for AP and R, and the documents are a pool of six retrievers' top "
    "100: no figures for all of MS MARCO"
)

_SYSTEMS = {
    "bm25": ("bm25", "bm25(rm3)", "bm25(rocchio)"),
    "dense": ("dense", "dense(average)", "dense(rocchio)"),
}
_TITLES = {"bm25": "BM25, fed back by terms", "dense": "all-MiniLM-L6-v2, fed back by vectors"}
_DEPTH = 1000
_MEASURES = ("nDCG@10", "AP@1000", "R@100")
_COMPARED = ("nDCG@10", "AP@1000")
_LEVEL = 0.05


@dataclass(frozen=True)
class Measured:
    """One system on one set.

    Attributes:
        testset: the set's name.
        system: the retriever, and its feedback.
        values: of each query by measure.
        differences: from the retriever without feedback, by measure; empty for that one.
    """

    testset: str
    system: str
    values: Mapping[str, list[float]]
    differences: Mapping[str, PairedDifference]

    def mean(self, measure: str) -> float:
        """Return the mean over queries."""
        return sum(self.values[measure]) / len(self.values[measure])


def run(options: Options) -> list[Outcome]:
    """Measure every system on every set; vectors that the workspace has already are not made again."""
    return [_measured(retriever, systems, options) for retriever, systems in _SYSTEMS.items()]


def _measured(retriever: str, systems: Sequence[str], options: Options) -> Outcome:
    encoder = "embedded" if retriever == "dense" else None
    measured, sizes = [], []
    for name in _SETS[retriever]:
        testset = read_testset(options.data / name)
        queries = dict(list(testset.queries.items())[: options.scaled(len(testset.queries))])
        folder = options.workspace / f"feedback-{retriever}-{name}"
        with Collection.open_or_create(folder, encoder=encoder, long="truncate") as collection:
            if not len(collection) and testset.corpus is not None:
                collection.add(testset.corpus)
            sizes.append(f"{name} {len(queries)} queries, {len(collection):,} documents")
            measured += measure(collection, testset, queries, systems)
    return _outcome(retriever, measured, sizes)


def measure(
    collection: Collection, testset: TestSet, queries: Mapping[str, str], systems: Sequence[str]
) -> list[Measured]:
    """Measure systems on a set; the first is what the others are compared with."""
    grade = _GRADED.get(testset.name, 1)
    names = {
        each: each if grade == 1 or each.startswith("nDCG") else each.replace("@", f"(rel={grade})@")
        for each in _MEASURES
    }
    qrels = {query_id: testset.qrels[query_id] for query_id in queries}
    found: list[Measured] = []
    for system in systems:
        answers = collection.search_many(list(queries.values()), _DEPTH, stages=f"{system}:{_DEPTH}")
        ranked = {
            query_id: [(hit.id, hit.score) for hit in hits] for query_id, hits in zip(queries, answers, strict=True)
        }
        per_query = evaluate_run(ranked, qrels, list(names.values())).per_query
        values = {each: [per_query[query_id][name] for query_id in queries] for each, name in names.items()}
        differences = {each: compare_means(found[0].values[each], values[each]) for each in _COMPARED} if found else {}
        found.append(Measured(testset.name, system, values, differences))
    return found


def kept_by_holm(chances: Sequence[float], level: float = _LEVEL) -> list[bool]:
    """Tell which of several differences stay significant when all of them are looked at (Holm 1979).

    Args:
        chances: p of each.
        level: probability of one or more false ones.
    """
    kept = [False] * len(chances)
    for rank, place in enumerate(sorted(range(len(chances)), key=chances.__getitem__)):
        if chances[place] > level / (len(chances) - rank):
            break
        kept[place] = True
    return kept


def _outcome(retriever: str, measured: Sequence[Measured], sizes: Sequence[str]) -> Outcome:
    places = [(each, name) for each in measured for name in each.differences]
    chances = [each.differences[name].p or 0.0 for each, name in places]
    kept = dict(zip(((id(each), name) for each, name in places), kept_by_holm(chances), strict=True))
    rows, numbers = [], {}
    for each in measured:
        cells = []
        for name in _MEASURES:
            cells.append(f"{each.mean(name):.4f}")
            if name in _COMPARED:
                mark = " *" if kept.get((id(each), name)) else ""
                cells.append(f"{each.differences[name]}{mark}" if each.differences else "")
        rows.append([f"{each.testset}, {each.system}", *cells])
        numbers[f"{each.testset}, {each.system}"] = _numbers(each)
    return Outcome(
        _TITLES[retriever],
        ["set, system", "nDCG@10", "difference", "AP@1000", "difference", "R@100"],
        rows,
        [
            "; ".join(sizes),
            *(_POOL for name in _GRADED if any(each.testset == name for each in measured)),
            f"parameters as published, none tuned; BM25 with k1 = 1.2 and b = 0.75; lists of {_DEPTH:,}; exact search; "
            "feedback documents are the first of the same list and stay in it",
            f"*: below {_LEVEL} also among the {len(chances)} comparisons of this table (Holm)",
        ],
        numbers,
    )


def _numbers(measured: Measured) -> dict[str, Any]:
    numbers: dict[str, Any] = {name: measured.mean(name) for name in _MEASURES}
    for name, found in measured.differences.items():
        numbers[f"{name} difference"] = {
            "difference": found.difference, "interval": [found.low, found.high], "p": found.p
        }  # fmt: skip
    numbers["nDCG@10 by query"] = measured.values["nDCG@10"]
    return numbers
