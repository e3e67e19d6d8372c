"""Tuning: every simulated setting is what a search returns, for as few model calls as the reranker's kind allows."""

from __future__ import annotations

import io
import json
import logging
import re
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from eval.errors import TuningError
from eval.measures import evaluate_run
from eval.testsets import TestSet
from eval.tuning import Setting, best_setting, make_grid, pareto_set, series, simulate, tune
from eval.tuning.plot import draw
from eval.tuning.scores import joined_sets, kind_of
from retrieval import (
    Collection,
    Document,
    FunctionEncoder,
    FunctionReranker,
    PassageReranker,
    Pipeline,
    QueryError,
    RerankerError,
    Splitting,
    parse_stages,
)
from retrieval.rerankers import BertQE, BirchReranker, QueryRoutingReranker

WORDS = ["owl", "swift", "robin", "wren", "kite"]
QUERIES = {
    f"q{number}": f"{first} {second}"
    for number, (first, second) in enumerate(zip(WORDS, WORDS[2:] + WORDS[:2], strict=True))
}


def counts(texts):
    return np.array([[text.count(word) + 0.25 for word in WORDS] for text in texts], np.float32)


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    encoder = FunctionEncoder(counts, name="counts", version="1", dimension=5)
    collection = Collection.create(tmp_path_factory.mktemp("tuning") / "c", encoder=encoder)
    collection.add(
        Document(f"d{number}", " ".join([WORDS[number % 5]] * (1 + number % 4) + [WORDS[number * 7 % 3]]), f"t{number}")
        for number in range(80)
    )
    return collection


def strength(query, document_id):
    """A number from 0 to 16 that has nothing to do with the text; many documents share one."""
    return sum(map(ord, query + document_id)) * 7919 % 17


class Counting:
    """Scores documents by ids and counts the inputs that a model would read."""

    name = "counting"

    def __init__(self):
        self.n_calls = 0

    def identity(self):
        return {}

    def execution(self):
        return {}

    def close(self):
        pass


class Mono(Counting):
    def calls(self, n):
        return n

    def score(self, queries, candidates):
        self.n_calls += sum(map(len, candidates))
        return [
            np.array([strength(query, name) for name in each.ids], float)
            for query, each in zip(queries, candidates, strict=True)
        ]


class Sums:
    def scores(self, n, pairs, probabilities):
        scores = np.zeros(n)
        np.add.at(scores, pairs[:, 0], probabilities)
        return scores


class Duo(Counting):
    """Probabilities that are halves, quarters and so on, so that sums are exact in any order."""

    aggregation = Sums()

    def calls(self, n):
        return n * (n - 1)

    def probabilities(self, queries, candidates):
        matrices = []
        for query, each in zip(queries, candidates, strict=True):
            values = [strength(query[::-1], name) for name in each.ids]
            matrices.append(np.array([[2.0 ** -(1 + max(two - one, 0)) for two in values] for one in values]))
            np.fill_diagonal(matrices[-1], np.nan)
            self.n_calls += self.calls(len(each))
        return matrices

    def score(self, queries, candidates):
        return [np.nansum(matrix, axis=1) for matrix in self.probabilities(queries, candidates)]


class Listwise(Duo):
    """The same without saying how its comparisons become scores; and it looks at the scores of the stage before."""

    aggregation = property()  # raises AttributeError

    def score(self, queries, candidates):
        return [
            scores - 0.001 * np.arange(len(each)) * (each.scores[0] - each.scores[-1])
            for scores, each in zip(super().score(queries, candidates), candidates, strict=True)
        ]


def ranking(results):
    return list(zip(results.ids, results.scores.tolist(), strict=True))


