"""Every family of transformers as an encoder: against the plain library, in any company, under its true length."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from sentence_transformers import SentenceTransformer
from transformers import AutoModel, AutoTokenizer, T5EncoderModel

from retrieval import Collection
from retrieval.encoders import Encoder, fingerprint, load_encoder, reload_encoder
from retrieval.encoders.model_inputs import TokenizedInputs
from retrieval.errors import EncoderError
from tests.encoders.backbones import FAMILIES, WIDTH, save_family

pytestmark = pytest.mark.usefixtures("own_cache")

TEXTS = [
    "the search engine",
    "",
    "a query is short and a passage is long",
    "A man plays the guitar. The dog sleeps in the house by the river!",
    "naïve café, 12 (brackets)",
    "the search engine reads a document " * 40,
    "a",
]
TOLERANCE = 2e-5  # float32 rounding; the components are about one


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory):
    """Return a function that writes a family's checkpoint once and returns its folder."""
    made: dict[tuple[str, int], Path] = {}

    def folder(name: str, seed: int = 0) -> Path:
        if (name, seed) not in made:
            made[name, seed] = save_family(name, tmp_path_factory.mktemp("backbone") / name, seed=seed)
        return made[name, seed]

    return folder


@pytest.fixture(params=FAMILIES)
def name(request) -> str:
    return request.param


def token_states(folder: Path, text: str, max_tokens: int | None) -> np.ndarray:
    """Return the last states of one text's tokens by transformers alone, (tokens, width)."""
    family = next(family for name, family in FAMILIES.items() if folder.name.startswith(name))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    cutting = {"truncation": True, "max_length": max_tokens} if max_tokens else {}
    ids = tokenizer(text, **cutting)["input_ids"] or [tokenizer.eos_token_id]
    network = (T5EncoderModel if family.model == "T5" else AutoModel).from_pretrained(folder).eval()
    with torch.no_grad():
        return network(input_ids=torch.tensor([ids])).last_hidden_state[0].numpy()


def pooled(states: np.ndarray, pooling: str) -> np.ndarray:
    return {"mean": states.mean(axis=0), "cls": states[0], "lasttoken": states[-1], "max": states.max(axis=0)}[pooling]


def expected_vectors(folder: Path, pooling: str, max_tokens: int | None, texts: list[str]) -> np.ndarray:
    return np.stack([pooled(token_states(folder, text, max_tokens), pooling) for text in texts])


class TestPlainFolders:
    def test_vectors_are_those_of_transformers_alone(self, name, folder_of):
        family, folder = FAMILIES[name], folder_of(name)
        encoder = load_encoder(folder)
        assert isinstance(encoder, Encoder)
        assert encoder.identity()["modules"][1] == f"Pooling(pooling_mode={family.pooling}, include_prompt=True)"
        assert (encoder.dimension, encoder.max_tokens, encoder.similarity) == (WIDTH, family.max_tokens, "cosine")
        assert isinstance(encoder._inputs, TokenizedInputs)
        expected = expected_vectors(folder, family.pooling, family.max_tokens, TEXTS)
        np.testing.assert_allclose(encoder.encode_passages(TEXTS), expected, atol=TOLERANCE)
        np.testing.assert_allclose(encoder.encode_queries(TEXTS), expected, atol=TOLERANCE)

    @pytest.mark.parametrize("pooling", ["mean", "cls", "lasttoken", "max"])
    @pytest.mark.parametrize("name", ["bert", "t5", "gpt2", "llama"])
    def test_pooling_can_be_named(self, name, folder_of, pooling):
        encoder = load_encoder(folder_of(name), pooling=pooling)
        expected = expected_vectors(folder_of(name), pooling, FAMILIES[name].max_tokens, TEXTS[:4])
        np.testing.assert_allclose(encoder.encode_passages(TEXTS[:4]), expected, atol=TOLERANCE)

    def test_vectors_do_not_depend_on_company_order_or_padding(self, name, folder_of, tmp_path):
        encoder = load_encoder(folder_of(name))
        alone = np.concatenate([encoder.encode_passages([text]) for text in TEXTS])
        for side in ("left", "right"):
            padded = shutil.copytree(folder_of(name), tmp_path / side)
            settings = json.loads((padded / "tokenizer_config.json").read_text())
            (padded / "tokenizer_config.json").write_text(json.dumps({**settings, "padding_side": side}))
            together = load_encoder(padded, batch_tokens=100_000)
            np.testing.assert_allclose(together.encode_passages(TEXTS), alone, atol=TOLERANCE)
            np.testing.assert_allclose(together.encode_passages(TEXTS[::-1]), alone[::-1], atol=TOLERANCE)
            assert together.identity() == encoder.identity()

    def test_what_is_too_long_is_cut(self, name, folder_of):
        """The longest text that fits is read to its end; what follows is not read."""
        family, encoder = FAMILIES[name], load_encoder(folder_of(name))
        long, longer = ("the search engine reads a document " * count for count in (40, 80))
        assert encoder.count_tokens([long])[0] > 200
        vectors = encoder.encode_passages([long, longer])
        if family.max_tokens is None:
            assert np.abs(vectors[0] - vectors[1]).max() > 0.001
            encoder = load_encoder(folder_of(name), max_tokens=20)
            vectors = encoder.encode_passages([long, longer])
            assert encoder.max_tokens == 20
        else:
            with pytest.raises(EncoderError, match=r"max_tokens is \d+, but this model reads 1 to \d+ tokens"):
                load_encoder(folder_of(name), max_tokens=97)
        np.testing.assert_array_equal(vectors[0], vectors[1])

    def test_no_decoder_is_loaded(self, folder_of):
        with safe_open(folder_of("t5") / "model.safetensors", framework="numpy") as file:
            assert any(stored.startswith("decoder.") for stored in file.keys())  # noqa: SIM118
        network = load_encoder(folder_of("t5"))._model[0].model
        assert isinstance(network, T5EncoderModel)
        assert not any("decoder" in parameter for parameter, _ in network.named_parameters())


