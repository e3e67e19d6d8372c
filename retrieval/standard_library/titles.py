"""Titles that can be searched: people type "dictionary reader" and "csv", the library says csv.DictReader."""

from __future__ import annotations

import re
from collections.abc import Mapping

from retrieval.standard_library.entries import Entry

_WORD_STARTS = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|_")
_FILE_NAME = re.compile(r"^\w+\.py\s*[-:]*\s*")
_LONGEST_SUMMARY = 100

_ABBREVIATIONS = {
    "addr": "address",
    "arg": "argument",
    "args": "arguments",
    "attr": "attribute",
    "attrs": "attributes",
    "char": "character",
    "cmp": "compare",
    "config": "configuration",
    "db": "database",
    "dict": "dictionary",
    "dir": "directory",
    "dirs": "directories",
    "doc": "documentation",
    "docs": "documentation",
    "env": "environment",
    "eval": "evaluate",
    "exec": "execute",
    "func": "function",
    "info": "information",
    "int": "integer",
    "iter": "iterator",
    "len": "length",
    "lib": "library",
    "max": "maximum",
    "min": "minimum",
    "msg": "message",
    "num": "number",
    "obj": "object",
    "param": "parameter",
    "params": "parameters",
    "pos": "position",
    "proc": "process",
    "ref": "reference",
    "rm": "remove",
    "seq": "sequence",
    "src": "source",
    "str": "string",
    "temp": "temporary",
    "tmp": "temporary",
    "var": "variable",
    "vars": "variables",
}
"""Words that names of the standard library abbreviate."""

_VERBS = {
    "builder": "builds",
    "compressor": "compresses",
    "counter": "counts",
    "decoder": "decodes",
    "decompressor": "decompresses",
    "encoder": "encodes",
    "executor": "executes",
    "finder": "finds",
    "formatter": "formats",
    "generator": "generates",
    "handler": "handles",
    "loader": "loads",
    "opener": "opens",
    "parser": "parses",
    "reader": "reads",
    "scanner": "scans",
    "sniffer": "detects",
    "writer": "writes",
}
"""What things do that are named after it: stems of nouns and verbs differ, and people ask with verbs."""


def title(entry: Entry, summaries: Mapping[str, str]) -> str:
    """Return a name with its parameters, then the words that it is made of and what its module is about.

    For example "csv.DictReader(f, fieldnames=None, ...): dictionary reader (reads), read/write/investigate CSV files".

    Args:
        entry: what to name.
        summaries: module -> what it is about.
    """
    leaf = entry.name.rpartition(".")[2]
    words = _words(leaf)
    summary = summaries.get(entry.module, "") if entry.kind != "module" else ""
    about = ", ".join(part for part in (words if words != leaf.lower() else "", summary) if part)
    return f"{entry.name}{entry.signature}" + (f": {about}" if about else "")


def summary(text: str) -> str:
    """Return the first sentence of a module's documentation, where it is a short one."""
    first = " ".join(text.split("\n\n", 1)[0].split()).split(". ", 1)[0].strip(" .:")
    first = _FILE_NAME.sub("", first)
    return first if len(first) <= _LONGEST_SUMMARY else ""


def _words(name: str) -> str:
    words = " ".join(_WORD_STARTS.split(name)).lower().split()
    verb = _VERBS.get(words[-1]) if words else None
    return " ".join(_ABBREVIATIONS.get(word, word) for word in words) + (f" ({verb})" if verb else "")
