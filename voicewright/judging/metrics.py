"""What can be measured on one clip: pitch, timing, level, clipping, silence and periodicity by band.

Everything here is defined on float32 mono samples and made to be read beside the same figure of a recording.
`spectrum` holds what is measured over a whole set of clips.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, resample_poly, sosfiltfilt

from voicewright.audio.loudness import lufs
from voicewright.audio.pitch import f0 as track_f0
from voicewright.units import HOP, SAMPLE_RATE

Samples = NDArray[np.float32]

BAND = (1500.0, 4000.0)
"""The band whose periodicity is judged, Hz: where a weak vocoder turns harmonics into noise first."""
PROFILE_EDGES = tuple(float(edge) for edge in range(0, 9000, 1000))
"""Edges of the bands of the periodicity profile, Hz."""
VISIBLE = 0.1
"""A band shows harmonics when its periodicity above noise is at least this."""
SILENCE_DB = 35.0
"""A 25 ms frame this far below the clip's loud frames (95th percentile) is silence."""
FULL_SCALE = 0.999
_FLAT_RUN = 4
_OVERSAMPLE = 2
_LAG_SEARCH = 0.02


@dataclass(frozen=True)
class F0Statistics:
    """Pitch of one clip. `voiced` frames of 12.5 ms; zeros for a clip without voice."""

    frames: int
    voiced: int
    mean_hz: float
    sd_hz: float
    sd_semitones: float
    range_semitones: float
    """Distance of the 5th and the 95th percentile."""
    log_sum: float
    log_square_sum: float
    """Sums of 12·log2(F0 / 100 Hz) and of its square: what pooling over clips needs."""

    @property
    def voiced_share(self) -> float:
        return self.voiced / max(1, self.frames)


