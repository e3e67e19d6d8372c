"""`retrieval teach`: a teacher's scores for the training of students."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from retrieval.cli.errors import INTERRUPTED, leave
from retrieval.cli.options import json_option
from retrieval.cli.terminal import duration, note, plural, readable, shows_progress, write, write_json

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

out_option = click.option(
    "--out", type=click.Path(path_type=Path), metavar="FILE", required=True, help="Where the scores go."
)
strict_option = click.option("--strict", is_flag=True, help="Stop at the first row of data that cannot be used.")


@click.group(short_help="Score training data with a teacher, for students.")
def teach() -> None:
    """Score training data with a teacher once, and train students on the file.

    Files end with .tsv (positive's score, negative's score, query id, positive id, negative id, as published for
    Margin-MSE) or with .jsonl (query, positive, negative, scores). `retrieval train` takes both for recipes whose data
    are scored_tuples.
    """


@teach.command(context_settings=_CONTEXT, short_help="Score tuples with a reranker.")
@click.option(
    "--data",
    metavar="SOURCE",
    required=True,
    help="Folder in MS MARCO's layout with triples of ids; a file of such triples, or of another teacher's lines, "
    "beside its collection; or a file with columns query, positive and negative.",
)
@click.option("--reranker", metavar="MODEL", required=True, help="Folder or name of a cross-encoder.")
@out_option
@click.option("--split", metavar="NAME", help="Which triples and queries of a folder (train).")
@click.option(
    "--max-tokens", type=int, metavar="N", help="Tokens of an input (as many as the model reads, 512 at most)."
)
@click.option("--precision", type=click.Choice(["fp32", "bf16", "fp16", "int8"]), help="Of the model's weights.")
@click.option("--batch-tokens", type=int, metavar="N", help="Tokens that go through the model together.")
@click.option("--device", metavar="NAME", help="cpu or cuda (a GPU when there is one).")
@strict_option
@json_option
def score(
    *, data: str, reranker: str, out: Path, split: str | None, strict: bool, as_json: bool, **settings: Any
) -> None:
    """Score each passage of the tuples of SOURCE once.

    An interrupted run goes on with the same command; another teacher is refused.
    """
    from retrieval.distillation import score_tuples
    from retrieval.rerankers import load_reranker

    teacher = load_reranker(reranker, **{name: value for name, value in settings.items() if value is not None})
    try:
        report = score_tuples(teacher, data, out, split=split, strict=strict, progress=shows_progress())
    except KeyboardInterrupt:
        note("interrupted; the same command goes on with what is scored")
        leave(INTERRUPTED)
    finally:
        teacher.close()
    if as_json:
        write_json(report.as_dict())
        return
    note(f"{data}: {report.data}")
    adopted = f", {report.adopted:,} of them by an earlier run" if report.adopted else ""
    work = f"{plural(report.pairs, 'pair')} in {duration(report.seconds)}"
    write(f"scored {plural(report.tuples, 'tuple')}{adopted}: {work}")
    write(f"wrote {readable(str(report.out))}")


@teach.command(context_settings=_CONTEXT, short_help="Average the scores of several teachers.")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@out_option
@json_option
def ensemble(files: tuple[str, ...], *, out: Path, as_json: bool) -> None:
    """Write the mean of the scores in files with the same tuples in the same order."""
    from retrieval.distillation import ensemble as averaged

    _told(averaged(files, out), out, as_json=as_json)


@teach.command(context_settings=_CONTEXT, short_help="Write scores in another form.")
@click.argument("source", metavar="FILE")
@out_option
@click.option(
    "--label",
    type=click.Choice(["scores", "margin"]),
    default="scores",
    show_default=True,
    help="What the column label of .jsonl and .parquet holds, which sentence-transformers' losses read.",
)
@click.option("--texts", metavar="FOLDER", help="Collection whose texts replace ids.")
@click.option("--split", metavar="NAME", default="train", show_default=True, help="Which of its queries.")
@strict_option
@json_option
def convert(source: str, *, out: Path, label: str, texts: str | None, split: str, strict: bool, as_json: bool) -> None:
    """Turn published lines into rows that sentence-transformers reads, or back; the name of --out says which.

    FILE may be .tsv, .jsonl, .csv or .parquet; --out .tsv, .jsonl or .parquet.
    """
    from retrieval.distillation import convert as converted
    from retrieval.documents.report import ReadReport

    report = ReadReport(strict=strict)
    count = converted(source, out, margins=label == "margin", texts=texts, split=split, report=report)
    if not as_json and (report.skipped or report.noted):
        note(f"{source}: {report.summary().replace(' document', ' tuple', 1)}")
    _told(count, out, as_json=as_json, skipped=report.skipped)


def _told(count: int, out: Path, *, as_json: bool, **more: Any) -> None:
    if as_json:
        write_json({"out": str(out), "tuples": count, **more})
    else:
        write(f"wrote {plural(count, 'tuple')} to {readable(str(out))}")
