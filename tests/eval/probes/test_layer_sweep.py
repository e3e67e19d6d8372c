"""Layers and poolings: against the model's own vectors, the library's hidden states, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from eval.errors import MeasureError
from eval.probes.layer_states import LayerStates, load_layer_states
from eval.probes.layer_sweep import POOLINGS, sweep_layers
from retrieval.encoders import load_encoder

FIRST = ["a man reads a book", "the dog runs", "a bird eats", "the old house", "green river park", "a man runs"]
SECOND = ["a woman reads", "a cat runs", "the man plays guitar", "the new house", "the ball", "a man reads a book"]
GOLD = [4.0, 3.0, 0.5, 4.5, 0.0, 2.0]


@pytest.fixture(scope="module")
def swept(tiny_states):
    return sweep_layers(tiny_states, FIRST, SECOND, GOLD)


def test_the_last_layers_mean_is_the_models_own_vector(swept, tiny_model):
    encoder = load_encoder(str(tiny_model))
    first, second = encoder.encode_passages(FIRST), encoder.encode_passages(SECOND)
    wanted = spearmanr(GOLD, (first * second).sum(1)).statistic
    found = {(cell.layer, cell.pooling): cell.spearman for cell in swept.cells}
    assert found["3", "mean"].value == pytest.approx(wanted)


def oracle(model, text, layer, pooling):
    """A vector by the library's own path, one text at a time, without padding."""
    tokens = model.tokenizer([text], truncation=True, max_length=24, return_tensors="pt")
    with torch.no_grad():
        every = model[0].model(**tokens, output_hidden_states=True).hidden_states
    pairs = {"first-last": (1, 3), "last two": (2, 3)}
    low, high = pairs.get(layer) or (int(layer), int(layer))
    states = ((every[low] + every[high]) / 2)[0]
    return {"mean": states.mean(0), "cls": states[0], "max": states.max(0).values, "last": states[-1]}[pooling].numpy()


def test_every_cell_equals_the_librarys_states_one_text_at_a_time(swept, tiny_model):
    from retrieval.training.builders.encoder import build_model

    model = build_model(backbone=str(tiny_model)).eval()
    assert [cell.layer for cell in swept.cells[:: len(POOLINGS)]] == ["0", "1", "2", "3", "first-last", "last two"]
    for cell in swept.cells:
        sides = [np.array([oracle(model, text, cell.layer, cell.pooling) for text in side]) for side in (FIRST, SECOND)]
        cosines = (sides[0] * sides[1]).sum(1) / np.linalg.norm(sides[0], axis=1) / np.linalg.norm(sides[1], axis=1)
        if cell.spearman is None:
            assert np.ptp(cosines) < 1e-5
        else:
            assert cell.spearman.value == pytest.approx(spearmanr(GOLD, cosines).statistic), (cell.layer, cell.pooling)
    # Before any layer has run, the first token says nothing of the text.
    assert [(cell.layer, cell.pooling) for cell in swept.cells if cell.spearman is None] == [("0", "cls")]


def test_the_order_of_pairs_changes_nothing_but_the_resamples(swept, tiny_states):
    again = sweep_layers(tiny_states, SECOND[::-1], FIRST[::-1], GOLD[::-1])
    for cell, other in zip(swept.cells, again.cells, strict=True):
        assert (cell.spearman is None) == (other.spearman is None)
        if cell.spearman is not None:
            assert other.spearman.value == pytest.approx(cell.spearman.value)


def test_each_text_goes_through_the_network_once(tiny_states, monkeypatch):
    seen = []
    whole = tiny_states.batches

    def counted(texts):
        seen.extend(texts)
        return whole(texts)

    monkeypatch.setattr(tiny_states, "batches", counted)
    found = sweep_layers(tiny_states, FIRST, SECOND, GOLD, seed=3)
    assert len(seen) == len(set(seen)) == found.n_texts == 11  # "a man reads a book" stands on both sides
    assert found == sweep_layers(tiny_states, FIRST, SECOND, GOLD, seed=3)


def test_small_batches_give_the_same_states(tiny_model, tiny_states):
    from retrieval.training.builders.encoder import build_model

    small = LayerStates(build_model(backbone=str(tiny_model)), batch_tokens=1)
    alone = {int(batch.rows[0]): batch for batch in small.batches(FIRST)}
    assert len(alone) == len(FIRST)
    for batch in tiny_states.batches(FIRST):
        for place, row in enumerate(batch.rows.tolist()):
            width = int(batch.mask[place].sum())
            for layer, wanted in zip(batch.layers, alone[row].layers, strict=True):
                assert torch.allclose(layer[place, :width], wanted[0], atol=1e-5)


def test_long_texts_are_cut_and_counted(tiny_states):
    long = "dog " * 40
    found = sweep_layers(tiny_states, [long, *FIRST], [FIRST[0], *SECOND], [0.0, *GOLD])
    assert found.n_cut == 1
    assert "cut at 24 tokens" in found.outcome().markdown()
    assert found.best.spearman.value == max(cell.spearman.value for cell in found.cells if cell.spearman)


@pytest.mark.parametrize(
    ("first", "second", "gold", "words"),
    [
        (["a"], ["b"], [1.0], "two or more values"),
        (FIRST, SECOND, [1.0] * 6, "all 6 values are 1"),
        (FIRST, SECOND, [*GOLD[:5], float("nan")], "value 5 is nan"),
        (FIRST, SECOND[:5], GOLD, "6 first and 5 second"),
        ([*FIRST[:5], "  "], SECOND, GOLD, "text 5 is blank"),
        (FIRST, FIRST, GOLD, "no layer tells these pairs apart"),
    ],
)
def test_pairs_that_cannot_be_measured_are_refused(tiny_states, first, second, gold, words):
    with pytest.raises(MeasureError, match=words):
        sweep_layers(tiny_states, first, second, gold)


def test_a_model_without_layers_is_refused():
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models

    static = StaticEmbedding(Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]")), embedding_dim=4)
    with pytest.raises(MeasureError, match="no layers to look into"):
        LayerStates(SentenceTransformer(modules=[static], device="cpu"), name="static")
    with pytest.raises(Exception, match="no model"):
        load_layer_states("/nowhere/at/all")
