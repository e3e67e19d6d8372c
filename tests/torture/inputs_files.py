"""Documents in files: mutated bytes of every text format, round trips, and markup made to take endless time."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path

from hypothesis import strategies as st

from retrieval.documents import Document, read_documents
from retrieval.errors import RetrievalError
from tests.torture.fuzzing import guarded, mutate, try_many
from tests.torture.outcome import Outcome, Profile

_ROWS = [{"id": f"d{n}", "title": f"Title é {n}", "text": f'text, "{n}" 文', "year": 2000 + n} for n in range(4)]
_JSONL = "".join(json.dumps(row, ensure_ascii=n % 2 == 0) + "\n" for n, row in enumerate(_ROWS)).encode()
_CSV = b'id,title,text,year\r\nd0,T,"a ""b""\r\nc",2000\r\nd1,"\xc3\xa9",x,\r\nd2,,y,1.5\r\n'
_TSV = b'id\ttitle\ttext\tyear\nd0\tT\ta "b"\t2000\nd1\t\xc3\xa9\tx\t\nd2\t\ty\tnull\n'
_HTML = (
    b'<!doctype html><html><head><meta charset="latin-1"><title>A &amp; B</title><style>p{}</style></head><body>'
    b"<h1>H</h1><!-- c --><p class='x'>One<br>two <b>bold</b></p><table><tr><td>1<td>2</table><script>x</script></body>"
)
_MARKDOWN = b"""---
title: T
---
# Head

text *a* **b** `c` [l](u) ![i](u) &amp; <b>x</b>

| a | b |
|---|---|
| 1 | 2 |

```
x
```
> q
- i
"""
_RST = b"""Title
=====

text *a* ``b`` `l <u>`_ :r:`x` |s|

.. note:: n

   body

- i

+--+--+
|a |b |
+--+--+

