"""Numbers with what they count, as words: measures, money, fractions, durations, numbers in a row."""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction

from voicewright.text.espeak.counting import Counting
from voicewright.text.espeak.pattern import SHOWN


class Amounts:
    """One method for each kind of token that `pattern` names so; each gives what is said."""

    def __init__(self, counting: Counting) -> None:
        self.counting = counting
        self.locale = counting.locale

    def _symbol(self, sign: str) -> str:
        return self.locale.symbols.get(sign, "")

    def duration(self, token: re.Match[str]) -> str:
        """ "2h 30m", "3m 20s"."""
        parts = re.findall(r"(\d+)\ ?([^\W\d_])", token[0])
        units = {"h": "h", "u": "h", "m": "min", "s": "s"}
        return " ".join(self._counted(number, units[sign]) for number, sign in parts)

    def _counted(self, number: str, unit: str) -> str:
        return self.counting.amount(number, self.locale.every_unit[unit], self.locale.spelled)

    def _spanned(self, low: str, top: str | None) -> str:
        """The words in front of the last number of a span."""
        if not top:
            return ""
        low = (
            self.counting.agreeing(low, False, self.locale.spelled)
            if self.locale.spelled
            else self.counting.plain(low)
        )
        return f"{low} {self.locale.to or self._symbol('-')} "

    def measure(self, token: re.Match[str]) -> str:
        unit, rate = token["unit"].translate(SHOWN), token["over_unit"]
        minus = f"{self.locale.minus} " if token[0][0] in "-−" else ""
        said = self._spanned(token["low"], token["top"]) + self._counted(token["top"] or token["low"], unit)
        return minus + said + (self._rate(rate) if rate else "")

    def _rate(self, unit: str) -> str:
        """ "por hora", "par jour"."""
        names = self.locale.every_unit.get(unit.translate(SHOWN))
        if unit[0].isdecimal():  # "7 l/100 km"
            figure, sign = re.fullmatch(r"(\d+) ?(.+)", unit).groups()  # type: ignore[union-attr]
            return f" {self.locale.per} {self._counted(figure, sign.translate(SHOWN))}"
        return f" {self.locale.per} {names[0].partition(' ')[2] or names[0] if names else unit}"

    def money(self, token: re.Match[str]) -> str:
        names = self.locale.money[token["before"] or token["after"]]
        low, top = token["lead"] or token["sum"], token["lead_top"] or token["sum_top"]
        scale, rate = token["lead_scale"] or token["scale"], token["over_money"]
        if scale:
            one, many = self.locale.millions[scale]
            lead = one if low == "1" and not top else f"{self.counting.plain(top or low)} {many}"
            said = lead + ("" if lead.endswith("'") else " ") + names[1]
        else:
            said = self.counting.money(top or low, names)
        minus = f"{self.locale.minus} " if token[0][0] in "-−" or token["less"] else ""
        return minus + self._spanned(low, top) + said + (self._rate(rate) if rate else "")

    def fraction(self, token: re.Match[str]) -> str:
        entire = token["entire"] or ""
        if token["vulgar"]:
            value = Fraction(unicodedata.numeric(token["vulgar"].translate(SHOWN))).limit_denominator(10)
            over, under = value.numerator, value.denominator
        else:
            over, under = int(token["over"]), int(token["under"])
        said = self.counting.fraction(over, under, entire)
        if not said:
            said = " ".join(
                filter(None, (entire, str(over), self._symbol("/") if token["vulgar"] else "", str(under)))
            )
        unit = token["part_of"]
        if unit:
            names = self.locale.every_unit[unit.translate(SHOWN)]
            said += " " + (names[1] if entire else names[0].partition(" ")[2] or names[0])
        return said

    def circled(self, token: re.Match[str]) -> str:
        return str(int(unicodedata.numeric(token[0])))

    def serial(self, token: re.Match[str]) -> str:
        """Numbers in a row: short ones as numbers, longer ones digit by digit."""
        dotted = self._symbol(".") if token[0].count(".") > 1 and token[0][0] not in "0+" else ""
        parts = re.findall(r"\d+|\+|\.", token[0])
        said = [self._symbol("+") if p == "+" else dotted if p == "." else p for p in parts]
        if not dotted:
            said = [" ".join(p) if p.isdecimal() and (len(p) > 2 or p[0] == "0") else p for p in said]
        return " ".join(filter(None, said))

    def formula(self, token: re.Match[str]) -> str:
        return " ".join(re.findall(r"\d+|\D", token[0]))

    def ordinal(self, token: re.Match[str]) -> str:
        value, suffix = int(token["place"]), token["suffix"]
        form = self.locale.ordinals[suffix]
        return self.counting.ordinal(value, form) or token["place"]

    def note(self, token: re.Match[str]) -> str:
        return f"{token[0][0]} {self._symbol(token[0][1]) or token[0][1]}"
