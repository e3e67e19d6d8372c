"""Loading a classifier and its tokenizer from a folder: safetensors only, no remote code, every parameter by name."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from retrieval.encoders.checkpoints import HEADS
from retrieval.encoders.model_files import model_folder
from retrieval.errors import RerankerError, RetrievalError

_HINT = "give the folder or name of a CrossEncoder, or of a transformers model for sequence classification"
_SHOWN = 12
SETTINGS_FILE = "reranker.json"
"""Says in a reranker's folder of this package what kind it is, and how it is used."""

NO_LIMIT = 10**6
"""Tokenizers without a limit say so by some very large number."""


def reranker_folder(name_or_path: str | Path) -> tuple[Path, str]:
    """Return the folder of a model and what to call it: its path, or its name on the model hub.

    Raises:
        RerankerError: there is no such model here and none can be fetched, or it holds something that is not loaded.
    """
    try:
        folder = model_folder(str(name_or_path), organisation="cross-encoder", hint=_HINT)
    except RetrievalError as error:
        raise RerankerError(str(error)) from error
    return folder, str(folder) if Path(name_or_path).expanduser().is_dir() else str(name_or_path)


def load_classifier(
    folder: Path, name: str, *, device: str | None = None, new_head: bool = False, **settings: Any
) -> tuple[Any, Any]:
    """Return a transformers model for sequence classification and its tokenizer.

    Args:
        folder: where it is.
        name: what it is called, for messages.
        device: "cpu", "cuda", …; by default a GPU when there is one.
        new_head: the file is an encoder's: it may lack the head, which then starts at random, and hold others.
        **settings: of the model's config, instead of those that its file has.

    Raises:
        RerankerError: it cannot be loaded, its parameters are not those of the network, or there is no such device.
    """
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from retrieval.models.published_folder import readable_folder
    from retrieval.models.registration import register_backbones

    register_backbones()
    with _refusing(name), readable_folder(folder) as readable:
        options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        model, notes = AutoModelForSequenceClassification.from_pretrained(
            readable, use_safetensors=True, output_loading_info=True, **options, **settings
        )
        check_names(model, notes, name, new_head=new_head)
        tokenizer = AutoTokenizer.from_pretrained(readable, **options)
    return moved(model, device, name), tokenizer


def moved(model: Any, device: str | None, name: str) -> Any:
    """Return a model on a device.

    Args:
        model: of torch; it is moved.
        device: "cpu", "cuda", …; by default a GPU when there is one.
        name: what the model is called, for the message.

    Raises:
        RerankerError: there is no such device here, or no room on it.
    """
    wanted = _default_device() if device is None else device
    try:
        return model.to(wanted)
    # Without CUDA it is an AssertionError, for unknown names a RuntimeError, for others a TypeError.
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise RerankerError(f"model {name!r} cannot be on device {wanted!r}: {reason}; take device='cpu'") from error


def load_cross_encoder(folder: Path, name: str, device: str | None) -> Any:
    """Return a `CrossEncoder` of several modules, or of another task than sequence classification.

    Raises:
        RerankerError: it cannot be loaded, or its parameters are not those of the network.
    """
    from sentence_transformers import CrossEncoder

    from retrieval.models.registration import register_backbones

    register_backbones()
    with _refusing(name):
        model = CrossEncoder(
            str(folder),
            device=device,
            trust_remote_code=False,
            local_files_only=True,
            model_kwargs={"use_safetensors": True},
        )
        # The library notes parameters that do not fit in the log alone; transformers says which they are.
        _, notes = type(model.model).from_pretrained(
            folder / _transformer_path(folder), local_files_only=True, use_safetensors=True, output_loading_info=True
        )
        check_names(model.model, notes, name)
    return model


