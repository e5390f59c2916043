"""Loudness after ITU-R BS.1770-4 (pyloudnorm), normalising to it, and levels of frames."""

from __future__ import annotations

import functools

import numpy as np
import pyloudnorm
from numpy.typing import NDArray

from voicewright.audio.files import Samples

TARGET = -23.0
"""LUFS of every clip in a corpus (EBU R 128)."""
CEILING = 10 ** (-1.0 / 20)
"""No normalised sample goes above this: one decibel below full scale."""
_BLOCK_SECONDS = 0.4
FRAME = 0.020
STEP = 0.010
FLOOR_DB = -100.0
"""Quieter is digital silence: below the last bit of 16."""


@functools.lru_cache(maxsize=8)
def _meter(rate: int) -> pyloudnorm.Meter:
    return pyloudnorm.Meter(rate)


def lufs(samples: Samples, rate: int) -> float:
    """Integrated loudness of samples [T] in LUFS; -inf for silence.

    Anything shorter than the standard's 0.4 s block is repeated to fill one.
    """
    if not len(samples):
        return float("-inf")
    need = int(np.ceil(_BLOCK_SECONDS * rate))
    if len(samples) < need:
        samples = np.tile(samples, -(-need // len(samples)))[:need]
    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(_meter(rate).integrated_loudness(samples.astype(np.float64)))
    return value if np.isfinite(value) else float("-inf")


def normalise(samples: Samples, rate: int, target: float = TARGET, ceiling: float = CEILING) -> Samples:
    """Samples [T] brought to `target` LUFS by one gain, smaller where a peak would pass `ceiling`.

    Silence comes back as it is.
    """
    return samples * np.float32(gain(samples, rate, target, ceiling))


def gain(samples: Samples, rate: int, target: float = TARGET, ceiling: float = CEILING) -> float:
    """The factor that `normalise` applies."""
    level = lufs(samples, rate)
    peak = float(np.abs(samples).max(initial=0.0))
    if not np.isfinite(level) or peak == 0.0:
        return 1.0
    return min(10 ** ((target - level) / 20), ceiling / peak)


def frame_levels(samples: Samples, rate: int) -> NDArray[np.float64]:
    """Levels [frames] in dB of 20 ms frames every 10 ms; at least one frame."""
    frame, step = int(FRAME * rate), int(STEP * rate)
    squares = np.concatenate(([0.0], np.cumsum(samples.astype(np.float64) ** 2)))
    starts = np.arange(0, max(1, len(samples) - frame + 1), step)
    ends = np.minimum(starts + frame, len(samples))
    power = (squares[ends] - squares[starts]) / np.maximum(1, ends - starts)
    return np.maximum(10 * np.log10(np.maximum(power, 1e-12)), FLOOR_DB)
