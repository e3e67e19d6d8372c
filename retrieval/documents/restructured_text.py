"""reStructuredText to title and plain text, with everything that reads files or emits raw markup switched off."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_SETTINGS = {
    "file_insertion_enabled": False,  # a document must not read the files of the machine that indexes it
    "raw_enabled": False,
    "_disable_config": True,
    "report_level": 1,  # keep all messages: the block of an unknown directive is inside one
    "halt_level": 5,
    "warning_stream": False,
    "syntax_highlight": "none",
    "smart_quotes": False,
    "doctitle_xform": True,
    "input_encoding": "unicode",
}
LONGEST_FILE = 1_000_000  # characters; parsed text takes a thousand times the memory, and a second for 20,000
LONGEST_LINE = 10_000  # docutils' own limit; its patterns take quadratic time on longer ones
LONGEST_PARAGRAPH = 10_000  # characters whose inline markup is read, for the same reason
_STEPS_PER_LINE = 25  # how often the parser may come back to a line: real documents need at most 4, deep nesting 200
_ROLE = re.compile(r"(?<![\w.+:-]):[\w.+:-]{1,100}:`([^`<]{0,1000}?)\s{0,100}(?:<[^`>]{0,1000}>)?`")


def rst_to_text(source: str) -> tuple[str, str]:
    """Read a reStructuredText file.

    Directives that docutils does not know (Sphinx's, for one) keep their text, unknown roles their words.

    Args:
        source: The file's text.

    Returns:
        The title (the first heading, which then is not part of the text, else ""), and the text.

    Raises:
        Exception: docutils fails on the markup in ways of its own; callers fall back to the text as it is.
    """
    from docutils import nodes
    from docutils.core import publish_doctree

    if len(source) > LONGEST_FILE:
        raise ValueError(f"the file has more than {LONGEST_FILE:,} characters")
    lines = source.splitlines()
    if any(len(line) > LONGEST_LINE for line in lines):
        raise ValueError(f"a line has more than {LONGEST_LINE:,} characters")
    with _own_roles():
        tree = publish_doctree(
            source, parser=_bounded_parser(1000 + _STEPS_PER_LINE * len(lines)), settings_overrides=_SETTINGS
        )
    heading = next(iter(tree.findall(nodes.title)), None)
    title = "" if heading is None else _plain(heading)
    if heading is not None:
        heading.parent.remove(heading)
    return title.replace("\n", " "), "\n".join(_blocks(tree))


def _bounded_parser(most_steps: int) -> Any:
    """Make a parser that gives up (ValueError) on markup that takes it quadratic time, such as deep nesting."""
    from docutils import nodes
    from docutils.parsers.rst import Parser
    from docutils.parsers.rst.states import Inliner

    inliner = Inliner()
    parse_inline = inliner.parse

    def parse_unless_long(text: str, *arguments: Any) -> tuple[list[Any], list[Any]]:
        return ([nodes.Text(text)], []) if len(text) > LONGEST_PARAGRAPH else parse_inline(text, *arguments)

    inliner.parse = parse_unless_long  # not a subclass: docutils looks up the patterns in the class itself

    class BoundedParser(Parser):
        def parse(self, inputstring: str, document: Any) -> None:
            steps = itertools.count(1)
            note_source = document.note_source

            def counted(source: Any, offset: Any) -> None:  # called at every line by every nested state machine
                if next(steps) > most_steps:
                    raise ValueError(f"the markup takes more than {most_steps:,} steps")
                note_source(source, offset)

            document.note_source = counted
            super().parse(inputstring, document)
            document.note_source = note_source

    return BoundedParser(inliner=inliner)


@contextmanager
def _own_roles() -> Iterator[None]:
    """Forget the roles that a document defines: docutils keeps them for the process, and so for the next document."""
    from docutils.parsers.rst import roles

    before = dict(roles._roles)
    try:
        yield
    finally:
        roles._roles.clear()
        roles._roles.update(before)


def _blocks(tree: Any) -> list[str]:
    """Collect the text of the innermost blocks, in reading order."""
    from docutils import nodes

    left_out = (nodes.comment, nodes.substitution_definition, nodes.raw, nodes.target)
    texts = []
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, left_out):
            continue
        if isinstance(node, nodes.system_message):
            waiting.extend(child for child in node.children[::-1] if isinstance(child, nodes.literal_block))
        elif isinstance(node, nodes.TextElement):
            texts.append(_plain(node))
        elif isinstance(node, nodes.Text):
            texts.append(str(node))
        else:
            waiting.extend(node.children[::-1])
    return [text for text in texts if text]


def _plain(node: Any) -> str:
    return _ROLE.sub(r"\1", node.astext()).strip()
