"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from retrieval.errors import QueryError

if TYPE_CHECKING:
    from retrieval.collection.collection import Collection

Index = Annotated[Path, typer.Argument(metavar="INDEX", help="The index, a folder.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Write JSON to standard output, and nothing else.")]
K = Annotated[int, typer.Option("--k", "-k", metavar="N", help="How many documents to return at most.")]
Mode = Annotated[
    Literal["hybrid", "bm25", "dense"] | None,
    typer.Option(
        "--mode", help="What to search by; hybrid where the index has vectors, else bm25.", show_default=False
    ),
]
Where = Annotated[
    str | None,
    typer.Option(
        "--where",
        metavar="FILTER",
        help="Only documents whose metadata pass: 'year >= 2020 and lang in [en, de]', or its JSON form.",
        show_default=False,
    ),
]
Exact = Annotated[
    bool, typer.Option("--exact", help="Score every vector, even where there is an approximate searcher.")
]
K1 = Annotated[
    float | None, typer.Option("--k1", metavar="X", help="BM25's k1, instead of the index's.", show_default=False)
]
B = Annotated[
    float | None, typer.Option("--b", metavar="X", help="BM25's b, instead of the index's.", show_default=False)
]
FusionMethod = Annotated[
    Literal["rrf", "weighted"] | None,
    typer.Option("--fusion", help="How hybrid search fuses the two lists.", show_default=False),
]
DenseWeight = Annotated[
    float | None,
    typer.Option("--dense-weight", metavar="X", help="Weight of the dense list, 0 to 1.", show_default=False),
]
SearcherKind = Literal["exact", "hnsw", "ivf_pq", "int8", "binary"]


def ranking(
    collection: Collection, k1: float | None, b: float | None, fusion: str | None, dense_weight: float | None
) -> dict[str, Any]:
    """Return the ranking settings that differ from the collection's, as arguments of its searches."""
    from dataclasses import replace

    changes: dict[str, dict[str, Any]] = {
        "bm25": {"k1": k1, "b": b},
        "fusion": {"method": fusion, "dense_weight": dense_weight},
    }
    settings: dict[str, Any] = {}
    for name, values in changes.items():
        given = {field: value for field, value in values.items() if value is not None}
        if given:
            try:
                settings[name] = replace(getattr(collection.settings, name), **given)
            except ValueError as error:  # of the index floor's settings, which know no users
                raise QueryError(str(error)) from None
    return settings
