"""Readings of tokens that need nothing of their neighbours: dates, times, phone numbers, addresses."""

from __future__ import annotations

import re

from voicewright.text import numbers
from voicewright.text.english_tables import MONTHS, UNITS, VULGAR
from voicewright.text.scan import Token

_RUNS = re.compile(r"\d+|[^\W\d_]+|[^\w\s]|_")
_ADDRESS = {
    ".": "dot", "/": "slash", "-": "dash", "_": "underscore", "@": "at", "?": "question mark",
    "=": "equals", "&": "and", ":": "colon", "#": "hash", "%": "percent", "~": "tilde", "+": "plus",
    ",": "comma",
}  # fmt: skip
_SPELLED = {
    "www": "W.W.W", "io": "I.O", "ai": "A.I", "uk": "U.K", "ac": "A.C", "tv": "T.V", "html": "H.T.M.L",
    "php": "P.H.P", "http": "H.T.T.P", "https": "H.T.T.P.S",
}  # fmt: skip


def date(year: int | None, month: int, day: int, british: bool) -> str:
    """A date in the order of the dialect. The comma is a pause."""
    name = MONTHS[month - 1]
    spoken = numbers.ordinal(day, british)
    words = f"the {spoken} of {name}" if british else f"{name} {spoken}"
    return words if year is None else f"{words} , {numbers.year(year, british)}"


def iso_date(token: Token, british: bool) -> str:
    year, month, day = (int(part) for part in token.text.split("-"))
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return phone(token)
    return date(year, month, day, british)


def short_date(token: Token, british: bool) -> str:
    """12/25/1999 or 25.12.1999: the dialect's order, unless only the other one is a date."""
    first, second, year = (int(part) for part in re.split(r"[/.]", token.text))
    if len(token.text) - max(token.text.rfind("/"), token.text.rfind(".")) == 3:
        year += 2000 if year < 50 else 1900
    day, month = (first, second) if british or "." in token.text else (second, first)
    if month > 12 and day <= 12:
        day, month = month, day
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return " ".join(numbers.number(part, british) for part in re.split(r"[/.]", token.text))
    return date(year, month, day, british)


def time(token: Token, bare: bool) -> str:
    """5:30pm → "five thirty p.m"; 17:05 → "seventeen oh five". `bare`: neither am nor pm follows."""
    half = token.groups["half"] or ""
    parts = token.text[: len(token.text) - len(half)].split(":")
    hour, minute = int(parts[0]), int(parts[1])
    words = numbers.cardinal(hour)
    if minute:
        words += f" {'oh ' if minute < 10 else ''}{numbers.cardinal(minute)}"
    elif not half and bare and len(parts) == 2:
        words += " o'clock" if 1 <= hour <= 12 else " hundred"
    if len(parts) == 3:
        second = int(parts[2])
        words += f" and {numbers.cardinal(second)} {'second' if second == 1 else 'seconds'}"
    return f"{words} {half.strip()[0]}.m" if half else words


def hour(token: Token) -> str:
    """5pm → "five p.m"."""
    found = re.match(r"\d+", token.text)
    value = int(found[0]) if found else 0
    return f"{numbers.cardinal(value)} {token.text.lstrip('0123456789')[0]}.m"


def phone(token: Token) -> str:
    """Digit by digit, with a pause between the groups."""
    groups = re.findall(r"\d+", token.text)
    spoken = " , ".join(numbers.digits(group) for group in groups)
    return f"plus {spoken}" if token.text[0] == "+" else spoken


def version(token: Token) -> str:
    joint = " dot " if token.text.count(".") == 3 else " point "
    return joint.join(numbers.number(part) for part in token.text.split("."))


def feet(token: Token) -> str:
    foot, inch = re.findall(r"\d+", token.text)
    return f"{numbers.number(foot)} foot {numbers.number(inch)}"


def span(token: Token, british: bool) -> str:
    """10-20 → "ten to twenty"; two years are read as years."""
    low, high, unit = token.groups["low"], token.groups["high"], token.groups["unit2"]
    if is_year(low) and (is_year(high) or len(high) == 2):
        first = numbers.year(int(low), british)
        second = numbers.year(int(high), british) if is_year(high) else numbers.number(high, british)
        return f"{first} to {second}"
    words = f"{numbers.number(low, british)} to {numbers.number(high, british)}"
    return f"{words} {UNITS[unit][1]}" if unit else words


def fraction(token: Token, after_number: bool, british: bool) -> str:
    """3/4, ½, 2½; `after_number`: a whole number stands before it, as in "1 1/2"."""
    whole = ""
    if token.text[-1] in VULGAR:
        whole, (top, bottom) = token.text[:-1], VULGAR[token.text[-1]]
    else:
        top, bottom = (int(part) for part in token.text.split("/"))
        if top > bottom or bottom == 0 or (top, bottom) == (9, 11):
            return f"{numbers.cardinal(top, british)} {numbers.cardinal(bottom, british)}"
    words = numbers.fraction(top, bottom, british)
    if whole or after_number:
        words = f"and {'a' + words.removeprefix('one') if top == 1 else words}"
    return f"{numbers.number(whole, british)} {words}" if whole else words


def address(text: str) -> str:
    """A web or mail address, said as one dictates it."""
    text = re.sub(r"^https?://", "", text).rstrip("/")
    words = []
    for run in _RUNS.findall(text):
        if run[0].isdecimal():
            words.append(numbers.number(run) if len(run) < 5 else numbers.digits(run))
        else:
            words.append(_ADDRESS.get(run) or _SPELLED.get(run) or run)
    return " ".join(words)


def is_year(text: str) -> bool:
    """Four digits that are more likely a year than an amount."""
    return len(text) == 4 and text.isdecimal() and 1100 <= int(text) <= 2099
