"""Numbers as English words. `british` says "one hundred and five" where American says "one hundred five"."""

from __future__ import annotations

import re

LONGEST = 15
"""Whole numbers with more digits are read digit by digit: no listener counts quadrillions."""
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_NUMERAL = re.compile(r"M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})")
_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}


def digits(text: str) -> str:
    """Every digit by name: "007" → "zero zero seven"."""
    return " ".join(_DIGITS[int(symbol)] for symbol in text if symbol.isdecimal())


def cardinal(value: int, british: bool = False) -> str:
    if abs(value) >= 10**LONGEST:
        return digits(str(value))
    return _words(value, "cardinal", british)


def ordinal(value: int, british: bool = False) -> str:
    if value >= 10**LONGEST:
        return f"{digits(str(value))} th"
    return _words(value, "ordinal", british)


def year(value: int, british: bool = False) -> str:
    """1984 → "nineteen eighty four", 1905 → "nineteen oh five", 2007 → "two thousand seven"."""
    century, rest = divmod(value, 100)
    if value < 1000 or 2000 <= value < 2010 or value % 1000 == 0 or value > 9999:
        return cardinal(value, british)
    if rest == 0:
        return f"{cardinal(century)} hundred"
    return f"{cardinal(century)} {'oh ' if rest < 10 else ''}{cardinal(rest)}"


def decade(text: str) -> str:
    """ "1990" (of "1990s") → "nineteen nineties"; "80" → "eighties"."""
    value = int(text)
    if value % 100 == 0 and value >= 1000:
        words = "two thousand" if value == 2000 else year(value)
    else:
        words = year(value) if len(text) == 4 else cardinal(value)
    return plural(words)


def plural(words: str) -> str:
    """The last word in the plural: "twenty" → "twenties", "six" → "sixes"."""
    if words.endswith("y"):
        return f"{words[:-1]}ies"
    return f"{words}es" if words.endswith("x") else f"{words}s"


def number(text: str, british: bool = False) -> str:
    """A number as written: "1,234", "3.14", ".5", "-7", "007"."""
    sign = {"-": "minus ", "−": "minus ", "+": "plus "}.get(text[:1], "")
    whole, point, fraction = text.removeprefix(text[:1] if sign else "").replace(",", "").partition(".")
    if len(whole) > LONGEST or (len(whole) > 1 and whole[0] == "0"):
        words = digits(whole)
    else:
        words = cardinal(int(whole), british) if whole else ""
    if point and fraction:
        words = f"{words} point {digits(fraction)}".strip()
    return sign + words


def is_one(text: str) -> bool:
    """Does a unit after this number stand in the singular?"""
    return text.lstrip("-−+") in ("1", "1.0", "1.00")


def fraction(top: int, bottom: int, british: bool = False) -> str:
    """3/4 → "three quarters"; a bottom that has no such name → "three over ninety seven"."""
    names = {2: ("half", "halves"), 4: ("quarter", "quarters")}
    if bottom not in names and not (2 < bottom <= 20 or bottom in (32, 64, 100, 1000)):
        return f"{cardinal(top, british)} over {cardinal(bottom, british)}"
    name = ordinal(bottom, british)
    one, many = names.get(bottom, (name, f"{name}s"))
    return f"{cardinal(top, british)} {one if top == 1 else many}"


def roman(text: str) -> int:
    """The number of a Roman numeral to 3,999, in capitals or in small letters; 0 for anything else."""
    letters = text.upper() if text.islower() else text
    if not letters or _NUMERAL.fullmatch(letters) is None:
        return 0
    values = [_VALUES[letter] for letter in letters]
    return sum(-a if a < b else a for a, b in zip(values, [*values[1:], 0], strict=True))


def _words(value: int, form: str, british: bool) -> str:
    from num2words import num2words

    words = num2words(value, to=form).replace("-", " ").replace(",", "")
    return words if british else words.replace(" and ", " ")
