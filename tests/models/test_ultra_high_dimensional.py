"""The ultra-high-dimensional module: what a text's vector is, alone and in a SparseEncoder."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_transformers import SparseEncoder

from indexes.sparse import SparseIndex, SparseIndexWriter, SparseSearcher, SparseSegment, SparseVectors
from retrieval.errors import EncoderError
from retrieval.models.ultra_high_dimensional.annealing import WinnerSchedule
from retrieval.models.ultra_high_dimensional.building import bucket_module, build_encoder, centre
from retrieval.models.ultra_high_dimensional.calibration import calibrate
from retrieval.models.ultra_high_dimensional.dead_dimensions import DimensionWatch
from retrieval.models.ultra_high_dimensional.settings import UltraHighDimensionalSettings
from tests.models.sparse_models import TEXTS, alone, features, tiny_encoder
from tests.retrieval.conftest import save_backbone


def vectors(module, hidden, lengths, task=None):
    with torch.no_grad():
        return module(features(hidden, lengths), task=task)["sentence_embedding"]


def oracle(module, text):
    """Return the vector of one text, (T, H) hidden states, token by token and bucket by bucket."""
    buckets = []
    for linear in module.linears:
        outputs = (text @ linear.weight.T + linear.bias).detach().numpy()
        best = np.zeros(outputs.shape[1], np.float32)
        for token in outputs:
            kept = np.argsort(-token, kind="stable")[: module.settings.k]
            best[kept] = np.maximum(best[kept], token[kept])
        buckets.append(best)
    return np.concatenate(buckets)


class TestVectors:
    def test_are_those_of_the_definition(self):
        module = alone(8, layers=(-1, -1), dimensions=(30, 50), k=4)
        hidden = torch.randn(3, 7, 8)
        lengths = [7, 3, 5]
        found = vectors(module, hidden, lengths)
        for text, length, vector in zip(hidden, lengths, found, strict=True):
            np.testing.assert_allclose(vector, oracle(module, text[:length]), atol=1e-5)

    @settings(max_examples=40, deadline=None)
    @given(st.integers(1, 6), st.integers(1, 8), st.integers(0, 1000))
    def test_have_between_k_and_k_times_tokens_active(self, tokens, k, seed):
        module = alone(6, dimensions=(40,), k=k)
        with torch.no_grad():
            module.linears[0].bias += 20  # so that no winner is negative
        hidden = torch.randn(1, tokens, 6, generator=torch.Generator().manual_seed(seed))
        active = int((vectors(module, hidden, [tokens]) > 0).sum())
        assert k <= active <= min(40, k * tokens)
        assert active == k or tokens > 1

    @settings(max_examples=40, deadline=None)
    @given(st.integers(1, 6), st.integers(0, 1000))
    def test_another_token_never_takes_a_dimension_away(self, tokens, seed):
        module = alone(6, dimensions=(40,), k=3)
        hidden = torch.randn(1, tokens + 1, 6, generator=torch.Generator().manual_seed(seed))
        fewer, more = vectors(module, hidden, [tokens])[0], vectors(module, hidden, [tokens + 1])[0]
        assert (more[fewer > 0] > 0).all()
        assert (more >= fewer - 1e-5).all()  # products of other shapes round in another way

    def test_buckets_are_disjoint_ranges_whose_scores_add_up(self):
        both = alone(8, layers=(-1, -1), dimensions=(30, 50), k=4)
        hidden = torch.randn(2, 5, 8)
        together = vectors(both, hidden, [5, 5])
        assert both.settings.offsets == (0, 30)
        parts = []
        for number, n in enumerate((30, 50)):
            one = alone(8, dimensions=(n,), k=4)
            one.linears[0].load_state_dict(both.linears[number].state_dict())
            parts.append(vectors(one, hidden, [5, 5]))
        torch.testing.assert_close(torch.cat(parts, dim=1), together)
        whole = float(together[0] @ together[1])
        assert whole == pytest.approx(sum(float(part[0] @ part[1]) for part in parts), rel=1e-5)

    def test_bucket_weights_count_on_the_query_side(self):
        plain = alone(8, layers=(-1, -1), dimensions=(30, 50), k=4)
        weighted = alone(8, layers=(-1, -1), dimensions=(30, 50), k=4, bucket_weights=(2.0, 0.5))
        weighted.load_state_dict(plain.state_dict())
        hidden = torch.randn(2, 5, 8)
        query = vectors(weighted, hidden[:1], [5], "query")[0]
        passage = vectors(weighted, hidden[1:], [5], "document")[0]
        torch.testing.assert_close(passage, vectors(plain, hidden[1:], [5])[0])
        q, d = vectors(plain, hidden, [5, 5])
        expected = 2.0 * float(q[:30] @ d[:30]) + 0.5 * float(q[30:] @ d[30:])
        assert float(query @ passage) == pytest.approx(expected, rel=1e-5)

    def test_binary_ones_are_the_active_dimensions_outside_of_training(self):
        module = alone(8, dimensions=(50,), k=4, binarise=True)
        hidden = torch.randn(2, 5, 8)
        weighted = vectors(module.train(), hidden, [5, 5])
        binary = vectors(module.eval(), hidden, [5, 5])
        assert set(binary.unique().tolist()) == {0.0, 1.0}
        assert torch.equal(binary > 0, weighted > 0)
        assert (weighted[weighted > 0] != 1).all()

    def test_caps_are_of_queries_and_of_passages(self):
        module = alone(8, dimensions=(50,), k=4, query_cap=2, passage_cap=5)
        hidden = torch.randn(2, 9, 8)
        assert (vectors(module, hidden, [9, 9], "query") > 0).sum(1).tolist() == [2, 2]
        capped = vectors(module, hidden, [9, 9], "document")
        assert (capped > 0).sum(1).tolist() == [5, 5]
        free = vectors(alone(8, dimensions=(50,), k=4), hidden, [9, 9])
        assert set(capped[0][capped[0] > 0].tolist()) == set(free[0].topk(5).values.tolist())

    def test_texts_without_padding_between_them(self):
        module = alone(8, dimensions=(50,), k=4)
        hidden = torch.randn(2, 5, 8)
        flat = {
            "token_embeddings": torch.cat([hidden[0, :3], hidden[1]])[None],
            "input_ids": torch.ones(1, 8, dtype=torch.int64),
            "cu_seq_lens_q": torch.tensor([0, 3, 8], dtype=torch.int32),
        }
        torch.testing.assert_close(module(flat)["sentence_embedding"], vectors(module, hidden, [3, 5]))


class TestReductions:
    """Section 1.5, check 6 of the design: what it must become in the limit."""

    def test_one_hot_tokens_give_the_boolean_bag_of_words(self):
        n_words = 12
        module = alone(n_words, dimensions=(n_words,), k=1, binarise=True)
        with torch.no_grad():
            module.linears[0].weight.copy_(torch.eye(n_words))
            module.linears[0].bias.zero_()
        texts = [[1, 4, 4, 7], [4, 7, 2, 9], [5, 5, 5, 5]]
        hidden = torch.nn.functional.one_hot(torch.tensor(texts), n_words).float()
        found = vectors(module.eval(), hidden, [4, 4, 4])
        for i, one in enumerate(texts):
            for j, other in enumerate(texts):
                assert int(found[i] @ found[j]) == len(set(one) & set(other))

    def test_the_head_of_a_language_model_gives_its_best_terms(self, tmp_path):
        from transformers import BertForMaskedLM, BertTokenizerFast

        folder = save_backbone(tmp_path / "bert", seed=0)
        model = BertForMaskedLM.from_pretrained(folder).eval()
        head = model.cls.predictions
        inputs = BertTokenizerFast.from_pretrained(folder)(
            ["the search engine", "a word"], return_tensors="pt", padding=True
        )
        module = alone(32, special_ids=(0, 2, 3), dimensions=(model.config.vocab_size,), k=6)
        module.linears[0].weight, module.linears[0].bias = head.decoder.weight, head.decoder.bias
        with torch.no_grad():
            hidden = head.transform(model.bert(**inputs).last_hidden_state)
            logits = model(**inputs).logits  # (batch, T, vocabulary)
            found = module({**inputs, "token_embeddings": hidden})["sentence_embedding"]
        for vector, token_logits, ids in zip(found, logits, inputs["input_ids"], strict=True):
            expected = torch.zeros(model.config.vocab_size)
            for scores in token_logits[(ids != 0) & (ids != 2) & (ids != 3)]:
                kept = scores.topk(6)
                expected[kept.indices] = torch.maximum(expected[kept.indices], kept.values.relu())
            torch.testing.assert_close(vector, expected)


class TestInAModel:
    def test_padding_company_and_special_tokens_change_nothing(self, tmp_path):
        model = tiny_encoder(tmp_path)
        together = model.encode(TEXTS, convert_to_sparse_tensor=False)
        for text, vector in zip(TEXTS, together, strict=True):
            lone = model.encode([text], convert_to_sparse_tensor=False, batch_size=1)[0]
            torch.testing.assert_close(lone, vector, atol=1e-5, rtol=1e-5)
            assert torch.equal(lone > 0, vector > 0)
        assert (together[TEXTS.index("")] == 0).all(), "nothing but special tokens"
        tokens = model.preprocess(["word"])
        assert tokens["input_ids"].tolist()[0][0] == 2
        assert bucket_module(model).counted_tokens(tokens)[1].tolist() == [False, True, False]

    def test_a_word_that_is_not_known_counts(self, tmp_path):
        model = tiny_encoder(tmp_path)
        assert (model.encode(["☃"], convert_to_sparse_tensor=False) > 0).any()

    def test_it_reads_the_layers_that_are_asked_for(self, tmp_path):
        model = tiny_encoder(tmp_path, layers=(0, 1, -1), dimensions=(30, 40, 50))
        module, inputs = bucket_module(model), model.preprocess(TEXTS[:3])
        hidden = (
            model[0]
            .model(
                **{name: inputs[name] for name in ("input_ids", "attention_mask", "token_type_ids")},
                output_hidden_states=True,
            )
            .hidden_states
        )
        found = model.encode(TEXTS[:3], convert_to_sparse_tensor=False)
        for row in range(3):
            kept = inputs["attention_mask"][row].bool() & ~torch.isin(inputs["input_ids"][row], torch.tensor([2, 3]))
            expected = [
                oracle(one, layer[row][kept])
                for one, layer in zip(_single_buckets(module), (hidden[0], hidden[1], hidden[-1]), strict=True)
            ]
            np.testing.assert_allclose(found[row], np.concatenate(expected), atol=1e-5)

    def test_saved_and_loaded_it_is_the_same(self, tmp_path):
        model = tiny_encoder(
            tmp_path, query_cap=3, passage_cap=9, bucket_weights=(1.0, 2.0), binarise=True, largest_weight=2.5
        )
        bucket_module(model).set_k(3)
        model.save_pretrained(str(tmp_path / "saved"), create_model_card=False)
        modules = json.loads((tmp_path / "saved" / "modules.json").read_text())
        assert modules[1]["type"] == "retrieval.models.ultra_high_dimensional.module.UltraHighDimensional"
        # The library asks for consent before it imports a class that is not its own, even one that is installed.
        again = SparseEncoder(str(tmp_path / "saved"), device="cpu", local_files_only=True, trust_remote_code=True)
        assert bucket_module(again).settings == bucket_module(model).settings
        assert bucket_module(again).settings.k == 3
        for encode in ("encode_query", "encode_document"):
            found, expected = (getattr(one, encode)(TEXTS, convert_to_sparse_tensor=False) for one in (again, model))
            assert torch.equal(found, expected)

    def test_damaged_files_are_refused(self, tmp_path):
        from safetensors.torch import load_file, save_file

        tiny_encoder(tmp_path).save_pretrained(str(tmp_path / "saved"), create_model_card=False)
        (folder,) = (tmp_path / "saved").glob("1_*")
        weights = load_file(folder / "model.safetensors")
        save_file({"strange": weights["buckets.0.bias"].clone(), **weights}, folder / "model.safetensors")
        with pytest.raises(RuntimeError, match="strange"):
            type(bucket_module(tiny_encoder(tmp_path / "other"))).load(str(folder))
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "colour": "red"}))
        with pytest.raises(EncoderError, match=r"'colour'.*hidden_size, layers"):
            type(bucket_module(tiny_encoder(tmp_path / "third"))).load(str(folder))

    def test_without_a_model_it_says_what_is_missing(self):
        module = alone(8, dimensions=(20,), k=2)
        hidden = torch.randn(1, 3, 8)
        module.special_ids = None
        with pytest.raises(EncoderError, match="on_model_ready"):
            vectors(module, hidden, [3])
        with pytest.raises(EncoderError, match="asks for layer 1"):
            vectors(alone(8, layers=(1,), dimensions=(20,), k=2), hidden, [3])
        with pytest.raises(EncoderError, match="9 components, this module reads 8"):
            vectors(alone(8, dimensions=(20,), k=2), torch.randn(1, 3, 9), [3])

    def test_a_layer_that_is_not_there(self, tmp_path):
        with pytest.raises(EncoderError, match="layer 5 of a transformer with 2 layers"):
            tiny_encoder(tmp_path, layers=(5,), dimensions=(20,)).encode(["word"])


def _single_buckets(module):
    for linear in module.linears:
        one = alone(module.settings.hidden_size, dimensions=(linear.out_features,), k=module.settings.k)
        one.linears[0].load_state_dict(linear.state_dict())
        yield one


class TestInTheIndex:
    def test_scores_are_those_of_brute_force(self, tmp_path):
        """Weighted vectors of a model: dot products with its impacts; binary ones: intersections."""
        module = alone(16, dimensions=(500,), k=8)
        hidden = torch.randn(300, 6, 16)
        passages = vectors(module, hidden, [6] * 300).numpy()
        queries = vectors(module, torch.randn(20, 3, 16), [3] * 20).numpy()
        impacts = np.rint(255 * np.minimum(passages / 4, 1)).clip(1) * (passages > 0)
        for payload, stored in (("impacts", impacts), ("binary", passages > 0)):
            found = index_scores(tmp_path / payload, payload, stored, queries if payload == "impacts" else queries > 0)
            expected = (queries if payload == "impacts" else queries > 0).astype(np.float64) @ stored.T.astype(
                np.float64
            )
            np.testing.assert_allclose(found, expected, rtol=1e-9)

    def test_overlaps_of_random_codes_follow_the_hypergeometric_law(self, tmp_path):
        """E = ab/n and Var = a (b/n)(1 - b/n)(n - a)/(n - 1): how little random codes interfere."""
        generator = np.random.default_rng(0)
        n, a, b, n_documents, n_queries = 4096, 40, 200, 2000, 50
        documents = np.zeros((n_documents, n), bool)
        for row in documents:
            row[generator.choice(n, b, replace=False)] = True
        queries = np.zeros((n_queries, n), bool)
        for row in queries:
            row[generator.choice(n, a, replace=False)] = True
        overlaps = index_scores(tmp_path / "codes", "binary", documents, queries)
        mean, variance = a * b / n, a * (b / n) * (1 - b / n) * (n - a) / (n - 1)
        standard_error = math.sqrt(variance / overlaps.size)
        assert abs(overlaps.mean() - mean) < 5 * standard_error
        assert overlaps.var() == pytest.approx(variance, rel=0.03)

    def test_more_winners_touch_more_postings(self):
        module = alone(16, dimensions=(500,), k=1)
        hidden, asked = torch.randn(200, 6, 16), torch.randn(10, 3, 16)
        touched = []
        for k in (1, 2, 4, 8, 16, 32):
            module.set_k(k)
            frequencies = (vectors(module, hidden, [6] * 200) > 0).sum(0)
            touched.append(int(frequencies @ (vectors(module, asked, [3] * 10) > 0).sum(0)))
        assert touched == sorted(set(touched))


def csr(matrix):
    """Return the rows of a matrix as sparse vectors."""
    rows, dimensions = np.nonzero(matrix)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(matrix)))])
    weights = None if matrix.dtype == bool else matrix[rows, dimensions]
    return SparseVectors(offsets.astype(np.int64), dimensions.astype(np.int32), weights)


def index_scores(folder, payload, documents, queries):
    """Return the scores of all pairs as the inverted index finds them, (queries, documents); 0 for no match."""
    folder.mkdir()
    with SparseIndexWriter(folder, payload) as writer:
        writer.add_many(csr(documents))
    searcher = SparseSearcher([SparseSegment(SparseIndex.open(folder), None, np.arange(len(documents)))])
    scores = np.zeros((len(queries), len(documents)))
    for row, hits in enumerate(searcher.search_many(csr(queries), len(documents))):
        scores[row, hits.rows] = hits.scores
    return scores


class TestSettings:
    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ({"k": 0}, "between 1 and 20"),
            ({"k": 21}, "between 1 and 20, the dimensions of the smallest bucket, not 21"),
            ({"layers": (1, 2)}, "needs a layer and a number of dimensions"),
            ({"layers": (), "dimensions": ()}, "needs a layer"),
            ({"dimensions": (0,)}, "at least one dimension"),
            ({"query_cap": 0}, "query_cap must be at least 1"),
            ({"bucket_weights": (1.0, 2.0)}, "1 positive numbers"),
            ({"bucket_weights": (0.0,)}, "positive"),
            ({"largest_weight": math.inf}, "largest_weight"),
            ({"hidden_size": 0}, "hidden_size"),
        ],
        ids=str,
    )
    def test_that_make_no_sense(self, wrong, message):
        with pytest.raises(EncoderError, match=message):
            UltraHighDimensionalSettings(**{"hidden_size": 8, "dimensions": (20,), "k": 2, **wrong})

    def test_survive_json(self):
        chosen = UltraHighDimensionalSettings(8, (1, 2), (20, 30), 3, bucket_weights=(1.0, 2.0))
        stored = json.loads(json.dumps(chosen.as_mapping()))
        assert UltraHighDimensionalSettings.from_mapping(stored) == chosen
        assert chosen.n_dimensions == 50

    def test_k_cannot_be_set_beyond_a_bucket(self):
        module = alone(8, dimensions=(20,), k=2)
        with pytest.raises(EncoderError, match="not 21"):
            module.set_k(21)
        assert module.settings.k == 2

    def test_unknown_ones_are_named(self, tmp_path):
        with pytest.raises(EncoderError, match="'winners'"):
            build_encoder(save_backbone(tmp_path / "b", seed=0), winners=3)


class TestSchedule:
    def test_halves_at_equal_distances_and_stays(self):
        schedule = WinnerSchedule(512, 32, 100)
        assert [schedule.k(step) for step in (0, 25, 50, 75, 100, 1000)] == [512, 256, 128, 64, 32, 32]
        assert WinnerSchedule(8, 8, 10).k(5) == 8
        assert WinnerSchedule(8, 4, 0).k(0) == 4

    @given(st.integers(1, 500), st.integers(1, 500), st.integers(0, 50))
    def test_never_rises_and_never_leaves_its_ends(self, one, other, steps):
        schedule = WinnerSchedule(max(one, other), min(one, other), steps)
        ks = [schedule.k(step) for step in range(steps + 2)]
        assert ks == sorted(ks, reverse=True)
        assert ks[-1] == schedule.last
        assert ks[0] == (schedule.first if steps else schedule.last)

    @pytest.mark.parametrize("wrong", [(4, 8, 10), (4, 0, 10), (4, 2, -1)])
    def test_that_make_no_sense(self, wrong):
        with pytest.raises(EncoderError):
            WinnerSchedule(*wrong)


class TestDeadDimensions:
    def test_are_those_that_never_win(self):
        watch = DimensionWatch((2, 3))
        watch.update(torch.tensor([[1.0, 0.0, 0.0, 2.0, 0.0], [0.5, 0.0, 0.0, 0.0, 0.0]]))
        watch.update(torch.tensor([[0.0, 0.0, 0.0, 3.0, 0.0]]))
        assert watch.counts.tolist() == [2, 0, 0, 2, 0]
        assert watch.dead().tolist() == [1, 2, 4]
        use = watch.report()
        assert (use.n_texts, use.dead_share) == (3, 3 / 5)
        first, second = use.buckets
        assert (first.n_dead, first.mean_active, first.busiest) == (1, 2 / 3, 2 / 3)
        assert (second.n_dimensions, second.n_dead, second.effective) == (3, 2, pytest.approx(1.0))
        assert use.summary().startswith("3 texts; bucket 0: 1 of 2 dimensions dead")
        watch.reset()
        assert watch.report().dead_share == 1

    def test_evenly_used_dimensions_are_all_effective(self):
        watch = DimensionWatch((4,))
        watch.update(torch.eye(4))
        assert watch.report().buckets[0].effective == pytest.approx(4.0)

    def test_a_watched_module_is_counted_until_the_handle_is_removed(self):
        module = alone(8, dimensions=(50,), k=4)
        watch, handle = DimensionWatch.on(module)
        hidden = torch.randn(3, 5, 8)
        found = vectors(module, hidden, [5, 5, 5])
        handle.remove()
        vectors(module, hidden, [5, 5, 5])
        assert watch.n_texts == 3
        assert torch.equal(watch.counts, (found > 0).sum(0))

    def test_other_activations_are_refused(self):
        with pytest.raises(EncoderError, match="3 dimensions, not 2"):
            DimensionWatch((2,)).update(torch.ones(1, 3))


def test_centring_brings_more_dimensions_to_life(tmp_path):
    model = tiny_encoder(tmp_path, layers=(-1,), dimensions=(400,), k=2)
    with torch.no_grad():  # what hidden states of trained models have in common
        model[0].model.encoder.layer[1].output.LayerNorm.bias += 3
    watched = []
    for _ in range(2):
        watch, handle = DimensionWatch.on(bucket_module(model))
        model.encode([text for text in TEXTS if text])
        handle.remove()
        watched.append(watch.report().dead_share)
        centre(model, TEXTS)
    assert watched[1] < watched[0] - 0.02
    with pytest.raises(EncoderError, match="none of 1 texts"):
        centre(model, [""])


def test_calibration_measures_the_quantile_of_activations(tmp_path):
    model = tiny_encoder(tmp_path, binarise=True)
    model.eval()
    bucket_module(model).train()  # where it does not binarise
    weighted = model(model.preprocess(TEXTS))["sentence_embedding"]
    activations = np.sort(weighted[weighted > 0].detach().numpy())
    assert calibrate(model, TEXTS, quantile=1.0) == pytest.approx(float(activations[-1]), rel=1e-3)
    middle = calibrate(model, TEXTS, quantile=0.5)
    assert activations[int(0.4 * len(activations))] < middle < activations[int(0.6 * len(activations))]
    assert bucket_module(model).settings.largest_weight == middle
    assert bucket_module(model).settings.binarise
    with pytest.raises(EncoderError, match="none of 1 passages"):
        calibrate(model, [""])
    with pytest.raises(EncoderError, match="quantile"):
        calibrate(model, TEXTS, quantile=0)
