"""A pointwise reranker whose off-ramps are trained: stage two of DeeBERT (arXiv 2004.12993, section 3).

Stage one is a trained cross-encoder. It stays as it is, to the bit: only the off-ramps learn.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from retrieval.models.rankers.layers import LayeredClassifier
from retrieval.models.rankers.mono import MonoNetwork, margin
from retrieval.models.rankers.off_ramps import load_off_ramps, new_off_ramps, save_off_ramps
from retrieval.rerankers.model_loading import reranker_folder


class EarlyExitNetwork(MonoNetwork):
    """A frozen `MonoNetwork` with off-ramps; its score is the whole model's.

    Args:
        model: of transformers, for sequence classification, of BERT's kind, trained.
        tokenizer: of transformers, a fast one.
        ramps: as `load_off_ramps` reads them; None starts new ones from the model's head.
        **budgets: `query_tokens` and `max_tokens`, as in `MonoNetwork`.

    Raises:
        RerankerError: the model's layers are not known to be BERT's, or it is refused by `MonoNetwork`.
    """

    def __init__(
        self, model: Any, tokenizer: Any, *, ramps: nn.ModuleList | None = None, **budgets: int | None
    ) -> None:
        super().__init__(model, tokenizer, **budgets)
        self._layered = LayeredClassifier(model)
        self.ramps = new_off_ramps(model) if ramps is None else ramps
        self.model.requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        """Switch the off-ramps' dropout on or off; the model's own stays off, for it does not learn."""
        super().train(mode)
        self.model.eval()
        return self

    def ramp_scores(self, features: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Return the scores of all off-ramps, (off-ramps, n), with gradients, and of the whole model, (n,), without."""
        scores = []
        with torch.no_grad():
            states, mask = self._layered.first_states(features)
        *before, last = self._layered.layers
        for layer, ramp in zip(before, self.ramps, strict=True):
            with torch.no_grad():
                states = layer(states, mask)
            scores.append(margin(ramp(states)))
        with torch.no_grad():
            whole = margin(self._layered.logits(last(states, mask)))
        return torch.stack(scores), whole

    def save(self, folder: str | Path) -> None:
        """Write the folder of the classifier, and the off-ramps beside it."""
        super().save(folder)
        save_off_ramps(Path(folder), self.ramps)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read a folder of `save`.

        Raises:
            RerankerError: it cannot be loaded safely and completely, or has no off-ramps.
        """
        place, _ = reranker_folder(folder)
        plain = MonoNetwork.load(folder)
        return cls(
            plain.model,
            plain.tokenizer,
            ramps=load_off_ramps(place, plain.model),
            query_tokens=plain.query_tokens,
            max_tokens=plain.max_tokens,
        )
