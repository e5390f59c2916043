"""A model's known voices as a fit sees them, and where among them it starts.

Each is spoken once, heard, and kept in the cache: timbre by the speaker encoder, pitch, its spread, pace, and
the share of speech that is voiced (a whisperer is like many in timbre alone).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from voicewright.audio.pitch import f0
from voicewright.errors import VoicewrightError
from voicewright.listen.speaker import Encoder, Samples
from voicewright.storage import write_atomically
from voicewright.units import STYLE
from voicewright.voices.pack import Voicepack

VERSION = 1
_LOUD = 30.0
"""Decibels under the loud frames from which a frame counts as speech."""


@dataclass(frozen=True)
class Portrait:
    """How a voice sounds: `timbre` a unit vector [256]; pitch in semitones over 1 Hz and its spread; pace in
    symbols a second of speech; `voiced` the share of speech that has a pitch."""

    timbre: tuple[float, ...]
    pitch: float
    spread: float
    pace: float
    voiced: float

    def prosody(self) -> NDArray[np.float64]:
        """Pitch, spread and pace in steps that weigh alike: two semitones, one, and a tenth of the pace."""
        return np.array([self.pitch / 2.0, self.spread, np.log(self.pace) / 0.1])


def portrait(clips: Sequence[Samples], symbols: Sequence[int], encoder: Encoder) -> Portrait:
    """Of clips [T] at 24 kHz that hold so many symbols each. Raises VoicewrightError without a pitch."""
    vectors, pitches, speech, voiced = [], [], 0, 0
    for clip in clips:
        vectors.append(encoder.embed(clip))
        curve = f0(clip)
        level = _levels(clip)[: len(curve)]
        loud = level > level.max(initial=0.0) * 10 ** (-_LOUD / 10)
        speech += int(loud.sum())
        voiced += int((curve[: len(loud)][loud] > 0).sum())
        pitches.append(curve[curve > 0])
    heard = np.concatenate(pitches) if pitches else np.zeros(0)
    if len(heard) < 40 or not speech:
        raise VoicewrightError("no voice with a pitch was found in the speech.")
    semitones = 12 * np.log2(heard)
    mean = np.mean(vectors, axis=0)
    mean = mean / max(float(np.linalg.norm(mean)), 1e-9)
    middle = float(np.median(semitones))
    spread = 1.4826 * float(np.median(np.abs(semitones - middle)))
    pace = sum(symbols) / (speech * 0.0125)
    return Portrait(tuple(float(x) for x in mean), middle, spread, pace, voiced / speech)


def _levels(clip: Samples) -> NDArray[np.float64]:
    """Power of the 12.5 ms around each hop."""
    padded = np.pad(np.asarray(clip, np.float64), 150)
    count = 1 + len(clip) // 300
    return np.asarray([np.mean(padded[300 * k : 300 * k + 300] ** 2) for k in range(count)])


def portraits(
    packs: Mapping[str, Voicepack],
    speak: Callable[[Voicepack], tuple[list[Samples], list[int]]],
    encoder: Encoder,
    cache: Path | None,
    model: str,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Portrait]:
    """Portraits of all packs that sound, from the cache file where it knows them.

    speak: a pack → its clips and the number of symbols in each. model: a digest of the weights.
    """
    known = _read(cache)
    found: dict[str, Portrait] = {}
    fresh = False
    for number, (name, pack) in enumerate(packs.items()):
        if progress is not None:
            progress("hearing known voices", number, len(packs))
        key = hashlib.blake2b(
            f"{VERSION} {model} {encoder.name} ".encode() + pack.rows.tobytes(), digest_size=16
        ).hexdigest()
        if key not in known:
            try:
                known[key] = asdict(portrait(*speak(pack), encoder))
            except VoicewrightError:  # silent or without a pitch: no start for anybody
                continue
            fresh = True
        found[name] = Portrait(**{**known[key], "timbre": tuple(known[key]["timbre"])})
    if progress is not None:
        progress("hearing known voices", len(packs), len(packs))
    if fresh and cache is not None:
        cache.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(cache, json.dumps(known).encode())
    if not found:
        raise VoicewrightError("none of the model's voices can be heard; a fit has nothing to start from.")
    return found


def _read(cache: Path | None) -> dict[str, Any]:
    try:
        found = json.loads(cache.read_text("utf-8")) if cache is not None and cache.is_file() else {}
    except (OSError, ValueError):  # damaged: made anew
        return {}
    return found if isinstance(found, dict) else {}


def nearest(wanted: Portrait, known: Mapping[str, Portrait], count: int = 3) -> list[str]:
    """Names by closeness in timbre, marked down for a pitch or a breathiness that is another's."""
    return sorted(known, key=lambda name: -_closeness(wanted, known[name]))[:count]