@pytest.mark.parametrize(
    ("stages", "numbers"),
    [
        ("bm25:40,mono:20,duo:8", {}),
        (
            "bm25:30+dense:30,mono:20,duo:8",
            {"bm25": [0, 5, 30], "dense": [3, 30], "mono": [0, 3, 20], "duo": [0, 1, 4, 8]},
        ),
        ("dense:15,duo:6,mono:10", {}),
        ("hybrid:50", {"hybrid": [1, 7, 50]}),
    ],
)
@pytest.mark.parametrize("duo", [Duo, Listwise])
@pytest.mark.parametrize("batch_size", [2, 64])
def test_every_setting_is_what_a_search_returns(collection, stages, numbers, duo, batch_size):
    rerankers = {"mono": Mono(), "duo": duo()}
    assert [kind_of(each) for each in rerankers.values()] == ["pointwise", "pairwise" if duo is Duo else "listwise"]
    grid = make_grid(parse_stages(stages), numbers)
    simulation = simulate(collection, QUERIES, grid, rerankers, 12, batch_size=batch_size)
    used = [name for name, _ in parse_stages(stages).rerankers]
    assert [rerankers[name].n_calls for name in used] == list(simulation.calls)
    assert len(simulation.settings) == len(grid) > 2
    for simulated in simulation.settings:
        found = collection.search_many(
            list(QUERIES.values()), 12, stages=simulated.pipeline, rerankers={"mono": Mono(), "duo": duo()}
        )
        assert simulated.run == {name: ranking(results) for name, results in zip(QUERIES, found, strict=True)}
        ran = {
            name: sum(report.calls for results in found for report in results.stages if report.name == name)
            for name in used
        }
        assert dict(zip(used, simulated.calls, strict=True)) == ran
    assert set(simulation.retrieval_seconds) == {pipeline.retrievers for pipeline in grid}


def overlap(query, texts):
    return [float(sum(query.count(word) for word in text.split())) + 0.1 * len(text) for text in texts]


COMPOSED = {
    "passages": lambda model: PassageReranker(model, "max", Splitting(2, 2)),
    "sentences": BirchReranker,
    "chunks": BertQE,
    "routed": lambda model: QueryRoutingReranker(model, PassageReranker(model, "max", Splitting(2, 2)), 0.9),
}


@pytest.mark.parametrize("compose", COMPOSED.values(), ids=COMPOSED)
def test_calls_are_those_that_searches_report(compose, collection):
    """Not as many as the reranker could make at most, which for passages are many more."""
    texts = []

    def counting(query, given_texts):
        texts.extend(given_texts)
        return overlap(query, given_texts)

    reranker = compose(FunctionReranker(counting))
    stages = parse_stages("bm25:20,long:5")
    (simulated,) = (simulation := simulate(collection, QUERIES, [stages], {"long": reranker}, 10)).settings
    made, loosest = len(texts), sum(stages.plan({"long": reranker}).calls for _ in QUERIES)
    found = collection.search_many(list(QUERIES.values()), 10, stages=stages, rerankers={"long": reranker})
    reported = sum(results.stages[-1].calls for results in found)
    assert simulated.calls == list(simulation.calls) == [reported]
    assert made <= reported < loosest
    if not isinstance(reranker, BertQE):  # which cannot tell how many chunks a document has
        assert made == reported


def test_settings_share_scores(collection):
    mono, duo = Mono(), Duo()
    grid = make_grid(parse_stages("bm25:40,mono:20,duo:8"))
    simulation = simulate(collection, QUERIES, grid, {"mono": mono, "duo": duo}, 10)
    texts = list(QUERIES.values())
    found = collection.search_many(texts, 20, stages="bm25:40")
    assert mono.n_calls == sum(map(len, found)) == 100
    compared: list[set[str]] = [set() for _ in texts]
    heads: list[set[frozenset[str]]] = [set() for _ in texts]
    for limit in series(20):
        ranked = collection.search_many(texts, 8, stages=f"bm25:40,mono:{limit}", rerankers={"mono": Mono()})
        for documents, of_query, results in zip(compared, heads, ranked, strict=True):
            documents.update(results.ids)
            of_query.update(frozenset(results.ids[:n]) for n in series(8))
    assert duo.n_calls <= sum(len(documents) * (len(documents) - 1) for documents in compared)
    assert duo.n_calls < sum(len(head) * (len(head) - 1) for of_query in heads for head in of_query)
    assert sum(simulation.calls) < sum(sum(setting.calls) for setting in simulation.settings) / 3
    assert min(simulation.seconds) > 0


def test_the_largest_setting_costs_what_the_plan_says(collection):
    rerankers = {"mono": Mono(), "duo": Duo()}
    stages = parse_stages("bm25:40,mono:20,duo:8")
    *_, largest = simulate(collection, QUERIES, make_grid(stages), rerankers, 10).settings
    assert largest.pipeline == stages
    assert sum(largest.calls) == stages.plan(rerankers).calls * len(QUERIES)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.integers(0, 12), unique=True, max_size=6).map(tuple), max_size=8))
def test_heads_are_joined_where_that_saves_pairs(heads):
    def pairs(sets):
        return sum(len(each) * (len(each) - 1) for each in sets)

    joined = joined_sets(heads)
    assert all(any(set(head) <= each for each in joined) for head in heads if head)
    assert {document for each in joined for document in each} == {document for head in heads for document in head}
    assert pairs(joined) <= pairs({frozenset(head) for head in heads})
    assert pairs(joined) <= pairs([{document for head in heads for document in head}])


