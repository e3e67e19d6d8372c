"""Which peers are installed, and why one is left out."""

from __future__ import annotations

from importlib import metadata
from importlib.util import find_spec

PEERS = {
    "bm25s": ("bm25s", "bm25s"),
    "tantivy": ("tantivy", "tantivy"),
    "rank-bm25": ("rank-bm25", "rank_bm25"),
    "scipy": ("scipy", "scipy"),
    "qdrant-edge": ("qdrant-edge-py", "qdrant_edge"),
    "seismic": ("pyseismic-lsr", "seismic"),
    "bmp": ("bmp", "bmp"),
    "faiss": ("faiss-cpu", "faiss"),
    "torch": ("torch", "torch"),
}
"""Each peer's distribution, which pip installs, and its module, which Python imports."""

RETRIV = (
    "retriv is not measured: pip resolves it together with numpy 1.26, which this engine and pyarrow refuse, so that "
    "both cannot stand in one environment"
)


def missing(peer: str) -> str | None:
    """Return why a peer cannot take part; None where it is installed.

    Raises:
        KeyError: there is no such peer in `PEERS`.
    """
    distribution, module = PEERS[peer]
    if find_spec(module) is not None:
        return None
    return f"{peer} is left out: it is not installed (pip install '.[peers]', which has {distribution})"


def peer_versions() -> dict[str, str]:
    """Return the version of each installed peer by the name of its distribution, without importing it."""
    versions = {}
    for distribution, _ in PEERS.values():
        try:
            versions[distribution] = metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return versions
