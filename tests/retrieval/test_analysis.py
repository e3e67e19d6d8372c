from __future__ import annotations

import json
import random
import sys
import time
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

import msgspec
import pytest
import Stemmer
from hypothesis import example, given
from hypothesis import strategies as st

from retrieval.analysis import Analyser, AnalyserSettings, TermTable
from retrieval.analysis.languages import ISO_CODES
from retrieval.analysis.normalisation import fold_diacritics
from retrieval.analysis.stop_words import STOP_LISTS, stop_list
from retrieval.errors import CollectionError

ENGLISH = Analyser()
NEUTRAL = Analyser(AnalyserSettings(language="none"))
UNFOLDED = Analyser(AnalyserSettings(language="none", fold_diacritics=False))

# Letters, marks, digits and punctuation of many scripts, with what normalisation changes.
CHARACTERS = (
    "aZ09 .,-_'’ \n\téÉe\u0301ßẞﬁﬀÅ①½㎏™Ⅷ²ªǅŉİıσςΣΆά\u0345йёЇ"
    "हिन्दीक\u093c\u0947\u094dবাংলাதமிழ்"
    "ไทย\u0e19\u0e49\u0e33ลาวຫຼ\u0eb3ខ្មែរမြန်မာ"
    "東京か\u3099がｶﾞーア々〆葛\U000e0100𠮷한국\u1112\u1161\u11ab"
    "עִבְרִיתעברית عَرَبِيّـآ\u200c\u200d\u00ad\u200b\ufeff😀❤\ufe0f\U0001f1e9"
)
TEXTS = st.one_of(st.text(st.sampled_from(CHARACTERS), max_size=40), st.text(max_size=40))
ANALYSERS = st.sampled_from(
    [
        ENGLISH,
        NEUTRAL,
        UNFOLDED,
        *(Analyser(AnalyserSettings(language)) for language in ("turkish", "german", "persian", "arabic", "hindi")),
        Analyser(AnalyserSettings("none", character_bigrams=False)),
    ]
)


@pytest.mark.parametrize(
    ("language", "text", "terms"),
    [
        ("en", "How do I read a CSV file into dictionaries?", ["read", "csv", "file", "dictionari"]),
        ("en", "The dogs' Alzheimer's and Parkinson’s", ["dog", "alzheim", "parkinson"]),
        ("en", "isn't, can't, they've, I'd, we’ll", []),
        ("en", "vitamin C and T cells", ["vitamin", "c", "t", "cell"]),
        ("en", "pd.read_csv(path), state-of-the-art C++", ["pd", "read", "csv", "path", "state", "art", "c"]),
        ("en", "Résumés naïve résumé resume", ["resum", "naiv", "resum", "resum"]),
        ("en", "ﬁle ＣＳＶ Java™ x²", ["file", "csv", "java", "x2"]),
        ("de", "Die Häuser in den Straßen", ["haus", "strass"]),
        ("fr", "l'avion des générations", ["avion", "gener"]),
        ("es", "los niños de España", ["nin", "espan"]),
        ("ru", "Ёлки и дома", ["елк", "дом"]),
        ("el", "ΟΔΟΣ οδός", ["οδ", "οδ"]),
        ("tr", "Türkiye'nin İstanbul ILIK", ["turki", "istanbul", "ilik"]),
        ("ar", "الْكِتَابُ كتاب", ["كتاب", "كتاب"]),
        ("hi", "लड़कियाँ स्कूल", ["लड़क", "स्कूल"]),
        ("fa", "کتاب‌ها", ["کتاب"]),
        ("none", "The dogs of Łódź, smørrebrød", ["the", "dogs", "of", "lodz", "smorrebrod"]),
        ("none", "東京大学 水 Python入門", ["東京", "京大", "大学", "水", "python", "入門"]),
        ("none", "コーヒーを飲む", ["コー", "ーヒ", "ヒー", "ーを", "を飲", "飲む"]),
        ("none", "ﾊﾟｿｺﾝ", ["パソ", "ソコ", "コン"]),
        ("none", "한국어 검색", ["한국어", "검색"]),
        ("none", "ที่นี่", ["ที่นี่"]),
        ("none", "ภาษาไทย", ["ภา", "าษ", "ษา", "าไ", "ไท", "ทย"]),
        ("none", "ພາສາ", ["ພາ", "າສ", "ສາ"]),
        ("none", "ខ្មែរ", ["ខ្មែរ"]),
        ("none", "हिन्दी में", ["हिन्दी", "में"]),
        ("none", "עִבְרִית עברית", ["עברית", "עברית"]),
        ("none", "co\u00adop a\u200bb \ufeffword", ["coop", "a", "b", "word"]),
        ("none", "😀 — … !", []),
    ],
)
def test_terms_by_hand(language, text, terms):
    assert Analyser(AnalyserSettings(language)).terms(text) == terms


def test_tokens_keep_stop_words_and_forms():
    assert ENGLISH.tokens("The Dogs’ naïve_idea") == ["the", "dogs", "naïve", "idea"]
    assert ENGLISH.term("the") is None
    assert ENGLISH.term("dogs") == "dog"


