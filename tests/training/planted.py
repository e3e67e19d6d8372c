"""A collection with a planted rule that BM25 cannot see and a small cross-encoder can learn.

A query is a cue and a topic, "whither oaka"; six passages are of that topic. Two answer: they have a word of the cue's
kind (a place for "whither", a person for "whom"), which no query holds. The others have a word of the other kind, and
the topic twice, for which BM25 puts them first. Topics of the test set are not those of training.
"""

from __future__ import annotations

import json
import random
import string
from pathlib import Path
from typing import Any

CUES = {"whither": ("harbour", "valley", "meadow", "castle"), "whom": ("sister", "painter", "doctor", "farmer")}
FILLERS = ("green", "early", "silver", "quiet", "winter", "bright")
TOPICS = tuple(f"{first}{second}" for first in ("oak", "elm", "ash", "fir") for second in "abcdefghijkl")
N_TRAINED = 36  # of the topics; the others are for the test set


def save_bert(folder: Path) -> Path:
    """Write a BERT of two layers with random weights that knows each of these words as a token."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    words = [*CUES, *(word for kind in CUES.values() for word in kind), *FILLERS, *TOPICS]
    letters = [*string.ascii_lowercase, *(f"##{letter}" for letter in string.ascii_lowercase)]
    folder.mkdir(parents=True)
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words, *letters]
    (folder / "vocab.txt").write_text("\n".join(pieces), encoding="utf-8")
    tokenizer = BertTokenizerFast(vocab=str(folder / "vocab.txt"))
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=48,
        initializer_range=0.1,
    )
    BertModel(config).save_pretrained(folder)
    return folder


def write_training_data(path: Path, n: int = 600) -> Path:
    """Write tuples of a query, its positive and a negative."""
    draw = random.Random(0)
    rows = []
    for _ in range(n):
        topic, (cue, other) = draw.choice(TOPICS[:N_TRAINED]), draw.sample(list(CUES), 2)
        rows.append(
            {
                "query": f"{cue} {topic}",
                "positive": _passage(draw, topic, cue, draw.choice([1, 2])),
                "negative": _passage(draw, topic, other, draw.choice([1, 2])),
            }
        )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_test_set(folder: Path) -> Path:
    """Write a test set in BEIR's layout."""
    draw = random.Random(1)
    documents: list[dict[str, Any]] = []
    queries, judgements = [], ["query-id\tcorpus-id\tscore"]
    for topic in TOPICS[N_TRAINED:]:
        asked = draw.choice(list(CUES))
        queries.append({"_id": topic, "text": f"{asked} {topic}"})
        for number in range(6):
            relevant = number < 2
            cue = asked if relevant else next(cue for cue in CUES if cue != asked)
            documents.append(
                {"_id": f"{topic}-{number}", "text": _passage(draw, topic, cue, times=1 if relevant else 2)}
            )
            if relevant:
                judgements.append(f"{topic}\t{topic}-{number}\t1")
    draw.shuffle(documents)
    (folder / "qrels").mkdir(parents=True)
    for name, rows in {"corpus": documents, "queries": queries}.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "qrels" / "test.tsv").write_text("\n".join(judgements) + "\n", encoding="utf-8")
    return folder


def _passage(draw: random.Random, topic: str, cue: str, times: int) -> str:
    words = [topic] * times + draw.sample(CUES[cue], 1) + draw.sample(FILLERS, 4 - times)
    draw.shuffle(words)
    return " ".join(words)
