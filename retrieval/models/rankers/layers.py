"""A classifier of BERT's kind, one layer at a time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from retrieval.errors import RerankerError
from retrieval.rerankers.first_token import ATTENTION, MODELS, FirstTokenLayer, head_logits


class LayeredClassifier:
    """The parts of a classifier between which a row may leave it; in the end the logits are those of the whole.

    The last layer is computed for the first token alone, as the head reads no other.

    Args:
        model: of transformers; its modules are shared.

    Attributes:
        layers: from states (n, length, hidden) and a mask to states; of the last one (n, 1, hidden).

    Raises:
        RerankerError: its layers are not known to be BERT's, or do not add up to the model.
    """

    def __init__(self, model: Any) -> None:
        name = type(model).__name__
        if name not in MODELS or model.config._attn_implementation not in ATTENTION or model.config.is_decoder:
            raise RerankerError(
                f"a {name} cannot be left after a layer; those that can are {', '.join(sorted(MODELS))}, with "
                f"attention {' or '.join(ATTENTION)}"
            )
        *before, last = model.base_model.encoder.layer
        self.layers: list[Any] = [*before, FirstTokenLayer(last)]
        self._model = model
        if not self._agrees():
            raise RerankerError(f"the layers of this {name} do not add up to its logits; its library has changed")

    def first_states(self, features: dict[str, Any]) -> tuple[Tensor, Tensor | None]:
        """Return the embeddings, (n, length, hidden), and the mask that the layers take.

        Args:
            features: `input_ids`, and where there are any `attention_mask` and `token_type_ids`, (n, length).
        """
        from transformers.masking_utils import create_bidirectional_mask

        base = self._model.base_model
        segments = {name: features[name] for name in ("token_type_ids",) if name in features}
        states = base.embeddings(input_ids=features["input_ids"], **segments)
        if hasattr(base, "embeddings_project"):
            states = base.embeddings_project(states)
        mask = create_bidirectional_mask(
            config=base.config, inputs_embeds=states, attention_mask=features.get("attention_mask")
        )
        return states, mask

    def logits(self, states: Tensor) -> Tensor:
        """Return the head's logits, (n, labels), of the last layer's states."""
        return head_logits(self._model, states)

    def _agrees(self) -> bool:
        model = self._model
        ids = torch.arange(1, 9, device=model.device).reshape(2, 4) % model.config.vocab_size
        tolerance = 1e-4 if model.dtype == torch.float32 else 0.1
        was_training = model.training
        model.eval()
        with torch.inference_mode():
            features = {"input_ids": ids, "attention_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]]).to(ids)}
            expected = model(**features).logits.float()
            states, mask = self.first_states(features)
            for layer in self.layers:
                states = layer(states, mask)
            found = self.logits(states).float()
        model.train(was_training)
        return torch.allclose(found, expected, rtol=tolerance, atol=tolerance)
