"""Which modules the running Python's standard library has, and where their sources are. Nothing is imported."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path

from retrieval.standard_library.entries import is_public

_OMITTED = {
    "antigravity",  # opens a browser
    "this",  # prints
    "__main__",
    "distutils",  # left the library with 3.12
    "ensurepip",
    "idlelib",
    "lib2to3",
    "pydoc_data",
    "test",
    "tests",
    "turtledemo",
    "site-packages",
    "dist-packages",
    "encodings",  # tables, a module for each code page
    "sre_compile",  # aliases of private modules
    "sre_constants",
    "sre_parse",
    "genericpath",  # published as os.path
    "nturl2path",
}
_OTHER_PATHS = "ntpath" if os.name == "posix" else "posixpath"
"""os.path for another system; has the same functions."""

OS_PATH = "posixpath" if os.name == "posix" else "ntpath"
"""The module that is os.path here."""


def source_files() -> dict[str, Path]:
    """Return module name -> source file, private modules included, sorted by name.

    Empty where Python is installed without sources.
    """
    root = Path(sysconfig.get_path("stdlib"))
    found: dict[str, Path] = {}
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name.isidentifier() and name not in _OMITTED]
        package = ".".join(Path(folder).relative_to(root).parts)
        if package and "__init__.py" not in files:
            folders.clear()
            continue
        for file in files:
            name = _module_name(package, file)
            if name is not None:
                found[name] = Path(folder) / file
    return dict(sorted(found.items()))


def _module_name(package: str, file: str) -> str | None:
    stem, suffix = Path(file).stem, Path(file).suffix
    if suffix != ".py" or stem in _OMITTED or stem == _OTHER_PATHS:
        return None
    name = package if stem == "__init__" else f"{package}.{stem}".lstrip(".")
    return name if name and name.split(".")[0] in sys.stdlib_module_names else None


def published_name(module: str) -> str:
    """Return the name under which people know a module: posixpath -> os.path."""
    return "os.path" if module == OS_PATH else module


def is_public_module(module: str) -> bool:
    """Say whether a module is for everybody's use."""
    return is_public(module) and module not in _OMITTED
