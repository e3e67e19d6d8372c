"""What heads share: numpy in and out, and a folder with config.json and safetensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from retrieval.errors import EncoderError

_CONFIG = "config.json"
_WEIGHTS = "model.safetensors"


class Head(nn.Module):
    """A network over vectors whose `settings` are the arguments of its constructor.

    Attributes:
        settings: their names, each an attribute of the head.
        dimension: components of each vector that it reads.
    """

    settings: ClassVar[tuple[str, ...]] = ()
    dimension: int

    def check(self, *vectors: Tensor) -> None:
        """Refuse vectors that are not pairs of this head's dimension.

        Raises:
            EncoderError: an input is not (n, d), or they differ.
        """
        shapes = [tuple(each.shape) for each in vectors]
        if len(set(shapes)) > 1 or len(shapes[0]) != 2 or shapes[0][1] != self.dimension:
            raise EncoderError(
                f"vectors of shapes {', '.join(map(str, shapes))}; {type(self).__name__} reads (n, {self.dimension})"
            )

    def scores(self, *vectors: np.ndarray) -> np.ndarray:
        """Score stored vectors as after training, without dropout.

        Args:
            *vectors: what `forward` takes, each (n, d) of any float type.

        Returns:
            (n,) float32.

        Raises:
            EncoderError: an input is not (n, d), or they differ.
        """
        at = next(self.parameters())
        inputs = [torch.from_numpy(np.asarray(each, np.float32)).to(at) for each in vectors]
        was_training = self.training
        self.eval()
        try:
            with torch.inference_mode():
                found: np.ndarray = self(*inputs).float().cpu().numpy()
        finally:
            self.train(was_training)
        return found

    def save(self, folder: str | Path) -> None:
        """Write `config.json` and `model.safetensors`; the folder is made where it is missing."""
        from safetensors.torch import save_model

        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        config = {"head": type(self).__name__, **{name: getattr(self, name) for name in self.settings}}
        (place / _CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        save_model(self, str(place / _WEIGHTS))

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what `save` wrote, ready to score.

        Raises:
            EncoderError: there is no head of this kind in the folder, or its weights are of other names or shapes.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_model

        try:
            config: Any = json.loads((Path(folder) / _CONFIG).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise EncoderError(f"no head in {folder}: {_CONFIG} cannot be read ({error})") from None
        if not isinstance(config, dict) or config.pop("head", None) != cls.__name__ or set(config) != set(cls.settings):
            raise EncoderError(
                f"{folder} holds no {cls.__name__}: its {_CONFIG} must name this head and {', '.join(cls.settings)}"
            )
        head = cls(**config)
        try:
            load_model(head, Path(folder) / _WEIGHTS)
        except (OSError, RuntimeError, SafetensorError) as error:
            reason = " ".join(str(error).split())[:300]
            raise EncoderError(f"the weights of the head in {folder} cannot be read: {reason}") from None
        return head.eval()
