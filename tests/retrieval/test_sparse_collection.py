"""Sparse vectors in a collection: what its promises mean for them, case by case."""

from __future__ import annotations

import json
import re
import threading

import numpy as np
import pytest

from indexes.errors import CorruptIndexError
from indexes.file_operations import watch
from indexes.sparse_vectors import SparseVectors
from retrieval import Collection, Document, Fusion
from retrieval.chunking import ChunkSettings
from retrieval.encoders import SparseFunctionEncoder
from retrieval.errors import CollectionError, DocumentError, EncoderError, EncoderMismatchError, QueryError
from tests.retrieval.collection_oracle import WORDS, sparse_encoder, sparse_score
from tests.torture import crafted_index

TEXTS = {
    "a": "owl night owl",
    "b": "fly winter",
    "c": "owl",
    "d": "swim song nest egg",
    "e": "night fly",
    "f": "owl night owl",
}
DOCUMENTS = [Document(name, text, metadata={"n": number}) for number, (name, text) in enumerate(TEXTS.items())]


def found(results):
    return [(hit.id, hit.score) for hit in results]


def counting(kind="weighted", **settings):
    """Return the encoder of a kind and the list of texts that it has been given as passages."""
    inner, seen = sparse_encoder(kind), []

    class Counting(SparseFunctionEncoder):
        def encode_passages(self, texts):
            seen.extend(texts)
            return inner.encode_passages(texts)

    encoder = Counting(
        lambda texts: [],
        "counting",
        1,
        n_dimensions=inner.n_dimensions,
        weighted=inner.weighted,
        largest_weight=inner.largest_weight,
        max_tokens=inner.max_tokens,
        query_function=lambda texts: [
            dict(zip(row.dimensions.tolist(), row.weights.tolist(), strict=True))
            for row in (inner.encode_queries([text]) for text in texts)
        ],
    )
    return encoder, seen


@pytest.fixture(params=["weighted", "binary"])
def kind(request):
    return request.param


@pytest.fixture
def collection(tmp_path, kind):
    collection = Collection.create(tmp_path / "c", encoder=None, sparse=sparse_encoder(kind))
    collection.add(DOCUMENTS[:4])
    collection.add(DOCUMENTS[4:])
    return collection


