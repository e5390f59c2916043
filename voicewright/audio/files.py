"""Recordings in, samples out, and back: any container, rate, depth, scale and channel count.

Everything is decoded in blocks and mixed to mono at once, so that the cap on seconds holds before memory is
taken, whatever a header claims. Writing never leaves half a file.
"""

from __future__ import annotations

import contextlib
import functools
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from voicewright.audio.channels import Mix, examine
from voicewright.audio.decoders import DECODING_ERRORS, AudioError, AudioInfo, SndFile, Stream, opened, plain
from voicewright.audio.kinds import EXTENSIONS, is_recording
from voicewright.audio.lengths import cut_short, promised_seconds
from voicewright.audio.writer import OPUS_RATES, WRITABLE
from voicewright.errors import UsageError, VoicewrightError
from voicewright.storage import write_atomically as write_atomically
from voicewright.units import SAMPLE_RATE

__all__ = [
    "EXTENSIONS",
    "WRITABLE",
    "AudioError",
    "AudioInfo",
    "Samples",
    "blocks",
    "decode",
    "encode",
    "is_recording",
    "note",
    "probe",
    "read",
    "resample",
    "write",
    "write_atomically",
]

Samples = NDArray[np.float32]

_BLOCK = 1 << 17


def probe(path: Path) -> AudioInfo:
    """What the header says, without decoding. Raises AudioError for what is not audio."""
    with opened(path) as stream:
        return stream.info


def note(path: Path) -> str:
    """What will be done about a recording's channels or scale, empty where nothing: decodes it once."""
    with opened(path) as stream:
        return _mix(path, stream.info, 43_200.0).note


def _mix(path: Path, info: AudioInfo, max_seconds: float) -> Mix:
    """How the channels of a file become one. What is wrong with it is left for the reader to find."""
    if info.channels == 1 and info.whole:
        return Mix()
    state = path.stat()
    return _examined(path, state.st_size, state.st_mtime_ns, info, max_seconds)


@functools.lru_cache(maxsize=16)
def _examined(path: Path, _size: int, _changed: int, info: AudioInfo, max_seconds: float) -> Mix:
    """Remembered while the file stays as it is: a conversion reads it several times."""

    def capped(stream: Stream) -> Iterator[Samples]:
        left = int(max_seconds * info.rate) + 1
        with contextlib.suppress(*DECODING_ERRORS):
            for block in stream.blocks():
                yield block
                left -= len(block)
                if left <= 0:
                    return

    with opened(path) as stream:
        return examine(capped(stream), info.rate, info.channels, info.floats, info.whole)


def _mono_blocks(path: Path, stream: Stream, mix: Mix, max_seconds: float) -> Iterator[Samples]:
    """Blocks at the file's rate, checked: finite, not longer than allowed, not shorter than promised."""
    info = stream.info
    limit = int(max_seconds * info.rate)
    count = 0
    blocks = stream.blocks()
    while True:
        try:
            block = next(blocks, None)
        except DECODING_ERRORS as error:
            reason = "truncated" if info.seconds else "unreadable"
            where = f" after {count / info.rate:.2f} s" if count else ""
            raise AudioError(f"{path} cannot be decoded{where} ({plain(error)}).", reason) from error
        if block is None:
            break
        count += len(block)
        if count > limit:
            raise _too_long(path, max_seconds)
        if not np.isfinite(block).all():
            raise AudioError(f"{path} holds values that are not numbers: it is damaged.")
        yield mix.mono(block)
    held = count / info.rate
    promised = promised_seconds(path, info.container, info.seconds, not isinstance(stream, SndFile))
    # Containers round durations to whole frames or packets: a tenth of a second is no loss.
    if promised is not None and held < promised - max(0.1, 0.01 * promised):
        raise AudioError(f"{path} is cut short: {promised:.2f} s promised, {held:.2f} s held.", "truncated")
    if cut_short(path, info.container):
        raise AudioError(f"{path} is cut short: its last part is missing; {held:.2f} s held.", "truncated")
    if count == 0:
        raise AudioError(f"{path} holds no samples.", "empty")


def _too_long(path: Path, max_seconds: float) -> AudioError:
    return AudioError(
        f"{path} is longer than {max_seconds:g} seconds: cut it into shorter files.", "too_long"
    )


