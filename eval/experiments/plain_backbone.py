"""A backbone without sentence training: a tuned encoder whose transformer goes back to guessing masked words.

Where only a tuned encoder is to be had, self-supervised recipes have nothing left to show. Masked-language training
with a new head takes the tuning away; how far is measured by who uses it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from retrieval.errors import TrainingError
from retrieval.training.masked_language import IGNORED, MaskedLanguageCollator, masked_language_score

_REPORT = "masked_language.json"
_HELD_OUT = 256


@dataclass(frozen=True)
class MaskedLanguageTraining:
    """How a backbone goes back to masked words.

    Attributes:
        steps: of AdamW; the learning rate rises over the first tenth and then falls to 0.
        batch_size: sentences of a step.
        learning_rate: at its peak.
        max_tokens: of a sentence.
        seed: of weights, order, masks and dropout.
    """

    steps: int
    batch_size: int = 64
    learning_rate: float = 1e-4
    max_tokens: int = 32
    seed: int = 0


def masked_language_backbone(
    source: Path, sentences: Sequence[str], folder: Path, training: MaskedLanguageTraining
) -> dict[str, Any]:
    """Train a BERT on masked words and store it as a plain transformers folder; take what an earlier call has stored.

    Computes in mixed bf16. The last 256 sentences are held out to measure the guessing.

    Args:
        source: folder of a BERT, with or without a head.
        sentences: what to train on, drawn with repetition only when they are used up.
        folder: where the trained one goes, with its tokenizer.
        training: see `MaskedLanguageTraining`.

    Returns:
        JSON values: the settings, "seconds", "loss" and "accuracy" on the held-out sentences.

    Raises:
        TrainingError: the folder holds a backbone of other settings, or there are too few sentences.
    """
    import torch
    from transformers import AutoTokenizer, BertForMaskedLM, get_linear_schedule_with_warmup, set_seed
    from transformers.utils import logging as transformers_logging

    stored = folder / _REPORT
    if stored.is_file():
        found: dict[str, Any] = json.loads(stored.read_text(encoding="utf-8"))
        if found["training"] != asdict(training):
            raise TrainingError(f"{folder} was trained with other settings: {found['training']}; take another folder")
        return found
    if len(sentences) < 2 * _HELD_OUT:
        raise TrainingError(f"{len(sentences)} sentences are too few, {_HELD_OUT} are held out; give {2 * _HELD_OUT}")
    set_seed(training.seed)
    tokenizer = AutoTokenizer.from_pretrained(source)
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # it would warn that the head is new
    model = BertForMaskedLM.from_pretrained(source, use_safetensors=True)
    transformers_logging.set_verbosity(verbosity)
    collator = MaskedLanguageCollator(tokenizer, max_tokens=training.max_tokens, seed=training.seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=training.learning_rate, weight_decay=0.01)
    schedule = get_linear_schedule_with_warmup(optimiser, training.steps // 10, training.steps)
    order = _order(len(sentences) - _HELD_OUT, training.steps * training.batch_size, training.seed)
    began = time.perf_counter()
    model.train()
    for rows in order.reshape(training.steps, training.batch_size):
        batch = collator([sentences[row] for row in rows.tolist()])
        labels = batch.pop("labels")
        asked = labels != IGNORED
        with torch.autocast("cpu", torch.bfloat16):
            states = model.bert(**batch).last_hidden_state[asked]  # (n_asked, H): the head sees what is asked only
            logits = model.cls(states)  # (n_asked, vocab_size)
        loss = torch.nn.functional.cross_entropy(logits.float(), labels[asked])
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    seconds = time.perf_counter() - began
    held_out = sentences[-_HELD_OUT:]
    unseen = MaskedLanguageCollator(tokenizer, max_tokens=training.max_tokens, seed=training.seed + 1)
    score = masked_language_score(model, [unseen(held_out[at : at + 64]) for at in range(0, _HELD_OUT, 64)])
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    report = {"training": asdict(training), "seconds": seconds, "loss": score.loss, "accuracy": score.accuracy}
    stored.write_text(json.dumps(report, indent=2), encoding="utf-8")
    return report


def _order(n: int, wanted: int, seed: int) -> np.ndarray:
    """Return rows of n in random order, pass after pass, (wanted,) int64."""
    generator = np.random.default_rng(seed)
    passes = [generator.permutation(n) for _ in range(-(-wanted // n))]
    return np.concatenate(passes)[:wanted]