class TestSearch:
    def test_scores_are_those_of_brute_force_and_ties_keep_the_order_of_the_texts(self, collection, kind):
        for query in ("owl night", "owl", "egg fly winter", "zebra"):
            expected = {name: sparse_score(query, text, kind) for name, text in TEXTS.items()}
            best = sorted((name for name in expected if expected[name] > 0), key=lambda name: -expected[name])
            hits = collection.search(query, 20, mode="sparse")
            assert hits.ids == best
            assert hits.scores.tolist() == pytest.approx([expected[name] for name in best], rel=1e-9)
            assert hits.mode == "sparse"
            assert found(collection.search(query, 2, mode="sparse")) == found(hits)[:2]

    def test_binary_scores_without_weights_count_shared_dimensions(self, tmp_path):
        encoder = SparseFunctionEncoder(
            lambda texts: [{WORDS.index(word): 1.0 for word in text.split()} for text in texts],
            "set", 1, n_dimensions=8, weighted=False,
        )  # fmt: skip
        collection = Collection.create(tmp_path / "c", encoder=None, sparse=encoder)
        collection.add(DOCUMENTS)
        for hit in collection.search("owl night fly", 10, mode="sparse"):
            assert hit.score == len({"owl", "night", "fly"} & set(TEXTS[hit.id].split()))

    def test_filters_deletions_and_updates(self, collection):
        collection.delete("a")
        assert set(collection.search("owl", mode="sparse").ids) == {"f", "c"}
        assert collection.search("owl", mode="sparse", where="n < 5").ids == ["c"]
        collection.upsert(Document("b", "owl"))
        assert set(collection.search("owl", mode="sparse").ids) == {"f", "c", "b"}
        assert collection.search('+owl -night "owl"', mode="sparse", syntax="query").ids == ["c", "b"]

    def test_hybrid_fuses_all_that_is_there(self, collection):
        plain = collection.search("owl night")
        assert plain.mode == "hybrid"
        lists = [collection.search("owl night", 1000, mode=mode).ids for mode in ("bm25", "sparse")]
        for hit in plain:
            ranks = [ids.index(hit.id) + 1 for ids in lists if hit.id in ids]
            assert hit.score == pytest.approx(sum(1 / (60 + rank) for rank in ranks))
            assert set(hit.explain().ranks) <= {"bm25", "sparse"}
        only = collection.search("owl night", fusion=Fusion(sparse_weight=0))
        assert only.scores.max() == pytest.approx(1 / 61)
        with pytest.raises(QueryError, match="sparse_weight"):
            Fusion(sparse_weight=2)

    @pytest.mark.parametrize("method", ["rrf", "weighted"])
    def test_three_lists_are_fused_by_their_weights(self, tmp_path, kind, method):
        from tests.retrieval.collection_oracle import encoder

        collection = Collection.create(tmp_path / "c", encoder=encoder("1"), sparse=sparse_encoder(kind))
        collection.add(DOCUMENTS)
        expected = dict.fromkeys(TEXTS, 0.0)
        for mode, weight in (("bm25", 0.7), ("dense", 0.3), ("sparse", 0.8)):
            hits = collection.search("owl night", 1000, mode=mode)
            for rank, hit in enumerate(hits, 1):
                if method == "rrf":
                    expected[hit.id] += 2 * weight / (60 + rank)
                else:
                    worst, best = hits.scores.min(), hits.scores.max()
                    expected[hit.id] += weight * (hit.score - worst) / (best - worst)
        fusion = Fusion(method=method, dense_weight=0.3, sparse_weight=0.8)
        hits = collection.search("owl night", 10, fusion=fusion)
        assert {hit.id: hit.score for hit in hits} == pytest.approx(expected)
        assert hits.scores.tolist() == sorted(hits.scores.tolist(), reverse=True)

    def test_many_queries_at_once_from_many_threads(self, collection):
        queries = ["owl night", "fly", "egg song", "winter swim"] * 5
        expected = [found(collection.search(query, mode="sparse")) for query in queries]
        wrong = []

        def work():
            results = collection.search_many(queries, mode="sparse", threads=2)
            wrong.extend([] if [found(hits) for hits in results] == expected else ["differs"])

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong

    def test_what_makes_no_sense(self, collection, tmp_path):
        with pytest.raises(QueryError, match="is empty"):
            collection.search(" ", mode="sparse")
        with pytest.raises(QueryError, match="mode 'dense' needs vectors"):
            collection.search("owl", mode="dense")
        lexical = Collection.create(tmp_path / "lexical", encoder=None)
        with pytest.raises(QueryError, match="needs sparse vectors"):
            lexical.search("owl", mode="sparse")
        with pytest.raises(QueryError, match="no vectors"):
            collection.search("owl", vector=np.ones(3))


