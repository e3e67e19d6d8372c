"""Damaged and crafted indexes, case by case: what the attacks in tests/torture found once, and must not find again."""

import json
import os
import shutil

import msgspec
import numpy as np
import pytest

from indexes.errors import CorruptIndexError, StorageError
from retrieval import Collection, Document, FunctionEncoder
from retrieval.collection.manifest_file import read_manifest
from retrieval.errors import CollectionError, RetrievalError
from tests.torture import crafted_index


def counts(texts):
    return np.array([[text.count(letter) + 0.5 for letter in "abcd"] for text in texts], np.float32)


def encoder():
    return FunctionEncoder(counts, name="counts", version="1", dimension=4)


@pytest.fixture
def encoded(tmp_path):
    """A collection with vectors, two segments and a tombstone."""
    collection = Collection.create(tmp_path / "c", encoder=encoder())
    collection.add([Document(f"d{number}", "abcd"[: number + 1] * 3, metadata={"n": number}) for number in range(4)])
    collection.add([Document("late", "b c"), Document("later", "d d")])
    collection.delete("d1")
    return collection


def part(collection, kind):
    return sorted((collection.path / "parts").glob(f"*-{kind}"))[0]


def flip_last_byte(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.unlink()  # what is open keeps what it has
    path.write_bytes(content)


def reopened(collection):
    return Collection.open(collection.path, encoder=encoder())


def craft(collection, change):
    """Change the manifest and sign it."""
    manifest = crafted_index.read_manifest(collection.path)
    change(manifest)
    crafted_index.write_manifest(collection.path, manifest)


def rewrite(collection, kind, name, array):
    """Put another array into a part and sign that."""
    folder = part(collection, kind)
    np.save(folder / f"{name}.npy", array)
    craft(
        collection, lambda manifest: crafted_index.sign_part(folder, crafted_index.part_records(manifest)[folder.name])
    )


# ------------------------------------------------------------------------------------------------------------ damage


@pytest.mark.parametrize(
    "change",
    [
        lambda collection: collection.compact(),
        lambda collection: collection.optimize("int8"),
        lambda collection: collection.upsert(Document("again", "aaa")),  # the text of d0, whose vector would serve
        lambda collection: collection.export(collection.path.parent / "all.parquet", vectors=True),
        lambda collection: collection.similar("d0"),
    ],
)
def test_damaged_vectors_are_never_copied(encoded, change):
    path = part(encoded, "dense") / "vectors.npy"
    content = bytearray(path.read_bytes())
    content[-4 * 4 * 4] ^= 1  # the first value of the first of four vectors
    path.write_bytes(content)
    before = (encoded.path / "manifest.json").read_bytes()
    with pytest.raises(CorruptIndexError, match=r"vectors\.npy"):
        change(reopened(encoded))
    assert (encoded.path / "manifest.json").read_bytes() == before
    assert not (encoded.path.parent / "all.parquet").exists()


@pytest.mark.parametrize("extra", [b"\n", b" ", b"\0", b"{}"])
def test_a_byte_behind_the_manifest_is_noticed(encoded, extra):
    path = encoded.path / "manifest.json"
    path.write_bytes(path.read_bytes() + extra)
    with pytest.raises(CorruptIndexError, match=r"manifest\.json"):
        Collection.open(encoded.path)
    assert "manifest.json" in encoded.verify().problems[0]


def test_without_its_manifest_a_collection_is_not_taken_for_nothing(encoded):
    (encoded.path / "manifest.json").unlink()
    with pytest.raises(CorruptIndexError, match=r"file missing: .*manifest\.json"):
        Collection.open(encoded.path)
    for create in (Collection.create, Collection.open_or_create):
        with pytest.raises(CollectionError, match=r"manifest\.json.*backup"):
            create(encoded.path, encoder=None)
    assert "manifest.json" in encoded.verify().problems[0]
    assert len(list((encoded.path / "parts").iterdir())) == 7


def test_what_to_do_depends_on_what_is_damaged(encoded):
    encoded.optimize("int8")
    whole = encoded.path.with_name("whole")
    shutil.copytree(encoded.path, whole)
    for kind, name, holds, fix in [
        ("searcher", "block-checksums.json", "approximate searcher", "retrieval optimize"),
        ("dense", "vectors.npy", "vectors", "add the documents again with their vectors"),
        ("dense", "passage-rows.npy", "vectors", "restore the index from a backup, or index"),
        ("lexical", "lengths.npy", "postings", "restore the index from a backup, or index"),
        ("documents", "texts-bytes.npy", "stored documents", "restore the index from a backup, or index"),
        ("tombstones", "deleted-rows.npy", "which documents are deleted", "restore the index from a backup"),
    ]:
        path = part(encoded, kind) / name
        flip_last_byte(path)
        report = encoded.verify()
        assert len(report.problems) == 1
        assert str(path) in report.problems[0]
        assert f"[{holds}]" in report.problems[0] or f"[the {holds}]" in report.problems[0]
        assert fix in report.fix
        shutil.rmtree(encoded.path)
        shutil.copytree(whole, encoded.path)
    report = encoded.verify()
    assert (report.problems, report.fix) == ([], "")


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs links")
def test_verify_does_not_follow_a_link_in_the_place_of_the_parts(encoded):
    (encoded.path / "parts").rename(encoded.path.with_name("elsewhere"))
    (encoded.path / "parts").symlink_to(encoded.path.with_name("elsewhere"))
    report = encoded.verify()
    assert "parts" in report.problems[0]
    assert report.files == 0
    with pytest.raises(CorruptIndexError, match="parts"):
        reopened(encoded)


# ----------------------------------------------------------------------------------------------------------- crafted


def repeat_a_segment(manifest):
    manifest["segments"].append(manifest["segments"][0])


def take_the_next_part(manifest):
    manifest["next_part"] = 3


def lose_the_encoder(manifest):
    manifest["encoder"] = None


def lose_vectors(manifest):
    manifest["segments"][1]["dense"] = None


def another_dimension(manifest):
    manifest["encoder"]["dimension"] = 5


def another_similarity(manifest):
    manifest["encoder"]["similarity"] = "psychic"


def more_passages(manifest):
    manifest["segments"][0]["dense"]["n_passages"] += 1


def forget_tombstones(manifest):
    manifest["segments"][0]["tombstones"] = None


def swap_kinds(manifest):
    first = manifest["segments"][0]
    first["documents"], first["lexical"] = first["lexical"], first["documents"]


def cover_what_is_not_there(manifest):
    manifest["searcher"] = {
        "part": {"name": "00000006-searcher", "files": {}},
        "settings": {"type": "int8"},
        "covers": ["00000077-documents"],
    }
    manifest["next_part"] = 8


@pytest.mark.parametrize(
    "change",
    [
        repeat_a_segment,
        take_the_next_part,
        lose_the_encoder,
        lose_vectors,
        another_dimension,
        another_similarity,
        more_passages,
        forget_tombstones,
        swap_kinds,
        cover_what_is_not_there,
        lambda manifest: manifest.update(next_part=-1),
        lambda manifest: manifest.update(generation=10**30),
        lambda manifest: manifest.update(next_sequence=2**63),
        lambda manifest: manifest["segments"][0]["documents"].update(name="٠٠٠٠٠٠٠١-documents"),
        lambda manifest: manifest["segments"][0]["documents"].update(name="9" * 5000 + "-documents"),
    ],
)
def test_a_manifest_that_no_writer_writes_is_refused(encoded, change):
    craft(encoded, change)
    with pytest.raises(CorruptIndexError, match=str(encoded.path)):
        Collection.open(encoded.path)


@pytest.mark.parametrize("stored", ["a text", 7, [], None])
def test_a_fingerprint_that_is_none_is_refused(encoded, stored):
    craft(encoded, lambda manifest: manifest["settings"].update(analyser_fingerprint=stored))
    with pytest.raises(CollectionError, match="other rules"):
        reopened(encoded)


@pytest.mark.parametrize("deleted", [[1, 1], [2, 1], [-1, 1], [1, 4]])
def test_tombstones_name_rows_in_order(encoded, deleted):
    rewrite(encoded, "tombstones", "deleted-rows", np.array(deleted, np.int32))
    craft(encoded, lambda manifest: manifest["segments"][0].update(n_deleted=2))
    with pytest.raises(CorruptIndexError, match=r"deleted-rows\.npy"):
        reopened(encoded)


@pytest.mark.parametrize("text", [b"\xff" * 7, b'{"a":"\xff"}', b"[[[[[[[", b"1234567", b'{"a": 1e999}'])
def test_metadata_that_is_none_is_named(encoded, text):
    folder = part(encoded, "documents")
    content = np.load(folder / "metadata-bytes.npy")
    offsets = np.load(folder / "metadata-offsets.npy")
    new = np.concatenate([np.frombuffer(text, np.uint8), content[offsets[1] :]])
    rewrite(encoded, "documents", "metadata-bytes", new)
    rewrite(encoded, "documents", "metadata-offsets", np.concatenate([[0], offsets[1:] - offsets[1] + len(text)]))
    collection = reopened(encoded)
    with pytest.raises(CorruptIndexError, match=r"documents|metadata"):
        collection.get("d0")
    with pytest.raises(CorruptIndexError, match="metadata"):
        collection.search("aaa", mode="bm25", where="a >= 1")


def test_lists_of_terms_that_are_cut_off_are_refused_by_whatever_reads_them(encoded):
    folder = part(encoded, "lexical")
    rewrite(encoded, "lexical", "document-lists", np.full_like(np.load(folder / "document-lists.npy"), 0x80))
    collection = reopened(encoded)
    assert len(reopened(encoded).search("aaa", mode="dense"))  # needs none of it
    for use in (
        lambda: collection.search("aaa", mode="bm25"),
        lambda: collection.search("aaa", mode="hybrid"),
        collection.compact,
    ):
        with pytest.raises(CorruptIndexError, match=folder.name):
            use()
    assert folder.name in encoded.verify().problems[0]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("postings-chunk-windows", [9] * 4),
        ("postings-chunk-sizes", [65_535] * 4),
        ("postings-chunk-sizes", [5] * 4),
        ("postings-chunk-offsets", [0, 1, 3, 3, 4]),
        ("postings-offsets", [0, 2, 1, 2, 4]),
        ("postings-chunk-offsets", [0, -1, 2, 2**62, 4]),
    ],
)
def test_chunks_that_contradict_their_lists_are_refused(encoded, name, values):
    folder = part(encoded, "lexical")
    old = np.load(folder / f"{name}.npy")
    assert len(old) == len(values)
    rewrite(encoded, "lexical", name, np.array(values, old.dtype))
    with pytest.raises(CorruptIndexError, match=folder.name):
        for text in ("a", "aa", "aaa", "bbb", "ababab", "abcabcabc", "abcdabcdabcd"):
            reopened(encoded).search(text, mode="bm25", k=4)


