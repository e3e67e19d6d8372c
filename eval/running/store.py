"""Results on disk: a JSON file for each system on each task, there as a whole or not at all.

Beside the result a file holds the facts that decide it (`eval.running.facts`), and a digest of both, so that a file
that was cut, damaged or changed by hand is not taken for a result.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from eval.errors import ResultError
from eval.running.facts import normalised
from eval.tasks.base import Reference, TaskResult
from indexes.storage import make_directory, replace_file

FORMAT = 1
_SUFFIX = ".result.json"
_REASON_SUFFIX = ".unmeasured.json"
_NO_NAME = re.compile(r"[^\w.-]+", re.ASCII)
_NAME_LENGTH = 60


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: int
    digest: str
    facts: dict[str, Any]
    result: dict[str, Any]


class Reason(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why a system has no result on a task.

    Attributes:
        task: its name.
        system: its name.
        reason: in words.
    """

    task: str
    system: str
    reason: str


@dataclasses.dataclass(frozen=True)
class StoredResult:
    """A result with what decided it.

    Attributes:
        result: the result.
        facts: see `eval.running.facts.result_facts`.
    """

    result: TaskResult
    facts: Mapping[str, Any]


class ResultStore:
    """A folder of results.

    Args:
        folder: created by the first result.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, task: str, system: str) -> Path:
        """Return the file of a system on a task."""
        return self._path(task, system, _SUFFIX)

    def _path(self, task: str, system: str, suffix: str) -> Path:
        digest = hashlib.sha256(msgspec.json.encode([task, system])).hexdigest()[:8]
        name = "_".join(_NO_NAME.sub("-", part)[:_NAME_LENGTH] for part in (task, system))
        return self.folder / f"{name}_{digest}{suffix}"

    def find(self, task: str, system: str, facts: Mapping[str, Any]) -> TaskResult | None:
        """Return the stored result of a system on a task; None where there is none, or one that other facts decided.

        Raises:
            ResultError: the file is damaged; it is named.
        """
        path = self.path(task, system)
        if not path.exists():
            return None
        stored = read_result(path)
        return stored.result if stored.facts == facts else None

    def write(self, result: TaskResult, facts: Mapping[str, Any]) -> Path:
        """Keep a result in place of an earlier one, and return its file.

        Raises:
            ResultError: a figure of the result is not a finite number.
            StorageError: the folder cannot be written.
        """
        _check_finite(result)
        content = {"facts": normalised(facts), "result": normalised(dataclasses.asdict(result))}
        path = self.path(result.task, result.system)
        make_directory(self.folder)
        whole = {"format": FORMAT, "digest": _digest(content), **content}
        replace_file(path, msgspec.json.format(msgspec.json.encode(whole), indent=1) + b"\n")
        self.forget_reason(result.task, result.system)
        return path

    def write_reason(self, task: str, system: str, reason: str) -> None:
        """Keep the reason why a system has no result on a task, in place of an earlier one; its result stays.

        Raises:
            StorageError: the folder cannot be written.
        """
        make_directory(self.folder)
        said = reason.encode("utf-8", "backslashreplace").decode()  # it may name a file whose name is no text
        content = msgspec.json.encode(Reason(task, system, said))
        replace_file(self._path(task, system, _REASON_SUFFIX), msgspec.json.format(content, indent=1) + b"\n")

    def forget_reason(self, task: str, system: str) -> None:
        """Remove the reason why there is no result, where there is one: its result holds."""
        self._path(task, system, _REASON_SUFFIX).unlink(missing_ok=True)

    def __iter__(self) -> Iterator[StoredResult]:
        """Yield all results in the order of their files' names.

        Raises:
            ResultError: a file is damaged; it is named.
        """
        if self.folder.is_dir():
            for path in sorted(self.folder.glob(f"*{_SUFFIX}")):
                yield read_result(path)


def read_results(folder: Path) -> list[TaskResult]:
    """Return the results of a folder, by task and system.

    Raises:
        ResultError: there are none, or a file is damaged; it is named.
    """
    results = [stored.result for stored in ResultStore(folder)]
    if not results:
        raise ResultError(f"no results in {folder}: files *{_SUFFIX}, as `retrieval compare` writes them")
    return sorted(results, key=lambda result: (result.task, result.system))


def read_reasons(folder: Path) -> list[Reason]:
    """Return why systems have no result on tasks, by task and system.

    One that has a result nevertheless has an earlier one: the latest run could not measure it again.

    Raises:
        ResultError: a file is damaged; it is named.
    """
    reasons = []
    for path in sorted(folder.glob(f"*{_REASON_SUFFIX}")):
        try:
            reason = msgspec.json.decode(path.read_bytes(), type=Reason)
        except OSError as error:
            raise ResultError(f"cannot read {path}: {error.strerror or error}") from None
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ResultError(f"{path} is no reason for a missing result: {error}; remove the file") from None
        reasons.append(reason)
    return sorted(reasons, key=lambda reason: (reason.task, reason.system))


def read_result(path: Path) -> StoredResult:
    """Read one file.

    Raises:
        ResultError: it cannot be read, or is not what was written.
    """
    try:
        file = msgspec.json.decode(path.read_bytes(), type=_File)
        if file.format != FORMAT:
            raise ResultError(f"{path} is of format {file.format}, this version reads {FORMAT}")
        if file.digest != _digest({"facts": file.facts, "result": file.result}):
            raise ResultError(f"{path} is not as it was written: its digest differs")
        _check_fields(path, file.result)
        result = msgspec.convert(file.result, TaskResult)
    except OSError as error:
        raise ResultError(f"cannot read {path}: {error.strerror or error}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ResultError(f"{path} is not a result: {error}") from None
    _check_finite(result)
    return StoredResult(result, file.facts)


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()


def _check_fields(path: Path, result: Mapping[str, Any]) -> None:
    """Refuse a field that this version does not know: it would be lost in silence."""
    for kind, found in ((TaskResult, result), (Reference, result.get("reference"))):
        unknown = set(found or ()) - {field.name for field in dataclasses.fields(kind)}
        if unknown:
            raise ResultError(f"{path} holds {min(unknown)!r}, which this version does not know")


def _check_finite(result: TaskResult) -> None:
    """Refuse what JSON has no number for."""
    of = f"{result.system} on {result.task}"
    groups: dict[str, Mapping[Any, float]] = {"score": result.scores, "value": result.values, "cost": result.costs}
    groups |= {"gold": dict(enumerate(result.gold)), "predicted": dict(enumerate(result.predicted))}
    for kind, numbers in groups.items():
        for name, number in numbers.items():
            if not math.isfinite(number):
                raise ResultError(f"{of}: {kind} {name!r} is {number}, not a finite number; nothing is kept")
    if result.main_score not in result.scores:
        raise ResultError(f"{of}: the main score {result.main_score!r} is not among its scores")
