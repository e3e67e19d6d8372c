"""Folders that are not loaded: code of their own, tokenizers that cannot be read here, checkpoints with gaps."""

from __future__ import annotations

import builtins
import importlib.metadata
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from retrieval.encoders import load_encoder
from retrieval.errors import EncoderError, TrainingError
from retrieval.training.builders.encoder import build_model
from tests.encoders.backbones import save_family

pytestmark = pytest.mark.usefixtures("own_cache")

LOADERS = {"load_encoder": load_encoder, "build_model": lambda folder: build_model(backbone=str(folder))}


@pytest.fixture(params=LOADERS)
def load(request) -> Any:
    return LOADERS[request.param]


@pytest.fixture(scope="module")
def bert(tmp_path_factory) -> Path:
    return save_family("bert", tmp_path_factory.mktemp("bert") / "bert")


@pytest.fixture
def folder(bert, tmp_path) -> Path:
    return shutil.copytree(bert, tmp_path / "model")


def change_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def change_tensors(folder: Path, change: Any) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


class TestCode:
    @pytest.fixture(autouse=True)
    def nobody_at_the_keyboard(self, monkeypatch, tmp_path):
        """transformers asks whether to run code; "y" would run it."""
        monkeypatch.setattr(builtins, "input", lambda *_question: "y")
        yield
        assert not (tmp_path / "ran").exists()

    def add_code(self, folder: Path, name: str) -> None:
        (folder / name).write_text(f"open({str(folder.parent / 'ran')!r}, 'w').close()")

    def test_an_architecture_that_is_only_code(self, folder, load):
        auto_map = {"AutoConfig": "configuration_own.OwnConfig", "AutoModel": "modeling_own.OwnModel"}
        change_json(folder / "config.json", model_type="own", auto_map=auto_map)
        self.add_code(folder, "configuration_own.py")
        self.add_code(folder, "modeling_own.py")
        with pytest.raises(EncoderError, match=r"configuration_own\.OwnConfig for model type 'own'\).* never run here"):
            load(folder)

    def test_a_known_architecture_is_loaded_by_its_own_class(self, folder, bert, load):
        change_json(folder / "config.json", auto_map={"AutoModel": "modeling_own.OwnModel"})
        self.add_code(folder, "modeling_own.py")
        load(folder)
        vectors = load_encoder(folder).encode_passages(["the search engine"])
        np.testing.assert_array_equal(vectors, load_encoder(bert).encode_passages(["the search engine"]))

    def test_a_known_name_for_another_network(self, folder, load):
        """Its code would read the additional parameters; without it the vectors would be wrong."""
        change_json(folder / "config.json", auto_map={"AutoModel": "modeling_own.OwnModel"})
        self.add_code(folder, "modeling_own.py")
        change_tensors(
            folder, lambda tensors: tensors.update({"bert.encoder.layer.0.gate.weight": np.ones((2, 2), np.float32)})
        )
        with pytest.raises((EncoderError, TrainingError), match=r"encoder\.layer\.0\.gate\.weight"):
            load(folder)

    def test_a_module_that_is_code(self, folder, load):
        modules = [{"idx": 0, "name": "0", "path": "", "type": "own_module.OwnTransformer"}]
        (folder / "modules.json").write_text(json.dumps(modules))
        self.add_code(folder, "own_module.py")
        with pytest.raises(EncoderError, match=r"own_module\.OwnTransformer\).* never run here"):
            load(folder)

    def test_a_tokenizer_that_is_code(self, folder, load):
        """What it would do is not known; the folder's tokenizer.json says what it does."""
        change_json(
            folder / "tokenizer_config.json",
            tokenizer_class="OwnTokenizer",
            auto_map={"AutoTokenizer": ["own_tokenizer.OwnTokenizer", None]},
        )
        self.add_code(folder, "own_tokenizer.py")
        (folder / "tokenizer.json").unlink()
        with pytest.raises(EncoderError, match="cannot be loaded"):
            load(folder)


