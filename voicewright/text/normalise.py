"""Written English → pieces: every stretch of the text with the words that are said for it."""

from __future__ import annotations

from collections.abc import Callable, Container

from voicewright.text import amounts, numbers
from voicewright.text import english_tables as tables
from voicewright.text.clean import clean, cluster_end
from voicewright.text.lexicon import Lexicon
from voicewright.text.pieces import Kind, Piece
from voicewright.text.scan import Token, scan, scanner
from voicewright.text.tables import WORDS
from voicewright.text.words import WordReader

_BULLETS = frozenset("-*•·‣▪●○–")


def normaliser(british: bool, lexicon: Lexicon | None = None) -> Callable[[str], list[Piece]]:
    """A function from text to pieces that follow one another in order; its time is linear in the text.

    Words of the user's own lexicon are left as they are written.
    """
    pattern = scanner(lexicon.special if lexicon else None)
    known: Container[str] = lexicon if lexicon is not None else ()

    def normalise(text: str) -> list[Piece]:
        plain, origin = clean(text)
        pieces = _EnglishReader(plain, scan(plain, pattern), british, known).read()
        if isinstance(origin, range):
            return pieces
        return [
            Piece(p.kind, origin[p.start], cluster_end(text, origin[p.stop - 1]), p.spoken, p.phonemes)
            for p in pieces
        ]

    return normalise


class _EnglishReader(WordReader):
    """One method for each kind of token; words and single characters are WordReader's."""

    def _given(self, token: Token, index: int) -> None:
        self._say(token, token.groups["alias"], phonemes=token.groups["phonemes"])

    def _link(self, token: Token, index: int) -> None:
        """The target of a link is not read, only its words."""

    def _url(self, token: Token, index: int) -> None:
        self._say(token, amounts.address(token.text))

    _email = _url
    _domain = _url

    def _iso(self, token: Token, index: int) -> None:
        self._say(token, amounts.iso_date(token, self.british))

    def _date(self, token: Token, index: int) -> None:
        self._say(token, amounts.short_date(token, self.british))

    def _time(self, token: Token, index: int) -> None:
        after = self._near(index, 1)
        bare = after is None or after.text.lower().rstrip(".") not in ("am", "pm", "a.m", "p.m", "o'clock")
        self._ending_in_half(token, index, amounts.time(token, bare))

    def _hour(self, token: Token, index: int) -> None:
        self._ending_in_half(token, index, amounts.hour(token))

    def _ending_in_half(self, token: Token, index: int, spoken: str) -> None:
        if token.text.endswith(".") and self._sentence_ends(index):
            self._say(token, spoken, token.stop - 1)
            self._mark(token.stop - 1, token.stop, ".")
        else:
            self._say(token, spoken)

    def _phone(self, token: Token, index: int) -> None:
        low, _, high = token.text.partition("-")
        if len(token.text) == 8 and (int(low) % 100 == 0 or int(high) % 100 == 0):
            low, high = numbers.number(low, self.british), numbers.number(high, self.british)
            self._say(token, f"{low} to {high}")
        else:
            self._say(token, amounts.phone(token))

    def _version(self, token: Token, index: int) -> None:
        self._say(token, amounts.version(token))

    def _feet(self, token: Token, index: int) -> None:
        self._say(token, amounts.feet(token))

    def _range(self, token: Token, index: int) -> None:
        self._say(token, amounts.span(token, self.british))

    def _fraction(self, token: Token, index: int) -> None:
        before = self._at(index - 1)
        number = self._at(index - 2) if before is not None and before.text == " " else None
        mixed = number is not None and number.kind == "number" and not number.groups["unit"]
        self._say(token, amounts.fraction(token, mixed, self.british))

    def _decade(self, token: Token, index: int) -> None:
        self._say(token, numbers.decade(token.text.strip("'s")))

    def _hash(self, token: Token, index: int) -> None:
        self._say(token, f"number {numbers.number(token.text[1:], self.british)}")

    def _money(self, token: Token, index: int) -> None:
        symbol, amount, scale = (token.groups[name] for name in ("currency", "amount", "scale"))
        minus = "" if token.text.startswith((symbol, "+")) else "minus "
        following = self._near(index, 1)
        if scale:
            name = numbers.currency_name(symbol)
            spoken = f"{numbers.number(amount, self.british)} {numbers.SCALES[scale]} {name}"
        elif following is not None and following.text.lower() in tables.SCALE_WORDS:
            self.currency[index + 2] = numbers.currency_name(symbol)
            spoken = numbers.number(amount, self.british)
        else:
            spoken = numbers.money(symbol, amount, self.british)
        self._say(token, minus + spoken)

    def _ordinal(self, token: Token, index: int) -> None:
        self._day(token, index, int(token.text[:-2].replace(",", "")))

    def _day(self, token: Token, index: int, value: int) -> None:
        """An ordinal, which next to a month is a day."""
        spoken = numbers.ordinal(value, self.british)
        before, after = self._near(index, -1), self._near(index, 1)
        has_the = before is not None and before.text.lower() == "the"
        if after is not None and after.text in tables.MONTH_NAMES and value <= 31:
            spoken = f"{spoken} of" if has_the else f"the {spoken} of"
        elif self._is_month(before, index) and self.british:
            spoken = f"the {spoken}"
        self._say(token, spoken)

    def _is_month(self, token: Token | None, index: int) -> bool:
        if token is not None and token.text == ".":
            token = self._at(index - 3)
        return token is not None and token.text in tables.MONTH_NAMES

    def _number(self, token: Token, index: int) -> None:
        unit = (token.groups["unit"] or "").strip()
        written = token.text[: len(token.text) - len(token.groups["unit"] or "")]
        before, after = self._near(index, -1), self._near(index, 1)
        if unit:
            one, many = tables.UNITS[unit]
            spoken = numbers.number(written, self.british)
            self._say(token, f"{spoken} {one if numbers.is_one(written) else many}")
            return
        if written.isdecimal() and len(written) <= 2 and 1 <= int(written) <= 31:
            follows = (
                after is not None and after.text in tables.MONTH_NAMES and self._at(index + 1) is not after
            )
            if follows or self._is_month(before, index):
                self._day(token, index, int(written))
                return
        in_year = before is not None and before.text.lower() in (
            "in",
            "of",
            "since",
            "until",
            "by",
            "from",
            "year",
        )
        if amounts.is_year(written) or (in_year and len(written) == 4 and written.isdecimal()):
            self._say(token, numbers.year(int(written), self.british))
            return
        self._say(token, numbers.number(written, self.british))

    def _compound(self, token: Token, index: int) -> None:
        """ "24-hour", "3.5-inch": the number, then the words."""
        written, _, rest = token.text.partition("-")
        first = (
            numbers.year(int(written)) if amounts.is_year(written) else numbers.number(written, self.british)
        )
        self._say(token, f"{first} {rest.replace('-', ' ')}")

    def _dotted(self, token: Token, index: int) -> None:
        key = token.text.rstrip(".").lower()
        spoken = WORDS.dotted.get(key) or token.text.rstrip(".").upper()
        if token.text.endswith(".") and key not in ("e.g", "i.e") and self._sentence_ends(index):
            self._say(token, spoken, token.stop - 1)
            self._mark(token.stop - 1, token.stop, ".")
        else:
            self._say(token, spoken)

    def _slashed(self, token: Token, index: int) -> None:
        self._say(token, tables.SLASHED[token.text.lower()])

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
        before = self._at(index - 1)
        if before is None or (before.kind == "blank" and ("\n" in before.text or index == 1)):
            return  # a list item's bullet
        self._mark(token.start, token.stop, "—")
