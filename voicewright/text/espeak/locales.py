"""How languages other than English write numbers, dates, units, abbreviations: `data/locales/*.toml`.

One file for each language; a new language is a new file. What is not in it is left to espeak-ng, which reads
plain numbers, percentages and common symbols in each of its languages.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError

from voicewright.errors import VoicewrightError
from voicewright.records import Strict

_FOLDER = Path(__file__).parent.parent / "data" / "locales"

Words = Annotated[tuple[str, ...], BeforeValidator(lambda words: tuple(words.split()))]
"""Written in the file as one string, with blanks between."""
Amount = tuple[str, ...]
"""What one is ("un euro"), what several are called ("euros"); for money the same of hundredths."""
Swaps = tuple[tuple[str, str], ...]
"""Regular expressions, each with what stands in its place."""


class Declension(Strict):
    """How a German ordinal ends, by the word in front of it."""

    n: Words
    plain: Words
    dative: Words
    """Prepositions after which "der" is a dative: "in der dritten"."""
    accusative: Words
    masculine: Words
    neuter: Words
    feminine: Words
    """Nouns, for ordinals with no article in front."""
    ruler: Words
    """Articles of rulers, masculine and feminine: nominative, dative, accusative, genitive."""
    starters: Words
    """Words that begin a sentence after a number with its full stop; the number does not count them."""


class Roman(Strict):
    """What Roman numerals stand beside."""

    century: Words = ()
    century_ordinals: int = 0
    """Up to which number centuries are ordinals; so below."""
    counted: Words = ()
    """Words that count: chapter, act, volume."""
    counted_ordinals: int = 0
    pages: Words = ()
    """Words after which small letters are numerals too."""
    titles: Words = ()
    names: Words = ()
    """Names of rulers, who are known without their title."""
    feminine: Words = ()
    """Names, titles and counted words whose ordinal is feminine."""
    ruler: str = "{}"
    ruler_ordinals: int = 0
    heads: bool = False
    """A numeral that begins a sentence in front of a noun is an ordinal: "XV Congreso"."""
    words: Words = ()
    """Words that look like numerals, in small letters."""
    suffixes: Words = ()
    """Of `ordinals`, those that stand behind a numeral: XIXe."""


class Locale(Strict):
    """One language's habits in writing."""

    like: str = ""
    """Another file whose values hold where this one has none."""
    num2words: str = ""
    """num2words' code of the language; empty where it knows none."""
    decimal: str = ","
    group: str = r"[. \u00a0\u202f'_]"
    """Pattern of what stands between thousands."""
    indian: bool = False
    """Groups of two digits above the thousand: 1,25,000."""
    minus: str = ""
    months: Words = ()
    short_months: Words = ()
    """Each with its alternatives, "|" between."""
    date: str = "{day} {month} {year}"
    first: str = "1"
    """How the first of a month is said."""
    first_unsigned: bool = False
    """So too where it is written without a sign: "il 1 maggio"."""
    time: str = "{hour} {minute}"
    full_hour: str = "{hour}"
    one_hour: str = ""
    """The full hour at one o'clock, where it is another word."""
    hour_marks: str = ":"
    after_time: str = ""
    """Pattern of a word that a time already says: "15:30 Uhr"; a dot then stands in a time too."""
    dotted_time: Words = ()
    """Words in front of a time that is written with a dot: "alle 15.30"."""
    feminine_hours: bool = False
    money: dict[str, Amount] = Field(default_factory=dict)
    money_join: str = " "
    """Between the units and the hundredths: "20 euros con 50"."""
    millions: dict[str, tuple[str, str]] = Field(default_factory=dict)
    """Between a number and its currency: "3 M€"."""
    to: str = ""
    """Between the ends of a span: "5–10 km"."""
    per: str = ""
    of: Words = ()
    shared_with_verbs: Words = ()
    """Units that are words of the language too: only with `of`, or with nothing, behind them."""
    spelled: bool = False
    """Numbers with a unit are written out: where espeak-ng says words at least as well as digits."""
    better_digits: str = ""
    """Pattern of words that espeak-ng says worse than the digits."""
    spelled_times: bool = False
    feminine: str = ""
    """The indefinite article of feminine units."""
    masculine_numbers: Swaps = ()
    feminine_numbers: Swaps = ()
    articles: Words = ()
    feminine_articles: Words = ()
    ordinals: dict[str, str] = Field(default_factory=dict)
    """What follows a number to make it an ordinal → which: m, f, short, or the word for the second."""
    ordinal_words: dict[str, str] = Field(default_factory=dict)
    """Where num2words has another word than people."""
    ordinal_feminine: Swaps = ()
    ordinal_short: Swaps = ()
    ordinal_spelling: Swaps = ()
    dotted_ordinals: bool = False
    """ "3. Mai": a dot makes an ordinal."""
    spoken_years: bool = False
    """Years of the last millennium are counted in hundreds, which espeak-ng does not do."""
    divides: str = ""
    """A sign of division besides those of `symbols`."""
    symbols: dict[str, str] = Field(default_factory=dict)
    """Signs that are read as words; those of web addresses too."""
    powers: dict[str, str] = Field(default_factory=dict)
    fractions: dict[int, tuple[str, str]] = Field(default_factory=dict)
    """Denominator → one, several."""
    mixed: str = "{} {}"
    mixed_fractions: dict[str, str] = Field(default_factory=dict)
    """Fractions that have another name after a whole number."""
    abbreviations: dict[str, str] = Field(default_factory=dict)
    """With their dots, as written."""
    before_names: dict[str, str] = Field(default_factory=dict)
    """Abbreviations only where a capital or another title follows."""
    before_numbers: dict[str, str] = Field(default_factory=dict)
    closing: Words = ()
    """Ends of abbreviations that may end a sentence."""
    prefixes: dict[str, str] = Field(default_factory=dict)
    units: dict[str, Amount] = Field(default_factory=dict)
    squares: dict[str, tuple[str, str]] = Field(default_factory=dict)
    """Square and cubic: of one, of several."""
    roman: Roman = Roman()
    numerals: bool = True
    """False where espeak-ng says better than a plain number what a Roman numeral stands for."""
    declension: Declension | None = None
    east_asian: bool = False
    """Chinese characters, kana and hangul are letters here."""
    full_stops: str = ""
    """Marks of the script that end a sentence."""

    @cached_property
    def short_forms(self) -> dict[str, tuple[str, str]]:
        """Every abbreviation → what is said, and where: always, before names, before numbers.

        Those with a dot are known in capitals too, and with a capital at their front.
        """
        found: dict[str, tuple[str, str]] = {}
        tables = {"always": self.abbreviations, "names": self.before_names, "numbers": self.before_numbers}
        for where, table in tables.items():
            for short, said in table.items():
                found.setdefault(short, (said, where))
        for where, table in tables.items():
            for short, said in table.items():
                if (
                    "." in short
                    and len(short) > 2
                    and not (where == "always" and short in self.before_numbers)
                ):
                    found.setdefault(short[0].upper() + short[1:], (said, where))
                    found.setdefault(short.upper(), (said, where))
        return found

    @cached_property
    def every_unit(self) -> dict[str, Amount]:
        """`units`, with prefixes, squares and cubes."""
        found = dict(self.units)
        for unit, prefixes in _common().prefixed.items():
            article, _, one = self.units.get(unit, ("",))[0].partition(" ")
            for prefix in prefixes if one else ():
                lead, many = self.prefixes.get(prefix, ""), self.units[unit][1]
                if lead:
                    names = (f"{article} {lead}{_small(lead, one)}", lead + _small(lead, many))
                    found.setdefault(prefix + unit, names)
        for unit in ("m", "km", "dm", "cm", "mm"):
            for power, (square, squares) in self.squares.items() if unit in found else ():
                article, _, one = found[unit][0].partition(" ")
                said = f"{article} {_put(square, one)}", _put(squares, found[unit][1])
                found.update({unit + sign: said for sign in (power, "^" + power, "²³"[int(power) - 2])})
        found.update(
            {
                sign + unit[1]: found[unit]
                for unit in ("°C", "°F")
                if unit in found
                for sign in ("° ", "º", "º ")
            }
        )
        found.update(
            {"L" if unit == "l" else unit[:-1] + "L": found[unit] for unit in list(found) if unit in _LITRES}
        )
        return {unit: names for unit, names in found.items() if unit not in _common().only_prefixed}


