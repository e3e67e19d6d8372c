"""STS: correlations against scipy, against mteb's own, and against published figures."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import distance
from scipy.stats import pearsonr, spearmanr

from eval.errors import TaskError
from eval.tasks import Surroundings, System, load_tasks

HEADER = "score\tsentence1\tsentence2\n"


def pairs(n: int, seed: int = 0) -> tuple[str, list[float], list[tuple[str, str]]]:
    draw = np.random.default_rng(seed)
    gold = [float(score) for score in draw.integers(0, 11, n) / 2]  # with ties
    texts = [(f"text {draw.integers(n)}", f"other {draw.integers(n)}") for _ in range(n)]
    content = HEADER + "".join(f"{g}\t{a}\t{b}\n" for g, (a, b) in zip(gold, texts, strict=True))
    return content, gold, texts


def test_scores_are_scipys_correlations_of_scipys_distances(task_of, measure, encoder):
    content, gold, texts = pairs(60)
    ours = measure(task_of("STS", {"test.tsv": content}))
    vectors = encoder().encode_passages
    rows = [(vectors([a])[0].astype(float), vectors([b])[0].astype(float)) for a, b in texts]
    similarities = {
        "cosine": [1 - distance.cosine(a, b) for a, b in rows],
        "dot": [float(a @ b) for a, b in rows],
        "euclidean": [-distance.euclidean(a, b) for a, b in rows],
        "manhattan": [-distance.cityblock(a, b) for a, b in rows],
    }
    for name, predicted in similarities.items():
        assert ours.scores[f"{name}_spearman"] == pytest.approx(spearmanr(gold, predicted).statistic, abs=1e-6)
        assert ours.scores[f"{name}_pearson"] == pytest.approx(pearsonr(gold, predicted).statistic, abs=1e-6)
    assert ours.main_score == "cosine_spearman"
    assert ours.gold == gold
    assert ours.predicted == pytest.approx(similarities["cosine"], abs=1e-6)
    assert ours.values == {}
    assert ours.n_items == 60


def test_by_hand(task_of, measure, encoder):
    # Cosines 1, 0, 0.6, -1 have ranks 4, 2, 3, 1; the gold scores 5, 1, 1, 0 have 4, 2.5, 2.5, 1:
    # differences 0, 0.5, 0.5, 0; Pearson's correlation of these ranks is 4.5 / sqrt(5 * 4.5).
    vectors = {"a": [1, 0], "same": [2, 0], "across": [0, 3], "near": [3, 4], "against": [-1, 0]}
    content = HEADER + "5\ta\tsame\n1\ta\tacross\n1\ta\tnear\n0\ta\tagainst\n"
    result = measure(task_of("STS", {"test.tsv": content}), encoder(lambda text: vectors.get(text, [0, 0])))
    assert result.score == pytest.approx(4.5 / (5 * 4.5) ** 0.5)
    assert result.predicted == pytest.approx([1, 0, 0.6, -1])


def test_own_similarity_of_the_encoder_is_what_plain_names_stand_for(task_of, measure, encoder):
    task = task_of("STS", {"test.tsv": pairs(30)[0]})
    cosine, dot = measure(task), measure(task, encoder(similarity="dot"))
    assert cosine.scores["spearman"] == cosine.scores["cosine_spearman"]
    assert dot.scores["spearman"] == dot.scores["dot_spearman"] != dot.scores["cosine_spearman"]
    assert dot.main_score == "cosine_spearman"


def test_each_distinct_text_is_encoded_once_with_the_prompt(task_of, measure, encoder):
    seen = []

    def watched(text):
        seen.append(text)
        return [float(len(text)), 1.0]

    content = HEADER + "5\ta\tb b\n1\ta\ta\n2\tb b\tc c c\n"
    measure(task_of("STS", {"test.tsv": content}, "prompt = 'say: '"), encoder(watched, dimension=2))
    assert sorted(seen) == ["say: a", "say: b b", "say: c c c"]


def test_the_definition_says_which_side_encodes(task_of, measure, encoder):
    sided = encoder(query_function=lambda texts: [[1.0, float(len(text))] for text in texts], dimension=2)
    content = HEADER + "5\ta\tab\n1\ta\tabcd\n2\ta\tabc\n"
    result = measure(task_of("STS", {"test.tsv": content}, "encode = 'queries'"), sided)
    assert result.score == pytest.approx(1.0)
    assert "queries" in result.policies["prompts"]


def test_blank_and_cut_texts_are_counted(task_of, measure, encoder):
    content = HEADER + "5\tone\t \n1\tone two three\tone\n2\tone\tone two\n"
    result = measure(task_of("STS", {"test.tsv": content}), encoder(max_tokens=2))
    assert result.counts == {"blank texts": 1, "cut texts": 1}


def test_columns_have_the_names_that_the_definition_gives(task_of, measure):
    content = '{"a": "x", "b": "y", "g": 1}\n{"a": "y", "b": "z", "g": 2.5}\n'
    keys = "file = 'pairs.jsonl'\nfirst = 'a'\nsecond = 'b'\nscore = 'g'"
    assert measure(task_of("STS", {"pairs.jsonl": content}, keys)).gold == [1.0, 2.5]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HEADER, "holds no rows"),
        ("", "holds no rows"),
        ("score\tsentence1\n1\ta\n", r"test\.tsv:1: the header has no column 'sentence2'; it is score, sentence1"),
        ("score\tscore\tsentence1\tsentence2\n1\t2\ta\tb\n", "names twice the column 'score'"),
        (HEADER + "1\ta\tb\nhigh\ta\tb\n", r"test\.tsv:3: score is 'high', not a number"),
        (HEADER + "1\ta\tb\n\n2\ta\n", r"test\.tsv:4: 2 columns, but the header has 3"),
        (HEADER + "1\ta\tb\nnan\ta\tb\n", r"test\.tsv:3: score is 'nan'"),
        (HEADER + "1\ta\tb\ninf\ta\tb\n", r"test\.tsv:3: score is 'inf'"),
        (HEADER + "1\ta\tb\n1\ta\tc\n", "2 pairs, all of score 1.0"),
        (HEADER + "1\ta\tb\n", "1 pairs"),
    ],
)
def test_bad_data_is_an_error_that_names_file_and_line(task_of, measure, content, message):
    with pytest.raises(TaskError, match=message):
        measure(task_of("STS", {"test.tsv": content}))


def test_ids_that_come_twice_are_an_error(task_of, measure):
    content = "id\t" + HEADER + "p\t1\ta\tb\nq\t2\ta\tb\np\t3\ta\tb\n"
    with pytest.raises(TaskError, match=r"test\.tsv:4: id 'p' was there before, in line 2"):
        measure(task_of("STS", {"test.tsv": content}, "id = 'id'"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"sentence1": "a", "sentence2": "b"}', r"test\.jsonl:3: no key 'score'; the object has sentence1, sentence2"),
        ('{"sentence1": 3, "sentence2": "b", "score": 1}', r"test\.jsonl:3: sentence1 is 3, not a text"),
        ('{"sentence1": "a", "sentence2": "b", "score": true}', r"test\.jsonl:3: score is True"),
        ('{"sentence1": "a", "sentence2": "b", "score": null}', r"test\.jsonl:3: score is None"),
        ("[1]", r"test\.jsonl:3: not a JSON object"),
        ("{", r"test\.jsonl:3: not JSON"),
    ],
)
def test_bad_json_lines_are_errors_that_name_file_and_line(task_of, measure, line, message):
    good = '{"sentence1": "a", "sentence2": "b", "score": %d}\n'
    with pytest.raises(TaskError, match=message):
        measure(task_of("STS", {"test.jsonl": good % 1 + good % 2 + line}, "file = 'test.jsonl'"))


def test_an_encoder_whose_vectors_are_all_alike_scores_zero(task_of, measure, encoder):
    task = task_of("STS", {"test.tsv": pairs(10)[0]})
    result = measure(task, encoder(lambda text: [1.0, 1.0]))
    assert result.score == 0.0
    assert result.counts == {"similarities that are equal for all pairs": 4}
    assert "score 0" in result.policies["predictions that are all equal"]
    assert measure(task).counts == {}


def test_a_system_without_encoder_is_a_problem(task_of, tmp_path):
    task = task_of("STS", {"test.tsv": pairs(10)[0]})
    assert "no encoder" in task.problem(System("BM25"))
    with pytest.raises(TaskError, match="no encoder"):
        task.run(System("BM25"), Surroundings(tmp_path))


@pytest.mark.slow
def test_scores_equal_those_of_mtebs_own_sts(task_of, measure, encoder, mteb_run):
    """Compares every score of `mteb.abstasks.AbsTaskSTS` on the same pairs and vectors with ours."""
    content, gold, texts = pairs(200, seed=1)
    ours = measure(task_of("STS", {"test.tsv": content}))
    rows = {"sentence1": [a for a, _ in texts], "sentence2": [b for _, b in texts], "score": gold}
    theirs = mteb_run("STS", {"test": rows}, encoder())
    for name in ("spearman", "pearson"):
        for similarity in ("cosine_", "euclidean_", "manhattan_", ""):
            assert ours.scores[similarity + name] == pytest.approx(theirs[similarity + name], abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["STSBenchmark", "STS12", "STS13", "STS14", "STS15", "STS16"])
def test_published_figures(data_folder, embedded, tmp_path, name):
    data = data_folder("stsb").parent
    (task,) = load_tasks(data, [name])
    result = task.run(System("embedded", encoder=embedded), Surroundings(tmp_path))
    assert result.reference is not None
    assert result.reference.tolerance is not None
    assert result.score == pytest.approx(result.reference.value, abs=result.reference.tolerance)
