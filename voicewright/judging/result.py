"""What is judged, and what a judgement says: the records that become `report.json`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import Field

from voicewright.judging.metrics import Samples
from voicewright.judging.statistics import Line
from voicewright.records import Strict

SCHEMA = 2


@dataclass(frozen=True)
class Item:
    """One held-out utterance: float32 mono samples at 24 kHz of a person saying `text`."""

    id: str
    text: str
    recording: Samples


@dataclass(frozen=True)
class Pair(Item):
    """An item with the model's reading and, if any, its copy-synthesis (real timing and pitch)."""

    synthesised: Samples
    copy_synthesis: Samples | None = None


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

    def line(self, key: str) -> Line:
        """A summary line by its key. Raises KeyError."""
        for line in self.summary:
            if line.key == key:
                return line
        raise KeyError(key)
