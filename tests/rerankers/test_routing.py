"""Routing by energy and by flat lists: exact at both ends, a share that never grows, costs that are upper bounds."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import logsumexp, softmax
from scipy.stats import entropy as scipy_entropy

from retrieval import Collection, Document
from retrieval.errors import RerankerError
from retrieval.rerankers import (
    Calibration,
    Candidates,
    FunctionReranker,
    QueryRoutingReranker,
    Reranker,
    RoutingReranker,
    fit_calibration,
    load_reranker,
)
from retrieval.rerankers.energy import entropy, free_energy, log_odds
from retrieval.rerankers.query_routing import flatness
from retrieval.rerankers.routing import expected_cost
from tests.rerankers.test_mono import candidates, texts_of

pytestmark = pytest.mark.usefixtures("own_cache")

LOGITS = hnp.arrays(np.float64, (4, 2), elements=st.floats(-50, 50))


@pytest.fixture(scope="module")
def lists():
    random = np.random.default_rng(2)
    given = [texts_of(random, n, 14) for n in (8, 0, 11, 1, 7)]
    given[2][3] = given[2][0]
    return texts_of(random, 5, 5), [candidates(*texts) for texts in given]


@pytest.fixture(scope="module")
def swift(classifier):
    return load_reranker(classifier(labels=2), device="cpu")


@pytest.fixture(scope="module")
def super_(classifier):
    return load_reranker(classifier(seed=1), device="cpu")


def same(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


# ------------------------------------------------------------------------------------------------------------- energy


@given(LOGITS, st.floats(-100, 100))
def test_energy_shifts_with_its_logits_and_probabilities_do_not(logits, shift):
    np.testing.assert_allclose(free_energy(logits + shift), free_energy(logits) - shift, atol=1e-10)
    np.testing.assert_allclose(entropy(logits + shift), entropy(logits), atol=1e-10)
    np.testing.assert_allclose(softmax(logits + shift, axis=1), softmax(logits, axis=1), atol=1e-10)


@given(LOGITS)
def test_energy_and_entropy_are_those_of_the_formulas(logits):
    np.testing.assert_allclose(free_energy(logits), -logsumexp(logits, axis=1), atol=1e-12)
    np.testing.assert_allclose(entropy(logits), [scipy_entropy(row) for row in softmax(logits, axis=1)], atol=1e-12)
    one = logits[:, 1:]
    both = np.hstack([np.zeros_like(one), one])
    np.testing.assert_allclose(free_energy(one), free_energy(both), atol=1e-12)
    np.testing.assert_allclose(entropy(one), entropy(both), atol=1e-12)


# ------------------------------------------------------------------------------------------- candidates, one by one


def test_a_pointwise_reranker_shows_the_logits_of_its_scores(swift, super_, lists):
    for reranker in (swift, super_):
        for logits, scores in zip(reranker.logits(*lists), reranker.score(*lists), strict=True):
            both = logits.astype(np.float64)
            expected = both[:, 0] if both.shape[1] == 1 else both[:, 1] - logsumexp(both, axis=1)
            np.testing.assert_allclose(scores, expected, atol=1e-9)


@pytest.mark.parametrize("by", ["energy", "entropy"])
def test_the_ends_are_the_two_rerankers(by, swift, super_, lists):
    expensive = RoutingReranker(swift, super_, -math.inf, by=by).score_with_routes(*lists)
    cheap = RoutingReranker(swift, super_, math.inf, by=by).score_with_routes(*lists)
    same(expensive.scores, super_.score(*lists))
    same(cheap.scores, swift.score(*lists))
    assert (expensive.share, cheap.share) == (1, 0)


@pytest.mark.parametrize("by", ["energy", "entropy"])
def test_the_share_never_grows_with_the_threshold(by, swift, super_, lists):
    logits = np.concatenate(swift.logits(*lists))
    values = np.sort((free_energy if by == "energy" else entropy)(logits))
    thresholds = [-math.inf, values[0] - 1, *values[::4], values[-1], math.inf]
    routes = [RoutingReranker(swift, super_, each, by=by).score_with_routes(*lists) for each in thresholds]
    for lower, higher in itertools.pairwise(routes):
        for before, after in zip(lower.to_super, higher.to_super, strict=True):
            assert (after <= before).all()
    shares = [each.share for each in routes]
    assert (shares[0], shares[1], shares[-2], shares[-1]) == (1, 1, 0, 0)  # at most the threshold is sure
    assert len(set(shares)) > 4


@pytest.mark.parametrize("by", ["energy", "entropy"])
def test_each_candidate_has_the_log_odds_of_its_own_model(by, swift, super_, lists):
    logits = swift.logits(*lists)
    measure = free_energy if by == "energy" else entropy
    threshold = float(np.median(measure(np.concatenate(logits))))
    found = RoutingReranker(swift, super_, threshold, by=by).score_with_routes(*lists)
    expensive = super_.score(*lists)  # of one logit, which is the log-odds
    assert 0.3 < found.share < 0.7
    for scores, own, other, to_super in zip(found.scores, logits, expensive, found.to_super, strict=True):
        np.testing.assert_array_equal(to_super, measure(own) > threshold)
        np.testing.assert_allclose(scores, np.where(to_super, other, log_odds(own)), atol=1e-5)
    assert found.scores[2][3] == found.scores[2][0]  # equal texts


def test_company_changes_nothing(swift, super_, lists):
    threshold = float(np.median(free_energy(np.concatenate(swift.logits(*lists))))) + 1e-3
    routing = RoutingReranker(swift, super_, threshold)
    together = routing.score_with_routes(*lists)
    for number, (query, own) in enumerate(zip(*lists, strict=True)):
        alone = routing.score_with_routes([query], [own])
        np.testing.assert_array_equal(alone.to_super[0], together.to_super[number])
        np.testing.assert_allclose(alone.scores[0], together.scores[number], atol=1e-5)


def test_calls_are_an_upper_bound(swift, super_, lists):
    assert RoutingReranker(swift, super_, -math.inf).calls(7) == 7
    assert RoutingReranker(swift, super_, math.inf).calls(7) == 7
    routing = RoutingReranker(swift, super_, -1.0)
    assert routing.calls(7) == 14
    routed = routing.score_with_routes(*lists)
    n = sum(map(len, lists[1]))
    taken = n + sum(int(mask.sum()) for mask in routed.to_super)
    assert taken <= sum(routing.calls(len(given)) for given in lists[1])
    assert taken == pytest.approx(n * expected_cost(1.0, 1.0, routed.share))
    assert expected_cost(2.0, 10.0, 0.25) == 4.5
    with pytest.raises(RerankerError, match="between 0 and 1"):
        expected_cost(1, 1, 1.5)


def test_calls_that_were_made_are_counted(swift, super_, lists):
    median = float(np.median(free_energy(np.concatenate(swift.logits(*lists)))))
    for threshold in (-math.inf, median, math.inf):
        routing = RoutingReranker(swift, super_, threshold)
        found = routing.score_with_calls(*lists)
        routed = routing.score_with_routes(*lists)
        same(found.scores, routed.scores)
        own = 0 if threshold == -math.inf else 1
        taken = [own * len(mask) + int(mask.sum()) for mask in routed.to_super]
        assert found.calls == taken
        assert all(made <= routing.calls_for(each) for made, each in zip(taken, lists[1], strict=True))
    assert [routing.calls_for(each) for each in lists[1]] == [len(each) for each in lists[1]]  # at inf, the cheap one


def test_the_calls_of_a_search_are_those_that_were_made(swift, super_, tmp_path):
    with Collection.create(tmp_path / "c", encoder=None) as collection:
        collection.add(Document(f"d{n}", f"search {'engine ' * (1 + 5 * n)}") for n in range(6))
        query = "search engine"
        hits = collection.search(query, stages="bm25:6")
        given_ = candidates(*(hit.document.full_text for hit in hits))
        energies = np.sort(free_energy(swift.logits([query], [given_])[0]))
        routing = RoutingReranker(swift, super_, float(energies[2:4].mean()))
        *_, stage = collection.search(query, stages="bm25:6,m:6", rerankers={"m": routing}).stages
        assert (stage.documents, stage.calls) == (6, 6 + 3)


def test_a_line_puts_both_on_one_scale(swift, lists):
    """Where the expensive one says a line of the cheap one's log-odds, it does not matter who is asked."""
    slope, intercept = 0.25, 7.0

    def scores(query, texts):
        (logits,) = swift.logits([query], [candidates(*texts)])
        return slope * log_odds(logits) + intercept

    other = FunctionReranker(scores, "a line")
    line = fit_calibration(swift, other, *lists)
    assert line == pytest.approx((slope, intercept), rel=1e-5)
    threshold = float(np.median(free_energy(np.concatenate(swift.logits(*lists)))))
    found = RoutingReranker(swift, other, threshold, calibration=line).score_with_routes(*lists)
    assert 0 < found.share < 1
    np.testing.assert_allclose(np.concatenate(found.scores), np.concatenate(other.score(*lists)), atol=1e-3)