def timbre_blend(wanted: Portrait, known: Mapping[str, Portrait], count: int = 3) -> dict[str, float]:
    """The nearest few in equal parts: likeness is small anyway where nobody known is alike, and a mean of
    several has nobody's peculiarities (a whisperer's least of all)."""
    names = nearest(wanted, known, count)
    return {name: 1 / len(names) for name in names}


def timbre_guess(
    wanted: Portrait, known: Mapping[str, Portrait], packs: Mapping[str, Voicepack], ridge: float = 0.05
) -> NDArray[np.float64]:
    """The acoustic half [128] that a voice of this timbre would have: ridge regression on the known ones'
    means (inno-kokoro's idea, whose head was taught on thousands)."""
    names = list(known)
    timbres = np.stack([known[name].timbre for name in names])
    halves = np.stack([packs[name].rows[:, 0, :STYLE].mean(0) for name in names]).astype(np.float64)
    centre, mean = timbres.mean(0), halves.mean(0)
    x = timbres - centre
    weights = np.linalg.solve(x @ x.T + ridge * np.eye(len(x)), halves - mean)
    return np.asarray(mean + (np.asarray(wanted.timbre) - centre) @ x.T @ weights)


def _closeness(one: Portrait, other: Portrait) -> float:
    timbre = float(np.dot(one.timbre, other.timbre))
    octaves = abs(one.pitch - other.pitch) / 12
    return timbre - 0.5 * octaves - max(0.0, abs(one.voiced - other.voiced) - 0.1)


def prosody_blend(wanted: Portrait, known: Mapping[str, Portrait]) -> dict[str, float]:
    """Convex weights whose pitch, spread and pace are the wanted ones (as inno-kokoro blends; Lawson and
    Hanson's non-negative least squares), few voices, those nearest in pitch preferred."""
    names = sorted(known, key=lambda name: abs(known[name].pitch - wanted.pitch))[:8]
    target = wanted.prosody()
    matrix = np.stack([known[name].prosody() - target for name in names], axis=1)
    # Sum to one by a heavy row; the light diagonal keeps far voices out where near ones serve.
    distances = np.linalg.norm(matrix, axis=0)
    rows = np.concatenate([matrix, np.full((1, len(names)), 100.0), np.diag(0.3 * distances)])
    wanted_rows = np.concatenate([np.zeros(3), [100.0], np.zeros(len(names))])
    weights, _ = nnls(rows, wanted_rows)
    weights[weights < 0.02 * weights.sum()] = 0.0
    total = float(weights.sum())
    return {name: float(w / total) for name, w in zip(names, weights, strict=True) if w > 0}


def assembled(
    acoustic: Mapping[str, float],
    prosodic: Mapping[str, float],
    packs: Mapping[str, Voicepack],
    middle: NDArray[np.float64] | None = None,
) -> Voicepack:
    """A pack whose halves are blends of known ones; their curves over length stay.

    middle [128]: what the acoustic half is on average, where it is not the blend's own.
    """
    rows = np.zeros_like(next(iter(packs.values())).rows, dtype=np.float64)
    for name, weight in acoustic.items():
        rows[..., :STYLE] += weight * packs[name].rows[..., :STYLE]
    for name, weight in prosodic.items():
        rows[..., STYLE:] += weight * packs[name].rows[..., STYLE:]
    if middle is not None:
        rows[..., :STYLE] += middle - rows[..., :STYLE].mean(axis=0)
    return Voicepack.of(rows.squeeze())
