"""Written text on its way to a reading: edits that keep the way back to where everything stands."""

from __future__ import annotations

import tomllib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

from voicewright.text.pieces import Piece

Edit = tuple[int, int, str]
"""What stands in text[start:stop], and what is read in its place."""


@dataclass(frozen=True, slots=True)
class Source:
    """A text to read; its character at `i` stands for written[starts[i]:stops[i]]."""

    text: str
    starts: Sequence[int]
    stops: Sequence[int]

    @classmethod
    def of(cls, written: str) -> Source:
        return cls(written, range(len(written)), range(1, len(written) + 1))

    def edited(self, edits: Sequence[Edit]) -> Source:
        """The text after edits, which follow one another in order and do not overlap."""
        if not edits:
            return self
        out: list[str] = []
        starts, stops = array("q"), array("q")
        position = 0
        for start, stop, text in edits:
            out += (self.text[position:start], text)
            starts.extend(self.starts[position:start])
            stops.extend(self.stops[position:start])
            # What takes the place of nothing stands where the next character does.
            at = self.starts[start] if start < len(self.starts) else self.stops[-1] if self.stops else 0
            end = self.stops[stop - 1] if stop > start else at
            starts.extend([at] * len(text))
            stops.extend([end] * len(text))
            position = stop
        out.append(self.text[position:])
        starts.extend(self.starts[position:])
        stops.extend(self.stops[position:])
        return Source("".join(out), starts, stops)

    def placed(self, piece: Piece) -> Piece:
        """A piece of this text at its place in the written one."""
        if isinstance(self.starts, range):
            return piece
        if piece.start < piece.stop:
            return replace(piece, start=self.starts[piece.start], stop=self.stops[piece.stop - 1])
        at = self.starts[piece.start] if piece.start < len(self.starts) else self.stops[-1]
        return replace(piece, start=at, stop=at)


@cache
def table(name: str) -> dict[str, Any]:
    """`data/NAME.toml`, read once."""
    return tomllib.loads(files("voicewright.text").joinpath(f"data/{name}.toml").read_text("utf-8"))
