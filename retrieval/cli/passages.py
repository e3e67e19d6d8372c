"""`--passages`: which rerankers read documents by their passages, and how."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from retrieval.errors import QueryError, RerankerError

if TYPE_CHECKING:
    from indexes.aggregation import Aggregation
    from retrieval.rerankers import Splitting

EXAMPLE = "--passages mono=max, or mono=mean,best=3,words=150,stride=75,most=30"
_UNITS = ("words", "tokens", "sentences")
_NUMBERS = (*_UNITS, "stride", "most", "title", "best")


class Passages(NamedTuple):
    """What `--passages` says of one stage."""

    aggregate: Aggregation
    splitting: Splitting


def parse_passages(given: tuple[str, ...]) -> dict[str, Passages]:
    """Read "name=method,setting=number,…" of each stage.

    Args:
        given: in the order of the command line. The method is one of `PassageReranker`; settings are the length of a
            passage in words, tokens or sentences, the stride in the same unit (half the length where it is left out),
            the most passages of a document, the title's words in front of each, and best or decay of the method.

    Raises:
        QueryError: it cannot be read; the message shows which.
    """
    found: dict[str, Passages] = {}
    for text in given:
        name, _, rest = text.partition("=")
        method, *settings = (part.strip() for part in rest.split(","))
        if not name or not method:
            raise QueryError(f"--passages {text!r}: write NAME=METHOD, as in {EXAMPLE}")
        if name in found:
            raise QueryError(f"--passages {name} is given twice")
        numbers = dict(_setting(setting, text) for setting in settings)
        if len(numbers) < len(settings):
            raise QueryError(f"--passages {text!r}: a setting is given twice")
        try:
            found[name] = Passages(_aggregate(method, numbers), _splitting(numbers))
        except (RerankerError, ValueError) as error:
            raise QueryError(f"--passages {text!r}: {error}") from None
    return found


def _setting(setting: str, text: str) -> tuple[str, float]:
    name, _, number = (part.strip() for part in setting.partition("="))
    try:
        if name == "decay":
            return name, float(number)
        if name in _NUMBERS:
            return name, int(number)
    except ValueError:
        raise QueryError(f"--passages {text!r}: {number!r:.40} is no number for {name}") from None
    raise QueryError(f"--passages {text!r}: {setting!r:.40} is no setting; write for example {EXAMPLE}")


def _aggregate(method: str, numbers: dict[str, float]) -> Aggregation:
    from indexes.aggregation import Aggregation
    from retrieval.rerankers.passages import as_aggregation

    own: dict[str, Any] = {name: numbers.pop(name) for name in ("best", "decay") if name in numbers}
    for name, of in (("best", "mean"), ("decay", "decayed")):
        if name in own and method != of:
            raise RerankerError(f"{name} is of {of}; leave it out, or write {of}")
    return Aggregation(method, **own) if own else as_aggregation(method)  # type: ignore[arg-type]


def _splitting(numbers: dict[str, float]) -> Splitting:
    from retrieval.rerankers import Splitting

    units = [unit for unit in _UNITS if unit in numbers]
    if len(units) > 1:
        raise RerankerError(f"{' and '.join(units)} are given; passages have one unit")
    names = {"stride": "stride", "most": "most", "title": "title_words"}
    settings: dict[str, Any] = {target: numbers[name] for name, target in names.items() if name in numbers}
    if units:
        size = int(numbers[units[0]])
        settings |= {"unit": units[0], "size": size}
        settings.setdefault("stride", max(size // 2, 1))
    return Splitting(**settings)