class TestPassages:
    """A long text is several passages, and counts as its best one."""

    def test_documents_hidden_behind_many_passages_are_found(self, tmp_path):
        collection = Collection.create(
            tmp_path / "c", encoder=None, sparse=sparse_encoder("passages"), long=ChunkSettings(overlap_tokens=0)
        )
        long_text = " ".join(["owl owl night fly"] * 40)
        report = collection.add([Document("long", long_text), Document("x", "owl"), Document("y", "night owl")])
        assert (report.sparse_passages, report.sparse_encoded, report.sparse_long_documents) == (42, 3, 1)
        assert collection.stats()["sparse"]["passages"] == 42
        hits = collection.search("owl", 2, mode="sparse")
        assert hits.ids == ["long", "x"]
        assert hits[0].score == pytest.approx(sparse_score("owl", "owl owl night fly", "passages"))
        assert (hits[0].passage.start, hits[0].passage.text) == (0, "owl owl night fly")
        assert collection.search("owl", 3, mode="sparse").ids == ["long", "x", "y"]
        many = collection.search_many(["owl", "egg", "night"], 3, mode="sparse")
        assert [hits.ids for hits in many] == [["long", "x", "y"], [], ["long", "y"]]
        assert collection.search("owl", 3, mode="sparse", where="n = 1").ids == []

    def test_policies_for_long_texts(self, tmp_path):
        for policy in ("truncate", "error"):
            collection = Collection.create(
                tmp_path / policy, encoder=None, sparse=sparse_encoder("passages"), long=policy
            )
            document = Document("long", "owl night fly winter swim")
            if policy == "error":
                with pytest.raises(DocumentError, match="5 tokens"):
                    collection.add(document)
                continue
            report = collection.add(document)
            assert (report.sparse_tokens_cut, report.sparse_passages) == (1, 1)
            assert "1 longer than the sparse encoder reads, 1 tokens not read" in report.summary()

    def test_both_kinds_of_vectors_have_passages_of_their_own(self, tmp_path):
        from tests.retrieval.collection_oracle import encoder

        path = tmp_path / "c"
        collection = Collection.create(path, encoder=encoder("1", max_tokens=2), sparse=sparse_encoder("passages"))
        report = collection.add(Document("a", "owl night fly winter swim"))
        assert report.passages > report.sparse_passages == 2
        hit = collection.search("owl", mode="hybrid")[0]
        assert set(hit.explain().ranks) == {"bm25", "dense", "sparse"}
        assert collection.search("swim", mode="sparse")[0].passage.text.endswith("swim")