def check_names(model: Any, notes: Any, name: str, *, new_head: bool = False) -> None:
    """Compare the parameters of a checkpoint with those of its network, by what transformers noted.

    Args:
        model: the network.
        notes: `missing_keys`, `unexpected_keys` and `mismatched_keys`.
        name: what the model is called, for the message.
        new_head: heads may be missing, and other ones be there.

    Raises:
        RerankerError: names are missing or unexpected.
    """
    buffers = {key for key, _ in model.named_buffers()}  # older checkpoints hold positions, which are computed
    problems = {
        "missing": [key for key in notes["missing_keys"] if not (new_head and _is_head(key))],
        "unexpected": [
            key for key in notes["unexpected_keys"] if key not in buffers and not (new_head and _is_head(key))
        ],
    }
    found = "; ".join(f"{kind} {_listed(sorted(keys))}" for kind, keys in problems.items() if keys)
    if found:
        raise RerankerError(
            f"model {name!r} does not fit {type(model).__name__}: {found}; is it an encoder without a trained head?"
        )


def is_plain(folder: Path) -> bool:
    """Tell whether a folder holds a classifier and nothing else, as transformers or sentence-transformers saves it."""
    architectures = read_json(folder / "config.json").get("architectures") or [""]
    if str(architectures[0]).endswith("ForCausalLM"):
        return False
    modules = _read(folder / "modules.json", [])
    settings = read_json(folder / "sentence_bert_config.json")
    plain = settings.get("transformer_task", "sequence-classification") == "sequence-classification"
    return not modules or (plain and len(modules) == 1 and not modules[0].get("path"))


def prompt_of(folder: Path) -> str:
    """Return what a `CrossEncoder` folder says that stands before each query."""
    settings = read_json(folder / "config_sentence_transformers.json")
    return str((settings.get("prompts") or {}).get(settings.get("default_prompt_name")) or "")


def longest_input(model: Any, tokenizer: Any) -> int | None:
    """Return how many tokens a model can read; None where there is no limit."""
    positions = getattr(model.config, "max_position_embeddings", None)
    embeddings = getattr(getattr(model.base_model, "embeddings", None), "position_embeddings", None)
    # RoBERTa and its kin count positions from behind the padding token's.
    padding = getattr(embeddings, "padding_idx", None)
    limits = [
        positions - (0 if padding is None else padding + 1) if isinstance(positions, int) and positions > 0 else None,
        int(tokenizer.model_max_length) if tokenizer.model_max_length < NO_LIMIT else None,
    ]
    return min((limit for limit in limits if limit is not None), default=None)


def read_json(path: Path) -> dict[str, Any]:
    """Return what a JSON file holds; nothing where there is no such file.

    Raises:
        RerankerError: it is not a JSON object.
    """
    content: dict[str, Any] = _read(path, {})
    return content


def reranker_kind(folder: Path) -> str | None:
    """Return which kind of reranker of this package a folder holds; None where it is none.

    Raises:
        RerankerError: `reranker.json` is not a JSON object.
    """
    kind = read_json(folder / SETTINGS_FILE).get("kind")
    return kind if isinstance(kind, str) else None


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers from showing progress bars and notes."""
    from transformers.utils import logging as transformers_logging

    showed_progress = transformers_logging.is_progress_bar_enabled()
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if showed_progress:
            transformers_logging.enable_progress_bar()


@contextmanager
def _refusing(name: str) -> Iterator[None]:
    """Turn whatever goes wrong with a folder of somebody else's into one error."""
    try:
        with quiet_transformers():  # what does not fit is an error here, or was allowed
            yield
    except RetrievalError as error:
        raise RerankerError(f"reranker {name!r} cannot be loaded: {error}") from error
    except Exception as error:
        # It surfaces as nearly any exception of three libraries.
        reason = " ".join(str(error).split())[:300]
        raise RerankerError(f"reranker {name!r} cannot be loaded: {type(error).__name__}: {reason}") from error


def _read(path: Path, default: Any) -> Any:
    """Return what a JSON file holds if that is of the default's type; the default where there is no such file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return default
    except (OSError, ValueError) as error:
        raise RerankerError(f"model {path.parent} cannot be read: {path.name} is damaged ({error})") from None
    if not isinstance(content, type(default)):
        raise RerankerError(f"model {path.parent} cannot be read: {path.name} holds {content!r:.40}")
    return content


def _is_head(parameter: str) -> bool:
    return parameter.startswith("score.") or bool(HEADS.search(parameter))


def _transformer_path(folder: Path) -> str:
    """Return where the first module of a sentence-transformers model lies in its folder."""
    modules = _read(folder / "modules.json", [])
    return str(modules[0].get("path") or "") if modules else ""


def _default_device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"
