"""The results table as Markdown, made from results.json alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_HEADER = """\
# What was measured

Written by `python -m eval.reproduce`; `results.json` beside this file holds the same with the versions of all packages.
Encoder: the embedded all-MiniLM-L6-v2 (fp32), exact search, query and document = title, a space and the text. The
policies for texts longer than the encoder reads are `truncate` and `chunk` (best passage counts); hybrid search fuses
BM25 and dense, chunk. Latency is that of single searches for 10 documents, encoding of the query included. A reference
is somebody else's nDCG@10; where it is the same system, the difference has to stay within the tolerance given.
"""


def markdown(results: Mapping[str, Any], policies: Mapping[str, str]) -> str:
    """Return the table.

    Args:
        results: content of results.json: an entry for each test set.
        policies: what the measures leave open, as it was decided.
    """
    parts = [_HEADER]
    parts += [_section(name, entry) for name, entry in results.items()]
    parts.append("## Policies\n\n" + "\n".join(f"- {policy}: {text}" for policy, text in policies.items()) + "\n")
    return "\n".join(parts)


def _section(name: str, entry: Mapping[str, Any]) -> str:
    measures = list(entry["rows"][0]["measures"])
    best = {measure: max(row["measures"][measure] for row in entry["rows"]) for measure in measures}
    head = ["system", *measures, "p50 ms", "p95 ms", "reference", "difference"]
    lines = [
        f"## {name}",
        "",
        f"{entry['documents']:,} documents ({entry['passages']:,} passages), {entry['queries']:,} judged queries "
        f"({entry['split']}). {_machine(entry)}",
        "",
        _row(head),
        _row(["---", *["---:"] * (len(head) - 1)]),
    ]
    notes: dict[str, int] = {}
    for row in entry["rows"]:
        values = [_value(row["measures"][measure], best[measure]) for measure in measures]
        lines.append(_row([_system(row, entry), *values, *_latency(row), *_reference(row, notes)]))
    lines += ["", *(f"[{number}] {source}  " for source, number in notes.items())]
    return "\n".join(lines).rstrip() + "\n"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _system(row: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
    if row["system"] != "BM25":
        return str(row["system"])
    return f"BM25 (default: k1={entry['bm25_default']['k1']:g} b={entry['bm25_default']['b']:g})"


def _value(value: float, best: float) -> str:
    return f"**{value:.4f}**" if value == best else f"{value:.4f}"


def _latency(row: Mapping[str, Any]) -> list[str]:
    latency = row["latency_ms"]
    return ["", ""] if latency is None else [f"{latency['p50']:.1f}", f"{latency['p95']:.1f}"]


def _reference(row: Mapping[str, Any], notes: dict[str, int]) -> list[str]:
    reference = row["reference"]
    if reference is None:
        return ["", ""]
    tolerance = reference["tolerance"]
    source = reference["source"] + (f"; tolerance {tolerance:g}" if tolerance is not None else "")
    number = notes.setdefault(source, len(notes) + 1)
    difference = row["measures"]["nDCG@10"] - reference["nDCG@10"]
    outside = tolerance is not None and abs(difference) > tolerance
    return [f"{reference['nDCG@10']:.4f} [{number}]", f"{difference:+.4f}{' (outside)' if outside else ''}"]


def _machine(entry: Mapping[str, Any]) -> str:
    machine, versions = entry["machine"], entry["versions"]
    packages = ", ".join(f"{name} {versions[name]}" for name in ("python", "torch", "numpy") if name in versions)
    return f"Measured on {machine['processor']}, {machine['cores']} cores, {packages}."
