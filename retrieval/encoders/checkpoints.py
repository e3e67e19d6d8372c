"""What a model's folder must be: without code of its own, its tokenizer readable here, no parameter missing.

transformers asks at the keyboard whether to run a folder's code where it is not told; without the library that reads a
tokenizer's file it says that there is none; it fills parameters that a checkpoint lacks with random numbers, with a
note in the log. A model that was loaded like that looks healthy and finds nothing.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
from pathlib import Path
from typing import Any

from retrieval.errors import EncoderError

HEADS = re.compile(
    r"(?:^|\.)(?:cls|pooler|lm_head|mlm_head|classifier|qa_outputs|pre_classifier|generator_\w+|discriminator_\w+|"
    r"vocab_\w+|predictions|head|position_ids)(?:\.|$)|(?:^|\.)decoder\.(?:weight|bias)$"
)
"""What a checkpoint may hold beyond an encoder, or lack, without a difference to its token vectors.

A `decoder` is a head where it is one matrix (NeoBERT, ModernBERT), the network itself where it has layers (OPT, BART).
"""

_SHOWN = 8


def network_folder(folder: Path) -> Path:
    """Return where a model's network and its tokenizer lie: the folder, or in older models one below it."""
    modules = _json(folder / "modules.json", [])
    below = folder / str(modules[0].get("path", "")) if modules and isinstance(modules[0], dict) else folder
    return below if (below / "config.json").is_file() else folder


def refuse_code(folder: Path) -> None:
    """Refuse a folder whose network or modules exist only as code in it: such code is never run here.

    A folder that points to code and whose architecture transformers or this package knows is not refused: it is loaded
    by the known class, if its parameters fit.

    Args:
        folder: as `published_folder.readable_folder` gives it, after `registration.register_backbones`.

    Raises:
        EncoderError: with the code that is meant, and what to do.
    """
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    for module in _json(folder / "modules.json", []):
        name = str(module.get("type")) if isinstance(module, dict) else ""
        if not name.startswith(("sentence_transformers.", "retrieval.")):
            raise EncoderError(_refusal(name))
    settings = _json(network_folder(folder) / "config.json", {})
    code = settings.get("auto_map")
    if code and settings.get("model_type") not in CONFIG_MAPPING:
        raise EncoderError(_refusal(f"{_code_of(code)} for model type {settings.get('model_type')!r}"))


def _code_of(auto_map: Any) -> str:
    names = auto_map.values() if isinstance(auto_map, dict) else [auto_map]
    return str(next((name for name in names if isinstance(name, str)), auto_map))


def _refusal(code: str) -> str:
    return (
        f"it needs code of its own ({code}), and code that comes with a model is never run here; use a model whose "
        "architecture transformers or this package has, or wrap it yourself with FunctionEncoder"
    )


def refuse_unreadable_tokenizer(folder: Path) -> None:
    """Refuse a folder whose tokenizer is only in a file that needs a library which is not installed.

    Raises:
        EncoderError: with the command that installs it, and the way to do without.
    """
    place = network_folder(folder)
    names = {path.name for path in place.iterdir()} if place.is_dir() else set()
    if names & {"tokenizer.json", "vocab.txt", "vocab.json"}:
        return
    for name in sorted(names):
        if not name.endswith((".model", ".tiktoken")):
            continue
        needed = ["tiktoken"] if "tiktoken" in name else ["sentencepiece", "protobuf"]
        if not all(_is_installed(library) for library in needed):
            raise EncoderError(
                f"its tokenizer is {name} alone, which needs {' and '.join(needed)}: pip install {' '.join(needed)}; "
                "or, where these are installed, write its tokenizer.json once with "
                "AutoTokenizer.from_pretrained(path).save_pretrained(path)"
            )


def _is_installed(library: str) -> bool:
    # The package `google` belongs to several libraries; protobuf is told from them by its version.
    try:
        importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def refuse_random_parameters(folder: Path, model: Any) -> None:
    """Refuse a loaded model whose checkpoint lacked some of its network's parameters.

    Most checkpoints are cleared by the names in their files' headers. Where names were changed since (`gamma` for
    `weight`), transformers has to say which are missing; it loads the checkpoint a second time for that.

    Args:
        folder: that the model was loaded from.
        model: a `SentenceTransformer`.

    Raises:
        EncoderError: parameters are missing; with folders that point to code, also where some do not belong to it.
    """
    network: Any = getattr(model[0], "model", None)
    place = network_folder(folder)
    if getattr(network, "config", None) is None or (place / "adapter_config.json").is_file():
        return
    from retrieval.models.published_folder import parameter_shapes

    prefix = f"{network.base_model_prefix}."
    stored = {name.removeprefix(prefix) for name in parameter_shapes(place)}
    wanted = {name.removeprefix(prefix) for name, _ in network.named_parameters() if not HEADS.search(name)}
    pointed = "auto_map" in _json(place / "config.json", {})
    if wanted <= stored and not pointed:
        return
    missing, unexpected = _differences(place, type(network))
    if missing:
        raise EncoderError(f"its checkpoint lacks parameters that would be random: {_some(missing)}")
    if pointed and unexpected:
        raise EncoderError(_refusal(f"for {_some(unexpected)}"))


def _differences(place: Path, network_class: Any) -> tuple[list[str], list[str]]:
    from transformers.utils import logging as transformers_logging

    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # what it would warn about is the error here
    try:
        _, found = network_class.from_pretrained(
            place, output_loading_info=True, use_safetensors=True, local_files_only=True, trust_remote_code=False
        )
    finally:
        transformers_logging.set_verbosity(verbosity)
    missing, unexpected = (
        sorted(name for name in found[kind] if not HEADS.search(name)) for kind in ("missing_keys", "unexpected_keys")
    )
    return missing, unexpected


def _some(names: list[str]) -> str:
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + rest


def _json(path: Path, default: Any) -> Any:
    """Return what a JSON file holds if that is of the default's type, else the default; others report the damage."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return default
    return content if isinstance(content, type(default)) else default
