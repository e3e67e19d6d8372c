"""NeoBERT against its equations in numpy, and its published layout of names and settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM

from retrieval.encoders import fingerprint, load_encoder
from retrieval.errors import EncoderError
from retrieval.models.neobert import NeoBertConfig, NeoBertForMaskedLM, NeoBertForSequenceClassification, NeoBertModel
from retrieval.models.neobert.published import is_published, load_published, published_config
from retrieval.models.neobert.rotary import rotate, rotations
from retrieval.models.registration import register_backbones
from tests.models.alibi_oracle import random_parameters
from tests.retrieval.conftest import VOCABULARY, own_cache, save_backbone

__all__ = ["own_cache"]

SMALL = {
    "vocab_size": len(VOCABULARY),
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
}
INNER = 32  # two thirds of 40 are 26.7; the next multiple of 8
PUBLISHED: dict[str, Any] = {
    "architectures": ["NeoBERTLMHead"],
    "auto_map": {
        "AutoConfig": "model.NeoBERTConfig",
        "AutoModel": "model.NeoBERT",
        "AutoModelForMaskedLM": "model.NeoBERTLMHead",
        "AutoModelForSequenceClassification": "model.NeoBERTForSequenceClassification",
    },
    "classifier_init_range": 0.02,
    "decoder_init_range": 0.02,
    "dim_head": 8,
    "embedding_init_range": 0.02,
    "kwargs": {"trust_remote_code": True},
    "max_length": 4096,
    "model_type": "neobert",
    "norm_eps": 1e-05,
    "pad_token_id": 0,
    "torch_dtype": "float32",
    **SMALL,
}
"""config.json as published, with other widths."""

IDS = np.random.default_rng(2).integers(1, SMALL["vocab_size"], 11)
TEXTS = ["the search engine", "a", "Searching, and the RETRIEVAL of documents: a (long) query.", "the search " * 50, ""]


def published_shapes(settings: dict[str, int] = SMALL) -> dict[str, tuple[int, ...]]:
    """Return what an encoder's checkpoint holds, as the published one lists it."""
    width = settings["hidden_size"]
    shapes: dict[str, tuple[int, ...]] = {
        "model.encoder.weight": (settings["vocab_size"], width),
        "model.layer_norm.weight": (width,),
    }
    for number in range(settings["num_hidden_layers"]):
        layer = f"model.transformer_encoder.{number}."
        shapes[f"{layer}qkv.weight"] = (3 * width, width)
        shapes[f"{layer}wo.weight"] = (width, width)
        shapes[f"{layer}ffn.w12.weight"] = (2 * INNER, width)
        shapes[f"{layer}ffn.w3.weight"] = (width, INNER)
        shapes[f"{layer}attention_norm.weight"] = shapes[f"{layer}ffn_norm.weight"] = (width,)
    return shapes


HEAD = {"decoder.weight": (SMALL["vocab_size"], 24), "decoder.bias": (SMALL["vocab_size"],)}
CLASSIFIER = {"dense.weight": (24, 24), "dense.bias": (24,), "classifier.weight": (1, 24), "classifier.bias": (1,)}


def states(parameters: dict[str, np.ndarray], ids: np.ndarray, n_heads: int = 3) -> np.ndarray:
    """Return the last states of one text in float64, one head and one position at a time, complex rotations."""
    weights = {name.removeprefix("model."): value.astype(np.float64) for name, value in parameters.items()}

    def norm(name: str, x: np.ndarray) -> np.ndarray:
        return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-5) * weights[f"{name}.weight"]

    def turned(x: np.ndarray) -> np.ndarray:
        size = x.shape[-1]
        numbers = x[:, 0::2] + 1j * x[:, 1::2]
        angles = np.arange(len(x))[:, None] * 10000.0 ** (-np.arange(0, size, 2) / size)
        numbers = numbers * np.exp(1j * angles)
        return np.stack([numbers.real, numbers.imag], axis=-1).reshape(x.shape)

    hidden = weights["encoder.weight"][ids]
    n_layers = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("transformer_encoder."))
    for number in range(n_layers):
        layer = f"transformer_encoder.{number}."
        projected = norm(f"{layer}attention_norm", hidden) @ weights[f"{layer}qkv.weight"].T
        size = hidden.shape[1] // n_heads
        parts = []
        for head in range(n_heads):
            own = projected[:, head * 3 * size : (head + 1) * 3 * size]
            query, key, value = turned(own[:, :size]), turned(own[:, size : 2 * size]), own[:, 2 * size :]
            logits = query @ key.T / np.sqrt(size)
            odds = np.exp(logits - logits.max(axis=1, keepdims=True))
            parts.append(odds / odds.sum(axis=1, keepdims=True) @ value)
        hidden = hidden + np.concatenate(parts, axis=1) @ weights[f"{layer}wo.weight"].T
        both = norm(f"{layer}ffn_norm", hidden) @ weights[f"{layer}ffn.w12.weight"].T
        gate, up = both[:, :INNER], both[:, INNER:]
        hidden = hidden + (gate / (1 + np.exp(-gate)) * up) @ weights[f"{layer}ffn.w3.weight"].T
    return norm("layer_norm", hidden)