@pytest.mark.parametrize("name", ["postings-rows", "postings-values", "postings-chunk-bounds", "frequency-classes"])
def test_numbers_that_only_speed_a_search_up_do_no_harm(encoded, name):
    """Crafted, they hide documents or let more be scored than are needed: scores are those of the documents' lists."""
    scores = {hit.id: hit.score for hit in encoded.search("aaa ababab abcabcabc abcdabcdabcd", mode="bm25")}
    folder = part(encoded, "lexical")
    old = np.load(folder / f"{name}.npy")
    largest = np.array([0, 2**62, 2**62, 0, 0]) if name == "frequency-classes" else np.iinfo(old.dtype).max
    for crafted in (np.zeros_like(old), old + largest):
        if name == "frequency-classes" and not crafted.any():
            crafted[:, 1:3] = 1
        rewrite(encoded, "lexical", name, crafted)
        for hit in reopened(encoded).search("aaa ababab abcabcabc abcdabcdabcd", mode="bm25"):
            assert hit.score == scores[hit.id]


@pytest.mark.parametrize("vectors", [np.zeros((4, 5), np.float32), np.zeros((4, 0), np.float32)])
def test_vectors_of_another_dimension_are_refused(encoded, vectors):
    rewrite(encoded, "dense", "vectors", vectors)
    with pytest.raises((CorruptIndexError, RetrievalError), match="dimensions"):
        reopened(encoded)


