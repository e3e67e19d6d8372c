"""Model folders that can be read without the libraries that wrote them: BERT, a pooling, dense layers, normalisation.

Importing sentence-transformers takes seconds, of which a single query needs nothing. The folders of many models say in
a few JSON files all that decides their vectors. What is read here has to be understood completely: whatever is unknown,
or unusual, makes the folder one for the library.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from retrieval.encoders.model_identity import BACKBONE_SETTINGS, backbone_settings
from retrieval.encoders.weights import arrays_digest
from retrieval.errors import EncoderError
from retrieval.runtimes.bert_numpy import ACTIVATIONS, BertShape
from retrieval.runtimes.heads import ACTIVATIONS as DENSE_ACTIVATIONS
from retrieval.runtimes.heads import POOLINGS, DenseLayer, SentenceHead, Step, normalised
from retrieval.runtimes.mapped_tensors import MappedFile, map_float_tensors


class KnownModel(NamedTuple):
    """A model as its folder describes it.

    Attributes:
        shape: of its network.
        tensors: its network's parameters, mapped.
        head: what makes vectors of token states.
        head_tensors: parameters of the head.
        modules: as `model_identity.describe_modules` gives them for the loaded model.
        tokenizer_file: in which its fast tokenizer is.
        query_prompt: put before queries.
        passage_prompt: put before passages.
        similarity: "cosine" or "dot".
        max_tokens: that are read of a text.
        dimension: of its vectors.
        files: that its parameters are mapped from.
    """

    shape: BertShape
    tensors: dict[str, Any]
    head: SentenceHead
    head_tensors: list[Any]
    modules: list[str]
    tokenizer_file: Path
    query_prompt: str
    passage_prompt: str
    similarity: str
    max_tokens: int
    dimension: int
    files: list[MappedFile]

    def weights_digest(self) -> str:
        """Return what `model_identity.weights_digest` gives for the loaded model."""
        return arrays_digest([*self.tensors.values(), *self.head_tensors])


class _UnknownError(Exception):
    """The folder holds something that is not understood here; the library shall read it."""


def read_known_folder(folder: Path) -> KnownModel | None:
    """Return the model of a folder; None where only the library can read it.

    Args:
        folder: of any model.
    """
    try:
        return _read(folder)
    except (_UnknownError, EncoderError, OSError, ValueError, TypeError, KeyError, AttributeError):
        return None  # damaged or unusual: the library says what is wrong, or knows better


def _read(folder: Path) -> KnownModel:
    kinds = [_module(module) for module in json.loads((folder / "modules.json").read_text(encoding="utf-8"))]
    (first, place), (second, pooling_place), *behind = kinds
    _require((first, place, second) == ("Transformer", "", "Pooling"))
    _check_first_module(_json(folder / "sentence_bert_config.json"))
    config = _json(folder / "config.json")
    shape = _shape(config)
    _require(not (folder / "adapter_config.json").exists() and len(list(folder.glob("*.safetensors"))) == 1)
    files = [MappedFile(folder / "model.safetensors")]
    tensors = map_float_tensors(folder / "model.safetensors")
    parameters = {name: tensors[name] for name in shape.parameters()}
    _require(all(parameters[name].shape == wanted for name, wanted in shape.parameters().items()))

    pooling, dimension, described = _pooling(_json(folder / pooling_place / "config.json"), shape.hidden_size)
    modules = [f"Transformer({_described(dict(backbone_settings(SimpleNamespace(**config))))})", described]
    steps: list[Step] = []
    head_tensors: list[Any] = []
    for kind, path in behind:
        if kind == "Normalize":
            _check_keys(_json(folder / path / "config.json", {}), _ON_VECTORS)
            steps.append(normalised)
            modules.append(kind)
        else:
            _require(kind == "Dense")
            files.append(MappedFile(folder / path / "model.safetensors"))
            layer = _dense(folder / path, dimension)
            steps.append(layer)
            head_tensors += [layer.weight] if layer.bias is None else [layer.weight, layer.bias]
            modules.append(f"Dense({_described({'activation_function': layer.activation, 'use_residual': False})})")
            dimension = len(layer.weight)

    said = _json(folder / "config_sentence_transformers.json", {})
    _check_keys(
        said, {"__version__": ..., "prompts": ..., "default_prompt_name": ..., "similarity_fn_name": ...} | _TYPE
    )
    return KnownModel(
        shape,
        parameters,
        SentenceHead(pooling, steps),
        head_tensors,
        modules,
        folder / "tokenizer.json",
        *_prompts(said),
        _one_of(said.get("similarity_fn_name") or "cosine", ("cosine", "dot")),
        _max_tokens(folder, shape),
        dimension,
        files,
    )


SPECIAL_TOKENS = 2
"""[CLS] and [SEP]; something of the text must be read beside them."""

_PLACES = {
    "Transformer": ("sentence_transformers.models", "sentence_transformers.base.modules.transformer"),
    "Pooling": ("sentence_transformers.models", "sentence_transformers.sentence_transformer.modules.pooling"),
    "Dense": ("sentence_transformers.models", "sentence_transformers.base.modules.dense"),
    "Normalize": ("sentence_transformers.models", "sentence_transformers.base.modules.normalize"),
}
"""Where the modules that are known live, in the words of `modules.json`, before version 6 and since."""

_ON_VECTORS = {"module_input_name": "sentence_embedding", "module_output_name": "sentence_embedding"}

_TYPE = {"model_type": "SentenceTransformer"}

_FIRST_MODULE = {
    "max_seq_length": ...,
    "do_lower_case": False,
    "transformer_task": "feature-extraction",
    "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
    "module_output_name": "token_embeddings",
}
"""What may stand in `sentence_bert_config.json`; `...` is any value that is checked elsewhere."""

_PLAIN = {
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
    "dtype": "float32",
    "torch_dtype": "float32",
}
"""What these settings of a network must be where they are said, null aside."""


_FOREIGN = {"auto_map", "quantization_config", "is_causal", "use_bidirectional_attention"}
"""Settings of networks that are none of BERT's."""


