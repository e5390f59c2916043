"""Audio files written while they are made: under a temporary name, renamed when whole, in constant memory."""

from __future__ import annotations

import contextlib
import os
import struct
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from voicewright.errors import UsageError, VoicewrightError
from voicewright.storage import destination, refused, temporary_beside
from voicewright.units import SAMPLE_RATE

WRITABLE = MappingProxyType(
    {
        "wav": ("WAV", "PCM_16"),
        "flac": ("FLAC", "PCM_16"),
        "mp3": ("MP3", "MPEG_LAYER_III"),
        "ogg": ("OGG", "VORBIS"),
        "opus": ("OGG", "OPUS"),
    }
)
"""Extension → libsndfile format and default sample encoding."""
OPUS_RATES = (8_000, 12_000, 16_000, 24_000, 48_000)
MP3_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
_ENDLESS = 0xFFFFFFFF
_MOST_WAV = 2**32 - 2**16
_BLOCK = 1 << 17


def writable_rate(suffix: str, rate: int) -> int:
    """The rate itself, or where a format has no such rate, the next higher one that it has."""
    rates = {"opus": OPUS_RATES, "mp3": MP3_RATES}.get(suffix.lower().lstrip("."))
    if rates is None or rate in rates:
        return rate
    return min((other for other in rates if other > rate), default=rates[-1])


class PartFile:
    """A file under a temporary name beside `path`: `commit` renames it, `discard` removes it.

    Every failure of the disk is kept as `error`, for writers that cannot pass exceptions on.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.error: OSError | None = None
        self._target = destination(path)
        self._temporary = temporary_beside(self._target)
        try:
            self._file: IO[bytes] = self._temporary.open("w+b")
        except OSError as error:
            raise refused(path, error) from error

    def write(self, data: Any) -> int:
        """Bytes written: 0 when the disk refuses, see `check`."""
        if self.error is None and not self._file.closed:
            try:
                return self._file.write(data)
            except OSError as error:
                self.error = error
        return 0

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if self._file.closed:  # an encoder that failed looks again when it is let go
            return 0
        try:
            return self._file.seek(offset, whence)
        except OSError as error:  # what waits in the buffer is written first
            self.error = self.error or error
            return 0

    def tell(self) -> int:
        return 0 if self._file.closed else self._file.tell()

    def flush(self) -> None:
        """Nothing: `commit` flushes."""

    def check(self) -> None:
        """Raises VoicewrightError when something could not be written."""
        if self.error is not None:
            raise refused(self.path, self.error) from self.error

    def prepare(self) -> None:
        """Everything to the disk; afterwards only the renaming is left. Raises VoicewrightError."""
        self.check()
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        except OSError as error:
            raise refused(self.path, error) from error

    def commit(self) -> None:
        """`prepare`, then rename into place. Raises VoicewrightError, and leaves nothing then."""
        try:
            if not self._file.closed:
                self.prepare()
            self._temporary.replace(self._target)
        except OSError as error:
            raise refused(self.path, error) from error
        finally:
            self.discard()

    def discard(self) -> None:
        """Remove what is there under the temporary name."""
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._temporary.unlink(missing_ok=True)


class AudioWriter:
    """Writes mono samples as wav (16-bit), flac, mp3, ogg (Vorbis) or opus, by the extension of `path`.

    `write` as often as wanted, then `commit` (the file appears whole) or `discard`. Raises UsageError for
    another extension, VoicewrightError when the disk refuses.
    """

    def __init__(self, path: Path, rate: int = SAMPLE_RATE) -> None:
        import soundfile

        name = path.suffix.lower().lstrip(".")
        if name not in WRITABLE:
            known = ", ".join(WRITABLE)
            raise UsageError(f"Audio cannot be written as .{name or '(no extension)'}: use one of {known}.")
        if name == "opus" and rate not in OPUS_RATES:
            raise VoicewrightError(f"Opus has no rate of {rate} samples a second: write another format.")
        container, subtype = WRITABLE[name]
        self._name = name
        self._failing = soundfile.SoundFileError
        self.samples = 0
        """How many have been written."""
        self._part = PartFile(path)
        try:
            self._sound = soundfile.SoundFile(
                self._part, "w", rate, 1, format=container, subtype=subtype, closefd=False
            )
        except BaseException:
            self._part.discard()
            raise

    def write(self, samples: NDArray[np.float32]) -> None:
        """Append samples [n]; values beyond ±1 are limited."""
        self.samples += len(samples)
        if self._name == "wav" and 2 * self.samples > _MOST_WAV:
            raise VoicewrightError(
                f"{self._part.path} would be longer than a WAV file can be (4 GB): write flac or ogg."
            )
        try:
            # libsndfile's Vorbis encoder wants its blocks short.
            for start in range(0, len(samples), _BLOCK):
                self._sound.write(np.clip(samples[start : start + _BLOCK], -1.0, 1.0))
        except (self._failing, AssertionError) as error:  # soundfile asserts that all has been taken
            self._part.check()
            raise VoicewrightError(f"{self._part.path} could not be written: {error}.") from error
        self._part.check()

    def prepare(self) -> None:
        """Everything to the disk; afterwards only the renaming is left. Raises VoicewrightError."""
        with contextlib.suppress(self._failing):
            self._sound.close()
        self._part.prepare()

    def commit(self) -> None:
        """Close the file and rename it into place."""
        if not self._sound.closed:
            self.prepare()
        self._part.commit()

    def discard(self) -> None:
        """Close and remove what was written."""
        with contextlib.suppress(self._failing, OSError):
            self._sound.close()
        self._part.discard()


class WavPipe:
    """WAV to a pipe, playable from the first sample: the header promises no end.

    Where the output turns out to be a file, `commit` writes the true length into the header.
    """

    def __init__(self, output: IO[bytes], rate: int = SAMPLE_RATE) -> None:
        self._output, self._rate = output, rate
        self.samples = 0
        self._start = output.tell() if _patchable(output) else None
        self._begun = False

    def write(self, samples: NDArray[np.float32]) -> None:
        """Append samples [n]; values beyond ±1 are limited."""
        if not self._begun:
            self._output.write(_header(self._rate, None))
            self._begun = True
        data = np.rint(np.clip(samples, -1.0, 1.0) * 32767).astype("<i2").tobytes()
        self._output.write(data)
        self._output.flush()
        self.samples += len(samples)

    def prepare(self) -> None:
        """Nothing is left to be done."""

    def commit(self) -> None:
        if self._start is not None and 2 * self.samples < _MOST_WAV:
            end = self._output.tell()
            self._output.seek(self._start)
            self._output.write(_header(self._rate, self.samples))
            self._output.seek(end)
        self._output.flush()

    def discard(self) -> None:
        """What has gone down a pipe cannot be taken back."""


def _patchable(output: IO[bytes]) -> bool:
    """Whether what was written can be changed later: not down a pipe, nor behind a shell's >>."""
    try:
        if not output.seekable():
            return False
        import fcntl

        return not fcntl.fcntl(output.fileno(), fcntl.F_GETFL) & os.O_APPEND
    except (ImportError, OSError, ValueError):
        return False


def _header(rate: int, samples: int | None) -> bytes:
    """The 44 bytes before 16-bit mono samples; None: as many as will come."""
    size = _ENDLESS if samples is None else 2 * samples
    whole = _ENDLESS if samples is None else size + 36
    return _HEADER.pack(b"RIFF", whole, b"WAVE", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16, b"data", size)
