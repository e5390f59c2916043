"""How words and single characters are read: abbreviations, acronyms, roman numerals, quotes, symbols."""

from __future__ import annotations

import re

from voicewright.text import english_tables as tables
from voicewright.text import numbers
from voicewright.text.pieces import Kind, Piece
from voicewright.text.reader import Reader
from voicewright.text.scan import Token
from voicewright.text.written import greek, months, table

_MARKS = frozenset(";:,.!?…“”()")
_BRACKETS = {"[": "(", "{": "(", "]": ")", "}": ")"}
_CLOSING = re.compile(r"[^\W_]'(?![^\W_])|[.,!?…]'")
_LETTERS = re.compile(r"[AEIOU][A-Z]|[A-Z][AEIOU]")
"""Two letters before or between figures that are no word there: CO2, BA117."""
_RUNS = re.compile(r"\d+|[^\W\d_]+")
_READABLE = re.compile(r"(?<![^\W_])[α-ωΑ-Ω](?![^\W_])|[A-Za-z0-9\u00aa-\u024f\u1e00-\u1eff'-]+")
_ROMAN = re.compile(r"(?=[IVXL])L?X{0,3}(?:IX|IV|V?I{0,3})")
_ROMAN_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50}


class WordReader(Reader):
    """Reads tokens of the kinds `word` and `other`."""

    def _word(self, token: Token, index: int) -> None:
        word = token.text
        if not word.isascii() and not all(map(_is_latin, word)):
            self._foreign(token)
        elif word in self.known:
            self._say(token, word)
        elif self._abbreviation(token, index):
            return
        elif (value := self._roman(token, index)) is not None:
            self._say(token, value)
        elif word.isalpha() or word.replace("'", "").replace("-", "").isalpha():
            self._letters(token, index)
        else:
            self._say(token, self._mixed(word))

    def _letters(self, token: Token, index: int) -> None:
        """A plain word, with the apostrophe that may end it ("goin'", "boys'")."""
        after = self._at(index + 1)
        if after is not None and after.text == "'" and not self.single_open:
            self.index = index + 2
            ending = "'" if token.text.lower().endswith("in") else ""
            self._say(token, token.text + ending, after.stop)
        else:
            self._say(token, token.text)

    def _mixed(self, word: str) -> str:
        """ "MP3" → "MP three", "mid-1990s", "COVID-19", "5's"."""
        spoken = []
        for part in re.split(r"[-']", word):
            if re.fullmatch(r"\d{0,2}\d0s", part):
                spoken.append(numbers.decade(part[:-1]))
            elif re.fullmatch(r"\d{1,15}(?:st|nd|rd|th)", part):
                spoken.append(numbers.ordinal(int(part[:-2]), self.british))
            elif part == "s" and spoken:
                spoken[-1] = numbers.plural(spoken[-1])
            else:
                spoken.extend(self._run(run) for run in _RUNS.findall(part))
        return " ".join(spoken)

    def _run(self, run: str) -> str:
        if not run[0].isdecimal():
            return run.upper() if len(run) == 1 else ".".join(run) if _LETTERS.fullmatch(run) else run
        if len(run) == 4 and 1100 <= int(run) <= 2099:
            return numbers.year(int(run), self.british)
        return numbers.number(run, self.british) if len(run) < 4 else numbers.digits(run)

    def _foreign(self, token: Token) -> None:
        """Greek letters have English names; letters of other scripts are unknown."""
        start = 0
        for run in _READABLE.finditer(token.text):
            self._unknown(token.start + start, token.start + run.start())
            if re.search(r"[^\W_]", run[0]):
                spoken = greek().get(run[0].lower()) or (run[0] if run[0].isalpha() else self._mixed(run[0]))
                self.pieces.append(
                    Piece(Kind.WORD, token.start + run.start(), token.start + run.end(), spoken)
                )
            start = run.end()
        self._unknown(token.start + start, token.stop)

    def _unknown(self, start: int, stop: int) -> None:
        self.pieces.extend(Piece(Kind.UNKNOWN, at, at + 1) for at in range(start, stop))

    def _abbreviation(self, token: Token, index: int) -> bool:
        """Reads the word as an abbreviation where it is one."""
        word, low = token.text, token.text.lower()
        dot = self._at(index + 1)
        if dot is None or dot.text != ".":
            after = self._near(index, 1)
            if word in tables.DOTLESS_TITLES and self._capitalised(after) and after is not dot:
                self._say(token, tables.TITLES[word])
                return True
            return False
        before, after = self._near(index, -1), self._near(index + 1, 1)
        capital = self._capitalised(after)
        initial = len(word) == 1 and word.isupper() and capital and after is not None
        if initial and after is not None:
            # An initial: "J. K. Rowling", but not "So do I. The end".
            beyond = self._at(self.tokens.index(after, index) + 1)
            starts = after.text in tables.SENTENCE_STARTS and (beyond is None or beyond.text != ".")
            named = before is not None and before.text.lower() in tables.BEFORE_LETTER
            if starts or named or (word == "I" and self._follows_small(before)):
                return False
            self._say(token, word, dot.stop)
            self.index = index + 2
            return True
        if word in tables.TITLES and capital and after is not None:
            street = (
                self._capitalised(before) and after.text in tables.SENTENCE_STARTS and word in ("St", "Dr")
            )
            if not street:
                self._say(token, tables.TITLES[word], dot.stop)
                self.index = index + 2
                return True
        spoken = self._short_form(word, before)
        if spoken is None:
            return False
        self._with_dot(token, index, spoken, always=low == "etc")
        return True

    def _short_form(self, word: str, before: Token | None) -> str | None:
        """What a word stands for when a dot follows it."""
        low = word.lower()
        if months().get(word, word) != word:
            return months()[word]
        if low not in tables.ABBREVIATIONS or (low in tables.CAPITAL_ABBREVIATIONS and not word[0].isupper()):
            return None
        if low == "al" and (before is None or before.text.lower() != "et"):
            return None
        return tables.ABBREVIATIONS[low]

    def _follows_small(self, before: Token | None) -> bool:
        return before is not None and before.kind == "word" and before.text[:1].islower()

    def _roman(self, token: Token, index: int) -> str | None:
        """ "Henry VIII" → "the eighth", "Chapter IV" → "four"."""
        if not _ROMAN.fullmatch(token.text):
            return None
        before = self._at(index - 2)
        blank = self._at(index - 1)
        if before is None or blank is None or blank.text != " ":
            return None
        ruler = before.text in tables.RULERS
        value = _roman_value(token.text)
        if before.text in tables.NUMBERED or (before.text == "Pope"):
            return numbers.cardinal(value) if before.text != "Pope" else None
        if not ruler:
            return None
        after = self._at(index + 1)
        if token.text == "I" and not (
            after is None or after.text in (".", ",", ";", ")") or after.text == "'"
        ):
            following = self._near(index, 1)
            if following is None or following.text not in ("of", "was", "and", "died", "became", "ruled"):
                return None
        return f"the {numbers.ordinal(value, self.british)}"

    # Single characters

    def _other(self, token: Token, index: int) -> None:
        symbol = token.text
        before, after = self._at(index - 1), self._at(index + 1)
        if symbol == '"':
            self._double_quote(token, before, after)
        elif symbol == "'":
            self._single_quote(token, before, after)
        elif symbol in ".:" and self._inside(before, after):
            self._inner(token, before, after)
        elif symbol in _MARKS:
            self._mark(token.start, token.stop, symbol)
        elif symbol in _BRACKETS:
            self._mark(token.start, token.stop, _BRACKETS[symbol])
        else:
            self._symbol(token, index, before, after)

    def _symbol(self, token: Token, index: int, before: Token | None, after: Token | None) -> None:
        symbol = token.text
        previous, following = self._near(index, -1), self._near(index, 1)
        numeric = self._is_numeric(previous), self._is_numeric(following)
        if symbol in table("between") and all(numeric):
            self._say(token, table("between")[symbol])
        elif symbol == "~" and numeric[1]:
            self._say(token, "about")
        elif symbol == "#" and after is not None and after.kind == "word":
            self._say(token, "hashtag")
        elif symbol in "%@+=&":
            if self._is_said(symbol, index, previous, following):
                self._say(token, table("symbols")[symbol])
        elif symbol in table("symbols"):
            self._say(token, table("symbols")[symbol])
        elif symbol in table("lists")["silent"]:
            if self._inside(before, after):
                self._space(token)
        elif symbol == "\ufffd" or not symbol.isspace():
            self._unknown(token.start, token.stop)

    def _is_said(self, symbol: str, index: int, previous: Token | None, following: Token | None) -> bool:
        """Is this sign a word here, rather than a ruler of "====" or a stray?"""
        if any(
            near is not None and near.text == symbol for near in (self._at(index - 1), self._at(index + 1))
        ):
            return (
                symbol == "+" and previous is not None and (previous.kind == "word" or previous.text == "+")
            )
        return (previous is not None and previous.kind != "other") or (
            symbol in "@+" and following is not None and following.kind != "other"
        )

    def _inside(self, before: Token | None, after: Token | None) -> bool:
        """Do letters or digits stand on both sides, with no space?"""
        return (
            before is not None
            and after is not None
            and before.text[-1:].isalnum()
            and after.text[:1].isalnum()
            and after.stop - before.start < 200
        )

    def _inner(self, token: Token, before: Token | None, after: Token | None) -> None:
        """A dot or colon within "node.js", "v2.5", "16:9"; but "end.Next" is two sentences."""
        first = after.text[0] if after is not None else ""
        if token.text == ":":
            if self._is_numeric(before) and self._is_numeric(after):
                self._say(token, "to")
            else:
                self._mark(token.start, token.stop, ":")
        elif first.isdecimal():
            self._say(token, "point")
        elif first.islower():
            self._say(token, "dot")
        else:
            self._mark(token.start, token.stop, ".")

    def _double_quote(self, token: Token, before: Token | None, after: Token | None) -> None:
        opens = not self.double_open
        if before is None or before.kind == "blank" or before.text in "([{—–":
            opens = after is not None and after.kind != "blank"
        elif after is None or after.kind == "blank":
            opens = False
        self.double_open = opens
        self._mark(token.start, token.stop, "“" if opens else "”")

    def _single_quote(self, token: Token, before: Token | None, after: Token | None) -> None:
        starts = before is None or before.kind == "blank" or before.text in '([{—–"“'
        if starts and after is not None and after.kind != "blank":
            # A quotation only when it closes again; otherwise a dropped letter ("'ello").
            if _CLOSING.search(self.text, token.stop, token.stop + 600):
                self.single_open = True
                self._mark(token.start, token.stop, "“")
        elif self.single_open:
            self.single_open = False
            self._mark(token.start, token.stop, "”")


def _is_latin(letter: str) -> bool:
    return letter < "\u0250" or "\u1e00" <= letter <= "\u1eff"


def _roman_value(text: str) -> int:
    values = [_ROMAN_VALUES[letter] for letter in text]
    return sum(-a if a < b else a for a, b in zip(values, [*values[1:], 0], strict=True))
