"""Commands that look at an index and leave it as it is: `info`, `verify`, `export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from retrieval.cli.errors import PROBLEM
from retrieval.cli.options import Index, Json
from retrieval.cli.terminal import plural, size, visible, write, write_json


def verify(index: Index, json: Json = False) -> None:
    """Read every file of an index, compare it with its checksum, and check that the parts belong together.

    Nothing is repaired. The exit status is 1 when something is damaged.
    """
    from retrieval.collection.verification import verify as verify_collection

    report = verify_collection(index)
    if json:
        write_json(
            {
                "index": str(index),
                "ok": report.ok,
                "files": report.files,
                "bytes": report.size,
                "problems": report.problems,
                "leftovers": report.leftovers,
            }
        )
    else:
        for problem in report.problems:
            write(visible(problem))
        extent = f"{plural(report.files, 'file')}, {size(report.size)}"
        state = "all is as it was written" if report.ok else plural(len(report.problems), "problem")
        write(f"{visible(str(index))}: {state} ({extent})")
        if report.leftovers:
            write(
                f"{plural(len(report.leftovers), 'part')} of an interrupted writer, harmless; the next one removes them"
            )
    if not report.ok:
        raise typer.Exit(PROBLEM)


def info(index: Index, json: Json = False) -> None:
    """Show what an index holds and how it was set up."""
    from retrieval.collection.collection import Collection

    with Collection.open(index) as collection:
        stats = collection.stats()
    if json:
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
        ("bm25", _listed(settings["bm25"])),
    ]
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


def _searcher(searcher: dict[str, Any]) -> str:
    if searcher["settings"]["kind"] == "exact":
        return "exact"
    rest = (
        f"; {plural(searcher['searched_exactly'], 'newer vector')} searched exactly"
        if searcher["searched_exactly"]
        else ""
    )
    return f"{_listed(searcher['settings'])} over {searcher['covered']:,} vectors, {size(searcher['bytes'])}{rest}"


def _executions(segments: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return how the vectors were computed, each way once."""
    ways = dict.fromkeys(_listed(segment["execution"]) for segment in segments if segment["execution"])
    return [("encoded with", way) for way in ways]


def _listed(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())


def export(
    index: Index,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="Ending in .jsonl, .jsonl.gz or .parquet; it is replaced.", show_default=False
        ),
    ],
    vectors: Annotated[bool, typer.Option("--vectors", help="Also the vectors; Parquet only.")] = False,
    json: Json = False,
) -> None:
    """Write all documents to a file that `retrieval index` reads."""
    from retrieval.collection.collection import Collection

    with Collection.open(index) as collection:
        count = collection.export(file, vectors=vectors)
    if json:
        write_json({"index": str(index), "file": str(file), "documents": count})
    else:
        write(f"wrote {plural(count, 'document')} to {visible(str(file))}")