def write_checkpoint(folder: Path, parameters: dict[str, np.ndarray], **changes: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**PUBLISHED, **changes}), encoding="utf-8")
    (folder / "model.py").write_text(f"open({str(folder / 'ran')!r}, 'w').close()", encoding="utf-8")
    save_file(parameters, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture
def parameters() -> dict[str, np.ndarray]:
    return random_parameters(published_shapes())


@pytest.fixture
def published(tmp_path, parameters) -> Path:
    """The published repository: network, code and tokenizer."""
    save_backbone(tmp_path / "bert", seed=0)
    folder = write_checkpoint(tmp_path / "published", {**parameters, **random_parameters(HEAD, seed=1)})
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((tmp_path / "bert" / name).read_bytes())
    return folder


def random_model(**changes: Any) -> NeoBertModel:
    """Return an encoder whose attention is far from uniform."""
    torch.manual_seed(0)
    config = NeoBertConfig(**{**SMALL, "embedding_init_range": 1.0, "decoder_init_range": 0.5, **changes})
    return NeoBertModel(config).eval()


class TestEquations:
    def test_states_are_those_of_the_equations(self, tmp_path, parameters):
        model = load_published(write_checkpoint(tmp_path, parameters)).double().eval()
        found = model(torch.from_numpy(IDS)[None]).last_hidden_state[0].detach().numpy()
        np.testing.assert_allclose(found, states(parameters, IDS), atol=1e-6)  # rotations are in float32

    def test_queries_keys_and_values_lie_side_by_side_for_each_head(self, tmp_path, parameters):
        """Read as three blocks, as other networks have them, the numbers would be others."""
        layout = parameters.copy()
        for name in [name for name in layout if name.endswith("qkv.weight")]:
            blocks = layout[name].reshape(3, 3, 8, 24)  # (part, head, row, width) if it were blocks
            layout[name] = np.ascontiguousarray(blocks.transpose(1, 0, 2, 3)).reshape(72, 24)
        assert np.abs(states(layout, IDS) - states(parameters, IDS)).max() > 0.1
        # By hand: rows 0 to 7 are the first head's queries, 8 to 15 its keys, 16 to 23 its values.
        model = load_published(write_checkpoint(tmp_path, parameters)).eval()
        with torch.no_grad():
            model.transformer_encoder[0].qkv.weight[16:24] = 0
            model.transformer_encoder[0].wo.weight[:, 8:] = 0  # the other heads' way out
            hidden = model.encoder(torch.from_numpy(IDS)[None])
            block = model.transformer_encoder[0]
            attended = block._attention(block.attention_norm(hidden), None, rotations(len(IDS), 8, 1e4))
        assert torch.equal(attended, torch.zeros_like(attended))

    def test_scores_depend_on_the_distance_alone(self):
        random = torch.Generator().manual_seed(0)
        query, key = (torch.randn(1, 1, 1, 64, generator=random) for _ in range(2))
        cosines, sines = rotations(60, 64, 10000.0)
        turned_query = rotate(query.expand(1, 60, 1, 64), cosines, sines)[0, :, 0]
        turned_key = rotate(key.expand(1, 60, 1, 64), cosines, sines)[0, :, 0]
        scores = turned_query @ turned_key.T  # (60, 60)
        for distance in (-20, -1, 0, 1, 5, 40):
            line = scores.diagonal(distance)
            torch.testing.assert_close(line, line[:1].expand_as(line), atol=1e-4, rtol=0)
        assert (scores.diagonal(1)[0] - scores.diagonal(-1)[0]).abs() > 0.1  # but before is not behind
        torch.testing.assert_close(scores[0, 0], (query * key).sum())  # position 0 does not turn
        torch.testing.assert_close(turned_query.norm(dim=1), query.norm().expand(60))

    @pytest.mark.parametrize("side", ["left", "right"])
    def test_padding_changes_nothing(self, side):
        model, ids = random_model(), torch.from_numpy(IDS)[None]
        padding = torch.zeros(1, 5, dtype=torch.int64)
        order = [padding, ids] if side == "left" else [ids, padding]
        padded, mask = (
            torch.cat(order, dim=1),
            torch.cat([torch.ones_like(part) * bool(part.any()) for part in order], 1),
        )
        with torch.no_grad():
            alone = model(ids).last_hidden_state
            together = model(padded, mask).last_hidden_state
            wrong = model(padded).last_hidden_state
        kept = slice(5, None) if side == "left" else slice(len(IDS))
        torch.testing.assert_close(together[:, kept], alone, atol=1e-5, rtol=0)
        assert (wrong[:, kept] - alone).abs().max() > 0.01

    def test_a_row_without_tokens_is_finite(self):
        mask = torch.tensor([[0, 0, 0], [1, 1, 0]])
        found = random_model()(torch.tensor([[0, 0, 0], [5, 6, 0]]), mask).last_hidden_state
        assert torch.isfinite(found).all()

    def test_the_order_of_words_matters(self):
        model = random_model()
        with torch.no_grad():
            forwards = model(torch.tensor([[5, 6, 7]])).last_hidden_state.mean(dim=1)
            backwards = model(torch.tensor([[7, 6, 5]])).last_hidden_state.mean(dim=1)
        assert (forwards - backwards).abs().max() > 0.01

    def test_all_states(self):
        model = random_model()
        found = model(torch.from_numpy(IDS)[None], output_hidden_states=True)
        assert len(found.hidden_states) == 3
        assert torch.equal(found.hidden_states[0], model.encoder(torch.from_numpy(IDS)[None]))
        assert torch.equal(found.hidden_states[-1], found.last_hidden_state)

    def test_gradient_checkpointing_changes_nothing(self):
        gradients = []
        for checkpointing in (False, True):
            model = random_model().train()
            if checkpointing:
                model.activation_checkpointing_enable()
            model(torch.from_numpy(IDS)[None]).last_hidden_state.square().sum().backward()
            gradients.append(model.encoder.weight.grad)
        torch.testing.assert_close(gradients[0], gradients[1])


class TestSettings:
    def test_published_parameter_counts(self):
        """Embeddings 30522 x 768; 28 layers of 3 x 768^2 + 768^2 + 3 x 2048 x 768 + 2 x 768; a norm; the head."""
        with torch.device("meta"):
            model = NeoBertForMaskedLM(NeoBertConfig())
        layer = 4 * 768**2 + 3 * 2048 * 768 + 2 * 768
        encoder = 30522 * 768 + 28 * layer + 768
        assert sum(parameter.numel() for parameter in model.model.parameters()) == encoder == 221_665_536
        assert sum(parameter.numel() for parameter in model.parameters()) == encoder + 769 * 30522 == 245_136_954
        assert NeoBertConfig().inner_size == 2048
        assert NeoBertConfig(intermediate_size=40).inner_size == INNER

    def test_there_are_no_biases_and_the_names_are_published(self):
        names = {
            name: tuple(value.shape) for name, value in NeoBertForMaskedLM(NeoBertConfig(**SMALL)).state_dict().items()
        }
        assert names == {**published_shapes(), **HEAD}

    @pytest.mark.parametrize("heads", [5, 8])
    def test_heads_that_do_not_fit(self, heads):
        with pytest.raises(EncoderError, match=f"no even multiple of num_attention_heads {heads}"):
            NeoBertConfig(**{**SMALL, "num_attention_heads": heads})

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"hidden_act": "gelu"}, "hidden_act 'gelu'"),
            ({"ngpt": True}, "ngpt True"),
            ({"auto_map": None, "model_type": "bert"}, "no published NeoBERT"),
        ],
    )
    def test_other_networks_are_refused(self, tmp_path, parameters, changes, words):
        with pytest.raises(EncoderError, match=words):
            published_config(write_checkpoint(tmp_path, parameters, **changes))

    def test_settings_that_are_the_published_ones(self, tmp_path, parameters):
        config = published_config(write_checkpoint(tmp_path, parameters, hidden_act="SwiGLU", rope=True))
        assert config.max_position_embeddings == config.max_length == 4096
        assert not hasattr(config, "auto_map")


