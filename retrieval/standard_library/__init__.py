"""The documentation of the running Python's standard library as documents: a collection that every machine has."""

from __future__ import annotations

from collections.abc import Iterator

from retrieval.documents import Document
from retrieval.standard_library.compiled_reader import CompiledReader
from retrieval.standard_library.entries import Entry
from retrieval.standard_library.modules import source_files
from retrieval.standard_library.publication import published_entries
from retrieval.standard_library.source_reader import Sources
from retrieval.standard_library.titles import summary, title

__all__ = ["standard_library_documents"]


def standard_library_documents() -> Iterator[Document]:
    """Yield a document for every public module, class, function and method of the standard library that is documented.

    Use it to try things out: several thousand short texts about things that programmers know. Sources are parsed, not
    imported; only modules written in C, and some that wrap them, are imported. Takes some seconds before the first
    document.

    Yields:
        Documents ordered by id. The id is the qualified name ("csv.DictReader", "pathlib.Path.read_text",
        "str.split"), the title the name with its parameters, its words and what its module is about, the text the
        docstring (for a class without one that of its constructor, or the comments of its source), the metadata
        `kind` (module, class, function, method) and `module`.
    """
    entries: dict[str, Entry] = {}
    for entry in published_entries(Sources(source_files())):
        entries.setdefault(entry.name, entry)
    for entry in CompiledReader(set(entries)).entries():
        entries.setdefault(entry.name, entry)
    summaries = {entry.module: summary(entry.text) for entry in entries.values() if entry.kind == "module"}
    for name in sorted(entries):
        entry = entries[name]
        metadata = {"kind": entry.kind, "module": entry.module}
        yield Document(id=name, text=entry.text, title=title(entry, summaries), metadata=metadata)
