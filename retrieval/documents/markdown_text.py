"""Markdown (CommonMark with tables) to title and plain text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from retrieval.documents.html_text import html_to_text

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_core import StateCore
    from markdown_it.token import Token

_FRONT_MATTER = re.compile(r"\A(---|\+\+\+)[ \t]*\r?\n(.*?)^\1[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)
_FRONT_TITLE = re.compile(r"^title[ \t]*[:=](.*)$", re.MULTILINE)
LONGEST_FILE = 4_000_000  # characters; parsed text takes a hundred times the memory
LONGEST_PARAGRAPH = 10_000  # characters whose inline markup is read; the parser takes quadratic time on some


def markdown_to_text(source: str) -> tuple[str, str]:
    """Read a Markdown file.

    Front matter is dropped, except for its title; links keep their words, images their descriptions, code its text.
    A paragraph longer than `LONGEST_PARAGRAPH` is text as it stands.

    Args:
        source: The file's text; any string is accepted.

    Returns:
        The title (of the front matter, else the first heading, which then is not part of the text, else ""), the text.

    Raises:
        ValueError: It is longer than `LONGEST_FILE`, or holds HTML of too many tags.
    """
    if len(source) > LONGEST_FILE:
        raise ValueError(f"the file has more than {LONGEST_FILE:,} characters")
    title = ""
    front_matter = _FRONT_MATTER.match(source)
    if front_matter:
        source = source[front_matter.end() :]
        stated = _FRONT_TITLE.search(front_matter[2])
        title = stated[1].strip().strip("\"'") if stated else ""
    tokens = _parser().parse(source)
    lines = []
    for position, token in enumerate(tokens):
        text = _text(token)
        if not title and token.type == "inline" and tokens[position - 1].type == "heading_open":
            title = text.replace("\n", " ").strip()
        elif text:
            lines.append(text)
    return title, "\n".join(lines)


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark").enable("table")
    parser.core.ruler.before("inline", "long_paragraphs", _keep_long_paragraphs)
    return parser


def _keep_long_paragraphs(state: StateCore) -> None:
    for token in state.tokens:
        if token.type == "inline" and len(token.content) > LONGEST_PARAGRAPH:
            token.type = "code_block"


def _text(token: Token) -> str:
    if token.type == "inline":
        return _inline_text(token.children or []).strip()
    if token.type in {"fence", "code_block"}:
        return token.content.rstrip()
    return html_to_text(token.content)[1] if token.type == "html_block" else ""


def _inline_text(tokens: Sequence[Token]) -> str:
    parts = []
    for token in tokens:
        if token.type == "image":
            parts.append(_inline_text(token.children or []))
        elif token.type in {"softbreak", "hardbreak"}:
            parts.append("\n")
        elif token.type in {"text", "code_inline", "text_special"}:
            parts.append(token.content)
    return "".join(parts)
