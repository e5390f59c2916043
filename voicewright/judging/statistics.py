"""From clips to figures: each measure for the synthesised clips, for the recordings, and their ratio.

All intervals come from one
seeded bootstrap over utterances. The same resampled sets serve both sides, so that the interval of a ratio is
paired: an utterance that is hard for the recogniser is hard in the numerator and in the denominator.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from voicewright.judging.measures import Judged, Measure
from voicewright.records import Strict

Array = NDArray[np.float64]
RESAMPLES = 2000
CONFIDENCE = 0.95


class Estimate(Strict):
    """A figure with its 95 % bootstrap interval; no interval where resampling says nothing."""

    value: float
    low: float | None = None
    high: float | None = None


class Line(Strict):
    """One line of the summary."""

    key: str
    label: str
    unit: str
    digits: int
    explanation: str
    synthesised: Estimate | None = None
    recordings: Estimate | None = None
    copy_synthesis: Estimate | None = None
    group: str = ""
    """The heading it stands under."""
    ratio: Estimate | None = None
    """Synthesised over recordings."""
    difference: Estimate | None = None
    """Synthesised less recordings, paired, where a ratio would mean nothing."""
    copy_ratio: Estimate | None = None
    aim: str | None = None
    met: bool | None = None


class Bootstrap:
    """Seeded resampling of utterances: [resamples, N] counts, the same for every measure."""

    def __init__(self, count: int, seed: int = 0, resamples: int = RESAMPLES) -> None:
        rng = np.random.default_rng(seed)
        self.counts = rng.multinomial(count, np.full(count, 1.0 / count), size=resamples).astype(np.float64)

    def figures(self, measure: Measure, clips: Sequence[Judged]) -> tuple[float, Array]:
        """The measure's value over all clips, and over each resampled set [resamples]."""
        sums = np.asarray([measure.sums(clip) for clip in clips], np.float64)
        if measure.median:
            return float(np.median(sums[:, 0])), self._medians(sums[:, 0])
        return float(measure.figure(sums.sum(axis=0))), measure.figure(self.counts @ sums)

    def _medians(self, values: Array) -> Array:
        """Median of `values` [N] in each resampled set [resamples]."""
        order = np.argsort(values)
        above = self.counts[:, order].cumsum(axis=1)
        whole = above[:, -1:]
        lower, upper = ((above <= part).sum(axis=1) for part in ((whole - 1) // 2, whole // 2))
        return np.asarray((values[order][lower] + values[order][upper]) / 2)


def estimate(value: float, resampled: Array) -> Estimate:
    """Value with the percentile interval of its resampled values."""
    low, high = np.percentile(resampled, [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)])
    return Estimate(value=round(value, 6), low=round(float(low), 6), high=round(float(high), 6))


def ratio_of(one: tuple[float, Array], other: tuple[float, Array]) -> Estimate | None:
    """Paired ratio with its interval; None where the recordings' figure is 0."""
    if other[0] == 0 or one[0] * other[0] < 0:
        return None
    usable = other[1] != 0
    return estimate(one[0] / other[0], one[1][usable] / other[1][usable])


def summary_line(
    measures: tuple[Measure, Measure, Measure],
    synthesised: Sequence[Judged],
    recordings: Sequence[Judged],
    copies: Sequence[Judged] | None,
    bootstrap: Bootstrap,
) -> Line:
    """One line. `measures` are for synthesised, recordings and copies (they differ for periodicity only)."""
    first = measures[0]
    ours = bootstrap.figures(first, synthesised)
    theirs = bootstrap.figures(measures[1], recordings)
    copied = bootstrap.figures(measures[2], copies) if copies else None
    ratio = ratio_of(ours, theirs) if first.beside == "ratio" else None
    difference = estimate(ours[0] - theirs[0], ours[1] - theirs[1]) if first.beside == "difference" else None
    met = None
    if first.aim is not None:
        beside = {"ratio": ratio, "difference": difference}.get(first.aim.what)
        figure = ours[0] if first.aim.what == "value" else beside.value if beside is not None else None
        met = first.aim.met(figure) if figure is not None else None
    return Line(
        key=first.key,
        label=first.label,
        unit=first.unit,
        digits=first.digits,
        explanation=first.explanation,
        synthesised=estimate(*ours),
        recordings=estimate(*theirs),
        copy_synthesis=estimate(*copied) if copied else None,
        group=first.group,
        ratio=ratio,
        difference=difference,
        copy_ratio=ratio_of(copied, theirs) if copied and ratio else None,
        aim=first.aim.text() if first.aim else None,
        met=met,
    )