def _checked(path: Path, stream: Stream, max_seconds: float) -> Mix:
    """Refuse what its header says is too long, before it is decoded; then how it is to be heard."""
    info = stream.info
    if info.seconds is not None and isinstance(stream, SndFile) and info.seconds > max_seconds:
        raise _too_long(path, max_seconds)
    return _mix(path, info, max_seconds)


def blocks(path: Path, rate: int = SAMPLE_RATE, max_seconds: float = 43_200.0) -> Iterator[Samples]:
    """Mono float32 blocks at `rate`, of any small length: for recordings too long to hold in memory.

    Raises AudioError: not audio, empty, truncated (at the end of what could be read), too long.
    """
    with opened(path) as stream:
        mix = _checked(path, stream, max_seconds)
        if stream.info.rate == rate:
            yield from _mono_blocks(path, stream, mix, max_seconds)
            return
        resampler = soxr.ResampleStream(stream.info.rate, rate, 1, dtype="float32")
        for block in _mono_blocks(path, stream, mix, max_seconds):
            if len(out := resampler.resample_chunk(block)):
                yield out
        if len(out := resampler.resample_chunk(np.zeros(0, np.float32), last=True)):
            yield out


def read(path: Path, rate: int = SAMPLE_RATE, max_seconds: float = 3600.0) -> Samples:
    """Mono float32 samples [T] at `rate`, full scale ±1. Channels are averaged, or the clear one is taken;
    floating-point samples above full scale are scaled. What lies around zero is not changed: an offset stays.

    Raises AudioError (a VoicewrightError) for what is empty, truncated, no audio, or too long; decoding stops
    at the cap, so memory stays below `max_seconds * rate * 4` bytes (twice that while joining).
    """
    return np.concatenate(list(blocks(path, rate, max_seconds)))


def decode(path: Path, max_seconds: float = 3600.0) -> tuple[Samples, AudioInfo]:
    """Mono float32 samples [T] at the file's own rate, and what its header says, with `full` and `note` as
    the samples were taken. Raises as `read`."""
    with opened(path) as stream:
        mix = _checked(path, stream, max_seconds)
        samples = np.concatenate(list(_mono_blocks(path, stream, mix, max_seconds)))
        return samples, replace(stream.info, full=mix.scale, note=mix.note)


def resample(samples: Samples, rate: int, to: int = SAMPLE_RATE) -> Samples:
    """Samples [T] at another rate (soxr, high quality)."""
    return samples if rate == to else soxr.resample(samples, rate, to).astype(np.float32, copy=False)


def encode(samples: Samples, rate: int, extension: str, subtype: str | None = None) -> bytes:
    """The bytes of an audio file; values beyond ±1 are limited. UsageError for an unknown extension."""
    name = extension.lower().lstrip(".")
    if name not in WRITABLE:
        known = ", ".join(WRITABLE)
        raise UsageError(f"Audio cannot be written as .{name or '(no extension)'}: use one of {known}.")
    values = np.asarray(samples, np.float32)
    if values.ndim != 1:
        raise VoicewrightError(f"Audio to be written must be one channel [T], got shape {values.shape}.")
    if not np.isfinite(values).all():
        raise VoicewrightError("Audio to be written holds values that are not numbers.")
    container, default = WRITABLE[name]
    if name == "opus" and rate not in OPUS_RATES:
        values, rate = resample(values, rate, 48_000), 48_000
    values = np.clip(values, -1.0, 1.0)
    buffer = io.BytesIO()
    # Encoding in memory keeps every failure to write in `write_atomically`, where Python names its cause:
    # libsndfile reports a full disk vaguely, and on closing not at all.
    with soundfile.SoundFile(
        buffer, "w", rate, 1, format=container, subtype=subtype or default, closefd=False
    ) as file:
        for start in range(0, len(values), _BLOCK):
            file.write(values[start : start + _BLOCK])
    return buffer.getvalue()


def write(path: Path, samples: Samples, rate: int = SAMPLE_RATE, subtype: str | None = None) -> None:
    """Write samples [T] as wav (16-bit), flac, mp3, ogg (Vorbis) or opus, by extension, atomically.

    Raises UsageError for another extension, VoicewrightError when the disk refuses.
    """
    write_atomically(path, encode(samples, rate, path.suffix, subtype))
