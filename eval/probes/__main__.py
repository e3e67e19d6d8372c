"""Run every probe on the embedded encoder and write RESULTS.md: `python -m eval.probes --data ../shared/data`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from eval.command_line import DATA, Data, show
from eval.outcome import Outcome, outcomes_json, read_outcomes
from eval.probes.data import LARGEST_SCORE, read_languages, read_rated_summaries, read_sts_years, read_subsets
from indexes.storage import replace_file

_HERE = Path(__file__).parent
_POSITIVE = 4.0
"""Pairs that people gave more than this, of `LARGEST_SCORE`, count as positive."""

_NEEDLES = 50
_LENGTHS = (128, 256, 512)
_POSITIONS = (0.0, 0.25, 0.5, 0.75, 1.0)

_HEADER = """\
# Probes of the embedded encoder

Written by `python -m eval.probes`; `results.json` beside this file holds every number. What each probe asks stands in
its module.
"""


def needle(data: Path, seed: int) -> Outcome:
    """Passages of MS MARCO in longer texts of others."""
    from eval.pools import read_pool
    from eval.probes.haystack import needles_of
    from eval.probes.needle import measure_needles
    from retrieval.encoders import load_encoder

    needles, text = needles_of(read_pool(data / "msmarco-dl19", None), _NEEDLES, seed=seed)
    encoder = load_encoder("embedded", precision="fp32")
    return measure_needles(encoder, needles, text, lengths=_LENGTHS, positions=_POSITIONS, seed=seed).outcome()


def sts(data: Path, seed: int) -> Outcome:
    """STS12 to STS16."""
    from eval.probes.sts_aggregation import measure_sts_aggregation
    from retrieval.encoders import load_encoder

    years = read_sts_years(data / "sts12-16")
    return measure_sts_aggregation(load_encoder("embedded", precision="fp32"), years, seed=seed).outcome()


def geometry(data: Path, seed: int) -> Outcome:
    """STS-B's test pairs."""
    from eval.probes.geometry import measure_geometry
    from retrieval.encoders import load_encoder

    (pairs,) = read_subsets(data / "stsb" / "test.tsv.gz")
    positive = [row for row, score in enumerate(pairs.gold.tolist()) if score * LARGEST_SCORE > _POSITIVE]
    first, second = ([side[row] for row in positive] for side in (pairs.first, pairs.second))
    encoder = load_encoder("embedded", precision="fp32")
    return measure_geometry(encoder, first, second, [*pairs.first, *pairs.second], seed=seed).outcome()


def layers(data: Path, seed: int) -> Outcome:
    """STS-B's test pairs."""
    from eval.probes.layer_states import load_layer_states
    from eval.probes.layer_sweep import sweep_layers

    (pairs,) = read_subsets(data / "stsb" / "test.tsv.gz")
    return sweep_layers(load_layer_states("embedded"), pairs.first, pairs.second, pairs.gold, seed=seed).outcome()


def fertility(data: Path, seed: int) -> Outcome:
    """XQuAD's paragraphs, parallel in twelve languages."""
    from eval.probes.fertility import measure_fertility
    from eval.probes.model_tokenizer import load_tokenizer

    return measure_fertility(load_tokenizer("embedded"), read_languages(data / "xquad", None), seed=seed).outcome()


def bertscore(data: Path, seed: int) -> Outcome:
    """SummEval's ratings."""
    from eval.probes.layer_states import load_layer_states
    from eval.probes.summary_ratings import correlate_with_ratings
    from eval.probes.token_matching import BertScorer

    rated = read_rated_summaries(data / "summeval" / "test.jsonl.gz", None)
    return correlate_with_ratings(BertScorer(load_layer_states("embedded")), rated, seed=seed).outcome()


PROBES: dict[str, Callable[[Path, int], Outcome]] = {
    probe.__name__: probe for probe in (needle, sts, geometry, layers, fertility, bertscore)
}


def main(
    *,
    data: Data = DATA,
    output: Annotated[Path, typer.Option(help="Folder for RESULTS.md and results.json.")] = _HERE,
    only: Annotated[list[str] | None, typer.Option(help="Probe to run; may be repeated.")] = None,
    seed: Annotated[int, typer.Option(help="Of draws and resampling.")] = 0,
) -> None:
    """Run every probe on the embedded encoder; those that are not run keep their stored results."""
    unknown = sorted(set(only or []) - set(PROBES))
    if unknown:
        raise typer.BadParameter(f"no probe {unknown[0]!r}; there are {', '.join(PROBES)}")
    stored = output / "results.json"
    for name, probe in PROBES.items():
        if only and name not in only:
            continue
        outcome = show(lambda probe=probe: probe(data, seed), None)  # type: ignore[misc]
        kept = {other.title: other for other in read_outcomes(stored)}
        outcomes = list({**kept, outcome.title: outcome}.values())
        replace_file(stored, outcomes_json(outcomes))
        replace_file(output / "RESULTS.md", markdown(outcomes).encode())


def markdown(outcomes: Sequence[Outcome]) -> str:
    """Return RESULTS.md: a section for each probe, with what it was measured by."""
    sections = []
    for outcome in outcomes:
        versions = ", ".join(f"{name} {version}" for name, version in outcome.versions.items())
        sections.append(f"{outcome.markdown()[:-1]}\n- versions: {versions}\n")
    return "\n".join([_HEADER, *sections])


if __name__ == "__main__":
    typer.run(main)
