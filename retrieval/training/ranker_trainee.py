"""Rerankers in training: ranking networks, over tuples of a query, a positive and negatives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn
from transformers import TrainingArguments

from retrieval.errors import RecipeError
from retrieval.models.rankers.base import RankingNetwork
from retrieval.training.data.sources import Source
from retrieval.training.ranker_trainer import RankerTrainer
from retrieval.training.ranking_collation import RankingCollator
from retrieval.training.ranking_loss import RankingLoss
from retrieval.training.recipe import Recipe
from retrieval.training.trainee import Trainee, TrainerParts, check_passages, training_arguments

_DATA = ("tuples", "scored_tuples")


class RankerTrainee(Trainee):
    """A ranking network in training.

    Args:
        model: as its builder returns it.
        recipe: what is done with it.
        sources: of the examples.

    Raises:
        RecipeError: a setting is for encoders, or there are no negatives to compare with.
    """

    model: RankingNetwork

    def __init__(self, model: RankingNetwork, recipe: Recipe, sources: Sequence[Source]) -> None:
        self.model = model
        self._recipe = recipe
        if recipe.data not in _DATA:
            raise RecipeError(
                f"model {recipe.model!r} is a reranker, which is trained on tuples, not on {recipe.data}; set data"
            )
        if recipe.negatives < 1:
            raise RecipeError("a reranker is trained on positives and negatives; set negatives to 1 or more")
        for name in ("max_tokens", "encoder_tokens"):
            if getattr(recipe, name):
                raise RecipeError(
                    f"{name} is {getattr(recipe, name)}, but is for encoders; what a reranker reads is set in "
                    "model_settings"
                )
        instructed = next((source.name for source in sources if source.instruction_for(recipe)), None)
        if instructed is not None:
            raise RecipeError(
                f"the queries of {instructed} have an instruction, which a reranker does not see; leave it out"
            )

    @property
    def kind(self) -> str:
        """The network's."""
        return self.model.kind

    def loss(self, build_loss: Callable[..., nn.Module], settings: Mapping[str, Any], name: str) -> nn.Module:
        """Return the loss around the network.

        Raises:
            RecipeError: it is one for encoders, or for networks that score other numbers of passages.
        """
        for_encoders = f"loss {name!r} is for encoders, and model {self._recipe.model!r} is a reranker"
        try:
            loss = build_loss(self.model, **settings)
        except AttributeError as error:  # it asked the network for something that encoders have
            raise RecipeError(f"{for_encoders} ({error})") from error
        if not isinstance(loss, RankingLoss):
            raise RecipeError(for_encoders)
        check_passages(loss, self.model.passages_per_score, name, self._recipe.model)
        return loss

    def trainer(self, parts: TrainerParts) -> Any:
        """Return transformers' trainer, as this package has it."""
        return RankerTrainer(
            model=self.model,
            args=training_arguments(TrainingArguments, parts.arguments),
            train_dataset=parts.dataset,
            data_collator=RankingCollator(self.model),
            loss=parts.loss,
            batches=parts.batches,
            rates=parts.rates,
        )

    def finish(self, trainer: Any) -> None:
        """Let the network compute as it will when it is loaded, without mixed precision."""
        trainer.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)

    def save(self, folder: Path) -> None:
        """Write the network's folder."""
        self.model.save(folder)