class TestEncoding:
    def test_equal_texts_are_encoded_once_and_known_ones_never_again(self, tmp_path, kind):
        encoder, seen = counting(kind)
        collection = Collection.create(tmp_path / "c", encoder=None, sparse=encoder)
        collection.add(DOCUMENTS)
        assert sorted(seen) == sorted(set(TEXTS.values()))
        report = collection.add(Document("again", "fly winter", metadata={"n": 9}))
        assert (report.sparse_passages, report.sparse_encoded) == (1, 0)
        report = collection.upsert([Document("a", TEXTS["a"], metadata={"n": 7}), Document("b", "egg egg")])
        assert (report.sparse_encoded, len(seen)) == (1, 6)
        collection.compact()
        assert len(seen) == 6

    def test_weights_beyond_the_largest_are_cut_and_counted(self, tmp_path):
        encoder = SparseFunctionEncoder(lambda texts: [{1: 3.0, 2: 1.0}] * len(texts), "large", 1, n_dimensions=3)
        collection = Collection.create(tmp_path / "c", encoder=None, sparse=encoder, largest_weight=2.0)
        report = collection.add([Document("a", "x"), Document("b", "y")])
        assert report.sparse_weights_cut == 2
        assert "2 sparse weights cut" in report.summary()
        # 3 * 2 for the weight that was cut, and 1 * 128 / 255 * 2.
        assert collection.search("q", mode="sparse").scores.tolist() == pytest.approx([6 + 256 / 255] * 2)
        assert collection.stats()["sparse"]["largest_weight"] == 2.0

    def test_where_the_largest_weight_comes_from(self, tmp_path):
        def scale(name, **settings):
            encoder = SparseFunctionEncoder(
                lambda texts: [], "n", 1, n_dimensions=3, largest_weight=settings.pop("own", None)
            )
            return Collection.create(tmp_path / name, encoder=None, sparse=encoder, **settings).stats()["sparse"][
                "largest_weight"
            ]

        assert (scale("a"), scale("b", own=2.5), scale("c", own=2.5, largest_weight=7)) == (4.0, 2.5, 7.0)
        for wrong in (0, -1.0, 1e9, float("nan"), float("inf")):
            with pytest.raises(CollectionError, match="largest_weight must be positive"):
                scale("d", largest_weight=wrong)
            with pytest.raises(CollectionError, match="as the sparse encoder says; give largest_weight="):
                scale("d", own=wrong)
        assert scale("d", own=-1.0, largest_weight=3) == 3.0
        with pytest.raises(CollectionError, match="binary vectors have no weights"):
            Collection.create(tmp_path / "e", encoder=None, sparse=sparse_encoder("binary"), largest_weight=2)
        with pytest.raises(CollectionError, match="give sparse="):
            Collection.create(tmp_path / "e", encoder=None, largest_weight=2)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda v: v.some(0, len(v) - 1), "returned 2 vectors for 3 texts"),
            (lambda v: SparseVectors(v.offsets, v.dimensions + 50, v.weights), "it has 56"),
            (lambda v: SparseVectors(v.offsets, v.dimensions), "without weights, against what it says"),
            (lambda v: SparseVectors(v.offsets, v.dimensions[::-1], v.weights), "not in order"),
            (lambda v: SparseVectors(v.offsets, v.dimensions, v.weights * np.nan), "not in order"),
            (lambda v: np.zeros((3, 56)), "returned ndarray"),
        ],
    )
    def test_wrong_vectors_of_somebodys_encoder_are_refused(self, tmp_path, change, message):
        inner, wrong = sparse_encoder("weighted"), {"passages": True, "queries": False}

        class Wrong(SparseFunctionEncoder):
            def encode_passages(self, texts):
                vectors = inner.encode_passages(texts)
                return change(vectors) if wrong["passages"] else vectors

            def encode_queries(self, texts):
                vectors = inner.encode_queries(texts)
                return change(vectors) if wrong["queries"] else vectors

        encoder = Wrong(lambda texts: [], "wrong", 1, n_dimensions=56)
        collection = Collection.create(tmp_path / "c", encoder=None, sparse=encoder)
        with pytest.raises(EncoderError, match=f"encoder 'wrong' returned .*{message.removeprefix('returned ')}"):
            collection.add(DOCUMENTS[:3])
        assert len(Collection.open(collection.path, sparse=encoder)) == 0
        wrong.update(passages=False, queries=True)
        collection.add(DOCUMENTS[:3])
        if "without weights" in message:  # queries may come without: all are 1
            assert collection.search("owl", mode="sparse").ids
            return
        with pytest.raises(EncoderError, match=message):
            collection.search_many(["owl", "fly", "owl night"], mode="sparse")

    def test_sparse_vectors_are_not_dropped_by_accident(self, tmp_path):
        collection = Collection.create(tmp_path / "c", encoder=None, sparse=sparse_encoder("weighted"))
        with pytest.raises(EncoderError, match="needs a sparse encoder"):
            collection.reencode_sparse(None)
        assert collection.stats()["sparse"] is not None

    def test_a_query_is_encoded_by_the_encoder_that_is_recorded(self, collection, kind, tmp_path):
        other = sparse_encoder("binary" if kind == "weighted" else "weighted")
        with pytest.raises(EncoderMismatchError, match=r"another sparse encoder.*name: 'sparse words"):
            Collection.open(collection.path, sparse=other)
        with pytest.raises(EncoderMismatchError, match="has no sparse vectors"):
            Collection.open(Collection.create(tmp_path / "lexical", encoder=None).path, sparse=other)
        unopened = Collection.open(collection.path)
        with pytest.raises(EncoderError, match="cannot be loaded by name; open the collection with sparse="):
            unopened.search("owl", mode="sparse")
        assert unopened.search("owl", mode="bm25").ids == ["c", "a", "f"]

    def test_open_or_create(self, tmp_path):
        path, settings = tmp_path / "c", {"encoder": None, "sparse": sparse_encoder("weighted"), "largest_weight": 2.0}
        Collection.open_or_create(path, **settings).add(DOCUMENTS)
        assert len(Collection.open_or_create(path, **settings)) == 6
        with pytest.raises(CollectionError, match=r"largest_weight 2\.0, not 3"):
            Collection.open_or_create(path, **{**settings, "largest_weight": 3})
        with pytest.raises(EncoderMismatchError):
            Collection.open_or_create(path, encoder=None, sparse=sparse_encoder("binary"))

    def test_vectors_computed_elsewhere_are_compared_with_some_encoded_here(self, tmp_path):
        def made(weights, device):
            class Elsewhere(SparseFunctionEncoder):
                def execution(self):
                    return {"device": device}

            return Elsewhere(lambda texts: [weights] * len(texts), "same", 1, n_dimensions=9)

        path = tmp_path / "c"
        Collection.create(path, encoder=None, sparse=made({1: 1.0, 2: 2.0}, "gpu")).add(Document("a", "x"))
        near = Collection.open(path, sparse=made({1: 1.0, 2: 2.01}, "cpu"))
        assert near.search("x", mode="sparse").ids == ["a"]
        far = Collection.open(path, sparse=made({1: 1.0, 3: 2.0}, "cpu"))
        with pytest.raises(EncoderMismatchError, match=r"cosine 0\.2.*device: 'gpu' -> 'cpu'"):
            far.search("x", mode="sparse")

    def test_another_encoder_takes_over_with_one_commit(self, collection, kind):
        other_kind = "binary" if kind == "weighted" else "weighted"
        reader = Collection.open(collection.path, sparse=sparse_encoder(kind))
        before = found(reader.search("owl night", mode="sparse"))
        collection.delete("c")
        report = collection.reencode_sparse(sparse_encoder(other_kind))
        assert report.sparse_passages == 5
        assert found(reader.search("owl night", mode="sparse")) == before
        fresh = Collection.create(collection.path.with_name("fresh"), encoder=None, sparse=sparse_encoder(other_kind))
        fresh.add(document for document in DOCUMENTS if document.id != "c")
        assert found(collection.search("owl night", mode="sparse")) == found(fresh.search("owl night", mode="sparse"))
        assert collection.verify().ok

    def test_a_lexical_collection_gets_sparse_vectors(self, tmp_path, kind):
        collection = Collection.create(tmp_path / "c", encoder=None)
        collection.add(DOCUMENTS)
        assert crafted_index.read_manifest(collection.path)["format"] == 2
        collection.reencode_sparse(sparse_encoder(kind))
        assert crafted_index.read_manifest(collection.path)["format"] == 3
        assert collection.search("fly", mode="sparse").ids[0] in ("b", "e")
        with collection.batch(), pytest.raises(CollectionError, match="outside the batch"):
            collection.reencode_sparse(sparse_encoder(kind))


