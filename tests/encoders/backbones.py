"""Tiny random checkpoints of transformers' families, each with the kind of tokenizer that the family has."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.retrieval.conftest import VOCABULARY

WIDTH = 32
_CORPUS = [
    "the search engine reads a document and ranks it",
    "a query is short and a passage is long",
    "A man plays the guitar. The dog sleeps in the house by the river!",
    "naïve café Größe 12345 (brackets) and-hyphens",
]
_BERT = {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": WIDTH, "intermediate_size": 64}
_CAUSAL = {**_BERT, "num_key_value_heads": 2, "max_position_embeddings": 64, "initializer_range": 0.3}


@dataclass(frozen=True)
class Family:
    """How a family's checkpoint is made.

    Attributes:
        model: prefix of its classes in transformers.
        tokenizer: makes its tokenizer.
        settings: of its configuration.
        saved: suffix of the class that is saved, as published checkpoints have it.
        max_tokens: what the encoder must say that it reads.
        pooling: what a folder without sentence-transformers files must be pooled by.
        causal: a token does not see those behind it.
    """

    model: str
    tokenizer: Callable[[], Any]
    settings: dict[str, Any] = field(default_factory=dict)
    saved: str = "Model"
    max_tokens: int | None = 64
    pooling: str = "mean"
    causal: bool = False


def _wordpiece(**settings: Any) -> Any:
    from transformers import BertTokenizer

    return BertTokenizer(vocab={word: number for number, word in enumerate(VOCABULARY)}, **settings)


def _mpnet() -> Any:
    from transformers import MPNetTokenizer

    special = {"[PAD]": "<pad>", "[UNK]": "[UNK]", "[CLS]": "<s>", "[SEP]": "</s>", "[MASK]": "<mask>"}
    order = ["<s>", "<pad>", "</s>", "[UNK]", "<mask>"]
    words = [*order, *(word for word in VOCABULARY if word not in special)]
    return MPNetTokenizer(vocab={word: number for number, word in enumerate(words)})


@functools.cache
def _byte_pairs(special: tuple[str, ...]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Return vocabulary and merges of a byte-level BPE that was trained on a few sentences."""
    import json

    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=list(special), initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [tuple(pair) for pair in model["merges"]]


def _unigram(special: list[str]) -> list[tuple[str, float]]:
    """Return the pieces of a SentencePiece-like vocabulary: words and letters, longer ones likelier."""
    words = sorted({word for text in _CORPUS for word in text.lower().split()})
    letters = sorted({letter for text in _CORPUS for letter in text + text.lower() if not letter.isspace()})
    pieces = [("▁", -4.0), *((f"▁{word}", -5.0) for word in words), *((letter, -8.0) for letter in letters)]
    return [*((name, 0.0) for name in special), *pieces]


def _roberta() -> Any:
    from transformers import RobertaTokenizer

    vocabulary, merges = _byte_pairs(("<s>", "<pad>", "</s>", "<unk>", "<mask>"))
    return RobertaTokenizer(vocab=vocabulary, merges=merges)  # says nothing of a maximum length


def _xlm_roberta() -> Any:
    from transformers import XLMRobertaTokenizer

    return XLMRobertaTokenizer(vocab=_unigram(["<s>", "<pad>", "</s>", "<unk>"]))


def _albert() -> Any:
    from transformers import AlbertTokenizer

    return AlbertTokenizer(vocab=_unigram(["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"]))


def _deberta() -> Any:
    from transformers import DebertaV2Tokenizer

    return DebertaV2Tokenizer(vocab=_unigram(["[PAD]", "[CLS]", "[SEP]", "[UNK]"]))


def _t5() -> Any:
    from transformers import T5Tokenizer

    return T5Tokenizer(vocab=_unigram(["<pad>", "</s>", "<unk>"]), extra_ids=0)


def _modernbert() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    vocabulary, merges = _byte_pairs(special)
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_input_names=["input_ids", "attention_mask"],
        **dict(zip(names, special, strict=True)),
    )


def _gpt2() -> Any:
    from transformers import GPT2Tokenizer

    vocabulary, merges = _byte_pairs(("<|endoftext|>",))
    return GPT2Tokenizer(vocab=vocabulary, merges=merges)  # no padding token, no special tokens around a text


