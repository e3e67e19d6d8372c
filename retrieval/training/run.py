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
from retrieval.training.data.sources import INSTRUCTION, Source
from retrieval.training.execution import takes_bf16
from retrieval.training.model_card import model_card, versions
from retrieval.training.recipe import Recipe
from retrieval.training.report import TrainingReport
from retrieval.training.run_folder import RunFolder, last_checkpoint

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Evaluate = Callable[["SentenceTransformer"], Mapping[str, float]]
"""From a model to measures by name; called before and after training."""

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
        self._model = registry.find("builders", recipe.model, "build_model")(**recipe.model_settings)
        self._prompts = _prepare(self._model, recipe, sources)
        self._model.to(self._device)

    def train(self, evaluate: Evaluate | None, *, goes_on: bool) -> TrainingReport:
        """Measure, train, measure again, and write the model, its card and the report.

        Args:
            evaluate: measures a model.
            goes_on: an earlier process has begun the run.

        Raises:
            TrainingError: loss or gradients are not finite.
        """
        from sentence_transformers import SentenceTransformer
        from transformers import set_seed

        recipe = self._recipe
        before = self._measured_before(evaluate)
        set_seed(recipe.seed)  # whatever measuring has drawn
        began = time.perf_counter()
        trainer = self._trainer()
        checkpoint = last_checkpoint(self._folder.checkpoints) if goes_on else None
        if checkpoint is None:
            hooks.call(trainer.loss, "before_training", self._texts())
        self._fit(trainer, checkpoint)
        seconds = time.perf_counter() - began
        self._model.eval()
        if recipe.encoder_tokens:
            from retrieval.encoders.model_loading import set_max_tokens

            set_max_tokens(self._model, recipe.encoder_tokens)
        hooks.call(trainer.loss, "after_training", self._texts())
        report = TrainingReport(
            out=self._folder.out,
            recipe=recipe,
            counts=dict(zip(self._examples.sources, self._examples.counts, strict=True)),
            data=self._examples.reports,
            steps=trainer.state.global_step,
            seconds=seconds,
            full_texts=trainer.data_collator.full / max(trainer.data_collator.texts, 1),
            losses=[(entry["step"], entry["loss"]) for entry in trainer.state.log_history if "loss" in entry],
            before=before,
            after=_measured(evaluate, self._model),
            sparse=not isinstance(self._model, SentenceTransformer),
            resumed=goes_on,
            versions=versions(),
            execution={"device": self._device, "precision": "bf16" if self._bf16 else "fp32"},
            notes=hooks.call(trainer.loss, "notes") or {},
        )
        self._model.save_pretrained(str(self._folder.out), create_model_card=False)
        (self._folder.out / "README.md").write_text(model_card(report.as_dict()), encoding="utf-8")
        self._folder.finish(report.as_dict())
        return report

    def _measured_before(self, evaluate: Evaluate | None) -> dict[str, float]:
        """Measure the model as the trained one is measured: reading as many tokens as the encoder will.

        Raises:
            EncoderError: it has not as many positions; better now than when training is done.
        """
        if not self._recipe.encoder_tokens:
            return _measured(evaluate, self._model)
        from retrieval.encoders.model_loading import set_max_tokens

        in_training = self._model.max_seq_length
        set_max_tokens(self._model, self._recipe.encoder_tokens)
        found = _measured(evaluate, self._model)
        self._model.max_seq_length = in_training
        return found

    def _trainer(self) -> Any:
        from transformers import PrinterCallback
        from transformers.trainer_callback import ProgressCallback

        from retrieval.training.collation import TrainingCollator
        from retrieval.training.sampling import EpochBatches
        from retrieval.training.trainer import trainer_class

        recipe = self._recipe
        dataset, tasks = self._dataset()
        loss_settings = dict(recipe.loss_settings)
        if recipe.data == "labelled":
            loss_settings.setdefault("classes", len(self._examples.classes))
        loss = registry.find("losses", recipe.loss, "build_loss")(self._model, **loss_settings)
        batches = EpochBatches(tasks, recipe.batch_size, recipe.homogeneous, recipe.seed)
        collator = TrainingCollator(
            preprocess_fn=self._model.preprocess,
            max_tokens=self._model.max_seq_length,
            recipe=recipe,
            batches=batches,
            prompts={
                name: self._prompts["query" if name == "query" else "document"]
                for name in dataset.column_names
                if name not in ("label", "score")
            },
        )
        kind = trainer_class(self._model)
        trainer = kind(
            model=self._model,
            args=self._arguments(kind, len(batches), hooks.call(loss, "learning_rates", recipe.learning_rate) or {}),
            train_dataset=dataset,
            loss=loss,
            data_collator=collator,
        )
        trainer.batches = batches
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

    def _arguments(self, kind: type[Any], n_batches: int, rates: Mapping[str, float]) -> Any:
        recipe = self._recipe
        steps = recipe.max_steps or math.ceil(n_batches / recipe.accumulation * recipe.epochs)
        arguments = kind.training_args_class(
            output_dir=str(self._folder.checkpoints),
            per_device_train_batch_size=recipe.batch_size,
            gradient_accumulation_steps=recipe.accumulation,
            num_train_epochs=recipe.epochs,
            max_steps=recipe.max_steps or -1,
            learning_rate=recipe.learning_rate,
            learning_rate_mapping=dict(rates),
            lr_scheduler_type=recipe.schedule,
            warmup_steps=recipe.warmup if recipe.warmup < 1 else steps,  # below 1 it is read as a share
            weight_decay=recipe.weight_decay,
            max_grad_norm=recipe.max_gradient_norm,
            seed=recipe.seed,
            bf16=self._bf16,
            use_cpu=self._device == "cpu",
            save_strategy="steps" if recipe.checkpoint_steps else "epoch",
            save_steps=recipe.checkpoint_steps or 500,
            save_total_limit=2,
            logging_steps=max(1, steps // _LOG_ENTRIES),
            logging_nan_inf_filter=False,
            dataloader_pin_memory=self._device != "cpu",
            report_to="none",
            disable_tqdm=True,
        )
        arguments._n_gpu = min(arguments.n_gpu, 1)  # divided among several, a batch would lose negatives
        return arguments

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


def _prepare(model: Any, recipe: Recipe, sources: Sequence[Source]) -> dict[str, str]:
    """Set what the recipe says about lengths, and tell the model the prompt of its queries.

    Returns:
        What stands before "query" and "document" texts in training: the prompts of the backbone, as the trained encoder
        will put them there; nothing where the queries were read with instructions, which then are the prompts.
    """
    from retrieval.encoders.model_loading import set_max_tokens
    from retrieval.encoders.sentence_transformer import prompts_of

    if recipe.max_tokens:
        set_max_tokens(model, recipe.max_tokens)
    instructions = {source.instruction_for(recipe) for source in sources}
    if instructions == {""}:
        own = prompts_of(model)
        return {"query": own["query"], "document": own["document"]}
    texts = {source.name: source.instruction_for(recipe) for source in sources}
    if len(instructions) == 1:
        texts = {"query": instructions.pop()}
    prompts = {name: INSTRUCTION.format(instruction=text, query="") for name, text in texts.items() if text}
    model.prompts = {**model.prompts, "document": "", **prompts}
    return {"query": "", "document": ""}


def _measured(evaluate: Evaluate | None, model: Any) -> dict[str, float]:
    if evaluate is None:
        return {}
    model.eval()
    return {name: float(value) for name, value in evaluate(model).items()}
