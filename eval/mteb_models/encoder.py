"""An encoder as mteb's `EncoderProtocol`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np
from mteb.models import ModelMeta
from mteb.models.model_meta import ScoringFunction
from mteb.similarity_functions import cos_sim, dot_score, pairwise_cos_sim, pairwise_dot_score
from mteb.types import PromptType

from eval.errors import TaskError
from eval.mteb_models.metadata import model_meta
from eval.mteb_models.texts import texts_of
from retrieval.encoders.base import Encoder, name_of, settle

Side = Literal["passage", "query"]
"""As what a text is encoded."""

_SIDES = ("passage", "query")


class MtebEncoder:
    """An encoder as mteb sees it; `as_mteb_encoder` makes one.

    Args:
        encoder: the encoder.
        name: what mteb calls it; None makes a name of the encoder's.
        symmetric: how texts that are neither queries nor documents are encoded, see `as_mteb_encoder`.

    Raises:
        TaskError: the name or a side cannot be used.
    """

    def __init__(
        self, encoder: Encoder, *, name: str | None = None, symmetric: Side | Mapping[str, Side] = "passage"
    ) -> None:
        settle(encoder)
        self.encoder = encoder
        self._symmetric: Mapping[str, Side] = {"": symmetric} if isinstance(symmetric, str) else dict(symmetric)
        for side in self._symmetric.values():
            if side not in _SIDES:
                raise TaskError(f"texts are encoded as 'passage' or as 'query', not as {side!r}")
        identity = encoder.identity()
        queries = sorted(key for key, side in self._symmetric.items() if side == "query")
        self._meta = model_meta(
            name,
            name_of(encoder).strip("'\""),
            # As what a text is encoded decides scores as the weights do.
            identity={**identity, "symmetric_as_queries": queries} if queries else identity,
            executions={"encoder": encoder.execution()},
            max_tokens=encoder.max_tokens,
            embed_dim=encoder.dimension,
            similarity_fn_name=ScoringFunction.COSINE
            if encoder.similarity == "cosine"
            else ScoringFunction.DOT_PRODUCT,
            use_instructions=bool(identity.get("query_prompt") or identity.get("passage_prompt")),
        )

    @property
    def mteb_model_meta(self) -> ModelMeta:
        """Name, revision and facts."""
        return self._meta

    def encode(
        self,
        inputs: Iterable[Mapping[str, Any]],
        *,
        task_metadata: Any,
        hf_split: str,  # noqa: ARG002 - the protocol's
        hf_subset: str,  # noqa: ARG002
        prompt_type: PromptType | None = None,
        **settings: Any,
    ) -> np.ndarray:
        """Return the vectors of a data loader's texts, (n, dimension) float32, in order; equal texts tie exactly.

        Args:
            inputs: batches with a column "text".
            task_metadata: of the task.
            hf_split: of the task's data; not looked at.
            hf_subset: of the task's data, a language for instance; not looked at.
            prompt_type: query or document; None in a symmetric task.
            **settings: mteb's; batches are the encoder's own, and vectors are float32 whatever mteb says.

        Raises:
            TaskError: the texts are not there or not alone, or mteb wants another precision than float32.
        """
        if settings.get("precision") not in (None, "float32"):
            raise TaskError(
                f"vectors are float32, not {settings['precision']!r}: give the encoder another precision when it is "
                "loaded, or compare quantised searchers with as_mteb_search"
            )
        texts = texts_of(inputs, task_metadata.name)
        distinct = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        encode = self.encoder.encode_queries if self._side(task_metadata, prompt_type) == "query" else self._passages
        vectors = encode(list(distinct))
        return vectors[[distinct[text] for text in texts]]

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Return the similarities of all pairs, an (n, m) tensor."""
        return (cos_sim if self.encoder.similarity == "cosine" else dot_score)(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Return the similarities of rows that stand beside each other, an (n,) tensor."""
        pairwise = pairwise_cos_sim if self.encoder.similarity == "cosine" else pairwise_dot_score
        return pairwise(embeddings1, embeddings2)

    def _passages(self, texts: list[str]) -> np.ndarray:
        return self.encoder.encode_passages(texts)

    def _side(self, task_metadata: Any, prompt_type: PromptType | None) -> Side:
        if prompt_type is not None:
            return "query" if PromptType(prompt_type) is PromptType.query else "passage"
        keys = (task_metadata.name, task_metadata.type, "")
        return next((self._symmetric[key] for key in keys if key in self._symmetric), "passage")
