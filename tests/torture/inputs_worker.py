"""The processes of `inputs_processes`: each fails at a broken promise, else prints how many inputs it tried."""

from __future__ import annotations

import contextlib
import datetime
import os
import random
import resource
import socket
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

from retrieval.documents import read_documents
from retrieval.errors import RetrievalError
from tests.torture.fuzzing import mutate, time_limit

_MEBIBYTE = 1024 * 1024
_NOBODY = 65534


def tables(kind: str, folder: str, seed: str, first: str, total: str, place: str) -> None:
    """Read mutated Parquet and Arrow files; the number of the current try is in the file `place`."""
    import pyarrow
    import pyarrow.parquet

    warnings.simplefilter("ignore")
    day = datetime.date(2024, 1, 31)
    rows = 50
    table = pyarrow.table(
        {
            "id": [f"d{number}" for number in range(rows)],
            "text": [f"text é {number}" for number in range(rows)],
            "tags": [["a", "b"][: number % 3] for number in range(rows)],
            "source": [{"name": "n", "at": day} if number % 2 else None for number in range(rows)],
            "kind": pyarrow.array(["x", "y"] * (rows // 2)).dictionary_encode(),
            "map": pyarrow.array([[("k", 1)]] * rows, pyarrow.map_(pyarrow.string(), pyarrow.int8())),
            "moment": pyarrow.array([number * 10**15 for number in range(rows)], pyarrow.timestamp("ns")),
            "vector": pyarrow.array([[1.0, 2.0]] * rows, pyarrow.list_(pyarrow.float32(), 2)),
        }
    )
    path = Path(folder) / f"mutated.{'parquet' if kind == 'parquet' else 'arrow'}"
    if kind == "parquet":
        pyarrow.parquet.write_table(table, path, row_group_size=20)
    else:
        new = pyarrow.ipc.new_file if kind == "arrow" else pyarrow.ipc.new_stream
        with new(str(path), table.schema) as writer:
            writer.write_table(table, max_chunksize=20)
    good = path.read_bytes()
    _limit_memory(2048)
    with Path(place).open("w") as progress:
        for number in range(int(first), int(total)):
            progress.seek(0)
            progress.write(str(number))
            progress.flush()
            path.write_bytes(mutate(random.Random(f"{kind} {seed} {number}"), good))
            with time_limit(), contextlib.suppress(RetrievalError):
                reader = read_documents(path)
                documents = list(reader)
                assert reader.report.read == len(documents)
                assert documents or reader.report.n_skipped, "an empty answer in silence"
            with time_limit(), contextlib.suppress(RetrievalError):
                list(read_documents(path, vector="vector").with_vectors(7))
    sys.stdout.write(str(int(total) - int(first)))


def bomb(path: str) -> None:
    """Read a file that unpacks to more than the memory allowed."""
    documents = read_documents(Path(path))
    import bs4  # noqa: F401  # what is imported late must not count

    _limit_memory(900)
    count = sum(1 for _ in documents)
    assert count <= 1, f"{count} documents"
    sys.stdout.write(str(1))


def paths(place: str) -> None:
    """Read paths that are no files."""
    folder = Path(place)
    folder.mkdir()
    os.mkfifo(folder / "pipe.jsonl")
    os.mkfifo(folder / "pipe")
    os.mkfifo(folder / "pipe.parquet")
    (folder / "loop.jsonl").symlink_to(folder / "loop.jsonl")
    (folder / "gone.jsonl").symlink_to(folder / "nothing")
    (folder / "folder.jsonl").mkdir()
    (folder / "empty.csv").touch()
    (folder / "empty").touch()
    (folder / "empty.parquet").touch()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "s.txt"))
    names = ["", ".", "x" * 300, "a/" * 3000, "a\0b", "\ud800", "\n", *sorted(found.name for found in folder.iterdir())]
    places: list[Path | str] = [folder / name if name else name for name in names]
    places += ["/dev/zero", "/dev/null", "/dev/full", "/proc/self/mem", "ir_datasets:", "ir_datasets:\ud800"]
    tried = 0
    for where in places:
        for name in (None, "jsonl", "csv", "tsv", "parquet", "arrow", "msmarco", "beir", "folder", "html", "text"):
            tried += 1
            with time_limit(), contextlib.suppress(RetrievalError):
                list(read_documents(where, format=name))
    sys.stdout.write(str(tried))


