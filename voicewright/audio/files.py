"""Recordings in, samples out, and back: any container, rate, depth and channel count.

libsndfile reads what it knows; FFmpeg (through PyAV) reads the rest. Both look at the content, not the name.
Everything is decoded in blocks and mixed to mono at once, so that the cap on seconds holds before memory is
taken, whatever a header claims. Writing never leaves half a file.
"""

from __future__ import annotations

import contextlib
import io
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from voicewright.audio.writer import OPUS_RATES, WRITABLE
from voicewright.config import SAMPLE_RATE
from voicewright.errors import UsageError, VoicewrightError
from voicewright.storage import write_atomically as write_atomically

Samples = NDArray[np.float32]

EXTENSIONS = frozenset(
    [
        *("wav", "wave", "flac", "aif", "aiff", "aifc", "mp3", "mp2", "ogg", "oga", "opus", "m4a", "m4b"),
        *("mp4", "aac", "webm", "mka", "mkv", "wma", "caf", "au", "snd", "w64", "rf64", "amr"),
    ]
)
"""Lower-case names without the dot that are taken for audio when a folder is searched."""

_BLOCK = 1 << 17
"""Values decoded at a time, all channels together."""
_CONTAINERS = "aac,ac3,aiff,amr,ape,asf,au,caf,dsf,eac3,flac,matroska,webm,mov,mp3,ogg,tta,w64,wav,wv"
"""What FFmpeg may take a file for: containers of sound, and nothing that names other files."""
_RATES = range(2_000, 768_001)


class AudioError(VoicewrightError):
    """A recording that cannot be used. `reason` is a code: empty, truncated, too_long or unreadable."""

    def __init__(self, message: str, reason: str = "unreadable") -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class AudioInfo:
    """What a file's header says. `seconds` is None where only decoding would tell."""

    container: str
    encoding: str
    rate: int
    channels: int
    seconds: float | None


class _Stream:
    """A decoder: `info`, and mono blocks of float32 at the file's own rate."""

    info: AudioInfo

    def blocks(self) -> Iterator[Samples]:
        raise NotImplementedError


class _SndFile(_Stream):
    def __init__(self, file: soundfile.SoundFile) -> None:
        self._file = file
        seconds = file.frames / file.samplerate if 0 <= file.frames < 1 << 62 and file.samplerate else None
        self.info = AudioInfo(file.format.lower(), file.subtype, file.samplerate, file.channels, seconds)

    def blocks(self) -> Iterator[Samples]:
        frames = max(1, _BLOCK // self._file.channels)
        while True:
            block = self._file.read(frames, dtype="float32", always_2d=True)
            if not len(block):
                return
            yield block[:, 0] if block.shape[1] == 1 else block.mean(axis=1, dtype=np.float32)


class _FFmpeg(_Stream):
    def __init__(self, container: av.container.InputContainer) -> None:
        self._container = container
        self._audio = container.streams.audio[0]
        context = self._audio.codec_context
        seconds = None
        if self._audio.duration is not None and self._audio.time_base is not None:
            seconds = float(self._audio.duration * self._audio.time_base)
        elif container.duration is not None:
            seconds = container.duration / 1e6
        self.info = AudioInfo(
            container.format.name, context.name, context.sample_rate, context.channels, seconds
        )

    def blocks(self) -> Iterator[Samples]:
        rate = self.info.rate
        resampler: av.AudioResampler | None = None
        for frame in self._container.decode(self._audio):
            if resampler is None:
                # Changes the sample format only, and the rate where a stream changes its own midway.
                resampler = av.AudioResampler(format="fltp", layout=frame.layout, rate=rate)
            for planar in resampler.resample(frame):
                yield planar.to_ndarray().mean(axis=0, dtype=np.float32)
        if resampler is not None:
            for planar in resampler.resample(None):
                yield planar.to_ndarray().mean(axis=0, dtype=np.float32)


_DECODING_ERRORS = (soundfile.SoundFileError, av.error.FFmpegError, OSError, ValueError, TypeError)


@contextlib.contextmanager
def _open(path: Path) -> Iterator[_Stream]:
    """Open with whichever decoder knows the content. Raises AudioError."""
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise AudioError(f"{path} is not a file.")
    except OSError as error:
        raise AudioError(f"{path} cannot be opened: {error.strerror or error}.") from error
    if size == 0:
        raise AudioError(f"{path} is empty (0 bytes).", "empty")
    with contextlib.ExitStack() as stack:
        try:
            stream = _decoder(path, stack)
        except (av.error.FFmpegError, soundfile.SoundFileError, ValueError) as error:
            raise AudioError(f"{path} is not audio that can be read ({_plain(error)}).") from error
        except OSError as error:
            raise AudioError(f"{path} cannot be opened: {error.strerror or error}.") from error
        if stream.info.rate not in _RATES or stream.info.channels < 1:
            raise AudioError(
                f"{path} claims {stream.info.rate} samples a second in {stream.info.channels} channels: "
                "its header is damaged."
            )
        yield stream


def _decoder(path: Path, stack: contextlib.ExitStack) -> _Stream:
    # File objects rather than names: a name's extension overrules the content in libsndfile, and FFmpeg would
    # follow what looks like a list of other files or addresses.
    raw = stack.enter_context(path.open("rb"))
    head = raw.read(4)
    raw.seek(0)
    # libsndfile's Python binding seeks after every block, which costs MP3 and Ogg samples at each border.
    lossy = head == b"OggS" or head[:3] == b"ID3" or (head[:1] == b"\xff" and head[1:2] >= b"\xe0")
    if not lossy:
        with contextlib.suppress(soundfile.SoundFileError, TypeError, ValueError):
            return _SndFile(stack.enter_context(soundfile.SoundFile(raw)))
        raw.seek(0)
    options = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "none"}
    container = stack.enter_context(av.open(raw, "r", options=options, metadata_errors="ignore"))
    if not container.streams.audio:
        raise AudioError(f"{path} holds no audio.")
    return _FFmpeg(container)