class TestOnDisk:
    def test_compacting_gives_the_bytes_of_an_index_built_anew(self, collection, kind, tmp_path):
        collection.delete(["b", "e"])
        collection.upsert(Document("c", "nest nest"))
        collection.compact()
        fresh = Collection.create(tmp_path / "fresh", encoder=None, sparse=sparse_encoder(kind))
        fresh.add(collection)
        one, other = (next((each.path / "parts").glob("*-sparse")) for each in (collection, fresh))
        assert sorted(path.name for path in one.iterdir()) == sorted(path.name for path in other.iterdir())
        for path in one.iterdir():
            assert path.read_bytes() == (other / path.name).read_bytes(), path.name

    def test_merging_passages_gives_the_bytes_of_an_index_built_anew(self, tmp_path):
        paths = [tmp_path / name for name in ("changed", "fresh")]
        changed, fresh = (Collection.create(path, encoder=None, sparse=sparse_encoder("passages")) for path in paths)
        long = [Document(f"l{n}", " ".join(WORDS[(n + i) % 8] for i in range(n + 3))) for n in range(6)]
        changed.add(long[:3])
        changed.add(long[3:])
        changed.upsert(Document("l0", long[0].text, metadata={"n": 1}))  # keeps its place in the order of the texts
        changed.delete("l4")
        changed.compact()
        fresh.add(changed)
        one, other = (next((path / "parts").glob("*-sparse")) for path in paths)
        for path in one.iterdir():
            assert path.read_bytes() == (other / path.name).read_bytes(), path.name

    def test_a_failed_change_leaves_the_last_commit_at_every_step(self, tmp_path):
        class Killed(Exception):
            pass

        path = tmp_path / "c"
        collection = Collection.create(path, encoder=None, sparse=sparse_encoder("weighted"))
        collection.add(DOCUMENTS[:3])
        queries = ["owl", "owl night", "fly winter"]
        before = [found(hits) for hits in collection.search_many(queries, mode="sparse")]
        step, committed = 0, False
        while not committed:
            step, seen = step + 1, []

            def kill(operation, seen=seen, step=step):
                seen.append(operation)
                if len(seen) == step:
                    raise Killed

            again = Collection.open(path, sparse=sparse_encoder("weighted"))
            try:
                with watch(kill):
                    again.upsert([Document("a", "egg egg"), *DOCUMENTS[3:]])
            except Killed:
                pass
            opened = Collection.open(path, sparse=sparse_encoder("weighted"))
            committed = len(opened) == 6
            if not committed:
                assert [found(hits) for hits in opened.search_many(queries, mode="sparse")] == before
                assert not opened.verify().problems
        assert step > 10
        assert opened.search("egg", mode="sparse").ids[0] == "a"

    def test_damage_is_named_and_what_can_be_made_again_is_said(self, collection, monkeypatch):
        monkeypatch.setattr("indexes.arrays._READ_UP_TO", 0)  # small files are read on opening, these count as large
        part = max((collection.path / "parts").glob("*-sparse"))
        file = part / "passage-hashes.npy"
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.unlink()
        file.write_bytes(content)
        report = collection.verify()
        assert f"{part.name}/passage-hashes.npy" in report.problems[0]
        assert "[sparse vectors]" in report.problems[0]
        scale = " --largest-weight 1.5" if collection.snapshot.manifest.sparse.payload == "impacts" else ""
        assert f"`retrieval reencode {collection.path} MODEL --sparse{scale}`" in report.fix

    @pytest.mark.parametrize(
        ("name", "values", "message"),
        [
            ("passage-rows", np.array([0, 1, 2, 9], np.int32), "names row 9, the segment has 4 documents"),
            ("passage-rows", np.array([0, 2, 1, 3], np.int32), "does not name documents in order"),
            ("sparse-shape", np.array([4, 5000, 1], np.int64), "5,000|damaged"),
        ],
        ids=str,
    )
    def test_crafted_files_are_refused(self, tmp_path, name, values, message):
        collection = Collection.create(tmp_path / "c", encoder=None, sparse=sparse_encoder("weighted"))
        collection.add(DOCUMENTS[:4])
        folder = next((collection.path / "parts").glob("*-sparse"))
        np.save(folder / f"{name}.npy", values)
        manifest = crafted_index.read_manifest(collection.path)
        crafted_index.sign_part(folder, crafted_index.part_records(manifest)[folder.name])
        crafted_index.write_manifest(collection.path, manifest)
        with pytest.raises(CorruptIndexError, match=message):
            Collection.open(collection.path)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda manifest: manifest.pop("sparse"), "sparse vectors and their encoder contradict"),
            (lambda manifest: manifest["sparse"].update(payload="binary"), "'binary' with largest weight 1.5"),
            (lambda manifest: manifest["sparse"].update(payload="binary", largest_weight=None), "holds impacts of"),
            (lambda manifest: manifest["sparse"].update(n_dimensions=3), "dimensions, the sparse encoder makes"),
            (lambda manifest: manifest["segments"][0].pop("sparse"), "contradict each other"),
            (lambda manifest: manifest["segments"][0]["sparse"].update(n_passages=3), "3 were written"),
        ],
    )
    def test_crafted_manifests_are_refused(self, tmp_path, change, message):
        collection = Collection.create(tmp_path / "c", encoder=None, sparse=sparse_encoder("weighted"))
        collection.add(DOCUMENTS[:4])
        manifest = crafted_index.read_manifest(collection.path)
        change(manifest)
        crafted_index.write_manifest(collection.path, manifest)
        with pytest.raises(CorruptIndexError, match=message):
            Collection.open(collection.path)
        assert any(re.search(message, problem) for problem in collection.verify().problems)

    def test_documents_without_passages_are_explained_all_the_same(self, tmp_path):
        collection = Collection.create(tmp_path / "c", encoder=None, sparse=sparse_encoder("weighted"))
        collection.add([Document("a", "owl"), Document("b", "owl night")])
        folder = next((collection.path / "parts").glob("*-sparse"))
        np.save(folder / "passage-rows.npy", np.array([1, 1], np.int32))
        manifest = crafted_index.read_manifest(collection.path)
        crafted_index.sign_part(folder, crafted_index.part_records(manifest)[folder.name])
        manifest["segments"][0]["sparse"]["execution"] = {"device": "another"}
        crafted_index.write_manifest(collection.path, manifest)
        collection = Collection.open(collection.path, sparse=sparse_encoder("weighted"))
        hits = {hit.id: hit.explain() for hit in collection.search("owl", mode="hybrid")}
        assert hits["a"].passage is None
        assert hits["b"].passage is not None

    def test_exported_documents_make_the_same_collection(self, collection, kind, tmp_path):
        from retrieval import read_documents

        collection.export(tmp_path / "all.jsonl")
        again = Collection.create(tmp_path / "again", encoder=None, sparse=sparse_encoder(kind))
        again.add(read_documents(tmp_path / "all.jsonl"))
        for query in ("owl night", "egg"):
            assert found(again.search(query, mode="sparse")) == found(collection.search(query, mode="sparse"))

    def test_statistics_say_what_it_costs(self, collection, kind):
        stats = collection.stats()["sparse"]
        assert stats["payload"] == ("impacts" if kind == "weighted" else "binary")
        assert stats["postings"] == sum(len(set(text.split())) for text in TEXTS.values())
        assert stats["postings_per_document"] == pytest.approx(stats["postings"] / 6)
        sizes = sum(path.stat().st_size for path in (collection.path / "parts").glob("*-sparse/*"))
        assert stats["bytes"] == sizes
        assert stats["bytes_per_document"] == pytest.approx(sizes / 6)
        assert json.loads(json.dumps(stats)) == stats


