"""Live conversion, block by block, apart from microphones and servers.

`LiveConverter.process` takes pieces of any length at any rate and gives as many back. Inside, everything
happens on a grid of 10 ms at 16 kHz: the newest frames join a window with `context` seconds of what was
heard before, the voice converts the window's end, and `sola` joins it to the block before. Source of the
arithmetic: RVC-WebUI's live loop (reference: buffer = context + crossfade + search + block, at most 40 ms
of the crossfade are faded over, 10 ms searched).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from voicewright.convert.sola import Sola
from voicewright.convert.streaming import Queue, StreamResampler
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
    """Times in seconds. Everything may change while running (`LiveConverter.update`)."""

    block: float = 0.25
    """Sound collected before it is converted: half of the delay, and the time there is for converting it."""
    crossfade: float = 0.05
    context: float = 2.5
    """What the voice hears of the past; the cost of a block grows with it."""
    pitch: float = 0.0
    """Semitones."""
    formant: float = 0.0
    """Semitones."""
    method: str = "rmvpe"
    index_rate: float = 0.0
    protect: float = 0.5
    """As `ConvertOptions.protect`; 0.5 is off, as in other live converters."""
    rms_mix: float = 1.0
    """1 keeps the converted loudness, 0 takes the input's."""
    silence: float | None = None
    """dB of full scale below which 10 ms are silence, and silence is not converted. None converts
    everything."""
    speaker: int = 0
    seed: int | None = None
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
            if not least <= value <= most:
                raise UsageError(f"{name} is {value}; it must be between {least:g} and {most:g}.")
        if self.silence is not None and not -120 <= self.silence <= 0:
            raise UsageError(f"silence is {self.silence} dB; it must be between -120 and 0, or off.")
        if not 0 <= self.fade[0] <= self.fade[1] <= 1:
            raise UsageError("the crossfade must begin before it ends, both within 0 and 1.")


class BlockVoice(Protocol):
    """A voice that converts the end of a window. One stream at a time: it may remember what it heard (its
    pitch)."""

    sample_rate: int
    """A multiple of 100."""

    def convert(self, window: Samples, fresh: int, head: int, frames: int, options: LiveOptions) -> Samples:
        """`window` [n · 160] at 16 kHz, of which the last `fresh` frames are new since the last call → the
        sound of `frames` frames from frame `head` on [frames · sample_rate / 100]."""

    def skip(self, fresh: int) -> None:
        """`fresh` frames of silence passed that need not be converted."""

    def reset(self) -> None:
        """Forget the stream."""


@dataclass
class LiveStats:
    """What a stream did so far. Seconds of computing are wall-clock time."""

    blocks: int = 0
    skipped: int = 0
    """Blocks of silence, not converted."""
    late: int = 0
    """Blocks that took longer than they last."""
    dropped: int = 0
    """Pieces that a transport let fall because converting lagged behind."""
    inserted: int = 0
    """Samples of silence put out because nothing was ready, the beginning not counted."""
    last: float = 0.0
    worst: float = 0.0
    seconds: float = 0.0
    """Computed in all."""
    sound: float = 0.0
    """Seconds of sound converted."""

    @property
    def factor(self) -> float:
        """Seconds of computing for a second of sound: under 1 is live."""
        return self.seconds / self.sound if self.sound else 0.0


def _frames(seconds: float) -> int:
    return round(seconds * 100)