_LITRES = ("l", "ml", "cl", "dl")


def _small(lead: str, noun: str) -> str:
    """German nouns lose their capital after a prefix."""
    return noun.lower() if lead[0].isupper() else noun


def _put(template: str, noun: str) -> str:
    return template.format(_small(template, noun) if template[0].isupper() else noun)


class _Common(Strict):
    num2words: Words
    decimal_point: Words
    east_asian: Words
    ordinal_numerals: Words
    danda: str
    full_stops: dict[str, str]
    minus: dict[str, str]
    prefixed: dict[str, Words]
    only_prefixed: Words


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads((_FOLDER / f"{name}.toml").read_text(encoding="utf-8"))


@cache
def _common() -> _Common:
    return _Common.model_validate(_read("_common"))


@cache
def locale_of(code: str) -> Locale:
    """What is known of a language of espeak-ng: from its own file, its language's, or the common one.

    Raises VoicewrightError that names the file and the key where one is wrong.
    """
    base = code.split("-")[0]
    for name in (code, base):
        if re.fullmatch(r"[a-z][a-z-]*", name) and (_FOLDER / f"{name}.toml").is_file():
            values = _read(name)
            if "like" in values:
                values = _read(values["like"]) | values
            try:
                return Locale.model_validate(values)
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join(map(str, first["loc"]))
                raise VoicewrightError(f"{name}.toml: {where}: {first['msg']}. Mend that key.") from error
    common = _common()
    point = base in common.decimal_point
    return Locale(
        num2words=base if base in common.num2words else "",
        minus=next((word for word, codes in common.minus.items() if base in codes.split()), ""),
        decimal="." if point else ",",
        group="," if point else r"[. \u00a0\u202f'_]",
        numerals=base not in common.ordinal_numerals,
        east_asian=base in common.east_asian,
        full_stops=common.full_stops.get(base, common.danda if point else ""),
    )
