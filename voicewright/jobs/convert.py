"""The `convert` command: speech in, speech of another voice out; files, folders, of any length."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from voicewright.errors import Cancelled, UsageError, VoicewrightError

if TYPE_CHECKING:
    import threading

    import numpy as np
    from numpy.typing import NDArray

    from voicewright.conversion.protocol import Converter, ConvertOptions

MOST_SECONDS = 43_200.0
"""Twelve hours: longer files are rather a mistake."""


@dataclass(frozen=True)
class ConvertOrder:
    """What `convert` was asked for; fields are its options."""

    inputs: tuple[Path, ...]
    to: str
    output: str | None = None
    index: Path | None = None
    embedder: str | None = None
    device: str = "cpu"
    format: str | None = None
    """Of files in a folder; None: wav."""
    given: frozenset[str] = frozenset()
    """Names of `ConvertOptions` that were said, not left to their defaults."""


@dataclass
class Done:
    """What became of one recording. Pitches are medians in Hz, 0 where there is none."""

    input: str
    output: str
    seconds: float = 0.0
    sample_rate: int = 0
    transpose: float = 0.0
    source_pitch: float = 0.0
    target_pitch: float = 0.0
    wall_seconds: float = 0.0
    warnings: list[str] = field(default_factory=list)


def plan(order: ConvertOrder) -> tuple[list[tuple[Path, Path]], bool]:
    """Recordings and the files that they become, and whether these lie in a folder that is made for them.

    Raises UsageError for everything that can be wrong with names, before any work is done.
    """
    from voicewright.audio.writer import WRITABLE

    form = order.format or "wav"
    if form not in WRITABLE:
        raise UsageError(f"audio is written as {', '.join(WRITABLE)}, not {form!r}.")
    if not order.inputs:
        raise UsageError("there is nothing to convert: name recordings, or folders of them.")
    found = [pair for given in order.inputs for pair in _recordings(given)]
    single = len(order.inputs) == 1 and not order.inputs[0].is_dir()
    output = order.output
    if single and output is not None and not Path(output).is_dir() and not output.endswith("/"):
        if order.format is not None:
            raise UsageError("--format is of files in a folder; the name after -o says what this one is.")
        check_file(output, found[0][0])
        return [(found[0][0], Path(output))], False
    if output == "-":
        raise UsageError("only one recording at a time goes to standard output; give -o a folder.")
    if output is None and not single:
        raise UsageError("several recordings need a folder to go to; name one with -o.")
    if output is not None and Path(output).is_file():
        raise UsageError(f"{output} is a file, and several recordings need a folder; name one with -o.")
    folder = Path(output) if output is not None else Path()
    named = [
        (source, folder / place.with_suffix(f".{form}"), folder / f"{place}.{form}")
        for source, place in found
    ]
    taken = Counter(plain for _, plain, _ in named)
    work = [(source, plain if taken[plain] == 1 else longer) for source, plain, longer in named]
    if output is None:
        source = work[0][0]
        work = [(source, Path(f"{source.stem}-{Path(order.to).stem}.{form}"))]
    inputs = {source.resolve() for source, _ in work}
    made = Counter(target for _, target in work)
    for source, target in work:
        if target.resolve() in inputs:
            raise UsageError(
                f"{target} would overwrite a recording that is to be converted; name another -o."
            )
        if made[target] > 1:
            raise UsageError(f"two recordings would both become {target}; convert {source} by itself.")
    return work, True


def _recordings(given: Path) -> list[tuple[Path, Path]]:
    """A recording, or those in a folder, each with its place in it. Raises UsageError where there is none."""
    from voicewright.audio.kinds import is_recording

    if given.is_dir():
        inside = sorted(
            path
            for path in given.rglob("*")
            if path.is_file()
            and is_recording(path)
            and not any(part.startswith(".") for part in path.relative_to(given).parts)
        )
        if not inside:
            raise UsageError(f"there are no recordings in {given}.")
        return [(path, path.relative_to(given)) for path in inside]
    if not given.exists():
        raise UsageError(f"there is no recording {given}.")
    return [(given, Path(given.name))]


def check_file(output: str, source: Path) -> None:
    """Raises UsageError unless `output` is a file that can be made of `source`; - is."""
    from voicewright.audio.writer import WRITABLE

    if output == "-":
        return
    path = Path(output)
    if path.suffix.lower().lstrip(".") not in WRITABLE:
        raise UsageError(f"{output}: audio is written as {', '.join(WRITABLE)}; choose one of these.")
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder {path.parent} to write {path.name} to; make it first.")
    if path.resolve() == source.resolve():
        raise UsageError(f"{path} would overwrite the recording itself; name another file with -o.")


def convert_all(
    order: ConvertOrder, options: ConvertOptions, work: Sequence[tuple[Path, Path]], folders: bool
) -> tuple[list[Done], list[dict[str, str]], str]:
    """Convert recordings one after another. What fails is told and passed over where there are several.

    Returns what was done, what failed ({"input", "error"}), and the voice's name.
    """
    from voicewright.conversion.open import open_converter, refuse_ignored
    from voicewright.progress import Progress
    from voicewright.stopping import interruptible

    converter = open_converter(
        order.to, order.index, embedder=order.embedder, device=order.device, exact=options.exact
    )
    refuse_ignored(converter, order.given)
    progress = Progress()
    if converter.language:
        told = f"{converter.name} was taught on {converter.language} alone"
        progress(f"note: {told}; words of other languages are lost.")
    done: list[Done] = []
    failed: list[dict[str, str]] = []
    with interruptible() as stop:
        for source, target in work:
            try:
                if folders:
                    target.parent.mkdir(parents=True, exist_ok=True)
                piped = order.output == "-"
                done.append(convert_file(converter, source, target, options, stop, progress, piped))
            except Cancelled as error:
                kept = f"; {len(done)} of {len(work)} are converted" if len(work) > 1 else ""
                raise Cancelled(f"interrupted in {source.name}, of which nothing was kept{kept}.") from error
            except VoicewrightError as error:
                if len(work) == 1:
                    raise
                failed.append({"input": str(source), "error": str(error)})
                progress.close()
                print(f"{source}: {error}", file=sys.stderr, flush=True)
            finally:
                progress.close()
    return done, failed, converter.name


class _Sink(Protocol):
    samples: int

    def write(self, samples: NDArray[np.float32]) -> object: ...
    def commit(self) -> object: ...
    def discard(self) -> object: ...


def convert_file(
    converter: Converter,
    source: Path,
    target: Path,
    options: ConvertOptions,
    cancel: threading.Event,
    progress: Callable[..., object],
    piped: bool = False,
) -> Done:
    """One recording of any length, read, converted and written piece by piece; `target` appears when whole.

    Raises VoicewrightError in one sentence, UsageError for options that do not fit, Cancelled.
    """
    from voicewright.audio.files import note as channels_note
    from voicewright.audio.files import probe
    from voicewright.audio.writer import AudioWriter, WavPipe, writable_rate
    from voicewright.engines.memory import give_back

    began = time.perf_counter()
    info = probe(source)
    done = Done(str(source), "-" if piped else str(target))
    done.sample_rate = options.sample_rate or converter.sample_rate
    if not piped:
        done.sample_rate = writable_rate(target.suffix, done.sample_rate)
    if done.sample_rate != converter.sample_rate:
        options = replace(options, sample_rate=done.sample_rate)
    options = _surveyed(converter, source, info.rate, info.seconds, options, cancel)
    note = _Note(done)
    if (told := channels_note(source)) != "":
        note.warn(f"{told}.")
    sink: _Sink = (
        WavPipe(sys.stdout.buffer, done.sample_rate) if piped else AudioWriter(target, done.sample_rate)
    )
    try:
        for piece in _pieces(converter, source, info.rate, options, cancel, note):
            sink.write(piece)
            seconds = sink.samples / done.sample_rate
            progress(source.name, *((seconds, info.seconds) if info.seconds else (f"{seconds:.0f} s",)))
            give_back()
        sink.commit()
    finally:
        sink.discard()
    done.seconds = round(sink.samples / done.sample_rate, 4)
    note.finish()
    for warning in done.warnings:
        progress(f"warning: {source.name}: {warning}")
    done.wall_seconds = round(time.perf_counter() - began, 3)
    return done


def _surveyed(
    converter: Converter,
    source: Path,
    rate: int,
    seconds: float | None,
    options: ConvertOptions,
    cancel: threading.Event,
) -> ConvertOptions:
    """For a long recording the transposition comes from all of it, not from its first chunk."""
    from voicewright.audio.files import blocks
    from voicewright.conversion.source import survey

    long = seconds is None or seconds > options.chunks.longest
    if not (long and options.pitch == "auto" and not options.exact):
        return options
    meter = converter.pitch_meter(options)
    if meter is None:
        return options
    heard = blocks(source, rate, MOST_SECONDS)
    seen = survey(heard, rate, meter, cancel)
    return options.measured(seen.pitch)


def _pieces(
    converter: Converter,
    source: Path,
    rate: int,
    options: ConvertOptions,
    cancel: threading.Event,
    note: _Note,
) -> Iterator[NDArray[np.float32]]:
    from voicewright.audio.files import blocks, read

    if not options.exact:
        yield from converter.stream(blocks(source, rate, MOST_SECONDS), rate, options, cancel, note)
        return
    from voicewright.conversion.protocol import MOST_EXACT

    made = converter.convert(read(source, rate, MOST_EXACT + 1), rate, options, cancel)
    note.transposed(made.transpose)
    note.pitch(made.f0_source, made.f0_target)
    for warning in made.warnings:
        note.warn(warning)
    yield made.samples


class _Note:
    """Writes down what a conversion has to say; of pitch only how often each tenth of a
    semitone was there."""

    def __init__(self, done: Done) -> None:
        import numpy as np

        self._done = done
        self._counts = {name: np.zeros(1200, np.int64) for name in ("source", "target")}

    def warn(self, message: str) -> None:
        self._done.warnings.append(message)

    def transposed(self, semitones: float) -> None:
        self._done.transpose = semitones

    def pitch(self, f0_source: NDArray[np.float32], f0_target: NDArray[np.float32]) -> None:
        import numpy as np

        for name, f0 in (("source", f0_source), ("target", f0_target)):
            steps = np.rint(120 * np.log2(np.maximum(f0[f0 > 0], 10.0) / 10.0)).astype(np.int64)
            self._counts[name] += np.bincount(np.minimum(steps, 1199), minlength=1200)

    def finish(self) -> None:
        self._done.source_pitch = self._median("source")
        self._done.target_pitch = self._median("target")

    def _median(self, name: str) -> float:
        import numpy as np

        counts = self._counts[name]
        if not counts.sum():
            return 0.0
        middle = int(np.searchsorted(np.cumsum(counts), counts.sum() / 2))
        return round(10.0 * 2 ** (middle / 120), 1)
