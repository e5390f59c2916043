"""What a judgement says: the records that become `report.json`."""

from __future__ import annotations

from voicewright.config import Strict
from voicewright.judge.compare import Line

SCHEMA = 1


class Clip(Strict):
    """One clip in the report. Error rates are capped at 1 here; the summary counts every error."""

    heard: str
    wer: float
    cer: float
    similarity: float
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
