"""Commands that look at an index and leave it as it is: `info`, `verify`, `export`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from retrieval.cli.errors import PROBLEM, leave
from retrieval.cli.options import index_argument, json_option
from retrieval.cli.terminal import plural, size, visible, write, write_json


@click.command(short_help="Check every file of an index.")
@index_argument
@json_option
def verify(index: Path, *, as_json: bool) -> None:
    """Read every file of an index, compare it with its checksum, and check that the parts belong together.

    Says which files are damaged, what they hold, and what to do. Nothing is repaired. The exit status is 1 when
    something is damaged. Searches check texts and postings as they read them, but vectors are checked here only.
    """
    from retrieval.collection.verification import verify as verify_collection

    report = verify_collection(index)
    if as_json:
        write_json(
            {
                "index": str(index),
                "ok": report.ok,
                "files": report.files,
                "bytes": report.size,
                "problems": report.problems,
                "fix": report.fix,
                "leftovers": report.leftovers,
            }
        )
    else:
        for problem in report.problems:
            write(visible(problem))
        extent = f"{plural(report.files, 'file')}, {size(report.size)}"
        state = "all is as it was written" if report.ok else plural(len(report.problems), "problem")
        write(f"{visible(str(index))}: {state} ({extent})")
        if report.fix:
            write(f"-> {visible(report.fix)}")
        if report.leftovers:
            write(
                f"{plural(len(report.leftovers), 'part')} of an interrupted writer, harmless; the next one removes them"
            )
    if not report.ok:
        leave(PROBLEM)


@click.command(short_help="Show what an index holds.")
@index_argument
@json_option
def info(index: Path, *, as_json: bool) -> None:
    """Show what an index holds and how it was set up."""
    from retrieval.collection.collection import Collection

    with Collection.open(index) as collection:
        stats = collection.stats()
    if as_json:
        write_json(stats)
        return
    facts = _facts(stats)
    width = max(len(name) for name, _ in facts)
    for name, value in facts:
        write(f"{name:<{width}}  {visible(value)}")


def _facts(stats: dict[str, Any]) -> list[tuple[str, str]]:
    settings, encoder, searcher = stats["settings"], stats["encoder"], stats["searcher"]
    deleted = f" ({stats['deleted']:,} deleted ones take space until `retrieval compact`)" if stats["deleted"] else ""
    facts = [
        ("index", f"{stats['path']} (format {stats['format']}, commit {stats['generation']:,})"),
        ("documents", f"{stats['documents']:,}{deleted}"),
        ("size", f"{size(stats['bytes'])} in {plural(len(stats['segments']), 'segment')}"),
        ("analyser", _listed(settings["analyser"])),
        ("fields", _listed(settings["fields"])),
        ("bm25", "none: impacts are added up" if settings["fields"].get("impacts") else _listed(settings["bm25"])),
    ]
    if stats["sparse"] is not None:
        facts += _sparse(stats["sparse"])
    facts += [(f"states {name}", _states(states)) for name, states in stats["tokens"].items()]
    if encoder is None and stats["sparse"] is not None:
        return [*facts, ("long texts", _listed(settings["long"])), ("fusion", _listed(settings["fusion"]))]
    if encoder is None:
        return [*facts, ("encoder", "none: searched by BM25; `retrieval reencode` adds vectors")]
    source = encoder["source"] or encoder["identity"].get("name") or encoder["identity"].get("kind")
    facts += [
        ("encoder", f"{source}, {encoder['dimension']} dimensions, {encoder['similarity']}"),
        ("passages", f"{stats['passages']:,}"),
        ("long texts", _listed(settings["long"])),
        ("fusion", _listed(settings["fusion"])),
        ("searcher", _searcher(searcher)),
    ]
    return facts + _executions(stats["segments"])


def _sparse(sparse: dict[str, Any]) -> list[tuple[str, str]]:
    source = sparse["source"] or sparse["identity"].get("name") or sparse["identity"].get("kind")
    stored = "binary" if sparse["largest_weight"] is None else f"impacts, 255 is {sparse['largest_weight']:g}"
    postings = f"{sparse['postings']:,} ({sparse['postings_per_document']:.1f} a document)"
    return [
        ("sparse encoder", f"{source}, {sparse['n_dimensions']:,} dimensions, {stored}"),
        ("sparse passages", f"{sparse['passages']:,}"),
        (
            "sparse postings",
            f"{postings}, {size(sparse['bytes'])}, {sparse['bytes_per_document']:.0f} bytes a document",
        ),
    ]


def _states(states: dict[str, Any]) -> str:
    source = states["source"] or states["identity"].get("name") or states["identity"].get("kind")
    return (
        f"{source}, {states['width']} x {states['storage']} a token, {states['tokens_per_document']:.1f} tokens and "
        f"{states['bytes_per_document']:,.0f} bytes a document, {size(states['bytes'])}"
    )


def _searcher(searcher: dict[str, Any]) -> str:
    settings = dict(searcher["settings"])
    kind = settings.pop("type")
    if kind == "exact":
        return "exact"
    rest = (
        f"; {plural(searcher['searched_exactly'], 'newer vector')} searched exactly"
        if searcher["searched_exactly"]
        else ""
    )
    return f"{kind} over {searcher['covered']:,} vectors, {size(searcher['bytes'])} ({_listed(settings)}){rest}"


def _executions(segments: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return how the vectors were computed, each way once."""
    ways = dict.fromkeys(_listed(segment["execution"]) for segment in segments if segment["execution"])
    return [("encoded with", way) for way in ways]


def _listed(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())


@click.command(short_help="Write all documents to a file.")
@index_argument
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--vectors", is_flag=True, help="Also the vectors; Parquet only.")
@json_option
def export(index: Path, file: Path, *, vectors: bool, as_json: bool) -> None:
    """Write all documents to a file that `retrieval index` reads.

    FILE ends in .jsonl, .jsonl.gz or .parquet, and is replaced if it is there.
    """
    from retrieval.collection.collection import Collection

    with Collection.open(index) as collection:
        count = collection.export(file, vectors=vectors)
    if as_json:
        write_json({"index": str(index), "file": str(file), "documents": count})
    else:
        write(f"wrote {plural(count, 'document')} to {visible(str(file))}")
