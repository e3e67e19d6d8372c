"""Loads the native libraries in a given order in a process of its own, computes with each, and prints what it found.

`python -m retrieval.cli.native_probe faiss torch`: OpenMP runtimes that do not get along crash or hang the process that
loads them, and some do so in one order only. So `retrieval doctor` lets another process try.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from typing import Any


def probe(order: list[str]) -> dict[str, Any]:
    """Import the libraries, let each compute with its threads, and return versions, threads and runtimes."""
    modules = {name: importlib.import_module(name) for name in order}
    import numpy as np

    found: dict[str, Any] = {"threads": {}, "runtimes": None, "cuda": False}
    if "torch" in modules:
        torch = modules["torch"]
        torch.ones(256, 256).matmul(torch.ones(256, 256)).sum().item()
        found["threads"]["torch"] = torch.get_num_threads()
        found["cuda"] = bool(torch.cuda.is_available())
    if "faiss" in modules:
        faiss = modules["faiss"]
        vectors = np.eye(64, dtype=np.float32)
        index = faiss.IndexFlatIP(64)
        index.add(vectors)
        index.search(vectors, 3)
        found["threads"]["faiss"] = faiss.omp_get_max_threads()
    from numba import get_num_threads

    found["threads"]["numba"] = get_num_threads()
    if importlib.util.find_spec("threadpoolctl") is not None:
        pools = importlib.import_module("threadpoolctl").threadpool_info()
        found["runtimes"] = [{name: pool.get(name) for name in ("user_api", "prefix", "filepath")} for pool in pools]
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(probe(sys.argv[1:])))
