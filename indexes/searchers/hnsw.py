"""HNSW: a graph of near neighbours in layers, walked from coarse to fine.

Malkov and Yashunin, Efficient and robust approximate nearest neighbor search using Hierarchical Navigable Small World
graphs, IEEE TPAMI 42(4), 2020.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from indexes.array_writer import save_array
from indexes.searchers.base import CoveredVectors, Settings
from indexes.searchers.faiss_library import fill, load_faiss, view
from indexes.searchers.faiss_searcher import FaissSearcher
from indexes.searchers.int8 import load_scalar_codes, save_scalar_codes
from indexes.searchers.stored_arrays import damaged, load_part, path_of

_PASSAGES_PER_CHECK = 1 << 14


class HNSWSettings(Settings, frozen=True, tag="hnsw"):
    """Settings of `HNSWSearcher`; see `Settings` for the others.

    Attributes:
        m: links of a passage on each layer, twice as many on the lowest; 2 to 1,024.
        ef_construction: candidates kept while a passage is linked.
        ef_search: candidates kept while a query walks; the knob between speed and recall.
    """

    limits: ClassVar[dict[str, tuple[int, int]]] = Settings.limits | {
        "m": (2, 1024)
    }  # with one link there are no layers

    oversample: int = 2
    m: int = 16
    ef_construction: int = 200
    ef_search: int = 128


class HNSWSearcher(FaissSearcher[HNSWSettings]):
    """The fastest searcher, when memory holds a byte for each value and some 8 m bytes of links for each passage.

    The graph lies over 8-bit codes (see `int8`), not over the vectors, which stay stored once. Built with one thread,
    equal vectors give an equal graph. Finds with its defaults at least 95 of 100 of the true ten nearest of vectors of
    equal length (measured: 99 of 100 among 20,000 sentence embeddings). Graphs over inner products of vectors of very
    different lengths find less, above all beyond the first ten; `ivf_pq` or `int8` serve those better.
    """

    @classmethod
    def _trained(cls, settings: HNSWSettings, vectors: CoveredVectors) -> Any:
        index = _empty(settings, vectors.dimension)
        index.hnsw.efConstruction = settings.ef_construction
        index.train(vectors.ranges())
        return index

    @classmethod
    def _save(cls, index: Any, directory: Path) -> None:
        graph = index.hnsw
        save_scalar_codes(load_faiss().downcast_index(index.storage), directory)
        save_array(directory, "links", view(graph.neighbors))
        save_array(directory, "layers", view(graph.levels).astype(np.uint8))  # at most 29, for m = 2
        save_array(directory, "entry", np.array([graph.entry_point], "<i4"))

    @classmethod
    def _rebuilt(cls, settings: HNSWSettings, directory: Path, n_passages: int, dimension: int) -> Any:
        index = _empty(settings, dimension)
        load_scalar_codes(load_faiss().downcast_index(index.storage), directory, n_passages)
        _load_graph(index.hnsw, directory, n_passages)
        index.ntotal, index.is_trained = n_passages, True
        return index

    def _parameters(self, n: int, n_selected: int, selector: Any) -> Any:
        # The walk also passes what the selection forbids, so it has to keep so many more.
        width = max(self.settings.ef_search, n) * self.n_passages // n_selected
        return load_faiss().SearchParametersHNSW(efSearch=min(width, self.n_passages), sel=selector)


def _empty(settings: HNSWSettings, dimension: int) -> Any:
    faiss = load_faiss()
    return faiss.IndexHNSWSQ(dimension, faiss.ScalarQuantizer.QT_8bit, settings.m, faiss.METRIC_INNER_PRODUCT)


def _load_graph(graph: Any, directory: Path, n_passages: int) -> None:
    """Give a graph without passages its links.

    What follows from the number of layers on which each passage is (`layers.npy`) is not stored but computed: where its
    links begin, and how many layers there are.

    Raises:
        CorruptIndexError: a file is missing, has another size than the layers say, or a link or the entry leads to a
            passage that does not exist on its layer; names it.
    """
    layers = load_part(directory, "layers", "u1", (n_passages,))  # of each passage, at least the lowest
    entry = int(load_part(directory, "entry", "<i4", (1,))[0])
    links = load_part(directory, "links", "<i4", (None,))  # of each passage on each of its layers; -1 = none
    ends = view(graph.cum_nneighbor_per_level).astype(np.int64)  # where a passage's links of each layer end
    n_layers = int(layers.max(initial=0))
    if n_passages and not 1 <= layers.min() <= n_layers < len(ends):
        raise damaged(path_of(directory, "layers"), f"passages on {layers.min()} to {n_layers} layers")
    if not (0 <= entry < n_passages if n_passages else entry == -1) or (n_passages and layers[entry] != n_layers):
        raise damaged(path_of(directory, "entry"), f"passage {entry} is not on the highest layer")
    offsets = np.zeros(n_passages + 1, np.int64)
    np.cumsum(ends[layers], out=offsets[1:])
    if offsets[-1] != len(links):
        raise damaged(path_of(directory, "links"), f"{len(links):,} links, its layers have {offsets[-1]:,}")
    if n_passages and not -1 <= links.min() <= links.max() < n_passages:
        raise damaged(path_of(directory, "links"), "a link leads to a passage that does not exist")
    if not _links_stay_on_their_layer(links, layers, offsets, ends):
        raise damaged(path_of(directory, "links"), "a link leads to a passage that is not on its layer")
    fill(graph.neighbors, links)
    fill(graph.levels, layers)
    fill(graph.offsets, offsets)
    graph.entry_point, graph.max_level = entry, n_layers - 1


def _links_stay_on_their_layer(links: np.ndarray, layers: np.ndarray, offsets: np.ndarray, ends: np.ndarray) -> bool:
    """Return whether every link above the lowest layer, on which all passages are, leads to a passage of its layer."""
    high = np.flatnonzero(layers > 1)
    for start in range(0, len(high), _PASSAGES_PER_CHECK):
        block = high[start : start + _PASSAGES_PER_CHECK]
        for layer in range(1, int(layers[block].max())):
            members = block[layers[block] > layer]
            places = offsets[members][:, None] + np.arange(ends[layer], ends[layer + 1])
            neighbours = links[places]  # (n_members, width)
            if (layers[neighbours[neighbours >= 0]] <= layer).any():
                return False
    return True
