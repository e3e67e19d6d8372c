"""What dimensions, winners and buckets do: ultra-high-dimensional heads over a backbone that stays as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from eval.experiments.vector_values import dense_values, sparse_values
from eval.outcome import Outcome
from eval.pools import Pool
from eval.significance import compare_means
from retrieval.training import builtin_recipe

if TYPE_CHECKING:
    from eval.experiments.bucket_heads import HeadVectors

MEASURE = "RR@10"
SPARSE = "ultra-high-dimensional"
BATCH = 32
"""Pairs of a step."""

_RATE = 1e-3
_STATES = (0, 2, 4, 6)


@dataclass(frozen=True)
class Setting:
    """Buckets of the sweep."""

    dimensions: tuple[int, ...]
    k: int
    layers: tuple[int, ...] = (6,)

    @property
    def name(self) -> str:
        """How tables call it."""
        layers = ", ".join(map(str, self.layers))
        return f"n = {sum(self.dimensions):,}, k = {self.k * len(self.layers)}, layers {layers}"


BASE = Setting((8192,), 32)
SWEEP = (
    Setting((1024,), 32),
    Setting((4096,), 32),
    BASE,
    Setting((8192,), 8),
    Setting((8192,), 128),
    Setting((4096,) * 2, 16, (0, 6)),
    Setting((2048,) * 4, 8, (0, 2, 4, 6)),
)


class Read(NamedTuple):
    """How many tokens are read: of training texts, and of those that are measured."""

    training: int
    measured: int


class Swept(NamedTuple):
    """What came of the sweep.

    Attributes:
        outcome: its table.
        values: the measure of each query, by system, of what learnt nothing.
        untrained: what these systems are.
    """

    outcome: Outcome
    values: dict[str, list[float]]
    untrained: str


def swept(pool: Pool, pairs: tuple[list[str], list[str]], read: Read, steps: int, seed: int) -> Swept:
    """Train buckets alone, on states of the backbone as it was published; measures also what needs no training.

    Args:
        pool: what is searched.
        pairs: questions and their passages to train on, `BATCH` for each step.
        read: tokens that are read.
        steps: of training each setting.
        seed: of weights and batches.
    """
    from eval.experiments.bucket_heads import head_vectors, new_head, train_head
    from eval.experiments.hidden_states import HiddenStates
    from retrieval.training.builders.encoder import build_model

    values: dict[str, list[float]] = {}
    transformer = build_model()[0]
    transformer.max_seq_length = read.measured
    transformer.model.config.output_hidden_states = True
    of_queries = HiddenStates(transformer, list(pool.queries.values()), _STATES)
    of_passages = HiddenStates(transformer, pool.texts, _STATES)
    values["dense, as published"] = dense_values(of_queries.means().numpy(), of_passages.means().numpy(), pool, MEASURE)
    transformer.max_seq_length = read.training
    questions, positives = pairs
    of_questions, of_positives = (HiddenStates(transformer, texts, _STATES) for texts in (questions, positives))
    settings = dict(builtin_recipe("ultra-high-dimensional").loss_settings)
    loss_settings = {name: settings[name] for name in ("temperature", "binary", "binary_temperature")}
    found: dict[Setting, dict[str, Any]] = {}
    for setting in SWEEP:
        head = new_head(
            transformer, of_positives, layers=setting.layers, dimensions=setting.dimensions, k=setting.k, seed=seed
        )
        if setting is BASE:
            vectors = head_vectors(head, of_queries, of_passages, of_positives)
            before = sparse_values(vectors.queries, vectors.passages, vectors.largest_weight, pool, MEASURE)
            values.update({f"{SPARSE}, not trained, {kind}": each for kind, each in before.items()})
        seconds = train_head(
            head,
            of_questions,
            of_positives,
            steps=steps,
            batch_size=BATCH,
            rate=_RATE,
            seed=seed,
            loss_settings=loss_settings,
        )
        vectors = head_vectors(head, of_queries, of_passages, of_positives)
        after = sparse_values(vectors.queries, vectors.passages, vectors.largest_weight, pool, MEASURE)
        found[setting] = {"seconds": seconds, "vectors": vectors, **after}
    return Swept(
        _outcome(found, pool, steps, seed),
        values,
        f"not trained: {BASE.name}, weights at random, biases that centre the tokens of {len(positives):,} training "
        "passages: a locality-sensitive hash of the token states",
    )


def _outcome(found: dict[Setting, dict[str, Any]], pool: Pool, steps: int, seed: int) -> Outcome:
    base = found[BASE]
    rows, numbers = [], {}
    for setting, one in found.items():
        vectors: HeadVectors = one["vectors"]
        active = [float(np.diff(each.offsets).mean()) for each in (vectors.queries, vectors.passages)]
        frequency = np.bincount(vectors.passages.dimensions, minlength=sum(setting.dimensions))
        touched = float(frequency[vectors.queries.dimensions].sum() / len(vectors.queries))
        against = {
            kind: None if one is base else compare_means(base[kind], one[kind], seed) for kind in ("impacts", "binary")
        }
        kept = np.mean(one["binary"]) / np.mean(one["impacts"])
        rows.append(
            [
                setting.name,
                f"{one['seconds']:.0f} s",
                f"{np.mean(one['impacts']):.4f}",
                str(against["impacts"] or ""),
                f"{np.mean(one['binary']):.4f}",
                str(against["binary"] or ""),
                f"{kept:.3f}",
                f"{active[0]:.0f} / {active[1]:.0f}",
                f"{touched:,.0f}",
                f"{vectors.dead_share:.1%}",
            ]
        )
        numbers[setting.name] = {
            "impacts": float(np.mean(one["impacts"])),
            "binary": float(np.mean(one["binary"])),
            "against base": against,
            "active": active,
            "postings of a query": touched,
            "dead": vectors.dead_share,
            "seconds": one["seconds"],
        }
    return Outcome(
        "Dimensions, winners and buckets",
        [
            "buckets",
            "training",
            "MRR@10, impacts",
            "against base",
            "binary",
            "against base",
            "binary / impacts",
            "active, query / passage",
            "postings of a query",
            "dead",
        ],
        rows,
        [
            f"only the buckets learn, on the published backbone's states: {steps} steps of {BATCH} pairs, learning "
            f"rate {_RATE}, the recipe's loss, seed {seed}; questions and passages as above",
            f"base: {BASE.name}; n and k are sums over the buckets; layer 0 is the output of the embeddings, 6 the "
            "last",
            "postings of a query: the sum of its dimensions' document frequencies, what exact search touches",
            "dead: active in no passage of the pool",
        ],
        {"seed": seed, "n": len(pool.queries), "settings": numbers},
    )