def _module(entry: Mapping[str, str]) -> tuple[str, str]:
    place, _, kind = entry["type"].rpartition(".")
    _require(place in _PLACES.get(kind, ()) and set(entry) <= {"idx", "name", "path", "type"})
    return kind, entry["path"]


def _check_first_module(settings: Mapping[str, Any]) -> None:
    _check_keys(settings, _FIRST_MODULE)


def _shape(config: Mapping[str, Any]) -> BertShape:
    _require(config["model_type"] == "bert" and not _FOREIGN & set(config))
    _require(all(config.get(name) in (None, usual) for name, usual in _PLAIN.items()))
    shape = BertShape(**{name: config[name] for name in BertShape._fields})
    own = {"hidden_act", "num_attention_heads", "layer_norm_eps"}
    _require(not (set(BACKBONE_SETTINGS) - own) & set(config) and not any("rope" in name for name in config))
    _require(shape.hidden_act in ACTIVATIONS and isinstance(shape.layer_norm_eps, float))
    counts = [value for value in shape if value not in (shape.hidden_act, shape.layer_norm_eps)]
    _require(all(type(value) is int and value > 0 for value in counts))
    _require(shape.hidden_size % shape.num_attention_heads == 0)
    return shape


def _pooling(settings: dict[str, Any], hidden: int) -> tuple[str, int, str]:
    """Return the mode, the dimension, and how the module describes itself."""
    settings = dict(settings)
    dimension = settings.pop("embedding_dimension", None) or settings.pop("word_embedding_dimension")
    # Before version 6 there was a switch for each mode; their names end in what the mode is called today, or nearly.
    switches = {name: settings.pop(name) for name in list(settings) if name.startswith("pooling_mode_")}
    if "pooling_mode" not in settings:
        on = [name.removeprefix("pooling_mode_").removesuffix("_token") for name, value in switches.items() if value]
        modes = [mode if mode == "mean_sqrt_len_tokens" else mode.removesuffix("_tokens") for mode in on]
        _require(len(modes) == 1)
        settings["pooling_mode"] = modes[0]
    _check_keys(settings, {"pooling_mode": ..., "include_prompt": True})
    mode = _one_of(settings["pooling_mode"], POOLINGS)
    _require(dimension == hidden)
    return mode, hidden, f"Pooling({_described({'pooling_mode': mode, 'include_prompt': True})})"


def _dense(folder: Path, dimension: int) -> DenseLayer:
    settings = _json(folder / "config.json")
    known = {"in_features": dimension, "out_features": ..., "bias": ..., "activation_function": ...}
    _check_keys(settings, known | {"use_residual": False} | _ON_VECTORS)
    place, _, activation = settings["activation_function"].rpartition(".")
    _require(place in ("torch.nn.modules.activation", "torch.nn.modules.linear") and activation in DENSE_ACTIVATIONS)
    tensors = map_float_tensors(folder / "model.safetensors")
    _require(set(tensors) == ({"linear.weight", "linear.bias"} if settings.get("bias", True) else {"linear.weight"}))
    layer = DenseLayer(tensors["linear.weight"], tensors.get("linear.bias"), activation)
    _require(layer.weight.shape == (settings["out_features"], dimension))
    _require(layer.bias is None or layer.bias.shape == (len(layer.weight),))
    return layer


def _prompts(said: Mapping[str, Any]) -> tuple[str, str]:
    """Return the prompts of queries and of passages; the library reads both as empty where they are not said."""
    prompts = {"query": "", "document": "", **(said.get("prompts") or {})}
    _require(all(isinstance(text, str) for text in prompts.values()))
    _require(said.get("default_prompt_name") in (None, *prompts))
    return prompts["query"], prompts["document"]


def _max_tokens(folder: Path, shape: BertShape) -> int:
    limits = [shape.max_position_embeddings]
    own = _json(folder / "sentence_bert_config.json").get("max_seq_length")
    limit = own if own is not None else _json(folder / "tokenizer_config.json").get("model_max_length")
    _require(limit is None or (type(limit) is int and limit > SPECIAL_TOKENS))
    return min([*limits, *([limit] if limit is not None else [])])


def _described(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in settings.items())


def _check_keys(settings: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Give up where settings hold an unknown name, or another value than the known one (`...` is any)."""
    for name, value in settings.items():
        _require(name in known and (known[name] is ... or value == known[name]))


def _one_of(value: Any, known: tuple[str, ...]) -> str:
    _require(value in known)
    return str(value)


def _require(fact: bool) -> None:
    if not fact:
        raise _UnknownError


def _json(path: Path, default: dict[str, Any] | None = None) -> dict[str, Any]:
    if default is not None and not path.exists():
        return default
    content = json.loads(path.read_text(encoding="utf-8"))
    _require(isinstance(content, dict))
    return dict(content)
