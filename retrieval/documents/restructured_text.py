"""reStructuredText to title and plain text, with everything that reads files or emits raw markup switched off."""

from __future__ import annotations

import re
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
LONGEST_LINE = 10_000  # docutils' own limit; its patterns take quadratic time on longer ones
_ROLE = re.compile(r":[\w.+:-]+:`([^`<]*?)\s*(?:<[^`>]*>)?`")


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

    if any(len(line) > LONGEST_LINE for line in source.splitlines()):
        raise ValueError(f"a line has more than {LONGEST_LINE:,} characters")
    tree = publish_doctree(source, settings_overrides=_SETTINGS)
    heading = next(iter(tree.findall(nodes.title)), None)
    title = "" if heading is None else _plain(heading)
    if heading is not None:
        heading.parent.remove(heading)
    return title.replace("\n", " "), "\n".join(_blocks(tree))


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
