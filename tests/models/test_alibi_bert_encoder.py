from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from retrieval import Collection
from retrieval.encoders import fingerprint, load_encoder
from retrieval.encoders.late_chunking import TextInContext
from retrieval.encoders.model_inputs import TokenizedInputs
from retrieval.errors import EncoderError
from retrieval.models.alibi_bert.published import load_published
from retrieval.models.registration import register_backbones
from tests.models.alibi_oracle import SMALL, parameter_shapes, random_parameters, states
from tests.models.published_checkpoint import add_sentence_transformer, write_checkpoint
from tests.retrieval.conftest import VOCABULARY, save_backbone

FAMILIES = ["jina-bert-v2", "jina-bert-v2-qk-post-norm"]
TEXTS = [
    "the search engine",
    "a",
    "Searching, and the RETRIEVAL of documents: a (long) query.",
    "the search engine " * 50,
]

assert len(VOCABULARY) == SMALL["vocab_size"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> Path:
    return save_backbone(tmp_path_factory.mktemp("tokenizer") / "bert", seed=0)


@pytest.fixture
def published(tmp_path, tokenizer):
    """Return a function that writes a published repository; names and config.json as on the hub."""

    def write(family: str = "jina-bert-v2", name: str = "published", **changes) -> Path:
        parameters = random_parameters(parameter_shapes(family, SMALL))
        folder = write_checkpoint(tmp_path / name, parameters, **changes)
        (folder / "modeling_bert.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()")
        return add_sentence_transformer(folder, tokenizer)

    return write


class TestPublishedFolder:
    @pytest.mark.parametrize("family", FAMILIES)
    def test_gives_the_mean_of_the_published_states(self, published, family, tmp_path):
        encoder = load_encoder(published(family))
        parameters = random_parameters(parameter_shapes(family, SMALL))
        ids = encoder._inputs.prepare(["the search engine"], "", "document").features(np.arange(1))["input_ids"][0]
        expected = states(parameters, ids.numpy(), n_heads=6, family=family).mean(axis=0)
        np.testing.assert_allclose(encoder.encode_passages(["the search engine"])[0], expected, atol=1e-4)
        assert isinstance(encoder._inputs, TokenizedInputs)
        assert encoder.max_tokens == 8192
        assert not (tmp_path / "ran").exists()

    def test_does_not_depend_on_the_batch(self, published):
        encoder = load_encoder(published(), batch_tokens=64)
        together = encoder.encode_passages(TEXTS)
        alone = np.concatenate([encoder.encode_passages([text]) for text in TEXTS])
        large = load_encoder(published(name="again"), batch_tokens=10_000).encode_passages(TEXTS)
        np.testing.assert_allclose(together, alone, atol=1e-5)
        np.testing.assert_allclose(large, alone, atol=1e-5)

    def test_pools_passages_of_long_texts(self, published):
        encoder = load_encoder(published())
        text = " ".join(TEXTS[:3])
        ends = [len(TEXTS[0]), len(text)]
        whole, parts = (np.array([(0, len(text))]), np.array([(0, ends[0]), (ends[0] + 1, ends[1])]))
        documents = [TextInContext(text, 0, spans, np.ones(len(spans), bool)) for spans in (whole, parts)]
        of_whole, of_parts = (pooled.vectors for pooled in encoder.encode_in_context(documents))
        np.testing.assert_allclose(of_whole, encoder.encode_passages([text]), atol=1e-5)
        # Means of a text's two parts, weighted by their tokens (with a special one each), are the mean of the whole.
        sizes = encoder.count_tokens([text[start:end] for start, end in parts.tolist()]) - 1
        np.testing.assert_allclose(sizes @ of_parts / sizes.sum(), of_whole[0], atol=1e-5)

    def test_missing_names_are_an_error(self, published):
        folder = published()
        parameters = random_parameters(parameter_shapes("jina-bert-v2", SMALL))
        del parameters["encoder.layer.1.mlp.wo.bias"]
        write_checkpoint(folder, parameters)
        with pytest.raises(EncoderError, match=r"missing encoder.layer.1.mlp.wo.bias"):
            load_encoder(folder)

    @pytest.mark.slow
    def test_a_collection_takes_it(self, published, tmp_path):
        folder = published()
        collection = Collection.create(tmp_path / "index", encoder=folder)
        collection.upsert([{"id": str(number), "text": text} for number, text in enumerate(TEXTS)])
        assert Collection.open(tmp_path / "index").search("the search engine", mode="dense")[0].id in {"0", "3"}


class TestSavedFolder:
    def test_loads_with_the_library_and_here(self, published, tmp_path, tokenizer):
        register_backbones()
        original = load_encoder(published())
        SentenceTransformer(str(_converted(tmp_path, tokenizer)), device="cpu").save_pretrained(
            str(tmp_path / "saved"), create_model_card=False
        )
        plain = SentenceTransformer(str(tmp_path / "saved"), device="cpu")
        np.testing.assert_allclose(original.encode_passages(TEXTS), plain.encode(TEXTS), atol=1e-5)
        again = load_encoder(tmp_path / "saved")
        assert fingerprint(again.identity()) == fingerprint(original.identity())

    @pytest.mark.slow
    def test_loads_in_a_process_that_knows_nothing_of_it(self, published, tmp_path, tokenizer):
        published()
        _converted(tmp_path, tokenizer)
        work = f"""
from retrieval.encoders import load_encoder
print(load_encoder({str(tmp_path / "converted")!r}).encode_passages(["a"]).shape)
"""
        done = subprocess.run(
            [sys.executable, "-c", work], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
        )
        assert done.stdout == "(1, 24)\n"


def _converted(tmp_path: Path, tokenizer: Path) -> Path:
    load_published(tmp_path / "published").save_pretrained(tmp_path / "converted")
    return add_sentence_transformer(tmp_path / "converted", tokenizer)


class TestIdentity:
    def test_names_what_the_weights_do_not_show(self, published):
        first = load_encoder(published()).identity()
        second = load_encoder(published(name="other", feed_forward_type="reglu")).identity()
        assert first["weights"] == second["weights"]
        assert first != second
        assert "family=jina-bert-v2" in first["modules"][0]

    def test_does_not_name_how_attention_is_computed(self, published, tmp_path, tokenizer):
        folder = published()
        _converted(tmp_path, tokenizer)
        settings = json.loads((tmp_path / "converted" / "config.json").read_text())
        (tmp_path / "converted" / "config.json").write_text(json.dumps({**settings, "attention_mode": "blockwise"}))
        assert load_encoder(tmp_path / "converted").identity() == load_encoder(folder).identity()


@pytest.mark.slow
def test_a_text_of_8192_tokens_in_bounded_memory(published):
    """The logits of the six heads in one layer alone would take 1.6 GB."""
    work = f"""
from eval.benchmarks.processes import peak_memory
from retrieval.encoders import load_encoder
encoder = load_encoder({str(published())!r})
texts = ["the search engine " * 4000, "a document " * 3000]
before = peak_memory()
vectors = encoder.encode_passages(texts)
print(encoder.count_tokens(texts).min(), (peak_memory() - before) >> 20)
"""
    done = subprocess.run(
        [sys.executable, "-c", work], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    tokens, mebibytes = map(int, done.stdout.split())
    assert tokens > 4096
    assert mebibytes < 200


def test_the_command_line_does_not_load_networks():
    work = "import sys, retrieval, retrieval.cli, retrieval.models; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", work], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert done.stdout == "False\n"


def test_half_precision(published):
    encoder, exact = load_encoder(published(), precision="bf16"), load_encoder(published(name="exact"))
    cosine = torch.nn.functional.cosine_similarity(
        torch.from_numpy(encoder.encode_passages(TEXTS)), torch.from_numpy(exact.encode_passages(TEXTS))
    )
    assert cosine.min() > 0.99
