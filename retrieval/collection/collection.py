"""The collection: documents that can be added, changed, searched and trusted."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from indexes.bm25 import BM25Settings
from retrieval.analysis import Analyser, AnalyserSettings
from retrieval.chunking import ChunkSettings
from retrieval.collection.creation import check_free, write_empty
from retrieval.collection.encoder_slots import EncoderSlots
from retrieval.collection.inputs import (
    DocumentsInput,
    as_aggregation,
    as_chunk_settings,
    as_documents,
    as_ids,
    as_queries,
    as_query_vectors,
    as_searcher_settings,
    as_vectors,
)
from retrieval.collection.manifest_file import MANIFEST_NAME
from retrieval.collection.open_state import OpenState
from retrieval.collection.opening import OPENING, check_names, check_wanted
from retrieval.collection.reports import ChangeReport
from retrieval.collection.settings import Fields, Fusion
from retrieval.collection.slot_making import dense_slot, recorded_slots, sparse_slot
from retrieval.collection.snapshot import Snapshot, open_snapshot
from retrieval.collection.stored_settings import CollectionSettings
from retrieval.collection.token_slot import TokenStates, token_slots
from retrieval.collection.transaction import DuplicatePolicy
from retrieval.collection.writing import Writer
from retrieval.documents import Document
from retrieval.errors import CollectionError, EncoderError, QueryError
from retrieval.search import QueryRunner, SearchOptions

if TYPE_CHECKING:
    from indexes.aggregation import Aggregation
    from indexes.searchers import SearcherSettings
    from retrieval.collection.token_slot import TokensSpec
    from retrieval.collection.verification import VerificationReport
    from retrieval.encoders import EncoderSpec, SparseEncoderSpec
    from retrieval.filters import FilterSpec
    from retrieval.pipeline import Pipeline, Plan, StagesSpec
    from retrieval.rerankers import Reranker, ScoreFunction
    from retrieval.rerankers.passage_states import StatesSpec
    from retrieval.results import Mode, SearchResults
    from retrieval.search import Syntax

EMBEDDED = "embedded"
"""The encoder that comes with the package: all-MiniLM-L6-v2, no model hub needed."""


class Collection:
    """Documents on disk that can be searched by words, by vectors, by sparse vectors, or by all of them.

    Open one with `Collection.create`, `Collection.open` or `Collection.open_or_create`. Every change is one commit,
    which is there completely or not at all; `batch()` makes one commit of several changes. Searches see the last commit
    that this object made or `refresh`ed to. One process writes at a time, any number read; one object may be searched
    from many threads, and a forked process opens it anew by itself.

    Attributes:
        path: the directory.
        settings: what the collection was set up with.
    """

    def __init__(self, path: Path, slots: EncoderSlots, snapshot: Snapshot, *, progress: bool = False) -> None:
        self.path = path
        self.settings = CollectionSettings.from_json(snapshot.manifest.settings)
        self._analyser = Analyser(self.settings.analyser)
        self._state = OpenState(path, snapshot, slots)
        self._writer = Writer(self._state, self.settings, self._analyser, progress=progress)

    @classmethod
    def create(
        cls,
        path: str | Path,
        *,
        encoder: EncoderSpec = EMBEDDED,
        sparse: SparseEncoderSpec | None = None,
        largest_weight: float | None = None,
        tokens: TokensSpec | None = None,
        analyser: AnalyserSettings | None = None,
        fields: Fields | None = None,
        long: str | ChunkSettings = "chunk",
        bm25: BM25Settings | None = None,
        fusion: Fusion | None = None,
        progress: bool = False,
    ) -> Collection:
        """Create an empty collection.

        Args:
            path: a directory that does not exist or is empty.
            encoder: "embedded"; the name or path of a sentence-transformers model; an encoder object; or None for a
                lexical collection (or one whose vectors you will give to `add`).
            sparse: a sparse encoder beside it: the name or path of a sparse sentence-transformers model (SPLADE,
                ultra-high-dimensional), or an encoder object; None for no sparse vectors.
            largest_weight: weight of a sparse vector that is stored as the largest of 255 impacts, larger ones are cut
                to it and counted; by default what the encoder says, else 4. Not for binary vectors.
            tokens: late-interaction rerankers whose states of documents are stored, so that a stage of their name reads
                these instead of texts, {"colbert": "path/to/model"}: folder or name, a loaded one, its network, or
                `TokenStates`, which also says how they are stored. Each document is read from its beginning, title
                first, as far as the network reads.
            analyser: how text becomes terms; English by default.
            fields: how title and text count for BM25, and which metadata hold expansions or weights of terms.
            long: texts longer than an encoder reads: "chunk" into passages, each encoded alone; "late", into passages
                pooled from the states that their tokens have in the whole text (late chunking; mean pooling only);
                "truncate"; or "error". `ChunkSettings` also says how long passages are.
            bm25: default parameters of BM25; not for fields whose impacts are added up.
            fusion: default fusion of hybrid search.
            progress: show progress bars on a terminal.

        Raises:
            CollectionError: something is there already, the directory cannot be written, or settings contradict each
                other.
            EncoderError: the encoder cannot be loaded, or cannot do what `long` asks of it.
        """
        directory = Path(path)
        if bm25 is not None and fields is not None and fields.impacts:
            raise CollectionError("impacts are added up, which BM25's k1 and b have no part in; leave bm25= out")
        settings = CollectionSettings(
            analyser=analyser or AnalyserSettings(),
            fields=fields or Fields(),
            long=as_chunk_settings(long),
            bm25=bm25 or BM25Settings(),
            fusion=fusion or Fusion(),
        )
        check_free(directory)  # before an encoder is loaded in vain
        slots = EncoderSlots(
            dense_slot(encoder, settings.long), sparse_slot(sparse, largest_weight), token_slots(tokens)
        )
        write_empty(directory, settings, slots)
        return cls(directory, slots, open_snapshot(directory), progress=progress)

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        encoder: EncoderSpec = None,
        sparse: SparseEncoderSpec | None = None,
        tokens: TokensSpec | None = None,
        analyser: AnalyserSettings | None = None,
        progress: bool = False,
    ) -> Collection:
        """Open a collection at its last commit.

        Args:
            path: its directory.
            encoder: the encoder it was built with; by default the recorded one is loaded when it is first needed.
            sparse: likewise the sparse encoder.
            tokens: likewise the networks of stored states, those of some or all names.
            analyser: if given, must be the one it was built with.
            progress: show progress bars on a terminal.

        Raises:
            CollectionError: there is no collection, or a newer version wrote it.
            CorruptIndexError: a file is damaged; the message names it.
            EncoderMismatchError, AnalyserMismatchError: it was built with another one; the message shows how.
        """
        directory = Path(path)
        snapshot = open_snapshot(directory)
        if analyser is not None:
            CollectionSettings.from_json(snapshot.manifest.settings).check_analyser(analyser)
        slots = recorded_slots(snapshot.manifest, encoder, sparse, tokens)
        return cls(directory, slots, snapshot, progress=progress)

    @classmethod
    def open_or_create(cls, path: str | Path, **settings: Any) -> Collection:
        """Open the collection at `path`, or create it there with the given settings (those of `create`).

        An existing collection must have the settings that are given; `encoder=None` takes whatever it has.

        Raises:
            CollectionError: it has others; the message shows the difference.
            EncoderMismatchError, AnalyserMismatchError: likewise.
        """
        check_names(settings)
        if not (Path(path) / MANIFEST_NAME).exists():
            return cls.create(path, **settings)
        collection = cls.open(path, **{name: settings[name] for name in OPENING & settings.keys()})
        check_wanted(settings, collection.settings, collection.snapshot.manifest)
        return collection

    @property
    def snapshot(self) -> Snapshot:
        """The commit that searches see."""
        return self._state.current()[0]

    def refresh(self) -> bool:
        """Move on to the last commit, which another process may have made; returns whether there was a newer one."""
        return self._state.refresh()

    def close(self) -> None:
        """Let go of files and encoder; using the collection again opens them anew.

        An encoder that was given and cannot be loaded by a name is kept.
        """
        self._state.close()

    def __enter__(self) -> Collection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Collection({str(self.path)!r}, {len(self):,} documents)"

    # ----------------------------------------------------------------------------------------------------- changing

    def add(
        self,
        documents: DocumentsInput,
        *,
        on_duplicate: DuplicatePolicy = "error",
        vectors: np.ndarray | Iterable[np.ndarray] | None = None,
    ) -> ChangeReport:
        """Add documents.

        Args:
            documents: a `Document`, a mapping with the keys id, text and optionally title and metadata, or an iterable
                of either (`read_documents` gives one); it is read once, as a stream.
            on_duplicate: when an id is there already or comes twice: "error" (nothing is added), "skip" (the first
                stays, counted), or "replace" (an update; unchanged documents cost nothing).
            vectors: (n, d), one for each document, in a collection created with `encoder=None`.

        Returns:
            What was done; inside a `batch`, the batch's running report.

        Raises:
            DuplicateDocumentError: with the default policy.
            DocumentError: a document is unusable.
            EncoderMismatchError: an encoder makes something else of texts that are stored than what is stored.
            LockedError: another process is writing; the message says which.
            NotDurableError: the one error after which the change is in effect: the disk did not confirm it, and a power
                failure may undo it. Every change can raise these two.
        """
        with self._writer.change() as transaction:
            given = None if vectors is None else as_vectors(vectors)
            transaction.add(as_documents(documents), on_duplicate, given)
        return transaction.report

    def upsert(
        self, documents: DocumentsInput, *, vectors: np.ndarray | Iterable[np.ndarray] | None = None
    ) -> ChangeReport:
        """Add documents, replacing those whose id is there already; the same as `add(…, on_duplicate="replace")`."""
        return self.add(documents, on_duplicate="replace", vectors=vectors)

    def delete(self, ids: str | Iterable[str] | None = None, *, where: FilterSpec | None = None) -> int:
        """Delete documents by id, or all that pass a metadata filter; returns how many were there to delete."""
        if ids is not None and where is None:
            with self._writer.change() as transaction:
                return transaction.delete(as_ids(ids))
        if where is not None and ids is None:
            from retrieval.filters import parse_filter

            with self._writer.change() as transaction:
                return transaction.delete_where(parse_filter(where))
        raise CollectionError("delete() takes either ids or where=")

    @contextlib.contextmanager
    def batch(self) -> Iterator[ChangeReport]:
        """Group changes into one commit: `with collection.batch(): …`; an exception discards them all.

        Searches see the changes when the block has been left. Other threads that want to change the collection wait.
        """
        with self._writer.batch() as report:
            yield report

    def compact(self) -> None:
        """Merge all segments into one without the deleted documents; an approximate searcher is built again.

        Everything that is copied, vectors included, is compared with its checksum first.

        Raises:
            CorruptIndexError: a file is damaged; nothing has changed, and `verify` says what to do.
        """
        with self._writer.change() as transaction:
            transaction.compact()

    def optimize(self, searcher: str | SearcherSettings = "hnsw") -> None:
        """Build an approximate searcher over the stored vectors, or drop it with "exact".

        Args:
            searcher: "exact", "hnsw", "ivf_pq", "int8" or "binary", or its settings (`indexes.searchers`).

        Vectors added later are searched exactly beside it until `optimize` is called again; `stats` shows how many.
        """
        settings = as_searcher_settings(searcher)
        with self._writer.change() as transaction:
            transaction.optimize(settings)

    def reencode(self, encoder: EncoderSpec = EMBEDDED) -> ChangeReport:
        """Build the vectors of another encoder from the stored texts and swap them in with one commit.

        The old vectors answer searches until then. Interrupted work goes on where it stopped. On a lexical collection
        this adds vectors; an approximate searcher must be built anew with `optimize`.
        """
        slot = dense_slot(EMBEDDED if encoder is None else encoder, self.settings.long)
        with self._writer.change(lambda slots: slots._replace(dense=slot)) as transaction:
            transaction.replace_vectors()
        return transaction.report

    def reencode_sparse(self, sparse: SparseEncoderSpec, *, largest_weight: float | None = None) -> ChangeReport:
        """Build the sparse vectors of another encoder from the stored texts and swap them in with one commit.

        The old ones answer searches until then. On a collection without any this adds them.

        Args:
            sparse: the sparse encoder.
            largest_weight: see `create`; what the collection has now is not taken over.

        Raises:
            EncoderError: it is no sparse encoder, or cannot be loaded.
        """
        if sparse is None:
            raise EncoderError("reencode_sparse() needs a sparse encoder; sparse vectors cannot be taken out again")
        slot = sparse_slot(sparse, largest_weight)
        with self._writer.change(lambda slots: slots._replace(sparse=slot)) as transaction:
            transaction.replace_sparse()
        return transaction.report

    def reencode_tokens(self, name: str, network: StatesSpec | TokenStates) -> ChangeReport:
        """Build the states of a late-interaction network from the stored texts and swap them in with one commit.

        The old ones of this name serve searches until then. Where there are none of the name this adds them.

        Args:
            name: of the stage that reads them.
            network: as for `create`.

        Raises:
            RerankerError: it cannot be loaded, or has no states.
        """
        slot = token_slots({name: network})[name]
        with self._writer.change(lambda slots: slots._replace(tokens={**slots.tokens, name: slot})) as transaction:
            transaction.replace_states(name)
        return transaction.report

    def drop_tokens(self, name: str) -> None:
        """Remove the stored states of a network.

        Raises:
            CollectionError: there are none of this name.
        """
        from retrieval.pipeline.stages import known

        def without(slots: EncoderSlots) -> EncoderSlots:
            if name not in slots.tokens:
                raise CollectionError(f"{self.path} stores no states of {name!r}; there are {known(slots.tokens)}")
            return slots._replace(tokens={other: slot for other, slot in slots.tokens.items() if other != name})

        with self._writer.change(without) as transaction:
            transaction.drop_states(name)

    # ---------------------------------------------------------------------------------------------------- searching

    def search(
        self,
        query: str = "",
        k: int = 10,
        *,
        mode: Mode | None = None,
        stages: StagesSpec | None = None,
        rerankers: Mapping[str, Reranker | ScoreFunction] | None = None,
        where: FilterSpec | None = None,
        vector: np.ndarray | None = None,
        syntax: Syntax = "plain",
        exact: bool = False,
        bm25: BM25Settings | None = None,
        fusion: Fusion | None = None,
        aggregate: str | Aggregation = "max",
    ) -> SearchResults:
        """Return the best k documents for a query.

        Args:
            query: plain text; may be left out when only vectors are searched and `vector` is given.
            k: how many at most.
            mode: "hybrid" (BM25 and vectors of either kind, fused), "bm25", "dense" or "sparse"; by default hybrid
                where there are vectors. The result's `mode` says what ran.
            stages: a pipeline instead of a mode, such as "bm25:1000+dense:1000,mono:50,duo:10": retrievers with the
                depth of their lists, fused, then rerankers with the number of documents that each admits (see
                `parse_stages`). At most as many documents come back as the retrievers find. `plan` says what it costs.
                "bm25(rm3):1000" lets the best documents change the query (`retrieval.feedback`).
            rerankers: those of the stages, by name: {"mono": reranker}; a function from a query and a list of texts to
                scores will do. Names that no stage uses do no harm. They read whole documents, title and text, of which
                a model takes the beginning, as far as its token limit goes. A stage of the name of stored states
                (`create`'s `tokens`) needs none: it reads these.
            where: metadata filter, applied before the best k are taken: "year >= 2020 and lang in [en, de]", its JSON
                form, or `field("year") >= 2020`.
            vector: (d,) the query's vector, instead of encoding the text.
            syntax: "query" understands +required, -excluded and "quoted phrases"; plain text is never parsed.
            exact: score every vector even where there is an approximate searcher.
            bm25: other parameters than the collection's.
            fusion: another fusion than the collection's.
            aggregate: a document's score from those of its passages' vectors: "max" (the best passage), "first", "mean"
                (of the best 3) or "decayed" (sum of all, each next one counting half), or an `Aggregation`. Always over
                all its passages; an approximate searcher finds the documents by their best passage, ten times k of
                them. Lists of BM25 and of sparse vectors are what they are without it.

        Raises:
            QueryError: the query is empty, k is less than 1, the mode, the aggregate or a stage needs vectors that are
                not there, or the stages cannot be understood.
            RerankerError: a reranker did not give one finite score for each document.
            FilterError: the filter cannot be understood.
            CorruptIndexError: a file is damaged where the search reads it. Vectors are scored as they are: `verify`.
        """
        vectors = None if vector is None else [vector]
        if vectors is not None and isinstance(query, str) and not query.strip() and mode is None and stages is None:
            mode = "dense"
        options = self._options(
            mode=mode,
            stages=stages,
            rerankers=rerankers,
            where=where,
            syntax=syntax,
            exact=exact,
            bm25=bm25,
            fusion=fusion,
            aggregate=aggregate,
        )
        return self._run([query], k, vectors, options)[0]

    def search_many(
        self,
        queries: Sequence[str],
        k: int = 10,
        *,
        mode: Mode | None = None,
        stages: StagesSpec | None = None,
        rerankers: Mapping[str, Reranker | ScoreFunction] | None = None,
        where: FilterSpec | None = None,
        vectors: np.ndarray | None = None,
        syntax: Syntax = "plain",
        exact: bool = False,
        bm25: BM25Settings | None = None,
        fusion: Fusion | None = None,
        aggregate: str | Aggregation = "max",
        threads: int | None = None,
    ) -> list[SearchResults]:
        """Return the best k documents for each of many queries; faster than one after the other.

        Arguments are those of `search`; `vectors` is (n, d), one for each query. Results are those of `search` for the
        same query vectors; texts that are encoded together may get vectors, and scores, that differ in the last digits.
        `threads` says for how many plain queries postings, BM25's and those of sparse vectors, are searched at a time,
        as many as there are processors if None; results do not depend on it. Queries with `syntax="query"` run one
        after the other.
        """
        if threads is not None and threads < 1:
            raise QueryError(f"threads must be at least 1, not {threads!r}; leave it out to use all processors")
        options = self._options(
            mode=mode,
            stages=stages,
            rerankers=rerankers,
            where=where,
            syntax=syntax,
            exact=exact,
            bm25=bm25,
            fusion=fusion,
            aggregate=aggregate,
        )
        options = replace(options, threads=threads)
        return self._run(as_queries(queries), k, vectors, options)

    def plan(self, stages: StagesSpec, rerankers: Mapping[str, Reranker | ScoreFunction] | None = None) -> Plan:
        """Return what a search in stages costs, without searching: candidates and model calls of each stage, a query.

        That is the cost of a query with as many hits as the stages admit; with fewer, stages take what there is.

        Raises:
            QueryError: the stages cannot be understood, or a reranker is missing.
        """
        from retrieval.pipeline.given import as_rerankers, check_not_stored
        from retrieval.pipeline.grammar import parse_stages
        from retrieval.pipeline.stored_states import StateReranker

        snapshot, slots = self._state.current()
        pipeline, given = parse_stages(stages), as_rerankers(rerankers)
        for name, _ in pipeline.rerankers:
            check_not_stored(name, given, slots.tokens)
        stored = {name: StateReranker(name, slot) for name, slot in slots.tokens.items()}
        return pipeline.plan({**given, **stored}, n_candidates=snapshot.n_documents)

    def _run(
        self, queries: list[str], k: int, vectors: np.ndarray | list[np.ndarray] | None, options: SearchOptions
    ) -> list[SearchResults]:
        snapshot, slots = self._state.current()
        given = None if vectors is None else as_query_vectors(vectors, len(queries), snapshot.manifest.encoder)
        runner = QueryRunner(
            snapshot,
            self._analyser,
            lambda texts: slots.dense.encode_queries(texts, snapshot),
            lambda texts: slots.sparse.encode_queries(texts, snapshot),
            options,
            stored=slots.tokens,
        )
        return runner.run(queries, k, given)

    def similar(self, document_id: str, k: int = 10, *, where: FilterSpec | None = None) -> SearchResults:
        """Return the documents most similar to a stored one, which is left out.

        With vectors: by the best match between any two passages. Without, or with sparse vectors only: by BM25 with the
        document's own terms.

        Raises:
            CollectionError: the id is not there.
        """
        from retrieval.similar import similar

        snapshot = self.snapshot
        place = snapshot.locate(document_id)
        if place is None:
            raise CollectionError(f"no document {document_id!r} in {self.path}")
        return similar(snapshot, self._options(where=where), place, k)

    def _options(
        self,
        *,
        mode: Mode | None = None,
        stages: StagesSpec | None = None,
        rerankers: Mapping[str, Reranker | ScoreFunction] | None = None,
        where: FilterSpec | None = None,
        syntax: Syntax = "plain",
        exact: bool = False,
        bm25: BM25Settings | None = None,
        fusion: Fusion | None = None,
        aggregate: str | Aggregation = "max",
    ) -> SearchOptions:
        if syntax not in ("plain", "query"):
            raise QueryError(f"unknown syntax {syntax!r}: 'plain' or 'query'")
        pipeline: Pipeline | None = None
        known_rerankers: dict[str, Reranker] = {}
        if stages is not None or rerankers is not None:
            from retrieval.pipeline.given import as_pipeline

            pipeline, known_rerankers = as_pipeline(stages, rerankers, mode, self.snapshot.manifest.tokens)
        if where is not None:
            from retrieval.filters import parse_filter

            where = parse_filter(where)
        if self.settings.fields.impacts and bm25 is not None:
            raise QueryError("this collection adds up impacts, which k1 and b have no part in; leave bm25= out")
        return SearchOptions(
            bm25=None if self.settings.fields.impacts else bm25 or self.settings.bm25,
            unit=self.settings.fields.weights()[2],
            fusion=fusion or self.settings.fusion,
            mode=mode,
            pipeline=pipeline,
            rerankers=known_rerankers,
            where=where,
            syntax=syntax,
            exact=exact,
            aggregate=as_aggregation(aggregate),
        )

    # ------------------------------------------------------------------------------------------------------ reading

    def get(self, document_id: str) -> Document | None:
        """Return a document by id; None where it is not there."""
        snapshot = self.snapshot
        place = snapshot.locate(document_id)
        return None if place is None else snapshot.segments[place[0]].documents.document(place[1])

    def __contains__(self, document_id: object) -> bool:
        return isinstance(document_id, str) and self.snapshot.locate(document_id) is not None

    def __len__(self) -> int:
        return self.snapshot.n_documents

    def __iter__(self) -> Iterator[Document]:
        """Iterate over all documents, in the order in which their texts came."""
        return (segment.documents.document(row) for segment, row in self.snapshot.rows())

    def ids(self) -> Iterator[str]:
        """Iterate over all ids, in the same order as the documents."""
        return (segment.documents.id(row) for segment, row in self.snapshot.rows())

    def export(self, path: str | Path, *, vectors: bool = False) -> int:
        """Write all documents to a file that `read_documents` reads; returns how many.

        Args:
            path: ending in .jsonl, .jsonl.gz or .parquet.
            vectors: also write the vectors; Parquet only, one row for each document, its passages' vectors in a list.
        """
        from retrieval.collection.exporting import export

        return export(self.snapshot, Path(path), vectors=vectors)

    def verify(self) -> VerificationReport:
        """Read every file and compare it with its checksum; says what is damaged and what to do, repairs nothing.

        Run it after copying an index, and now and then: searches compare what they read of texts, postings and
        deletions with checksums and refuse what is damaged, but vectors they score as they are. Damaged vectors are
        found here, and by `compact`, `optimize` and `export`, which copy them.
        """
        from retrieval.collection.verification import verify

        return verify(self.path)

    def stats(self) -> dict[str, Any]:
        """Return counts, sizes, settings and what the approximate searcher covers, ready for JSON."""
        from retrieval.collection.statistics import statistics

        return statistics(self.snapshot, self.settings)