class TestCausal:
    @pytest.fixture(params=[name for name, family in FAMILIES.items() if family.causal])
    def causal(self, request) -> str:
        return request.param

    def test_networks_stay_causal_under_the_mean(self, causal, folder_of):
        """As KaLM-Embedding trains them: a longer text changes its own tokens' states and no earlier one's."""
        encoder = load_encoder(folder_of(causal), pooling="mean")
        short, long = "the search engine", "the search engine reads a document"
        first = token_states(folder_of(causal), short, None)
        second = token_states(folder_of(causal), long, None)
        np.testing.assert_allclose(second[: len(first)], first, atol=TOLERANCE)
        vectors = encoder.encode_passages([short, long])
        np.testing.assert_allclose(vectors, [first.mean(axis=0), second.mean(axis=0)], atol=TOLERANCE)
        # The mean of the longer text is the shorter one's plus what its new tokens say.
        share = len(first) / len(second)
        rest = second[len(first) :].mean(axis=0)
        np.testing.assert_allclose(vectors[1], share * vectors[0] + (1 - share) * rest, atol=TOLERANCE)

    def test_others_see_both_ways(self, folder_of):
        first = token_states(folder_of("bert"), "the search", None)
        second = token_states(folder_of("bert"), "the engine", None)
        assert np.abs(first[0] - second[0]).max() > 0.01

    def test_an_empty_text_is_the_token_that_begins_texts(self, folder_of):
        encoder = load_encoder(folder_of("gpt2"), pooling="max")
        expected = expected_vectors(folder_of("gpt2"), "max", 64, [""])
        np.testing.assert_allclose(encoder.encode_passages(["", "the search"])[:1], expected, atol=TOLERANCE)
        assert encoder.count_tokens([""])[0] == 0

    def test_bidirectional_networks_have_another_identity(self, folder_of, tmp_path):
        folder = shutil.copytree(folder_of("qwen2"), tmp_path / "qwen2-both")
        settings = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**settings, "is_causal": False}))
        both, causal = load_encoder(folder), load_encoder(folder_of("qwen2"), pooling="mean")
        assert both.identity()["weights"] == causal.identity()["weights"]
        assert both.identity()["modules"][1] == causal.identity()["modules"][1]  # no longer pooled by the last token
        assert fingerprint(both.identity()) != fingerprint(causal.identity())
        assert np.abs(both.encode_passages(TEXTS[:1]) - causal.encode_passages(TEXTS[:1])).max() > 0.01


