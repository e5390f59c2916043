"""Written text of any language that espeak-ng reads → pieces: numbers, dates, money, units, abbreviations.

One pattern, one pass; every repetition is bounded or possessive, so the time is linear in the text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable

from voicewright.text.clean import clean, cluster_end
from voicewright.text.espeak.amounts import Amounts
from voicewright.text.espeak.counting import Counting
from voicewright.text.espeak.dates import Dates
from voicewright.text.espeak.locales import locale_of
from voicewright.text.espeak.numerals import Numerals
from voicewright.text.espeak.pattern import COMPARED, HELD, PRIMES, SHOWN, pattern
from voicewright.text.lexicon import Lexicon
from voicewright.text.pieces import Kind, Piece

_MARKS = {
    ";": ";", ":": ":", ",": ",", ".": ".", "!": "!", "?": "?", "—": "—", "–": "—", "…": "…", "“": "“",
    "”": "”", '"': '"', "(": "(", ")": ")", "[": "(", "]": ")", "{": "(", "}": ")", "¿": "", "¡": "",
    "،": ",", "؛": ";", "؟": "?", "՞": "?", "՝": ",", "\u037e": "?",
}  # fmt: skip
_SILENT = frozenset("*_~^|\\'-<>•·‣▪●○′″⁃")
_EAST_ASIAN = re.compile(
    r"[\u1100-\u11ff\u3005-\u3007\u3040-\u30ff\u3130-\u318f\u31f0-\u31ff\u3400-\u9fff\uac00-\ud7af]"
)
_SIGNS = {"times": "×", "divided": "÷", "point_word": ".", "compared": ""}
"""Kinds of tokens that are one of the language's symbols; which comparison it is depends on the token."""
_OPENS = re.compile(r"\s*(?:$|\n)|\s+(?=[“\"(¿¡]?[A-ZÀ-ÖØ-ÞŒ])")
"""What follows the end of a sentence."""


def normaliser(code: str, lexicon: Lexicon | None = None) -> Callable[[str], list[Piece]]:
    """A function from text to pieces that follow one another in order; its time is linear in the text.

    code: of a language, which `locales.locale_of` knows.
    """
    counting = Counting(locale_of(code))
    tokens = pattern(counting.locale, lexicon.special if lexicon is not None else None)

    def normalise(text: str) -> list[Piece]:
        plain, origin = clean(PRIMES.sub("'", text).translate(HELD), marks=True)
        pieces = _Reader(plain, counting).read(tokens.finditer(plain))
        if isinstance(origin, range):
            return pieces
        return [
            Piece(p.kind, origin[p.start], cluster_end(text, origin[p.stop - 1]), p.spoken, p.phonemes)
            for p in pieces
        ]

    return normalise


def _in_words(dates: Dates, amounts: Amounts) -> dict[str, Callable[[re.Match[str]], str]]:
    """Kinds of tokens that are read as a whole, each as what one of these says."""
    return {
        "first": dates.first,
        "iso": dates.iso,
        "date": dates.date,
        "textual": dates.textual,
        "season": dates.season,
        "time": dates.time,
        "duration": amounts.duration,
        "measure": amounts.measure,
        "money": amounts.money,
        "fraction": amounts.fraction,
        "ordinal": amounts.ordinal,
        "circled": amounts.circled,
        "serial": amounts.serial,
        "formula": amounts.formula,
        "note": amounts.note,
    }


