"""Every file of an index, damaged: `verify` names it, and searches refuse it or answer as if nothing had happened.

Searches score vectors as they are (`Collection.verify` says so): after damage to those, answers are not compared, but
what copies them must refuse them. A damaged approximate searcher must be refused, and exact search not need it.
"""

from __future__ import annotations

import contextlib
import logging
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from indexes.errors import CorruptIndexError
from retrieval import Collection, Document, FunctionEncoder
from retrieval.collection.verification import verify
from retrieval.errors import CollectionError
from tests.torture.outcome import MEMORY, Outcome, Profile

_WORDS = [f"{first}{second}{third}" for first in "bdfgk" for second in "aeiou" for third in "lmnrst"]
_DIMENSION = 8
_QUESTIONS = 4
_MAPPED = 256 << 10  # larger files are mapped, and checked block by block


def run(profile: Profile) -> list[Outcome]:
    """Damage every file of a small and of a large collection, and staged blocks."""
    found = Outcome("bit rot, found by verify", "corruptions")
    searched = Outcome("bit rot, searched without verify", "corruptions")
    written = Outcome("bit rot, then compacted and updated", "corruptions")
    staged = Outcome("bit rot in staged vectors", "corruptions")
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        folder = Path(name)
        small = _Index(folder / "small", 40, "int8")
        _damage_files(small, small.files, profile, profile.pick(short=1, long=60), (found, searched, written))
        changes = profile.pick(short=0, long=1)
        large = _Index(folder / "large", 64_000, "binary")
        files = large.files if profile.name == "long" else [path for path in large.files if _is_mapped(path)]
        _damage_files(large, files, profile, profile.pick(short=1, long=8), (found, searched, written), changes)
        logging.disable(logging.WARNING)  # of each block that is thrown away
        try:
            _damage_staged(folder / "staged", profile, staged)
        finally:
            logging.disable(logging.NOTSET)
    return [found, searched, written, staged]


# --- What is damaged --------------------------------------------------------------------------------------------------


class _Index:
    """A collection of several segments, what its searches answer, and its bytes, to be put back after each damage."""

    def __init__(self, directory: Path, n_documents: int, searcher: str) -> None:
        self.directory = directory
        random_ = random.Random(n_documents)
        collection = Collection.create(directory, encoder=_encoder())
        documents = [_document(number, random_) for number in range(n_documents)]
        third = n_documents // 3
        collection.add(documents[: 2 * third])
        collection.optimize(searcher)
        collection.add(documents[2 * third :])
        collection.delete([f"d{number}" for number in range(3, third, 7)])
        self.files = sorted(path for path in directory.rglob("*") if path.is_file() and path.name != "writer.lock")
        self.n_documents = n_documents
        self.approximate = _approximate(directory)
        self._expected = [_answers(directory, questions, n_documents) for questions in range(_QUESTIONS)]

    def expected(self, questions: int) -> dict[str, Any]:
        """Return the answers of the whole index; see `_answers`."""
        return self._expected[questions]

    @property
    def is_small(self) -> bool:
        """Whether everything can be asked of it each time."""
        return self.n_documents < 1000


def _kind(path: Path) -> str:
    """Return what the part holds that a file belongs to; nothing for the manifest."""
    return path.parent.name.partition("-")[2]


def _is_mapped(path: Path) -> bool:
    return path.stat().st_size > _MAPPED + 1000


def _encoder() -> FunctionEncoder:
    def vectors(texts: list[str]) -> np.ndarray:
        rows = np.zeros((len(texts), _DIMENSION), np.float32)
        for row, text in enumerate(texts):
            for place, word in enumerate(text.split()[:6]):
                rows[row, (len(word) + ord(word[0]) + ord(word[-1])) % _DIMENSION] += place + 1
        return rows

    return FunctionEncoder(vectors, name="torture", version="1", dimension=_DIMENSION)


def _document(number: int, random_: random.Random) -> Document:
    words = random_.choices(_WORDS, weights=range(len(_WORDS), 0, -1), k=random_.randint(1, 12))
    metadata = {"year": random_.randint(1990, 2030), "tags": random_.sample("abc", 2)} if number % 3 else {}
    return Document(f"d{number}", " ".join(words), f"title{number % 50}" if number % 2 else "", metadata)


# --- What is done to a file -------------------------------------------------------------------------------------------


def _flip(path: Path, random_: random.Random) -> str:
    content = bytearray(path.read_bytes())
    at = random_.randrange(len(content))
    content[at] ^= random_.randint(1, 255)
    path.write_bytes(content)
    return f"byte {at} flipped"


