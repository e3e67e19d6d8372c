"""ONNX Runtime and OpenVINO: the same vectors as PyTorch, the same identity, another execution."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retrieval import Collection
from retrieval.collection.begun_execution import COSINE_FLOOR
from retrieval.encoders import load_encoder
from retrieval.errors import EncoderError, EncoderMismatchError, MissingExtraError, RetrievalError
from retrieval.runtimes.kept_folders import kept_folder
from retrieval.runtimes.onnx_runtime import OnnxRuntime
from retrieval.runtimes.openvino_runtime import OpenVinoRuntime

TEXTS = ["How do I read a CSV file?", "", "Größe — naïve café 検索 🙂", "the search engine " * 40, "word"]

PACKAGES = {"onnx": ("onnxruntime", "onnx", "onnxscript"), "openvino": ("openvino", "onnx", "onnxscript")}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Let networks be exported once for all tests, and not into the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


@pytest.fixture(params=PACKAGES)
def runtime(request, cache):
    for package in PACKAGES[request.param]:
        pytest.importorskip(package)
    return request.param


def cosines(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    return (found * expected).sum(axis=1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)


@pytest.mark.parametrize(
    "changes",
    [
        {"prompts": {"query": "query: ", "document": "the "}},
        {"pooling": "cls", "dense": 16, "normalize": False, "similarity": "dot"},
    ],
    ids=str,
)
def test_vectors_are_those_of_pytorch(tiny_model, runtime, changes):
    folder = tiny_model(**changes)
    ours = load_encoder(folder, runtime=runtime, batch_tokens=48)
    torch = load_encoder(folder, runtime="torch", batch_tokens=48)
    np.testing.assert_allclose(ours.encode_passages(TEXTS), torch.encode_passages(TEXTS), atol=1e-5)
    np.testing.assert_allclose(ours.encode_queries(TEXTS), torch.encode_queries(TEXTS), atol=1e-5)
    assert ours.identity() == torch.identity()
    execution = ours.execution()
    assert (execution["runtime"], execution["precision"], execution["device"]) == (runtime, "fp32", "cpu")
    assert torch.execution()["runtime"] == "torch"


def test_a_text_has_one_vector_in_any_company(tiny_model, runtime):
    encoder = load_encoder(tiny_model(), runtime=runtime)
    alone = np.concatenate([encoder.encode_passages([text]) for text in TEXTS])

    @settings(max_examples=15, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.sampled_from(range(len(TEXTS))), min_size=1, max_size=9))
    def check(rows):
        np.testing.assert_allclose(encoder.encode_passages([TEXTS[row] for row in rows]), alone[rows], atol=1e-5)

    check()


def test_a_collection_goes_from_one_runtime_to_another(tiny_model, runtime, tmp_path):
    documents = [{"id": str(number), "text": text} for number, text in enumerate(TEXTS)]
    Collection.create(tmp_path / "my.index", encoder=load_encoder(tiny_model(), runtime=runtime)).add(documents)
    opened = Collection.open(tmp_path / "my.index", encoder=load_encoder(tiny_model()))
    assert opened.search("word", mode="dense").ids[0] == "4"


def test_networks_are_exported_once_and_again_when_damaged(tiny_model, runtime, cache):
    expected = load_encoder(tiny_model(), runtime=runtime).encode_passages(TEXTS)
    files = {path: path.stat().st_mtime_ns for path in cache.rglob("network.onnx")}
    load_encoder(tiny_model(), runtime=runtime)
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("network.onnx")} == files
    for path in files:
        path.write_bytes(path.read_bytes()[:-100] + bytes(100))
    np.testing.assert_array_equal(load_encoder(tiny_model(), runtime=runtime).encode_passages(TEXTS), expected)


def test_onnx_in_eight_bits(tiny_model, cache):
    for package in PACKAGES["onnx"]:
        pytest.importorskip(package)
    encoder, exact = load_encoder(tiny_model(), runtime="onnx", precision="int8"), load_encoder(tiny_model())
    assert encoder.execution()["precision"] == "int8"
    found = cosines(encoder.encode_passages(TEXTS), exact.encode_passages(TEXTS))
    assert 0.98 < found.min() < 0.999999
    assert encoder.identity() == exact.identity()


def test_openvino_in_bf16(tiny_model, cache):
    openvino = pytest.importorskip("openvino")
    pytest.importorskip("onnxscript")
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        with pytest.raises(EncoderError, match="no units for bf16"):
            load_encoder(tiny_model(), runtime="openvino", precision="bf16")
        return
    encoder, exact = load_encoder(tiny_model(), runtime="openvino", precision="bf16"), load_encoder(tiny_model())
    found = cosines(encoder.encode_passages(TEXTS), exact.encode_passages(TEXTS))
    assert 0.99 < found.min() < 0.999999


def test_a_closed_runtime_says_so(runtime, tiny_model):
    loaded = load_encoder(tiny_model(), runtime=runtime)._runtime
    loaded.close()
    with pytest.raises(EncoderError, match="the encoder is closed; load it again"):
        loaded._output({})


def test_a_file_that_is_no_network_is_said(runtime, tmp_path):
    (tmp_path / "network.onnx").write_bytes(b"nothing of the kind")
    kind = {"onnx": OnnxRuntime, "openvino": OpenVinoRuntime}[runtime]
    with pytest.raises(EncoderError, match=r"cannot run .*network\.onnx"):
        kind(tmp_path / "network.onnx", lambda states, lengths: states, 0, ["input_ids"], "fp32")


@pytest.mark.slow
def test_openvino_in_eight_bits(tiny_model, cache):
    pytest.importorskip("nncf")
    pytest.importorskip("openvino")
    with pytest.raises(EncoderError, match="give calibration= some hundred passages"):
        load_encoder(tiny_model(), runtime="openvino", precision="int8")
    samples = ["the search engine is a model of retrieval", "a query and a document", "words of the document"] * 4
    encoder = load_encoder(tiny_model(), runtime="openvino", precision="int8", calibration=samples)
    exact = load_encoder(tiny_model())
    assert encoder.execution()["precision"] == "int8"
    other = load_encoder(tiny_model(), runtime="openvino", precision="int8", calibration=samples[:3])
    assert encoder.execution()["calibration"] != other.execution()["calibration"], "other ranges, other vectors"
    found = cosines(encoder.encode_passages(samples), exact.encode_passages(samples))
    assert 0.9 < found.min() < 0.999999


# -------------------------------------------------------------------------------------------- collections in eight bits


def in_eight_bits(runtime):
    """Return the settings of an encoder in eight bits; skips where it cannot be had."""
    for package in (*PACKAGES[runtime], *(["nncf"] if runtime == "openvino" else [])):
        pytest.importorskip(package)
    calibration = {"calibration": ["the search engine is a model of retrieval", "a query"] * 4}
    return {"runtime": runtime, "precision": "int8", **(calibration if runtime == "openvino" else {})}


@pytest.mark.slow
@pytest.mark.parametrize(("runtime", "near"), [("onnx", 0.05), ("openvino", 1e-6)])
def test_a_collection_in_eight_bits_goes_on_in_them(tmp_path, tiny_model, cache, runtime, near):
    """ONNX Runtime's hang on what stands in the same batch, so that equal texts are near, and no more."""
    made = load_encoder(tiny_model(), **in_eight_bits(runtime))
    with Collection.create(tmp_path / "my.index", encoder=made) as collection:
        collection.add([{"id": str(number), "text": text} for number, text in enumerate(TEXTS)])
    for again in (Collection.open(tmp_path / "my.index"), Collection.open(tmp_path / "my.index", encoder=tiny_model())):
        with again as opened:
            found = opened.search("word", mode="dense")
            assert found.ids[0] == "4"
            np.testing.assert_allclose(found[0].score, 1.0, atol=near)
            opened.add([{"id": "more", "text": "word"}])
            alike = opened.search("word", mode="dense", k=2)
            assert set(alike.ids) == {"4", "more"}
            np.testing.assert_allclose([hit.score for hit in alike], 1.0, atol=near)
            assert all(segment["execution"] == made.execution() for segment in opened.stats()["segments"])
            opened.delete(["more"])


