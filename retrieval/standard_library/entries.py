"""The entry: one documented name of the standard library, wherever it was read from."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Literal

Kind = Literal["module", "class", "function", "method"]


@dataclass(frozen=True)
class Entry:
    """A documented module, class, function or method (properties count as methods).

    Attributes:
        module: where it is imported from, "builtins" for built-in names.
        qualified_name: name inside the module, such as "Path.read_text"; empty for the module itself.
        kind: what it is.
        signature: parameters in parentheses; empty where they are not known.
        text: docstring without indentation.
    """

    module: str
    qualified_name: str
    kind: Kind
    signature: str
    text: str

    @property
    def name(self) -> str:
        """The name to search and to cite: "pathlib.Path.read_text", "str.split", "csv"."""
        if not self.qualified_name:
            return self.module
        return self.qualified_name if self.module == "builtins" else f"{self.module}.{self.qualified_name}"


def is_public(name: str) -> bool:
    """Say whether no part of a dotted name starts with an underscore; `__future__` is public."""
    return all(not part.startswith("_") or part == "__future__" for part in name.split("."))


def clean(docstring: str | None) -> str:
    """Return a docstring without indentation and blank ends; empty when there is none."""
    return inspect.cleandoc(docstring).strip() if docstring else ""
