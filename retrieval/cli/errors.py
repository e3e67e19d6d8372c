"""From what went wrong to one line on standard error and an exit status.

| status | meaning |
| --- | --- |
| 0 | done |
| 1 | a problem was found: damaged files, a document that is not there, a failed check; or the program itself failed |
| 2 | nothing was done, because it cannot be done as asked: wrong usage, no such index or source, an unusable query … |
| 130 | interrupted (Ctrl-C) |
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import NoReturn

import click

from indexes.errors import CorruptIndexError, StorageError
from retrieval.cli.terminal import visible
from retrieval.errors import RetrievalError

DONE = 0
PROBLEM = 1
REFUSED = 2
INTERRUPTED = 130


_LIBRARIES = ("retrieval", "indexes", "eval")


def leave(status: int) -> NoReturn:
    """End the command with an exit status, after it has said why."""
    raise click.exceptions.Exit(status)


def guarded(command: Callable[[], object], *, debug: bool) -> int:
    """Run a command and return its exit status; whatever it raises becomes one line.

    Args:
        command: does the work; may call `leave`.
        debug: show the traceback above the line.
    """
    try:
        status = _run(command)
    except BrokenPipeError:
        # Whoever read our output has seen enough (`| head`); that is no error worth a line.
        status = PROBLEM
    except KeyboardInterrupt:
        _report("interrupted; the collection is as its last commit left it", debug=debug)
        status = INTERRUPTED
    except Exception as error:
        message, status = explain(error)
        _report(message, debug=debug)
    _settle_stdout()
    return status


def _run(command: Callable[[], object]) -> int:
    status = DONE
    try:
        command()
    except click.exceptions.Exit as ending:
        status = ending.exit_code
    sys.stdout.flush()
    return status


def explain(error: Exception) -> tuple[str, int]:
    """Return the line that tells about an error, and the exit status."""
    if isinstance(error, click.ClickException):
        return _usage(error), REFUSED
    if isinstance(error, CorruptIndexError):
        return str(error), PROBLEM
    if isinstance(error, (RetrievalError, StorageError)):
        return str(error), REFUSED
    return _of_the_system(error), PROBLEM


def _of_the_system(error: Exception) -> str:
    if isinstance(error, OSError):
        place = f" ({error.filename})" if error.filename else ""
        return f"{error.strerror or error}{place}"
    if isinstance(error, MemoryError):
        return "out of memory"
    if isinstance(error, ImportError):
        return f"a package is missing or broken: {error}; see `retrieval doctor`"
    return f"unexpected {type(error).__name__}: {error}; run with --debug for the traceback"


def _usage(error: click.ClickException) -> str:
    context = error.ctx if isinstance(error, click.UsageError) else None
    path = context.command_path if context is not None else "retrieval"
    return f"{error.format_message().strip().rstrip('.')}; see '{path} --help'"


def _report(message: str, *, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    line = " ".join(visible(part) for part in message.splitlines() if part.strip())
    sys.stderr.write(f"retrieval: error: {line}\n")


def _settle_stdout() -> None:
    """Write out what is left; where that fails, keep the interpreter from trying again when it ends."""
    try:
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _StandardErrorHandler(logging.Handler):
    """Writes warnings of the libraries the way that errors are written."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        sys.stderr.write(f"retrieval: {record.levelname.lower()}: {visible(self.format(record))}\n")


@contextlib.contextmanager
def library_warnings(*, debug: bool) -> Iterator[None]:
    """Send this program's own warnings to standard error; with `debug` also what is of interest only then."""
    handler = _StandardErrorHandler()
    loggers = [logging.getLogger(name) for name in _LIBRARIES]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        if debug:
            logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
