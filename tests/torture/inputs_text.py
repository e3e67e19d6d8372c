"""Analysis, query syntax, snippets and windows of any text; filters as text, as JSON, and over columns."""

from __future__ import annotations

import msgspec
import numpy as np
from hypothesis import strategies as st

from retrieval.analysis import Analyser, AnalyserSettings, TermTable
from retrieval.errors import FilterError, QueryError
from retrieval.filters import Filter, parse_filter
from retrieval.metadata_columns import MetadataColumns
from retrieval.query_syntax import contains_phrase, parse_query
from retrieval.snippets import ELLIPSIS, snippet
from retrieval.windows import window_ranges
from tests.retrieval import filter_strategies as some
from tests.torture.fuzzing import guarded, try_many
from tests.torture.outcome import Outcome, Profile

_CHARACTERS = (
    "aZ09 .,-_'’ \n\t\"+−“”()ée\u0301\u0316\u0323ßẞﬁÅ①½㎏™ŉİıςΣ\u0345йहिन्दीไทยน้ำខ្មែរမြန်မာ東京か\u3099ｶﾞ々\U000e0100𠮷"
    "한국\u1112\u1161\u11abעִבְרِيّـ\u200c\u200d\u00ad\u200b\ufeff😀\ufe0f\0\x1c\x85\u2028\ud800\udfff\ufdfa\u0f73\uff9e"
)
TEXTS = st.one_of(
    st.text(st.sampled_from(_CHARACTERS), max_size=60),
    st.text(st.characters(), max_size=60),  # lone surrogates too
    st.builds(lambda unit, times: unit * times, st.text(st.sampled_from(_CHARACTERS), max_size=4), st.integers(0, 500)),
)
_LANGUAGES = ("english", "none", "turkish", "german", "persian", "arabic")
_ANALYSERS = [Analyser(AnalyserSettings(language)) for language in _LANGUAGES]
_ANALYSERS.append(Analyser(AnalyserSettings("none", character_bigrams=False, fold_diacritics=False)))
_UNITS = (
    "\u0301\u0316",
    "a\u0301\u0316",
    "\u0f73\u0301",
    "\uff9e\u0301",
    "\u0301\u0640\u0316\u0640",
    "Σ'",
    "ﷺ",
    "ท\u0e48",
)
_MORE_UNITS = ("東", "½", "\ud800", "\u200d", "\u1161", "'s", "a's ", "_", '"a" ', "-a ", "+", '"')


