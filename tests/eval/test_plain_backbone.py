from __future__ import annotations

import pytest

from eval.experiments.plain_backbone import MaskedLanguageTraining, masked_language_backbone
from retrieval.errors import TrainingError

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
WORDS = [f"w{number}" for number in range(12)]
SENTENCES = [" ".join(WORDS[(number * step) % 12] for step in range(1, 7)) for number in range(600)]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]), "utf-8")
    torch.manual_seed(3)
    config = transformers.BertConfig(
        vocab_size=17, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16
    )
    transformers.BertModel(config).save_pretrained(folder)
    transformers.BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


def weights(folder):
    return dict(transformers.AutoModel.from_pretrained(folder).named_parameters())


def test_only_the_last_layers_are_drawn_anew_and_the_rest_is_what_training_makes_of_it(tiny, tmp_path):
    still = MaskedLanguageTraining(steps=2, batch_size=4, learning_rate=0.0, fresh_layers=1)
    masked_language_backbone(tiny, SENTENCES, tmp_path / "still", still)
    before, after = weights(tiny), weights(tmp_path / "still")
    changed = {name for name in after if not name.startswith("pooler") and not torch.equal(before[name], after[name])}
    drawn = ("query.weight", "key.weight", "value.weight", "dense.weight")  # biases are 0 and norms 1 in either
    assert changed == {name for name in before if name.startswith("encoder.layer.1.") and name.endswith(drawn)}


def test_it_learns_and_is_taken_again(tiny, tmp_path):
    short, longer = (MaskedLanguageTraining(steps=steps, batch_size=16, learning_rate=5e-3) for steps in (1, 40))
    loss = masked_language_backbone(tiny, SENTENCES, tmp_path / "short", short)["loss"]
    found = masked_language_backbone(tiny, SENTENCES, tmp_path / "longer", longer)
    assert found["loss"] < loss - 0.2
    assert masked_language_backbone(tiny, [], tmp_path / "longer", longer) == found
    with pytest.raises(TrainingError, match="other settings"):
        masked_language_backbone(tiny, SENTENCES, tmp_path / "longer", short)


def test_too_few_sentences(tiny, tmp_path):
    with pytest.raises(TrainingError, match="too few"):
        masked_language_backbone(tiny, SENTENCES[:100], tmp_path / "none", MaskedLanguageTraining(steps=1))


def test_what_is_below_the_fresh_layers_can_stay(tiny, tmp_path):
    training = MaskedLanguageTraining(steps=2, batch_size=4, learning_rate=5e-3, fresh_layers=1, only_fresh=True)
    masked_language_backbone(tiny, SENTENCES, tmp_path / "kept", training)
    before, after = weights(tiny), weights(tmp_path / "kept")
    changed = {name for name in after if not name.startswith("pooler") and not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.startswith("encoder.layer.1.") for name in changed)
