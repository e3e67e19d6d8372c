"""What `retrieval index` did, as one mapping: for JSON as it is, for people in a few lines."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from retrieval.cli.terminal import duration, plural, size, visible, write

if TYPE_CHECKING:
    from retrieval.collection.collection import Collection
    from retrieval.collection.reports import ChangeReport
    from retrieval.documents import ReadReport

_COUNTS = ("added", "updated", "unchanged", "deleted")


def index_report(
    collection: Collection, read: ReadReport, changes: ChangeReport, *, created: bool, seconds: float
) -> dict[str, Any]:
    """Put together what was read, what changed and what the index is now."""
    stats = collection.stats()
    return {
        "index": str(collection.path),
        "created": created,
        "read": read.read,
        **{name: getattr(changes, name) for name in _COUNTS},
        "skipped": dict(Counter(read.skipped) + changes.skipped),
        "noted": dict(read.noted),
        "examples": {**read.examples, **({"not taken": changes.examples} if changes.examples else {})},
        "long_documents": changes.long_documents,
        "tokens_cut": changes.tokens_cut,
        "passages_encoded": changes.encoded,
        "sparse_long_documents": changes.sparse_long_documents,
        "sparse_tokens_cut": changes.sparse_tokens_cut,
        "sparse_weights_cut": changes.sparse_weights_cut,
        "sparse_passages_encoded": changes.sparse_encoded,
        "sparse_passages": stats["sparse"]["passages"] if stats["sparse"] else 0,
        "states_encoded": changes.states_encoded,
        "states_long_documents": changes.states_long_documents,
        "states": {name: states["source"] for name, states in stats["tokens"].items()},
        "documents": stats["documents"],
        "passages": stats["passages"],
        "bytes": stats["bytes"],
        "encoder": stats["encoder"] and stats["encoder"]["source"],
        "sparse_encoder": stats["sparse"] and stats["sparse"]["source"],
        "long": collection.settings.long.policy,
        "seconds": seconds,
    }


def write_index_report(report: dict[str, Any]) -> None:
    """Write it for people."""
    write(
        f"{'created' if report['created'] else 'updated'} {visible(report['index'])} in {duration(report['seconds'])}"
    )
    counts = [f"{report[name]:,} {name}" for name in _COUNTS if report[name]]
    write(f"  read       {plural(report['read'], 'document')}: {', '.join(counts) or 'nothing changed'}")
    if report["created"] and report["updated"] + report["unchanged"]:
        repeated = report["updated"] + report["unchanged"]
        write(f"  repeated   {plural(repeated, 'document')} had the id of an earlier one; the last one stays")
    for name in ("skipped", "noted"):
        for reason, count in sorted(report[name].items(), key=lambda item: (-item[1], item[0])):
            write(f"  {name:<9}  {count:,} x {visible(reason)}")
            for example in report["examples"].get(reason, ()):
                write(f"               {visible(example)}")
    for kind in ("", "sparse_"):
        if report[f"{kind}long_documents"]:
            write(f"  long       {_long(report, kind)}")
    if report["sparse_weights_cut"]:
        write(f"  cut        {plural(report['sparse_weights_cut'], 'sparse weight')} to the largest that is stored")
    if report["states_long_documents"]:
        long = plural(report["states_long_documents"], "text")
        write(f"  long       {long} as long as a network of stored states reads, or longer: the rest is not read")
    write(f"  index now  {_holdings(report)}")


def _long(report: dict[str, Any], kind: str) -> str:
    if report["long"] == "late":
        documents = plural(report[f"{kind}long_documents"], "document")
        how = "alone" if kind else "within their text"
        return f"{documents} longer than a passage, split into passages that are encoded {how}"
    encoder = f"{kind.replace('_', ' ')}encoder"
    documents = f"{plural(report[f'{kind}long_documents'], 'document')} longer than the {encoder} reads"
    if report["long"] == "truncate":
        return f"{documents}, cut: {plural(report[f'{kind}tokens_cut'], 'token')} not read"
    return f"{documents}, split into passages"


def _holdings(report: dict[str, Any]) -> str:
    parts = [plural(report["documents"], "document")]
    if report["passages"]:
        encoded = plural(report["passages_encoded"], "text")
        parts.append(f"{plural(report['passages'], 'passage')} with vectors ({encoded} encoded)")
    elif not report["sparse_passages"]:
        parts.append("no vectors, searched by BM25")
    if report["sparse_passages"]:
        encoded = plural(report["sparse_passages_encoded"], "text")
        parts.append(f"{plural(report['sparse_passages'], 'passage')} with sparse vectors ({encoded} encoded)")
    if report["states"]:
        encoded = plural(report["states_encoded"], "text")
        parts.append(f"stored states of {', '.join(map(visible, report['states']))} ({encoded} encoded)")
    return ", ".join([*parts, size(report["bytes"])])
