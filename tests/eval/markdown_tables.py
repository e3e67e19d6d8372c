"""The tables of a Markdown document, read back."""

from __future__ import annotations

import itertools

from markdown_it import MarkdownIt

MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def markdown_tables(document):
    """Return the tables of a document as a parser of Markdown reads them: rows of cells, raised letters in brackets."""
    tables = []
    for before, token in itertools.pairwise(MARKDOWN.parse(document)):
        if token.type == "table_open":
            tables.append([])
        elif token.type == "tr_open":
            tables[-1].append([])
        elif before.type in ("th_open", "td_open"):
            pieces = {"<sup>": "[", "</sup>": "]"}
            tables[-1][-1].append("".join(pieces.get(one.content, one.content) for one in token.children))
    return tables
