"""The `say` command: a text spoken into a file or down a pipe, while it is being made, in constant memory."""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

from voicewright.errors import Cancelled, UsageError
from voicewright.stopping import interruptible
from voicewright.text.markup import FASTEST, SLOWEST

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from voicewright.conversion.protocol import ConvertOptions
    from voicewright.engines.protocol import Engine, Speech
    from voicewright.engines.styles import StyleSampling

_LONG = 3000
"""Characters of a text whose progress is worth a line."""


@dataclass(frozen=True)
class Order:
    """What `say` was asked for; fields are its options."""

    text: str
    output: str = "speech.wav"
    model: str | None = None
    voice: str | None = None
    speed: float = 1.0
    seed: int = 0
    language: str | None = None
    lexicon: Path | None = None
    timestamps: Path | None = None
    markup: bool = True
    keep_partial: bool = False
    weights: str = "full"
    through: str | None = None
    """A voice to convert into, as `convert --to` has it."""
    index: Path | None = None
    embedder: str | None = None
    conversion: ConvertOptions | None = None
    adapters: tuple[str, ...] = ()
    """Folders of adapters upon the model."""
    styles: StyleSampling | None = None
    """How styles are drawn; None: the voicepack's are spoken."""
    given: frozenset[str] = frozenset()
    """Names of options that were said, not left to their defaults."""


@dataclass
class Said:
    """What became of it."""

    model: str
    voice: str = ""
    sample_rate: int = 0
    audio_seconds: float = 0.0
    first_audio_seconds: float = 0.0
    wall_seconds: float = 0.0
    warnings: tuple[str, ...] = ()


class _Sink(Protocol):
    def write(self, samples: NDArray[np.float32]) -> object: ...
    def prepare(self) -> object: ...
    def commit(self) -> object: ...
    def discard(self) -> object: ...


def check_outputs(output: str, timestamps: Path | None) -> None:
    """Everything that can be wrong with the names of results, before any work is done."""
    from voicewright.audio.writer import WRITABLE
    from voicewright.engines.timestamps import check_format

    files = [] if timestamps is None else [timestamps]
    if timestamps is not None:
        check_format(timestamps)
    if output == "-" and sys.__stdout__ is None:
        raise UsageError("standard output is closed, and -o - writes to it; name a file with -o.")
    if output != "-":
        if Path(output).suffix.lower().lstrip(".") not in WRITABLE:
            raise UsageError(f"{output}: audio is written as {', '.join(WRITABLE)}; choose one of these.")
        files.append(Path(output))
    for path in files:
        if path.is_dir():
            raise UsageError(f"{path} is a folder; name a file in it.")
        if not path.parent.is_dir():
            raise UsageError(f"there is no folder {path.parent} to write {path.name} to; make it first.")


def say(order: Order, chunks: IO[str] | None = None) -> Said:
    """Carry out an order. `chunks` receives the record of every chunk, one JSON object a line.

    Raises what the engine raises, before anything is written when the order is wrong; Cancelled after Ctrl-C:
    then nothing is left behind, or with `keep_partial` a whole file of what was spoken so far.
    """
    began = time.perf_counter()
    if not order.text.strip():
        raise UsageError("there is no text to speak; give some words.")
    if not SLOWEST <= order.speed <= FASTEST:
        raise UsageError(f"the speed is {order.speed}; it must lie between {SLOWEST} and {FASTEST:g}.")
    check_outputs(order.output, order.timestamps)
    from voicewright.engines.mixing import words_to_mix
    from voicewright.engines.protocol import SpeakOptions

    engine = _through(_engine(order), order)
    voice = None if order.voice is None else words_to_mix(order.voice, engine.model_path, engine.name)
    said = Said(engine.name)
    with interruptible() as stop:
        options = SpeakOptions(
            voice,
            order.speed,
            order.seed,
            order.language,
            order.markup,
            # Down a pipe somebody may be listening already.
            early=order.output == "-",
        )
        parts = engine.parts(order.text, options, stop)
        _write(parts, order, said, chunks, began)
    said.wall_seconds = time.perf_counter() - began
    return said


def _engine(order: Order) -> Engine:
    """The engine that sounds soonest, with Python's collector at rest meanwhile.

    It would look at torch's objects again and again while none of them can go, and once more at the end: a
    third of the time that loading torch takes.
    """
    if order.through is None and order.styles is None and "torch" not in sys.modules:
        if "numpy" not in sys.modules:  # its products here are small, and its threads wait by spinning
            os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        from voicewright.engines.light_engine import opened

        light = opened(order.model, order.lexicon, order.weights, order.adapters)
        if light is not None:
            return light
    from voicewright.engines.memory import bound_caches, return_at_once

    fresh = "torch" not in sys.modules
    if fresh:
        bound_caches()
        gc.disable()
    if order.weights == "half":
        return_at_once()
    try:
        from voicewright.engines.open import open_engine

        return open_engine(
            order.model,
            order.lexicon,
            weights=order.weights,
            adapters=order.adapters,
            styles=order.styles,
        )
    finally:
        if fresh:
            gc.enable()
            gc.freeze()


