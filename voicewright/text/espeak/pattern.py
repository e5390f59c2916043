"""The pattern that cuts written text of a language into tokens for `plain.py`."""

from __future__ import annotations

import re
from collections.abc import Iterable

from voicewright.text.espeak.locales import Locale
from voicewright.text.espeak.numerals import SOURCE

_KEPT = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⅐⅑⅒№"
_HIDDEN = "".join(map(chr, range(0xE000, 0xE000 + len(_KEPT))))
HELD = str.maketrans(_KEPT, _HIDDEN)
"""Superscripts and others, whose compatibility forms run into the digits beside them → private characters."""
SHOWN = str.maketrans(_HIDDEN, _KEPT)
PRIMES = re.compile(r"(?<=[^\W\d_])[′ʹ＇ʻʽ‛`´](?=[^\W\d_])")
"""What looks like an apostrophe between letters."""
COMPARED = {"!=": "≠", "<=": "≤", ">=": "≥", "==": "="}
_LETTER = (
    # Letters, digits, and the vowel signs and joiners of the scripts that write with them.
    r"(?:[^\W_]|[\u0300-\u036f\u0483-\u0487\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed\u0711-\u074a"
    r"\u08d3-\u0903\u093a-\u094f\u0951-\u0963\u0981-\u0e3a\u0e47-\u0e4e\u0eb1-\u0ecd\u0f71-\u0f84\u102b-\u109d"
    r"\u135d-\u135f\u17b4-\u17d3\u200c\u200d·])"
)
_END = r"(?![^\W_])"
_CAPITAL = "[A-ZÀ-ÖØ-ÞŒ]"


def pattern(locale: Locale, special: str | None) -> re.Pattern[str]:
    """Tokens of a language; the name of a match's last group says of which kind it is."""
    source = _source(locale)
    return re.compile(f"(?P<special>{special})|{source}" if special else source, re.VERBOSE | re.DOTALL)


def either(words: Iterable[str]) -> str:
    """Any of the words, the longest first; one that never matches where there are none."""
    # A verbose pattern drops blanks and what follows "#"; re.escape has escaped both.
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True)) or "(?!)"


def _abbreviations(locale: Locale) -> str:
    century = [
        short
        for short, (said, _) in locale.short_forms.items()
        if said in locale.roman.century and "." in short
    ]
    kinds: dict[str, list[str]] = {"always": [], "names": [], "numbers": []}
    for short, (_, where) in locale.short_forms.items():
        kinds[where].append(short.translate(HELD))
    return (
        rf"(?<![\w.])(?:(?:{either(kinds['always'])}){_END}"
        rf"|(?<![A-Z]\.\ )(?:{either(kinds['names'])})(?=\s?{_CAPITAL}|\s(?:y|e|et|und|en|o|ou|oder|of)\s)"
        rf"|(?:(?<=[IVX]\ )|(?<=[IVX]e\ ))(?:{either(century)})"
        rf"|(?:{either(kinds['numbers'])})(?=\s?(?:\d|[IVXLC]{{1,8}}{_END}|[ivxl]{{2,8}}{_END})))"
    )


def _clock(locale: Locale) -> str:
    marks = "".join(mark for mark in locale.hour_marks if mark not in ".")
    hour = r"(?:[01]?\d|2[0-4])"
    forms = [rf"{hour}[{marks}][0-5]\d(?::[0-5]\d)?(?!\d)"]
    if "h" in marks:
        forms.append(rf"{hour}\ h\ ?[0-5]\d(?![\d\w])(?!\ ?m)")
    if locale.dotted_time:
        behind = "|".join(rf"(?<={re.escape(word)}\ )" for word in locale.dotted_time)
        forms.append(rf"(?:{behind}){hour}\.[0-5]\d(?!\d)")
    if locale.after_time:
        word = locale.full_hour.rpartition(" ")[2]
        until = r"(?:\ ?(?:[-–]|bis|und|tot|en)\ ?\d\d?(?:[.:]\d\d)?)?"
        forms.append(rf"{hour}\.[0-5]\d(?={until}{locale.after_time}{_END})")
        if re.fullmatch(locale.after_time, " " + word):
            forms.append(rf"{hour}(?=\s{re.escape(word)}{_END})")
        return f"(?:{'|'.join(forms)})(?:{locale.after_time}{_END})?"
    return f"(?:{'|'.join(forms)})"


