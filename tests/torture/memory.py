"""Memory: millions of short documents are indexed, merged and searched in a process of their own, which is measured.

The bound that is stated and checked: a fixed part (interpreter, libraries, the documents that wait to be written,
blocks of bounded size) and some bytes for each document of the collection. Two sizes are measured, one four times the
other, so that what grows with the number of documents shows.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.torture.outcome import Outcome, Profile

BOUNDS = {"index": (700, 50), "compact": (700, 50), "search": (100, 20)}
"""By kind of work: MiB whatever the number of documents, and bytes for each document of the collection.

Fixed are the interpreter and its libraries, up to 256 MiB of documents that wait to be written, their tokens, and a
block of postings while segments are merged. Each document has its id's hash, its sequence number and its places in old
and new segments while segments are merged, and its length and norm while it is searched.
"""


def run(profile: Profile) -> list[Outcome]:
    """Index two collections of different size and compare their peaks with the stated bound."""
    sizes = (20_000, 80_000) if profile.name == "short" else (500_000, 2_000_000)
    outcomes = []
    for n_documents in sizes:
        outcome = Outcome(f"memory of {n_documents:,} documents", "documents", tried=n_documents)
        folder = Path(tempfile.mkdtemp())
        try:
            for work, (fixed, each) in BOUNDS.items():
                own, resident = _measured(work, folder / "collection", n_documents, profile.seed)
                bound = fixed + each * n_documents / 2**20
                outcome.notes[work] = f"{own:,.0f} MiB (bound {bound:,.0f}), with mapped files {resident:,.0f}"
                if own > bound:
                    outcome.fail(f"{work} of {n_documents:,} documents took {own:,.0f} MiB, the bound is {bound:,.0f}")
        finally:
            shutil.rmtree(folder)
        outcomes.append(outcome)
    return outcomes


def _measured(work: str, path: Path, n_documents: int, seed: int) -> tuple[float, float]:
    """Return the peak of the resident set of a process of its own, in MiB: without mapped files, and with them.

    Pages of mapped files count as resident, but the system drops them when it needs the memory.
    """
    command = [sys.executable, "-m", "tests.torture.memory", work, str(path), str(n_documents), str(seed)]
    finished = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    measured = json.loads(finished.stdout)
    return measured["own_mib"], measured["resident_mib"]


# --- in the measured process ------------------------------------------------------------------------------------------


def _documents(n_documents: int, seed: int):
    import numpy as np

    from retrieval import Document

    # Zipf's law over a large vocabulary, some 30 words a document, like passages of a few sentences.
    random = np.random.default_rng(seed)
    for start in range(0, n_documents, 1000):
        ranks = random.zipf(1.3, size=(1000, 30)) % 1_000_000
        for row, words in enumerate(ranks.tolist()[: n_documents - start]):
            yield Document(f"document-{start + row}", " ".join(f"w{rank}" for rank in words))


def _work(work: str, path: Path, n_documents: int, seed: int) -> None:
    from retrieval import Collection

    if work == "index":
        with Collection.create(path, encoder=None) as collection:
            collection.add(_documents(n_documents, seed))
    elif work == "compact":
        with Collection.open(path) as collection:
            collection.delete(f"document-{number}" for number in range(0, n_documents, 20))
            collection.compact()
    else:
        with Collection.open(path) as collection:
            if len(collection) != n_documents - len(range(0, n_documents, 20)):
                raise AssertionError(len(collection))
            for number in range(200):
                collection.search(f"w{number} w{number * 7} w{number * 31}")


class _Peak:
    """Samples the process's anonymous memory: what only it has, without the mapped pages that the system may drop."""

    def __enter__(self) -> _Peak:
        import threading

        self.peak, self._stop = 0, threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def _sample(self) -> None:
        while not self._stop.wait(0.02):
            self._look()

    def _look(self) -> None:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                self.peak = max(self.peak, int(line.split()[1]) << 10)

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()
        self._look()


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with _Peak() as peak:
        _work(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    import resource

    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # Linux counts KiB
    json.dump({"own_mib": peak.peak / 2**20, "resident_mib": resident}, sys.stdout)
