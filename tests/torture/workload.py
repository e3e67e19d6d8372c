"""What the attacks on writers share: named jobs on a prepared collection, and an oracle of what must be there.

The oracle is a plain list of documents, in the order in which their texts came, and the answers of a collection that is
freshly built from it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from indexes.file_operations import Operation
from retrieval import Collection, Document, FunctionEncoder
from retrieval.collection.manifest_file import MANIFEST_NAME, read_manifest
from retrieval.errors import CollectionError
from tests.torture.harness import Broken, copy_of, recorded, temporary_folder

WORDS = ["owl", "night", "fly", "winter", "swim", "song", "nest", "egg"]
QUERIES = ["owl night", "fly fly swim", "egg nest song winter"]
MODES = ({"mode": "bm25"}, {"mode": "dense", "exact": True}, {"mode": "hybrid", "exact": True, "where": "year > 2019"})


def word_counts(texts: Iterable[str], version: int = 1) -> np.ndarray:
    """Return vectors that differ between versions: (n, 8) float32."""
    counts = np.array([[text.split().count(word) for word in WORDS] for text in texts], np.float32) + 0.25
    return np.roll(counts, version, axis=1) * np.arange(1, 9, dtype=np.float32) ** (version - 1)


def encoder(version: int = 1) -> FunctionEncoder:
    function = functools.partial(word_counts, version=version)
    return FunctionEncoder(function, name="words", version=version, dimension=len(WORDS))


def document(number: int, seed: int = 0) -> Document:
    """Return a document whose text follows from both numbers."""
    rng = np.random.default_rng([seed, number])
    text = " ".join(rng.choice(WORDS, rng.integers(2, 12)))
    return Document(f"d{number}", text, metadata={"year": int(rng.integers(2018, 2024))})


def put(documents: list[Document], new: Iterable[Document]) -> list[Document]:
    """Return what a list of documents is after an upsert: a document whose text changed goes to the end."""
    model = {stored.id: stored for stored in documents}
    for changed in new:
        if changed.id in model and model[changed.id].text != changed.text:
            del model[changed.id]
        model[changed.id] = changed
    return list(model.values())


@dataclass(frozen=True)
class State:
    """A committed state: what the collection must hold and answer.

    Attributes:
        generation: the manifest's count of commits.
        documents: in order.
        version: of the encoder.
    """

    generation: int
    documents: tuple[Document, ...]
    version: int = 1

    def answers(self) -> list[list[tuple[str, float]]]:
        """Return ids and scores of the queries, from a freshly built collection."""
        key = repr((self.documents, self.version))
        if key not in _built:
            with temporary_folder() as folder:
                fresh = Collection.create(folder / "c", encoder=encoder(self.version))
                fresh.add(self.documents)
                _built[key] = answers(fresh)
        return _built[key]


_built: dict[str, list[list[tuple[str, float]]]] = {}


def answers(collection: Collection) -> list[list[tuple[str, float]]]:
    found = [collection.search_many(QUERIES, 5, **mode) for mode in MODES]  # type: ignore[arg-type]
    return [[(hit.id, hit.score) for hit in results] for mode in found for results in mode]


def check_open(collection: Collection, states: Iterable[State]) -> State:
    """Return which of the states an open collection shows, by its generation; raises Broken where it differs."""
    generation = collection.snapshot.manifest.generation
    state = next((state for state in states if state.generation == generation), None)
    if state is None:
        raise Broken(f"the collection is at generation {generation}, which it must not be")
    if tuple(collection) != state.documents or len(collection) != len(state.documents):
        raise Broken(f"generation {generation} holds other documents than were committed")
    if answers(collection) != state.answers():
        raise Broken(f"generation {generation} answers otherwise than a collection built anew")
    living = {stored.id for stored in state.documents}
    for results in collection.search_many(QUERIES, 5, mode="dense"):  # through the approximate searcher
        if not set(results.ids) <= living:
            raise Broken(f"generation {generation} finds deleted documents")
    return state


def open_again(path: Path) -> Collection:
    """Open a collection with the encoder that it was built with."""
    recorded = read_manifest(path).encoder
    return Collection.open(path, encoder=encoder(int(recorded.identity["version"]) if recorded else 1))


def check_directory(path: Path, states: Iterable[State]) -> State:
    """Open the collection anew and return its state; raises Broken when anything is not as it must be."""
    collection = open_again(path)
    if problems := collection.verify().problems:
        raise Broken(f"verify: {problems[0]}")
    return check_open(collection, states)


def check_leftovers(path: Path, *, staged: bool = False) -> None:
    """Check that nothing lies in a collection that its manifest does not name."""
    named = {f"parts/{part.name}/{name}" for part in read_manifest(path).parts for name in part.files}
    there = {str(file.relative_to(path)) for file in path.rglob("*") if not file.is_dir()}
    folders = {str(folder.relative_to(path)) for folder in path.rglob("*") if folder.is_dir()}
    left = there - named - {MANIFEST_NAME, "writer.lock"}
    left |= folders - {str(Path(name).parent) for name in named} - {"parts", "staging"}
    if staged:
        left = {name for name in left if not name.startswith("staging")}
    if left:
        raise Broken(f"left over: {sorted(left)[:3]}")


# ---------------------------------------------------------------------------------------------------------------- jobs


@dataclass(frozen=True)
class Job:
    """One change to a prepared collection, and the same change to a plain list."""

    name: str
    run: Callable[[Collection], object]
    after: Callable[[list[Document]], list[Document]]
    version: int = 1


def _batch(collection: Collection) -> None:
    with collection.batch():
        collection.upsert([document(3, 9), document(71), document(72)])
        collection.delete(["d1", "d72", "d14"])
        collection.add(document(73))


def _without(gone: Iterable[str]) -> Callable[[list[Document]], list[Document]]:
    return lambda documents: [stored for stored in documents if stored.id not in gone]


NEW = [document(number) for number in range(50, 60)]
CHANGED = [document(number, 5) for number in (2, 7, 13, 21, 61)]

JOBS = [
    Job("add", lambda collection: collection.add(iter(NEW)), lambda documents: documents + NEW),
    Job("update", lambda collection: collection.upsert(CHANGED), lambda documents: put(documents, CHANGED)),
    Job("delete", lambda collection: collection.delete(["d4", "d9", "d22"]), _without({"d4", "d9", "d22"})),
    Job(
        "delete where",
        lambda collection: collection.delete(where="year >= 2022"),
        lambda documents: [stored for stored in documents if stored.metadata["year"] < 2022],
    ),
    Job("delete all", lambda collection: collection.delete(list(collection.ids())), lambda _: []),
    Job(
        "batch",
        _batch,
        lambda documents: put(_without({"d1", "d14"})(documents), [document(3, 9), document(71), document(73)]),
    ),
    Job("compact", lambda collection: collection.compact(), list),
    Job("optimize", lambda collection: collection.optimize("int8"), list),
    Job("drop searcher", lambda collection: collection.optimize("exact"), list),
    Job("reencode", lambda collection: collection.reencode(encoder(2)), list, version=2),
]


def prepare(path: Path) -> State:
    """Create a collection with several segments, tombstones, vectors, a searcher, and a segment that it lacks."""
    documents: list[Document] = []
    collection = Collection.create(path, encoder=encoder())
    for new in ([document(n) for n in range(12)], [document(n) for n in range(12, 20)], [document(5, 7)]):
        collection.upsert(new)
        documents = put(documents, new)
    collection.optimize("hnsw")
    late = [document(n) for n in range(20, 24)]
    collection.upsert(late)
    collection.delete(["d0", "d15", "d20"])
    documents = _without({"d0", "d15", "d20"})(put(documents, late))
    return State(collection.snapshot.manifest.generation, tuple(documents))


def after(job: Job, before: State) -> State:
    """Return the state after a job."""
    return State(before.generation + 1, tuple(job.after(list(before.documents))), job.version)


def create(path: Path) -> Collection:
    """Create an empty collection in a folder that is not there yet."""
    return Collection.create(path, encoder=encoder())


def is_nothing(path: Path) -> bool:
    """Tell whether there is no collection, said in the way that a user understands."""
    try:
        open_again(path)
    except CollectionError as error:
        if "no collection" not in str(error):
            raise
        return True
    return False


def operations_of(folder: Path, change: Callable[[Collection], object] | None) -> list[Operation]:
    """Return the file operations of a change to a copy of `folder/prepared`; of creating a collection where None."""
    path = copy_of(folder, created=change is None)
    if change is None:
        return recorded(lambda: create(path))
    collection = open_again(path)
    return recorded(lambda: change(collection))
