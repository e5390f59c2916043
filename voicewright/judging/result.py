"""What is judged, and what a judgement says: the records that become `report.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from pydantic import Field

from voicewright.judging.metrics import Samples
from voicewright.judging.statistics import Estimate, Line
from voicewright.records import Strict

SCHEMA = 3
COMPARED = (
    ("wer",), ("cer",), ("similarity_normalised", "similarity"), ("similarity_second_normalised",),
    ("distillmos",), ("dnsmos",), ("f0_mean",), ("f0_sd",), ("rate",), ("echo_12",), ("echo_25",), ("lines",),
)  # fmt: skip
"""By what those who read beside a model are told apart; of each the first that the judgement has."""


@dataclass(frozen=True)
class Item:
    """One held-out utterance: float32 mono samples at 24 kHz of a person saying `text`."""

    id: str
    text: str
    recording: Samples


@dataclass(frozen=True)
class Pair(Item):
    """An item with the model's reading and, if any, its copy-synthesis (real timing and pitch).

    beside: how others read the text, by their names.
    """

    synthesised: Samples
    copy_synthesis: Samples | None = None
    beside: Mapping[str, Samples] = field(default_factory=dict)


def clean(samples: Samples | None) -> Samples:
    """Finite float32 samples [T]; what is not a number becomes 0, no samples become 25 ms of silence."""
    clip = np.asarray(samples if samples is not None else [], np.float32).reshape(-1)
    return np.nan_to_num(clip, nan=0.0, posinf=1.0, neginf=-1.0) if clip.size else np.zeros(600, np.float32)


class Clip(Strict):
    """One clip in the report. Error rates are capped at 1 here; the summary counts every error."""

    heard: str
    wer: float
    cer: float
    similarity: float
    likeness: dict[str, float] = Field(default_factory=dict)
    """Cosine by encoder."""
    quality: dict[str, float] = Field(default_factory=dict)
    """1 to 5 by judge of quality."""
    artefacts: dict[str, float] = Field(default_factory=dict)
    measures: dict[str, float]


class Row(Strict):
    id: str
    text: str
    spoken_text: str
    """The text as the recogniser's words are compared with it."""
    synthesised: Clip
    recording: Clip
    copy_synthesis: Clip | None = None
    beside: dict[str, Clip] = Field(default_factory=dict)
    spectral_distance: float
    copy_distance: float | None = None


class ToneRow(Strict):
    hertz: float
    level: float
    prominence: float
    above_recordings: float


class Sound(Strict):
    """Set-level spectra of one side."""

    profile: list[float]
    """Periodicity above noise in 1 kHz bands from 0 to 8 kHz."""
    visible_to: float
    ltas: list[float]
    """Third octaves from 100 Hz, dB against the speech level."""


class Figure(Strict):
    """What one of those beside the model reached: `difference` is its figure less the model's, over the same
    texts."""

    key: str
    reached: Estimate
    difference: Estimate


class Way(Strict):
    """A model with a voice. `work`: what making it took, in words; figures: of those beside the model."""

    name: str
    work: str | None = None
    figures: list[Figure] = Field(default_factory=list)

    def figure(self, key: str) -> Figure | None:
        return next((one for one in self.figures if one.key == key), None)


class Judgement(Strict):
    """All that was found; this is `report.json`."""

    schema_version: int = SCHEMA
    title: str
    conditions: dict[str, str | int | float | None]
    summary: list[Line]
    tones: list[ToneRow]
    copy_tones: list[ToneRow]
    sound: dict[str, Sound]
    utterances: list[Row]
    notes: list[str]
    ways: list[Way] = Field(default_factory=list)
    """The model first, then those beside it; empty where there are none."""

    def line(self, key: str) -> Line:
        """A summary line by its key. Raises KeyError."""
        for line in self.summary:
            if line.key == key:
                return line
        raise KeyError(key)

    def first(self, keys: Sequence[str]) -> Line | None:
        """The first of these that was found."""
        return next((line for key in keys for line in self.summary if line.key == key), None)

    def compared(self) -> list[Line]:
        return [line for keys in COMPARED if (line := self.first(keys)) is not None]
