"""Unlabelled sentences that no measured pair holds, and the plain backbone that studies of sentences begin from.

Sentences: SNLI's premises and hypotheses (dev and test, labels unused), and the sentences of the passages of squad11,
nq-qed and msmarco-dl19, of 30 to 80 characters, without all that stand in STS 2012 to 2016 or STSb, compared by
`normal_form`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from eval.experiments.options import Options
from eval.experiments.plain_backbone import MaskedLanguageTraining, masked_language_backbone
from eval.scored_pairs import normal_form, read_scored_pairs, sentences_of, sts_years
from eval.testsets import read_testset
from retrieval.documents.report import ReadReport
from retrieval.encoders.embedded import embedded_folder
from retrieval.training.data.rows import read_rows

_LENGTHS = range(30, 81)
_PASSAGES = ("squad11", "nq-qed", "msmarco-dl19")
_SPLITS = ("train", "dev", "test")
_TRAINING = MaskedLanguageTraining(steps=600, batch_size=32, learning_rate=1e-4)


@dataclass(frozen=True)
class PlainStart:
    """The plain backbone.

    Attributes:
        folder: of a transformers model.
        description: what was done to it, for the notes of an outcome.
        seconds: wall time of its training.
    """

    folder: Path
    description: str
    seconds: float


def plain_start(options: Options) -> PlainStart:
    """Take the tuning away from all-MiniLM-L6-v2, once for each workspace; see `plain_backbone`."""
    training = replace(_TRAINING, steps=options.scaled(_TRAINING.steps))
    folder = options.workspace / "plain"
    report = masked_language_backbone(embedded_folder(), measured_free(options.data), folder, training)
    return PlainStart(
        folder,
        f"all-MiniLM-L6-v2's transformer after {training.steps} steps of {training.batch_size} sentences of "
        f"masked-language training with a new head: learning rate {training.learning_rate}, {training.max_tokens} "
        f"tokens, 30 % masked, seed {training.seed}, {report['seconds']:.0f} s; then it guesses "
        f"{report['accuracy']:.1%} of masked tokens of unseen sentences (loss {report['loss']:.2f})",
        report["seconds"],
    )


def measured_free(data: Path) -> list[str]:
    """Return the unlabelled sentences in a fixed random order, none of STS 2012 to 2016 or of any split of STSb."""
    stsb = [read_scored_pairs(data / "stsb" / f"{split}.tsv.gz", split) for split in _SPLITS]
    return unlabelled(_candidates(data), sentences_of([*sts_years(data), *stsb]))


def unlabelled(candidates: Iterable[str], measured: Iterable[str]) -> list[str]:
    """Return sentences of 30 to 80 characters, in a fixed random order, without those measured and repetitions.

    Args:
        candidates: sentences.
        measured: what must not be among them, compared by `normal_form`.
    """
    taken = {normal_form(sentence) for sentence in measured}
    found: dict[str, str] = {}
    for sentence in candidates:
        form = normal_form(sentence)
        if len(sentence) in _LENGTHS and form not in taken:
            found.setdefault(form, sentence)
    sentences = list(found.values())
    random.Random(0).shuffle(sentences)
    return sentences


def _candidates(data: Path) -> Iterator[str]:
    for split in ("dev", "test"):
        for _, row in read_rows(data / "snli-devtest" / f"{split}.tsv.gz", ReadReport()):
            yield str(row["sentence1"])
            yield str(row["sentence2"])
    for name in _PASSAGES:
        for document in read_testset(data / name, "test").corpus or ():
            yield from re.split(r"(?<=[.!?])\s+", document.text or "")
