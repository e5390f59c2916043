"""Live conversion apart from microphones and servers: `LiveConverter.process`, pieces in, as
many pieces out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from voicewright.conversion.block import FRAME, RATE, BlockEngine, BlockVoice, LiveOptions, Samples
from voicewright.conversion.streaming import Queue, StreamResampler
from voicewright.errors import UsageError


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
        self._taken = self._given = self._primed = 0
        """Samples in, samples out, and silence ahead of the first."""
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
        """Seconds from a sound's arrival in `process` to its leaving, without computing and
        collecting a block."""
        return self._engine.delay + self._primed / self.output_rate

    @property
    def latency(self) -> float:
        """Seconds from mouth to ear without the devices' own: a block collected, the slowest so
        far computed, `delay`."""
        return self.options.block + self.stats.worst + self.delay

    @property
    def join_offset(self) -> float:
        """Where the last join was found, seconds into the search; blocks that agree keep it where it was."""
        return self._engine.join_offset

    def update(self, **changes: Any) -> None:
        """Change options by name; heard from the next block on. A wrong one raises UsageError
        and changes nothing."""
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
        """`samples` float [n] at `rate` → float32 at `output_rate` of the same duration (to the sample
        in the sum)."""
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
            if owed > 0:  # pieces became shorter: from here on there is a block more of delay
                late = owed
                if len(samples) % step:
                    late += int(self.options.block * self.output_rate)
                self.stats.inserted += owed
                self._primed += late
                pieces.append(np.zeros(owed, dtype=np.float32))
                self._ready.push_silence(min(late - owed, self._ready.free))
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
        block where pieces of `count` samples are not whole blocks."""
        if self._taken or not count:
            return
        wait = FRAME / RATE + self._in.delay + self._out.delay
        if count % max(self.block_samples, 1):
            wait += self.options.block
        self._primed = int(np.ceil(wait * self.output_rate)) + 2
        self._ready.push_silence(self._primed)

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
