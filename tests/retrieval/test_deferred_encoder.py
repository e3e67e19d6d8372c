"""Encoders that begin without their library: the same vectors and the same identity as with it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer

from retrieval import Collection
from retrieval.encoders import Encoder, load_encoder, reload_encoder
from retrieval.encoders import deferred as deferred_module
from retrieval.encoders.deferred import DeferredEncoder
from retrieval.encoders.embedded import embedded_folder
from retrieval.encoders.late_chunking import LateChunkingEncoder
from retrieval.encoders.sentence_transformer import SentenceTransformerEncoder
from retrieval.errors import EncoderError

pytestmark = pytest.mark.usefixtures("own_cache")

TEXTS = [
    "How do I read a CSV file?",
    "",
    "  two  spaces\tand\nlines\u200b\u00a0",
    "Größe — naïve café 検索 🙂 [MASK] ##ing",
    "the search engine " * 40,
    "a\ud800b",
]
PEER_TEXTS = TEXTS[:-1]  # the library has no words for half a surrogate pair

VARIANTS = [
    *({"pooling": mode} for mode in ("mean", "cls", "max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")),
    {"dense": 16, "normalize": False, "similarity": "dot"},
    {"lower_case": False, "pooler": False},
    {"prompts": {"query": "query: ", "document": "the document "}},
    {"prompts": {"query": "search: ", "passage": "is not read, as the library has a document prompt"}},
]


def peer_of(folder: Path) -> SentenceTransformer:
    return SentenceTransformer(str(folder), device="cpu", local_files_only=True)


class TestVectors:
    @pytest.mark.parametrize("changes", VARIANTS, ids=str)
    def test_are_those_of_the_library(self, tiny_model, changes):
        folder = tiny_model(**changes)
        encoder, peer = load_encoder(folder), peer_of(folder)
        assert isinstance(encoder, DeferredEncoder)
        assert encoder.execution()["runtime"] == "numpy"
        np.testing.assert_allclose(encoder.encode_queries(PEER_TEXTS), peer.encode_query(PEER_TEXTS), atol=2e-6)
        np.testing.assert_allclose(encoder.encode_passages(PEER_TEXTS), peer.encode_document(PEER_TEXTS), atol=2e-6)
        assert encoder.execution()["runtime"] == "numpy"

    def test_of_the_embedded_model_over_random_texts(self):
        words = Path(embedded_folder() / "vocab.txt").read_text(encoding="utf-8").split()
        random = np.random.default_rng(5)
        texts = [" ".join(random.choice(words, length)) for length in (1, 2, 3, 5, 8, 13, 21, 34, 55, 400)]
        encoder, peer = load_encoder("embedded"), peer_of(embedded_folder())
        assert isinstance(encoder, DeferredEncoder)
        np.testing.assert_allclose(encoder.encode_queries(texts), peer.encode(texts), rtol=0, atol=1e-6)

    @settings(max_examples=25, suppress_health_check=list(HealthCheck))
    @given(texts=st.lists(st.text(max_size=60), min_size=1, max_size=6))
    def test_of_any_text_in_any_company(self, tiny_model, texts):
        encoder = load_encoder(tiny_model())
        together = encoder.encode_passages(texts)
        alone = np.concatenate([encoder.encode_passages([text]) for text in texts])
        np.testing.assert_allclose(together, alone, atol=2e-6)
        library = load_encoder(tiny_model(), batch_tokens=64)
        assert isinstance(library, SentenceTransformerEncoder)
        np.testing.assert_allclose(together, library.encode_passages(texts), atol=5e-6)

    def test_equal_texts_get_the_same_bits(self, tiny_model):
        vectors = load_encoder(tiny_model()).encode_passages([*TEXTS, *reversed(TEXTS)])
        assert vectors[: len(TEXTS)].tobytes() == vectors[: len(TEXTS) - 1 : -1].tobytes()

    def test_none_for_no_texts(self, tiny_model):
        vectors = load_encoder(tiny_model()).encode_queries([])
        assert (vectors.shape, vectors.dtype) == ((0, 32), np.float32)

    def test_settings(self, tiny_model):
        folder = tiny_model(dense=16)
        given = {"prompts": {"query": "the "}, "max_tokens": 5, "truncate_dim": 8}
        encoder, library = load_encoder(folder, **given), load_encoder(folder, **given, batch_tokens=64)
        assert isinstance(encoder, DeferredEncoder)
        assert encoder.identity() == library.identity()
        assert encoder.max_tokens == 5
        np.testing.assert_allclose(encoder.encode_queries(TEXTS), library.encode_queries(TEXTS), atol=2e-6)
        assert reload_encoder(encoder.source, encoder.identity()).identity() == encoder.identity()

    def test_tokens_are_those_of_the_library(self, tiny_model):
        folder = tiny_model(prompts={"document": "the document "})
        encoder, library = load_encoder(folder), load_encoder(folder, batch_tokens=64)
        assert encoder.count_tokens(TEXTS).tolist() == library.count_tokens(TEXTS).tolist()
        for ours, theirs in zip(encoder.token_spans(TEXTS), library.token_spans(TEXTS), strict=True):
            assert ours.tolist() == theirs.tolist()


class TestIdentity:
    @pytest.mark.parametrize("changes", VARIANTS, ids=str)
    def test_is_that_of_the_library(self, tiny_model, changes, monkeypatch, tmp_path):
        folder = tiny_model(**changes)
        identity = load_encoder(folder).identity()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # digests are computed again, by the other path
        assert load_encoder(folder, batch_tokens=64).identity() == identity
        assert load_encoder(peer_of(folder)).identity() == identity

    def test_of_the_embedded_model_is_that_of_the_library(self, monkeypatch, tmp_path):
        encoder = load_encoder("embedded")
        assert isinstance(encoder, DeferredEncoder)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert load_encoder(peer_of(embedded_folder())).identity() == encoder.identity()


class TestLibrary:
    def test_is_loaded_for_more_than_a_few_texts(self, tiny_model, monkeypatch):
        monkeypatch.setattr(deferred_module, "OPERATIONS", 1e6)
        monkeypatch.setattr(deferred_module, "FEW_OPERATIONS", 1e6)
        encoder = load_encoder(tiny_model())
        few = encoder.encode_passages(TEXTS[:1])
        assert encoder.execution()["runtime"] == "numpy"
        many = encoder.encode_passages(TEXTS * 20)
        assert encoder.execution()["runtime"] == "torch"
        np.testing.assert_allclose(many[:1], few, atol=5e-6)
        np.testing.assert_allclose(encoder.encode_queries(TEXTS[:1]), few, atol=5e-6)

    def test_is_loaded_when_many_requests_have_cost_as_much(self, tiny_model, monkeypatch):
        monkeypatch.setattr(deferred_module, "OPERATIONS", 1e6)
        monkeypatch.setattr(deferred_module, "FEW_OPERATIONS", 1e5)
        encoder = load_encoder(tiny_model())
        runtimes = []
        for _ in range(8):
            encoder.encode_passages(TEXTS[:1])
            runtimes.append(encoder.execution()["runtime"])
        assert runtimes[0] == "numpy"
        assert runtimes[-1] == "torch"

    def test_goes_on_with_a_stream_of_steps(self, tiny_model, monkeypatch):
        monkeypatch.setattr(deferred_module, "OPERATIONS", 1e6)
        monkeypatch.setattr(deferred_module, "FEW_OPERATIONS", 1e6)
        encoder = load_encoder(tiny_model())
        steps = [TEXTS[:1], [], TEXTS * 20, TEXTS[:2]]
        vectors = list(encoder.encode_stream(steps))
        assert encoder.execution()["runtime"] == "torch"
        assert [len(each) for each in vectors] == [len(step) for step in steps]
        expected = load_encoder(tiny_model(), batch_tokens=64).encode_passages(TEXTS)
        np.testing.assert_allclose(vectors[2], np.tile(expected, (20, 1)), atol=5e-6)
        np.testing.assert_allclose(vectors[3], expected[:2], atol=5e-6)

    def test_serves_late_chunking(self, tiny_model):
        encoder = load_encoder(tiny_model())
        assert isinstance(encoder, LateChunkingEncoder)
        assert encoder.late_chunking_problem() is None
        assert load_encoder(tiny_model(pooling="cls")).late_chunking_problem() is not None

    def test_of_a_folder_that_was_replaced_is_refused(self, tiny_model, tmp_path):
        folder = shutil.copytree(tiny_model(), tmp_path / "model")
        encoder = load_encoder(folder)
        encoder.encode_queries(["word"])
        shutil.rmtree(folder)
        shutil.copytree(tiny_model(seed=1), folder)
        with pytest.raises(EncoderError, match="has changed on the disk"):
            encoder.late_chunking_problem()

    def test_a_folder_that_was_replaced_or_removed_serves_as_before(self, tiny_model, tmp_path):
        folder = shutil.copytree(tiny_model(), tmp_path / "model")
        encoder = load_encoder(folder)
        before = encoder.encode_queries(["word"])
        shutil.rmtree(folder)
        np.testing.assert_allclose(encoder.encode_queries(["word"]), before, atol=1e-6)

    @pytest.mark.parametrize("size", [None, 1000], ids=["same size", "shorter"])
    def test_weights_that_were_written_over_are_refused(self, tiny_model, tmp_path, size):
        """The mapped weights are then others, or not there: a wrong vector, or the end of the process."""
        folder = shutil.copytree(tiny_model(), tmp_path / "model")
        encoder = load_encoder(folder)
        assert isinstance(encoder, DeferredEncoder)
        encoder.encode_queries(["word"])
        with (folder / "model.safetensors").open("r+b") as file:
            content = (tiny_model(seed=1) / "model.safetensors").read_bytes()
            file.write(content[:size])
            file.truncate()
        with pytest.raises(EncoderError, match="has changed on the disk"):
            encoder.encode_queries(["word"])

    def test_closed(self, tiny_model):
        encoder = load_encoder(tiny_model())
        encoder.close()
        for use in (lambda: encoder.encode_queries(["a"]), encoder.late_chunking_problem, encoder.execution):
            with pytest.raises(EncoderError, match="is closed"):
                use()


def change_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def keep_in_half_precision(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    save_file({name: tensor.half() for name, tensor in tensors.items()}, folder / "model.safetensors")


def normalise_otherwise(folder: Path) -> None:
    """What the file says of case is not what transformers makes of the settings."""
    content = json.loads((folder / "tokenizer.json").read_text())
    content["normalizer"]["lowercase"] = False
    (folder / "tokenizer.json").write_text(json.dumps(content))


UNUSUAL = {
    "lower case before the tokenizer": lambda folder: change_json(
        folder / "sentence_bert_config.json", do_lower_case=True
    ),
    "unknown setting": lambda folder: change_json(folder / "1_Pooling" / "config.json", learned=True),
    "pooled without the prompt": lambda folder: change_json(folder / "1_Pooling" / "config.json", include_prompt=False),
    "two poolings": lambda folder: change_json(folder / "1_Pooling" / "config.json", pooling_mode=["mean", "cls"]),
    "another activation": lambda folder: change_json(folder / "config.json", hidden_act="silu"),
    "half precision": keep_in_half_precision,
    "another normalisation": normalise_otherwise,
    "texts cut on the left": lambda folder: change_json(folder / "tokenizer_config.json", truncation_side="left"),
    "euclidean": lambda folder: change_json(
        folder / "config_sentence_transformers.json", similarity_fn_name="euclidean"
    ),
    "no room beside special tokens": lambda folder: change_json(folder / "sentence_bert_config.json", max_seq_length=1),
    "no tokenizer.json": lambda folder: (folder / "tokenizer.json").unlink(),
}


class TestUnusualFolders:
    @pytest.mark.parametrize("name", UNUSUAL)
    def test_are_left_to_the_library(self, tiny_model, tmp_path, name):
        folder = shutil.copytree(tiny_model(), tmp_path / "model")
        UNUSUAL[name](folder)
        try:
            encoder: Encoder | str = load_encoder(folder)
        except EncoderError as error:
            encoder = str(error)  # the library's path refuses it, and says why
        assert not isinstance(encoder, DeferredEncoder)

    @pytest.mark.parametrize(
        "changes",
        [{"precision": "bf16"}, {"batch_tokens": 64}, {"device": torch.device("cpu").type, "precision": "fp16"}],
    )
    def test_execution_that_only_the_library_has(self, tiny_model, changes):
        assert isinstance(load_encoder(tiny_model(), **changes), SentenceTransformerEncoder)

    @pytest.mark.parametrize("changes", [{"max_tokens": 2}, {"max_tokens": 65}, {"max_tokens": 0}])
    def test_settings_out_of_range(self, tiny_model, changes):
        with pytest.raises(EncoderError, match="max_tokens"):
            load_encoder(tiny_model(), **changes)

    def test_missing_parameters(self, tiny_model, tmp_path):
        folder = shutil.copytree(tiny_model(), tmp_path / "model")
        tensors = load_file(folder / "model.safetensors")
        del tensors["encoder.layer.1.output.dense.weight"]
        save_file(tensors, folder / "model.safetensors")
        with pytest.raises(EncoderError, match="lacks parameters"):
            load_encoder(folder)


SEARCH = """
import sys
from retrieval import Collection
collection = Collection.open(sys.argv[1])
assert collection.search("swift birds", mode=sys.argv[2]).ids[0] == "1"
heavy = {"torch", "transformers", "sentence_transformers", "sklearn"} & set(sys.modules)
sys.exit(str(heavy) if heavy else 0)
"""


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["dense", "hybrid"])
def test_a_search_from_a_fresh_process_needs_no_library(tmp_path, mode):
    collection = Collection.create(tmp_path / "my.index")
    collection.add([{"id": "1", "text": "Swifts sleep on the wing."}, {"id": "2", "text": "Tax law of 1913."}])
    collection.close()
    done = subprocess.run(
        [sys.executable, "-c", SEARCH, str(tmp_path / "my.index"), mode], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
