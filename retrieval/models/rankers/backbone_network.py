"""Networks around a transformers encoder: what they share is the encoder, the tokenizer, settings and the folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

import msgspec
import torch
from torch import Tensor

from retrieval.encoders.model_identity import backbone_settings
from retrieval.encoders.model_tokenizer import positions_of
from retrieval.errors import RerankerError
from retrieval.models.rankers.base import RankingNetwork
from retrieval.models.rankers.folder import (
    NetworkSettings,
    read_settings,
    read_tokenizer,
    read_weights,
    save_network,
    set_weights,
)
from retrieval.models.rankers.sided import SidedNetwork
from retrieval.models.rankers.text_side import around, fast_tokenizer
from retrieval.rerankers.classifier import tokenizer_digest


class EncoderNetwork(RankingNetwork):
    """A network that reads texts through one encoder of transformers.

    Args:
        backbone: a transformers encoder; its pooler, which nothing reads, is taken off.
        tokenizer: of the encoder, a fast one.
        settings: of the network.

    Attributes:
        settings_type: the class of `settings`.

    Raises:
        RerankerError: the tokenizer puts no token around a text, so that an empty one would have none.
    """

    settings_type: ClassVar[type[NetworkSettings]]

    def __init__(self, backbone: Any, tokenizer: Any, settings: NetworkSettings) -> None:
        super().__init__()
        if getattr(backbone, "pooler", None) is not None:
            backbone.pooler = None
        if not sum(map(len, around(fast_tokenizer(tokenizer)))):
            raise RerankerError("the tokenizer puts no token around a text; take a backbone with [CLS] or an end token")
        self.backbone = backbone
        self.tokenizer = tokenizer
        self._settings = settings

    def check_positions(self, tokens: int, what: str) -> None:
        """Refuse inputs that are longer than what the encoder has positions for.

        Args:
            tokens: of the longest input.
            what: what is that long, for the message.

        Raises:
            RerankerError: they are.
        """
        positions = positions_of(self.backbone)
        if positions is not None and tokens > positions:
            raise RerankerError(f"{what} have up to {tokens} tokens, but the backbone reads {positions}; allow fewer")

    def describe(self) -> dict[str, Any]:
        """Return settings, a digest of the tokenizer, and what of the backbone is not in its weights."""
        return {
            **super().describe(),
            "settings": msgspec.to_builtins(self._settings),
            "tokenizer": tokenizer_digest(self.tokenizer),
            "backbone": dict(backbone_settings(self.backbone.config)),
        }

    def save(self, folder: str | Path) -> None:
        """Write settings, weights, tokenizer and the backbone's configuration; see `rankers.folder`."""
        self.backbone.config.architectures = [type(self.backbone).__name__]
        save_network(
            folder,
            self,
            kind=self.kind,
            settings=self._settings,
            tokenizer=self.tokenizer,
            config=self.backbone.config,
        )

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what `save` wrote, ready to score.

        Raises:
            RerankerError: there is no such network, or its weights are of other names or shapes.
        """
        place = Path(folder)
        settings = read_settings(place, cls.kind, cls.settings_type)
        network = cls(empty_backbone(place), read_tokenizer(place), settings)
        set_weights(network, read_weights(place), str(folder))
        return network.eval()


class BackboneNetwork(EncoderNetwork, SidedNetwork):
    """A two-sided network whose token states come from one encoder for both sides; see `EncoderNetwork`."""

    def hidden_states(self, features: dict[str, Any]) -> Tensor:
        """Return the last hidden states of a batch, (n, tokens, hidden)."""
        output = self.backbone(input_ids=features["input_ids"], attention_mask=features["attention_mask"])
        states: Tensor = output.last_hidden_state
        return states


def empty_backbone(folder: Path) -> Any:
    """Return the encoder that a folder's config.json describes, its weights still to be set.

    Raises:
        RerankerError: there is no configuration of an encoder that transformers or this package has.
    """
    from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding

    from retrieval.models.registration import register_backbones

    register_backbones()
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        # T5 and its kin are saved as an encoder alone.
        alone = str((config.architectures or [""])[0]).endswith("EncoderModel")
        with torch.random.fork_rng(devices=[]):  # what is drawn is thrown away; the caller's numbers stay the same
            return (AutoModelForTextEncoding if alone else AutoModel).from_config(config)
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise RerankerError(f"the backbone of {folder} cannot be made: {type(error).__name__}: {reason}") from None
