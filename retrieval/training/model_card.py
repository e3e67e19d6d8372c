"""The model card of a trained encoder or reranker: what it was trained on, how, and what was measured."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

_PACKAGES = ("retrieval-engine", "torch", "transformers", "sentence-transformers", "accelerate", "datasets", "numpy")

_ENCODERS = {
    "dense": ("load_encoder", "SentenceTransformer"),
    "sparse": ("load_sparse_encoder", "SparseEncoder"),
}
_TASKS = {"dense": "sentence-similarity", "sparse": "feature-extraction"}


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that have a say in trained weights, without importing them."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def model_card(report: Mapping[str, Any]) -> str:
    """Return the text of README.md.

    Args:
        report: what `TrainingReport.as_dict` returns.
    """
    recipe = report["recipe"]
    backbone = recipe["model_settings"].get("backbone", recipe["model"])
    examples = sum(report["counts"].values())
    used = min(recipe["limit"] or examples, examples)
    sections = [
        _front_matter(report["kind"]),
        f"# {recipe['name']}\n\n{recipe['summary'][:1].upper()}{recipe['summary'][1:]}.".rstrip("\n ."),
        f"Backbone: `{backbone}`. Seed {recipe['seed']}. {used:,} of {examples:,} examples, {report['steps']:,} steps, "
        f"{report['seconds']:.0f} s on {report['execution']['device']} in {report['execution']['precision']}"
        f"{', the part after the last interruption' if report['resumed'] else ''}.{_cut(report)}",
        _measures(report["before"], report["after"]),
        "\n".join(f"- {name}: {value}" for name, value in report["notes"].items()),
        _use(report["kind"]),
        "## Data\n\n"
        + "\n".join(f"- {name}: {line}" for name, line in zip(report["counts"], report["data"], strict=True)),
        "## Recipe\n\n" + _table(("setting", "value"), [(name, _value(value)) for name, value in recipe.items()]),
        "## Versions\n\n" + ", ".join(f"{name} {version}" for name, version in report["versions"].items()),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _cut(report: Mapping[str, Any]) -> str:
    if report["full_texts"] is None:
        return ""
    what = "texts" if report["kind"] in _ENCODERS else "inputs"
    return f" {report['full_texts']:.1%} of the {what} had as many tokens as are read; longer ones were cut."


def _front_matter(kind: str) -> str:
    task = _TASKS.get(kind, "text-ranking")
    tags = {
        "dense": ["sentence-transformers", "sentence-similarity", "feature-extraction"],
        "sparse": ["sentence-transformers", "sparse-encoder", "sparse", "feature-extraction"],
        "mono": ["sentence-transformers", "cross-encoder", "reranker"],
    }.get(kind, ["reranker"])
    library = "library_name: sentence-transformers\n" if "sentence-transformers" in tags else ""
    lines = "\n".join(f"- {tag}" for tag in tags)
    return f"---\n{library}pipeline_tag: {task}\ntags:\n{lines}\n---"


def _use(kind: str) -> str:
    if kind in _ENCODERS:
        load, model = _ENCODERS[kind]
        return (
            f"## Use\n\n```python\nfrom retrieval.encoders import {load}\n\n"
            f'encoder = {load}("path/to/this/folder")\n```\n\n'
            f"or `sentence_transformers.{model}(path)`, which needs `trust_remote_code=True` where `modules.json` "
            "names modules of `retrieval`."
        )
    other = "\n\nor `sentence_transformers.CrossEncoder(path)`." if kind == "mono" else ""
    return (
        "## Use\n\n```python\nfrom retrieval import load_reranker\n\n"
        f'reranker = load_reranker("path/to/this/folder")\n```{other}\n\n'
        f"On the command line: `--stages bm25:100,{kind}:50 --reranker {kind}=path/to/this/folder`."
    )


def _measures(before: Mapping[str, float], after: Mapping[str, float]) -> str:
    if not after:
        return ""
    rows = [
        (name, f"{before[name]:.4f}", f"{value:.4f}", f"{value - before[name]:+.4f}") for name, value in after.items()
    ]
    return "## Measured\n\n" + _table(("measure", "before", "after", "change"), rows)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _value(value: Any) -> str:
    return f"`{value!r}`".replace("|", "\\|").replace("\n", " ")
