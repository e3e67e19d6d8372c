"""Long-context encoders out of short ones, on the command line: taking over a BERT, pre-training, pairs, negatives."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from transformers import AutoTokenizer

from retrieval.cli import application
from retrieval.encoders import load_encoder
from retrieval.errors import EncoderError, RecipeError
from retrieval.models.alibi_bert import AlibiBertModel
from retrieval.training import builtin_recipe, train
from retrieval.training.builders import alibi_bert, encoder, longer_positions
from retrieval.training.losses.distillation import build_loss as distillation
from retrieval.training.losses.distillation import state_distance, vector_distance
from retrieval.training.losses.masked_language import build_loss as masked_language
from retrieval.training.losses.masked_language import continuing_tokens, word_numbers
from retrieval.training.masked_language import MaskedLanguageCollator
from tests.training.conftest import WORDS, sentence

LONG = " ".join(sentence(number) for number in range(40))
FEW = ["--set", "batch_size=8", "--set", "max_steps=3", "--set", "max_tokens=24", "--device", "cpu"]


def trained(*arguments) -> dict:
    result = CliRunner().invoke(application, ["train", *map(str, arguments), *FEW, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.slow
def test_from_a_bert_through_all_stages_on_the_command_line(tiny_bert, tmp_path, sentences, tuples):
    """The order of Jina Embeddings 2: masked language, pairs, hard negatives; the end reads far more than the BERT."""
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    new = ("--set", "model=alibi-bert", "--set", f"model_settings.backbone={tiny_bert}")
    report = trained("masked-language", "--data", sentences, "--out", first, *new)
    assert report["steps"] == 3
    assert report["notes"]["guessed tokens"] > 0
    on = ("--set", "encoder_tokens=1000", "--set", f"model_settings.backbone={first}")
    trained("pairs", "--data", tuples, "--out", second, *on)
    on = ("--set", "encoder_tokens=1000", "--set", f"model_settings.backbone={second}")
    trained("hard-negatives", "--data", tuples, "--out", third, *on)
    found = load_encoder(third)
    assert found.max_tokens == 1000
    assert isinstance(encoder.build_model(backbone=str(third))[0].model, AlibiBertModel)
    alone = found.encode_passages([LONG])
    assert np.isfinite(alone).all()
    np.testing.assert_allclose(found.encode_passages([LONG, "the dog"])[:1], alone, atol=1e-4)
    assert not np.allclose(found.encode_passages([LONG[: len(LONG) // 2]]), alone, atol=1e-3)  # all of it is read


def test_distillation_on_the_command_line(tiny_bert, tmp_path, sentences):
    settings = ("--set", f"model_settings.backbone={tiny_bert}", "--set", f"loss_settings.teacher={tiny_bert}")
    trained("alibi-distillation", "--data", sentences, "--out", tmp_path / "out", *settings)
    assert load_encoder(tmp_path / "out").max_tokens == 8192
    assert encoder.build_model(backbone=str(tmp_path / "out"))[0].model.config.output_hidden_states is False


@pytest.mark.slow
def test_distillation_comes_nearer_to_the_teacher(tiny_bert, tmp_path, sentences):
    changes = {"batch_size": 8, "epochs": 4, "max_tokens": 24, "learning_rate": 3e-3, "encoder_tokens": 100}
    settings = {"model_settings": {"backbone": str(tiny_bert)}, "loss_settings": {"teacher": str(tiny_bert)}}
    teacher = load_encoder(tiny_bert)
    unseen = [sentence(number) for number in range(500, 530)]
    wanted = teacher.encode_passages(unseen)
    distances = {}

    def evaluate(model):
        found = model.encode(unseen, convert_to_tensor=True)
        return {"distance": float(vector_distance(found, torch.from_numpy(wanted)))}

    report = train(
        builtin_recipe("alibi-distillation").changed({**changes, **settings}),
        sentences,
        tmp_path / "out",
        evaluate=evaluate,
    )
    distances = report.before["distance"], report.after["distance"]
    assert distances[1] < 0.7 * distances[0]


def test_a_student_like_its_teacher_has_nothing_to_learn(tiny_bert):
    student = encoder.build_model(backbone=str(tiny_bert)).eval()
    loss = distillation(student, teacher=str(tiny_bert))
    features = student.preprocess(["the man plays the guitar", "a dog"])
    assert loss([features, features]).item() == pytest.approx(0, abs=1e-6)
    assert not [name for name, _ in loss.named_parameters() if not name.startswith("model.")]


def test_distances_by_hand():
    one, other = torch.tensor([[3.0, 4.0], [1.0, 0.0]]), torch.tensor([[6.0, 8.0], [0.0, 2.0]])
    assert float(vector_distance(one, other)) == pytest.approx(0.5)
    states = torch.tensor([[[1.0, 2.0], [9.0, 9.0]]])
    wanted = torch.tensor([[[1.0, 3.0], [0.0, 0.0]]])
    assert float(state_distance(states, wanted, torch.tensor([[1, 0]]))) == pytest.approx(1 / 10)


def test_a_teacher_of_another_shape_gives_its_vectors_only(tiny_bert):
    student = encoder.build_model(backbone=str(tiny_bert))
    student[0].model.config.num_hidden_layers = 3
    with pytest.raises(RecipeError, match="set states = 0"):
        distillation(student, teacher=str(tiny_bert))
    distillation(student, teacher=str(tiny_bert), states=0.0)


def test_a_teacher_with_other_words_is_refused(tiny_bert):
    student = encoder.build_model(backbone=str(tiny_bert))
    with pytest.raises(RecipeError, match="another vocabulary"):
        distillation(student, teacher="embedded")


def test_builder_keeps_pooling_prompts_and_words(tiny_bert):
    bert = encoder.build_model(backbone=str(tiny_bert), pooling="cls", normalise=True)
    model = alibi_bert.build_model(backbone=str(tiny_bert), pooling="cls", normalise=True, positions=300)
    assert [type(module) for module in model][1:] == [type(module) for module in bert][1:]
    assert model.max_seq_length == 300
    torch.testing.assert_close(
        model[0].model.get_input_embeddings().weight, bert[0].model.get_input_embeddings().weight
    )
    fresh = alibi_bert.build_model(backbone=str(tiny_bert), random_weights=True)
    norm = fresh[0].model.encoder.layer[0].attention.output.LayerNorm
    assert torch.equal(norm.weight, torch.ones(32))
    assert torch.equal(norm.bias, torch.zeros(32))


@pytest.mark.parametrize("fill", ["repeated", "random", "new"])
def test_longer_positions(tiny_bert, fill):
    table = encoder.build_model(backbone=str(tiny_bert))[0].model.embeddings.position_embeddings.weight
    model = longer_positions.build_model(backbone=str(tiny_bert), positions=150, fill=fill)
    new = model[0].model.embeddings.position_embeddings.weight
    assert new.shape == (150, 32)
    assert torch.equal(new[:64], table) == (fill != "new")
    assert torch.equal(new[64:128], table) == (fill == "repeated")
    np.testing.assert_allclose(new[64:].std().item(), table.std().item(), rtol=0.2)
    words = model.preprocess([LONG])
    assert words["input_ids"].shape[1] == 150
    assert torch.isfinite(model(words)["sentence_embedding"]).all()


def test_a_shorter_table_is_refused(tiny_bert):
    with pytest.raises(EncoderError, match="positions is 20"):
        longer_positions.build_model(backbone=str(tiny_bert), positions=20)


def test_words_of_tokens_are_those_of_the_tokenizer(tiny_bert):
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    texts = ["the man unknownword, the-dog's 12 guitar... quickly", "x", LONG]
    encoded = tokenizer(texts, truncation=True, max_length=60, padding=True, return_tensors="np")
    found = word_numbers(encoded["input_ids"], continuing_tokens(tokenizer))
    for row in range(len(texts)):
        wanted = encoded.word_ids(row)
        for first in range(60):
            for second in range(60):
                if wanted[first] is not None and wanted[second] is not None:
                    same = wanted[first] == wanted[second]
                    assert (found[row, first] == found[row, second]) == same


def test_masked_language_loss_is_that_of_a_model_with_a_head(tiny_bert):
    """With all scores equal the loss is the logarithm of the vocabulary's size, and 30 % of the tokens are guessed."""
    model = encoder.build_model(backbone=str(tiny_bert)).eval()
    loss = masked_language(model)
    with torch.no_grad():
        loss.transform[2].weight.zero_()
        loss.transform[2].bias.zero_()
    features = model.preprocess([" ".join(WORDS[:20])] * 10)
    loss.begin_step(5, 10)
    found = loss([features])
    n_words = len(model[0].model.get_input_embeddings().weight)
    assert found.item() == pytest.approx(math.log(n_words), rel=1e-5)
    notes = loss.notes()
    assert notes["guessed tokens"] == 10 * 6
    assert notes["mean loss"] == pytest.approx(found.item())


