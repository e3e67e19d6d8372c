"""Searches in stages: against plain Python, against searches without stages, and against their own plan."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indexes.hits import Hits
from retrieval import (
    Collection,
    Document,
    FunctionEncoder,
    FunctionReranker,
    Fusion,
    QueryError,
    RerankerError,
    SparseFunctionEncoder,
    parse_stages,
)
from retrieval.pipeline.order import Step, best_first, lowered, reordered
from retrieval.pipeline.stages import Pipeline

WORDS = ["owl", "swift", "robin", "wren", "kite"]


def counts(texts):
    return np.array([[text.count(word) + 0.25 for word in WORDS] for text in texts], np.float32)


def sparse_counts(texts):
    return [{number: float(text.count(word)) for number, word in enumerate(WORDS) if word in text} for text in texts]


def documents(first, last):
    return [
        Document(
            f"d{number}",
            " ".join([WORDS[number % 5]] * (1 + number % 7) + [WORDS[number % 3]]),
            f"title {number}",
            {"year": 2000 + number % 4},
        )
        for number in range(first, last)
    ]


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    """Three segments with deleted documents, and vectors."""
    encoder = FunctionEncoder(counts, name="counts", version="1", dimension=5)
    collection = Collection.create(tmp_path_factory.mktemp("pipelines") / "c", encoder=encoder)
    for first, last in ((0, 60), (60, 90), (90, 100)):
        collection.add(documents(first, last))
    collection.delete([f"d{number}" for number in range(0, 100, 9)])
    assert len(collection.snapshot.segments) == 3
    return collection


class Scorer:
    """Scores documents by a function of query and id, and keeps what it was asked.

    Args:
        score: from a query and a document's id to a number.
        calls: from a number of candidates to model calls; by default one each.
    """

    def __init__(self, score, calls=lambda n: n, name="scorer"):
        self._score = score
        self._calls = calls
        self.name = name
        self.n_calls = 0
        self.asked = []
        self.batches = []

    def identity(self):
        return {"kind": "scorer", "name": self.name}

    def execution(self):
        return {}

    def calls(self, n):
        return self._calls(n)

    def score(self, queries, candidates):
        self.batches.append(len(queries))
        answers = []
        for query, given_candidates in zip(queries, candidates, strict=True):
            self.asked.append((query, given_candidates))
            answers.append(np.array([self._score(query, each) for each in given_candidates.ids], np.float64))
            self.n_calls += self._calls(len(given_candidates))
        return answers

    def close(self):
        pass


class Pairs(Scorer):
    """Scores each document against each other one, as duoBERT does: the sum of its victories."""

    def __init__(self, strength):
        super().__init__(None, lambda n: n * (n - 1), "pairs")
        self._strength = strength

    def score(self, queries, candidates):
        self.batches.append(len(queries))
        answers = []
        for query, given_candidates in zip(queries, candidates, strict=True):
            self.asked.append((query, given_candidates))
            answers.append(np.zeros(len(given_candidates)))
            for i, one in enumerate(given_candidates.ids):
                for j, other in enumerate(given_candidates.ids):
                    if i != j:
                        self.n_calls += 1
                        answers[-1][i] += self._strength(query, one) > self._strength(query, other)
        return answers


class CrossEncoder:
    """Like that of sentence-transformers, in all that can be seen without importing it."""

    __module__ = "sentence_transformers.cross_encoder"

    def __call__(self, features):
        raise AssertionError("it was called with a query and texts")


def by_number(query, document_id):
    return int(document_id[1:])


def by_length(query, texts):
    return [len(text) for text in texts]


def hashed(query, document_id):
    """A score out of seven, so that many tie."""
    return float(sum(map(ord, query + document_id)) * 7919 % 7)


def ranking(results):
    return list(zip(results.ids, results.scores.tolist(), strict=True))


# --------------------------------------------------------------------------------------------------- by hand, one stage


def test_the_admitted_are_reordered_and_the_others_stay_below(collection):
    before = collection.search("owl robin", 12, mode="bm25")
    scorer = Scorer(by_number)
    found = collection.search("owl robin", 12, stages="bm25:12,mine:5", rerankers={"mine": scorer})
    head = sorted(before.ids[:5], key=lambda name: -int(name[1:]))
    assert found.ids == head + before.ids[5:]
    assert found.scores[:5].tolist() == [float(name[1:]) for name in head]
    assert (np.diff(found.scores) <= 0).all()
    assert np.isfinite(found.scores).all()
    assert found.mode == "bm25:12,mine:5"
    assert scorer.batches == [1]
    ((query, candidates),) = scorer.asked
    assert query == "owl robin"
    assert candidates.ids == before.ids[:5]
    assert candidates.scores.tolist() == before.scores[:5].tolist()
    assert list(candidates.texts) == [collection.get(name).full_text for name in before.ids[:5]]


def test_what_a_stage_did_not_admit_may_be_admitted_by_the_next(collection):
    before = collection.search("owl", 10, mode="bm25").ids
    backwards = {name: float(place) for place, name in enumerate(before)}
    stages = {
        "first": Scorer(lambda query, name: -backwards[name]),
        "second": Scorer(lambda query, name: backwards[name]),
    }
    found = collection.search("owl", 10, stages="bm25:10,first:3,second:10", rerankers=stages)
    assert found.ids == before[::-1]
    assert [len(each.asked[0][1]) for each in stages.values()] == [3, 10]
    falling = stages["second"].asked[0][1].scores
    assert (np.diff(falling) <= 0).all()


def test_ties_keep_the_order_of_the_stage_before(collection):
    before = collection.search("owl robin", 30)
    found = collection.search("owl robin", 30, stages="hybrid:30,one:20", rerankers={"one": Scorer(lambda q, d: 1.0)})
    assert found.ids == before.ids
    assert set(found.scores[:20].tolist()) == {1.0}
    parity = Scorer(lambda query, name: int(name[1:]) % 2)
    found = collection.search("owl robin", 30, stages="hybrid:30,parity:30", rerankers={"parity": parity})
    odd, even = ([name for name in before.ids if int(name[1:]) % 2 == rest] for rest in (1, 0))
    assert found.ids == odd + even


def test_more_than_the_stages_give_is_not_returned_and_less_changes_nothing_above(collection):
    rerankers = {"mine": Scorer(by_number)}
    everything = collection.search("owl robin", 50, stages="bm25:7,mine:3", rerankers=rerankers)
    assert len(everything) == 7
    for k in range(1, 7):
        found = collection.search("owl robin", k, stages="bm25:7,mine:3", rerankers=rerankers)
        assert ranking(found) == ranking(everything)[:k]
        assert found.stages[-1].calls == 3  # however few are wanted


def test_a_function_of_query_and_texts_is_a_reranker(collection):
    def longest(query, texts):
        return [len(text) for text in texts]

    found = collection.search("owl", 8, stages="bm25:8,length:8", rerankers={"length": longest})
    again = collection.search("owl", 8, stages="bm25:8,length:8", rerankers={"length": FunctionReranker(longest)})
    assert ranking(found) == ranking(again)
    assert found.scores.tolist() == sorted((len(hit.document.full_text) for hit in found), reverse=True)


# ------------------------------------------------------------------------------------------------- against plain Python


def oracle(retrieved, stages, scores, k):
    """The pipeline in plain Python: ids, and the calls of each stage."""
    order, calls = list(retrieved), []
    for (_, limit), score in zip(stages, scores, strict=True):
        head, tail = order[:limit], order[limit:]
        calls.append(len(head))
        order = sorted(head, key=lambda name, score=score: -score(name)) + tail
    return order[:k], calls


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    first=st.sampled_from(["bm25", "dense", "hybrid"]),
    depth=st.integers(1, 110),
    limits=st.lists(st.integers(0, 110), max_size=3),
    tables=st.lists(
        st.lists(st.sampled_from([-2.5, 0.0, 1.0, 7.0, 1e300, -1e300]), min_size=5), min_size=3, max_size=3
    ),
    k=st.integers(1, 120),
    query=st.sampled_from(["owl robin", "swift", "nothing like that"]),
)
def test_any_scores_rank_as_in_plain_python_and_cost_what_was_planned(
    collection, first, depth, limits, tables, k, query
):
    names = [f"s{number}" for number in range(len(limits))]
    stages = Pipeline(((first, depth),), tuple(zip(names, limits, strict=True)))

    def table(number):
        return lambda name: tables[number][int(name[1:]) % len(tables[number])]

    rerankers = {
        name: Scorer(lambda query, document_id, number=number: table(number)(document_id))
        for number, name in enumerate(names)
    }
    retrieved = collection.search(query, depth, mode=first).ids
    expected, calls = oracle(retrieved, stages.rerankers, [table(number) for number in range(len(limits))], k)
    plan = stages.plan(rerankers, len(retrieved))
    found = collection.search(query, k, stages=str(stages), rerankers=rerankers)
    assert found.ids == expected
    assert np.isfinite(found.scores).all()
    assert (np.diff(found.scores) <= 0).all()
    assert [rerankers[name].n_calls for name in names] == calls == [stage.calls for stage in plan.stages]
    searched = ["bm25", "dense", "fusion"] if first == "hybrid" else [first]
    active = [name for name, limit in stages.rerankers if limit]
    assert [report.name for report in found.stages] == searched + active
    assert [report.calls for report in found.stages[len(searched) :]] == [rerankers[name].n_calls for name in active]
    assert found.ids == collection.search(query, 120, stages=stages, rerankers=rerankers).ids[:k]  # a prefix of more


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(limits=st.lists(st.integers(0, 40), min_size=2, max_size=2), depth=st.integers(1, 40))
def test_pairs_cost_each_ordered_pair_once(collection, limits, depth):
    mono, duo = Scorer(hashed), Pairs(by_number)
    rerankers = {"mono": mono, "duo": duo}
    stages = f"bm25:{depth},mono:{limits[0]},duo:{limits[1]}"
    found = collection.search("owl robin kite", 40, stages=stages, rerankers=rerankers)
    retrieved = collection.search("owl robin kite", depth, mode="bm25").ids
    plan = parse_stages(stages).plan(rerankers, len(retrieved))
    n, m = min(limits[0], len(retrieved)), min(limits[1], len(retrieved))
    assert (mono.n_calls, duo.n_calls) == (n, m * (m - 1))
    assert [stage.calls for stage in plan.stages] == [mono.n_calls, duo.n_calls]
    assert plan.calls == sum(report.calls for report in found.stages)
    expected, _ = oracle(
        retrieved,
        [("mono", n), ("duo", m)],
        [lambda name: hashed("owl robin kite", name), lambda name: int(name[1:])],
        40,
    )
    assert found.ids == expected


@pytest.mark.parametrize("stages", ["bm25:30", "dense:30", "bm25:30+dense:30"])
def test_neutral_stages_and_stages_that_are_off_change_nothing(collection, stages):
    plain = collection.search("owl robin", 30, stages=stages)
    off = Scorer(by_number)
    found = collection.search("owl robin", 30, stages=f"{stages},off:0", rerankers={"off": off})
    assert ranking(found) == ranking(plain)
    assert off.asked == []
    for constant in (0.0, -3.0, 1e308, -1e308):
        neutral = {"neutral": Scorer(lambda query, name, constant=constant: constant)}
        assert collection.search("owl robin", 30, stages=f"{stages},neutral:12", rerankers=neutral).ids == plain.ids


def test_one_candidate_of_a_pairwise_stage_costs_and_changes_nothing(collection):
    plain = collection.search("owl robin", 9, stages="bm25:9")
    duo = Pairs(by_number)
    found = collection.search("owl robin", 9, stages="bm25:9,duo:1", rerankers={"duo": duo})
    assert ranking(found) == ranking(plain)
    assert duo.asked == []
    assert (found.stages[-1].name, found.stages[-1].documents, found.stages[-1].calls) == ("duo", 0, 0)
    scored = collection.search("owl robin", 9, stages="bm25:9,mono:1", rerankers={"mono": Scorer(lambda q, d: 99.0)})
    assert scored.ids == plain.ids
    assert scored.scores[0] == 99.0


# ------------------------------------------------------------------------- retrievers alone are searches without stages


@pytest.mark.parametrize("mode", ["bm25", "dense", "hybrid"])
@pytest.mark.parametrize("k", [1, 7, 200])
def test_a_single_retriever_is_the_mode(collection, mode, k):
    plain = collection.search("owl robin", k, mode=mode)
    assert ranking(collection.search("owl robin", k, stages=f"{mode}:{k}")) == ranking(plain)
    assert ranking(collection.search("owl robin", k, stages=f"{mode}:2147483647")) == ranking(plain)


@pytest.mark.parametrize(
    "fusion", [Fusion(), Fusion(method="weighted", dense_weight=0.3), Fusion(constant=1, dense_weight=0.9)]
)
@pytest.mark.parametrize("stages", ["bm25:20+dense:20", "dense:20+bm25:20"])
def test_lists_joined_by_plus_are_hybrid_search(collection, fusion, stages):
    plain = collection.search("owl robin", 40, mode="hybrid", fusion=replace(fusion, depth=20))
    assert ranking(collection.search("owl robin", 40, stages=stages, fusion=fusion)) == ranking(plain)


def test_each_list_has_the_depth_that_it_was_given(collection):
    found = collection.search("owl robin", 100, stages="bm25:30+dense:4")
    lists = {"bm25": 30, "dense": 4}
    totals: dict[str, float] = {}
    for mode, depth in lists.items():
        for rank, name in enumerate(collection.search("owl robin", depth, mode=mode).ids, start=1):
            totals[name] = totals.get(name, 0.0) + 1 / (60 + rank)
    assert dict(ranking(found)) == pytest.approx(totals)
    one = collection.search("owl robin", 100, stages="bm25:0+dense:4")
    assert ranking(one) == ranking(collection.search("owl robin", 4, mode="dense"))


def test_more_than_the_collection_fuses_by_default(collection):
    """The depth of the collection's fusion, smaller here, does not cut lists that were asked to be deeper."""
    fusion = Fusion(depth=5)
    deep = collection.search("owl robin", 100, stages="bm25:60+dense:60", fusion=fusion)
    assert ranking(deep) == ranking(collection.search("owl robin", 100, mode="hybrid", fusion=Fusion(depth=60)))
    assert len(deep) > 10


