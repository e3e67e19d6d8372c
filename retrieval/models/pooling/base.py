"""What the modules of this package share: settings and weights on disk, and asking a transformer for all its layers."""

from __future__ import annotations

from typing import Any, Self

from sentence_transformers.base.modules.module import Module

from retrieval.errors import EncoderError

_PLACE = {"subfolder", "token", "cache_folder", "revision", "local_files_only"}


class StatesModule(Module):
    """A module that reads the states of tokens; its `config_keys` are the arguments of its constructor.

    Attributes:
        reads_layers: it reads every layer and not the last one only.
    """

    reads_layers = False

    def on_model_ready(self, model: Any) -> None:
        """Have the model's transformer give out all layers where this module reads them.

        Raises:
            EncoderError: the model does not begin with a transformer.
        """
        if not self.reads_layers:
            return
        config = getattr(getattr(model[0], "model", None), "config", None)
        if config is None:
            raise EncoderError(
                f"{type(self).__name__} reads all layers of a transformer, not of {type(model[0]).__name__}"
            )
        config.output_hidden_states = True

    def save(self, output_path: str, *_: Any, safe_serialization: bool = True, **__: Any) -> None:
        """Write `config.json` with the settings, and the weights."""
        self.save_config(output_path)
        self.save_torch_weights(output_path, safe_serialization=safe_serialization)

    @classmethod
    def load(cls, model_name_or_path: str, **place: Any) -> Self:
        """Read what `save` wrote.

        Args:
            model_name_or_path: the model's folder, or its name on a model hub.
            **place: where in it and how to get it; sentence-transformers passes more than that, which is not used.

        Raises:
            EncoderError: the settings are not those of this module.
            RuntimeError: weights are missing or unexpected; the message lists their names.
        """
        place = {name: value for name, value in place.items() if name in _PLACE}
        settings = cls.load_config(model_name_or_path, **place)
        if set(settings) != set(cls.config_keys):
            raise EncoderError(
                f"settings {', '.join(sorted(settings)) or 'none'} of a {cls.__name__}; they must be "
                f"{', '.join(cls.config_keys)}"
            )
        module = cls(**settings)
        cls.load_torch_weights(model_name_or_path, model=module, **place)
        return module
