"""The reranking benchmark's process: scores the same candidates with this engine and with the library's own loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import typer

from eval.benchmarks.in_turn import in_turn

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

REFERENCE = "predict"
"""The library with its defaults."""

_HEAD_SCALE = 50.0
"""By which a new head's weights of standard deviation 0.02 are multiplied, so that logits are some units apart."""


class CandidateList(msgspec.Struct):
    """A query with the texts to rerank."""

    query: str
    texts: list[str]


def build() -> Any:
    """Return a `CrossEncoder` in fp32 of the embedded MiniLM's weights with a random head of one logit."""
    import tempfile

    import torch
    from sentence_transformers import CrossEncoder
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from retrieval.encoders.embedded import embedded_folder

    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(embedded_folder(), num_labels=1)
    model.classifier.weight.data *= _HEAD_SCALE
    tokenizer = AutoTokenizer.from_pretrained(embedded_folder())
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return CrossEncoder(folder, device="cpu", max_length=512, activation_fn=torch.nn.Identity())


Score = Callable[[slice], np.ndarray]
"""From a slice of the queries to the scores of their candidates, one behind the other."""


class Side(NamedTuple):
    """What scores candidates, and the network in it, whose padding is counted."""

    score: Score
    network: Any


class Padding:
    """Counts what goes through a model.

    Args:
        model: of transformers, a BERT; both sides share its embeddings.
    """

    def __init__(self, model: Any) -> None:
        self.padded = self.tokens = 0
        self._pad_id = model.config.pad_token_id
        self.remove = model.bert.embeddings.register_forward_pre_hook(self._count, with_kwargs=True).remove

    def taken(self, call: Callable[[], np.ndarray]) -> tuple[np.ndarray, float]:
        """Return what a call returns, and tokens with padding / tokens without."""
        self.padded = self.tokens = 0
        return call(), self.padded / self.tokens

    def _count(self, _: Any, __: Any, features: dict[str, Any]) -> None:
        ids = features["input_ids"]
        self.padded += ids.numel()
        self.tokens += int((ids != self._pad_id).sum())


@app.callback()
def commands() -> None:
    """One side and the other, in one process."""


@app.command()
def compare(path: Path, repeats: int) -> None:
    """Compare scores, count padding and time all sides, all queries at once and one after the other."""
    lists = [msgspec.json.decode(line, type=CandidateList) for line in path.read_bytes().splitlines()]
    sides = _sides(lists)
    singles = [slice(number, number + 1) for number in range(len(lists))]

    def one_by_one(score: Score) -> np.ndarray:
        return np.concatenate([score(single) for single in singles])

    ways: dict[str, dict[str, Callable[[], np.ndarray]]] = {
        "at once": {name: partial(side.score, slice(None)) for name, side in sides.items()},
        "one by one": {name: partial(one_by_one, side.score) for name, side in sides.items()},
    }
    measured_ways, found = {}, {}
    for way, calls in ways.items():
        padding = {}
        for name, call in calls.items():
            counted = Padding(sides[name].network)
            found[way, name], padding[name] = counted.taken(call)
            counted.remove()
        measured_ways[way] = {"padding": padding, "seconds": in_turn(calls, repeats, warm=True)}
    reference = found["at once", REFERENCE]
    differences = {name: max(float(np.abs(found[way, name] - reference).max()) for way in ways) for name in sides}
    measured = {
        "differences": differences,
        "spread": float(reference.std()),
        "pairs": len(reference),
        "ways": measured_ways,
    }
    typer.echo(msgspec.json.encode(measured).decode())


def _sides(lists: Sequence[CandidateList]) -> dict[str, Side]:
    """Return the library and the engine, in fp32 and, where the processor multiplies in it, in bf16."""
    from retrieval.execution.precision import in_precision, processor_has_bf16
    from retrieval.rerankers import Candidates, load_reranker

    model = build()
    queries = [each.query for each in lists]
    candidates = [
        Candidates([str(number) for number in range(len(each.texts))], each.texts, np.zeros(len(each.texts)))
        for each in lists
    ]
    sides = {}
    for precision in ("fp32", "bf16") if processor_has_bf16() else ("fp32",):
        loaded = in_precision(model, precision)
        reranker = load_reranker(loaded)

        def engine(chosen: slice, reranker: Any = reranker) -> np.ndarray:
            return np.concatenate(reranker.score(queries[chosen], candidates[chosen]))

        def predict(chosen: slice, loaded: Any = loaded) -> np.ndarray:
            pairs = [(each.query, text) for each in lists[chosen] for text in each.texts]
            return np.asarray(loaded.predict(pairs, show_progress_bar=False), np.float32)

        suffix = "" if precision == "fp32" else f", {precision}"
        sides[f"{REFERENCE}{suffix}"] = Side(predict, loaded.model)
        sides[f"engine{suffix}"] = Side(engine, loaded.model)
    return sides


if __name__ == "__main__":
    app()
