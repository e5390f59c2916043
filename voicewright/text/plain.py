"""Written text of any language that espeak-ng reads → pieces: numbers, dates, money, abbreviations.

One pattern, one pass; every repetition is bounded or possessive, so the time is linear in the text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable

from voicewright.text.clean import clean, cluster_end
from voicewright.text.lexicon import Lexicon
from voicewright.text.locales import Locale
from voicewright.text.pieces import Kind, Piece

# Letters, digits, and the vowel signs and joiners of the scripts that write with them.
_LETTER = (
    r"(?:[^\W_]|[\u0300-\u036f\u0483-\u0487\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed\u0711-\u074a"
    r"\u08d3-\u0903\u093a-\u094f\u0951-\u0963\u0981-\u0e3a\u0e47-\u0e4e\u0eb1-\u0ecd\u0f71-\u0f84\u102b-\u109d"
    r"\u135d-\u135f\u17b4-\u17d3\u200c\u200d·])"
)
_END = r"(?![^\W_])"
_MARKS = {
    ";": ";", ":": ":", ",": ",", ".": ".", "!": "!", "?": "?", "—": "—", "–": "—", "…": "…", "“": "“",
    "”": "”",
    '"': '"', "(": "(", ")": ")", "[": "(", "]": ")", "{": "(", "}": ")", "¿": "", "¡": "", "،": ",",
    "؛": ";",
    "؟": "?", "՞": "?", "՝": ",", "\u037e": "?",
}  # fmt: skip
_SILENT = frozenset("*_~^|\\'-<>•·‣▪●○′″⁃")
_EAST_ASIAN = re.compile(
    r"[\u1100-\u11ff\u3005-\u3007\u3040-\u30ff\u3130-\u318f\u31f0-\u31ff\u3400-\u9fff\uac00-\ud7af]"
)
_LONGEST_NUMBER = 15
_DATIVE = re.compile(r"(?:am|vom|zum|dem|den|ab|bis|im|beim|seit)\s$", re.IGNORECASE)
_ARTICLE = re.compile(r"(?:der|die|das)\s$", re.IGNORECASE)


def normaliser(locale: Locale, lexicon: Lexicon | None = None) -> Callable[[str], list[Piece]]:
    """A function from text to pieces that follow one another in order; its time is linear in the text."""
    source = _pattern(locale)
    special = lexicon.special if lexicon is not None else None
    pattern = re.compile(f"(?P<special>{special})|{source}" if special else source, re.VERBOSE | re.DOTALL)

    def normalise(text: str) -> list[Piece]:
        plain, origin = clean(text, marks=True)
        pieces = _Reader(plain, locale).read(pattern.finditer(plain))
        if isinstance(origin, range):
            return pieces
        return [
            Piece(p.kind, origin[p.start], cluster_end(text, origin[p.stop - 1]), p.spoken, p.phonemes)
            for p in pieces
        ]

    return normalise


def _pattern(locale: Locale) -> str:
    """Source of the pattern of tokens, for re.VERBOSE."""
    whole = rf"\d{{1,3}}(?:{locale.group}\d{{3}}){{1,6}}(?!\d)|\d{{1,400}}+"
    if locale.indian:
        whole = rf"\d{{1,2}}(?:,\d{{2}}){{1,6}},\d{{3}}(?!\d)|{whole}"
    number = rf"(?:(?:{whole})(?:{re.escape(locale.decimal)}\d{{1,40}}+)?)"
    minus = r"(?:(?<![\w)\].%])[-−](?=\d))?"
    signs = _either(locale.money) or r"(?!)"
    marks = "".join(mark for mark in locale.hour_marks if mark != ".")
    clock = rf"(?:[01]?\d|2[0-4])[{marks}][0-5]\d(?::[0-5]\d)?(?!\d)"
    if locale.after_time:
        dotted = rf"|(?:[01]?\d|2[0-4])\.[0-5]\d(?={locale.after_time})" if "." in locale.hour_marks else ""
        clock = rf"(?:{clock}{dotted})(?:{locale.after_time}{_END})?"
    day = rf"\d{{1,2}}\.(?=\s?(?:{_either(locale.months)}){_END})" if locale.dotted_day else r"(?!)"
    return rf"""
  (?P<given>\[(?P<alias>[^\[\]\n]{{1,200}})\]\(/(?P<phonemes>[^()/\n]{{0,2000}})/\))
