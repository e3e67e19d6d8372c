"""Embeddings are computed once, and are those of the encoder inside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.embedding_cache import CachedEncoder, without_embedding_cache
from indexes.errors import LockedError
from retrieval import Collection, Document
from retrieval.encoders.base import fingerprint
from tests.eval.running.conftest import ROOT, CountingEncoder


@pytest.fixture
def cached(tmp_path):
    """Return a function that opens the cache for an encoder; the one before is closed, as by another run."""
    opened = []

    def open_cache(encoder):
        while opened:
            opened.pop().close()
        opened.append(CachedEncoder(encoder, tmp_path / "embeddings"))
        return opened[-1]

    yield open_cache
    for each in opened:
        each.close()


TEXTS = ["owl", "", "wren", "owl", "日本語", "kite " * 200]


def test_vectors_are_those_of_the_encoder_and_each_text_goes_through_it_once(cached):
    encoder = CountingEncoder()
    cache = cached(encoder)
    for _ in range(3):
        np.testing.assert_array_equal(cache.encode_passages(TEXTS), CountingEncoder().encode_passages(TEXTS))
        np.testing.assert_array_equal(cache.encode_queries(TEXTS), CountingEncoder().encode_queries(TEXTS))
    assert sorted(encoder.passages) == sorted(encoder.queries) == sorted(set(TEXTS))
    assert cache.encoded.texts == 2 * len(set(TEXTS))
    assert cache.encoded.tokens == 2 * sum(map(int, encoder.count_tokens(sorted(set(TEXTS)))))


def test_no_text_goes_through_the_encoder_in_a_second_run(cached):
    cached(CountingEncoder()).encode_passages(TEXTS)
    cached(CountingEncoder()).encode_queries(TEXTS[:2])
    encoder = CountingEncoder()
    cache = cached(encoder)
    np.testing.assert_array_equal(cache.encode_passages(TEXTS), CountingEncoder().encode_passages(TEXTS))
    cache.encode_queries(TEXTS[:2])
    assert encoder.seen == []
    assert cache.encoded.texts == 0
    assert cache.ever_encoded.texts == len(set(TEXTS)) + 2
    assert cache.ever_encoded.seconds > 0


@pytest.mark.parametrize("other", [CountingEncoder("counting", 2), CountingEncoder("another", 1)])
def test_another_model_has_vectors_of_its_own(cached, other):
    cached(CountingEncoder()).encode_passages(TEXTS)
    vectors = cached(other).encode_passages(TEXTS)
    assert sorted(other.passages) == sorted(set(TEXTS))
    assert not np.array_equal(vectors, CountingEncoder().encode_passages(TEXTS))


def test_another_execution_has_vectors_of_its_own(cached, monkeypatch):
    cached(CountingEncoder()).encode_passages(TEXTS)
    encoder = CountingEncoder()
    monkeypatch.setattr(encoder, "execution", lambda: {"precision": "int8"})
    cached(encoder).encode_passages(TEXTS)
    assert sorted(encoder.passages) == sorted(set(TEXTS))


@settings(max_examples=25)
@given(calls=st.lists(st.tuples(st.booleans(), st.lists(st.text(max_size=3), max_size=6)), max_size=6))
def test_any_calls_give_the_vectors_of_the_encoder(tmp_path_factory, calls):
    plain, cache = CountingEncoder(), CachedEncoder(CountingEncoder(), tmp_path_factory.mktemp("cache"))
    for as_query, texts in calls:
        name = "encode_queries" if as_query else "encode_passages"
        np.testing.assert_array_equal(getattr(cache, name)(texts), getattr(plain, name)(texts))
    cache.close()


def test_it_is_the_encoder_to_a_collection(cached, tmp_path):
    encoder = CountingEncoder()
    cache = cached(encoder)
    assert fingerprint(cache.identity()) == fingerprint(encoder.identity())
    with Collection.create(tmp_path / "a.index", encoder=cache) as collection:
        collection.add([Document("a", "owl"), Document("b", "wren")])
    with Collection.open(tmp_path / "a.index", encoder=CountingEncoder()) as collection:
        plain = collection.search("owl", mode="dense")
    with Collection.open(tmp_path / "a.index", encoder=cache) as collection:
        found = collection.search("owl", mode="dense")
    assert (found.ids, found.scores.tolist()) == (plain.ids, plain.scores.tolist())


def test_timed_searches_go_through_the_model(cached):
    encoder = CountingEncoder()
    cache = cached(encoder)
    cache.encode_queries(["owl"])
    with without_embedding_cache():
        np.testing.assert_array_equal(cache.encode_queries(["owl"]), CountingEncoder().encode_queries(["owl"]))
    assert encoder.queries == ["owl", "owl"]
    assert cache.encoded.texts == 1  # only what it would have taken anyway
    cache.encode_queries(["owl"])
    assert len(encoder.queries) == 2


def test_a_folder_in_use_is_said(tmp_path):
    first = CachedEncoder(CountingEncoder(), tmp_path)
    with pytest.raises(LockedError, match="being written by this process already"):
        CachedEncoder(CountingEncoder(), tmp_path)
    other = CachedEncoder(CountingEncoder("another"), tmp_path)  # has its own place
    first.close()
    CachedEncoder(CountingEncoder(), tmp_path).close()
    other.close()


def test_a_damaged_block_is_encoded_again(cached, tmp_path, caplog):
    cached(CountingEncoder()).encode_passages(TEXTS)
    cached(CountingEncoder("another"))  # closes the first
    (block,) = (tmp_path / "embeddings").glob("*/*.safetensors")
    block.write_bytes(block.read_bytes()[:-1])
    encoder = CountingEncoder()
    np.testing.assert_array_equal(cached(encoder).encode_passages(TEXTS), CountingEncoder().encode_passages(TEXTS))
    assert sorted(encoder.passages) == sorted(set(TEXTS))
    assert "not a whole block" in caplog.text


def test_a_killed_process_leaves_what_it_has_written(tmp_path, cached):
    script = textwrap.dedent(
        f"""
        import os, signal
        from pathlib import Path
        from eval.embedding_cache import CachedEncoder
        from tests.eval.running.conftest import ROOT, CountingEncoder
        cache = CachedEncoder(CountingEncoder(), Path({str(tmp_path / "embeddings")!r}))
        cache.encode_passages(["owl", "wren"])
        cache.flush()
        cache.encode_passages(["kite"])
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    done = subprocess.run([sys.executable, "-c", script], check=False, env=environment)
    assert done.returncode == -signal.SIGKILL
    encoder = CountingEncoder()
    cached(encoder).encode_passages(["owl", "wren", "kite"])
    assert encoder.passages == ["kite"]


def test_late_chunking_passes_through(cached):
    cache = cached(CountingEncoder())
    assert "vectors of texts" in cache.late_chunking_problem()

    class Late(CountingEncoder):
        def late_chunking_problem(self):
            return None

        def encode_in_context(self, texts):
            yield from texts

    cache = cached(Late())
    assert cache.late_chunking_problem() is None
    assert list(cache.encode_in_context([])) == []