def _plain(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text.strip().rstrip(".")


def _promised_seconds(path: Path, info: AudioInfo) -> float | None:
    """Length that the header promises, where libsndfile would quietly shorten it to what the file holds."""
    if info.container not in ("wav", "wavex", "aiff"):
        return info.seconds
    if info.seconds is None:
        return None
    big = info.container == "aiff"
    with path.open("rb") as file:
        file.seek(12)
        while len(header := file.read(8)) == 8:
            name, size = header[:4], struct.unpack(">I" if big else "<I", header[4:])[0]
            if name in (b"data", b"SSND"):
                # Recorders that write to a pipe leave the length at zero or at its maximum.
                if size == 0 or size >= 0x7FFF0000:
                    return info.seconds
                held = path.stat().st_size - file.tell()
                if held >= size:
                    return info.seconds
                # Bytes per second do not matter: whatever is missing counts as at least a second.
                return info.seconds * size / held if held > 0 and info.seconds else info.seconds + 1.0
            file.seek(size + size % 2, os.SEEK_CUR)
    return info.seconds


def _ogg_ends(path: Path) -> bool:
    """Whether the last page of an Ogg file is whole and marked as the last one."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 2 * 65_307))  # the largest page there can be, twice
        tail = file.read()
    at = tail.rfind(b"OggS")
    if at < 0 or at + 27 > len(tail):
        return False
    segments = tail[at + 26]
    lengths = tail[at + 27 : at + 27 + segments]
    whole = len(lengths) == segments and at + 27 + segments + sum(lengths) <= len(tail)
    return whole and bool(tail[at + 5] & 4)


def probe(path: Path) -> AudioInfo:
    """What the header says, without decoding. Raises AudioError for what is not audio."""
    with _open(path) as stream:
        return stream.info


def _mono_blocks(path: Path, stream: _Stream, max_seconds: float) -> Iterator[Samples]:
    """Blocks at the file's rate, checked: finite, not longer than allowed, not shorter than promised."""
    info = stream.info
    too_long = AudioError(
        f"{path} is longer than {max_seconds:g} seconds: cut it into shorter files.", "too_long"
    )
    if info.seconds is not None and isinstance(stream, _SndFile) and info.seconds > max_seconds:
        raise too_long
    limit = int(max_seconds * info.rate)
    count = 0
    blocks = stream.blocks()
    while True:
        try:
            block = next(blocks, None)
        except _DECODING_ERRORS as error:
            reason = "truncated" if info.seconds else "unreadable"
            where = f" after {count / info.rate:.2f} s" if count else ""
            raise AudioError(f"{path} cannot be decoded{where} ({_plain(error)}).", reason) from error
        if block is None:
            break
        count += len(block)
        if count > limit:
            raise too_long
        if not np.isfinite(block).all():
            raise AudioError(f"{path} holds values that are not numbers: it is damaged.")
        yield block
    promised = _promised_seconds(path, info)
    held = count / info.rate
    # Containers round durations to whole frames or packets: a tenth of a second is no loss.
    if promised is not None and held < promised - max(0.1, 0.01 * promised):
        raise AudioError(f"{path} is cut short: {promised:.2f} s promised, {held:.2f} s held.", "truncated")
    if info.container == "ogg" and not _ogg_ends(path):
        raise AudioError(f"{path} is cut short: its last page is missing; {held:.2f} s held.", "truncated")
    if count == 0:
        raise AudioError(f"{path} holds no samples.", "empty")


def blocks(path: Path, rate: int = SAMPLE_RATE, max_seconds: float = 43_200.0) -> Iterator[Samples]:
    """Mono float32 blocks at `rate`, of any small length: for recordings too long to hold in memory.

    Raises AudioError: not audio, empty, truncated (at the end of what could be read), too long.
    """
    with _open(path) as stream:
        if stream.info.rate == rate:
            yield from _mono_blocks(path, stream, max_seconds)
            return
        resampler = soxr.ResampleStream(stream.info.rate, rate, 1, dtype="float32")
        for block in _mono_blocks(path, stream, max_seconds):
            if len(out := resampler.resample_chunk(block)):
                yield out
        if len(out := resampler.resample_chunk(np.zeros(0, np.float32), last=True)):
            yield out


def read(path: Path, rate: int = SAMPLE_RATE, max_seconds: float = 3600.0) -> Samples:
    """Mono float32 samples [T] at `rate`, full scale ±1, channels averaged.

    Raises AudioError (a VoicewrightError) for what is empty, truncated, no audio, or too long; decoding stops
    at the cap, so memory stays below `max_seconds * rate * 4` bytes (twice that while joining).
    """
    return np.concatenate(list(blocks(path, rate, max_seconds)))


def decode(path: Path, max_seconds: float = 3600.0) -> tuple[Samples, AudioInfo]:
    """Mono float32 samples [T] at the file's own rate, and what its header says. Raises as `read`."""
    with _open(path) as stream:
        return np.concatenate(list(_mono_blocks(path, stream, max_seconds))), stream.info


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
