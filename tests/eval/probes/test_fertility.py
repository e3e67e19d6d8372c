"""Fertility: hand-counted words and tokens, scripts without spaces, and tokenizers without weights."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from eval.errors import MeasureError, TaskError
from eval.probes.data import read_languages
from eval.probes.fertility import measure_fertility
from eval.probes.model_tokenizer import load_tokenizer

PIECES = ["[UNK]", "[CLS]", "[SEP]", "the", "dog", "##s", "run", "##ning", ".", "日", "本"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a WordPiece tokenizer and nothing else."""
    tokenizer = Tokenizer(models.WordPiece({piece: row for row, piece in enumerate(PIECES)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    place = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save(str(place / "tokenizer.json"))
    (place / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 8}), encoding="utf-8")
    return place


def test_counts_by_hand(folder):
    tokenizer = load_tokenizer(str(folder))
    assert (tokenizer.unknown, tokenizer.size, tokenizer.max_tokens) == (0, 11, 8)
    # the dog ##s run ##ning . : 3 words of 5 tokens, with [CLS] and [SEP] 8 tokens. the [UNK] . : 2 words, 1 unknown.
    # Seven tokens and the two special ones are cut at 8.
    texts = ["The dogs running.", "the zebra.", "the the the the the the dog"]
    (found,) = measure_fertility(tokenizer, {"en": texts}).languages
    assert (found.n_texts, found.n_words, found.n_tokens) == (3, 12, 16)
    assert found.tokens_per_word.value == pytest.approx(14 / 12)
    assert found.tokens_per_character.value == pytest.approx(16 / sum(map(len, texts)))
    assert found.unknown.value == pytest.approx(1 / 16)
    assert found.split.value == pytest.approx(2 / 12)
    assert found.cut.value == pytest.approx(1 / 3)
    assert found.unspaced == 0


def test_scripts_without_spaces_have_no_words(folder):
    tokenizer = load_tokenizer(str(folder))
    found = measure_fertility(tokenizer, {"ja": ["日本。", "日日"], "mixed": ["dog 日本", "the 日"]})
    japanese, mixed = found.languages
    assert (japanese.tokens_per_word, japanese.split, japanese.n_words) == (None, None, 0)
    assert japanese.tokens_per_character.value == pytest.approx(1)  # one for each, and an unknown one
    assert japanese.unknown.value == pytest.approx(1 / 5)
    assert japanese.unspaced == 1
    assert (mixed.n_words, mixed.tokens_per_word.value) == (2, 1)
    assert mixed.unspaced == pytest.approx(3 / 9)
    assert "| ja | 2 | 0 | - |" in found.outcome().markdown()


def test_bytes_know_everything(tmp_path):
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: row for row, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    loaded = load_tokenizer(str(tmp_path))
    assert (loaded.unknown, loaded.max_tokens) == (None, None)
    (found,) = measure_fertility(loaded, {"de": ["größe da", "ab"]}).languages
    assert found.tokens_per_word.value == pytest.approx((7 + 2 + 2) / 3)  # ö and ß are two bytes each
    assert (found.unknown.value, found.split.value, found.cut) == (0, 1, None)


@given(st.lists(st.text("the dogs run.", min_size=1).filter(str.strip), min_size=2, max_size=6), st.randoms())
def test_order_changes_nothing_and_shares_are_shares(folder, texts, random):
    tokenizer = load_tokenizer(str(folder))
    if not any(character.isalpha() for text in texts for character in text):
        return
    (found,) = measure_fertility(tokenizer, {"en": texts}).languages
    random.shuffle(texts)
    (again,) = measure_fertility(tokenizer, {"en": texts}).languages
    for name in ("tokens_per_word", "tokens_per_character", "unknown", "split", "cut"):
        assert getattr(found, name).value == pytest.approx(getattr(again, name).value)
    for share in (found.unknown, found.split, found.cut):
        assert 0 <= share.low <= share.value <= share.high <= 1
    assert found.tokens_per_word.value >= 1


def test_bad_input_is_refused(folder, tmp_path):
    tokenizer = load_tokenizer(str(folder))
    for texts, words in (({}, "no texts"), ({"en": ["a"]}, "at least two"), ({"en": ["a", "\n"]}, "text 1 is blank")):
        with pytest.raises(MeasureError, match=words):
            measure_fertility(tokenizer, texts)
    with pytest.raises(MeasureError, match="max_tokens is 2, but special tokens alone take 2"):
        load_tokenizer(str(folder), max_tokens=2)
    with pytest.raises(MeasureError, match="no tokenizer that can be read"):
        load_tokenizer(str(tmp_path))
    (tmp_path / "tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(MeasureError, match="no tokenizer that can be read"):
        load_tokenizer(str(tmp_path))


def test_languages_of_a_folder(tmp_path):
    (tmp_path / "deu-eng.tsv").write_text("sentence1\tsentence2\nHund\tdog\nKatze\tcat\n", encoding="utf-8")
    (tmp_path / "fra-eng.tsv").write_text("sentence1\tsentence2\nchien\tdog\n", encoding="utf-8")
    assert read_languages(tmp_path) == {"eng": ["dog", "cat"], "deu": ["Hund", "Katze"], "fra": ["chien"]}
    (tmp_path / "corpus.el.jsonl").write_text('{"_id": "1", "text": "σκύλος"}\n', encoding="utf-8")
    assert read_languages(tmp_path, most=1) == {"el": ["σκύλος"]}
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(TaskError, match=r"no corpus\.<language>\.jsonl"):
        read_languages(empty)


def test_the_packaged_model_knows_english_best(data):
    texts = read_languages(data / "xquad", most=20)
    found = {each.language: each for each in measure_fertility(load_tokenizer(), texts).languages}
    assert len(found) == 12
    assert found["en"].tokens_per_word.value < min(
        each.tokens_per_word.value for name, each in found.items() if name not in ("en", "zh", "th")
    )