class TestWithModels:
    """A folder with a model is loaded again by its path; nothing has to be given on opening."""

    @pytest.mark.parametrize("binarise", [False, True])
    def test_an_ultra_high_dimensional_model(self, tmp_path, own_cache, binarise):
        from tests.encoders.conftest import save_buckets
        from tests.models.sparse_models import TEXTS as SENTENCES

        folder = save_buckets(tmp_path / "model", binarise=binarise, largest_weight=None if binarise else 3.0)
        collection = Collection.create(tmp_path / "c", encoder=None, sparse=folder)
        collection.add(Document(str(number), text) for number, text in enumerate(SENTENCES) if text)
        again = Collection.open(tmp_path / "c")
        hits = again.search("the search engine", mode="sparse")
        assert hits[0].id == "0"
        assert found(hits) == found(collection.search("the search engine", mode="sparse"))
        from retrieval.encoders import load_sparse_encoder

        encoder = load_sparse_encoder(folder)
        query, passage = (
            vectors.some(0, 1)
            for vectors in (encoder.encode_queries([SENTENCES[0]]), encoder.encode_passages([SENTENCES[0]]))
        )
        if binarise:
            assert hits[0].score == len(passage.dimensions)
        else:
            assert hits[0].score == pytest.approx(float(query.weights @ np.minimum(passage.weights, 3)), rel=0.02)
        other = save_buckets(tmp_path / "other", binarise=binarise, seed=1)
        with pytest.raises(EncoderMismatchError, match="weights"):
            Collection.open(tmp_path / "c", sparse=other)


