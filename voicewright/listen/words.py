"""Words as recognisers are compared by them, and how many of them were heard wrongly."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from voicewright.errors import VoicewrightError
from voicewright.text.g2p import find_language
from voicewright.text.pieces import Kind, Piece

_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
_APOSTROPHES = str.maketrans({"’": "'", "‘": "'", "ʼ": "'", "`": "'"})
# Recognisers write these without the full stop by which the reader of texts knows them, or in full.
_ABBREVIATIONS = {"mr": "mister", "mrs": "missus", "dr": "doctor", "etc": "et cetera"}


def comparable(text: str, language: str = "en-us") -> str:
    """The text for comparing: numbers spelled, lower case, letters and inner apostrophes only.

    A language that we speak is read by the same rules as for speaking ("$3.50", "Mr."); numbers are spelled
    in all.
    """
    text = unicodedata.normalize("NFC", text).translate(_APOSTROPHES)
    read = _reader(language)
    if read is not None:
        text = " ".join(piece.spoken for piece in read(text) if piece.kind is Kind.WORD)
    # What a reader leaves to espeak-ng is still in digits.
    text = _NUMBER.sub(lambda match: f" {_spelled(match.group(), language)} ", text)
    text = text.lower()
    kept = "".join(c if c.isalpha() or unicodedata.combining(c) or c == "'" else " " for c in text)
    words = (word.strip("'") for word in kept.split())
    return " ".join(_ABBREVIATIONS.get(word, word) for word in words if word)


@functools.lru_cache(maxsize=8)
def _reader(language: str) -> Callable[[str], list[Piece]] | None:
    try:
        return find_language(language).normaliser(None)
    except VoicewrightError:
        return None


def _spelled(number: str, language: str) -> str:
    from num2words import num2words

    digits = number.replace(",", "").rstrip(".")
    try:
        words = num2words(float(digits) if "." in digits else int(digits), lang=language.split("-")[0])
    except NotImplementedError:  # a language num2words does not know: both sides keep their digits' words
        words = num2words(float(digits) if "." in digits else int(digits), lang="en")
    return str(words)


@dataclass(frozen=True)
class Errors:
    """Errors of one clip: edits and lengths in words and in characters (spaces count as characters)."""

    word_errors: int
    words: int
    character_errors: int
    characters: int

    @property
    def wer(self) -> float:
        """Word error rate, capped at 1: an insertion storm in one clip must not speak for all."""
        return min(1.0, self.word_errors / max(1, self.words))

    @property
    def cer(self) -> float:
        """Character error rate, capped at 1."""
        return min(1.0, self.character_errors / max(1, self.characters))


def count_errors(text: str, heard: str, language: str = "en-us") -> Errors:
    """Edits from `text` to `heard` after `comparable`. Raises VoicewrightError when the text has no words."""
    import jiwer

    reference, hypothesis = comparable(text, language), comparable(heard, language)
    if not reference:
        raise VoicewrightError(f"The text {text!r} has no words to compare: leave the utterance out.")
    words = jiwer.process_words(reference, hypothesis)
    characters = jiwer.process_characters(reference, hypothesis)
    return Errors(
        word_errors=words.substitutions + words.deletions + words.insertions,
        words=len(reference.split()),
        character_errors=characters.substitutions + characters.deletions + characters.insertions,
        characters=len(reference),
    )
