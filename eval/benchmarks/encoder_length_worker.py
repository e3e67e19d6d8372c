"""The encoder length benchmark's processes: `encode` times one text in one encoder, `compare` checks the encoders."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import typer

from eval.benchmarks.processes import peak_memory

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

ATTENTION_MODES = ("dense", "blockwise", "streamed")
ENCODERS = (*ATTENTION_MODES, "monarch-mixer")
WIDTHS = {"vocab_size": 30_528, "hidden_size": 256, "num_hidden_layers": 4, "intermediate_size": 1024}
N_HEADS = 4


def build(encoder: str, longest: int) -> Any:
    """Return a random encoder of the benchmark's widths, the same for the three ways of attention.

    Args:
        encoder: one of `ENCODERS`.
        longest: tokens that it has to read.
    """
    import torch

    from retrieval.models.alibi_bert import AlibiBertConfig, AlibiBertModel
    from retrieval.models.monarch_mixer import MonarchMixerConfig, MonarchMixerModel

    torch.manual_seed(0)
    if encoder in ATTENTION_MODES:
        config = AlibiBertConfig(**WIDTHS, num_attention_heads=N_HEADS, attention_mode=encoder)
        return AlibiBertModel(config, add_pooling_layer=False).eval()
    lengths = {"max_position_embeddings": longest, "long_conv_l_max": longest}
    return MonarchMixerModel(MonarchMixerConfig(**WIDTHS, **lengths), add_pooling_layer=False).eval()


@app.command()
def encode(encoder: str, length: int) -> None:
    """Encode one text of random tokens once, after a short one that loads what is loaded lazily."""
    import torch

    model = build(encoder, length)
    ids = torch.randint(1, WIDTHS["vocab_size"], (1, length))
    with torch.inference_mode():
        model(ids[:, :128])
        before = peak_memory()
        began = time.perf_counter()
        model(ids)
        seconds = time.perf_counter() - began
    _report(seconds=seconds, memory=peak_memory() - before)


@app.command()
def compare(length: int) -> None:
    """Report how far the three ways of attention are apart on one text, in components of states of unit variance."""
    import torch

    ids = torch.randint(1, WIDTHS["vocab_size"], (1, length))
    with torch.inference_mode():
        states = [build(mode, length)(ids).last_hidden_state for mode in ATTENTION_MODES]
    _report(largest_difference=max(float((state - states[0]).abs().max()) for state in states))


def _report(**measured: float) -> None:
    typer.echo(msgspec.json.encode(measured).decode())


if __name__ == "__main__":
    app()
