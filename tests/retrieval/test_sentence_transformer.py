from __future__ import annotations

import json
import random
import shutil
import threading

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Router
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from retrieval.encoders import fingerprint, load_encoder, reload_encoder
from retrieval.encoders.base import Encoder
from retrieval.encoders.model_inputs import PreprocessedInputs, TokenizedInputs
from retrieval.encoders.sentence_transformer import SentenceTransformerEncoder
from retrieval.errors import EncoderError

pytestmark = pytest.mark.usefixtures("own_cache")

PROMPTS = {"query": "search query: ", "document": "passage: "}

TEXTS = [
    "the search engine",
    "",
    "   ",
    "Searching, and the RETRIEVAL of documents: a (long) query with more words than the model reads, and so on and on.",
    "検索 日本語 x",
    "naïve café\tand\nlines",
    "a",
    "the search engine",
    "[SEP] [MASK] inside the text",
]

VARIANTS = [
    {},
    {"pooling": "cls"},
    {"pooling": "max", "normalize": False},
    {"pooling": ("cls", "mean")},
    {"pooling": "lasttoken", "prompts": PROMPTS},
    {"pooling": "weightedmean", "prompts": PROMPTS, "include_prompt": False},
    {"prompts": PROMPTS},
    {"prompts": PROMPTS, "include_prompt": False},
    {"prompts": {"query": "q: ", "passage": "p: ", "corpus": "c: "}},
    {"dense": 16, "normalize": False, "similarity": "dot"},
    {"dense": 16, "prompts": PROMPTS},
    {"max_tokens": 8, "prompts": PROMPTS},
    {"lower_case": False},
]


def peer_of(folder) -> SentenceTransformer:
    return SentenceTransformer(str(folder), device="cpu", local_files_only=True)


@pytest.fixture(scope="module")
def plain(tiny_model):
    return load_encoder(tiny_model(), batch_tokens=64)


@pytest.fixture(scope="module")
def padded(tiny_model):
    return SentenceTransformerEncoder(peer_of(tiny_model()), packed=False)


@pytest.fixture(scope="module")
def by_batch_tokens(tiny_model):
    return {batch_tokens: load_encoder(tiny_model(), batch_tokens=batch_tokens) for batch_tokens in (1, 16, 64, 4096)}


@pytest.fixture(scope="module")
def alone(plain):
    return np.concatenate([plain.encode_passages([text]) for text in TEXTS])


