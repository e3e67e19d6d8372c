"""`retrieval probe`: what a score on a task does not say of a model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from retrieval.cli.options import Command, json_option
from retrieval.cli.terminal import write_json, write_renderable
from retrieval.errors import QueryError

if TYPE_CHECKING:
    from eval.outcome import Outcome
    from eval.scored_pairs import ScoredPairs

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def _data_option(text: str) -> Callable[[Command], Command]:
    return click.option("--data", type=click.Path(path_type=Path), metavar="PATH", required=True, help=text)


def _common(command: Command) -> Command:
    """Give a probe the options that all have: model, seed and JSON."""
    for option in (
        json_option,
        click.option("--seed", type=int, default=0, metavar="N", show_default=True, help="Of draws and resampling."),
        click.option(
            "--model",
            default="embedded",
            metavar="MODEL",
            show_default=True,
            help="Folder or name of a sentence-transformers or transformers model.",
        ),
    ):
        command = option(command)
    return command


_pairs_option = click.option(
    "--pairs", type=click.IntRange(min=2), metavar="N", help="Only so many of the pairs, drawn at random."
)


@click.group(short_help="Probe a model: positions, layers, geometry, tokens.")
def probe() -> None:
    """Measure what a score on a task does not say of a model; every number has a 95 % interval.

    Files of pairs are TSV under a header or JSON lines, also compressed, with score (0 to 5), sentence1 and sentence2.
    """


@probe.command(context_settings=_CONTEXT, short_help="Where in a long text a passage is still found.")
@_common
@_data_option("Test set in BEIR's or MS MARCO's layout; or a file of texts, asked for by their first sentences.")
@click.option("--split", metavar="NAME", help="Which judgements of a test set (test).")
@click.option(
    "--needles", type=click.IntRange(min=2), default=50, metavar="N", show_default=True, help="More are harder."
)
@click.option("--lengths", default="128,256,512", metavar="N,N", show_default=True, help="Of the texts, in tokens.")
@click.option("--positions", default="0,0.25,0.5,0.75,1", metavar="X,X", show_default=True, help="0 begins, 1 ends.")
def needle(
    *,
    model: str,
    data: Path,
    split: str | None,
    needles: int,
    lengths: str,
    positions: str,
    seed: int,
    as_json: bool,
) -> None:
    """Put passages at places of longer texts and search for them by their queries."""
    from eval.pools import read_pool
    from eval.probes.data import read_texts
    from eval.probes.haystack import needles_of, needles_of_texts
    from eval.probes.needle import measure_needles
    from retrieval.encoders import load_encoder

    wanted = {
        "lengths": _numbers(lengths, "--lengths", int, "whole numbers"),
        "positions": _numbers(positions, "--positions", float, "numbers from 0 to 1"),
    }
    found, text = (
        needles_of(read_pool(data, split), needles, seed=seed)
        if data.is_dir()
        else needles_of_texts(read_texts(data), needles, seed=seed)
    )
    _told(measure_needles(load_encoder(model), found, text, seed=seed, **wanted).outcome(), as_json=as_json)


@probe.command(context_settings=_CONTEXT, short_help="STS by all pairs of a year against its subsets.")
@_common
@_data_option("Folder with stsYY.test.tsv.gz, whose column source names the subsets.")
def sts(*, model: str, data: Path, seed: int, as_json: bool) -> None:
    """Correlate with people's scores over all pairs of a year, and over its subsets: mean and weighted mean."""
    from eval.probes.data import read_sts_years
    from eval.probes.sts_aggregation import measure_sts_aggregation
    from retrieval.encoders import load_encoder

    years = read_sts_years(data)
    _told(measure_sts_aggregation(load_encoder(model), years, seed=seed).outcome(), as_json=as_json)


@probe.command(context_settings=_CONTEXT, short_help="Alignment, uniformity and isotropy of vectors.")
@_common
@_data_option("File of scored pairs.")
@click.option("--above", type=float, default=4.0, metavar="X", show_default=True, help="Positive pairs score more.")
@click.option("--texts", type=click.IntRange(min=3), default=5000, metavar="N", show_default=True, help="At most.")
def geometry(*, model: str, data: Path, above: float, texts: int, seed: int, as_json: bool) -> None:
    """Measure how close positive pairs lie, and how evenly all sentences of the file use the space."""
    from eval.probes.data import LARGEST_SCORE, read_subsets
    from eval.probes.geometry import measure_geometry
    from retrieval.encoders import load_encoder

    (pairs,) = read_subsets(data)
    positive = [row for row, score in enumerate(pairs.gold.tolist()) if score * LARGEST_SCORE > above]
    if len(positive) < 2:
        raise QueryError(f"{len(positive)} pairs of {data} score more than {above:g}; lower --above")
    found = measure_geometry(
        load_encoder(model),
        [pairs.first[row] for row in positive],
        [pairs.second[row] for row in positive],
        [*pairs.first, *pairs.second],
        most_texts=texts,
        seed=seed,
    )
    _told(found.outcome(), as_json=as_json)


