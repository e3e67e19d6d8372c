"""Stored states of late-interaction networks in a collection: what its promises mean for them, case by case."""

from __future__ import annotations

import logging
import os
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexes.errors import CorruptIndexError
from indexes.file_operations import watch
from indexes.token_vectors import TokenVectors, encoded, largest_error
from retrieval import Collection, Document, FunctionReranker, TokenStates
from retrieval.encoders.weights import tensors_digest
from retrieval.errors import (
    CollectionError,
    EncoderMismatchError,
    QueryError,
    RerankerError,
)
from retrieval.rerankers import load_reranker
from retrieval.rerankers.passage_states import StateEncoder, load_state_encoder, passage_limit
from tests.rerankers.two_sided import WordNetwork, WordReranker, max_sim
from tests.torture import crafted_index
from tests.torture.harness import commit_of, recorded, small_blocks, temporary_folder
from tests.torture.simulated_disk import SimulatedDisk

TEXTS = {
    "a": "owl night owl",
    "b": "fly winter",
    "c": "owl",
    "d": "swim song nest egg",
    "e": "night fly",
    "f": "owl night owl",
    "g": "owl night fly winter swim song nest",  # two words more than the network reads
}
DOCUMENTS = [Document(name, text, metadata={"n": number}) for number, (name, text) in enumerate(TEXTS.items())]
QUERIES = ["owl night", "fly", "egg song winter"]
N_KILLS = 10
STAGES = "bm25:100,words:50"


def found(results):
    return [(hit.id, hit.score) for hit in results]


def create(path, network=None, **options):
    return Collection.create(path, encoder=None, tokens={"words": network or WordNetwork()}, **options)


def answers(collection, k=10):
    return [found(collection.search(query, k, stages=STAGES)) for query in QUERIES]


def expected_of(network, query, ids):
    """Return ids and scores as brute force gives them, for documents in the order in which they came."""
    scores = {name: max_sim(network, query, TEXTS[name]) for name in ids}
    return sorted(scores.items(), key=lambda item: -item[1])


@pytest.fixture
def network():
    return WordNetwork()


@pytest.fixture
def collection(tmp_path, network):
    collection = create(tmp_path / "c", network)
    collection.add(DOCUMENTS[:4])
    collection.add(DOCUMENTS[4:])
    return collection