def f0_statistics(f0: NDArray[np.floating]) -> F0Statistics:
    """Statistics of an F0 track [frames] in Hz, 0 where unvoiced."""
    voiced = np.asarray(f0[f0 > 0], np.float64)
    if not voiced.size:
        return F0Statistics(len(f0), 0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    semitones = 12 * np.log2(voiced / 100.0)
    low, high = np.percentile(semitones, [5, 95])
    return F0Statistics(
        frames=len(f0),
        voiced=int(voiced.size),
        mean_hz=float(voiced.mean()),
        sd_hz=float(voiced.std()),
        sd_semitones=float(semitones.std()),
        range_semitones=float(high - low),
        log_sum=float(semitones.sum()),
        log_square_sum=float((semitones**2).sum()),
    )


@dataclass(frozen=True)
class Timing:
    """Seconds of one clip. `speaking` is from the first to the last sound, `pauses` the silences inside."""

    seconds: float
    leading: float
    trailing: float
    speaking: float
    pauses: float
    silence_share: float

    @property
    def pause_share(self) -> float:
        return self.pauses / self.speaking if self.speaking > 0 else 0.0


def silent_frames(samples: Samples, rate: int = SAMPLE_RATE) -> NDArray[np.bool_]:
    """True for each 12.5 ms step whose 25 ms around it lie `SILENCE_DB` below the loud frames."""
    hop = round(rate * HOP / SAMPLE_RATE)
    padded = np.pad(samples.astype(np.float64), (hop, hop))
    sums = np.concatenate([[0.0], np.cumsum(padded**2)])
    starts = np.arange(0, max(1, len(samples)), hop)
    level = 10 * np.log10(
        (sums[np.minimum(starts + 2 * hop, len(padded))] - sums[starts]) / (2 * hop) + 1e-12
    )
    return np.asarray((level < np.percentile(level, 95) - SILENCE_DB) | (level < -90.0))


def timing(samples: Samples, rate: int = SAMPLE_RATE, shortest_pause: float = 0.1) -> Timing:
    """Timing of one clip; silences inside it count as pauses from `shortest_pause` seconds on."""
    seconds = len(samples) / rate
    silent = silent_frames(samples, rate)
    sounding = np.flatnonzero(~silent)
    if not sounding.size:
        return Timing(seconds, seconds, 0.0, 0.0, 0.0, 1.0)
    step = HOP / SAMPLE_RATE
    first, last = int(sounding[0]), int(sounding[-1])
    gaps = (np.diff(sounding) - 1) * step
    return Timing(
        seconds=seconds,
        leading=first * step,
        trailing=max(0.0, seconds - (last + 1) * step),
        speaking=(last + 1 - first) * step,
        pauses=float(gaps[gaps >= shortest_pause].sum()),
        silence_share=float(silent.mean()),
    )


def clipped_samples(samples: Samples) -> int:
    """Samples at full scale, or in flat runs of four and more at the clip's peak (clipped, then scaled)."""
    if not samples.size:
        return 0
    bad = np.abs(samples) >= FULL_SCALE
    for extreme in (samples.max(), samples.min()):
        if abs(extreme) < 0.05:
            continue
        edges = np.flatnonzero(np.diff(np.concatenate([[0], (samples == extreme).astype(np.int8), [0]])))
        for start, stop in edges.reshape(-1, 2):
            if stop - start >= _FLAT_RUN:
                bad[start:stop] = True
    return int(bad.sum())


def _band_pass(samples: NDArray[np.float64], low: float, high: float, rate: int) -> NDArray[np.float64]:
    """Fourth-order Butterworth, forwards and backwards; `low` 0 makes it a low-pass."""
    return np.asarray(sosfiltfilt(_filter(low, high, rate), samples))


@functools.lru_cache(maxsize=32)
def _filter(low: float, high: float, rate: int) -> NDArray[np.float64]:
    if low <= 0:
        return np.asarray(butter(4, high, "lowpass", fs=rate, output="sos"))
    return np.asarray(butter(4, [low, high], "bandpass", fs=rate, output="sos"))


@dataclass(frozen=True)
class Periodicity:
    """Sums over voiced frames: periodicity = weighted / weight."""

    weighted: float
    weight: float

    @property
    def value(self) -> float:
        return self.weighted / self.weight if self.weight > 0 else 0.0


def periodicity(
    samples: Samples,
    f0: NDArray[np.floating],
    bands: tuple[tuple[float, float], ...] = (BAND,),
    rate: int = SAMPLE_RATE,
) -> list[Periodicity]:
    """How alike two neighbouring pitch periods are within each band: 1 for a pulse train.

    Definition: the clip, oversampled twice, is band-passed; in every voiced frame, two pitch periods are held
    against the same stretch one period later, by normalised correlation, at the best lag within 2 % of the
    period from `f0` (frames of 12.5 ms, Hz); frames are averaged with the band's amplitude as weight.
    The search for the lag makes white noise read about 0.15 for 1.5-4 kHz and more in narrower bands:
    `above_noise` takes that off. Because frame and lag follow F0, the same F0 error lowers both sides alike.
    """
    count = len(samples)
    if not count or not np.any(f0 > 0):
        return [Periodicity(0.0, 0.0) for _ in bands]
    fine = resample_poly(samples.astype(np.float64), _OVERSAMPLE, 1)
    # sosfiltfilt wants more samples than its padding
    if len(fine) < 200:
        return [Periodicity(0.0, 0.0) for _ in bands]
    peak = float(np.abs(fine).max()) or 1.0
    out = []
    for low, high in bands:
        filtered = _band_pass(fine / peak, low, high, rate * _OVERSAMPLE)
        out.append(_band_periodicity(filtered, f0, rate))
    return out


def _band_periodicity(signal: NDArray[np.float64], f0: NDArray[np.floating], rate: int) -> Periodicity:
    weighted = weight = 0.0
    squares = np.concatenate([[0.0], np.cumsum(signal**2)])
    hop = round(rate * HOP / SAMPLE_RATE) * _OVERSAMPLE
    for index in np.flatnonzero(f0 > 0):
        period = rate * _OVERSAMPLE / float(f0[index])
        length = round(2 * period)
        shortest, longest = int(period * (1 - _LAG_SEARCH)), int(np.ceil(period * (1 + _LAG_SEARCH)))
        start = index * hop - (length + longest) // 2
        if start < 0 or start + length + longest > len(signal):
            continue
        here = signal[start : start + length]
        first, last = start + shortest, start + longest
        energy = float(here @ here)
        later = squares[first + length : last + length + 1] - squares[first : last + 1]
        products = np.correlate(signal[first : last + length], here, "valid")
        alike = products / np.sqrt(energy * np.maximum(later, 0.0) + 1e-24)
        amplitude = float(np.sqrt(energy / length))
        weighted += amplitude * float(alike.max())
        weight += amplitude
    return Periodicity(weighted, weight)


def noise_periodicity(
    f0: NDArray[np.floating], bands: tuple[tuple[float, float], ...] = (BAND,), seed: int = 0
) -> list[float]:
    """What `periodicity` reads for white noise under this F0 track: the zero of `above_noise`."""
    noise = np.random.default_rng(seed).standard_normal(len(f0) * HOP).astype(np.float32)
    return [one.value for one in periodicity(noise, f0, bands)]


def above_noise(value: float, noise: float) -> float:
    """Periodicity with noise at 0 and a perfect pulse train at 1; never below 0."""
    return max(0.0, (value - noise) / (1.0 - noise))


def profile_bands() -> tuple[tuple[float, float], ...]:
    """The bands of the periodicity profile: 1 kHz each, 0 to 8 kHz."""
    return tuple(itertools.pairwise(PROFILE_EDGES))


def visible_to(profile: list[float]) -> float:
    """Hz up to which every band of a profile (above noise) shows harmonics."""
    top = 0.0
    for (_, high), value in zip(profile_bands(), profile, strict=True):
        if value < VISIBLE:
            break
        top = high
    return top


@dataclass(frozen=True)
class Measures:
    """Everything measured on one clip. `profile` is for the bands of `profile_bands`."""

    f0: F0Statistics
    timing: Timing
    letters: int
    peak: float
    lufs: float
    dc_offset: float
    """Mean sample over the clip's RMS: 0.1 is a DC part a tenth as strong as the sound."""
    clipped: int
    band: Periodicity
    profile: tuple[Periodicity, ...]

    @property
    def rate(self) -> float:
        """Letters of the text a second, from the first to the last sound."""
        return self.letters / self.timing.speaking if self.timing.speaking > 0 else 0.0

    def as_dict(self) -> dict[str, float]:
        """The figures shown for one utterance, rounded."""
        found = asdict(self.f0) | asdict(self.timing)
        found = {
            key: found[key]
            for key in ("mean_hz", "sd_semitones", "range_semitones", "seconds", "speaking", "leading")
        }
        found |= {
            "voiced_share": self.f0.voiced_share,
            "trailing": self.timing.trailing,
            "pause_share": self.timing.pause_share,
            "letters_per_second": self.rate,
            "peak": self.peak,
            "lufs": max(-99.0, self.lufs),
            "dc_offset": self.dc_offset,
            "clipped": float(self.clipped),
            "periodicity": self.band.value,
        }
        return {key: round(float(value), 4) for key, value in found.items()}


def measure(samples: Samples, text: str, f0: NDArray[np.floating] | None = None) -> Measures:
    """Measure one clip (float32 mono, 24 kHz) that says `text`. Empty and silent clips give zeros."""
    samples = np.nan_to_num(np.asarray(samples, np.float32).reshape(-1))
    track = track_f0(samples) if f0 is None else f0
    rms = float(np.sqrt(np.mean(samples.astype(np.float64) ** 2))) if samples.size else 0.0
    bands = periodicity(samples, track, (BAND, *profile_bands()))
    return Measures(
        f0=f0_statistics(track),
        timing=timing(samples),
        letters=sum(character.isalnum() for character in text),
        peak=float(np.abs(samples).max(initial=0.0)),
        lufs=lufs(samples, SAMPLE_RATE),
        dc_offset=abs(float(samples.mean())) / rms if rms > 1e-9 else 0.0,
        clipped=clipped_samples(samples),
        band=bands[0],
        profile=tuple(bands[1:]),
    )