class TestVectors:
    @pytest.mark.parametrize("changes", VARIANTS, ids=str)
    def test_are_those_of_the_library(self, tiny_model, changes):
        folder = tiny_model(**changes)
        encoder = load_encoder(folder, batch_tokens=48)
        peer = peer_of(folder)
        assert isinstance(encoder._inputs, TokenizedInputs)
        np.testing.assert_allclose(encoder.encode_queries(TEXTS), peer.encode_query(TEXTS), atol=1e-5)
        np.testing.assert_allclose(encoder.encode_passages(TEXTS), peer.encode_document(TEXTS), atol=1e-5)
        assert encoder.dimension == peer.encode_document(["a"]).shape[1]
        assert encoder.similarity == peer.similarity_fn_name

    def test_a_tokenizer_that_pads_left(self, tiny_model, tmp_path):
        """Learned positions would count the padding: the library's vectors are those of texts alone, ours always."""
        folder = shutil.copytree(tiny_model(pooling="lasttoken"), tmp_path / "model")
        config = json.loads((folder / "tokenizer_config.json").read_text())
        (folder / "tokenizer_config.json").write_text(json.dumps({**config, "padding_side": "left"}))
        peer = peer_of(folder)
        assert peer.tokenizer.padding_side == "left"
        alone = peer.encode(TEXTS, batch_size=1)
        assert np.abs(peer.encode(TEXTS, batch_size=len(TEXTS)) - alone).max() > 0.1
        np.testing.assert_allclose(load_encoder(folder).encode_passages(TEXTS), alone, atol=1e-5)

    def test_truncated_dimension(self, tiny_model):
        folder = tiny_model()
        encoder = load_encoder(folder, truncate_dim=8)
        expected = SentenceTransformer(str(folder), device="cpu", truncate_dim=8).encode(TEXTS)
        assert encoder.dimension == 8
        np.testing.assert_allclose(encoder.encode_passages(TEXTS), expected, atol=1e-5)

    def test_empty_list(self, plain):
        assert plain.encode_queries([]).shape == plain.encode_passages([]).shape == (0, 32)
        assert plain.encode_passages([]).dtype == np.float32

    def test_text_with_half_a_surrogate_pair(self, plain):
        assert np.isfinite(plain.encode_queries(["a\ud800b"])).all()

    @settings(max_examples=30, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.sampled_from(range(len(TEXTS))), min_size=1, max_size=12), st.sampled_from([1, 16, 64, 4096]))
    def test_do_not_depend_on_the_batch(self, by_batch_tokens, alone, rows, batch_tokens):
        """A text's vector is the same alone and in any company, to 1e-5."""
        together = by_batch_tokens[batch_tokens].encode_passages([TEXTS[row] for row in rows])
        np.testing.assert_allclose(together, alone[rows], atol=1e-5)

    @pytest.mark.parametrize("precision", ["bf16", "fp16"])
    def test_lower_precision(self, tiny_model, plain, precision):
        encoder = load_encoder(tiny_model(), precision=precision)
        vectors, exact = encoder.encode_passages(TEXTS), plain.encode_passages(TEXTS)
        cosines = (vectors * exact).sum(axis=1) / np.linalg.norm(vectors, axis=1) / np.linalg.norm(exact, axis=1)
        assert vectors.dtype == np.float32
        assert cosines.min() > 0.99
        alone = np.concatenate([encoder.encode_passages([text]) for text in TEXTS])
        between_batches = (
            (vectors * alone).sum(axis=1) / np.linalg.norm(vectors, axis=1) / np.linalg.norm(alone, axis=1)
        )
        assert between_batches.min() > 0.999
        assert encoder.identity() == plain.identity()
        assert encoder.execution()["precision"] == precision != plain.execution()["precision"]

    @settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.text(alphabet="the sarch,", max_size=90), min_size=1, max_size=20), st.sampled_from([16, 4096]))
    def test_packed_equals_padded(self, tiny_model, padded, by_batch_tokens, texts, batch_tokens):
        """Random mixtures of lengths, empty texts and texts that are cut among them."""
        packed = by_batch_tokens[batch_tokens]
        assert packed.execution()["packed"] and "packed" not in padded.execution()
        np.testing.assert_allclose(packed.encode_passages(texts), padded.encode_passages(texts), atol=1e-5)

    @pytest.mark.parametrize("packed", [True, False])
    def test_equal_texts_are_encoded_once_and_tie_exactly(self, tiny_model, packed):
        encoder = SentenceTransformerEncoder(peer_of(tiny_model()), batch_tokens=32, packed=packed)
        seen, run = [], encoder._runtime.run
        encoder._runtime.run = lambda batch: seen.append(len(batch.lengths)) or run(batch)
        texts = [*TEXTS, *reversed(TEXTS)]
        vectors = encoder.encode_queries(texts)
        assert sum(seen) == len(set(texts))
        for text in set(texts):
            of_text = vectors[[at for at, other in enumerate(texts) if other == text]]
            assert len({vector.tobytes() for vector in of_text}) == 1

    def test_order_is_restored_for_any_window(self, tiny_model, plain, alone):
        encoder = load_encoder(tiny_model(), batch_tokens=32)
        for characters in (1, 7, 40, 10**6):
            encoder._window_characters = characters
            np.testing.assert_allclose(encoder.encode_passages(TEXTS), alone, atol=1e-5)
        steps = [TEXTS[:4], [], TEXTS[4:], ["a"]]
        found = list(encoder.encode_stream(steps))
        assert [len(vectors) for vectors in found] == [4, 0, len(TEXTS) - 4, 1]
        np.testing.assert_allclose(np.concatenate(found[:3]), alone, atol=1e-5)

    def test_a_batch_that_does_not_fit_into_memory(self, tiny_model, alone, caplog):
        encoder = load_encoder(tiny_model(), batch_tokens=4096)
        run = encoder._runtime.run

        def short(batch):
            if batch.lengths.sum() > 30:
                raise RuntimeError("DefaultCPUAllocator: not enough memory")
            return run(batch)

        encoder._runtime.run = short
        np.testing.assert_allclose(encoder.encode_passages(TEXTS), alone, atol=1e-5)
        assert "does not fit into memory" in caplog.text

    def test_from_many_threads(self, plain):
        expected = plain.encode_passages(TEXTS)
        found: list[np.ndarray] = []

        def work(seed: int) -> None:
            order = random.Random(seed).sample(range(len(TEXTS)), len(TEXTS))
            for _ in range(5):
                plain.count_tokens(TEXTS)
                vectors = plain.encode_passages([TEXTS[at] for at in order])
                found.append(vectors[np.argsort(order)])

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 20
        for vectors in found:
            np.testing.assert_allclose(vectors, expected, atol=1e-5)

    def test_weights_that_are_not_numbers(self, tiny_model):
        model = peer_of(tiny_model())
        with torch.no_grad():
            model[0].model.embeddings.word_embeddings.weight.fill_(float("nan"))
        with pytest.raises(EncoderError, match="NaN"):
            SentenceTransformerEncoder(model).encode_queries(["the"])