def test_sparse_vectors_are_a_retriever_and_join_hybrid(tmp_path):
    dense = FunctionEncoder(counts, name="counts", version="1", dimension=5)
    sparse = SparseFunctionEncoder(sparse_counts, name="sparse", version="1", n_dimensions=5)
    both = Collection.create(tmp_path / "c", encoder=dense, sparse=sparse)
    both.add(documents(0, 40))
    hybrid = both.search("owl robin", 40, mode="hybrid", fusion=Fusion(depth=15))
    assert ranking(both.search("owl robin", 40, stages="sparse:15+dense:15+bm25:15")) == ranking(hybrid)
    assert ranking(both.search("owl robin", 9, stages="sparse:9")) == ranking(
        both.search("owl robin", 9, mode="sparse")
    )
    found = both.search("owl robin", 9, stages="hybrid:9,mine:9", rerankers={"mine": Scorer(by_number)})
    assert set(found[0].explain().ranks) <= {"bm25", "dense", "sparse"}
    assert [stage.name for stage in found.stages] == ["bm25", "dense", "sparse", "fusion", "mine"]


# ---------------------------------------------------------------------------------- everything else that a search takes


def test_filters_apply_before_documents_are_retrieved(collection):
    scorer = Scorer(by_number)
    found = collection.search("owl", 20, stages="bm25:6,mine:6", rerankers={"mine": scorer}, where="year = 2001")
    assert len(found) == 6
    assert {hit.metadata["year"] for hit in found} == {2001}
    allowed = collection.search("owl", 6, mode="bm25", where="year = 2001").ids
    assert found.ids == sorted(allowed, key=lambda name: -int(name[1:]))


