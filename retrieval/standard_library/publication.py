"""Finds the public name of everything documented in sources: asyncio.run, though asyncio.runners defines it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from retrieval.standard_library.entries import Entry, is_public
from retrieval.standard_library.modules import is_public_module, published_name
from retrieval.standard_library.source_reader import ModuleSource, Sources

Origin = tuple[str, str]  # module that defines a name, and the name there


def published_entries(sources: Sources) -> Iterator[Entry]:
    """Yield what is public: modules, and each definition once, under the shortest name that exports it.

    A definition of a private module is published by the public modules that export it, one of a submodule also by
    its package. Definitions that are not exported at all are left out.
    """
    names: dict[Origin, tuple[list[Entry], list[Origin]]] = {}
    for module in filter(is_public_module, sources.files):
        source = sources.get(module)
        if source is None:
            continue
        if source.text:
            yield Entry(published_name(module), "", "module", "", source.text)
        for name in sorted(_exported_names(source, sources)):
            definition = _definition(sources, source, name)
            if definition is not None and _publishes(module, definition[0].name):
                origin, entries = definition
                _, candidates = names.setdefault((origin.name, entries[0].qualified_name), (entries, []))
                candidates.append((published_name(module), name))
    for entries, candidates in names.values():
        module, name = min(candidates, key=lambda candidate: (candidate[0].count("."), candidate))
        for entry in entries:
            inner = entry.qualified_name.partition(".")[1:]
            yield replace(entry, module=module, qualified_name=name + "".join(inner))


def _exported_names(source: ModuleSource, sources: Sources) -> set[str]:
    """Return what `from module import *` binds, as far as the sources tell; a package also binds what it imports."""
    if source.exports is not None:
        return set(filter(is_public, source.exports))
    names = set(source.entries)
    for star in source.stars:
        other = sources.get(star)
        if other is not None and other is not source:
            names |= _exported_names(other, sources)
    names |= {name for name, (module, _) in source.imported.items() if module.startswith(f"{source.name}.")}
    return set(filter(is_public, names))


def _definition(
    sources: Sources, source: ModuleSource | None, name: str, depth: int = 0
) -> tuple[ModuleSource, list[Entry]] | None:
    """Follow imports to the source that defines a name, and return its entries; None where no source does."""
    if source is None or depth > 5:
        return None
    if name in source.entries:
        return source, source.entries[name]
    if name in source.imported:
        module, original_name = source.imported[name]
        return _definition(sources, sources.get(module), original_name, depth + 1)
    places = [*source.stars, *_lazily_imported(sources, source, name)]
    found = (_definition(sources, sources.get(place), name, depth + 1) for place in places)
    return next((definition for definition in found if definition is not None), None)


def _lazily_imported(sources: Sources, source: ModuleSource, name: str) -> list[str]:
    """Return where a package may have an exported name from that it imports on first use."""
    if name not in (source.exports or ()):
        return []
    return [module for module in sources.files if module.startswith(f"{source.name}.") and is_public_module(module)]


def _publishes(module: str, defining_module: str) -> bool:
    """Say whether a module is where people find what another defines: its own, a submodule's or a private one's."""
    return (
        module == defining_module or defining_module.startswith(f"{module}.") or not is_public_module(defining_module)
    )
