"""A front end's fault costs the smallest stretch of a text that it can: that is spelt out and reported."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from voicewright.errors import VoicewrightError
from voicewright.text.chunks import Unit
from voicewright.text.pieces import Kind, Piece

PASSING = (VoicewrightError, MemoryError, ImportError, OSError)
"""Not a text's doing: what is missing or full stays so for every stretch."""
_CUTS = (
    (re.compile(r"\n[^\S\n]{0,99}\n\s{0,99}"), Kind.BREAK),
    (re.compile(r"(?<=[.!?…])[\"'”’)]{0,3}\s{1,99}|(?<=[。！？।॥])\s{0,99}|\n"), Kind.SPACE),
    (re.compile(r"\s{1,99}"), Kind.SPACE),
)
"""Between paragraphs, sentences or lines, and words."""
_RUN = re.compile(r"[^\W\d_]{1,64}|.", re.DOTALL)

Read = Callable[[str], list[Unit]]


@dataclass(frozen=True)
class Fault:
    """A stretch that the front end failed at. It was read in pieces, the failing ones letter by letter."""

    text: str
    place: int
    """Where it begins in the text of the tokens that it is reported with."""
    reason: str
    """What went wrong, for a report."""

    def __str__(self) -> str:
        shown = self.text if len(self.text) <= 40 else f"{self.text[:39]}…"
        return f"the front end failed at {shown!r} ({self.reason}) and spelt it out; please report this"


def confined(text: str, read: Read) -> tuple[list[Unit], tuple[Fault, ...]]:
    """Units of a text, and what `read` failed at: paragraphs, then sentences, then words are tried alone.

    Passes on errors that are not the text's doing (`PASSING`), and stops. Without a fault it costs nothing.
    """
    try:
        return read(text), ()
    except PASSING:
        raise
    except Exception as error:  # whatever it is, it must not cost more than the stretch that it is about
        faults: list[Fault] = []
        return _within(text, 0, 0, read, error, faults), tuple(faults)


def _within(text: str, at: int, level: int, read: Read, error: Exception, faults: list[Fault]) -> list[Unit]:
    """Units of `text`, which begins at `at` and cannot be read as a whole."""
    if level == len(_CUTS):
        faults.append(_fault(text, at, error))
        return _spelt(text, at, read)
    pattern, between = _CUTS[level]
    units: list[Unit] = []
    position, known = 0, len(faults)
    for start, stop in [*(found.span() for found in pattern.finditer(text)), (len(text), len(text))]:
        # Quotation marks that close a sentence belong to it.
        space = stop - len(text[start:stop]) + len(text[start:stop].rstrip())
        part = text[position:space]
        if part:
            units += _part(part, at + position, level, read, faults)
        if space < stop:
            units.append(Unit(Piece(between, at + space, at + stop), ""))
        position = stop
    if len(faults) == known:
        # Only together they fail: each by itself was read.
        faults.append(_fault(text, at, error))
    return units


def _part(part: str, at: int, level: int, read: Read, faults: list[Fault]) -> list[Unit]:
    try:
        return _moved(read(part), at)
    except PASSING:
        raise
    except Exception as error:
        return _within(part, at, level + 1, read, error, faults)


def _spelt(text: str, at: int, read: Read) -> list[Unit]:
    """Words of letters as they are, where they can be read; else, and all else, one character at a time."""
    units: list[Unit] = []
    for found in _RUN.finditer(text):
        start, run = at + found.start(), found[0]
        whole = _tried(run, start, read)
        if whole is None and len(run) > 1:
            for offset, letter in enumerate(run, start):
                units += _tried(letter, offset, read) or [_unknown(offset)]
        else:
            units += [_unknown(start)] if whole is None else whole
    return units


def _tried(text: str, at: int, read: Read) -> list[Unit] | None:
    try:
        return _moved(read(text), at)
    except PASSING:
        raise
    except Exception:  # reported already, with the stretch that this is of
        return None


def _unknown(at: int) -> Unit:
    return Unit(Piece(Kind.UNKNOWN, at, at + 1), "")


def _moved(units: list[Unit], by: int) -> list[Unit]:
    return [
        Unit(replace(unit.piece, start=unit.piece.start + by, stop=unit.piece.stop + by), unit.sound)
        for unit in units
    ]


def _fault(text: str, at: int, error: Exception) -> Fault:
    lead = len(text) - len(text.lstrip())
    reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return Fault(text.strip()[:200], at + lead, reason[:120])
