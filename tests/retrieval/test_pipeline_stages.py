"""The text of a pipeline: what it says, what it must not say, and what it costs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval import FunctionReranker, Pipeline, QueryError, parse_stages
from retrieval.pipeline import Admission, Retriever

NAMES = st.from_regex(r"[a-zA-Zé][a-zA-Z0-9_.-]{0,8}", fullmatch=True).filter(
    lambda name: name not in ("bm25", "dense", "sparse", "hybrid")
)


class Pairwise:
    """Counts calls as a pairwise reranker does: each candidate against each other one."""

    name = "pairs"

    def identity(self):
        return {}

    def execution(self):
        return {}

    def calls(self, n):
        return n * (n - 1)

    def score(self, queries, candidates):
        raise AssertionError("planning scores nothing")

    def close(self):
        pass


def test_the_example_by_hand():
    pipeline = parse_stages("bm25:1000+dense:1000,mono:50,duo:10")
    assert pipeline.retrievers == (Retriever("bm25", 1000), Retriever("dense", 1000))
    assert pipeline.rerankers == (Admission("mono", 50), Admission("duo", 10))
    assert str(pipeline) == "bm25:1000+dense:1000,mono:50,duo:10"
    assert pipeline == Pipeline((("bm25", 1000), ("dense", 1000)), (("mono", 50), ("duo", 10)))
    assert parse_stages(pipeline) is pipeline
    assert parse_stages(" bm25 : 007 +dense:2 , mono:0 ") == parse_stages("bm25:7+dense:2,mono:0")


@given(
    st.lists(st.sampled_from(["bm25", "dense", "sparse"]), min_size=1, unique=True)
    .flatmap(lambda names: st.tuples(*(st.tuples(st.just(name), st.integers(0, 2**31 - 1)) for name in names)))
    .filter(lambda retrievers: any(depth for _, depth in retrievers)),
    st.lists(st.tuples(NAMES, st.integers(0, 2**31 - 1)), max_size=4, unique_by=lambda stage: stage[0]),
)
def test_what_is_written_is_read(retrievers, rerankers):
    pipeline = Pipeline(tuple(retrievers), tuple(rerankers))
    assert parse_stages(str(pipeline)) == pipeline


@given(st.text(alphabet="bm25dense:+,0 \n-é", max_size=30))
def test_any_text_is_a_pipeline_or_a_query_error(text):
    try:
        pipeline = parse_stages(text)
    except QueryError as error:
        assert "\n" not in str(error)
    else:
        assert parse_stages(str(pipeline)) == pipeline


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the stages are empty; write for example 'bm25:1000+dense:1000,mono:50'"),
        ("bm25:10,,mono:5", "stage 2 of 'bm25:10,,mono:5' is empty"),
        ("bm25:10+", "stage 1 of 'bm25:10+' is empty"),
        ("bm25", "stage 1 of 'bm25', 'bm25', has no number; write how many documents it takes: 'bm25:100'"),
        ("bm25:", "has no number"),
        (":10", "has no name"),
        ("bm25:1,000", "stage 2 of 'bm25:1,000' is only a number, '000'; write numbers without commas"),
        ("bm25:1e3", "stage 1 of 'bm25:1e3': '1e3' is not a whole number"),
        ("bm25:-1", "'-1' is not a whole number"),
        ("bm25:1_000", "'1_000' is not a whole number"),
        ("bm25:١٠", "is not a whole number"),
        ("bm25:10:20", "'10:20' is not a whole number"),
        ("bm25:" + "9" * 5000, "is more than the 2,147,483,647 documents"),
        ("bm25:2147483648", "takes 0 to 2,147,483,647 documents, not 2147483648"),
        ("mono:50", "'mono:50' begins with 'mono', which is no retriever; put one of 'bm25', 'dense', 'hybrid', "),
        ("bm52:10+dense:10", "unknown retriever 'bm52'; the first stage is one of 'bm25', 'dense', 'hybrid', 'sparse'"),
        ("bm25:10,dense:5", "'dense' is a retriever and cannot rerank"),
        ("bm25:10,mono:5+duo:2", "joins rerankers by +; they run in turn: 'mono:5,duo:2'"),
        ("bm25:10+bm25:5", "retriever 'bm25' comes twice"),
        ("bm25:10,mono:5,mono:2", "reranker 'mono' comes twice"),
        ("hybrid:10+bm25:5", "'hybrid' is a fusion already and stands alone"),
        ("bm25:0+dense:0,mono:5", "every retriever of 'bm25:0+dense:0,mono:5' is switched off"),
        ("bm25:10,my model:5", "'my model' is no name for a reranker"),
        ("bm25:10,fusion:5", "'fusion' is what the joining of lists is called; give the reranker another name"),
        ("bm25:10,5x:5", "'5x' is no name for a reranker"),
        (100, "stages are text such as"),
    ],
)
def test_what_cannot_be_read_is_named(text, message):
    with pytest.raises(QueryError) as refused:
        parse_stages(text)
    assert message in str(refused.value)


@pytest.mark.parametrize("depth", [-1, 1.5, True, "10"])
def test_numbers_of_a_pipeline_made_by_hand_are_checked(depth):
    with pytest.raises(QueryError, match="takes 0 to"):
        Pipeline((("bm25", depth),))
    with pytest.raises(QueryError, match="takes 0 to"):
        Pipeline((("bm25", 10),), (("mono", depth),))


def test_leading_zeros_count_for_nothing_however_many_there_are():
    assert parse_stages("bm25:" + "0" * 5000 + "7,mono:00") == Pipeline((("bm25", 7),), (("mono", 0),))


def test_whole_numbers_of_numpy_are_numbers():
    pipeline = Pipeline((("bm25", np.int64(10)),), (("mono", np.uint8(5)),))
    assert str(pipeline) == "bm25:10,mono:5"
    assert [type(number) for _, number, *_ in (*pipeline.retrievers, *pipeline.rerankers)] == [int, int]


@pytest.mark.parametrize("retrievers", ["bm25:10", ("bm25", 10), [("bm25",)], [("bm25", 10, 5)]])
def test_a_pipeline_is_made_of_names_and_numbers(retrievers):
    with pytest.raises(QueryError, match=r"a stage of a Pipeline is a name and a number, \('bm25', 1000\), not "):
        Pipeline(retrievers)


def test_a_pipeline_begins_with_a_retriever():
    with pytest.raises(QueryError, match="begins with a retriever"):
        Pipeline(())


# ------------------------------------------------------------------------------------------------------------ the plan

MONO = FunctionReranker(lambda query, texts: [0.0] * len(texts), "mono")
BOTH = {"mono": MONO, "duo": Pairwise()}


def test_the_plan_counts_calls_before_anything_runs():
    plan = parse_stages("bm25:1000+dense:1000,mono:50,duo:10").plan(BOTH)
    assert plan.retrieved == 2000
    assert [(stage.name, stage.candidates, stage.calls) for stage in plan.stages] == [("mono", 50, 50), ("duo", 10, 90)]
    assert plan.calls == 140
    assert plan.as_dict()["calls"] == 140
    assert str(plan).splitlines() == [
        "bm25:1000+dense:1000: up to 2,000 documents",
        "mono: 50 candidates, 50 model calls",
        "duo: 10 candidates, 90 model calls",
        "140 model calls a query",
    ]
    # The published setting: 1,000 + 30 * 29 passes.
    assert parse_stages("bm25:1000,mono:1000,duo:30").plan(BOTH).calls == 1870


@pytest.mark.parametrize(
    ("stages", "n_candidates", "expected"),
    [
        ("bm25:5,mono:50,duo:10", None, [(5, 5), (5, 20)]),
        ("bm25:50,mono:20,duo:10", 3, [(3, 3), (3, 6)]),
        ("bm25:50,mono:20,duo:30", 1000, [(20, 20), (30, 870)]),
        ("bm25:50,mono:20,duo:30", 0, [(0, 0), (0, 0)]),
        ("bm25:50,mono:1,duo:1", None, [(1, 1), (0, 0)]),
        ("bm25:50,mono:0,duo:0", None, [(0, 0), (0, 0)]),
    ],
)
def test_the_plan_of_few_candidates_and_of_stages_that_are_off(stages, n_candidates, expected):
    plan = parse_stages(stages).plan(BOTH, n_candidates)
    assert [(stage.candidates, stage.calls) for stage in plan.stages] == expected


def test_a_plan_needs_its_rerankers():
    with pytest.raises(QueryError, match="no reranker 'duo' for the stages 'bm25:9,mono:5,duo:0'; there are: 'mono'"):
        parse_stages("bm25:9,mono:5,duo:0").plan({"mono": MONO})
    with pytest.raises(QueryError, match="there are: none"):
        parse_stages("bm25:9,mono:5").plan()
    with pytest.raises(QueryError, match="at least 0, not -1"):
        parse_stages("bm25:9").plan({}, -1)