def _llama() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary, merges = _byte_pairs(("<|begin_of_text|>", "<|end_of_text|>"))
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin_of_text|> $A",
        pair="<|begin_of_text|> $A <|begin_of_text|> $B",
        special_tokens=[("<|begin_of_text|>", 0)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|begin_of_text|>",
        eos_token="<|end_of_text|>",
        model_input_names=["input_ids", "attention_mask"],
    )


def _qwen() -> Any:
    from transformers import Qwen2Tokenizer

    vocabulary, merges = _byte_pairs(("<|endoftext|>",))
    tokenizer = Qwen2Tokenizer(vocab=vocabulary, merges=merges, model_max_length=48)
    tokenizer.padding_side = "left"
    return tokenizer


FAMILIES = {
    "bert": Family("Bert", _wordpiece, {**_BERT, "max_position_embeddings": 64}, saved="ForPreTraining"),
    "roberta": Family("Roberta", _roberta, {**_BERT, "max_position_embeddings": 66}, saved="ForMaskedLM"),
    "xlm-roberta": Family("XLMRoberta", _xlm_roberta, {**_BERT, "max_position_embeddings": 66}),
    "albert": Family("Albert", _albert, {**_BERT, "embedding_size": 16, "max_position_embeddings": 64}),
    "distilbert": Family(
        "DistilBert",
        _wordpiece,
        {"n_layers": 2, "n_heads": 4, "dim": WIDTH, "hidden_dim": 64, "max_position_embeddings": 64},
        saved="ForMaskedLM",
    ),
    "electra": Family(
        "Electra", _wordpiece, {**_BERT, "embedding_size": 16, "max_position_embeddings": 64}, saved="ForPreTraining"
    ),
    "mpnet": Family("MPNet", _mpnet, {**_BERT, "max_position_embeddings": 66}, saved="ForMaskedLM"),
    "modernbert": Family(
        "ModernBert",
        _modernbert,
        {
            **_BERT,
            "num_hidden_layers": 4,
            "local_attention": 8,
            "max_position_embeddings": 96,
            "pad_token_id": 0,
            "cls_token_id": 2,
            "sep_token_id": 3,
            "bos_token_id": 2,
            "eos_token_id": 3,
        },
        saved="ForMaskedLM",
        max_tokens=96,
    ),
    "deberta-v2": Family(
        "DebertaV2",
        _deberta,
        {
            **_BERT,
            "max_position_embeddings": 64,
            "relative_attention": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_biased_input": False,
            "type_vocab_size": 0,
            "position_buckets": 16,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
        },
    ),
    "t5": Family(
        "T5",
        _t5,
        {"d_model": WIDTH, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 4},
        saved="ForConditionalGeneration",
        max_tokens=None,
    ),
    "gpt2": Family(
        "GPT2",
        _gpt2,
        {"n_layer": 2, "n_head": 4, "n_embd": WIDTH, "n_positions": 64, "initializer_range": 0.3},
        saved="LMHeadModel",
        causal=True,
    ),
    "llama": Family("Llama", _llama, _CAUSAL, saved="ForCausalLM", pooling="lasttoken", causal=True),
    "qwen2": Family("Qwen2", _qwen, _CAUSAL, saved="ForCausalLM", max_tokens=48, pooling="lasttoken", causal=True),
    "qwen3": Family("Qwen3", _qwen, {**_CAUSAL, "head_dim": 8}, max_tokens=48, causal=True),
}


def save_family(name: str, folder: Path, *, seed: int = 0) -> Path:
    """Write a family's checkpoint and tokenizer as transformers saves them; returns the folder."""
    import torch
    import transformers

    family = FAMILIES[name]
    tokenizer = family.tokenizer()
    settings = {"vocab_size": len(tokenizer), "initializer_range": 0.3, **family.settings}
    if tokenizer.pad_token_id is not None:
        settings.setdefault("pad_token_id", tokenizer.pad_token_id)
    settings |= {
        key: getattr(tokenizer, key)
        for key in ("bos_token_id", "eos_token_id")
        if getattr(tokenizer, key) is not None and key not in settings
    }
    torch.manual_seed(seed)
    config = getattr(transformers, f"{family.model}Config")(**settings)
    model = getattr(transformers, f"{family.model}{family.saved}")(config)
    with torch.no_grad():
        for parameter in model.parameters():  # biases and norms that start at zero and one would hide mistakes
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
