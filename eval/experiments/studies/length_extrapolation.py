"""Trained on 64 tokens, used on up to 8192: ALiBi beside tables of learned positions.

Two encoders are made of the packaged MiniLM by the same training (texts, order, steps, seed) on texts of 64 tokens: one
with ALiBi, one with a new table of positions. Both have to learn MiniLM's vectors anew with what they have for places.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from eval.experiments.measuring import DEPTH, values_of
from eval.experiments.options import Options
from eval.experiments.token_documents import TokenEncoder, VectorCache, mean_vectors, needle_documents, windows_of
from eval.experiments.training import Trained, trained
from eval.outcome import Outcome
from eval.pools import Pool, read_pool
from eval.significance import PairedDifference, compare_means
from retrieval.training import Recipe, builtin_recipe
from retrieval.training.data import Source

TITLE = "Length extrapolation"

LENGTHS = (64, 128, 512, 2048, 8192)
LONGEST = 8192
TRAINED = 64
WINDOW = TRAINED - 2  # and two special tokens
N_DOCUMENTS = 24

_ALIBI = builtin_recipe("alibi-distillation").changed(
    {
        "max_tokens": TRAINED,
        "batch_size": 16,
        "max_steps": 600,
        "learning_rate": 3e-4,
        "precision": "bf16",
        "loss_settings": {"precision": "bf16"},
    }
)
DISTILLED: dict[str, Recipe] = {
    "alibi": _ALIBI,
    "learned": _ALIBI.changed({"model": "longer-positions", "model_settings": {"backbone": "embedded", "fill": "new"}}),
}
NAMES = {
    "alibi": "ALiBi",
    "learned": "learned positions",
    "learned, repeated": "learned positions, the 64 of training repeated",
    "MiniLM, repeated": "MiniLM as published, its 512 positions repeated",
}
_LEVEL = 0.05
MEETINGS_OF = ("alibi", "learned", "MiniLM, repeated")
"""Encoders that read the meetings."""


@dataclass(frozen=True)
class Measured:
    """What one encoder is worth at each length.

    Attributes:
        whole: nDCG@10 of each query, by length, with documents encoded at once.
        windows: the same with the mean of their windows.
        cosines: mean over the documents of the cosine of both vectors, by length.
        seconds: to encode the documents at once, by length.
    """

    whole: dict[int, list[float]] = field(default_factory=dict)
    windows: dict[int, list[float]] = field(default_factory=dict)
    cosines: dict[int, float] = field(default_factory=dict)
    seconds: dict[int, float] = field(default_factory=dict)


def run(options: Options) -> list[Outcome]:
    """Train both encoders, and measure them and two rivals on needles in a text and on meetings cut at lengths."""
    (seed,) = options.seeds_or(0)[:1]
    steps = options.scaled(_ALIBI.max_steps)
    source = Source(options.data / "qa-train-msmarco-format")
    runs = {
        name: trained(
            recipe.changed({"seed": seed, "max_steps": steps}), [source], options.workspace / f"{name}-{seed}"
        )
        for name, recipe in DISTILLED.items()
    }
    encoders = {name: TokenEncoder(model) for name, model in _models(runs).items()}
    cache = VectorCache(
        options.workspace / "vectors", json.dumps([seed, steps, [recipe.as_dict() for recipe in DISTILLED.values()]])
    )
    common = _training_notes(runs, seed)
    needle = needles(encoders, options, cache, seed)
    meetings = cut_meetings({name: encoders[name] for name in MEETINGS_OF}, options, cache, seed)
    return [
        _outcome("Needles in a common text", *needle, common, seed),
        _outcome("Meetings cut at lengths (QMSum)", *meetings, common, seed),
    ]


def needles(
    encoders: dict[str, TokenEncoder], options: Options, cache: VectorCache, seed: int
) -> tuple[dict[str, Measured], list[str]]:
    """Measure paragraphs of SQuAD at random places of a text that is the same in all documents.

    What is added to the documents cannot tell them apart: the mean of windows keeps its quality at any length, and
    what the whole document loses against it is the encoder's own doing.
    """
    random = np.random.default_rng(seed)
    pool = read_pool(options.data / "squad11", "test")
    first = next(iter(encoders.values()))
    tokens = dict(zip(pool.ids, first.tokens(pool.texts), strict=True))
    asked = sorted({document for judged in pool.qrels.values() for document in judged})
    fitting = [name for name in asked if len(tokens[name]) <= min(LENGTHS[1:]) - first.n_special]
    chosen = [fitting[row] for row in random.permutation(len(fitting))[: options.scaled(N_DOCUMENTS)]]
    articles = {name.rpartition("#")[0] for name in asked}
    others = [name for name in pool.ids if name.rpartition("#")[0] in articles and name not in set(chosen)]
    text = [token for row in random.permutation(len(others)) for token in tokens[others[row]]][:LONGEST]
    small = _restricted(pool, chosen)
    lengths = [length for length in LENGTHS if length > TRAINED]
    found: dict[str, Measured] = {}
    for name, encoder in encoders.items():
        measured = found.setdefault(name, Measured())
        queries = encoder.text_vectors(list(small.queries.values()))
        text_windows = encoder.vectors(windows_of(text, WINDOW))
        needle_windows = [windows_of(tokens[each], WINDOW) for each in chosen]
        needle_vectors = [encoder.vectors(each) for each in needle_windows]
        places = np.random.default_rng(seed)
        for length in lengths:
            inside = length - encoder.n_special
            documents = needle_documents([tokens[each] for each in chosen], inside, WINDOW, places)
            vectors, measured.seconds[length] = cache(encoder, name, [each.tokens(text, inside) for each in documents])
            measured.whole[length] = _values(queries, vectors, small)
            parts, weights = [], []
            for own, own_vectors in zip(needle_windows, needle_vectors, strict=True):
                left = inside - sum(map(len, own))
                sizes = [len(each) for each in windows_of(range(left), WINDOW)] if left > 0 else []
                parts.append(np.concatenate([own_vectors, text_windows[: len(sizes)]]))
                weights.append([*map(len, own), *sizes])
            means = mean_vectors(parts, weights)
            measured.windows[length] = _values(queries, means, small)
            measured.cosines[length] = float(np.mean(np.sum(vectors * means, axis=1)))
    notes = [
        f"{len(chosen)} paragraphs that fit into {min(LENGTHS[1:]):,} tokens, from the articles of SQuAD's test split, "
        f"with {len(small.queries)} questions; each stands at a random place of the same text (other paragraphs of "
        "these articles), so that the text itself tells no document from another",
        "the mean of windows knows no places: windows of 62 tokens of the needle and of the text, encoded alone, "
        "weighted by their tokens (where the text is cut within a window, by the tokens that are left of it)",
    ]
    return found, notes


def cut_meetings(
    encoders: dict[str, TokenEncoder], options: Options, cache: VectorCache, seed: int
) -> tuple[dict[str, Measured], list[str]]:
    """Measure meetings of QMSum of which the encoder reads more and more: here length is also information."""
    random = np.random.default_rng(seed)
    pool = read_pool(options.data / "qmsum-longdoc")
    first = next(iter(encoders.values()))
    rows = random.permutation(len(pool.ids))
    tokens = {pool.ids[row]: first.tokens([pool.texts[row]])[0] for row in rows[: 4 * options.scaled(N_DOCUMENTS)]}
    chosen = [name for name, each in tokens.items() if len(each) >= LONGEST][: options.scaled(N_DOCUMENTS)]
    small = _restricted(pool, chosen)
    found: dict[str, Measured] = {}
    for name, encoder in encoders.items():
        measured = found.setdefault(name, Measured())
        queries = encoder.text_vectors(list(small.queries.values()))
        cut = [windows_of(tokens[each][: max(LENGTHS) - encoder.n_special], WINDOW) for each in chosen]
        flat, _ = cache(encoder, name, [window for each in cut for window in each])
        window_vectors = np.split(flat, np.cumsum([len(each) for each in cut])[:-1])
        for length in LENGTHS:
            inside = [tokens[each][: length - encoder.n_special] for each in chosen]
            vectors, measured.seconds[length] = cache(encoder, name, inside)
            measured.whole[length] = _values(queries, vectors, small)
            weights = [[len(window) for window in windows_of(each, WINDOW)] for each in inside]
            parts = [each[: len(weight)] for each, weight in zip(window_vectors, weights, strict=True)]
            means = mean_vectors(parts, weights)
            measured.windows[length] = _values(queries, means, small)
            measured.cosines[length] = float(np.mean(np.sum(vectors * means, axis=1)))
    notes = [
        f"{len(chosen)} meetings of at least {LONGEST:,} tokens, {len(small.queries)} queries; documents are the first "
        "tokens of the meetings, so that longer ones also say more",
        f"the mean of windows: {WINDOW} tokens each, encoded alone, weighted by their tokens as far as the length goes",
    ]
    return found, notes


def _models(runs: Mapping[str, Trained]) -> dict[str, Any]:
    from retrieval.training.builders import encoder, longer_positions

    models = {name: encoder.build_model(backbone=str(each.folder)) for name, each in runs.items()}
    repeated = models["learned, repeated"] = copy.deepcopy(models["learned"])
    table = repeated[0].model.embeddings.position_embeddings.weight.detach()
    longer_positions.set_positions(
        repeated[0].model, longer_positions.longer_table(table[:TRAINED], LONGEST, "repeated")
    )
    models["MiniLM, repeated"] = longer_positions.build_model(positions=LONGEST, fill="repeated")
    return models


def _restricted(pool: Pool, ids: Sequence[str]) -> Pool:
    """Return a pool of some documents with the queries that ask for one of them."""
    kept = set(ids)
    qrels = {query: judged for query, judged in pool.qrels.items() if kept & judged.keys()}
    texts = dict(zip(pool.ids, pool.texts, strict=True))
    queries = {query: pool.queries[query] for query in qrels}
    return Pool(pool.name, list(ids), [texts[name] for name in ids], queries, qrels)


def _values(queries: np.ndarray, vectors: np.ndarray, pool: Pool) -> list[float]:
    from retrieval.training.ranking import rank_by_vectors

    return values_of(rank_by_vectors(queries, vectors, DEPTH), pool)


def _training_notes(runs: Mapping[str, Trained], seed: int) -> list[str]:
    recipe = _ALIBI
    took = " and ".join(f"{NAMES[name]} {each.seconds:,.0f} s" for name, each in runs.items())
    return [
        f"both trained on passages of qa-train-msmarco-format cut at {TRAINED} tokens, seed {seed}: "
        f"{recipe.batch_size} texts in each of {runs['alibi'].steps} steps, learning rate {recipe.learning_rate:g}, "
        f"from MiniLM's weights to MiniLM's vectors and states (recipe alibi-distillation); took {took}",
        "learned positions: a new table of 8,192 random rows, of which training sees the first 64; it begins as noise, "
        "which this encoder learns to do without, other than MiniLM; repeated: the rows of training, again and again, "
        "as long tables are warm-started",
        "cells are nDCG@10; the difference is whole document - mean of windows of the same encoder, paired by query; "
        "seconds encode all documents at once, on a machine that did other work as well",
    ]


def _outcome(
    title: str, found: Mapping[str, Measured], notes: Sequence[str], common: Sequence[str], seed: int
) -> Outcome:
    lengths = list(next(iter(found.values())).whole)
    rows = []
    numbers: dict[str, Any] = {"seed": seed, "lengths": lengths, "encoders": {}, "against ALiBi": {}}
    for name, measured in found.items():
        differences = {length: compare_means(measured.windows[length], measured.whole[length]) for length in lengths}
        for label, cells in (
            ("whole document", [f"{np.mean(measured.whole[length]):.3f}" for length in lengths]),
            ("mean of windows", [f"{np.mean(measured.windows[length]):.3f}" for length in lengths]),
            ("difference", [str(differences[length]) for length in lengths]),
            ("cosine of both", [f"{measured.cosines[length]:.3f}" for length in lengths]),
        ):
            rows.append([f"{NAMES[name]}: {label}", *cells])
        rows.append([f"{NAMES[name]}: seconds", *(f"{measured.seconds[length]:,.1f}" for length in lengths)])
        numbers["encoders"][name] = {
            "whole": measured.whole,
            "windows": measured.windows,
            "cosines": measured.cosines,
            "seconds": measured.seconds,
            "difference": differences,
        }
    for name in list(found)[1:]:
        over = {length: compare_means(found[name].whole[length], found["alibi"].whole[length]) for length in lengths}
        rows.append([f"ALiBi over {NAMES[name]}", *(str(over[length]) for length in lengths)])
        numbers["against ALiBi"][name] = over
    n = len(next(iter(found.values())).whole[lengths[0]])
    columns = ["encoder", *(f"{length:,} tokens" for length in lengths)]
    return Outcome(title, columns, rows, [f"{n} queries", _verdict(numbers, lengths[-1]), *notes, *common], numbers)


def _verdict(numbers: Mapping[str, Any], length: int) -> str:
    """Say in words what is more than chance at a length."""

    def more_than_chance(found: PairedDifference) -> bool:
        return found.p is not None and found.p < _LEVEL

    said = []
    for name, values in numbers["encoders"].items():
        found = values["difference"][length]
        change = f"{'gains' if found.difference > 0 else 'loses'} {abs(found.difference):.3f} against"
        said.append(f"{NAMES[name]} {change if more_than_chance(found) else 'keeps the quality of'} its windows")
    for name, over in numbers["against ALiBi"].items():
        found = over[length]
        change = f"{'better' if found.difference > 0 else 'worse'} than {NAMES[name]} by {abs(found.difference):.3f}"
        said.append(f"ALiBi is {change if more_than_chance(found) else f'not told apart from {NAMES[name]}'}")
    return f"seen at {length:,} tokens (p < {_LEVEL}): {'; '.join(said)}"
