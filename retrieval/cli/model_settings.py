"""MODEL[,SETTING=VALUE...]: a model's name or path, and behind it how it is loaded."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval.errors import QueryError

if TYPE_CHECKING:
    from retrieval.encoders import Encoder, EncoderSpec

_SETTING = re.compile(r"(?P<model>.+),(?P<name>[a-z_]+)=(?P<value>\[[^\]]*\]|[^,]*)", re.DOTALL)
""",setting=value" behind a model; a value may be a list, "[0.1,0.2]"."""


def parse_model(text: str, option: str) -> tuple[str, dict[str, Any]]:
    """Return a model's name or path and its settings; the path of a folder that is there is nothing else.

    Values are JSON, and what is none is a word: 0.1, [0.1,0.2], int8.

    Args:
        text: what the user wrote.
        option: where, for the message.

    Raises:
        QueryError: a setting comes twice.
    """
    settings: dict[str, Any] = {}
    while not _is_folder(text) and (found := _SETTING.fullmatch(text)):
        text = found["model"]
        if found["name"] in settings:
            raise QueryError(f"{option} sets {found['name']} of {text!r} twice; give it once")
        try:
            settings[found["name"]] = json.loads(found["value"])
        except ValueError:
            settings[found["name"]] = found["value"]  # a word
    return text, settings


def _is_folder(text: str) -> bool:
    try:
        return Path(text).is_dir()
    except OSError:  # longer than any name
        return False


def encoder_of(text: str | None, option: str) -> EncoderSpec:
    """Return an encoder's name or path as it is, or with settings behind it the loaded encoder.

    Several devices are joined by "+": "embedded,device=cuda:0+cuda:1".

    Raises:
        QueryError: a setting comes twice.
        EncoderError: the encoder cannot be loaded, or not with these settings.
    """
    if text is None:
        return None
    name, settings = parse_model(text, option)
    return load_with(name, settings) if settings else name


def load_with(name: str, settings: dict[str, Any]) -> Encoder:
    """Load an encoder with the settings that stood behind its name; devices as in `encoder_of`.

    Raises:
        EncoderError: the encoder cannot be loaded, or not with these settings.
    """
    from retrieval.encoders import load_encoder

    if "device" in settings:
        device = str(settings["device"])
        settings = {**settings, "device": device.split("+") if "+" in device else device}
    return load_encoder(name, **settings)
