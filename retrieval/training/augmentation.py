"""Two views of one text: random span masking, dropout, and leaving out attention heads (drophead).

Mirror-BERT (arXiv 2104.08027) makes positives from a sentence itself: one copy loses a random span of characters, and
the encoder's dropout differs between the copies, or whole attention heads are left out instead. Drophead: Zhou et al.,
"Scheduled DropHead" (arXiv 2004.13342).
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from retrieval.errors import TrainingError

if TYPE_CHECKING:
    from torch import Tensor, nn

MASK = "[MASK]"
"""What stands in for a span; the literal text, whatever the tokenizer's mask token is, as in Mirror-BERT's code."""

# Where the heads' outputs, side by side, enter the attention's last linear layer, in the families of transformers.
_OUTPUT_PROJECTION = re.compile(
    r"(?:attention\.output\.dense"  # BERT, RoBERTa, XLM-R, ELECTRA, DeBERTa
    r"|attention\.out_lin"  # DistilBERT
    r"|attention\.dense"  # ALBERT
    r"|attention\.attn\.o"  # MPNet
    r"|attn\.Wo|attn\.out_proj"  # ModernBERT and kin
    r"|attn\.c_proj"  # GPT-2
    r"|transformer_encoder\.\d+\.wo"  # NeoBERT
    r"|self_attn\.o_proj|self_attn\.out_proj"  # causal decoders
    r"|SelfAttention\.o)$"  # T5
)


def mask_span(text: str, characters: int, generator: random.Random, minimum: int = 30) -> str:
    """Return the text with one random span of characters replaced by "[MASK]".

    Args:
        text: any.
        characters: length of the span; 0 returns the text.
        generator: says where the span begins; every place where it fits is as likely.
        minimum: shorter texts are returned as they are (30 in Mirror-BERT's code), and so are those without room.
    """
    if characters < 1 or len(text) < minimum or len(text) < characters:
        return text
    start = generator.randrange(len(text) - characters + 1)
    return text[:start] + MASK + text[start + characters :]


def generator_for(seed: int, epoch: int, text: str) -> random.Random:
    """Return a generator that depends on seed, epoch and text alone, so that a resumed run draws the same spans."""
    digest = hashlib.sha256(f"{seed} {epoch} {text}".encode("utf-8", "replace")).digest()
    return random.Random(int.from_bytes(digest[:16], "big"))


def set_dropout(model: nn.Module, probability: float) -> int:
    """Set the probability of every dropout of a model, also where attention keeps it as a number.

    Returns:
        How many were set.
    """
    from torch import nn

    found = 0
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = probability
            found += 1
        for name in ("attention_dropout", "activation_dropout", "dropout", "dropout_prob"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, probability)
                found += 1
    return found


def keep_mask(n_texts: int, n_heads: int, probability: float, device: Any = None) -> Tensor:
    """Draw which heads are kept for each text, from torch's generator.

    Returns:
        (n_texts, n_heads) float: 0 for a head that is left out; those kept hold n_heads / number kept, so that the sum
        of the heads keeps its size. Where all would be left out, all are kept.
    """
    import torch

    kept = (torch.rand(n_texts, n_heads, device=device) >= probability).float()
    kept = torch.where(kept.sum(dim=1, keepdim=True) == 0, torch.ones_like(kept), kept)
    return kept * (n_heads / kept.sum(dim=1, keepdim=True))


@contextlib.contextmanager
def drophead(model: nn.Module, probability: float) -> Iterator[int]:
    """Leave out random attention heads of a transformers encoder inside the block, wherever it is in training mode.

    Each text and layer draws its own heads, as each dropout would. Works on the input of the attentions' output
    projections, so that it holds for every attention implementation (eager, SDPA, flash).

    Args:
        model: a transformers encoder, or something that contains one.
        probability: of leaving a head out, below 1; 0 changes nothing.

    Yields:
        Number of attention layers that it applies to.

    Raises:
        TrainingError: no attention was recognised, or the number of heads is unknown.
    """
    if not 0 <= probability < 1:
        raise TrainingError(f"drophead is {probability}, but must be at least 0 and below 1")
    if probability == 0:
        yield 0
        return
    projections = [module for name, module in model.named_modules() if _OUTPUT_PROJECTION.search(name)]
    n_heads = _number_of_heads(model)
    if not projections or n_heads is None:
        raise TrainingError(
            f"no attention heads found in {_family(model)}; use dropout instead of drophead for this backbone"
        )

    def leave_out(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if not module.training:
            return None
        states = inputs[0]  # (batch, tokens, heads * head_dimension)
        kept = keep_mask(len(states), n_heads, probability, states.device).to(states.dtype)
        by_head = states.unflatten(-1, (n_heads, -1))  # (batch, tokens, heads, head_dimension)
        return ((by_head * kept[:, None, :, None]).flatten(-2), *inputs[1:])

    handles = [projection.register_forward_pre_hook(leave_out) for projection in projections]
    try:
        yield len(handles)
    finally:
        for handle in handles:
            handle.remove()


def _family(model: nn.Module) -> str:
    """Return what to call a model in a message: the family of its network, else its class."""
    families = (getattr(getattr(module, "config", None), "model_type", None) for module in model.modules())
    family = next((family for family in families if family), None)
    return type(model).__name__ if family is None else f"the family {family!r}"


def _number_of_heads(model: nn.Module) -> int | None:
    for module in model.modules():
        config = getattr(module, "config", None)
        for name in ("num_attention_heads", "n_heads", "num_heads"):
            heads = getattr(config, name, None)
            if isinstance(heads, int):
                return heads
    return None
