"""Spectra of sets of clips: long-term average, constant tones, distance of two readings of one text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voicewright.audio.melbank import slaney_filters
from voicewright.judging.metrics import SILENCE_DB, Samples
from voicewright.units import SAMPLE_RATE

N_FFT = 4096
"""Long windows (171 ms, 5.9 Hz a bin): a constant tone stands out, gliding harmonics smear."""
_HOP = 2048
_FLOOR = 1e-14
_MAX_FRAMES = 6000
_RING = (4, 17)
"""Bins on both sides (23 to 100 Hz away) that a peak is held against."""
TONE_DB = 6.0
"""A constant tone stands this far above its neighbourhood ..."""
TONE_EXCESS_DB = 3.0
"""... and this far above the recordings at the same frequency."""
TONE_RANGE = (60.0, 11_500.0)


@dataclass(frozen=True)
class LongTerm:
    """Long-term spectra of a set of clips, dB against its own speech level, by bin of a 4096-point FFT."""

    hertz: NDArray[np.float64]
    average: NDArray[np.float64]
    """Power averaged over the sounding frames (LTAS)."""
    median: NDArray[np.float64]
    """Median over all frames but digital silence: what is there all the time."""
    frames: int


def long_term(clips: Sequence[Samples], rate: int = SAMPLE_RATE) -> LongTerm:
    """Long-term spectra of clips (float32 mono at `rate`). All-silent sets give the floor everywhere."""
    window = np.hanning(N_FFT + 1)[:-1]
    window = window / np.sqrt((window**2).sum() * N_FFT)
    rows = []
    for clip in clips:
        padded = np.pad(np.asarray(clip, np.float32), (0, max(0, N_FFT - len(clip))))
        frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::_HOP]
        rows.append((np.abs(np.fft.rfft(frames * window, axis=1)) ** 2).astype(np.float32))
    power = np.concatenate(rows) if rows else np.zeros((1, N_FFT // 2 + 1), np.float32)
    if len(power) > _MAX_FRAMES:
        power = power[np.linspace(0, len(power) - 1, _MAX_FRAMES).astype(int)]
    level = 10 * np.log10(2 * power.sum(axis=1) + _FLOOR)
    heard = power[level > -100.0] if np.any(level > -100.0) else power
    level = 10 * np.log10(2 * heard.sum(axis=1) + _FLOOR)
    loud = level > np.percentile(level, 95) - SILENCE_DB
    speech = float(10 * np.log10(2 * heard[loud].sum(axis=1).mean() + _FLOOR))
    return LongTerm(
        hertz=np.arange(N_FFT // 2 + 1, dtype=np.float64) * (rate / N_FFT),
        average=10 * np.log10(heard[loud].mean(axis=0, dtype=np.float64) + _FLOOR) - speech,
        median=10 * np.log10(np.median(heard, axis=0).astype(np.float64) + _FLOOR) - speech,
        frames=len(heard),
    )


@dataclass(frozen=True)
class Tone:
    """A narrow peak that stays. Levels in dB against the speech level."""

    hertz: float
    level: float
    prominence: float
    """dB above the louder of its two neighbourhoods."""
    above_recordings: float
    """dB above what the recordings have there."""


def prominence(median: NDArray[np.float64]) -> NDArray[np.float64]:
    """dB by which each bin [bins] stands above the louder of the medians 23-100 Hz below and above it."""
    near, far = _RING
    padded = np.pad(median, far, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * far + 1)
    below = np.median(windows[:, : far - near + 1], axis=1)
    above = np.median(windows[:, far + near :], axis=1)
    return np.asarray(median - np.maximum(below, above))


def constant_tones(
    synthesised: LongTerm, recordings: LongTerm, pitch: tuple[float, float] = (0.0, 0.0)
) -> list[Tone]:
    """Tones of the synthesised clips that the recordings lack, strongest first.

    Peaks inside `pitch` (Hz, low and high) are left out: a steady speaker's F0 is no tone.
    """
    stands = prominence(synthesised.median)
    # A peak that drifts by a bin or two is still the recordings' own.
    theirs = np.max([np.roll(recordings.median, shift) for shift in range(-2, 3)], axis=0)
    over = synthesised.median - theirs
    inside = (synthesised.hertz >= TONE_RANGE[0]) & (synthesised.hertz <= TONE_RANGE[1])
    inside &= (synthesised.hertz < pitch[0]) | (synthesised.hertz > pitch[1])
    tones = []
    for index in np.flatnonzero(inside & (stands >= TONE_DB) & (over >= TONE_EXCESS_DB)):
        around = synthesised.median[max(0, index - _RING[0]) : index + _RING[0] + 1]
        if synthesised.median[index] >= around.max():
            tones.append(
                Tone(
                    hertz=float(synthesised.hertz[index]),
                    level=float(synthesised.median[index]),
                    prominence=float(stands[index]),
                    above_recordings=float(over[index]),
                )
            )
    return sorted(tones, key=lambda tone: -tone.prominence)


def third_octaves(spectrum: LongTerm, low: float = 100.0, high: float = 10_000.0) -> NDArray[np.float64]:
    """LTAS in third-octave bands [bands], dB."""
    centres = low * 2 ** (np.arange(int(3 * np.log2(high / low)) + 1) / 3)
    power = 10 ** (spectrum.average / 10)
    out = []
    for centre in centres:
        inside = (spectrum.hertz >= centre * 2 ** (-1 / 6)) & (spectrum.hertz < centre * 2 ** (1 / 6))
        out.append(10 * np.log10(power[inside].sum() + _FLOOR))
    return np.asarray(out)


def ltas_distance(one: LongTerm, other: LongTerm) -> float:
    """Mean absolute difference of two LTAS over third octaves from 100 Hz to 10 kHz, dB."""
    return float(np.abs(third_octaves(one) - third_octaves(other)).mean())


_MEL_FFT, _MEL_HOP, _MELS = 1024, 300, 80


def _mel_db(samples: Samples) -> NDArray[np.float64]:
    """[frames, 80] in dB below the clip's loudest frame band, floored at -60 dB."""
    padded = np.pad(np.asarray(samples, np.float64), _MEL_FFT // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _MEL_FFT)[::_MEL_HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(_MEL_FFT + 1)[:-1], axis=1)) ** 2
    mel = 10 * np.log10(power @ slaney_filters(SAMPLE_RATE, _MEL_FFT, _MELS).T.astype(np.float64) + _FLOOR)
    return np.asarray(np.maximum(mel - np.percentile(mel, 99.5), -60.0))


def spectral_distance(one: Samples, other: Samples, warp: bool = True) -> float:
    """Log-spectral distance of two clips at 24 kHz in dB: RMS over 80 mel bands, mean over frames.

    With `warp`, frames are matched by dynamic time warping (two readings of one text); without, frame by
    frame (copy-synthesis). Level differences between the clips are taken off. Zero for identical clips.
    """
    a, b = _mel_db(one), _mel_db(other)
    if warp:
        distance = np.sqrt(
            np.maximum(0.0, (a**2).mean(1)[:, None] + (b**2).mean(1)[None] - 2 * (a @ b.T) / _MELS)
        )
        return _warped_mean(distance)
    count = min(len(a), len(b))
    return float(np.sqrt(((a[:count] - b[:count]) ** 2).mean(axis=1)).mean())


def _warped_mean(distance: NDArray[np.float64]) -> float:
    """Mean distance along the cheapest monotone path through [N, M], by anti-diagonals."""
    rows, columns = distance.shape
    cost = np.full((rows + 1, columns + 1), np.inf)
    steps = np.zeros((rows + 1, columns + 1))
    cost[0, 0] = 0.0
    for diagonal in range(2, rows + columns + 1):
        i = np.arange(max(1, diagonal - columns), min(rows, diagonal - 1) + 1)
        j = diagonal - i
        choices = np.stack([cost[i - 1, j - 1], cost[i - 1, j], cost[i, j - 1]])
        best = choices.argmin(axis=0)
        before = np.stack([steps[i - 1, j - 1], steps[i - 1, j], steps[i, j - 1]])
        here = np.arange(len(i))
        cost[i, j] = choices[best, here] + distance[i - 1, j - 1]
        steps[i, j] = before[best, here] + 1
    return float(cost[rows, columns] / max(1.0, steps[rows, columns]))