def test_plain_text_is_never_parsed():
    assert ENGLISH.terms('+csv -file "quoted" title:x') == ["csv", "file", "quot", "titl", "x"]


def test_stems_are_snowballs():
    words = ["generously", "running", "flies", "conditional", "relational", "hopping"]
    assert ENGLISH.terms(" ".join(words)) == Stemmer.Stemmer("english").stemWords(words)


def test_long_tokens_are_known_by_their_beginning():
    digest = "a1b2c3d4" * 16  # as long as a SHA-512 in hexadecimal
    assert NEUTRAL.terms(digest) == [digest[:64]]
    assert NEUTRAL.terms(digest) == NEUTRAL.terms(digest[:64])
    assert NEUTRAL.terms("b" + digest) != NEUTRAL.terms(digest)


@pytest.mark.parametrize(
    ("settings", "terms"),
    [
        (AnalyserSettings("english", stop_words=None), ["the", "cat", "of", "my", "dream"]),
        (AnalyserSettings("english", stop_words=("Cats", "dreams")), ["the", "of", "my"]),
        (AnalyserSettings("english", stop_words="english_lucene"), ["cat", "my", "dream"]),
        (AnalyserSettings("english", stemmer=None), ["cats", "dreams"]),
        (AnalyserSettings("none", stop_words="en", stemmer="en"), ["cat", "dream"]),
        (AnalyserSettings("none"), ["the", "cats", "of", "my", "dreams"]),
    ],
)
def test_settings_choose_stop_words_and_stemmer(settings, terms):
    assert Analyser(settings).terms("The cats of my dreams") == terms


def test_folding_is_a_setting():
    assert UNFOLDED.terms("Việt ø") == ["việt", "ø"]
    assert NEUTRAL.terms("Việt ø") == ["viet", "o"]


def test_bigrams_are_a_setting():
    assert Analyser(AnalyserSettings("none", character_bigrams=False)).terms("東京大学 x") == ["東京大学", "x"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"language": "klingon"}, "unknown language 'klingon'"),
        ({"stop_words": "thai"}, "no stop list 'thai'"),
        ({"stop_words": (1,)}, "not 1"),
        ({"stemmer": "thai"}, "no stemmer 'thai'"),
    ],
)
def test_unknown_names_are_errors(arguments, message):
    with pytest.raises(CollectionError, match=message):
        AnalyserSettings(**arguments)


def test_iso_codes_are_the_languages():
    assert AnalyserSettings("de") == AnalyserSettings("german") == AnalyserSettings("German")
    assert set(ISO_CODES) | {"porter", "dutch_porter"} >= set(Stemmer.algorithms()) - {"norwegian_nynorsk"}
    for language in ISO_CODES:
        assert Analyser(AnalyserSettings(language)).terms("a1 zebra")[-1]


@pytest.mark.parametrize("name", STOP_LISTS)
def test_stop_lists_are_words_of_their_language(name):
    words = stop_list(name)
    assert len(words) > 30
    assert list(words) == sorted(set(words))
    assert not Analyser(AnalyserSettings("none", stop_words=name)).terms(" ".join(words))


@pytest.mark.parametrize(
    "settings", [AnalyserSettings(), AnalyserSettings("none", stop_words=("x", "ß"), stemmer="de")]
)
def test_settings_and_fingerprint_are_json(settings):
    assert msgspec.convert(json.loads(json.dumps(asdict(settings))), AnalyserSettings) == settings
    fingerprint = Analyser(settings).fingerprint()
    assert json.loads(json.dumps(fingerprint)) == fingerprint == msgspec.to_builtins(fingerprint)


def test_fingerprint_tells_analysers_apart():
    variants = [
        AnalyserSettings(),
        AnalyserSettings("german"),
        AnalyserSettings(stop_words=None),
        AnalyserSettings(stop_words=("the",)),
        AnalyserSettings(stemmer=None),
        AnalyserSettings(fold_diacritics=False),
        AnalyserSettings(character_bigrams=False),
    ]
    assert len({json.dumps(Analyser(settings).fingerprint()) for settings in variants}) == len(variants)
    assert Analyser().fingerprint() == Analyser().fingerprint()
    assert Analyser().fingerprint()["snowball"] == ".".join(Stemmer.version().split(".")[:2])
    assert NEUTRAL.fingerprint()["snowball"] is None


@given(ANALYSERS, TEXTS)
def test_terms_are_never_empty_and_hold_no_whitespace(analyser, text):
    for term in analyser.terms(text):
        assert term
        assert not any(map(str.isspace, term))
        assert any(map(str.isalnum, term))


@given(ANALYSERS, TEXTS)
@example(UNFOLDED, "J\u030c")
@example(ENGLISH, "½")
def test_normal_forms_give_the_same_terms(analyser, text):
    terms = analyser.terms(text)
    assert analyser.terms(unicodedata.normalize("NFC", text)) == terms
    assert analyser.terms(unicodedata.normalize("NFD", text)) == terms


