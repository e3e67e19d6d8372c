"""`retrieval doctor`: findings with a fix each, and an exit status that scripts can rely on."""

from __future__ import annotations

import pytest

from retrieval.cli import health, threads
from retrieval.cli.health import Finding


@pytest.fixture
def without_probes(monkeypatch):
    """Leave out what starts other processes; it has a test of its own."""
    monkeypatch.setattr(
        "retrieval.cli.threads.check_threads", lambda: iter([Finding("libraries", "ok", "as expected")])
    )


@pytest.mark.slow
def test_this_machine_is_well(cli):
    done = cli("doctor", "--json")
    assert done.status == 0
    assert done.json["ok"] is True
    findings = {finding["name"]: finding for finding in done.json["findings"]}
    assert findings.keys() >= {"python", "packages", "libraries", "threads", "openmp", "embedded model", "kernels"}
    assert "numba" in findings["packages"]["detail"]
    assert "both orders" in findings["libraries"]["detail"]


@pytest.mark.usefixtures("without_probes")
def test_an_index_is_looked_at_too(cli, lexical):
    done = cli("doctor", lexical)
    assert done.status == 0
    assert "ok       index: 4 documents" in done.out
    assert "a lexical index" in done.out
    assert done.out.endswith("all is well\n")


@pytest.mark.usefixtures("without_probes")
def test_a_damaged_index_is_a_problem_with_a_fix(cli, lexical):
    for path in (lexical / "parts").rglob("*.npy"):
        path.write_bytes(path.read_bytes()[:-1])
    done = cli("doctor", lexical, "--json")
    assert done.status == 1
    problems = [finding for finding in done.json["findings"] if finding["status"] == "problem"]
    assert problems[0]["name"] == "index"
    assert "backup" in problems[0]["fix"]
    assert "retrieval verify" in problems[-1]["fix"]


@pytest.mark.usefixtures("without_probes")
def test_no_index_there_is_a_problem(cli, tmp_path):
    done = cli("doctor", tmp_path / "nothing")
    assert done.status == 1
    assert "PROBLEM  index: no collection" in done.out


@pytest.mark.usefixtures("without_probes")
def test_a_check_that_breaks_is_a_finding(cli, monkeypatch):
    def broken():
        raise RuntimeError("surprise")

    monkeypatch.setattr(health, "check_kernels", broken)
    done = cli("doctor")
    assert done.status == 1
    assert "PROBLEM  kernels: cannot be checked: RuntimeError: surprise" in done.out
    assert "1 problem" in done.out


def test_missing_and_old_packages_are_told_with_the_command_that_mends_them(monkeypatch):
    installed = health._installed
    monkeypatch.setattr(health, "_installed", lambda name: {"numba": None, "rich": "1.0"}.get(name, installed(name)))
    found = {finding.name: finding for finding in health.check_packages()}
    assert found["packages"].status == "problem"
    assert "numba missing" in found["packages"].detail
    assert "numba>=" in found["packages"].fix
    assert "rich>=" in found["packages"].fix
    assert "torch" not in found["packages"].fix


def test_an_extra_that_is_not_installed_is_a_note(monkeypatch):
    installed = health._installed
    monkeypatch.setattr(health, "_installed", lambda name: None if name == "pypdf" else installed(name))
    found = {finding.name: finding for finding in health.check_packages()}
    assert found["extra pdf"].status == "note"
    assert found["extra pdf"].fix == "pip install 'retrieval-engine[pdf]'"
    assert found["packages"].status == "ok"


def test_a_changed_model_is_a_problem(monkeypatch, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"other weights")
    monkeypatch.setattr("retrieval.encoders.embedded.embedded_folder", lambda: tmp_path)
    (finding,) = health.check_model()
    assert finding.status == "problem"
    assert "force-reinstall" in finding.fix


def test_runtimes_that_clash_are_a_problem():
    def pool(prefix, path):
        return {"user_api": "openmp", "prefix": prefix, "filepath": path}

    assert threads._runtimes(None).status == "note"
    assert threads._runtimes([pool("libgomp", "/a/libgomp.so"), pool("libgomp", "/b/libgomp.so")]).status == "ok"
    assert threads._runtimes([pool("libgomp", "/a/libgomp.so"), pool("libomp", "/b/libomp.so")]).status == "note"
    assert threads._runtimes([pool("libiomp", "/a/libiomp5.so"), pool("libomp", "/b/libomp.so")]).status == "problem"


def test_a_probe_that_dies_is_a_problem(monkeypatch):
    monkeypatch.setattr(threads, "ORDERS", (("no_such_library",),))
    (finding,) = threads.check_threads()
    assert finding.status == "problem"
    assert "No module named 'no_such_library'" in finding.detail


@pytest.mark.usefixtures("without_probes")
def test_the_precision_is_said_and_by_whom(cli, lexical, monkeypatch):
    monkeypatch.setattr("retrieval.execution.precision.supported_precision", lambda device=None: "bf16")
    assert "ok       precision: fp32, as RETRIEVAL_PRECISION says; the fastest here is bf16" in cli("doctor").out
    monkeypatch.setenv("RETRIEVAL_PRECISION", "fp64")
    done = cli("doctor", lexical)
    assert done.status == 1
    assert "PROBLEM  precision: the environment variable RETRIEVAL_PRECISION is 'fp64'" in done.out
    assert "unset RETRIEVAL_PRECISION, or set it to bf16" in done.out
    monkeypatch.delenv("RETRIEVAL_PRECISION")
    assert "ok       precision: bf16\n" in cli("doctor").out
