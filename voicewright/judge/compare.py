"""From clips to figures: each measure for the synthesised clips, for the recordings, and their ratio.

All figures are corpus-level (sums over utterances, then one division), and all intervals come from one
seeded bootstrap over utterances. The same resampled sets serve both sides, so that the interval of a ratio is
paired: an utterance that is hard for the recogniser is hard in the numerator and in the denominator.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from voicewright.config import Strict
from voicewright.judge.metrics import Measures
from voicewright.judge.words import Errors

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
    ratio: Estimate | None = None
    """Synthesised over recordings."""
    copy_ratio: Estimate | None = None
    aim: str | None = None
    met: bool | None = None


@dataclass(frozen=True)
class Judged:
    """One clip after recognition, embedding and measuring."""

    heard: str
    errors: Errors
    similarity: float
    measures: Measures


@dataclass(frozen=True)
class Aim:
    """What a line should reach; `what` names the figure that is held against `low` and `high`."""

    what: Literal["ratio", "value"]
    low: float | None = None
    high: float | None = None

    def text(self) -> str:
        unit = " ×" if self.what == "ratio" else ""
        if self.low is not None and self.high is not None:
            same = self.low == self.high
            return f"{self.low:g}{unit}" if same else f"{self.low:g}–{self.high:g}{unit}"
        return f"≥ {self.low:g}{unit}" if self.low is not None else f"≤ {self.high:g}{unit}"

    def met(self, figure: float) -> bool:
        return (self.low is None or figure >= self.low) and (self.high is None or figure <= self.high)


@dataclass(frozen=True)
class Measure:
    """How one line comes from clips: `sums` of a clip [K], added over clips, then `figure` of [..., K]."""

    key: str
    label: str
    unit: str
    digits: int
    explanation: str
    sums: Callable[[Judged], tuple[float, ...]]
    figure: Callable[[Array], Array]
    aim: Aim | None = None


def quotient(sums: Array) -> Array:
    """First of the last axis over the second; 0 where there is nothing to divide by."""
    return np.asarray(sums[..., 0] / np.where(sums[..., 1] == 0, 1.0, sums[..., 1]))


def _deviation(sums: Array) -> Array:
    count = np.maximum(sums[..., 0], 1.0)
    mean = sums[..., 1] / count
    return np.asarray(np.sqrt(np.maximum(0.0, sums[..., 2] / count - mean**2)))


def _pitch(sums: Array) -> Array:
    return np.asarray(100.0 * 2 ** (sums[..., 1] / np.maximum(sums[..., 0], 1.0) / 12))


_TENTH = Aim("ratio", 0.9, 1.1)

MEASURES: tuple[Measure, ...] = (
    Measure(
        "wer", "Word error rate", "", 3, "Words the recogniser got wrong, over all words.",
        lambda c: (c.errors.word_errors, c.errors.words), quotient, Aim("ratio", high=1.1),
    ),
    Measure(
        "cer", "Character error rate", "", 3, "Characters the recogniser got wrong, over all characters.",
        lambda c: (c.errors.character_errors, c.errors.characters), quotient, Aim("ratio", high=1.1),
    ),
    Measure(
        "similarity", "Speaker similarity", "", 3,
        "Cosine of each clip to the mean of the recordings of the other utterances.",
        lambda c: (c.similarity, 1.0), quotient, Aim("value", low=0.88),
    ),
    Measure(
        "f0_mean", "Pitch, mean", "Hz", 1, "Geometric mean F0 over voiced frames.",
        lambda c: (c.measures.f0.voiced, c.measures.f0.log_sum), _pitch, _TENTH,
    ),
    Measure(
        "f0_sd", "Pitch, spread", "semitones", 2, "Standard deviation of F0 over all voiced frames.",
        lambda c: (c.measures.f0.voiced, c.measures.f0.log_sum, c.measures.f0.log_square_sum),
        _deviation, _TENTH,
    ),
    Measure(
        "f0_range", "Pitch, range", "semitones", 2, "5th to 95th percentile of F0 in a clip, mean of clips.",
        lambda c: (c.measures.f0.range_semitones, float(c.measures.f0.voiced > 0)), quotient, _TENTH,
    ),
    Measure(
        "voiced", "Voiced share", "", 3, "Voiced frames over frames from the first to the last sound.",
        lambda c: (c.measures.f0.voiced * 0.0125, c.measures.timing.speaking), quotient,
    ),
    Measure(
        "speaking", "Speaking time", "s", 2, "From the first to the last sound, mean of clips.",
        lambda c: (c.measures.timing.speaking, 1.0), quotient, _TENTH,
    ),
    Measure(
        "rate", "Speaking rate", "letters/s", 2, "Letters of the text over speaking time.",
        lambda c: (c.measures.letters, c.measures.timing.speaking), quotient, _TENTH,
    ),
    Measure(
        "pauses", "Pause share", "", 3, "Silences of 0.1 s and more inside speech, over speaking time.",
        lambda c: (c.measures.timing.pauses, c.measures.timing.speaking), quotient,
    ),
    Measure(
        "leading", "Silence before", "s", 3, "Before the first sound, mean of clips.",
        lambda c: (c.measures.timing.leading, 1.0), quotient,
    ),
    Measure(
        "trailing", "Silence after", "s", 3, "After the last sound, mean of clips.",
        lambda c: (c.measures.timing.trailing, 1.0), quotient,
    ),
    Measure(
        "clipped", "Clipped samples", "", 0, "Samples at full scale or in flat runs at the peak, all clips.",
        lambda c: (c.measures.clipped, 1.0), lambda s: np.asarray(s[..., 0]), Aim("value", low=0.0, high=0.0),
    ),
    Measure(
        "dc", "DC offset", "of RMS", 4, "Mean sample over the clip's RMS, mean of clips.",
        lambda c: (c.measures.dc_offset, 1.0), quotient,
    ),
    Measure(
        "lufs", "Loudness", "LUFS", 1, "Integrated loudness, mean of clips.",
        lambda c: (max(-70.0, c.measures.lufs), 1.0), quotient,
    ),
)  # fmt: skip


def periodicity_measure(noise: float) -> Measure:
    """The periodicity line; `noise` is what noise reads under the same pitch, and counts as 0."""
    return Measure(
        "periodicity", "Periodicity 1.5–4 kHz", "", 3,
        "How alike neighbouring pitch periods are in this band: noise 0, a pulse train 1.",
        lambda c: (
            c.measures.band.weighted - noise * c.measures.band.weight,
            (1.0 - noise) * c.measures.band.weight,
        ),
        lambda sums: np.maximum(0.0, quotient(sums)), Aim("ratio", low=0.85),
    )  # fmt: skip


class Bootstrap:
    """Seeded resampling of utterances: [resamples, N] counts, the same for every measure."""

    def __init__(self, count: int, seed: int = 0, resamples: int = RESAMPLES) -> None:
        rng = np.random.default_rng(seed)
        self.counts = rng.multinomial(count, np.full(count, 1.0 / count), size=resamples).astype(np.float64)

    def figures(self, measure: Measure, clips: Sequence[Judged]) -> tuple[float, Array]:
        """The measure's value over all clips, and over each resampled set [resamples]."""
        sums = np.asarray([measure.sums(clip) for clip in clips], np.float64)
        return float(measure.figure(sums.sum(axis=0))), measure.figure(self.counts @ sums)


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
    # A ratio of decibels or of counts near zero means nothing.
    ratio = ratio_of(ours, theirs) if first.key not in ("lufs", "clipped", "dc") else None
    met = None
    if first.aim is not None:
        figure = ratio.value if first.aim.what == "ratio" and ratio else None
        figure = ours[0] if first.aim.what == "value" else figure
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
        ratio=ratio,
        copy_ratio=ratio_of(copied, theirs) if copied and ratio else None,
        aim=first.aim.text() if first.aim else None,
        met=met,
    )