def changes(place: str) -> None:
    """Cut off, remove, replace and forbid files while they are read."""
    import pyarrow
    import pyarrow.parquet

    folder = Path(place)
    folder.mkdir()
    table = pyarrow.table({"id": [str(number) for number in range(5_000)], "text": ["some text " * 20] * 5_000})
    tried = 0
    for suffix in ("jsonl", "csv", "parquet", "arrow"):
        for change in (_cut_off, _remove, _overwrite, _forbid):
            path = folder / f"{change.__name__}.{suffix}"
            if suffix == "parquet":
                pyarrow.parquet.write_table(table, path, row_group_size=1000)
            elif suffix == "arrow":
                with pyarrow.ipc.new_file(str(path), table.schema) as writer:
                    writer.write_table(table, max_chunksize=2500)
            elif suffix == "csv":
                path.write_text("id,text\n" + "".join(f"{n},{'some text ' * 20}\n" for n in range(5_000)))
            else:
                path.write_text(
                    "".join('{"id": "%d", "text": "%s"}\n' % (n, "some text " * 20) for n in range(5_000))  # noqa: UP031
                )
            tried += 1
            reader = read_documents(path)
            iterator = iter(reader)
            next(iterator)
            change(path)
            with time_limit(), contextlib.suppress(RetrievalError):
                rest = sum(1 for _ in iterator)
                whole = rest + 1 == 5_000
                assert whole or reader.report.n_skipped or (change is _cut_off and suffix in {"jsonl", "csv"})
            with time_limit(), contextlib.suppress(RetrievalError):
                list(reader)
    sys.stdout.write(str(tried))


def permissions(place: str) -> None:
    """Read as a user who may not."""
    folder = Path(place)
    folder.mkdir()
    for above in (folder, *folder.parents):
        if above.stat().st_uid == os.geteuid() and not above.stat().st_mode & 0o001:
            above.chmod(above.stat().st_mode | 0o011)
    _forbidden(folder / "first")
    _forbidden(folder / "second")
    _try_places(folder / "first")  # imports what is needed, while the libraries may be read
    os.setgroups([])
    os.setgid(_NOBODY)
    os.setuid(_NOBODY)
    sys.stdout.write(str(_try_places(folder / "second")))


def _forbidden(folder: Path) -> None:
    """Make folders and files that only the superuser may read."""
    line = '{"_id": "a", "text": "x"}\n'
    for name, mode in (("no-reading", 0o311), ("no-entering", 0o644), ("nothing", 0), ("all", 0o755)):
        below = folder / name
        (below / "sub" / "qrels").mkdir(parents=True)
        (below / "corpus.jsonl").write_text(line)
        (below / "qrels").mkdir()
        (below / "qrels" / "test.tsv").write_text("q\td\t1\n")
        (below / "queries.jsonl").write_text(line)
        for suffix in ("csv", "parquet", "arrow", "txt", "html", "bin"):
            (below / f"a.{suffix}").write_text("id,text\n1,x\n")
            (below / f"a.{suffix}").chmod(0)
        below.chmod(mode)


def _try_places(folder: Path) -> int:
    from eval.errors import EvaluationError
    from eval.qrels import read_qrels
    from eval.runs import read_run, write_run
    from eval.testsets import read_testset

    tried = 0
    for where in _places(folder):
        for name in (None, "folder", "beir", "jsonl", "csv", "parquet", "arrow", "text", "html", "markdown", "rst"):
            tried += 1
            with time_limit(), contextlib.suppress(RetrievalError):
                reader = read_documents(where, format=name)
                count = len(list(reader))
                report = reader.report
                assert count or report.n_skipped or report.noted or where.name == "sub", f"{where}: nothing, in silence"
        for read in (read_testset, read_qrels, read_run, lambda path: write_run(path / "run", {"q": [("d", 1.0)]})):
            tried += 1
            with time_limit(), contextlib.suppress(EvaluationError):
                read(where)
    return tried


def _places(folder: Path) -> Iterator[Path]:
    yield folder
    for name in ("no-reading", "no-entering", "nothing", "all"):
        yield folder / name
        yield folder / name / "sub"
        yield folder / name / "qrels" / "test.tsv"
        for file in ("corpus.jsonl", "a.csv", "a.parquet", "a.arrow", "a.txt", "a.html", "a.bin", "missing"):
            yield folder / name / file


def _cut_off(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 3)


def _remove(path: Path) -> None:
    path.unlink()


def _overwrite(path: Path) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(os.urandom(size // 4))


def _forbid(path: Path) -> None:
    path.chmod(0)


def _limit_memory(mebibytes: int) -> None:
    """Allow so much address space beyond what is in use."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + mebibytes * _MEBIBYTE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


if __name__ == "__main__":
    {"tables": tables, "bomb": bomb, "paths": paths, "changes": changes, "permissions": permissions}[sys.argv[1]](
        *sys.argv[2:]
    )