class BlockEngine:
    """Whole frames at 16 kHz in, as many out at the voice's rate. Buffers are made once, and again on new
    sizes."""

    def __init__(self, voice: BlockVoice, options: LiveOptions) -> None:
        self._window = np.zeros(0, dtype=np.float32)
        self._raw = np.zeros(_GATE_FRAMES * FRAME, dtype=np.float32)
        self.set(voice, options)

    def set(self, voice: BlockVoice, options: LiveOptions) -> None:
        """Another voice or other options; what was heard is kept, what was said fades out if sizes
        changed."""
        self.voice, self.options = voice, options
        self.block = max(int(options.block * 100 + 1e-6), 1)
        most = self.block + 2
        self._context = _frames(options.context)
        rvc = options.join == "rvc"
        self._crossfade = max(min(_frames(options.crossfade), max(self.block - 1, 1)), 1)
        self._faded = min(self._crossfade, _FADED) if rvc else self._crossfade
        self._search = 1 if rvc else 2
        per = voice.sample_rate // 100
        search = per if rvc else int(WOKADA_SEARCH * voice.sample_rate)
        sizes = (per, self._faded, search, options.join, options.fade)
        if sizes != getattr(self, "_sizes", None):
            self._sizes = sizes
            self._sola = (
                Sola(self._faded * per, search)
                if rvc
                else Sola.wokada(self._faded * per, search, *options.fade)
            )
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

    def reset(self) -> None:
        self._window[:] = 0.0
        self._raw[:] = 0.0
        self._sola.reset()
        self.voice.reset()

    def convert(self, samples: Samples) -> tuple[Samples, bool]:
        """`samples` [frames · 160] → [frames · sample_rate / 100], and whether the voice was asked."""
        fresh = len(samples) // FRAME
        if fresh * FRAME != len(samples) or not 1 <= fresh <= self.longest:
            raise ValueError(f"{len(samples)} samples are not 1 to {self.longest} whole frames")
        self._hear(samples)
        frames = fresh + self._faded + self._search
        used = self._context + self._crossfade + self._search + fresh
        window = self._window[-used * FRAME :]
        per = self.voice.sample_rate // 100
        silent = self.options.silence is not None and not window[self._context * FRAME :].any()
        if silent:
            self.voice.skip(fresh)
            sound = np.zeros(frames * per, dtype=np.float32)
        else:
            sound = self.voice.convert(window, fresh, self._context, frames, self.options)
            if sound.shape != (frames * per,):
                raise ValueError(f"a voice gave {sound.shape} samples where {frames * per} were asked for")
            if self.options.rms_mix < 1:
                heard = window[self._context * FRAME : (self._context + frames) * FRAME]
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
    """Root mean square of 4 hops around every hop's beginning, zeros beyond the ends: float64 [n // hop +
    1]."""
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


