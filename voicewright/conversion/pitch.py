"""F0 of speech at 16 kHz on the 10 ms grid of voice conversion: estimated, coded, moved, compared.

Frame k is measured around sample 160 k. WORLD's two estimators need nothing more than the base installation;
the neural ones need weights (`model/pitch/fcpe.py`, `model/pitch/rmvpe.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from voicewright.errors import UsageError, VoicewrightError

if TYPE_CHECKING:
    from voicewright.model.pitch.fcpe import Fcpe
    from voicewright.model.pitch.rmvpe import Rmvpe

Floats = npt.NDArray[np.float32]

RATE = 16_000
HOP = 160
F0_MIN, F0_MAX = 50.0, 1100.0
"""Hz: what coarse pitch can say, and WORLD's search range."""
METHODS = ("auto", "fcpe", "rmvpe", "harvest", "dio")
"""`auto` is FCPE where its package is installed, else harvest."""
WINDOW, CONTEXT = 40 * RATE, 2 * RATE
"""Samples estimated at once beyond `WINDOW + 2 * CONTEXT`, and those heard on either side of them."""
BINS = 255


def estimate(
    samples: Floats,
    method: str = "auto",
    *,
    f0_min: float = F0_MIN,
    f0_max: float = F0_MAX,
    threshold: float | None = None,
    whole: bool = False,
) -> Floats:
    """F0 of samples [n] (16 kHz, mono) in Hz, 0 where unvoiced: float32 [n // 160 + 1].

    More than 44 s are estimated 40 s at a time with 2 s of context, in bounded memory, unless `whole`;
    networks that hear everything at once may then differ by a little from what they say of the whole.
    `f0_min` and `f0_max` bound the search of harvest and dio; the networks of FCPE and RMVPE search 32
    to 1976 Hz whatever is wanted, as upstream's do. `threshold` is how sure a network must be that a
    frame is voiced (rmvpe 0.03, fcpe 0.05; upstream's for fcpe is 0.006). Samples that are no numbers
    count as silence.

    Raises UsageError for an unknown method or a threshold with WORLD, VoicewrightError for several channels
    or missing weights.
    """
    wave = np.asarray(samples, np.float32)
    if wave.ndim != 1:
        raise VoicewrightError(
            f"Pitch needs one channel, got an array of shape {wave.shape}; downmix it first."
        )
    if not 0 < f0_min < f0_max < RATE / 2:
        raise UsageError(
            f"pitch between {f0_min:g} and {f0_max:g} Hz cannot be searched; give 0 < low < high."
        )
    chosen = resolve(method)
    frames = len(wave) // HOP + 1
    if not np.isfinite(wave).all():
        wave = np.nan_to_num(wave, nan=0.0, posinf=0.0, neginf=0.0)
    if len(wave) < HOP or not wave.any():
        return np.zeros(frames, np.float32)
    if chosen in ("harvest", "dio"):
        if threshold is not None:
            raise UsageError(f"{chosen} has no threshold; leave it out, or take another pitch method.")
        ask: Callable[[Floats], Floats] = lambda part: _world(part, chosen, f0_min, f0_max)  # noqa: E731
    else:
        network = _network(chosen)
        ask = lambda part: network(part, threshold)  # noqa: E731
    if whole or len(wave) <= WINDOW + 2 * CONTEXT:
        return _fitted(ask(wave), frames)
    out = np.zeros(frames, np.float32)
    for start in range(0, len(wave), WINDOW):
        first = max(0, start - CONTEXT)
        end = min(len(wave), start + WINDOW)
        part = wave[first : min(len(wave), end + CONTEXT)]
        found = _fitted(ask(part), len(part) // HOP + 1)[(start - first) // HOP :]
        place = out[start // HOP : end // HOP + 1]
        place[:] = found[: len(place)]
    return out


def resolve(method: str) -> str:
    """The method that a word means on this machine. Raises UsageError unless it is one of METHODS."""
    if method not in METHODS:
        raise UsageError(f"there is no pitch method {method!r}; choose one of {', '.join(METHODS)}.")
    if method != "auto":
        return method
    from voicewright.model.pitch.fcpe import find_weights

    return "fcpe" if find_weights() is not None else "harvest"


def _fitted(f0: Floats, frames: int) -> Floats:
    """Exactly so many frames, and no value that is not a pitch."""
    out = np.zeros(frames, np.float32)
    count = min(frames, len(f0))
    out[:count] = f0[:count]
    out[~(np.isfinite(out) & (out > 0))] = 0
    return out


def _world(wave: Floats, method: str, f0_min: float, f0_max: float) -> Floats:
    import pyworld

    if len(wave) < RATE // 20:  # WORLD's filters do not fit into less
        return np.zeros(len(wave) // HOP + 1, np.float32)
    double = np.ascontiguousarray(wave, np.float64)
    search = pyworld.harvest if method == "harvest" else pyworld.dio
    coarse_f0, times = search(double, RATE, f0_floor=f0_min, f0_ceil=f0_max, frame_period=1000 * HOP / RATE)
    f0 = np.asarray(pyworld.stonemask(double, coarse_f0, times, RATE), np.float32)
    return median3(f0) if method == "harvest" else f0


def median3(f0: Floats) -> Floats:
    """The median of three neighbouring frames, zeros beyond the ends: what upstream does to harvest alone."""
    padded = np.pad(f0, 1)
    return np.median(np.stack([padded[:-2], padded[1:-1], padded[2:]]), axis=0).astype(np.float32)


@lru_cache(maxsize=2)
def _network(method: str) -> Callable[[Floats, float | None], Floats]:
    """The estimator of a method that has weights. The last two asked for stay open.

    Raises UsageError in one sentence when its weights are not here.
    """
    import torch

    network: Rmvpe | Fcpe
    # Layers are filled at random before their weights come; a caller's random numbers are not to be used up.
    with torch.random.fork_rng(devices=[]):
        if method == "rmvpe":
            from voicewright.model.pitch.rmvpe import open_rmvpe

            network = open_rmvpe(precision="auto")
        else:
            from voicewright.model.pitch.fcpe import open_fcpe

            network = open_fcpe(precision="auto")

    def ask(wave: Floats, threshold: float | None) -> Floats:
        samples = torch.from_numpy(wave)
        found = network.f0(samples) if threshold is None else network.f0(samples, threshold)
        return np.asarray(found.numpy(), np.float32)

    return ask


def coarse(f0: Floats) -> npt.NDArray[np.int64]:
    """Codes 1 to 255 that RVC's synthesizer embeds: equal steps of mel between 50 and 1100 Hz, 1 unvoiced.

    [T] Hz → int64 [T]. 100 Hz is 20, 220 is 60, 440 is 122, 880 is 217.
    """
    low, high = (1127.0 * math.log1p(hz / 700.0) for hz in (F0_MIN, F0_MAX))
    mel = 1127.0 * np.log1p(np.maximum(np.asarray(f0, np.float64), 0.0) / 700.0)
    steps = (mel - low) * (BINS - 1) / (high - low) + 1.0
    return np.rint(np.clip(steps, 1, BINS)).astype(np.int64)


def transpose(f0: Floats, semitones: float) -> Floats:
    """F0 moved by so many semitones; unvoiced frames stay 0."""
    return np.asarray(np.asarray(f0, np.float32) * np.float32(2.0 ** (semitones / 12.0)), np.float32)


def interpolate_unvoiced(f0: Floats) -> Floats:
    """Unvoiced frames on straight lines (in Hz) between their voiced neighbours, held at the ends.

    What RVC's 2026 line does at inference and in training; without any voiced frame nothing changes.
    """
    out = np.array(f0, np.float32)
    voiced = out > 0
    if voiced.any() and not voiced.all():
        places = np.arange(len(out))
        out[~voiced] = np.interp(places[~voiced], places[voiced], out[voiced])
    return out


def semitones_between(source: float, target: float) -> float:
    """Whole semitones from one median F0 in Hz to another; 0 where either is not known (0 or less)."""
    return float(round(12.0 * math.log2(target / source))) if source > 0 and target > 0 else 0.0
