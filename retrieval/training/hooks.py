"""What a loss may define beside `forward`, for models that need more than gradients.

| method | when it is called |
| --- | --- |
| `learning_rates(rate)` | when the optimiser is made; from the recipe's rate to those of parameters whose names match |
| | a regular expression, by expression |
| `before_training(texts)` | before the first step of a new run; a resumed one has its effect in the checkpoint |
| `begin_step(step, steps)` | before each batch: number of the optimiser step from 0, and how many there are |
| `after_training(texts)` | when the last step is done, before the model is measured and saved |
| `notes()` | at the end; returns JSON values for the report, such as dead dimensions |

`texts` are some of the training passages, drawn at random with the recipe's seed (of sentence pairs, the second
sentences).
"""

from __future__ import annotations

from typing import Any

SAMPLE = 1000
"""Texts that `before_training` and `after_training` get at most."""


def call(loss: Any, method: str, *arguments: Any) -> Any:
    """Call a method of a loss if it has one; None where it has not."""
    function = getattr(loss, method, None)
    return None if function is None else function(*arguments)
