"""What reading the data of one of our tasks for mteb gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Prepared:
    """Data in mteb's form, and how mteb measures it where it has no task of its own for it.

    Attributes:
        data: by split; the measured one is "test".
        base: mteb's abstract class.
        mteb_type: the kind's name there.
        main_score: of the kind.
        attributes: of the class that is made, where the definition says something else than mteb's default.
    """

    data: Mapping[str, Any]
    base: type
    mteb_type: str
    main_score: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
