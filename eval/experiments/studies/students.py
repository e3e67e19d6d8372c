"""Students of a cross-encoder: labels against Margin-MSE, one teacher against two, in four architectures.

Hofstätter et al., "Improving Efficient Neural Ranking Models with Cross-Architecture Knowledge Distillation" (arXiv
2010.02666), at the size of an ordinary machine. Every student sees the same triples in the same order for as many
steps; what differs is the loss, and whose scores it looks at.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from eval.experiments.candidates import CandidateSet, bm25_candidates, judged_candidates
from eval.experiments.options import Options
from eval.experiments.stages_of_rerankers import reranker_recipes
from eval.experiments.training import trained
from eval.outcome import Outcome
from eval.significance import compare_means
from indexes.storage import replace_file
from indexes.token_vectors import TokenVectors
from retrieval.distillation import ensemble, score_tuples
from retrieval.distillation.unscored import find_tuples
from retrieval.documents.report import ReadReport
from retrieval.rerankers import Candidates, Reranker, load_reranker
from retrieval.rerankers.network import NetworkReranker
from retrieval.training import Recipe, builtin_recipe
from retrieval.training.data.sources import Source

TITLE = "Students: labels against Margin-MSE, one teacher against two"

_DATA = "qa-train-msmarco-format"
_MEASURE = "nDCG@10"
_QUERIES, _DEPTH = 100, 20
_TIMED = 10  # queries
_BATCH, _STEPS = 16, 100
_BUDGET = {"query_tokens": 28, "passage_tokens": 96}
_SECOND_TEACHER_STEPS = 300
_MASKS = {"masks": 0}  # queries as they are: [MASK]s behind them take longer training than this to mean something

_STUDENTS: dict[str, dict[str, Any]] = {
    "BERT_DOT": {"model": "dot", "learning_rate": 1e-4},
    "ColBERT": {"model": "colbert", "learning_rate": 1e-4, "model_settings": {**_MASKS, "dimension": 128}},
    "PreTTR": {"model": "prettr", "learning_rate": 1e-4, "model_settings": _MASKS},
    "TK": {"model": "tk", "learning_rate": 1e-3},
}
_LOSSES = {"labels": "ranknet", "one teacher": "margin-mse", "two teachers": "margin-mse"}


@dataclass(frozen=True)
class _Measured:
    """One model on every set.

    Attributes:
        values: nDCG@10 of each query, by name of the set.
        milliseconds: processor time for a query's candidates of the first set, texts read anew; None where it was not
            timed.
        stored_milliseconds: the same over stored states; None where nothing can be stored.
        stored_bytes: of a passage, states in float16; None likewise.
    """

    values: dict[str, list[float]]
    milliseconds: float | None = None
    stored_milliseconds: float | None = None
    stored_bytes: float | None = None


def run(options: Options) -> list[Outcome]:
    """Train two teachers, let them score the triples, train the students, and measure all."""
    (seed, *_) = options.seeds_or(0)
    first, second = _teachers(options, seed)
    scored = _scored_triples(options, first, second, seed)
    models: dict[str, Path] = {"BERT_CAT, first teacher": first, "BERT_CAT, second teacher": second}
    seconds = {}
    for architecture in _STUDENTS:
        for taught_by, file in scored.items():
            recipe = _recipe(options, architecture, taught_by, seed)
            name = f"student-{architecture}-{taught_by.replace(' ', '-')}-{seed}"
            student = trained(recipe, [Source(file)], options.workspace / name)
            models[f"{architecture}, {taught_by}"] = student.folder
            seconds[f"{architecture}, {taught_by}"] = student.seconds
    n = options.scaled(_QUERIES)
    sets = [
        bm25_candidates(options.data / _DATA, "dev", n, _DEPTH, seed),
        judged_candidates(
            options.data / "antique-rerank" / "test.tsv.gz", "grade_1to4", 3, options.scaled(_QUERIES // 2), seed
        ),
    ]
    found = {name: _measured(folder, sets, timed=name in _shown()) for name, folder in models.items()}
    notes = _notes(options, sets, seconds, seed)
    return [_quality(found, sets, notes, seed), _costs(found, sets[0], seed)]


def _teachers(options: Options, seed: int) -> tuple[Path, Path]:
    """Return the study of cross-encoders' mono, and another of another seed and shorter training."""
    source = [Source(options.data / _DATA)]
    first = reranker_recipes(options, seed)["mono"]
    second = first.changed({"seed": seed + 1, "max_steps": options.scaled(_SECOND_TEACHER_STEPS)})
    return (
        trained(first, source, options.workspace / f"mono-{seed}").folder,
        trained(second, source, options.workspace / f"second-mono-{seed + 1}").folder,
    )


