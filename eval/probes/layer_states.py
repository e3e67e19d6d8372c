"""The states of a transformer's tokens after every layer, a batch at a time: one forward pass gives them all."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from eval.errors import MeasureError
from eval.probes.texts import checked_texts

if TYPE_CHECKING:
    from torch import Tensor

BATCH_TOKENS = 2_048
"""Tokens that go through the network together, padding included."""


@dataclass(frozen=True)
class StateBatch:
    """Some texts after every layer.

    Attributes:
        rows: (m,) int64, which texts.
        ids: (m, width) int64, their tokens, special ones and padding included.
        mask: (m, width) bool, which of them are no padding.
        layers: of each layer (m, width, d) float32: 0 is the output of the embeddings, i that of layer i.
    """

    rows: np.ndarray
    ids: Tensor
    mask: Tensor
    layers: tuple[Tensor, ...]


class LayerStates:
    """A transformer that shows what comes out of its layers.

    It reads texts as the model does as an encoder: with its prompt of passages, its special tokens, cut where it is
    cut. What stands behind the network (pooling, dense layers) has no part in it.

    Args:
        model: a `SentenceTransformer` whose first module is a transformer with a fast tokenizer.
        batch_tokens: tokens of a batch, padding included.
        name: what the model is called.

    Raises:
        MeasureError: its network has no layers to look into.
    """

    def __init__(self, model: Any, *, batch_tokens: int = BATCH_TOKENS, name: str = "") -> None:
        from retrieval.encoders.model_inputs import TokenizedInputs, is_plain_transformer
        from retrieval.encoders.sentence_transformer import max_tokens_of, prompts_of

        if not is_plain_transformer(model):
            raise MeasureError(
                f"model {name!r} has no layers to look into: its first module must be a transformer with a fast "
                f"tokenizer, not {type(model[0]).__name__}"
            )
        self.name = name
        self._network = model[0].model.eval()
        self._max_tokens = max_tokens_of(model)
        self._inputs = TokenizedInputs(model, self._max_tokens)
        self._prompt = prompts_of(model)["document"]
        self._batch_tokens = batch_tokens
        before = self._inputs.n_before
        self._around = (
            self._inputs.prompt_length(self._prompt) if self._prompt else before,
            self._inputs.n_special - before,
        )
        taken = inspect.signature(self._network.forward).parameters
        self._names = {"input_ids", "attention_mask"} | ({"token_type_ids"} & set(taken))

    @property
    def n_layers(self) -> int:
        """How many layers the network has; with the embeddings there is one more kind of states."""
        config = self._network.config
        count = getattr(config, "num_hidden_layers", None)
        if not isinstance(count, int):
            raise MeasureError(f"model {self.name!r} does not say how many layers it has")
        return count

    @property
    def dimension(self) -> int:
        """Numbers of a state."""
        return int(self._network.config.hidden_size)

    @property
    def max_tokens(self) -> int | None:
        """Tokens of a text that are read, special ones included."""
        return self._max_tokens

    @property
    def around(self) -> tuple[int, int]:
        """How many tokens before and behind a text are not its own: special ones, and the model's prompt."""
        return self._around

    def n_cut(self, texts: Sequence[str]) -> int:
        """Return how many texts are longer than what is read."""
        if self._max_tokens is None:
            return 0
        return int((self._inputs.count(list(texts), self._prompt, "document") > self._max_tokens).sum())

    def token_ids(self, texts: Sequence[str]) -> Iterator[np.ndarray]:
        """Yield the tokens of each text as it is read, special ones included, (tokens,) int64."""
        prepared = self._inputs.prepare(list(texts), self._prompt, "document")
        for row, length in enumerate(prepared.lengths.tolist()):
            yield prepared.features(np.array([row]))["input_ids"][0, :length].numpy()

    def batches(self, texts: Sequence[str]) -> Iterator[StateBatch]:
        """Yield the texts in batches of like length; each text comes once.

        Raises:
            MeasureError: a text is blank, or the network gives no states or such as are not finite.
        """
        import torch

        from retrieval.batching import plan_batches

        prepared = self._inputs.prepare(checked_texts(texts, "texts", least=1), self._prompt, "document")
        for rows in plan_batches(prepared.lengths, self._batch_tokens):
            features = prepared.features(rows)
            given = {name: value.to(self._network.device) for name, value in features.items() if name in self._names}
            with torch.inference_mode():
                output = self._network(**given, output_hidden_states=True, return_dict=True)
                found = getattr(output, "hidden_states", None)
                if not found or len(found) != self.n_layers + 1:
                    raise MeasureError(
                        f"model {self.name!r} gives {len(found or ())} layers of states instead of {self.n_layers + 1}"
                    )
                layers = tuple(layer.float().cpu() for layer in found)
            mask = features["attention_mask"].bool()
            if not all(bool(torch.isfinite(layer[mask]).all()) for layer in layers):
                raise MeasureError(f"model {self.name!r} gives states that are NaN or infinite")
            yield StateBatch(rows, features["input_ids"], mask, layers)


def load_layer_states(model: str = "embedded", *, batch_tokens: int = BATCH_TOKENS) -> LayerStates:
    """Load a transformer to look into.

    Args:
        model: "embedded", a folder of sentence-transformers or transformers, or a name on the model hub.
        batch_tokens: see `LayerStates`.

    Raises:
        EncoderError: there is no such model, or it cannot be loaded safely.
        TrainingError: its parameters are not those of its configuration.
        MeasureError: it has no layers to look into.
    """
    from transformers.utils import logging as transformers_logging

    from retrieval.training.builders.encoder import build_model

    showed_progress = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        network = build_model(backbone=model)
    finally:
        if showed_progress:
            transformers_logging.enable_progress_bar()
    return LayerStates(network, batch_tokens=batch_tokens, name=model)