def test_scales_that_do_not_go_together_are_refused(swift, super_, lists):
    length = FunctionReranker(lambda _, texts: [len(text) for text in texts], "length")
    with pytest.raises(RerankerError, match="'length' shows no logits, so its scores are on a scale of their own"):
        RoutingReranker(swift, length, 0.0)
    with pytest.raises(RerankerError, match="'length' shows no logits to route by"):
        RoutingReranker(length, super_, 0.0)
    constant = FunctionReranker(lambda _, texts: [1.0] * len(texts), "constant")
    with pytest.raises(RerankerError, match="'constant' do not rise with those of"):
        fit_calibration(swift, constant, *lists)
    with pytest.raises(RerankerError, match="slope above 0"):
        RoutingReranker(swift, length, 0.0, calibration=Calibration(-1.0, 0.0))
    with pytest.raises(RerankerError, match="a threshold is a number"):
        RoutingReranker(swift, super_, math.nan)
    with pytest.raises(RerankerError, match="by energy or entropy, not by 'luck'"):
        RoutingReranker(swift, super_, 0.0, by="luck")  # type: ignore[arg-type]


def test_a_score_that_is_not_finite_is_named(swift, lists):
    broken = FunctionReranker(lambda _, texts: [math.nan] * len(texts), "broken")
    routing = RoutingReranker(swift, broken, -1e9, calibration=Calibration(1.0, 0.0))
    with pytest.raises(RerankerError, match="'broken' returned nan for document"):
        routing.score(*lists)


