"""Off-ramps: a small classifier after each layer of a large one, by which easy rows leave early (DeeBERT).

Source: Xin, Tang, Lee, Yu and Lin (2020), "DeeBERT: Dynamic Early Exiting for Accelerating BERT Inference",
arXiv 2004.12993: BERT's pooler on the first token, dropout, a linear layer; a row leaves at the first one whose entropy
`H = -sum p ln p` is below a threshold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from indexes.storage import replace_file
from retrieval.errors import RerankerError
from retrieval.models.rankers.folder import set_weights
from retrieval.models.rankers.layers import LayeredClassifier

OFF_RAMPS_FILE = "off_ramps.safetensors"
"""Beside the classifier's own files, which it leaves as they are."""


class OffRamp(nn.Module):
    """A classifier of states after a layer.

    Args:
        hidden: numbers of a state.
        labels: logits.
        dropout: probability, in training.
    """

    def __init__(self, hidden: int, labels: int, dropout: float) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden, hidden)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(hidden, labels)

    def forward(self, states: Tensor) -> Tensor:
        """Return logits, (n, labels), of the first of the states, (n, length, hidden)."""
        first = states[:, 0].to(self.dense.weight.dtype)  # a ramp stays in fp32 behind layers in bf16
        logits: Tensor = self.classifier(self.dropout(torch.tanh(self.dense(first))))
        return logits


class Exits(NamedTuple):
    """What came out of a model with off-ramps.

    Attributes:
        logits: (n, labels), of the off-ramp or the head through which a row left.
        layers: (n,) int64, how many layers it went through.
    """

    logits: Any
    layers: Any


def new_off_ramps(model: Any) -> nn.ModuleList:
    """Return an off-ramp for each layer but the last, starting from the classifier's own head.

    Args:
        model: of transformers, for sequence classification, of BERT's kind.
    """
    config = model.config
    dropout = getattr(config, "classifier_dropout", None)
    dropout = config.hidden_dropout_prob if dropout is None else dropout
    pooler = getattr(model.base_model, "pooler", None)
    dense = model.classifier.dense if pooler is None else pooler.dense
    last = model.classifier.out_proj if pooler is None else model.classifier
    ramps = nn.ModuleList()
    for _ in range(config.num_hidden_layers - 1):
        ramp = OffRamp(config.hidden_size, config.num_labels, dropout)
        ramp.dense.load_state_dict(dense.state_dict())
        ramp.classifier.load_state_dict(last.state_dict())
        ramps.append(ramp)
    return ramps.to(model.device)


def save_off_ramps(folder: Path, ramps: nn.ModuleList) -> None:
    """Write off-ramps into the folder of their classifier."""
    from safetensors.torch import save

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in ramps.state_dict().items()}
    replace_file(folder / OFF_RAMPS_FILE, save(tensors))


def load_off_ramps(folder: Path, model: Any) -> nn.ModuleList:
    """Read the off-ramps of a classifier, in fp32, ready to score.

    Args:
        folder: of the classifier.
        model: the classifier.

    Raises:
        RerankerError: there are none, they cannot be read, or they are those of another network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / OFF_RAMPS_FILE
    if not path.is_file():
        raise RerankerError(
            f"model {folder} has no off-ramps ({OFF_RAMPS_FILE}) to leave by; train them with the recipe early-exit"
        )
    LayeredClassifier(model)  # refuses networks that have no such layers
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise RerankerError(f"the off-ramps {path} cannot be read: {error}") from None
    ramps = new_off_ramps(model).float()
    set_weights(ramps, tensors, str(path))
    return ramps.to(model.device).eval()


def binary_entropy(logits: Tensor) -> Tensor:
    """Return -sum p ln p of the two classes, (n,) float64, between 0 and ln 2.

    Args:
        logits: (n, 2), or (n, 1) whose logistic function is the probability of the second class.
    """
    logits = logits.double()
    margin = (logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]).abs()
    found = torch.log1p(torch.exp(-margin)) + margin * torch.sigmoid(-margin)
    return found.clamp(max=math.log(2))  # rounding may go beyond it


def checked_thresholds(exit_entropy: float | Sequence[float], n_ramps: int) -> tuple[float, ...]:
    """Return a threshold for each off-ramp.

    Args:
        exit_entropy: one for all, or one for each.
        n_ramps: how many there are.

    Raises:
        RerankerError: another number of them, or one that is no finite number.
    """
    if isinstance(exit_entropy, str):
        raise RerankerError(f"exit_entropy is a number or a list of numbers, not {exit_entropy!r}")
    given = [exit_entropy] * n_ramps if isinstance(exit_entropy, (int, float)) else list(exit_entropy)
    if len(given) != n_ramps:
        raise RerankerError(f"exit_entropy has {len(given)} thresholds, but the model has {n_ramps} off-ramps")
    try:
        thresholds = tuple(float(value) for value in given)
    except (TypeError, ValueError):
        raise RerankerError(f"exit_entropy is a number or a list of numbers, not {exit_entropy!r}") from None
    if not all(math.isfinite(value) for value in thresholds):
        raise RerankerError(f"exit_entropy is {exit_entropy!r}; a threshold is a finite number, and 1 lets all out")
    return thresholds


def run_with_exits(
    classifier: LayeredClassifier, ramps: nn.ModuleList, features: dict[str, Any], thresholds: Sequence[float]
) -> Exits:
    """Let rows go through the layers until an off-ramp is sure of them; those that left cost nothing any more.

    Args:
        classifier: the model.
        ramps: one for each layer but the last.
        features: of the rows, see `LayeredClassifier.first_states`.
        thresholds: of the entropy, in nats, one for each off-ramp; one of 0 or less lets nothing out and costs nothing,
            one above ln 2 lets everything out.
    """
    states, mask = classifier.first_states(features)
    rows = torch.arange(len(states), device=states.device)
    found: list[tuple[Tensor, Tensor, int]] = []  # rows, their logits, layers
    *before, last = classifier.layers
    for number, (layer, ramp, threshold) in enumerate(zip(before, ramps, thresholds, strict=True), start=1):
        states = layer(states, mask)
        if threshold <= 0:
            continue
        logits = ramp(states)
        leaves = binary_entropy(logits) < threshold  # (rows,)
        if leaves.any():
            found.append((rows[leaves], logits[leaves], number))
            stays = ~leaves
            rows, states = rows[stays], states[stays]
            mask = None if mask is None else mask[stays]
            if not len(rows):
                break
    if len(rows):
        found.append((rows, classifier.logits(last(states, mask)), len(classifier.layers)))
    order = torch.argsort(torch.cat([rows for rows, _, _ in found]))
    layers = torch.cat([torch.full_like(rows, count) for rows, _, count in found])
    return Exits(torch.cat([logits for _, logits, _ in found])[order], layers[order])