class LiveConverter:
    """One stream: pieces in at `rate`, pieces out at `output_rate`, always of the same duration.

    Safe to call from several threads; a call that changes options waits for the block at work."""

    def __init__(
        self,
        voice: BlockVoice,
        options: LiveOptions | None = None,
        *,
        rate: int = 48_000,
        output_rate: int | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._lock = threading.RLock()
        self._clock = clock
        self.rate, self.output_rate = rate, output_rate or rate
        self.stats = LiveStats()
        self._engine = BlockEngine(voice, options or LiveOptions())
        self._in = StreamResampler(rate, RATE)
        self._out = StreamResampler(voice.sample_rate, self.output_rate)
        self._pending = Queue(0)
        self._ready = Queue(0)
        self._resize()

    @property
    def options(self) -> LiveOptions:
        return self._engine.options

    @property
    def voice(self) -> BlockVoice:
        return self._engine.voice

    @property
    def block_samples(self) -> int:
        """The length of piece, at `rate`, that is converted as it comes."""
        return round(self.options.block * self.rate)

    @property
    def delay(self) -> float:
        """Seconds from a sound's arrival in `process` to its leaving, without computing and collecting a
        block."""
        return self._engine.delay + self._primed / self.output_rate

    @property
    def latency(self) -> float:
        """Seconds from mouth to ear without the devices' own: a block collected, the slowest so far
        computed, `delay`."""
        return self.options.block + self.stats.worst + self.delay

    def update(self, **changes: Any) -> None:
        """Change options by name; heard from the next block on. A wrong one raises UsageError and changes
        nothing."""
        known = {item.name for item in fields(LiveOptions)}
        for name in changes:
            if name not in known:
                raise UsageError(f"there is no live option {name!r}; there are {', '.join(sorted(known))}.")
        with self._lock:
            self._engine.set(self.voice, replace(self.options, **changes))
            self._resize()

    def use(self, voice: BlockVoice) -> None:
        """Another voice from the next block on; it fades in."""
        with self._lock:
            if voice is not self.voice:
                voice.reset()
            if voice.sample_rate != self.voice.sample_rate:
                self._out = StreamResampler(voice.sample_rate, self.output_rate)
            self._engine.set(voice, self.options)
            self._resize()

    def reset(self) -> None:
        """A new stream: nothing of the last is heard."""
        with self._lock:
            self._engine.reset()
            self._in.reset()
            self._out.reset()
            self._pending.clear()
            self._ready.clear()
            self._taken = self._given = self._primed = 0
            self._shape = (0, 0)

    def warm_up(self, blocks: int = 2) -> float:
        """Convert noise, so that the first block is not the slowest; then reset. → the last one's seconds."""
        noise = np.random.default_rng(0).standard_normal(self.block_samples).astype(np.float32) * 0.01
        with self._lock:
            before, self.stats = self.stats, LiveStats()
            for _ in range(blocks):
                self.process(noise)
            last, self.stats = self.stats.last, before
            self.reset()
        return last

    def process(self, samples: Samples) -> Samples:
        """`samples` float [n] at `rate` → float32 at `output_rate` of the same duration (to the sample in
        the sum)."""
        samples = np.asarray(samples, dtype=np.float32).reshape(-1)
        with self._lock:
            self._prime(len(samples))
            self._taken += len(samples)
            step = max(self.block_samples, 1)
            pieces = []
            owed = self._taken * self.output_rate // self.rate - self._given
            for start in range(0, len(samples), step):
                self._pending.push(self._in(samples[start : start + step]))
                self._convert()
                if len(self._ready) > 0 and len(samples) > step:
                    ready = min(len(self._ready), step * self.output_rate // self.rate, owed)
                    pieces.append(self._ready.pop(ready))
                    owed -= ready
            pieces.append(self._ready.pop(owed))
            owed -= len(pieces[-1])
            if owed > 0:
                self.stats.inserted += owed
                pieces.append(np.zeros(owed, dtype=np.float32))
            out = np.concatenate(pieces)
            self._given += len(out)
        return out

    def _convert(self) -> None:
        """Whatever is pending, if it is a block (less the frame that the resampler may hold back)."""
        while len(self._pending) // FRAME >= max(self._engine.block - 1, 1):
            frames = min(len(self._pending) // FRAME, self._engine.longest)
            began = self._clock()
            sound, asked = self._engine.convert(self._pending.pop(frames * FRAME))
            self._ready.push(self._out(sound))
            self._count(self._clock() - began, frames / 100, asked)

    def _count(self, seconds: float, sound: float, asked: bool) -> None:
        stats = self.stats
        stats.blocks += 1
        stats.skipped += not asked
        stats.late += seconds > sound
        stats.last = seconds
        stats.worst = max(stats.worst, seconds)
        stats.seconds += seconds
        stats.sound += sound

    def _prime(self, count: int) -> None:
        """Silence ahead of the first block: what rounding to frames and the resamplers hold back, and a
        block where pieces are not whole blocks."""
        shape = (count, self.block_samples)
        if shape == self._shape:
            return
        self._shape = shape
        wait = FRAME / RATE + self._in.delay + self._out.delay
        if count % max(self.block_samples, 1):
            wait += self.options.block
        needed = int(np.ceil(wait * self.output_rate)) + 2
        if needed > self._primed:
            self._ready.push_silence(needed - self._primed)
            self._primed = needed

    def _resize(self) -> None:
        """Queues for the options at hand; what waits in them is kept."""
        seconds = self.options.block + 0.1
        for name, size in (
            ("_pending", int(2 * seconds * RATE)),
            ("_ready", int(4 * seconds * self.output_rate)),
        ):
            old: Queue = getattr(self, name)
            new = Queue(max(size, len(old) + size // 2))
            new.push(old.pop(len(old)))
            setattr(self, name, new)
        if not hasattr(self, "_shape"):
            self._taken = self._given = self._primed = 0
            self._shape = (0, 0)


@dataclass
class PitchCache:
    """F0 of the window, kept from block to block: each block measures its own frames and a few before them.

    The first three frames of a measurement and its last are not used, as in RVC-WebUI: they lack what lies
    beside."""

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


def whole(voice: BlockVoice, samples: Samples, options: LiveOptions | None = None) -> Samples:
    """`samples` [n] at 16 kHz converted in one piece by the same voice: what a live stream is compared
    with."""
    frames = len(samples) // FRAME
    voice.reset()
    sound = voice.convert(samples[: frames * FRAME], frames, 0, frames, options or LiveOptions())
    voice.reset()
    return sound
