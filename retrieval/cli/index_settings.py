"""What the user asks an index to be: made so when it is new, compared when it is there already."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval.cli.model_settings import encoder_of
from retrieval.cli.stages import named_models
from retrieval.errors import CollectionError

if TYPE_CHECKING:
    from indexes.token_vectors import Storage
    from retrieval.collection.collection import Collection
    from retrieval.collection.token_slot import TokensSpec
    from retrieval.encoders import EncoderSpec


@dataclass(frozen=True)
class WantedSettings:
    """Options of `retrieval index` that decide what an index is; None where the user did not say.

    Attributes:
        encoder: name or path of a model, with any settings behind it.
        no_dense: no vectors at all.
        own_vectors: the source brings the vectors.
        long: policy for texts longer than the encoder reads.
        language: of the analyser.
        title_boost: weight of title terms for BM25.
        sparse: name or path of a sparse model.
        largest_weight: sparse weight that is stored as the largest impact.
        fields: what else counts for BM25, by the names that `Fields` has for it.
        tokens: "name=model" of each network whose states are stored.
        token_storage: how its states are stored.
    """

    encoder: str | None = None
    no_dense: bool = False
    own_vectors: bool = False
    long: str | None = None
    language: str | None = None
    title_boost: float | None = None
    sparse: str | None = None
    largest_weight: float | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    tokens: tuple[str, ...] = ()
    token_storage: Storage | None = None

    def __post_init__(self) -> None:
        if self.encoder is not None and (self.no_dense or self.own_vectors):
            other = "--no-dense" if self.no_dense else "--vectors"
            raise CollectionError(f"--encoder and {other} exclude each other")
        if self.no_dense and self.own_vectors:
            raise CollectionError("--no-dense and --vectors exclude each other")
        if self.token_storage is not None and not self.tokens:
            raise CollectionError("--token-storage is of stored states; give --tokens as well")

    def open(self, index: Path, *, progress: bool) -> Collection:
        """Open an existing index.

        Raises:
            CollectionError: it was created with other settings.
            EncoderMismatchError: it was built with another encoder.
        """
        from retrieval.collection.collection import Collection

        collection = Collection.open(index, progress=progress)
        self._check(collection)
        # The encoders last: loading it takes seconds, and is in vain where something else does not fit.
        if self.encoder is None and self.sparse is None and not self.tokens:
            return collection
        return Collection.open(
            index, encoder=self._encoder(), sparse=self.sparse, tokens=self._states(), progress=progress
        )

    def create(self, index: Path, *, progress: bool) -> Collection:
        """Create an empty index."""
        from retrieval.analysis import AnalyserSettings
        from retrieval.collection.collection import EMBEDDED, Collection
        from retrieval.collection.settings import Fields

        return Collection.create(
            index,
            encoder=None if self.no_dense or self.own_vectors else self._encoder() or EMBEDDED,
            sparse=self.sparse,
            largest_weight=self.largest_weight,
            tokens=self._states(),
            analyser=None if self.language is None else AnalyserSettings(language=self.language),
            fields=Fields(**self._fields()),
            long=self.long or "chunk",
            progress=progress,
        )

    def _encoder(self) -> EncoderSpec:
        return encoder_of(self.encoder, "--encoder")

    def _states(self) -> TokensSpec:
        """Return what `--tokens` and `--token-storage` name."""
        models = named_models("--tokens", self.tokens, "colbert=path/to/model")
        if self.token_storage is None:
            return dict(models)
        from retrieval.collection.token_slot import TokenStates

        return {name: TokenStates(model, self.token_storage) for name, model in models.items()}

    def _check(self, collection: Collection) -> None:
        from retrieval.analysis import AnalyserSettings

        settings = collection.settings
        if self.no_dense and collection.snapshot.has_vectors:
            raise CollectionError(
                f"{collection.path} has vectors; leave --no-dense out, or index into another folder without them"
            )
        if self.encoder is not None and not collection.snapshot.has_vectors:
            raise CollectionError(
                f"{collection.path} is lexical; leave --encoder out, or add vectors with `retrieval reencode`"
            )
        recorded = collection.snapshot.manifest.sparse
        if self.sparse is not None and recorded is None:
            raise CollectionError(
                f"{collection.path} has no sparse vectors; leave --sparse out, or index into another folder with it"
            )
        for name in named_models("--tokens", self.tokens, "colbert=path/to/model"):
            if name not in collection.snapshot.manifest.tokens:
                raise CollectionError(
                    f"{collection.path} stores no states of {name!r}; leave --tokens {name} out, or add them with "
                    f"`retrieval reencode {collection.path} MODEL --tokens {name}`"
                )
        if self.largest_weight is not None:
            stored = None if recorded is None else recorded.largest_weight
            self._compare(collection.path, "--largest-weight", stored, self.largest_weight)
        if self.long is not None:
            self._compare(collection.path, "--long", settings.long.policy, self.long)
        if self.language is not None:
            wanted = AnalyserSettings(language=self.language).language
            self._compare(collection.path, "--language", settings.analyser.language, wanted)
        for name, value in self._fields().items():
            self._compare(collection.path, f"--{name.replace('_', '-')}", getattr(settings.fields, name), value)

    def _fields(self) -> dict[str, Any]:
        """Return what the user said of the fields."""
        given = {"title_boost": self.title_boost, **self.fields}
        return {name: value for name, value in given.items() if value is not None}

    def _compare(self, path: Path, option: str, stored: Any, wanted: Any) -> None:
        if stored != wanted:
            raise CollectionError(
                f"{path} was created with {option} {stored}, not {wanted}; leave the option out, or index into another "
                "folder"
            )
