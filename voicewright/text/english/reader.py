"""Goes through tokens with their neighbours in view and writes down pieces."""

from __future__ import annotations

from collections.abc import Container

from voicewright.text.english.scan import Token
from voicewright.text.english.tables import WORDS
from voicewright.text.pieces import Kind, Piece

_NUMERIC = frozenset({"number", "fraction", "money", "range", "ordinal", "time", "decade", "measure"})
_CLOSERS = frozenset(")]}\"'”")


class Reader:
    """Reads the tokens in order, each with its neighbours in view."""

    def __init__(self, text: str, tokens: list[Token], british: bool, known: Container[str]) -> None:
        self.text = text
        self.tokens = tokens
        self.british = british
        self.known = known
        self.pieces: list[Piece] = []
        self.index = 0
        self.single_open = False
        self.double_open = False

    def read(self) -> list[Piece]:
        while self.index < len(self.tokens):
            token = self.tokens[self.index]
            self.index += 1
            getattr(self, "_form" if token.form.say else f"_{token.kind}")(token, self.index - 1)
        return self.pieces

    # Neighbours

    def _at(self, index: int) -> Token | None:
        return self.tokens[index] if 0 <= index < len(self.tokens) else None

    def _text(self, index: int) -> str:
        """The text of the token at an index; empty beyond the ends and at a paragraph's end (-1)."""
        return self.tokens[index].text if 0 <= index < len(self.tokens) else ""

    def _beside(self, index: int, step: int) -> str:
        """The text of the next token in a direction that is not blank; empty at a paragraph's end."""
        return self._text(self._next(index, step))

    def _next(self, index: int, step: int) -> int:
        """Index of the next token in a direction that is not blank; -1 at a paragraph's end."""
        token = self._at(index + step)
        if token is not None and token.kind == "blank":
            step = len(self.tokens) if token.text.count("\n") > 1 else 2 * step
        return index + step if index >= 0 and self._at(index + step) is not None else -1

    def _near(self, index: int, step: int) -> Token | None:
        """The next token in a direction that is not blank; None at a paragraph's end."""
        return self._at(self._next(index, step))

    def _is_numeric(self, token: Token | None) -> bool:
        return token is not None and token.kind in _NUMERIC

    def _capitalised(self, token: Token | None) -> bool:
        return token is not None and token.kind in ("word", "dotted", "given") and token.text[:1].isupper()

    def _sentence_ends(self, index: int, always: bool = False) -> bool:
        """Does an abbreviation's dot at `index` also end the sentence?"""
        index = self._next(index, 1)
        after = self._at(index)
        if after is not None and after.text in _CLOSERS:
            after = self._near(index, 1)
        if after is None:
            return True
        return self._capitalised(after) and (always or after.text in WORDS.sentence_starts)

    # Pieces

    def _say(self, token: Token, spoken: str, stop: int | None = None, phonemes: str | None = None) -> None:
        self.pieces.append(Piece(Kind.WORD, token.start, stop or token.stop, spoken, phonemes))

    def _mark(self, start: int, stop: int, symbol: str) -> None:
        last = self.pieces[-1] if self.pieces else None
        # "!!!" is one mark.
        if last is None or last.kind is not Kind.MARK or last.phonemes != symbol or symbol in "()“”":
            self.pieces.append(Piece(Kind.MARK, start, stop, phonemes=symbol))

    def _space(self, token: Token, kind: Kind = Kind.SPACE) -> None:
        self.pieces.append(Piece(kind, token.start, token.stop))

    def _with_dot(self, token: Token, index: int, spoken: str, always: bool = False) -> None:
        """An abbreviation whose dot is the next token."""
        dot = self.tokens[index + 1]
        self.index = index + 2
        if self._sentence_ends(index + 1, always):
            self._say(token, spoken)
            self._mark(dot.start, dot.stop, ".")
        else:
            self._say(token, spoken, dot.stop)
