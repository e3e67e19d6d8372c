"""A run in this process: model, trainer and report of one recipe over stored examples."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval.errors import TrainingError
from retrieval.progress import progress as progress_bar
from retrieval.training import hooks, registry
from retrieval.training.data.arrow_file import StoredExamples
from retrieval.training.data.sources import Source
from retrieval.training.execution import takes_bf16
from retrieval.training.model_card import model_card, versions
from retrieval.training.recipe import Recipe
from retrieval.training.report import TrainingReport
from retrieval.training.run_folder import RunFolder, last_checkpoint

if TYPE_CHECKING:
    from retrieval.training.trainee import Trainee

Evaluate = Callable[[Any], Mapping[str, float]]
"""From a model, of sentence-transformers or a `RankingNetwork`, to measures by name; before and after training."""

_LOG_ENTRIES = 100
"""About as many losses are kept of a run."""


class Run:
    """A run whose examples are stored.

    Args:
        recipe: what to do.
        examples: see `data.arrow_file`.
        folder: where checkpoints and the model go.
        sources: where the examples come from.
        device: "cpu" or "cuda", see `execution.checked_device`.
        progress: show a bar.
    """

    def __init__(
        self,
        recipe: Recipe,
        examples: StoredExamples,
        folder: RunFolder,
        *,
        sources: Sequence[Source],
        device: str,
        progress: bool,
    ) -> None:
        from transformers import set_seed

        self._recipe = recipe
        self._examples = examples
        self._folder = folder
        self._progress = progress
        self._device = device
        self._bf16 = takes_bf16(recipe, self._device)
        set_seed(recipe.seed)
        model = registry.find("builders", recipe.model, "build_model")(**recipe.model_settings)
        self._trainee = _trainee(model, recipe, sources)
        self._model = model.to(self._device)

    def train(self, evaluate: Evaluate | None, *, goes_on: bool) -> TrainingReport:
        """Measure, train, measure again, and write the model, its card and the report.

        Args:
            evaluate: measures a model.
            goes_on: an earlier process has begun the run.

        Raises:
            TrainingError: loss or gradients are not finite.
        """
        from transformers import set_seed

        recipe = self._recipe
        with self._trainee.as_used():
            before = _measured(evaluate, self._model)
        set_seed(recipe.seed)  # whatever measuring has drawn
        began = time.perf_counter()
        trainer = self._trainer()
        checkpoint = last_checkpoint(self._folder.checkpoints) if goes_on else None
        if checkpoint is None:
            hooks.call(trainer.loss, "before_training", self._texts())
        self._fit(trainer, checkpoint)
        seconds = time.perf_counter() - began
        self._model.eval()
        self._trainee.finish(trainer)
        hooks.call(trainer.loss, "after_training", self._texts())
        report = TrainingReport(
            out=self._folder.out,
            recipe=recipe,
            counts=dict(zip(self._examples.sources, self._examples.counts, strict=True)),
            data=self._examples.reports,
            steps=trainer.state.global_step,
            seconds=seconds,
            full_texts=_share(trainer.data_collator.full, trainer.data_collator.texts),
            losses=[(entry["step"], entry["loss"]) for entry in trainer.state.log_history if "loss" in entry],
            before=before,
            after=_measured(evaluate, self._model),
            kind=self._trainee.kind,
            resumed=goes_on,
            versions=versions(),
            execution={"device": self._device, "precision": "bf16" if self._bf16 else "fp32"},
            notes=hooks.call(trainer.loss, "notes") or {},
        )
        self._trainee.save(self._folder.out)
        (self._folder.out / "README.md").write_text(model_card(report.as_dict()), encoding="utf-8")
        self._folder.finish(report.as_dict())
        return report

    def _trainer(self) -> Any:
        from transformers import PrinterCallback
        from transformers.trainer_callback import ProgressCallback

        from retrieval.training.sampling import EpochBatches
        from retrieval.training.trainee import TrainerParts

        recipe = self._recipe
        dataset, tasks = self._dataset()
        loss_settings = dict(recipe.loss_settings)
        if recipe.data == "labelled":
            loss_settings.setdefault("classes", len(self._examples.classes))
        loss = self._trainee.loss(registry.find("losses", recipe.loss, "build_loss"), loss_settings, recipe.loss)
        batches = EpochBatches(tasks, recipe.batch_size, recipe.homogeneous, recipe.seed)
        rates = hooks.call(loss, "learning_rates", recipe.learning_rate) or {}
        trainer = self._trainee.trainer(TrainerParts(loss, dataset, batches, self._arguments(len(batches)), rates))
        for callback in (PrinterCallback, ProgressCallback):
            trainer.remove_callback(callback)
        return trainer

    def _dataset(self) -> tuple[Any, Any]:
        import numpy as np

        dataset, tasks = self._examples.dataset(), self._examples.tasks
        limit = self._recipe.limit
        if 0 < limit < len(tasks):
            rows = np.sort(np.random.default_rng(self._recipe.seed).permutation(len(tasks))[:limit])
            return dataset.select(rows), tasks[rows]
        return dataset, tasks

    def _arguments(self, n_batches: int) -> dict[str, Any]:
        recipe = self._recipe
        steps = recipe.max_steps or math.ceil(n_batches / recipe.accumulation * recipe.epochs)
        return {
            "output_dir": str(self._folder.checkpoints),
            "per_device_train_batch_size": recipe.batch_size,
            "gradient_accumulation_steps": recipe.accumulation,
            "num_train_epochs": recipe.epochs,
            "max_steps": recipe.max_steps or -1,
            "learning_rate": recipe.learning_rate,
            "lr_scheduler_type": recipe.schedule,
            "warmup_steps": recipe.warmup if recipe.warmup < 1 else steps,  # below 1 it is read as a share
            "weight_decay": recipe.weight_decay,
            "max_grad_norm": recipe.max_gradient_norm,
            "seed": recipe.seed,
            "bf16": self._bf16,
            "use_cpu": self._device == "cpu",
            "save_strategy": "steps" if recipe.checkpoint_steps else "epoch",
            "save_steps": recipe.checkpoint_steps or 500,
            "save_total_limit": 2,
            "logging_steps": max(1, steps // _LOG_ENTRIES),
            "logging_nan_inf_filter": False,
            "dataloader_pin_memory": self._device != "cpu",
            "report_to": "none",
            "disable_tqdm": True,
        }

    def _texts(self) -> list[str]:
        """Return passages drawn at random: sources stand one after the other, and so may do passages of one kind."""
        import numpy as np

        dataset, _ = self._dataset()
        rows = np.sort(np.random.default_rng(self._recipe.seed).permutation(len(dataset))[: hooks.SAMPLE])
        column = "positive" if "positive" in dataset.column_names else dataset.column_names[0]
        column = "sentence2" if "sentence2" in dataset.column_names else column
        return list(dataset[rows.tolist()][column])

    def _fit(self, trainer: Any, checkpoint: Path | None) -> None:
        from retrieval.training.augmentation import drophead, set_dropout
        from retrieval.training.trainer import Watch

        if self._recipe.dropout is not None:
            set_dropout(self._model, self._recipe.dropout)
        with ExitStack() as stack:
            stack.enter_context(drophead(self._model, self._recipe.drophead))
            bar = stack.enter_context(
                progress_bar(f"training {self._recipe.name}", unit="steps", enabled=self._progress)
            )
            trainer.add_callback(Watch(bar))
            try:
                trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
            except TrainingError as error:
                last = last_checkpoint(self._folder.checkpoints)
                kept = f"the last good checkpoint is {last}" if last else "there is no checkpoint yet"
                advice = "lower learning_rate, raise the temperature, or look at the examples"
                raise TrainingError(f"training stopped: {error}; {kept}; {advice}") from error


def _trainee(model: Any, recipe: Recipe, sources: Sequence[Source]) -> Trainee:
    from retrieval.models.rankers.base import RankingNetwork

    if isinstance(model, RankingNetwork):
        from retrieval.training.ranker_trainee import RankerTrainee

        return RankerTrainee(model, recipe, sources)
    from retrieval.training.encoder_trainee import EncoderTrainee

    return EncoderTrainee(model, recipe, sources)


def _measured(evaluate: Evaluate | None, model: Any) -> dict[str, float]:
    if evaluate is None:
        return {}
    model.eval()
    return {name: float(value) for name, value in evaluate(model).items()}


def _share(part: int | None, whole: int) -> float | None:
    return None if part is None else part / max(whole, 1)
