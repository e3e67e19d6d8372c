"""Reranking tasks: equal to mteb's and trec_eval's reading of the same pools; candidates stream; ties gain nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest
import pytrec_eval

from eval.errors import MissingDataError, TaskError
from eval.measures import Policies
from eval.runs import write_msmarco_run, write_run
from eval.tasks import Surroundings, System, load_task, load_tasks
from retrieval import FunctionReranker

POOLS = {
    "q1": ("cats and dogs", [("cats sleep", 1), ("dogs bark", 1), ("rust", 0), ("iron", 0), ("cats sleep", 0)]),
    "文": ("rust", [("rust is red", 1), ("cats", 0), ("", 0)]),
    "good only": ("iron", [("iron", 1)]),
    "bad only": ("rain", [("sun", 0), ("snow", 0)]),
}


def table(pools=POOLS, header="qid\tlabel\tquery\tpassage"):
    lines = [f"{qid}\t{label}\t{query}\t{passage}" for qid, (query, pairs) in pools.items() for passage, label in pairs]
    return "\n".join([header, *lines])


@pytest.fixture
def pools_of(task_of):
    def make(keys="", pools=POOLS):
        return task_of("Reranking", {"test.tsv": table(pools)}, keys)

    return make


@pytest.fixture
def rerank(tmp_path):
    def run(task, system, **surroundings):
        return task.run(system, Surroundings(workspace=tmp_path / "work", **surroundings))

    return run


def by(function, **settings):
    class Reranker(FunctionReranker):
        pass

    reranker = Reranker(lambda query, texts: [function(query, text) for text in texts], "mine")
    for name, value in settings.items():
        setattr(Reranker, name, value)
    return System("reranker", reranker=reranker)


def as_mteb_sees_it(scores_of):
    """Return qrels and scores with mteb's ids, of pools with passages of both sorts."""
    qrels, scores = {}, {}
    for qid, (query, pairs) in POOLS.items():
        if len({label for _, label in pairs}) < 2:
            continue
        for n, (passage, label) in enumerate(sorted(pairs, key=lambda pair: -pair[1])):
            name = f"{'apositive' if label else 'negative'}_{qid}_{n:05d}"
            qrels.setdefault(qid, {})[name] = label
            scores.setdefault(qid, {})[name] = scores_of(query, passage)
    return qrels, scores


@pytest.mark.parametrize("measured", ["both", "with_relevant", "all"])
def test_similarities_equal_mteb(pools_of, measure, encoder, measured):
    made = encoder()

    def cosine(query, passage):
        (first,), (second,) = made.encode_queries([query]), made.encode_passages([passage])
        return float(first @ second / np.linalg.norm(first) / np.linalg.norm(second))

    result = measure(pools_of(f'measured_queries = "{measured}"'), made)
    qrels, scores = as_mteb_sees_it(cosine)
    theirs = pytrec_eval.RelevanceEvaluator(qrels, {"map", "recip_rank", "ndcg_cut.10"}).evaluate(scores)
    for name, their_name in (("AP", "map"), ("RR@10", "recip_rank"), ("nDCG@10", "ndcg_cut_10")):
        values = [row[their_name] for row in theirs.values()]
        values += [1.0] * (measured != "both") + [0.0] * (measured == "all")
        assert result.scores[name] == pytest.approx(np.mean(values))
    assert result.main_score == "AP"
    assert result.settings["scores"] == "similarities"
    left_out = {"both": 2, "with_relevant": 1, "all": 0}[measured]
    expected = {
        "queries left out, as the definition says": left_out,
        "passages twice in a pool": 1,
        "blank passages": 1,
        "queries without relevant documents": int(measured == "all"),
    }
    assert result.counts == {name: count for name, count in expected.items() if count}
    assert result.queries["文"] == "rust"


