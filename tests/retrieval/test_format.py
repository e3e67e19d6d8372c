"""Every later version opens an index of format 1; of a newer format it says what to do."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from indexes.errors import CorruptIndexError
from retrieval import Collection, Document
from retrieval.errors import CollectionError

FIXTURE = Path(__file__).parents[1] / "fixtures" / "format-1"


@pytest.fixture
def old(tmp_path):
    """A copy of the committed index, as `tests/fixtures/make_format_1.py` made it."""
    return Path(shutil.copytree(FIXTURE, tmp_path / "old"))


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


def test_a_newer_format_is_refused_with_what_to_do(old):
    sign(old, lambda manifest: manifest.update(format=2, something_new=[1]))
    with pytest.raises(CollectionError, match=r"newer version.*format 2.*pip install --upgrade retrieval-engine"):
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