PASSAGES = [
    "a cat sat",
    "the weather is fine today",
    "stock prices fell",
    *(f"A longer passage number {n}, that tells of {topic} at great length. " * (1 + n % 4)
      for n, topic in enumerate(["whales", "trains", "bread", "storms", "violins", "chess", "quantum mechanics"])),
]  # fmt: skip


@pytest.mark.slow
def test_eight_bits_that_hang_on_the_batch_are_known_again(tmp_path, cache, monkeypatch):
    """With other batches and another version of the runtime: alone and together, a text's vectors are not so near."""
    settings = in_eight_bits("onnx")
    made = load_encoder("embedded", batch_tokens=4096, **settings)
    together, alone = made.encode_passages(PASSAGES), made.encode_passages(PASSAGES[:3])
    assert cosines(alone, together[:3]).min() < COSINE_FLOOR, "nothing to be forgiven"
    with Collection.create(tmp_path / "my.index", encoder=made) as collection:
        collection.add([{"id": str(number), "text": text} for number, text in enumerate(PASSAGES)])
    monkeypatch.setattr("retrieval.runtimes.onnx_runtime.version_of", lambda package: "99")
    with Collection.open(tmp_path / "my.index") as opened:
        assert opened.search("a cat", mode="dense").ids[0] == "0"
    with (
        Collection.open(tmp_path / "my.index", encoder=load_encoder("embedded")) as opened,
        pytest.raises(EncoderMismatchError, match=r"at least 0\.999 is needed"),
    ):
        opened.search("a cat", mode="dense")


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_another_model_is_refused_as_such(tmp_path, tiny_model, cache, runtime):
    made = load_encoder(tiny_model(), **in_eight_bits(runtime))
    with Collection.create(tmp_path / "my.index", encoder=made) as collection:
        collection.add([{"id": "a", "text": "word"}])
    with pytest.raises(EncoderMismatchError, match="weights"):
        Collection.open(tmp_path / "my.index", encoder=tiny_model(seed=9))


