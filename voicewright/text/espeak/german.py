"""German ordinals: how they end, and whether "3." is one or the end of a sentence."""

from __future__ import annotations

import re

from voicewright.text.espeak.counting import Counting
from voicewright.text.espeak.locales import Declension

_DETERMINER = re.compile(r"(?:[mds]ein|ihr|unser|eur|euer|kein|ein|dies|jed|jen|welch|all)(e[mnrs]?)?")
_ALWAYS = frozenset({"als", "im", "am", "zum", "der", "die", "das"})
"""Words after which a number with a dot is an ordinal even where a sentence may begin."""


class German:
    """Words in front come as written, the nearest last."""

    def __init__(self, counting: Counting, declension: Declension) -> None:
        self.counting = counting
        self.words = declension
        self._last = ""
        self._asking = {*declension.dative, *declension.accusative, "vom", "zum", "zur", "dem"}
        roman = counting.locale.roman
        self._counted = {*declension.masculine, *declension.neuter, *declension.feminine}
        self._counted |= {*roman.counted, *roman.century, *counting.locale.months}
        self._counted |= {short for shorts in counting.locale.short_months for short in shorts.split("|")}

    def ordinal(self, value: int, before: list[str], noun: str) -> str:
        """ "am dritten", "der dritte", "dritter", "drittes"."""
        near = before[-2].rstrip(".") if len(before) > 1 and before[-1] in ("und", "oder", "bis") else ""
        if not (near.isdecimal() or near.isupper()):  # "im 18. und 19. Jahrhundert": both end alike
            self._last = self._ending(before, noun)
        return self.counting.in_words(value, "ordinal") + self._last

    def is_ordinal(self, before: list[str], noun: str, ends: bool) -> bool:
        """Is a number with a dot one? noun: the next word; ends: the text or a sentence may end here."""
        last = bare(before[-1]) if before else ""
        if noun.rstrip(".") in self._counted or (noun[:1].islower() and noun[0].isalpha()):
            return True
        if not noun:
            return last == "als"
        called = last in (*self.words.n, *self.words.plain, "als") or _DETERMINER.fullmatch(last)
        return bool(called) and (not ends or last in _ALWAYS)

    def _ending(self, before: list[str], noun: str) -> str:
        last = bare(before[-1]) if before else ""
        words = self.words
        if last in words.n or (last == "der" and len(before) > 1 and bare(before[-2]) in words.dative):
            return "n"
        determiner = _DETERMINER.fullmatch(last)
        if last in words.plain or (determiner and determiner[1] == "e"):
            return ""
        if determiner and determiner[1]:
            return "n"
        if noun in words.feminine and last != "als":
            return ""
        return "s" if noun in words.neuter else "r"

    def ruler(self, value: int, feminine: bool, before: list[str]) -> str:
        """ "der zweite" in the case that a preposition, or the name's own s, asks for."""
        words = self.words
        near = next(
            (bare(w) for w in reversed(before[:-1]) if bare(w) in self._asking or not w[0].isupper()), ""
        )
        case = 2 if near in words.accusative else 1 if near in self._asking else 0
        if genitive(bare(before[-1]), {name.casefold() for name in self.counting.locale.roman.names}):
            case = 3
        article = words.ruler[2 * case + feminine]
        weak = "n" if case in (1, 3) or article == "den" else ""
        return f"{article} {self.counting.in_words(value, 'ordinal')}{weak}"


def bare(word: str) -> str:
    """A word without its dot, and without the article that is one word with it: "l'Acte"."""
    return word.rstrip(".").rpartition("'")[2].casefold() or word


def genitive(name: str, names: set[str]) -> bool:
    """ "Ludwigs", of the name "Ludwig"."""
    return name.endswith("s") and name[:-1] in names and name not in names