class TestTokens:
    def test_counts_are_the_tokenizers(self, tiny_model):
        folder = tiny_model(prompts=PROMPTS)
        encoder, tokenizer = load_encoder(folder), peer_of(folder).tokenizer
        expected = [len(tokenizer(PROMPTS["document"] + text, truncation=False)["input_ids"]) for text in TEXTS]
        assert encoder.count_tokens(TEXTS).tolist() == expected
        assert encoder.max_tokens == 24

    def test_spans_are_the_tokenizers(self, tiny_model, plain):
        tokenizer = peer_of(tiny_model()).tokenizer
        for text, spans in zip(TEXTS, plain.token_spans(TEXTS), strict=True):
            expected = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
            assert [tuple(span) for span in spans.tolist()] == [tuple(span) for span in expected]

    def test_maximum_length_can_be_set(self, tiny_model):
        folder = tiny_model()
        encoder, peer = load_encoder(folder, max_tokens=10), peer_of(folder)
        peer.max_seq_length = 10
        assert encoder.max_tokens == 10
        np.testing.assert_allclose(encoder.encode_passages(TEXTS), peer.encode(TEXTS), atol=1e-5)

    @pytest.mark.parametrize("max_tokens", [0, 65])
    def test_maximum_length_that_does_not_fit(self, tiny_model, max_tokens):
        with pytest.raises(EncoderError, match="1 to 64 tokens"):
            load_encoder(tiny_model(), max_tokens=max_tokens)

    def test_maximum_length_without_room_for_text(self, tiny_model):
        with pytest.raises(EncoderError, match="special tokens alone take 2"):
            load_encoder(tiny_model(), max_tokens=2)


