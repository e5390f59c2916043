"""The one front end: written text → phonemes → token ids; preparing, training and speaking all call it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from voicewright.errors import VoicewrightError
from voicewright.text.g2p import Pronouncer, find_language
from voicewright.text.pieces import Kind, Piece
from voicewright.text.vocab import KOKORO, MAX_TOKENS


@dataclass(frozen=True)
class Word:
    """A written word and where it sounds: `phonemes[start:stop]`, which are also the indices into ids."""

    text: str
    start: int
    stop: int


@dataclass(frozen=True)
class Tokens:
    """What is spoken for a text. One id for every phoneme symbol; no pads."""

    text: str
    phonemes: str
    ids: tuple[int, ...]
    words: tuple[Word, ...]
    unknown: tuple[str, ...]
    """Symbols of the text, and of its phonemes, that could not be spoken; in order, each once."""

    def check(self, where: str = "The text") -> Tokens:
        """Self, when there is something to speak; otherwise a VoicewrightError that says why not."""
        if self.words:
            return self
        if self.unknown:
            shown = " ".join(self.unknown[:8]) + (" …" if len(self.unknown) > 8 else "")
            raise VoicewrightError(
                f"{where} has nothing to speak: no reading is known for {shown}. Write words instead."
            )
        raise VoicewrightError(f"{where} has nothing to speak: it holds no words.")


class Frontend:
    """Reads text in one language. Build it once: it keeps its lexicon open."""

    def __init__(
        self, language: str = "en-us", lexicon: Path | None = None, vocab: Mapping[str, int] = KOKORO
    ) -> None:
        self._language = find_language(language)
        self.language = self._language.code
        self.vocab = vocab
        self._pronouncer: Pronouncer | None = None

    def tokens(self, text: str) -> Tokens:
        """All of `text` as one sequence, however long."""
        pieces = self._language.normalise(text)
        return self._assemble(text, pieces, self._pronounce(pieces))

    def chunks(self, text: str, limit: int = MAX_TOKENS) -> list[Tokens]:
        """`text` in sequences of at most `limit` tokens, cut between words."""
        return [self.tokens(text)]

    def ids(self, phonemes: str) -> list[int]:
        """Token ids of phonemes, without pads. Raises VoicewrightError that names a symbol with no id."""
        missing = [symbol for symbol in phonemes if symbol not in self.vocab]
        if missing:
            raise VoicewrightError(
                f"The phonemes hold {missing[0]!r}, which has no token id: {phonemes[:80]}."
            )
        return [self.vocab[symbol] for symbol in phonemes]

    def _pronounce(self, pieces: Sequence[Piece]) -> list[str]:
        if self._pronouncer is None:
            self._pronouncer = self._language.pronouncer()
        return self._pronouncer.pronounce(pieces)

    def _assemble(self, text: str, pieces: Sequence[Piece], sounds: Sequence[str]) -> Tokens:
        out: list[str] = []
        words: list[Word] = []
        unknown: dict[str, None] = {}
        for piece, sound in zip(pieces, sounds, strict=True):
            if piece.kind in (Kind.SPACE, Kind.BREAK):
                sound = " "
            elif piece.kind is Kind.UNKNOWN:
                unknown[text[piece.start : piece.stop]] = None
            start = len(out)
            for symbol in sound:
                if symbol == " " and (not out or out[-1] == " "):
                    continue
                if symbol in self.vocab:
                    out.append(symbol)
                else:
                    unknown[symbol] = None
            if piece.kind is Kind.WORD and len(out) > start:
                words.append(Word(text[piece.start : piece.stop], start, len(out)))
        if out and out[-1] == " ":
            out.pop()
        phonemes = "".join(out)
        ids = tuple(self.vocab[symbol] for symbol in phonemes)
        return Tokens(text, phonemes, ids, tuple(words), tuple(unknown))
