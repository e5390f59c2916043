"""The one driver of recordings: a voice hears pieces and says them.

A voice is an `OfflineConverter`: `begin` gives what one recording needs on its way (`Run`), which cuts what
it is fed, hears a piece and says it. Whatever comes out is brought to the wanted rate, limited, and made as
long as the source.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np

from voicewright.audio.limit import CEILING, Limiter
from voicewright.conversion.flow import Resampler, as_long
from voicewright.conversion.notes import Notes
from voicewright.conversion.protocol import CONTENT_RATE, Converted, ConvertOptions, Note, Samples
from voicewright.conversion.source import Source, check_recording
from voicewright.stopping import Cancel, stop_if

BLOCK = 1 << 20
"""Samples of a whole recording that are taken up at once."""


class Run(Protocol):
    """One recording under way: what one piece leaves behind for the next."""

    def cut(self, blocks: Iterable[Samples]) -> Iterator[Any]:
        """Samples at the rate that the voice hears, as pieces with what else of them is heard."""
        ...

    def hear(self, piece: Any) -> Any:
        """What is said in a piece, and how."""
        ...

    def say(self, piece: Any, heard: Any) -> Samples:
        """The piece in the voice, at the voice's rate, joined to the one before; some may be held back
        until the last."""
        ...

    def end(self, source: Source) -> None:
        """Everything was said: tell what is known only now."""
        ...


class OfflineConverter(ABC):
    """A `Converter` made of a voice that hears and says."""

    hears: int = CONTENT_RATE
    """Samples a second of what it hears."""
    filtered: bool = False
    """Is rumble taken away before?"""
    language: str = ""
    ignores: Mapping[str, str]

    @property
    @abstractmethod
    def sample_rate(self) -> int:
        """Of what it says."""

    @abstractmethod
    def begin(
        self, options: ConvertOptions, note: Note, cancel: Cancel | None, whole: Samples | None, rate: int
    ) -> Run:
        """A recording begins. whole: all of it at `rate`, where it is there. Raises UsageError for options
        that this voice cannot follow."""

    def convert(
        self, samples: Samples, rate: int, options: ConvertOptions, cancel: Cancel | None = None
    ) -> Converted:
        """A whole recording; see `Converter.convert`."""
        wave = check_recording(samples, rate)
        kept = Notes()
        blocks = [wave[at : at + BLOCK] for at in range(0, len(wave), BLOCK)]
        run = self.begin(options, kept, cancel, wave, rate)
        made = list(self._through(run, blocks, rate, options, cancel))
        joined = np.concatenate(made) if made else np.zeros(0, np.float32)
        return kept.converted(joined, options.sample_rate or self.sample_rate)

    def stream(
        self,
        blocks: Iterable[Samples],
        rate: int,
        options: ConvertOptions,
        cancel: Cancel | None = None,
        note: Note | None = None,
    ) -> Iterator[Samples]:
        """A recording of any length; see `Converter.stream`."""
        run = self.begin(options, note or Notes(), cancel, None, rate)
        return self._through(run, blocks, rate, options, cancel)

    def _through(
        self, run: Run, blocks: Iterable[Samples], rate: int, options: ConvertOptions, cancel: Cancel | None
    ) -> Iterator[Samples]:
        source = Source(blocks, rate, cancel, self.hears, self.filtered)
        wanted = options.sample_rate or self.sample_rate

        def said() -> Iterator[Samples]:
            for piece in run.cut(source):
                stop_if(cancel)
                yield run.say(piece, run.hear(piece))
            run.end(source)

        limiter = Limiter(wanted, CEILING)

        def limited() -> Iterator[Samples]:
            for part in Resampler(self.sample_rate, wanted).all(said()):
                yield limiter.feed(part, last=False)
            yield limiter.feed(np.zeros(0, np.float32), last=True)

        return as_long(limited(), lambda: round(source.seconds * wanted))
