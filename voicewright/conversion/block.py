"""Blocks of sound converted one after the other: what the voice hears of the past, and how its
blocks are joined.

Everything happens on a grid of 10 ms at 16 kHz: the newest frames join a window with `context` seconds of
what was heard before, the voice converts the window's end, and `sola` joins it to the block before. Source
of the arithmetic: RVC-WebUI's live loop (its buffer is context + crossfade + search + block; at most 40 ms
of the crossfade are faded over, 10 ms are searched). `live.py` makes a stream of any rate of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from voicewright.conversion.pitch import semitones_between
from voicewright.conversion.sola import STAY, Sola
from voicewright.errors import UsageError

Samples = NDArray[np.float32]

RATE = 16_000
"""What voices hear."""
FRAME = 160
"""Samples of a frame: 10 ms."""
_FADED = 4
"""Frames of a crossfade that RVC-WebUI fades over, at most."""
_GATE_FRAMES = 4
"""The gate measures 40 ms."""
WOKADA_SEARCH = 0.012


@dataclass(frozen=True)
class LiveOptions:
    """Times in seconds. Everything may change while running (`LiveConverter.update`). Defaults are the
    command's, and those of `ConvertOptions` where that has the same option."""

    block: float = 0.25
    """Sound collected before it is converted: half of the delay, and the time there is for converting it."""
    crossfade: float = 0.05
    context: float = 2.5
    """What the voice hears of the past; the cost of a block grows with it."""
    pitch: float | Literal["auto"] = "auto"
    """Semitones; auto takes the speaker's median to the voice's, once a second of speech was heard."""
    target_pitch: float | None = None
    """The voice's median in Hz, for auto; None asks the voice."""
    formant: float = 0.0
    """Semitones."""
    method: str = "auto"
    """How pitch is found: `convert.pitch.METHODS`; auto is FCPE where it is installed, else DIO."""
    index_rate: float = 0.75
    protect: float = 0.33
    """As `ConvertOptions.protect`; 0.5 is off, as in other live converters."""
    rms_mix: float = 0.25
    """1 keeps the converted loudness, 0 takes the input's."""
    silence: float | None = None
    """dB of full scale below which 10 ms are silence, and silence is not converted.
    None converts everything."""
    unvoiced: Literal["zero", "interpolate"] = "zero"
    """As `ConvertOptions.unvoiced`."""
    speaker: int = 0
    join: Literal["rvc", "wokada"] = "rvc"
    fade: tuple[float, float] = (0.1, 0.9)
    """Which part of the crossfade w-okada's join fades in."""

    def __post_init__(self) -> None:
        limits = {
            "block": (0.02, 10.0),
            "crossfade": (0.01, 2.0),
            "context": (0.0, 10.0),
            "pitch": (-36.0, 36.0),
            "formant": (-12.0, 12.0),
            "index_rate": (0.0, 1.0),
            "protect": (0.0, 0.5),
            "rms_mix": (0.0, 1.0),
        }
        for name, (least, most) in limits.items():
            value = getattr(self, name)
            if name == "pitch" and value == "auto":
                continue
            if not least <= value <= most:
                raise UsageError(f"{name} is {value}; it must be between {least:g} and {most:g}.")
        if self.target_pitch is not None and not 30 <= self.target_pitch <= 2000:
            raise UsageError(f"a target pitch of {self.target_pitch} Hz is nobody's; give 30 to 2000 Hz.")
        if self.silence is not None and not -120 <= self.silence <= 0:
            raise UsageError(f"silence is {self.silence} dB; it must be between -120 and 0, or off.")
        if not 0 <= self.fade[0] <= self.fade[1] <= 1:
            raise UsageError("the crossfade must begin before it ends, both within 0 and 1.")


class BlockVoice(Protocol):
    """A voice that converts the end of a window. One stream at a time: it may remember what it
    heard (its pitch)."""

    sample_rate: int
    """A multiple of 100."""
    grid: int
    """Windows begin at frames of the stream that are multiples of this."""

    @property
    def speakers(self) -> Mapping[str, str]:
        """Numbers that `LiveOptions.speaker` may be, and their names."""

    @property
    def ignores(self) -> Mapping[str, str]:
        """As `Converter.ignores`."""

    def convert(self, window: Samples, fresh: int, head: int, frames: int, options: LiveOptions) -> Samples:
        """`window` [n · 160] at 16 kHz, of which the last `fresh` frames are new since the last call → the
        sound of `frames` frames from frame `head` on [frames · sample_rate / 100]."""

    def skip(self, fresh: int) -> None:
        """`fresh` frames of silence passed that need not be converted."""

    def reset(self) -> None:
        """Forget the stream."""


def _frames(seconds: float) -> int:
    return round(seconds * 100)


