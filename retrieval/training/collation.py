"""From examples to a batch of tokens: both views of a sentence are made here, once for each epoch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sentence_transformers.base.data_collator import BaseDataCollator

from retrieval.training.augmentation import generator_for, mask_span
from retrieval.training.recipe import Recipe
from retrieval.training.sampling import EpochBatches


@dataclass
class TrainingCollator(BaseDataCollator):
    """sentence-transformers' collator, with a second view of each raw sentence.

    Args:
        max_tokens: tokens of a text that the model reads; None where there is no limit.
        recipe: says whether and how sentences are masked.
        batches: knows the epoch, of which a view depends beside seed and text.
    """

    max_tokens: int | None = None
    recipe: Recipe = field(default_factory=lambda: Recipe(name="pairs"))
    batches: EpochBatches | None = None
    texts: int = field(default=0, init=False)
    """Texts that went into batches."""
    full: int = field(default=0, init=False)
    """Of these, how many have as many tokens as are read; longer ones were cut."""

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the tokens of each column, and the labels."""
        if self.recipe.data == "sentences":
            features = [{"text": row["text"], "copy": self._view(row["text"])} for row in features]
        batch = super().__call__(features)
        for name, mask in batch.items():
            if name.endswith("attention_mask"):
                self.texts += len(mask)
                self.full += int((mask.sum(dim=1) >= (self.max_tokens or float("inf"))).sum())
        return batch

    def _view(self, text: str) -> str:
        if not self.recipe.span_characters:
            return text
        epoch = self.batches.epoch if self.batches is not None else 0
        generator = generator_for(self.recipe.seed, epoch, text)
        return mask_span(text, self.recipe.span_characters, generator, self.recipe.span_minimum)
