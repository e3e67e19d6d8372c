"""What a cross-encoder can do without: layers (early exits), itself (routing), bits (int8); quality against time.

A cross-encoder of six layers and one of two are trained on questions of which none is measured. Each knob is turned
from its neutral setting, which is the cross-encoder itself, to its end.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from eval.experiments.candidates import CandidateSet, bm25_candidates
from eval.experiments.options import Options
from eval.experiments.stages_of_rerankers import DATA, READS, reranker_recipes
from eval.experiments.training import fast_precision, trained
from eval.outcome import Outcome
from eval.significance import compare_means
from retrieval.rerankers import Candidates, RoutingReranker, load_reranker
from retrieval.rerankers.early_exit import EarlyExitReranker
from retrieval.rerankers.energy import RoutedBy, entropy, free_energy, log_odds
from retrieval.rerankers.mono import MonoReranker
from retrieval.rerankers.query_routing import flatness
from retrieval.training import builtin_recipe
from retrieval.training.data.sources import Source

TITLE = "Cheaper reranking: early exits, routing, eight bits"

THRESHOLDS = (0.0, 0.01, 0.03, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
_QUERIES, _CANDIDATES = 100, 20
_RAMP_STEPS = 400
_SWIFT_LAYERS = 2
_FLATNESS_DEPTH = 10

_Found = TypeVar("_Found")


@dataclass(frozen=True)
class Task:
    """Queries with their candidates.

    Attributes:
        given: both, with judgements.
    """

    given: CandidateSet

    @property
    def queries(self) -> list[str]:
        """The texts."""
        return list(self.given.queries.values())

    @property
    def candidates(self) -> list[Candidates]:
        """Of each query."""
        return list(self.given.candidates.values())

    def values(self, scores: Sequence[np.ndarray]) -> list[float]:
        """Return nDCG@10 of each query, its candidates in the order of these scores."""
        return self.given.values("nDCG@10", scores)


def run(options: Options) -> list[Outcome]:
    """Train both, give the larger one off-ramps, and turn the knobs."""
    (seed, *_) = options.seeds_or(0)
    source = Source(options.data / DATA)
    whole = reranker_recipes(options, seed)["mono"]
    first = first_layers(options.workspace / f"first-{_SWIFT_LAYERS}-layers", _SWIFT_LAYERS)
    models = {
        "six layers": trained(whole, [source], options.workspace / f"mono-{seed}"),
        "two layers": trained(
            whole.changed({"model_settings": {"backbone": str(first)}}),
            [source],
            options.workspace / f"mono-of-{_SWIFT_LAYERS}-layers-{seed}",
        ),
    }
    ramps = builtin_recipe("early-exit").changed(
        {
            "model_settings": {"backbone": str(models["six layers"].folder)},
            "max_steps": options.scaled(_RAMP_STEPS),
            "seed": seed,
            "precision": fast_precision(),
        }
    )
    exits = trained(ramps, [source], options.workspace / f"off-ramps-{seed}")
    task = _task(options)
    seconds = ", ".join(f"{name} {model.seconds:.0f} s" for name, model in (*models.items(), ("off-ramps", exits)))
    notes = [
        f"n = {len(task.queries)} dev questions that training has not seen, the {_CANDIDATES} passages that BM25 puts "
        "first, of those that training draws on as well; ms: processor time for a query, tokens included, one thread",
        f"trained on {DATA}'s training questions from all-MiniLM-L6-v2, the small one from its first {_SWIFT_LAYERS} "
        f"layers, {whole.precision}, seed {seed}: both {whole.max_steps} steps of {whole.batch_size} triples, the "
        f"large one is the study of cross-encoders' mono; off-ramps {ramps.max_steps} steps of {ramps.batch_size}; "
        f"{READS} tokens; {seconds}",
    ]
    return [
        _exits_outcome(exits.folder, task, notes, seed),
        _routing_outcome(models["two layers"].folder, models["six layers"].folder, task, notes, seed),
        _precision_outcome(models["six layers"].folder, task, notes, seed),
    ]


def first_layers(folder: Path, layers: int) -> Path:
    """Write the packaged encoder cut behind its first layers, and return its folder."""
    from transformers import AutoModel, AutoTokenizer

    from retrieval.encoders.embedded import verified_embedded_folder
    from retrieval.rerankers.model_loading import quiet_transformers

    if not folder.is_dir():
        source = verified_embedded_folder()
        folder.parent.mkdir(parents=True, exist_ok=True)
        with quiet_transformers(), tempfile.TemporaryDirectory(dir=folder.parent) as place:
            made = Path(place) / folder.name
            model = AutoModel.from_pretrained(source, local_files_only=True)
            model.encoder.layer = model.encoder.layer[:layers]
            model.config.num_hidden_layers = layers
            AutoTokenizer.from_pretrained(source, local_files_only=True).save_pretrained(made)
            model.save_pretrained(made)
            made.rename(folder)  # whole or not there
    return folder


def _task(options: Options) -> Task:
    return Task(bm25_candidates(options.data / DATA, "dev", options.scaled(_QUERIES), _CANDIDATES, seed=0))


def _timed(call: Callable[[], _Found], task: Task) -> tuple[_Found, float]:
    """Return what a call returns, and its processor time in milliseconds for a query."""
    began = time.process_time()
    found = call()
    return found, (time.process_time() - began) * 1000 / len(task.queries)


def _loaded(folder: Path, task: Task, **settings: Any) -> MonoReranker:
    """Return a reranker that has scored something already."""
    reranker = load_reranker(folder, device="cpu", **settings)
    assert isinstance(reranker, MonoReranker)
    reranker.score(task.queries[:1], task.candidates[:1])
    return reranker


def _exits_outcome(folder: Path, task: Task, notes: list[str], seed: int) -> Outcome:
    rows, numbers = [], {}
    whole: list[float] = []
    first_time = 0.0
    for threshold in THRESHOLDS:
        reranker = _loaded(folder, task, exit_entropy=threshold)
        assert isinstance(reranker, EarlyExitReranker)
        found, milliseconds = _timed(partial(reranker.score_with_layers, task.queries, task.candidates), task)
        reranker.close()
        values = task.values(found.scores)
        if threshold == 0:
            whole, first_time = values, milliseconds
        difference = compare_means(whole, values, seed)
        mean = float(np.mean(values))
        faster = first_time / milliseconds
        cells = [f"{found.mean_layers:.2f}", f"{milliseconds:.0f}", f"{faster:.2f}", f"{mean:.4f}"]
        rows.append([f"{threshold:g}", *cells, str(difference) if threshold else ""])
        numbers[f"{threshold:g}"] = {"layers": found.mean_layers, "ms": milliseconds, "nDCG@10": mean}
    rows.append(["BM25 alone", "", "", "", f"{_first_stage(task):.4f}", ""])
    return Outcome(
        "Early exits (DeeBERT)",
        ["entropy below", "layers of 6", "ms a query", "times faster", "nDCG@10", "against the whole model"],
        rows,
        [*notes, "off-ramps learnt what the whole model says; 0 is the whole model, to the bit"],
        {"thresholds": numbers},
    )


def _routing_outcome(swift_folder: Path, super_folder: Path, task: Task, notes: list[str], seed: int) -> Outcome:
    """Both models score everything once; what each threshold routes follows from that, and is run for one of them."""
    swift, super_ = _loaded(swift_folder, task), _loaded(super_folder, task)
    logits, swift_ms = _timed(partial(swift.logits, task.queries, task.candidates), task)
    expensive, super_ms = _timed(partial(super_.logits, task.queries, task.candidates), task)
    cheap_odds, expensive_odds = ([log_odds(each) for each in own] for own in (logits, expensive))
    best = task.values(expensive_odds)
    measures: dict[str, list[np.ndarray]] = {
        "energy": [free_energy(each) for each in logits],
        "entropy": [entropy(each) for each in logits],
        "query": [np.full(len(each), flatness(each.scores, _FLATNESS_DEPTH)) for each in task.candidates],
    }
    rows, numbers = [], {}
    for share in SHARES:
        cells, found = [f"{share:.0%}"], {}
        for name, values in measures.items():
            units = np.array([each[0] for each in values]) if name == "query" else np.concatenate(values)
            threshold = _threshold(units, share)
            to_super = [each > threshold for each in values]
            mixed = [
                np.where(routed, other, own)
                for routed, other, own in zip(to_super, expensive_odds, cheap_odds, strict=True)
            ]
            routed_share = float(np.concatenate(to_super).mean())
            of_queries = task.values(mixed)
            milliseconds = swift_ms + routed_share * super_ms
            if name == "query":  # the cheap model is not asked about what is routed
                milliseconds -= routed_share * swift_ms
            difference = compare_means(best, of_queries, seed)
            cells += [f"{np.mean(of_queries):.4f}", f"{milliseconds:.0f}", str(difference)]
            found[name] = {
                "threshold": threshold,
                "share": routed_share,
                "ms": milliseconds,
                "nDCG@10": float(np.mean(of_queries)),
            }
        rows.append(cells)
        numbers[f"{share:g}"] = found
    checks = [_checked(swift, super_, by, numbers["0.25"][by], task) for by in ("energy", "entropy")]
    heads = [
        f"{name}: {what}"
        for name in ("energy", "entropy", "flat lists")
        for what in ("nDCG@10", "ms a query", "against six layers")
    ]
    return Outcome(
        "Routing (E-LANG): two layers where they are sure, six for the rest",
        ["to six layers", *heads],
        rows,
        [
            *notes,
            f"two layers {swift_ms:.0f} ms a query, six {super_ms:.0f} ms; ms are two layers' + share · six layers' "
            "(all six at 100 %: what a threshold of -inf saves is not subtracted), of flat lists one or the other",
            "energy, entropy: of the small model's logits, a candidate at a time; flat lists: of BM25's best "
            f"{_FLATNESS_DEPTH} scores, a query at a time; BM25 alone {_first_stage(task):.4f}",
            "run for real at 25 %: " + "; ".join(checks),
        ],
        {"shares": numbers, "ms": {"swift": swift_ms, "super": super_ms}},
    )


def _threshold(values: np.ndarray, share: float) -> float:
    """Return the threshold that about this share of values lies above."""
    if share == 0:
        return float(values.max())
    return float(np.quantile(values, 1 - share)) if share < 1 else float(values.min()) - 1


def _checked(swift: MonoReranker, super_: MonoReranker, by: RoutedBy, planned: dict[str, float], task: Task) -> str:
    routing = RoutingReranker(swift, super_, planned["threshold"], by=by)
    found, milliseconds = _timed(partial(routing.score_with_routes, task.queries, task.candidates), task)
    value = float(np.mean(task.values(found.scores)))
    return f"{by} routed {found.share:.0%}, nDCG@10 {value:.4f}, {milliseconds:.0f} ms"


def _precision_outcome(folder: Path, task: Task, notes: list[str], seed: int) -> Outcome:
    from scipy.stats import spearmanr

    rows, numbers = [], {}
    exact: list[np.ndarray] = []
    for precision in ("fp32", "bf16", "int8"):
        reranker = _loaded(folder, task, precision=precision)
        scores, milliseconds = _timed(partial(reranker.score, task.queries, task.candidates), task)
        reranker.close()
        exact = exact or scores
        correlation = float(spearmanr(np.concatenate(exact), np.concatenate(scores)).statistic)
        overlap = float(np.mean([_overlap(one, other) for one, other in zip(exact, scores, strict=True)]))
        values = task.values(scores)
        difference = compare_means(task.values(exact), values, seed)
        compared = "" if precision == "fp32" else str(difference)
        cells = [f"{milliseconds:.0f}", f"{correlation:.4f}", f"{overlap:.3f}", f"{np.mean(values):.4f}", compared]
        rows.append([precision, *cells])
        numbers[precision] = {
            "ms": milliseconds,
            "Spearman": correlation,
            "overlap@10": overlap,
            "nDCG@10": float(np.mean(values)),
        }
    return Outcome(
        "Precision",
        ["precision", "ms a query", "Spearman with fp32", "overlap@10", "nDCG@10", "against fp32"],
        rows,
        [*notes, "int8: linear layers of the transformer; processors without eight-bit products gain nothing"],
        {"precisions": numbers},
    )


def _overlap(first: np.ndarray, second: np.ndarray, k: int = 10) -> float:
    """Return how much of the best k is the same."""
    best = [set(np.argsort(-each, kind="stable")[:k].tolist()) for each in (first, second)]
    return len(best[0] & best[1]) / max(len(best[0]), 1)


def _first_stage(task: Task) -> float:
    return float(np.mean(task.given.first_stage("nDCG@10")))
