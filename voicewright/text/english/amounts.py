"""How the groups of written forms are said: figures, dates, times, money, measures, addresses."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

from voicewright.text.english import numbers
from voicewright.text.english.scan import Token
from voicewright.text.english.written import months, table, units

_RUNS = re.compile(r"\d+|[^\W\d_]+|[^\w\s]|_")
_FIELD = re.compile(r"\{(\w+):(\w+)(?: ([\w ]+))?\}")
_MINUS = ("-", "−")
_DASHES = str.maketrans({"-": " ", "–": " ", ",": " ,"})


def said(token: Token, british: bool) -> str:
    """What a form's `say` makes of a token; bars stay between words of their own."""

    def field(found: re.Match[str]) -> str:
        written = token.text if found[1] == "0" else token.part(found[1]) or ""
        return _name(written, found[3]) if found[3] else _HOW[found[2]](written, british)

    parts = []
    for part in token.form.say.split(" | "):
        if all(name == "0" or token.part(name) for name, _, _ in _FIELD.findall(part)):
            parts.append(_FIELD.sub(field, part))
    return " | ".join(parts)


def count(text: str, british: bool) -> str:
    return numbers.number(plain(text), british)


def plain(text: str, currency: str = "") -> str:
    """A number as other rules want it: "1_000", "1'000" and "1 000" without marks, "29,99" with a point."""
    if re.fullmatch(r"[\d.]+,\d\d", text):
        return text.replace(".", "").replace(",", ".")
    if currency in ("€", "EUR") and re.fullmatch(r"\d{1,3}(?:\.\d{3}){1,5}", text):
        return text.replace(".", "")
    return re.sub(r"[_' ,]", "", text)


def time(token: Token, bare: bool) -> str:
    """5:30pm → "five thirty p.m"; 17:05 → "seventeen oh five". `bare`: neither am nor pm follows."""
    half, minutes, seconds = token.part("half"), int(token.part("m") or 0), token.part("s")
    hour = int(token.part("h") or 0)
    words = numbers.cardinal(hour)
    if minutes:
        words += f" {'oh ' if minutes < 10 else ''}{numbers.cardinal(minutes)}"
    elif not half and bare and seconds is None:
        words += " o'clock" if 1 <= hour <= 12 else " hundred"
    if seconds is not None:
        words += f" and {numbers.cardinal(int(seconds))} {'second' if int(seconds) == 1 else 'seconds'}"
    return f"{words} | {half[0]}.{re.sub('[^mM]', '', half)}" if half else words


def money(token: Token, adjective: bool, british: bool) -> str:
    """$3.50 → "three dollars and fifty cents". `adjective`: "a five dollar bill"."""
    names = table("currencies")[token.part("cur") or ""]
    minus = "minus " if any(token.part(sign) in _MINUS for sign in ("minus", "sign")) else ""
    amount, low = (plain(token.part(part) or "", token.part("cur") or "") for part in ("n", "low"))
    scale = table("scales").get((token.part("scale") or "").strip()) or token.part("word") or ""
    if adjective:
        names = [names[0], names[0], *[names[2].replace("penny", "pence")] * 2]
    if not scale and (not low or re.search(r"\.\d\d$", low)):
        return minus + " to ".join(_coins(each, names, british) for each in (low, amount) if each)
    words = " to ".join(numbers.number(each, british) for each in (low, amount) if each)
    bar = " | " if token.part("word") else " "
    return f"{minus}{words}{bar}{scale} {names[1]}"


def _coins(amount: str, names: list[str], british: bool) -> str:
    """Amounts not in hundredths keep their point."""
    one, many, cent, cents = names[:4]
    whole, _, part = amount.partition(".")
    if len(part) not in (0, 2) or not cent or len(whole) > numbers.LONGEST:
        return f"{numbers.number(amount, british)} {one if numbers.is_one(amount) else many}"
    pounds, pence = int(whole or 0), int(part or 0)
    words = f"{numbers.cardinal(pounds, british)} {one if pounds == 1 else many}"
    if not pence:
        return words
    small = f"{numbers.cardinal(pence, british)} {cent if pence == 1 else cents}"
    if pounds and one == many == "pound":
        return f"{words} {numbers.cardinal(pence)}"  # "a two pound fifty pint"
    return f"{words} and {small}" if pounds else small


def unit(written: str, singular: bool) -> str:
    """km → "kilometers", sq ft → "square feet", m/s² → "meters per second squared"."""
    top, slash, bottom = written.strip().rstrip(".").partition("/")
    if slash:
        return f"{unit(top, singular)} per {period(bottom)}"
    power = re.fullmatch(r"(?:(sq|square|cu|cubic)\.? )?(.+?)(?:\^?([23²³]))?", top)
    if top in units() or power is None:
        return units()[top][0 if singular else 1]
    name, lengths = units()[power[2]][0 if singular else 1], table("lengths")
    kind = lengths[power[1] or power[3]]
    return (
        f"{kind} {name}"
        if power[2] in lengths["list"]
        else f"{name} {'squared' if kind == 'square' else 'cubed'}"
    )


def period(written: str) -> str:
    """What stands after "/": "$5/hr", "10 m/s"."""
    return table("periods").get(written) or unit(written, True)


