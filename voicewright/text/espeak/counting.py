"""Numbers of a language as words: cardinals that agree with their unit, ordinals, fractions, amounts."""

from __future__ import annotations

import re

from voicewright.text.espeak.locales import Amount, Locale, Swaps

_LONGEST_NUMBER = 15


def swapped(said: str, swaps: Swaps) -> str:
    for old, new in swaps:
        said = re.sub(old, new, said)
    return said


class Counting:
    """Says the numbers of one language. Written numbers are digits with the language's decimal mark."""

    def __init__(self, locale: Locale) -> None:
        self.locale = locale

    def in_words(self, value: int, form: str = "cardinal") -> str:
        """num2words' reading, or nothing where it has none."""
        if not self.locale.num2words:
            return ""
        from num2words import num2words

        try:
            return str(num2words(value, to=form, lang=self.locale.num2words)).replace(",", "")
        except (NotImplementedError, OverflowError, TypeError, ValueError, LookupError):
            return ""

    def ordinal(self, value: int, form: str = "m") -> str:
        """form: m, f, or short (before a masculine noun); anything else is the word itself."""
        if form not in ("m", "f", "short"):
            return form
        said = self.locale.ordinal_words.get(str(value)) or self.in_words(value, "ordinal")
        said = swapped(said, self.locale.ordinal_spelling)
        if form == "f":
            return swapped(said, self.locale.ordinal_feminine)
        return swapped(said, self.locale.ordinal_short) if form == "short" else said

    def plain(self, written: str) -> str:
        """A number as espeak-ng reads it best."""
        if self._pointed(written):
            return (
                f"{written.partition('.')[0]} {self.locale.symbols.get('.', '')} {written.partition('.')[2]}"
            )
        number = self.ungrouped(written)
        whole, point, part = number.partition(self.locale.decimal)
        if len(whole) > _LONGEST_NUMBER or (len(whole) > 1 and whole[0] == "0"):
            whole = self.digits(whole)
        elif self.locale.spoken_years and number == written and 1100 <= int(whole or 0) <= 1999:
            whole = self.in_words(int(whole), "year") or whole
        return f"{whole}{point}{part[:12]}" if point else whole

    def _pointed(self, written: str) -> bool:
        """Is it a decimal written the English way, "98.6"?"""
        return self.locale.decimal == "," and re.fullmatch(r"\d{1,9}\.\d\d?", written) is not None

    def ungrouped(self, written: str) -> str:
        """The digits, with the language's decimal mark."""
        if self._pointed(written):
            written = written.replace(".", ",")
        whole, point, part = written.partition(self.locale.decimal)
        return re.sub(r"\D", "", whole) + point + part

    @staticmethod
    def digits(text: str) -> str:
        return " ".join(text) if len(text) > 4 or text.startswith("0") else text

    def agreeing(self, written: str, feminine: bool, spelled: bool = False) -> str:
        """A whole number as it stands before a noun: "veintiún", "duas"; the digits where nothing changes."""
        number = self.ungrouped(written)
        if not number.isdecimal() or len(number) > 6 or (len(number) > 1 and number[0] == "0"):
            return self.plain(written)
        words = self.in_words(int(number))
        swaps = self.locale.feminine_numbers if feminine else self.locale.masculine_numbers
        agreed = swapped(words, swaps)
        spelled = spelled and not (self.locale.better_digits and re.search(self.locale.better_digits, words))
        return agreed if agreed and (spelled or agreed != words) else number

    def spelled(self, value: int) -> str:
        """A number alone: in words where the language's file says so."""
        return (self.in_words(value) if self.locale.spelled else "") or str(value)

    def amount(self, written: str, names: Amount, spelled: bool = False) -> str:
        """A number with what it counts: "un metro", "2 metros"."""
        one, many = names[:2]
        if self.ungrouped(written) == "1":
            return one
        feminine = bool(self.locale.feminine) and one.startswith(self.locale.feminine + " ")
        return f"{self.agreeing(written, feminine, spelled)} {many}"

    def money(self, written: str, names: Amount) -> str:
        """ "20 euros con 50", "50 céntimos"."""
        whole, _, part = self.ungrouped(written).partition(self.locale.decimal)
        if len(part) not in (0, 2) or len(whole) > _LONGEST_NUMBER:
            return f"{self.plain(written)} {names[1]}"
        if part and int(part) and not int(whole) and len(names) > 3:
            return self.amount(str(int(part)), names[2:])
        said = self.amount(str(int(whole)), names)
        return f"{said}{self.locale.money_join}{int(part)}" if part and int(part) else said

    def fraction(self, over: int, under: int, after: str = "") -> str:
        """ "tres cuartos"; `after` a whole number "dos y medio". Empty where there is no word for it."""
        if under not in self.locale.fractions or not 0 < over < under:
            return ""
        one, many = self.locale.fractions[under]
        said = one if over == 1 else f"{self.in_words(over) or over} {many}"
        if after:
            if f"{after} {over}/{under}" in self.locale.mixed_fractions:
                return self.locale.mixed_fractions[f"{after} {over}/{under}"]
            said = self.locale.mixed_fractions.get(f"{over}/{under}", said)
            return self.locale.mixed.format(self.in_words(int(after)) if len(after) < 4 else after, said)
        return said

    def power(self, exponent: str) -> str:
        """ "al cuadrado", "elevado a 6"."""
        minus = f"{self.locale.minus} " if exponent.startswith("-") else ""
        number = exponent.lstrip("+-")
        if not minus and number in self.locale.powers:
            return self.locale.powers[number]
        return self.locale.powers.get("n", "{}").format(minus + self.spelled(int(number)))
