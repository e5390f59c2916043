"""The lines of a judgement: what each says, how it comes from clips, what it should reach.

All but medians are corpus-level: sums over utterances, then one division.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from voicewright.judging.metrics import Measures
from voicewright.listen.artefacts import LINES, WHISTLE_DB, Artefacts, listen_for_artefacts
from voicewright.listen.words import Errors

Array = NDArray[np.float64]
NO_ARTEFACTS = listen_for_artefacts(np.zeros(0, np.float32), np.zeros(0, np.float32))


@dataclass(frozen=True)
class Likeness:
    """One clip's cosine to the speaker's recordings of the other texts, beside what it lies between."""

    similarity: float
    stranger: float
    """Mean cosine of strangers to those recordings."""
    own: float
    """Cosine of the recording of the same text to them."""


@dataclass(frozen=True)
class Judged:
    """One clip after recognition, embedding, rating and measuring."""

    heard: str
    errors: Errors
    similarity: float
    measures: Measures
    likeness: Mapping[str, Likeness] = field(default_factory=dict)
    """By encoder, where there are strangers to compare with: "similarity", "similarity_second"."""
    quality: Mapping[str, float] = field(default_factory=dict)
    """By judge of quality, 1 to 5."""
    artefacts: Artefacts = NO_ARTEFACTS


@dataclass(frozen=True)
class Aim:
    """What a line should reach; `what` names the figure that is held against `low` and `high`."""

    what: Literal["ratio", "value", "difference"]
    low: float | None = None
    high: float | None = None

    def text(self) -> str:
        unit = {"ratio": " ×", "value": "", "difference": " more"}[self.what]
        if self.low is not None and self.high is not None:
            same = self.low == self.high
            return f"{self.low:g}{unit}" if same else f"{self.low:g}–{self.high:g}{unit}"
        return f"≥ {self.low:g}{unit}" if self.low is not None else f"≤ {self.high:g}{unit}"

    def met(self, figure: float) -> bool:
        return (self.low is None or figure >= self.low) and (self.high is None or figure <= self.high)


@dataclass(frozen=True)
class Measure:
    """How one line comes from clips: `sums` of a clip [K], added over clips, then `figure` of [..., K].

    `beside`: what synthesised and recorded speech are compared by; a ratio of decibels, or of figures near 0,
    means nothing. `median`: the figure is the median of the clips' one number instead.
    """

    key: str
    label: str
    unit: str
    digits: int
    explanation: str
    sums: Callable[[Judged], tuple[float, ...]]
    figure: Callable[[Array], Array]
    aim: Aim | None = None
    group: str = ""
    beside: Literal["ratio", "difference", "nothing"] = "ratio"
    median: bool = False


def quotient(sums: Array) -> Array:
    """First of the last axis over the second; 0 where there is nothing to divide by."""
    return np.asarray(sums[..., 0] / np.where(sums[..., 1] == 0, 1.0, sums[..., 1]))


def _deviation(sums: Array) -> Array:
    count = np.maximum(sums[..., 0], 1.0)
    mean = sums[..., 1] / count
    return np.asarray(np.sqrt(np.maximum(0.0, sums[..., 2] / count - mean**2)))


def _pitch(sums: Array) -> Array:
    return np.asarray(100.0 * 2 ** (sums[..., 1] / np.maximum(sums[..., 0], 1.0) / 12))


def _alone(sums: Array) -> Array:
    return np.asarray(sums[..., 0])


_TENTH = Aim("ratio", 0.9, 1.1)
WORDS, SPEAKER, QUALITY, ARTEFACTS = "Words", "Speaker", "Quality", "Artefacts"
PROSODY, LEVELS, SPECTRA = "Pitch and pace", "Ends and levels", "Spectra"
GROUPS = (WORDS, SPEAKER, QUALITY, ARTEFACTS, PROSODY, LEVELS, SPECTRA)
"""The headings, in their order."""

_COUNTED = "Mean of each clip, every error counted."
_CAPPED = "Mean of each clip, none above 1: one storm of words does not speak for all."


def _rates(key: str, label: str, rate: Callable[[Errors], float]) -> tuple[Measure, ...]:
    """Mean, capped mean and median of the clips' own error rates."""

    def whole(clip: Judged) -> tuple[float, ...]:
        return rate(clip.errors), 1.0

    def capped(clip: Judged) -> tuple[float, ...]:
        return min(1.0, rate(clip.errors)), 1.0

    return (
        Measure(f"{key}_mean", f"{label}, mean", "", 3, _COUNTED, whole, quotient, group=WORDS),
        Measure(f"{key}_capped", f"{label}, capped", "", 3, _CAPPED, capped, quotient, group=WORDS),
        Measure(
            f"{key}_median", f"{label}, median", "", 3, "Median of clips.", whole, _alone,
            group=WORDS, beside="difference", median=True,
        ),
    )  # fmt: skip


