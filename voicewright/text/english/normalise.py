"""Written English → pieces: every stretch of the text with the words that are said for it."""

from __future__ import annotations

import re
from collections.abc import Callable, Container

from voicewright.text.clean import clean, cluster_end
from voicewright.text.english import amounts, numbers
from voicewright.text.english.scan import Token, scanner
from voicewright.text.english.tables import WORDS
from voicewright.text.english.words import WordReader
from voicewright.text.english.written import listed, months, table, units
from voicewright.text.lexicon import Lexicon
from voicewright.text.pieces import Kind, Piece

_BULLETS = frozenset("-*•·‣▪●○–")
_OPERATORS = frozenset("+-−–—*/×÷^()±")
_SIGNS = frozenset("+−×÷=<>≤≥≠±") | {"!=", "==", "<=", ">="}
_LONGEST_WORD = 100
"""Pieces that touch are one written word, up to this many characters."""


def normaliser(british: bool, lexicon: Lexicon | None = None) -> Callable[[str], list[Piece]]:
    """A function from text to pieces that follow one another in order; its time is linear in the text.

    Words of the user's own lexicon are left as they are written.
    """
    scan = scanner(british, lexicon.special if lexicon else None)
    known: Container[str] = lexicon if lexicon is not None else ()

    def normalise(text: str) -> list[Piece]:
        plain, origin = clean(text)
        pieces = _whole(_EnglishReader(plain, scan(plain), british, known).read())
        if isinstance(origin, range):
            return pieces
        return [
            Piece(p.kind, origin[p.start], cluster_end(text, origin[p.stop - 1]), p.spoken, p.phonemes)
            for p in pieces
        ]

    return normalise


def _whole(pieces: list[Piece]) -> list[Piece]:
    """Words that touch are one word: "9:30PM" has one place in the text and one time in the speech."""
    found: list[Piece] = []
    for piece in pieces:
        last = found[-1] if found else piece
        touches = last.stop == piece.start and piece.stop - last.start < _LONGEST_WORD
        if touches and last.kind is piece.kind is Kind.WORD and last.phonemes is piece.phonemes is None:
            found[-1] = Piece(Kind.WORD, last.start, piece.stop, f"{last.spoken} {piece.spoken}")
        else:
            found.append(piece)
    return found


