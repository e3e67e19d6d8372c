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