def _scored_triples(options: Options, first: Path, second: Path, seed: int) -> dict[str, Path]:
    """Draw the triples, and let the teachers score them; return whose scores are where."""
    place = options.workspace / f"triples-{seed}"
    triples, one, other, both = (place / f"{name}.jsonl" for name in ("drawn", "first", "second", "both"))
    if not triples.is_file():
        place.mkdir(parents=True, exist_ok=True)
        rows = list(find_tuples(options.data / _DATA).read(ReadReport()))
        drawn = np.random.default_rng(seed).permutation(len(rows))[: _BATCH * options.scaled(_STEPS)]
        lines = (
            msgspec.json.encode({"query": row.query, "positive": row.passages[0], "negative": row.passages[1]})
            for row in (rows[number] for number in drawn.tolist())
        )
        replace_file(triples, b"".join(line + b"\n" for line in lines))
    for teacher, out in ((first, one), (second, other)):
        if not out.is_file():
            score_tuples(load_reranker(teacher, precision="bf16"), triples, out)
    if not both.is_file():
        ensemble([one, other], both)
    return {"labels": one, "one teacher": one, "two teachers": both}


def _recipe(options: Options, architecture: str, taught_by: str, seed: int) -> Recipe:
    changes = dict(_STUDENTS[architecture])
    settings = {"backbone": "embedded", **_BUDGET, **changes.pop("model_settings", {})}
    common = {
        "batch_size": _BATCH,
        "max_steps": options.scaled(_STEPS),
        "schedule": "linear",
        "warmup": 0.1,
        "seed": seed,
        "precision": "bf16",
    }
    # The recipes of Margin-MSE differ in their networks alone.
    recipe = builtin_recipe("margin-mse-colbert").changed({**common, **changes, "model_settings": settings})
    return recipe.changed({"loss": _LOSSES[taught_by]})


def _shown() -> list[str]:
    """Return the models whose time and storage are compared: one of each architecture."""
    return ["BERT_CAT, first teacher", *(f"{architecture}, one teacher" for architecture in _STUDENTS)]


def _measured(folder: Path, sets: Sequence[CandidateSet], *, timed: bool) -> _Measured:
    import torch

    reranker = load_reranker(folder, precision="bf16")
    values = {given.name: given.reranked(reranker, _MEASURE) for given in sets}
    reranker.close()
    if not timed:
        return _Measured(values)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _timed(folder, values, sets)
    finally:
        torch.set_num_threads(threads)


def _timed(folder: Path, values: dict[str, list[float]], sets: Sequence[CandidateSet]) -> _Measured:
    reranker = load_reranker(folder, precision="fp32")
    milliseconds = _milliseconds_of_texts(reranker, sets[0])
    stored = _stored(reranker, sets[0]) if isinstance(reranker, NetworkReranker) else (None, None)
    reranker.close()
    return _Measured(values, milliseconds, *stored)


def _timed_queries(given: CandidateSet) -> list[tuple[str, Candidates]]:
    return list(zip(given.queries.values(), given.candidates.values(), strict=True))[:_TIMED]


def _milliseconds_of_texts(reranker: Reranker, given: CandidateSet) -> float:
    timed = _timed_queries(given)
    reranker.score([timed[0][0]], [timed[0][1]])
    began = time.process_time()
    for query, candidates in timed:
        reranker.score([query], [candidates])
    return (time.process_time() - began) * 1000 / len(timed)


