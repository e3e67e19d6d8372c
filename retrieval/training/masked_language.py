"""Masked language modelling: which words of a text a model has to guess, and how well it does.

Whole words are chosen until a share of the text's tokens is reached, 30 % here (arXiv 2310.19923, 2402.07440). Each
chosen token is replaced: by the mask token in 80 % of the cases, by a random one in 10 %, and it stays in 10 %
(arXiv 1810.04805, section 3.1). A batch works with any transformers model for masked language modelling.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from retrieval.errors import EncoderError

IGNORED = -100
"""Label of a position where nothing is guessed; transformers' losses leave it out."""


class MaskedLanguageCollator:
    """Makes batches of texts with words to guess.

    Equal seeds and equal calls give equal batches; each worker process of a data loader draws numbers of its own.

    Args:
        tokenizer: a fast tokenizer of transformers with a mask token.
        rate: share of a text's tokens to choose, special tokens not counted.
        mask_share: of the chosen tokens, those that become the mask token.
        random_share: of the chosen tokens, those that become a random token that is not special.
        whole_words: choose words with all their tokens; otherwise tokens alone.
        max_tokens: longer texts are cut, special tokens included; by default what the tokenizer says.
        seed: of all choices.

    Raises:
        EncoderError: the tokenizer is not a fast one or has no mask token, or a share is out of range.
    """

    def __init__(
        self,
        tokenizer: Any,
        *,
        rate: float = 0.3,
        mask_share: float = 0.8,
        random_share: float = 0.1,
        whole_words: bool = True,
        max_tokens: int | None = None,
        seed: int = 0,
    ) -> None:
        if not getattr(tokenizer, "is_fast", False) or tokenizer.mask_token_id is None:
            raise EncoderError(f"{type(tokenizer).__name__} is no fast tokenizer with a mask token; masking needs both")
        if not (0 < rate <= 1 and min(mask_share, random_share) >= 0 and mask_share + random_share <= 1):
            raise EncoderError(
                f"rate {rate}, mask_share {mask_share} and random_share {random_share}: the rate is above 0 and at "
                "most 1, the shares are not negative and add up to at most 1"
            )
        self.tokenizer = tokenizer
        self.rate = rate
        self.mask_share = mask_share
        self.random_share = random_share
        self.whole_words = whole_words
        self.max_tokens = max_tokens
        self.seed = seed
        self._calls = 0
        special = set(tokenizer.all_special_ids)
        self._special = np.array(sorted(special), np.int64)
        self._ordinary = np.array([token for token in range(len(tokenizer)) if token not in special], np.int64)

    def __call__(self, examples: Sequence[str | Mapping[str, Any]]) -> dict[str, Any]:
        """Return a batch for a model.

        Args:
            examples: texts, or mappings with a "text".

        Returns:
            What the tokenizer gives as int64 tensors (batch, length), with the chosen tokens of `input_ids` replaced,
            and `labels`: the tokens that stood there, -100 elsewhere.

        Raises:
            EncoderError: no examples, or one without a text.
        """
        import torch

        encoded = self.tokenizer(
            [_text(example) for example in _some(examples)],
            truncation=True,
            max_length=self.max_tokens,
            padding=True,
            return_tensors="np",
        )
        ids = encoded["input_ids"].astype(np.int64)  # (batch, length)
        words = [encoded.word_ids(row) for row in range(len(ids))]
        ids, labels = self.masked(ids, words, self._generator())
        batch = {name: torch.from_numpy(np.asarray(value, np.int64)) for name, value in encoded.items()}
        return {**batch, "input_ids": torch.from_numpy(ids), "labels": torch.from_numpy(labels)}

    def masked(
        self, ids: np.ndarray, words: Sequence[Sequence[int | None]] | np.ndarray, random: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Choose and replace words of texts that are tokens already.

        Args:
            ids: (batch, length) int64, special tokens and padding included.
            words: the number of each token's word in its text, (batch, length); of special tokens anything.
            random: of all choices.

        Returns:
            The tokens with the chosen ones replaced, and the labels, (batch, length) int64 each.
        """
        ids = ids.copy()
        labels = np.full_like(ids, IGNORED)
        for row, tokens in enumerate(ids):
            numbers = _words(words[row], np.isin(tokens, self._special), whole=self.whole_words)
            chosen = choose_words(numbers, self.rate, random)
            labels[row, chosen] = tokens[chosen]
            tokens[chosen] = self._replaced(tokens[chosen], random)
        return ids, labels

    def _replaced(self, tokens: np.ndarray, random: np.random.Generator) -> np.ndarray:
        draws = random.random(len(tokens))
        others = random.choice(self._ordinary, len(tokens))
        masked = draws < self.mask_share
        replaced = masked | (draws < self.mask_share + self.random_share)
        return np.where(masked, self.tokenizer.mask_token_id, np.where(replaced, others, tokens))

    def _generator(self) -> np.random.Generator:
        from torch.utils.data import get_worker_info

        worker = get_worker_info()
        self._calls += 1
        return np.random.default_rng([self.seed, 0 if worker is None else worker.id + 1, self._calls])


def choose_words(words: np.ndarray, rate: float, random: np.random.Generator) -> np.ndarray:
    """Return positions to guess: whole words in random order, as long as they fit into the share.

    The share is rounded to whole tokens and at least one. A word that is too long for what is left of it is passed
    over; where all words are longer than the share, the first of the order is chosen, so that every text is learnt
    from.

    Args:
        words: (length,) int64, the number of the word that each token belongs to; -1 at tokens that are never chosen.
        rate: share of the tokens that belong to words.
        random: gives the order.

    Returns:
        (n,) int64 positions, ascending.
    """
    positions = np.flatnonzero(words >= 0)
    if not len(positions):
        return positions
    share = max(1, round(rate * len(positions)))
    numbers, sizes = np.unique(words[positions], return_counts=True)
    order = random.permutation(len(numbers))
    chosen: list[int] = []
    left = share
    for word in order.tolist():
        if sizes[word] <= left:
            chosen.append(word)
            left -= int(sizes[word])
        if not left:
            break
    return np.flatnonzero(np.isin(words, numbers[chosen or [int(order[0])]]))


@dataclass(frozen=True)
class MaskedLanguageScore:
    """How well a model guesses.

    Attributes:
        loss: mean cross-entropy in nats.
        accuracy: share of the tokens that it guesses right.
        n_tokens: tokens that it had to guess.
    """

    loss: float
    accuracy: float
    n_tokens: int

    @property
    def perplexity(self) -> float:
        """The exponential of the loss."""
        return math.exp(self.loss)


def masked_language_score(model: Any, batches: Iterable[Mapping[str, Any]]) -> MaskedLanguageScore:
    """Measure a model over batches; each token counts the same, whatever its batch.

    Args:
        model: a transformers model for masked language modelling; it is put into evaluation mode and back.
        batches: as `MaskedLanguageCollator` makes them.

    Raises:
        EncoderError: nothing to guess.
    """
    import torch

    training = model.training
    model.eval()
    loss, right, n_tokens = 0.0, 0, 0
    with torch.inference_mode():
        for batch in batches:
            moved = {name: value.to(model.device) for name, value in batch.items()}
            labels = moved.pop("labels")
            asked = labels != IGNORED
            logits = model(**moved).logits[asked].float()  # (n_asked, vocab_size)
            loss += float(torch.nn.functional.cross_entropy(logits, labels[asked], reduction="sum"))
            right += int((logits.argmax(dim=1) == labels[asked]).sum())
            n_tokens += len(logits)
    model.train(training)
    if not n_tokens:
        raise EncoderError("there is no token to guess in these batches")
    return MaskedLanguageScore(loss / n_tokens, right / n_tokens, n_tokens)


def _words(word_ids: Sequence[int | None] | np.ndarray, special: np.ndarray, *, whole: bool) -> np.ndarray:
    """Return the word of each token, -1 at special tokens and padding, (length,) int64."""
    words = np.array([-1 if word is None else word for word in word_ids], np.int64)
    if not whole:
        words = np.where(words < 0, -1, np.arange(len(words)))
    return np.where(special, -1, words)  # a special token can stand in the text itself


def _some(examples: Sequence[Any]) -> Sequence[Any]:
    if not len(examples):
        raise EncoderError("a batch needs at least one text")
    return examples


def _text(example: str | Mapping[str, Any]) -> str:
    text = example.get("text") if isinstance(example, Mapping) else example
    if not isinstance(text, str):
        raise EncoderError(f"{example!r:.80} is neither a text nor a mapping with a 'text'")
    return text
