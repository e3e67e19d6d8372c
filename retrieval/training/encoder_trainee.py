"""Encoders in training: sentence-transformers models, dense and sparse ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sentence_transformers import SentenceTransformer
from torch import nn

from retrieval.encoders.model_loading import set_max_tokens
from retrieval.encoders.sentence_transformer import prompts_of
from retrieval.training.collation import TrainingCollator
from retrieval.training.data.sources import INSTRUCTION, Source
from retrieval.training.recipe import Recipe
from retrieval.training.trainee import Trainee, TrainerParts, check_passages, training_arguments
from retrieval.training.trainer import trainer_class

_NO_TEXTS = ("label", "score", "scores")


class EncoderTrainee(Trainee):
    """A sentence-transformers model in training.

    Args:
        model: as its builder returns it; it gets the recipe's lengths and prompts.
        recipe: what is done with it.
        sources: of the examples; they say how queries are instructed.

    Raises:
        EncoderError: the model has not as many positions as the recipe wants it to read.
    """

    def __init__(self, model: Any, recipe: Recipe, sources: Sequence[Source]) -> None:
        self.model = model
        self._recipe = recipe
        self._prompts = _prepare(model, recipe, sources)

    @property
    def kind(self) -> str:
        """Dense or sparse."""
        return "dense" if isinstance(self.model, SentenceTransformer) else "sparse"

    def loss(self, build_loss: Callable[..., nn.Module], settings: Mapping[str, Any], name: str) -> nn.Module:
        """Return the loss around the model.

        Raises:
            RecipeError: it is one for networks that compare two passages.
        """
        loss = build_loss(self.model, **settings)
        check_passages(loss, 1, name, self._recipe.model)
        return loss

    def trainer(self, parts: TrainerParts) -> Any:
        """Return sentence-transformers' trainer, as this package has it."""
        kind = trainer_class(self.model)
        collator = TrainingCollator(
            preprocess_fn=self.model.preprocess,
            max_tokens=self.model.max_seq_length,
            recipe=self._recipe,
            batches=parts.batches,
            prompts={
                name: self._prompts["query" if name == "query" else "document"]
                for name in parts.dataset.column_names
                if name not in _NO_TEXTS
            },
        )
        trainer = kind(
            model=self.model,
            args=training_arguments(kind.training_args_class, parts.arguments, learning_rate_mapping=dict(parts.rates)),
            train_dataset=parts.dataset,
            loss=parts.loss,
            data_collator=collator,
        )
        trainer.batches = parts.batches
        return trainer

    @contextmanager
    def as_used(self) -> Iterator[None]:
        """Let the model read as many tokens as the trained one will.

        Raises:
            EncoderError: it has not as many positions; better now than when training is done.
        """
        in_training = self.model.max_seq_length
        if self._recipe.encoder_tokens:
            set_max_tokens(self.model, self._recipe.encoder_tokens)
        yield
        if self._recipe.encoder_tokens:
            self.model.max_seq_length = in_training

    def finish(self, trainer: Any) -> None:  # noqa: ARG002
        """Set how many tokens the encoder reads from now on."""
        if self._recipe.encoder_tokens:
            set_max_tokens(self.model, self._recipe.encoder_tokens)

    def save(self, folder: Path) -> None:
        """Write a sentence-transformers folder."""
        self.model.save_pretrained(str(folder), create_model_card=False)


def _prepare(model: Any, recipe: Recipe, sources: Sequence[Source]) -> dict[str, str]:
    """Set what the recipe says about lengths, and tell the model the prompt of its queries.

    Returns:
        What stands before "query" and "document" texts in training: the prompts of the backbone, as the trained encoder
        will put them there; nothing where the queries were read with instructions, which then are the prompts.
    """
    if recipe.max_tokens:
        set_max_tokens(model, recipe.max_tokens)
    instructions = {source.instruction_for(recipe) for source in sources}
    if instructions == {""}:
        own = prompts_of(model)
        return {"query": own["query"], "document": own["document"]}
    texts = {source.name: source.instruction_for(recipe) for source in sources}
    if len(instructions) == 1:
        texts = {"query": instructions.pop()}
    prompts = {name: INSTRUCTION.format(instruction=text, query="") for name, text in texts.items() if text}
    model.prompts = {**model.prompts, "document": "", **prompts}
    return {"query": "", "document": ""}