def test_heads_are_joined_by_hand():
    assert joined_sets([(1,), (1, 2), (3, 1, 2)]) == [{1, 2, 3}]
    assert joined_sets([(1, 2), (3, 4), (5, 6)]) == [{1, 2}, {3, 4}, {5, 6}]  # 6 pairs instead of 30
    assert joined_sets([(1, 2, 3, 4), (9, 8), (4, 3, 2, 5)]) == [{1, 2, 3, 4, 5}, {8, 9}]  # 22, not 26 or 42
    assert joined_sets([(), ()]) == []


def test_heads_without_a_document_in_common_cost_what_they_cost_by_themselves(collection):
    """The reranker in front turns the list around: what it admits decides what the pairwise one sees."""
    places = {name: place for place, name in enumerate(collection.search("owl robin", 40, stages="bm25:40").ids)}
    queries, duo = {"q": "owl robin"}, Duo()
    backwards = Mono()
    backwards.score = lambda texts, candidates: [
        np.array([float(places[name]) for name in each.ids]) for each in candidates
    ]
    grid = make_grid(parse_stages("bm25:40,mono:40,duo:4"), {"mono": [0, 10, 20, 40], "duo": [4]})
    simulation = simulate(collection, queries, grid, {"mono": backwards, "duo": duo}, 10)
    assert simulation.calls[1] == duo.n_calls == 4 * 12 < 16 * 15


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda n: np.full((n, n), np.nan), "reranker 'duo' returned nan for a pair of documents and query 'owl"),
        (lambda n: np.zeros((n, n + 1)), r"returned probabilities of shape \(8, 9\), expected \(8, 8\)"),
    ],
)
def test_broken_probabilities_are_refused(collection, broken, message):
    duo = Duo()
    duo.probabilities = lambda queries, candidates: [broken(len(each)) for each in candidates]
    with pytest.raises(RerankerError, match=message):
        simulate(collection, QUERIES, make_grid(parse_stages("bm25:40,duo:8")), {"duo": duo}, 10)


def test_query_syntax_and_empty_grids_are_not_simulated(collection):
    with pytest.raises(TuningError, match="not for syntax='query': rerankers would read its operators"):
        simulate(collection, QUERIES, make_grid(parse_stages("bm25:9")), {}, 10, syntax="query")
    with pytest.raises(TuningError, match="no setting to simulate"):
        simulate(collection, QUERIES, [], {}, 10)


# ------------------------------------------------------------------------------------------------------------- the grid


@pytest.mark.parametrize(
    ("limit", "expected"),
    [(0, [0]), (1, [0, 1]), (2, [0, 1, 2]), (10, [0, 1, 2, 5, 10]), (30, [0, 1, 2, 5, 10, 20, 30])],
)
def test_series_by_hand(limit, expected):
    assert series(limit) == expected


def test_a_grid_holds_all_combinations_and_the_pipeline_last():
    grid = make_grid(parse_stages("bm25:100,mono:5,duo:2"))
    assert len(grid) == 4 * 3
    assert str(grid[0]) == "bm25:100,mono:0,duo:0"
    assert str(grid[-1]) == "bm25:100,mono:5,duo:2"
    grid = make_grid(parse_stages("bm25:9+dense:9,mono:5"), {"bm25": [0, 9], "dense": [9, 0], "mono": [5]})
    assert [str(each) for each in grid] == ["bm25:0+dense:9,mono:5", "bm25:9+dense:0,mono:5", "bm25:9+dense:9,mono:5"]


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"mno": [1]}, "no stage is called 'mno'; stages: 'bm25', 'mono'"),
        ({"mono": [51]}, r"stage 'mono' tries one or more numbers from 0 to 50, not \[51\]"),
        ({"mono": [-1]}, "from 0 to 50"),
        ({"mono": []}, "one or more numbers"),
        ({"bm25": range(1001), "mono": range(51)}, "51,051 combinations are more than 10,000"),
    ],
)
def test_grids_that_make_no_sense_are_refused(numbers, message):
    with pytest.raises(TuningError, match=message):
        make_grid(parse_stages("bm25:1000,mono:50"), numbers)


def test_settings_of_other_pipelines_are_not_simulated_together(collection):
    grid = [parse_stages("bm25:9,mono:5"), parse_stages("bm25:9")]
    with pytest.raises(TuningError, match="the same rerankers"):
        simulate(collection, QUERIES, grid, {"mono": Mono()}, 10)