@given(ANALYSERS, TEXTS.filter(lambda text: not set("™℠") & set(text)))
def test_compatibility_forms_give_the_same_terms(analyser, text):
    assert analyser.terms(unicodedata.normalize("NFKC", text)) == analyser.terms(text)


@given(st.sampled_from([ENGLISH, UNFOLDED, Analyser(AnalyserSettings("none", character_bigrams=False))]), TEXTS)
def test_tokens_of_tokens_are_the_same(analyser, text):
    tokens = analyser.tokens(text)
    again = [token for found in tokens for token in analyser.tokens(found)]
    assert again == tokens


@given(ANALYSERS, st.lists(TEXTS, max_size=4))
def test_terms_of_joined_texts_are_joined(analyser, texts):
    assert analyser.terms("\n".join(texts)) == [term for text in texts for term in analyser.terms(text)]


@given(ANALYSERS, TEXTS)
@example(NEUTRAL, "x㎏½y ﷺ Java™ ｶﾞｿﾘﾝ 한글 e\u0301\u0323")
@example(ENGLISH, "it’s a co\u00adop’s don't")
def test_spans_lead_back_to_the_text(analyser, text):
    spans = analyser.spans(text)
    assert [term for term, _, _ in spans] == analyser.terms(text)
    assert [start for _, start, _ in spans] == sorted(start for _, start, _ in spans)
    for term, start, end in spans:
        assert 0 <= start < end <= len(text)
        assert term in analyser.terms(text[start:end])


@pytest.mark.parametrize(
    "unit", ["\u0301\u0316", "a" + "\u0301\u0316" * 600, "\u0f73\u0301", "\uff9e\u0301", "\u0301\u0640\u0316\u0640"]
)
@pytest.mark.parametrize("analyser", [ENGLISH, UNFOLDED])
def test_thousands_of_marks_on_a_letter_take_linear_time_and_change_nothing(analyser, unit, monkeypatch):
    """Python's normalisation sorts marks in quadratic time: more than a minute for the longer text."""
    text = "x" + unit * (3000 // len(unit)) + " e\u0301 end"
    terms = analyser.terms(text)
    monkeypatch.setattr("retrieval.analysis.normalisation._LONG_RUN", 10**9)
    assert Analyser(analyser.settings).terms(text) == terms
    monkeypatch.undo()
    start = time.process_time()
    assert analyser.terms("x" + unit * (200_000 // len(unit)) + " end")[-1] == "end"
    assert time.process_time() - start < 15


def test_spans_by_hand():
    text = "A ﬁne Café — Python入門 ½ ｶﾞｽ"
    shown = [(term, text[start:end]) for term, start, end in ENGLISH.spans(text)]
    assert shown == [
        *(("fine", "ﬁne"), ("cafe", "Café"), ("python", "Python"), ("入門", "入門")),
        *(("1", "½"), ("2", "½"), ("ガス", "ｶﾞｽ")),
    ]


@given(TEXTS)
def test_folding_twice_changes_nothing_more(text):
    for token in UNFOLDED.tokens(text):
        once = fold_diacritics(token)
        assert fold_diacritics(once) == once


def test_folding_spares_signs_that_are_no_diacritics():
    for word in ("हिन्दी", "ภาษาไทย", "தமிழ்", "ខ្មែរ", "がぎぐ", "한국", "বাংলা"):
        normal = unicodedata.normalize("NFKC", word)
        assert fold_diacritics(normal) == normal
    assert fold_diacritics("àéîõü ñç ßøłđ ώ й") == "aeiou nc ßold ω и"


@given(ANALYSERS, st.lists(TEXTS, max_size=5))
def test_term_table_numbers_the_analysers_terms(analyser, texts):
    table = TermTable(analyser)
    for text in texts:
        assert [table.vocabulary[term_id] for term_id in table.ids(text)] == analyser.terms(text)
    first_seen = dict.fromkeys(term for text in texts for term in analyser.terms(text))
    assert table.vocabulary == list(first_seen)


def test_memory_of_words_is_bounded(monkeypatch):
    monkeypatch.setattr(sys.modules[TermTable.__module__], "_MOST_TOKENS", 10)
    monkeypatch.setattr(sys.modules[Analyser.__module__], "_MEMO_SIZE", 7)
    analyser = Analyser(AnalyserSettings("none"))
    table = TermTable(analyser)
    words = [f"w{number % 40}" for number in range(400)]
    ids = [table.ids(word)[0] for word in words]
    assert ids == [number % 40 for number in range(400)]
    assert len(table) <= 10
    assert len(table.vocabulary) == 40


def test_threads_agree():
    generator = random.Random(7)
    words = [
        f"{stem}{ending}" for stem in ("connect", "relat", "naïv", "hop", "run") for ending in ("ions", "ing", "ed")
    ]
    texts = [" ".join(generator.choices(words, k=20)) + f" number{number}s" for number in range(400)]
    expected = [Analyser().terms(text) for text in texts]
    shared = Analyser()
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            assert list(pool.map(shared.terms, texts)) == expected