class TestIdentity:
    def test_is_json_and_names_no_path(self, tiny_model, plain):
        assert json.loads(json.dumps(plain.identity())) == plain.identity()
        assert str(tiny_model().parent) not in json.dumps(plain.identity())
        assert json.loads(json.dumps(plain.execution())) == plain.execution()

    def test_does_not_change_with_the_path_or_the_way_it_came(self, tiny_model, plain, tmp_path):
        moved = shutil.copytree(tiny_model(), tmp_path / "elsewhere")
        (moved / "README.md").write_text("notes")
        resaved = tmp_path / "again"
        peer_of(moved).save_pretrained(str(resaved), create_model_card=False)
        others = [load_encoder(moved), load_encoder(resaved), load_encoder(peer_of(moved)), load_encoder(tiny_model())]
        assert {fingerprint(other.identity()) for other in others} == {fingerprint(plain.identity())}

    def test_does_not_depend_on_a_random_pooler(self, tiny_model):
        folder = tiny_model(pooler=False)
        first, second = peer_of(folder), peer_of(folder)
        assert load_encoder(first).identity() == load_encoder(second).identity()

    @pytest.mark.parametrize(
        "changes",
        [
            {"seed": 1},
            {"pooling": "cls"},
            {"normalize": False},
            {"dense": 16},
            {"max_tokens": 23},
            {"prompts": PROMPTS},
            {"lower_case": False},
            {"similarity": "dot"},
            {"include_prompt": False},
        ],
        ids=str,
    )
    def test_changes_with_what_decides_the_vectors(self, tiny_model, plain, changes):
        assert load_encoder(tiny_model(**changes)).identity() != plain.identity()

    def test_changes_with_settings_given_on_loading(self, tiny_model, plain):
        for changes in ({"truncate_dim": 8}, {"max_tokens": 23}, {"prompts": {"query": "q: "}}):
            assert load_encoder(tiny_model(), **changes).identity() != plain.identity()

    def test_changes_with_a_single_weight(self, tiny_model, plain):
        model = peer_of(tiny_model())
        with torch.no_grad():
            model[0].model.encoder.layer[1].output.dense.bias[3] += 1e-6
        assert load_encoder(model).identity() != plain.identity()

    def test_changed_file_is_hashed_anew(self, tiny_model, tmp_path):
        folder = shutil.copytree(tiny_model(), tmp_path / "model")
        before = load_encoder(folder).identity()
        shutil.copy(tiny_model(seed=1) / "model.safetensors", folder / "model.safetensors")
        assert load_encoder(folder).identity() != before

    def test_reloading_brings_the_settings_back(self, tiny_model):
        encoder = load_encoder(tiny_model(), truncate_dim=8, max_tokens=12, prompts={"query": "q: ", "document": "d: "})
        again = reload_encoder(encoder.source, encoder.identity())
        assert again.identity() == encoder.identity()
        np.testing.assert_array_equal(again.encode_queries(TEXTS), encoder.encode_queries(TEXTS))


class Doubling:
    """A runtime of somebody's: twice the first token's id and the number of tokens, in 32 numbers."""

    closed = False

    def run(self, batch):
        firsts = batch.ids[np.cumsum(batch.lengths) - batch.lengths]
        assert batch.padded(0)["input_ids"].shape == batch.padded(0)["token_type_ids"].shape
        return np.tile(np.stack([2 * firsts, batch.lengths], axis=1), 16).astype(np.float32)

    def execution(self):
        return {"precision": "fp32", "runtime": "doubling", "device": "cpu"}

    def close(self):
        self.closed = True


class TestRuntimes:
    def test_another_runtime_makes_the_vectors(self, tiny_model, plain):
        runtime = Doubling()
        encoder = SentenceTransformerEncoder(peer_of(tiny_model()), runtime=runtime, batch_tokens=16)
        vectors = encoder.encode_passages(TEXTS)
        assert vectors[:, 0].tolist() == [4.0] * len(TEXTS)  # [CLS] has the id 2
        assert vectors[:, 1].tolist() == np.minimum(plain.count_tokens(TEXTS), 24).tolist()
        assert encoder.identity() == plain.identity()
        assert encoder.execution() == {**runtime.execution(), "batch_tokens": 16}
        encoder.close()
        assert runtime.closed

    def test_models_that_make_their_input_themselves(self):
        model = SentenceTransformer(modules=[TestOtherModels().static()], device="cpu")
        with pytest.raises(EncoderError, match="makes its input itself"):
            SentenceTransformerEncoder(model, runtime=Doubling())

    def test_what_its_owner_changes_in_a_model_counts(self, tiny_model):
        model = peer_of(tiny_model())
        encoder = SentenceTransformerEncoder(model)
        before = encoder.encode_passages(TEXTS)
        with torch.no_grad():
            model[0].model.encoder.layer[0].intermediate.dense.bias[3] += 1.0
        after = encoder.encode_passages(TEXTS)
        assert encoder.execution()["packed"] and np.abs(after - before).max() > 1e-3
        np.testing.assert_allclose(after, model.encode(TEXTS), atol=1e-5)


