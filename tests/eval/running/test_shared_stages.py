"""Pipelines that begin alike run their beginning once, and rank as they do by themselves."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.running import ResultStore, run_tasks
from eval.running.shared_stages import SharedStages
from eval.tasks.base import Surroundings
from eval.tasks.system import System
from retrieval import Collection, Document, FunctionReranker, QueryError
from tests.eval.running.conftest import QUERIES, ROWS, CountingEncoder, SearchTask


class Stub:
    """A reranker that remembers the pairs that it scored."""

    def __init__(self, name: str, factor: int) -> None:
        self.pairs: list[tuple[str, str]] = []

        def score(query: str, texts: list[str]) -> list[float]:
            self.pairs += [(query, text) for text in texts]
            return [float(len(text) * factor % 7) for text in texts]

        self.reranker = FunctionReranker(score, name)


@pytest.fixture
def searches(monkeypatch):
    """The first stages that run, as text, a query each."""
    seen: list[str] = []
    search_many = Collection.search_many

    def counted(self, queries, k=10, **options):
        queries = list(queries)
        seen.extend([str(options.get("stages"))] * len(queries))
        return search_many(self, queries, k, **options)

    monkeypatch.setattr(Collection, "search_many", counted)
    return seen


STAGES = ["bm25:5", "bm25:5,mono:4", "bm25:5,mono:4,duo:2", "bm25:5,mono:3", "bm25:4,mono:4"]


def run(stages, folder, rerankers, *, together, encoder=None):
    """Return rankings and stages' calls by pipeline, from one run or from a run for each."""
    systems = [System(text, encoder=encoder, options={"stages": text, "rerankers": rerankers}) for text in stages]
    folder.mkdir()
    groups = [systems] if together else [[system] for system in systems]
    found = {}
    for number, group in enumerate(groups):
        store = ResultStore(folder / f"results{number}")
        done = run_tasks(group, [SearchTask()], Surroundings(folder), store, on_error="raise")
        found |= {result.system: result for result in done.results}
    return found


def test_each_beginning_runs_once_and_rankings_are_those_of_single_runs(tmp_path, searches):
    apart = {"mono": Stub("mono", 3), "duo": Stub("duo", 5)}
    expected = run(STAGES, tmp_path / "apart", {n: s.reranker for n, s in apart.items()}, together=False)
    assert len(searches) == len(STAGES) * len(QUERIES)
    searches.clear()

    shared = {"mono": Stub("mono", 3), "duo": Stub("duo", 5)}
    found = run(STAGES, tmp_path / "shared", {n: s.reranker for n, s in shared.items()}, together=True)
    for stages in STAGES:
        assert found[stages].settings["rankings"] == expected[stages].settings["rankings"], stages
        assert found[stages].settings["stages"] == expected[stages].settings["stages"], stages
        assert found[stages].values == expected[stages].values
    # bm25:5 once; bm25:4 is another beginning.
    assert sorted(searches) == sorted(["bm25:5", "bm25:4,mono:4"] * len(QUERIES))
    # mono:4 behind bm25:5 once, mono:3 and mono:4 behind bm25:4 by themselves.
    saved = list(apart["mono"].pairs)
    for pair in shared["mono"].pairs:
        saved.remove(pair)
    assert len(saved) == sum(calls for name, calls in expected["bm25:5,mono:4"].settings["stages"] if name == "mono")
    assert sorted(shared["duo"].pairs) == sorted(apart["duo"].pairs)
    assert found["bm25:5"].settings.get("lists_shared_with_other_systems") is None
    assert found["bm25:5,mono:4"].settings["lists_shared_with_other_systems"] == len(QUERIES)


def test_vectors_and_fusion_are_shared_as_well(tmp_path, searches):
    stages = ["bm25:5+dense:4,mono:3", "bm25:5+dense:4", "hybrid:4,mono:2", "hybrid:4"]
    mono = Stub("mono", 3)
    expected = run(stages, tmp_path / "apart", {"mono": mono.reranker}, together=False, encoder=CountingEncoder())
    searches.clear()
    found = run(stages, tmp_path / "shared", {"mono": mono.reranker}, together=True, encoder=CountingEncoder())
    assert len(searches) == 2 * len(QUERIES)
    for name, result in expected.items():
        assert found[name].settings["rankings"] == result.settings["rankings"], name


