from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModel, AutoTokenizer

from retrieval.chunking import ChunkSettings, split_documents
from retrieval.encoders import FunctionEncoder, load_encoder
from retrieval.encoders.late_chunking import TextInContext, late_chunking_encoder, token_ranges, token_windows
from retrieval.errors import EncoderError
from retrieval.late_encoding import SplitDocument, encode_late, hashes_in_context
from retrieval.staging import Staging, passage_hash
from tests.encoders.backbones import save_family

TEXT = (
    "the search engine is a model of the document. a query is in the retrieval engine. the word to search and the word"
)
LONG = " ".join(f"the engine {letter} is a word of the model {letter}." for letter in "abcdefghijklmnopqrstuvwxyz")


def all_wanted(text: str, spans: list[tuple[int, int]], title_length: int = 0) -> TextInContext:
    return TextInContext(text, title_length, np.array(spans), np.ones(len(spans), bool))


def encoded(encoder, *texts: TextInContext) -> list[np.ndarray]:
    vectors = [np.full((len(text.spans), encoder.dimension), np.nan, np.float32) for text in texts]
    for pooled in encoder.encode_in_context(texts):
        assert np.isnan(vectors[pooled.text][pooled.passages]).all()  # each once
        vectors[pooled.text][pooled.passages] = pooled.vectors
    return vectors


def states_of(folder: Path, ids: list[int]) -> np.ndarray:
    """Return the token states that transformers itself gives, (tokens, hidden)."""
    model = AutoModel.from_pretrained(folder.parent / "backbone").eval()
    with torch.no_grad():
        return model(torch.tensor([ids])).last_hidden_state[0].numpy()


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def tokens_between(offsets, start: int, end: int) -> list[int]:
    return [number for number, (first, last) in enumerate(offsets) if first < end and last > start]