@pytest.mark.slow
def test_what_another_process_encoded_anew_is_not_searched_in_eight_bits(tmp_path, tiny_model, cache):
    with Collection.create(tmp_path / "my.index", encoder=load_encoder(tiny_model(), **in_eight_bits("onnx"))) as new:
        new.add([{"id": str(number), "text": text} for number, text in enumerate(TEXTS)])
    with Collection.open(tmp_path / "my.index") as first, Collection.open(tmp_path / "my.index") as second:
        assert first.search("word", mode="dense").ids[0] == "4"
        second.reencode(load_encoder(tiny_model(), precision="fp32"))
        first.refresh()
        np.testing.assert_allclose(first.search("word", mode="dense")[0].score, 1.0, atol=1e-6)
        first.add([{"id": "more", "text": "word"}])
        assert {segment["execution"]["precision"] for segment in first.stats()["segments"]} == {"fp32"}


@pytest.mark.slow
def test_a_collection_in_eight_bits_whose_calibration_is_gone_says_so(tmp_path, tiny_model, cache, monkeypatch):
    settings = in_eight_bits("openvino")
    made = load_encoder(tiny_model(), **settings)
    with Collection.create(tmp_path / "my.index", encoder=made) as collection:
        collection.add([{"id": str(number), "text": text} for number, text in enumerate(TEXTS)])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    with Collection.open(tmp_path / "my.index") as opened:
        assert opened.search("word", mode="bm25").ids[0] == "4"
        digest = made.execution()["calibration"]
        with pytest.raises(EncoderError, match=f"digest {digest}.*the same calibration="):
            opened.search("word", mode="dense")
    with Collection.open(tmp_path / "my.index", encoder=load_encoder(tiny_model(), **settings)) as opened:
        assert opened.search("word", mode="dense").ids[0] == "4"


# ------------------------------------------------------------------------------------------ without any of the packages


@pytest.mark.parametrize(("name", "package"), [("onnx", "onnxruntime"), ("openvino", "openvino")])
def test_a_missing_package_is_named_with_its_extra(tiny_model, monkeypatch, name, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        MissingExtraError, match=rf"needs the package '{package}': pip install 'retrieval-engine\[{name}\]'"
    ):
        load_encoder(tiny_model(), runtime=name)


@pytest.mark.parametrize(
    ("given_settings", "reason"),
    [
        ({"runtime": "tensorrt"}, "unknown runtime 'tensorrt': one of torch, onnx, openvino"),
        ({"runtime": "onnx", "precision": "bf16"}, "has no precision 'bf16': one of fp32, int8"),
        ({"precision": "int8"}, "unknown precision 'int8'"),
        ({"calibration": ["a"]}, "calibration is for runtime='openvino'"),
    ],
)
def test_settings_that_do_not_fit(tiny_model, given_settings, reason):
    with pytest.raises(RetrievalError, match=reason):
        load_encoder(tiny_model(), **given_settings)


class TestKeptFolders:
    @pytest.fixture(autouse=True)
    def _own_cache(self, own_cache):
        self.root = own_cache

    def test_are_made_once_for_what_they_are_made_of(self):
        made = []

        def make(folder):
            made.append(folder)
            (folder / "a").write_text("1")

        first = kept_folder({"kind": "x"}, make)
        assert kept_folder({"kind": "x"}, make) == first
        assert kept_folder({"kind": "y"}, make) != first
        assert len(made) == 2
        (first / "a").write_text("2")
        assert (kept_folder({"kind": "x"}, make) / "a").read_text() == "1"
        assert len(made) == 3

    def test_what_fails_leaves_nothing(self):
        def fail(folder):
            (folder / "half").write_text("1")
            raise EncoderError("cannot")

        with pytest.raises(EncoderError, match="cannot"):
            kept_folder({"kind": "x"}, fail)
        assert not list(self.root.rglob("half"))

    def test_what_a_killed_process_left_is_removed(self):
        kept_folder({"kind": "x"}, lambda folder: (folder / "a").write_text("1") and None)
        (place,) = self.root.rglob("networks")
        old, new = place / "making-old", place / "making-new"
        for left in (old, new):
            left.mkdir()
        os.utime(old, (0, 0))
        kept_folder({"kind": "y"}, lambda folder: (folder / "a").write_text("1") and None)
        assert (old.exists(), new.exists()) == (False, True)

    def test_no_place_to_keep_it(self, tmp_path, monkeypatch):
        (tmp_path / "cache").write_text("a file, not a folder")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        with pytest.raises(EncoderError, match="set XDG_CACHE_HOME"):
            kept_folder({"kind": "x"}, lambda folder: None)


def test_nothing_is_reported_to_anybody():
    """OpenVINO imports its telemetry, and sends, before it is asked for anything."""
    pytest.importorskip("openvino")
    code = (
        "import sys; from retrieval.runtimes.requirements import required; required('openvino', 'openvino');"
        "print('openvino.tools.ovc.telemetry_stub' in sys.modules, sys.modules['openvino_telemetry'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "None"]
