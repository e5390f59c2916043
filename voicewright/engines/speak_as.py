"""Speech of any engine through a converter: another voice says it, while the engine goes on.

A thread synthesises; whoever reads the stream converts, one chunk (a sentence or so) at a time. The clock is
the engine's: words and chunks keep their times.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from voicewright.conversion.protocol import Chunks, Converter, ConvertOptions
from voicewright.engines.joins import fade
from voicewright.engines.protocol import Engine, SpeakOptions, Speaks, Speech, join
from voicewright.errors import VoicewrightError
from voicewright.stopping import Cancel, stop_if

AHEAD = 2
"""Chunks that may wait for their conversion."""
CHUNKS = Chunks(pad=0.24)
"""Around a sentence of synthetic speech there is silence, of which little need be heard."""
_ENOUGH = 50
"""Voiced frames by which the transposition is settled."""


class ThroughEngine(Speaks):
    """An engine whose speech goes through a converter. Everything else is the engine's own."""

    def __init__(self, engine: Engine, converter: Converter, options: ConvertOptions | None = None) -> None:
        self.engine, self.converter = engine, converter
        self.options = options or ConvertOptions(chunks=CHUNKS)

    @property
    def name(self) -> str:
        return f"{self.engine.name} through {self.converter.name}"

    @property
    def sample_rate(self) -> int:
        return self.options.sample_rate or self.converter.sample_rate

    @property
    def voices(self) -> tuple[str, ...]:
        return self.engine.voices

    @property
    def default_voice(self) -> str:
        return self.engine.default_voice

    @property
    def model_path(self) -> Path:
        return self.engine.model_path

    @property
    def card(self) -> Mapping[str, object]:
        return self.engine.card

    def parts(self, text: str, options: SpeakOptions, cancel: Cancel | None = None) -> Iterator[Speech]:
        """Converted speech, one part per chunk of the engine's; raises as the engine and the converter do."""
        halt = threading.Event()

        def stopped() -> bool:
            if halt.is_set() or cancel is None:
                return halt.is_set()
            return cancel.is_set() if isinstance(cancel, threading.Event) else cancel()

        return self._stream(self.engine.parts(text, options, stopped), options.seed, halt, stopped, cancel)

    def _stream(
        self, parts: Iterator[Speech], seed: int, halt: threading.Event, stopped: Any, cancel: Cancel | None
    ) -> Iterator[Speech]:
        # What may fail comes before the thread, which nobody would end otherwise.
        clock = _Clock(self.sample_rate)
        options = replace(self.options, seed=seed)
        settled: dict[str, float] = {}
        waiting: queue.Queue[Speech | BaseException | None] = queue.Queue(AHEAD)
        thread = threading.Thread(target=_collect, args=(parts, waiting, halt), name="synthesis", daemon=True)
        thread.start()
        try:
            while (whole := waiting.get()) is not None:
                if isinstance(whole, BaseException):
                    raise whole
                stop_if(cancel)
                yield self._converted(whole, options, settled, clock, stopped)
        finally:
            halt.set()
            while thread.is_alive():
                # The thread may be waiting for a place in the queue.
                _drain(waiting)
                thread.join(0.05)

    def _converted(
        self, whole: Speech, options: ConvertOptions, settled: dict[str, float], clock: _Clock, cancel: Any
    ) -> Speech:
        length, begin = clock.take(whole)
        if not whole.samples.any():
            silence = np.zeros(length, np.float32)
            return replace(whole, samples=silence, sample_rate=self.sample_rate, start=begin)
        voice = whole.chunks[-1].voice if whole.chunks else ""
        if options.pitch == "auto" and voice in settled:
            options = replace(options, pitch=settled[voice])
        made = self.converter.convert(whole.samples, whole.sample_rate, options, cancel)
        if made.sample_rate != self.sample_rate:
            raise VoicewrightError(
                f"{self.converter.name} gave {made.sample_rate} samples a second where {self.sample_rate} "
                "were promised; report this."
            )
        if options.pitch == "auto" and np.count_nonzero(made.f0_source) >= _ENOUGH:
            settled[voice] = made.transpose
        samples = np.pad(made.samples, (0, max(0, length - len(made.samples))))[:length]
        fade(samples, self.sample_rate)
        return Speech(
            samples,
            self.sample_rate,
            whole.chunks,
            tuple(dict.fromkeys(whole.warnings + made.warnings)),
            begin,
            whole.words,
        )


class _Clock:
    """The engine's clock in samples of another rate, without drift."""

    def __init__(self, rate: int) -> None:
        self._rate, self._seconds, self._at = rate, 0.0, 0

    def take(self, speech: Speech) -> tuple[int, float]:
        """How many samples the next speech has at the other rate, and the second in which it begins."""
        begin = self._at
        self._seconds += speech.seconds
        self._at = round(self._seconds * self._rate)
        return self._at - begin, begin / self._rate


def _collect(
    parts: Iterator[Speech], waiting: queue.Queue[Speech | BaseException | None], halt: threading.Event
) -> None:
    """Puts chunks together from their pieces; runs in a thread of its own. The last thing put is None or
    what was raised."""

    def put(item: Speech | BaseException | None) -> None:
        while not halt.is_set():
            try:
                waiting.put(item, timeout=0.1)
                return
            except queue.Full:
                continue

    try:
        open_parts: list[Speech] = []
        for part in parts:
            if halt.is_set():
                return
            if not open_parts and not part.chunks and not part.words and not part.samples.any():
                put(part)  # a pause of the markup
                continue
            open_parts.append(part)
            if part.chunks:
                put(join(open_parts, part.sample_rate))
                open_parts = []
        if open_parts:
            put(join(open_parts, open_parts[0].sample_rate))
        put(None)
    except BaseException as error:  # handed to whoever reads, who raises it
        put(error)


def _drain(waiting: queue.Queue[Speech | BaseException | None]) -> None:
    while True:
        try:
            waiting.get_nowait()
        except queue.Empty:
            return