class TestPooling:
    def test_is_the_mean_of_the_states_that_transformers_gives(self, tiny_model):
        folder = tiny_model(max_tokens=64)
        tokenizer = AutoTokenizer.from_pretrained(folder.parent / "backbone")
        read = tokenizer(TEXT, return_offsets_mapping=True)
        states = states_of(folder, read["input_ids"])
        offsets = read["offset_mapping"]  # special tokens have (0, 0)
        spans = [(0, 20), (15, 46), (46, 60), (60, len(TEXT))]
        expected = [unit(states[tokens_between(offsets, *span)].mean(axis=0)) for span in spans]
        # The first passage also has [CLS], the last one [SEP].
        expected[0] = unit(states[[0, *tokens_between(offsets, *spans[0])]].mean(axis=0))
        expected[-1] = unit(states[[*tokens_between(offsets, *spans[-1]), len(offsets) - 1]].mean(axis=0))
        (found,) = encoded(load_encoder(folder), all_wanted(TEXT, spans))
        np.testing.assert_allclose(found, expected, atol=1e-5)

    def test_of_windows_is_the_mean_within_the_passages_window(self, tiny_model):
        folder = tiny_model(max_tokens=32)
        tokenizer = AutoTokenizer.from_pretrained(folder.parent / "backbone")
        title = "a query"
        full_text = f"{title} {LONG}"
        encoder = load_encoder(folder)
        split = split_documents([full_text], [len(title)], encoder, ChunkSettings("late", 12, 2))
        spans = [passage[:2] for passage in split.passages[0]]
        (found,) = encoded(encoder, all_wanted(full_text, spans, len(title)))
        read = tokenizer(full_text, return_offsets_mapping=True, add_special_tokens=False)
        ids, offsets = read["input_ids"], np.array(read["offset_mapping"])
        head = tokenizer(f"{title} ", add_special_tokens=False)["input_ids"]
        windows = token_windows(token_ranges(offsets, np.array(spans)), len(ids), 30, 30 - len(head))
        assert len(windows) > 5
        for window in windows:
            repeated = head if window.start else []
            sequence = [
                tokenizer.cls_token_id,
                *repeated,
                *ids[window.start : window.end],
                tokenizer.sep_token_id,
            ]
            assert len(sequence) <= 32
            states = states_of(folder, sequence)
            for passage in range(window.first, window.last):
                shift = 1 + len(repeated) - window.start
                places = [place + shift for place in tokens_between(offsets, *spans[passage])]
                places = [0] * (passage == 0) + places + [len(sequence) - 1] * (passage == len(spans) - 1)
                np.testing.assert_allclose(found[passage], unit(states[places].mean(axis=0)), atol=1e-5)

    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"prompts": {"document": "the document: "}},
            {"prompts": {"document": "the document: "}, "include_prompt": False},
            {"normalize": False, "similarity": "dot"},
            {"dense": 16},
        ],
        ids=str,
    )
    def test_a_text_of_one_passage_has_the_vector_of_the_text(self, tiny_model, changes):
        encoder = load_encoder(tiny_model(max_tokens=64, **changes))
        texts = [TEXT, "word", "", "  the query \n", "検索 naïve 👍"]
        found = encoded(encoder, *(all_wanted(text, [(0, len(text))]) for text in texts))
        np.testing.assert_allclose(np.concatenate(found), encoder.encode_passages(texts), atol=1e-5)

    def test_truncated_dimension_and_left_padding(self, tiny_model, tmp_path):
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(str(tiny_model(max_tokens=64)), device="cpu", truncate_dim=8)
        model.tokenizer.padding_side = "left"
        encoder = load_encoder(model)
        texts = [TEXT, "word"]  # one batch: padding in front moves the positions of the shorter one
        found = encoded(encoder, *(all_wanted(text, [(0, len(text))]) for text in texts))
        assert found[0].shape == (1, 8)
        np.testing.assert_allclose(np.concatenate(found), encoder.encode_passages(texts), atol=1e-5)

    def test_excluded_prompts_are_context_of_the_first_passage_only(self, tiny_model):
        folder = tiny_model(max_tokens=64, prompts={"document": "to search: "}, include_prompt=False)
        tokenizer = AutoTokenizer.from_pretrained(folder.parent / "backbone")
        read = tokenizer("to search: " + TEXT, return_offsets_mapping=True)
        states, offsets = states_of(folder, read["input_ids"]), read["offset_mapping"]
        expected = unit(states[tokens_between(offsets, 11, 31)].mean(axis=0))
        (found,) = encoded(load_encoder(folder), all_wanted(TEXT, [(0, 20), (20, len(TEXT))]))
        np.testing.assert_allclose(found[0], expected, atol=1e-5)

    def test_does_not_depend_on_the_batch_or_on_what_else_is_wanted(self, tiny_model):
        texts = []
        for text in (LONG, TEXT, LONG[:200]):
            passages = split_documents([text], [0], load_encoder(tiny_model()), ChunkSettings("late", 10, 2)).passages
            texts.append(all_wanted(text, [passage[:2] for passage in passages[0]]))
        small = encoded(load_encoder(tiny_model(), batch_tokens=8), *texts)
        large = encoded(load_encoder(tiny_model(), batch_tokens=10_000), *texts)
        for one, other in zip(small, large, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)
        wanted = np.arange(len(texts[0].spans)) % 4 == 1
        (some,) = encoded(load_encoder(tiny_model()), texts[0]._replace(wanted=wanted))
        assert (~np.isnan(some).any(axis=1) == wanted).all()
        np.testing.assert_allclose(some[wanted], large[0][wanted], atol=1e-5)

    @pytest.mark.parametrize("prompt", ["", "passage: "])
    def test_white_space_around_a_text_is_in_no_passage(self, tmp_path, prompt):
        """Byte pairs make tokens of it; a hundred of them would leave no room for words."""
        folder = save_family("gpt2", tmp_path / "gpt2")
        encoder = load_encoder(folder, pooling="mean", prompts={"document": prompt})
        assert encoder.max_tokens == 64
        plain, space = " the search engine. a query is short", " \n" * 100
        cut = plain.index(" a query")
        expected = encoded(encoder, all_wanted(plain, [(0, cut), (cut, len(plain))]))
        at = len(space)
        found = encoded(encoder, all_wanted(space + plain + space, [(at, at + cut), (at + cut, at + len(plain))]))
        np.testing.assert_allclose(found[0], expected[0], atol=1e-5)

    def test_nothing_is_cut_where_the_model_has_no_limit(self, tmp_path, monkeypatch):
        encoder = load_encoder(save_family("t5", tmp_path / "t5"), pooling="mean")
        assert encoder.max_tokens is None
        monkeypatch.setattr("retrieval.encoders.span_pooling._WINDOW_TOKENS", 16)
        text = "the search engine reads a document " * 10
        (found,) = encoded(encoder, all_wanted(text, [(0, len(text))]))
        np.testing.assert_allclose(found, encoder.encode_passages([text]), atol=1e-5)

    def test_a_text_without_any_token(self, tmp_path):
        encoder = load_encoder(save_family("gpt2", tmp_path / "gpt2"), pooling="mean")
        (found,) = encoded(encoder, all_wanted("", [(0, 0)]))
        np.testing.assert_allclose(found, encoder.encode_passages([""]), atol=1e-6)

    def test_context_counts(self, tiny_model):
        encoder = load_encoder(tiny_model(max_tokens=64))
        one, other = (f"{before} the query is a word" for before in ("search engine", "document model"))
        vectors = encoded(encoder, *(all_wanted(text, [(0, 14), (15, len(text))]) for text in (one, other)))
        assert unit(vectors[0][1]) @ unit(vectors[1][1]) < 0.999

    @settings(max_examples=15)
    @given(text=st.text(max_size=120) | st.text("ab \x07\u200b\n検🙂\u0301", max_size=200))
    def test_any_text_gives_finite_vectors(self, tiny_model, text):
        encoder = load_encoder(tiny_model())
        split = split_documents([text], [0], encoder, ChunkSettings("late", 8, 2))
        found = encode_late(encoder, [SplitDocument(text, 0, split.passages[0])])
        assert found.vectors.shape == (len(split.passages[0]), 32)
        assert np.isfinite(found.vectors).all()


