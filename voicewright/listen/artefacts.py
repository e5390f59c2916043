"""Faults that trained voices die of, each as a number: echoes, lines, whistle, ends that hum.

Where they come from: a decoder that was trained too hard repeats itself at its frame rate (a comb at 12.5 or
25 ms); transposed convolutions leave lines at multiples of 24 kHz over their hop (2.4, 4.8, 7.2, 9.6 kHz);
a decoder that was made too small whistles at 2 to 3 kHz on voiced frames; an end is held instead of falling
silent. Losses and recognisers hardly notice. Every figure here is a sum over frames of one clip, to be pooled
and read beside the same figure of recordings. Constant tones elsewhere: `judging/spectrum.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voicewright.units import HOP, SAMPLE_RATE

Samples = NDArray[np.float32]
Array = NDArray[np.float64]

ECHOES = (0.0125, 0.025)
"""Seconds: half a frame and a frame of Kokoro's decoder."""
LINES = (2400.0, 4800.0, 7200.0, 9600.0)
WHISTLE = (2000.0, 3000.0)
WHISTLE_DB = 15.0
"""A voiced frame whistles when 2–3 kHz lies this far above the recordings' median."""
_ECHO_FRAME, _ECHO_HOP, _ECHO_FFT = 2400, 600, 4096
_WIGGLE = 1
"""Samples by which an echo may be off: the decoder's is exact, and each more lets noise in."""
_RING = (8, 25)
"""Samples beside it, 0.3 to 1 ms away, whose mean is its ground."""
_LINE_FRAME, _LINE_HOP = 4000, 2000
"""6 Hz a bin, so that every line is in the middle of one."""
_LINE_RING = (5, 17)
_LOUD_DB = 30.0
"""Frames this far below the clip's loud ones are not looked at."""
_END, _FADE = 0.2, 0.03
"""Seconds: how long an end must hum; what is left to a fade behind it."""
_HUM_DB, _HUM_STEADY_DB, _HUM_PERIODIC = 50.0, 6.0, 0.6


@dataclass(frozen=True)
class Artefacts:
    """Sums over the frames of one clip."""

    echoes: Array
    """[2, 3]: cepstrum above its surroundings at each of `ECHOES`, -1 to +1 samples."""
    echo_frames: Array
    """[2]: frames summed; those whose pitch has a period or its multiple there are left out."""
    pitch_peak: float
    """Cepstral peaks of the pitch, above their surroundings, over `pitch_frames`."""
    pitch_frames: int
    lines: Array
    """[4]: dB of each of `LINES` above its surroundings."""
    line_frames: int
    whistle: Array
    """[voiced frames]: level of 2–3 kHz against 0.1–8 kHz, dB."""
    hums: bool
    """The end is held: periodic, steady and not below -50 dB of the speech for its last 0.2 s."""

    @property
    def figures(self) -> dict[str, float]:
        """As shown for one clip."""
        return pooled([self])


def pooled(clips: Sequence[Artefacts]) -> dict[str, float]:
    """The figures of clips together: echoes over the pitch's peak, dB of the strongest line, mean dB of
    2–3 kHz on voiced frames, share of clips that hum at their end."""
    pitch_frames = sum(clip.pitch_frames for clip in clips)
    pitch = max(sum(clip.pitch_peak for clip in clips) / max(1, pitch_frames), 1e-3)
    frames = np.maximum(1, np.sum([clip.echo_frames for clip in clips], axis=0))
    echo = np.abs(np.sum([clip.echoes for clip in clips], axis=0)).max(axis=1) / frames / pitch
    lines = np.sum([clip.lines for clip in clips], axis=0) / max(1, sum(clip.line_frames for clip in clips))
    whistle = np.concatenate([clip.whistle for clip in clips])
    return {
        "echo_12_5": float(echo[0]) if pitch_frames else 0.0,
        "echo_25": float(echo[1]) if pitch_frames else 0.0,
        "lines": float(lines.max()),
        "level_2_3_khz": float(whistle.mean()) if whistle.size else 0.0,
        "hums": float(np.mean([clip.hums for clip in clips])),
    }


