"""Loading a checkpoint into a network of ours: every parameter name must fit, or it is an error that lists the names.

transformers fills parameters that a checkpoint lacks with random numbers and drops those that it has too many of, with
a note in the log. A model that was loaded like that looks healthy and finds nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any

from transformers import PreTrainedModel

from retrieval.errors import EncoderError

_SHOWN = 12


class StrictPreTrainedModel(PreTrainedModel):
    """A transformers model whose `from_pretrained` refuses a checkpoint with other parameter names.

    What a class lists in `_keys_to_ignore_on_load_missing` and `_keys_to_ignore_on_load_unexpected` is always allowed.
    """

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: Any,
        *model_args: Any,
        allow_missing: Sequence[str] = (),
        allow_unexpected: Sequence[str] = (),
        output_loading_info: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Load as `PreTrainedModel.from_pretrained` does, from safetensors only, and compare all names.

        Args:
            pretrained_model_name_or_path: a folder.
            *model_args: for the model's constructor.
            allow_missing: patterns (as of file names) of parameters that may be missing from the checkpoint; they
                start at random, for instance ("cls.*",) to pre-train a head on a published encoder.
            allow_unexpected: patterns of parameters of the checkpoint that may be dropped.
            output_loading_info: also return what transformers noted.
            **kwargs: for `PreTrainedModel.from_pretrained`.

        Raises:
            EncoderError: a name is missing or unexpected and not allowed.
        """
        kwargs["use_safetensors"] = True
        model, notes = super().from_pretrained(
            pretrained_model_name_or_path, *model_args, output_loading_info=True, **kwargs
        )
        missing = _refused(notes["missing_keys"], allow_missing)
        unexpected = _refused(notes["unexpected_keys"], allow_unexpected)
        if missing or unexpected:
            found = "; ".join(
                f"{kind} {_listed(names)}"
                for kind, names in (("missing", missing), ("unexpected", unexpected))
                if names
            )
            raise EncoderError(
                f"the checkpoint does not fit {cls.__name__}: {found}; "
                "name what may differ in allow_missing and allow_unexpected"
            )
        return (model, notes) if output_loading_info else model


def _refused(names: Iterable[str], allowed: Sequence[str]) -> list[str]:
    return sorted(name for name in names if not any(fnmatchcase(name, pattern) for pattern in allowed))


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"
