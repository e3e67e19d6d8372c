"""`retrieval verify` and `retrieval doctor INDEX` on damaged indexes: which file, what it holds, what to do."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from retrieval import Collection, Document
from retrieval.cli.health import Finding

pytestmark = pytest.mark.usefixtures("without_probes")


@pytest.fixture
def without_probes(monkeypatch):
    """Leave out what starts other processes and hashes the model; tests/cli/test_cli_doctor.py tries them."""
    monkeypatch.setattr(
        "retrieval.cli.threads.check_threads", lambda: iter([Finding("libraries", "ok", "as expected")])
    )
    monkeypatch.setattr("retrieval.cli.health.check_model", lambda: iter([Finding("embedded model", "ok", "there")]))


@pytest.fixture
def index(tmp_path):
    """An index with given vectors, tombstones and a searcher."""
    collection = Collection.create(tmp_path / "birds.index", encoder=None)
    vectors = np.random.default_rng(0).normal(size=(3000, 8))
    collection.add((Document(f"d{number}", f"bird {number}") for number in range(3000)), vectors=vectors)
    collection.delete(["d5"])
    collection.optimize("int8")
    return collection.path


def file(index, kind, name):
    return next((index / "parts").glob(f"*-{kind}")) / name


def flip(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def sign(index, **changes):
    path = index / "manifest.json"
    content = json.dumps(json.loads(path.read_bytes())["manifest"] | changes).encode()
    digest = hashlib.sha256(content).hexdigest().encode()
    path.write_bytes(b'{"sha256": "' + digest + b'", "manifest":\n' + content + b"}\n")


@pytest.mark.parametrize(
    ("kind", "name", "holds", "fix"),
    [
        (
            "documents",
            "texts-bytes.npy",
            "[stored documents]",
            "restore the index from a backup, or index the documents",
        ),
        ("lexical", "lengths.npy", "[postings]", "restore the index from a backup, or index the documents"),
        ("dense", "vectors.npy", "[vectors]", "add the documents again with their vectors; the texts are whole"),
        ("tombstones", "deleted-rows.npy", "[which documents are deleted]", "restore the index from a backup"),
        ("searcher", "block-checksums.json", "[the approximate searcher]", "retrieval optimize"),
    ],
)
def test_every_kind_of_file_is_named_with_what_it_holds_and_what_to_do(cli, index, kind, name, holds, fix):
    path = file(index, kind, name)
    flip(path)
    done = cli("verify", index)
    problem, summary, advice = done.out.splitlines()
    assert done.status == 1
    assert problem.startswith(str(path))
    assert problem.endswith(holds)
    assert "1 problem" in summary
    assert advice.startswith("-> ")
    assert fix in advice
    as_json = cli("verify", index, "--json").json
    assert as_json["ok"] is False
    assert fix in as_json["fix"]
    done = cli("doctor", index, "--json")
    (found,) = [finding for finding in done.json["findings"] if finding["status"] == "problem"]
    assert str(path) in found["detail"]
    assert fix in found["fix"]


def test_large_files_of_words_leave_the_way_of_the_export(cli, tmp_path):
    """Large enough to be mapped, and so not read when the collection is opened."""
    collection = Collection.create(tmp_path / "words.index", encoder=None)
    collection.add(
        Document(f"d{number}", " ".join(f"{p}w{number * 7 % p}" for p in (50, 70, 90, 110, 130, 150, 170, 190)))
        for number in range(25_000)
    )
    for name in ("postings-rows.npy", "document-lists.npy"):
        path = file(collection.path, "lexical", name)
        assert path.stat().st_size > 256 << 10
        flip(path)
        done = cli("verify", collection.path)
        assert str(path) in done.out
        assert "retrieval export" in done.out.splitlines()[-1]
        assert cli("export", collection.path, tmp_path / f"{name}.jsonl").status == 0
        assert sum(1 for _ in (tmp_path / f"{name}.jsonl").open()) == 25_000
        flip(path)
    assert cli("verify", collection.path).status == 0


def test_vectors_of_a_model_can_be_made_again(cli, index, monkeypatch):
    manifest = json.loads((index / "manifest.json").read_bytes())["manifest"]
    sign(index, encoder={**manifest["encoder"], "source": "some/model"})
    flip(file(index, "dense", "vectors.npy"))
    done = cli("verify", index)
    assert f"retrieval reencode {index} some/model" in done.out.splitlines()[-1]


def test_what_verify_says_to_do_about_a_searcher_helps(cli, index):
    flip(file(index, "searcher", "block-checksums.json"))
    assert "nothing is lost" in cli("verify", index).out
    assert cli("optimize", index, "int8").status == 0
    assert cli("verify", index).status == 0


@pytest.mark.parametrize("damage", ["removed", "emptied", "flipped"])
def test_the_manifest_is_named(cli, index, damage):
    path = index / "manifest.json"
    if damage == "removed":
        path.unlink()
    elif damage == "emptied":
        path.write_bytes(b"")
    else:
        flip(path)
    done = cli("verify", index)
    assert done.status == 1
    assert str(path) in done.out
    assert "backup" in done.out.splitlines()[-1]
    assert "backup" in cli("doctor", index).out


@pytest.mark.parametrize("command", ["verify", "info", "doctor"])
def test_a_newer_format_says_upgrade(cli, index, command):
    sign(index, format=7)
    done = cli(command, index)
    assert done.status > 0
    assert "format 7" in done.out + done.err
    assert "pip install --upgrade retrieval-engine" in done.out + done.err
    assert (index / "manifest.json").exists()


def test_leftovers_are_harmless(cli, index):
    (index / "parts" / "00000099-documents").mkdir()
    assert cli("verify", index).status == 0
    assert "harmless" in cli("verify", index).out
    done = cli("doctor", index)
    assert done.status == 0
    assert "leftovers: 1 part of an interrupted writer" in done.out
    assert "next change" in done.out


def test_missing_files_are_told_from_damaged_ones(cli, index):
    file(index, "documents", "ids-bytes.npy").unlink()
    assert "file missing" in cli("verify", index).out


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_missing_permission_is_not_called_damage(cli, index):
    path = file(index, "documents", "ids-bytes.npy")
    path.chmod(0)
    done = cli("verify", index)
    assert "Permission denied" in done.out
    assert "let this user read" in done.out.splitlines()[-1]


WRITER = """
import sys, pathlib
from indexes.locks import WriterLock
with WriterLock(pathlib.Path(sys.argv[1]) / "writer.lock"):
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel for the holder of a lock")
def test_doctor_says_who_is_writing_and_leaves_the_lock_alone(cli, index):
    assert "is writing" not in cli("doctor", index).out
    command = [sys.executable, "-c", WRITER, str(index)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout.readline() == b"locked\n"
        for _ in range(2):
            done = cli("doctor", index)
            assert done.status == 0
            assert f"process {writer.pid} is writing" in done.out
        assert f"process {writer.pid}" in cli("delete", index, "d1").err
        writer.stdin.close()
    assert "is writing" not in cli("doctor", index).out
