"""The only language table: which code is read by which normaliser and which pronouncer."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Protocol

from voicewright import registry
from voicewright.errors import UsageError
from voicewright.text import japanese
from voicewright.text.english.g2p import English
from voicewright.text.english.normalise import normaliser
from voicewright.text.espeak import library as espeak
from voicewright.text.espeak import normalise as plain
from voicewright.text.espeak.ipa import Ipa
from voicewright.text.lexicon import Lexicon
from voicewright.text.mandarin import bopomofo
from voicewright.text.mandarin import g2p as mandarin
from voicewright.text.pieces import Piece


class Pronouncer(Protocol):
    def pronounce(self, pieces: Sequence[Piece]) -> list[str]:
        """Phonemes of every piece, in order; empty for spaces and breaks."""


@dataclass(frozen=True)
class Language:
    """How one language is read."""

    code: str
    name: str
    kokoro: str
    """The one-letter code of Kokoro's pipeline and voice names."""
    normaliser: Callable[[Lexicon | None], Callable[[str], list[Piece]]]
    pronouncer: Callable[[Lexicon | None], Pronouncer]

    def written_with(self, vocab: Collection[str]) -> Language:
        """The language as the models of a vocabulary learnt it: Kokoro 1.1-zh has a Mandarin of its own."""
        if self.code == "zh" and bopomofo.SYMBOL in vocab:
            return replace(self, normaliser=bopomofo.normaliser)
        return self


def _english(code: str, name: str, kokoro: str, british: bool) -> Language:
    return Language(code, name, kokoro, partial(normaliser, british), partial(English, british))


def _espeak(code: str, name: str, kokoro: str = "") -> Language:
    return Language(code, name, kokoro, partial(plain.normaliser, code), partial(Ipa, code))


LANGUAGES: Mapping[str, Language] = MappingProxyType(
    {
        language.code: language
        for language in (
            _english("en-us", "American English", "a", british=False),
            _english("en-gb", "British English", "b", british=True),
            _espeak("es", "Spanish", "e"),
            _espeak("fr-fr", "French", "f"),
            _espeak("hi", "Hindi", "h"),
            _espeak("it", "Italian", "i"),
            _espeak("pt-br", "Brazilian Portuguese", "p"),
            Language("ja", "Japanese", "j", japanese.normaliser, japanese.Japanese),
            Language("zh", "Mandarin", "z", mandarin.normaliser, mandarin.Mandarin),
            _espeak("de", "German"),
            _espeak("nl", "Dutch"),
            _espeak("es-419", "Latin American Spanish"),
            _espeak("pt", "European Portuguese"),
        )
    }
)
"""Languages with a table or code of their own; `find_language` knows all of espeak-ng's besides."""

_ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "en": "en-us", "es-es": "es", "es-mx": "es-419", "es-us": "es-419", "fr": "fr-fr", "hi-in": "hi",
        "it-it": "it", "pt-pt": "pt", "de-de": "de", "nl-nl": "nl", "english": "en-us", "portuguese": "pt-br",
        "castilian": "es", "zh-cn": "zh", "cmn": "zh", "ja-jp": "ja", "jp": "ja", "chinese": "zh",
    }
    | {language.kokoro: code for code, language in LANGUAGES.items() if language.kokoro}
    | {language.name.lower(): code for code, language in LANGUAGES.items()}
)  # fmt: skip


def find_language(code: str) -> Language:
    """The language of a code ("en-us", "en_GB"), a name ("German") or Kokoro's letter ("e").

    Languages without a table are read by a plug-in of `voicewright.languages` (a `Language` under its code),
    else by espeak-ng, if it knows them; a regional code falls back to its language.
    Raises UsageError that names what is nearest.
    """
    wanted = code.strip().lower().replace("_", "-")
    for candidate in (wanted, wanted.split("-")[0]):
        found = LANGUAGES.get(_ALIASES.get(candidate, candidate))
        if found is not None:
            return found
        if (plugin := registry.strangers("languages").get(candidate)) is not None:
            language: Language = plugin.load()
            return language
        others = espeak.languages()
        if candidate not in others:
            candidate = next((key for key, name in others.items() if name.lower() == candidate), candidate)
        if candidate in others:
            return _espeak(candidate, others[candidate])
    raise UsageError(f"No front end reads the language '{code[:40]}'; {_nearest(wanted, others)}.")


def _nearest(wanted: str, others: Mapping[str, str]) -> str:
    """What was perhaps meant."""
    names = (
        {name.lower(): key for key, name in others.items()} | dict(_ALIASES) | {key: key for key in LANGUAGES}
    )
    if len(wanted) > 3:
        near = difflib.get_close_matches(wanted, names, n=3, cutoff=0.65)
    else:
        near = [code for code in LANGUAGES if code[:1] == wanted[:1]][:3]
    if near:
        meant = dict.fromkeys(f"{names[name]} ({_name(names[name], others)})" for name in near)
        return (
            f"the nearest are {' and '.join(meant)}"
            if len(meant) > 1
            else f"the nearest is {next(iter(meant))}"
        )
    return f"use one of {', '.join(LANGUAGES)}, or a language code of espeak-ng"


def _name(code: str, others: Mapping[str, str]) -> str:
    return LANGUAGES[code].name if code in LANGUAGES else others[code]
