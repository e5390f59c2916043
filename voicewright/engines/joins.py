"""The edges of a synthesised chunk: excess silence off, a natural pause on, faded so that no join clicks.

Every chunk is finished by itself (it fades in from nothing and out to nothing), so that a stream can be sent
on chunk by chunk and is still sample for sample what the chunks give together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voicewright.config import SAMPLE_RATE

Samples = NDArray[np.float32]

PAUSES = {
    ".": 0.42,
    "!": 0.42,
    "?": 0.45,
    "…": 0.50,
    ":": 0.34,
    ";": 0.32,
    "—": 0.28,
    ",": 0.20,
    ")": 0.20,
}
"""Seconds between chunks by the last mark of the earlier one."""
PAUSE = 0.08
"""Seconds between chunks cut where no mark stands."""
PARAGRAPH = 0.25
"""Seconds added where a blank line stands."""
LEAD = 0.05
"""Seconds of silence kept before a chunk's first sound."""
TAIL = 0.20
"""Seconds of silence kept after the last sound of all."""
FADE = 0.010
CEILING = 0.97
_WINDOW = 0.010
_QUIET_DB = -38.0
"""Below the loudest 10 ms. Only decides what may go beyond the model's own edges: fricatives are safe."""


@dataclass(frozen=True)
class Trimmed:
    """samples [N] ready to be appended; `offset`: where they begin within the untrimmed chunk."""

    samples: Samples
    offset: int


def pause_after(phonemes: str, paragraph: bool, speed: float) -> float:
    """Seconds of silence wanted after a chunk that ends so."""
    last = phonemes.rstrip().rstrip('"”')[-1:]
    return (PAUSES.get(last, PAUSE) + (PARAGRAPH if paragraph else 0.0)) / speed


def trim(samples: Samples, head: int, tail: int, after: float, rate: int = SAMPLE_RATE) -> Trimmed:
    """Cut and pad a chunk's silent edges; fade both ends.

    samples: [N]. head: samples before the first spoken token; tail: sample where the last spoken token ends
    (the model's own clock); only what lies outside [head, tail] may be cut, and of that only what is silent.
    after: seconds of silence wanted behind the last sound; zeros are added where the model left less.
    """
    window = max(1, int(_WINDOW * rate))
    level = np.sqrt(_mean(samples.astype(np.float64) ** 2, window))
    loud = np.flatnonzero(level > level.max(initial=0.0) * 10 ** (_QUIET_DB / 20))
    onset, end = (int(loud[0]), int(loud[-1]) + 1) if len(loud) else (head, tail)
    start = max(0, min(onset, head) - int(LEAD * rate))
    stop = max(end, tail)
    wanted = stop + int(after * rate)
    kept = samples[start : min(wanted, len(samples))].copy()
    fade(kept, rate)
    missing = max(0, wanted - len(samples))
    return Trimmed(np.concatenate([kept, np.zeros(missing, np.float32)]), start)


def fade(samples: Samples, rate: int = SAMPLE_RATE) -> None:
    """Fade the first and last 10 ms in place, along a quarter sine (equal power)."""
    length = min(int(FADE * rate), len(samples) // 2)
    if length:
        ramp = np.sin(0.5 * np.pi * np.arange(length) / length).astype(np.float32)
        samples[:length] *= ramp
        samples[-length:] *= ramp[::-1]


def limit(samples: Samples, rate: int = SAMPLE_RATE, ceiling: float = CEILING) -> Samples:
    """Samples within ±ceiling: the gain dips smoothly around each peak; quieter speech stays as it is."""
    peak = float(np.abs(samples).max(initial=0.0))
    if peak <= ceiling:
        return samples
    wanted = np.minimum(1.0, ceiling / np.maximum(np.abs(samples), 1e-9))
    reach = int(0.005 * rate)
    lowest = np.pad(wanted, reach, constant_values=1.0)
    # A minimum over windows of doubling length, to 5 ms on both sides.
    length, window = 1, 2 * reach + 1
    while length < window:
        step = min(length, window - length)
        lowest = np.minimum(lowest[:-step], lowest[step:])
        length += step
    # The mean over a window of minima over the same window never exceeds the gain wanted at its centre;
    # beyond the ends the mean is taken with ones, hence the clip.
    gain = 1.0 - _mean(1.0 - lowest, window)
    return np.clip(samples * gain, -ceiling, ceiling).astype(np.float32)


def _mean(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Centred moving mean over `window` values, zeros beyond the ends."""
    before = window // 2
    sums = np.cumsum(np.pad(values, (before + 1, window - before - 1)))
    return np.maximum(sums[window:] - sums[:-window], 0.0) / window
