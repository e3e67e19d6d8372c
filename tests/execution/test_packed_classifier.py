"""A packed classifier gives the logits of the padded one, for any mixture of lengths; others are left alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retrieval.encoders.model_inputs import PreparedTexts
from retrieval.execution.packed import PackedNetwork
from retrieval.rerankers.classifier import Classifier
from retrieval.rerankers.packed_classifier import packed_classifier
from tests.execution.networks import LONGEST, PAD_IDS, VOCABULARY, batch_of, build

FAMILIES = ("Bert", "Electra", "Roberta", "XLMRoberta")


@pytest.fixture(scope="module")
def models():
    return {family: build(family, "ForSequenceClassification", num_labels=2) for family in FAMILIES}


@pytest.fixture(scope="module")
def packed(models):
    return {
        (family, copied): packed_classifier(models[family], copied=copied) for family in FAMILIES for copied in (0, 1)
    }


@pytest.mark.parametrize("copied", [0, 1], ids=["shared", "copied"])
@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(lengths=st.lists(st.integers(1, LONGEST), min_size=1, max_size=10), seed=st.integers(0, 99))
def test_packed_equals_padded(models, packed, family, copied, lengths, seed):
    pad_id = PAD_IDS.get(family, 0)
    batch = batch_of(lengths, seed)
    batch = batch._replace(ids=np.where(batch.ids == pad_id, VOCABULARY - 1, batch.ids))  # padded, it would be masked
    features = {name: torch.from_numpy(value) for name, value in batch.padded(pad_id).items()}
    with torch.inference_mode():
        expected = models[family](**features).logits.numpy()
    np.testing.assert_allclose(packed[family, copied].logits(batch), expected, atol=1e-5)


def test_other_heads_are_left_alone():
    assert packed_classifier(build("DistilBert", "ForSequenceClassification")) is None
    assert packed_classifier(build("Bert", "ForTokenClassification")) is None


def test_what_computes_something_else_is_left_alone(monkeypatch):
    """As a network of another version of the library might: it is noticed, not trusted."""
    first_states = PackedNetwork.first_states
    monkeypatch.setattr(PackedNetwork, "first_states", lambda self, batch: 1.5 * first_states(self, batch))
    assert packed_classifier(build("Bert", "ForSequenceClassification", num_labels=1)) is None


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "padded"])
def test_a_model_that_its_owner_goes_on_training_scores_without_dropout(packed):
    model = build("Bert", "ForSequenceClassification", num_labels=1, hidden_dropout_prob=0.5)
    batch = batch_of([9, 5, 7])
    features = {name: torch.from_numpy(value) for name, value in batch.padded(0).items()}
    prepared = PreparedTexts(batch.lengths, lambda _: features, (lambda _: batch) if packed else None)
    classifier = Classifier(model, packed=packed)
    before = classifier.logits(prepared)
    model.train()
    np.testing.assert_array_equal(classifier.logits(prepared), before)