class BlockEngine:
    """Whole frames at 16 kHz in, as many out at the voice's rate. Buffers are made once, and again
    on new sizes."""

    def __init__(self, voice: BlockVoice, options: LiveOptions) -> None:
        self._window = np.zeros(0, dtype=np.float32)
        self._raw = np.zeros(_GATE_FRAMES * FRAME, dtype=np.float32)
        self._sizes: tuple[object, ...] = ()
        self._heard = 0
        """Frames since the stream began, modulo the voice's grid."""
        self.set(voice, options)

    def set(self, voice: BlockVoice, options: LiveOptions) -> None:
        """Another voice or other options; what was heard is kept, what was said fades out
        if sizes changed."""
        self.voice, self.options = voice, options
        self.block = max(int(options.block * 100 + 1e-6), 1)
        most = self.block + 2 + voice.grid
        self._context = _frames(options.context)
        rvc = options.join == "rvc"
        self._crossfade = max(min(_frames(options.crossfade), max(self.block - 1, 1)), 1)
        self._faded = min(self._crossfade, _FADED) if rvc else self._crossfade
        self._search = 1 if rvc else 2
        per = voice.sample_rate // 100
        search = per if rvc else int(WOKADA_SEARCH * voice.sample_rate)
        sizes = (per, self._faded, search, options.join, options.fade)
        if sizes != self._sizes:
            self._sizes = sizes
            self._sola = (
                Sola(self._faded * per, search)
                if rvc
                else Sola.wokada(self._faded * per, search, *options.fade)
            )
        self._sola.stay = STAY if getattr(voice, "continues", False) else 0.0
        length = (self._context + self._crossfade + self._search + most) * FRAME
        if length != len(self._window):
            window = np.zeros(length, dtype=np.float32)
            kept = min(length, len(self._window))
            window[length - kept :] = self._window[len(self._window) - kept :]
            self._window = window

    @property
    def longest(self) -> int:
        """Frames of the longest block that `convert` takes."""
        return self.block + 2

    @property
    def delay(self) -> float:
        """Seconds by which the output lags behind the input, when the join is at the middle of its search."""
        return (self._crossfade + self._search / 2) / 100

    @property
    def join_offset(self) -> float:
        """See `LiveConverter.join_offset`."""
        return self._sola.offset / self.voice.sample_rate

    def reset(self) -> None:
        self._window[:] = 0.0
        self._raw[:] = 0.0
        self._heard = 0
        self._sola.reset()
        self.voice.reset()

    def convert(self, samples: Samples) -> tuple[Samples, bool]:
        """`samples` [frames · 160] → [frames · sample_rate / 100], and whether the voice was asked."""
        fresh = len(samples) // FRAME
        if fresh * FRAME != len(samples) or not 1 <= fresh <= self.longest:
            raise ValueError(f"{len(samples)} samples are not 1 to {self.longest} whole frames")
        self._hear(samples)
        frames = fresh + self._faded + self._search
        # Content has frames of 20 ms or more, which are to be the same ones in all windows.
        grid = self.voice.grid
        self._heard = (self._heard + fresh) % grid
        used = self._context + self._crossfade + self._search + fresh
        head = self._context + (self._heard - used) % grid
        used += head - self._context
        window = self._window[-used * FRAME :]
        per = self.voice.sample_rate // 100
        silent = self.options.silence is not None and not window[head * FRAME :].any()
        if silent:
            self.voice.skip(fresh)
            sound = np.zeros(frames * per, dtype=np.float32)
        else:
            sound = self.voice.convert(window, fresh, head, frames, self.options)
            if sound.shape != (frames * per,):
                raise ValueError(f"a voice gave {sound.shape} samples where {frames * per} were asked for")
            if self.options.rms_mix < 1:
                heard = window[head * FRAME : (head + frames) * FRAME]
                sound = mix_loudness(heard, sound, self.voice.sample_rate, self.options.rms_mix)
        wanted = fresh * per + self._sola.crossfade + self._sola.search
        return self._sola.join(sound[len(sound) - wanted :]), not silent

    def _hear(self, samples: Samples) -> None:
        count = len(samples)
        self._window[:-count] = self._window[count:]
        if self.options.silence is None:
            self._window[-count:] = samples
            self._raw[:] = np.concatenate([self._raw, samples])[-len(self._raw) :]
        else:
            gated, self._raw[:] = gate(self._raw, samples, self.options.silence)
            self._window[-len(gated) :] = gated[-len(self._window) :]