def test_scores_that_say_nothing_gain_nothing(pools_of, rerank):
    """Relevant passages stand first in the file; one score for all puts them last, as mteb's ids do."""
    result = rerank(pools_of('measured_queries = "both"'), by(lambda query, text: 0.5), latency_sample=2)
    qrels, scores = as_mteb_sees_it(lambda query, passage: 0.5)
    theirs = pytrec_eval.RelevanceEvaluator(qrels, {"map"}).evaluate(scores)
    assert result.values == pytest.approx({query: row["map"] for query, row in theirs.items()})
    assert result.values["文"] == pytest.approx(1 / 3)
    assert "less relevant comes first" in result.policies["ties"]
    assert result.costs["query_p50_ms"] >= 0
    # A difference that 32-bit floats do not show is none.
    faint = rerank(pools_of('measured_queries = "both"'), by(lambda query, text: 1 + 1e-12 * ("rust is" in text)))
    assert faint.values == result.values


def test_bm25_over_the_pools(pools_of, rerank):
    result = rerank(pools_of('measured_queries = "with_relevant"'), System("BM25"))
    assert result.settings["scores"] == "BM25"
    assert result.values["文"] == 1.0  # the only passage with the word
    # The rarer word first; then "cats sleep" twice, the copy that is not relevant before the one that is.
    assert result.values["q1"] == pytest.approx((1 / 1 + 2 / 3) / 2)


def test_grades_and_levels(task_of, rerank):
    graded = "qid\tgrade\tquery\tpassage\nq\t1\tx\ta\nq\t2\tx\tb\nq\t4\tx\tc\nq\t3\tx\td"
    keys = 'grade = "grade"\nlowest_grade = 1\nrelevant = 3\nmeasure = "nDCG@10"\nmeasures = ["AP", "RR@10"]'
    task = task_of("Reranking", {"test.tsv": graded}, keys)
    order = {"b": 4.0, "c": 3.0, "a": 2.0, "d": 1.0}
    result = rerank(task, by(lambda query, text: order[text]))
    dcg = 1 / np.log2(2) + 3 / np.log2(3) + 2 / np.log2(5)
    ideal = 3 / np.log2(2) + 2 / np.log2(3) + 1 / np.log2(4)
    assert result.scores == pytest.approx(
        {"nDCG@10": dcg / ideal, "AP(rel=2)": (1 / 2 + 2 / 4) / 2, "RR(rel=2)@10": 0.5}
    )


def test_an_encoders_published_figure_is_not_a_rerankers(pools_of, rerank, encoder):
    task = pools_of('references = [{ system = "mine", value = 0.5, source = "a paper", tolerance = 0.1 }]')

    class Known(type(encoder())):
        source = "mine"

    known = Known(lambda texts: np.ones((len(texts), 4)), "known", 1)
    assert rerank(task, System("dense", known)).reference.tolerance == 0.1
    assert rerank(task, System("both", known, reranker=by(lambda query, text: 0.0).reranker)).reference is None
    assert rerank(task, System("lexical", known, {"mode": "bm25"})).reference is None


def test_a_reranker_that_looks_at_the_order_gets_bm25s(pools_of, rerank):
    seen = []

    def remember(query, text):
        seen.append(text)
        return 0.0

    rerank(pools_of('measured_queries = "both"'), by(remember, pointwise=False))
    assert seen[:3] == ["dogs bark", "cats sleep", "cats sleep"]
    assert seen[5] == "rust is red"


def test_the_order_of_the_first_stage(task_of, rerank, pools_of):
    ranked = "qid\tlabel\tplace\tquery\tpassage\nq\t1\t2\tx\ta\nq\t0\t1\tx\tb"
    task = task_of("Reranking", {"test.tsv": ranked}, 'rank = "place"')
    first = System("first", options={"mode": "first stage"})
    assert rerank(task, first).score == 0.5
    assert pools_of().problem(first) == "its pools come from no first stage whose order is known"
    assert "no encoder" in task.problem(System("x", options={"mode": "dense"}))
    assert "stages" in task.problem(System("x", options={"stages": "bm25:3"}))
    assert "'hybrid' search" in task.problem(System("x", options={"mode": "hybrid"}))
    with pytest.raises(TaskError, match="no encoder"):
        rerank(task, System("x", options={"mode": "dense"}))


