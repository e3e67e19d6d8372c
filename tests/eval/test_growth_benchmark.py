"""The growth benchmark: its exponents by hand, and all of it on tiny sizes."""

from __future__ import annotations

import mmap

import pytest

from eval.benchmarks import growth
from eval.benchmarks.processes import resident_memory, run_worker
from eval.errors import ReproductionError


def size(n, index, milliseconds, bytes_):
    rows = [
        {"words": "5-10", "k": k, "seconds": [each * 100 / 1000], "milliseconds": {"p50": each, "p99": 2 * each}}
        for k, each in zip((10, 1000), milliseconds, strict=True)
    ]
    build = {"seconds": index - 1, "compacting": 1, "bytes": bytes_, "peak": 1 << 20, "before": 1 << 19}
    return {"n": n, "build": build, "search": {"rows": rows, "queries": 100, "anonymous": 1 << 20}}


def test_exponents():
    assert growth.exponent(3.0, 30.0, 100, 1000) == pytest.approx(1)
    assert growth.exponent(3.0, 9.0, 1, 9) == pytest.approx(0.5)
    assert growth.exponent(3.0, 3.0, 1, 9) == 0


def test_quantities_of_a_size():
    assert growth.quantities(size(10, 5.0, (0.5, 2.0), 700)) == {
        "index": pytest.approx(5),
        "bytes": 700,
        "k=10": pytest.approx(0.5),
        "k=1000": pytest.approx(2),
    }


def test_what_is_extrapolated():
    # Index time linear, bytes linear, k = 10 as the square root, k = 1,000 constant; passages twice as long.
    sizes = [size(growth.PASSAGES // 16, 1.5, (1.0, 4.0), 1000), size(growth.PASSAGES // 4, 6.0, (2.0, 4.0), 4000)]
    found = growth._extrapolated(sizes, 2.0)["numbers"]["values"]
    assert found["index"] == pytest.approx(2 * 24, rel=1e-3)
    assert found["bytes"] == pytest.approx(2 * 16_000, rel=1e-3)
    assert found["k=10"] == pytest.approx(2 * 4, rel=1e-3)
    assert found["k=1000"] == pytest.approx(2 * 4, rel=1e-3)
    assert growth._extrapolated(sizes[:1], 2.0) == {}


def test_memory_is_told_apart():
    # A map of its own: what an allocator hands out may be memory that the process has held for long.
    before = resident_memory()
    with mmap.mmap(-1, 50_000_000, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as block:
        block.write(b"1" * len(block))
        assert resident_memory()["anonymous"] - before["anonymous"] > 40_000_000


def test_a_worker_of_another_module_is_confined_and_named():
    with pytest.raises(ReproductionError, match="the worker 'search' failed"):
        run_worker(["search", "10", "/nowhere", "/nowhere", "1", "1"], "eval.benchmarks.growth_worker", cores=1)


@pytest.mark.slow
def test_growth_on_tiny_sizes(tmp_path):
    outcome = growth.measure(tmp_path, sizes=(300, 600), n_queries=5, repeats=1)
    assert [row[0] for row in outcome.rows] == ["300", "600", "8,841,823 *"]
    small, large = outcome.numbers["sizes"]
    assert large["build"]["bytes"] > 1.5 * small["build"]["bytes"]
    assert {(row["words"], row["k"]) for row in small["search"]["rows"]} == {
        (words, k) for words in ("2-4", "5-10", "11-30") for k in (10, 1000)
    }
    assert outcome.numbers["terms"]["passage"] == outcome.numbers["terms"]["synthetic"]  # no real passages there