# -------------------------------------------------------------------------------------------------------------- queries


@given(hnp.arrays(np.float64, 6, elements=st.floats(0.1, 100)), st.floats(0.01, 100))
def test_flatness_knows_no_unit(scores, factor):
    ordered = np.sort(scores)[::-1]
    assert 0 <= flatness(ordered, 5) <= 1
    assert flatness(ordered * factor, 5) == pytest.approx(flatness(ordered, 5), rel=1e-6)


def test_flatness_by_hand():
    assert flatness(np.array([3.0, 3.0, 3.0]), 10) == 1
    assert flatness(np.array([3.0]), 10) == flatness(np.empty(0), 10) == 0
    assert flatness(np.array([3.0, 1.0, 0.0]), 2) == pytest.approx(2 / 3)  # mean 2, deviation 1


def test_queries_of_flat_lists_go_to_the_expensive_one(swift, super_, lists):
    queries, given = lists
    shaped = [
        Candidates(each.ids, each.texts, np.linspace(10, 10 - steep * len(each), len(each)))
        for each, steep in zip(given, (0.0, 0.0, 0.9, 0.0, 0.5), strict=True)
    ]
    routing = QueryRoutingReranker(swift, super_, 0.9)
    found = routing.score_with_routes(queries, shaped)
    assert [mask.all() and len(mask) > 0 for mask in found.to_super] == [True, False, False, False, False]
    np.testing.assert_allclose(found.scores[0], super_.score(queries, shaped)[0], atol=1e-5)
    np.testing.assert_allclose(found.scores[2], swift.score(queries, shaped)[2], atol=1e-5)
    shares = [
        QueryRoutingReranker(swift, super_, each).score_with_routes(queries, shaped).share for each in (0, 0.5, 0.8, 1)
    ]
    assert shares == sorted(shares, reverse=True)
    assert routing.calls(9) == 9