def attack_text(profile: Profile) -> Outcome:
    """Attack the analyser and all that rests on it."""
    outcome = Outcome("analysis and query syntax of any text", "inputs")
    examples = profile.pick(short=40, long=2500)
    for what, strategy, check in (
        ("analysis", st.tuples(st.sampled_from(_ANALYSERS), TEXTS), _analyses),
        ("query syntax", st.tuples(st.sampled_from(_ANALYSERS), TEXTS), _parses),
        ("snippets", st.tuples(st.sampled_from(_ANALYSERS), TEXTS, TEXTS, st.integers(1, 80)), _cuts_snippets),
        ("windows", st.tuples(TEXTS, st.integers(1, 40), st.integers(1, 40), st.integers(0, 60)), _cuts_windows),
    ):
        try_many(outcome, what, strategy, check, examples=examples, start=profile.seed)
    size = profile.pick(short=3_000, long=100_000)
    for unit in (*_UNITS, *_MORE_UNITS):
        text = unit * (size // len(unit))
        guarded(
            outcome, f"{unit!r} repeated to {size:,} characters", lambda text=text: _analyses((_ANALYSERS[0], text))
        )
        guarded(outcome, f"{unit!r} as a long query", lambda text=text: _parses((_ANALYSERS[0], text)))
    for closing in (")", "”", "."):
        text = closing * (size // 4)
        guarded(outcome, f"windows over {closing!r}", lambda text=text: _cuts_windows((text, 128, 128, 16)))
    return outcome


def attack_filters(profile: Profile) -> Outcome:
    """Attack the two forms of filters, and masks over columns."""
    outcome = Outcome("metadata filters", "inputs")
    examples = profile.pick(short=40, long=2000)
    for what, strategy, check in (
        ("round trip", some.any_filter, _reads_back),
        ("text", some.filter_texts | some.filter_tokens | TEXTS, _is_filter_or_error),
        ("JSON", some.filter_objects, _is_filter_or_error),
        ("columns", st.tuples(st.lists(some.metadata, max_size=6), some.filters), _masks_equal_the_meaning),
    ):
        try_many(outcome, what, strategy, check, examples=examples, start=profile.seed)
    for where in (
        "(",
        "not ",
        "a = 1 and ",
        "a = 1 or (",
        '{"not":',
        '{"and":[',
        "`",
        "'",
        "[",
        "a in [1,",
        "9",
        "a=-",
    ):
        for text in (where * 5000, where * 5000 + "a = 1"):
            guarded(outcome, f"{where!r} 5,000 times", lambda text=text: _is_filter_or_error(text))
    return outcome


def _analyses(case: tuple[Analyser, str]) -> None:
    analyser, text = case
    terms = analyser.terms(text)
    assert terms == Analyser(analyser.settings).terms(text), "another analyser of the same settings finds other terms"
    assert all(terms) and not any(character.isspace() for term in terms for character in term)
    "".join(terms).encode()  # what is indexed must be storable
    table = TermTable(analyser)
    assert [table.vocabulary[number] for number in table.ids(text)] == terms
    spans = analyser.spans(text)
    assert [term for term, _, _ in spans] == terms
    assert all(0 <= start < end <= len(text) for _, start, end in spans)


def _parses(case: tuple[Analyser, str]) -> None:
    analyser, text = case
    try:
        query = parse_query(text, analyser)
    except QueryError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 500
        return
    terms = analyser.terms(text)
    assert set(query.weights) <= set(terms)
    for phrase in query.phrases:
        assert contains_phrase(terms, phrase), "a phrase of the query that the query does not hold"


def _cuts_snippets(case: tuple[Analyser, str, str, int]) -> None:
    analyser, text, query, width = case
    found = snippet(text, analyser, analyser.terms(query), width)
    shown = found.text.removeprefix(ELLIPSIS).removesuffix(ELLIPSIS)
    assert len(shown) <= width
    assert shown in " ".join(text.split())
    assert all(0 <= start < end <= len(found.text) for start, end in found.highlights)
    assert all(first[1] < second[0] for first, second in zip(found.highlights, found.highlights[1:], strict=False))


def _cuts_windows(case: tuple[str, int, int, int]) -> None:
    text, first, others, overlap = case
    first = max(first, others)  # passages behind the first carry the title
    spans = np.array([(at, at + 1) for at in range(len(text))], dtype=np.int64).reshape(-1, 2)
    ranges = window_ranges(text, spans, (first, others), overlap=overlap)
    covered = np.zeros(len(text) + 1, bool)
    for number, (start, end) in enumerate(ranges):
        assert 0 <= start < end <= len(text)
        assert end - start <= (others if number else first)
        covered[start:end] = True
    assert all(covered[at] or character.isspace() for at, character in enumerate(text)), "text in no window"


def _reads_back(condition: Filter) -> None:
    assert parse_filter(str(condition)) == condition
    assert parse_filter(condition.to_json()) == condition
    assert parse_filter(msgspec.json.encode(condition.to_json()).decode()) == condition


def _is_filter_or_error(where: object) -> None:
    try:
        condition = parse_filter(where)  # type: ignore[arg-type]
    except FilterError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 1000
        return
    _reads_back(condition)


def _masks_equal_the_meaning(case: tuple[list[dict], Filter]) -> None:
    documents, condition = case
    texts = [msgspec.json.encode(document).decode() for document in documents]
    columns = MetadataColumns(len(texts), lambda start, stop: texts[start:stop])
    assert columns.mask(condition).tolist() == [condition.matches(document) for document in documents]