@pytest.mark.parametrize(
    ("rows", "keys", "words"),
    [
        ("q\t1.5\tx\ta", "", r"test.tsv:2: label is 1.5, not a whole number"),
        ("q\tyes\tx\ta", "", r"test.tsv:2: label is 'yes', not a number"),
        ("q\t0\tx\ta", "lowest_grade = 1\nrelevant = 2", r"test.tsv:2: the grade 0 is below the lowest, 1"),
        (" \t1\tx\ta", "", r"test.tsv:2: qid is ' ', not an id"),
        ("q\t1\tx\ta\nq\t0\ty\tb", "", r"test.tsv:3: query 'q' had another text in line 2"),
        ("q\t1\tx\ta\nq\t0\tx\ta", 'passage_id = "passage"', r"test.tsv:3: passage 'a' is twice in the pool"),
        ("q\t0\tx\ta", "", r"none of the 1 queries has passages of the grades"),
        ("", "", "holds no rows"),
    ],
)
def test_faults_of_tables_are_named(task_of, rerank, rows, keys, words):
    task = task_of("Reranking", {"test.tsv": f"qid\tlabel\tquery\tpassage\n{rows}"}, keys)
    with pytest.raises(TaskError, match=words):
        rerank(task, by(lambda query, text: 0.0))


@pytest.mark.parametrize("key", ["qid", "docid"])
@pytest.mark.parametrize(("value", "shown"), [("null", "None"), ('""', "''"), ("true", "True"), ("1.5", "1.5")])
def test_what_is_no_id_is_named(task_of, rerank, key, value, shown):
    row = '{"qid": %s, "docid": %s, "label": 1, "query": "x", "passage": "a"}\n'
    values = {"qid": ("1", value), "docid": ("2", "3")} if key == "qid" else {"qid": ("1", "1"), "docid": ("2", value)}
    rows = "".join(row % (values["qid"][n], values["docid"][n]) for n in (0, 1))
    task = task_of("Reranking", {"test.jsonl": rows}, 'file = "test.jsonl"\npassage_id = "docid"')
    with pytest.raises(TaskError, match=rf"test\.jsonl:2: {key} is {shown}, not an id"):
        rerank(task, by(length))


def test_the_policies_are_those_of_what_scores(pools_of, rerank, encoder):
    """Texts of pools are cut whatever collections do with long ones; an encoder that did not score says nothing."""

    def policies(system):
        told = rerank(pools_of(), system).policies
        return told.get("truncation"), told.get("prompts")

    made = encoder(max_tokens=2)
    cut, prompts = policies(System("dense", made))
    assert "beyond the encoder's maximum of tokens is not read" in cut and "the encoder's own" in prompts
    assert policies(System("dense", made, long="chunk")) == (cut, prompts)
    reranker = by(length).reranker
    pairs = "pairs of query and passage are read as the reranker reads them; cut ones, if any, are not counted"
    for long in ("chunk", "truncate"):
        assert policies(System("both", made, long=long, reranker=reranker)) == (pairs, None)
    assert policies(System("alone", reranker=reranker)) == (pairs, None)
    reranker.identity = lambda: {"kind": "mono", "max_tokens": 512, "query_tokens": None}
    cut = "pairs of query and passage are cut at the reranker's own budget (max_tokens 512); cut ones are not counted"
    assert policies(System("alone", reranker=reranker)) == (cut, None)
    assert policies(System("lexical", made, {"mode": "bm25"})) == (None, None)
    assert policies(System("BM25")) == (None, None)


# ------------------------------------------------------------------------------------------------- candidates

DOCUMENTS = {"d1": "cats sleep", "d2": "dogs bark", "d3": "rust is red", "d4": "iron"}
QUERIES = {"7": "cats and dogs", "8": "rust"}
RUN = {"7": [("d3", 3.0), ("d1", 2.0), ("d2", 1.0)], "8": [("d4", 2.0), ("gone", 1.5), ("d3", 1.0)], "9": [("d1", 1.0)]}


