"""A late-interaction network of a few numbers: words to states, and the most similar word of the passage for each.

It is a real network of torch, small enough to be computed by hand: word vectors, a context, MaxSim.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from retrieval.encoders.model_inputs import PreparedTexts
from retrieval.models.rankers.base import TwoSidedNetwork
from retrieval.rerankers.base import Candidates, check_queries

ROWS = 64


class WordNetwork(TwoSidedNetwork):
    """Each word is a row of a table, chosen by its checksum; with a context, plus the mean of its text's words.

    Args:
        width: numbers of a word's state.
        reads: words of a passage that are read.
        context: how much of the mean is added; with 0 a word's state depends on nothing but the word.
        seed: of the table. Its numbers are multiples of 1/16, which float16 holds exactly.

    Attributes:
        texts_encoded: passages that went through `encode_passages`, of all batches.
    """

    kind: ClassVar[str] = "words"

    def __init__(self, width: int = 6, reads: int = 5, context: float = 0.0, seed: int = 0) -> None:
        super().__init__()
        table = torch.from_numpy(np.random.default_rng(seed).integers(-16, 17, (ROWS, width)) / 16).float()
        self.table = nn.Embedding.from_pretrained(table, freeze=False)
        self.context = nn.Parameter(torch.tensor(context))
        self.width, self.reads, self.seed = width, reads, seed
        self.texts_encoded = 0

    def _prepared(self, texts: Sequence[str], reads: int | None) -> PreparedTexts:
        # A text begins with a word of its own, as with [CLS], so that none is empty.
        words = [["[CLS]", *text.split()][: None if reads is None else reads + 1] for text in texts]
        lengths = np.array([len(text) for text in words], np.int64)

        def features(rows: np.ndarray) -> dict[str, Any]:
            ids = torch.zeros(len(rows), int(lengths[rows].max(initial=0)), dtype=torch.long)
            mask = torch.zeros_like(ids, dtype=torch.bool)
            for place, row in enumerate(rows.tolist()):
                numbers = [zlib.crc32(word.encode()) % ROWS for word in words[row]]
                ids[place, : len(numbers)] = torch.tensor(numbers)
                mask[place, : len(numbers)] = True
            return {"ids": ids, "mask": mask}

        return PreparedTexts(lengths, features)

    def prepare_queries(self, queries: Sequence[str]) -> PreparedTexts:
        return self._prepared(queries, None)

    def prepare_passages(self, passages: Sequence[str]) -> PreparedTexts:
        return self._prepared(passages, self.reads)

    def _states(self, features: dict[str, Any]) -> tuple[Tensor, Tensor]:
        mask = features["mask"]
        states = self.table(features["ids"]) * mask[..., None]
        mean = states.sum(dim=1, keepdim=True) / mask.sum(dim=1)[:, None, None].clamp(min=1)
        return states + self.context * mean, mask

    def encode_queries(self, features: dict[str, Any]) -> tuple[Tensor, Tensor]:
        return self._states(features)

    def encode_passages(self, features: dict[str, Any]) -> tuple[Tensor, Tensor]:
        self.texts_encoded += len(features["ids"])
        return self._states(features)

    def interact(self, queries: Tensor, query_mask: Tensor, passages: Tensor, passage_mask: Tensor) -> Tensor:
        similarities = torch.einsum("nqd,npd->nqp", queries, passages)
        best = similarities.masked_fill(~passage_mask[:, None], -torch.inf).amax(dim=2)
        return best.masked_fill(~query_mask, 0.0).sum(dim=1)

    def save(self, folder: str | Path) -> None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        settings = {"kind": self.kind, "width": self.width, "reads": self.reads}
        Path(folder, "reranker.json").write_text(json.dumps(settings))
        save_file(self.state_dict(), str(Path(folder, "model.safetensors")))

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        settings = json.loads(Path(folder, "reranker.json").read_text())
        network = cls(settings["width"], settings["reads"])
        network.load_state_dict(load_file(str(Path(folder, "model.safetensors"))))
        return network


class WordReranker:
    """A reranker around a `WordNetwork`, which reads texts: what the scores of stored states are compared with."""

    def __init__(self, network: WordNetwork, name: str = "words") -> None:
        self.network = network
        self.name = name

    def identity(self) -> dict[str, Any]:
        digest = zlib.crc32(b"".join(value.detach().numpy().tobytes() for value in self.network.state_dict().values()))
        return {"kind": self.network.kind, "weights": digest, "settings": {"reads": (self.network.reads,)}}

    def execution(self) -> dict[str, Any]:
        return {"precision": "fp32", "device": "cpu", "batch_tokens": 64}

    def calls(self, n: int) -> int:
        return n

    def score(self, queries: Sequence[str], candidates: Sequence[Candidates]) -> list[np.ndarray]:
        check_queries(queries, candidates)
        scores = []
        for query, given in zip(queries, candidates, strict=True):
            rows = np.array([[0, number] for number in range(len(given))], np.int64).reshape(-1, 2)
            prepared = self.network.prepare([query], list(given.texts), rows)
            with torch.inference_mode():
                found = self.network(prepared.features(np.arange(len(given)))) if len(given) else torch.empty(0)
            scores.append(found.double().numpy())
        return scores

    def close(self) -> None:
        pass


def max_sim(network: WordNetwork, query: str, text: str) -> float:
    """Return the score of a query and a text, computed in NumPy from the network's table alone."""
    table = network.table.weight.detach().numpy().astype(np.float64)
    context = float(network.context.detach())

    def states(words: list[str]) -> np.ndarray:
        rows = np.array([table[zlib.crc32(word.encode()) % ROWS] for word in words])
        return rows + context * rows.mean(axis=0)

    passage = states(["[CLS]", *text.split()][: network.reads + 1])
    return float((states(["[CLS]", *query.split()]) @ passage.T).max(axis=1).sum())
