"""Uses crafted indexes in a process of its own, with little memory and time, and watches which files it opens.

`python -m tests.torture.crafted_use FOLDER SEED` reads a list of numbers in JSON and prints a line of JSON before and
after using each such index, so that whoever reads them knows which one was in use when the process died.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import random
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from indexes.errors import StorageError
from retrieval import Collection, Document
from retrieval.collection.verification import verify
from retrieval.errors import RetrievalError
from retrieval.snippets import snippet
from tests.torture import crafted_index, crafted_links

SECONDS = 20
"""Longer than any use of such a small index takes on a busy machine."""

MEMORY = 3 << 30
"""Bytes beyond what the process has when everything is loaded."""

_WATCHED = {
    "open",
    "os.listdir",
    "os.scandir",
    "os.remove",
    "os.rename",
    "os.mkdir",
    "os.rmdir",
    "os.chmod",
    "os.truncate",
}


class Guard:
    """Notes every path below a root that is looked into, outside the places where it is allowed."""

    def __init__(self, root: Path, allowed: list[Path]) -> None:
        self._root = os.path.realpath(root) + os.sep
        self._allowed = tuple(os.path.realpath(path) for path in allowed)
        self.on = False
        self.strayed: list[str] = []
        sys.addaudithook(self._see)

    def _see(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on or event not in _WATCHED or not arguments or not isinstance(arguments[0], (str, bytes)):
            return
        path = os.fsdecode(arguments[0])
        followed = event != "open" or not (isinstance(arguments[2], int) and arguments[2] & os.O_NOFOLLOW)
        if event in ("os.remove", "os.rename"):
            followed = False
        real = os.path.realpath(path) if followed else os.path.join(os.path.realpath(os.path.dirname(path)), "x")  # noqa: PTH118, PTH120
        inside = any(real == place or real.startswith(place + os.sep) for place in self._allowed)
        if real.startswith(self._root) and not inside:
            self.strayed.append(f"{event} {path}")


def use(name: str, directory: Path, out: Path) -> dict[str, Any]:
    """Do everything with a crafted index that can be done with one.

    Returns how much was answered, how much refused, and lines about what must not have happened.
    """
    broken: list[str] = []
    done = {"answered": 0, "refused": 0}

    def attempt(what: str, action: Callable[[], Any]) -> Any:
        try:
            answer = action()
            done["answered"] += 1
            return answer
        except (RetrievalError, StorageError):
            done["refused"] += 1
            return None
        except Exception as error:
            place = _place(error)
            broken.append(f"{what}: {type(error).__name__}: {str(error)[:200]} ({place})")
            return None

    attempt("verify", lambda: verify(directory))
    collection = attempt("open", lambda: crafted_index.open_template(name, directory))
    if collection is not None:
        _read(collection, name, out, attempt)
        changed = crafted_index.open_template(name, directory)
        for what, change in _changes(name):
            attempt(what, lambda change=change: change(changed))
        attempt("search again", lambda: list(collection.search("owl night", 5, mode="bm25")))
        attempt("refresh", collection.refresh)
        attempt("search the new", lambda: list(collection.search("owl night", 5, mode="bm25")))
    else:
        attempt("create over it", lambda: Collection.create(directory, encoder=None))
    return {**done, "broken": broken}


def _place(error: Exception) -> str:
    """Return where in the engine an exception came from."""
    frames = []
    trace = error.__traceback__
    while trace is not None:
        frames.append(f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}")
        trace = trace.tb_next
    return " > ".join(frames[-3:])


def _read(collection: Collection, name: str, out: Path, attempt: Callable[[str, Callable[[], Any]], Any]) -> None:
    vector = np.linspace(-1, 1, crafted_index.DIMENSION, dtype=np.float32)
    vectors = {} if name == "words" else {"vector": vector}

    def look(**options: Any) -> None:
        for hit in collection.search(**options):
            shown = hit.explain()
            snippet(hit.text, collection._analyser, {term.term: term.score for term in shown.terms})

    attempt("bm25", lambda: look(query="owl night fly egg", mode="bm25", k=7))
    attempt("bm25 all", lambda: look(query="東京 mice song", mode="bm25", k=100))
    attempt("filter", lambda: look(query="owl", mode="bm25", where="year > 2003 and tags in [a, b] or a.b = 1"))
    attempt("phrase", lambda: look(query='+owl -egg "night fly" -"song nest"', mode="bm25", syntax="query"))
    if vectors:
        attempt("dense", lambda: look(mode="dense", k=5, **vectors))
        attempt("dense filter", lambda: look(mode="dense", where="year > 2010", k=50, **vectors))
        attempt("hybrid", lambda: look(query="owl swim", **vectors))
        attempt("many", lambda: collection.search_many(["owl", "egg"] * 9, vectors=np.stack([vector] * 18)))
    attempt("similar", lambda: [hit.document for hit in collection.similar("d3", 5)])
    attempt("get", lambda: [collection.get(f"d{number}") for number in range(16)])
    attempt("in", lambda: ["d1" in collection, "" in collection, len(collection)])
    attempt("iterate", lambda: list(collection))
    attempt("ids", lambda: list(collection.ids()))
    attempt("stats", lambda: json.dumps(collection.stats()))
    attempt("export", lambda: collection.export(out / "all.jsonl"))
    attempt("export vectors", lambda: collection.export(out / "all.parquet", vectors=bool(vectors)))


def _changes(name: str) -> list[tuple[str, Callable[[Collection], Any]]]:
    documents = [Document("d3", "owl owl song"), Document("new", "night winter egg", "swim", {"year": 1})]
    given = {"vectors": np.ones((2, crafted_index.DIMENSION), np.float32)} if name in ("given", "old") else {}
    return [
        ("upsert", lambda collection: collection.upsert(documents, **given)),
        ("delete", lambda collection: collection.delete(["d4", "d14", "nothing"])),
        ("delete where", lambda collection: collection.delete(where="year < 2006")),
        ("optimize", lambda collection: collection.optimize("int8") if name != "words" else None),
        ("compact", lambda collection: collection.compact()),
        ("search", lambda collection: list(collection.search("owl", 5, mode="bm25"))),
    ]


def _sentinel(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(folder)): (path.read_bytes() if path.is_file() else b"", path.lstat().st_mtime_ns)
        for path in [folder, *sorted(folder.rglob("*"))]
    }


def main(folder: Path, seed: int, numbers: list[int]) -> None:
    """Use the indexes with these numbers; those with links have numbers below 0."""
    faulthandler.enable()
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    directory, out, sentinel = folder / "c", folder / "out", folder / "sentinel"
    guard = Guard(folder, [directory, out])
    templates = {path.name: path for path in sorted((folder / "templates").iterdir())}
    for name, template in templates.items():  # load and compile everything, before memory is limited
        shutil.copytree(template, directory)
        _say(warm=name, broken=use(name, directory, out)["broken"])
        shutil.rmtree(directory)
    _limit_memory()
    before = _sentinel(sentinel)
    for number in numbers:
        random_ = random.Random(f"{seed}/{number}")
        if number < 0:
            name, what = crafted_links.craft(templates, directory, sentinel, -number - 1)
        else:
            name, what = crafted_index.craft(templates, directory, random_)
        _say(begin=f"{name}: {what}")
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        guard.on = True
        result = use(name, directory, out)
        guard.on = False
        faulthandler.cancel_dump_traceback_later()
        broken = [*result["broken"], *(f"looked outside, first: {stray}" for stray in guard.strayed[:1])]
        guard.strayed.clear()
        if _sentinel(sentinel) != before:
            broken.append("changed what lies outside")
            before = _sentinel(sentinel)
        _say(end=number, **{**result, "broken": broken})
        _clear(directory)


def _clear(directory: Path) -> None:
    if directory.is_symlink():
        directory.unlink()
    else:
        shutil.rmtree(directory)


def _limit_memory() -> None:
    if not sys.platform.startswith("linux"):
        return
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _say(**values: Any) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), json.load(sys.stdin))