@pytest.fixture
def candidates_of(tmp_path):
    def make(write_candidates, keys=""):
        place = tmp_path / "marco"
        place.mkdir(exist_ok=True)
        (place / "collection.tsv").write_text("".join(f"{name}\t{text}\n" for name, text in DOCUMENTS.items()))
        (place / "queries.dev.tsv").write_text("".join(f"{name}\t{text}\n" for name, text in QUERIES.items()))
        (place / "qrels.dev.tsv").write_text("7\t0\td1\t1\n8\t0\td3\t1\n10\t0\td3\t1\n")
        write_candidates(place / "candidates")
        lines = [
            'name = "Dev"',
            'kind = "Reranking"',
            'split = "dev"',
            'candidates = "candidates"',
            'measure = "RR@10"',
        ]
        (place / "task.toml").write_text("\n".join([*lines, 'measures = ["R@1000"]', keys]))
        (task,) = load_task(place / "task.toml")
        return task

    return make


def length(query, text):
    return len(set(query.split()) & set(text.split()))


@pytest.mark.parametrize("format_name", ["trec", "msmarco"])
def test_a_run_is_reranked(candidates_of, rerank, format_name):
    task = candidates_of(lambda path: write_run(path, RUN) if format_name == "trec" else write_msmarco_run(path, RUN))
    result = rerank(task, by(length))
    # Judged query 10 has neither text nor candidates and counts as 0.
    assert result.values == {"7": 1.0, "8": 1.0, "10": 0.0}
    assert result.scores == pytest.approx({"RR@10": 2 / 3, "R@1000": 2 / 3})
    assert result.counts == {
        "candidates that are not in the corpus": 1,
        "queries without text": 1,
        "queries without results": 1,
        "queries whose order hangs on ties": 1,
    }
    first = rerank(task, System("first", options={"mode": "first stage"}))
    assert first.values == {"7": 1 / 2, "8": 1 / 2, "10": 0.0}
    cut = candidates_of(lambda path: write_run(path, RUN), "candidate_depth = 1")
    assert rerank(cut, by(length)).values == {"7": 0.0, "8": 0.0, "10": 0.0}


GRADED = "7\t0\td1\t3\n7\t0\td3\t1\n8\t0\td3\t2\n8\t0\td4\t1\n10\t0\td3\t3\n"


def graded(candidates_of, keys, qrels=GRADED):
    def write(path):
        write_run(path, RUN)
        (path.parent / "qrels.dev.tsv").write_text(qrels)

    return candidates_of(write, keys)


def test_grades_of_candidates_count_from_the_lowest(candidates_of, rerank):
    task = graded(candidates_of, 'lowest_grade = 1\nrelevant = 2\nmeasured_queries = "all"')
    result = rerank(task, System("first", options={"mode": "first stage"}))
    # Grade 1 says "not relevant at all": query 7 has its first relevant document in place 2, and so has 8.
    assert result.values == {"7": 1 / 2, "8": 1 / 2, "10": 0.0}
    assert result.main_score == "RR@10"


def test_gains_of_candidates_count_from_the_lowest(tmp_path, rerank):
    place = tmp_path / "graded"
    place.mkdir()
    (place / "collection.tsv").write_text("a\tcats\nb\tdogs\n")
    (place / "queries.dev.tsv").write_text("7\tcats\n")
    (place / "qrels.dev.tsv").write_text("7\t0\ta\t1\n7\t0\tb\t3\n")
    write_run(place / "candidates", {"7": [("a", 2.0), ("b", 1.0)]})
    keys = 'split = "dev"\ncandidates = "candidates"\nlowest_grade = 1\nrelevant = 3\nmeasure = "nDCG@10"'
    (place / "task.toml").write_text(f'name = "G"\nkind = "Reranking"\nmeasures = ["nDCG@10", "AP"]\n{keys}')
    (task,) = load_task(place / "task.toml")
    result = rerank(task, System("first", options={"mode": "first stage"}))
    # Gains 0 and 2 in places 1 and 2, against 2 in place 1.
    assert result.scores == pytest.approx({"nDCG@10": 1 / np.log2(3), "AP(rel=2)": 1 / 2})