def test_rerankers_of_one_name_that_are_two_objects_are_two(tmp_path):
    task = SearchTask()
    stubs = [Stub("mono", 3), Stub("mono", 5)]
    systems = [
        System(f"s{number}", options={"stages": "bm25:5,mono:5", "rerankers": {"mono": stub.reranker}})
        for number, stub in enumerate(stubs)
    ]
    run_tasks(systems, [task], Surroundings(tmp_path), ResultStore(tmp_path / "results"), on_error="raise")
    assert sorted(stubs[0].pairs) == sorted(stubs[1].pairs) != []


@settings(max_examples=20)
@given(
    data=st.data(),
    k=st.integers(1, 6),
    pipelines=st.lists(
        st.tuples(
            st.sampled_from(["bm25:5", "bm25:2", "bm25:0+dense:4", "bm25:3+dense:3", "hybrid:4"]),
            st.lists(st.sampled_from(["mono", "duo"]), unique=True, max_size=2),
            st.lists(st.integers(0, 5), min_size=2, max_size=2),
        ),
        min_size=1,
        max_size=5,
    ),
)
def test_any_pipelines_rank_as_by_themselves(corpus, data, k, pipelines):
    rerankers = {"mono": Stub("mono", 3).reranker, "duo": Stub("duo", 5).reranker}
    texts = [
        ",".join([first, *(f"{name}:{limit}" for name, limit in zip(names, limits, strict=False))])
        for first, names, limits in pipelines
    ]
    systems = [System(str(n), options={"stages": text, "rerankers": rerankers}) for n, text in enumerate(texts)]
    searches = SharedStages(systems)(corpus)
    for system in data.draw(st.permutations(systems)):
        found = searches.search_many(list(QUERIES.values()), k, **system.search_options)
        alone = corpus.search_many(list(QUERIES.values()), k, **system.search_options)
        assert [[(hit.id, hit.score) for hit in each] for each in found] == [
            [(hit.id, hit.score) for hit in each] for each in alone
        ]
        assert [each.mode for each in found] == [each.mode for each in alone]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    with Collection.create(tmp_path_factory.mktemp("shared") / "x.index", encoder=CountingEncoder()) as collection:
        collection.add([Document(name, text) for name, text in ROWS.items()])
        yield collection


def test_what_is_not_shared_is_the_collections_own(corpus):
    systems = [System("a", options={"stages": "bm25:5"}), System("b", options={"stages": "bm25:5"})]
    searches = SharedStages(systems)(corpus)
    assert searches.search("owl").ids == corpus.search("owl").ids
    assert "d1" in searches
    assert "d9" not in searches
    assert len(searches) == len(corpus)
    assert searches.search_many(["owl"], 2, mode="dense")[0].ids == corpus.search("owl", 2, mode="dense").ids
    with pytest.raises(QueryError, match="empty"):
        searches.search_many(["owl", " "], 5, stages="bm25:5")
    with pytest.raises(QueryError, match="no reranker 'mono'"):
        searches.search_many(["owl"], 5, stages="bm25:5,mono:3")


def test_a_change_of_the_collection_is_seen(tmp_path):
    systems = [System("a", options={"stages": "bm25:5"}), System("b", options={"stages": "bm25:5"})]
    with Collection.create(tmp_path / "x.index", encoder=None) as collection:
        collection.add([Document("d1", "owl"), Document("d2", "wren")])
        searches = SharedStages(systems)(collection)
        assert [hit.id for hit in searches.search_many(["owl"], stages="bm25:5")[0]] == ["d1"]
        collection.add([Document("d3", "owl owl")])
        found = [hit.id for hit in searches.search_many(["owl"], stages="bm25:5")[0]]
        assert found == collection.search("owl").ids
        assert len(found) == 2
