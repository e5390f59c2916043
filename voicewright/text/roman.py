"""Roman numerals to 3,999."""

from __future__ import annotations

import re

_NUMERAL = re.compile(r"M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})")
_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}


def value(text: str) -> int:
    """The number of a numeral in capitals or in small letters; 0 for anything else."""
    letters = text.upper() if text.islower() else text
    if not letters or _NUMERAL.fullmatch(letters) is None:
        return 0
    values = [_VALUES[letter] for letter in letters]
    return sum(-a if a < b else a for a, b in zip(values, [*values[1:], 0], strict=True))