def test_rerankers_read_a_query_without_its_operators(collection):
    scorer = Scorer(by_number)
    found = collection.search(
        '+owl -"robin robin" swift', 20, stages="bm25:9,mine:9", rerankers={"mine": scorer}, syntax="query"
    )
    assert [query for query, _ in scorer.asked] == ["owl swift"]
    assert all("owl" in hit.text for hit in found)


def test_given_vectors_are_searched(collection):
    vector = counts(["kite kite"])[0]
    plain = collection.search("owl", 10, mode="dense", vector=vector)
    scorer = Scorer(by_number)
    found = collection.search("owl", 10, stages="dense:10,mine:4", rerankers={"mine": scorer}, vector=vector)
    assert scorer.asked[0][1].ids == plain.ids[:4]
    assert ranking(collection.search(stages="dense:10", vector=vector)) == ranking(plain)  # no words are needed
    assert set(found.ids) == set(plain.ids)
    with pytest.raises(QueryError, match="query 1 is empty"):
        collection.search(stages="dense:10,mine:4", rerankers={"mine": scorer}, vector=vector)
    with pytest.raises(QueryError, match="a query vector is of no use in 'bm25:10'; leave it out or add 'dense'"):
        collection.search("owl", stages="bm25:10", vector=vector)


def test_many_queries_get_what_each_gets_and_are_scored_together(collection, monkeypatch):
    queries = ["owl", "nothing of the kind", "swift robin", "kite owl", "wren"]
    stages = "bm25:20+dense:9,mono:8,duo:3"
    for together, batches in ((1 << 12, [5]), (20, [2, 2, 1]), (1, [1] * 5)):
        monkeypatch.setattr("retrieval.pipeline.reranking.TOGETHER", together)
        mono, duo = Scorer(hashed), Pairs(by_number)
        found = collection.search_many(queries, 12, stages=stages, rerankers={"mono": mono, "duo": duo})
        assert mono.batches == batches
        assert mono.n_calls == sum(results.stages[-2].calls for results in found)
        assert duo.n_calls == sum(results.stages[-1].calls for results in found) == 5 * 6
        for query, results in zip(queries, found, strict=True):
            alone = collection.search(
                query, 12, stages=stages, rerankers={"mono": Scorer(hashed), "duo": Pairs(by_number)}
            )
            assert ranking(results) == ranking(alone)
            assert [hit.explain() for hit in results] == [hit.explain() for hit in alone]
            assert {stage.queries for stage in results.stages} == {5}
    assert collection.search_many([], stages=stages, rerankers={"mono": mono, "duo": duo}) == []