class TestSentenceTransformersFolders:
    def test_keep_vectors_and_identity(self, name, folder_of, tmp_path):
        plain = load_encoder(folder_of(name))
        SentenceTransformer(str(folder_of(name)), device="cpu", local_files_only=True).save_pretrained(
            str(tmp_path / "saved"), create_model_card=False
        )
        saved = load_encoder(tmp_path / "saved")
        assert fingerprint(saved.identity()) == fingerprint(plain.identity())
        np.testing.assert_allclose(saved.encode_passages(TEXTS), plain.encode_passages(TEXTS), atol=TOLERANCE)

    def test_say_themselves_how_they_pool(self, folder_of, tmp_path):
        model = SentenceTransformer(str(folder_of("bert")), device="cpu", local_files_only=True)
        model.save_pretrained(str(tmp_path / "saved"), create_model_card=False)
        with pytest.raises(EncoderError, match=r"modules\.json how it pools; pooling='cls'"):
            load_encoder(tmp_path / "saved", pooling="cls")

    def test_a_length_without_positions_is_lowered(self, folder_of, tmp_path):
        """Folders in the wild say 514 for RoBERTa."""
        model = SentenceTransformer(str(folder_of("roberta")), device="cpu", local_files_only=True)
        assert model.max_seq_length == 66
        model.save_pretrained(str(tmp_path / "saved"), create_model_card=False)
        for encoder in (load_encoder(tmp_path / "saved"), load_encoder(model)):
            assert encoder.max_tokens == 64
            assert np.isfinite(encoder.encode_passages(TEXTS)).all()


class TestIdentity:
    def test_changes_with_weights_pooling_and_prompt_alone(self, name, folder_of, tmp_path):
        encoder = load_encoder(folder_of(name))
        moved = shutil.copytree(folder_of(name), tmp_path / "elsewhere")
        assert fingerprint(load_encoder(moved).identity()) == fingerprint(encoder.identity())
        others = [
            load_encoder(folder_of(name, seed=1)),
            load_encoder(folder_of(name), pooling="max"),
            load_encoder(folder_of(name), prompts={"query": "query: "}),
            load_encoder(folder_of(name), max_tokens=17),
        ]
        assert len({fingerprint(other.identity()) for other in (encoder, *others)}) == 5

    @pytest.mark.parametrize("name", ["roberta", "gpt2", "llama"])
    @pytest.mark.parametrize("pooling", [None, "cls", "lasttoken"])
    def test_reloading_brings_the_pooling_back(self, name, folder_of, pooling):
        encoder = load_encoder(folder_of(name), pooling=pooling, prompts={"query": "q: ", "document": ""})
        again = reload_encoder(str(encoder.source), encoder.identity())
        assert again.identity() == encoder.identity()
        np.testing.assert_array_equal(again.encode_queries(TEXTS), encoder.encode_queries(TEXTS))

    def test_a_collection_keeps_the_pooling(self, folder_of, tmp_path):
        encoder = load_encoder(folder_of("llama"), pooling="mean")
        with Collection.create(tmp_path / "index", encoder=encoder) as collection:
            collection.upsert([{"id": str(number), "text": text} for number, text in enumerate(TEXTS[2:5])])
        with Collection.open(tmp_path / "index") as collection:
            assert collection.search(TEXTS[3], mode="dense")[0].id == "1"

    @pytest.mark.parametrize(
        ("name", "setting"),
        [
            ("modernbert", {"local_attention": 4}),
            ("modernbert", {"global_attn_every_n_layers": 2}),
            ("llama", {"rope_parameters": {"rope_type": "default", "rope_theta": 5.0}}),
        ],
    )
    def test_changes_with_settings_that_weights_do_not_show(self, name, folder_of, tmp_path, setting):
        folder = shutil.copytree(folder_of(name), tmp_path / f"{name}-changed")
        settings = json.loads((folder / "config.json").read_text())
        if name == "modernbert":  # the saved file also spells what follows from these two
            settings = {key: value for key, value in settings.items() if key not in ("layer_types", "sliding_window")}
        (folder / "config.json").write_text(json.dumps({**settings, **setting}))
        changed, encoder = load_encoder(folder), load_encoder(folder_of(name))
        assert np.abs(changed.encode_passages(TEXTS[3:4]) - encoder.encode_passages(TEXTS[3:4])).max() > 1e-3
        assert changed.identity()["weights"] == encoder.identity()["weights"]
        assert fingerprint(changed.identity()) != fingerprint(encoder.identity())
