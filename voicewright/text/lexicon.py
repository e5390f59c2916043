"""A user's own pronunciations: a text file with a word and its phonemes on every line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from voicewright.errors import VoicewrightError
from voicewright.text.clean import clean

_PLAIN = re.compile(r"[^\W_]+(?:['-][^\W_]+)*")


class Lexicon:
    """Words and their phonemes.

    An entry in lower case is for the word however it is written; one with capitals only for that spelling
    ("Polish" and "polish" may differ), which then goes first.
    """

    def __init__(self, entries: Mapping[str, str]) -> None:
        self._entries = dict(entries)
        special = sorted((word for word in entries if not _PLAIN.fullmatch(word)), key=len, reverse=True)
        self.special: str | None = "|".join(map(_special, special)) if special else None
        """Pattern of the words that hold signs ("C++", ".NET"), which would otherwise be cut apart."""

    def get(self, word: str) -> str | None:
        """The phonemes of a word, or None."""
        found = self._entries.get(word)
        return self._entries.get(word.lower()) if found is None else found

    def __contains__(self, word: object) -> bool:
        return isinstance(word, str) and self.get(word) is not None

    def __len__(self) -> int:
        return len(self._entries)

    @classmethod
    def read(cls, path: Path, vocab: Mapping[str, int]) -> Lexicon:
        """Read a UTF-8 file of `word<TAB>phonemes` or `word,phonemes` lines.

        Empty lines and lines that begin with `#` are passed over; phonemes may stand between slashes. Raises
        VoicewrightError that names file and line for a line of another form, for phonemes without a token id,
        and for a word that is given twice with different phonemes.
        """
        try:
            text = path.read_text("utf-8-sig")
        except UnicodeDecodeError as error:
            raise VoicewrightError(
                f"{path} is not UTF-8 (byte {error.start}): save the lexicon as UTF-8."
            ) from error
        except OSError as error:
            raise VoicewrightError(f"The lexicon {path} cannot be read: {error.strerror}.") from error
        entries: dict[str, str] = {}
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip() and not line.lstrip().startswith("#"):
                word, phonemes = _entry(line, f"{path}, line {number}", vocab)
                if entries.setdefault(word, phonemes) != phonemes:
                    raise VoicewrightError(
                        f"{path}, line {number}: '{word}' has other phonemes above: keep one."
                    )
        return cls(entries)


def _entry(line: str, where: str, vocab: Mapping[str, int]) -> tuple[str, str]:
    separator = "\t" if "\t" in line else ","
    word, found, phonemes = line.partition(separator)
    word = clean(word)[0].strip()
    phonemes = phonemes.strip().removeprefix("/").removesuffix("/").strip()
    if not found or not word or not phonemes:
        raise VoicewrightError(
            f"{where}: expected a word, a tab or comma, and its phonemes, but found {line[:60]!r}."
        )
    if any(symbol.isspace() for symbol in word):
        raise VoicewrightError(f"{where}: {word!r} is more than one word: give each word a line of its own.")
    unknown = next((symbol for symbol in phonemes if symbol not in vocab), None)
    if unknown is not None:
        raise VoicewrightError(
            f"{where}: the phonemes of '{word}' hold {unknown!r}, which the model does not know."
        )
    return word, phonemes


def _special(word: str) -> str:
    start = r"(?<!\w)" if word[0].isalnum() else ""
    return start + re.escape(word) + (r"(?!\w)" if word[-1].isalnum() else "")