class _EnglishReader(WordReader):
    """One method for each kind of token that the data file gives no words for; words are WordReader's."""

    def _word(self, token: Token, index: int) -> None:
        beside = self._near(index, -1), self._near(index, 1)
        if token.text == "a" and any(near is not None and near.text in _SIGNS for near in beside):
            self._say(token, "A.")  # no article, but a letter of a sum
        else:
            super()._word(token, index)

    def _given(self, token: Token, index: int) -> None:
        self._say(token, token.part("alias") or "", phonemes=token.part("phonemes"))

    def _link(self, token: Token, index: int) -> None:
        """The target of a link is not read, only its words."""

    def _address(self, token: Token, index: int) -> None:
        self._say(token, amounts.address(token.text))

    def _form(self, token: Token, index: int) -> None:
        self._parts(token, amounts.said(token, self.british))

    def _parts(self, token: Token, spoken: str, stop: int | None = None) -> None:
        """Says a token; where blanks part what is written as bars part what is said, word by word."""
        said = spoken.split(" | ")
        written = list(re.finditer(r"[^ ]+", token.text))
        if len(said) != len(written):
            return self._say(token, spoken.replace(" | ", " "), stop)
        end = token.start
        for words, part in zip(said, written, strict=True):
            start = token.start + part.start()
            if start > end:
                self.pieces.append(Piece(Kind.SPACE, end, start))
            end = min(token.start + part.end(), stop or token.stop)
            self.pieces.append(Piece(Kind.WORD, start, end, words))
        return None

    def _time(self, token: Token, index: int) -> None:
        after = self._near(index, 1)
        bare = after is None or after.text.lower() != "o'clock"
        spoken = amounts.time(token, bare)
        if token.text.endswith(".") and self._sentence_ends(index):
            self._parts(token, spoken, token.stop - 1)
            self._mark(token.stop - 1, token.stop, ".")
        else:
            self._parts(token, spoken)

    def _range(self, token: Token, index: int) -> None:
        before = self._near(index, -1)
        joint = "minus" if before is not None and before.text == "=" else "to"
        self._parts(token, amounts.span(token, joint, self.british))

    def _fraction(self, token: Token, index: int) -> None:
        self._parts(token, amounts.fraction(token, self.british))

    def _money(self, token: Token, index: int) -> None:
        self._parts(token, amounts.money(token, self._describes(index), self.british))

    def _measure(self, token: Token, index: int) -> None:
        written, measure = token.part("n") or "", token.part("unit") or ""
        before = self._near(index, -1)
        singular = numbers.is_one(written) or self._describes(index)
        spoken = amounts.unit(measure, singular)
        if re.fullmatch(" ?[a-zA-Z]", measure) and before is not None:
            # "Figure 2 g" names a part of a figure.
            spoken = measure.strip().upper() if before.text.lower() in listed("places") else spoken
        self._parts(token, f"{amounts.count(written, self.british)} | {spoken}")

    def _describes(self, index: int) -> bool:
        """Does an amount stand between an article and a noun: "a $5 bill"?"""
        before, after = self._near(index, -1), self._near(index, 1)
        return (
            before is not None
            and before.text.lower() in listed("owners")
            and after is not None
            and after is not self._at(index + 1)
            and after.kind == "word"
            and after.text.isalpha()
            and after.text.islower()
            and after.text not in listed("functions")
            and not after.text.endswith("ed")
        )

    def _power(self, token: Token, index: int) -> None:
        """A power after a number or a letter; after words, years and marks a footnote, which is not read."""
        before, inner = self._at(index - 1), self._at(index - 2)
        if before is not None and before.text == ")":
            before = inner
        if before is not None and (
            (self._operand(before) and not amounts.is_year(before.text))
            or before.text in units()
            or before.text in listed("powered")
        ):
            self._say(token, amounts.power(token.text))

    def _operand(self, token: Token | None) -> bool:
        """A number, or a letter that stands for one."""
        return self._is_numeric(token) or (
            token is not None and (token.kind == "power" or (len(token.text) == 1 and token.text.isalpha()))
        )

    def _in_sum(self, index: int) -> bool:
        """Does "=" stand beside this sign with nothing between but numbers, letters and other signs?"""
        for step in (1, -1):
            for at in range(index + step, index + 20 * step, step):
                token = self._at(at)
                if token is None or "\n" in token.text:
                    break
                if token.text == "=":
                    return True
                if not (token.text.isspace() or token.text in _OPERATORS or self._operand(token)):
                    break
        return False

    def _compare(self, token: Token, index: int) -> None:
        before, after = self._near(index, -1), self._near(index, 1)
        beside = self._at(index - 1), self._at(index + 1)
        numeric = self._is_numeric(before) or self._is_numeric(after)
        sides = before is not None and after is not None and before.kind != "other" and after.kind != "other"
        letters = self._operand(before) and self._operand(after)
        leading = self._is_numeric(beside[1]) and (beside[0] is None or beside[0].kind == "blank")
        if token.text in "≤≥≠" or letters or (sides and numeric) or leading:
            self._say(token, table("signs")[token.text])
        elif len(token.text) == 1:
            self._other(token, index)
        elif token.text[0] == "!":
            self._mark(token.start, token.stop, "!")

    def _per(self, token: Token, index: int) -> None:
        """ "/day" after an amount or several things; elsewhere the two words alone ("night/day")."""
        before, what = self._at(index - 1), token.part("what") or ""
        if before is not None and (self._is_numeric(before) or before.text.endswith("s")):
            self._say(token, f"per {amounts.period(what)}")
        else:
            self.pieces.append(Piece(Kind.SPACE, token.start, token.start + 1))
            self.pieces.append(Piece(Kind.WORD, token.start + 1, token.stop, what))

    def _ordinal(self, token: Token, index: int) -> None:
        self._day(token, index, int(token.text[:-2].replace(",", "")))

    def _day(self, token: Token, index: int, value: int) -> None:
        """An ordinal, which next to a month is a day."""
        spoken = numbers.ordinal(value, self.british)
        before, after = self._near(index, -1), self._near(index, 1)
        has_the = before is not None and before.text.lower() == "the"
        if after is not None and after.text in months() and value <= 31:
            spoken = f"{spoken} of" if has_the else f"the {spoken} of"
        elif self._is_month(before, index) and self.british:
            spoken = f"the {spoken}"
        self._say(token, spoken)

    def _is_month(self, token: Token | None, index: int) -> bool:
        if token is not None and token.text == ".":
            token = self._at(index - 3)
        return token is not None and token.text in months()

    def _number(self, token: Token, index: int) -> None:
        written = amounts.plain(token.text)
        before, after = self._near(index, -1), self._near(index, 1)
        if written.isdecimal() and len(written) <= 2 and 1 <= int(written) <= 31:
            follows = after is not None and after.text in months() and self._at(index + 1) is not after
            if follows or self._is_month(before, index):
                return self._day(token, index, int(written))
        in_year = before is not None and before.text.lower() in listed("years")
        if amounts.is_year(token.text) or (in_year and re.fullmatch(r"[1-9]\d{3}", token.text)):
            return self._say(token, numbers.year(int(written), self.british))
        return self._say(token, numbers.number(written, self.british))

    def _compound(self, token: Token, index: int) -> None:
        """ "24-hour", "3.5-inch", "5-km": the number, then the words."""
        written, rest = token.part("n") or "", (token.part("rest") or "")[1:]
        first = (
            numbers.year(int(written)) if amounts.is_year(written) else amounts.count(written, self.british)
        )
        if len(rest) > 1 and rest in units():
            rest = units()[rest][0]
        self._say(token, f"{first} {rest.replace('-', ' ')}")

    def _dotted(self, token: Token, index: int) -> None:
        key = token.text.rstrip(".").lower()
        spoken = WORDS.dotted.get(key) or token.text.rstrip(".").upper()
        if token.text.endswith(".") and key not in ("e.g", "i.e") and self._sentence_ends(index):
            self._say(token, spoken, token.stop - 1)
            self._mark(token.stop - 1, token.stop, ".")
        else:
            self._say(token, spoken)

    def _special(self, token: Token, index: int) -> None:
        self._say(token, token.text)

    def _blank(self, token: Token, index: int) -> None:
        after = self._at(index + 1)
        beyond = self._at(index + 2)
        ends = token.text.count("\n") > 1
        if "\n" in token.text and after is not None and after.text in _BULLETS:
            ends = ends or (beyond is not None and beyond.kind == "blank")
        self._space(token, Kind.BREAK if ends else Kind.SPACE)

    def _dots(self, token: Token, index: int) -> None:
        self._mark(token.start, token.stop, "…")

    def _dash(self, token: Token, index: int) -> None:
        before, after = self._at(index - 1), self._at(index + 1)
        if before is None or (before.kind == "blank" and ("\n" in before.text or index == 1)):
            return  # a list item's bullet
        near = self._near(index, -1), self._near(index, 1)
        numeric = self._is_numeric(near[0]) and self._is_numeric(near[1])
        touches = near == (before, after)
        operands = all(map(self._operand, near)) and len(token.text) == 1
        if operands and (token.text == "−" or self._in_sum(index)):
            self._say(token, "minus")
        elif numeric and (touches or token.text in "–—") and len(token.text) == 1:
            self._say(token, "to")
        elif touches and token.text == "-":
            self._space(token)
        else:
            self._mark(token.start, token.stop, "—")
