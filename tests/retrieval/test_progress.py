from __future__ import annotations

import io
import sys

import pytest

from retrieval import progress as progress_module
from retrieval.progress import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def work(**settings) -> str:
    sys.stderr = terminal = Terminal()
    try:
        with progress("Encoding", unit="tokens", **settings) as bar:
            bar.grow(100)
            for _ in range(10):
                bar.advance(10)
    finally:
        sys.stderr = sys.__stderr__
    return terminal.getvalue()


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(progress_module, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)


def test_long_work_on_a_terminal_is_shown(impatient):
    shown = work()
    assert "Encoding" in shown
    assert "100 tokens" in shown
    assert "100%" in shown


def test_short_work_is_not():
    assert not work()


def test_nothing_is_shown_when_disabled(impatient):
    assert not work(enabled=False)


def test_nothing_is_shown_elsewhere_than_on_a_terminal(impatient, capfd):
    with progress("Encoding") as bar:
        bar.grow(5)
        bar.advance()
    assert capfd.readouterr() == ("", "")


def test_the_bar_goes_away_when_the_work_fails(impatient):
    sys.stderr = terminal = Terminal()
    try:
        with pytest.raises(ValueError, match="broken"), progress("Encoding", total=3) as bar:
            bar.advance()
            raise ValueError("broken")
    finally:
        sys.stderr = sys.__stderr__
    assert terminal.getvalue().endswith("\x1b[2K") or "\x1b[?25h" in terminal.getvalue()  # line erased, cursor back
