"""Where in a long text a passage may stand and still be found.

That an encoder accepts long texts does not say that it reads them to the end. The authors of LoCo put passages that
answer a question among passages that do not, at forty places: encoders for long texts found 82 of 100 at the beginning
and 1 of 100 at the end (Saad-Falcon, Fu, Arora, Guha & Ré 2024, arXiv 2402.07440, appendix A.7).

Here the text around the needles is the same in all documents of one length, so that nothing but the needles tells them
apart: a query has to find its needle's document among those of all needles at the same place. The text is cut at
sentences, and needles stand between two of them; `eval.experiments.token_documents` does the like with tokens, for
encoders whose network is at hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from eval.errors import MeasureError
from eval.probes.estimates import Estimate, bootstrap_means
from eval.probes.haystack import Document, Haystack, Needle
from eval.probes.texts import checked_texts, unit
from eval.tasks.text_vectors import TextVectors

if TYPE_CHECKING:
    from eval.outcome import Outcome
    from retrieval.encoders.base import Encoder

POSITIONS = (0.0, 0.25, 0.5, 0.75, 1.0)
LENGTHS = (128, 256, 512)

_DEPTH = 10  # of nDCG
_TIED = 1e-5
"""Share of the largest score by which equal vectors may differ after rounding in other batches."""


@dataclass(frozen=True)
class NeedleCell:
    """All needles in texts of one length, at one place.

    Attributes:
        length: tokens that were asked for; 0 for the passages alone.
        position: share of the other text that stands before the needle, as asked for.
        place: the same as it came out between sentences, mean over the needles.
        tokens: of the documents, special ones included, mean over the needles.
        read: how much of a needle stands before the encoder stops reading, mean over the needles.
        ndcg: nDCG@10, where only the needle's document is relevant; documents with equal scores share their ranks.
        reciprocal_rank: without a cut.
        similarity: of query and document: cosine, or inner product for an encoder that compares by it.
    """

    length: int
    position: float
    place: float
    tokens: float
    read: float
    ndcg: Estimate
    reciprocal_rank: Estimate
    similarity: Estimate


@dataclass(frozen=True)
class NeedlePositions:
    """What became of the needles.

    Attributes:
        alone: the passages without other text.
        cells: by length, then by position.
        n_needles: that were looked for, each among all.
        n_left_out: needles that are longer than the shortest length.
        settings: of encoder and draw.
    """

    alone: NeedleCell
    cells: list[NeedleCell]
    n_needles: int
    n_left_out: int
    settings: dict[str, Any]

    def outcome(self) -> Outcome:
        """Return this as a table for people."""
        from eval.outcome import Outcome

        rows = [
            [
                f"{each.length:,}" if each.length else "passage alone",
                f"{each.position:.2f}" if each.length else "",
                f"{each.place:.2f}" if each.length else "",
                f"{each.tokens:,.0f}",
                f"{each.read:.0%}",
                str(each.ndcg),
                str(each.reciprocal_rank),
                str(each.similarity),
            ]
            for each in (self.alone, *self.cells)
        ]
        limit = self.settings["max_tokens"]
        notes = [
            f"{self.n_needles:,} queries, each looks for its passage's document among those of all; the text around "
            "the passages is the same, so a random order is worth an nDCG@10 of "
            f"{float(np.mean(_gains(self.n_needles))):.3f}",
            "read: how much of a needle stands before the encoder stops reading, at "
            f"{'no limit' if limit is None else f'{limit:,} tokens'}; documents with equal scores share their ranks",
            "95 % intervals over needles resampled",
        ]
        if self.n_left_out:
            notes.append(f"{self.n_left_out:,} needles are longer than the shortest length and left out")
        columns = ["length", "position", "place", "tokens", "read", "nDCG@10", "RR", "similarity"]
        return Outcome("Needles by position and length", columns, rows, notes, asdict(self))


def measure_needles(
    encoder: Encoder,
    needles: Sequence[Needle],
    text: Sequence[str],
    *,
    positions: Sequence[float] = POSITIONS,
    lengths: Sequence[int] = LENGTHS,
    seed: int = 0,
) -> NeedlePositions:
    """Put needles at places of a text and look for them.

    Args:
        encoder: any.
        needles: two or more different passages with a query each.
        text: passages that answer none of the queries, in the order in which they surround the needles.
        positions: shares of the text that stand before the needle, 0 to 1.
        lengths: of the documents in tokens of the encoder, special ones included; a document is at most a sentence
            shorter.
        seed: of the resampling.

    Raises:
        MeasureError: needles, positions or lengths cannot be used, or the text is too short for the lengths.
        EncoderError: a text cannot be encoded.
    """
    _check_places(positions, lengths)
    queries = checked_texts([needle.query for needle in needles], "queries", least=1)
    passages = checked_texts([needle.passage for needle in needles], "needles")
    if len(set(passages)) < len(passages):
        raise MeasureError("two needles are the same passage, which no query can tell apart; leave one out")
    haystack = Haystack(encoder, text)
    sizes = haystack.sizes(passages)
    kept = np.flatnonzero(sizes + haystack.extra <= min(lengths)).tolist()
    if len(kept) < 2:
        raise MeasureError(
            f"{len(kept)} of {len(passages)} needles fit into {min(lengths)} tokens; give longer lengths or shorter "
            "passages"
        )
    asked = TextVectors(encoder, side="queries").encode([queries[row] for row in kept])
    found = [(0, 0.0, [Document(passages[row], 0, 0, int(sizes[row])) for row in kept])]
    found += [
        (length, position, [haystack.document(passages[row], int(sizes[row]), length, position) for row in kept])
        for length in lengths
        for position in positions
    ]
    vectors = TextVectors(encoder, side="passages").encode(
        [each.text for _, _, documents in found for each in documents]
    )
    cells = [
        _cell(encoder, documents, asked, each, where=(length, position), extra=haystack.extra, seed=seed)
        for (length, position, documents), each in zip(found, np.split(vectors, len(found)), strict=True)
    ]
    return NeedlePositions(
        alone=cells[0],
        cells=cells[1:],
        n_needles=len(kept),
        n_left_out=len(needles) - len(kept),
        settings={
            "max_tokens": encoder.max_tokens,
            "similarity": encoder.similarity,
            "seed": seed,
            "encoder": encoder.identity(),
        },
    )


def _check_places(positions: Sequence[float], lengths: Sequence[int]) -> None:
    if not positions or not all(0 <= each <= 1 for each in positions):
        raise MeasureError(f"positions must be shares from 0 to 1, not {list(positions)}")
    if not lengths or min(lengths) < 1:
        raise MeasureError(f"lengths must be at least 1 token, not {list(lengths)}")


def _cell(
    encoder: Encoder,
    documents: Sequence[Document],
    queries: np.ndarray,
    vectors: np.ndarray,
    *,
    where: tuple[int, float],
    extra: int,
    seed: int,
) -> NeedleCell:
    """Return what became of all needles at one place, from vectors (n, d) of queries and of documents."""
    sides = (queries, vectors)
    asked, found = (
        (unit(side, "needles") for side in sides)
        if encoder.similarity == "cosine"
        else (side.astype(np.float64) for side in sides)
    )
    scores = asked @ found.T  # (n, n), the query's own document on the diagonal
    own = np.diag(scores)[:, None]
    tolerance = _TIED * np.abs(scores).max()
    better = (scores > own + tolerance).sum(axis=1)
    tied = (np.abs(scores - own) <= tolerance).sum(axis=1)  # the document itself included
    values = np.array(
        [
            [
                _gains(int(b + t))[b:].mean(),
                (1 / np.arange(b + 1, b + t + 1)).mean(),
                score,
            ]
            for b, t, score in zip(better, tied, own[:, 0], strict=True)
        ]
    )  # (n, 3)
    ndcg, reciprocal_rank, similarity = bootstrap_means(values, seed)
    limit = encoder.max_tokens
    return NeedleCell(
        length=where[0],
        position=where[1],
        place=float(np.mean([each.before / each.other if each.other else 0 for each in documents])),
        tokens=float(np.mean([each.other + each.size + extra for each in documents])),
        read=float(np.mean([_read(each, None if limit is None else limit - extra) for each in documents])),
        ndcg=ndcg,
        reciprocal_rank=reciprocal_rank,
        similarity=similarity,
    )


def _read(document: Document, room: int | None) -> float:
    """Return which share of a needle's tokens is among the first `room` ones of its document."""
    if room is None or not document.size:
        return 1.0
    return min(max(room - document.before, 0) / document.size, 1.0)


def _gains(n: int) -> np.ndarray:
    """Return nDCG@10 of the only relevant document by its rank, (n,): the first rank is worth 1."""
    ranks = np.arange(1, n + 1)
    return np.where(ranks <= _DEPTH, 1 / np.log2(ranks + 1), 0)
