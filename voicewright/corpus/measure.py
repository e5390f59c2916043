"""What can be measured on a clip without knowing its text: levels, clipping, noise, bandwidth, edges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voicewright.audio.files import Samples
from voicewright.audio.loudness import lufs

_FRAME = 0.020
_STEP = 0.010
_FLOOR_DB = -100.0
"""Quieter is digital silence: below the last bit of 16."""
_BAND_DB = 65.0
_FLAT_RUN = 3
_EDGE_DB = 42.0
"""A frame this far below the loud ones is an edge's silence, unless noise lies higher."""


@dataclass(frozen=True)
class Levels:
    """Measured on samples at the recording's own rate. dB are below full scale, times in seconds."""

    seconds: float
    lufs: float
    peak: float
    clipped: float
    noise_db: float
    speech_db: float
    bandwidth_hz: float
    speech_start: float
    speech_end: float

    @property
    def snr_db(self) -> float:
        return self.speech_db - self.noise_db


def frame_levels(samples: Samples, rate: int) -> NDArray[np.float64]:
    """Levels [frames] in dB of 20 ms frames every 10 ms; at least one frame."""
    frame, step = int(_FRAME * rate), int(_STEP * rate)
    squares = np.concatenate(([0.0], np.cumsum(samples.astype(np.float64) ** 2)))
    starts = np.arange(0, max(1, len(samples) - frame + 1), step)
    ends = np.minimum(starts + frame, len(samples))
    power = (squares[ends] - squares[starts]) / np.maximum(1, ends - starts)
    return np.maximum(10 * np.log10(np.maximum(power, 1e-12)), _FLOOR_DB)


def clipped_fraction(samples: Samples) -> float:
    """Fraction of samples in runs of three or more that stand at the extremes (flat tops), of loud clips.

    Flat tops below full scale count too: a clipped recording may have been turned down afterwards.
    """
    size = np.abs(samples)
    peak = float(size.max(initial=0.0))
    if peak < 0.25:  # quieter flat tops are quantisation, or harmless
        return 0.0
    flat = size >= 0.9995 * peak if peak < 0.99 else size >= 0.99
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flat.astype(np.int8), [0]))))
    runs = edges[1::2] - edges[::2]
    return float(runs[runs >= _FLAT_RUN].sum() / max(1, len(samples)))


def bandwidth(samples: Samples, rate: int, levels: NDArray[np.float64]) -> float:
    """Highest frequency in Hz at which the louder frames hold energy within 65 dB of the strongest."""
    size = 1 << round(np.log2(0.046 * rate))
    step = int(_STEP * rate)
    loud = np.flatnonzero(levels >= np.median(levels))
    starts = loud[:: max(1, len(loud) // 64)] * step
    starts = starts[starts + size <= len(samples)]
    if not len(starts):
        return 0.0
    frames = samples[starts[:, None] + np.arange(size)] * np.hanning(size).astype(np.float32)
    power = (np.abs(np.fft.rfft(frames)) ** 2).mean(axis=0)
    smooth = np.convolve(power, np.full(5, 0.2), mode="same")
    above = np.flatnonzero(smooth >= smooth.max() * 10 ** (-_BAND_DB / 10))
    return float(above[-1] * rate / size) if smooth.max() > 0 else 0.0


def measure(samples: Samples, rate: int) -> Levels:
    """Measure a clip: samples [T] at its own rate, not empty."""
    levels = frame_levels(samples, rate)
    speech = float(np.percentile(levels, 95))
    sounding = levels[levels > _FLOOR_DB + 1]
    noise = float(np.percentile(sounding, 5)) if len(sounding) else _FLOOR_DB
    # Soft first and last consonants must survive: the border follows the noise where there is some, and never
    # comes nearer to the loud frames than 20 dB.
    border = min(max(noise + 6.0, speech - _EDGE_DB), speech - 20.0)
    active = np.flatnonzero(levels >= border)
    seconds = len(samples) / rate
    return Levels(
        seconds=seconds,
        lufs=lufs(samples, rate),
        peak=float(np.abs(samples).max()),
        clipped=clipped_fraction(samples),
        noise_db=noise,
        speech_db=speech,
        bandwidth_hz=bandwidth(samples, rate, levels),
        speech_start=float(active[0] * _STEP),
        speech_end=min(seconds, float(active[-1] * _STEP + _FRAME)),
    )
