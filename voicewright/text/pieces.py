"""What written text is cut into: words with what is said for them, marks, spaces, breaks, unknown symbols."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

JOINED = "\u200d"
"""In front of a word's sound: no space stands between it and the word before, whatever is written."""


class Kind(Enum):
    WORD = "word"
    """Something that is spoken; `spoken` says how, or `phonemes` when the writer gave them."""
    MARK = "mark"
    """Punctuation that the model knows; `phonemes` is the symbol."""
    SPACE = "space"
    BREAK = "break"
    """A blank line: the end of a paragraph."""
    UNKNOWN = "unknown"
    """A symbol that the language has no reading for."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One stretch `text[start:stop]` of the written text."""

    kind: Kind
    start: int
    stop: int
    spoken: str = ""
    """For a word: the words to say, separated by spaces ("three dollars and fifty cents")."""
    phonemes: str | None = None
    """For a mark its symbol; for a word an override in the writer's own phonemes."""
