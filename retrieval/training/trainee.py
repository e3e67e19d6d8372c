"""What a run trains: an encoder or a ranking network, and what differs between them beside the model itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from retrieval.errors import RecipeError
from retrieval.training.sampling import EpochBatches

_PASSAGES = {1: "single passages", 2: "pairs of passages"}


class TrainerParts(NamedTuple):
    """What a run gives a trainer.

    Attributes:
        loss: around the model.
        dataset: the examples.
        batches: rows of each batch.
        arguments: of transformers' `TrainingArguments`, by name.
        rates: learning rates of parameters whose names match a regular expression.
    """

    loss: nn.Module
    dataset: Any
    batches: EpochBatches
    arguments: Mapping[str, Any]
    rates: Mapping[str, float]


class Trainee(ABC):
    """A model in training.

    Attributes:
        model: what is trained.
    """

    model: Any

    @property
    @abstractmethod
    def kind(self) -> str:
        """What the report calls it: "dense", "sparse", or the kind of a ranking network."""

    @abstractmethod
    def loss(self, build_loss: Callable[..., nn.Module], settings: Mapping[str, Any], name: str) -> nn.Module:
        """Return the loss around the model.

        Args:
            build_loss: makes it.
            settings: of the loss.
            name: of the loss, for messages.

        Raises:
            RecipeError: it is for models of another kind.
        """

    @abstractmethod
    def trainer(self, parts: TrainerParts) -> Any:
        """Return a `RecipeTrainer` of transformers whose collator counts `texts` and those that are `full`."""

    def as_used(self) -> AbstractContextManager[None]:
        """Return a context in which the model reads what it will read when it is trained."""
        return nullcontext()

    def finish(self, trainer: Any) -> None:  # noqa: B027  # most have nothing to do
        """Make the model what it is for, once it has been trained."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the model."""


def check_passages(loss: nn.Module, passages_per_score: int, name: str, model: str) -> None:
    """Refuse a loss for scores of pairs of passages where scores are of single ones, and the other way round.

    Args:
        loss: says it by its attribute `passages_per_score`; without one it is for single passages.
        passages_per_score: of the model.
        name: of the loss, for the message.
        model: of the model, for the message.

    Raises:
        RecipeError: they differ.
    """
    wanted = getattr(loss, "passages_per_score", 1)
    if wanted != passages_per_score:
        raise RecipeError(
            f"loss {name!r} is for scores of {_PASSAGES[wanted]}, and model {model!r} scores "
            f"{_PASSAGES[passages_per_score]}"
        )


def training_arguments(kind: type[Any], settings: Mapping[str, Any], **more: Any) -> Any:
    """Return the arguments of a trainer, for one device.

    Args:
        kind: their class.
        settings: see `TrainerParts`.
        **more: what this class alone has.
    """
    arguments = kind(**settings, **more)
    arguments._n_gpu = min(arguments.n_gpu, 1)  # divided among several, a batch would lose negatives
    return arguments
