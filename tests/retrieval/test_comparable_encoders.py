"""Encoders of the same name that make other vectors: noticed before they add to a collection, and in any segment."""

import numpy as np
import pytest

from indexes.token_vectors import TokenVectors
from retrieval import Collection, Document, FunctionEncoder
from retrieval.encoders import SparseFunctionEncoder
from retrieval.errors import EncoderError, EncoderMismatchError
from retrieval.rerankers.passage_states import StateEncoder
from tests.rerankers.two_sided import WordNetwork
from tests.torture import crafted_index

OWL, SWIFT = Document("owl", "an owl at night"), Document("swift", "swifts in the air")


def dense(device, change):
    class OnDevice(FunctionEncoder):
        def execution(self):
            return {"device": device}

    def encode(texts):
        letters = [[text.count(letter) for letter in "aeinorst"] for text in texts]
        return np.array(letters, np.float32) + np.float32(change) * np.arange(8, dtype=np.float32)

    return {"encoder": OnDevice(encode, "letters", "1", dimension=8)}


def sparse(device, change):
    class OnDevice(SparseFunctionEncoder):
        def execution(self):
            return {"device": device}

    def encode(texts):
        return [{len(text): 1.0, 99: 1.0 + change} for text in texts]

    return {"encoder": None, "sparse": OnDevice(encode, "lengths", 1, n_dimensions=100)}


def states(device, change):
    class OnDevice(StateEncoder):
        def execution(self):
            return {"device": device}

        def encode(self, prepared, rows):
            made = super().encode(prepared, rows)
            return TokenVectors(made.offsets, made.values + np.float32(change))

    return {"encoder": None, "tokens": {"words": OnDevice(WordNetwork(), "words", identity={"kind": "words"})}}


KINDS = {"dense": dense, "sparse": sparse, "tokens": states}
SEARCHES = {"dense": {"mode": "dense"}, "sparse": {"mode": "sparse"}, "tokens": {"stages": "bm25:100,words:50"}}


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def test_nothing_is_added_that_does_not_compare_with_what_is_stored(tmp_path, kind):
    made, path = KINDS[kind], tmp_path / "c"
    Collection.create(path, **made("there", 0)).add(OWL)
    far = Collection.open(path, **made("here", 3))
    for change in (lambda: far.add(SWIFT), lambda: far.upsert([OWL, SWIFT])):
        with pytest.raises(EncoderMismatchError, match=r"cosine 0\..* device: 'there' -> 'here'.* reencode"):
            change()
    assert len(far) == 1
    near = Collection.open(path, **made("here", 0.001))
    near.add(SWIFT)
    assert set(near.search("owl swifts", **SEARCHES[kind]).ids) == {OWL.id, SWIFT.id}


def test_each_way_to_compute_is_compared(tmp_path, kind):
    """Not only that of the first segment that another device made."""
    made, path = KINDS[kind], tmp_path / "c"
    Collection.create(path, **made("there", 0)).add(OWL)
    Collection.open(path, **made("there", 3)).add(SWIFT)
    manifest = crafted_index.read_manifest(path)
    stored = manifest["segments"][1][kind]
    (stored if kind != "tokens" else stored["words"])["execution"] = {"device": "elsewhere"}
    crafted_index.write_manifest(path, manifest)
    here = Collection.open(path, **made("here", 0.001))
    with pytest.raises(EncoderMismatchError, match="device: 'elsewhere' -> 'here'"):
        here.search("owl", **SEARCHES[kind])


def test_what_another_writer_adds_is_compared(tmp_path, kind):
    """Also in a collection that is open, and whose own vectors have been compared."""
    made, path = KINDS[kind], tmp_path / "c"
    Collection.create(path, **made("there", 0)).add(OWL)
    here = Collection.open(path, **made("here", 0))
    assert here.search("owl", **SEARCHES[kind]).ids == [OWL.id]
    Collection.open(path, **made("there", 3)).add(SWIFT)
    manifest = crafted_index.read_manifest(path)
    stored = manifest["segments"][1][kind]
    (stored if kind != "tokens" else stored["words"])["execution"] = {"device": "elsewhere"}
    crafted_index.write_manifest(path, manifest)
    here.refresh()
    with pytest.raises(EncoderMismatchError, match="device: 'elsewhere' -> 'here'"):
        here.search("owl", **SEARCHES[kind])


def test_what_compares_is_compared_once(tmp_path, kind):
    made, path = KINDS[kind], tmp_path / "c"
    Collection.create(path, **made("there", 0)).add(OWL)
    Collection.open(path, **made("elsewhere", 0.001)).add(SWIFT)
    here = Collection.open(path, **made("here", 0))
    slots = here._state.current()[1]
    slot = {"dense": slots.dense, "sparse": slots.sparse, **slots.tokens}[kind if kind != "tokens" else "words"]
    compared = []
    cosines = slot._cosines
    slot._cosines = lambda encoder, segment, n: compared.append((segment.name, n)) or cosines(encoder, segment, n)
    for _ in range(3):
        assert here.search("owl", **SEARCHES[kind])
    assert [n for _, n in compared] == [3, 1]
    assert len(dict(compared)) == 2


def test_what_is_no_vector_is_no_vector_before_adding_too(tmp_path):
    path = tmp_path / "c"
    Collection.create(path, **dense("there", 0)).add([OWL, SWIFT])

    class OnDevice(FunctionEncoder):
        def execution(self):
            return {"device": "here"}

    for made, message in ((np.ones((1, 3)), r"array of shape \(2, 3\)"), (np.full((1, 8), np.nan), "NaN")):
        faulty = OnDevice(lambda texts, made=made: np.repeat(made, len(texts), 0), "letters", "1", dimension=8)
        with pytest.raises(EncoderError, match=message):
            Collection.open(path, encoder=faulty).add(Document("robin", "robins in winter"))


def test_short_documents_are_the_ones_that_are_encoded_again(tmp_path):
    """So that a search from a fresh process does not load a library for long ones."""
    path, encoded = tmp_path / "c", []
    Collection.create(path, **dense("there", 0)).add(Document(str(n), "a note " * (40 - n)) for n in range(40))
    here = dense("here", 0)["encoder"]
    encode = here.encode_passages
    here.encode_passages = lambda texts: encoded.extend(texts) or encode(texts)
    assert Collection.open(path, encoder=here).search("note", mode="dense")
    assert sorted(len(text) // 7 for text in encoded) == [9, 10, 11]
