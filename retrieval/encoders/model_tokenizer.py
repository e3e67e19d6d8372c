"""Making a loaded model's tokenizer fit its network: how many tokens, what pads, and on which side.

Checkpoints say too little or something wrong. RoBERTa and its kin name 514 positions and read 512 tokens; a tokenizer
without a maximum length says 10^30; causal language models have no padding token; some of them pad on the left, where
learned positions would count the padding.
"""

from __future__ import annotations

from typing import Any

from retrieval.errors import EncoderError


def readable_tokens(model: Any) -> int | None:
    """Return how many tokens a model's network has positions for; None where there is no such number.

    Args:
        model: a `SentenceTransformer`; or anything whose first module is no transformer, which has no such number.
    """
    return positions_of(getattr(model[0], "model", None))


def positions_of(network: Any) -> int | None:
    """Return how many tokens a network of transformers has positions for; None where there is no such number."""
    positions = getattr(getattr(network, "config", None), "max_position_embeddings", None)
    if network is None or not isinstance(positions, int) or positions < 1:
        return None
    return positions - _reserved(network)


def _reserved(network: Any) -> int:
    """Return how many rows of a table of positions no token has: RoBERTa's kin count from behind the padding's id."""
    from torch import nn

    for module in network.modules():
        padding = getattr(module, "padding_idx", None)
        if isinstance(padding, int) and isinstance(getattr(module, "position_embeddings", None), nn.Embedding):
            return padding + 1
    return 0


def fit_tokenizer(model: Any) -> None:
    """Change the tokenizer of a model that was just loaded, so that the model can read all that it makes.

    The maximum length is lowered to the network's positions. Padding is on the right: every pooling skips it by the
    attention mask, nothing behind a token reaches it in a causal network, and learned positions start at the text.
    Where there is no padding token the end-of-text token pads, else the unknown one; it is masked.

    Args:
        model: a `SentenceTransformer`.

    Raises:
        EncoderError: the tokenizer has no vocabulary; transformers makes an empty one where the file is missing.
    """
    tokenizer = getattr(model[0], "tokenizer", None)
    if tokenizer is None or not hasattr(tokenizer, "padding_side"):
        return  # none, or one of a model without a transformer
    if not set(tokenizer.get_vocab().values()) - set(tokenizer.all_special_ids):
        raise EncoderError(
            "its tokenizer knows no words, only special tokens: tokenizer.json, or the vocabulary file of the older "
            "kind, is missing from the folder"
        )
    tokenizer.padding_side = "right"
    if tokenizer.pad_token_id is None:
        substitute = tokenizer.eos_token or tokenizer.unk_token or tokenizer.bos_token
        if substitute is not None:
            tokenizer.pad_token = substitute
    readable = readable_tokens(model)
    if readable is not None and model.max_seq_length is not None and model.max_seq_length > readable:
        model.max_seq_length = readable
