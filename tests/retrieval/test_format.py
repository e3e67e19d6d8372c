"""Every later version opens the indexes of all older formats; of a newer format it says what to do."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from indexes.errors import CorruptIndexError
from retrieval import Collection, Document
from retrieval.collection.manifest_file import FORMAT
from retrieval.errors import CollectionError
from tests.torture import crafted_index

PLAIN = 2
"""What is written where there are no sparse vectors: engines that know none go on reading such indexes."""

FIXTURES = Path(__file__).parents[1] / "fixtures"


@pytest.fixture(params=range(1, PLAIN + 1))
def old(tmp_path, request):
    """A copy of a committed index, as `tests/fixtures/make_format.py` made it."""
    return Path(shutil.copytree(FIXTURES / f"format-{request.param}", tmp_path / "old"))


@pytest.fixture
def oldest(tmp_path):
    """A copy of the index of format 1, whose lists of words are not packed."""
    return Path(shutil.copytree(FIXTURES / "format-1", tmp_path / "oldest"))


QUERIES = ["night fly", "東京", "cannot", "sleep while they", "der nacht ohne", "a the and well", "kiwi kiwi owls"]


def answers(collection):
    """Return all that the lexical parts decide, to the bit."""
    found = []
    for query in QUERIES:
        hits = collection.search(query, mode="bm25")
        found.append([(hit.id, hit.score, str(hit.explain())) for hit in hits])
        found.append([(hit.id, hit.score) for hit in collection.search(query, 2, mode="bm25", where="year > 2020")])
    return found


def contents(directory):
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in directory.rglob("*") if path.is_file()}


def sign(directory, change):
    """Change the manifest and give it a checksum that fits."""
    path = directory / "manifest.json"
    manifest = json.loads(path.read_bytes())["manifest"]
    change(manifest)
    content = json.dumps(manifest, ensure_ascii=False).encode()
    digest = hashlib.sha256(content).hexdigest().encode()
    path.write_bytes(b'{"sha256": "' + digest + b'", "manifest":\n' + content + b"}\n")


def found(results):
    return [(hit.id, pytest.approx(hit.score, rel=1e-12)) for hit in results]


def test_it_holds_what_was_added(old):
    collection = Collection.open(old)
    assert list(collection.ids()) == ["owl", "penguin", "東京", "fledermaus", "kiwi", "swift", "👾\nend"]
    assert collection.get("owl") == Document(
        "owl", "An owl hunts mice at night.", "Owls", {"year": 2020, "tags": ["bird", "night"]}
    )
    assert collection.get("東京") == Document("東京", "東京は日本の首都です。", "日本", {"year": 2019, "lang": "ja"})
    assert collection.get("swift").text == "Swifts eat, drink and sleep while they fly."
    assert collection.get("👾\nend").metadata == {"flag": True, "none": None}
    assert collection.get("gone") is None
    assert [len(segment.alive_rows()) for segment in collection.snapshot.segments] == [4, 3]
    assert collection.verify().ok


def test_searches_give_the_scores_that_they_gave(old):
    collection = Collection.open(old)
    assert found(collection.search("night fly", mode="bm25")) == [
        ("kiwi", 0.9216051879112268),
        ("owl", 0.5769857455631338),
        ("penguin", 0.41007730800582404),
        ("swift", 0.3828827075801746),
    ]
    assert found(collection.search("東京", mode="bm25")) == [("東京", 0.6127700755170844)]
    assert found(collection.search(vector=[1, 2, 3, 4.0], k=3)) == [
        ("fledermaus", 0.912870928645134),
        ("👾\nend", 0.8981462264118818),
        ("東京", 0.7302967309951782),
    ]
    assert found(collection.search("night", 3, vector=[0, 1, 0, 0.0])) == [
        ("owl", 0.03278688524590164),
        ("kiwi", 0.031754032258064516),
        ("swift", 0.016129032258064516),
    ]
    assert found(collection.search("fly", mode="bm25", where="year >= 2022")) == [
        ("penguin", 0.41007730800582404),
        ("kiwi", 0.3828827075801746),
        ("swift", 0.3828827075801746),
    ]
    assert found(collection.search('+night "cannot fly"', mode="bm25", syntax="query")) == [("kiwi", 1.460327668242279)]
    assert found(collection.similar("owl", 2)) == [("kiwi", 0.960000052452088), ("fledermaus", 0.7000000178813934)]


def test_it_can_be_changed_and_compacted(old):
    collection = Collection.open(old)
    before = found(collection.search("night fly", mode="bm25"))
    collection.compact()
    assert len(collection.snapshot.segments) == 1
    assert [(hit.id, hit.score) for hit in collection.search("night fly", mode="bm25")] == before
    collection.upsert(Document("owl", "Owls are silent."), vectors=np.ones((1, 4), np.float32))
    assert collection.delete("東京") == 1
    assert list(collection.ids()) == ["penguin", "fledermaus", "kiwi", "swift", "👾\nend", "owl"]
    assert collection.verify().ok


def test_all_formats_give_the_same_answers_to_the_bit():
    first, *others = (answers(Collection.open(FIXTURES / f"format-{number}")) for number in range(1, FORMAT + 1))
    assert sum(map(len, first)) > 15
    assert others == [first] * len(others)


def test_searching_an_old_index_changes_no_file(old):
    before = contents(old)
    collection = Collection.open(old)
    answers(collection)
    collection.get("owl")
    assert collection.verify().ok
    collection.close()
    assert contents(old) == before


@pytest.mark.parametrize("number", range(1, FORMAT + 1))
def test_a_committed_index_is_of_the_format_that_its_name_says(number):
    manifest = crafted_index.read_manifest(FIXTURES / f"format-{number}")
    names = {name for part in crafted_index.part_records(manifest).values() for name in part["files"]}
    assert manifest["format"] == number
    assert ("document-terms.npy" in names) == (number == 1)
    assert ("document-lists.npy" in names) == (number > 1)


def test_a_change_makes_an_index_of_the_present_format_and_leaves_its_old_segments(oldest):
    collection = Collection.open(oldest)
    kept = {path: path.read_bytes() for path in oldest.glob("parts/*/*")}
    before = answers(collection)
    assert crafted_index.read_manifest(oldest)["format"] == 1
    collection.add(Document("new", "zzz"), vectors=np.ones((1, 4), np.float32))
    collection.delete("new")
    assert crafted_index.read_manifest(oldest)["format"] == PLAIN
    assert all(path.read_bytes() == content for path, content in kept.items() if path.exists())
    for opened in (collection, Collection.open(oldest)):
        assert answers(opened) == before
        assert opened.verify().ok


def test_compacting_rewrites_the_old_segments_byte_for_byte_like_new_ones(oldest, tmp_path):
    collection = Collection.open(oldest)
    before = answers(collection)
    collection.compact()
    manifest = crafted_index.read_manifest(oldest)
    assert manifest["format"] == PLAIN
    assert not list(oldest.rglob("document-terms.npy"))
    for opened in (collection, Collection.open(oldest)):
        assert answers(opened) == before
        assert opened.verify().ok
    newest = Path(shutil.copytree(FIXTURES / f"format-{FORMAT}", tmp_path / "newest"))
    other = Collection.open(newest)
    other.compact()
    (mine,), (theirs,) = oldest.glob("parts/*-lexical"), newest.glob("parts/*-lexical")
    assert {path.name: path.read_bytes() for path in mine.iterdir()} == {
        path.name: path.read_bytes() for path in theirs.iterdir()
    }


FILES_OF_FORMAT_ONE = ["document-frequencies", "document-offsets", "document-terms"]
FILES_OF_FORMAT_ONE += ["postings-frequencies", "postings-offsets", "postings-rows"]


@pytest.mark.parametrize("name", FILES_OF_FORMAT_ONE)
@pytest.mark.parametrize("damage", ["flipped", "missing", "truncated"])
def test_damage_in_an_old_index_is_named(oldest, name, damage):
    path = next(oldest.glob("parts/*-lexical")) / f"{name}.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    match damage:
        case "flipped":
            path.write_bytes(content)
        case "truncated":
            path.write_bytes(content[:-1])
        case "missing":
            path.unlink()
    with pytest.raises(CorruptIndexError, match=path.name):
        Collection.open(oldest)


@pytest.mark.parametrize("name", FILES_OF_FORMAT_ONE)
@pytest.mark.parametrize("value", [-(2**63), -1, 0, 1, 2, 7, 2**31 - 1, 2**32 - 1, 2**63 - 1])
def test_crafted_lists_in_an_old_index_do_no_harm(oldest, name, value):
    folder = next(oldest.glob("parts/*-lexical"))
    old = np.load(folder / f"{name}.npy")
    limits = np.iinfo(old.dtype)
    for place in (0, len(old) // 2, len(old) - 1):
        crafted = old.copy()
        crafted[place] = min(max(value, limits.min), limits.max)
        np.save(folder / f"{name}.npy", crafted)
        manifest = crafted_index.read_manifest(oldest)
        crafted_index.sign_part(folder, crafted_index.part_records(manifest)[folder.name])
        crafted_index.write_manifest(oldest, manifest)
        try:
            collection = Collection.open(oldest)
            answers(collection)
            collection.verify()
        except CorruptIndexError as error:
            assert str(folder) in str(error)


def test_postings_of_frequencies_that_no_document_has_are_refused(oldest):
    """Their classes would be looked up beyond the table of those that were counted."""
    folder = next(oldest.glob("parts/*-lexical"))
    name = folder / "postings-frequencies.npy"
    np.save(name, np.full_like(np.load(name), 2**32 - 1))
    manifest = crafted_index.read_manifest(oldest)
    crafted_index.sign_part(folder, crafted_index.part_records(manifest)[folder.name])
    crafted_index.write_manifest(oldest, manifest)
    with pytest.raises(CorruptIndexError, match="4,294,967,295, which no document has"):
        Collection.open(oldest)


@pytest.mark.parametrize("name", ["document-offsets", "postings-offsets"])
def test_offsets_whose_differences_wrap_around_are_refused(oldest, name):
    """Between these, differences of 64 bits are all positive."""
    folder = next(oldest.glob("parts/*-lexical"))
    crafted = np.load(folder / f"{name}.npy").copy()
    crafted[1:-1] = [2**62, 2**63 - 1, *[-(2**62)] * (len(crafted) - 4)]
    assert (np.diff(crafted) >= 0).all()
    np.save(folder / f"{name}.npy", crafted)
    manifest = crafted_index.read_manifest(oldest)
    crafted_index.sign_part(folder, crafted_index.part_records(manifest)[folder.name])
    crafted_index.write_manifest(oldest, manifest)
    with pytest.raises(CorruptIndexError, match=name):
        Collection.open(oldest)


def test_a_newer_format_is_refused_with_what_to_do(old):
    sign(old, lambda manifest: manifest.update(format=FORMAT + 1, something_new=[1]))
    newer = rf"newer version.*format {FORMAT + 1}.*pip install --upgrade retrieval-engine"
    with pytest.raises(CollectionError, match=newer):
        Collection.open(old)
    with pytest.raises(CollectionError, match="newer version"):
        Collection.open_or_create(old, encoder=None)


@pytest.mark.parametrize("number", [0, -1])
def test_formats_that_never_were_are_refused(old, number):
    sign(old, lambda manifest: manifest.update(format=number))
    with pytest.raises(CorruptIndexError, match=r"manifest\.json"):
        Collection.open(old)


def test_a_part_without_block_checksums_is_refused_with_what_to_do(old):
    sign(old, lambda manifest: manifest["segments"][0]["lexical"]["files"].pop("block-checksums.json"))
    with pytest.raises(CorruptIndexError, match=r"00000002-lexical has no block checksums.*index again"):
        Collection.open(old)


def test_sparse_vectors_are_of_the_third_format_and_give_the_scores_that_they_gave(tmp_path):
    from tests.fixtures.make_format import sparse_encoder

    path = Path(shutil.copytree(FIXTURES / "format-3", tmp_path / "third"))
    collection = Collection.open(path, sparse=sparse_encoder())
    assert list(collection.ids()) == ["owl", "penguin", "東京", "fledermaus", "kiwi", "swift", "👾\nend"]
    assert collection.verify().ok
    # "Kiwis The kiwi walks at night and cannot fly." holds two small k, weight 1: impact 128 of 255, which stand for 2.
    assert found(collection.search("kk", mode="sparse", where="height = 0.4")) == [("kiwi", 128 * 2 / 255)]
    expected = {name: sparse_score("zoology", text) for name, text in texts_of(collection).items()}
    hits = collection.search("zoology", mode="sparse", k=20)
    assert {hit.id: hit.score for hit in hits} == {
        name: pytest.approx(score) for name, score in expected.items() if score
    }
    collection.compact()
    assert crafted_index.read_manifest(path)["format"] == 3
    assert [(hit.id, hit.score) for hit in collection.search("zoology", mode="sparse", k=20)] == [
        (hit.id, hit.score) for hit in hits
    ]


def texts_of(collection):
    return {document.id: document.full_text for document in collection}


def sparse_score(query, text):
    """Return the sum over letters of half their number in the query times their impact, in steps of 2 / 255."""
    return sum(
        query.count(letter) / 2 * round(255 * min(text.count(letter) / 2, 2) / 2) * 2 / 255 for letter in set(query)
    )


@pytest.mark.parametrize("number", range(1, FORMAT + 1))
def test_late_chunking_is_of_the_fourth_format(number, tmp_path):
    path = Path(shutil.copytree(FIXTURES / f"format-{number}", tmp_path / "index"))
    collection = Collection.open(path)
    assert (collection.settings.long.policy == "late") == (number >= 4)
    collection.delete("owl")
    assert crafted_index.read_manifest(path)["format"] == max(number, PLAIN)


def test_stored_states_are_of_the_fifth_format_and_give_the_scores_that_they_gave(tmp_path):
    from tests.fixtures.make_format import word_states

    path = Path(shutil.copytree(FIXTURES / "format-5", tmp_path / "fifth"))
    collection = Collection.open(path, tokens={"words": word_states(), "small": word_states()})
    stats = collection.stats()["tokens"]
    assert {name: (each["storage"], each["tokens"]) for name, each in stats.items()} == {
        "words": ("float16", 70),
        "small": ("int8", 70),
    }
    expected = [("penguin", 5.55859375), ("kiwi", 5.50390625), ("owl", 4.51171875), ("swift", 0.3828827075801746)]
    assert found(collection.search("night fly", stages="bm25:10,words:3")) == expected
    assert [hit.id for hit in collection.search("night fly", stages="bm25:10,small:3")] == [
        name for name, _ in expected
    ]
    before = [(hit.id, hit.score) for hit in collection.search("night fly", stages="bm25:10,small:3")]
    collection.compact()
    assert crafted_index.read_manifest(path)["format"] == 5
    assert [(hit.id, hit.score) for hit in collection.search("night fly", stages="bm25:10,small:3")] == before
    for name in ("words", "small"):
        collection.drop_tokens(name)
    assert crafted_index.read_manifest(path)["format"] == 4


@pytest.mark.parametrize("number", [1, 2])
def test_indexes_without_sparse_vectors_say_nothing_of_them(number, tmp_path):
    """What an engine of their time could not read must not be in them."""
    path = Path(shutil.copytree(FIXTURES / f"format-{number}", tmp_path / "old"))
    Collection.open(path).compact()
    manifest = crafted_index.read_manifest(path)
    assert manifest["format"] == PLAIN
    assert "sparse" not in manifest
    assert all("sparse" not in segment for segment in manifest["segments"])
