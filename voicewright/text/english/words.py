"""How words and single characters are read: acronyms, dropped letters, quotes, symbols."""

from __future__ import annotations

import re

from voicewright.text.english import numbers
from voicewright.text.english.abbreviations import AbbreviationReader
from voicewright.text.english.known import is_word
from voicewright.text.english.scan import Token
from voicewright.text.english.tables import WORDS
from voicewright.text.english.written import greek, table
from voicewright.text.pieces import Kind, Piece

_MARKS = frozenset(";:,.!?…“”()")
_BRACKETS = {"[": "(", "{": "(", "]": ")", "}": ")"}
_CLOSING = re.compile(r"[^\W_]'(?![^\W_])|[.,!?…]'")
_LAST_WORD = re.compile(r"[^\W_]{1,24}\Z")
_LETTERS = re.compile(r"[AEIOU][A-Z]|[A-Z][AEIOU]")
"""Two letters before or between figures that are no word there: CO2, BA117."""
_RUNS = re.compile(r"\d+|[^\W\d_]+")
_READABLE = re.compile(r"(?<![^\W_])[α-ωΑ-Ω](?![^\W_])|[A-Za-z0-9\u00aa-\u024f\u1e00-\u1eff'-]+")


class WordReader(AbbreviationReader):
    """Reads tokens of the kinds `word`, `elided` and `other`."""

    dropped = -1
    """Index of the word that an apostrophe stands before."""

    def _word(self, token: Token, index: int) -> None:
        word = token.text
        if not word.isascii() and not all(map(_is_latin, word)):
            self._foreign(token)
        elif word in self.known:
            self._say(token, word)
        elif self._roman(token, index) or self._abbreviation(token, index):
            return
        elif word.isalpha() or word.replace("'", "").replace("-", "").isalpha():
            self._letters(token, index)
        else:
            self._say(token, self._mixed(word))

    def _letters(self, token: Token, index: int) -> None:
        """A plain word, with the apostrophe that may begin or end it ("'ouse", "goin'", "boys'")."""
        word, low = token.text, token.text.lower()
        before, after, beyond = (self._at(index + step) for step in (-1, 1, 2))
        if after is not None and after.text == "'":
            spaced = all(near is None or near.kind == "blank" for near in (before, beyond))
            whole = (f"{low}'" in WORDS.elisions and spaced) or self._clips(low)
            if whole or not self.single_open:
                self.index = index + 2
                self._respelt(token, f"{word}'" if whole else word, after.stop)
                return
        dropped = self.dropped == index and is_word(f"h{low}", self.british)
        clipped = dropped and (low in WORDS.aitches or not is_word(low, self.british))
        self._respelt(token, f"'{word}" if clipped else word)

    def _clips(self, low: str) -> bool:
        """Is this an -ing form without its g rather than a word of its own ("the cabin")?"""
        if not low.endswith("in"):
            return False
        if low == "goin" or not is_word(low, self.british):
            stems = (f"{low}g", low[:-2], f"{low[:-2]}e", low[:-3])
            return not self.single_open or any(is_word(stem, self.british) for stem in stems)
        return not self.single_open and len(low) > 3 and is_word(f"{low}g", self.british)

    def _respelt(self, token: Token, word: str, stop: int | None = None) -> None:
        spoken = ".".join(word) if word in WORDS.spelled else WORDS.elisions.get(word.lower(), word)
        phonemes = spoken.strip("/") if spoken.startswith("/") else None
        self._say(token, word if phonemes else spoken, stop, phonemes)

    def _elided(self, token: Token, index: int) -> None:
        self._say(token, "'n'" if token.text.strip("'").lower() == "n" else token.text)

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
        dot = previous is not None and previous.text == "." and previous.stop
        if any(piece.kind is Kind.WORD and piece.stop == dot for piece in self.pieces[-2:]):
            return True  # of an abbreviation
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
            if any(map(self._closes, _CLOSING.finditer(self.text, token.stop, token.stop + 600))):
                self.single_open = True
                self._mark(token.start, token.stop, "“")
            else:
                self.dropped = self.index
        elif self.single_open:
            self.single_open = False
            self._mark(token.start, token.stop, "”")

    def _closes(self, end: re.Match[str]) -> bool:
        """Does a quotation end here, rather than a word that lost its g or v ("goin'", "o'")?"""
        word = _LAST_WORD.search(self.text, max(0, end.start() - 23), end.start() + 1)
        low = word[0].lower() if word else ""
        return f"{low}'" not in WORDS.elisions and not self._clips(low)


def _is_latin(letter: str) -> bool:
    return letter < "\u0250" or "\u1e00" <= letter <= "\u1eff"
