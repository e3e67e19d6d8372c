"""Nothing that a document holds is obeyed by a terminal, read as markup, or lost on the way through JSON."""

from __future__ import annotations

import json
import re
import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retrieval import Collection, Document
from retrieval.cli.terminal import duration, plural, readable, size, visible

ESCAPES = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
EVIL = "\x1b[31mred\x1b]0;title\x07\x1b[2J\r\n\x08\x9b1m[bold]markup[/bold] :smile: \u202egnp.exe"


@given(st.text())
def test_safe_text_is_one_line_without_control_characters(text):
    for safe in (visible(text), readable(text)):
        assert not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in safe)
        assert len((safe + "x").splitlines()) == 1
    assert len(readable(text)) == len(text)


@given(st.text(alphabet=st.characters(exclude_categories=["C", "Z"])))
def test_harmless_text_stays_as_it_is(text):
    assert visible(text) == readable(text) == text


def test_visible_shows_what_was_there():
    assert visible("a\nb\x1b\u202e\udce9") == "a\\nb\\x1b\\u202e\\udce9"


@pytest.fixture
def evil(cli, tmp_path, write_lines):
    """An index of documents that would like to be obeyed."""
    index = tmp_path / "evil.index"
    rows = [{"id": f"{EVIL} {n}", "title": EVIL, "text": f"csv {EVIL} {n}", EVIL: EVIL} for n in range(3)]
    assert cli("index", index, write_lines(rows), "--no-dense").status == 0
    return index


def test_hits_and_messages_hold_no_escape_sequences(cli, evil, write_lines):
    commands = [
        ["search", evil, "csv", "--explain"],
        ["similar", evil, f"{EVIL} 1"],
        ["search", evil, EVIL],
        ["delete", evil, EVIL],
        ["search", evil, "csv", "--where", EVIL],
        ["search", EVIL, "csv"],
        ["index", evil, EVIL],
        ["info", evil],
    ]
    for command in commands:
        done = cli(*command)
        assert not ESCAPES.search(done.out + done.err), command
        assert "[bold]markup[/bold]" in done.out + done.err or command[0] == "info"
        assert len(done.err.splitlines()) <= 1


def test_skipped_rows_are_quoted_safely(cli, tmp_path):
    source = tmp_path / "bad.jsonl"
    source.write_bytes(b'\x1b[2J not json\n{"id": "\\u001b[2J", "text": ""}\n')
    done = cli("index", tmp_path / "x.index", source, "--no-dense")
    assert not ESCAPES.search(done.out + done.err)


def test_json_carries_it_unchanged(cli, evil):
    hits = cli("search", evil, "csv", "--json").json["hits"]
    assert {hit["id"] for hit in hits} == {f"{EVIL} {n}" for n in range(3)}
    assert hits[0]["title"] == EVIL


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    ids=st.sets(st.text(min_size=1).filter(lambda text: not re.search("[\ud800-\udfff]", text)), min_size=1, max_size=4)
)
def test_ids_of_every_script_survive_search_and_delete(cli, tmp_path_factory, ids):
    index = tmp_path_factory.mktemp("ids") / "x.index"
    with Collection.create(index, encoder=None) as collection:
        collection.add(Document(document_id, "the same words") for document_id in sorted(ids))
    assert {hit["id"] for hit in cli("search", index, "words", "--json").json["hits"]} == ids
    listed = "".join(json.dumps(document_id) + "\n" for document_id in ids)
    deleted = cli("delete", index, "--ids-from", "-", "--json", stdin=listed.encode())
    assert deleted.status == 0
    assert deleted.json["deleted"] == len(ids)


def test_quantities_read_well():
    assert [plural(1, "hit"), plural(2000, "hit")] == ["1 hit", "2,000 hits"]
    assert [size(999), size(1500), size(2_500_000), size(3 * 10**12)] == ["999 bytes", "1.5 kB", "2.5 MB", "3.0 TB"]
    assert [duration(0.0032), duration(1.5), duration(125), duration(7320)] == [
        "3.2 ms",
        "1.50 s",
        "2 min 5 s",
        "2 h 2 min",
    ]
