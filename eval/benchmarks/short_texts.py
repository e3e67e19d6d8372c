"""Many short texts to index: real ones, or generated ones whose words and lengths are distributed like real ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eval.errors import EvaluationError

REAL_FOLDERS = ("wordnet-senses", "debian-packages", "vaswani", "nq-qed", "lisa")
"""Collections of short texts, read in this order until there are enough."""

_FITTED_TO = "debian-packages"
_LETTERS = np.array(list("etaoinshrdlucmfwygpbvkxqjz"))  # in the order of their frequency in English


@dataclass(frozen=True)
class WordModel:
    """Words drawn one by one, independently, and text lengths drawn from those seen.

    Attributes:
        words: vocabulary.
        probabilities: (n_words,) float64, sum 1.
        lengths: numbers of words of real texts, (n_texts,) int64; a generated text takes one of them.
    """

    words: list[str]
    probabilities: np.ndarray
    lengths: np.ndarray

    @classmethod
    def fitted(cls, texts: Iterable[str]) -> WordModel:
        """Take over vocabulary, word frequencies and lengths from real texts."""
        counts: Counter[str] = Counter()
        lengths = []
        for text in texts:
            words = text.split()
            counts.update(words)
            lengths.append(len(words))
        if not counts:
            raise EvaluationError("cannot fit a word model: the texts hold no words")
        frequencies = np.array(list(counts.values()), dtype=np.float64)
        return cls(list(counts), frequencies / frequencies.sum(), np.array(lengths))

    @classmethod
    def zipfian(cls, n_words: int = 100_000, exponent: float = 1.1, shift: float = 2.7, seed: int = 0) -> WordModel:
        """Invent words with Zipf-Mandelbrot frequencies, p(rank) ~ (rank + shift)^-exponent, and log-normal lengths.

        Use it where there are no real texts. Source: Mandelbrot (1953), "An informational theory of the statistical
        structure of languages".
        """
        random = np.random.default_rng(seed)
        letters = 1.0 / np.arange(1, len(_LETTERS) + 1)
        words: dict[str, None] = {}
        while len(words) < n_words:
            drawn = random.choice(_LETTERS, size=(n_words, 9), p=letters / letters.sum())
            sizes = random.integers(3, 10, size=n_words)
            words.update(dict.fromkeys("".join(row[:size]) for row, size in zip(drawn, sizes, strict=True)))
        weights = (np.arange(1, n_words + 1) + shift) ** -exponent
        lengths = np.maximum(1, random.lognormal(mean=3.2, sigma=0.6, size=10_000)).astype(np.int64)
        return cls(list(words)[:n_words], weights / weights.sum(), lengths)

    def sample(self, n: int, seed: int = 0, block: int = 10_000) -> Iterator[str]:
        """Yield n texts, the same for the same seed."""
        random = np.random.default_rng(seed)
        words = np.array(self.words, dtype=object)
        cumulative = np.cumsum(self.probabilities)
        for start in range(0, n, block):
            lengths = random.choice(self.lengths, size=min(block, n - start))
            # Searching in the cumulative sum draws as `choice` does, without its check of p for every block.
            drawn = np.searchsorted(cumulative, random.random(int(lengths.sum())) * cumulative[-1], side="right")
            texts = words[np.minimum(drawn, len(words) - 1)]
            for end, length in zip(np.cumsum(lengths), lengths, strict=True):
                yield " ".join(texts[end - length : end])


def short_texts(n: int, source: str, data: Path, seed: int = 0) -> list[str]:
    """Return n short texts.

    Args:
        n: how many.
        source: "real" for those of `REAL_FOLDERS`, in order; "synthetic" for generated ones, fitted to real texts where
            the data folder has them.
        data: folder of test collections.
        seed: of the generated ones.

    Raises:
        EvaluationError: the source is unknown, or the real texts are missing or too few.
    """
    if source == "synthetic":
        return list(word_model(data).sample(n, seed))
    if source != "real":
        raise EvaluationError(f"unknown source of texts {source!r}: 'real' or 'synthetic'")
    texts: list[str] = []
    for folder in REAL_FOLDERS:
        for text in _corpus(data / folder):
            if len(texts) == n:
                return texts
            texts.append(text)
    if len(texts) < n:
        raise EvaluationError(
            f"{data} has only {len(texts):,} short texts, not {n:,}; take fewer or source 'synthetic'"
        )
    return texts


def word_model(data: Path) -> WordModel:
    """Return the model of the synthetic texts: fitted to real ones, or invented where the data folder has none."""
    if (data / _FITTED_TO).is_dir():
        return WordModel.fitted(_corpus(data / _FITTED_TO))
    return WordModel.zipfian()


def _corpus(folder: Path) -> Iterator[str]:
    from retrieval.documents import read_documents

    return (document.full_text for document in read_documents(folder, format="beir"))
