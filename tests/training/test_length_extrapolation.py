from __future__ import annotations

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

from retrieval.models.alibi_bert import AlibiBertConfig, AlibiBertForMaskedLM
from retrieval.training.masked_language import MaskedLanguageCollator, masked_language_score

SPECIAL = ["[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]"]
WORDS = [f"w{number}" for number in range(12)]
SMALL = {
    "vocab_size": len(SPECIAL) + len(WORDS),
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 32,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


@pytest.fixture(scope="module")
def tokenizer():
    backend = Tokenizer(WordLevel({word: number for number, word in enumerate(SPECIAL + WORDS)}, unk_token="[UNK]"))
    backend.pre_tokenizer = Whitespace()
    backend.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)])
    names = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, model_input_names=["input_ids", "attention_mask"], unk_token="[UNK]", **names
    )


def runs(random: np.random.Generator, n_words: int) -> str:
    """Return a text in which each word stands five times in a row: what is missing stands beside it."""
    return " ".join(WORDS[number] for number in random.integers(0, len(WORDS), n_words // 5) for _ in range(5))


@pytest.mark.slow
def test_what_was_learnt_at_64_tokens_holds_at_512(tokenizer):
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    model = AlibiBertForMaskedLM(AlibiBertConfig(**SMALL)).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    collator = MaskedLanguageCollator(tokenizer, rate=0.15, max_tokens=64)
    for _ in range(300):
        loss = model(**collator([runs(random, 60) for _ in range(16)])).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    unseen = MaskedLanguageCollator(tokenizer, rate=0.15, seed=1)
    short = masked_language_score(model, [unseen([runs(random, 60) for _ in range(256)])])
    long = masked_language_score(model, [unseen([runs(random, 510) for _ in range(32)])])
    assert short.accuracy > 0.7  # one in twelve by chance
    # A shorter text has more words near an edge, from where the runs can be counted: that is worth some 0.04.
    assert long.accuracy > short.accuracy - 0.06


def test_a_table_of_positions_ends(tokenizer):
    """The same at 64 tokens with learned positions does not run at all at 512."""
    model = BertForMaskedLM(BertConfig(**SMALL, max_position_embeddings=64)).eval()
    batch = MaskedLanguageCollator(tokenizer)([runs(np.random.default_rng(0), 510)])
    with pytest.raises((IndexError, RuntimeError)):
        model(**batch)