class TestSearch:
    def test_scores_are_those_of_brute_force_and_ties_keep_the_order_in_which_documents_came(self, collection, network):
        for query in QUERIES:
            came = collection.search(query, 100, stages="bm25:100").ids
            hits = collection.search(query, 10, stages=STAGES)
            expected = expected_of(network, query, came)
            assert [hit.id for hit in hits] == [name for name, _ in expected]
            assert hits.scores.tolist() == pytest.approx([score for _, score in expected], abs=1e-5)
            assert found(collection.search(query, 2, stages=STAGES)) == found(hits)[:2]
        hits = {hit.id: hit.score for hit in collection.search("owl night", stages=STAGES)}
        assert hits["a"] == hits["f"]

    @pytest.mark.parametrize("context", [0.0, 0.5])
    def test_they_are_those_of_the_network_reading_the_texts(self, tmp_path, context):
        network = WordNetwork(context=context)
        collection = create(tmp_path / "c", network)
        collection.add(DOCUMENTS)
        for query in QUERIES:
            stored = collection.search(query, stages=STAGES)
            read = collection.search(query, stages="bm25:100,read:50", rerankers={"read": WordReranker(network)})
            assert stored.ids == read.ids
            np.testing.assert_allclose(stored.scores, read.scores, atol=1e-5 if not context else 5e-3)

    @pytest.mark.parametrize("storage", ["float16", "int8"])
    def test_rounding_costs_no_more_than_is_stated(self, tmp_path, storage):
        network = WordNetwork(width=32, context=1 / 3, seed=4)
        collection = create(tmp_path / "c", TokenStates(network, storage))
        collection.add(DOCUMENTS)
        encoder = load_state_encoder(network)
        for query in QUERIES:
            (asked,) = encoder.encode_queries([query])
            lengths = np.linalg.norm(asked.states.numpy(), axis=1).sum()
            for hit in collection.search(query, stages=STAGES):
                text = hit.document.full_text
                states = encoder.encode(encoder.prepare([text]), np.arange(1))
                distance = largest_error(states, storage).max() * np.sqrt(states.width)
                assert abs(hit.score - max_sim(network, query, text)) <= lengths * distance + 1e-5

    def test_no_passage_goes_through_the_network_and_no_text_is_read(self, collection, network, monkeypatch):
        network.texts_encoded = 0
        monkeypatch.setattr("retrieval.pipeline.reranking._candidates", None)
        results = collection.search_many(QUERIES, stages=STAGES)
        assert network.texts_encoded == 0
        assert [found(result) for result in results] == answers(collection)
        assert [(report.name, report.calls, report.states) for report in results[0].stages] == [
            ("bm25", 0, 0),
            ("words", 1, len(results[0])),
        ]
        assert "by stored states, 1 model calls" in str(results[0].stages[1])

    def test_plan_and_explain_say_that_states_are_used(self, collection):
        plan = collection.plan("bm25:100,words:5,other:2", {"other": FunctionReranker(lambda query, texts: [0.0] * 2)})
        assert [(stage.candidates, stage.calls, stage.states) for stage in plan.stages] == [(5, 1, 5), (2, 2, 0)]
        assert "words: 5 candidates by stored states, 1 model call\n" in str(plan)
        explanation = collection.search("owl", stages="bm25:100,words:2")[0].explain()
        assert [stage.states for stage in explanation.stages] == [False, True]
        assert "by stored states" in str(explanation)
        assert explanation.as_dict()["stages"][1]["states"] is True
        last = collection.search("owl", stages="bm25:100,words:2")[-1].explain()
        assert (last.stages[1].score, last.stages[1].states) == (None, False)

    def test_documents_behind_those_admitted_stay_below(self, collection):
        plain = collection.search("owl night", stages="bm25:100").ids
        hits = collection.search("owl night", stages="bm25:100,words:2")
        assert set(hits.ids[:2]) == set(plain[:2])
        assert hits.ids[2:] == plain[2:]
        assert (np.diff(hits.scores) <= 0).all()

    def test_several_networks_and_stages_behind_each_other(self, tmp_path, network):
        other = WordNetwork(width=3, seed=7)
        path = tmp_path / "c"
        collection = Collection.create(
            path, encoder=None, tokens={"words": network, "other": TokenStates(other, "int8")}
        )
        collection.add(DOCUMENTS)
        hits = collection.search("owl night", stages="bm25:100,words:50,other:3")
        best = collection.search("owl night", 3, stages=STAGES).ids
        expected = sorted(best, key=lambda name: -max_sim(other, "owl night", TEXTS[name]))
        assert hits.ids[:3] == expected
        again = Collection.open(path, tokens={"other": WordNetwork(width=3, seed=7)})
        with pytest.raises(RerankerError, match=r"network of the collection's states \(words\).*tokens="):
            again.search("owl", stages=STAGES)
        assert again.search("owl", stages="bm25:10,other:3").ids

    def test_filters_deletions_and_updates(self, collection, network):
        collection.delete("a")
        assert set(collection.search("owl", stages=STAGES).ids) == {"c", "f", "g"}
        assert set(collection.search("owl", stages=STAGES, where="n < 6").ids) == {"c", "f"}
        collection.upsert(Document("b", "owl egg"))
        scores = {hit.id: hit.score for hit in collection.search("owl", stages=STAGES)}
        assert scores["b"] == pytest.approx(max_sim(network, "owl", "owl egg"), abs=1e-5)

    def test_the_title_is_read_first_and_what_is_too_long_is_not(self, tmp_path, network):
        collection = create(tmp_path / "c", network)
        report = collection.add([Document("t", "night " * 9, "owl egg"), Document("u", "night fly")])
        assert report.states_long_documents == 1
        assert "1 texts as long as a network of stored states reads, or longer" in report.summary()
        for hit in collection.search("night egg", stages=STAGES):
            assert hit.score == pytest.approx(max_sim(network, "night egg", hit.document.full_text), abs=1e-5)

    def test_empty_texts_with_vectors_of_their_own(self, tmp_path, network):
        collection = create(tmp_path / "c", network)
        collection.add([Document("a", ""), Document("b", "owl")], vectors=np.eye(2, dtype=np.float32))
        hits = collection.search("owl", vector=np.ones(2), stages="dense:5,words:5")
        assert {hit.id: hit.score for hit in hits} == {
            name: pytest.approx(max_sim(network, "owl", text), abs=1e-5) for name, text in (("a", ""), ("b", "owl"))
        }

    def test_what_makes_no_sense(self, collection, network, tmp_path):
        with pytest.raises(QueryError, match=r"stores states of 'words'.*give it another name"):
            collection.search("owl", stages=STAGES, rerankers={"words": WordReranker(network)})
        with pytest.raises(QueryError, match="stores states of 'words'"):
            collection.plan(STAGES, {"words": WordReranker(network)})
        with pytest.raises(QueryError, match="no reranker 'mono'"):
            collection.search("owl", stages="bm25:10,mono:5")
        for name in ("bm25", "fusion", "1st", ""):
            with pytest.raises(QueryError):
                Collection.create(tmp_path / "x", encoder=None, tokens={name: network})
        with pytest.raises(CollectionError, match="are given by name"):
            Collection.create(tmp_path / "x", encoder=None, tokens=network)
        with pytest.raises(CollectionError, match="'float16' or 'int8', not 'bf16'"):
            create(tmp_path / "x", TokenStates(network, "bf16"))
        with pytest.raises(RerankerError, match=r"reads query and passage together.*colbert, prettr or tk"):
            create(tmp_path / "x", FunctionReranker(lambda query, texts: [0.0] * len(texts), name="mine"))
        with pytest.raises(RerankerError, match="not a reranker"):
            create(tmp_path / "x", 7)
        assert not (tmp_path / "x").exists()


