"""From a model's name or path to a folder that is safe to load: safetensors and JSON, no pickle, no code.

A name is looked up in the local cache of the model hub first, so that a model that was used once works without a
network and keeps its version; only a name that is not there is fetched.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from retrieval.errors import EncoderError

_WANTED = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
_UNWANTED = ["onnx/*", "openvino/*", "*/onnx/*", "*/openvino/*"]

_EMBEDDED_HINT = "the default encoder 'embedded' needs no model hub"


def model_folder(name_or_path: str, *, organisation: str = "sentence-transformers", hint: str = _EMBEDDED_HINT) -> Path:
    """Return the folder of a model.

    Args:
        name_or_path: a folder; or a name on the model hub, "organisation/model" or the name alone for one of
            sentence-transformers' own.
        organisation: whose model a name alone is.
        hint: what to do without one, for messages.

    Raises:
        EncoderError: there is no such model here and none can be fetched, or it holds something that is not loaded.
    """
    if not name_or_path.strip():
        raise EncoderError(f"a model needs a name, not {name_or_path!r}; {hint}")
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        return _checked(path.resolve())
    if path.exists():
        raise EncoderError(f"model {name_or_path!r} is a file; give the folder that a model was saved to")
    if path.is_absolute() or name_or_path.startswith(("./", "../", "~")) or name_or_path.count("/") > 1:
        raise EncoderError(f"no model {name_or_path!r}: there is no such folder; {hint}")
    name = name_or_path if "/" in name_or_path else f"{organisation}/{name_or_path}"
    return _checked(_from_hub(name_or_path, name, hint))


def has_modules(folder: Path) -> bool:
    """Tell whether a folder holds a sentence-transformers model, which says itself how token vectors are pooled."""
    return (folder / "modules.json").is_file()


def _from_hub(name: str, repository: str, hint: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.constants import HF_HUB_OFFLINE
    from huggingface_hub.errors import HFValidationError

    cache = os.environ.get("SENTENCE_TRANSFORMERS_HOME")
    options: dict[str, Any] = {"cache_dir": cache, "allow_patterns": _WANTED, "ignore_patterns": _UNWANTED}
    try:
        folder = Path(snapshot_download(repository, local_files_only=True, **options))
        if any(folder.rglob("*.safetensors")):
            return folder
    except HFValidationError:
        raise EncoderError(f"no model {name!r}: not a folder, and not a name on a model hub; {hint}") from None
    except (OSError, ValueError):
        pass  # not in the cache, or not completely
    try:
        return Path(snapshot_download(repository, **options))
    except Exception as error:
        # The hub's client raises errors of its HTTP library, of its own and of the system.
        reason = "it is switched off by HF_HUB_OFFLINE" if HF_HUB_OFFLINE else _first_line(error)
        raise EncoderError(
            f"no model {name!r}: not a folder, not in the local cache, and not to be had from a model hub ({reason}); "
            f"{hint}"
        ) from error


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:160]}"


def _checked(folder: Path) -> Path:
    """Refuse a folder from which something else than safetensors would be loaded."""
    for place in [folder, *_module_folders(folder)]:
        names = {file.name for file in place.iterdir()} if place.is_dir() else set()
        weights = {name for name in names if name.endswith(".safetensors")}
        pickled = sorted(name for name in names if name.endswith((".bin", ".pt", ".pth", ".ckpt", ".pkl")))
        if pickled and not weights:
            raise EncoderError(
                f"model {folder} has its weights as {place.name}/{pickled[0]}, which can run code when it is read; "
                "save it as safetensors: SentenceTransformer(path).save_pretrained(new_path)"
            )
    return folder


def _module_folders(folder: Path) -> list[Path]:
    try:
        modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
        paths = [folder / str(module["path"]) for module in modules]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise EncoderError(f"model {folder} cannot be read: modules.json is damaged ({error})") from None
    return [path for path in paths if path != folder]
