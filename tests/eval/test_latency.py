"""Latency: which queries are timed."""

from __future__ import annotations

from eval.latency import measure_latency


def test_latency_draws_the_same_queries_for_the_same_seed():
    def drawn(seed, sample):
        asked = []
        latency = measure_latency(asked.append, [str(i) for i in range(50)] + [" "], sample, seed)
        assert latency is not None
        assert latency.n == min(sample, 50)
        return asked[min(5, sample) :]  # the first searches warm up

    assert drawn(0, 10) == drawn(0, 10)
    assert drawn(0, 10) != drawn(1, 10)
    assert sorted(drawn(3, 1000)) == sorted(str(i) for i in range(50))
    assert measure_latency(str, [" "]) is None
    assert measure_latency(str, ["a"], sample=0) is None
