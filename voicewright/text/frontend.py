"""The one front end: written text → phonemes → token ids; preparing, training and speaking all call it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from voicewright.errors import VoicewrightError
from voicewright.text.chunks import Unit, split
from voicewright.text.faults import Fault, confined
from voicewright.text.g2p import find_language
from voicewright.text.hypertext import unmarked
from voicewright.text.lexicon import Lexicon
from voicewright.text.lines import lined
from voicewright.text.pieces import JOINED, Kind, Piece
from voicewright.text.source import Source
from voicewright.text.vocab import KOKORO, MAX_TOKENS, spell

_UNSPACED = "\u0e00"
"""Scripts from here on write words without blanks, or have none of the signs that join words."""
_MARKS = frozenset(';:,.!?—…“”"()')


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
    faults: tuple[Fault, ...] = ()
    """What the front end failed at and spelt out; a fault of ours, not of the text."""
    paragraph: bool = False
    """A paragraph, or a line of its own, ends with it."""

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
        self,
        language: str = "en-us",
        lexicon: Path | Lexicon | None = None,
        vocab: Mapping[str, int] = KOKORO,
    ) -> None:
        """`lexicon`: the user's own pronunciations. Raises UsageError for a language that no one reads."""
        found = find_language(language).written_with(vocab)
        self.language = found.code
        self.vocab = vocab
        self._symbols = frozenset(vocab)
        self._user = Lexicon.read(lexicon, vocab) if isinstance(lexicon, Path) else lexicon
        self._normalise = found.normaliser(self._user)
        self._pronouncer = found.pronouncer(self._user)
        self._known = getattr(self._pronouncer, "knows", None)

    def __reduce__(self) -> tuple[object, ...]:
        return Frontend, (self.language, self._user, dict(self.vocab))

    def tokens(self, text: str) -> Tokens:
        """All of `text` as one sequence, however long. No text raises: see `Tokens.faults`."""
        units, faults = confined(text, self._units)
        return self._assemble(text, 0, len(text), units, faults)

    def chunks(self, text: str, limit: int = MAX_TOKENS) -> list[Tokens]:
        """`text` in sequences of at most `limit` tokens, in order; nothing is left out.

        Cut at ends of sentences where possible, else of clauses, else between words; a blank line always
        cuts. Only a single word longer than `limit` (a long web address) is cut inside, and then stands in
        both chunks.
        Text without a word gives the chunk that its unknown symbols are reported in, or none.
        """
        if limit < 1:
            raise VoicewrightError(f"A chunk cannot have {limit} tokens: give a limit of at least 1.")
        units, faults = confined(text, self._units)
        result: list[Tokens] = []
        groups = split(units, limit)
        for number, group in enumerate(groups):
            shown = [unit.piece for unit in group if unit.piece.kind not in (Kind.SPACE, Kind.BREAK)]
            start, stop = shown[0].start, shown[-1].stop
            # A fault is reported with the chunk that it stands in, or the one before it.
            follows = groups[number + 1][0].piece.start if number + 1 < len(groups) else len(text) + 1
            mine = [
                fault for fault in faults if (start <= fault.place or not number) and fault.place < follows
            ]
            faults = faults[len(mine) :]
            result.append(self._assemble(text, start, stop, group, mine))
        return result

    def ids(self, phonemes: str) -> list[int]:
        """Token ids of phonemes, without pads. Raises VoicewrightError that names a symbol with no id."""
        missing = [symbol for symbol in phonemes if symbol not in self.vocab]
        if missing:
            raise VoicewrightError(
                f"The phonemes hold {missing[0]!r}, which has no token id: {phonemes[:80]}."
            )
        return [self.vocab[symbol] for symbol in phonemes]

    def from_phonemes(self, phonemes: str) -> Tokens:
        """Tokens of phonemes that are already at hand; what stands between spaces is a word.

        Symbols without a token id are reported in `unknown`, as for text.
        """
        units = []
        for found in re.finditer(r"\s+|[^\s;:,.!?—…“”\"()]+|.", phonemes):
            kind = Kind.SPACE if found[0].isspace() else Kind.MARK if found[0] in _MARKS else Kind.WORD
            units.append(
                Unit(Piece(kind, found.start(), found.end()), "" if kind is Kind.SPACE else found[0])
            )
        return self._assemble(phonemes, 0, len(phonemes), units)

    def _units(self, text: str) -> list[Unit]:
        source = lined(unmarked(Source.of(text)), self.language, self._known)
        pieces = self._normalise(source.text)
        sounds = self._pronouncer.pronounce(pieces)
        return [
            Unit(source.placed(piece), self._spelt(sound))
            for piece, sound in zip(pieces, sounds, strict=True)
        ]

    def _spelt(self, sound: str) -> str:
        """A sound in the vocabulary's own symbols where there is a way; what cannot be written stays."""
        if self._symbols.issuperset(sound):
            return sound
        lead = JOINED if sound.startswith(JOINED) else ""
        spelt = (spell(symbol, self.vocab) for symbol in sound.removeprefix(JOINED))
        return lead + "".join(
            s if n is None else n for s, n in zip(sound.removeprefix(JOINED), spelt, strict=True)
        )

    def _assemble(
        self, text: str, begin: int, end: int, units: Sequence[Unit], faults: Sequence[Fault] = ()
    ) -> Tokens:
        """Units of text[begin:end], one after the other; `faults` by their places in `text`."""
        out: list[str] = []
        words: list[Word] = []
        unknown: dict[str, None] = {}
        after_word = False
        last: Piece | None = None
        for unit in units:
            piece, sound = unit.piece, unit.sound
            is_word = piece.kind is Kind.WORD
            if piece.kind in (Kind.SPACE, Kind.BREAK) or (is_word and after_word):
                if out and out[-1] != " ":
                    out.append(" ")
            elif piece.kind is Kind.UNKNOWN:
                unknown[_shown(text[piece.start : piece.stop])] = None
            after_word = is_word
            if is_word and sound.startswith(JOINED):
                sound = sound.removeprefix(JOINED)
                if out and out[-1] == " ":
                    out.pop()
            elif is_word and not sound and piece.phonemes is None:
                unknown[_shown(text[piece.start : piece.stop])] = None
            start = len(out)
            for symbol in sound:
                if symbol not in self.vocab:
                    unknown[symbol] = None
                elif symbol != " " or len(out) > start:
                    out.append(symbol)
            if is_word and len(out) > start:
                if last is not None and words and _touch(text, last, piece):
                    # "node.js" is one written word, however many are said for it.
                    start, piece = words.pop().start, replace(piece, start=last.start)
                words.append(Word(text[piece.start : piece.stop], start, len(out)))
                last = piece
            elif not is_word:
                last = None
        if out and out[-1] == " ":
            out.pop()
        ids = tuple(self.vocab[symbol] for symbol in out)
        written = text[begin:end].strip()
        if faults:
            begin += len(text[begin:end]) - len(text[begin:end].lstrip())
            faults = [replace(fault, place=fault.place - begin) for fault in faults]
        paragraph = bool(units) and units[-1].piece.kind is Kind.BREAK
        return Tokens(written, "".join(out), ids, tuple(words), tuple(unknown), tuple(faults), paragraph)


def _touch(text: str, before: Piece, after: Piece) -> bool:
    """Does one word follow the other without a blank, in a script that writes blanks?"""
    return before.stop == after.start and text[before.stop - 1] < _UNSPACED > text[after.start]


def _shown(symbol: str) -> str:
    """A stretch of text as a message can hold it: no half of a surrogate pair, not endless."""
    shown = symbol.encode("utf-8", "replace").decode("utf-8")
    return shown if len(shown) <= 40 else f"{shown[:39]}…"
