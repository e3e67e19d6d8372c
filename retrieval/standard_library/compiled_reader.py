"""Reads what is written in C: built-in names, extension modules, and C classes behind modules written in Python.

This imports modules, so only ones that do nothing else when imported: those compiled into Python or shipped as
extensions, less a few, and a fixed list written in Python.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.machinery
import re
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from types import BuiltinFunctionType, ModuleType

from retrieval.standard_library.entries import Entry, Kind, clean, is_public

_OMITTED = {
    "readline",  # changes the terminal
    "xxlimited",  # examples for authors of extensions
    "xxlimited_35",
    "xxsubtype",
    "posix",  # published as os
    "nt",
}
_WITH_C_PARTS = (
    "bz2", "codecs", "collections", "contextvars", "csv", "datetime", "decimal", "functools", "hashlib", "io", "lzma",
    "operator", "os", "pickle", "random", "re", "signal", "socket", "sqlite3", "ssl", "struct", "threading", "types",
    "weakref",
)  # fmt: skip
_METHODS = (type(str.split), type(vars(dict)["fromkeys"]), staticmethod, classmethod, BuiltinFunctionType)
_FIRST_PARAMETER = re.compile(r"^\(\$\w+(, /)?(, )?")


class CompiledReader:
    """Yields entries of names that no source documents.

    Args:
        known: names that have documentation already.
    """

    def __init__(self, known: set[str]) -> None:
        self._known = known
        self._seen: set[int] = set()

    def entries(self) -> Iterator[Entry]:
        """Yield documented C modules, classes, functions and methods; import what is needed for it."""
        yield from self._module_entries(builtins)
        for name in sorted({*_extension_modules(), *_WITH_C_PARTS}):
            module = _import(name)
            if module is not None:
                yield from self._module_entries(module)

    def _module_entries(self, module: ModuleType) -> Iterator[Entry]:
        if module is not builtins:
            yield from self._entry(module.__name__, "", "module", module)
        for name, value in _public_values(module):
            if not _is_at_home(value, module) or id(value) in self._seen:
                continue
            self._seen.add(id(value))
            if isinstance(value, type):
                yield from self._class_entries(module.__name__, name, value)
            else:
                yield from self._entry(module.__name__, name, "function", value)

    def _class_entries(self, module: str, class_name: str, kind: type) -> Iterator[Entry]:
        """Yield a class and its methods, those of the C class behind it included (_socket.socket for socket.socket)."""
        yield from self._entry(module, class_name, "class", kind)
        for base in kind.__mro__:
            if base is not kind and base.__name__.lstrip("_") != class_name:
                continue
            for name, member in sorted(vars(base).items()):
                if is_public(name) and isinstance(member, _METHODS) and not _is_inherited(base, name):
                    yield from self._entry(module, f"{class_name}.{name}", "method", getattr(base, name))

    def _entry(self, module: str, qualified_name: str, kind: Kind, value: object) -> Iterator[Entry]:
        entry = Entry(module, qualified_name, kind, _signature(value), clean(getattr(value, "__doc__", None)))
        if entry.text and entry.name not in self._known:
            self._known.add(entry.name)
            yield entry


def _extension_modules() -> Iterator[str]:
    """Yield the public modules without a source: compiled into Python, or shared libraries beside its sources."""
    folders = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib")} | {sysconfig.get_config_var("DESTSHARED")}
    for name in sys.stdlib_module_names:
        if not is_public(name) or name in _OMITTED:
            continue
        found = importlib.machinery.PathFinder.find_spec(name, sorted(filter(None, folders)))
        is_extension = found is not None and isinstance(found.loader, importlib.machinery.ExtensionFileLoader)
        if is_extension or name in sys.builtin_module_names:
            yield name


def _import(name: str) -> ModuleType | None:
    """Import quietly; None for a module that was built without the library it wraps."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some are deprecated
        try:
            return importlib.import_module(name)
        except ImportError:
            return None


def _public_values(module: ModuleType) -> list[tuple[str, object]]:
    """Return public names and values; an alias comes after the names that values give themselves."""
    names = filter(is_public, getattr(module, "__all__", None) or vars(module))
    values = [(name, getattr(module, name, None)) for name in names]
    return sorted(values, key=lambda item: (item[0] != getattr(item[1], "__name__", None), item[0]))


def _is_at_home(value: object, module: ModuleType) -> bool:
    """Say whether a value is a built-in function or a class of this module or of a private one behind it."""
    if not isinstance(value, BuiltinFunctionType | type):
        return False
    home = getattr(value, "__module__", None) or module.__name__
    return module is builtins or home == module.__name__ or home.startswith("_") or home in _OMITTED


def _is_inherited(kind: type, name: str) -> bool:
    """Say whether a method only repeats the documentation of a base class."""
    text = getattr(kind, name).__doc__
    return any(name in vars(base) and getattr(base, name).__doc__ == text for base in kind.__mro__[1:])


def _signature(value: object) -> str:
    """Return the parameters that a C function declares; where it declares none, its docstring shows them."""
    declared = getattr(value, "__text_signature__", None) or ""
    return " ".join(_FIRST_PARAMETER.sub("(", declared).replace("<unrepresentable>", "...").split())