class TestOtherModels:
    """Models that the fast way does not serve."""

    def static(self, seed: int = 0) -> StaticEmbedding:
        words = ["[UNK]", "the", "search", "engine", "a", "of", "retrieval"]
        tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
        tokenizer.pre_tokenizer = Whitespace()
        return StaticEmbedding(tokenizer, np.random.default_rng(seed).normal(size=(len(words), 32)).astype(np.float32))

    def test_static_embeddings(self, tmp_path):
        model = SentenceTransformer(modules=[self.static()], device="cpu", prompts=PROMPTS)
        model.save_pretrained(str(tmp_path / "static"), create_model_card=False)
        encoder = load_encoder(tmp_path / "static")
        texts = [text for text in TEXTS if text.strip()]
        assert isinstance(encoder._inputs, PreprocessedInputs)
        assert encoder.max_tokens is None
        np.testing.assert_allclose(encoder.encode_queries(texts), model.encode_query(texts), atol=1e-5)
        np.testing.assert_allclose(encoder.encode_passages(texts), model.encode_document(texts), atol=1e-5)
        assert encoder.identity() == load_encoder(model).identity()
        other = SentenceTransformer(modules=[self.static(seed=1)], device="cpu", prompts=PROMPTS)
        assert encoder.identity() != load_encoder(other).identity()

    def test_one_model_for_queries_another_for_documents(self, tiny_model, tmp_path):
        peer = peer_of(tiny_model(prompts=PROMPTS, normalize=False))
        router = Router.for_query_document(query_modules=[self.static()], document_modules=list(peer.children()))
        model = SentenceTransformer(modules=[router], device="cpu", prompts=PROMPTS)
        model.save_pretrained(str(tmp_path / "router"), create_model_card=False)
        encoder = load_encoder(tmp_path / "router", batch_tokens=32)
        texts = [text for text in TEXTS if text.strip()]
        np.testing.assert_allclose(encoder.encode_queries(texts), model.encode_query(texts), atol=1e-5)
        np.testing.assert_allclose(encoder.encode_passages(texts), model.encode_document(texts), atol=1e-5)
        assert encoder.identity() == load_encoder(model).identity()


class TestRefusals:
    def test_similarity_that_cannot_be_searched(self, tiny_model):
        with pytest.raises(EncoderError, match="euclidean"):
            load_encoder(tiny_model(similarity="euclidean"))

    def test_closed(self, tiny_model):
        encoder = load_encoder(tiny_model())
        encoder.close()
        with pytest.raises(EncoderError, match="closed"):
            encoder.encode_queries(["the"])

    @pytest.mark.parametrize("texts", ["the search", [1], [None]])
    def test_what_is_no_list_of_texts(self, plain, texts):
        with pytest.raises(EncoderError):
            plain.encode_queries(texts)

    def test_code_in_the_model(self, tiny_model, tmp_path):
        folder = shutil.copytree(tiny_model(), tmp_path / "model")
        modules = json.loads((folder / "modules.json").read_text())
        modules[0]["type"] = "custom_code.Transformer"
        (folder / "modules.json").write_text(json.dumps(modules))
        (folder / "custom_code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()")
        with pytest.raises(EncoderError, match="cannot be loaded"):
            load_encoder(folder)
        assert not (tmp_path / "ran").exists()

    def test_unknown_precision(self, tiny_model):
        with pytest.raises(EncoderError, match="int8"):
            load_encoder(tiny_model(), precision="int8")

    def test_is_an_encoder(self, plain):
        assert isinstance(plain, Encoder)
        assert load_encoder(plain) is plain