| (?P<link>\[(?=[^\[\]\n]{{1,200}}\]\([^()\s]{{1,500}}\))|\]\([^()\s]{{1,500}}\))
| (?P<address>(?:https?://|www\.)[^\s<>"“”]{{0,2000}}[\w/]|[\w.+-]{{1,64}}+@[^\W_][\w-]{{0,62}}+(?:\.[\w-]{{1,63}}+){{1,5}})
| (?P<abbreviation>(?<![\w.])(?:{_either(locale.abbreviations) or "(?!)"}){_END})
| (?P<iso>\d{{4}}-\d\d-\d\d(?![\w-]))
| (?P<date>\d{{1,2}}(?P<between>[/.-])\d{{1,2}}(?P=between)\d{{4}}(?![\w/]))
| (?P<time>(?<![\d:.,]){clock})
| (?P<money>{minus}(?:(?P<before>{signs})\ ?(?P<low>{number})|(?P<high>{number})\ ?(?P<after>{signs}){_END}))
| (?P<ordinal>(?P<place>\d{{1,9}})(?P<suffix>{_either(locale.ordinals) or "(?!)"}){_END})
| (?P<day>{day})
| (?P<number>{minus}{number}(?:[\ \u00a0\u202f]?[%‰]|[ºª]|\ ?°[CF]?)?{_END})
| (?P<word>{_LETTER}{{1,64}}+(?:['-]{_LETTER}{{1,64}}+){{0,11}}+'?)
| (?P<dots>\.(?:\ ?\.){{1,20}})
| (?P<dash>-{{2,20}}|(?<=\ )-(?=\ )|[—–])
| (?P<blank>\s{{1,1000}}+)
| (?P<other>.)
"""


def _either(words: Iterable[str]) -> str:
    # A verbose pattern drops blanks and what follows "#"; re.escape has escaped both.
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


class _Reader:
    """One method for each kind of token."""

    def __init__(self, text: str, locale: Locale) -> None:
        self.text = text
        self.locale = locale
        self.pieces: list[Piece] = []

    def read(self, tokens: Iterable[re.Match[str]]) -> list[Piece]:
        for token in tokens:
            getattr(self, f"_{token.lastgroup}")(token)
        return self.pieces

    def _say(self, token: re.Match[str], spoken: str, phonemes: str | None = None) -> None:
        self.pieces.append(Piece(Kind.WORD, token.start(), token.end(), spoken, phonemes))

    def _mark(self, token: re.Match[str], symbol: str) -> None:
        last = self.pieces[-1] if self.pieces else None
        if last is None or last.kind is not Kind.MARK or last.phonemes != symbol or symbol in "()“”":
            self.pieces.append(Piece(Kind.MARK, token.start(), token.end(), phonemes=symbol))

    def _given(self, token: re.Match[str]) -> None:
        self._say(token, token["alias"], token["phonemes"])

    def _link(self, token: re.Match[str]) -> None:
        """The target of a link is not read, only its words."""

    def _special(self, token: re.Match[str]) -> None:
        self._say(token, token[0])

    def _address(self, token: re.Match[str]) -> None:
        parts = re.findall(r"[^\W_]+|.", re.sub(r"^https?://", "", token[0]), re.DOTALL)
        self._say(token, " ".join(self.locale.symbols.get(part, part) for part in parts))

    def _abbreviation(self, token: re.Match[str]) -> None:
        self._say(token, self.locale.abbreviations[token[0]])

    def _iso(self, token: re.Match[str]) -> None:
        year, month, day = token[0].split("-")
        self._calendar(token, day, month, year)

    def _date(self, token: re.Match[str]) -> None:
        day, month, year = token[0].split(token["between"])
        self._calendar(token, day, month, year)

    def _calendar(self, token: re.Match[str], day: str, month: str, year: str) -> None:
        if not 1 <= int(month) <= 12 or not 1 <= int(day) <= 31 or not self.locale.months:
            self._say(token, " ".join(self._digits(part) for part in (day, month, year)))
            return
        if self.locale.dotted_day:
            said = self._dotted(int(day), token.start())
        else:
            said = self.locale.first if int(day) == 1 else str(int(day))
        name = self.locale.months[int(month) - 1]
        self._say(token, self.locale.date.format(day=said, month=name, year=self._plain_number(year)))

    def _time(self, token: re.Match[str]) -> None:
        hour, minute, *second = re.findall(r"\d+", token[0])
        form = self.locale.time if int(minute) else self.locale.full_hour
        said = form.format(hour=int(hour), minute=int(minute))
        self._say(token, " ".join([said, *(str(int(part)) for part in second)]))

    def _money(self, token: re.Match[str]) -> None:
        one, many = self.locale.money[token["before"] or token["after"]]
        amount = token["low"] or token["high"]
        whole, _, part = self._ungrouped(amount).partition(self.locale.decimal)
        if len(part) not in (0, 2) or len(whole) > _LONGEST_NUMBER:
            said = f"{self._plain_number(amount)} {many}"
        else:
            said = one if int(whole) == 1 else f"{self._plain_number(whole)} {many}"
            if part and int(part):
                said += f"{self.locale.money_join}{int(part)}"
        minus = f"{self.locale.minus} " if token[0][0] in "-−" else ""
        self._say(token, minus + said)

    def _ordinal(self, token: re.Match[str]) -> None:
        said = self._in_words(int(token["place"]), "ordinal")
        feminine = {"re": "première", "ère": "première"}
        if token["place"] == "1" and token["suffix"] in feminine:
            said = feminine[token["suffix"]]
        self._say(token, said or token["place"])

    def _day(self, token: re.Match[str]) -> None:
        self._say(token, self._dotted(int(token[0][:-1]), token.start()))

    def _dotted(self, day: int, start: int) -> str:
        """A German day: "am dritten", "der dritte", "dritter"."""
        said = self._in_words(day, "ordinal")
        before = self.text[max(0, start - 8) : start]
        return said + ("n" if _DATIVE.search(before) else "" if _ARTICLE.search(before) else "r")

    def _number(self, token: re.Match[str]) -> None:
        minus = token[0][0] in "-−"
        written = token[0][1:] if minus else token[0]
        digits = written.rstrip("%‰ºª°CF \u00a0\u202f")
        sign = written[len(digits) :].strip()
        said = self._plain_number(digits)
        if sign:
            word = self.locale.symbols.get(sign)
            said = f"{said} {word}" if word else said + sign
        if minus and not self.locale.minus:
            self.pieces.append(Piece(Kind.UNKNOWN, token.start(), token.start() + 1))
            self.pieces.append(Piece(Kind.WORD, token.start() + 1, token.end(), said))
        else:
            self._say(token, f"{self.locale.minus} {said}" if minus else said)

    def _plain_number(self, written: str) -> str:
        """A number as espeak-ng reads it best."""
        number = self._ungrouped(written)
        whole, point, part = number.partition(self.locale.decimal)
        if len(whole) > _LONGEST_NUMBER or (len(whole) > 1 and whole[0] == "0"):
            whole = self._digits(whole)
        elif (
            self.locale.spoken_years and number == written and len(whole) == 4 and 1100 <= int(whole) <= 1999
        ):
            whole = self._in_words(int(whole), "year") or whole
        return f"{whole}{point}{part[:12]}" if point else whole

    def _ungrouped(self, written: str) -> str:
        whole, point, part = written.partition(self.locale.decimal)
        return re.sub(r"\D", "", whole) + point + part

    def _digits(self, text: str) -> str:
        return " ".join(text) if len(text) > 4 or text.startswith("0") else text

    def _in_words(self, value: int, form: str) -> str:
        """num2words' reading, or nothing where it has none."""
        if not self.locale.num2words:
            return ""
        from num2words import num2words

        try:
            return str(num2words(value, to=form, lang=self.locale.num2words))
        except (NotImplementedError, OverflowError, TypeError, ValueError):
            return ""

    def _word(self, token: re.Match[str]) -> None:
        if self.locale.east_asian or _EAST_ASIAN.search(token[0]) is None:
            self._say(token, token[0])
            return
        at = token.start()
        for run in re.split(f"({_EAST_ASIAN.pattern})", token[0]):
            if _EAST_ASIAN.fullmatch(run):
                self.pieces.append(Piece(Kind.UNKNOWN, at, at + 1))
            elif run:
                self.pieces.append(Piece(Kind.WORD, at, at + len(run), run))
            at += len(run)

    def _dots(self, token: re.Match[str]) -> None:
        self._mark(token, "…")

    def _dash(self, token: re.Match[str]) -> None:
        before = (
            self.text[: token.start()].rstrip(" ")[-1:] if token.start() < 8 else self.text[token.start() - 2]
        )
        if before not in ("", "\n"):  # otherwise a list item's bullet
            self._mark(token, "—")

    def _blank(self, token: re.Match[str]) -> None:
        kind = Kind.BREAK if token[0].count("\n") > 1 else Kind.SPACE
        self.pieces.append(Piece(kind, token.start(), token.end()))

    def _other(self, token: re.Match[str]) -> None:
        symbol = token[0]
        if symbol in self.locale.full_stops:
            self._mark(token, ".")
        elif symbol in _MARKS:
            self._mark(token, _MARKS[symbol])
        elif symbol in _SILENT:
            around = self.text[max(0, token.start() - 1) : token.end() + 1]
            if len(around) == 3 and around[0].isalnum() and around[2].isalnum():
                self.pieces.append(Piece(Kind.SPACE, token.start(), token.end()))
        elif symbol in self.locale.symbols:
            self._say(token, self.locale.symbols[symbol])
        elif unicodedata.category(symbol) in ("Sc", "Sm", "Po", "Nl", "No") and symbol != "\ufffd":
            self._say(token, symbol)
        elif symbol == "\u200d" or unicodedata.category(symbol) in ("Cf", "Mn"):
            return  # joins emoji; it is not a symbol of its own
        else:
            self.pieces.append(Piece(Kind.UNKNOWN, token.start(), token.end()))