@st.composite
def passages_of_tokens(draw):
    """Passages as the splitting makes them: ascending, each of at most so many tokens, gaps and overlaps allowed."""
    room = draw(st.integers(4, 40))
    starts, ends = [0], [draw(st.integers(1, room))]
    for step, length in draw(st.lists(st.tuples(st.integers(1, 12), st.integers(1, room)), max_size=30)):
        starts.append(starts[-1] + step)
        ends.append(max(ends[-1], starts[-1] + length))
    ranges = np.array([starts, ends]).T
    ranges[:, 1] = np.minimum(ranges[:, 1], ranges[:, 0] + room)
    return np.maximum.accumulate(ranges, axis=0), room, draw(st.integers(0, room // 2))


class TestWindows:
    @given(passages_of_tokens())
    def test_each_passage_is_in_one_window_with_context_on_both_sides(self, world):
        ranges, room, repeated = world
        n_tokens, first_room = int(ranges[-1, 1]), room + repeated
        windows = token_windows(ranges, n_tokens, first_room, room)
        assert [window.first for window in windows] == [0, *(window.last for window in windows[:-1])]
        assert windows[-1].last == len(ranges)
        for window in windows:
            assert 0 <= window.start < window.end <= n_tokens
            assert window.end - window.start <= (room if window.start else first_room)
            for first, end in ranges[window.first : window.last].tolist():
                margin = min(room // 8, max(room - (end - first), 0) // 2)
                assert window.start <= max(first - margin, 0)
                assert window.end >= min(end + margin, n_tokens) or end - first > room

    def test_a_text_that_fits_is_one_window(self):
        ranges = np.array([[0, 10], [8, 18], [16, 30]])
        assert token_windows(ranges, 30, 30, 20) == [(0, 30, 0, 3)]

    def test_by_hand(self):
        # Room for 16, of which 2 are context on either side: three passages of 4 fit between.
        ranges = np.array([[at, at + 4] for at in range(0, 40, 4)])
        windows = token_windows(ranges, 40, 16, 16)
        assert [tuple(window) for window in windows] == [(0, 16, 0, 3), (10, 26, 3, 6), (22, 38, 6, 9), (24, 40, 9, 10)]

    def test_cost_of_a_long_text(self):
        ranges = np.array([[at, at + 256] for at in range(0, 100_000 - 256, 224)])
        windows = token_windows(ranges, int(ranges[-1, 1]), 8190, 8180)
        assert sum(window.end - window.start for window in windows) < 1.4 * ranges[-1, 1]

    def test_tokens_of_passages(self):
        spans = np.array([[-3, 0], [0, 4], [4, 9], [9, 9], [10, 12], [10, 12], [15, 20]])
        passages = np.array([[0, 4], [4, 9], [10, 13], [13, 14], [14, 20]])
        assert token_ranges(spans, passages).tolist() == [[0, 2], [2, 3], [4, 6], [6, 7], [6, 7]]


class TestRefusals:
    @pytest.mark.parametrize("pooling", ["cls", "max", "weightedmean"])
    def test_other_poolings(self, tiny_model, pooling):
        with pytest.raises(EncoderError, match=rf"its pooling is '{pooling}', not 'mean'; use .* or long='chunk'"):
            late_chunking_encoder(load_encoder(tiny_model(pooling=pooling)))

    def test_encoders_without_tokens(self):
        encoder = FunctionEncoder(lambda texts: np.ones((len(texts), 2)), "ones", 1)
        with pytest.raises(EncoderError, match="'ones' cannot do late chunking: it gives vectors of texts"):
            late_chunking_encoder(encoder)

    def test_modules_that_may_read_tokens(self, tiny_model):
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.base.modules import Normalize

        model = SentenceTransformer(str(tiny_model()), device="cpu")
        model.append(Normalize("token_embeddings"))
        with pytest.raises(EncoderError, match="its module Normalize after the pooling"):
            late_chunking_encoder(load_encoder(model))

    def test_the_method_itself(self, tiny_model):
        with pytest.raises(EncoderError, match="its pooling is 'cls'"):
            list(load_encoder(tiny_model(pooling="cls")).encode_in_context([all_wanted("a", [(0, 1)])]))


def split(encoder, *texts: str) -> list[SplitDocument]:
    passages = split_documents(texts, [0] * len(texts), encoder, ChunkSettings("late", 12, 0)).passages
    return [SplitDocument(text, 0, each) for text, each in zip(texts, passages, strict=True)]


class TestEncoding:
    SHARED = " a query is a word of the retrieval model and the document."

    def test_passages_are_known_by_their_documents(self, tiny_model):
        encoder = load_encoder(tiny_model())
        one, other, short = split(encoder, "search engine." + self.SHARED, "model engine." + self.SHARED, "a word")
        assert one.passages[-1].text == other.passages[-1].text  # the same words ...
        hashes = [hashes_in_context(document) for document in (one, other)]
        assert len({row.tobytes() for both in hashes for row in both}) == len(one.passages) + len(other.passages)
        assert passage_hash(one.passages[-1].text) != hashes[0][-1].tobytes()
        found = encode_late(encoder, [one, short, other])
        n = len(one.passages)
        np.testing.assert_array_equal(found.hashes[:n], hashes[0])
        assert found.hashes[n].tobytes() == passage_hash("a word")
        assert not np.allclose(found.vectors[n - 1], found.vectors[-1], atol=1e-3)  # ... another vector

    def test_what_decides_the_vectors_decides_the_hashes(self, tiny_model):
        (document,) = split(load_encoder(tiny_model()), "search engine." + self.SHARED)
        rows = {hashes_in_context(document).tobytes()}
        rows.add(hashes_in_context(document._replace(full_text=document.full_text + " ")).tobytes())
        rows.add(hashes_in_context(document._replace(title_length=6)).tobytes())
        rows.add(
            hashes_in_context(document._replace(passages=[*document.passages[:-1], document.passages[0]])).tobytes()
        )
        assert len(rows) == 4

    def test_equal_documents_are_encoded_once_and_known_passages_not_at_all(self, tiny_model, tmp_path):
        encoder = load_encoder(tiny_model())
        one, other = split(encoder, LONG, LONG[:120])
        staging = Staging.for_encoder(tmp_path, encoder)
        first = encode_late(encoder, [one, other, one], staging=staging)
        n = len(one.passages)
        assert first.n_encoded == n + len(other.passages)
        assert first.vectors[:n].tobytes() == first.vectors[-n:].tobytes()
        staging.flush()
        again = encode_late(encoder, [other, one], staging=Staging.for_encoder(tmp_path, encoder))
        assert again.n_encoded == 0
        np.testing.assert_array_equal(again.vectors, np.roll(first.vectors[:-n], len(other.passages), axis=0))

    def test_goes_on_where_an_interrupted_run_stopped(self, tiny_model, tmp_path, monkeypatch):
        encoder = load_encoder(tiny_model(), batch_tokens=24)
        documents = split(encoder, LONG, TEXT, LONG[:150])
        complete = encode_late(encoder, documents)
        staging = Staging.for_encoder(tmp_path, encoder)
        add, added = staging.add, []

        def failing(hashes, vectors):
            add(hashes, vectors)
            added.append(len(hashes))
            if len(added) == 7:
                raise KeyboardInterrupt

        monkeypatch.setattr(staging, "add", failing)
        with pytest.raises(KeyboardInterrupt):
            encode_late(encoder, documents, staging=staging)
        staging.flush()
        rest = encode_late(encoder, documents, staging=Staging.for_encoder(tmp_path, encoder))
        assert rest.n_encoded == complete.n_encoded - sum(added) > 0
        np.testing.assert_allclose(rest.vectors, complete.vectors, atol=1e-5)
        np.testing.assert_array_equal(rest.hashes, complete.hashes)

    @pytest.mark.parametrize(
        ("changed", "message"),
        [
            (lambda pooled: [], r"returned no vectors for \d+ of \d+ passages in context; encode_in_context must"),
            (lambda pooled: pooled[:1], r"returned no vectors for \d+ of"),
            (lambda pooled: [*pooled, pooled[0]], "not asked for, or was given already"),
        ],
        ids=["nothing", "some", "twice"],
    )
    def test_an_encoder_that_leaves_passages_out_or_repeats_them(self, tiny_model, monkeypatch, changed, message):
        encoder = load_encoder(tiny_model(max_tokens=16), batch_tokens=16)
        given = encoder.encode_in_context
        monkeypatch.setattr(encoder, "encode_in_context", lambda texts: iter(changed(list(given(texts)))))
        with pytest.raises(EncoderError, match=message):
            encode_late(encoder, split(encoder, LONG))

    def test_nothing(self, tiny_model):
        found = encode_late(load_encoder(tiny_model()), [])
        assert (found.vectors.shape, found.hashes.shape, found.n_encoded) == ((0, 32), (0, 16), 0)