# ---------------------------------------------------------------------------------------------- what is worth its price


def setting(value, calls, milliseconds=1.0):
    return Setting(f"{value}/{calls}/{milliseconds}", {"RR@10": value}, calls, milliseconds)


def test_the_pareto_set_by_hand():
    cheap, same, worse, middle, best = (
        setting(0.3, 0),
        setting(0.3, 5),
        setting(0.2, 6),
        setting(0.5, 10),
        setting(0.6, 100),
    )
    later = setting(0.5, 10, 0.9)  # as good for as many calls: the first in the grid stays, whatever the clock says
    settings = [best, worse, middle, later, same, cheap]
    assert pareto_set(settings, "RR@10") == (cheap, middle, best)
    assert best_setting(settings, "RR@10") == best
    assert best_setting(settings, "RR@10", max_calls=99) == middle
    assert best_setting(settings, "RR@10", max_calls=9.9) == cheap
    assert best_setting([setting(0.6, 5, 7.0), setting(0.5, 5, 2.0)], "RR@10", max_milliseconds=3).milliseconds == 2.0
    with pytest.raises(
        TuningError, match=r"no setting is within the budget; the cheapest, .* takes 0\.0 calls and 1\.0 ms"
    ):
        best_setting(settings, "RR@10", max_milliseconds=0.5)


@pytest.fixture
def testset():
    """Relevant is what `Mono` scores best."""
    qrels = {
        query_id: {f"d{number}": 1 for number in range(80) if strength(text, f"d{number}") == 16}
        for query_id, text in QUERIES.items()
    }
    return TestSet("birds", "dev", QUERIES, qrels)


def test_tuning_measures_every_setting_and_checks_the_best(collection, testset):
    report = tune(collection, testset, "bm25:40,mono:40,duo:5", {"mono": Mono(), "duo": Duo()}, ["RR@10", "P@5"])
    assert len(report.settings) == 7 * 4
    by_stages = {each.stages: each for each in report.settings}
    for stages in ("bm25:40,mono:0,duo:0", "bm25:40,mono:20,duo:2"):
        found = collection.search_many(
            list(QUERIES.values()), 10, stages=stages, rerankers={"mono": Mono(), "duo": Duo()}
        )
        run = {name: ranking(results) for name, results in zip(QUERIES, found, strict=True)}
        assert by_stages[stages].measures == evaluate_run(run, testset.qrels, ["RR@10", "P@5"]).measures
    assert by_stages["bm25:40,mono:20,duo:2"].calls == 20 + 2
    assert report.best.measures["RR@10"] == max(each.measures["RR@10"] for each in report.settings)
    assert report.check.measures == report.best.measures
    assert (report.check.identical, report.check.queries) == (5, 5)
    assert report.pareto[-1].measures["RR@10"] == report.best.measures["RR@10"]
    assert report.calls["mono"] == 5 * 40
    assert report.calls_of_settings == pytest.approx(sum(each.calls for each in report.settings) * 5)
    assert all(each.milliseconds > 0 for each in report.settings)
    assert json.loads(json.dumps(report.as_dict()))["best"]["stages"] == report.best.stages
    again = tune(
        collection, testset, "bm25:40,mono:40,duo:5", {"mono": Mono(), "duo": Duo()}, ["RR@10", "P@5"], batch_size=2
    )
    for one, other in ((report.settings, again.settings), (report.pareto, again.pareto), ([report.best], [again.best])):
        assert [(each.stages, each.measures) for each in one] == [(each.stages, each.measures) for each in other]


def test_budgets_and_options_are_obeyed(collection, testset):
    report = tune(collection, testset, "bm25:40,mono:40", {"mono": Mono()}, ["RR@10"], max_calls=10, check=False)
    assert report.best.calls <= 10
    assert report.check is None
    with pytest.raises(TuningError, match="no setting is within the budget"):
        tune(collection, testset, "bm25:40,mono:40", {"mono": Mono()}, ["RR@10"], max_milliseconds=0)
    nothing = TestSet("empty", "dev", {"1": " "}, {"1": {"d1": 1}})
    with pytest.raises(TuningError, match=r"empty \(dev\) has no query with a text"):
        tune(collection, nothing, "bm25:40")


