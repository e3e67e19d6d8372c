"""The encoder that comes with the package, on real sentences: what a second run takes from the first."""

from __future__ import annotations

import pytest

from eval.running import ResultStore, run_tasks
from eval.tasks.base import Surroundings
from eval.tasks.loading import load_tasks
from eval.tasks.system import System
from retrieval.encoders.sentence_transformer import SentenceTransformerEncoder

pytestmark = pytest.mark.slow


def test_no_text_reaches_the_model_in_a_second_run(data, tmp_path, monkeypatch):
    from retrieval.encoders import load_encoder

    if not (data / "biosses").is_dir():
        pytest.skip(f"no BIOSSES at {data}")
    seen: list[str] = []
    encode_passages = SentenceTransformerEncoder.encode_passages

    def counted(self, texts):
        seen.extend(texts)
        return encode_passages(self, texts)

    monkeypatch.setattr(SentenceTransformerEncoder, "encode_passages", counted)
    surroundings, store = Surroundings(tmp_path), ResultStore(tmp_path / "results")
    tasks = load_tasks(data, ["BIOSSES"])
    alone = tasks[0].run(System("embedded", load_encoder()), surroundings)
    n_texts = len(seen)
    seen.clear()

    (first,) = run_tasks([System("embedded", load_encoder())], tasks, surroundings, store, on_error="raise").results
    assert len(seen) == n_texts == first.costs["encoded_texts"]
    assert first.scores == pytest.approx(alone.scores, abs=1e-6)
    seen.clear()

    systems = [System("embedded", load_encoder())]
    (second,) = run_tasks(systems, tasks, surroundings, store, again=True, on_error="raise").results
    assert seen == []
    assert second.scores == first.scores
    assert second.costs["encode_tokens_per_second"] == pytest.approx(first.costs["encode_tokens_per_second"])
    assert run_tasks(systems, tasks, surroundings, store).n_stored == 1
