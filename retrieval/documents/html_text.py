"""HTML to title and plain text."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag

# Not "head": its end tag may be omitted, and html.parser then puts the whole page inside it.
_LEFT_OUT = frozenset({"script", "style", "noscript", "template", "nav", "svg", "iframe", "object", "title"})
_INLINE = re.compile(
    "a|abbr|acronym|b|bdi|bdo|big|cite|code|data|del|dfn|em|font|i|ins|kbd|label|mark|q|s|samp|small|span|strong|sub|"
    "sup|time|tt|u|var|wbr"
)
_SPACES = re.compile(r"[^\S\n]+")
_LINE_ENDS = re.compile(r" ?\n\s*")
_LONGEST_REST = 1000
MOST_TAGS = 500_000  # a page in memory takes more than a kilobyte for each


def html_to_text(markup: str) -> tuple[str, str]:
    """Read an HTML page.

    Scripts, styles, navigation and comments are left out; each block element starts a line, inline ones do not split
    words.

    Args:
        markup: The page; any string is accepted.

    Returns:
        The title (of the page, else its first first-level heading, else ""), and the text.

    Raises:
        ValueError: It has more than `MOST_TAGS` tags.
    """
    from bs4 import BeautifulSoup

    if markup.count("<") > MOST_TAGS:
        raise ValueError(f"the page has more than {MOST_TAGS:,} tags")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # bs4 warns about text that looks like a file name or like XML
        soup = BeautifulSoup(_without_endless_tags(markup), "html.parser")
    title = collapse_spaces(soup.title.get_text()) if soup.title else ""
    if not title and (heading := soup.find("h1")) is not None:
        title = collapse_spaces(heading.get_text())
        heading.decompose()
    return title.replace("\n", " "), collapse_spaces("".join(_pieces(soup)))


def _without_endless_tags(markup: str) -> str:
    """Turn the tags of a long rest in which no tag ends into text.

    The parser takes them as text too, but looks for the end of each in all that follows: quadratic time.
    """
    from html.parser import HTMLParser

    parser = HTMLParser(convert_charrefs=False)
    try:
        parser.feed(markup)  # stops at a tag without an end, whose absence only `close` would settle
    except AssertionError:  # the parser rejects the page, which is for the caller's parser to say
        return markup
    rest = parser.rawdata
    if len(rest) <= _LONGEST_REST:
        return markup
    return markup[: len(markup) - len(rest)] + rest.replace("<", "&lt;")


def declared_encoding(data: bytes) -> str | None:
    """Return the character encoding that an HTML page declares in its first bytes, if any."""
    from bs4.dammit import EncodingDetector

    return EncodingDetector.find_declared_encoding(data, is_html=True)


def collapse_spaces(text: str) -> str:
    """Reduce every run of white space to one line end if it holds one, else to one space."""
    return _LINE_ENDS.sub("\n", _SPACES.sub(" ", text)).strip()  # in this order, each takes linear time


def _pieces(soup: BeautifulSoup | Tag) -> Iterator[str]:
    """Walk the tree without recursion (pages nest deeper than Python's stack) and yield text and line ends."""
    from bs4.element import NavigableString, PreformattedString, Tag

    waiting = [iter(soup.contents)]
    closers = [""]
    while waiting:
        node = next(waiting[-1], None)
        if node is None:
            waiting.pop()
            yield closers.pop()
        elif isinstance(node, Tag):
            if node.name in _LEFT_OUT:
                continue
            edge = "" if _INLINE.fullmatch(node.name) else "\n"
            yield edge
            waiting.append(iter(node.contents))
            closers.append(edge)
        elif isinstance(node, NavigableString) and not isinstance(node, PreformattedString):  # no comments, doctypes
            yield str(node)