def test_queries_without_candidates_reach_no_reranker(collection):
    scorer = Scorer(by_number)
    nothing, something = collection.search_many(
        ["xylophone", "owl"], stages="bm25:9,mine:5", rerankers={"mine": scorer}
    )
    assert len(nothing) == 0
    assert [query for query, _ in scorer.asked] == ["owl"]
    assert [stage.documents for stage in nothing.stages] == [0, 0]
    assert [stage.documents for stage in something.stages] == [9, 5]
    scorer = Scorer(by_number)
    assert len(collection.search("xylophone", stages="bm25:9,mine:5", rerankers={"mine": scorer})) == 0
    assert scorer.batches == []


def test_what_is_written_while_a_reranker_works_is_not_seen(tmp_path):
    """A search keeps to the state in which it began, down to the texts of the next stage."""
    changing = Collection.create(tmp_path / "c", encoder=None)
    changing.add(documents(0, 40))
    before = {name: changing.get(name).full_text for name in changing.ids()}
    queries, stages = ["owl", "swift owl"], "bm25:30,first:30,second:20"
    last = Scorer(hashed)
    expected = changing.search_many(queries, 30, stages=stages, rerankers={"first": by_length, "second": last})

    def writing(query, texts):
        changing.upsert([Document("new", "owl " * 9), Document("d0", "owl of another text")])
        if "d3" in changing:
            changing.delete(["d3", "d6"])
            changing.compact()
        return by_length(query, texts)

    again = Scorer(hashed)
    found = changing.search_many(queries, 30, stages=stages, rerankers={"first": writing, "second": again})
    assert [ranking(results) for results in found] == [ranking(results) for results in expected]
    assert {"d0", "d3"} <= {name for _, each in again.asked for name in each.ids}
    for _, each in again.asked:
        assert list(each.texts) == [before[name] for name in each.ids]
    assert [hit.document.full_text for hit in found[0]] == [before[hit.id] for hit in found[0]]
    assert "new" in changing.search("owl", 40, stages="bm25:40").ids


