"""The only language table: which code is read by which normaliser and which pronouncer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Protocol

from voicewright.errors import UsageError
from voicewright.text.english import English
from voicewright.text.lexicon import Lexicon
from voicewright.text.normalise import normaliser
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


def _english(code: str, name: str, kokoro: str, british: bool) -> Language:
    return Language(code, name, kokoro, partial(normaliser, british), partial(English, british))


LANGUAGES: Mapping[str, Language] = MappingProxyType(
    {
        language.code: language
        for language in (
            _english("en-us", "American English", "a", british=False),
            _english("en-gb", "British English", "b", british=True),
        )
    }
)


def find_language(code: str) -> Language:
    """The language of a code ("en-us", "en_GB"). Raises UsageError that lists what there is."""
    found = LANGUAGES.get(code.lower().replace("_", "-"))
    if found is None:
        raise UsageError(f"No front end reads the language '{code}': use one of {', '.join(LANGUAGES)}.")
    return found
