"""The languages that have a stemmer, by Snowball's name, and their ISO 639 codes."""

from __future__ import annotations

NEUTRAL = "none"
"""The language of texts in many languages, or in one without a stemmer: no stop words, no stemming."""

ISO_CODES: dict[str, str] = {
    "arabic": "ar",
    "armenian": "hy",
    "basque": "eu",
    "catalan": "ca",
    "czech": "cs",
    "danish": "da",
    "dutch": "nl",
    "english": "en",
    "esperanto": "eo",
    "estonian": "et",
    "finnish": "fi",
    "french": "fr",
    "german": "de",
    "greek": "el",
    "hindi": "hi",
    "hungarian": "hu",
    "indonesian": "id",
    "irish": "ga",
    "italian": "it",
    "lithuanian": "lt",
    "nepali": "ne",
    "norwegian": "no",
    "persian": "fa",
    "polish": "pl",
    "portuguese": "pt",
    "romanian": "ro",
    "russian": "ru",
    "serbian": "sr",
    "sesotho": "st",
    "spanish": "es",
    "swedish": "sv",
    "tamil": "ta",
    "turkish": "tr",
    "yiddish": "yi",
}

_BY_ALIAS = {code: name for name, code in ISO_CODES.items()} | {"nb": "norwegian", "multilingual": NEUTRAL}


def language_name(language: str) -> str:
    """Return the full name of a language given by name or ISO 639-1 code: "en" -> "english".

    A name that is not known comes back in lower case; the caller decides whether that is an error.
    """
    lowered = language.lower()
    return _BY_ALIAS.get(lowered, lowered)
