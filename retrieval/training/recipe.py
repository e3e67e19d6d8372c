"""A recipe: everything that decides what a training run computes, apart from the examples.

It is a TOML file, or a built-in name with changes:

```toml
recipe = "pairs"              # the built-in recipe that this one starts from
learning_rate = 3e-5

[model_settings]
backbone = "embedded"

[loss_settings]
temperature = 0.02
```
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast, get_type_hints

from retrieval.errors import RecipeError
from retrieval.training import registry

DataKind = Literal["sentences", "pairs", "tuples", "scored_tuples", "labelled", "scored"]
DATA_KINDS: tuple[DataKind, ...] = ("sentences", "pairs", "tuples", "scored_tuples", "labelled", "scored")
Schedule = Literal["linear", "cosine", "constant", "constant_with_warmup"]
_SCHEDULES = ("linear", "cosine", "constant", "constant_with_warmup")


@dataclass(frozen=True)
class Recipe:
    """Settings of a training run; every field is a key of a recipe's TOML file.

    Args:
        name: what the recipe is called in the model card.
        summary: what it does, in one line.
        data: kind of examples: "sentences" (one text), "pairs" (query, positive), "tuples" (query, positive and
            `negatives` hard negatives; triples have one), "scored_tuples" (the same with a teacher's score of each
            passage), "labelled" (two sentences and a class), "scored" (two sentences and a similarity).
        negatives: hard negatives of each tuple.
        reference: encoder that filters pairs and mines negatives before training, as in `load_encoder`; "" leaves pairs
            as they are and takes tuples from the files.
        filter_rank: with a reference: pairs whose positive it ranks behind this rank among all positives are left out
            (KaLM's ranking consistency); 0 keeps all.
        mine_window: with a reference: first rank, and the rank behind the last, from which negatives are drawn.
        score_range: lowest and highest similarity in the files; they become 0 and 1.
        limit: examples to train on, drawn at random with the seed; 0 takes all.
        instruction: stands before every query as KaLM's "Instruct: …" and "Query: "; sources may have their own.
        model: name of the builder, see `retrieval.training.builders`.
        model_settings: what that builder takes: backbone, pooling and so on.
        loss: name of the loss, see `retrieval.training.losses`.
        loss_settings: what that loss takes: temperature and so on.
        max_tokens: tokens of a text that are read in training and by the trained encoder; 0 keeps the backbone's.
        encoder_tokens: tokens that the trained encoder reads, where it is meant for longer texts than it was trained
            on; 0 is as in training.
        epochs: passes over the examples.
        max_steps: optimiser steps instead of epochs; 0 counts epochs.
        batch_size: examples a batch; the in-batch negatives come from it.
        accumulation: batches whose gradients are added up for one optimiser step.
        learning_rate: at its peak.
        schedule: of the learning rate: "linear" or "cosine" decay, "constant", "constant_with_warmup".
        warmup: part of the steps in which the learning rate rises from 0.
        weight_decay: of AdamW, for weights that are neither biases nor of a normalisation.
        max_gradient_norm: gradients are scaled down to this norm; 0 leaves them.
        homogeneous: part of each batch that comes from one task, 0 to 1, see `retrieval.training.sampling`.
        span_characters: characters of a random span of the second copy of a sentence that one "[MASK]" replaces; 0 is
            off (Mirror-BERT).
        span_minimum: sentences shorter than this many characters are not masked.
        dropout: probability of every dropout; None keeps the backbone's.
        drophead: probability of leaving out an attention head; 0 is off.
        seed: of the weights, the order of the examples, dropout and augmentation.
        precision: "auto" is bf16 (mixed) on a GPU that has it and fp32 elsewhere; or "fp32", "bf16".
        checkpoint_steps: steps between two checkpoints; 0 makes one after each epoch.

    Raises:
        RecipeError: a value is of another type or out of its range.
    """

    name: str
    summary: str = ""
    data: DataKind = "pairs"
    negatives: int = 1
    reference: str = ""
    filter_rank: int = 0
    mine_window: tuple[int, int] = (50, 100)
    score_range: tuple[float, float] = (0.0, 1.0)
    limit: int = 0
    instruction: str = ""
    model: str = "encoder"
    model_settings: Mapping[str, Any] = field(default_factory=dict)
    loss: str = "info-nce"
    loss_settings: Mapping[str, Any] = field(default_factory=dict)
    max_tokens: int = 0
    encoder_tokens: int = 0
    epochs: float = 1.0
    max_steps: int = 0
    batch_size: int = 32
    accumulation: int = 1
    learning_rate: float = 2e-5
    schedule: Schedule = "linear"
    warmup: float = 0.1
    weight_decay: float = 0.01
    max_gradient_norm: float = 1.0
    homogeneous: float = 0.0
    span_characters: int = 0
    span_minimum: int = 30
    dropout: float | None = None
    drophead: float = 0.0
    seed: int = 0
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    checkpoint_steps: int = 0

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                close = registry.nearest(str(value), choices)
                raise RecipeError(f"{name} is {value!r}{close}, but must be one of {', '.join(choices)}")
        for name, hint in get_type_hints(Recipe).items():
            object.__setattr__(self, name, _converted(name, getattr(self, name), hint))
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise RecipeError(f"{name} is {value}, but must lie between {low:,} and {high:,}")
        if not self.epochs and not self.max_steps:
            raise RecipeError("epochs and max_steps are both 0: say how long to train")
        if not 0 <= self.mine_window[0] < self.mine_window[1]:
            raise RecipeError(f"mine_window is {list(self.mine_window)}, but must ascend from 0 or more")
        if self.score_range[0] >= self.score_range[1]:
            raise RecipeError(f"score_range is {list(self.score_range)}, but must ascend")

    def changed(self, changes: Mapping[str, Any], place: str = "the recipe") -> Recipe:
        """Return the recipe with other values; those of `model_settings` and `loss_settings` are merged.

        A change of `loss` or `model` to another name drops the settings of the old one.

        Args:
            changes: by the names of the fields.
            place: what holds them, for messages.

        Raises:
            RecipeError: a name or value is wrong.
        """
        valid = [setting.name for setting in dataclasses.fields(self)]
        merged = dict(changes)
        for name, value in changes.items():
            if name not in valid:
                raise RecipeError(registry.unknown_key(name, valid, place))
            if name in {"model_settings", "loss_settings"} and isinstance(value, Mapping):
                owner = name.removesuffix("_settings")
                kept = {} if changes.get(owner, getattr(self, owner)) != getattr(self, owner) else getattr(self, name)
                merged[name] = {**kept, **value}
        for owner in ("model", "loss"):
            if changes.get(owner, getattr(self, owner)) != getattr(self, owner):
                merged.setdefault(f"{owner}_settings", {})
        return dataclasses.replace(self, **merged)

    def checked(self) -> Recipe:
        """Return the recipe if its builder and its loss exist and take its settings and kind of data; imports them.

        Raises:
            RecipeError: they do not.
        """
        build_model = registry.find("builders", self.model, "build_model")
        registry.check_settings(build_model, self.model_settings, "model_settings")
        build_loss = registry.find("losses", self.loss, "build_loss")
        registry.check_settings(build_loss, self.loss_settings, "loss_settings")
        registry.check_data(self.loss, self.data)
        if self.instruction and self.data not in ("pairs", "tuples", "scored_tuples"):
            raise RecipeError(f"instruction stands before queries, and {self.data} have none; leave it out")
        return self

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as JSON values."""
        values = dataclasses.asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


_LARGE = 1 << 40
_RANGES: tuple[tuple[str, float, float], ...] = (
    ("negatives", 0, 1000),
    ("limit", 0, _LARGE),
    ("filter_rank", 0, _LARGE),
    ("max_tokens", 0, 1 << 24),
    ("encoder_tokens", 0, 1 << 24),
    ("epochs", 0, 1e6),
    ("max_steps", 0, _LARGE),
    ("batch_size", 1, 1 << 24),
    ("accumulation", 1, 1 << 24),
    ("learning_rate", 0, 10),
    ("warmup", 0, 1),
    ("weight_decay", 0, 10),
    ("max_gradient_norm", 0, 1e12),
    ("homogeneous", 0, 1),
    ("span_characters", 0, 10_000),
    ("span_minimum", 0, 1 << 24),
    ("dropout", 0, 0.99),
    ("drophead", 0, 0.99),
    ("seed", 0, (1 << 32) - 1),
    ("checkpoint_steps", 0, _LARGE),
)
_CHOICES: dict[str, tuple[str, ...]] = {
    "data": DATA_KINDS,
    "schedule": _SCHEDULES,
    "precision": ("auto", "fp32", "bf16"),
}


def _converted(name: str, value: Any, hint: Any) -> Any:
    """Return a value as the field's type, from what TOML has for it: whole numbers for numbers, lists for tuples."""
    import msgspec

    try:
        return msgspec.convert(value, hint)
    except msgspec.ValidationError as error:
        raise RecipeError(f"{name} is {value!r}: {str(error).replace('`', '').lower()}") from None


def builtin_recipe(name: str) -> Recipe:
    """Return a built-in recipe.

    Raises:
        RecipeError: there is none of this name; the message lists them.
    """
    return cast(Recipe, registry.find("recipes", name, "RECIPE"))


def read_recipe(name_or_path: str | Path) -> Recipe:
    """Return a built-in recipe by its name, or one from a TOML file.

    Raises:
        RecipeError: there is no such recipe, the file is not TOML, or a setting is unknown or wrong.
    """
    path = Path(name_or_path)
    if path.suffix != ".toml":
        return builtin_recipe(str(name_or_path))
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"cannot read the recipe {path}: {error.strerror or error}") from None
    except ValueError as error:
        raise RecipeError(f"{path} is no TOML file: {error}") from None
    base = content.pop("recipe", None)
    if not isinstance(base, str):
        known = ", ".join(registry.names("recipes"))
        raise RecipeError(f'{path} does not say which recipe it starts from: recipe = "…", one of {known}')
    try:
        return builtin_recipe(base).changed({"name": path.stem, **content}, str(path))
    except RecipeError as error:
        raise RecipeError(str(error) if str(path) in str(error) else f"{path}: {error}") from None
