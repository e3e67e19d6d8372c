"""Hashes of model weights: of files and of tensors, remembered in the user's cache directory.

A hash is remembered under the path, size, inode and times of the files it was computed from, so that a model is hashed
once and not each time it is loaded. The cache is a convenience: when it cannot be read or written, hashes are computed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from indexes.storage import sha256_of

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

logger = logging.getLogger(__name__)

_DIGEST = re.compile(r"[0-9a-f]{64}")


def file_digest(path: Path) -> str:
    """Return the SHA-256 digest of a file's content, hexadecimal; remembered until the file changes."""
    return remembered_digest("sha256", [path], lambda: sha256_of(path))


def tensors_digest(tensors: Iterable[Tensor]) -> str:
    """Return a SHA-256 digest of tensors, hexadecimal, independent of their order and names.

    Names are left out because libraries rename them between versions (sentence-transformers 6 calls `0.model` what
    version 5 called `0.auto_model`), and the same weights must keep the same digest.
    """
    digests = sorted(_tensor_digest(tensor) for tensor in tensors)
    return hashlib.sha256(b"".join(digests)).hexdigest()


def arrays_digest(arrays: Iterable[np.ndarray]) -> str:
    """Return what `tensors_digest` gives for tensors of the same types, shapes and values."""
    digests = sorted(_bytes_digest(f"torch.{array.dtype}", array.shape, _bytes_of(array)) for array in arrays)
    return hashlib.sha256(b"".join(digests)).hexdigest()


def _tensor_digest(tensor: Tensor) -> bytes:
    import torch

    values = tensor.detach().cpu().contiguous()
    return _bytes_digest(str(values.dtype), tuple(values.shape), values.reshape(-1).view(torch.uint8).numpy().data)


def _bytes_of(array: np.ndarray) -> memoryview:
    return array.reshape(-1).view("u1").data


def _bytes_digest(type_name: str, shape: tuple[int, ...], content: memoryview) -> bytes:
    digest = hashlib.sha256(f"{type_name} {shape}".encode())
    digest.update(content)
    return digest.digest()


def described_files(folder: Path) -> list[Path]:
    """Return the files of a model's folder on which its weights and its tokenizer depend, in order."""
    return sorted(path for path in folder.rglob("*") if path.suffix in (".safetensors", ".json", ".txt", ".model"))


def remembered_digest(kind: str, files: Sequence[Path], compute: Callable[[], str]) -> str:
    """Return a digest from the cache when none of the files has changed, else compute and remember it.

    Args:
        kind: what the digest is of; different kinds over the same files do not meet.
        files: what the digest depends on.
        compute: returns 64 hexadecimal digits.
    """
    state = {"kind": kind, "files": [_state(path) for path in sorted(files)]}
    name = hashlib.sha256(json.dumps(state).encode()).hexdigest()
    entry = cache_directory() / "digests" / f"{name}.json"
    remembered = _read(entry, state)
    if remembered is not None:
        return remembered
    digest = compute()
    # A file that changed meanwhile must not be remembered under its old state, nor its new one with the old digest.
    if [_state(path) for path in sorted(files)] == state["files"]:
        _write(entry, {**state, "digest": digest})
    return digest


def cache_directory() -> Path:
    """Return where this package keeps what can be computed again."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("retrieval-engine", appauthor=False))


def _state(path: Path) -> list[str | int]:
    status = path.stat()
    return [str(path.resolve()), status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _read(entry: Path, state: Mapping[str, object]) -> str | None:
    try:
        stored = json.loads(entry.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(stored, dict) or {**stored, "digest": None} != {**state, "digest": None}:
        return None
    digest = stored.get("digest")
    return digest if isinstance(digest, str) and _DIGEST.fullmatch(digest) else None


def _write(entry: Path, content: Mapping[str, object]) -> None:
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=entry.parent, suffix=".tmp")
    except OSError as error:
        logger.debug("digests are not remembered: %s", error)
        return
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(content, file)
        Path(temporary).replace(entry)
    except OSError as error:
        logger.debug("digests are not remembered: %s", error)
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