def span(token: Token, joint: str, british: bool) -> str:
    """10-20 → "ten to twenty"; two years are read as years."""
    low, high, measure = token.part("low") or "", token.part("high") or "", token.part("unit")
    if is_year(low) and (is_year(high) or len(high) == 2):
        return f"{numbers.year(int(low), british)} {joint} {_short(high, british)}"
    words = f"{numbers.number(low, british)} {joint} {numbers.number(high, british)}"
    return f"{words} | {unit(measure, False)}" if measure else words


def fraction(token: Token, british: bool) -> str:
    """3/4, ½, 2½, 1 1/2, 2¹⁄₂, ½ tsp; 24/7 and 50/50 are two numbers."""
    whole, measure = (token.part("whole") or "").strip(" -"), token.part("unit")
    sign, one = token.part("sign"), token.part("one")
    written = sign or (f"1⁄{one}" if one else f"{token.part('top')}⁄{token.part('bottom')}")
    top, bottom = (int(part) for part in unicodedata.normalize("NFKC", written).split("⁄"))
    if top >= bottom > 0 or bottom == 0 or (top, bottom) == (9, 11) or (top + bottom == 100 and top >= 10):
        joint = " " if token.part("equals") is None else " over "
        pair = f"{numbers.cardinal(top, british)}{joint}{numbers.cardinal(bottom, british)}"
        words = f"{numbers.number(whole, british)} {pair}" if whole else pair
    else:
        words = numbers.fraction(top, bottom, british)
        if whole:
            bar = " | " if " " in token.text[: len(whole) + 1] else " "
            article = "an" if bottom in (8, 11, 18) else "a"
            part = article + words.removeprefix("one") if top == 1 else words
            words = f"{numbers.number(whole, british)}{bar}and {part}"
    return f"{words} | {unit(measure, not whole)}" if measure else words


def power(written: str) -> str:
    """² → "squared", ⁻³ → "to the power of minus three"."""
    text = unicodedata.normalize("NFKC", written)
    signs = {"−": "minus", "+": "plus", "(": "", ")": ""}
    runs = (
        numbers.number(r) if r.isdecimal() else signs.get(r, r.upper()) for r in re.findall(r"\d+|\D", text)
    )
    return {"2": "squared", "3": "cubed"}.get(text) or f"to the power of {' '.join(runs)}"


def address(text: str) -> str:
    """A web or mail address, said as one dictates it."""
    words = []
    for run in _RUNS.findall(re.sub(r"^https?://", "", text).rstrip("/")):
        if run[0].isdecimal():
            words.append(numbers.number(run) if len(run) < 5 else numbers.digits(run))
        else:
            words.append(table("address").get(run) or run)
    return " ".join(words)


def is_year(text: str) -> bool:
    """Four digits that are more likely a year than an amount."""
    return len(text) == 4 and text.isdecimal() and 1100 <= int(text) <= 2099


def _year(text: str, british: bool) -> str:
    value = int(text.strip("'"))
    return numbers.year(value + (0 if len(text) == 4 else 2000 if value < 50 else 1900), british)


def _short(text: str, british: bool) -> str:
    return _year(text, british) if len(text) == 4 else numbers.number(text, british)


def _month(text: str, british: bool) -> str:
    return table("months")["names"][int(text) - 1] if text.isdecimal() else months()[text[:3].capitalize()]


def _version(text: str, british: bool) -> str:
    return (" dot " if text.count(".") == 3 else " point ").join(map(numbers.number, text.split(".")))


def _groups(text: str, british: bool) -> str:
    """Digit by digit, with a pause between the groups."""
    spoken = " , ".join(map(numbers.digits, re.findall(r"\d+", text)))
    return f"plus {spoken}" if text[0] == "+" else spoken


def _name(text: str, names: str) -> str:
    """The unit of a number that stands alone: one name, or singular and plural."""
    one, _, many = names.partition(" ")
    return one if numbers.is_one(text) else many or f"{one}s"


_HOW: dict[str, Callable[[str, bool], str]] = {
    "count": count,
    "ordinal": lambda text, british: numbers.ordinal(int(text), british),
    "month": _month,
    "year": _year,
    "short": _short,
    "groups": _groups,
    "each": lambda text, british: " , ".join(numbers.number(n, british) for n in re.findall(r"\d+", text)),
    "grouped": lambda text, british: numbers.number(text.replace(".", ""), british),
    "version": _version,
    "scale": lambda text, british: table("scales")[text.strip()],
    "decade": lambda text, british: numbers.decade(text.strip("'")),
    "plural": lambda text, british: numbers.plural(numbers.number(text, british)),
    "circled": lambda text, british: numbers.cardinal(int(unicodedata.numeric(text)), british),
    "small": lambda text, british: (
        count(unicodedata.normalize("NFKC", text), british) if text[0] in "₀₁₂₃₄₅₆₇₈₉" else text.lower()
    ),
    "type": lambda text, british: f"{text.upper()}." if len(text) == 1 else text,
    "period": lambda text, british: period(text),
    "sharp": lambda text, british: (
        "hundred" if text == "00" else f"{'oh ' if text[0] == '0' else ''}{numbers.cardinal(int(text))}"
    ),
    "numerals": lambda text, british: re.sub(
        "[IVXivx]+", lambda found: numbers.cardinal(numbers.roman(found[0])), text
    ).translate(_DASHES),
    "letters": lambda text, british: ".".join(text),
    "symbol": lambda text, british: table("signs")[text],
    "slashed": lambda text, british: table("slashed")[text.lower()],
    "direction": lambda text, british: table("directions")[text],
}
"""What stands after a group's name in the data file."""
