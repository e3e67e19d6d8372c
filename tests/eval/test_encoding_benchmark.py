"""The encoding benchmark: its texts, counts and rows by hand, and all of it on few texts."""

from __future__ import annotations

import json

import numpy as np
import pytest

from eval.benchmarks import encoding, encoding_profile, encoding_worker
from eval.benchmarks.encoding_sides import REFERENCE
from eval.errors import EvaluationError, ReproductionError


def collection(folder, documents):
    folder.mkdir(parents=True)
    lines = [json.dumps({"_id": str(number), **document}) for number, document in enumerate(documents)]
    (folder / "corpus.jsonl").write_text("\n".join(lines) + "\n")


def test_texts_are_distinct_and_as_many_of_each_source(tmp_path):
    collection(tmp_path / "scifact", [{"title": f"t{n // 2}", "text": "abstract"} for n in range(8)])
    collection(tmp_path / "msmarco-dl19", [{"title": "", "text": text} for text in ("p", "", "q", "t0 abstract", "r")])
    collection(tmp_path / "nfcorpus", [{"title": text, "text": "body"} for text in ("x", "y", "x", "z")])
    assert encoding.mixed_texts(tmp_path, 9) == [*(f"t{n} abstract" for n in range(3)), "p", "q", "r", "x", "y", "z"]
    assert len(encoding.mixed_texts(tmp_path, 8)) == 8
    with pytest.raises(EvaluationError, match="msmarco-dl19 has 3 distinct texts of 4"):
        encoding.mixed_texts(tmp_path, 12)
    with pytest.raises(EvaluationError, match="no collection 'scifact'"):
        encoding.mixed_texts(tmp_path / "nothing", 3)


def test_vectors_that_are_others_are_refused():
    near = {"precision": "fp32", "min": 0.999999}
    encoding.check({"a": near, "b": {"precision": "bf16", "min": 0.999}, "c": {"precision": "int8", "min": 0.5}})
    for wrong in (0.999, float("nan")):
        with pytest.raises(ReproductionError, match="b: a vector has cosine"):
            encoding.check({"a": near, "b": {"precision": "fp32", "min": wrong}})


def test_vectors_are_compared_by_direction_and_by_neighbours():
    random = np.random.default_rng(0)
    vectors = random.normal(size=(40, 8)).astype(np.float32)
    turned = vectors.copy()
    turned[7] = -turned[7]
    encoders = {REFERENCE: lambda _: vectors, "longer": lambda _: 3 * vectors, "turned": lambda _: turned}
    found = encoding_worker.compared(encoders, [str(n) for n in range(40)])
    assert found["longer"] == pytest.approx({"mean": 1.0, "min": 1.0, "overlap": 1.0})
    assert found["turned"]["min"] == pytest.approx(-1.0)
    assert found["turned"]["mean"] == pytest.approx(38 / 40)
    assert found["turned"]["overlap"] < 1


def test_operations_are_counted():
    """One text of one token by hand: six layers of four products of 384 x 384, two of 384 x 1536, and two of 384."""
    token = 6 * 2 * (4 * 384 * 384 + 2 * 384 * 1536)
    assert encoding_worker.flops(np.array([1])) == token + 6 * 2 * 2 * 384
    assert encoding_worker.flops(np.array([3, 2])) == 5 * token + 6 * 4 * 384 * (9 + 4)


def test_rows():
    found = {
        "tokens": 600,
        "flops": 50.0,
        "peak_flops": 100.0,
        "sides": {"engine": {"precision": "fp32", "mean": 1.0, "min": 0.9999994, "overlap": 0.9994}},
        "seconds": {REFERENCE: [3.0, 4.0, 8.0], "engine": [1.0, 2.0, 2.0]},
        "peaks": {"fp32": [1.0, 1.0, 1.0]},
    }
    expected = ["engine", "2.00 (1.00 to 2.00)", "300", "3.00 (2.00 to 4.00)", "25 %", "1.000000", "0.999999", "0.999"]
    assert encoding._row("engine", found) == expected
    found["sides"]["engine"]["precision"] = "int8"
    assert encoding._row("engine", found)[4] == ""


def test_the_peak_is_the_fastest_product_of_each_round():
    assert encoding_worker.best_peaks({"fp32": {"a": [1.0, 5.0], "b": [2.0, 4.0]}}) == {"fp32": [1.0, 4.0]}
    shapes = {int(np.prod(shape)) for shape in encoding_worker._PEAK_SHAPES}
    assert len(shapes) == 1, "all ways take as many operations"


def test_operations_belong_to_parts():
    assert encoding_profile.part_of("mkldnn::_linear_pointwise") == "linear layers"
    assert encoding_profile.part_of("aten::_scaled_dot_product_flash_attention_for_cpu") == "attention"
    assert encoding_profile.part_of("aten::index_select") == encoding_profile.OTHER


def test_texts_of_one_length():
    texts = ["The quick brown fox jumps over the lazy dog, again and again, and sleeps.", "Unaffordable housing costs"]
    found = encoding_worker.texts_of_length(texts, 8, 5)
    assert len(found) == len(set(found)) == 5
    assert encoding_worker.token_counts(found).tolist() == [8] * 5


@pytest.mark.slow
def test_on_few_texts(data_folder):
    data_folder("msmarco-dl19")
    data_folder("nfcorpus")
    mixed, profile, by_length = encoding.measure(data_folder("scifact").parent, share=0.003, repeats=1)
    assert mixed.rows[0][0] == REFERENCE
    assert (
        {"engine, fp32", "engine, fp32, padded", "ONNX Runtime, fp32", "OpenVINO, fp32"}
        <= {row[0] for row in mixed.rows}
        == {row[0] for row in by_length.rows}
    )
    of_engine = profile.numbers["profiles"]["engine, fp32"]
    assert sum(of_engine.values()) > 0
    assert of_engine["linear layers"] > of_engine["attention"] > 0
    measured = mixed.numbers["measured"]
    assert measured["texts"] == 30
    for side in measured["sides"].values():
        assert side["min"] > (0.99999 if side["precision"] == "fp32" else 0.995)
    assert all(each["texts"] > 0 for each in by_length.numbers["lengths"])
