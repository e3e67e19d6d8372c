"""Sparse encoders beside the library's own encode, and what their identity depends on."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sentence_transformers import SparseEncoder as SparseModel

from indexes.sparse_vectors import SparseVectors
from retrieval.encoders import (
    SparseEncoder,
    SparseFunctionEncoder,
    fingerprint,
    load_encoder,
    load_sparse_encoder,
    reload_sparse_encoder,
)
from retrieval.encoders.model_inputs import TokenizedInputs
from retrieval.encoders.sparse import check_sparse
from retrieval.encoders.sparse_transformer import SparseTransformerEncoder
from retrieval.errors import EncoderError

pytestmark = pytest.mark.usefixtures("own_cache")

TEXTS = [
    "the search engine",
    "",
    "   ",
    "Searching, and the RETRIEVAL of documents: a (long) query with more words than the model reads, and so on and on.",
    "検索 日本語 x",
    "a",
    "the search engine",
]
VARIANTS = [
    ("splade", {}),
    ("splade", {"pooling": "sum", "prompts": {"query": "query ", "document": "document "}}),
    ("splade", {"max_active_dims": 5}),
    ("buckets", {}),
    ("buckets", {"query_cap": 3, "passage_cap": 9, "bucket_weights": (2.0, 0.5)}),
    ("buckets", {"binarise": True, "prompts": {"query": "query "}}),
]


def peer_of(folder) -> SparseModel:
    return SparseModel(str(folder), device="cpu", local_files_only=True, trust_remote_code=True)


def matrix(vectors: SparseVectors, n: int) -> np.ndarray:
    dense = np.zeros((len(vectors), n), np.float32)
    rows = np.repeat(np.arange(len(vectors)), np.diff(vectors.offsets))
    dense[rows, vectors.dimensions] = 1 if vectors.weights is None else vectors.weights
    return dense


@pytest.fixture(scope="module")
def plain(sparse_model):
    return load_sparse_encoder(sparse_model("buckets"), batch_tokens=64)


class TestVectors:
    @pytest.mark.parametrize(("kind", "changes"), VARIANTS, ids=str)
    def test_are_those_of_the_library(self, sparse_model, kind, changes):
        folder = sparse_model(kind, **changes)
        encoder, peer = load_sparse_encoder(folder, batch_tokens=48), peer_of(folder)
        assert isinstance(encoder, SparseEncoder)
        assert isinstance(encoder._inputs, TokenizedInputs)
        for mine, theirs in (("encode_queries", "encode_query"), ("encode_passages", "encode_document")):
            found = getattr(encoder, mine)(TEXTS)
            expected = getattr(peer, theirs)(TEXTS, convert_to_sparse_tensor=False).numpy()
            np.testing.assert_allclose(matrix(found, encoder.n_dimensions), expected, atol=1e-5)
            assert found.checked() is found
            assert found.weights is None or (found.weights > 0).all()
        assert encoder.n_dimensions == expected.shape[1]
        assert encoder.weighted == (not changes.get("binarise", False))
        assert (encoder.encode_passages(TEXTS).weights is None) == (not encoder.weighted)

    @settings(max_examples=20, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.sampled_from(range(len(TEXTS))), max_size=12))
    def test_do_not_depend_on_company_or_order(self, plain, rows):
        alone = matrix(plain.encode_passages(TEXTS), plain.n_dimensions)
        together = matrix(plain.encode_passages([TEXTS[row] for row in rows]), plain.n_dimensions)
        np.testing.assert_allclose(together, alone[rows].reshape(together.shape), atol=1e-5)

    def test_a_batch_of_many_dimensions_is_cut_into_pieces(self, sparse_model, monkeypatch):
        encoder = load_sparse_encoder(sparse_model("buckets"))
        expected = matrix(encoder.encode_passages(TEXTS), encoder.n_dimensions)
        monkeypatch.setattr("retrieval.encoders.sparse_transformer._DENSE_NUMBERS", 2 * encoder.n_dimensions)
        np.testing.assert_allclose(matrix(encoder.encode_passages(TEXTS), encoder.n_dimensions), expected, atol=1e-5)

    @pytest.mark.parametrize("kind", ["splade", "buckets"])
    def test_equal_texts_are_encoded_once_and_tie_exactly(self, sparse_model, kind, caplog):
        encoder = load_sparse_encoder(sparse_model(kind), batch_tokens=4096)
        texts = [*TEXTS, *reversed(TEXTS)]
        alone = encoder.encode_queries(list(dict.fromkeys(texts)))
        seen, vectors = [], encoder._vectors

        def short(prepared, rows, task):
            if len(rows) > 3:
                raise RuntimeError("not enough memory")
            seen.append(len(rows))
            return vectors(prepared, rows, task)

        encoder._vectors = short
        found = encoder.encode_queries(texts)
        assert sum(seen) == len(set(texts)) < len(texts) == len(found)
        assert "run again in halves" in caplog.text
        of_text = {}
        for number, text in enumerate(texts):
            row = slice(found.offsets[number], found.offsets[number + 1])
            bits = found.dimensions[row].tobytes() + found.weights[row].tobytes()
            assert of_text.setdefault(text, bits) == bits
        of_last = slice(found.offsets[len(TEXTS)], None)
        last = list(dict.fromkeys(texts)).index(texts[-1])
        expected = alone.weights[alone.offsets[last] : alone.offsets[last + 1]]
        np.testing.assert_allclose(
            found.weights[of_last][-len(expected) :] if len(expected) else [], expected, atol=1e-5
        )

    def test_nothing_to_encode(self, plain):
        assert len(plain.encode_queries([])) == 0

    @pytest.mark.parametrize("binarise", [False, True])
    def test_weights_that_are_no_numbers_are_refused(self, sparse_model, binarise):
        model = peer_of(sparse_model("buckets", binarise=binarise))
        with torch.no_grad():
            model[1].buckets[0].bias.fill_(float("nan"))
        model[1].eval()
        with pytest.raises(EncoderError, match="finite"):
            SparseTransformerEncoder(model).encode_passages(["the"])

    def test_counts_and_spans_are_the_tokenizers(self, sparse_model, plain):
        tokenizer = peer_of(sparse_model("buckets")).tokenizer
        expected = [len(tokenizer(text, truncation=False)["input_ids"]) for text in TEXTS]
        assert plain.count_tokens(TEXTS).tolist() == expected
        assert [len(spans) for spans in plain.token_spans(TEXTS)] == [count - 2 for count in expected]
        assert plain.max_tokens == 24

    def test_closed_is_closed(self, sparse_model):
        encoder = load_sparse_encoder(sparse_model("buckets"))
        encoder.close()
        with pytest.raises(EncoderError, match="closed"):
            encoder.encode_queries(["a"])


class TestIdentity:
    def test_is_json_and_names_no_path(self, sparse_model, plain):
        assert json.loads(json.dumps(plain.identity())) == plain.identity()
        assert str(sparse_model("buckets").parent) not in json.dumps(plain.identity())
        assert plain.execution()["precision"] == "fp32"

    @pytest.mark.parametrize("kind", ["splade", "buckets"])
    def test_does_not_change_with_the_path_or_the_way_it_came(self, sparse_model, kind, tmp_path):
        folder = sparse_model(kind)
        moved = shutil.copytree(folder, tmp_path / "elsewhere")
        peer = peer_of(folder)
        fresh = load_sparse_encoder(peer_of(folder)).identity()
        peer.encode(["a"])  # after which SPLADE's pooling knows its dimension
        peer.save_pretrained(str(tmp_path / "again"), create_model_card=False)
        others = [load_sparse_encoder(place).identity() for place in (folder, moved, tmp_path / "again", peer)]
        assert {fingerprint(identity) for identity in others} == {fingerprint(fresh)}

    @pytest.mark.parametrize(
        "changes",
        [{"k": 5}, {"layers": (0, 2)}, {"passage_cap": 3}, {"query_cap": 3}, {"binarise": True}, {"seed": 1},
         {"bucket_weights": (1.0, 2.0)}, {"dimensions": (60, 40)}, {"prompts": {"query": "q"}}, {"max_tokens": 23}],
        ids=str,
    )  # fmt: skip
    def test_changes_with_what_decides_the_vectors(self, sparse_model, plain, changes):
        if "max_tokens" in changes:
            other = load_sparse_encoder(sparse_model("buckets"), **changes)
        else:
            other = load_sparse_encoder(sparse_model("buckets", **changes))
        assert other.identity() != plain.identity()

    def test_reloading_brings_the_settings_back(self, sparse_model):
        prompts = {"query": "query ", "document": "document "}
        encoder = load_sparse_encoder(sparse_model("splade"), max_tokens=12, prompts=prompts)
        again = reload_sparse_encoder(encoder.source, encoder.identity())
        assert again.identity() == encoder.identity()
        np.testing.assert_array_equal(again.encode_queries(TEXTS).weights, encoder.encode_queries(TEXTS).weights)

    def test_calibration_is_passed_on(self, sparse_model, plain):
        assert load_sparse_encoder(sparse_model("buckets", largest_weight=2.5)).largest_weight == 2.5
        assert plain.largest_weight is None


class TestLoading:
    def test_a_dense_model_is_refused_and_a_sparse_one_where_dense_is_wanted(self, sparse_model, tmp_path):
        from tests.retrieval.conftest import DEFAULTS, save_model

        with pytest.raises(EncoderError, match="not a sparse encoder; load it with load_encoder"):
            load_sparse_encoder(save_model(tmp_path, DEFAULTS))
        for kind in ("splade", "buckets"):
            with pytest.raises(EncoderError, match="load_sparse_encoder"):
                load_encoder(sparse_model(kind))

    def test_a_language_model_alone_is_splade(self, sparse_model):
        folder = sparse_model("splade").parent / "mlm"
        encoder, peer = load_sparse_encoder(folder), SparseModel(str(folder), device="cpu")
        expected = peer.encode(TEXTS, convert_to_sparse_tensor=False).numpy()
        np.testing.assert_allclose(matrix(encoder.encode_passages(TEXTS), encoder.n_dimensions), expected, atol=1e-5)

    def test_code_of_others_is_not_run(self, sparse_model, tmp_path):
        folder = shutil.copytree(sparse_model("buckets"), tmp_path / "model")
        modules = json.loads((folder / "modules.json").read_text())
        ours = modules[1]["type"]
        (folder / "strange.py").write_text("raise SystemExit('it ran')")
        for name, message in [
            ("strange.Module", "not part of Sentence Transformers"),
            ("retrieval.models.nothing.Module", "needs the module retrieval.models.nothing.Module"),
            ("retrieval.models.ultra_high_dimensional.module.check_k", "needs the module"),
        ]:
            (folder / "modules.json").write_text(json.dumps([modules[0], {**modules[1], "type": name}]))
            with pytest.raises(EncoderError, match=message):
                load_sparse_encoder(folder)
        (folder / "modules.json").write_text(json.dumps([modules[0], {**modules[1], "type": ours}]))
        assert load_sparse_encoder(folder).n_dimensions == 100

    def test_damaged_descriptions(self, sparse_model, tmp_path):
        folder = shutil.copytree(sparse_model("buckets"), tmp_path / "model")
        (folder / "config_sentence_transformers.json").write_text("[]")
        with pytest.raises(EncoderError, match=r"config_sentence_transformers\.json holds"):
            load_sparse_encoder(folder)

    @pytest.mark.parametrize("architectures", [5, None, "BertForMaskedLM", [3]])
    def test_architectures_that_are_none(self, tmp_path, architectures):
        (tmp_path / "config.json").write_text(json.dumps({"architectures": architectures}))
        with pytest.raises(EncoderError, match="not a sparse encoder"):
            load_sparse_encoder(tmp_path)

    @pytest.mark.parametrize("wrong", [3, SparseFunctionEncoder, None])
    def test_what_is_no_encoder(self, wrong):
        with pytest.raises(EncoderError, match="not a sparse encoder"):
            load_sparse_encoder(wrong)

    def test_settings_that_do_not_fit(self, sparse_model, plain):
        with pytest.raises(EncoderError, match="unknown encoder setting 'colour'"):
            load_sparse_encoder(sparse_model("splade"), colour=1)
        with pytest.raises(EncoderError, match="loaded already"):
            load_sparse_encoder(plain, device="cpu")
        cosine = peer_of(sparse_model("splade"))
        cosine.similarity_fn_name = "cosine"
        with pytest.raises(EncoderError, match="'cosine'"):
            load_sparse_encoder(cosine)


def words(texts):
    return [{len(word): float(text.split().count(word)) for word in text.split()} for text in texts]


class TestFunction:
    def test_gives_what_the_function_says(self):
        encoder = SparseFunctionEncoder(words, "words", 1, n_dimensions=10)
        found = encoder.encode_passages(["a bb bb", "", "ccc"])
        assert found.offsets.tolist() == [0, 2, 2, 3]
        assert found.dimensions.tolist() == [1, 2, 3]
        assert found.weights.tolist() == [1.0, 2.0, 1.0]
        assert load_sparse_encoder(encoder) is encoder
        assert encoder.count_tokens(["a bb."]).tolist() == [3]
        assert len(encoder.encode_queries([])) == 0

    def test_zeros_are_no_entries_and_binary_has_no_weights(self):
        encoder = SparseFunctionEncoder(
            lambda texts: [{3: 0.0, 1: 2.0}] * len(texts), "z", 1, n_dimensions=4, weighted=False
        )
        found = encoder.encode_passages(["x", "y"])
        assert (found.dimensions.tolist(), found.offsets.tolist(), found.weights) == ([1, 1], [0, 1, 2], None)
        assert encoder.encode_queries(["x"]).weights.tolist() == [2.0]
        assert encoder.identity()["weighted"] is False

    @pytest.mark.parametrize(
        ("mapping", "message"),
        [({4: 1.0}, "dimension 4, it has 4"), ({-1: 1.0}, "not in order"), ({1: -1.0}, "not negative"),
         ({1: float("nan")}, "finite")],
        ids=str,
    )  # fmt: skip
    def test_what_is_wrong_is_refused(self, mapping, message):
        encoder = SparseFunctionEncoder(lambda texts: [mapping] * len(texts), "wrong", 1, n_dimensions=4)
        with pytest.raises(EncoderError, match=message):
            encoder.encode_passages(["x"])

    def test_too_few_vectors_or_none(self):
        encoder = SparseFunctionEncoder(lambda _: [{1: 1.0}], "few", 1, n_dimensions=4)
        with pytest.raises(EncoderError, match="1 vectors for 2 texts"):
            encoder.encode_passages(["x", "y"])
        with pytest.raises(EncoderError, match="returned list"):
            check_sparse([], 0, 4, "'x'", weighted=None)
        with pytest.raises(EncoderError, match="without weights"):
            empty = SparseVectors(np.zeros(1, np.int64), np.empty(0, np.int32))
            check_sparse(empty, 0, 4, "'x'", weighted=True)

    @pytest.mark.parametrize("wrong", [{"name": ""}, {"version": ""}, {"n_dimensions": 0}, {"max_tokens": 0}])
    def test_settings_that_make_no_sense(self, wrong):
        with pytest.raises(EncoderError):
            SparseFunctionEncoder(words, **{"name": "a", "version": 1, "n_dimensions": 3, **wrong})
