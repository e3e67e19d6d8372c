"""Hidden states of a backbone that does not learn, computed once, so that many heads can be trained on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

_BATCH = 64


class HiddenStates:
    """The token states of some layers for some texts, in mixed bf16.

    Args:
        transformer: a sentence-transformers `Transformer` that gives out all layers.
        texts: what it reads.
        layers: which states are kept: 0 is the output of the embeddings, i that of layer i.
    """

    def __init__(self, transformer: Any, texts: Sequence[str], layers: Sequence[int]) -> None:
        self._layers = tuple(layers)
        found: list[tuple[Tensor, dict[int, Tensor]]] = [(torch.empty(0), {})] * len(texts)
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            for start in range(0, len(order), _BATCH):
                rows = order[start : start + _BATCH]
                features = transformer(transformer.preprocess([texts[row] for row in rows]))
                every = features["all_layer_embeddings"]
                for place, row in enumerate(rows):
                    kept = features["attention_mask"][place].bool()
                    states = {layer: every[layer][place][kept].bfloat16() for layer in self._layers}
                    found[row] = features["input_ids"][place][kept], states
        self._texts = found

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self._texts)

    def features(self, rows: Sequence[int]) -> dict[str, Any]:
        """Return what a transformer gives out for these texts, one after the other without padding."""
        chosen = [self._texts[row] for row in rows]
        lengths = torch.tensor([0, *(len(ids) for ids, _ in chosen)])
        every = [
            torch.cat([states[layer] for _, states in chosen]).float() if layer in self._layers else None
            for layer in range(max(self._layers) + 1)
        ]
        return {
            "input_ids": torch.cat([ids for ids, _ in chosen]),
            "cu_seq_lens_q": lengths.cumsum(0),
            "all_layer_embeddings": every,
            "token_embeddings": every[-1],
        }

    def batches(self, limit: int | None = None) -> Iterator[dict[str, Any]]:
        """Yield the features of all texts in their order, or of at most the first of them."""
        end = len(self) if limit is None else min(limit, len(self))
        for start in range(0, end, _BATCH):
            yield self.features(range(start, min(start + _BATCH, end)))

    def means(self) -> Tensor:
        """Return the mean of each text's last states, (texts, H) float32, as mean pooling does."""
        last = self._layers[-1]
        return torch.stack([states[last].float().mean(0) for _, states in self._texts])

    def token_means(self, special_ids: Sequence[int]) -> Mapping[int, Tensor]:
        """Return the mean state of all tokens that are not special, (H,) for each layer."""
        special = torch.tensor(special_ids)
        kept = [~torch.isin(ids, special) for ids, _ in self._texts]
        return {
            layer: torch.cat([states[layer][of_text] for of_text, (_, states) in zip(kept, self._texts, strict=True)])
            .double()
            .mean(0)
            for layer in self._layers
        }
