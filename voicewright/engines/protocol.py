"""What every engine gives: speech with the times of its tokens and words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from voicewright.voices.blend import Mix
from voicewright.voices.pack import Voicepack

Voice: TypeAlias = str | Path | Voicepack | Mix
"""A name among the model's voices, or a mix of names (`a(2)+b`, see `voices/blend.py`); a voicepack file; a
voicepack; a parsed mix. A string is never opened as a file."""


@dataclass(frozen=True)
class TokenTime:
    """One phoneme symbol; seconds on the clock of the whole speech."""

    symbol: str
    start: float
    end: float


@dataclass(frozen=True)
class WordTime:
    """One written word; seconds on the clock of the whole speech."""

    text: str
    start: float
    end: float


@dataclass(frozen=True)
class Chunk:
    """What was synthesised in one go."""

    text: str
    phonemes: str
    voice: str
    tokens: tuple[TokenTime, ...]
    words: tuple[WordTime, ...]
    start: float
    end: float
    place: int = 0
    """Where `text` begins in the written text, in characters; tags inside a chunk are not in `text`."""


@dataclass(frozen=True, eq=False)
class Speech:
    """Mono float32 samples within ±1, and what they say."""

    samples: NDArray[np.float32]
    sample_rate: int
    chunks: tuple[Chunk, ...]
    warnings: tuple[str, ...] = ()
    start: float = 0.0
    """Where `samples` begin on the clock of the whole speech: not 0 for the later parts of a stream."""
    words: tuple[WordTime, ...] = ()
    """Words that begin within `samples`: in a stream they come before the record of their chunk does."""

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.sample_rate


class Engine(Protocol):
    """Whatever turns text and a voice into speech."""

    @property
    def voices(self) -> tuple[str, ...]: ...

    def stream(
        self,
        text: str,
        voice: Voice | None = None,
        speed: float = 1.0,
        seed: int = 0,
        language: str | None = None,
    ) -> Iterator[Speech]:
        """Speech piece by piece, the first one early. Concatenated, the parts are free of clicks; a chunk's
        record comes with its last piece."""
        ...

    def speak(
        self,
        text: str,
        voice: Voice | None = None,
        speed: float = 1.0,
        seed: int = 0,
        language: str | None = None,
    ) -> Speech:
        """The whole text at once. The same arguments give the same samples on the same machine."""
        ...


def join(parts: list[Speech], sample_rate: int) -> Speech:
    """One speech from the parts of a stream, in order; warnings once each."""
    samples = [part.samples for part in parts]
    return Speech(
        np.concatenate(samples) if samples else np.zeros(0, np.float32),
        sample_rate,
        tuple(chunk for part in parts for chunk in part.chunks),
        tuple(dict.fromkeys(warning for part in parts for warning in part.warnings)),
        parts[0].start if parts else 0.0,
        tuple(word for part in parts for word in part.words),
    )
