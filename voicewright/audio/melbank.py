"""Triangular mel filters of equal area, as librosa makes them: what foreign networks were trained with."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

_STEP, _CORNER, _LOG_STEP = 200.0 / 3, 1000.0, np.log(6.4) / 27
"""Slaney's scale: a mel is 66.7 Hz up to 1 kHz, and a factor of 6.4^(1/27) above."""


def to_mel(hertz: NDArray[np.float64], scale: Literal["slaney", "htk"]) -> NDArray[np.float64]:
    if scale == "htk":
        return np.asarray(2595.0 * np.log10(1.0 + hertz / 700.0))
    above = _CORNER / _STEP + np.log(np.maximum(hertz, 1e-9) / _CORNER) / _LOG_STEP
    return np.where(hertz < _CORNER, hertz / _STEP, above)


def to_hertz(mels: NDArray[np.float64], scale: Literal["slaney", "htk"]) -> NDArray[np.float64]:
    if scale == "htk":
        return np.asarray(700.0 * (10.0 ** (mels / 2595.0) - 1.0))
    above = _CORNER * np.exp(_LOG_STEP * (mels - _CORNER / _STEP))
    return np.where(mels < _CORNER / _STEP, mels * _STEP, above)


def slaney_filters(
    rate: int,
    n_fft: int,
    n_mels: int,
    low: float = 0.0,
    high: float | None = None,
    scale: Literal["slaney", "htk"] = "slaney",
) -> NDArray[np.float32]:
    """Mel filters [n_mels, n_fft/2+1] from `low` to `high` Hz (half the rate where not said), of equal area.

    Corners are even on Slaney's scale (linear to 1 kHz, then logarithmic) or on HTK's; the area is Slaney's
    normalisation either way. Source: Slaney's Auditory Toolbox (1998); librosa's defaults are these.
    """
    ends = to_mel(np.array([low, rate / 2 if high is None else high], np.float64), scale)
    hertz = to_hertz(np.linspace(ends[0], ends[1], n_mels + 2), scale)
    bins = np.linspace(0, rate / 2, n_fft // 2 + 1)
    width = np.diff(hertz)
    rising = (bins[None] - hertz[:-2, None]) / width[:-1, None]
    falling = (hertz[2:, None] - bins[None]) / width[1:, None]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return np.asarray(triangles * (2.0 / (hertz[2:] - hertz[:-2]))[:, None], np.float32)
