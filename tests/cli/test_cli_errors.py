"""Exit statuses, and errors in one line: wrong usage, missing and damaged indexes, a second writer, a full disk."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from indexes.locks import WriterLock
from retrieval.cli import main
from retrieval.cli.errors import explain
from retrieval.collection.manifest_file import MANIFEST_NAME
from retrieval.collection.writing import LOCK_NAME


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["nonsense"], "retrieval --help"),
        (["search"], "retrieval search --help"),
        (["search", "x", "--no-such-option"], "retrieval search --help"),
        (["search", "x", "words", "-k", "many"], "retrieval search --help"),
        (["search", "x", "words", "--mode", "psychic"], "retrieval search --help"),
        (["index", "x"], "retrieval index --help"),
        (["optimize", "x", "magic"], "retrieval optimize --help"),
        (["evaluate", "x"], "retrieval evaluate --help"),
    ],
)
def test_wrong_usage_is_one_line_with_a_hint(cli, arguments, hint):
    done = cli(*arguments)
    assert done.status == 2
    assert hint in done.error
    assert done.out == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["search", "INDEX", "words"],
        ["similar", "INDEX", "id"],
        ["delete", "INDEX", "id"],
        ["compact", "INDEX"],
        ["optimize", "INDEX"],
        ["reencode", "INDEX"],
        ["export", "INDEX", "x.jsonl"],
        ["verify", "INDEX"],
        ["info", "INDEX"],
        ["evaluate", "INDEX", "x"],
    ],
)
@pytest.mark.parametrize("place", ["missing", "folder", "file"])
def test_no_index_there(cli, tmp_path, arguments, place):
    index = tmp_path / place
    if place == "folder":
        index.mkdir()
    elif place == "file":
        index.write_text("not an index", encoding="utf-8")
    before = sorted(tmp_path.rglob("*"))
    done = cli(*[index if argument == "INDEX" else argument for argument in arguments])
    assert done.status == 2
    assert str(index) in done.error
    assert sorted(tmp_path.rglob("*")) == before


def files_of(index) -> list[Path]:
    return sorted(
        path for path in index.rglob("*") if path.is_file() and path.name != LOCK_NAME and path.stat().st_size
    )


def damaged(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "removed":
        path.unlink()
    elif how == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif how == "flipped":
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(content)
    else:
        path.write_bytes(b"")


@pytest.mark.parametrize("how", ["removed", "cut", "flipped", "emptied"])
def test_verify_names_each_damaged_file(cli, lexical, how):
    for path in files_of(lexical):
        if path.name == MANIFEST_NAME:
            continue
        content = path.read_bytes()
        damaged(path, how)
        done = cli("verify", lexical)
        assert done.status == 1, path
        assert path.name in done.out
        assert cli("verify", lexical, "--json").json["ok"] is False
        path.write_bytes(content)
    assert cli("verify", lexical).status == 0


@pytest.mark.parametrize("how", ["removed", "cut", "flipped", "emptied"])
def test_no_damage_makes_a_search_fail_without_a_clear_line(cli, lexical, how):
    for path in files_of(lexical):
        content = path.read_bytes()
        damaged(path, how)
        done = cli("search", lexical, "csv file")
        if done.status:
            assert done.status == 1, path
            assert "unexpected" not in done.error, path
        path.write_bytes(content)
    assert cli("search", lexical, "csv file").status == 0


def test_a_damaged_manifest_is_a_problem_and_named(cli, lexical):
    damaged(lexical / MANIFEST_NAME, "flipped")
    for command in ("verify", "info", "compact"):
        done = cli(command, lexical)
        assert done.status == 1
        assert MANIFEST_NAME in done.out + done.err


def test_a_second_writer_is_told_who_writes(cli, lexical, corpus):
    with WriterLock(lexical / LOCK_NAME):
        for arguments in (["index", lexical, corpus], ["delete", lexical, "x"], ["compact", lexical]):
            done = cli(*arguments)
            assert done.status == 2
            assert "being written" in done.error
        assert cli("search", lexical, "csv").status == 0


def test_debug_shows_the_traceback_before_or_behind_the_command(capsys, tmp_path):
    for arguments in (["--debug", "info", str(tmp_path)], ["info", str(tmp_path), "--debug"]):
        with pytest.raises(SystemExit) as leaving:
            main(arguments)
        err = capsys.readouterr().err
        assert leaving.value.code == 2
        assert "Traceback" in err
        assert err.splitlines()[-1].startswith("retrieval: error: no collection")


def test_debug_behind_two_dashes_is_a_word(cli, lexical):
    assert cli("search", lexical, "--json", "--", "--debug").json["query"] == "--debug"


def test_errors_of_the_system_and_of_the_program_are_told_apart():
    assert explain(PermissionError(13, "Permission denied", "/x")) == ("Permission denied (/x)", 1)
    assert explain(MemoryError()) == ("out of memory", 1)
    message, status = explain(ZeroDivisionError("division by zero"))
    assert status == 1
    assert message == "unexpected ZeroDivisionError: division by zero; run with --debug for the traceback"
    message, status = explain(ModuleNotFoundError("No module named 'torch'"))
    assert status == 1
    assert "retrieval doctor" in message


def test_an_interrupt_is_one_line(cli, lexical, monkeypatch):
    def interrupted(*arguments, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr("retrieval.collection.collection.Collection.search", interrupted)
    done = cli("search", lexical, "csv")
    assert done.status == 130
    assert done.error.startswith("interrupted")


def retrieval_command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "retrieval", *map(str, arguments)]


def test_a_closed_pipe_is_no_error_worth_a_line(lexical, write_lines):
    queries = "csv file\n" * 5000
    process = subprocess.Popen(
        retrieval_command("search", lexical), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdin is not None
    process.stdin.write(b"csv\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"> csv\n"
    process.stdout.close()
    _, err = process.communicate(queries.encode())
    assert err == b""
    assert process.returncode == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_one_line(lexical):
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(retrieval_command("info", lexical), stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 1
    assert done.stderr.decode().splitlines() == ["retrieval: error: No space left on device"]
