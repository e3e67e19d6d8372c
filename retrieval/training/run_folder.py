"""The folder of a run: what it needs to go on after an interruption, beside the model that it becomes.

```
my-encoder/
  run/writer.lock          held by the process that trains
  run/recipe.json          recipe and sources, compared when a run goes on
  run/examples.arrow       the examples as they were read
  run/checkpoints/         model, optimiser, generators; the last two are kept
  modules.json, …          the trained model, written when training is done; then `run/` is removed
  training.json            recipe, data, measures, losses
  README.md                the model card
```
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indexes.storage import replace_file
from retrieval.errors import TrainingError

_STATE_FILE = "trainer_state.json"


@dataclass(frozen=True)
class RunFolder:
    """Places in a run's folder.

    Args:
        out: the folder of the trained model.
    """

    out: Path

    @property
    def state(self) -> Path:
        """What only an unfinished run needs."""
        return self.out / "run"

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints are."""
        return self.state / "checkpoints"

    @property
    def lock(self) -> Path:
        """The file that the process which trains has locked."""
        return self.state / "writer.lock"

    @property
    def report(self) -> Path:
        """Recipe, data, measures and losses of a finished run."""
        return self.out / "training.json"

    @property
    def _recipe(self) -> Path:
        return self.state / "recipe.json"

    def begin(self, settings: dict[str, Any], *, resume: bool) -> bool:
        """Make the folder, or go on with the run that it holds.

        Args:
            settings: what decides the result, as JSON values.
            resume: an unfinished run is to go on; without one, a new run begins.

        Returns:
            Whether an unfinished run goes on.

        Raises:
            TrainingError: the folder holds something that would be lost, or another run than this one.
        """
        settings = json.loads(json.dumps(settings))
        if self.report.exists():
            raise TrainingError(f"{self.out} holds a trained model already; choose another folder")
        if self._recipe.is_file():
            if not resume:
                raise TrainingError(f"{self.out} holds an unfinished run; resume it, or choose another folder")
            self._compare(settings)
            return True
        if self.out.is_dir() and any(place != self.state for place in self.out.iterdir()):
            raise TrainingError(f"{self.out} is not empty; choose another folder")
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TrainingError(f"cannot make the folder {self.out}: {error.strerror or error}") from None
        return False

    def remember(self, settings: dict[str, Any]) -> None:
        """Write down what the run is, once it can go on: after the examples were read."""
        content = json.dumps(settings, indent=1, ensure_ascii=False)
        examples = [self.state / f"examples.{kind}" for kind in ("arrow", "json")]
        replace_file(self._recipe, content.encode(), examples)

    def forget(self) -> None:
        """Let a run that cannot go on begin anew: its examples are read again."""
        self._recipe.unlink(missing_ok=True)

    def finish(self, report: dict[str, Any]) -> None:
        """Write the report of a finished run and remove what only an unfinished one needs.

        The report says that the run is finished: it is there whole, behind the model, or the run can go on.
        """
        written = [place for place in self.out.rglob("*") if self.state not in (place, *place.parents)]
        content = json.dumps(report, indent=1, ensure_ascii=False) + "\n"
        replace_file(self.report, content.encode(), written)
        shutil.rmtree(self.state, ignore_errors=True)

    def _compare(self, settings: dict[str, Any]) -> None:
        try:
            stored = json.loads(self._recipe.read_text(encoding="utf-8"))
        except ValueError:
            raise TrainingError(f"{self._recipe} is damaged; choose another folder") from None
        changed = [
            f"{name} was {stored.get(name)!r}, is {settings.get(name)!r}"
            for name in sorted({*stored, *settings})
            if stored.get(name) != settings.get(name)
        ]
        if changed:
            raise TrainingError(
                f"the unfinished run in {self.out} is another one: {'; '.join(changed)}. Resume it with its own "
                "settings, or choose another folder"
            )


def last_checkpoint(folder: Path) -> Path | None:
    """Return the newest complete checkpoint; one whose writing was interrupted lacks the file that is written last."""
    complete = [place.parent for place in folder.glob(f"checkpoint-*/{_STATE_FILE}")]
    return max(complete, key=lambda place: int(place.name.rpartition("-")[2]), default=None)
