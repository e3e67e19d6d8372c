"""Reads modules' sources: what each defines with which documentation, what it imports, what it exports."""

from __future__ import annotations

import ast
import tokenize
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from retrieval.standard_library.entries import Entry, Kind, clean, is_public

STAR = "*"
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass
class ModuleSource:
    """What a module's source says.

    Attributes:
        name: dotted name.
        text: the module's docstring.
        entries: documented top-level names -> the entry and, for classes, those of its public methods.
        imported: name here -> (module, name there), for names imported from other modules.
        stars: modules of which everything is imported, or that stand in this one's place.
        exports: `__all__` where it is a plain list; None where it is computed or missing.
    """

    name: str
    text: str
    entries: dict[str, list[Entry]] = field(default_factory=dict)
    imported: dict[str, tuple[str, str]] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)
    exports: frozenset[str] | None = None


class Sources:
    """The sources of modules, each read when it is first asked for.

    Args:
        files: module name -> source file.
    """

    def __init__(self, files: Mapping[str, Path]) -> None:
        self.files = files
        self._read: dict[str, ModuleSource | None] = {}

    def get(self, name: str) -> ModuleSource | None:
        """Return a module's source; None where there is none that can be read."""
        if name not in self._read:
            self._read[name] = read_source(name, self.files[name]) if name in self.files else None
        return self._read[name]


def read_source(name: str, path: Path) -> ModuleSource | None:
    """Parse a module without importing it; None where its source is not Python of this version."""
    try:
        source = path.read_bytes()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in old sources
            tree = ast.parse(source)
    except (SyntaxError, ValueError, OSError):
        return None
    module = ModuleSource(name, clean(ast.get_docstring(tree, clean=False)))
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    reader = _DefinitionReader(name, source)
    for node in _statements(tree.body):
        if isinstance(node, Definition):
            module.entries.setdefault(node.name, reader.entries(node))
        elif isinstance(node, ast.ImportFrom):
            _note_import(module, node, package)
        elif isinstance(node, ast.Assign | ast.AugAssign | ast.Expr):
            _note_exports(module, node)
            _note_replacement(module, node)
    module.entries = {name: entries for name, entries in module.entries.items() if entries}
    return module


def _statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield statements of a module, those under if, try and with included, for names are often defined there."""
    for node in body:
        yield node
        if isinstance(node, ast.If):
            yield from _statements([*node.body, *node.orelse])
        elif isinstance(node, ast.Try):
            handlers = [statement for handler in node.handlers for statement in handler.body]
            yield from _statements([*node.body, *handlers, *node.orelse, *node.finalbody])
        elif isinstance(node, ast.With):
            yield from _statements(node.body)


class _DefinitionReader:
    """Reads the functions and classes of one module, in the order of its source."""

    def __init__(self, module: str, source: bytes) -> None:
        self._module = module
        self._lines = source.splitlines(keepends=True)
        self._private: dict[str, ast.ClassDef] = {}

    def entries(self, node: Definition) -> list[Entry]:
        """Return the entry of a function, or those of a class and its methods; empty when nothing is documented."""
        if isinstance(node, ast.ClassDef):
            if is_public(node.name):
                return list(self._class(node, node.name))
            self._private[node.name] = node
            return []
        return self._entry(node.name, "function", _signature(node), _docstring(node))

    def _entry(self, name: str, kind: Kind, signature: str, text: str) -> list[Entry]:
        return [Entry(self._module, name, kind, signature, text)] if text else []

    def _class(self, node: ast.ClassDef, qualified_name: str) -> Iterator[Entry]:
        """Yield a class, its public methods and inner classes, so far as they are documented."""
        members = self._members(node)
        constructor = members.get("__init__") or members.get("__new__")
        if constructor is None or isinstance(constructor, ast.ClassDef):
            yield from self._entry(qualified_name, "class", "", _docstring(node) or self._comments(node))
        else:
            text = _docstring(node) or _docstring(constructor) or self._comments(constructor) or self._comments(node)
            yield from self._entry(qualified_name, "class", _signature(constructor, bound=True), text)
        for name, member in members.items():
            if not is_public(name):
                continue
            inner = f"{qualified_name}.{name}"
            if isinstance(member, ast.ClassDef):
                yield from self._class(member, inner)
            else:
                yield from self._entry(inner, "method", _method_signature(member), _docstring(member))

    def _members(self, node: ast.ClassDef) -> dict[str, Definition]:
        """Return what a class defines; the first public class on a private one takes over its methods."""
        members = {item.name: item for item in _statements(node.body) if isinstance(item, Definition)}
        for base in node.bases:
            private = self._private.pop(base.id, None) if isinstance(base, ast.Name) else None
            if private is not None:
                members = self._members(private) | members
        return members

    def _comments(self, node: Definition) -> str:
        """Return the comments of a class or its constructor: what authors wrote where there is no docstring."""
        lines = self._lines[node.lineno - 1 : node.end_lineno]
        source = iter([b"if True:\n", *lines] if node.col_offset else lines)
        try:
            tokens = list(tokenize.tokenize(lambda: next(source, b"")))
        except (tokenize.TokenError, SyntaxError):  # tokenize is stricter about some old sources than the parser
            return ""
        comments = [token.string.lstrip("#!: ").strip() for token in tokens if token.type == tokenize.COMMENT]
        return "\n".join(comment for comment in comments if any(map(str.isalpha, comment)))


def _docstring(node: Definition) -> str:
    return clean(ast.get_docstring(node, clean=False))


def _method_signature(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
    if any(name.endswith("property") for name in decorators):
        return ""
    return _signature(node, bound="staticmethod" not in decorators)


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef, bound: bool = False) -> str:
    """Write a function's parameters, without annotations and, when bound, without the first."""
    arguments = node.args
    for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg):
        if argument is not None:
            argument.annotation = None
    if bound:
        first = arguments.posonlyargs or arguments.args
        n_positional = len(arguments.posonlyargs) + len(arguments.args)
        if first and len(arguments.defaults) < n_positional:
            first.pop(0)
    return f"({ast.unparse(arguments)})"


def _note_import(module: ModuleSource, node: ast.ImportFrom, package: str) -> None:
    origin = node.module or ""
    if node.level:
        parts = package.split(".")
        base = ".".join(parts[: len(parts) - node.level + 1])
        origin = f"{base}.{origin}".rstrip(".")
    for alias in node.names:
        if alias.name == STAR:
            module.stars.append(origin)
        else:
            module.imported.setdefault(alias.asname or alias.name, (origin, alias.name))


def _note_replacement(module: ModuleSource, node: ast.stmt) -> None:
    """Read `sys.modules[__name__] = other`: collections.abc is `_collections_abc` itself since Python 3.13."""
    if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Name):
        return
    if any(ast.unparse(target) == "sys.modules[__name__]" for target in node.targets):
        module.stars.append(node.value.id)


def _note_exports(module: ModuleSource, node: ast.Assign | ast.AugAssign | ast.Expr) -> None:
    """Read `__all__ = [...]`; one that is computed or changed afterwards counts as missing."""
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AugAssign):
        targets = [node.target]
    else:  # __all__.extend(...)
        called = node.value.func if isinstance(node.value, ast.Call) else None
        targets = [called.value] if isinstance(called, ast.Attribute) else []
    if not any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
        return
    module.exports = None
    if isinstance(node, ast.Assign):
        with suppress(ValueError):
            module.exports = frozenset(ast.literal_eval(node.value))
