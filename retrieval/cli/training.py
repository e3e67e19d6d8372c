"""`retrieval train`: an encoder or a reranker of one's own, from a recipe and examples."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from retrieval.cli.errors import INTERRUPTED, leave
from retrieval.cli.options import json_option
from retrieval.cli.terminal import duration, note, readable, shows_progress, write, write_json

if TYPE_CHECKING:
    from retrieval.training import Recipe, TrainingReport


@click.command(short_help="Train an encoder or a reranker from a recipe and examples.")
@click.argument("recipe_name", metavar="RECIPE")
@click.option(
    "--data", metavar="SOURCE", multiple=True, required=True, help="File or folder; several are several tasks."
)
@click.option("--out", type=click.Path(path_type=Path), metavar="FOLDER", required=True, help="Where the model goes.")
@click.option("--split", metavar="NAME", help="Which split of folders (train).")
@click.option(
    "--test", "tests", metavar="SOURCE", multiple=True, help="Measure before and after: a retrieval or STS set."
)
@click.option("--test-split", metavar="NAME", help="Which split of the test sets (test).")
@click.option(
    "--candidates",
    type=click.IntRange(min=1),
    metavar="N",
    help="Measure a reranker on BM25's best N of a test set (100; 10 for pairs).",
)
@click.option(
    "--set", "changes", metavar="KEY=VALUE", multiple=True, help="Another value of a recipe's setting, as TOML."
)
@click.option("--seed", type=int, metavar="N", help="The same as --set seed=N.")
@click.option("--resume", is_flag=True, help="Go on with an interrupted run in the folder.")
@click.option("--strict", is_flag=True, help="Stop at the first row of data that cannot be used.")
@click.option("--device", metavar="NAME", help="cpu or cuda (a GPU when there is one).")
@json_option
def train(
    recipe_name: str,
    *,
    data: tuple[str, ...],
    out: Path,
    split: str | None,
    tests: tuple[str, ...],
    test_split: str | None,
    candidates: int | None,
    changes: tuple[str, ...],
    seed: int | None,
    resume: bool,
    strict: bool,
    device: str | None,
    as_json: bool,
) -> None:
    """Train an encoder or a reranker; RECIPE is a built-in recipe or a TOML file.

    Built in are mirror-bert, simcse, masked-language, alibi-distillation (sentences), pairs, kalm,
    ultra-high-dimensional (queries and passages), hard-negatives, sbert-triplet (with negatives, too), sbert-nli
    (labelled sentence pairs), sbert-sts (scored ones), and the rerankers mono, duo and parade (with negatives);
    early-exit adds off-ramps to a trained mono. From the scores of a teacher (`retrieval teach score`) learn
    margin-mse, an encoder, and the rerankers margin-mse-cat, margin-mse-colbert, margin-mse-prettr and margin-mse-tk.
    A TOML file starts from one of them and changes settings: recipe = "pairs" on one line, learning_rate = 3e-5 on
    another.

    The folder is a sentence-transformers model with a model card: `retrieval index my.index docs/ --encoder FOLDER`,
    or `--sparse FOLDER` for ultra-high-dimensional. A reranker's: `retrieval search my.index "…" --stages
    bm25:100,mono:50 --reranker mono=FOLDER`.
    """
    from retrieval.cli.training_measures import measurer
    from retrieval.training import read_recipe
    from retrieval.training.data import Source
    from retrieval.training.runner import train as run

    recipe = _changed(read_recipe(recipe_name), changes, seed)
    evaluate = measurer(tests, test_split, candidates) if tests else None
    try:
        report = run(
            recipe,
            [Source(Path(place), split) for place in data],
            out,
            evaluate=evaluate,
            resume=resume,
            strict=strict,
            device=device,
            progress=shows_progress(),
        )
    except KeyboardInterrupt:
        from retrieval.training.run_folder import RunFolder, last_checkpoint

        if last_checkpoint(RunFolder(out).checkpoints) is None:
            goes_on = "begins anew, since there is no checkpoint yet (checkpoint_steps makes more of them)"
        else:
            goes_on = f"goes on from the last checkpoint in {out}"
        note(f"interrupted; the same command with --resume {goes_on}")
        leave(INTERRUPTED)
    if as_json:
        write_json({"out": str(report.out), **report.as_dict()})
    else:
        _tell(report)


def _changed(recipe: Recipe, changes: tuple[str, ...], seed: int | None) -> Recipe:
    for change in changes:
        recipe = recipe.changed(_parsed(change), "--set")
    return recipe if seed is None else recipe.changed({"seed": seed})


def _parsed(change: str) -> dict[str, Any]:
    """Return `key=value` as a table; a value that is no TOML is text, and a key may be dotted."""
    key, equals, value = change.partition("=")
    if not equals:
        raise click.UsageError(f"--set takes KEY=VALUE, not {change!r}")
    try:
        return tomllib.loads(f"{key} = {value}")
    except tomllib.TOMLDecodeError:
        pass
    try:
        quoted = value.strip().replace("\\", "\\\\").replace('"', '\\"')
        return tomllib.loads(f'{key} = "{quoted}"')
    except tomllib.TOMLDecodeError as error:
        raise click.UsageError(f"--set takes KEY=VALUE as TOML, not {change!r} ({error})") from None


def _tell(report: TrainingReport) -> None:
    for name, line in zip(report.counts, report.data, strict=True):
        note(f"{name}: {line}")
    went_on = "; the part after the last interruption" if report.resumed else ""
    write(f"trained {readable(report.recipe.name)}: {report.steps:,} steps in {duration(report.seconds)}{went_on}")
    for name, value in report.after.items():
        write(f"{readable(name)}: {report.before[name]:.4f} -> {value:.4f}")
    write(f"wrote {readable(str(report.out))}")
