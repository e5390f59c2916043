"""Numbers as English words. `british` says "one hundred and five" where American says "one hundred five"."""

from __future__ import annotations

_LONGEST = 15
"""Whole numbers with more digits are read digit by digit: no listener counts quadrillions."""
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_CURRENCIES = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "US$": ("U.S dollar", "U.S dollars", "cent", "cents"),
    "A$": ("Australian dollar", "Australian dollars", "cent", "cents"),
    "C$": ("Canadian dollar", "Canadian dollars", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "€": ("euro", "euros", "cent", "cents"),
    "¥": ("yen", "yen", "sen", "sen"),
    "₹": ("rupee", "rupees", "paisa", "paise"),
    "₩": ("won", "won", "", ""),
    "₽": ("rouble", "roubles", "kopek", "kopeks"),
}
CURRENCY_SYMBOLS = tuple(sorted(_CURRENCIES, key=len, reverse=True))
SCALES = {
    "k": "thousand",
    "K": "thousand",
    "m": "million",
    "M": "million",
    "mn": "million",
    "b": "billion",
    "B": "billion",
    "bn": "billion",
    "tn": "trillion",
}


def digits(text: str) -> str:
    """Every digit by name: "007" → "zero zero seven"."""
    return " ".join(_DIGITS[int(symbol)] for symbol in text if symbol.isdecimal())


def cardinal(value: int, british: bool = False) -> str:
    if abs(value) >= 10**_LONGEST:
        return digits(str(value))
    return _words(value, "cardinal", british)


def ordinal(value: int, british: bool = False) -> str:
    if value >= 10**_LONGEST:
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
    if len(whole) > _LONGEST or (len(whole) > 1 and whole[0] == "0"):
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


def currency_name(symbol: str, singular: bool = False) -> str:
    return _CURRENCIES[symbol][0 if singular else 1]


def money(symbol: str, amount: str, british: bool = False) -> str:
    """$3.50 → "three dollars and fifty cents"; amounts not in hundredths keep their point."""
    one, many, cent, cents = _CURRENCIES[symbol]
    whole, _, part = amount.replace(",", "").partition(".")
    if len(part) not in (0, 2) or not cent or len(whole) > _LONGEST:
        return f"{number(amount, british)} {one if is_one(amount) else many}"
    pounds, pence = int(whole or 0), int(part or 0)
    words = f"{cardinal(pounds, british)} {one if pounds == 1 else many}"
    if not pence:
        return words
    small = f"{cardinal(pence, british)} {cent if pence == 1 else cents}"
    return f"{words} and {small}" if pounds else small


def _words(value: int, form: str, british: bool) -> str:
    from num2words import num2words

    words = num2words(value, to=form).replace("-", " ").replace(",", "")
    return words if british else words.replace(" and ", " ")