class TestHeads:
    def test_masked_language_model(self, published, parameters):
        model = load_published(published, NeoBertForMaskedLM).eval()
        head = random_parameters(HEAD, seed=1)
        expected = states(parameters, IDS) @ head["decoder.weight"].T + head["decoder.bias"]
        labels = torch.full((1, len(IDS)), -100)
        labels[0, 3] = 5
        found = model(torch.from_numpy(IDS)[None], labels=labels)
        np.testing.assert_allclose(found.logits[0].detach().numpy(), expected, atol=1e-3)
        torch.testing.assert_close(found.loss, -found.logits[0, 3].log_softmax(dim=0)[5])
        assert model.get_output_embeddings().weight is not model.get_input_embeddings().weight

    def test_classification_reads_the_first_token_after_padding(self, tmp_path, parameters):
        head = random_parameters(CLASSIFIER, seed=3)
        folder = write_checkpoint(tmp_path, {**parameters, **head})
        model = load_published(folder, NeoBertForSequenceClassification).eval()
        assert model.config.num_labels == 1
        first = states(parameters, IDS)[0]
        expected = np.tanh(head["dense.weight"] @ first + head["dense.bias"]) @ head["classifier.weight"][0]
        ids = torch.from_numpy(np.concatenate([[0, 0], IDS]))[None]
        found = model(ids, (ids > 0).long(), labels=torch.tensor([1.0]))
        np.testing.assert_allclose(found.logits.item(), expected + head["classifier.bias"][0], atol=1e-4)
        torch.testing.assert_close(found.loss, (found.logits[0, 0] - 1) ** 2)

    def test_vocabulary_can_grow(self):
        model = NeoBertForMaskedLM(NeoBertConfig(**SMALL)).eval()
        model.resize_token_embeddings(SMALL["vocab_size"] + 4)
        assert model(torch.tensor([[SMALL["vocab_size"] + 3]])).logits.shape == (1, 1, SMALL["vocab_size"] + 4)