class TestChanges:
    def test_an_update_encodes_only_what_changed(self, collection, network):
        network.texts_encoded = 0
        report = collection.upsert(
            [Document("a", TEXTS["a"], metadata={"n": 50}), Document("b", "owl night owl"), Document("c", "nest")]
        )
        assert (report.states, report.states_encoded, network.texts_encoded) == (3, 1, 1)
        assert collection.upsert(DOCUMENTS[3:]).states == 0
        collection.compact()
        assert network.texts_encoded == 1

    def test_equal_texts_are_encoded_once(self, tmp_path, network):
        collection = create(tmp_path / "c", network)
        report = collection.add([Document(str(number), "owl night") for number in range(20)])
        assert (report.states, report.states_encoded, network.texts_encoded) == (20, 1, 1)

    def test_merged_states_are_those_of_a_collection_that_is_built_anew(self, collection, tmp_path):
        collection.delete(["a", "e"])
        collection.upsert(Document("c", "nest fly"))
        before = answers(collection)
        collection.compact()
        assert answers(collection) == before
        anew = create(tmp_path / "anew")
        anew.add(list(collection))
        assert answers(anew) == before
        mine, theirs = (next(one.path.glob("parts/*-tokens")) for one in (collection, anew))
        assert {path.name: path.read_bytes() for path in mine.iterdir()} == {
            path.name: path.read_bytes() for path in theirs.iterdir()
        }

    def test_small_groups_give_the_same_bytes_and_hold_less_in_memory(self, tmp_path, monkeypatch):
        from indexes.token_store import TokenStoreWriter

        usual, sizes, contents = TokenStoreWriter.append, [], []

        def append(self, vectors):
            sizes.append(len(vectors.values))
            usual(self, vectors)

        monkeypatch.setattr(TokenStoreWriter, "append", append)
        for size in (64 << 20, 40):
            monkeypatch.setattr("retrieval.collection.token_writer.GROUP_BYTES", size)
            collection = create(tmp_path / str(size))
            collection.add(DOCUMENTS)
            folder = next(collection.path.glob("parts/*-tokens"))
            contents.append({path.name: path.read_bytes() for path in folder.iterdir()})
        assert contents[0] == contents[1]
        assert sizes[0] == sum(sizes[1:])
        assert max(sizes[1:]) < sizes[0] / 2

    def test_memory_does_not_grow_with_documents_candidates_or_segments(self, collection, network, monkeypatch):
        """What is encoded, read for a search or merged is cut into blocks of some size; one text at least."""
        from indexes.token_store import TokenStore

        expected, width = answers(collection), network.width
        for module in ("retrieval.pipeline.stored_states", "retrieval.collection.token_merging"):
            monkeypatch.setattr(f"{module}._BLOCK_NUMBERS", 7 * width)
        usual, sizes = TokenStore.gather, []

        def gather(self, rows):
            sizes.append(int(self.lengths(rows).sum()))
            return usual(self, rows)

        monkeypatch.setattr(TokenStore, "gather", gather)
        assert answers(collection) == expected
        collection.compact()
        assert answers(collection) == expected
        assert len(sizes) > 20
        assert max(sizes) <= 7

    def test_states_can_be_added_replaced_and_dropped(self, tmp_path, network):
        collection = Collection.create(tmp_path / "c", encoder=None)
        collection.add(DOCUMENTS)
        collection.delete("b")
        report = collection.reencode_tokens("words", network)
        assert (report.states, report.states_encoded) == (6, 5)
        expected = create(tmp_path / "other", network)
        expected.add([document for document in DOCUMENTS if document.id != "b"])
        assert answers(collection) == answers(expected)
        other = WordNetwork(seed=9)
        collection.reencode_tokens("words", TokenStates(other, "int8"))
        assert collection.stats()["tokens"]["words"]["storage"] == "int8"
        (best, *_) = collection.search("owl night", stages=STAGES)
        assert best.score == pytest.approx(max_sim(other, "owl night", TEXTS[best.id]), abs=0.1)
        collection.compact()
        collection.upsert(Document("z", "swim"))
        collection.drop_tokens("words")
        assert collection.stats()["tokens"] == {}
        assert not list(collection.path.glob("parts/*-tokens"))
        assert collection.verify().ok
        assert crafted_index.read_manifest(collection.path)["format"] == 2
        with pytest.raises(CollectionError, match="stores no states of 'words'; there are none"):
            collection.drop_tokens("words")
        with pytest.raises(QueryError, match="no reranker 'words'"):
            collection.search("owl", stages=STAGES)

    def test_a_reader_keeps_the_states_that_it_opened(self, collection, network):
        reader = Collection.open(collection.path, tokens={"words": network})
        before = answers(reader)
        collection.reencode_tokens("words", WordNetwork(seed=9))
        assert answers(reader) == before
        reader.refresh()
        with pytest.raises(RerankerError, match="cannot be loaded by name"):
            answers(reader)

    def test_batches_with_other_networks_are_refused(self, collection):
        with collection.batch(), pytest.raises(CollectionError, match="commit of its own"):
            collection.reencode_tokens("words", WordNetwork())

    @settings(max_examples=8)
    @given(data=st.data())
    def test_incremental_equals_rebuilt(self, data, tmp_path_factory):
        network = WordNetwork()
        root = tmp_path_factory.mktemp("c")
        collection = create(root / "c", network)
        words = st.lists(st.sampled_from(["owl", "night", "fly", "egg", "song"]), min_size=1, max_size=7).map(" ".join)
        for _ in range(data.draw(st.integers(1, 5))):
            operation = data.draw(st.sampled_from(["upsert", "upsert", "delete", "compact", "reopen"]))
            ids = st.sampled_from("abcdef")
            if operation == "upsert":
                new = data.draw(st.dictionaries(ids, words, min_size=1, max_size=4))
                collection.upsert([Document(name, text) for name, text in new.items()])
            elif operation == "delete":
                collection.delete(data.draw(st.lists(ids, max_size=3)))
            elif operation == "compact":
                collection.compact()
            else:
                collection = Collection.open(collection.path, tokens={"words": WordNetwork()})
        rebuilt = create(root / "rebuilt", network)
        rebuilt.add(list(collection))
        assert answers(collection) == answers(rebuilt)
        assert collection.verify().ok
        shutil.rmtree(root)


