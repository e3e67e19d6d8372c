"""ColBERT and PreTTR as their authors publish them: other names of parameters and settings, the same networks.

| checkpoint | what says so | names |
| --- | --- | --- |
| ColBERT of the Margin-MSE study | model type "ColBERT" | `bert_model.*`, `compressor.*` |
| PreTTR of the same study | architecture "PreTTR" | a DistilBERT's without prefix, `_classification_layer.weight` |
| ColBERT, also its second version | architecture "HF_ColBERT", `artifact.metadata` | `bert.*`, `linear.weight` |

The study's folders hold neither tokenizer nor, for ColBERT, the backbone's configuration: both are those of the model
that they start from, which is looked up by its name as any other. BERT_DOT is published as a plain encoder; give it to
the builder "dot" as its backbone. Weights must be safetensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from torch import Tensor

from retrieval.encoders.checkpoints import HEADS
from retrieval.encoders.model_files import model_folder
from retrieval.errors import EncoderError, RerankerError
from retrieval.models.rankers.backbone_network import BackboneNetwork, empty_backbone
from retrieval.models.rankers.colbert import ORIGINAL, ColBERT, ColBERTSettings
from retrieval.models.rankers.folder import read_tokenizer, read_weights, set_weights
from retrieval.models.rankers.prettr import PreTTR, PreTTRSettings
from retrieval.rerankers.model_loading import read_json

_DISTILBERT = "distilbert-base-uncased"
"""What the study's students start from."""

_PREFIXES = ("bert_model.", "bert.", "roberta.", "electra.", "distilbert.", "deberta.", "model.")
_NAMES = {"compressor.": "projection.", "linear.": "projection.", "_classification_layer.": "scoring."}


def is_published(folder: Path) -> bool:
    """Tell whether a folder holds such a checkpoint, by its config.json."""
    return _architecture(folder) in ("ColBERT", "HF_ColBERT", "PreTTR")


def load_published(folder: Path, backbone: str | Path | None = None) -> BackboneNetwork:
    """Read a published checkpoint, ready to score; `save` writes it as a folder of this package.

    Args:
        folder: of the checkpoint.
        backbone: folder or name of the model that it started from, for what the checkpoint lacks of configuration and
            tokenizer; by default as the checkpoint names it.

    Raises:
        RerankerError: it is no such checkpoint, its backbone is not to be had, or parameters do not fit.
    """
    tensors = {_our_name(name): tensor for name, tensor in read_weights(folder).items() if not HEADS.search(name)}
    architecture = _architecture(folder)
    config = read_json(folder / "config.json")
    if architecture == "ColBERT":
        place = _backbone(folder, backbone or str(config.get("bert_model") or _DISTILBERT))
        settings = ColBERTSettings(dimension=_rows(tensors, folder))
        network: BackboneNetwork = ColBERT(empty_backbone(place), read_tokenizer(place), settings)
    elif architecture == "HF_ColBERT":
        place = folder if backbone is None else _backbone(folder, backbone)
        network = ColBERT(empty_backbone(folder), read_tokenizer(place), _original(folder, _rows(tensors, folder)))
    elif architecture == "PreTTR":
        has_tokenizer = (folder / "tokenizer.json").is_file() or (folder / "vocab.txt").is_file()
        place = folder if has_tokenizer and backbone is None else _backbone(folder, backbone or _DISTILBERT)
        layer = config.get("join_layer_idx", 3)
        network = PreTTR(empty_backbone(folder), read_tokenizer(place), PreTTRSettings(join_layer=int(layer)))
    else:
        raise RerankerError(f"model {folder} is no published ColBERT or PreTTR: its architecture is {architecture!r}")
    set_weights(network, tensors, str(folder))
    return network.eval()


def _architecture(folder: Path) -> str:
    config = read_json(folder / "config.json")
    if config.get("model_type") == "ColBERT":
        return "ColBERT"
    return str((config.get("architectures") or [""])[0])


def _our_name(name: str) -> str:
    for theirs, ours in _NAMES.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    prefix = next((prefix for prefix in _PREFIXES if name.startswith(prefix)), "")
    return "backbone." + name.removeprefix(prefix)


def _rows(tensors: Mapping[str, Tensor], folder: Path) -> int:
    if "projection.weight" not in tensors:
        raise RerankerError(f"the weights of {folder} do not fit ColBERT; missing: compressor.weight or linear.weight")
    return len(tensors["projection.weight"])


def _original(folder: Path, dimension: int) -> ColBERTSettings:
    """Return what a checkpoint's `artifact.metadata` says, else the defaults of its authors' library."""
    stored = read_json(folder / "artifact.metadata")
    if stored.get("similarity", "cosine") != "cosine":
        raise RerankerError(f"model {folder} compares by {stored['similarity']!r}; only cosine is known here")
    names = {
        "query_token_id": ("query_marker",),
        "doc_token_id": ("passage_marker",),
        "query_maxlen": ("query_tokens", "filled_to"),
        "doc_maxlen": ("passage_tokens",),
        "attend_to_mask_tokens": ("masks_are_read",),
    }
    given: dict[str, Any] = {ours: stored[theirs] for theirs in names if theirs in stored for ours in names[theirs]}
    given["punctuation"] = not stored.get("mask_punctuation", True)
    try:
        settings = {**msgspec.to_builtins(ORIGINAL), **given, "dimension": dimension}
        return msgspec.convert(settings, ColBERTSettings)
    except msgspec.ValidationError as error:
        raise RerankerError(f"model {folder} cannot be read: artifact.metadata is damaged ({error})") from None


def _backbone(folder: Path, name: str | Path) -> Path:
    hint = "load_published(folder, backbone=…) takes the folder of the model that it started from"
    try:
        return model_folder(str(name), organisation="distilbert" if name == _DISTILBERT else "google-bert", hint=hint)
    except EncoderError as error:
        raise RerankerError(f"{folder} has no tokenizer or backbone configuration of its own: {error}") from None
