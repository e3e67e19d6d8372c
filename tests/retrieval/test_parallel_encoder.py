"""Several processes that encode: the same vectors in the same order, and errors that say what happened."""

from __future__ import annotations

import os
import signal
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from retrieval import Collection, Document
from retrieval.cli import main
from retrieval.encoders import Encoder, load_encoder
from retrieval.encoders.base import StreamingEncoder
from retrieval.encoders.parallel import FEW_TEXTS, ParallelEncoder
from retrieval.errors import EncoderError

TEXTS = [f"text {number % 150} " + "of some words " * (number % 7) for number in range(200)]
assert len(set(TEXTS)) > FEW_TEXTS


def execution_of(collection):
    return collection.snapshot.segments[0].passages.execution


@pytest.fixture(scope="module")
def tiny_folder(tiny_model):
    return tiny_model()


@pytest.fixture(scope="module")
def encoders(tiny_folder):
    alone = load_encoder(tiny_folder)
    parallel = load_encoder(tiny_folder, device=["cpu", "cpu"])
    yield alone, parallel
    parallel.close()
    alone.close()


def test_it_is_the_same_encoder(encoders):
    alone, parallel = encoders
    assert isinstance(parallel, ParallelEncoder)
    assert isinstance(parallel, Encoder)
    assert isinstance(parallel, StreamingEncoder)
    assert parallel.identity() == alone.identity()
    assert (parallel.dimension, parallel.similarity, parallel.max_tokens, parallel.source) == (
        alone.dimension,
        alone.similarity,
        alone.max_tokens,
        alone.source,
    )
    assert parallel.execution()["devices"] == ["cpu", "cpu"]
    np.testing.assert_array_equal(parallel.count_tokens(TEXTS), alone.count_tokens(TEXTS))
    assert [spans.tolist() for spans in parallel.token_spans(TEXTS[:3])] == [
        spans.tolist() for spans in alone.token_spans(TEXTS[:3])
    ]


def test_vectors_are_those_of_one_process(encoders):
    alone, parallel = encoders
    found = parallel.encode_passages(TEXTS)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, alone.encode_passages(TEXTS), atol=1e-5)
    first = {text: found[row] for row, text in reversed(list(enumerate(TEXTS)))}
    assert all(np.array_equal(vector, first[text]) for text, vector in zip(TEXTS, found, strict=True))
    np.testing.assert_allclose(parallel.encode_queries(TEXTS[:5]), alone.encode_queries(TEXTS[:5]), atol=1e-5)
    assert parallel.encode_passages([]).shape == (0, alone.dimension)


def test_steps_come_in_their_order_and_are_taken_as_they_are_needed(encoders):
    alone, parallel = encoders
    taken = []

    def steps():
        for number in range(40):
            taken.append(number)
            yield TEXTS[number : number + number % 3]

    coming = parallel.encode_stream(steps())
    found = list(islice(coming, 10))
    assert len(taken) <= 10 + 2 * 2
    found += list(coming)
    assert len(found) == 40
    for number, vectors in enumerate(found):
        np.testing.assert_allclose(vectors, alone.encode_passages(TEXTS[number : number + number % 3]), atol=1e-5)


def test_a_text_that_is_none_is_named_and_the_processes_go_on(encoders):
    _, parallel = encoders
    with pytest.raises(EncoderError, match="text 1 is None"):
        list(parallel.encode_stream([["a"], ["b", None]]))
    assert len(parallel.encode_passages(TEXTS)) == len(TEXTS)


def test_a_collection_is_opened_again_without_the_processes(encoders, tmp_path):
    _, parallel = encoders
    documents = [Document(str(number), text) for number, text in enumerate(dict.fromkeys(TEXTS))]
    with Collection.create(tmp_path / "index", encoder=parallel) as collection:
        collection.add(documents)
        assert execution_of(collection)["devices"] == ["cpu", "cpu"]
    with Collection.open(tmp_path / "index") as collection:
        (hits,) = collection.search_many([documents[7].text], k=1, mode="dense")
        assert hits[0].id == "7"