def _truncate(path: Path, random_: random.Random) -> str:
    content = path.read_bytes()
    length = random_.randrange(len(content))
    path.write_bytes(content[:length])
    return f"cut to {length} bytes"


def _extend(path: Path, random_: random.Random) -> str:
    extra = random_.choice([b"\n", b"\0", b" " * 7, random_.randbytes(random_.randint(1, 100_000))])
    path.write_bytes(path.read_bytes() + extra)
    return f"{len(extra)} bytes longer"


def _empty(path: Path, random_: random.Random) -> str:
    path.write_bytes(b"")
    return "emptied"


def _remove(path: Path, random_: random.Random) -> str:
    path.unlink()
    return "removed"


def _zero(path: Path, random_: random.Random) -> str:
    path.write_bytes(bytes(path.stat().st_size))
    return "all zeros"


_DAMAGES: list[Callable[[Path, random.Random], str]] = [_flip, _truncate, _extend, _empty, _remove, _zero]


@contextlib.contextmanager
def _damaged(path: Path, damage: Callable[[Path, random.Random], str], random_: random.Random) -> Iterator[str]:
    """Damage a file, and put it back afterwards as another file: mapped ones stay as they were mapped."""
    kept = path.read_bytes()
    path.unlink()
    path.write_bytes(kept)
    done = damage(path, random_)
    try:
        yield done
    finally:
        path.unlink(missing_ok=True)
        path.write_bytes(kept)


# --- What must hold ---------------------------------------------------------------------------------------------------


def _damage_files(
    index: _Index,
    files: list[Path],
    profile: Profile,
    rounds: int,
    outcomes: tuple[Outcome, Outcome, Outcome],
    changes: int = 15,
) -> None:
    found, searched, written = outcomes
    tried: Counter[str] = Counter()
    detected: Counter[str] = Counter()
    for step in range(rounds):
        for path in files:
            kind = _kind(path) or path.name
            for damage in _DAMAGES if step % 8 == 0 else [_flip]:
                where = f"{index.directory.name}/{path.relative_to(index.directory)}"
                random_ = random.Random(f"{profile.seed}/{step}/{where}/{damage.__name__}")
                with _damaged(path, damage, random_) as done:
                    what = f"{where}, {done} (round {step})"
                    tried[kind] += 1
                    detected[kind] += _verify(index.directory, path, what, found)
                    _search(index, path, what, searched, questions=step % _QUESTIONS, whole=damage is not _flip)
                    if damage is _flip and (step < changes or path.name == "vectors.npy"):
                        operations = list(_CHANGES) if index.is_small else ["compact"]
                        chosen = [random_.choice(operations)] if profile.name == "short" else operations
                        _write(index, path, what, written, chosen)
    if _answers(index.directory, 0, index.n_documents) != index.expected(0):
        found.fail(f"{index.directory.name}: not what it was after all files were put back")
    for name in tried:
        before = [int(number) for number in found.notes.get(name, "0 of 0").split(" of ")]
        found.notes[name] = f"{before[0] + detected[name]} of {before[1] + tried[name]}"


def _verify(directory: Path, path: Path, what: str, outcome: Outcome) -> bool:
    outcome.tried += 1
    try:
        report = verify(directory)
    except Exception as error:
        outcome.fail(f"{what}: verify raised {type(error).__name__}: {error}")
        return False
    if not report.problems:
        outcome.fail(f"{what}: verify found nothing")
    elif not any(str(path) in problem for problem in report.problems):
        outcome.fail(f"{what}: verify did not name the file but {report.problems}")
    elif not report.fix:
        outcome.fail(f"{what}: verify did not say what to do")
    else:
        return True
    return False


def _search(index: _Index, path: Path, what: str, outcome: Outcome, *, questions: int, whole: bool) -> None:
    """Everything that reads: an error that names the file, or the undamaged answers.

    Args:
        index: the damaged one.
        path: the damaged file.
        what: was done.
        outcome: where it is noted.
        questions: which are asked.
        whole: the damage is one that opening must notice: the size, or the header.
    """
    outcome.tried += 1
    kind = _kind(path)
    if kind == "searcher":
        return _search_with_searcher(index, path, what, outcome, whole=whole)
    if whole or kind == "":
        try:
            Collection.open(index.directory, encoder=_encoder())
        except (CorruptIndexError, CollectionError) as error:
            _check_named(error, path, what, outcome)
        except Exception as error:
            outcome.fail(f"{what}: open raised {type(error).__name__}: {error}")
        else:
            outcome.fail(f"{what}: opened as if nothing had happened")
        return None
    answers, expected = _answers(index.directory, questions, index.n_documents), index.expected(questions)
    for name, answer in answers.items():
        if isinstance(answer, Exception):
            _check_named(answer, path, f"{what}: {name}", outcome)
        elif path.name != "vectors.npy" and answer != expected[name]:
            outcome.fail(f"{what}: {name} gave another answer")
    return None


