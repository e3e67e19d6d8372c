"""What a recipe can name: losses, builders of models and built-in recipes, found by the names of their files.

A name is its module's with dashes for underscores: the loss "info-nce" is `losses/info_nce.py`. To add one, add a file:

| folder | what the file defines |
| --- | --- |
| `losses/` | `build_loss(model, *, …settings) -> torch.nn.Module`, called with a batch's features and labels; |
| | and `DATA`, the kinds of examples that it is for; without it, all |
| `builders/` | `build_model(*, …settings)`, which returns a sentence-transformers model or a `RankingNetwork` |
| `recipes/` | `RECIPE`, a `Recipe` |

A function's keyword arguments are the settings that a recipe may give it. Names that begin with an underscore are none.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from types import SimpleNamespace
from typing import Any, get_type_hints

from retrieval.errors import RecipeError

_PACKAGE = "retrieval.training"


def names(kind: str) -> list[str]:
    """Return the names of a kind ("losses", "builders" or "recipes") without importing the modules behind them."""
    modules = pkgutil.iter_modules(importlib.import_module(f"{_PACKAGE}.{kind}").__path__)
    return sorted(module.name.replace("_", "-") for module in modules if not module.name.startswith("_"))


def find(kind: str, name: str, attribute: str) -> Any:
    """Import what a name stands for.

    Args:
        kind: "losses", "builders" or "recipes".
        name: as in a recipe.
        attribute: of the module: "build_loss", "build_model" or "RECIPE".

    Raises:
        RecipeError: there is none of this name; the message lists those there are.
    """
    known = names(kind)
    if name not in known:
        singular = {"losses": "loss", "builders": "model", "recipes": "recipe"}[kind]
        raise RecipeError(f"unknown {singular} {name!r}{nearest(name, known)}: one of {', '.join(known)}")
    module = importlib.import_module(f"{_PACKAGE}.{kind}.{name.replace('-', '_')}")
    if not hasattr(module, attribute):
        raise RecipeError(f"{module.__name__} cannot be named by a recipe: it defines no {attribute}")
    return getattr(module, attribute)


def check_settings(function: Callable[..., Any], settings: Mapping[str, Any], place: str) -> None:
    """Refuse settings that a function does not take, or values of another type than it says.

    Args:
        function: its keyword-only arguments are the settings there are.
        settings: by name.
        place: where they stand in a recipe, for the message: "loss_settings".

    Raises:
        RecipeError: a setting is unknown, and the message lists the valid ones and names the nearest; or a value is of
            a wrong type.
    """
    import msgspec

    parameters = inspect.signature(function).parameters.values()
    valid = {
        parameter.name: Any if parameter.annotation is parameter.empty else parameter.annotation
        for parameter in parameters
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    hints = get_type_hints(SimpleNamespace(__annotations__=valid), globalns=function.__globals__)
    for name, value in settings.items():
        if name not in valid:
            raise RecipeError(unknown_key(name, valid, place))
        try:
            msgspec.convert(value, hints[name])
        except msgspec.ValidationError as error:
            fault = str(error).replace("`", "").lower()
            raise RecipeError(f"{name} in {place} is {value!r}: {fault}") from None


def check_data(loss: str, kind: str) -> None:
    """Refuse a loss on examples that it would not understand, or would take for others.

    Raises:
        RecipeError: the loss is for examples of other kinds; the message lists them.
    """
    build_loss = find("losses", loss, "build_loss")
    kinds = getattr(inspect.getmodule(build_loss), "DATA", None)
    if kinds is not None and kind not in kinds:
        raise RecipeError(f"loss {loss!r} is for data of kind {' or '.join(kinds)}, not {kind}; change one of them")


def unknown_key(name: str, valid: Iterable[str], place: str) -> str:
    """Return the message about a setting that does not exist."""
    valid = sorted(valid)
    listed = ", ".join(valid) if valid else "it has none"
    return f"unknown setting {name!r} in {place}{nearest(name, valid)}; valid settings: {listed}"


def nearest(name: str, known: Iterable[str]) -> str:
    """Return " (did you mean 'x'?)" where a known name is close to this one, else nothing."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
