"""A packed runtime computes of the last layer what the pooling reads, and the vectors are the library's."""

from __future__ import annotations

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from retrieval.encoders.sentence_transformer import SentenceTransformerEncoder

pytestmark = pytest.mark.usefixtures("own_cache")

TEXTS = ["the search engine", "", "a", "a query of the model " * 4, "[SEP] inside, 検索", "word"]
PROMPTS = {"query": "search query: ", "document": "passage: "}


def rows_of_last_layer(model, encode) -> tuple[np.ndarray, int, int]:
    """Return what is encoded, and the rows that went through the first and the last layer."""
    rows = [0, 0]

    def count(at):
        def hook(_, given, __):
            rows[at] += given[0].reshape(-1, given[0].shape[-1]).shape[0]

        return hook

    layers = model[0].model.encoder.layer
    hooks = [layers[place].intermediate.dense.register_forward_hook(count(place)) for place in (0, -1)]
    found = encode(TEXTS)
    for hook in hooks:
        hook.remove()
    return found, *rows


@pytest.mark.parametrize(
    "changes", [{}, {"normalize": False}, {"dense": 16}, {"prompts": PROMPTS}, {"max_tokens": 8}], ids=str
)
def test_pooling_by_the_first_token_reads_its_state_alone(tiny_model, changes):
    model = SentenceTransformer(str(tiny_model(pooling="cls", **changes)), device="cpu")
    encoder = SentenceTransformerEncoder(model, batch_tokens=48)
    assert encoder.execution()["packed"]
    found, first, last = rows_of_last_layer(model, encoder.encode_passages)
    np.testing.assert_allclose(found, model.encode_document(TEXTS), atol=1e-5)
    assert last == len(TEXTS) < first


@pytest.mark.parametrize(
    "changes",
    [
        {"pooling": "mean"},
        {"pooling": ("cls", "mean")},
        {"pooling": "cls", "prompts": PROMPTS, "include_prompt": False},
    ],
    ids=str,
)
def test_other_poolings_read_all_states(tiny_model, changes):
    """Pooling without the prompt takes the state behind it."""
    model = SentenceTransformer(str(tiny_model(**changes)), device="cpu")
    encoder = SentenceTransformerEncoder(model, batch_tokens=48)
    assert encoder.execution()["packed"]
    found, first, last = rows_of_last_layer(model, encoder.encode_passages)
    np.testing.assert_allclose(found, model.encode_document(TEXTS), atol=1e-5)
    assert last == first > len(TEXTS)


def test_weights_laid_out_anew_give_the_same(tiny_model):
    model = SentenceTransformer(str(tiny_model(pooling="cls")), device="cpu")
    expected = model.encode_document(TEXTS)
    np.testing.assert_allclose(SentenceTransformerEncoder(model, own=True).encode_passages(TEXTS), expected, atol=1e-5)
