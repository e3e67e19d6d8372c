"""A way to search as mteb's `SearchProtocol`: the collection finds, mteb measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mteb._create_dataloaders import create_dataloader  # what makes one text of instructions and conversations
from mteb.models import ModelMeta
from mteb.types import PromptType

from eval.errors import TaskError
from eval.mteb_models.corpora import ID_FIELD, CorpusCollections
from eval.mteb_models.metadata import model_meta
from eval.mteb_models.texts import check_columns, texts_of
from eval.runs import falling_scores
from retrieval import field
from retrieval.encoders.base import name_of
from retrieval.pipeline.given import as_pipeline
from retrieval.pipeline.grammar import parse_stages

if TYPE_CHECKING:
    from retrieval.collection import Collection
    from retrieval.encoders import EncoderSpec
    from retrieval.rerankers import Reranker
    from retrieval.results import SearchResults

_OPTIONS = ("mode", "stages", "rerankers", "bm25", "fusion", "aggregate", "exact", "syntax")
_TOGETHER = 256
"""Queries that are searched together."""

_MODEL_TYPES = {"dense": "dense", "bm25": "sparse", "sparse": "sparse"}


class MtebSearch:
    """A way to search as mteb sees it; `as_mteb_search` makes one.

    Args:
        folder: where collections are made.
        encoder: see `Collection.create`.
        name: what mteb calls it; None makes a name of the search and the encoder.
        collection: other arguments of `Collection.create`.
        options: of every search.

    Raises:
        TaskError: the name or an option cannot be used.
    """

    def __init__(
        self,
        folder: Path,
        encoder: EncoderSpec,
        *,
        name: str | None = None,
        collection: Mapping[str, Any],
        options: Mapping[str, Any],
    ) -> None:
        unknown = sorted(set(options) - set(_OPTIONS))
        if unknown:
            raise TaskError(f"{unknown[0]!r} is no option of every search: one of {', '.join(_OPTIONS)}")
        self._corpora = CorpusCollections(folder, {"long": "truncate", **collection, "encoder": encoder})
        self._options = dict(options)
        if not {"mode", "stages"} & self._options.keys():
            self._options["mode"] = "bm25" if encoder is None else "dense"
        self._collection: Collection | None = None
        rerankers = self._rerankers()
        executions = {name: each.execution() for name, each in rerankers.items()}
        used, shown = self._corpora.encoder, str(self._options.get("stages") or self._options["mode"])
        names = [shown] if used is None else [shown, name_of(used).strip("'\"").rsplit("/", 1)[-1]]
        self._meta = model_meta(
            name,
            "-".join(names),
            identity={
                "collection": self._corpora.identity,
                "options": self._described(),
                "rerankers": {name: each.identity() for name, each in rerankers.items()},
            },
            executions=executions if used is None else {"encoder": used.execution(), **executions},
            model_type=[_MODEL_TYPES.get(shown, "hybrid")],
            embed_dim=None if used is None else used.dimension,
            max_tokens=None if used is None else used.max_tokens,
        )

    @property
    def mteb_model_meta(self) -> ModelMeta:
        """Name, revision and facts."""
        return self._meta

    def index(
        self,
        corpus: Any,
        *,
        task_metadata: Any,
        hf_split: str,  # noqa: ARG002 - the protocol's
        hf_subset: str,  # noqa: ARG002
        encode_kwargs: Mapping[str, Any],
        num_proc: int | None = None,  # noqa: ARG002
        **settings: Any,  # noqa: ARG002
    ) -> None:
        """Make the collection of a corpus, or find it again; the searches that follow are in it.

        Args:
            corpus: data set of rows with id, text and perhaps title.
            task_metadata: of the task.
            hf_split: of the task's data; corpora are told apart by what is in them.
            hf_subset: of the task's data, likewise.
            encode_kwargs: mteb's; of these, whether to show progress bars.
            num_proc: not looked at.
            **settings: not looked at.

        Raises:
            TaskError: there is something else than text, or nothing.
            DocumentError: a document cannot be stored, or an id comes twice.
        """
        check_columns(corpus.column_names, task_metadata.name)
        self.close()
        self._collection = self._corpora.open(corpus, progress=bool(encode_kwargs.get("show_progress_bar", False)))

    def search(
        self,
        queries: Any,
        *,
        task_metadata: Any,
        hf_split: str,  # noqa: ARG002 - the protocol's
        hf_subset: str,  # noqa: ARG002
        top_k: int,
        encode_kwargs: Mapping[str, Any],
        top_ranked: Mapping[str, list[str]] | None = None,
        num_proc: int | None = None,
        **settings: Any,  # noqa: ARG002
    ) -> dict[str, dict[str, float]]:
        """Search the corpus that was indexed last.

        Args:
            queries: data set of rows with id, text and perhaps instruction, which mteb joins to the text.
            task_metadata: of the task.
            hf_split: of the task's data; not looked at.
            hf_subset: of the task's data; not looked at.
            top_k: documents a query.
            encode_kwargs: mteb's; not looked at.
            top_ranked: in reranking tasks, the ids of the documents that a query may find; a query without any finds
                nothing.
            num_proc: processes that prepare the queries.
            **settings: not looked at.

        Returns:
            For each query the scores of its documents, strictly falling in the order in which they were found. A query
            without any text finds nothing.

        Raises:
            TaskError: nothing has been indexed, or queries are something else than text.
        """
        if self._collection is None:
            raise TaskError("nothing has been indexed: mteb calls index() before search()")
        check_columns(queries.column_names, task_metadata.name)
        loader = create_dataloader(
            queries,
            task_metadata=task_metadata,
            prompt_type=PromptType.query,
            num_proc=num_proc,
            batch_size=encode_kwargs.get("batch_size", 32),
        )
        texts = dict(zip(queries["id"], texts_of(loader, task_metadata.name), strict=True))
        asked = [query_id for query_id, text in texts.items() if text.strip()]
        nothing: dict[str, dict[str, float]] = {query_id: {} for query_id in texts}
        if top_ranked is None:
            return nothing | self._search_all(asked, texts, top_k)
        return nothing | self._search_candidates(asked, texts, top_k, top_ranked)

    def close(self) -> None:
        """Close the collection that was indexed last; its folder stays."""
        if self._collection is not None:
            self._collection.close()
            self._collection = None

    def _search_all(self, asked: Sequence[str], texts: Mapping[str, str], k: int) -> dict[str, dict[str, float]]:
        assert self._collection is not None
        found: dict[str, dict[str, float]] = {}
        for start in range(0, len(asked), _TOGETHER):
            batch = asked[start : start + _TOGETHER]
            answers = self._collection.search_many([texts[query_id] for query_id in batch], k=k, **self._options)
            found |= {query_id: _scores(query_id, answer) for query_id, answer in zip(batch, answers, strict=True)}
        return found

    def _search_candidates(
        self, asked: Sequence[str], texts: Mapping[str, str], k: int, top_ranked: Mapping[str, list[str]]
    ) -> dict[str, dict[str, float]]:
        assert self._collection is not None
        found = {}
        for query_id in asked:
            candidates = list(dict.fromkeys(top_ranked.get(query_id, ())))
            if candidates:
                limited = field(ID_FIELD).in_(candidates)
                answer = self._collection.search(
                    texts[query_id], k=min(k, len(candidates)), where=limited, **self._options
                )
                found[query_id] = _scores(query_id, answer)
        return found

    def _rerankers(self) -> dict[str, Reranker]:
        """Return the rerankers that the stages name."""
        if not {"stages", "rerankers"} & self._options.keys():
            return {}
        pipeline, known = as_pipeline(
            self._options.get("stages"),
            self._options.get("rerankers"),
            self._options.get("mode"),
            self._corpora.identity["tokens"],
        )
        return {name: known[name] for name, _ in pipeline.rerankers if name in known}

    def _described(self) -> dict[str, Any]:
        """Return the options but the rerankers as JSON values."""
        return {
            name: asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
            for name, value in self._options.items()
            if name not in ("stages", "rerankers")
        } | ({"stages": str(parse_stages(self._options["stages"]))} if "stages" in self._options else {})


def _scores(query_id: str, answer: SearchResults) -> dict[str, float]:
    ranking = list(zip(answer.ids, answer.scores.tolist(), strict=True))
    falling = falling_scores(query_id, ranking)
    return {document_id: float(score) for (document_id, _), score in zip(ranking, falling, strict=True)}
