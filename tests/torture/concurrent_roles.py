"""A process that writes a `History` into a collection, and one that reads beside it and checks every answer."""

from __future__ import annotations

import contextlib
import random
import time
from functools import cached_property
from itertools import islice
from pathlib import Path

from retrieval import Collection
from retrieval.errors import EncoderMismatchError
from retrieval.results import Hit
from tests.retrieval.collection_oracle import QUERIES, WORDS, Oracle, encoder, vectors_of
from tests.torture.history import CHANGING, MARKER, N_IDS, History, Step

READY = "ready-"
FINISHED = "finished"
PATIENCE = 60
"""Seconds that processes wait for each other."""

COUNTS = ["searches", "refreshes", "verified", "held", "opened"]

State = tuple[int, int, str]
"""Generation, step of the history, version of the encoder."""


class WriterProcess:
    """Works through the history until its time is over, and logs what it commits.

    Args:
        folder: where the collection is made, and the processes leave word for each other.
        seed: of the history.
        seconds: how long, once all readers have begun.
        n_readers: for how many to wait.
    """

    def __init__(self, folder: Path, seed: int, seconds: int, n_readers: int) -> None:
        self._n_readers = n_readers
        self._folder = folder
        self._path = folder / "collection"
        self._seconds = seconds
        self._history = History(seed)
        self._version = "1"
        self._collection = Collection.create(self._path, encoder=encoder())
        self._marked = 0
        self.states: list[State] = [(self._generation(), 0, "1")]

    def run(self) -> None:
        """Write until the time is over, which begins when all readers have begun."""
        self._step()
        give_up = time.monotonic() + PATIENCE
        while len(list(self._folder.glob(f"{READY}*"))) < self._n_readers and time.monotonic() < give_up:
            time.sleep(0.01)
        end = time.monotonic() + self._seconds
        while time.monotonic() < end:
            self._step()
        Oracle(self._history.documents.values()).check_contents(self._collection)

    def _step(self) -> None:
        step = self._history.next()
        self._do(step)
        if step.kind in CHANGING:
            self._marked = self._history.number
        state = (self._generation(), self._marked, self._version)
        if step.kind in CHANGING or state[0] != self.states[-1][0]:
            assert state[0] == self.states[-1][0] + 1, f"{step.kind}: from {self.states[-1]} to {state}"
            self.states.append(state)

    def _generation(self) -> int:
        return self._collection.stats()["generation"]

    def _do(self, step: Step) -> None:
        collection = self._collection
        if step.kind in CHANGING:
            with collection.batch():
                if step.kind == "add":
                    collection.add(step.documents)
                else:
                    collection.upsert(step.documents)
                collection.delete(step.ids)
                if step.after is not None:
                    collection.delete(where=f"year > {step.after}")
                collection.upsert(self._history.marker())
                if step.compact:
                    collection.compact()
        elif step.kind == "compact":
            collection.compact()
        elif step.kind == "optimize":
            collection.optimize(step.searcher)
        elif step.kind == "reencode":
            self._version = "2" if self._version == "1" else "1"
            collection.reencode(encoder(self._version))
        elif step.kind == "fail":
            with contextlib.suppress(ZeroDivisionError), collection.batch():
                collection.delete(list(collection.ids()))
                collection.add({"id": "never", "text": "owl"})
                raise ZeroDivisionError
        else:
            collection.close()
            self._collection = Collection.open(self._path, encoder=encoder(self._version))


class View:
    """An open collection and the oracle of the state that it was found in."""

    def __init__(self, collection: Collection, history: History, draw: random.Random) -> None:
        self.collection = collection
        facts = collection.stats()
        marker = collection.get(MARKER)
        step = 0 if marker is None else marker.metadata["step"]
        self.state: State = (facts["generation"], step, facts["encoder"]["identity"]["version"])
        self.documents = list(history.advance(step).values())
        self._draw = draw
        self._earlier: list[Hit] = []

    @cached_property
    def _oracle(self) -> Oracle:
        vectors = vectors_of((document.full_text for document in self.documents), self.state[2])
        return Oracle(self.documents, vectors)

    def check(self) -> int:
        """Compare a few answers with the oracle's; returns how many searches that were."""
        collection, oracle, draw = self.collection, self._oracle, self._draw
        assert collection.stats()["generation"] == self.state[0], "an open snapshot changed its generation"
        if draw.random() < 0.3:
            oracle.check_contents(collection)
        for number in draw.sample(range(N_IDS), 4):
            oracle.check_get(collection, f"d{number}")
        oracle.check_get(collection, "never")
        if not oracle.documents:
            return 0
        query = draw.choice([*QUERIES, " ".join(draw.choices(WORDS, k=3))])
        vector = vectors_of([query], self.state[2])[0]
        after = draw.choice([None, None, 2019, 2021])
        where = None if after is None else f"year > {after}"
        k = draw.choice([1, 5, 20, 1000])
        lexical = collection.search(query, k, mode="bm25", where=where)
        oracle.check_bm25(lexical, query, k, after=after)
        # What was found long ago can still be read, whatever the writer has done since.
        for hit in self._earlier:
            assert hit.document == oracle.documents[oracle.places[hit.id]], f"hit {hit.id!r} became {hit.document}"
            assert hit.passage is None or hit.passage.text == hit.document.full_text, f"{hit.id!r}: {hit.passage}"
        dense = collection.search(query, k, mode="dense", vector=vector, where=where, exact=True)
        oracle.check_dense(dense, vector, k, after=after)
        self._earlier = [*lexical[:5], *dense[:5]]
        approximate = collection.search(query, k, mode="dense", vector=vector, where=where)
        oracle.check_dense(approximate, vector, k, after=after, complete=False)
        lists = [
            collection.search(query, 1000, mode="bm25"),
            collection.search(query, 1000, mode="dense", vector=vector, exact=True),
        ]
        oracle.check_hybrid(collection.search(query, 10, mode="hybrid", vector=vector, exact=True), lists, 10)
        like = draw.choice(oracle.documents).id
        oracle.check_similar(collection.similar(like, 5), like, 5, complete=False)
        return 7


