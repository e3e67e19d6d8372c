"""torch: documents as a sparse CSR tensor times a block of queries as a dense matrix, then `topk`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eval.benchmarks.peers.sparse import Found, matrix
from eval.benchmarks.sparse_vectors import SparseVectors

_QUERIES = 16  # multiplied at a time


class TorchProduct:
    """torch's sparse product in float32 on the processor; see `SparseSide`."""

    name = "torch"
    exact = True
    points: Sequence[str] = ("",)

    def __init__(self, directory: Path, documents: SparseVectors, n_dimensions: int, threads: int) -> None:  # noqa: ARG002
        import torch

        torch.set_num_threads(threads)
        self._n_dimensions = n_dimensions
        rows = matrix(documents, n_dimensions)
        self._documents = torch.sparse_csr_tensor(
            torch.from_numpy(rows.indptr.astype(np.int64)),
            torch.from_numpy(rows.indices.astype(np.int64)),
            torch.from_numpy(rows.data),
            size=rows.shape,
            check_invariants=False,
        )

    @classmethod
    def build(cls, directory: Path, documents: SparseVectors, n_dimensions: int) -> None:
        """Do nothing: the tensor is in memory."""

    def prepare(self, queries: SparseVectors) -> Any:
        """Return blocks of queries as columns, (n_dimensions, n) float32."""
        import torch

        rows = matrix(queries, self._n_dimensions)
        blocks = (rows[first : first + _QUERIES] for first in range(0, rows.shape[0], _QUERIES))
        return [torch.from_numpy(np.ascontiguousarray(block.toarray().T)) for block in blocks]

    def search(self, prepared: Any, k: int, point: str) -> Any:  # noqa: ARG002
        """Multiply block by block and take the largest of each column."""
        import torch

        k = min(k, self._documents.shape[0])
        with torch.inference_mode():
            return [torch.topk((self._documents @ block).T, k, dim=1) for block in prepared]

    def found(self, answers: Any, prepared: Any) -> list[Found]:  # noqa: ARG002
        """Read the tensors."""
        return [
            Found(rows[scores > 0], scores[scores > 0].astype(np.float64))
            for block in answers
            for scores, rows in zip(block.values.numpy(), block.indices.numpy(), strict=True)
        ]