class TestTokenizers:
    @pytest.mark.parametrize(
        ("name", "file", "command"),
        [
            ("t5", "spiece.model", "pip install sentencepiece protobuf"),
            ("albert", "spiece.model", "pip install sentencepiece protobuf"),
            ("deberta-v2", "spm.model", "pip install sentencepiece protobuf"),
            ("xlm-roberta", "sentencepiece.bpe.model", "pip install sentencepiece protobuf"),
            ("llama", "tokenizer.model", "pip install sentencepiece protobuf"),
            ("llama", "tiktoken.model", "pip install tiktoken"),
        ],
    )
    def test_a_file_that_needs_another_library(self, tmp_path, monkeypatch, load, name, file, command):
        installed = importlib.metadata.version

        def version(library: str) -> str:
            if library in ("sentencepiece", "tiktoken", "protobuf"):
                raise importlib.metadata.PackageNotFoundError(library)
            return installed(library)

        monkeypatch.setattr(importlib.metadata, "version", version)
        folder = save_family(name, tmp_path / name)
        (folder / "tokenizer.json").rename(folder / file)
        with pytest.raises(EncoderError, match=rf"its tokenizer is {file} alone.*{command}; .*tokenizer\.json"):
            load(folder)

    @pytest.mark.parametrize("name", ["bert", "gpt2", "qwen2"])
    def test_no_vocabulary(self, tmp_path, load, name):
        """transformers makes an empty tokenizer, for which every word is unknown."""
        folder = save_family(name, tmp_path / name)
        (folder / "tokenizer.json").unlink()
        with pytest.raises(EncoderError, match="knows no words, only special tokens"):
            load(folder)


class TestGaps:
    @pytest.mark.parametrize("prefixed", [True, False])
    def test_a_missing_parameter(self, folder, load, prefixed):
        name = "encoder.layer.1.attention.self.key.weight"

        def change(tensors: dict[str, np.ndarray]) -> None:
            del tensors[f"bert.{name}"]
            if not prefixed:
                for stored in [stored for stored in tensors if stored.startswith("bert.")]:
                    tensors[stored.removeprefix("bert.")] = tensors.pop(stored)

        change_tensors(folder, change)
        with pytest.raises((EncoderError, TrainingError), match=name.replace(".", r"\.")):
            load(folder)

    def test_names_of_older_checkpoints(self, folder, bert, load):
        """`gamma` and `beta` are what `weight` and `bias` of a LayerNorm were called."""

        def change(tensors: dict[str, np.ndarray]) -> None:
            for name in [name for name in tensors if "LayerNorm" in name]:
                tensors[name.replace("weight", "gamma").replace("bias", "beta")] = tensors.pop(name)

        change_tensors(folder, change)
        load(folder)
        vectors = load_encoder(folder).encode_passages(["the search engine"])
        np.testing.assert_array_equal(vectors, load_encoder(bert).encode_passages(["the search engine"]))

    @pytest.mark.parametrize("name", ["opt", "bart"])
    def test_a_decoder_is_the_network_and_not_a_head(self, tmp_path, load, name):
        from transformers import BartConfig, BartModel, OPTConfig, OPTForCausalLM

        shared = {"vocab_size": 500, "max_position_embeddings": 64}
        opt = OPTConfig(hidden_size=32, word_embed_proj_dim=32, ffn_dim=64, num_hidden_layers=1, **shared)
        sizes = {f"{part}_{what}": 1 for part in ("encoder", "decoder") for what in ("layers", "ffn_dim")}
        bart = BartConfig(d_model=32, encoder_attention_heads=2, decoder_attention_heads=2, **sizes, **shared)
        opt.num_attention_heads = 4
        folder = save_family("gpt2", tmp_path / name)
        (OPTForCausalLM(opt) if name == "opt" else BartModel(bart)).save_pretrained(folder)
        load(folder)

        def change(tensors: dict[str, np.ndarray]) -> None:
            del tensors[next(stored for stored in tensors if stored.endswith("decoder.layers.0.fc1.weight"))]

        change_tensors(folder, change)
        with pytest.raises((EncoderError, TrainingError), match=r"decoder\.layers\.0\.fc1\.weight"):
            load(folder)

    def test_more_layers_than_the_checkpoint_has(self, folder, load):
        change_json(folder / "config.json", num_hidden_layers=3)
        with pytest.raises((EncoderError, TrainingError), match=r"encoder\.layer\.2\."):
            load(folder)