class ReaderProcess:
    """Moves on, compares, holds old snapshots, until the writer has finished.

    Args:
        folder: the writer's.
        seed: of the history.
        seconds: how long the writer works; old snapshots are held longer when it is long.
        number: of this reader, so that each reads something else.
    """

    def __init__(self, folder: Path, seed: int, seconds: int, number: int) -> None:
        self._folder = folder
        self._number = number
        self._path = folder / "collection"
        self._history = History(seed)
        self._draw = random.Random(1000 * seed + number)
        self._hold_for = 2.0 if seconds < 60 else 15.0
        self.counts = dict.fromkeys(COUNTS, 0)
        self.states: set[State] = set()
        self._last: State = (0, 0, "1")

    def run(self) -> None:
        """Read until the writer has finished; then the last commit must be there."""
        while not (self._path / "manifest.json").exists():
            time.sleep(0.01)
        collection = self._open()
        while not self._view(collection).state[1]:
            collection.refresh()
        view = self._view(collection)
        self._compare(view)  # loads the kernels
        (self._folder / f"{READY}{self._number}").touch()
        held, since = self._hold(), time.monotonic()
        finished = False
        while not finished:
            finished = (self._folder / FINISHED).exists()
            reading = iter(collection)
            begun = list(islice(reading, 50))
            collection = self._move_on(collection)
            if self._draw.random() < 0.1:
                assert [*begun, *reading] == view.documents, "refresh() changed what an iteration goes through"
            view = self._view(collection)
            # Mostly only move on, and so meet the writer in the middle of its commits more often.
            if finished or self._draw.random() < 0.3:
                self._compare(view)
            if self._draw.random() < 0.02:
                report = collection.verify()
                assert report.ok, f"verify beside the writer: {report.problems[:3]}"
                self.counts["verified"] += 1
            if finished or time.monotonic() - since > self._hold_for:
                self._compare(held)
                self.counts["held"] += 1
                held, since = self._hold(), time.monotonic()
        assert not collection.refresh(), "refresh() says that there is something newer after the last commit"

    def _open(self) -> Collection:
        """Open the collection anew: mostly without its encoder, for queries come with vectors."""
        self.counts["opened"] += 1
        if self._draw.random() < 0.5:
            with contextlib.suppress(EncoderMismatchError):  # the writer has just changed to the other
                return Collection.open(self._path, encoder=encoder(self._last[2]))
        return Collection.open(self._path)

    def _move_on(self, collection: Collection) -> Collection:
        if self._draw.random() < 0.1:
            return self._open()
        before = collection.stats()["generation"]
        another_look = self._draw.random() < 0.3
        committed = Collection.open(self._path).stats()["generation"] if another_look else before
        moved = collection.refresh()
        after = collection.stats()["generation"]
        assert after >= committed, f"refresh() went to generation {after}, {committed} was there already"
        assert moved == (after > before), f"refresh() said {moved} from generation {before} to {after}"
        self.counts["refreshes"] += 1
        return collection

    def _view(self, collection: Collection) -> View:
        view = View(collection, self._history, self._draw)
        assert view.state[:2] >= self._last[:2], f"from {self._last} back to {view.state}"
        assert view.state[1] >= self._last[1], f"from {self._last} back to {view.state}"
        self._last = view.state
        self.states.add(view.state)
        return view

    def _hold(self) -> View:
        """Open another snapshot to come back to; its approximate searcher is sometimes open by then, sometimes not."""
        view = self._view(self._open())
        if self._draw.random() < 0.5:
            self._compare(view)
        return view

    def _compare(self, view: View) -> None:
        try:
            self.counts["searches"] += view.check()
        except Exception as error:
            error.add_note(f"generation, step and encoder: {view.state}")
            raise
