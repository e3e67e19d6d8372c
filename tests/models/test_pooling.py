"""Poolings of our own: their formulas by hand, padding that never matters, every family, saved and loaded."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Pooling

from retrieval.encoders import load_encoder
from retrieval.encoders.own_modules import own_module_classes
from retrieval.errors import EncoderError
from retrieval.models.pooling.building import NAMES, USUAL, pooling_modules
from retrieval.models.pooling.convolution import Convolution
from retrieval.models.pooling.max_pool_bert import VARIANTS, MaxPoolBert
from retrieval.models.pooling.scalar_mix import ScalarMix
from retrieval.models.pooling.weighted_cls import WeightedCls
from retrieval.models.ultra_high_dimensional.module import UltraHighDimensional
from retrieval.training.builders.encoder import build_model
from tests.training.conftest import tiny_bert
from tests.training.test_encoder_builder import saved

__all__ = ["tiny_bert"]

OURS = [name for name in NAMES if name not in USUAL]
TEXTS = ["the dog eats", "a man plays the guitar in the park without a cat", "house"]
LENGTHS = (3, 5, 1)
H, LAYERS = 8, 4


def features(seed: int = 0, *, left: bool = False, extra: int = 0, garbage: float = 3.0) -> dict:
    """Return states of three texts, the padding full of garbage, on one side."""
    generator = torch.Generator().manual_seed(seed)
    width = max(LENGTHS) + extra
    mask = torch.zeros(len(LENGTHS), width, dtype=torch.int64)
    layers = garbage * torch.randn(LAYERS + 1, len(LENGTHS), width, H, generator=torch.Generator().manual_seed(extra))
    for row, length in enumerate(LENGTHS):
        place = slice(width - length, width) if left else slice(length)
        mask[row, place] = 1
        layers[:, row, place] = torch.randn(LAYERS + 1, length, H, generator=generator)
    return {"token_embeddings": layers[-1], "all_layer_embeddings": tuple(layers), "attention_mask": mask}


def flattened(padded: dict) -> dict:
    """Return the same texts one behind the other, as flash attention takes them."""
    mask = padded["attention_mask"].bool()
    layers = tuple(states[mask][None] for states in padded["all_layer_embeddings"])
    ends = torch.tensor([0, *LENGTHS]).cumsum(0)
    return {"token_embeddings": layers[-1], "all_layer_embeddings": layers, "cu_seq_lens_q": ends}


def vectors(modules: list, given: dict) -> torch.Tensor:
    given = dict(given)
    with torch.no_grad():
        for module in modules:
            given = module.eval()(given)
    return given["sentence_embedding"]


def pooling(name: str, seed: int = 0) -> list:
    """Return a pooling's modules without a transformer, with weights that are nowhere special."""

    class Backbone:
        """What `pooling_modules` asks a transformer."""

        class model:
            class config:
                num_hidden_layers = LAYERS

        @staticmethod
        def get_embedding_dimension() -> int:
            return H

    modules = pooling_modules(name, Backbone())
    torch.manual_seed(seed)
    for module in modules:
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter)
    return modules


