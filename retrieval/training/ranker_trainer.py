"""transformers' trainer for ranking networks, with a loss that is a module of its own.

Importing this module imports torch and transformers; only the runner does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback

from retrieval.errors import TrainingError
from retrieval.training.sampling import EpochBatches
from retrieval.training.trainer import RecipeTrainer


class _ZeroGradients(TrainerCallback):
    """Forgets the gradients of a step, of the loss's own parameters too: the library does so for the model's alone."""

    def on_step_end(self, args: Any, state: Any, control: Any, **parts: Any) -> None:  # noqa: ARG002
        parts["optimizer"].zero_grad()


class LossTrainer(Trainer):
    """Optimises what a loss has to learn: the network inside it, and parameters of its own.

    Args:
        model: a `RankingNetwork`.
        loss: a `RankingLoss` around it.
        batches: rows of each batch.
        rates: learning rates of parameters whose names match a regular expression, instead of the arguments' one.
        **settings: of transformers' trainer.
    """

    optimizer: Any

    def __init__(
        self, *, model: Any, loss: nn.Module, batches: EpochBatches, rates: Mapping[str, float], **settings: Any
    ) -> None:
        super().__init__(model=model, **settings)
        self.loss = loss.to(self.args.device)
        self.batches = batches
        self._rates = rates
        self.add_callback(_ZeroGradients())

    def get_train_dataloader(self) -> Any:
        """Return a loader of the run's own batches."""
        # Else accelerate fills the last batch with examples of the first.
        self.accelerator.even_batches = False
        loader = DataLoader(
            self.train_dataset,
            batch_sampler=self.batches,
            collate_fn=self.data_collator,
            pin_memory=self.args.dataloader_pin_memory,
        )
        return self.accelerator.prepare(loader)

    def compute_loss(
        self,
        model: Any,  # noqa: ARG002  # the loss holds it
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,  # noqa: ARG002  # the loss is a mean over the batch
    ) -> Any:
        """Return the loss of a batch, as `RankingCollator` makes it."""
        features = dict(inputs)
        labels = features.pop("labels", None)
        loss = self.loss([features], labels)
        return (loss, {}) if return_outputs else loss

    def create_optimizer(self, model: Any = None) -> Any:  # noqa: ARG002  # the loss holds it
        """Make the optimiser of all that the loss has to learn."""
        if self.optimizer is None:
            kind, options = self.get_optimizer_cls_and_kwargs(self.args, self.loss)
            self.optimizer = kind(self._parameter_groups(), **options)
        return self.optimizer

    def _load_from_checkpoint(self, checkpoint_path: str) -> None:
        stored = type(self.model).load(checkpoint_path)
        self.model.load_state_dict(stored.state_dict())

    def _parameter_groups(self) -> list[dict[str, Any]]:
        """Return the parameters by learning rate, with weight decay and without.

        Raises:
            TrainingError: a rate is for parameters that do not exist.
        """
        decaying = set(self.get_decay_parameter_names(self.loss))
        named = [(name, parameter) for name, parameter in self.loss.named_parameters() if parameter.requires_grad]
        unused = [pattern for pattern in self._rates if not any(re.search(pattern, name) for name, _ in named)]
        if unused:
            raise TrainingError(f"a learning rate is set for parameters {unused[0]!r}, but the network has none such")
        groups: dict[tuple[float, float], list[Any]] = {}
        for name, parameter in named:
            rates = [rate for pattern, rate in self._rates.items() if re.search(pattern, name)]
            rate = rates[-1] if rates else self.args.learning_rate
            decay = self.args.weight_decay if name in decaying else 0.0
            groups.setdefault((rate, decay), []).append(parameter)
        return [
            {"params": parameters, "lr": rate, "weight_decay": decay} for (rate, decay), parameters in groups.items()
        ]


class RankerTrainer(RecipeTrainer, LossTrainer):
    """Trains a `RankingNetwork`."""

    def write_model(self, folder: Path) -> None:
        """Write the network alone."""
        self.model.save(folder)