class Thrice(FunctionReranker):
    """Calls its model three times for each candidate."""

    def calls(self, n):
        return 3 * n


def test_the_calls_of_a_query_are_those_of_the_one_that_is_asked(swift, lists, tmp_path):
    queries, given = lists
    shaped = [
        Candidates(each.ids, each.texts, np.linspace(10, 10 - steep * len(each), len(each)))
        for each, steep in zip(given, (0.0, 0.0, 0.9, 0.0, 0.5), strict=True)
    ]
    dear = Thrice(lambda _, texts: [1.0] * len(texts), "dear")
    routing = QueryRoutingReranker(swift, dear, 0.9)
    assert routing.calls(8) == 24
    assert [routing.calls_for(each) for each in shaped] == [24, 0, 11, 1, 7]
    assert routing.score_with_calls(queries, shaped).calls == [24, 0, 11, 1, 7]
    with Collection.create(tmp_path / "c", encoder=None) as collection:
        collection.add(Document(f"d{n}", "owl " * (1 + n)) for n in range(5))
        for threshold, calls in ((1.0, 5), (0.0, 15)):
            rerankers = {"m": QueryRoutingReranker(swift, dear, threshold)}
            *_, stage = collection.search("owl", stages="bm25:5,m:5", rerankers=rerankers).stages
            assert stage.calls == calls


def test_the_ends_of_routing_queries(swift, super_, lists):
    same(QueryRoutingReranker(swift, super_, -math.inf).score(*lists), super_.score(*lists))
    same(QueryRoutingReranker(swift, super_, math.inf).score(*lists), swift.score(*lists))


# ---------------------------------------------------------------------------------------------------------------- both


def test_both_are_rerankers_that_say_who_they_are(swift, super_):
    import json

    for kind in (RoutingReranker, QueryRoutingReranker):
        one, other = kind(swift, super_, 0.5), kind(swift, super_, math.inf)
        assert isinstance(one, Reranker)
        assert one.identity() != other.identity()
        json.dumps([one.identity(), other.identity(), one.execution()], allow_nan=False)
        assert one.identity()["swift"] == swift.identity()
        assert one.name == f"{swift.name} or {super_.name}"


def test_parts_are_rerankers_or_functions(swift, super_, lists):
    def length(_query, texts):
        return [float(len(text)) for text in texts]

    queries, given = lists
    routing = QueryRoutingReranker(length, super_, math.inf)
    same(routing.score(queries, given), FunctionReranker(length).score(queries, given))
    assert routing.name == f"length or {super_.name}"
    line = RoutingReranker(swift, length, -math.inf, calibration=Calibration(1.0, 0.0))
    same(line.score(queries, given), FunctionReranker(length).score(queries, given))
    with pytest.raises(RerankerError, match="'length' shows no logits to route by"):
        RoutingReranker(length, super_, 0.0)
    for kind in (RoutingReranker, QueryRoutingReranker):
        with pytest.raises(
            RerankerError, match=r"the cheap reranker is neither .*: 'x'; load it once, with load_reran"
        ):
            kind("x", super_, 0.1)
        with pytest.raises(RerankerError, match=r"the expensive reranker is neither .*that is a class, give an object"):
            kind(swift, FunctionReranker, 0.1)
