"""Roman numerals: whether letters are one, and of what kind, is decided by the words beside them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from voicewright.text.espeak.counting import Counting
from voicewright.text.espeak.german import German, bare, genitive

SOURCE = r"[IVXLCDM]{1,15}|[ivxlcdm]{2,12}|[vx]"
"""Of what may be a numeral."""
_ROMAN = re.compile(r"(M{0,3})(CM|CD|D?C{0,3})(XC|XL|L?X{0,3})(IX|IV|V?I{0,3})")
_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
_WORD = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*['.]?|[–—,;:!?()-]|\d+")
_SURE = re.compile(
    r"[IVX]{2,}|[IVXLCDM]{4,}|(?=.*X)[IVXLCDM]*[LCDM][IVXLCDM]*(?<!IX)(?<!XX)(?<!..X)|[LCD]X{2}"
)
"""Numerals that need no word beside them: no words and no names of sizes look so."""
_COUNTS = re.compile(r"[IVX]|(?!(?:[LCDM]I|[MD]IX)\b)[IVXLCDM]{2,}|[ivx]{2,}")
"""Behind a word that counts: no lone C, no "di"."""
_JOIN = re.compile(r"\s?[–—-]\s?|,?\s(?:y|e|et|und|en|o|ou|oder|of)\s|\s(?:a|al|à|au|bis|tot)\s|,\s")
_VIEW = 60


def value_of(numeral: str) -> int:
    """1 to 3,999; 0 for what is no numeral."""
    letters = numeral.upper()
    if not letters or _ROMAN.fullmatch(letters) is None:
        return 0
    values = [_VALUES[letter] for letter in letters]
    return sum(-a if a < b else a for a, b in zip(values, [*values[1:], 0], strict=True))


@dataclass(frozen=True)
class Reading:
    """What is said, and whether a dot behind it belongs to it."""

    said: str
    dotted: bool = False


class Numerals:
    """Decides in one language. Words are compared without regard to capitals."""

    def __init__(self, counting: Counting) -> None:
        self.counting = counting
        self.locale = locale = counting.locale
        self.roman = locale.roman
        sets = ("century", "counted", "pages", "titles", "names", "feminine", "words")
        self._known = {name: {word.casefold() for word in getattr(locale.roman, name)} for name in sets}
        self._feminine_articles = {word.casefold() for word in locale.feminine_articles}
        self._articles = self._feminine_articles | {word.casefold() for word in locale.articles}
        self.german = German(counting, locale.declension) if locale.declension else None
        self.ended = -1
        """Where the last numeral ended, its dot included."""
        self._last = ("", False)

    def read(self, text: str, start: int, stop: int, suffix: str = "", dot: bool = False) -> Reading | None:
        """The reading of text[start:stop] as a numeral, or nothing where it is a word or letters.

        suffix: what makes an ordinal of it ("e" in XIXe); it stands behind `stop`, as the dot does.
        """
        numeral = text[start:stop]
        value = value_of(numeral)
        if not value or not self.locale.numerals:
            return None
        before = _WORD.findall(text[max(0, start - _VIEW) : start].rpartition("\n")[2])[-5:]
        end = stop + len(suffix) + dot
        after = _WORD.findall(text[end : end + _VIEW].partition("\n")[0])[:4]
        if suffix:
            if not re.fullmatch("[IVX]|[IVXLCDM]{2,}", numeral):
                return None
            self.ended, self._last = end, ("", False)
            return Reading(self.counting.ordinal(value, self.locale.ordinals[suffix.lower()]))
        style, feminine = self._style(text, start, numeral, before, after, dot)
        if not style:
            return None
        self.ended, self._last = stop + dot, (style, feminine)
        return self._said(value, style, feminine, before, after, dot)

    def _style(
        self, text: str, start: int, numeral: str, before: list[str], after: list[str], dot: bool
    ) -> tuple[str, bool]:
        """century, counted, ruler, noun or bare, and is it feminine? Nothing where it is no numeral."""
        known = self._known
        style, feminine = self._last
        chained = style and start - self.ended <= 6 and _JOIN.fullmatch(text, self.ended, start)
        if chained and _COUNTS.fullmatch(numeral):
            return style, feminine
        last = bare(before[-1]) if before else ""
        if (
            last in known["century"]
            and (len(last) > 1 or before[-1].islower())
            and _COUNTS.fullmatch(numeral)
        ):
            return "century", False
        if last in known["pages"] or (last in known["counted"] and _COUNTS.fullmatch(numeral)):
            return "counted", last in known["feminine"]
        if numeral.lower() in known["words"] and (
            numeral.islower() or _shouted(before[-1:]) or _shouted(after[:1])
        ):
            return "", False
        if numeral.islower():
            return ("bare", False) if _SURE.fullmatch(numeral.upper()) and numeral.strip("x") else ("", False)
        rest = [
            word for word in after if value_of(word.rstrip(".")) == 0 and not _JOIN.fullmatch(f" {word} ")
        ]
        if rest and bare(rest[0]) in known["century"]:
            return "century", False
        called, titled = self._ruler(before)
        names = known["names"]
        if (
            called
            and re.fullmatch("[IVX]+", numeral)
            and (titled or called[0] in names or genitive(called[0], names))
        ):
            return "ruler", bool(known["feminine"].intersection(called))
        if len(numeral) < 2:
            return "", False
        following = bool(after) and after[0][0].isalpha() and _JOIN.fullmatch(f" {after[0]} ") is None
        if (
            following
            and _SURE.fullmatch(numeral)
            and (dot or (last in self._articles and not self.locale.declension))
        ):
            return "noun", last in self._feminine_articles
        if (
            following
            and _SURE.fullmatch(numeral)
            and self.roman.heads
            and not last.isalnum()
            and after[0].istitle()
        ):
            return "noun", after[0].endswith("a")
        return ("bare", False) if _SURE.fullmatch(numeral) else ("", False)

    def _ruler(self, before: list[str]) -> tuple[list[str], bool]:
        """The names in front, the last first, and whether a title stands before them."""
        called: list[str] = []
        for word in reversed(before):
            if bare(word) in self._known["titles"]:
                return [*called, bare(word)] if called else [], bool(called)
            if not word[0].isupper() or (word.endswith(".") and not called):
                break
            called.append(bare(word))
        return called, False

    def _said(
        self, value: int, style: str, feminine: bool, before: list[str], after: list[str], dot: bool
    ) -> Reading:
        counting, roman = self.counting, self.roman
        most = {
            "century": roman.century_ordinals, "counted": roman.counted_ordinals,
            "ruler": roman.ruler_ordinals, "noun": 3999 if counting.in_words(1, "ordinal") else 0, "bare": 0,
        }[style]  # fmt: skip
        if value > most:
            return Reading(counting.in_words(value) or str(value))
        if self.german is not None:
            if style == "ruler":
                return Reading(self.german.ruler(value, feminine, before), True)
            return Reading(self.german.ordinal(value, before, after[0] if after else ""), True)
        said = counting.ordinal(value, "f" if feminine else "short" if style == "noun" else "m")
        return Reading(roman.ruler.format(said) if style == "ruler" else said)


def _shouted(words: list[str]) -> bool:
    return any(len(word) > 1 and word.isupper() and not value_of(word) for word in words)
