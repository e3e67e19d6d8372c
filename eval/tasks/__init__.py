"""Tasks: what a system is measured on, defined by small files over a documented folder layout.

`load_tasks(data)` gives the packaged tasks whose data is below a folder, and those that a `task.toml` or `*.task.toml`
in it defines: adding a data set needs no code. `eval.tasks.definition` says what such a file holds, `eval.tasks.kinds`
what a new kind of task has to offer.
"""

from __future__ import annotations

from eval.tasks.base import Reference, Surroundings, Task, TaskResult
from eval.tasks.definition import Definition, PublishedFigure, TextDefinition, read_definitions
from eval.tasks.loading import FoundTasks, find_tasks, load_task, load_tasks
from eval.tasks.system import System

__all__ = [
    "Definition",
    "FoundTasks",
    "PublishedFigure",
    "Reference",
    "Surroundings",
    "System",
    "Task",
    "TaskResult",
    "TextDefinition",
    "find_tasks",
    "load_task",
    "load_tasks",
    "read_definitions",
]