.. |s| replace:: t
"""
SEEDS: dict[str, bytes] = {
    "a.jsonl": _JSONL,
    "a.csv": _CSV,
    "a.tsv": _TSV,
    "collection.tsv": b"0\tpassage one\n1\tpassage \xc3\xa9\n2\t\n",
    "b.jsonl.gz": gzip.compress(_JSONL, mtime=0),
    "a.html": _HTML,
    "a.md": _MARKDOWN,
    "a.rst": _RST,
    "a.txt": "text é 文\nline".encode(),
    "unnamed": _JSONL,
    "utf16.jsonl": _JSONL.decode().encode("utf-16"),
}
_OTHER_BEGINNINGS = (b"\xff", b"\xfe", b"\0", b"\x1f", b"\x28")  # of wide encodings and of compressed files
_SLOW = ("a.rst", "a.md", "a.html")  # parsed, not scanned: fewer of them

# Each repeated many times made a parser take quadratic time, or is the kind of thing that does.
_ENDLESS = {
    "a.html": ["<div>", "<a ", '<a b="', "<!--", "<p", "</x", "<![CDATA[", " ", "&#", "<a b='\">", "<script></", " \n"],
    "a.md": ["[", "![", "`a``", "<!--", "<?", "**a *b ", "> ", "- ", "|a", "[a](", "[a]: b\n", "\\", "&"],
    "a.rst": ["*a ", "`a ", "a_ ", "|a ", "- ", "1. ", "=\n", "+-+\n|", ":a:", "[a]_ ", ".. a::\n", " \n  - a\n"],
    "a.txt": ["\u0301\u0316", " ", "\n", "東", "ﷺ"],
    "a.csv": ["id,text\n", '"', '","\n', ","],
    "a.jsonl": ["[", '{"a":', '"', "{}\n", "9", "\\u0000", "\n"],
}

_WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS, inner, max_size=3),
    max_leaves=5,
)
DOCUMENTS = st.lists(
    st.builds(
        Document,
        id=_WORDS.filter(bool),
        text=_WORDS,
        title=_WORDS,
        metadata=st.dictionaries(_WORDS, _JSON, max_size=3),
    ),
    max_size=4,
)


def attack_files(profile: Profile, folder: Path) -> Outcome:
    """Attack the readers of documents in this process."""
    outcome = Outcome("documents in mutated files", "inputs")
    generator = random.Random(f"files {profile.seed}")
    for name, data in SEEDS.items():
        path = folder / name
        tries = profile.pick(short=12 if name in _SLOW else 40, long=1000 if name in _SLOW else 8000)
        for number in range(tries):
            changed = mutate(generator, data)
            guarded(outcome, f"{name}, seed {profile.seed}, try {number}, {changed[:200]!r}", _reads(path, changed))
        path.unlink(missing_ok=True)
    for name, units in _ENDLESS.items():
        size = profile.pick(short=2_000, long=15_000 if name == "a.rst" else 60_000)
        for unit in units[: profile.pick(short=4, long=100)]:
            data = (unit * (size // len(unit))).encode()
            guarded(outcome, f"{unit!r} repeated to {size:,} characters in {name}", _reads(folder / name, data))
    check = _round_trip(folder / "round.jsonl")
    examples = profile.pick(short=30, long=3000)
    try_many(outcome, "documents as JSON lines", DOCUMENTS, check, examples=examples, start=profile.seed)
    objects = st.lists(
        st.one_of(DOCUMENTS, st.lists(_JSON), st.lists(st.dictionaries(st.text() | st.integers(), _JSON)))
    )
    try_many(outcome, "objects", objects, _reads_objects, examples=examples, start=profile.seed)
    return outcome


def _reads(path: Path, data: bytes) -> Callable[[], None]:
    def attack() -> None:
        path.write_bytes(data)
        read(path)

    return attack


def read(path: Path) -> None:
    """Read a file twice; whatever its bytes are, each pass reads the same, and each line is read or counted."""
    try:
        reader = read_documents(path)
        documents = list(reader)
    except RetrievalError as error:
        assert "\n" not in str(error), "an error of several lines"
        return
    report = reader.report
    assert report.read == len(documents), "the report counts other documents"
    assert all(isinstance(document, Document) for document in documents)
    assert reader.report.summary().isprintable(), "a summary that cannot be shown on one line"
    skipped = report.n_skipped
    assert list(reader) == documents, "the second pass read other documents"
    assert reader.report.n_skipped == skipped, "the second pass counted otherwise"
    if path.name == "a.jsonl" and not path.read_bytes().startswith(
        (b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe", b"\x1f\x8b", b"\x28")
    ):
        lines = [line for line in path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n") if line.strip()]
        assert len(documents) + skipped == len(lines), f"{len(lines)} lines, {len(documents)} read, {skipped} skipped"
    elif path.suffix in {".html", ".md", ".rst", ".txt"}:
        assert len(documents) + skipped == 1, "neither read nor counted"


def _round_trip(path: Path) -> Callable[[list[Document]], None]:
    def check(documents: list[Document]) -> None:
        path.write_text(
            "".join(json.dumps(document.to_mapping()) + "\n" for document in documents), encoding="utf-8", newline="\n"
        )
        found = read_documents(path)
        usable = [document for document in documents if document.text.strip() or document.title.strip()]
        expected = [d for d in usable if "metadata" not in d.metadata]  # a key of that name is spread in its turn
        assert [d for d in found if "metadata" not in d.metadata] == expected
        assert found.report.read == len(usable)
        assert found.report.n_skipped == len(documents) - len(usable)
        table = pyarrow.table({name: [getattr(d, name) for d in usable] for name in ("id", "text", "title")})
        pyarrow.parquet.write_table(table, path.with_suffix(".parquet"))
        plain = [(d.id, d.text, d.title) for d in read_documents(path.with_suffix(".parquet"))]
        assert plain == [(d.id, d.text, d.title) for d in usable]

    import pyarrow.parquet

    return check


def _reads_objects(groups: list[list[object]]) -> None:
    objects = [element for group in groups for element in group if not isinstance(element, str)]  # a string is a path
    reader = read_documents(objects)  # type: ignore[arg-type]
    assert len(list(reader)) + reader.report.n_skipped == len(objects)
