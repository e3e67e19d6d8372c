"""Early exits: exact without a threshold, fewer layers the higher it is, the same in any company."""

from __future__ import annotations

import math
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import softmax
from scipy.stats import entropy as scipy_entropy

from retrieval.errors import RerankerError
from retrieval.models.rankers.early_exit import EarlyExitNetwork
from retrieval.models.rankers.off_ramps import (
    OFF_RAMPS_FILE,
    OffRamp,
    binary_entropy,
    load_off_ramps,
    new_off_ramps,
    save_off_ramps,
)
from retrieval.rerankers import Candidates, load_reranker
from tests.rerankers.test_mono import candidates, texts_of

pytestmark = pytest.mark.usefixtures("own_cache")

LAYERS = 4
GRID = (0.0, 0.001, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.69, 0.7)


def with_off_ramps(folder, classifier_folder, seed=0):
    """Copy a classifier and give it off-ramps with random weights, so that rows leave everywhere."""
    from retrieval.rerankers.model_loading import load_classifier

    shutil.copytree(classifier_folder, folder)
    model, _ = load_classifier(folder, "model", device="cpu")
    torch.manual_seed(seed)
    ramps = new_off_ramps(model)
    for ramp in ramps:
        assert isinstance(ramp, OffRamp)
        torch.nn.init.normal_(ramp.dense.weight, std=0.3)
        torch.nn.init.normal_(ramp.classifier.weight, std=0.5)
    save_off_ramps(folder, ramps)
    return folder


@pytest.fixture(scope="module", params=[1, 2])
def folder(request, classifier, tmp_path_factory):
    plain = classifier(labels=request.param, layers=LAYERS)
    return with_off_ramps(tmp_path_factory.mktemp("exits") / "model", plain)


@pytest.fixture(scope="module")
def lists():
    random = np.random.default_rng(0)
    given = [texts_of(random, n, 14) for n in (6, 0, 9, 1)]
    given[2][4] = given[2][0]
    return texts_of(random, 4, 5), [candidates(*texts) for texts in given]


def test_the_neutral_setting_is_the_whole_model_to_the_bit(folder, lists):
    whole = load_reranker(folder, device="cpu").score(*lists)
    for neutral in (0, -1.0, [0.0] * (LAYERS - 1)):
        found = load_reranker(folder, device="cpu", exit_entropy=neutral).score_with_layers(*lists)
        for scores, exact, layers in zip(found.scores, whole, found.layers, strict=True):
            np.testing.assert_array_equal(scores, exact)
            assert (layers == LAYERS).all()
    assert np.concatenate(whole).std() > 0.1


def test_a_threshold_that_nothing_is_below_changes_nothing(folder, lists):
    """The off-ramps are computed, with padding, and nobody leaves."""
    whole = np.concatenate(load_reranker(folder, device="cpu").score(*lists))
    found = load_reranker(folder, device="cpu", exit_entropy=1e-300).score(*lists)
    np.testing.assert_allclose(np.concatenate(found), whole, atol=1e-5)


def test_above_the_logarithm_of_two_everything_leaves_at_once(folder, lists):
    above = math.nextafter(math.log(2), 1)
    assert load_reranker(folder, device="cpu", exit_entropy=above).score_with_layers(*lists).mean_layers == 1


def test_layers_never_grow_with_the_threshold(folder, lists):
    before, means = np.full(sum(map(len, lists[1])), LAYERS), []
    for threshold in GRID:
        found = load_reranker(folder, device="cpu", exit_entropy=threshold).score_with_layers(*lists)
        layers = np.concatenate(found.layers)
        assert (layers <= before).all()
        assert found.mean_layers == layers.mean()
        means.append(found.mean_layers)
        before = layers
    assert (means[0], means[-1]) == (LAYERS, 1)
    assert len(set(means)) > 4  # rows do leave one by one


def test_scores_are_those_of_the_ramp_that_a_row_left_by(folder, lists):
    """Against hidden states of the library's model, a row at a time."""
    threshold = 0.4
    reranker = load_reranker(folder, device="cpu", exit_entropy=threshold)
    found = reranker.score_with_layers(*lists)
    network = EarlyExitNetwork.load(folder).eval()
    seen = set()
    for query, own, scores, layers in zip(*lists, *found, strict=True):
        for text, score, layer in zip(own.texts, scores, layers, strict=True):
            features = network.prepare([query], [text], np.array([[0, 0]])).features(np.array([0]))
            with torch.no_grad():
                output = network.model(**features, output_hidden_states=True)
                logits = [ramp(states) for ramp, states in zip(network.ramps, output.hidden_states[1:], strict=False)]
            logits = [each[0].double().numpy() for each in (*logits, output.logits)]
            both = [np.array([0.0, each[0]]) if len(each) == 1 else each for each in logits]
            sure = [scipy_entropy(softmax(each)) < threshold for each in both[:-1]]
            expected = sure.index(True) + 1 if any(sure) else LAYERS
            assert layer == expected
            left_by = logits[expected - 1]
            relevance = left_by[0] if len(left_by) == 1 else np.log(softmax(left_by)[1])
            assert score == pytest.approx(relevance, abs=1e-4)
            seen.add(expected)
    assert len(seen) > 2


@pytest.mark.parametrize("batch_tokens", [1, 60, 10_000])
def test_company_changes_nothing(batch_tokens, folder, lists):
    expected = load_reranker(folder, device="cpu", exit_entropy=0.4).score_with_layers(*lists)
    found = load_reranker(folder, device="cpu", exit_entropy=0.4, batch_tokens=batch_tokens).score_with_layers(*lists)
    for number in range(len(lists[0])):
        np.testing.assert_allclose(found.scores[number], expected.scores[number], atol=1e-5)
        np.testing.assert_array_equal(found.layers[number], expected.layers[number])
    assert expected.scores[2][4] == expected.scores[2][0]


