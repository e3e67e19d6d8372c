"""Queries with the passages that rerankers order: BM25's best of a collection, or pools that were judged whole."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eval.measures import evaluate_run
from eval.pools import read_pool
from eval.runs import read_run
from eval.scored_pairs import normal_form
from retrieval.documents.report import ReadReport
from retrieval.rerankers.base import Candidates
from retrieval.training.data.rows import read_rows

if TYPE_CHECKING:
    from retrieval.rerankers.base import Reranker

_DEEP = 100_000


@dataclass(frozen=True)
class CandidateSet:
    """What is reranked.

    Attributes:
        name: of the set.
        queries: text by id.
        candidates: of each query, by id, in BM25's order.
        qrels: grade by passage id by query id.
    """

    name: str
    queries: dict[str, str]
    candidates: dict[str, Candidates]
    qrels: Mapping[str, Mapping[str, int]]

    @property
    def n_pairs(self) -> int:
        """Queries with a candidate each, all together."""
        return sum(map(len, self.candidates.values()))

    def first_stage(self, measure: str) -> list[float]:
        """Return the measure of each query in BM25's order."""
        return self.values(measure, [-np.arange(len(given), dtype=float) for given in self.candidates.values()])

    def reranked(self, reranker: Reranker, measure: str, depth: int | None = None) -> list[float]:
        """Return the measure of each query when a reranker has put its first `depth` candidates, or all, in order."""
        return self.values(measure, self.scores(reranker, depth))

    def scores(self, reranker: Reranker, depth: int | None = None) -> list[np.ndarray]:
        """Return scores of each query's first `depth` candidates, or of all."""
        cut = [
            Candidates(given.ids[:depth], given.texts[:depth], given.scores[:depth])
            for given in self.candidates.values()
        ]
        return reranker.score(list(self.queries.values()), cut)

    def values(self, measure: str, scores: Sequence[np.ndarray]) -> list[float]:
        """Return the measure of each query, by scores of its first candidates; the others follow in their order."""
        run = {}
        for (query, given), found in zip(self.candidates.items(), scores, strict=True):
            best = np.argsort(-found, kind="stable").tolist()
            order = [*best, *range(len(found), len(given))]
            run[query] = [(given.ids[row], float(-rank)) for rank, row in enumerate(order)]
        per_query = evaluate_run(run, self.qrels, [measure]).per_query
        return [next(iter(per_query[query].values())) for query in self.queries]


def bm25_candidates(folder: Path, split: str, n_queries: int, depth: int, seed: int) -> CandidateSet:
    """Return BM25's best passages for queries drawn at random, of a set in MS MARCO's layout with training queries.

    Args:
        folder: of the set.
        split: whose queries are asked; those that stand among the training queries in any typography are left out.
        n_queries: how many at most.
        depth: candidates of each.
        seed: of the choice.
    """
    from retrieval import Collection, Document

    pool = read_pool(folder, split)
    trained = {normal_form(text) for text in training_queries(folder)}
    free = [query for query, text in pool.queries.items() if normal_form(text) not in trained]
    chosen = [free[row] for row in sorted(np.random.default_rng(seed).permutation(len(free))[:n_queries].tolist())]
    texts = dict(zip(pool.ids, pool.texts, strict=True))
    with tempfile.TemporaryDirectory() as place, Collection.create(Path(place) / "bm25", encoder=None) as collection:
        collection.add(Document(name, text) for name, text in texts.items())
        found = collection.search_many([pool.queries[query] for query in chosen], k=depth)
    candidates = {
        query: Candidates(
            [hit.id for hit in hits], [texts[hit.id] for hit in hits], np.array([hit.score for hit in hits])
        )
        for query, hits in zip(chosen, found, strict=True)
    }
    return CandidateSet(
        f"{folder.name} {split}",
        {query: pool.queries[query] for query in chosen},
        candidates,
        {query: pool.qrels[query] for query in chosen},
    )


def run_candidates(folder: Path, run: str, depth: int) -> CandidateSet:
    """Return the passages of a run that comes with a test set: of a whole collection, of which the set holds a pool.

    Args:
        folder: of the set, in BEIR's layout.
        run: its TREC run file, below the folder.
        depth: candidates of each query.
    """
    pool = read_pool(folder, "test")
    texts = dict(zip(pool.ids, pool.texts, strict=True))
    rankings = read_run(folder / run)
    candidates = {}
    for query in pool.queries:
        best = rankings[query][:depth]
        ids = [name for name, _ in best]
        candidates[query] = Candidates(ids, [texts[name] for name in ids], np.array([score for _, score in best]))
    return CandidateSet(folder.name, pool.queries, candidates, pool.qrels)


def judged_candidates(file: Path, grades: str, relevant: int, n_queries: int, seed: int) -> CandidateSet:
    """Return the judged passages of queries drawn at random, in BM25's order over all passages of the file.

    Args:
        file: TSV with the columns qid, query, passage and one of grades.
        grades: name of that column.
        relevant: lowest grade that counts; lower ones are 0, others 1 and more.
        n_queries: how many at most, of those that have relevant and other passages.
        seed: of the choice.
    """
    from retrieval import Collection, Document

    queries: dict[str, str] = {}
    passages: dict[str, dict[str, int]] = {}
    for _, row in read_rows(file, ReadReport()):
        queries[str(row["qid"])] = str(row["query"])
        of_query = passages.setdefault(str(row["qid"]), {})
        grade = max(int(row[grades]) - relevant + 1, 0)
        of_query[str(row["passage"])] = max(grade, of_query.get(str(row["passage"]), 0))
    mixed = [query for query, given in passages.items() if len({grade > 0 for grade in given.values()}) == 2]
    chosen = [mixed[row] for row in sorted(np.random.default_rng(seed).permutation(len(mixed))[:n_queries].tolist())]
    distinct = dict.fromkeys(text for given in passages.values() for text in given)
    names = {text: str(number) for number, text in enumerate(distinct)}
    candidates, qrels = {}, {}
    with tempfile.TemporaryDirectory() as place, Collection.create(Path(place) / "bm25", encoder=None) as collection:
        collection.add(Document(name, text) for text, name in names.items())
        for query in chosen:
            scores = {hit.id: hit.score for hit in collection.search(queries[query], k=_DEEP)}
            ranked = sorted(passages[query], key=lambda text: -scores.get(names[text], 0.0))
            ids = [names[text] for text in ranked]
            candidates[query] = Candidates(ids, ranked, np.array([scores.get(name, 0.0) for name in ids]))
            qrels[query] = {names[text]: grade for text, grade in passages[query].items()}
    name = f"{file.parent.name} {file.name.partition('.')[0]}"
    return CandidateSet(name, {query: queries[query] for query in chosen}, candidates, qrels)


def training_queries(folder: Path) -> list[str]:
    """Return the texts of a set's training queries, of a folder in MS MARCO's layout."""
    import gzip

    with gzip.open(folder / "queries.train.tsv.gz", "rt", encoding="utf-8") as lines:
        return [line.rstrip("\n").partition("\t")[2] for line in lines]