def strongest_line(clips: Sequence[Samples]) -> float:
    """dB of the strongest of `LINES` over clips together (24 kHz); silent ones are left out."""
    sums, frames = np.zeros(len(LINES)), 0
    for samples in clips:
        clip = np.nan_to_num(np.asarray(samples, np.float64).reshape(-1))
        peak = float(np.abs(clip).max(initial=0.0))
        if peak >= 1e-5 and len(clip) >= _LINE_FRAME:
            found, count = _lines(clip / peak)
            sums, frames = sums + found, frames + count
    return float(sums.max() / max(1, frames))


def listen_for_artefacts(samples: Samples, f0: NDArray[np.floating]) -> Artefacts:
    """Look at one clip (float32 mono, 24 kHz); F0 in Hz every 12.5 ms, 0 unvoiced. Silence gives zeros."""
    clip = np.nan_to_num(np.asarray(samples, np.float64).reshape(-1))
    peak = float(np.abs(clip).max(initial=0.0))
    if peak < 1e-5 or len(clip) < _LINE_FRAME:
        return Artefacts(
            np.zeros((2, 2 * _WIGGLE + 1)), np.zeros(2), 0.0, 0, np.zeros(4), 0, np.zeros(0), False
        )
    clip = clip / peak
    echoes, echo_frames, pitch_peak, pitch_frames = _echoes(clip, f0)
    lines, line_frames = _lines(clip)
    return Artefacts(
        echoes, echo_frames, pitch_peak, pitch_frames, lines, line_frames, _whistle(clip, f0), end_hums(clip)
    )


@functools.lru_cache(maxsize=4)
def _window(length: int) -> Array:
    return np.asarray(0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(length) + 0.5) / length))


def _loud_frames(clip: Array, length: int, hop: int) -> tuple[Array, NDArray[np.intp]]:
    """Frames [N, length] that are not near silence, and where they start."""
    frames = np.lib.stride_tricks.sliding_window_view(clip, length)[::hop]
    level = 10 * np.log10((frames**2).mean(axis=1) + 1e-12)
    loud = np.flatnonzero(level > np.percentile(level, 95) - _LOUD_DB)
    return frames[loud], loud * hop


def _cepstra(clip: Array) -> tuple[Array, NDArray[np.intp]]:
    """Cepstra of the loud frames [N, 4096] of natural log magnitudes, and where the frames start."""
    frames, starts = _loud_frames(clip, _ECHO_FRAME, _ECHO_HOP)
    spectrum = np.abs(np.fft.rfft(frames * _window(_ECHO_FRAME), _ECHO_FFT, axis=1))
    # Below -70 dB of a frame's loudest bin is rounding, whose logarithm must not speak.
    spectrum = np.log(np.maximum(spectrum, spectrum.max(axis=1, keepdims=True) * 10 ** (-70 / 20)))
    return np.asarray(np.fft.irfft(spectrum, axis=1)), starts