def test_rows_that_left_cost_nothing(folder, lists, monkeypatch):
    """A layer sees as many rows as the report says went through it."""
    from retrieval.models.rankers.layers import LayeredClassifier

    reranker = load_reranker(folder, device="cpu", exit_entropy=0.4)
    layered: LayeredClassifier = reranker._classifier._layered
    rows = [0] * LAYERS
    for number, layer in enumerate(layered.layers):

        def count(_, args, number=number):
            rows[number] += len(args[0])

        layer.register_forward_pre_hook(count)
    different = [Candidates(given.ids[:4], given.texts[:4], given.scores[:4]) for given in lists[1]]
    layers = np.concatenate(reranker.score_with_layers(lists[0], different).layers)
    assert rows == [int((layers > number).sum()) for number in range(LAYERS)]
    assert sum(rows) < LAYERS * len(layers)


def test_a_threshold_for_each_ramp(folder, lists):
    last_ramp = [0.0] * (LAYERS - 2) + [1.0]
    found = load_reranker(folder, device="cpu", exit_entropy=last_ramp).score_with_layers(*lists)
    assert found.mean_layers == LAYERS - 1


@given(hnp.arrays(np.float64, (5, 2), elements=st.floats(-40, 40)))
def test_entropy_is_that_of_the_probabilities(logits):
    expected = [scipy_entropy(row) for row in softmax(logits, axis=1)]
    np.testing.assert_allclose(binary_entropy(torch.tensor(logits)).numpy(), expected, atol=1e-12)
    one = torch.tensor(logits[:, 1:] - logits[:, :1])
    np.testing.assert_allclose(binary_entropy(one).numpy(), expected, atol=1e-12)


@settings(max_examples=50)
@given(st.floats(0, 1e-6))
def test_entropy_is_at_most_the_logarithm_of_two(margin):
    assert binary_entropy(torch.tensor([[margin]])).item() <= math.log(2)


@pytest.mark.parametrize("kind", ["roberta"])
def test_other_families(kind, classifier, tmp_path, lists):
    folder = with_off_ramps(tmp_path / "model", classifier(kind))
    short = [candidates(*(text[:30] for text in given.texts)) for given in lists[1]]
    whole = np.concatenate(load_reranker(folder, device="cpu").score(lists[0], short))
    never = load_reranker(folder, device="cpu", exit_entropy=0).score(lists[0], short)
    np.testing.assert_array_equal(np.concatenate(never), whole)


def test_the_folder_is_still_a_classifier(folder, lists):
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(str(folder), device="cpu")
    loaded = load_reranker(folder, device="cpu")
    assert load_reranker(model).identity()["weights"] == loaded.identity()["weights"]


def test_thresholds_and_off_ramps_are_part_of_the_identity(folder):
    none, low, high = (
        load_reranker(folder, device="cpu", exit_entropy=threshold).identity() for threshold in (None, 0.1, 0.2)
    )
    assert low["exit_entropy"] == [0.1] * (LAYERS - 1)
    assert "exit_entropy" not in none
    assert low["off_ramps"] == high["off_ramps"]
    assert low != high


@pytest.mark.parametrize(
    ("thresholds", "message"),
    [
        ([0.1], "exit_entropy has 1 thresholds, but the model has 3 off-ramps"),
        (math.nan, "exit_entropy is nan"),
        (["low", "low", "low"], "a number or a list of numbers"),
    ],
)
def test_thresholds_that_make_no_sense(thresholds, message, folder):
    with pytest.raises(RerankerError, match=message):
        load_reranker(folder, device="cpu", exit_entropy=thresholds)


def test_models_without_off_ramps_are_refused(classifier, folder, tmp_path):
    with pytest.raises(RerankerError, match=r"no off-ramps .* early-exit"):
        load_reranker(classifier(), exit_entropy=0.1)
    shutil.copytree(classifier("distil"), tmp_path / "distil")
    shutil.copy(folder / OFF_RAMPS_FILE, tmp_path / "distil")
    with pytest.raises(RerankerError, match=r"a DistilBert.* cannot be left after a layer"):
        load_reranker(tmp_path / "distil", exit_entropy=0.1)


def test_off_ramps_of_another_model_are_refused(classifier, folder, tmp_path):
    other = shutil.copytree(classifier(), tmp_path / "other")  # of two layers
    shutil.copy(folder / OFF_RAMPS_FILE, other)
    with pytest.raises(RerankerError, match="unexpected"):
        load_reranker(other, exit_entropy=0.1)
    (other / OFF_RAMPS_FILE).write_bytes(b"nothing")
    with pytest.raises(RerankerError, match="cannot be read"):
        load_reranker(other, exit_entropy=0.1)


def test_a_closed_reranker_says_so(folder, lists):
    reranker = load_reranker(folder, device="cpu", exit_entropy=0.1)
    reranker.close()
    reranker.close()
    with pytest.raises(RerankerError, match="closed"):
        reranker.score(*lists)


def test_off_ramps_begin_at_the_head_and_are_kept_to_the_bit(folder, tmp_path):
    network = EarlyExitNetwork.load(folder)
    fresh = new_off_ramps(network.model)
    for ramp in fresh:
        assert torch.equal(ramp.classifier.weight, network.model.classifier.weight)
        assert torch.equal(ramp.dense.weight, network.model.bert.pooler.dense.weight)
    network.save(tmp_path / "again")
    stored = load_off_ramps(tmp_path / "again", network.model)
    for name, tensor in network.ramps.state_dict().items():
        assert torch.equal(tensor, stored.state_dict()[name])