def test_a_budget_of_calls_is_one_of_the_calls_that_searches_make(collection, testset):
    reranker = PassageReranker(FunctionReranker(overlap), "max", Splitting(2, 2))
    report = tune(collection, testset, "bm25:40,long:5", {"long": reranker}, ["RR@10"], max_calls=20)
    assert {each.stages: each.calls for each in report.settings}["bm25:40,long:5"] <= 20 < reranker.calls(5)
    assert report.check.calls == report.best.calls
    assert report.calls["long"] == pytest.approx(max(each.calls for each in report.settings) * len(QUERIES))


def test_single_searches_are_timed_where_the_best_setting_is_checked(collection, testset, caplog):
    """Batches share what a call takes; a budget that holds for them need not hold for a single search."""
    asked = []

    class Slow(Mono):
        def score(self, queries, candidates):
            asked.append(len(queries))
            time.sleep(0.05)
            return super().score(queries, candidates)

    with caplog.at_level(logging.WARNING, logger="eval"):
        report = tune(
            collection, testset, "bm25:40,m:40", {"m": Slow()}, ["RR@10"], numbers={"m": [40]}, max_milliseconds=40
        )
    assert report.best.milliseconds <= 40
    assert 50 <= report.check.latency.p50 <= report.check.latency.p95
    assert report.check.latency.n == len(QUERIES)
    assert asked.count(1) >= len(QUERIES)
    assert re.search(
        r"single searches with bm25:40,m:40 take \d+\.\d ms in the mean, more than the budget of 40 ms", caplog.text
    )
    console = Console(width=200, file=io.StringIO())
    console.print(report.table())
    assert "single searches: " in console.file.getvalue()
    assert json.loads(json.dumps(report.as_dict()))["check"]["latency"]["n"] == len(QUERIES)


def test_stages_of_stored_states_say_how_to_tune_instead(testset, tmp_path):
    """One message, with a way out that works; those of searches would each ask for what the other refuses."""
    from tests.rerankers.two_sided import WordNetwork, WordReranker

    network = WordReranker(WordNetwork(), "words")
    late = Collection.create(tmp_path / "late", encoder=None, tokens={"late": network})
    late.add(Document(f"d{number}", f"{word} owl robin") for number, word in enumerate(WORDS))
    assert late.search("owl", stages="bm25:9,late:9").stages[-1].states == 5
    for rerankers in (None, {"late": Mono()}):
        with pytest.raises(
            TuningError, match=r"stage 'late' reads the states that .*tune the network itself under anoth"
        ):
            tune(late, testset, "bm25:40,late:10", rerankers)
    with pytest.raises(QueryError, match="no reranker 'other'"):
        tune(late, testset, "bm25:40,other:10")
    tuned = tune(late, testset, "bm25:9,texts:5", {"texts": network})
    assert tuned.calls["texts"] > 0


def test_a_function_that_looks_at_the_other_candidates_is_found_out(collection, testset, caplog):
    """It says that it calls its model once for each candidate, so it is taken at its word; the check shows it."""
    sly = FunctionReranker(
        lambda query, texts: [(len(texts) * 31 + len(text) * 17 + place * 7) % 13 for place, text in enumerate(texts)]
    )
    with caplog.at_level(logging.WARNING, logger="eval"):
        report = tune(collection, testset, "bm25:40,sly:9", {"sly": sly}, ["P@5"], numbers={"sly": [7, 9, 3]})
    assert report.check.identical < report.check.queries
    assert "do a reranker's scores of a document depend" in caplog.text


def test_a_plot_is_the_same_for_the_same_report(collection, testset, tmp_path):
    pytest.importorskip("matplotlib")
    report = tune(collection, testset, "bm25:40,mono:40", {"mono": Mono()}, ["RR@10"])
    for name in ("one.svg", "two.svg"):
        draw(report, tmp_path / name)
    content = (tmp_path / "one.svg").read_text(encoding="utf-8")
    assert content == (tmp_path / "two.svg").read_text(encoding="utf-8")
    for words in ("model calls a query", "RR@10", report.best.stages):
        assert words in content
    for wrong in (tmp_path / "plot.png", tmp_path / "no" / "plot.svg"):
        with pytest.raises(TuningError, match=r"an \.svg file in an existing folder"):
            draw(report, wrong)


def test_a_pipeline_of_retrievers_alone_can_be_tuned(collection, testset):
    report = tune(collection, testset, Pipeline((("bm25", 40),)), measures=["R@100"], numbers={"bm25": [1, 10, 40]})
    assert [each.calls for each in report.settings] == [0, 0, 0]
    values = [each.measures["R@100"] for each in report.settings]
    assert values == sorted(values)