@pytest.mark.usefixtures("own_cache")
class TestFolders:
    def test_a_published_folder_is_an_encoder_without_its_code(self, published, parameters):
        assert is_published(published)
        encoder = load_encoder(published)
        ids = encoder._inputs.prepare(["the search engine"], "", "document").features(np.arange(1))["input_ids"][0]
        expected = states(parameters, ids.numpy()).mean(axis=0)
        np.testing.assert_allclose(encoder.encode_passages(["the search engine"])[0], expected, atol=1e-4)
        assert encoder.max_tokens == 4096
        assert not (published / "ran").exists()

    def test_vectors_do_not_depend_on_the_batch(self, published):
        encoder = load_encoder(published, pooling="cls")
        together = encoder.encode_passages(TEXTS)
        alone = np.concatenate([encoder.encode_passages([text]) for text in TEXTS])
        np.testing.assert_allclose(together, alone, atol=1e-5)

    def test_a_saved_folder_loads_with_transformers_and_here(self, published, tmp_path):
        register_backbones()
        model = load_published(published, NeoBertForMaskedLM)
        model.save_pretrained(tmp_path / "saved")
        assert "auto_map" not in json.loads((tmp_path / "saved" / "config.json").read_text())
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (tmp_path / "saved" / name).write_bytes((published / name).read_bytes())
        assert isinstance(AutoConfig.from_pretrained(tmp_path / "saved"), NeoBertConfig)
        ids = torch.from_numpy(IDS)[None]
        again = AutoModelForMaskedLM.from_pretrained(tmp_path / "saved")
        assert torch.equal(again(ids).logits, model(ids).logits)
        encoder = AutoModel.from_pretrained(tmp_path / "saved")
        assert torch.equal(encoder(ids).last_hidden_state, model.model(ids).last_hidden_state)
        first, second = load_encoder(published), load_encoder(tmp_path / "saved")
        assert fingerprint(first.identity()) == fingerprint(second.identity())

    def test_wavelengths_belong_to_the_identity(self, published, tmp_path):
        register_backbones()
        model = load_published(published)
        identities = []
        for theta in (10000.0, 20000.0):
            model.config.rope_theta = theta
            model.save_pretrained(tmp_path / str(theta))
            for name in ("tokenizer.json", "tokenizer_config.json"):
                (tmp_path / str(theta) / name).write_bytes((published / name).read_bytes())
            identities.append(load_encoder(tmp_path / str(theta)).identity())
        assert identities[0]["weights"] == identities[1]["weights"]
        assert identities[0] != identities[1]

    def test_missing_names_are_an_error(self, tmp_path, parameters):
        del parameters["model.transformer_encoder.1.ffn.w12.weight"]
        with pytest.raises(EncoderError, match=r"missing transformer_encoder\.1\.ffn\.w12\.weight"):
            load_published(write_checkpoint(tmp_path, parameters))