def _source(locale: Locale) -> str:
    """Source of the pattern of tokens, for re.VERBOSE."""
    english = r"\d{1,9}\.\d\d?(?![\d.])|" if locale.decimal == "," else ""
    whole = rf"\d{{1,3}}(?:{locale.group}\d{{3}}){{1,6}}(?!\d)|\d{{1,400}}+"
    if locale.indian:
        whole = rf"\d{{1,2}}(?:,\d{{2}}){{1,6}},\d{{3}}(?!\d)|{whole}"
    number = rf"(?:{english}(?:{whole})(?:{re.escape(locale.decimal)}\d{{1,40}}+)?)"
    minus = r"(?:(?<![\w)\].%])[-−](?=\d))?"
    span = r"\ ?[-–—−]\ ?"
    signs = either(locale.money)
    scales = either(locale.millions)
    verbs = either(locale.shared_with_verbs)
    of = either(locale.of)
    units = either(unit.translate(HELD) for unit in locale.every_unit)
    unit = rf"(?:(?!(?:{verbs})\ (?!(?:{of}){_END})\w)(?:{units})){_END}(?!['’][^\W_])"
    rate = rf"(?:(?:\d{{1,4}}\ ?)?(?:{units})|[^\W\d_]{{2,20}}){_END}"
    abbreviations = _abbreviations(locale)
    months = either(locale.months)
    shorts = either(
        form for names in locale.short_months for name in names.split("|") for form in (name, name.title())
    )
    suffixes = either(s for s in locale.ordinals)
    tails = either(locale.roman.suffixes)
    centuries = either(word.upper() for word in locale.roman.century)
    dotted = locale.dotted_ordinals
    point = r"\.?(?!\.)" if dotted else ""
    unsigned = "?" if locale.first_unsigned else ""
    timed = "" if "h" in locale.units else "(?!)"
    articled = "" if locale.articles and locale.ordinals else "(?!)"
    vulgar = r"[½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞\ue00c-\ue00e]"
    alone = r"(?<![\w/.,+-])"
    year = r"(?:1\d|20)\d\d"
    sums = r"(?=\ [\d(][\d.,\ ()+*/×÷x:−–-]{0,60}=)"
    return rf"""
  (?P<given>\[(?P<alias>[^\[\]\n]{{1,200}})\]\(/(?P<phonemes>[^()/\n]{{0,2000}})/\))
| (?P<link>\[(?=[^\[\]\n]{{1,200}}\]\([^()\s]{{1,500}}\))|\]\([^()\s]{{1,500}}\))
| (?P<address>(?:https?://|www\.)[^\s<>"“”]{{0,2000}}[\w/]|[\w.+-]{{1,64}}+@[^\W_][\w-]{{0,62}}+(?:\.[\w-]{{1,63}}+){{1,5}})
| (?P<abbreviation>{abbreviations})
| (?=[-−+\d]|{vulgar}|{signs})(?:(?!)
| (?P<iso>{alone}\d{{4}}(?P<hyphen>[-/.])\d{{1,2}}(?P=hyphen)\d{{1,2}}(?![\w/-]))
| (?P<date>{alone}\d{{1,2}}(?P<between>[/.-])\d{{1,2}}(?P=between)(?:\d{{4}}|\d\d)(?![\w/-]|[.,]\d))
| (?P<textual>{alone}(?P<number_of_day>\d{{1,2}})\.?[-\ /]{{1,2}}(?P<short>{shorts})
  (?:\.|(?=[-\ /]\d{{4}}))(?:[-\ /](?P<year>\d{{4}})(?!\w))?)
| (?P<short_date>{alone}\d{{1,2}}\.\d{{1,2}}\.(?!\d){"" if dotted else "(?!)"})
| (?P<season>{alone}{year}(?:/\d\d|[-–]{year})(?![\w/-]))
| (?P<first>{alone}1[°º]{unsigned}(?=\ (?:de\ )?(?:{months}){_END}))
| (?P<duration>{timed}(?<![\w.,])(?:\d{{1,3}}\ ?[hu]\ ?\d{{1,2}}\ ?m(?:in|n)?(?:\ ?\d{{1,2}}\ ?s(?:ec|eg)?)?
  |\d{{1,3}}\ ?m(?:in|n)?\ ?\d{{1,2}}\ ?s(?:ec|eg)?){_END})
| (?P<time>(?<![\d:.,]){_clock(locale)})
| (?P<money>{minus}(?:(?P<before>(?<![^\W_])(?:{signs}))\ ?(?P<less>[-−](?=\d))?(?P<lead>{number})
    (?:{span}(?:{signs})?\ ?(?P<lead_top>{number}))?(?:\ ?(?P<lead_scale>{scales}){_END})?
  |(?P<sum>{number})(?:{span}(?P<sum_top>{number}))?(?:,[-–—]{{1,2}})?
    (?:\ ?(?P<scale>{scales}))?\ ?(?P<after>{signs}){_END})(?:/(?P<over_money>{rate}))?)
| (?P<fraction>{alone}(?:(?P<entire>\d{{1,4}})(?:\ (?=\d)|\ ?(?={vulgar})))?
  (?:(?P<vulgar>{vulgar})|(?P<over>\d{{1,2}})[/⁄](?P<under>\d{{1,3}})(?![\w/]|[.,-]\d))
  (?:\ ?(?P<part_of>{unit}))?)
| (?P<measure>{minus}(?P<low>{number})(?:{span}(?P<top>{number}))?
  \ ?(?P<unit>{unit})(?:/(?P<over_unit>{rate}))?)
| (?P<serial>(?<![\w.,])(?:\+\d{{4,20}}|(?:\+\d{{1,3}}|0\d{{1,4}})(?:[\ ./-]\d{{1,8}}){{2,8}}
  |\d{{1,8}}-\d{{3,8}}|(?!(?:{whole})(?:{re.escape(locale.decimal)}\d{{1,40}}+)?(?![-./]?\d))
  \d{{1,19}}(?:[-./]\d{{1,19}}){{2,9}})(?![\w]|[-/]\d))
| (?P<ordinal>(?<![\w.,])(?P<place>\d{{1,9}})(?P<suffix>{suffixes}){_END})
| (?P<degree>(?<![\w.,])(?P<figure>\d{{1,3}})°(?=\ [^\W\d_])(?!\ [CF]{_END}){articled})
| (?P<day>(?<![\w.,])\d{{1,3}}\.(?![\d.]){"" if dotted else "(?!)"})
)
| (?P<times>(?<=[\dm]\ )[x×*](?=\ \d)|(?<=\d)[x×*](?=\d))
| (?P<elided>[^\W\d_]{{1,6}}'(?=[IVX]{{1,8}}(?:{tails})?{_END}|{abbreviations}))
| (?P<roman>(?<![^\W_])(?P<numeral>{SOURCE})
  (?P<tail>(?<=[IVXLCDM])(?:{tails}|(?:{tails.upper()})(?=\ (?:{centuries}))))?{_END}
  (?!'[^\W\d_])(?!-(?![IVXLCivxlc]{{1,8}}(?:{tails})?{_END})[^\W_])(?P<point>{point}))
| (?P<power>[\ue000-\ue00b]{{1,6}})
| (?P<circled>[⓫-⓴⓵-⓾⓿❶-➓])
| (?P<formula>(?<![^\W_])(?:[A-Z]{{2,3}}\d{{1,2}}(?:[A-Z]\d{{0,2}})?|[A-Z]\d{{1,2}}[A-Z])(?![^\W_]|-))
| (?P<note>(?<![^\W_])[A-H][#♯♭](?![^\W_#]))
| (?P<minus>(?<=\d\ )−(?=\ \d)|(?<=\d)−(?=\d)|(?<=\d\ )[-–]{sums}|(?<=\d)[-–](?=\d{{1,12}}\ ?=))
| (?P<divided>(?<=\d\ )[:/]{sums})
| (?P<to>(?<=\d)[–—](?=\d)|(?<=\d\ )–(?=\ \d)|(?<=\d)-(?=\d{{1,2}}\s?(?:Uhr|uur|h|बजे|%){_END}))
| (?P<compared>!=|<=|>=|==)
| (?P<point_word>(?<![\w.])\.(?=[A-Z]{{2}}))
| (?P<number>{minus}{number}(?:[\ ]?[%‰]|[ºª]|\ ?°[CF]?)?(?:{_END}|(?=[x×]\d)))
| (?P<word>{_LETTER}{{1,64}}+(?:['-]{_LETTER}{{1,64}}+){{0,11}}+'?)
| (?P<dots>\.(?:\ ?\.){{1,20}})
| (?P<dash>-{{2,20}}|(?<=\ )-(?=\ )|[—–])
| (?P<blank>\s{{1,1000}}+)
| (?P<other>.)
"""