class Interrupted(Exception):
    """Stands for whatever ends a process while it encodes."""


class TestInterruptedEncoding:
    def encoder(self, kind, *, after=None):
        """Return an encoder that fails after some texts, and what it has encoded."""
        inner, seen = sparse_encoder(kind), []

        class Failing(SparseFunctionEncoder):
            def execution(self):
                return {"batch_tokens": 1}  # few texts at a time

            def encode_passages(self, texts):
                if after is not None and len(seen) >= after:
                    raise Interrupted
                seen.extend(texts)
                return inner.encode_passages(texts)

        encoder = Failing(
            lambda texts: [],
            "failing",
            1,
            n_dimensions=inner.n_dimensions,
            weighted=inner.weighted,
            largest_weight=1.5,
        )
        return encoder, seen

    @pytest.mark.parametrize("written", ["by the writer that fails", "before it is killed"])
    def test_goes_on_where_it_stopped(self, tmp_path, kind, monkeypatch, written):
        if written == "before it is killed":
            monkeypatch.setattr("retrieval.staging.BLOCK_BYTES", 1)
            monkeypatch.setattr("retrieval.collection.sparse_writer.SparseWriter.keep", lambda self: None)
        documents = [Document(f"d{n}", " ".join(WORDS[: n % 8 + 1] * (n // 8 + 1))) for n in range(24)]
        encoder, before = self.encoder(kind, after=10)
        collection = Collection.create(tmp_path / "c", encoder=None, sparse=encoder)
        with pytest.raises(Interrupted):
            collection.add(documents)
        assert 10 <= len(before) < 24
        assert list((tmp_path / "c" / "staging").glob("*/*.safetensors"))
        encoder, rest = self.encoder(kind)
        collection = Collection.open(tmp_path / "c", sparse=encoder)
        report = collection.add(documents)
        assert len(rest) == report.sparse_encoded == 24 - len(before)
        assert not set(rest) & set(before)
        assert not (tmp_path / "c" / "staging").exists()
        fresh = Collection.create(tmp_path / "fresh", encoder=None, sparse=self.encoder(kind)[0])
        fresh.add(documents)
        one, other = (next((each.path / "parts").glob("*-sparse")) for each in (collection, fresh))
        for path in one.iterdir():
            assert path.read_bytes() == (other / path.name).read_bytes(), path.name

    def test_of_another_scale_or_damaged_is_not_taken(self, tmp_path):
        from retrieval.collection.sparse_slot import as_stored, sparse_entry_of
        from retrieval.sparse_staging import SparseStaging
        from retrieval.staging import passage_hashes

        encoder = sparse_encoder("weighted")
        texts, hashes = list(TEXTS.values()), passage_hashes(list(TEXTS.values()))
        area = SparseStaging(tmp_path / "staging", encoder, 1.5)
        vectors = as_stored(encoder.encode_passages(texts), sparse_entry_of(encoder, 1.5))
        area.add(hashes, vectors)
        area.flush()
        known, again = SparseStaging(tmp_path / "staging", encoder, 1.5).find(hashes[[5, 1, 1]])
        assert known.all()
        for row, text in enumerate((5, 1, 1)):
            one, other = again.some(row, row + 1), vectors.some(text, text + 1)
            assert one.dimensions.tolist() == other.dimensions.tolist()
            assert one.weights.tolist() == other.weights.tolist()
        assert not SparseStaging(tmp_path / "staging", encoder, 2.0).find(hashes)[0].any()
        assert not area.find(passage_hashes(["never"]))[0].any()
        (block,) = (tmp_path / "staging").glob("*/*.safetensors")
        content = bytearray(block.read_bytes())
        content[-1] ^= 1
        block.write_bytes(content)
        assert len(SparseStaging(tmp_path / "staging", encoder, 1.5)) == 0
        assert not block.exists()