class _Reader:
    """One method for each kind of token whose surroundings matter, or that is more than words."""

    def __init__(self, text: str, counting: Counting) -> None:
        self.text = text
        self.counting = counting
        self.locale = counting.locale
        self.numerals = Numerals(counting)
        self.dates = Dates(counting, self.numerals.german)
        self.in_words = _in_words(self.dates, Amounts(counting))
        self.pieces: list[Piece] = []
        self.elision = ""

    def read(self, tokens: Iterable[re.Match[str]]) -> list[Piece]:
        for token in tokens:
            kind = str(token.lastgroup)
            if kind in _SIGNS:
                self._sign(token, self._symbol(_SIGNS[kind] or COMPARED[token[0]]))
            elif kind in ("minus", "to"):
                self._sign(token, self.locale.minus if kind == "minus" else self.locale.to)
            elif kind in self.in_words:
                self._say(token, self.in_words[kind](token))
            else:
                getattr(self, f"_{kind}")(token)
        return self.pieces

    def _say(self, token: re.Match[str], spoken: str, phonemes: str | None = None, stop: int = 0) -> None:
        start, lead = token.start() - len(self.elision), self.elision
        self.elision = ""
        self.pieces.append(Piece(Kind.WORD, start, stop or token.end(), lead + spoken, phonemes))

    def _mark(self, token: re.Match[str], symbol: str, start: int = -1) -> None:
        last = self.pieces[-1] if self.pieces else None
        if last is None or last.kind is not Kind.MARK or last.phonemes != symbol or symbol in "()“”":
            begin = token.start() if start < 0 else start
            self.pieces.append(Piece(Kind.MARK, begin, token.end(), phonemes=symbol))

    def _symbol(self, sign: str) -> str:
        return self.locale.symbols.get(sign, "")

    # What the writer said how to read.

    def _given(self, token: re.Match[str]) -> None:
        self._say(token, token["alias"], token["phonemes"])

    def _link(self, token: re.Match[str]) -> None:
        """The target of a link is not read, only its words."""

    def _special(self, token: re.Match[str]) -> None:
        self._say(token, token[0])

    def _address(self, token: re.Match[str]) -> None:
        parts = re.findall(r"[^\W_]+|.", re.sub(r"^https?://", "", token[0]), re.DOTALL)
        self._say(token, " ".join(self._symbol(part) or part for part in parts))

    # Abbreviations and numerals.

    def _abbreviation(self, token: re.Match[str]) -> None:
        written = token[0].translate(SHOWN)
        self._say(token, self.locale.short_forms[written][0])
        if written.endswith(self.locale.closing) and self._ends(token.end()):
            self._mark(token, ".", token.end() - 1)

    def _ends(self, stop: int) -> bool:
        """May a sentence end at `stop`, behind a dot?"""
        opens = _OPENS.match(self.text, stop)
        if opens is None or self.locale.declension is None or not self.text[opens.end() :][:1].isalpha():
            return opens is not None
        following = re.compile(r"\w{1,30}").match(self.text, opens.end())
        return following is not None and following[0] in self.locale.declension.starters

    def _elided(self, token: re.Match[str]) -> None:
        """An article that is one word with the numeral or abbreviation behind it: "l'XI", "l'Ing."."""
        self.elision = token[0]

    def _roman(self, token: re.Match[str]) -> None:
        start, stop = token.span("numeral")
        suffix, dot = token["tail"] or "", bool(token["point"])
        reading = self.numerals.read(self.text, start, stop, suffix, dot)
        end = token.end() - dot
        if reading is None:
            word = self.text[start:end]
            if len(word) > 1 and not word.istitle():  # espeak-ng would take it for a number
                word = word.lower() if "i" in word.lower() else " ".join(word)
            self._say(token, word, stop=end)
        else:
            self._say(token, reading.said, stop=token.end() if reading.dotted else end)
        if dot and (reading is None or not reading.dotted or self._ends(token.end())):
            self._mark(token, ".", end)

    # Days and numbers whose surroundings decide.

    def _degree(self, token: re.Match[str]) -> None:
        """ "il 2° piano", but "un angolo di 90° è retto"."""
        value = int(token["figure"])
        before = re.findall(r"[^\W\d_]+'?", self.text[max(0, token.start() - 12) : token.start()])[-1:]
        following = re.findall(r"[^\W\d_]+", self.text[token.end() : token.end() + 20])[:1]
        article = [*self.locale.articles, *self.locale.feminine_articles]
        if before and before[0].lower() in article and following and following[0] not in self.locale.of:
            feminine = before[0].lower() in self.locale.feminine_articles
            said = self.counting.ordinal(value, "f" if feminine else "m")
            if said:
                self._say(token, said)
                return
        self._say(token, f"{value} {self._symbol('°')}")

    def _day(self, token: re.Match[str]) -> None:
        """ "der 3. Mann", but "Es waren 3. Dann ging er."."""
        german = self.numerals.german
        assert german is not None
        before = re.findall(
            r"\w+", self.text[max(0, token.start() - 24) : token.start()].rpartition("\n")[2]
        )[-2:]
        noun = re.compile(r"\s*(\w{1,30}\.?|[^\w\s]|)").match(self.text, token.end())
        ends = self._ends(token.end())
        value = int(token[0][:-1])
        if noun is not None and german.is_ordinal(before, noun[1], ends):
            said = german.ordinal(value, before, noun[1])
        else:
            said, ends = self.counting.plain(token[0][:-1]), True
        self._say(token, said, stop=token.end() - ends)
        if ends:
            self._mark(token, ".", token.end() - 1)

    def _short_date(self, token: re.Match[str]) -> None:
        """ "am 24.12.", but "Kapitel 3.2."."""
        day, month = token[0].split(".")[:2]
        before = re.findall(r"\w+|[^\w\s]", self.text[max(0, token.start() - 12) : token.start()])[-1:]
        if not before or before[0].lower() in (*self.locale.declension.n, "der", "die", "das", ",", "("):  # type: ignore[union-attr]
            self._say(token, self.dates.calendar(token, day, month, ""))
            if self._ends(token.end()):
                self._mark(token, ".", token.end() - 1)
            return
        self._say(token, f"{day} {self._symbol('.')} {month}", stop=token.end() - 1)
        self._mark(token, ".", token.end() - 1)

    def _power(self, token: re.Match[str]) -> None:
        """A power after a number or a letter; behind a word or a year it is a footnote's mark, and silent."""
        before = re.findall(r"[^\W_]+|[^\w\s]", self.text[max(0, token.start() - 12) : token.start()])[-1:]
        word = before[0] if before and self.text[token.start() - 1 : token.start()].isalnum() else ""
        exponent = "".join("0123456789+-"[ord(sign) - 0xE000] for sign in token[0])
        year = len(word) == 4 and word.isdecimal() and 1100 <= int(word) <= 2100
        power = (word.isdecimal() and not year) or len(word) == 1 or before == [")"]
        if power and re.fullmatch(r"[+-]?\d{1,6}", exponent) and self.locale.powers:
            self._say(token, self.counting.power(exponent))
        elif power:
            self._say(token, re.sub("^-", self.locale.minus + " ", exponent))

    def _sign(self, token: re.Match[str], word: str) -> None:
        if word:
            self._say(token, word)
        elif len(token[0]) == 1:
            self._other(token)
        else:
            self._say(token, token[0])

    def _number(self, token: re.Match[str]) -> None:
        minus = token[0][0] in "-−"
        written = token[0][1:] if minus else token[0]
        digits = written.rstrip("%‰ºª°CF ")
        sign = written[len(digits) :].strip()
        said = self.counting.plain(digits)
        if (
            digits.isdecimal()
            and len(digits) < 7
            and "\ue000" <= self.text[token.end() : token.end() + 1] < "\ue00c"
        ):
            said = self.counting.spelled(int(digits))
        if sign:
            word = self._symbol(sign)
            said = f"{said} {word}" if word else said + sign
        if minus and not self.locale.minus:
            self.pieces.append(Piece(Kind.UNKNOWN, token.start(), token.start() + 1))
            self.pieces.append(Piece(Kind.WORD, token.start() + 1, token.end(), said))
        else:
            self._say(token, f"{self.locale.minus} {said}" if minus else said)

    # Words and marks.

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
        if self._between_numerals(token):
            self._say(token, self.locale.to)
        elif before not in ("", "\n"):  # otherwise a list item's bullet
            self._mark(token, "—")

    def _blank(self, token: re.Match[str]) -> None:
        kind = Kind.BREAK if token[0].count("\n") > 1 else Kind.SPACE
        self.pieces.append(Piece(kind, token.start(), token.end()))

    def _between_numerals(self, token: re.Match[str]) -> bool:
        """Is it the dash of "pages iv–ix"?"""
        if token[0] not in "–—-" or self.numerals.ended != token.start() or not self.locale.to:
            return False
        following = re.compile("[IVXLCivxlc]{1,10}").match(self.text, token.end())
        return following is not None

    def _other(self, token: re.Match[str]) -> None:
        symbol = token[0].translate(SHOWN)
        if self._between_numerals(token):
            self._say(token, self.locale.to)
        elif symbol != token[0]:
            self._say(token, unicodedata.normalize("NFKC", symbol))
        elif symbol in self.locale.full_stops:
            self._mark(token, ".")
        elif symbol in _MARKS:
            self._mark(token, _MARKS[symbol])
        elif symbol in _SILENT and not (symbol in "<>" and symbol in self.locale.symbols):
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
