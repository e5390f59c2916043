"""What makes a line a heading, by the words of its language (`data/lines.toml`)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from voicewright.text.english import numbers
from voicewright.text.source import table

AROUND = ' \t\u00a0*_#~=-–—.:·|[](){}<>«»§"“”'
"""What may stand around a heading."""
LONGEST_TITLE = 60
"""Characters."""
_WORD = re.compile(r"[^\W\d_][\w'’-]*")
_EAST_ASIAN = re.compile(r"第[\d〇零一二三四五六七八九十百千]{1,8}[章節节回卷部集话話幕編编](?![^\s:：])")
_BOLD = re.compile(r"(\*\*|__)[^\W_][^\n]{0,80}\1")
_DEEP = re.compile(r"\d{1,3}(?:\.\d{1,3}){0,4}[a-z]?")


@dataclass(frozen=True)
class Headings:
    """The words of a language that make headings."""

    counting: frozenset[str]
    alone: frozenset[str]
    numbers: frozenset[str]

    def kind(self, text: str) -> str:
        """What makes a line a heading; nothing where it is none.

        number, numeral (Roman); counting ("Chapter 7"), titled ("Chapter 7: Snow"); alone ("Prologue");
        capitals; bold.
        """
        core = text.strip(AROUND)
        words = core.split(maxsplit=6)
        if not words:
            return ""
        if re.fullmatch(r"\d{1,4}", core):
            return "number"
        if core.isupper() and numbers.roman(core) and (set(core) <= set("IVX") or len(core) > 3):
            return "numeral"
        low = [word.lower() for word in words]
        if len(low) <= 3 and self.numbers.issuperset(low) and low[-1:] != ["the"]:
            return "number"
        if core.lower() in self.alone:
            return "alone"
        if self._counts(low):
            return "counting"
        if self._titled(text, core, words):
            return "titled"
        if _EAST_ASIAN.match(core):
            return "counting"
        if core.upper() == core != core.lower() and 3 < len(core) <= LONGEST_TITLE:
            return "capitals"
        return "bold" if _BOLD.fullmatch(text) else ""

    def is_counting(self, word: str) -> bool:
        """Is this a word that stands with a number?"""
        low = word.lower()
        return low in self.counting or low.rstrip(".:") in self.counting

    def _counts(self, low: Sequence[str]) -> bool:
        """A counting word, first or last, and a number."""
        for at in (0, len(low) - 1):
            rest = [*low[:at], *low[at + 1 :]]
            if self.is_counting(low[at]) and rest and len(rest) < 5 and all(map(self._is_number, rest)):
                return True
        return False

    def _titled(self, text: str, core: str, words: Sequence[str]) -> bool:
        """ "Chapter 8: Snow", "Chapter 8 Snow", "8 Snow": a title behind the number."""
        bare = words[0].isdecimal() and len(words[0]) < 4
        number = words[0] if bare else words[1] if len(words) > 1 and self.is_counting(words[0]) else ""
        if not self._is_number(number.lower()) or len(text) > LONGEST_TITLE or text[-1:] in ",;":
            return False
        rest = (core.split(maxsplit=1 if bare else 2)[1 if bare else 2 :] or [""])[0]
        marked = not bare and (number[-1:] in ".:" or rest[:1] in ("-", "–", "—", ":", "|"))
        return bool(rest) and (marked or (text[-1:] not in ".!?" and title_case(rest)))

    def _is_number(self, word: str) -> bool:
        word = word.strip(".,:()#")
        return bool(
            (_DEEP.fullmatch(word) and len(word) <= 12)
            or word in self.numbers
            or numbers.roman(word)
            or (len(word) == 1 and word.isalpha())
            or ("-" in word and self.numbers.issuperset(word.split("-")))
        )


@cache
def headings(language: str) -> Headings:
    """Those of a language code; of a language without a table, numbers and capitals alone."""
    known = table("lines").get(language[:2], {})
    alone = (words.strip() for words in known.get("alone", "").split("|"))
    counting, numbers = (frozenset(known.get(name, "").split()) for name in ("counting", "numbers"))
    return Headings(counting, frozenset(alone), numbers)


def title_case(text: str) -> bool:
    """Are the words of a title capitalised, small ones aside?"""
    words = _WORD.findall(text)
    return bool(words) and words[0][0].isupper() and all(word[0].isupper() or len(word) < 4 for word in words)