class TestPadding:
    @pytest.mark.parametrize("name", OURS)
    def test_never_changes_a_vector(self, name):
        modules = pooling(name)
        expected = vectors(modules, features())
        for other in (features(extra=3), features(left=True, extra=2), features(garbage=1e4), flattened(features())):
            torch.testing.assert_close(vectors(modules, other), expected, rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize("name", OURS)
    def test_a_text_is_as_if_alone(self, name):
        modules, given = pooling(name), features()
        together = vectors(modules, given)
        for row, length in enumerate(LENGTHS):
            layers = tuple(states[row : row + 1, :length] for states in given["all_layer_embeddings"])
            alone = vectors(modules, {"token_embeddings": layers[-1], "all_layer_embeddings": layers})
            torch.testing.assert_close(alone[0], together[row], rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize("name", ["convolution", "convolution_stack", *VARIANTS, "scalar_mix", "weighted_cls"])
    def test_a_text_without_tokens_harms_nobody(self, name):
        modules, given = pooling(name), features()
        expected = vectors(modules, given)[:2]
        given["attention_mask"][2] = 0
        found = vectors(modules, given)
        assert found.isfinite().all()
        torch.testing.assert_close(found[:2], expected, rtol=1e-5, atol=1e-5)


class TestConvolution:
    @pytest.mark.parametrize("stacked", [False, True])
    def test_kernel_one_with_identity_is_mean_pooling(self, stacked):
        convolution = Convolution(H, H, [1], stacked)
        with torch.no_grad():
            convolution.convolutions[0].weight.copy_(torch.eye(H)[..., None])
            convolution.convolutions[0].bias.zero_()
        mean = Pooling(H, "mean")
        assert torch.equal(vectors([convolution, mean], features()), vectors([mean], features()))

    def test_by_hand(self):
        convolution = Convolution(1, 1, [3, 3], stacked=True)
        with torch.no_grad():
            for layer, kernel in zip(convolution.convolutions, ([1.0, 2.0, 3.0], [1.0, 0.0, 1.0]), strict=True):
                layer.weight.copy_(torch.tensor([[kernel]]))
                layer.bias.fill_(1.0)
        states = torch.tensor([[[1.0], [-2.0], [1.0], [50.0]]])
        given = {"token_embeddings": states, "attention_mask": torch.tensor([[1, 1, 1, 0]])}
        # 0*1+1*2-2*3+1 = -3, 1*1-2*2+1*3+1 = 1, -2*1+1*2+0*3+1 = 1; ReLU: 0 1 1; then 0+1+1, 0+1+1, 1+0+1.
        assert convolution(given)["token_embeddings"][0, :3, 0].tolist() == [2.0, 2.0, 2.0]

    def test_sizes_side_by_side_are_those_of_the_library(self):
        from sentence_transformers.sentence_transformer.modules import CNN

        ours, theirs = Convolution(H, 5), CNN(H, 5, [1, 3, 5])
        for mine, other in zip(ours.convolutions, theirs.convs, strict=True):
            mine.load_state_dict(other.state_dict())
        alone = {"token_embeddings": torch.randn(2, 7, H), "attention_mask": torch.ones(2, 7, dtype=torch.int64)}
        assert torch.allclose(ours(dict(alone))["token_embeddings"], theirs(dict(alone))["token_embeddings"], atol=1e-6)
        assert ours.get_embedding_dimension() == 15

    @pytest.mark.parametrize("sizes", [[], [2], [0], [3, 4]])
    def test_kernels_without_a_middle_are_refused(self, sizes):
        with pytest.raises(EncoderError, match="must be odd"):
            Convolution(H, H, sizes)


class TestMaxPoolBert:
    def test_one_layer_is_cls(self):
        module = MaxPoolBert(H, LAYERS, "max_cls", last=1)
        assert torch.equal(vectors([module], features()), vectors([Pooling(H, "cls")], features()))

    def test_the_largest_of_the_last_layers(self):
        given = features()
        expected = np.max([states[:, 0].numpy() for states in given["all_layer_embeddings"][-3:]], axis=0)
        assert np.array_equal(vectors([MaxPoolBert(H, LAYERS, "max_cls")], given).numpy(), expected)

    @pytest.mark.parametrize("variant", VARIANTS[1:])
    def test_attention_by_hand(self, variant):
        (module,) = pooling(variant)
        given = features()
        merge = {"mha": lambda s: s[-1], "max_seq_mha": lambda s: s.max(0), "mean_seq_mha": lambda s: s.mean(0)}
        merge["sum_seq_mha"] = lambda s: s.sum(0)
        layers = np.stack([states.numpy() for states in given["all_layer_embeddings"][-3:]]).astype(np.float64)
        weights = {name: value.detach().double().numpy() for name, value in module.attention.named_parameters()}
        projections = np.split(weights["in_proj_weight"], 3), np.split(weights["in_proj_bias"], 3)
        found = vectors([module], given)
        for row, length in enumerate(LENGTHS):
            states = merge[variant](layers[:, row, :length])
            query, keys, values = (
                rows @ weight.T + bias
                for rows, weight, bias in zip((states[:1], states, states), *projections, strict=True)
            )
            heads = []
            for head in range(4):
                part = slice(head * H // 4, (head + 1) * H // 4)
                logits = query[:, part] @ keys[:, part].T / np.sqrt(H / 4)
                attention = np.exp(logits - logits.max())
                heads.append(attention / attention.sum() @ values[:, part])
            expected = np.concatenate(heads, axis=1) @ weights["out_proj.weight"].T + weights["out_proj.bias"]
            np.testing.assert_allclose(found[row].numpy(), expected[0], rtol=1e-4, atol=1e-4)

    def test_equal_layers_make_largest_and_mean_the_same(self):
        given = features()
        given["all_layer_embeddings"] = (given["token_embeddings"],) * (LAYERS + 1)
        found = [vectors(pooling(variant), given) for variant in ("mha", "max_seq_mha", "mean_seq_mha")]
        torch.testing.assert_close(found[0], found[1])
        torch.testing.assert_close(found[0], found[2])

    def test_the_order_of_tokens_behind_cls_does_not_matter(self):
        modules, given = pooling("mha"), features()
        order = [0, 2, 1, 4, 3]
        row = {"attention_mask": given["attention_mask"][1:2]}
        layers = [states[1:2] for states in given["all_layer_embeddings"]]
        plain = vectors(modules, row | {"token_embeddings": layers[-1], "all_layer_embeddings": tuple(layers)})
        moved = tuple(states[:, order] for states in layers)
        permuted = vectors(modules, row | {"token_embeddings": moved[-1], "all_layer_embeddings": moved})
        torch.testing.assert_close(permuted, plain)
        other = tuple(states[:, [1, 0, 2, 3, 4]] for states in layers)
        assert not torch.allclose(
            vectors(modules, row | {"token_embeddings": other[-1], "all_layer_embeddings": other}), plain
        )

    @pytest.mark.parametrize(
        ("settings", "words"),
        [
            ({"variant": "min_cls"}, "unknown variant 'min_cls'"),
            ({"last": 5}, "between 1 and the 4 layers"),
            ({"last": 0}, "between 1 and"),
            ({"heads": 3}, "3 heads cannot share states of 8"),
        ],
    )
    def test_settings_that_do_not_fit(self, settings, words):
        with pytest.raises(EncoderError, match=words):
            MaxPoolBert(H, LAYERS, **settings)


class TestLayerWeights:
    def test_a_new_mixture_is_the_mean_of_all_layers(self):
        given = features()
        expected = torch.stack(given["all_layer_embeddings"]).mean(0)
        torch.testing.assert_close(ScalarMix(LAYERS + 1)(dict(given))["token_embeddings"], expected)

    def test_a_mixture_by_hand(self):
        mix = ScalarMix(LAYERS + 1)
        with torch.no_grad():
            mix.scores.copy_(torch.tensor([0.0, 1.0, -2.0, 0.5, 3.0]).log_softmax(0))
            mix.gamma.fill_(2.5)
        given = features()
        weights = np.exp([0.0, 1.0, -2.0, 0.5, 3.0])
        layers = np.stack([states.numpy() for states in given["all_layer_embeddings"]])
        expected = 2.5 * np.tensordot(weights / weights.sum(), layers, axes=1)
        with torch.no_grad():
            np.testing.assert_allclose(mix(given)["token_embeddings"].numpy(), expected, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("layer", range(LAYERS + 1))
    def test_one_weight_alone_is_that_layer(self, layer):
        mix, weighted = ScalarMix(LAYERS + 1), WeightedCls(H, LAYERS + 1)
        with torch.no_grad():
            mix.scores.fill_(-1e4)[layer] = 0.0
            weighted.mixing.weight.zero_()[0, layer] = 1.0
        given = features()
        expected = given["all_layer_embeddings"][layer][:, 0]
        torch.testing.assert_close(vectors([mix, Pooling(H, "cls")], given), expected)
        torch.testing.assert_close(vectors([weighted], given), expected)

    def test_a_new_weighted_cls_is_plain_cls(self):
        assert torch.equal(vectors([WeightedCls(H, LAYERS + 1)], features()), vectors([Pooling(H, "cls")], features()))

    def test_thirteen_states_have_fourteen_parameters(self):
        assert sum(parameter.numel() for parameter in WeightedCls(256, 13).parameters()) == 14

    def test_layers_that_are_missing_or_of_another_number(self):
        given = features()
        with pytest.raises(EncoderError, match="reads 2 layers and the embeddings, the transformer has 4 layers"):
            ScalarMix(3)(dict(given))
        del given["all_layer_embeddings"]
        with pytest.raises(EncoderError, match="on_model_ready"):
            ScalarMix(LAYERS + 1)(given)


def reference(model: SentenceTransformer, text: str) -> torch.Tensor:
    """Return the vector of one text from the hidden states that transformers gives when it is asked directly."""
    inputs = {key: value for key, value in model.preprocess([text]).items() if key in ("input_ids", "attention_mask")}
    with torch.no_grad():
        states = model[0].model(**inputs, output_hidden_states=True).hidden_states
    given = {"token_embeddings": states[-1], "all_layer_embeddings": states, **inputs}
    return vectors(list(model)[1:], given)[0]


@pytest.mark.parametrize("family", ["Bert", "DistilBert", "Albert", "Electra", "MPNet", "Roberta"])
def test_every_family_with_every_pooling(family, tmp_path):
    folder = saved(family, tmp_path / "backbone")
    for name in OURS:
        transformer = Transformer(str(folder))
        torch.manual_seed(1)
        modules = pooling_modules(name, transformer)
        for module in modules:
            for parameter in module.parameters():
                torch.nn.init.normal_(parameter)
        model = SentenceTransformer(modules=[transformer, *modules], device="cpu").eval()
        together = model.encode(TEXTS, convert_to_tensor=True)
        assert together.shape == (3, model.get_embedding_dimension())
        for text, vector in zip(TEXTS, together, strict=True):
            torch.testing.assert_close(vector, reference(model, text), rtol=1e-3, atol=1e-4)
        model.save_pretrained(str(tmp_path / name))
        loaded = load_encoder(tmp_path / name)
        np.testing.assert_allclose(loaded.encode_passages(TEXTS), together.numpy(), rtol=1e-3, atol=1e-4)


class TestFolders:
    @pytest.mark.parametrize("name", OURS)
    def test_saved_and_loaded_give_the_same_vectors(self, name, tiny_bert, tmp_path):
        model = build_model(backbone=str(tiny_bert), pooling=name, normalise=True).eval()
        model.save_pretrained(str(tmp_path / "saved"))
        again = build_model(backbone=str(tmp_path / "saved")).eval()
        assert np.array_equal(model.encode(TEXTS), again.encode(TEXTS))
        assert np.allclose(load_encoder(tmp_path / "saved").encode_passages(TEXTS), model.encode(TEXTS), atol=1e-5)

    def test_the_library_alone_loads_them_where_it_is_allowed_to(self, tiny_bert, tmp_path):
        model = build_model(backbone=str(tiny_bert), pooling="weighted_cls").eval()
        model.save_pretrained(str(tmp_path / "saved"))
        again = SentenceTransformer(str(tmp_path / "saved"), trust_remote_code=True, device="cpu")
        assert np.array_equal(model.encode(TEXTS), again.encode(TEXTS))
        with pytest.raises(ValueError, match="trust_remote_code"):
            SentenceTransformer(str(tmp_path / "saved"), device="cpu")

    def test_settings_and_weights_are_part_of_the_identity(self, tiny_bert, tmp_path):
        identities = set()
        for name in ("max_seq_mha", "mean_seq_mha", "convolution", "convolution_max", "scalar_mix", "weighted_cls"):
            torch.manual_seed(0)
            model = build_model(backbone=str(tiny_bert), pooling=name)
            model.save_pretrained(str(tmp_path / name))
            identities.add(json.dumps(load_encoder(tmp_path / name).identity(), sort_keys=True))
        with torch.no_grad():
            model[1].mixing.bias.fill_(0.5)
        model.save_pretrained(str(tmp_path / "other"))
        identities.add(json.dumps(load_encoder(tmp_path / "other").identity(), sort_keys=True))
        assert len(identities) == 7

    @pytest.fixture
    def mixed(self, tiny_bert, tmp_path):
        build_model(backbone=str(tiny_bert), pooling="scalar_mix").save_pretrained(str(tmp_path / "mixed"))
        return tmp_path / "mixed"

    def test_names_that_are_not_in_the_table_are_not_imported(self, mixed):
        path = mixed / "modules.json"
        plain = path.read_text(encoding="utf-8")
        assert own_module_classes(mixed) == {"retrieval.models.pooling.scalar_mix.ScalarMix": ScalarMix}
        path.write_text(plain.replace("scalar_mix.ScalarMix", "scalar_mix.Tensor"), encoding="utf-8")
        with pytest.raises(EncoderError, match=r"needs the module retrieval\.models\.pooling\.scalar_mix\.Tensor"):
            load_encoder(mixed)
        path.write_text(plain.replace("retrieval.models.pooling.scalar_mix.ScalarMix", "os.path.join"), "utf-8")
        with pytest.raises(EncoderError, match=r"code of its own \(os\.path\.join\), and code .* is never run"):
            load_encoder(mixed)

    def test_damaged_settings_and_weights(self, mixed):
        (place,) = [entry for entry in mixed.iterdir() if entry.name.endswith("ScalarMix")]
        config = place / "config.json"
        config.write_text('{"n_states": 2}', encoding="utf-8")
        with pytest.raises(EncoderError, match="scores"):
            load_encoder(mixed)
        config.write_text('{"states": 3}', encoding="utf-8")
        with pytest.raises(EncoderError, match="settings states of a ScalarMix; they must be n_states"):
            load_encoder(mixed)

    def test_a_model_without_a_transformer_is_refused(self):
        from sentence_transformers.sentence_transformer.modules import BoW

        with pytest.raises(EncoderError, match="reads all layers of a transformer, not of BoW"):
            SentenceTransformer(modules=[BoW(["the", "dog"]), ScalarMix(3)], device="cpu")


def test_every_class_is_in_the_table(tmp_path):
    classes = (Convolution, MaxPoolBert, ScalarMix, WeightedCls, UltraHighDimensional)
    names = [f"{each.__module__}.{each.__name__}" for each in classes]
    (tmp_path / "modules.json").write_text(json.dumps([{"type": name} for name in names]), encoding="utf-8")
    assert own_module_classes(tmp_path) == dict(zip(names, classes, strict=True))
