"""Heads over stored vectors: their formulas in numpy, what is symmetric and what is not, saved and loaded."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from retrieval.errors import EncoderError
from retrieval.models.heads.interaction import InteractionHead, distillation_loss, relevance_loss
from retrieval.models.heads.link_classification import SiameseLinkHead, SingleLinkHead, link_loss

D = 6
VECTORS = arrays(np.float32, (4, D), elements=st.floats(-10, 10, width=32))


def interaction_head() -> InteractionHead:
    torch.manual_seed(0)
    return InteractionHead(D, 10).eval()


def parameters(head: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: value.detach().double().numpy() for name, value in head.named_parameters()}


def gelu(x: np.ndarray) -> np.ndarray:
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


class TestInteraction:
    def test_by_hand(self):
        head, random = interaction_head(), np.random.default_rng(0)
        queries, passages = random.normal(size=(2, 5, D))
        w = parameters(head)
        largest = np.maximum(queries, passages)
        f = gelu(largest @ w["widening.weight"].T + w["widening.bias"]) @ w["narrowing.weight"].T + w["narrowing.bias"]
        norms = np.linalg.norm(queries, axis=1) * np.linalg.norm(passages, axis=1)
        cosine = np.sum(queries * passages, axis=1) / norms
        z = np.column_stack([cosine, np.linalg.norm(queries - passages, axis=1), gelu(f) + largest])
        expected = np.tanh(z @ w["scoring.weight"][0] + w["scoring.bias"])
        np.testing.assert_allclose(head.scores(queries, passages), expected, rtol=1e-5, atol=1e-6)

    @given(VECTORS, VECTORS)
    def test_symmetric_and_within_one(self, queries, passages):
        head = interaction_head()
        scores = head.scores(queries, passages)
        assert scores.shape == (4,)
        assert (np.abs(scores) <= 1).all()
        np.testing.assert_allclose(scores, head.scores(passages, queries), atol=1e-6)

    @given(VECTORS.filter(lambda rows: (np.abs(rows).max(axis=1) > 0.1).all()))
    def test_equal_vectors(self, rows):
        vectors = torch.from_numpy(rows)
        z = interaction_head().interaction(vectors, vectors.clone())
        assert z.shape == (4, D + 2)
        torch.testing.assert_close(z[:, 0], torch.ones(4))
        assert torch.equal(z[:, 1], torch.zeros(4))

    def test_a_pair_does_not_depend_on_the_others(self):
        queries, passages = np.random.default_rng(1).normal(size=(2, 7, D)).astype(np.float32)
        head = interaction_head()
        alone = [head.scores(queries[row : row + 1], passages[row : row + 1])[0] for row in range(7)]
        np.testing.assert_allclose(head.scores(queries, passages), alone, atol=1e-6)

    def test_the_size_of_the_paper(self):
        # 256 to 512 and back with biases, then 258 to 1.
        n_parameters = 256 * 512 + 512 + 512 * 256 + 256 + 258 + 1
        assert sum(parameter.numel() for parameter in InteractionHead().parameters()) == n_parameters

    def test_dropout_is_for_training_only(self):
        head = InteractionHead(D, 200, dropout=0.5)
        vectors = np.ones((1, D), np.float32)
        assert np.array_equal(head.scores(vectors, vectors), head.scores(vectors, vectors))
        assert head.training
        assert head(torch.ones(1, D), torch.ones(1, D)) != head(torch.ones(1, D), torch.ones(1, D))

    def test_equal_and_zero_vectors_have_gradients(self):
        vectors = torch.zeros(2, D, requires_grad=True)
        interaction_head()(vectors, vectors).sum().backward()
        assert vectors.grad.isfinite().all()

    def test_losses_by_hand(self):
        scores, labels = torch.tensor([0.5, -1.0, 0.0]), torch.tensor([1.0, 0.0, 0.25])
        teacher = torch.tensor([0.75, 0.5, 0.5])
        # Labels become 1, -1, -0.5 and the teacher's scores 0.5, 0, 0.
        assert relevance_loss(scores, labels).item() == pytest.approx((0.25 + 0 + 0.25) / 3)
        assert distillation_loss(scores, labels, teacher).item() == pytest.approx(0.5 * (0.5 / 3 + 1.0 / 3))
        assert distillation_loss(2 * (labels - 0.5), labels, labels).item() == 0

    def test_it_learns(self):
        torch.manual_seed(0)
        head = InteractionHead(D, 32, dropout=0.0)
        queries, passages = torch.randn(2, 64, D)
        labels = (torch.nn.functional.cosine_similarity(queries, passages) > 0).float()
        optimizer = torch.optim.Adam(head.parameters(), 1e-2)
        for _ in range(60):
            optimizer.zero_grad()
            loss = relevance_loss(head(queries, passages), labels)
            loss.backward()
            optimizer.step()
        right = (head.scores(queries.numpy(), passages.numpy()) > 0) == (labels.numpy() > 0.5)
        assert right.mean() > 0.95


class TestLinks:
    def test_siamese_by_hand_and_not_symmetric(self):
        torch.manual_seed(0)
        head = SiameseLinkHead(D)
        queries, passages = np.random.default_rng(0).normal(size=(2, 5, D))
        w = parameters(head)
        z = np.concatenate([passages, queries, np.abs(passages - queries)], axis=1)
        logits = np.tanh(z @ w["dense.weight"].T + w["dense.bias"]) @ w["out.weight"].T + w["out.bias"]
        expected = np.exp(logits[:, 1]) / np.exp(logits).sum(axis=1)
        scores = head.scores(queries, passages)
        np.testing.assert_allclose(scores, expected, rtol=1e-5)
        assert np.abs(scores - head.scores(passages, queries)).min() > 1e-4

    def test_single_is_the_classifier_of_roberta(self):
        from transformers import RobertaConfig
        from transformers.models.roberta.modeling_roberta import RobertaClassificationHead

        torch.manual_seed(0)
        theirs = RobertaClassificationHead(RobertaConfig(hidden_size=D, num_labels=2)).eval()
        ours = SingleLinkHead(D).eval()
        ours.dense.load_state_dict(theirs.dense.state_dict())
        ours.out.load_state_dict(theirs.out_proj.state_dict())
        states = torch.randn(5, 3, D)  # [CLS] and two more tokens
        torch.testing.assert_close(ours.logits(states[:, 0]), theirs(states))
        torch.testing.assert_close(ours(states[:, 0]), theirs(states).softmax(1)[:, 1])

    def test_loss_by_hand(self):
        logits, labels = torch.tensor([[0.0, 0.0], [1.0, 3.0]]), torch.tensor([1, 0])
        expected = (math.log(2) + math.log(math.exp(1) + math.exp(3)) - 1) / 2
        assert link_loss(logits, labels).item() == pytest.approx(expected)


HEADS = [lambda: InteractionHead(D, 10, 0.1), lambda: SiameseLinkHead(D, 0.2), lambda: SingleLinkHead(D)]


class TestFolders:
    @pytest.mark.parametrize("make", HEADS)
    def test_saved_and_loaded_give_the_same_scores(self, make, tmp_path):
        head = make()
        head.save(tmp_path / "head")
        again = type(head).load(tmp_path / "head")
        assert sorted(file.name for file in (tmp_path / "head").iterdir()) == ["config.json", "model.safetensors"]
        assert not again.training
        assert again.dropout == head.dropout
        sides = 1 if isinstance(head, SingleLinkHead) else 2
        vectors = np.random.default_rng(0).normal(size=(sides, 9, D))
        assert np.array_equal(head.scores(*vectors), again.scores(*vectors))

    def test_what_is_no_head(self, tmp_path):
        with pytest.raises(EncoderError, match="no head in"):
            InteractionHead.load(tmp_path)
        SiameseLinkHead(D).save(tmp_path)
        with pytest.raises(EncoderError, match="holds no InteractionHead"):
            InteractionHead.load(tmp_path)
        path = tmp_path / "config.json"
        path.write_text(json.dumps({"head": "SiameseLinkHead", "dimension": D + 1, "dropout": 0.1}), encoding="utf-8")
        with pytest.raises(EncoderError, match=r"cannot be read: .*size mismatch"):
            SiameseLinkHead.load(tmp_path)
        path.write_text(json.dumps({"head": "SiameseLinkHead", "dimension": D, "dropout": 0.1}), encoding="utf-8")
        (tmp_path / "model.safetensors").unlink()
        with pytest.raises(EncoderError, match="cannot be read"):
            SiameseLinkHead.load(tmp_path)


@pytest.mark.parametrize("make", HEADS)
def test_vectors_of_other_shapes_are_refused(make):
    head = make()
    sides = 1 if isinstance(head, SingleLinkHead) else 2
    for shape in ((3, D + 1), (D,), (2, 3, D)):
        with pytest.raises(EncoderError, match=r"reads \(n, 6\)"):
            head.scores(*[np.zeros(shape)] * sides)
    if sides == 2:
        with pytest.raises(EncoderError, match=r"shapes \(3, 6\), \(1, 6\)"):
            head.scores(np.zeros((3, D)), np.zeros((1, D)))
    assert head.scores(*[np.zeros((0, D))] * sides).shape == (0,)


@pytest.mark.parametrize("make", [InteractionHead, SiameseLinkHead, SingleLinkHead])
@pytest.mark.parametrize("settings", [{"dimension": 0}, {"dropout": 1.0}, {"dropout": -0.1}])
def test_settings_that_make_no_sense(make, settings):
    with pytest.raises(EncoderError, match=r"dropout in \[0, 1\)"):
        make(**settings)