class TestProcesses:
    def test_one_that_ended_is_an_error_and_others_begin(self, tiny_folder):
        parallel = load_encoder(tiny_folder, device=["cpu", "cpu"])
        parallel.encode_passages(TEXTS)
        for process in list(parallel._processes._processes.values()):
            os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(EncoderError, match=r"on cpu, cpu ended: memory did not suffice"):
            parallel.encode_passages(TEXTS)
        assert len(parallel.encode_passages(TEXTS)) == len(TEXTS)
        parallel.close()

    def test_one_that_cannot_load_is_an_error(self, tiny_folder):
        parallel = ParallelEncoder(load_encoder(tiny_folder), ["cpu"], partial(load_encoder, Path("/not/there")))
        with pytest.raises(EncoderError, match="the model cannot be loaded there"):
            parallel.encode_passages(TEXTS)

    def test_another_model_is_refused(self, tiny_folder):
        parallel = ParallelEncoder(load_encoder(tiny_folder), ["cpu"], partial(load_encoder, "embedded"))
        with pytest.raises(EncoderError, match="has changed on the disk"):
            parallel.encode_passages(TEXTS)
        parallel.close()

    def test_after_closing_there_is_no_encoder(self, tiny_folder):
        parallel = load_encoder(tiny_folder, device=["cpu", "cpu"])
        parallel.close()
        for call in (parallel.encode_passages, parallel.encode_queries, parallel.count_tokens):
            with pytest.raises(EncoderError, match="is closed"):
                call(TEXTS)


class TestArguments:
    def test_one_device_needs_no_process(self, tiny_folder):
        assert not isinstance(load_encoder(tiny_folder, device=["cpu"]), ParallelEncoder)

    def test_no_device_is_refused(self, tiny_folder):
        with pytest.raises(EncoderError, match="name at least one device"):
            load_encoder(tiny_folder, device=[])

    def test_a_loaded_model_is_refused(self, encoders):
        with pytest.raises(EncoderError, match="several devices load a model each"):
            load_encoder(encoders[0], device=["cpu", "cpu"])


class TestCommandLine:
    @pytest.fixture
    def source(self, tmp_path):
        path = tmp_path / "texts.jsonl"
        path.write_text("".join(f'{{"id": "{number}", "text": "words {number}"}}\n' for number in range(100)))
        return path

    def test_settings_stand_behind_the_model(self, run, tiny_folder, source, tmp_path):
        index = tmp_path / "index"
        for _ in range(2):  # new, and there already
            status, said = run("index", index, source, "--encoder", f"{tiny_folder},device=cpu+cpu,batch_tokens=512")
            assert status == 0, said
        with Collection.open(index) as collection:
            execution = execution_of(collection)
        assert (execution["devices"], execution["batch_tokens"]) == (["cpu", "cpu"], 512)
        assert run("reencode", index, f"{tiny_folder},precision=bf16")[0] == 0
        with Collection.open(index) as collection:
            assert execution_of(collection)["precision"] == "bf16"

    @pytest.mark.parametrize(
        ("settings", "said"),
        [("precision=fp12", "fp12"), ("colour=red", "unknown encoder setting"), ("device=cpu,device=cpu", "twice")],
    )
    def test_bad_settings_are_named(self, run, tiny_folder, source, tmp_path, settings, said):
        status, message = run("index", tmp_path / "index", source, "--encoder", f"{tiny_folder},{settings}")
        assert status == 2
        assert said in message
        assert not (tmp_path / "index").exists()

    @pytest.fixture
    def run(self, capsys):
        def run(*arguments):
            with pytest.raises(SystemExit) as leaving:
                main([str(argument) for argument in arguments])
            return leaving.value.code, capsys.readouterr().err

        return run
