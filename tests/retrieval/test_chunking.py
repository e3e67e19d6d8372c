from __future__ import annotations

import gzip
import itertools
import json
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from retrieval.chunking import ChunkSettings, Passage, split_documents
from retrieval.encoders import FunctionEncoder, load_encoder
from retrieval.encoders.tokenization import FastTokenizer
from retrieval.errors import CollectionError, DocumentError, EncoderError
from retrieval.windows import window_ranges

SAMPLE = [
    "the quick brown fox jumps over the lazy dog. It barks! Does it? naïve café 検索 🙂",
    "retrieval of documents",
]


def byte_tokenizer() -> Tokenizer:
    """One character can be several tokens here; spaces belong to the word after them."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<s>", "</s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(SAMPLE, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    return tokenizer


def word_piece_tokenizer() -> Tokenizer:
    """Drops accents and control characters; long or unknown words are one token."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=120, special_tokens=["[UNK]", "[CLS]", "[SEP]"])
    tokenizer.train_from_iterator(SAMPLE, trainer)
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    return tokenizer


class CountingEncoder(FunctionEncoder):
    """An encoder with a real tokenizer and a prompt; its vectors do not matter here."""

    def __init__(self, tokenizer: Tokenizer, prompt: str, max_tokens: int) -> None:
        super().__init__(lambda texts: np.ones((len(texts), 2)), "counting", 1, max_tokens=max_tokens)
        self._tokenizer = FastTokenizer(tokenizer)
        self._prompt = prompt

    def count_tokens(self, texts):
        return self._tokenizer.count(texts, self._prompt)

    def token_spans(self, texts):
        return self._tokenizer.spans(texts)


TOKENIZERS = {"bytes": byte_tokenizer(), "word pieces": word_piece_tokenizer()}
WORDS = st.sampled_from(
    [
        *("the", "fox.", "dog", "barks!", "naïve", "café,", "retrieval", "of", "documents", "x"),
        *("検索。", "🙂", "supercalifragilistic", "a\u0301", "\u200b", "\x07"),
    ]
)
TEXTS = st.one_of(
    st.lists(WORDS, max_size=60).map(" ".join),
    st.lists(WORDS, max_size=40).map("".join),
    st.text(max_size=80),
    st.lists(st.sampled_from(["word", " ", "\n", "  ", "。", "\u3000"]), max_size=80).map("".join),
)


def encoder_with(max_tokens: int, tokenizer: str = "word pieces", prompt: str = "") -> CountingEncoder:
    return CountingEncoder(TOKENIZERS[tokenizer], prompt, max_tokens)


@given(
    text=TEXTS,
    title=st.one_of(st.just(""), TEXTS),
    tokenizer=st.sampled_from(sorted(TOKENIZERS)),
    prompt=st.sampled_from(["", "passage: "]),
    room=st.integers(8, 40),
    overlap=st.integers(0, 40),
)
def test_passages_cover_the_document_and_fit(text, title, tokenizer, prompt, room, overlap):
    full_text = f"{title} {text}" if title and text else title or text
    overhead = int(encoder_with(1, tokenizer, prompt).count_tokens([""])[0])
    encoder = encoder_with(overhead + room, tokenizer, prompt)
    split = split_documents([full_text], [len(title)], encoder, ChunkSettings(overlap_tokens=overlap))
    passages = split.passages[0]
    fits = encoder.count_tokens([full_text])[0] <= encoder.max_tokens

    assert passages
    assert split.long_documents == (not fits)
    assert split.tokens_cut == 0
    if fits:
        assert passages == [Passage(0, len(full_text), full_text, int(encoder.count_tokens([full_text])[0]))]
    for passage in passages:
        assert 0 <= passage.start <= passage.end <= len(full_text)
        assert passage.text.endswith(full_text[passage.start : passage.end])
        assert passage.text in (
            full_text[passage.start : passage.end],
            f"{title} {full_text[passage.start : passage.end]}",
        )
        assert passage.tokens == encoder.count_tokens([passage.text])[0] <= encoder.max_tokens
    starts = [passage.start for passage in passages]
    assert starts == sorted(set(starts))
    covered = np.zeros(len(full_text), bool)
    for passage in passages:
        covered[passage.start : passage.end] = True
    assert not "".join(character for character, inside in zip(full_text, covered, strict=True) if not inside).strip()


@given(st.lists(st.tuples(TEXTS, st.integers(0, 5)), max_size=8))
def test_documents_do_not_influence_each_other(documents):
    encoder = encoder_with(14)
    texts = [text for text, _ in documents]
    titles = [min(length, len(text)) for text, length in documents]
    together = split_documents(texts, titles, encoder, ChunkSettings())
    alone = [
        split_documents([text], [title], encoder, ChunkSettings()) for text, title in zip(texts, titles, strict=True)
    ]
    assert together.passages == [split.passages[0] for split in alone]
    assert together.long_documents == sum(split.long_documents for split in alone)


def words(n: int) -> str:
    return " ".join(f"w{number}" for number in range(n))


def word_encoder(max_tokens: int | None) -> FunctionEncoder:
    return FunctionEncoder(lambda texts: np.ones((len(texts), 2)), "words", 1, max_tokens=max_tokens)