@pytest.mark.parametrize(
    ("measured", "counting"), [("all", ["7", "8", "10"]), ("with_relevant", ["7", "10"]), ("both", ["7"])]
)
@pytest.mark.parametrize("with_texts", [False, True])
def test_the_measured_queries_of_candidates(candidates_of, rerank, measured, counting, with_texts):
    keys = "relevant = 3" + (f'\nmeasured_queries = "{measured}"' if measured != "with_relevant" else "")
    task = graded(candidates_of, keys)
    if with_texts:
        texts_file(GROUPED)(task.files()[0])
    result = rerank(task, by(length))
    assert list(result.values) == counting
    assert result.counts.get("queries left out, as the definition says", 0) == 3 - len(counting)
    assert result.counts.get("queries without relevant documents", 0) == int(measured == "all")
    assert set(result.queries) == set(counting) - {"10"}


def test_no_query_of_the_grades_that_are_asked_for(candidates_of, rerank):
    with pytest.raises(TaskError, match=r"none of the 3 judged queries .* \(relevant = 4, .*'with_relevant'\); put"):
        rerank(graded(candidates_of, "relevant = 4"), by(length))


def test_texts_of_another_set_are_refused(candidates_of, rerank):
    task = candidates_of(lambda path: path.write_text("elsewhere\td1\tcats\tcats sleep\n"))
    with pytest.raises(TaskError, match="holds no candidates for the judged queries of marco; is it another set's run"):
        rerank(task, by(length))


def texts_file(order):
    lines = [
        f"{query}\t{name}\t{QUERIES.get(query, 'unjudged')}\t{DOCUMENTS[name]}\n"
        for query, name in order
        if name in DOCUMENTS
    ]
    return lambda path: path.write_text("".join(lines))


GROUPED = [(query, name) for query, ranking in RUN.items() for name, _ in ranking]
MIXED = [GROUPED[i] for i in (0, 3, 1, 6, 4, 2, 5)]


@pytest.mark.parametrize("order", [GROUPED, MIXED], ids=["grouped", "mixed"])
def test_candidates_with_texts_stream_in_any_order(candidates_of, rerank, order, encoder):
    task = candidates_of(texts_file(order))
    result = rerank(task, by(length))
    assert result.values == {"7": 1.0, "8": 1.0, "10": 0.0}
    assert "9" not in result.queries
    made = encoder()
    values = rerank(task, System("dense", made)).values
    for query, text in QUERIES.items():
        ids = [name for each, name in order if each == query and name in DOCUMENTS]
        (vector,) = made.encode_queries([text])
        vectors = made.encode_passages([DOCUMENTS[name] for name in ids])
        cosines = vectors @ vector / np.linalg.norm(vectors, axis=1)
        ranking = [ids[row] for row in np.argsort(-cosines)]
        assert values[query] == 1 / (1 + ranking.index("d1" if query == "7" else "d3"))


def test_candidates_in_company_have_to_stand_together(candidates_of, rerank):
    system = by(length, pointwise=False)
    assert rerank(candidates_of(texts_file(GROUPED)), system).values["7"] == 1.0
    with pytest.raises(TaskError, match=r"query '7' do not stand together, .* sort the file by its first column"):
        # A block ends after some thousands of candidates; repeated lists of one block are no company either.
        rerank(candidates_of(texts_file(MIXED)), system)


