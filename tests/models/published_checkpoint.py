"""Checkpoints with random numbers in the layout of the published ones: their names, their config.json, no code."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from tests.models.alibi_oracle import SMALL

PUBLISHED_CONFIG: dict[str, Any] = {
    "_name_or_path": "jinaai/jina-bert-implementation",
    "model_max_length": 8192,
    "architectures": ["JinaBertForMaskedLM"],
    "attention_probs_dropout_prob": 0.0,
    "auto_map": {
        "AutoConfig": "jinaai/jina-bert-implementation--configuration_bert.JinaBertConfig",
        "AutoModelForMaskedLM": "jinaai/jina-bert-implementation--modeling_bert.JinaBertForMaskedLM",
        "AutoModel": "jinaai/jina-bert-implementation--modeling_bert.JinaBertModel",
        "AutoModelForSequenceClassification": "jinaai/jina-bert-implementation--modeling_bert.JinaBertFor…",
    },
    "classifier_dropout": None,
    "gradient_checkpointing": False,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 8192,
    "model_type": "bert",
    "pad_token_id": 0,
    "position_embedding_type": "alibi",
    "torch_dtype": "float32",
    "transformers_version": "4.26.0",
    "type_vocab_size": 2,
    "use_cache": True,
    "feed_forward_type": "geglu",
    "emb_pooler": "mean",
    **SMALL,
}
"""config.json of jinaai/jina-embeddings-v2-small-en, with other widths."""


def write_checkpoint(folder: Path, parameters: Mapping[str, np.ndarray], prefix: str = "", **changes: Any) -> Path:
    """Write config.json and model.safetensors; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**PUBLISHED_CONFIG, **changes}), encoding="utf-8")
    save_file(
        {prefix + name if prefix and not name.startswith("c") else name: value for name, value in parameters.items()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    return folder


def add_sentence_transformer(folder: Path, tokenizer: Path) -> Path:
    """Add what the published repositories hold beside the network: tokenizer, mean pooling, 8192 tokens."""
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tokenizer / name, folder / name)
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 8192, "do_lower_case": False}))
    (folder / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": SMALL["hidden_size"], "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    return folder
