"""`retrieval probe`: each probe from files to a table and to JSON, and what it refuses."""

from __future__ import annotations

import json

import pytest

from tests.cli.test_cli_startup import HEAVY, loaded_by

PAIRS = [
    (5.0, "The cat sat.", "A cat was sitting."),
    (4.5, "It is raining in London.", "London has rain."),
    (1.0, "A man plays the guitar.", "The stock market fell."),
    (0.2, "Two dogs run.", "She reads a book."),
    (3.0, "A woman cooks dinner.", "A woman is eating."),
]


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "sts12.test.tsv"
    rows = [f"{score}\t{'xy'[row % 2]}\t{first}\t{second}" for row, (score, first, second) in enumerate(PAIRS)]
    path.write_text("\n".join(["score\tsource\tsentence1\tsentence2", *rows]) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("arguments", [["--help"], ["needle", "--help"]])
def test_help_loads_nothing_heavy(arguments):
    assert not loaded_by("probe", *arguments) & {*HEAVY, "numpy", "numba", "pyarrow", "rich", "msgspec", "scipy"}


def test_a_tokenizer_needs_neither_weights_nor_the_libraries_of_models(cli, tmp_path):
    texts = tmp_path / "texts.txt"
    texts.write_text("The dogs are running.\nUnbelievable zebras!\n", encoding="utf-8")
    loaded = loaded_by("probe", "fertility", "--data", texts)
    assert "tokenizers" in loaded
    assert not loaded & {"torch", "transformers", "sentence_transformers"}
    found = cli("probe", "fertility", "--data", texts, "--json").json
    (language,) = found["languages"]
    assert (language["language"], language["n_words"]) == ("texts.txt", 6)
    assert language["tokens_per_word"]["low"] <= language["tokens_per_word"]["value"]
    assert found["settings"]["max_tokens"] == 256
    table = cli("probe", "fertility", "--data", texts, "--max-tokens", "6")
    assert table.status == 0
    assert "tokens/word" in table.out


@pytest.mark.slow
def test_pairs_are_probed_for_geometry_layers_and_years(cli, pairs):
    geometry = cli("probe", "geometry", "--data", pairs, "--json").json
    assert geometry["alignment"]["n"] == 2
    assert geometry["n_texts"] == 10
    layers = cli("probe", "layers", "--data", pairs, "--pairs", "4", "--json").json
    assert layers["n_pairs"] == 4
    assert len(layers["cells"]) == (7 + 2) * 4
    years = cli("probe", "sts", "--data", pairs.parent, "--json").json
    assert set(years["years"][0]["subsets"]) == {"x", "y"}
    for name, data, words in (
        ("geometry", pairs, "IsoScore"),
        ("layers", pairs, "first-last"),
        ("sts", pairs.parent, "wmean"),
    ):
        done = cli("probe", name, "--data", data)
        assert (done.status, done.err) == (0, "")
        assert words in done.out


@pytest.mark.slow
def test_needles_and_summaries(cli, tmp_path):
    texts = tmp_path / "texts.txt"
    lines = [
        f"Where is the {thing}? The {thing} is in the {place}." for thing, place in zip("abcdef", "uvwxyz", strict=True)
    ]
    texts.write_text("\n".join([*lines, *(["The weather was fine. " * 20] * 4)]), encoding="utf-8")
    found = cli(
        "probe", "needle", "--data", texts, "--needles", "3", "--lengths", "40", "--positions", "0,1", "--json"
    ).json
    assert (found["n_needles"], len(found["cells"])) == (3, 2)
    ratings = {"coherence": 1, "consistency": 2, "fluency": 3, "relevance": 1}
    rows = [
        {
            "human_summaries": ["A dog ran home.", "The dog went home."],
            "machine_summaries": [
                {"text": "A dog ran home quickly.", **{name: value + 1 for name, value in ratings.items()}},
                {"text": "Stocks fell.", **ratings},
            ],
        }
    ] * 2
    summaries = tmp_path / "summaries.jsonl"
    summaries.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    found = cli("probe", "bertscore", "--data", summaries, "--idf", "--baseline", "0,0,0", "--json").json
    assert found["spearman"]["f1"]["relevance"]["value"] == pytest.approx(1)
    assert found["settings"]["idf_texts"] == 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["needle", "--lengths", "many"], "--lengths takes whole numbers"),
        (["geometry", "--above", "5"], "0 pairs of"),
        (["bertscore", "--baseline", "0.1"], "--baseline takes three numbers"),
        (["bertscore", "--baseline", "1,0,0"], "must be below 1"),
        (["bertscore"], "no column 'human_summaries'"),
        (["fertility"], "no column 'text'"),
    ],
)
def test_what_cannot_be_probed_is_refused(cli, pairs, arguments, words):
    done = cli("probe", arguments[0], "--data", pairs, *arguments[1:])
    assert done.status == 2
    assert words in done.error


def test_missing_data_and_languages(cli, tmp_path):
    assert "no folder" in cli("probe", "sts", "--data", tmp_path / "none").error
    (tmp_path / "corpus.en.jsonl").write_text('{"text": "a"}\n{"text": "b"}\n', encoding="utf-8")
    assert "no language 'de'; it has en" in cli("probe", "fertility", "--data", tmp_path, "--language", "de").error
