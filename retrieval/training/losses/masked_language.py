"""Masked language modelling: the encoder guesses whole words that were taken out of a text (pre-training).

30 % of the tokens, as Jina Embeddings 2 (arXiv 2310.19923) and M2-BERT (arXiv 2402.07440) do; see
`retrieval.training.masked_language`. The head is that of BERT (arXiv 1810.04805): a linear layer, GELU, LayerNorm and
the word embeddings. It is trained along and dropped afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from retrieval.errors import RecipeError
from retrieval.training.masked_language import IGNORED, MaskedLanguageCollator

DATA = ("sentences",)


class MaskedLanguageLoss(nn.Module):
    """Masks the first column of a batch and guesses.

    What is masked is drawn from torch's generator, which a resumed run sets to where it was.

    Args:
        model: a sentence-transformers model over a transformer.
        rate: share of a text's tokens to guess.
        whole_words: take out words with all their tokens; otherwise tokens alone.

    Raises:
        RecipeError: words cannot be told from tokens, or the states have another width than the word embeddings.
    """

    def __init__(self, model: Any, *, rate: float = 0.3, whole_words: bool = True) -> None:
        super().__init__()
        self.model = model
        self._masking = MaskedLanguageCollator(model.tokenizer, rate=rate, whole_words=whole_words)
        self._continues = continuing_tokens(model.tokenizer) if whole_words else None
        vocabulary, size = model[0].model.get_input_embeddings().weight.shape
        if size != model[0].get_embedding_dimension():
            raise RecipeError(
                f"the backbone's states have {model[0].get_embedding_dimension()} numbers and its word embeddings "
                f"{size}; masked-language needs as many of both"
            )
        first = nn.Linear(size, size)
        nn.init.normal_(first.weight, std=getattr(model[0].model.config, "initializer_range", 0.02))
        nn.init.zeros_(first.bias)
        self.transform = nn.Sequential(first, nn.GELU(), nn.LayerNorm(size, eps=1e-12))
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        self._half = False
        self._loss, self._right, self._tokens = 0.0, 0, 0

    def forward(self, sentence_features: Iterable[dict[str, Any]], labels: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Return the mean cross-entropy in nats over the tokens to guess; labels are not looked at."""
        features = dict(next(iter(sentence_features)))
        ids = features["input_ids"].cpu().numpy()
        random = np.random.default_rng(int(torch.randint(1 << 62, ())))
        words = np.zeros_like(ids) if self._continues is None else word_numbers(ids, self._continues)
        replaced, wanted = self._masking.masked(ids, words, random)
        asked = torch.from_numpy(wanted != IGNORED)
        device = features["input_ids"].device
        features["input_ids"] = torch.from_numpy(replaced).to(device)
        states = self.model(features)["token_embeddings"][asked.to(device)].float()  # (n_asked, d)
        words = self.model[0].model.get_input_embeddings().weight  # (vocabulary, d)
        scores = nn.functional.linear(self.transform(states), words.float(), self.bias)
        targets = torch.from_numpy(wanted)[asked].to(device)
        loss = nn.functional.cross_entropy(scores, targets)
        if self._half:
            self._tokens += len(targets)
            self._loss += float(loss.detach()) * len(targets)
            self._right += int((scores.argmax(dim=1) == targets).sum())
        return loss

    def begin_step(self, step: int, steps: int) -> None:
        """Count guesses in the second half of training."""
        self._half = 2 * step >= steps

    def notes(self) -> dict[str, Any]:
        """Return how well words were guessed in the second half of training, dropout included."""
        n = max(self._tokens, 1)
        return {"guessed tokens": self._tokens, "accuracy": self._right / n, "mean loss": self._loss / n}


def continuing_tokens(tokenizer: Any) -> np.ndarray:
    """Tell of each token of a WordPiece vocabulary whether it goes on with a word, (largest token + 1,) bool.

    Raises:
        RecipeError: the vocabulary is of another kind.
    """
    model = getattr(getattr(tokenizer, "backend_tokenizer", None), "model", None)
    prefix = getattr(model, "continuing_subword_prefix", None)
    if type(model).__name__ != "WordPiece" or not prefix:
        raise RecipeError(
            f"whole words are known of WordPiece vocabularies (BERT's), not of {type(model).__name__}; "
            "set whole_words = false in loss_settings"
        )
    vocabulary = tokenizer.get_vocab()
    continues = np.zeros(max(vocabulary.values()) + 1, bool)
    for token, number in vocabulary.items():
        continues[number] = token.startswith(prefix) and len(token) > len(prefix)
    return continues


def word_numbers(ids: np.ndarray, continues: np.ndarray) -> np.ndarray:
    """Number the words of texts by their tokens, (batch, length) int64, each text from 0 or 1 on.

    Args:
        ids: (batch, length); special tokens are words of their own.
        continues: see `continuing_tokens`.
    """
    return np.cumsum(~continues[ids], axis=1)


def build_loss(model: Any, *, rate: float = 0.3, whole_words: bool = True) -> nn.Module:
    """Return the loss over batches of texts, see `MaskedLanguageLoss`.

    Raises:
        RecipeError: see there; or the rate is not between 0 and 1.
    """
    if not 0 < rate <= 1:
        raise RecipeError(f"rate in loss_settings is {rate}, but must be above 0 and at most 1")
    return MaskedLanguageLoss(model, rate=rate, whole_words=whole_words)