def _stored(reranker: NetworkReranker, given: CandidateSet) -> tuple[float, float]:
    """Return the time of a query over stored states, and what a passage's states take."""
    timed = _timed_queries(given)
    states: list[TokenVectors] = [
        reranker.encode_passages(list(candidates.texts), dtype="float16") for _, candidates in timed
    ]
    reranker.score_states(timed[0][0], states[0])
    began = time.process_time()
    for (query, _), kept in zip(timed, states, strict=True):
        reranker.score_states(query, kept)
    milliseconds = (time.process_time() - began) * 1000 / len(timed)
    passages = sum(len(candidates) for _, candidates in timed)
    return milliseconds, sum(kept.values.nbytes for kept in states) / passages


def _quality(found: dict[str, _Measured], sets: Sequence[CandidateSet], notes: list[str], seed: int) -> Outcome:
    rows, numbers = [], {}
    first_stages = {given.name: given.first_stage(_MEASURE) for given in sets}
    rows.append(["BM25", *(cell for given in sets for cell in (f"{np.mean(first_stages[given.name]):.4f}", ""))])
    for name, measured in found.items():
        architecture, _, taught_by = name.partition(", ")
        base = {"one teacher": "labels", "two teachers": "one teacher"}.get(taught_by)
        cells = [name]
        for given in sets:
            values = measured.values[given.name]
            before = first_stages[given.name] if base is None else found[f"{architecture}, {base}"].values[given.name]
            versus = f"{compare_means(before, values, seed)} over {base or 'BM25'}"
            cells += [f"{np.mean(values):.4f}", versus]
            numbers[f"{given.name}: {name}"] = {"mean": float(np.mean(values)), "by query": values}
        rows.append(cells)
    columns = ["model, taught by"]
    for given in sets:
        columns += [f"{given.name} ({len(given.queries)})", "difference"]
    return Outcome(f"{_MEASURE} of students by what they learn from", columns, rows, notes, numbers)


def _costs(found: dict[str, _Measured], given: CandidateSet, seed: int) -> Outcome:
    rows, numbers = [], {}
    for name in _shown():
        measured = found[name]
        mean = float(np.mean(measured.values[given.name]))
        stored = measured.stored_milliseconds
        rows.append(
            [
                name.partition(",")[0],
                f"{mean:.4f}",
                f"{measured.milliseconds or 0:.0f}",
                "" if stored is None else f"{stored:.1f}",
                "" if measured.stored_bytes is None else f"{measured.stored_bytes:,.0f}",
            ]
        )
        numbers[name.partition(",")[0]] = {
            "nDCG@10": mean,
            "ms": measured.milliseconds,
            "stored ms": stored,
            "bytes": measured.stored_bytes,
        }
    return Outcome(
        "Quality, time and storage by architecture",
        [
            "architecture",
            f"{_MEASURE}, {given.name}",
            "ms a query, texts",
            "ms a query, stored states",
            "bytes a passage",
        ],
        rows,
        [
            f"taught by one teacher, seed {seed}; ms are processor time for reranking {_DEPTH} passages of one query, "
            "its tokenisation and encoding included, one query at a time, fp32, one thread; bytes of states in float16",
        ],
        {"architectures": numbers},
    )


def _notes(options: Options, sets: Sequence[CandidateSet], seconds: dict[str, float], seed: int) -> list[str]:
    steps = options.scaled(_STEPS)
    return [
        f"{steps} steps of {_BATCH} triples of {_DATA} each (every triple once), from all-MiniLM-L6-v2 (TK: from its "
        f"word pieces), mixed bf16, seed {seed}, {_BUDGET['query_tokens']} and {_BUDGET['passage_tokens']} tokens; "
        "labels: RankNet; teachers: Margin-MSE, first the study of cross-encoders' mono, second a shorter-trained mono "
        f"of another seed, the mean of both; {min(seconds.values()):,.0f} to {max(seconds.values()):,.0f} s each",
        f"{sets[0].name}: held-out questions, BM25's best {_DEPTH}; {sets[1].name}: not trained on, all judged answers",
        "small models of short training, measured in bf16: directions count, not heights",
    ]
