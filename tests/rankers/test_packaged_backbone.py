"""The students around the packaged MiniLM, as the builders make them by default."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from retrieval.rerankers import Candidates
from retrieval.rerankers.network import NetworkReranker
from retrieval.training.registry import find

pytestmark = [pytest.mark.usefixtures("own_cache"), pytest.mark.slow]

QUERY = "what is the transformers library"
PASSAGES = ["Transformers is a library of pre-trained language models.", "We had soup and bread for lunch."]


@pytest.mark.parametrize(("kind", "width"), [("dot", 384), ("colbert", 768), ("prettr", 384), ("tk", 384)])
def test_builders_take_the_packaged_backbone(kind, width):
    torch.manual_seed(0)
    network = find("builders", kind, "build_model")().eval()
    assert (network.kind, network.width) == (kind, width)
    reranker = NetworkReranker(network, kind)
    scores = reranker.score([QUERY], [Candidates(["a", "b"], PASSAGES, np.zeros(2))])[0]
    np.testing.assert_allclose(reranker.score_states(QUERY, reranker.encode_passages(PASSAGES)), scores, rtol=1e-4)
    if kind in ("dot", "colbert"):  # the others need a trained head
        assert scores[0] > scores[1]
