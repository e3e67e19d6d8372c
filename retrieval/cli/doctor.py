"""`retrieval doctor`: does everything work here, and if not, what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from retrieval.cli.errors import PROBLEM
from retrieval.cli.options import Json
from retrieval.cli.terminal import plural, visible, write, write_json

if TYPE_CHECKING:
    from retrieval.cli.health import Finding

_MARKS = {"ok": "ok     ", "note": "note   ", "problem": "PROBLEM"}


def doctor(
    index: Annotated[
        Path | None, typer.Argument(metavar="INDEX", help="Also look at this index.", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """Check versions, threads, OpenMP runtimes, the embedded model and the kernel cache; and an index, if one is given.

    Takes some seconds. The exit status is 1 when something does not work.
    """
    findings = []
    for finding in _examine(index):
        findings.append(finding)
        if not json:
            _write(finding)
    problems = sum(finding.status == "problem" for finding in findings)
    if json:
        write_json({"ok": not problems, "findings": [asdict(finding) for finding in findings]})
    else:
        write(plural(problems, "problem") if problems else "all is well")
    if problems:
        raise typer.Exit(PROBLEM)


def _examine(index: Path | None) -> Iterator[Finding]:
    from retrieval.cli import health
    from retrieval.cli.threads import check_threads

    checks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("python", health.check_python),
        ("packages", health.check_packages),
        ("libraries", check_threads),
        ("embedded model", health.check_model),
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