class TestIdentity:
    def test_another_network_is_refused_with_the_difference(self, collection):
        for other in (WordNetwork(seed=1), WordNetwork(reads=4), WordNetwork(width=5), WordNetwork(context=0.25)):
            with pytest.raises(EncoderMismatchError, match=r"made by another network: .* -> .*reencode_tokens"):
                Collection.open(collection.path, tokens={"words": other})
        again = Collection.open(collection.path, tokens={"words": WordNetwork()})
        assert answers(again) == answers(collection)

    def test_what_decides_the_scores_is_in_the_manifest(self, collection):
        entry = crafted_index.read_manifest(collection.path)["tokens"]["words"]
        assert entry["identity"].keys() == {"kind", "network", "width", "weights", "inputs"}
        assert (entry["width"], entry["storage"], entry["identity"]["kind"]) == (6, "float16", "words")

    def test_a_network_that_describes_itself_has_the_identity_that_its_reranker_has(self):
        class Described(WordNetwork):
            def describe(self):
                return {"kind": self.kind, "settings": {"reads": self.reads}}

        network = Described(reads=4)
        encoder = load_state_encoder(network)
        assert encoder.identity() == {
            "kind": "words",
            "settings": {"reads": 4},
            "weights": tensors_digest(network.state_dict().values()),
            "width": 6,
        }

    def test_opening_or_creating(self, tmp_path, network):
        path = tmp_path / "c"
        for _ in range(2):
            collection = Collection.open_or_create(path, encoder=None, tokens={"words": network})
            collection.upsert(DOCUMENTS)
        with pytest.raises(EncoderMismatchError, match="another network"):
            Collection.open_or_create(path, encoder=None, tokens={"words": WordNetwork(seed=3)})
        with pytest.raises(CollectionError, match=r"stores no states of 'other'.*reencode_tokens"):
            Collection.open_or_create(path, encoder=None, tokens={"other": network})
        with pytest.raises(CollectionError, match="stores the states of 'words' as float16, not int8"):
            Collection.open(path, tokens={"words": TokenStates(network, "int8")})

    def test_states_that_were_computed_otherwise_are_compared_with_a_few_made_here(self, tmp_path, network, caplog):
        class Elsewhere(StateEncoder):
            """The same network on a device that computes a little differently."""

            def __init__(self, device, added=0.0):
                super().__init__(WordNetwork(), "words", identity={"kind": "words"})
                self.device, self.added = device, added

            def execution(self):
                return {"device": self.device}

            def encode(self, prepared, rows):
                made = super().encode(prepared, rows)
                return TokenVectors(made.offsets, made.values + np.float32(self.added))

        path = tmp_path / "c"
        Collection.create(path, encoder=None, tokens={"words": Elsewhere("there")}).add(DOCUMENTS)
        near, far = (Collection.open(path, tokens={"words": Elsewhere("here", added)}) for added in (0.001, 0.5))
        with caplog.at_level(logging.INFO):
            assert near.search("owl", stages=STAGES).ids
        assert "computed elsewhere (device: 'there' -> 'here')" in caplog.text
        with pytest.raises(EncoderMismatchError, match="differ from the stored states of 'words'"):
            far.search("owl", stages=STAGES)

    def test_a_network_is_loaded_from_the_folder_that_it_came_from(self, tmp_path, monkeypatch):
        folder, path = tmp_path / "model", tmp_path / "c"
        WordNetwork().save(folder)
        monkeypatch.setattr("retrieval.rerankers.loading.load_reranker", load_words)
        collection = Collection.create(path, encoder=None, tokens={"words": folder})
        collection.add(DOCUMENTS)
        assert collection.stats()["tokens"]["words"]["source"] == str(folder)
        expected = answers(collection)
        collection.close()
        assert answers(collection) == expected
        assert answers(Collection.open(path)) == expected
        Collection.open(path).add(Document("new", "owl"))
        WordNetwork(seed=1).save(folder)
        with pytest.raises(EncoderMismatchError, match="made by another network"):
            answers(Collection.open(path))

    def test_where_a_network_cuts_is_seen_from_what_it_reads(self):
        assert passage_limit(WordNetwork(reads=5)) == 6
        assert passage_limit(WordNetwork(reads=300)) == 301
        assert passage_limit(WordNetwork(reads=None)) is None

    @pytest.mark.parametrize("place", ["states", "mask", "gap", "scores", "nan", "large"])
    def test_a_network_that_answers_wrongly_is_named(self, tmp_path, place):
        messages = {
            "states": r"states \(\d, \d, 2\)",
            "mask": "with a mask",
            "gap": "first ones do not count",
            "nan": "not finite",
            "large": "float16 takes numbers up to",
        }

        class Wrong(WordNetwork):
            def encode_passages(self, features):
                states, mask = super().encode_passages(features)
                if place == "nan":
                    states = states * float("nan")
                if place == "large":
                    states = states + 1e6
                return {
                    "states": (states[:, :, :2], mask),
                    "mask": (states, mask[:, :-1]),
                    "gap": (states, ~mask | (mask.cumsum(1) != 1)),
                }.get(place, (states, mask))

            def interact(self, *sides):
                return super().interact(*sides)[:-1]

        collection = create(tmp_path / "c", Wrong())
        if place != "scores":
            with pytest.raises(RerankerError, match=messages[place]):
                collection.add([Document("a", "owl"), Document("b", "owl night")])
            assert len(collection) == 0
            return
        collection.add(DOCUMENTS)
        with pytest.raises(RerankerError, match="returned scores"):
            collection.search("owl", stages=STAGES)


