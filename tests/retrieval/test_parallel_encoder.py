"""Several processes that encode: the same vectors in the same order, and errors that say what happened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from retrieval import Collection, Document
from retrieval.cli import main
from retrieval.encoders import Encoder, load_encoder
from retrieval.encoders import parallel as module
from retrieval.encoders.base import StreamingEncoder, settle
from retrieval.encoders.late_chunking import TextInContext
from retrieval.encoders.parallel import ParallelEncoder
from retrieval.errors import EncoderError

TEXTS = [f"text {number % 150} " + "of some words " * (number % 7) for number in range(200)]


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Let the processes serve texts of more than a hundred characters."""
    monkeypatch.setattr(module, "FEW_CHARACTERS", 100)


def execution_of(collection):
    return collection.snapshot.segments[0].passages.execution


@pytest.fixture(scope="module")
def tiny_folder(tiny_model):
    return tiny_model()


@pytest.fixture(scope="module")
def encoders(tiny_folder):
    alone = load_encoder(tiny_folder)
    settle(alone)
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
    # All compute as the processes do, with the library.
    assert parallel.execution() == {**alone.execution(), "devices": ["cpu", "cpu"]}
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


def test_a_few_texts_need_no_process(tiny_folder):
    parallel = load_encoder(tiny_folder, device=["cpu", "cpu"])
    assert [len(each) for each in parallel.encode_stream([["a"], [], ["b", "c"]])] == [1, 0, 2]
    assert parallel.encode_passages(["a"] * 1000).shape == (1000, parallel.dimension)
    assert parallel._processes is None
    parallel.close()


def test_several_threads_share_the_processes(encoders):
    alone, parallel = encoders
    expected = alone.encode_passages(TEXTS)
    with ThreadPoolExecutor(4) as threads:
        for found in threads.map(lambda _: parallel.encode_passages(TEXTS), range(8)):
            np.testing.assert_allclose(found, expected, atol=1e-5)


def test_passages_are_encoded_within_their_text(encoders):
    alone, parallel = encoders
    assert parallel.late_chunking_problem() == alone.late_chunking_problem()
    text = TextInContext("some words and more words", 0, np.array([[0, 10], [11, 25]]), np.array([True, True]))
    (found,), (known,) = ([each.vectors for each in side.encode_in_context([text])] for side in (parallel, alone))
    np.testing.assert_allclose(found, known, atol=1e-5)


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
        collection.add([Document("new", "another text")])
        assert "devices" not in collection.snapshot.segments[-1].passages.execution


def is_running(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


class TestProcesses:
    @pytest.mark.slow
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
        with pytest.raises(EncoderError, match=r"could not load its model: .*/not/there"):
            list(parallel.encode_stream([TEXTS]))
        parallel.close()

    def test_another_model_is_refused(self, tiny_folder):
        parallel = ParallelEncoder(load_encoder(tiny_folder), ["cpu"], partial(load_encoder, "embedded"))
        with pytest.raises(EncoderError, match="has changed on the disk"):
            list(parallel.encode_stream([TEXTS]))
        parallel.close()

    def test_another_precision_is_refused(self, tiny_folder):
        parallel = ParallelEncoder(
            load_encoder(tiny_folder), ["cpu"], partial(load_encoder, tiny_folder, precision="bf16")
        )
        with pytest.raises(EncoderError, match="computes in bf16 on one of cpu, in fp32 on cpu"):
            list(parallel.encode_stream([TEXTS]))
        parallel.close()

    @pytest.mark.slow
    def test_they_end_with_the_process_that_started_them(self, tiny_folder, tmp_path):
        script = tmp_path / "script.py"
        text = f"""
import os, signal
from retrieval.encoders import load_encoder, parallel
parallel.FEW_CHARACTERS = 10
if __name__ == "__main__":
    encoder = load_encoder({str(tiny_folder)!r}, device=["cpu", "cpu"])
    encoder.encode_passages(["some words", "other words"])
    print(*encoder._processes._processes, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
        script.write_text(text, encoding="utf-8")
        found = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
        started = [int(number) for number in found.stdout.split()]
        assert started, found.stderr
        for _ in range(200):
            if not any(map(is_running, started)):
                return
            time.sleep(0.05)
        pytest.fail("a process goes on alone")

    def test_after_closing_there_is_no_encoder(self, tiny_folder):
        parallel = load_encoder(tiny_folder, device=["cpu", "cpu"])
        parallel.close()
        for call in (
            parallel.encode_passages,
            parallel.encode_queries,
            lambda texts: list(parallel.encode_stream([texts])),
        ):
            for texts in (TEXTS, ["a"]):
                with pytest.raises(EncoderError, match="is closed"):
                    call(texts)


class TestArguments:
    def test_one_device_needs_no_process(self, tiny_folder):
        assert not isinstance(load_encoder(tiny_folder, device=["cpu"]), ParallelEncoder)

    def test_no_device_is_refused(self, tiny_folder):
        with pytest.raises(EncoderError, match="name at least one device"):
            load_encoder(tiny_folder, device=[])

    def test_a_loaded_model_is_refused(self, encoders):
        with pytest.raises(EncoderError, match="is for a model that is loaded on each of them"):
            load_encoder(encoders[0], device=["cpu", "cpu"])

    @pytest.mark.slow
    def test_a_relative_path_is_found_from_elsewhere(self, tiny_folder, tmp_path, monkeypatch):
        monkeypatch.chdir(tiny_folder.parent)
        parallel = load_encoder(tiny_folder.name, device=["cpu", "cpu"])
        monkeypatch.chdir(tmp_path)
        assert len(parallel.encode_passages(TEXTS)) == len(TEXTS)
        parallel.close()


class TestCommandLine:
    @pytest.fixture
    def source(self, tmp_path):
        path = tmp_path / "texts.jsonl"
        path.write_text("".join(f'{{"id": "{number}", "text": "words {number}"}}\n' for number in range(100)))
        return path

    def test_settings_stand_behind_the_model(self, run, tiny_folder, source, tmp_path):
        index = tmp_path / "index"
        for number in (1, 2):  # new, and there already
            source.write_text(f'{{"id": "{number}", "text": "words {number}"}}\n')
            status, said = run("index", index, source, "--encoder", f"{tiny_folder},device=cpu+cpu,batch_tokens=512")
            assert status == 0, said
            with Collection.open(index) as collection:
                execution = collection.snapshot.segments[-1].passages.execution
            assert len(collection.snapshot.segments) == number
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