# ------------------------------------------------------------------------------------------------ explained and planned


def test_explain_shows_the_way_of_a_document_through_the_stages(collection):
    rerankers = {"mono": Scorer(by_number), "duo": Pairs(lambda query, name: -int(name[1:]))}
    stages = "bm25:40+dense:40,mono:10,duo:4"
    found = collection.search("owl robin", 20, stages=stages, rerankers=rerankers)
    first = collection.search("owl robin", 20, stages="bm25:40+dense:40")
    second = collection.search("owl robin", 20, stages="bm25:40+dense:40,mono:10", rerankers=rerankers)
    for rank, hit in enumerate(found, start=1):
        why = hit.explain()
        retrieval, mono, duo = why.stages
        assert (retrieval.stage, mono.stage, duo.stage) == ("bm25:40+dense:40", "mono", "duo")
        assert (retrieval.rank, mono.rank, duo.rank) == (
            first.ids.index(hit.id) + 1,
            second.ids.index(hit.id) + 1,
            rank,
        )
        assert retrieval.score == first.scores[retrieval.rank - 1]
        assert mono.score == (by_number("", hit.id) if retrieval.rank <= 10 else None)
        assert (duo.score is None) == (mono.rank > 4)
        assert why.mode == found.mode == stages
        assert why.ranks.keys() == why.scores.keys() <= {"bm25", "dense"}
        assert [stage["rank"] for stage in why.as_dict()["stages"]] == [retrieval.rank, mono.rank, rank]
    lines = str(found[0].explain()).splitlines()
    way = found[0].explain().stages
    assert f"  stage mono: rank {way[0].rank} -> {way[1].rank}, score {way[1].score:.6g}" in lines
    assert f"  stage duo: rank {way[1].rank} -> 1, score 3" in lines
    assert any(line.endswith("not scored") for line in str(found[19].explain()).splitlines())
    assert sum(term.score for term in found[0].explain().terms) == pytest.approx(found[0].explain().scores["bm25"])
    assert collection.search("owl")[0].explain().stages == ()
    assert found[3:5][0].explain() == found[3].explain()
    assert found[3:5].stages == found.stages


