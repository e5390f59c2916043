"""libsndfile and FFmpeg behind one face: what a header says, and blocks of all channels.

libsndfile reads what it knows; FFmpeg (through PyAV) reads the rest. Both look at the content, not the name.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

from voicewright.audio.kinds import CONTAINERS
from voicewright.audio.lengths import Repaired, cut_short
from voicewright.errors import VoicewrightError

BLOCK = 1 << 17
"""Values decoded at a time, all channels together."""
DECODING_ERRORS = (soundfile.SoundFileError, av.error.FFmpegError, OSError, ValueError, TypeError)
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
    floats: bool = False
    """Samples are floating-point numbers as somebody wrote them: of any scale."""
    whole: bool = False
    """Samples are whole numbers: none is above full scale."""
    full: float = 1.0
    """What full scale became when the samples were scaled."""
    note: str = ""
    """What was done about channels or scale, for the user."""


class Stream:
    """A decoder: `info`, and blocks [n, channels] of float32 at the file's own rate."""

    info: AudioInfo

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        raise NotImplementedError


class SndFile(Stream):
    def __init__(self, file: soundfile.SoundFile) -> None:
        self._file = file
        seconds = file.frames / file.samplerate if 0 <= file.frames < 1 << 62 and file.samplerate else None
        floats = file.subtype in ("FLOAT", "DOUBLE")
        self.info = AudioInfo(
            file.format.lower(), file.subtype, file.samplerate, file.channels, seconds, floats, not floats
        )

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        frames = max(1, BLOCK // self._file.channels)
        while len(block := self._file.read(frames, dtype="float32", always_2d=True)):
            yield block


class FFmpeg(Stream):
    def __init__(self, container: av.container.InputContainer) -> None:
        self._container = container
        self._audio = container.streams.audio[0]
        context = self._audio.codec_context
        seconds = None
        if self._audio.duration is not None and self._audio.time_base is not None:
            seconds = float(self._audio.duration * self._audio.time_base)
        elif container.duration is not None:
            seconds = container.duration / 1e6
        name, sample = context.name, context.format.name if context.format else ""
        floats = name.startswith(("pcm_f32", "pcm_f64")) or (
            name == "wavpack" and sample.startswith(("flt", "dbl"))
        )
        self.info = AudioInfo(
            container.format.name,
            name,
            context.sample_rate,
            context.channels,
            seconds,
            floats,
            not floats and not sample.startswith(("flt", "dbl")),
        )

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        resampler: av.AudioResampler | None = None
        for frame in self._frames():
            if resampler is None:
                # Changes the sample format only, and the rate where a stream changes its own midway.
                resampler = av.AudioResampler(format="fltp", layout=frame.layout, rate=self.info.rate)
            for planar in resampler.resample(frame):
                yield planar.to_ndarray().T.astype(np.float32, copy=False)
        if resampler is not None:
            for planar in resampler.resample(None):
                yield planar.to_ndarray().T.astype(np.float32, copy=False)

    def _frames(self) -> Iterator[av.AudioFrame]:
        """Decoded frames. What cannot be decoded at the end is no sound: tags that others have put there."""
        failed: av.error.FFmpegError | None = None
        count = 0
        for packet in self._container.demux(self._audio):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError as error:
                failed = failed or error
                continue
            if frames and failed and count:
                raise failed
            count += len(frames)
            yield from frames
        if failed and not count:
            raise failed


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Stream]:
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
            if _headless(path):
                raise AudioError(f"{path} is cut short: its index is missing.", "truncated") from error
            raise AudioError(f"{path} is not audio that can be read ({plain(error)}).") from error
        except OSError as error:
            raise AudioError(f"{path} cannot be opened: {error.strerror or error}.") from error
        if stream.info.rate not in _RATES or stream.info.channels < 1:
            raise AudioError(
                f"{path} claims {stream.info.rate} samples a second in {stream.info.channels} channels: "
                "its header is damaged."
            )
        yield stream


def _decoder(path: Path, stack: contextlib.ExitStack) -> Stream:
    # File objects rather than names: a name's extension overrules the content in libsndfile, and FFmpeg would
    # follow what looks like a list of other files or addresses.
    raw = stack.enter_context(Repaired(path))
    head = raw.read(4)
    raw.seek(0)
    # libsndfile's Python binding seeks after every block, which costs MP3 and Ogg samples at each border.
    lossy = head == b"OggS" or (head[:1] == b"\xff" and head[1:2] >= b"\xe0")
    if not lossy:
        with contextlib.suppress(soundfile.SoundFileError, TypeError, ValueError):
            return SndFile(stack.enter_context(soundfile.SoundFile(raw)))
        raw.seek(0)
    options = {"format_whitelist": CONTAINERS, "protocol_whitelist": "none"}
    container = stack.enter_context(av.open(raw, "r", options=options, metadata_errors="ignore"))
    if not container.streams.audio:
        raise AudioError(f"{path} holds no audio.")
    return FFmpeg(container)


def _headless(path: Path) -> bool:
    """Whether an MP4 ends before the index that its writer puts last."""
    with path.open("rb") as file:
        return file.read(12)[4:8] == b"ftyp" and cut_short(path, "mov")


def plain(error: Exception) -> str:
    """A decoder's own words, for the middle of a sentence."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text.strip().rstrip(".")
