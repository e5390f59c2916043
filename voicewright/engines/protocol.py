"""What every engine gives: speech with the times of its tokens and words."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from voicewright.errors import UsageError
from voicewright.stopping import Cancel
from voicewright.text.markup import FASTEST, SLOWEST
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

    def save(self, path: str | Path) -> Path:
        """Write the samples: wav, flac, mp3, ogg or opus by the suffix. Raises UsageError for another one."""
        from voicewright.audio.writer import WRITABLE, AudioWriter, writable_rate

        path = Path(path)
        if path.suffix.lower().lstrip(".") not in WRITABLE:
            raise UsageError(f"{path}: audio is written as {', '.join(WRITABLE)}; choose one of these.")
        if writable_rate(path.suffix, self.sample_rate) != self.sample_rate:
            raise UsageError(f"{path.suffix} cannot hold {self.sample_rate} samples a second; choose wav.")
        writer = AudioWriter(path, self.sample_rate)
        try:
            writer.write(self.samples)
            writer.commit()
        finally:
            writer.discard()
        return path


@dataclass(frozen=True)
class SpeakOptions:
    """How to speak.

    voice: one of the model's when not given. speed: 0.25 to 4, 1 is natural. seed: same seed, same samples on
    the same machine. language: the voice's own when not given. markup: follow inline tags (`text/markup.py`);
    wrong ones become warnings. early: begin with a short chunk (a sentence or clause), and pass on windows of
    a chunk where the model makes such, so that sound comes soon; without it every piece is a chunk.
    """

    voice: Voice | None = None
    speed: float = 1.0
    seed: int = 0
    language: str | None = None
    markup: bool = True
    early: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.speed, int | float) or not SLOWEST <= self.speed <= FASTEST:
            raise UsageError(f"the speed is {self.speed}; it must lie between {SLOWEST} and {FASTEST:g}.")


class Engine(Protocol):
    """Whatever turns text and a voice into speech: what a plug-in of `voicewright.engines` opens.

    `Speaks` makes `speak` and `stream` of `parts`.
    """

    @property
    def name(self) -> str:
        """The model, in words."""
        ...

    @property
    def sample_rate(self) -> int: ...

    @property
    def voices(self) -> tuple[str, ...]: ...

    @property
    def default_voice(self) -> str:
        """Raises UsageError when there is none."""
        ...

    @property
    def card(self) -> Mapping[str, object]:
        """Licence, data and training, as far as they are known."""
        ...

    @property
    def model_path(self) -> Path: ...

    def parts(self, text: str, options: SpeakOptions, cancel: Cancel | None = None) -> Iterator[Speech]:
        """Speech piece by piece, times on the clock of the whole; concatenated, the parts are free of clicks.

        Words come with the piece that they begin in, the record of a chunk with its last piece. cancel: an
        Event, or a function that says whether to stop, asked before every piece.

        Raises UsageError for wrong arguments and empty text, VoicewrightError when the text holds nothing
        that can be spoken, both before the first part; Cancelled when `cancel` says so.
        """
        ...


class Speaks(ABC):
    """The two ways to call an engine, once for all of them."""

    @property
    @abstractmethod
    def sample_rate(self) -> int: ...

    @abstractmethod
    def parts(self, text: str, options: SpeakOptions, cancel: Cancel | None = None) -> Iterator[Speech]:
        """See `Engine.parts`."""

    def speak(
        self,
        text: str,
        voice: Voice | None = None,
        speed: float = 1.0,
        seed: int = 0,
        language: str | None = None,
        markup: bool = True,
        cancel: Cancel | None = None,
    ) -> Speech:
        """The whole text at once; the same arguments give the same samples. As `parts`, which raises."""
        options = SpeakOptions(voice, speed, seed, language, markup)
        return join(list(self.parts(text, options, cancel)), self.sample_rate)

    def stream(
        self,
        text: str,
        voice: Voice | None = None,
        speed: float = 1.0,
        seed: int = 0,
        language: str | None = None,
        early: bool = True,
        markup: bool = True,
        cancel: Cancel | None = None,
    ) -> Iterator[Speech]:
        """Piece by piece, the first one early. As `parts`, which raises."""
        return self.parts(text, SpeakOptions(voice, speed, seed, language, markup, early), cancel)


def spoken(engine: Engine, text: str, options: SpeakOptions, cancel: Cancel | None = None) -> Speech:
    """The whole text at once, by any engine. Raises as `Engine.parts`."""
    return join(list(engine.parts(text, options, cancel)), engine.sample_rate)


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