def test_stages_report_documents_calls_and_time(collection):
    rerankers = {"mono": Scorer(by_number), "duo": Pairs(by_number)}
    found = collection.search(
        "owl robin", 3, stages="bm25:40+dense:30,mono:10,duo:4,off:0", rerankers=rerankers | {"off": by_number}
    )
    assert [(stage.name, stage.documents, stage.calls) for stage in found.stages] == [
        ("bm25", 40, 0),
        ("dense", 30, 0),
        ("fusion", 10, 0),
        ("mono", 10, 10),
        ("duo", 4, 12),
    ]
    assert all(stage.seconds > 0 for stage in found.stages)
    assert str(found.stages[3]).startswith("mono: 10 documents, 10 model calls, ")
    assert [stage.name for stage in collection.search("owl").stages] == ["bm25", "dense", "fusion"]
    assert [stage.as_dict()["name"] for stage in collection.search("owl", mode="bm25").stages] == ["bm25"]


def test_the_plan_of_a_collection_knows_how_many_documents_there_are(collection):
    rerankers = {"mono": by_number, "duo": Pairs(by_number)}
    plan = collection.plan("bm25:1000+dense:1000,mono:500,duo:10", rerankers)
    assert plan.retrieved == len(collection) == 88
    assert [(stage.candidates, stage.calls) for stage in plan.stages] == [(88, 88), (10, 90)]
    with pytest.raises(QueryError, match="no reranker 'mono'"):
        collection.plan("bm25:10,mono:5")


# ------------------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stages": "bm25:9,mono:5"}, "no reranker 'mono' for the stages 'bm25:9,mono:5'; there are: none"),
        (
            {"stages": "bm25:9,mno:5", "rerankers": {"mono": by_number}},
            "no reranker 'mno' .*; there are: 'mono'; add it with",
        ),
        ({"stages": "bm25:9", "mode": "bm25"}, "a mode or stages, not both: leave out mode='bm25' or stages='bm25:9'"),
        ({"rerankers": {"mono": by_number}}, "rerankers need stages"),
        ({"stages": "bm25:9,mono:5", "rerankers": {"mono": "a/folder"}}, "'a/folder'; load it once"),
        ({"stages": "bm25:9,mono:5", "rerankers": {"mono": Path("a")}}, "load it once"),
        ({"stages": "bm25:9,mono:5", "rerankers": {"mono": Scorer}}, "neither a reranker nor a function"),
        # A class has the members of a reranker, and a model can be called; neither can rerank.
        ({"stages": "bm25:9,mono:5", "rerankers": {"mono": FunctionReranker}}, "that is a class, give an object of it"),
        ({"stages": "bm25:9,mono:5", "rerankers": {"mono": CrossEncoder()}}, "CrossEncoder.*; load it once, with load"),
        ({"stages": "bm25:9,mono:5", "rerankers": [by_number]}, "rerankers are given by name"),
        ({"stages": "bm25:9", "rerankers": {"bm25": by_number}}, "a reranker cannot be called 'bm25'"),
        ({"stages": "sparse:9"}, "retriever 'sparse' needs sparse vectors and this collection has none"),
        ({"stages": "bm25:9", "k": 0}, "k must be at least 1"),
        ({"stages": "bm25:x"}, "'x' is not a whole number"),
    ],
)
def test_stages_that_make_no_sense_are_refused(collection, options, message):
    with pytest.raises(QueryError, match=message):
        collection.search("owl", **options)
    with pytest.raises(QueryError, match=message):
        collection.search_many(["owl"], **options)