class TestPolicies:
    def test_windows_by_hand(self):
        split = split_documents([words(20)], [0], word_encoder(8), ChunkSettings(overlap_tokens=2))
        assert [passage.text for passage in split.passages[0]] == [
            "w0 w1 w2 w3 w4 w5 w6 w7",
            "w6 w7 w8 w9 w10 w11 w12 w13",
            "w12 w13 w14 w15 w16 w17 w18 w19",
        ]
        assert (split.long_documents, split.tokens_cut) == (1, 0)

    def test_title_stands_before_the_later_passages(self):
        text = f"My title {words(16)}"
        split = split_documents([text], [8], word_encoder(10), ChunkSettings(overlap_tokens=0))
        assert [passage.text for passage in split.passages[0]] == [
            "My title w0 w1 w2 w3 w4 w5 w6 w7",
            "My title w8 w9 w10 w11 w12 w13 w14 w15",
        ]
        assert [text[passage.start : passage.end] for passage in split.passages[0]][
            1
        ] == "w8 w9 w10 w11 w12 w13 w14 w15"

    def test_title_that_takes_more_than_half_does_not(self):
        text = f"{words(6)} {words(16)}"
        split = split_documents([text], [len(words(6))], word_encoder(10), ChunkSettings(overlap_tokens=0))
        assert all(passage.text == text[passage.start : passage.end] for passage in split.passages[0])

    def test_passages_end_with_sentences(self):
        text = "One two three four five six seven. Eight nine ten eleven twelve thirteen. Fourteen fifteen."
        split = split_documents([text], [0], word_encoder(10), ChunkSettings(overlap_tokens=0))
        assert [passage.text for passage in split.passages[0]] == [
            "One two three four five six seven.",
            "Eight nine ten eleven twelve thirteen. Fourteen fifteen.",
        ]

    def test_shorter_passages_than_the_encoder_reads(self):
        split = split_documents([words(20)], [0], word_encoder(100), ChunkSettings(passage_tokens=10, overlap_tokens=0))
        assert [passage.tokens for passage in split.passages[0]] == [10, 10]

    def test_passages_for_an_encoder_without_limit(self):
        split = split_documents(
            [words(20)], [0], word_encoder(None), ChunkSettings(passage_tokens=10, overlap_tokens=0)
        )
        assert len(split.passages[0]) == 2

    def test_no_limit_no_chunks(self):
        split = split_documents([words(2000), ""], [0, 0], word_encoder(None), ChunkSettings())
        assert [(passage.start, passage.end) for (passage,) in split.passages] == [(0, len(words(2000))), (0, 0)]

    def test_truncate_counts_what_is_cut(self):
        texts = [words(20), words(3), words(9)]
        split = split_documents(texts, [0, 0, 0], word_encoder(8), ChunkSettings("truncate"))
        assert [[(p.start, p.end, p.text, p.tokens) for p in passages] for passages in split.passages] == [
            [(0, len(texts[0]), texts[0], 8)],
            [(0, len(texts[1]), texts[1], 3)],
            [(0, len(texts[2]), texts[2], 8)],
        ]
        assert (split.long_documents, split.tokens_cut) == (2, 13)

    def test_error_names_the_document(self):
        with pytest.raises(DocumentError, match="document 'b' has 20 tokens, the encoder reads 8"):
            split_documents([words(3), words(20)], [0, 0], word_encoder(8), ChunkSettings("error"), ids=["a", "b"])
        assert split_documents([words(3)], [0], word_encoder(8), ChunkSettings("error")).long_documents == 0

    def test_no_documents(self):
        assert split_documents([], [], word_encoder(8), ChunkSettings()).passages == []


class TestSettings:
    @pytest.mark.parametrize("changes", [{"policy": "cut"}, {"passage_tokens": 0}, {"overlap_tokens": -1}], ids=str)
    def test_bad_values(self, changes):
        with pytest.raises(CollectionError):
            ChunkSettings(**changes)

    def test_passages_longer_than_the_encoder_reads(self):
        with pytest.raises(EncoderError, match="passage_tokens is 9, but the encoder reads 8"):
            split_documents(["a"], [0], word_encoder(8), ChunkSettings(passage_tokens=9))

    def test_passages_without_room(self):
        with pytest.raises(EncoderError, match="hold no text"):
            split_documents(["the fox"], [0], encoder_with(2), ChunkSettings())


@pytest.mark.slow
def test_real_documents_with_the_embedded_encoder(data_folder):
    with gzip.open(data_folder("scifact") / "corpus.jsonl.gz", "rt", encoding="utf-8") as lines:
        documents = [json.loads(line) for line in list(lines)[:400]]
    encoder = load_encoder()
    texts = [f"{document['title']} {document['text']}" for document in documents]
    split = split_documents(texts, [len(document["title"]) for document in documents], encoder, ChunkSettings())
    counts = encoder.count_tokens(texts)
    assert split.long_documents == (counts > 256).sum() > 100
    for text, count, passages in zip(texts, counts.tolist(), split.passages, strict=True):
        assert (len(passages) == 1) == (count <= 256)
        assert max(passage.tokens for passage in passages) <= 256
        assert passages[0].start == 0
        assert passages[-1].end == len(text.rstrip())
        for before, after in itertools.pairwise(passages):
            assert before.start < after.start <= before.end


def test_windows_over_a_long_run_of_brackets_take_linear_time():
    text = ")" * 100_000
    spans = np.array([(at, at + 1) for at in range(len(text))])
    start = time.process_time()
    ranges = window_ranges(text, spans, (256, 256), overlap=16)
    assert time.process_time() - start < 10
    assert ranges[0] == (0, 256)
    assert ranges[-1][1] == len(text)
