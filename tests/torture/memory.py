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

FIXED_MIB = 1400
"""MiB that indexing may take whatever the number of documents: most of it the 256 MiB of documents that wait (as Python
objects), their tokens, and a block of postings being merged."""

BYTES_PER_DOCUMENT = 150
"""Bytes that a document of the collection may add to the peak: its id's hash, sequence number, places while merging."""

SEARCH_FIXED_MIB = 600
SEARCH_BYTES_PER_DOCUMENT = 60


def run(profile: Profile) -> list[Outcome]:
    """Index two collections of different size and compare their peaks with the stated bound."""
    sizes = (20_000, 80_000) if profile.name == "short" else (500_000, 2_000_000)
    outcomes = []
    for n_documents in sizes:
        outcome = Outcome(f"memory of {n_documents:,} documents", "documents", tried=n_documents)
        folder = Path(tempfile.mkdtemp())
        try:
            for work, fixed, each in (
                ("index", FIXED_MIB, BYTES_PER_DOCUMENT),
                ("compact", FIXED_MIB, BYTES_PER_DOCUMENT),
                ("search", SEARCH_FIXED_MIB, SEARCH_BYTES_PER_DOCUMENT),
            ):
                peak = _measured(work, folder / "collection", n_documents, profile.seed)
                bound = fixed + each * n_documents / 2**20
                outcome.notes[work] = f"{peak:,.0f} MiB (bound {bound:,.0f})"
                if peak > bound:
                    outcome.fail(f"{work} of {n_documents:,} documents took {peak:,.0f} MiB, the bound is {bound:,.0f}")
        finally:
            shutil.rmtree(folder)
        outcomes.append(outcome)
    return outcomes


def _measured(work: str, path: Path, n_documents: int, seed: int) -> float:
    """Return the peak of the memory of a process of its own, without mapped files, in MiB."""
    command = [sys.executable, "-m", "tests.torture.memory", work, str(path), str(n_documents), str(seed)]
    finished = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    return float(json.loads(finished.stdout)["peak_mib"])


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

    whole = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    json.dump({"peak_mib": peak.peak / 2**20, "with_mapped_mib": whole}, sys.stdout)