def test_a_lexical_collection_has_no_vectors_to_search(tmp_path):
    lexical = Collection.create(tmp_path / "c", encoder=None)
    lexical.add(documents(0, 9))
    for stages in ("dense:9", "bm25:9+dense:9", "hybrid:9"):
        with pytest.raises(QueryError, match=r"retriever '\w+' needs vectors and this collection has none; use 'bm25'"):
            lexical.search("owl", stages=stages)
    found = lexical.search("owl", 20, stages="bm25:9,mine:9", rerankers={"mine": Scorer(by_number)})
    assert len(found) == len(lexical.search("owl", 20))
    with pytest.raises(QueryError, match="query 1 is empty"):
        lexical.search(" ", stages="bm25:9")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda n: [np.zeros(n + 1)], r"reranker 'mine' returned an array of shape \(6,\), expected \(5,\)"),
        (lambda n: [np.zeros((n, 1))], r"reranker 'mine' returned an array of shape \(5, 1\)"),
        (lambda n: [np.full(n, math.nan)], "reranker 'mine' returned nan for document 'd.*' and query 'owl'"),
        (lambda n: [np.full(n, math.inf)], "reranker 'mine' returned inf for document"),
        (lambda n: [["high"] * n], "reranker 'mine' returned list, not an array of numbers"),
        (lambda n: [[10**400] * n], "reranker 'mine' returned list, not an array of numbers that float64 can hold"),
        (lambda n: [], "reranker 'mine' answered 0 of 1 queries"),
        (lambda n: [np.zeros(n)] * 2, "reranker 'mine' answered 2 of 1 queries"),
        (lambda n: None, "reranker 'mine' returned NoneType, not a list with one array of scores for each query"),
    ],
)
def test_a_reranker_that_breaks_its_contract_is_named(collection, answer, message):
    class Broken(Scorer):
        def score(self, queries, candidates):
            return answer(len(candidates[0]))

    with pytest.raises(RerankerError, match=message):
        collection.search("owl", stages="bm25:9,mine:5", rerankers={"mine": Broken(None)})


def test_scores_that_a_reranker_changes_later_do_not_change_results(collection):
    class Reusing(Scorer):
        buffer = np.arange(5.0)

        def score(self, queries, candidates):
            for each in candidates:
                each.scores[:] = -1  # nor what it does to its candidates
            return [self.buffer]

    found = collection.search("owl", 9, stages="bm25:9,mine:5", rerankers={"mine": Reusing(None)})
    before = [(hit.id, hit.score, hit.explain()) for hit in found]
    Reusing.buffer[:] = 0
    assert [(hit.id, hit.score, hit.explain()) for hit in found] == before
    assert before[0][2].stages[0].score > 0


# ----------------------------------------------------------------------------------------------------- presented scores


@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=12),
    st.floats(allow_nan=False, allow_infinity=False),
)
def test_lowered_scores_are_finite_fall_and_stay_under_the_ceiling(values, ceiling):
    scores = np.sort(np.array(values))[::-1]
    moved = lowered(scores, ceiling)
    assert np.isfinite(moved).all()
    assert (moved <= ceiling).all()
    assert (moved[1:] <= moved[:-1]).all()
    if scores[0] <= ceiling:
        assert moved.tolist() == scores.tolist()


def test_lowered_scores_keep_their_distances():
    assert lowered(np.array([7.0, 5.0, 4.5]), 1.0).tolist() == [1.0, -1.0, -1.5]
    assert lowered(np.empty(0), 1.0).tolist() == []


def test_a_list_is_reordered_by_hand():
    hits = Hits(np.zeros(4, np.int32), np.arange(4), np.array([9.0, 8.0, 7.0, 6.0]), np.arange(10, 14))
    scores = np.array([0.5, 2.0, 0.5])
    found = reordered(hits, Step("mine", scores, best_first(scores)))
    assert found.rows.tolist() == [1, 0, 2, 3]
    assert found.sequences.tolist() == [11, 10, 12, 13]
    assert found.scores.tolist() == [2.0, 0.5, 0.5, 0.5]
