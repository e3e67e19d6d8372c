"""The usual sentence encoder: a transformers backbone, pooling, and unit length if it is wished for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval.encoders.checkpoints import HEADS, refuse_code, refuse_unreadable_tokenizer
from retrieval.encoders.embedded import EMBEDDED, embedded_folder, load_embedded
from retrieval.encoders.model_files import has_modules, model_folder
from retrieval.encoders.model_tokenizer import fit_tokenizer
from retrieval.encoders.own_modules import open_sentence_transformer
from retrieval.errors import EncoderError, RecipeError, TrainingError
from retrieval.models.pooling.building import NAMES, pooling_modules
from retrieval.training.registry import nearest

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

POOLINGS = NAMES
"""Names of poolings: sentence-transformers' own and ours; `pooling_modules` says what they are."""

_FIRST_TOKEN = ("cls", "max_cls", "scalar_mix_cls", "weighted_cls")


def build_model(
    *,
    backbone: str = EMBEDDED,
    pooling: str = "",
    normalise: bool = False,
    random_weights: bool = False,
    allow_mismatch: bool = False,
) -> SentenceTransformer:
    """Return a model to train.

    Args:
        backbone: "embedded" for the packaged MiniLM, a sentence-transformers folder, or any transformers encoder by
            path or name; the networks of `retrieval.models` are known, and their published folders read without code.
            Causal networks stay causal; of encoder-decoder networks (T5) the encoder is taken.
        pooling: "" keeps a sentence-transformers folder's modules, and is "mean" for others. By sentence-transformers
            "cls", "mean", "max", "lasttoken", "mean_sqrt_len_tokens" and "weightedmean". A convolution over the tokens,
            then their mean or largest value: "convolution", "convolution_max", "convolution_stack" and
            "convolution_stack_max". MaxPoolBERT's "max_cls", "mha", "max_seq_mha", "mean_seq_mha" and "sum_seq_mha".
            Learnt weights over all layers: "scalar_mix", "scalar_mix_cls" and "weighted_cls". Details are in
            `retrieval.models.pooling.building`.
        normalise: end with vectors of length one; where pooling is "", the folder says.
        random_weights: forget what the backbone has learned, keep its shape and tokenizer.
        allow_mismatch: take a checkpoint whose parameters are not those of its configuration.

    Raises:
        EncoderError: there is no such model.
        TrainingError: the checkpoint's parameters do not match; the message lists them.
        RecipeError: there is no such pooling, or it reads the first token of a causal backbone.
    """
    from retrieval.models.published_folder import readable_folder
    from retrieval.models.registration import register_backbones

    if pooling and pooling not in POOLINGS:
        raise RecipeError(f"unknown pooling {pooling!r}{nearest(pooling, POOLINGS)}: one of {', '.join(POOLINGS)}")
    folder = _folder(backbone)
    register_backbones()
    with readable_folder(folder) as readable:
        try:
            refuse_code(readable)
            refuse_unreadable_tokenizer(readable)
            if backbone != EMBEDDED and not allow_mismatch:
                check_parameters(readable, backbone)
            model = _assembled(readable, pooling, normalise=normalise)
            fit_tokenizer(model)
            if pooling in _FIRST_TOKEN and _is_causal(model):
                raise RecipeError(
                    f"pooling {pooling!r} reads the first token, which in the causal backbone {backbone!r} sees "
                    "nothing of the text; use 'mean' or 'lasttoken'"
                )
        except EncoderError as error:
            raise EncoderError(f"backbone {backbone!r} cannot be loaded: {error}") from error
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:300]
            raise EncoderError(f"backbone {backbone!r} cannot be loaded: {type(error).__name__}: {reason}") from error
    if random_weights:
        forget(model)
    return model


def _assembled(folder: Path, pooling: str, *, normalise: bool) -> SentenceTransformer:
    """Return the folder's own pipeline, or its transformer with other modules behind it."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Normalize

    options: dict[str, Any] = {"model_kwargs": {"use_safetensors": True}}
    if not has_modules(folder):
        # Without these, transformers would ask at the keyboard whether to run code of the folder.
        safe = {"trust_remote_code": False, "local_files_only": True}
        options = {"model_kwargs": {**options["model_kwargs"], **safe}, "processor_kwargs": safe, "config_kwargs": safe}
        transformer = Transformer(str(folder), **options)
    else:
        model = open_sentence_transformer(folder, device="cpu", **options)
        if not pooling:
            return model
        transformer = model[0]
    extra = [Normalize()] if normalise else []
    modules = [transformer, *pooling_modules(pooling or "mean", transformer), *extra]
    return SentenceTransformer(modules=modules, device="cpu")


def _is_causal(model: Any) -> bool:
    """Tell whether a network's first token sees nothing of the second: by looking, as settings have many names."""
    import torch

    tokenizer, network = model[0].tokenizer, model[0].model
    words = sorted(set(tokenizer.get_vocab().values()) - set(tokenizer.all_special_ids))[:2]
    ids = torch.tensor([[words[0], word] for word in words], device=network.device)  # (2, 2)
    training = network.training
    with torch.no_grad():
        states = network.eval()(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
    network.train(training)
    return len(words) > 1 and torch.allclose(states[0, 0], states[1, 0], rtol=1e-5, atol=1e-6)  # up to rounding


def _folder(backbone: str) -> Path:
    if backbone != EMBEDDED:
        return model_folder(backbone)
    load_embedded(device="cpu").close()  # checks that the weights are the published ones
    return embedded_folder()


def forget(model: Any) -> None:
    """Draw all weights of a model's backbone anew, from torch's generator, as its own initialisation does."""
    backbone = model[0].model
    for parameter in backbone.parameters():
        parameter._is_hf_initialized = False
    for module in backbone.modules():
        module._is_hf_initialized = False
        backbone._init_weights(module)


def check_parameters(folder: Path, name: str) -> None:
    """Refuse a checkpoint whose parameters are not those that its configuration asks for.

    Heads for other tasks may be there and an unused pooler may be missing.

    Args:
        folder: of a transformers or sentence-transformers model.
        name: what messages call it.

    Raises:
        TrainingError: parameters are missing, unexpected, or of another shape; the message lists them.
        EncoderError: the checkpoint cannot be loaded at all.
    """
    from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding
    from transformers.utils import logging as transformers_logging

    if not (folder / "config.json").is_file():
        return  # a sentence-transformers model whose first module is no transformer
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # what it would warn about is the error here
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        # T5 and its kin read as an encoder alone; whether their saved configuration says so depends on the release.
        encodes = AutoModelForTextEncoding._model_mapping.get(type(config), None)
        alone = encodes is not None and encodes.__name__.endswith("EncoderModel")
        _, found = (AutoModelForTextEncoding if alone else AutoModel).from_pretrained(
            folder,
            config=config,
            output_loading_info=True,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise EncoderError(f"backbone {name!r} cannot be loaded: {type(error).__name__}: {reason}") from error
    finally:
        transformers_logging.set_verbosity(verbosity)
    faults = {
        "missing": [name for name in found["missing_keys"] if not HEADS.search(name)],
        "unexpected": [name for name in found["unexpected_keys"] if not HEADS.search(name)],
        "of another shape": [str(entry[0]) for entry in found["mismatched_keys"]],
    }
    listed = [f"{kind}: {_some(sorted(names))}" for kind, names in faults.items() if names]
    if listed:
        raise TrainingError(
            f"the checkpoint {name} does not match its configuration; {'; '.join(listed)}. Use the checkpoint that "
            "belongs to the configuration, or set allow_mismatch = true in model_settings"
        )


def _some(names: list[str], most: int = 8) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