def load_words(specification, **settings):
    """Load a `WordReranker` from its folder, and everything else as ever."""
    if isinstance(specification, (str, os.PathLike)):
        return WordReranker(WordNetwork.load(specification), str(specification))
    return load_reranker(specification, **settings)


class TestInterruptions:
    def test_what_was_encoded_is_not_encoded_again(self, collection, network, monkeypatch):
        from retrieval.collection import token_writer

        monkeypatch.setattr(token_writer, "GROUP_BYTES", 60)
        usual, calls = StateEncoder.encode, []

        def encode(self, prepared, rows):
            calls.append(len(rows))
            if len(calls) == 3:
                raise KeyboardInterrupt
            return usual(self, prepared, rows)

        new = [Document(f"n{number}", f"nest {number}") for number in range(12)]
        monkeypatch.setattr(StateEncoder, "encode", encode)
        with pytest.raises(KeyboardInterrupt):
            collection.add(new)
        assert len(collection) == 7
        assert list((collection.path / "staging").iterdir())
        monkeypatch.setattr(StateEncoder, "encode", usual)
        network.texts_encoded = 0
        again = Collection.open(collection.path, tokens={"words": network})
        report = again.add(new)
        done = sum(calls[:2])
        assert done
        assert (report.states_encoded, network.texts_encoded) == (12 - done, 12 - done)
        assert not (collection.path / "staging").exists()
        assert again.verify().ok

    def test_staged_states_of_another_form_or_damaged_ones_are_not_taken(self, tmp_path, caplog):
        from retrieval.staging import passage_hashes
        from retrieval.state_encoding import StateStaging

        encoder = load_state_encoder(WordNetwork())
        texts = ["owl night", "fly", "egg"]
        states = encoder.encode(encoder.prepare(texts), np.arange(3))
        for storage in ("float16", "int8"):
            area = StateStaging(tmp_path / "staging", encoder, storage)
            assert len(area) == 0
            area.add(passage_hashes(texts), encoded(states, storage))
            area.flush()
        for storage in ("float16", "int8"):
            area = StateStaging(tmp_path / "staging", encoder, storage)
            known, again = area.find(passage_hashes(["egg", "song", "owl night"]))
            assert known.tolist() == [True, False, True]
            assert again.lengths.tolist() == [2, 3]
            np.testing.assert_array_equal(again.decoded()[:2], encoded(states, storage).some(2, 3).decoded())
        for block in tmp_path.rglob("*.safetensors"):
            content = bytearray(block.read_bytes())
            content[-1] ^= 1
            block.write_bytes(content)
        with caplog.at_level(logging.WARNING):
            assert len(StateStaging(tmp_path / "staging", encoder, "float16")) == 0
        assert "not a whole block" in caplog.text

    @pytest.mark.slow
    @pytest.mark.parametrize("change", ["change", "reencode", "drop"])
    def test_killed_at_any_instant_it_is_before_or_after(self, change):
        """Some file operations of a change, one after the other, are a process's last one; the next change works."""

        class Killed(BaseException):
            pass

        def run(collection):
            if change == "reencode":
                collection.reencode_tokens("words", TokenStates(WordNetwork(), "int8"))
            elif change == "drop":
                collection.drop_tokens("words")
            else:
                with collection.batch():
                    collection.upsert([Document("new", "egg nest"), Document("a", "swim song")])
                    collection.compact()

        def opened(path):
            stored = crafted_index.read_manifest(path).get("tokens")
            return Collection.open(path, tokens={"words": WordNetwork()} if stored else None)

        def state(path):
            one = opened(path)
            assert one.verify().problems == []
            has_states = bool(one.stats()["tokens"])
            return list(one), answers(one) if has_states else None, one.stats()["tokens"]

        with temporary_folder() as root, small_blocks():
            prepared = create(root / "prepared")
            prepared.add(DOCUMENTS[:4])
            prepared.add(DOCUMENTS[4:])
            prepared.delete("d")
            before = state(prepared.path)
            whole = shutil.copytree(prepared.path, root / "whole")
            operations = recorded(lambda: run(opened(whole)))
            after = state(whole)
            assert before != after
            commit = commit_of(operations)
            chosen = {*range(0, len(operations), 1 + len(operations) // N_KILLS), commit - 1, commit, commit + 1}
            for last in sorted(chosen & set(range(len(operations)))):
                copy = shutil.copytree(prepared.path, root / f"killed-{last}")
                seen = []

                def kill(operation, seen=seen, last=last):
                    seen.append(operation)
                    if len(seen) > last:
                        raise Killed

                with watch(kill), pytest.raises(Killed):
                    run(opened(copy))
                found = state(copy)
                assert found == (after if last > commit else before)
                if found == before:
                    run(opened(copy))
                    assert state(copy) == after

    @pytest.mark.parametrize("way", ["nothing unsynced", "random"])
    def test_a_power_failure_after_the_commit_takes_nothing(self, way):
        with temporary_folder() as root, small_blocks():
            disk = SimulatedDisk(root)
            for operation in recorded(lambda: create(root / "c").add(DOCUMENTS)):
                disk.apply(operation)
            disk.after_power_loss(way, np.random.default_rng(0)).materialise(root / "after")
            opened = Collection.open(root / "after" / "c", tokens={"words": WordNetwork()})
            assert list(opened) == DOCUMENTS
            assert opened.verify().ok
            assert opened.search("owl", stages=STAGES).ids


class TestDamage:
    def test_damage_is_named_with_what_to_do(self, collection):
        folder = sorted(collection.path.glob("parts/*-tokens"))[0]
        for name in ("token-vectors", "token-offsets", "passage-hashes"):
            path = folder / f"{name}.npy"
            whole = path.read_bytes()
            damaged = bytearray(whole)
            damaged[-1] ^= 1
            path.write_bytes(damaged)
            report = collection.verify()
            assert len(report.problems) == 1
            assert f"{path}: content differs" in report.problems[0]
            assert "[stored states]" in report.problems[0]
            reopened = None
            with pytest.raises(CorruptIndexError, match=rf"{folder.name}/{name}\.npy"):
                reopened = Collection.open(collection.path, tokens={"words": WordNetwork()})
                answers(reopened)
            if reopened is not None:
                assert "reencode" in report.fix
                assert "--tokens words" in report.fix
                with pytest.raises(CorruptIndexError, match=name):
                    reopened.compact()
            path.write_bytes(whole)
        assert collection.verify().ok

    def test_damaged_states_can_be_made_again(self, collection, network):
        before = answers(collection)
        path = sorted(collection.path.glob("parts/*-tokens"))[0] / "token-vectors.npy"
        damaged = bytearray(path.read_bytes())
        damaged[-1] ^= 1
        path.write_bytes(damaged)
        again = Collection.open(collection.path)
        again.reencode_tokens("words", network)
        assert again.verify().ok
        assert answers(again) == before

    @pytest.mark.parametrize(
        "change",
        [
            lambda manifest: manifest["tokens"]["words"].update(storage="int8"),
            lambda manifest: manifest["tokens"]["words"].update(storage="float8"),
            lambda manifest: manifest["tokens"]["words"].update(width=5),
            lambda manifest: manifest["tokens"]["words"].update(width=0),
            lambda manifest: manifest.pop("tokens"),
            lambda manifest: manifest["tokens"].update(other=manifest["tokens"]["words"]),
            lambda manifest: manifest["segments"][0].pop("tokens"),
            lambda manifest: manifest["segments"][0]["tokens"]["words"].update(n_tokens=3),
            lambda manifest: manifest["segments"][0]["tokens"].update(words=manifest["segments"][1]["tokens"]["words"]),
        ],
    )
    def test_a_manifest_that_no_writer_writes_is_refused(self, collection, change):
        manifest = crafted_index.read_manifest(collection.path)
        change(manifest)
        crafted_index.write_manifest(collection.path, manifest)
        with pytest.raises(CorruptIndexError, match=str(collection.path)):
            Collection.open(collection.path)

    def test_documents_without_states_are_an_error(self, collection):
        """The states of another segment, of fewer documents, in the place of the first's."""
        first, second = sorted(collection.path.glob("parts/*-tokens"))
        for path in second.iterdir():
            shutil.copy(path, first / path.name)
        manifest = crafted_index.read_manifest(collection.path)
        crafted_index.sign_part(first, crafted_index.part_records(manifest)[first.name])
        crafted_index.write_manifest(collection.path, manifest)
        with pytest.raises(CorruptIndexError, match=r"states of 3 documents, .* of 4 were written"):
            Collection.open(collection.path)


def test_info_counts_what_is_stored(collection):
    stats = collection.stats()["tokens"]["words"]
    n_tokens = sum(min(len(text.split()), 5) + 1 for text in TEXTS.values())
    assert (stats["documents"], stats["tokens"]) == (7, n_tokens)
    assert stats["bytes"] == sum(
        path.stat().st_size for folder in collection.path.glob("parts/*-tokens") for path in folder.iterdir()
    )
    assert stats["bytes_per_document"] == stats["bytes"] / 7
    assert [segment["states"] for segment in collection.stats()["segments"]] == [
        {"words": 14},
        {"words": n_tokens - 14},
    ]


def test_collections_without_states_say_nothing_of_them(tmp_path):
    collection = Collection.create(tmp_path / "c", encoder=None)
    collection.add(DOCUMENTS)
    manifest = crafted_index.read_manifest(collection.path)
    assert manifest["format"] == 2
    assert "tokens" not in manifest
    assert all("tokens" not in segment for segment in manifest["segments"])