def _search_with_searcher(index: _Index, path: Path, what: str, outcome: Outcome, *, whole: bool) -> None:
    try:
        collection = Collection.open(index.directory, encoder=_encoder())
        collection.search(_WORDS[0], 3, mode="bm25")
        collection.search(_WORDS[0], 3, mode="dense", exact=True)
    except Exception as error:
        outcome.fail(f"{what}: raised although the searcher was not used: {type(error).__name__}: {error}")
    answer = _approximate(index.directory)
    if isinstance(answer, Exception):
        _check_named(answer, path, what, outcome)
    elif answer != index.approximate:
        outcome.fail(f"{what}: the damaged searcher gave another answer")
    elif whole:
        outcome.fail(f"{what}: the damaged searcher was opened")


def _check_named(error: Exception, path: Path, what: str, outcome: Outcome) -> None:
    if not isinstance(error, (CorruptIndexError, CollectionError)):
        outcome.fail(f"{what}: raised {type(error).__name__}: {error}")
    elif str(path.parent) not in str(error):
        outcome.fail(f"{what}: the error does not name the file: {error}")


def _answers(directory: Path, questions: int, n_documents: int) -> dict[str, Any]:
    """Ask everything that reads; the value is the answer, or the exception."""
    random_ = random.Random(questions)
    answers: dict[str, Any] = {}

    def ask(name: str, question: Callable[[], Any]) -> None:
        try:
            answers[name] = question()
        except Exception as error:
            answers[name] = error

    ask("open", lambda: Collection.open(directory, encoder=_encoder()) and None)
    if isinstance(answers["open"], Exception):
        return answers
    collection = Collection.open(directory, encoder=_encoder())
    words = random_.sample(_WORDS, 4)
    ids = [f"d{random_.randrange(n_documents)}" for _ in range(5)]
    for mode in ("bm25", "dense", "hybrid"):
        for word in words[:2]:
            ask(f"{mode} {word}", lambda mode=mode, word=word: _hits(collection.search(word, 5, mode=mode, exact=True)))
    ask("evidence", lambda: _evidence(collection, " ".join(words[:2])))
    ask("filter", lambda: _hits(collection.search(words[0], 5, mode="bm25", where="year >= 2010 and tags in [a]")))
    ask(
        "phrase",
        lambda: _hits(
            collection.search(f'+{words[1]} -{words[2]} "{words[0]} {words[1]}"', 5, mode="bm25", syntax="query")
        ),
    )
    ask("unknown", lambda: _hits(collection.search("zzzz", 5, mode="bm25")))
    for document_id in ids:
        ask(f"get {document_id}", lambda document_id=document_id: collection.get(document_id))
        ask(f"in {document_id}", lambda document_id=document_id: document_id in collection)
    # The same document whatever is damaged: where looking it up fails, so must this.
    stored = [document_id for document_id in ids if answers[f"in {document_id}"] is not False][:1]
    ask("similar", lambda: [_hits(collection.similar(document_id, 5)) for document_id in stored])
    if n_documents < 1000:  # a small one
        ask("iterate", lambda: list(collection))
        ask("ids", lambda: list(collection.ids()))
        ask("export", lambda: _exported(collection, vectors=False))
        ask("export vectors", lambda: _exported(collection, vectors=True))
    return answers


def _approximate(directory: Path) -> Any:
    """Return what an approximate search finds, or the exception."""
    try:
        return _hits(Collection.open(directory, encoder=_encoder()).search(_WORDS[0], 3, mode="dense"))
    except Exception as error:
        return error


def _hits(results: Any) -> list[tuple[str, float]]:
    return [(hit.id, hit.score) for hit in results]


def _evidence(collection: Collection, query: str) -> list[Any]:
    hits = collection.search(query, 3, exact=True)
    return [(hit.id, hit.document, hit.passage, hit.explain()) for hit in hits]