def test_faults_of_candidates(candidates_of, rerank):
    system = by(length)
    for content, words in (
        ("", "holds no candidates"),
        ("only words\n", "neither a TREC run"),
        ("7\td1\tcats\ttext\n7\td2\n", "candidates:2: 2 columns instead of 4"),
        ("7\t\tcats\ttext\n", "candidates:1: the query id or the passage id is empty"),
        ("7\td1\t1\n7\td1\t2\n", "passage 'd1' is twice"),
        ("7\td1\t1\n7\td2\t1\n", "rank 1 is twice"),
        ("7\td1\tfirst\n", "the rank 'first'"),
        ("7 Q0 nowhere 1 2.0 tag\n", "holds no candidates for the judged queries"),
        ("7 Q0 d1 1 nan tag\n", "the score is nan"),
    ):
        with pytest.raises(TaskError, match=words):
            rerank(candidates_of(lambda path, content=content: path.write_text(content)), system)
    twice = candidates_of(texts_file([*GROUPED, GROUPED[0]]))
    with pytest.raises(TaskError, match="task Dev: query '7': document 'd3' is in the ranking twice"):
        rerank(twice, system)
    counted = rerank(twice, system, policies=Policies(duplicates="first"))
    assert counted.counts["duplicates removed"] == 1
    broken = by(lambda query, text: float("nan"))
    with pytest.raises(Exception, match="nan"):
        rerank(candidates_of(texts_file(GROUPED)), broken)
    with pytest.raises(TaskError, match="give the run file instead"):
        rerank(candidates_of(texts_file(GROUPED)), System("first", options={"mode": "first stage"}))


def test_files_that_are_missing(tmp_path):
    (tmp_path / "task.toml").write_text('name = "X"\nkind = "Reranking"')
    with pytest.raises(MissingDataError, match=r"no file test\.tsv"):
        load_task(tmp_path / "task.toml")


def test_first_stages_score_what_is_published(data, rerank):
    """The official baseline of SemEval-2016, and Anserini's BM25 on TREC DL 2019, through the packaged definitions."""
    first = System("first stage", options={"mode": "first stage"})
    for task in load_tasks(data, ["SemEvalCQAReranking", "TRECDL2019Reranking"]):
        result = rerank(task, first)
        assert result.reference is not None
        assert result.score == pytest.approx(result.reference.value, abs=result.reference.tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["WikiQAReranking", "TRECQAReranking"])
def test_the_embedded_encoder_scores_what_is_published(data, embedded, rerank, name):
    (task,) = load_tasks(data, [name])
    result = rerank(task, System("dense", embedded))
    assert result.reference is not None
    assert result.score == pytest.approx(result.reference.value, abs=result.reference.tolerance)


def test_identity_changes_with_the_data(pools_of):
    before = pools_of().identity()
    assert json.dumps(before)
    assert pools_of(pools={"q": ("x", [("a", 1)])}).identity() != before


def test_msmarco_files_as_they_are_published(tmp_path, rerank):
    place = tmp_path / "msmarco-passage"
    place.mkdir()
    (place / "collection.tsv").write_text("0\tcats sleep\n1\tdogs bark\n2\trust\n")
    (place / "queries.dev.small.tsv").write_text("7\tdogs\n8\tiron\n")
    (place / "qrels.dev.small.tsv").write_text("7\t0\t1\t1\n8\t0\t2\t1\n")
    (place / "top1000.dev.tsv").write_text("7\t0\tdogs\tcats sleep\n7\t1\tdogs\tdogs bark\n")
    retrieval, reranking = load_tasks(tmp_path)
    assert [retrieval.name, reranking.name] == ["MSMARCOPassage", "MSMARCOReranking"]
    for task, system in ((retrieval, System("BM25")), (reranking, by(length))):
        result = rerank(task, system)
        assert (result.main_score, result.values) == ("RR@10", {"7": 1.0, "8": 0.0})
        assert result.scores == {"RR@10": 0.5, "R@1000": 0.5}


def test_passages_that_are_called_as_their_query_stay(task_of, rerank):
    rows = "2\t1\trust\trust is red\n2\t0\trust\tcats\n"  # the first passage stands in line 2
    task = task_of("Reranking", {"test.tsv": "qid\tlabel\tquery\tpassage\n" + rows})
    system = by(lambda query, text: len(text))
    result = rerank(task, system, policies=Policies.preset("beir"))
    assert (result.score, result.counts) == (1.0, {})
    assert result.scores == rerank(task, system).scores
