"""One side of a judgement: its clips heard, rated and measured, and its spectra as a whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from voicewright.audio.pitch import f0 as track_f0
from voicewright.judging.measures import Judged, Likeness
from voicewright.judging.metrics import (
    BAND,
    Samples,
    above_noise,
    measure,
    noise_periodicity,
    profile_bands,
    visible_to,
)
from voicewright.judging.result import Sound
from voicewright.judging.spectrum import LongTerm, long_term, third_octaves
from voicewright.listen.artefacts import listen_for_artefacts
from voicewright.listen.quality import Quality
from voicewright.listen.words import count_errors


@dataclass(frozen=True)
class Side:
    """One side of the comparison: its clips, judged, and its spectra."""

    clips: list[Samples]
    judged: list[Judged]
    noise: list[float]
    spectra: LongTerm
    pitch: tuple[float, float]
    """Where 90 % of its F0 lies, a little widened, Hz."""

    def sound(self) -> Sound:
        profile = []
        for band, noise in enumerate(self.noise[1:]):
            sums = [one.measures.profile[band] for one in self.judged]
            weight = sum(one.weight for one in sums)
            value = sum(one.weighted for one in sums) / weight if weight else 0.0
            profile.append(round(above_noise(value, noise), 4))
        return Sound(
            profile=profile,
            visible_to=visible_to(profile),
            ltas=[round(float(v), 2) for v in third_octaves(self.spectra)],
        )


@dataclass(frozen=True)
class Heard:
    """What the ears said of a side's clips, in their order."""

    texts: Sequence[str]
    similarity: Sequence[float]
    likeness: Mapping[str, Sequence[Likeness]]
    quality: Mapping[str, Sequence[float]]


def rate(
    clips: Sequence[Samples], ears: Sequence[Quality], done: Callable[[], None]
) -> dict[str, list[float]]:
    """Every judge's score of every clip, rounded as the report shows it; `done` is called after each clip."""
    found: dict[str, list[float]] = {ear.key: [] for ear in ears}
    for clip in clips:
        for ear in ears:
            found[ear.key].append(round(ear.score(clip), 4))
        done()
    return found


def judge_side(
    clips: list[Samples],
    texts: Sequence[str],
    heard: Heard,
    language: str,
    seed: int,
    progress: Callable[[int, int], None] | None,
) -> Side:
    """Measure a side's clips of `texts` and put what was heard beside it."""
    judged, tracks = [], []
    for index, (clip, text) in enumerate(zip(clips, texts, strict=True)):
        track = track_f0(clip)
        tracks.append(track)
        judged.append(
            Judged(
                heard=heard.texts[index],
                errors=count_errors(text, heard.texts[index], language),
                similarity=float(heard.similarity[index]),
                measures=measure(clip, text, track),
                likeness={key: found[index] for key, found in heard.likeness.items()},
                quality={key: found[index] for key, found in heard.quality.items()},
                artefacts=listen_for_artefacts(clip, track),
            )
        )
        if progress:
            progress(index + 1, len(clips))
    # Noise is read under this side's own pitch; thirty seconds of it are plenty.
    track = np.concatenate(tracks)[:2400]
    noise = noise_periodicity(track, (BAND, *profile_bands()), seed)
    everything = np.concatenate(tracks)
    voiced = everything[everything > 0]
    low, high = np.percentile(voiced, [5, 95]) if voiced.size else (0.0, 0.0)
    return Side(clips, judged, noise, long_term(clips), (float(low) * 0.95, float(high) * 1.05))