def gate(before: Samples, samples: Samples, threshold: float) -> tuple[Samples, Samples]:
    """Frames whose 40 ms around them are below `threshold` dB become zeros, as RVC-WebUI does it.

    `before` [640], `samples` [n · 160] at 16 kHz → the last n · 160 + 320 samples of both, gated (the last
    two frames of `before` are decided again, for they lacked what follows), and the next call's `before`."""
    both = np.concatenate([before, samples])
    levels = _levels(both, FRAME)[2:]
    quiet = 20 * np.log10(np.maximum(levels, 1e-5)) < threshold
    start = 2 * FRAME - FRAME // 2
    mask = np.repeat(quiet, FRAME)[: len(both) - start]
    gated = both[start:].copy()
    gated[: len(mask)][mask] = 0.0
    return gated[FRAME // 2 :], both[-len(before) :].copy()


def _levels(samples: Samples, hop: int) -> NDArray[np.float64]:
    """Root mean square of 4 hops around every hop's beginning, zeros beyond the ends: float64 [n //
    hop + 1]."""
    energy = np.concatenate([[0.0], np.cumsum(np.square(samples, dtype=np.float64))])
    middles = np.arange(len(samples) // hop + 1) * hop
    first = np.clip(middles - 2 * hop, 0, len(samples))
    last = np.clip(middles + 2 * hop, 0, len(samples))
    return np.sqrt(np.maximum(energy[last] - energy[first], 0.0) / (4 * hop))


def mix_loudness(heard: Samples, sound: Samples, rate: int, keep: float) -> Samples:
    """`sound` [n · rate / 100] with `1 - keep` of the loudness of `heard` [n · 160], in windows of 40 ms."""
    wanted = _levels(heard, FRAME)
    has = _levels(sound, rate // 100)
    places = np.linspace(0, len(wanted) - 1, len(sound) + 1)[:-1]
    wanted = np.interp(places, np.arange(len(wanted)), wanted)
    has = np.maximum(np.interp(places, np.arange(len(has)), has), 1e-3)
    return (sound * (wanted / has) ** (1 - keep)).astype(np.float32)


@dataclass
class PitchCache:
    """F0 of the window, kept from block to block: each block measures its own frames and a few before them.

    The first three frames of a measurement and its last are not used, as in RVC-WebUI: they lack
    what lies beside."""

    frames: int = 1024
    values: NDArray[np.float32] = field(init=False)

    def __post_init__(self) -> None:
        self.values = np.zeros(self.frames, dtype=np.float32)

    def shift(self, fresh: int) -> None:
        self.values[:-fresh] = self.values[fresh:]
        self.values[-fresh:] = 0.0

    def take(self, fresh: int, measured: NDArray[np.float32]) -> None:
        """`measured` [n]: Hz of the last n frames; the last one begins where the window ends."""
        self.shift(fresh)
        kept = measured[3:-1]
        kept = kept[-len(self.values) :]
        self.values[len(self.values) - len(kept) :] = kept

    def last(self, frames: int) -> NDArray[np.float32]:
        if frames > len(self.values):
            old = self.values
            self.values = np.zeros(frames, dtype=np.float32)
            self.values[frames - len(old) :] = old
        return self.values[len(self.values) - frames :].copy()

    def clear(self) -> None:
        self.values[:] = 0.0


class AutoTranspose:
    """Semitones from a speaker's median F0 to a voice's `target` (Hz, None unknown), found as
    the speaker speaks."""

    _FIRST, _ENOUGH = 20, 100
    """Voiced frames before anything is moved, and after which nothing changes any more."""

    def __init__(self, target: float | None) -> None:
        self._target = target
        self.reset()

    def reset(self) -> None:
        self._seen: list[float] = []
        self._semitones = 0.0

    def aim(self, target: float) -> None:
        """At another voice; what was heard of the speaker is kept."""
        if target != self._target:
            self._target = target
            if len(self._seen) >= self._FIRST:
                self._semitones = self._found(target)

    def _found(self, target: float) -> float:
        return semitones_between(float(np.median(self._seen)), target)

    def semitones(self, options: LiveOptions, fresh: NDArray[np.float32]) -> float:
        """What the pitch of the options means now; `fresh` [n]: F0 of the new frames in Hz, 0 unvoiced."""
        if options.pitch != "auto":
            return options.pitch
        target = options.target_pitch or self._target
        if target and len(self._seen) < self._ENOUGH:
            self._seen += fresh[fresh > 0].tolist()
            if len(self._seen) >= self._FIRST:
                self._semitones = self._found(target)
        return self._semitones


def whole(voice: BlockVoice, samples: Samples, options: LiveOptions | None = None) -> Samples:
    """`samples` [n] at 16 kHz converted in one piece by the same voice: what a live stream
    is compared with."""
    frames = len(samples) // FRAME
    voice.reset()
    sound = voice.convert(samples[: frames * FRAME], frames, 0, frames, options or LiveOptions())
    voice.reset()
    return sound
