"""The libraries' trainers with this package's order of examples, checkpoints, progress and watch over the loss.

Importing this module imports torch and sentence-transformers; only the runner does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
from sentence_transformers.sparse_encoder import SparseEncoderTrainer
from transformers import TrainerCallback

from retrieval.errors import TrainingError
from retrieval.progress import ProgressBar
from retrieval.training import hooks
from retrieval.training.sampling import EpochBatches

_LOSS_FILE = "loss.safetensors"


class RecipeTrainer:
    """What all trainers of this package add to those of the libraries."""

    batches: EpochBatches
    loss: Any
    model: Any
    state: Any
    args: Any

    def get_batch_sampler(self, dataset: Any, **_settings: Any) -> Any:  # noqa: ARG002
        """Return the run's own batches."""
        return self.batches

    def compute_loss(self, model: Any, inputs: dict[str, Any], *arguments: Any, **options: Any) -> Any:
        """Return the loss of a batch.

        Raises:
            TrainingError: it is NaN or infinite.
        """
        hooks.call(self.loss, "begin_step", self.state.global_step, self.state.max_steps)
        found = super().compute_loss(model, inputs, *arguments, **options)  # type: ignore[misc]
        loss = found[0] if isinstance(found, tuple) else found
        if not torch.isfinite(loss):
            raise TrainingError(f"the loss is {loss.item()} in step {self.state.global_step + 1}")
        return found

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """Leave out sentence-transformers' model card; the run writes one of its own."""

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:  # noqa: ARG002
        """Save the model, and what the loss has learned itself, without pickled settings."""
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        self.write_model(folder)
        own = self._own_tensors()
        if own:
            save_file({name: tensor.detach().cpu().contiguous() for name, tensor in own.items()}, folder / _LOSS_FILE)

    def write_model(self, folder: Path) -> None:
        """Write the model alone."""
        self.model.save_pretrained(str(folder), create_model_card=False)

    def _load_from_checkpoint(self, checkpoint_path: str) -> None:
        super()._load_from_checkpoint(checkpoint_path)  # type: ignore[misc]
        own = self._own_tensors()
        if own:
            stored = load_file(Path(checkpoint_path) / _LOSS_FILE)
            with torch.no_grad():
                for name, tensor in own.items():
                    tensor.copy_(stored[name])

    def _own_tensors(self) -> dict[str, Any]:
        """Return the loss's parameters and buffers that are not the model's."""
        of_model = {id(tensor) for tensor in (*self.model.parameters(), *self.model.buffers())}
        named = (*self.loss.named_parameters(), *self.loss.named_buffers())
        return {name: tensor for name, tensor in named if id(tensor) not in of_model}


class DenseTrainer(RecipeTrainer, SentenceTransformerTrainer):
    """Trains a `SentenceTransformer`."""


class SparseTrainer(RecipeTrainer, SparseEncoderTrainer):
    """Trains a `SparseEncoder`."""


def trainer_class(model: Any) -> type[Any]:
    """Return the trainer for a model."""
    return DenseTrainer if isinstance(model, SentenceTransformer) else SparseTrainer


class Watch(TrainerCallback):
    """Advances a progress bar, and stops before a step whose gradients are not finite.

    Args:
        bar: counts optimiser steps.
    """

    def __init__(self, bar: ProgressBar) -> None:
        self._bar = bar

    def on_train_begin(self, args: Any, state: Any, control: Any, **_parts: Any) -> None:  # noqa: ARG002
        """Say how many steps there are, and how many an earlier run has done."""
        self._bar.grow(state.max_steps)
        self._bar.advance(state.global_step)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **parts: Any) -> None:  # noqa: ARG002
        """Look at the gradients.

        Raises:
            TrainingError: they are NaN or infinite; the weights are still those of the step before.
        """
        gradients = [parameter.grad for parameter in parts["model"].parameters() if parameter.grad is not None]
        if gradients and not torch.isfinite(torch.stack(torch._foreach_norm(gradients))).all():
            raise TrainingError(f"the gradients of step {state.global_step + 1} are not finite")

    def on_step_end(self, args: Any, state: Any, control: Any, **_parts: Any) -> None:  # noqa: ARG002
        """Count a step."""
        self._bar.advance()