def _exported(collection: Collection, *, vectors: bool) -> bytes:
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        path = Path(name) / ("all.parquet" if vectors else "all.jsonl")
        collection.export(path, vectors=vectors)
        return path.read_bytes()


def _write(index: _Index, path: Path, what: str, outcome: Outcome, operations: list[str]) -> None:
    """Change a damaged collection: an error and the old state, or a state in which no damage is called whole.

    What was written afterwards must not pass `verify` while it holds other documents or vectors than before.
    """
    for name in operations:
        outcome.tried += 1
        copy = index.directory.with_name("copy")
        shutil.copytree(index.directory, copy)
        try:
            before = (copy / "manifest.json").read_bytes()
            _change(index, copy, _CHANGES[name], before, f"{what}: {name}", outcome)
        finally:
            shutil.rmtree(copy)


def _change(
    index: _Index, copy: Path, change: Callable[[Collection], None], before: bytes, what: str, outcome: Outcome
) -> None:
    try:
        change(Collection.open(copy, encoder=_encoder()))
    except (CorruptIndexError, CollectionError):
        if (copy / "manifest.json").read_bytes() != before:
            outcome.fail(f"{what}: failed, and committed")
        return
    except Exception as error:
        outcome.fail(f"{what}: raised {type(error).__name__}: {error}")
        return
    report = verify(copy)
    if report.ok and (difference := _difference(copy, index.n_documents)):
        outcome.fail(f"{what}: damage was written into new files: {difference}")


def _compact(collection: Collection) -> None:
    collection.compact()


def _upsert(collection: Collection) -> None:
    collection.upsert([Document("d1", _WORDS[3]), Document("new", f"{_WORDS[0]} {_WORDS[1]}")])


def _optimize(collection: Collection) -> None:
    collection.optimize("int8")


_CHANGES: dict[str, Callable[[Collection], None]] = {"compact": _compact, "upsert": _upsert, "optimize": _optimize}


def _difference(directory: Path, n_documents: int) -> str:
    """Compare every document and vector with what the generator and the encoder make of it."""
    random_ = random.Random(n_documents)
    made = {document.id: document for document in (_document(number, random_) for number in range(n_documents))}
    made["new"] = Document("new", f"{_WORDS[0]} {_WORDS[1]}")
    encoder = _encoder()
    collection = Collection.open(directory, encoder=encoder)
    for segment, row in collection.snapshot.rows():
        document = segment.documents.document(row)
        if document != made[document.id] and document != Document("d1", _WORDS[3]):
            return f"document {document.id}"
    for segment in collection.snapshot.segments:
        rows = segment.alive_rows()
        texts = [segment.documents.full_text(row)[0] for row in rows.tolist()]
        expected = encoder.encode_passages(texts).astype(np.float64)
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
        stored = segment.passages.vectors.vectors[np.isin(segment.passages.vectors.rows, rows)]
        if not np.allclose(expected, stored, atol=1e-6):
            return f"vectors of {segment.name}"
    return ""


# --- Staged vectors ---------------------------------------------------------------------------------------------------


def _damage_staged(directory: Path, profile: Profile, outcome: Outcome) -> None:
    """A damaged block is thrown away, and what it held encoded again."""
    from retrieval.staging import Staging, passage_hashes

    texts = [f"{_WORDS[number]} {_WORDS[-number]} waits" for number in range(20)]
    for step in range(profile.pick(short=2, long=60)):
        for damage in _DAMAGES:
            random_ = random.Random(f"{profile.seed}/staged/{step}/{damage.__name__}")
            shutil.rmtree(directory, ignore_errors=True)
            collection = Collection.create(directory, encoder=_encoder())
            encoder = _encoder()
            staging = Staging.for_encoder(directory / "staging", encoder)
            staging.add(passage_hashes(texts), encoder.encode_passages(texts))
            staging.flush()
            (block,) = (path for path in (directory / "staging").rglob("*") if path.is_file())
            outcome.tried += 1
            what = f"staged block, {damage(block, random_)} (round {step})"
            try:
                report = collection.add([Document(f"d{number}", text) for number, text in enumerate(texts)])
            except Exception as error:
                outcome.fail(f"{what}: {type(error).__name__}: {error}")
                continue
            if report.encoded != len(texts):
                outcome.fail(f"{what}: {report.encoded} of {len(texts)} texts were encoded again")
            if not verify(directory).ok or (directory / "staging").exists():
                outcome.fail(f"{what}: the block or damage is still there")
    shutil.rmtree(directory, ignore_errors=True)
