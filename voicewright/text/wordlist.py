"""Every word of a language's lexicon with its phonemes, for runtimes that look words up in a list."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from voicewright.text.english import English
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
    for word in sorted(
        {word for layer in (lexicon.golds, lexicon.silvers) for word in layer if _plain(word)}
    ):
        # Entries are decoded one by one, which is what takes the time: only those that are asked for.
        entry = lexicon.golds.get(word) or lexicon.silvers.get(word)
        sound = weak.get(word) or (entry.get("DEFAULT") if isinstance(entry, Mapping) else entry)
        if isinstance(sound, str) and sound:
            yield word, sound.replace("ɾ", "T").replace("ʔ", "t")


def _plain(word: str) -> bool:
    letters = word.replace("'", "").replace("-", "")
    return word == word.lower() and letters.isascii() and letters.isalpha()
