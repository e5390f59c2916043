"""The lines of a judgement's summary, and its tones, from the sides that were judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from voicewright.judging.ears import MoreEars, strangers_name
from voicewright.judging.measures import (
    ARTEFACTS,
    ERRORS,
    MEASURES,
    SIMILARITY,
    SPECTRA,
    Measure,
    artefact_measures,
    normalised_measure,
    periodicity_measure,
    quality_measure,
    second_measure,
    whistle_threshold,
)
from voicewright.judging.result import Figure, ToneRow, Way
from voicewright.judging.sides import Side
from voicewright.judging.spectrum import TONE_DB, constant_tones, long_term, ltas_distance
from voicewright.judging.statistics import Bootstrap, Estimate, Line, estimate, summary_line
from voicewright.listen.speaker import Encoder


def summary(
    ours: Side, theirs: Side, copies: Side | None, encoder: Encoder, more: MoreEars, bootstrap: Bootstrap
) -> list[Line]:
    """The lines that come from clips, by group."""
    copied = copies.judged if copies else None

    def lines(measures: Sequence[Measure]) -> list[Line]:
        return [summary_line((m, m, m), ours.judged, theirs.judged, copied, bootstrap) for m in measures]

    measures = clip_measures(theirs, encoder, more)
    copy_noise = copies.noise[0] if copies else 0.0
    periodic = (
        periodicity_measure(ours.noise[0]),
        periodicity_measure(theirs.noise[0]),
        periodicity_measure(copy_noise),
    )
    return [
        *lines(measures),
        *lines(MEASURES),
        summary_line(periodic, ours.judged, theirs.judged, copied, bootstrap),
    ]


def clip_measures(theirs: Side, encoder: Encoder, more: MoreEars) -> list[Measure]:
    """What is said of words, speaker, quality and artefacts, beside these recordings."""
    measures = [*ERRORS, *SIMILARITY]
    if name := strangers_name(encoder):
        measures.append(
            normalised_measure(
                "similarity", "Speaker similarity, normalised", encoder.name, name, theirs.judged
            )
        )
    if more.second is not None:
        measures.append(second_measure(more.second.name))
        if name := strangers_name(more.second):
            measures.append(
                normalised_measure(
                    "similarity_second", "Second encoder, normalised", more.second.name, name, theirs.judged
                )
            )
    measures += [quality_measure(one.key, one.name) for one in more.quality]
    measures += artefact_measures(whistle_threshold(theirs.judged))
    return measures


def ways_beside(
    ours: Side,
    theirs: Side,
    others: Mapping[str, Side],
    encoder: Encoder,
    more: MoreEars,
    bootstrap: Bootstrap,
) -> list[Way]:
    """What others reach, by name, and by how much more than the model over the same texts."""
    found = []
    for name, side in others.items():
        figures = []
        for measure in (*clip_measures(theirs, encoder, more), *MEASURES):
            mine, its = bootstrap.figures(measure, ours.judged), bootstrap.figures(measure, side.judged)
            apart = estimate(its[0] - mine[0], its[1] - mine[1])
            figures.append(Figure(key=measure.key, reached=estimate(*its), difference=apart))
        found.append(Way(name=name, figures=figures))
    return found


def set_lines(
    ours: Side,
    theirs: Side,
    copies: Side | None,
    distances: list[float],
    copy_distances: list[float] | None,
    bootstrap: Bootstrap,
) -> list[Line]:
    """The lines that belong to whole sets, not to sums over clips."""
    tones = constant_tones(ours.spectra, theirs.spectra, ours.pitch)
    copy_tones = constant_tones(copies.spectra, theirs.spectra, copies.pitch) if copies else None
    halves = long_term(theirs.clips[::2]), long_term(theirs.clips[1::2])
    own = constant_tones(*halves, theirs.pitch)

    def mean_distance(values: list[float]) -> Estimate:
        array = np.asarray(values)
        resampled = bootstrap.counts @ array / len(array)
        low, high = np.percentile(resampled, [2.5, 97.5])
        return Estimate(value=round(float(array.mean()), 4), low=round(low, 4), high=round(high, 4))

    sounds = [side.sound() if side else None for side in (ours, theirs, copies)]
    visible = [Estimate(value=sound.visible_to / 1000) if sound else None for sound in sounds]
    return [
        Line(
            key="tones", label="Constant tones", unit="", digits=0, group=ARTEFACTS,
            explanation=f"Narrow peaks that stay, {TONE_DB:g} dB above their surroundings and above the "
            "recordings there; for the recordings: one half of them against the other.",
            synthesised=Estimate(value=len(tones)), recordings=Estimate(value=len(own)),
            copy_synthesis=Estimate(value=len(copy_tones)) if copy_tones is not None else None,
            aim="0", met=not tones,
        ),
        Line(
            key="visible_to", label="Harmonics up to", unit="kHz", digits=0, group=SPECTRA,
            explanation="Every 1 kHz band below this has periodicity above noise of at least 0.1.",
            synthesised=visible[0], recordings=visible[1], copy_synthesis=visible[2],
        ),
        Line(
            key="ltas", label="Average spectrum, distance", unit="dB", digits=2, group=SPECTRA,
            explanation="Mean difference of the long-term spectra in third octaves, 0.1-10 kHz; for the "
            "recordings: between their two halves.",
            synthesised=Estimate(value=round(ltas_distance(ours.spectra, theirs.spectra), 4)),
            recordings=Estimate(value=round(ltas_distance(*halves), 4)),
            copy_synthesis=(
                Estimate(value=round(ltas_distance(copies.spectra, theirs.spectra), 4)) if copies else None
            ),
        ),
        Line(
            key="distance", label="Log-spectral distance", unit="dB", digits=2, group=SPECTRA,
            explanation="To the recording of the same text, frames matched by time warping "
            "(copy-synthesis: frame by frame).",
            synthesised=mean_distance(distances),
            copy_synthesis=mean_distance(copy_distances) if copy_distances else None,
        ),
    ]  # fmt: skip


def tone_rows(side: Side, recordings: Side) -> list[ToneRow]:
    return [
        ToneRow(
            hertz=round(tone.hertz, 1),
            level=round(tone.level, 2),
            prominence=round(tone.prominence, 2),
            above_recordings=round(tone.above_recordings, 2),
        )
        for tone in constant_tones(side.spectra, recordings.spectra, side.pitch)[:20]
    ]
