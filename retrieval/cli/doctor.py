"""`retrieval doctor`: does everything work here, and if not, what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from retrieval.cli.errors import PROBLEM, leave
from retrieval.cli.options import json_option
from retrieval.cli.terminal import plural, visible, write, write_json

if TYPE_CHECKING:
    from retrieval.cli.health import Finding

_MARKS = {"ok": "ok     ", "note": "note   ", "problem": "PROBLEM"}


@click.command(short_help="Check whether everything works here.")
@click.argument("index", metavar="[INDEX]", required=False, type=click.Path(path_type=Path))
@json_option
def doctor(index: Path | None, *, as_json: bool) -> None:
    """Check versions, threads, OpenMP runtimes, the embedded model, precision, kernels; and an index, if it is given.

    Takes some seconds. The exit status is 1 when something does not work.
    """
    findings = []
    for finding in _examine(index):
        findings.append(finding)
        if not as_json:
            _write(finding)
    problems = sum(finding.status == "problem" for finding in findings)
    if as_json:
        write_json({"ok": not problems, "findings": [asdict(finding) for finding in findings]})
    else:
        write(plural(problems, "problem") if problems else "all is well")
    if problems:
        leave(PROBLEM)


def _examine(index: Path | None) -> Iterator[Finding]:
    from retrieval.cli import health
    from retrieval.cli.threads import check_threads

    checks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("python", health.check_python),
        ("packages", health.check_packages),
        ("libraries", check_threads),
        ("embedded model", health.check_model),
        ("precision", health.check_precision),
        ("kernels", health.check_kernels),
    ]
    if index is not None:
        checks.append(("index", lambda: health.check_index(index)))
    for name, check in checks:
        try:
            yield from check()
        except Exception as error:  # a check that breaks is a finding, and the others still run
            yield health.Finding(name, "problem", f"cannot be checked: {type(error).__name__}: {error}")


def _write(finding: Finding) -> None:
    write(f"{_MARKS[finding.status]}  {finding.name}: {visible(' '.join(finding.detail.split()))}")
    if finding.fix:
        write(f"         -> {visible(finding.fix)}")
