"""Where to cut a long text: at the end of a sentence, else of a clause, else between words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from voicewright.text.pieces import Kind, Piece

_SENTENCE = frozenset(".!?…")
_CLAUSE = frozenset(";:,—")
_CLOSERS = frozenset("”)")
_LEAST = {3: 0.0, 2: 0.25, 1: 0.4}
"""Part of the limit that must be full before a cut of that rank is taken: better cuts may come earlier."""


class Cut(IntEnum):
    """How good it is to cut after a piece."""

    NEVER = 0
    SPACE = 1
    CLAUSE = 2
    SENTENCE = 3
    PARAGRAPH = 4


@dataclass(frozen=True, slots=True)
class Unit:
    """A piece with its sound, ready to be placed."""

    piece: Piece
    sound: str


def ranks(units: Sequence[Unit]) -> list[Cut]:
    """How good a cut is after every unit."""
    result = [Cut.NEVER] * len(units)
    best = Cut.NEVER
    for index, unit in enumerate(units):
        piece = unit.piece
        if piece.kind is Kind.BREAK:
            result[index] = Cut.PARAGRAPH
            best = Cut.NEVER
        elif piece.kind is Kind.SPACE:
            result[index] = max(best, Cut.SPACE)
            best = Cut.NEVER
        elif piece.kind is Kind.MARK and unit.sound:
            if unit.sound in _SENTENCE:
                best = Cut.SENTENCE
            elif unit.sound in _CLAUSE:
                best = Cut.CLAUSE
                result[index] = Cut.CLAUSE if unit.sound == "—" else Cut.NEVER
            elif unit.sound not in _CLOSERS:
                best = Cut.NEVER
        elif piece.kind is Kind.WORD:
            best = Cut.NEVER
            following = units[index + 1].piece.kind if index + 1 < len(units) else Kind.SPACE
            # Scripts and over-long strings without spaces may be cut between their pieces.
            result[index] = Cut.SPACE if following is Kind.WORD else Cut.NEVER
    return result


def split(units: Sequence[Unit], limit: int) -> list[list[Unit]]:
    """Groups of units with at most `limit` symbols each; a paragraph's end always ends a group.

    A single word longer than `limit` is cut inside, at a space of its reading where there is one.
    """
    groups: list[list[Unit]] = []
    paragraph: list[Unit] = []
    for unit in units:
        paragraph.append(unit)
        if unit.piece.kind is Kind.BREAK:
            groups.extend(_fill(paragraph, limit))
            paragraph = []
    groups.extend(_fill(paragraph, limit))
    return [group for group in groups if any(unit.sound.strip() for unit in group) or _unknown(group)]


def _unknown(group: Sequence[Unit]) -> bool:
    return any(unit.piece.kind is Kind.UNKNOWN for unit in group)


def _fill(units: Sequence[Unit], limit: int) -> list[list[Unit]]:
    units = [part for unit in units for part in _halve(unit, limit)]
    sizes = [_size(units, index) for index in range(len(units))]
    rank = ranks(units)
    left = sum(sizes)
    groups: list[list[Unit]] = []
    start = 0
    while start < len(units):
        if left <= limit:
            groups.append(list(units[start:]))
            break
        # Two even groups rather than a full one and a crumb.
        room = limit if left > 1.5 * limit else max(1, min(limit, int(left * 0.6)))
        stop = _cut(sizes, rank, start, room, limit)
        groups.append(list(units[start:stop]))
        left -= sum(sizes[start:stop])
        start = stop
    return groups


def _cut(sizes: Sequence[int], rank: Sequence[Cut], start: int, room: int, limit: int) -> int:
    """Index after the last unit of the group that begins at `start`."""
    latest: dict[int, int] = {}
    total, index = 0, start
    while index < len(sizes) and total + sizes[index] <= limit:
        total += sizes[index]
        index += 1
        cut = min(rank[index - 1], Cut.SENTENCE)
        inside = total <= room or cut not in latest
        if cut is not Cut.NEVER and inside and total >= _LEAST[cut] * limit:
            latest[cut] = index
    for cut in (Cut.SENTENCE, Cut.CLAUSE, Cut.SPACE):
        if cut in latest:
            return latest[cut]
    # No good place where one is wanted: the last space there is, or right here.
    spaces = [at for at in range(start + 1, index + 1) if rank[at - 1] is not Cut.NEVER]
    return spaces[-1] if spaces else max(index, start + 1)


def _size(units: Sequence[Unit], index: int) -> int:
    """Symbols that a unit adds, with the space that is put between neighbouring words."""
    unit = units[index]
    if unit.piece.kind in (Kind.SPACE, Kind.BREAK):
        return 1
    joined = unit.piece.kind is Kind.WORD and index > 0 and units[index - 1].piece.kind is Kind.WORD
    return len(unit.sound) + joined


def _halve(unit: Unit, limit: int) -> list[Unit]:
    """The unit, or parts of it when it alone is longer than the limit."""
    if len(unit.sound) <= limit:
        return [unit]
    parts: list[Unit] = []
    rest = unit.sound
    while len(rest) > limit:
        at = rest.rfind(" ", 1, limit + 1)
        at = at if at > 0 else limit
        parts.append(Unit(unit.piece, rest[:at].strip()))
        rest = rest[at:].strip()
    return [*parts, Unit(unit.piece, rest)] if rest else parts
