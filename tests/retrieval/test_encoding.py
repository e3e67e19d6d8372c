from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval import Collection, Document
from retrieval.encoders import FunctionEncoder
from retrieval.encoding import encode_passages
from retrieval.errors import EncoderError
from retrieval.staging import Staging, passage_hashes


class Recorder(FunctionEncoder):
    """Remembers what it was asked to encode; the same text gets another vector each time, as rounding might make it."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        super().__init__(self._vectors, "recorder", 1, dimension=2)

    def _vectors(self, texts: list[str]) -> np.ndarray:
        self.batches.append(texts)
        return np.array([[len(text), len(self.batches) + number / 1000] for number, text in enumerate(texts)])

    @property
    def encoded(self) -> list[str]:
        return [text for batch in self.batches for text in batch]


class Bar:
    def __init__(self) -> None:
        self.total = self.done = 0

    def grow(self, amount: int) -> None:
        self.total += amount

    def advance(self, amount: int = 1) -> None:
        self.done += amount


@given(st.lists(st.text(alphabet="ab ", max_size=6), max_size=30), st.sets(st.text(alphabet="ab ", max_size=3)))
def test_each_distinct_unknown_text_is_encoded_once(texts, already):
    encoder = Recorder()
    known_texts = sorted(already)
    table = {passage_hashes([text])[0].tobytes(): np.array([-1, number]) for number, text in enumerate(known_texts)}

    def known(hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = np.array([row.tobytes() in table for row in hashes], bool)
        return found, np.array([table[row.tobytes()] for row in hashes[found]], np.float32).reshape(-1, 2)

    result = encode_passages(encoder, texts, known=[known])
    assert sorted(encoder.encoded) == sorted(set(texts) - already)
    assert result.n_encoded == len(encoder.encoded)
    np.testing.assert_array_equal(result.hashes, passage_hashes(texts))
    assert result.vectors.shape == (len(texts), 2)
    assert result.vectors.dtype == np.float32
    by_text: dict[str, bytes] = {}
    for text, vector in zip(texts, result.vectors, strict=True):
        assert vector[0] == (-1 if text in already else len(text))
        assert by_text.setdefault(text, vector.tobytes()) == vector.tobytes()


def test_goes_from_long_to_short_in_steps():
    encoder, bar = Recorder(), Bar()
    lengths = [3, 30000, 5, 20000, 1, 20000]
    texts = [f"text {number}" for number in range(6)]
    result = encode_passages(encoder, texts, tokens=lengths, progress=bar)
    assert encoder.batches == [["text 1"], ["text 3"], ["text 5", "text 2", "text 0", "text 4"]]
    assert bar.total == bar.done == sum(lengths)
    assert result.n_encoded == 6


def test_progress_counts_only_what_is_encoded():
    bar = Bar()
    encode_passages(Recorder(), ["a", "a", "b"], tokens=[10, 10, 7], progress=bar)
    assert bar.total == bar.done == 17


def test_an_interrupted_run_goes_on(tmp_path):
    texts = [f"text {number}" for number in range(10)]
    tokens = [40000] * 10

    def failing(asked: list[str]) -> np.ndarray:
        if asked == ["text 6"]:
            raise KeyboardInterrupt
        return Recorder()._vectors(asked)

    broken = FunctionEncoder(failing, "recorder", 1, dimension=2)
    staging = Staging.for_encoder(tmp_path, broken)
    with pytest.raises(KeyboardInterrupt):
        encode_passages(broken, texts, tokens=tokens, staging=staging)
    staging.flush()
    encoder = Recorder()
    result = encode_passages(encoder, texts, tokens=tokens, staging=Staging.for_encoder(tmp_path, encoder))
    assert encoder.encoded == texts[6:]
    assert result.n_encoded == 4
    assert result.vectors[:, 0].tolist() == [6] * 10


def test_equal_texts_of_two_calls_get_one_vector(tmp_path):
    encoder = Recorder()
    staging = Staging.for_encoder(tmp_path, encoder)
    first = encode_passages(encoder, ["a", "b"], staging=staging)
    second = encode_passages(encoder, ["b", "c", "a"], staging=staging)
    assert encoder.encoded == ["a", "b", "c"]
    np.testing.assert_array_equal(second.vectors[[2, 0]], first.vectors)
    assert not list(tmp_path.iterdir())  # little work waits in memory


def test_vectors_that_are_not_finite():
    encoder = FunctionEncoder(lambda texts: np.full((len(texts), 2), np.inf), "bad", 1, dimension=2)
    with pytest.raises(EncoderError, match="NaN or infinity"):
        encode_passages(encoder, ["a"])


@pytest.mark.parametrize("returned", [np.ones((1, 2)), np.ones((3, 1)), np.ones(2), np.full((3, 2), np.nan), "x"])
def test_wrong_vectors_of_somebodys_encoder_are_refused(returned, tmp_path):
    class Wrong(FunctionEncoder):
        wrong = True

        def encode_passages(self, texts):
            return returned if self.wrong else np.ones((len(texts), 2), np.float32)

        def encode_queries(self, texts):
            return returned

    encoder = Wrong(lambda texts: np.ones((len(texts), 2)), "wrong", 1, dimension=2)
    with pytest.raises(EncoderError, match="encoder 'wrong' returned"):
        encode_passages(encoder, ["a", "bb", "ccc"])
    encoder.wrong = False
    collection = Collection.create(tmp_path / "c", encoder=encoder)
    collection.add(Document("a", "x"))
    with pytest.raises(EncoderError, match="encoder 'wrong' returned"):
        collection.search_many(["a", "b", "c"], mode="dense")


def test_nothing_to_do():
    result = encode_passages(Recorder(), [])
    assert result.vectors.shape == (0, 2)
    assert result.hashes.shape == (0, 16)
    assert result.n_encoded == 0
