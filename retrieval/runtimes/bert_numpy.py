"""BERT in NumPy: for a few texts, where loading PyTorch would take a hundred times as long as the texts.

The network is that of Devlin et al. (2019), "BERT: Pre-training of Deep Bidirectional Transformers for Language
Understanding", as transformers' `BertModel` computes it in evaluation: learned positions, post-norm layers, attention
over all tokens of a text. Texts are packed: nothing is spent on padding, and no text can touch another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from retrieval.errors import EncoderError
from retrieval.execution.runtime import TokenBatch
from retrieval.runtimes.heads import SentenceHead


class BertShape(NamedTuple):
    """The settings of a BERT network, in transformers' words.

    Attributes:
        num_hidden_layers: layers.
        num_attention_heads: of each layer.
        hidden_size: length of a token's state.
        intermediate_size: of the feed-forward parts.
        max_position_embeddings: most tokens of a text.
        vocab_size: rows of the table of words.
        type_vocab_size: rows of the table of segments.
        hidden_act: one of `ACTIVATIONS`.
        layer_norm_eps: added to variances.
    """

    num_hidden_layers: int
    num_attention_heads: int
    hidden_size: int
    intermediate_size: int
    max_position_embeddings: int
    vocab_size: int
    type_vocab_size: int
    hidden_act: str
    layer_norm_eps: float

    @property
    def operations_per_token(self) -> int:
        """Multiplications and additions of a token in a short text, those of its attention left out."""
        layer = 4 * self.hidden_size * self.hidden_size + 2 * self.hidden_size * self.intermediate_size
        return 2 * self.num_hidden_layers * layer

    def parameters(self) -> dict[str, tuple[int, ...]]:
        """Return the name and the shape of each parameter, as `BertModel` names them, without a pooler."""
        hidden, wide = self.hidden_size, self.intermediate_size
        shapes: dict[str, tuple[int, ...]] = {
            "embeddings.word_embeddings.weight": (self.vocab_size, hidden),
            "embeddings.position_embeddings.weight": (self.max_position_embeddings, hidden),
            "embeddings.token_type_embeddings.weight": (self.type_vocab_size, hidden),
            "embeddings.LayerNorm.weight": (hidden,),
            "embeddings.LayerNorm.bias": (hidden,),
        }
        linear = {
            "attention.self.query": (hidden, hidden),
            "attention.self.key": (hidden, hidden),
            "attention.self.value": (hidden, hidden),
            "attention.output.dense": (hidden, hidden),
            "intermediate.dense": (wide, hidden),
            "output.dense": (hidden, wide),
        }
        for layer in range(self.num_hidden_layers):
            for name, shape in linear.items():
                shapes[f"encoder.layer.{layer}.{name}.weight"] = shape
                shapes[f"encoder.layer.{layer}.{name}.bias"] = shape[:1]
            for name in ("attention.output.LayerNorm", "output.LayerNorm"):
                shapes[f"encoder.layer.{layer}.{name}.weight"] = (hidden,)
                shapes[f"encoder.layer.{layer}.{name}.bias"] = (hidden,)
        return shapes


_LEAST_SCORE = np.float32(-60.0)
"""Below the largest, where e to its power (1e-26) adds nothing in single precision; powers of some less are subnormal
numbers, with which some processors take many times as long."""


class NumpyBert:
    """A BERT network with its head, as a runtime.

    A vector differs from PyTorch's in fp32 by at most 1e-5 in each component of a vector of length one.

    Args:
        shape: of the network.
        tensors: float32, with the names and shapes of `BertShape.parameters`; others are not read.
        head: makes vectors of token states.
    """

    def __init__(self, shape: BertShape, tensors: Mapping[str, np.ndarray], head: SentenceHead) -> None:
        self._network: _Network | None = _Network(shape, tensors)
        self._head = head

    def run(self, batch: TokenBatch) -> np.ndarray:
        """Return the vectors of texts, (n, d) float32.

        Raises:
            EncoderError: the runtime is closed; a run that has begun is finished.
        """
        network = self._network  # read once: another thread may close the runtime
        if network is None:
            raise EncoderError("the encoder is closed; load it again")
        return self._head(network.states(batch), batch.lengths)

    def execution(self) -> dict[str, Any]:
        """Return precision, runtime and version."""
        return {"precision": "fp32", "runtime": "numpy", "device": "cpu", "numpy": np.__version__}

    def close(self) -> None:
        """Let go of the weights."""
        self._network = None


class _Network:
    """The layers of a BERT; see `NumpyBert`."""

    def __init__(self, shape: BertShape, tensors: Mapping[str, np.ndarray]) -> None:
        self._shape = shape
        self._tensors = tensors
        self._activation = ACTIVATIONS[shape.hidden_act]
        self._met: set[str] = set()
        self._turned: dict[str, np.ndarray] = {}  # (in, out) each

    def states(self, batch: TokenBatch) -> np.ndarray:
        """Return the last layer's states of all tokens, (total, hidden) float32."""
        states = self._embedded(batch)
        ends = np.cumsum(batch.lengths)
        spans = [slice(end - length, end) for length, end in zip(batch.lengths.tolist(), ends.tolist(), strict=True)]
        for layer in range(self._shape.num_hidden_layers):
            name = f"encoder.layer.{layer}"
            context = self._attention(states, f"{name}.attention.self", spans)
            attended = self._linear(context, f"{name}.attention.output.dense")
            states = self._layer_norm(attended + states, f"{name}.attention.output.LayerNorm")
            wide = self._activation(self._linear(states, f"{name}.intermediate.dense"))
            states = self._layer_norm(self._linear(wide, f"{name}.output.dense") + states, f"{name}.output.LayerNorm")
        return states

    def _embedded(self, batch: TokenBatch) -> np.ndarray:
        starts = np.cumsum(batch.lengths) - batch.lengths
        positions = np.arange(len(batch.ids)) - np.repeat(starts, batch.lengths)  # (total,)
        segments = 0 if batch.segments is None else batch.segments
        summed = (
            self._tensors["embeddings.word_embeddings.weight"][batch.ids]
            + self._tensors["embeddings.token_type_embeddings.weight"][segments]
            + self._tensors["embeddings.position_embeddings.weight"][positions]
        )
        return self._layer_norm(summed, "embeddings.LayerNorm")

    def _linear(self, values: np.ndarray, name: str) -> np.ndarray:
        turned = self._turned.get(name)
        if turned is not None:
            mapped: np.ndarray = values @ turned
        else:
            # (W xᵀ)ᵀ and not x Wᵀ: with few rows in x, BLAS reads a weight as it lies in the file a quarter faster.
            # A transposed copy is read faster by another quarter; whoever comes again gets one.
            weight = self._tensors[f"{name}.weight"]
            mapped = (weight @ values.T).T
            if name in self._met:
                self._turned[name] = np.ascontiguousarray(weight.T)
            self._met.add(name)
        mapped += self._tensors[f"{name}.bias"]
        return mapped

    def _attention(self, states: np.ndarray, name: str, spans: list[slice]) -> np.ndarray:
        """Return each token's mean of its text's values, weighted by softmax(q·k / √d), (total, hidden)."""
        total, hidden = states.shape
        n_heads = self._shape.num_attention_heads
        queries, keys, values = (
            self._linear(states, f"{name}.{part}").reshape(total, n_heads, -1).transpose(1, 0, 2)  # (heads, total, d)
            for part in ("query", "key", "value")
        )
        scale = np.float32((hidden // n_heads) ** -0.5)
        context = np.empty((total, n_heads, hidden // n_heads), np.float32)
        for span in spans:
            scores = queries[:, span] @ keys[:, span].transpose(0, 2, 1)  # (heads, tokens, tokens)
            scores *= scale
            scores -= scores.max(axis=2, keepdims=True)
            np.maximum(scores, _LEAST_SCORE, out=scores)
            np.exp(scores, out=scores)
            scores /= scores.sum(axis=2, keepdims=True)
            context[span] = (scores @ values[:, span]).transpose(1, 0, 2)
        return context.reshape(total, hidden)

    def _layer_norm(self, values: np.ndarray, name: str) -> np.ndarray:
        centred = values - values.mean(axis=1, keepdims=True)
        variances = np.square(centred).mean(axis=1, keepdims=True)
        centred /= np.sqrt(variances + np.float32(self._shape.layer_norm_eps))
        centred *= self._tensors[f"{name}.weight"]
        centred += self._tensors[f"{name}.bias"]
        return centred


def gelu(values: np.ndarray) -> np.ndarray:
    """Return x Φ(x), with Φ the normal distribution function, in the type of the values; off by less than 3e-7.

    As max(x, 0) − |x| Φ(−|x|), where Φ(−z) = erfc(z / √2) / 2, so that no digits are lost far from zero. The
    complementary error function is formula 7.1.26 of Abramowitz and Stegun, "Handbook of Mathematical Functions"
    (1964), off by at most 1.5e-7.
    """
    sizes = np.abs(values)
    inverse = 1 / (1 + np.float32(0.3275911 * 0.5**0.5) * sizes)
    tail = np.full_like(inverse, 1.061405429)
    for coefficient in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        tail *= inverse
        tail += np.float32(coefficient)
    tail *= inverse
    tail *= np.exp(np.float32(-0.5) * np.square(values))
    tail *= sizes
    tail *= np.float32(0.5)
    activated: np.ndarray = np.maximum(values, 0)
    activated -= tail
    return activated


ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "gelu": gelu,
    "relu": lambda values: np.maximum(values, 0),
}
"""Activations that are computed here, by transformers' names."""
