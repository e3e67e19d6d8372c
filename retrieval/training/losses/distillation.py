"""An encoder learns to give the vectors of another one, from texts without labels.

The vectors of the texts (Reimers and Gurevych, arXiv 2004.09813, with the cosine for their squared error) and, where
both networks are of one shape, the states of all tokens in all layers (TinyBERT, arXiv 1909.10351, section 3).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from retrieval.encoders.embedded import EMBEDDED
from retrieval.errors import RecipeError

DATA = ("sentences",)


def vector_distance(vectors: Tensor, wanted: Tensor) -> Tensor:
    """Return the mean of 1 - cosine of the rows of two (batch, d) tensors; a scalar."""
    return (1 - nn.functional.cosine_similarity(vectors, wanted, dim=-1)).mean()


def state_distance(states: Tensor, wanted: Tensor, mask: Tensor) -> Tensor:
    """Return the squared error of token states as a part of what is wanted; a scalar, 1 for states of 0.

    Args:
        states: (batch, length, d).
        wanted: (batch, length, d).
        mask: (batch, length), not zero at tokens.
    """
    kept = mask.bool()
    return (states[kept] - wanted[kept]).square().sum() / wanted[kept].square().sum()


class DistillationLoss(nn.Module):
    """Compares an encoder's vectors and states with a teacher's on the same tokens.

    Args:
        model: the encoder to train.
        teacher: a sentence-transformers model with the same tokenizer; it is left as it is.
        vectors: what the distance of the texts' vectors counts.
        states: what the mean distance of the layers' states counts.
        precision: of the teacher, "fp32" or "bf16" (mixed).

    Raises:
        RecipeError: the teacher reads other tokens, or its states cannot be compared.
    """

    def __init__(
        self, model: Any, teacher: Any, *, vectors: float = 1.0, states: float = 1.0, precision: str = "fp32"
    ) -> None:
        super().__init__()
        self.model = model
        # Not a part of this module: its parameters are not trained, and a trainer would put the model in its place.
        self._teacher = (teacher.eval().requires_grad_(False),)
        self._vectors, self._states = vectors, states
        self._precision = precision
        if teacher.tokenizer.get_vocab() != model.tokenizer.get_vocab():
            raise RecipeError("teacher in loss_settings has another vocabulary than the model to be trained")
        first, second = teacher[0].model.config, model[0].model.config
        shapes = [(config.num_hidden_layers, config.hidden_size) for config in (first, second)]
        if states and shapes[0] != shapes[1]:
            raise RecipeError(
                f"the teacher has {shapes[0][0]} layers of {shapes[0][1]}, the model {shapes[1][0]} of {shapes[1][1]}: "
                "their states cannot be compared; set states = 0 in loss_settings"
            )
        if vectors and teacher.get_embedding_dimension() != model.get_embedding_dimension():
            raise RecipeError(
                f"the teacher's vectors have {teacher.get_embedding_dimension()} numbers, the model's "
                f"{model.get_embedding_dimension()}; take another teacher or vectors = 0 in loss_settings"
            )
        for each in (first, second):
            each.output_hidden_states = bool(states)

    def forward(self, sentence_features: Iterable[dict[str, Any]], labels: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Return the loss of a batch, over its first column; labels are not looked at."""
        features = next(iter(sentence_features))
        mask = features["attention_mask"]
        (teacher,) = self._teacher
        teacher.to(mask.device)
        with (
            torch.no_grad(),
            torch.autocast(mask.device.type, dtype=torch.bfloat16, enabled=self._precision == "bf16"),
        ):
            wanted = teacher(dict(features))
        found = self.model(dict(features))
        loss = torch.zeros((), device=mask.device)
        if self._vectors:
            distance = vector_distance(found["sentence_embedding"].float(), wanted["sentence_embedding"].float())
            loss = loss + self._vectors * distance
        if self._states:
            layers = list(zip(found["all_layer_embeddings"], wanted["all_layer_embeddings"], strict=True))
            distances = [state_distance(state.float(), goal.float(), mask) for state, goal in layers]
            loss = loss + self._states * torch.stack(distances).mean()
        return loss

    def after_training(self, _texts: list[str]) -> None:
        """Let the trained encoder give its last states alone."""
        self.model[0].model.config.output_hidden_states = False


def build_loss(
    model: Any,
    *,
    teacher: str = EMBEDDED,
    vectors: float = 1.0,
    states: float = 1.0,
    precision: Literal["fp32", "bf16"] = "fp32",
) -> nn.Module:
    """Return the loss over batches of texts.

    Args:
        model: a sentence-transformers model.
        teacher: "embedded", or another encoder by path or name, as builders take backbones.
        vectors: see `DistillationLoss`, like the next two.
        states: see there.
        precision: see there.

    Raises:
        RecipeError: see there.
        EncoderError: there is no such teacher.
    """
    from retrieval.training.builders import encoder

    return DistillationLoss(
        model, encoder.build_model(backbone=teacher), vectors=vectors, states=states, precision=precision
    )