@probe.command(context_settings=_CONTEXT, short_help="Every layer and pooling on scored pairs.")
@_common
@_data_option("File of scored pairs.")
@_pairs_option
def layers(*, model: str, data: Path, pairs: int | None, seed: int, as_json: bool) -> None:
    """Correlate the cosines of every layer and pooling of a transformer with people's scores."""
    from eval.probes.data import read_subsets
    from eval.probes.layer_states import load_layer_states
    from eval.probes.layer_sweep import sweep_layers

    (every,) = read_subsets(data)
    chosen = _drawn(every, pairs, seed)
    found = sweep_layers(load_layer_states(model), chosen.first, chosen.second, chosen.gold, seed=seed)
    _told(found.outcome(), as_json=as_json)


@probe.command(context_settings=_CONTEXT, short_help="What a tokenizer makes of words, by language.")
@_common
@_data_option("Folder with corpus.LANGUAGE.jsonl or LANGUAGE-eng.tsv (also compressed), or a file of texts.")
@click.option("--texts", type=click.IntRange(min=2), metavar="N", help="The first so many of each language.")
@click.option("--language", "languages", metavar="NAME", multiple=True, help="Only this one; may be repeated.")
@click.option("--max-tokens", type=int, metavar="N", help="Tokens that the model reads (as its files say).")
def fertility(
    *,
    model: str,
    data: Path,
    texts: int | None,
    languages: tuple[str, ...],
    max_tokens: int | None,
    seed: int,
    as_json: bool,
) -> None:
    """Count tokens of words and characters, cut words and unknown ones; the model's weights are not needed."""
    from eval.probes.data import read_languages, read_texts
    from eval.probes.fertility import measure_fertility
    from eval.probes.model_tokenizer import load_tokenizer

    found = read_languages(data, texts) if data.is_dir() else {data.name: read_texts(data, texts)}
    missing = next((name for name in languages if name not in found), None)
    if missing is not None:
        raise QueryError(f"{data} has no language {missing!r}; it has {', '.join(found)}")
    chosen = {name: found[name] for name in languages} if languages else found
    tokenizer = load_tokenizer(model, max_tokens=max_tokens)
    _told(measure_fertility(tokenizer, chosen, seed=seed).outcome(), as_json=as_json)


@probe.command(context_settings=_CONTEXT, short_help="BERTScore against ratings of summaries.")
@_common
@_data_option("File in SummEval's layout: human_summaries, and machine_summaries with ratings.")
@click.option("--layer", type=int, metavar="N", help="Whose states are matched (three quarters of the way up).")
@click.option("--idf", is_flag=True, help="Weight tokens by their document frequency in the references.")
@click.option(
    "--baseline", metavar="P,R,F", help="Rescale by the scores of texts that have nothing to do with another."
)
@click.option("--references", type=click.Choice(["max", "mean"]), default="max", show_default=True, help="Of several.")
@click.option("--articles", type=click.IntRange(min=2), metavar="N", help="The first so many.")
def bertscore(
    *,
    model: str,
    data: Path,
    layer: int | None,
    idf: bool,
    baseline: str | None,
    references: Any,
    articles: int | None,
    seed: int,
    as_json: bool,
) -> None:
    """Score summaries by BERTScore and correlate within each article with what people rated."""
    from eval.probes.data import read_rated_summaries
    from eval.probes.layer_states import load_layer_states
    from eval.probes.summary_ratings import correlate_with_ratings
    from eval.probes.token_matching import Baseline, BertScorer, frequencies_of

    floor = None
    if baseline is not None:
        numbers = _numbers(baseline, "--baseline", float, "three numbers below 1")
        if len(numbers) != 3:
            raise QueryError(f"--baseline takes three numbers (precision, recall and F1), not {len(numbers)}")
        floor = Baseline(*numbers)
    rated = read_rated_summaries(data, articles)
    states = load_layer_states(model)
    frequencies = frequencies_of(states, [text for each in rated for text in each.references]) if idf else None
    scorer = BertScorer(states, layer=layer, frequencies=frequencies, baseline=floor)
    _told(correlate_with_ratings(scorer, rated, references=references, seed=seed).outcome(), as_json=as_json)


def _drawn(pairs: ScoredPairs, n: int | None, seed: int) -> ScoredPairs:
    return pairs if n is None else pairs.sampled(n, seed)


def _numbers(text: str, option: str, kind: Callable[[str], Any], what: str) -> list[Any]:
    """Return the numbers of an option, which commas part."""
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError:
        raise QueryError(f"{option} takes {what}, parted by commas, not {text!r}") from None


def _told(outcome: Outcome, *, as_json: bool) -> None:
    if as_json:
        write_json({**outcome.numbers, "machine": outcome.machine, "versions": outcome.versions})
    else:
        write_renderable(outcome.table())
