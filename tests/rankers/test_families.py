"""ColBERT and BERT_DOT around every family of transformers, or the reason why not."""

from __future__ import annotations

import numpy as np
import pytest

from retrieval.errors import RerankerError, RetrievalError
from retrieval.models.rankers.kinds import load_network
from retrieval.training.builders import colbert, dot
from tests.encoders.backbones import FAMILIES, save_family
from tests.rankers.students import scores_of, train

pytestmark = pytest.mark.usefixtures("own_cache")

QUERIES = ["the search engine", ""]
PASSAGES = ["a query is short, and a passage is long", "", "A man plays the guitar. " * 20, "naïve (brackets)"]
SMALL = {"query_tokens": 12, "passage_tokens": 30}

WITHOUT_TOKENS_AROUND = {"gpt2", "qwen2", "qwen3"}
WITHOUT_MASK = {"t5", "llama"}
WITHOUT_FIRST_TOKEN = {"t5"}


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory):
    made = {}

    def folder(name):
        if name not in made:
            made[name] = str(save_family(name, tmp_path_factory.mktemp("family") / name))
        return made[name]

    return folder


def check(network, folder):
    """Scores in any company, the same after saving, and gradients for all that has a part in them."""
    together = scores_of(network, QUERIES, PASSAGES)
    alone = [[scores_of(network, [query], [passage]).item() for passage in PASSAGES] for query in QUERIES]
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-4)
    assert np.ptp(together[0]) > 1e-3
    network.save(folder)
    np.testing.assert_array_equal(scores_of(load_network(folder), QUERIES, PASSAGES), together)
    losses, _ = train(network, steps=5, rate=1e-4)
    assert losses[-1] < losses[0]


ORIGINAL = ("xlm-roberta", "modernbert")  # with markers that are new words
FORMS = [*((name, "study") for name in FAMILIES), *((name, "original") for name in ORIGINAL)]


@pytest.mark.parametrize(("name", "form"), FORMS)
def test_colbert(name, form, folder_of, seeded, tmp_path):
    settings = {**SMALL, "form": form, "dimension": 16}
    if name in WITHOUT_TOKENS_AROUND:
        with pytest.raises(RerankerError, match="puts no token around a text"):
            colbert.build_model(backbone=folder_of(name), **settings)
        return
    if name in WITHOUT_MASK:
        with pytest.raises(RerankerError, match=r"\[MASK\], but the tokenizer has no such token"):
            colbert.build_model(backbone=folder_of(name), **settings)
        settings["masks"] = 0
    check(colbert.build_model(backbone=folder_of(name), **settings).eval(), tmp_path)


@pytest.mark.parametrize("name", FAMILIES)
def test_dot(name, folder_of, seeded, tmp_path):
    if FAMILIES[name].causal or name in WITHOUT_FIRST_TOKEN:
        with pytest.raises(RetrievalError, match=r"causal|no token before a text"):
            dot.build_model(backbone=folder_of(name), **SMALL)
        return
    check(dot.build_model(backbone=folder_of(name), **SMALL).eval(), tmp_path)