def _through(engine: Engine, order: Order) -> Engine:
    """The engine, with a converter behind it where one is wanted."""
    if order.through is None:
        return engine
    from voicewright.audio.writer import writable_rate
    from voicewright.conversion.open import open_converter, refuse_ignored
    from voicewright.conversion.protocol import ConvertOptions
    from voicewright.engines.speak_as import CHUNKS, ThroughEngine

    converter = open_converter(order.through, order.index, embedder=order.embedder)
    refuse_ignored(converter, order.given)
    rate = writable_rate(Path(order.output).suffix, converter.sample_rate)
    wanted = None if rate == converter.sample_rate else rate
    options = replace(order.conversion or ConvertOptions(), chunks=CHUNKS, sample_rate=wanted)
    return ThroughEngine(engine, converter, options)


def _write(parts: Iterator[Speech], order: Order, said: Said, chunks: IO[str] | None, began: float) -> None:
    # The first part comes before any file is opened: a text with nothing to speak leaves nothing behind.
    try:
        part: Speech | None = next(parts)
    except Cancelled as error:
        raise Cancelled("interrupted before the first sound; nothing was kept.") from error
    said.first_audio_seconds = time.perf_counter() - began
    assert part is not None
    said.sample_rate = part.sample_rate
    from voicewright.engines.memory import give_back

    meter = _Meter(order.text)
    with ExitStack() as stack:
        stamps = None
        if order.timestamps is not None:
            stamps = _Stamps(order.timestamps, part.sample_rate)
            stack.callback(stamps.discard)
        sink = _sink(order.output, part.sample_rate)
        stack.callback(sink.discard)
        warnings: dict[str, None] = {}
        try:
            while part is not None:
                sink.write(part.samples)
                said.audio_seconds = part.start + part.seconds
                warnings |= dict.fromkeys(part.warnings)
                for chunk in part.chunks:
                    said.voice = said.voice or chunk.voice
                    if stamps is not None:
                        stamps.add(chunk)
                    if chunks is not None:
                        chunks.write(_chunk_line(chunk))
                meter.show(part)
                if part.chunks:
                    give_back()
                part = next(parts, None)
        except Cancelled as error:
            meter.close()
            told = f"{said.audio_seconds:.1f} s of speech"
            if not order.keep_partial:
                raise Cancelled(f"interrupted after {told}; nothing was kept.") from error
            _finish(sink, stamps, said)
            raise Cancelled(f"interrupted; {order.output} holds the first {told}.") from error
        finally:
            meter.close()
            said.warnings = tuple(warnings)
        _finish(sink, stamps, said)


def _finish(sink: _Sink, stamps: _Stamps | None, said: Said) -> None:
    """All files to the disk first, then renamed: either all appear, or none."""
    sink.prepare()
    if stamps is not None:
        stamps.prepare(said.audio_seconds)
        stamps.commit()
    sink.commit()


def _sink(output: str, rate: int) -> _Sink:
    from voicewright.audio.writer import AudioWriter, WavPipe

    return WavPipe(sys.stdout.buffer, rate) if output == "-" else AudioWriter(Path(output), rate)


class _Stamps:
    """The timestamps file, written chunk by chunk under a temporary name."""

    def __init__(self, path: Path, rate: int) -> None:
        from voicewright.audio.writer import PartFile
        from voicewright.engines.timestamps import Rows

        self._rows = Rows(path.suffix, rate)
        self._file = PartFile(path)
        self._put(self._rows.begin())

    def add(self, chunk: object) -> None:
        from voicewright.engines.protocol import Chunk

        assert isinstance(chunk, Chunk)
        self._put(self._rows.chunk(chunk))

    def prepare(self, seconds: float) -> None:
        self._put(self._rows.end(seconds))
        self._file.prepare()

    def commit(self) -> None:
        self._file.commit()

    def discard(self) -> None:
        self._file.discard()

    def _put(self, text: str) -> None:
        self._file.write(text.encode("utf-8"))
        self._file.check()


class _Meter:
    """The progress of a long text on standard error: one line on a terminal, else at most ten."""

    def __init__(self, text: str) -> None:
        self._whole = len(text)
        self._live = sys.stderr.isatty()
        self._tenth = 0
        self._began = time.perf_counter()
        self._open = False

    def show(self, part: Speech) -> None:
        if self._whole < _LONG or not part.chunks:
            return
        chunk = part.chunks[-1]
        share = min(1.0, (chunk.place + len(chunk.text)) / self._whole)
        seconds = part.start + part.seconds
        pace = seconds / max(time.perf_counter() - self._began, 1e-3)
        line = f"{share:.0%} of the text, {seconds / 60:.1f} min of speech, {pace:.1f} times real time"
        if self._live:
            print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
            self._open = True
        elif int(10 * share) > self._tenth:
            self._tenth = int(10 * share)
            print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._open:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
        self._open = False


def _chunk_line(chunk: object) -> str:
    from voicewright.engines.protocol import Chunk
    from voicewright.engines.timestamps import chunk_dict

    assert isinstance(chunk, Chunk)
    record = chunk_dict(chunk)
    kept = {key: record[key] for key in ("text", "phonemes", "tokens")}
    return json.dumps(kept, ensure_ascii=False) + "\n"
