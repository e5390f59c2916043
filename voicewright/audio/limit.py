"""Peaks limited without a sound: the gain dips smoothly around each, whole or piece by piece."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from voicewright.units import SAMPLE_RATE

Samples = NDArray[np.float32]

CEILING = 0.97
_REACH = 0.005
"""Seconds on both sides of a peak over which the gain dips."""


class Limiter:
    """`limit` for samples that come in pieces: always the same blocks, each seen with its surroundings."""

    def __init__(self, rate: int, ceiling: float) -> None:
        self._rate, self._ceiling = rate, ceiling
        self._block, self._context = int(0.05 * rate), 2 * int(_REACH * rate)
        self._held = np.zeros(0, np.float32)
        self._past = 0
        """Samples of `_held` that have been passed on and are surroundings only."""

    @property
    def waiting(self) -> int:
        """Samples taken and not yet given."""
        return len(self._held) - self._past

    def feed(self, samples: Samples, last: bool) -> Samples:
        self._held = np.concatenate([self._held, samples])
        out: list[Samples] = []
        need = 1 if last else self._block + self._context
        while len(self._held) - self._past >= need:
            end = min(self._past + self._block, len(self._held))
            seen = limit(self._held[: end + self._context], self._rate, self._ceiling)
            out.append(seen[self._past : end])
            drop = max(0, end - self._context)
            self._held, self._past = self._held[drop:], end - drop
        self._held = self._held.copy()
        return np.concatenate(out) if out else np.zeros(0, np.float32)


def limit(samples: Samples, rate: int = SAMPLE_RATE, ceiling: float = CEILING) -> Samples:
    """Samples within ±ceiling: the gain dips smoothly around each peak; quieter speech stays as it is."""
    peak = float(np.abs(samples).max(initial=0.0))
    if peak <= ceiling:
        return samples
    wanted = np.minimum(1.0, ceiling / np.maximum(np.abs(samples.astype(np.float64)), 1e-9))
    reach = int(_REACH * rate)
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