ERRORS: tuple[Measure, ...] = (
    Measure(
        "wer", "Word error rate", "", 3, "Words the recogniser got wrong, over all words of all clips.",
        lambda c: (c.errors.word_errors, c.errors.words), quotient, Aim("ratio", high=1.1), group=WORDS,
    ),
    Measure(
        "cer", "Character error rate", "", 3,
        "Characters the recogniser got wrong, over all characters of all clips.",
        lambda c: (c.errors.character_errors, c.errors.characters),
        quotient, Aim("ratio", high=1.1), group=WORDS,
    ),
    *_rates("wer", "Word error rate", lambda e: e.word_errors / max(1, e.words)),
    *_rates("cer", "Character error rate", lambda e: e.character_errors / max(1, e.characters)),
)  # fmt: skip
SIMILARITY: tuple[Measure, ...] = (
    Measure(
        "similarity", "Speaker similarity", "", 3,
        "Cosine of each clip to the mean of the recordings of the other utterances.",
        lambda c: (c.similarity, 1.0), quotient, Aim("value", low=0.88), group=SPEAKER,
    ),
)  # fmt: skip
MEASURES: tuple[Measure, ...] = (
    Measure(
        "f0_mean", "Pitch, mean", "Hz", 1, "Geometric mean F0 over voiced frames.",
        lambda c: (c.measures.f0.voiced, c.measures.f0.log_sum), _pitch, _TENTH, group=PROSODY,
    ),
    Measure(
        "f0_sd", "Pitch, spread", "semitones", 2, "Standard deviation of F0 over all voiced frames.",
        lambda c: (c.measures.f0.voiced, c.measures.f0.log_sum, c.measures.f0.log_square_sum),
        _deviation, _TENTH, group=PROSODY,
    ),
    Measure(
        "f0_range", "Pitch, range", "semitones", 2, "5th to 95th percentile of F0 in a clip, mean of clips.",
        lambda c: (c.measures.f0.range_semitones, float(c.measures.f0.voiced > 0)),
        quotient, _TENTH, group=PROSODY,
    ),
    Measure(
        "voiced", "Voiced share", "", 3, "Voiced frames over frames from the first to the last sound.",
        lambda c: (c.measures.f0.voiced * 0.0125, c.measures.timing.speaking), quotient, group=PROSODY,
    ),
    Measure(
        "speaking", "Speaking time", "s", 2, "From the first to the last sound, mean of clips.",
        lambda c: (c.measures.timing.speaking, 1.0), quotient, _TENTH, group=PROSODY,
    ),
    Measure(
        "rate", "Speaking rate", "letters/s", 2, "Letters of the text over speaking time.",
        lambda c: (c.measures.letters, c.measures.timing.speaking), quotient, _TENTH, group=PROSODY,
    ),
    Measure(
        "pauses", "Pause share", "", 3, "Silences of 0.1 s and more inside speech, over speaking time.",
        lambda c: (c.measures.timing.pauses, c.measures.timing.speaking), quotient, group=PROSODY,
    ),
    Measure(
        "leading", "Silence before", "s", 3, "Before the first sound, mean of clips.",
        lambda c: (c.measures.timing.leading, 1.0), quotient, group=LEVELS,
    ),
    Measure(
        "trailing", "Silence after", "s", 3, "After the last sound, mean of clips.",
        lambda c: (c.measures.timing.trailing, 1.0), quotient, group=LEVELS,
    ),
    Measure(
        "clipped", "Clipped samples", "", 0, "Samples at full scale or in flat runs at the peak, all clips.",
        lambda c: (c.measures.clipped, 1.0),
        _alone, Aim("value", low=0.0, high=0.0), group=LEVELS, beside="nothing",
    ),
    Measure(
        "dc", "DC offset", "of RMS", 4, "Mean sample over the clip's RMS, mean of clips.",
        lambda c: (c.measures.dc_offset, 1.0), quotient, group=LEVELS, beside="nothing",
    ),
    Measure(
        "lufs", "Loudness", "LUFS", 1, "Integrated loudness, mean of clips.",
        lambda c: (max(-70.0, c.measures.lufs), 1.0), quotient, group=LEVELS, beside="nothing",
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
        lambda sums: np.maximum(0.0, quotient(sums)), Aim("ratio", low=0.85), group=SPECTRA,
    )  # fmt: skip


def normalised_measure(
    key: str, label: str, encoder: str, strangers: str, recordings: Sequence[Judged]
) -> Measure:
    """Similarity with strangers at 0 and the speaker's own other recordings at 1."""
    floor = np.mean([clip.likeness[key].stranger for clip in recordings])
    own = np.mean([clip.likeness[key].own for clip in recordings])

    def sums(clip: Judged) -> tuple[float, ...]:
        like = clip.likeness[key]
        return like.similarity - like.stranger, like.own - like.stranger

    def figure(sums: Array) -> Array:
        room = sums[..., 1]
        return np.asarray(np.where(room > 1e-6, sums[..., 0] / np.where(room > 1e-6, room, 1.0), 0.0))

    return Measure(
        f"{key}_normalised", label, "", 3,
        f"{encoder}: 0 is the mean of {strangers} ({floor:.3f}), 1 the recordings among themselves "
        f"({own:.3f}).",
        sums, figure, group=SPEAKER, beside="difference",
    )  # fmt: skip


def second_measure(encoder: str) -> Measure:
    """The raw cosine of the second encoder."""
    return Measure(
        "similarity_second", "Speaker similarity, second encoder", "", 3,
        f"Cosine as above, by {encoder}, towards which nothing is trained.",
        lambda c: (c.likeness["similarity_second"].similarity, 1.0), quotient, group=SPEAKER,
    )  # fmt: skip


def quality_measure(key: str, name: str) -> Measure:
    """Mean score from 1 to 5 over the same texts."""
    return Measure(
        key, name.partition(" (")[0], "of 5", 2,
        f"{name}: 1 bad, 5 excellent, mean of clips; no reference is needed. Read the difference.",
        lambda c: (c.quality[key], 1.0), quotient, group=QUALITY, beside="difference",
    )  # fmt: skip


def whistle_threshold(recordings: Sequence[Judged]) -> float:
    """dB from which on a voiced frame whistles: `WHISTLE_DB` above the recordings' median."""
    frames = np.concatenate([clip.artefacts.whistle for clip in recordings])
    return float(np.median(frames)) + WHISTLE_DB if frames.size else 0.0


def artefact_measures(whistle: float) -> tuple[Measure, ...]:
    """The faults of `listen.artefacts`, each beside the recordings' own. `whistle`: `whistle_threshold`."""

    def echo(number: int) -> Callable[[Judged], tuple[float, ...]]:
        def sums(clip: Judged) -> tuple[float, ...]:
            found = clip.artefacts
            return (*found.echoes[number], found.echo_frames[number], found.pitch_peak, found.pitch_frames)

        return sums

    def height(sums: Array) -> Array:
        peak = np.abs(sums[..., :-3]).max(axis=-1) / np.maximum(1.0, sums[..., -3])
        pitch = sums[..., -2] / np.maximum(1.0, sums[..., -1])
        return np.asarray(np.where(pitch > 1e-3, peak / np.maximum(pitch, 1e-3), 0.0))

    lines = ", ".join(f"{hertz / 1000:g}" for hertz in LINES)
    comb = "Cepstral peak there, over the pitch's; frames whose pitch has a period there are left out."
    return (
        Measure("echo_12", "Echo at 12.5 ms", "of pitch", 3, comb, echo(0), height,
                Aim("difference", high=0.15), ARTEFACTS, "difference"),
        Measure("echo_25", "Echo at 25 ms", "of pitch", 3, comb, echo(1), height,
                Aim("difference", high=0.15), ARTEFACTS, "difference"),
        Measure("lines", "Lines of the generator", "dB", 2,
                f"Level at {lines} kHz above the surroundings, the strongest.",
                lambda c: (*c.artefacts.lines, c.artefacts.line_frames),
                lambda s: np.asarray(s[..., :-1].max(axis=-1) / np.maximum(1.0, s[..., -1])),
                Aim("difference", high=2.0), ARTEFACTS, "difference"),
        Measure("level_2_3", "2–3 kHz on voiced frames", "dB", 1,
                "Level of this band against 0.1–8 kHz, mean of voiced frames.",
                lambda c: (float(c.artefacts.whistle.sum()), float(c.artefacts.whistle.size)),
                quotient, None, ARTEFACTS, "difference"),
        Measure("whistle", "Whistling frames", "", 3,
                f"Voiced frames where 2–3 kHz lies {WHISTLE_DB:g} dB above the recordings' median.",
                lambda c: (float((c.artefacts.whistle > whistle).sum()), float(c.artefacts.whistle.size)),
                quotient, Aim("difference", high=0.03), ARTEFACTS, "difference"),
        Measure("hums", "Ends that hum", "", 3,
                "Clips whose last 0.2 s is one held sound, steady within 6 dB.",
                lambda c: (float(c.artefacts.hums), 1.0),
                quotient, Aim("difference", high=0.02), ARTEFACTS, "difference"),
    )  # fmt: skip
