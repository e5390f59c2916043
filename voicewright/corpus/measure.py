"""What can be measured on a clip without knowing its text: levels, clipping, noise, bandwidth, edges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voicewright.audio.files import Samples, resample
from voicewright.audio.loudness import FLOOR_DB, STEP, frame_levels, lufs
from voicewright.corpus.edges import Speaks, speech_bounds

_BAND_DB = 65.0
_CLIFF_DB = 26.0
_SLOW_RATE = 1000
_STANDS_OUT = 10.0
_FLAT_RUN = 3
_FLAT = 0.0005
_NEAR, _RIPPLED = 0.99, 3.0
_QUIET, _LOUD = 0.01, 0.25
"""Half of the range: below the first flat tops are harmless, from the second on they are no quantisation."""
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
    hum_hz: float = 0.0
    hum_db: float = FLOOR_DB
    rumble_db: float = FLOOR_DB

    @property
    def snr_db(self) -> float:
        return self.speech_db - self.noise_db


def clipped_fraction(samples: Samples, full: float = 1.0) -> float:
    """Fraction of samples in runs of three or more that stand at an extreme (flat tops).

    Whatever the scale: a clipped recording may have been turned down since. `full` is full scale in these
    samples. Ask before an offset is taken away, which tilts what is flat.
    """
    high, low = float(samples.max(initial=0.0)), float(samples.min(initial=0.0))
    half = (high - low) / 2
    if half < _QUIET or (half < _LOUD and _coarse(samples, high, low)):
        return 0.0
    # Zeros are silence, even where an offset makes them an extreme.
    tops = (samples >= high - _FLAT * half) & (samples != 0.0)
    bottoms = (samples <= low + _FLAT * half) & (samples != 0.0)
    flat = _in_runs(tops) + _in_runs(bottoms)
    size = np.abs(samples)
    if _NEAR * full <= (peak := float(size.max())) <= _RIPPLED * full:
        # Filters and lossy formats ripple what was flat: more samples lie near full scale than below it.
        size = (size / full).astype(np.float32)
        lossy = peak > 1.001 * full
        width = 0.1 if lossy else 0.02
        if _share(size, 1 - width / 2, 1 + width / 2) > _share(size, 1 - 3 * width / 2, 1 - width / 2):
            flat = max(flat, _in_runs(size >= _NEAR))
        if lossy and _piled_up(size):
            flat = max(flat, _in_runs(size >= 0.95))
    return flat / max(1, len(samples))


def _piled_up(size: Samples) -> bool:
    """Whether somewhere below full scale there are more samples than further down: tops that have sagged."""
    counts, _ = np.histogram(size, np.arange(0.3, 1.11, 0.1))
    lowest = np.minimum.accumulate(counts)
    return bool((counts[3:] > 1.25 * lowest[2:-1] + 5).any())


def _share(size: Samples, low: float, high: float) -> float:
    return float(np.mean((size >= low) & (size < high)))


def _in_runs(flat: NDArray[np.bool_]) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flat.astype(np.int8), [0]))))
    runs = edges[1::2] - edges[::2]
    return int(runs[runs >= _FLAT_RUN].sum())


def _coarse(samples: Samples, high: float, low: float) -> bool:
    """Whether steps between values are so wide that softest tops are flat: eight bits, or few of sixteen."""
    inside = samples[(samples < high) & (samples > low)]
    return not len(inside) or max(high - inside.max(), inside.min() - low) > 0.01 * (high - low)


def bandwidth(samples: Samples, rate: int, levels: NDArray[np.float64]) -> float:
    """Highest frequency in Hz that the louder frames reach: within 65 dB of the strongest, and below a cliff.

    Behind a filter or another codec there is a floor that sinks and rises with the speech, and may well lie
    within 65 dB; what falls so far in a kilohertz and never comes back is no speech.
    """
    size = 1 << round(np.log2(0.046 * rate))
    step = int(STEP * rate)
    loud = np.flatnonzero(levels >= np.median(levels))
    starts = loud[:: max(1, len(loud) // 128)] * step
    starts = starts[starts + size <= len(samples)]
    if not len(starts):
        return 0.0
    frames = samples[starts[:, None] + np.arange(size)] * np.hanning(size).astype(np.float32)
    powers = np.abs(np.fft.rfft(frames)) ** 2
    smooth = np.convolve(powers.mean(axis=0), np.full(5, 0.2), mode="same")
    above = np.flatnonzero(smooth >= smooth.max() * 10 ** (-_BAND_DB / 10))
    if not smooth.max() > 0:
        return 0.0
    return min(float(above[-1] * rate / size), _cliff(powers, rate / size))


def _cliff(powers: NDArray[np.float64], width: float) -> float:
    """Where the spectrum falls off and stays down, in Hz, infinite where it does not; bins are `width` Hz.

    Hisses are rare and reach highest: what the loudest of frames hold in each band counts.
    """
    loudest = np.percentile(powers, 95, axis=0)
    count = max(1, round(200 / width))
    usable = loudest[: len(loudest) // count * count].reshape(-1, count).mean(axis=1)
    bands = 10 * np.log10(np.maximum(usable, usable.max() * 1e-12))
    below, gap = 5, 6  # a kilohertz that is heard, and where a filter falls
    rest = np.maximum.accumulate(bands[::-1])[::-1]
    for at in range(below + 10, len(bands) - gap):
        inside = float(np.median(bands[at - below : at]))
        if inside - rest[at + gap] >= _CLIFF_DB:
            heard = np.flatnonzero(bands[: at + gap] >= inside - _CLIFF_DB / 2)
            return float((heard[-1] + 1) * count * width)
    return float("inf")


def mains(samples: Samples, rate: int) -> tuple[float, float, float]:
    """Hum and rumble in the pauses of samples [T]: 50, 60 or 0 Hz, the hum's level, the rumble's; dB.

    A tone of the mains stands in every half second of a clip, a voice's harmonics do not.
    """
    slow = resample(samples, rate, _SLOW_RATE)
    size = _SLOW_RATE // 2
    slow = np.pad(slow, (0, max(0, size - len(slow))))
    windows = np.lib.stride_tricks.sliding_window_view(slow, size)[:: _SLOW_RATE // 10]
    shape = np.hanning(size)
    powers = 2 * np.abs(np.fft.rfft(windows * shape)) ** 2 / shape.sum() ** 2
    lasting = np.percentile(powers, 10, axis=0) + 1e-12  # bins of 2 Hz
    found = {tone: _tone(lasting, tone // 2) for tone in (50, 60)}
    tone = max(found, key=lambda each: found[each])
    level = max(FLOOR_DB, float(10 * np.log10(found[tone] + 1e-12)))
    # A Hann window spreads a tone's power over bins that add up to one and a half of it.
    rumble = max(FLOOR_DB, float(10 * np.log10(lasting[10:23].sum() / 1.5)))
    return (float(tone) if found[tone] > 0 else 0.0), level, rumble


def _tone(lasting: NDArray[np.float64], at: int) -> float:
    """Power of a tone in bin `at` and its multiples, of those that stand out from their surroundings."""
    total = 0.0
    for centre in (at, 2 * at, 3 * at):
        peak = lasting[centre - 1 : centre + 2].max()
        around = np.concatenate([lasting[centre - 7 : centre - 3], lasting[centre + 4 : centre + 8]])
        if peak > _STANDS_OUT * np.median(around) and peak >= lasting[centre - 3 : centre + 4].max():
            total += float(peak)
    return total


def measure(
    samples: Samples, rate: int, clipped: float | None = None, speaks: Speaks | None = None
) -> Levels:
    """Measure a clip: samples [T] at its own rate, not empty, without an offset.

    `clipped`: what was found before the offset was taken away. `speaks`: see `speech_bounds`.
    """
    levels = frame_levels(samples, rate)
    speech = float(np.percentile(levels, 95))
    sounding = levels[levels > FLOOR_DB + 1]
    noise = float(np.percentile(sounding, 5)) if len(sounding) else FLOOR_DB
    # Soft first and last consonants must survive: the border follows the noise where there is some, and never
    # comes nearer to the loud frames than 20 dB.
    border = min(max(noise + 6.0, speech - _EDGE_DB), speech - 20.0)
    hum_hz, hum_db, rumble_db = mains(samples, rate)
    start, end = speech_bounds(levels, border, samples, rate, speech, speaks)
    return Levels(
        seconds=len(samples) / rate,
        lufs=lufs(samples, rate),
        peak=float(np.abs(samples).max()),
        clipped=clipped_fraction(samples) if clipped is None else clipped,
        noise_db=noise,
        speech_db=speech,
        bandwidth_hz=bandwidth(samples, rate, levels),
        hum_hz=hum_hz,
        hum_db=hum_db,
        rumble_db=rumble_db,
        speech_start=start,
        speech_end=end,
    )
