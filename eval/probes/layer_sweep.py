"""Every layer and every pooling of a transformer on pairs that people scored.

The last layer's mean is a habit, not a law: states of lower layers, or averages of two layers, are often better vectors
of sentences where a network was not trained to give them (Su, Cao, Liu & Ou 2021, arXiv 2103.15316, and SimCSE, arXiv
2104.08821, compare first-last averages; Jawahar, Sagot & Seddah 2019, ACL, what each layer knows).
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eval.errors import MeasureError
from eval.probes.estimates import Estimate, bootstrap, checked_scores, spearman
from eval.probes.layer_states import LayerStates, StateBatch
from eval.probes.texts import checked_texts

if TYPE_CHECKING:
    from torch import Tensor

    from eval.outcome import Outcome

POOLINGS = ("mean", "cls", "max", "last")
"""Over the tokens that the network reads, special ones included, as sentence-transformers pools: their mean, the first
one, the largest of each number, the last one."""

_CONSTANT = 1e-6
"""Cosines that differ by less are equal up to the rounding of fp32 states."""

_PAIRS_AT_ONCE = 256


@dataclass(frozen=True)
class Cell:
    """One layer with one pooling.

    Attributes:
        layer: "0" is the output of the embeddings, "1" that of the first layer; "first-last" is the average of the
            states of the first and the last layer, "last two" of the last two.
        pooling: of `POOLINGS`.
        spearman: correlation of cosines with people's scores; None where all pairs have the same cosine, as of the
            first token before any layer has run.
    """

    layer: str
    pooling: str
    spearman: Estimate | None


@dataclass(frozen=True)
class LayerSweep:
    """All layers and poolings.

    Attributes:
        cells: layer by layer, poolings in the order of `POOLINGS`, averages of layers last.
        n_pairs: scored pairs.
        n_texts: different sentences, each of which went through the network once.
        n_cut: of them longer than the network reads.
        settings: model, dimension, seed.
    """

    cells: list[Cell]
    n_pairs: int
    n_texts: int
    n_cut: int
    settings: dict[str, Any]

    @property
    def best(self) -> Cell:
        """The cell with the highest correlation; the first of equal ones."""
        return max((cell for cell in self.cells if cell.spearman), key=lambda cell: cell.spearman.value)  # type: ignore[union-attr]

    def outcome(self) -> Outcome:
        """Return this as a table for people."""
        from eval.outcome import Outcome

        found = {(cell.layer, cell.pooling): cell.spearman for cell in self.cells}
        layers = list(dict.fromkeys(cell.layer for cell in self.cells))
        rows = [[layer, *(str(found[layer, pooling] or "constant") for pooling in POOLINGS)] for layer in layers]
        notes = [
            f"Spearman's correlation of cosines with people's scores, {self.n_pairs:,} pairs; 95 % intervals over "
            "pairs resampled, the same resamples for all cells",
            "layer 0 is the output of the embeddings; first-last averages the states of the first and the last layer, "
            "last two those of the last two; special tokens are pooled with the others",
            f"highest: layer {self.best.layer}, {self.best.pooling}; chosen on these pairs, so its value is a little "
            "too good",
        ]
        if self.n_cut:
            notes.append(
                f"{self.n_cut:,} of {self.n_texts:,} sentences are cut at {self.settings['max_tokens']} tokens"
            )
        return Outcome("Layers and poolings", ["layer", *POOLINGS], rows, notes, asdict(self))


def sweep_layers(
    states: LayerStates,
    first: Sequence[str],
    second: Sequence[str],
    gold: Sequence[float] | np.ndarray,
    *,
    seed: int = 0,
    workspace: Path | None = None,
) -> LayerSweep:
    """Correlate the cosines of all layers and poolings with people's scores.

    Memory holds a batch of states; pooled vectors wait on disk, `(layers + 3) · 4 · d` numbers of a sentence.

    Args:
        states: the network.
        first: sentences.
        second: sentences, as many.
        gold: what people said of each pair.
        seed: of the resampling.
        workspace: where the vectors wait; by default where the system keeps temporary files.

    Raises:
        MeasureError: a sentence is blank, there are fewer than two pairs, scores are not finite or all equal, or no
            cell tells pairs apart.
    """
    sides = [checked_texts(side, "pairs", least=1) for side in (first, second)]
    scores = checked_scores(gold, "people's scores")
    if not len(sides[0]) == len(sides[1]) == len(scores):
        raise MeasureError(f"{len(sides[0])} first and {len(sides[1])} second sentences have {len(scores)} scores")
    row_of: dict[str, int] = {}
    rows = [np.array([row_of.setdefault(text, len(row_of)) for text in side]) for side in sides]
    texts, layers = list(row_of), _layer_names(states.n_layers)
    with tempfile.TemporaryDirectory(dir=workspace) as folder:
        pooled = np.memmap(
            Path(folder) / "pooled", np.float32, "w+", shape=(len(texts), len(layers), len(POOLINGS), states.dimension)
        )
        for batch in states.batches(texts):
            pooled[batch.rows] = _pooled(batch)
        cosines = _cosines(pooled, rows[0], rows[1])  # (n_pairs, cells)
        del pooled
    constant = np.ptp(cosines, axis=0) < _CONSTANT
    if constant.all():
        raise MeasureError("no layer tells these pairs apart: all have the same cosine")
    names = [(layer, pooling) for layer in layers for pooling in POOLINGS]
    estimates = iter(bootstrap(len(scores), lambda drawn: spearman(scores[drawn], cosines[drawn][:, ~constant]), seed))
    return LayerSweep(
        cells=[
            Cell(layer, pooling, None if same else next(estimates))
            for (layer, pooling), same in zip(names, constant.tolist(), strict=True)
        ],
        n_pairs=len(scores),
        n_texts=len(texts),
        n_cut=states.n_cut(texts),
        settings={
            "model": states.name,
            "layers": states.n_layers,
            "dimension": states.dimension,
            "max_tokens": states.max_tokens,
            "seed": seed,
        },
    )


def _layer_names(n_layers: int) -> list[str]:
    """Return the names of all layers and of the averages that there are."""
    averages = ["first-last", "last two"] if n_layers > 1 else []
    return [*map(str, range(n_layers + 1)), *averages]


def _pooled(batch: StateBatch) -> np.ndarray:
    """Return the vectors of a batch, (m, layers, poolings, d)."""
    import torch

    layers = list(batch.layers)
    if len(layers) > 2:
        layers += [(batch.layers[1] + batch.layers[-1]) / 2, (batch.layers[-2] + batch.layers[-1]) / 2]
    found: np.ndarray = torch.stack([_by_each_pooling(layer, batch.mask) for layer in layers], dim=1).numpy()
    return found


def _by_each_pooling(layer: Tensor, mask: Tensor) -> Tensor:
    """Return states (m, width, d) of which some are padding as vectors (m, poolings, d)."""
    import torch

    kept = mask[:, :, None]
    lengths = mask.sum(dim=1)  # padding is on the right
    mean = layer.masked_fill(~kept, 0).sum(dim=1) / lengths[:, None]
    largest = layer.masked_fill(~kept, -torch.inf).amax(dim=1)
    last = layer[torch.arange(len(layer)), lengths - 1]
    return torch.stack([mean, layer[:, 0], largest, last], dim=1)


def _cosines(pooled: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the cosine of each pair for each layer and pooling, (n_pairs, cells) float64; 0 with a zero vector."""
    found = []
    for start in range(0, len(first), _PAIRS_AT_ONCE):
        sides = [
            np.asarray(pooled[rows[start : start + _PAIRS_AT_ONCE]], np.float64).reshape(
                len(rows[start : start + _PAIRS_AT_ONCE]), -1, pooled.shape[-1]
            )
            for rows in (first, second)
        ]  # (m, cells, d)
        lengths = np.prod([np.linalg.norm(side, axis=-1) for side in sides], axis=0)
        found.append(np.einsum("mcd,mcd->mc", *sides) / np.where(lengths > 0, lengths, 1))
    return np.concatenate(found)
