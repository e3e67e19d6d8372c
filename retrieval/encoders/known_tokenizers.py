"""BERT's tokenizer from its file alone, where the file and the settings beside it say the same.

transformers makes the tokenizer anew from the vocabulary and from `tokenizer_config.json`, and leaves aside what
`tokenizer.json` says of normalisation. The file can stand for it only where both agree, and nothing else is said.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from retrieval.encoders.tokenization import PROBES, FastTokenizer, UnknownTokenizerError

_SPECIAL = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}

_CHANGES_NOTHING = {
    "added_tokens_decoder",  # the same tokens stand in tokenizer.json, where they are checked
    "backend",
    "clean_up_tokenization_spaces",
    "do_basic_tokenize",
    "is_local",
    "local_files_only",
    "max_length",
    "model_max_length",  # see `known_folders`
    "name_or_path",
    "padding_side",
    "special_tokens_map_file",
    "stride",
    "tokenizer_file",
    "truncation_strategy",
    "vocab_size",
}


class KnownTokenizer:
    """BERT's tokenizer.

    Args:
        folder: of the model.

    Attributes:
        tokens: the tokenizer.

    Raises:
        UnknownTokenizerError: only transformers can make it.
    """

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        settings = _settings(folder)
        try:
            backend = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # the library raises nothing more specific
            raise UnknownTokenizerError(f"{folder / 'tokenizer.json'} cannot be read: {error}") from None
        self._vocabulary: dict[str, int] = backend.get_vocab()
        self.tokens = FastTokenizer(backend)
        if not (
            _is_plain(backend, settings)
            and _added_as_expected(backend)
            and self.tokens.ids([""])[0].tolist() == [self._vocabulary["[CLS]"], self._vocabulary["[SEP]"]]
        ):
            raise UnknownTokenizerError(f"{folder / 'tokenizer.json'} is not BERT's tokenizer with its usual settings")

    def digest(self) -> str:
        """Return what `model_identity.tokenizer_digest` gives for the loaded model."""
        digest = hashlib.sha256(json.dumps(sorted(self._vocabulary.items())).encode())
        for ids in self.tokens.ids(PROBES):
            digest.update(json.dumps(ids.tolist()).encode())
        return digest.hexdigest()


def _settings(folder: Path) -> dict[str, Any]:
    """Return `tokenizer_config.json`, when there is nothing unusual in it or beside it."""
    try:
        settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        special = folder / "special_tokens_map.json"
        named = json.loads(special.read_text(encoding="utf-8")) if special.exists() else {}
        for name, token in {**settings, **named}.items():
            if name in _SPECIAL and (token["content"] if isinstance(token, dict) else token) != _SPECIAL[name]:
                raise UnknownTokenizerError(f"{name} is {token!r}")
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UnknownTokenizerError(f"the tokenizer of {folder} has no readable settings: {error}") from None
    usual = {"never_split": None, "truncation_side": "right", "tokenizer_class": "BertTokenizer"}
    for name, value in settings.items():
        known = name in (*_SPECIAL, *_CHANGES_NOTHING, "do_lower_case", "strip_accents", "tokenize_chinese_chars")
        expected = value.removesuffix("Fast") if name == "tokenizer_class" and isinstance(value, str) else value
        if not known and expected != usual.get(name, [] if name.endswith("special_tokens") else ...):
            raise UnknownTokenizerError(f"{name} is {value!r}")
    if "tokenizer_class" not in settings or set(named) - set(_SPECIAL) or (folder / "added_tokens.json").exists():
        raise UnknownTokenizerError(f"the tokenizer of {folder} has tokens or a class of its own")
    return dict(settings)


def _is_plain(backend: Any, settings: dict[str, Any]) -> bool:
    """Tell whether a tokenizer is what transformers would make of its settings."""
    normaliser, model, truncation = backend.normalizer, backend.model, backend.truncation
    return (
        type(normaliser).__name__ == "BertNormalizer"
        and normaliser.clean_text is True
        and normaliser.lowercase is settings.get("do_lower_case", True)
        and normaliser.strip_accents is settings.get("strip_accents")
        and normaliser.handle_chinese_chars is settings.get("tokenize_chinese_chars", True)
        and type(backend.pre_tokenizer).__name__ == "BertPreTokenizer"
        and type(model).__name__ == "WordPiece"
        and (model.unk_token, model.continuing_subword_prefix, model.max_input_chars_per_word) == ("[UNK]", "##", 100)
        and str((truncation or {}).get("direction", "right")).lower() == "right"
    )


def _added_as_expected(backend: Any) -> bool:
    """Tell whether nothing but BERT's special tokens was added to the vocabulary."""
    added = list(backend.get_added_tokens_decoder().values())
    return {token.content for token in added} == set(_SPECIAL.values()) and all(
        token.special and not (token.lstrip or token.rstrip or token.single_word or token.normalized) for token in added
    )
