"""Written English cut into tokens: one pattern, one pass.

Each repetition in the pattern is bounded or possessive, so the time is linear in the text whatever it holds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from voicewright.text import numbers
from voicewright.text.english_tables import UNITS

_NUMBER = r"(?:(?:\d{1,3}(?:,\d{3}){1,8}(?!\d)|\d{1,400}+)(?:\.\d{1,40}+)?|(?<![^\W\d_])\.\d{1,40}+)"
_MINUS = r"(?<![\w)\].%])[-−+]"
_CURRENCY = "|".join(re.escape(symbol) for symbol in numbers.CURRENCY_SYMBOLS)
_UNIT = "|".join(re.escape(unit) for unit in sorted(UNITS, key=len, reverse=True))
_END = r"(?![^\W_]|['-][^\W\d_])"
_PATTERN = rf"""
  (?P<given>\[(?P<alias>[^\[\]\n]{{1,200}})\]\(/(?P<phonemes>[^()/\n]{{0,2000}})/\))
| (?P<link>\[(?=[^\[\]\n]{{1,200}}\]\([^()\s]{{1,500}}\))|\]\([^()\s]{{1,500}}\))
| (?P<url>(?:https?://|www\.)[^\s<>"“”]{{0,2000}}[\w/])
| (?P<email>[\w.+-]{{1,64}}+@[^\W_][\w-]{{0,62}}+(?:\.[\w-]{{1,63}}+){{1,5}})
| (?P<domain>(?:[a-zA-Z0-9-]{{1,63}}+\.){{1,5}}(?:com|org|net|edu|gov|io|dev|ai|info|co\.uk|ac\.uk|org\.uk)
    (?:/[\w/.-]{{0,500}}[\w/])?(?![\w-]))
| (?P<iso>\d{{4}}-\d\d-\d\d(?![\w-]))
| (?P<date>\d{{1,2}}(?P<between>[/.])\d{{1,2}}(?P=between)(?:\d{{4}}|\d\d)(?![\w/]))
| (?P<time>(?:[01]?\d|2[0-4]):[0-5]\d(?::[0-5]\d)?(?P<half>\ ?[ap](?:m\b|\.m\.))?(?![\w:]))
| (?P<hour>(?:1[0-2]|0?[1-9])[ap](?:m\b|\.m\.))
| (?P<phone>\+\d{{1,3}}(?:[ .-]?\(?\d{{2,5}}\)?){{2,5}}(?!\w)|\(\d{{3,5}}\)\ ?\d{{3,4}}[ .-]\d{{3,4}}(?!\w)
    |\d{{1,6}}(?:-\d{{1,6}}){{2,5}}(?![\w-])|0\d{{2,4}}\ \d{{3,4}}\ \d{{3,4}}(?!\w)
    |\d{{3}}\.\d{{3}}\.\d{{4}}(?!\w)|\d{{3}}-\d{{4}}(?![\w-]))
| (?P<version>\d{{1,9}}(?:\.\d{{1,9}}){{2,8}}(?!\w))
| (?P<money>(?:{_MINUS})?(?P<currency>{_CURRENCY})\ ?(?P<amount>{_NUMBER})
    (?:(?P<scale>mn|bn|tn|[kKmMbB])(?![^\W_]))?)
| (?P<feet>\d{{1,2}}['′]\ ?\d{{1,2}}(?:["″]|''))
| (?P<ordinal>\d{{1,15}}(?:,\d{{3}}){{0,4}}(?:st|nd|rd|th|ST|ND|RD|TH){_END})
| (?P<decade>'?\d{{0,2}}\d0'?s{_END})
| (?P<range>(?P<low>\d{{1,9}}(?:\.\d{{1,9}})?)(?:-|\ ?–\ ?)(?P<high>\d{{1,9}}(?:\.\d{{1,9}})?)
    (?P<unit2>{_UNIT})?(?![^\W_]|[-/]))
| (?P<fraction>\d{{1,4}}/\d{{1,4}}(?![\w/])|\d{{0,9}}[½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞])
| (?P<compound>{_NUMBER}(?:-[^\W\d_]{{1,64}}+){{1,6}}(?![^\W_]))
| (?P<number>(?:{_MINUS})?{_NUMBER}(?P<unit>{_UNIT}|\ ?°[CF]?|\ [%‰€])?{_END})
| (?P<hash>\#\d{{1,15}}{_END})
| (?P<dotted>Ph\.D\.?|[^\W\d_](?:\.[^\W\d_]){{1,8}}(?![^\W_])\.?)
| (?P<slashed>(?:w/o|b/c|n/a|N/A|c/o)(?!\w)|w/(?=\s|[a-z]))
| (?P<elided>'[nN]'|(?<=\w[ -])(?:'[nN]|[nN]')(?=[ -]\w)
    |'(?i:tis|twas|twere|twill|em|til|till|cause|bout|round|cuz|nuff|neath|gainst)(?![^\W_]))
| (?P<word>[^\W_]{{1,64}}+(?:(?:'-?|-)[^\W_]{{1,64}}+){{0,11}}+)
| (?P<dots>\.(?:\ ?\.){{1,20}})
| (?P<dash>-{{2,20}}|(?<=\ )-(?=\ )|[—–])
| (?P<blank>\s{{1,1000}}+)
| (?P<other>.)
"""
_SCAN = re.compile(_PATTERN, re.VERBOSE | re.DOTALL)


@dataclass(slots=True)
class Token:
    """One stretch of text and what it looks like (the name of the pattern's group)."""

    kind: str
    text: str
    start: int
    stop: int
    groups: re.Match[str]


def scanner(special: str | None = None) -> re.Pattern[str]:
    """The pattern of tokens; what matches `special` becomes a token of that kind first."""
    if special is None:
        return _SCAN
    # A verbose pattern drops blanks and what follows "#"; re.escape has escaped both.
    return re.compile(f"(?P<special>{special})|{_PATTERN}", re.VERBOSE | re.DOTALL)


def scan(text: str, pattern: re.Pattern[str] = _SCAN) -> list[Token]:
    """Tokens that cover `text` from start to end."""
    return [Token(m.lastgroup or "", m[0], m.start(), m.end(), m) for m in pattern.finditer(text)]