def test_passages_of_documents_that_are_not_there_are_refused(encoded):
    rewrite(encoded, "dense", "passage-rows", np.array([0, 1, 2, 4], np.int32))
    with pytest.raises(CorruptIndexError, match=r"passage-rows\.npy"):
        reopened(encoded)


def test_lengths_that_the_frequencies_contradict_are_found_by_verify(encoded):
    rewrite(encoded, "lexical", "lengths", np.full(4, 3, np.int32))
    assert "lengths" in encoded.verify().problems[0]


def test_a_manifest_is_read_as_it_was_written(encoded):
    """What the checks above refuse is all that differs from a manifest that is accepted."""
    craft(encoded, lambda manifest: None)
    assert json.loads(msgspec.json.encode(read_manifest(encoded.path))) == crafted_index.read_manifest(encoded.path)


def test_a_manifest_too_large_to_be_read_again_is_not_written(encoded, monkeypatch):
    before = (encoded.path / "manifest.json").read_bytes()
    monkeypatch.setattr("retrieval.collection.manifest_file.LARGEST_MANIFEST", len(before) + 10)
    with pytest.raises(CollectionError, match=r"nothing was changed.*compact"):
        encoded.add(Document("one more", "d"))
    assert (encoded.path / "manifest.json").read_bytes() == before
    assert reopened(encoded).get("one more") is None


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("place", ["file", "part", "parts", "manifest", "collection"])
def test_what_may_not_be_read_is_neither_damage_nor_a_traceback(encoded, place):
    documents = part(encoded, "documents")
    path = {
        "file": documents / "ids-bytes.npy",
        "part": documents,
        "parts": documents.parent,
        "manifest": encoded.path / "manifest.json",
        "collection": encoded.path,
    }[place]
    mode = path.stat().st_mode
    path.chmod(0)
    try:
        report = encoded.verify()
        assert "Permission denied" in report.problems[0]
        assert "let this user read" in report.fix
        with pytest.raises(StorageError, match="Permission denied") as caught:
            reopened(encoded)
        assert not isinstance(caught.value, CorruptIndexError)
    finally:
        path.chmod(mode)


@pytest.mark.parametrize("stored", [{"type": "nonsense"}, {"type": "int8", "oversample": -1}, {}])
def test_a_searcher_with_impossible_settings_is_named(encoded, stored):
    encoded.optimize("int8")
    craft(encoded, lambda manifest: manifest["searcher"].update(settings=stored))
    with pytest.raises(CorruptIndexError, match=r"impossible settings.*optimize"):
        reopened(encoded).compact()
    changed = reopened(encoded)
    changed.optimize("int8")
    assert changed.verify().ok
