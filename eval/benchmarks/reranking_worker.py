"""The reranking benchmark's process: scores the same candidates with this engine and with the library's own loop."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import typer

from eval.benchmarks.in_turn import in_turn

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

SIDES = ("engine", "predict")

_HEAD_SCALE = 50.0
"""By which a new head's weights of standard deviation 0.02 are multiplied, so that logits are some units apart."""


class CandidateList(msgspec.Struct):
    """A query with the texts to rerank."""

    query: str
    texts: list[str]


def build() -> Any:
    """Return a `CrossEncoder` of the embedded MiniLM's weights with a random head of one logit."""
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
    """Compare scores, count padding and time both sides, all queries at once and one after the other."""
    from retrieval.rerankers import Candidates, load_reranker

    lists = [msgspec.json.decode(line, type=CandidateList) for line in path.read_bytes().splitlines()]
    model = build()
    reranker = load_reranker(model)
    queries = [each.query for each in lists]
    candidates = [
        Candidates([str(number) for number in range(len(each.texts))], each.texts, np.zeros(len(each.texts)))
        for each in lists
    ]

    def engine(chosen: slice) -> np.ndarray:
        return np.concatenate(reranker.score(queries[chosen], candidates[chosen]))

    def predict(chosen: slice) -> np.ndarray:
        pairs = [(each.query, text) for each in lists[chosen] for text in each.texts]
        return np.asarray(model.predict(pairs, show_progress_bar=False))

    whole = slice(None)
    singles = [slice(number, number + 1) for number in range(len(lists))]
    ways: dict[str, dict[str, Callable[[], np.ndarray]]] = {
        "at once": {"engine": partial(engine, whole), "predict": partial(predict, whole)},
        "one by one": {
            "engine": lambda: np.concatenate([engine(single) for single in singles]),
            "predict": lambda: np.concatenate([predict(single) for single in singles]),
        },
    }
    counted = Padding(model.model)
    checked = {way: {side: counted.taken(call) for side, call in sides.items()} for way, sides in ways.items()}
    counted.remove()
    reference = checked["at once"]["predict"][0]
    measured = {
        "largest_difference": max(
            float(np.abs(found - reference).max()) for sides in checked.values() for found, _ in sides.values()
        ),
        "spread": float(reference.std()),
        "pairs": len(reference),
        "ways": {
            way: {
                "padding": {side: padding for side, (_, padding) in checked[way].items()},
                "seconds": in_turn(sides, repeats),
            }
            for way, sides in ways.items()
        },
    }
    typer.echo(msgspec.json.encode(measured).decode())


if __name__ == "__main__":
    app()