def test_masking_of_tokens_is_that_of_texts(tiny_bert):
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    texts = [sentence(number) for number in range(6)]
    batch = MaskedLanguageCollator(tokenizer, seed=4)(texts)
    ids = tokenizer(texts, padding=True, return_tensors="np")["input_ids"]
    words = word_numbers(ids, continuing_tokens(tokenizer)).tolist()
    replaced, labels = MaskedLanguageCollator(tokenizer).masked(ids, words, np.random.default_rng([4, 0, 1]))
    np.testing.assert_array_equal(replaced, batch["input_ids"])
    np.testing.assert_array_equal(labels, batch["labels"])


@pytest.mark.slow
def test_masked_language_learns(tiny_bert, tmp_path, sentences):
    changes = {"batch_size": 16, "epochs": 12, "max_tokens": 32, "learning_rate": 1e-2}
    settings = {"model_settings": {"backbone": str(tiny_bert)}}
    report = train(builtin_recipe("masked-language").changed({**changes, **settings}), sentences, tmp_path / "out")
    losses = [loss for _, loss in report.losses]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:3])


def test_whole_words_need_a_vocabulary_of_word_pieces():
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    words = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"a": 0})), mask_token="[MASK]")
    with pytest.raises(RecipeError, match="whole_words = false"):
        continuing_tokens(words)
