"""The encoder length benchmark: its exponents by hand, and all of it on short texts."""

from __future__ import annotations

import pytest

from eval.benchmarks import encoder_length
from eval.benchmarks.processes import run_worker
from eval.errors import ReproductionError


def test_exponents():
    assert encoder_length.exponent(3.0, 12.0, 2) == pytest.approx(2)
    assert encoder_length.exponent(5.0, 5.0, 2) == 0


def test_cells():
    rounds = [{"seconds": seconds, "memory": float(4 << 20)} for seconds in (2.0, 1.0, 3.0)]
    longer = [{"seconds": 8.0, "memory": float(8 << 20)}]
    cells = encoder_length._cells({512: rounds, 1024: longer}, (512, 1024, 2048))
    assert cells == ["2.000 s, 4 MiB", "8.000 s, 8 MiB", "", "2.0, 1.0"]
    assert encoder_length._cells({512: rounds}, (512,)) == ["2.000 s, 4 MiB", ""]


def test_an_encoder_that_does_not_exist():
    with pytest.raises(ReproductionError, match="'encode' failed"):
        run_worker(["encode", "monarch-mixer", "-5"], "eval.benchmarks.encoder_length_worker")


@pytest.mark.slow
def test_on_short_texts():
    outcome = encoder_length.measure((512,), repeats=1)
    assert [row[0] for row in outcome.rows] == list(encoder_length.NAMES.values())
    assert outcome.numbers["difference"] < 1e-4
    for by_length in outcome.numbers["measured"].values():
        assert by_length[512][0]["seconds"] > 0
