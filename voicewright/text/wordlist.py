"""Every word of a language's lexicon with its phonemes, for runtimes that look words up in a list."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from voicewright.text.english.g2p import English
from voicewright.text.g2p import find_language
from voicewright.text.pieces import Kind, Piece

# fmt: off
WEAK = (
    "a", "an", "and", "are", "as", "at", "be", "been", "but", "by", "can", "could", "do", "does", "for",
    "from", "had", "has", "have", "he", "her", "him", "his", "in", "into", "is", "it", "its", "me",
    "must", "my", "nor", "of", "on", "or", "our", "shall", "she", "should", "so", "some", "than",
    "that", "the", "their", "them", "there", "they", "to", "us", "was", "we", "were", "will", "with",
    "would", "you", "your",
)
# fmt: on
"""Words that sentences say otherwise than dictionaries do."""


def words(language: str) -> Iterator[tuple[str, str]]:
    """Lower-case words of ASCII letters, apostrophes and hyphens, in order, each in its commonest reading
    and function words as before a consonant.

    Empty for a language that is not read from a lexicon. Raises UsageError for one that nobody reads.
    """
    pronouncer = find_language(language).pronouncer(None)
    if not isinstance(pronouncer, English):
        return
    from kokorog2p.en.lexicon import Lexicon

    lexicon = Lexicon(british=pronouncer.british)
    consonant = Piece(Kind.WORD, 0, 3, "dog")
    weak = {word: pronouncer.pronounce([Piece(Kind.WORD, 0, len(word), word), consonant])[0] for word in WEAK}
    golds, silvers = _entries(lexicon.golds), _entries(lexicon.silvers)
    for word in sorted(golds.keys() | silvers.keys()):
        entry = golds.get(word) or silvers.get(word)
        sound = weak.get(word) or (entry.get("DEFAULT") if isinstance(entry, Mapping) else entry)
        if isinstance(sound, str) and sound:
            yield word, sound.replace("ɾ", "T").replace("ʔ", "t")


def _entries(layer: Mapping[str, Any]) -> dict[str, Any]:
    """Plain words of a layer with their entries; capitalised ones stand for lower-case ones it lacks.

    Looked up word by word, which is what a compressed lexicon offers in public, this takes minutes: each
    look-up decodes a dozen blocks. Read in the order they are stored, words and entries take seconds.
    """
    stored: Any = getattr(layer, "raw", layer)
    at = getattr(stored, "_value_at", None)
    found: dict[str, Any] = {}
    capitals: dict[str, Any] = {}
    for number, written in enumerate(stored):
        word = written.lower()
        alias = len(word) > 1 and written == word.capitalize()
        if _plain(word) and (written == word or alias):
            entry = stored[written] if at is None else at(number)
            (found if written == word else capitals)[word] = entry
    return capitals | found


def _plain(word: str) -> bool:
    letters = word.replace("'", "").replace("-", "")
    return word == word.lower() and letters.isascii() and letters.isalpha()
