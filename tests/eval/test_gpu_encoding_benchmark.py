"""The GPU's encoding benchmark: rows by hand, samples of a driver, and all of it on a processor."""

from __future__ import annotations

import time

import pytest
import torch
from typer.testing import CliRunner

from eval.benchmarks import __main__ as benchmarks
from eval.benchmarks import gpu_encoding
from eval.benchmarks.device_use import busy_while, seconds_of_product
from eval.benchmarks.encoding_sides import REFERENCE


def test_rows():
    found = {
        "tokens": 600,
        "flops": float(2 * 8192 * 4096 * 4096),
        "sides": {"engine": {"precision": "bf16", "mean": 1.0, "min": 0.9999994}},
        "seconds": {REFERENCE: [3.0, 4.0, 8.0], "engine": [1.0, 2.0, 2.0]},
        "busy": {"engine": [50.0, 70.0]},
        "peaks": {"bf16": [0.5, 0.5, 0.5]},
    }
    expected = ["engine", "2.00 (1.00 to 2.00)", "300", "3.00 (2.00 to 4.00)", "25 %", "60 %", "1.000000", "0.999999"]
    assert gpu_encoding.row("engine", found) == expected
    found["busy"]["engine"] = []
    assert gpu_encoding.row("engine", found)[5] == ""


def test_a_driver_is_asked_while_a_call_runs(monkeypatch):
    monkeypatch.setattr(torch.cuda, "utilization", lambda device: 40)
    seconds, samples = busy_while(lambda: time.sleep(0.3), "cuda:0")
    assert seconds >= 0.3
    assert samples
    assert set(samples) == {40.0}


def test_without_a_drivers_library_there_are_no_samples(monkeypatch):
    def missing(device):
        raise ModuleNotFoundError("pynvml")

    monkeypatch.setattr(torch.cuda, "utilization", missing)
    assert busy_while(lambda: time.sleep(0.2), "cuda")[1] == []
    assert busy_while(lambda: time.sleep(0.2), "cpu")[1] == []


def test_a_call_that_fails_is_not_watched_any_longer():
    with pytest.raises(ValueError, match="no"):
        busy_while(lambda: int("no"), "cpu")


def test_the_peak_is_a_product():
    assert seconds_of_product((64, 32, 16), "fp32", "cpu", repeats=2) > 0


def test_without_a_gpu_the_part_is_left_out_and_its_record_stays(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    found = CliRunner().invoke(benchmarks_command(), ["--output", str(tmp_path), "--only", "gpu_encoding"])
    assert found.exit_code == 0
    assert "gpu_encoding is left out, what is stored stays: PyTorch finds no GPU here" in found.output
    assert not list(tmp_path.iterdir())


def benchmarks_command():
    import typer

    app = typer.Typer()
    app.command()(benchmarks.main)
    return app


@pytest.mark.slow
def test_on_few_texts(data_folder, monkeypatch):
    data_folder("msmarco-dl19")
    data_folder("nfcorpus")
    monkeypatch.setattr(gpu_encoding, "PRODUCT", (64, 64, 64))
    folder = data_folder("scifact").parent
    outcome = gpu_encoding.measure(folder, share=0.001, repeats=1, device="cpu")
    assert outcome.rows[0][0] == REFERENCE
    assert {"engine, fp32", "engine, bf16"} <= {row[0] for row in outcome.rows}
    assert outcome.numbers["texts"] == 30
