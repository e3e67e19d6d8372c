"""Recipes: files, changes, and settings that do not exist or make no sense."""

from __future__ import annotations

import dataclasses
import inspect

import pytest

from retrieval.errors import RecipeError
from retrieval.training import Recipe, builtin_recipe, read_recipe, registry


def test_every_built_in_recipe_names_what_exists():
    names = registry.names("recipes")
    assert {"mirror-bert", "simcse", "sbert-nli", "sbert-sts", "pairs", "hard-negatives", "kalm"} <= set(names)
    for name in names:
        recipe = builtin_recipe(name).checked()
        assert recipe.name == name
        assert recipe.summary


def test_settings_of_the_papers():
    mirror = builtin_recipe("mirror-bert")
    assert (mirror.batch_size, mirror.learning_rate, mirror.max_tokens, mirror.span_characters) == (200, 2e-5, 50, 5)
    assert (mirror.limit, mirror.loss_settings["temperature"]) == (10_000, 0.04)
    kalm = builtin_recipe("kalm")
    assert (kalm.negatives, kalm.mine_window, kalm.filter_rank) == (7, (50, 100), 50)
    assert kalm.loss_settings["temperature"] == 0.01


def test_a_file_starts_from_a_recipe(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'recipe = "pairs"\nlearning_rate = 1\nscore_range = [0, 4]\n[loss_settings]\ntemperature = 0.02\n'
        '[model_settings]\npooling = "cls"\n',
        encoding="utf-8",
    )
    recipe = read_recipe(path)
    base = builtin_recipe("pairs")
    assert recipe.name == "mine"
    assert recipe.learning_rate == 1.0
    assert recipe.score_range == (0.0, 4.0)
    assert recipe.loss_settings == {"temperature": 0.02}
    assert recipe.model_settings == {**base.model_settings, "pooling": "cls"}
    assert recipe.batch_size == base.batch_size


def test_another_loss_does_not_inherit_settings():
    changed = builtin_recipe("pairs").changed({"loss": "group-info-nce"})
    assert changed.loss_settings == {}
    both = builtin_recipe("kalm").changed({"loss": "mirror", "loss_settings": {"temperature": 0.1}})
    assert both.loss_settings == {"temperature": 0.1}
    assert builtin_recipe("pairs").changed({"seed": 2}).loss_settings == builtin_recipe("pairs").loss_settings


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            'recipe = "pairs"\nlerning_rate = 1',
            r"'lerning_rate' in .*did you mean 'learning_rate'\?.*valid settings: acc",
        ),
        ('recipe = "pairs"\nbatch_size = 0', "batch_size is 0, but must lie between 1 and"),
        ('recipe = "pairs"\nbatch_size = "8"', "batch_size is '8': expected int, got str"),
        (
            'recipe = "pairs"\nschedule = "linaer"',
            r"schedule is 'linaer' \(did you mean 'linear'\?\), but must be one of",
        ),
        ('recipe = "pairs"\nepochs = 0', "epochs and max_steps are both 0"),
        ('recipe = "pairs"\nscore_range = [5, 0]', "must ascend"),
        ('recipe = "pairs"\nmine_window = [5, 5]', "must ascend"),
        ('recipe = "pears"', r"unknown recipe 'pears' \(did you mean 'pairs'\?\)"),
        ("seed = 1", "does not say which recipe it starts from"),
        ("seed = ", "is no TOML file"),
    ],
)
def test_files_with_faults(tmp_path, content, words):
    path = tmp_path / "mine.toml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(RecipeError, match=words) as raised:
        read_recipe(path)
    assert str(path) in str(raised.value)


def test_a_file_that_is_missing(tmp_path):
    with pytest.raises(RecipeError, match="cannot read the recipe"):
        read_recipe(tmp_path / "no.toml")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"loss_settings": {"temprature": 1}}, r"'temprature' in loss_settings \(did you mean 'temperature'\?\)"),
        ({"model_settings": {"poling": "cls"}}, r"'poling' in model_settings \(did you mean 'pooling'\?\)"),
        ({"loss": "info_nce"}, r"unknown loss 'info_nce' \(did you mean 'info-nce'\?\)"),
        ({"model": "decoder"}, "unknown model 'decoder'"),
        ({"loss_settings": {"temperature": "low"}}, "temperature in loss_settings is 'low': expected float, got str"),
        (
            {"loss": "matryoshka", "loss_settings": {"dimensions": 64}},
            r"dimensions in .* is 64: expected arr",
        ),
        ({"model_settings": {"normalise": 1}}, "normalise in model_settings is 1: expected bool, got int"),
        ({"data": "labelled"}, "loss 'info-nce' is for data of kind sentences or pairs or tuples, not labelled"),
        ({"instruction": "find it", "data": "sentences"}, "instruction stands before queries, and sentences have none"),
        ({"loss": "cosine-regression"}, "loss 'cosine-regression' is for data of kind scored, not pairs"),
        ({"loss": "mirror", "data": "tuples"}, "is for data of kind sentences or pairs, not tuples"),
    ],
)
def test_what_only_losses_and_builders_know(changes, words):
    with pytest.raises(RecipeError, match=words):
        builtin_recipe("pairs").changed(changes).checked()


def test_a_recipe_is_what_its_dictionary_says():
    recipe = builtin_recipe("kalm")
    assert Recipe(**recipe.as_dict()) == recipe


def test_every_setting_is_documented():
    documentation = inspect.getdoc(Recipe)
    assert documentation is not None
    for setting in dataclasses.fields(Recipe):
        assert f"\n    {setting.name}: " in documentation


@pytest.mark.parametrize("loss", ["info-nce", "group-info-nce", "mirror", "matryoshka"])
@pytest.mark.parametrize("temperature", [0.0, -0.05])
def test_a_temperature_that_is_not_positive(loss, temperature):
    with pytest.raises(RecipeError, match=r"temperature in loss_settings is .* must be above 0"):
        registry.find("losses", loss, "build_loss")(None, temperature=temperature)
