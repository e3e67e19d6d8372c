"""Folders of published checkpoints whose architecture is here and whose `config.json` points to code elsewhere.

transformers would run that code, or read them as plain BERT and fill what is missing with random numbers. Here their
settings are rewritten to a model type of ours; the parameters keep their names.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from retrieval.errors import EncoderError


def read_settings(folder: Path) -> dict[str, Any]:
    """Return what a folder's config.json says; nothing where there is none that can be read."""
    try:
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return settings if isinstance(settings, dict) else {}


def parameter_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of a folder's parameters, read from the headers of its safetensors files.

    Raises:
        EncoderError: it has no safetensors, or they cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    files = sorted(folder.glob("model*.safetensors"))
    if not files:
        raise EncoderError(f"{folder} has no model.safetensors; other formats can run code when they are read")
    shapes: dict[str, tuple[int, ...]] = {}
    for path in files:
        try:
            with safe_open(path, framework="numpy") as file:
                shapes.update({key: tuple(file.get_slice(key).get_shape()) for key in file.keys()})  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise EncoderError(f"{path} cannot be read: {error}") from None
    return shapes


@contextmanager
def readable_folder(folder: Path) -> Iterator[Path]:
    """Give a folder that transformers reads as a model of ours: a published one, with rewritten settings.

    Any other folder is given as it is. The files are linked, not copied; the folder is gone afterwards.

    Raises:
        EncoderError: the settings are of a kind that is not known here.
    """
    from retrieval.models.alibi_bert import published as alibi_bert
    from retrieval.models.monarch_mixer import published as monarch_mixer
    from retrieval.models.neobert import published as neobert

    config: Any = None
    for family in (alibi_bert, monarch_mixer, neobert):
        if family.is_published(folder):
            config = family.published_config(folder)
    if config is None:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="published-") as name:
        for path in folder.iterdir():
            if path.name != "config.json" and path.suffix != ".py":
                (Path(name) / path.name).symlink_to(path.resolve())
        config.save_pretrained(name)
        yield Path(name)