def mean_cepstrum(clips: Sequence[Samples]) -> NDArray[np.float32]:
    """Mean cepstrum [2048] of clips' loud frames by sample at 24 kHz; silent clips are left out."""
    total, count = np.zeros(_ECHO_FFT // 2), 0
    for samples in clips:
        clip = np.nan_to_num(np.asarray(samples, np.float64).reshape(-1))
        peak = float(np.abs(clip).max(initial=0.0))
        if peak >= 1e-5 and len(clip) >= _ECHO_FRAME:
            cepstra, _ = _cepstra(clip / peak)
            total += cepstra[:, : len(total)].sum(axis=0)
            count += len(cepstra)
    return np.asarray(total / max(1, count), np.float32)


def _echoes(clip: Array, f0: NDArray[np.floating]) -> tuple[Array, Array, float, int]:
    cepstra, starts = _cepstra(clip)
    middles = np.minimum((starts + _ECHO_FRAME // 2) // HOP, max(0, len(f0) - 1))
    pitch = np.asarray(f0, np.float64)[middles] if len(f0) else np.zeros(len(starts))
    sums, counts = np.zeros((len(ECHOES), 2 * _WIGGLE + 1)), np.zeros(len(ECHOES))
    for number, seconds in enumerate(ECHOES):
        at = round(seconds * SAMPLE_RATE)
        periods = pitch * seconds
        # A period, or a few of them, must not lie there: a voice at 80, 160 or 240 Hz has a peak at 12.5 ms.
        used = (pitch == 0) | (np.abs(periods - np.round(periods)) > 0.15) | (periods > 6)
        ground = _ground(cepstra[used], at)
        peaks = cepstra[used, at - _WIGGLE : at + _WIGGLE + 1] - ground[:, None]
        sums[number], counts[number] = peaks.sum(axis=0), int(used.sum())
    total, voiced = 0.0, 0
    for row, hertz in zip(cepstra, pitch, strict=True):
        if hertz > 0:
            at = round(SAMPLE_RATE / hertz)
            reach = max(2, at // 50)
            total += float(row[at - reach : at + reach + 1].max()) - float(_ground(row[None], at)[0])
            voiced += 1
    return sums, counts, total, voiced


def _ground(cepstra: Array, at: int) -> Array:
    near, far = _RING
    beside = np.concatenate([cepstra[:, at - far : at - near], cepstra[:, at + near : at + far]], axis=1)
    return np.asarray(beside.mean(axis=1))


def _lines(clip: Array) -> tuple[Array, int]:
    frames, _ = _loud_frames(clip, _LINE_FRAME, _LINE_HOP)
    power = np.abs(np.fft.rfft(frames * _window(_LINE_FRAME), axis=1)) ** 2
    level = 10 * np.log10(power + 1e-10)
    near, far = _LINE_RING
    sums = []
    for hertz in LINES:
        at = round(hertz * _LINE_FRAME / SAMPLE_RATE)
        beside = np.concatenate([level[:, at - far : at - near], level[:, at + near : at + far]], axis=1)
        sums.append(float((level[:, at - 1 : at + 2].mean(axis=1) - beside.mean(axis=1)).sum()))
    return np.asarray(sums), len(level)


def _whistle(clip: Array, f0: NDArray[np.floating]) -> Array:
    """Level of 2–3 kHz against 0.1–8 kHz in dB on each loud voiced frame."""
    length = 1200
    frames, starts = _loud_frames(clip, length, HOP)
    middles = np.minimum((starts + length // 2) // HOP, max(0, len(f0) - 1))
    voiced = np.asarray(f0)[middles] > 0 if len(f0) else np.zeros(len(starts), bool)
    power = np.abs(np.fft.rfft(frames[voiced] * _window(length), axis=1)) ** 2
    hertz = np.arange(power.shape[1]) * (SAMPLE_RATE / length)
    band = power[:, (hertz >= WHISTLE[0]) & (hertz < WHISTLE[1])].sum(axis=1)
    whole = power[:, (hertz >= 100.0) & (hertz < 8000.0)].sum(axis=1)
    return np.asarray(10 * np.log10((band + 1e-10) / (whole + 1e-10)))


def end_hums(clip: Array) -> bool:
    """Does the clip (24 kHz) end in a held sound? Digital silence after it does not count."""
    length, hop = 960, 240
    if len(clip) < round((_END + _FADE) * SAMPLE_RATE) + length:
        return False
    frames = np.lib.stride_tricks.sliding_window_view(clip, length)[::hop]
    level = 10 * np.log10((frames**2).mean(axis=1) + 1e-12)
    speech = float(np.percentile(level, 95))
    sounding = np.flatnonzero(level > speech - _HUM_DB - 10)
    if not sounding.size:
        return False
    last = int(sounding[-1]) + 1 - round(_FADE * SAMPLE_RATE / hop)
    first = last - round(_END * SAMPLE_RATE / hop)
    if first < 0:
        return False
    end = level[first:last]
    if end.min() < speech - _HUM_DB or end.max() - end.min() > _HUM_STEADY_DB:
        return False
    return bool(np.median([_periodic(frame) for frame in frames[first:last]]) > _HUM_PERIODIC)


def _periodic(frame: Array) -> float:
    """Highest normalised autocorrelation at 2.5 to 20 ms (50 to 400 Hz) of a 40 ms frame."""
    shortest, longest = 60, 480
    half = len(frame) - longest
    here = frame[:half]
    squares = np.concatenate([[0.0], np.cumsum(frame**2)])
    later = squares[shortest + half : longest + half + 1] - squares[shortest : longest + 1]
    products = np.correlate(frame[shortest : longest + half], here, "valid")
    return float((products / np.sqrt(float(here @ here) * later + 1e-20)).max())
