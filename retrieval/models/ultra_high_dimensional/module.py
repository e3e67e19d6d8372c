"""The module behind a transformer that makes it an ultra-high-dimensional sparse encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from sentence_transformers.base.modules.module import Module
from torch import Tensor, nn

from retrieval.errors import EncoderError
from retrieval.models.ultra_high_dimensional.settings import UltraHighDimensionalSettings, check_k
from retrieval.models.ultra_high_dimensional.winners import keep_largest, pool_winners, token_winners

_PLACE = {"subfolder", "token", "cache_folder", "revision", "local_files_only"}


class UltraHighDimensional(Module):
    """Hidden states of chosen layers to one sparse vector of n dimensions: the second module of a `SparseEncoder`.

    For each bucket b, with weights of its own: Z = H W_b + c_b for every token; the k largest components of each token
    stay; the largest value over the tokens, 0 where it is negative, is the text's activation. Special tokens ([CLS],
    [SEP], padding, masks) do not take part; a word that the tokenizer does not know does. A text without any other
    token gets the zero vector. Buckets are disjoint ranges of dimensions (settings' `offsets`).

    It reads `token_embeddings` (batch, T, H), `input_ids`, `attention_mask`, and, where a bucket asks for another layer
    than the last, `all_layer_embeddings`, which it makes the transformer in front of it give out. It writes
    `sentence_embedding`, (batch, n), never negative. Called with task="query" it applies the query's cap and the
    buckets' weights, otherwise the passage's cap.

    Args:
        settings: what it is.

    Attributes:
        settings: likewise; `set_k` changes k.
        special_ids: token ids that are left out, known once the module is part of a model.
        buckets: one linear layer each, (n_b, H).
    """

    forward_kwargs = {"task"}  # noqa: RUF012 - the base class declares it so

    def __init__(self, settings: UltraHighDimensionalSettings) -> None:
        super().__init__()
        self.settings = settings
        self.special_ids: tuple[int, ...] | None = None
        self.buckets = nn.ModuleList(nn.Linear(settings.hidden_size, n) for n in settings.dimensions)
        for linear in self.linears:
            nn.init.zeros_(linear.bias)

    @property
    def linears(self) -> list[nn.Linear]:
        """The buckets, with their type."""
        return list(self.buckets)  # type: ignore[arg-type]

    def set_k(self, k: int) -> None:
        """Let k dimensions of each token and bucket win from now on; saved with the module.

        Raises:
            EncoderError: k is less than 1, or larger than a bucket.
        """
        check_k(k, self.settings.dimensions)
        self.settings = replace(self.settings, k=k)

    def set_centres(self, means: Sequence[Tensor]) -> None:
        """Set the biases so that these hidden states, (H,) for each bucket, get 0 in every dimension."""
        with torch.no_grad():
            for linear, mean in zip(self.linears, means, strict=True):
                linear.bias.copy_(-(linear.weight @ mean.to(linear.weight)))

    def on_model_ready(self, model: Any) -> None:
        """Learn the special tokens from the model's tokenizer, and have its transformer give out all layers."""
        tokenizer = model[0].tokenizer
        unknown = getattr(tokenizer, "unk_token_id", None)
        self.special_ids = tuple(sorted(set(getattr(tokenizer, "all_special_ids", ())) - {unknown}))
        if any(layer != -1 for layer in self.settings.layers):
            model[0].model.config.output_hidden_states = True

    def forward(self, features: dict[str, Any], task: str | None = None) -> dict[str, Any]:
        """Add `sentence_embedding`, (batch, n), to the features.

        Raises:
            EncoderError: the features are not those of a transformer in front, or lack a layer that is asked for.
        """
        task = task or features.get("task")
        texts, counted, n_texts = self.counted_tokens(features)
        pooled = []
        for linear, layer in zip(self.linears, self.settings.layers, strict=True):
            hidden = self.hidden_states(features, layer)[counted]  # (tokens, H)
            values, ids = token_winners(hidden, linear.weight, linear.bias, self.settings.k)
            pooled.append(pool_winners(values, ids, texts, n_texts, linear.out_features))  # (batch, n_b)
        activations = torch.cat(pooled, dim=1)  # (batch, n)
        cap = self.settings.query_cap if task == "query" else self.settings.passage_cap
        activations = keep_largest(activations, cap)
        if self.settings.binarise and not self.training:
            activations = torch.where(activations > 0, torch.ones_like(activations), activations)  # NaN stays NaN
        if self.settings.bucket_weights is not None and task == "query":
            activations = activations * self.dimension_weights().to(activations)
        features["sentence_embedding"] = activations
        return features

    def dimension_weights(self) -> Tensor:
        """Return what each dimension counts, its bucket's weight, (n,) float32."""
        weights = self.settings.bucket_weights or (1.0,) * len(self.settings.dimensions)
        return torch.tensor(weights).repeat_interleave(torch.tensor(self.settings.dimensions))

    def counted_tokens(self, features: dict[str, Any]) -> tuple[Tensor, Tensor, int]:
        """Say which tokens take part: those that are neither special nor padding.

        Returns:
            (tokens,) int64, the text of each token that counts; (batch * T,) bool, which tokens these are; the number
            of texts.

        Raises:
            EncoderError: the special tokens are not known yet.
        """
        if self.special_ids is None:
            raise EncoderError(
                "this module does not know the special tokens: build the SparseEncoder with it, or call "
                "on_model_ready(model)"
            )
        ids = features["input_ids"]
        if "cu_seq_lens_q" in features:  # texts one after the other, without padding
            lengths = features["cu_seq_lens_q"].diff()
            texts = torch.arange(len(lengths), device=ids.device).repeat_interleave(lengths.long())
            counted, n_texts = torch.ones_like(texts, dtype=torch.bool), len(lengths)
        else:
            n_texts = len(ids)
            texts = torch.arange(n_texts, device=ids.device)[:, None].expand_as(ids).reshape(-1)  # (batch * T,)
            counted = features["attention_mask"].reshape(-1).bool()
        special = torch.tensor(self.special_ids, dtype=ids.dtype, device=ids.device)
        counted = counted & ~torch.isin(ids.reshape(-1), special)
        return texts[counted], counted, n_texts

    def hidden_states(self, features: dict[str, Any], layer: int) -> Tensor:
        """Return the hidden states of a layer, (batch * T, H).

        Raises:
            EncoderError: there is no such layer, or its states have another length.
        """
        if layer == -1:
            hidden = features["token_embeddings"]
        else:
            every = features.get("all_layer_embeddings")
            if every is None:
                raise EncoderError(f"the transformer gives out its last layer only, a bucket asks for layer {layer}")
            if not -len(every) <= layer < len(every):
                raise EncoderError(f"a bucket asks for layer {layer} of a transformer with {len(every) - 1} layers")
            hidden = every[layer]
        if hidden.shape[-1] != self.settings.hidden_size:
            raise EncoderError(
                f"hidden states have {hidden.shape[-1]} components, this module reads {self.settings.hidden_size}"
            )
        return hidden.reshape(-1, self.settings.hidden_size)

    def get_embedding_dimension(self) -> int:
        """Return n."""
        return self.settings.n_dimensions

    def get_config_dict(self) -> dict[str, Any]:
        """Return the settings as they are saved."""
        return self.settings.as_mapping()

    def save(self, output_path: str, *_: Any, safe_serialization: bool = True, **__: Any) -> None:
        """Write `config.json` with the settings, and the weights."""
        self.save_config(output_path)
        self.save_torch_weights(output_path, safe_serialization=safe_serialization)

    @classmethod
    def load(cls, model_name_or_path: str, **place: Any) -> UltraHighDimensional:
        """Read what `save` wrote.

        Args:
            model_name_or_path: the model's folder, or its name on a model hub.
            **place: where in it and how to get it; sentence-transformers passes more than that, which is not used.

        Raises:
            EncoderError: the settings are not ours.
            RuntimeError: weights are missing or unexpected; the message lists their names.
        """
        place = {name: value for name, value in place.items() if name in _PLACE}
        module = cls(UltraHighDimensionalSettings.from_mapping(cls.load_config(model_name_or_path, **place)))
        cls.load_torch_weights(model_name_or_path, model=module, **place)
        return module
