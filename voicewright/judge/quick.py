"""A cheap judgement for choosing checkpoints while training."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from voicewright.audio.pitch import f0 as track_f0
from voicewright.config import SAMPLE_RATE
from voicewright.engines.protocol import Voice
from voicewright.errors import UsageError, VoicewrightError
from voicewright.judge.ears import similarities
from voicewright.judge.judge import Speaks, speak_24k
from voicewright.judge.metrics import (
    BAND,
    Samples,
    above_noise,
    f0_statistics,
    noise_periodicity,
    periodicity,
    timing,
)
from voicewright.judge.result import Item, clean
from voicewright.judge.score import Figures, score
from voicewright.judge.words import count_errors
from voicewright.listen.heard import Recogniser
from voicewright.listen.speaker import SpeakerEncoder, similarity_among


@dataclass(frozen=True)
class QuickScore:
    """A checkpoint's score, higher is better, and what it is made of; None: nothing here could measure it."""

    score: float
    wer: float | None
    cer: float | None
    similarity: float | None
    pitch_hz: float | None
    pitch_spread: float | None
    pace: float | None
    periodicity: float | None
    recordings_cer: float | None
    recordings_similarity: float | None
    recordings_pitch_hz: float | None
    recordings_pace: float | None
    recordings_periodicity: float | None
    seconds: float

    def measured(self) -> dict[str, float]:
        """The figures that there are."""
        return {name: float(value) for name, value in asdict(self).items() if value is not None}


class QuickJudge:
    """Scores checkpoints on a few held-out utterances; the recordings' own figures are taken once.

    What `score` weighs: words, similarity, pitch, pace, periodicity. Without a recogniser there are no words,
    without a speaker encoder there is no similarity; the rest is always measured. Give it validation
    utterances, never test ones.
    """

    def __init__(
        self,
        items: Sequence[Item],
        recogniser: Recogniser | None,
        encoder: SpeakerEncoder | None,
        *,
        language: str = "en-us",
        seed: int = 0,
    ) -> None:
        if len(items) < 2:
            raise UsageError(f"A quick judgement needs at least two held-out utterances, got {len(items)}.")
        self.items = list(items)
        self.language, self.seed = language, seed
        self._recogniser, self._encoder = recogniser, encoder
        recordings = [clean(item.recording) for item in self.items]
        self._voice = encoder.embed_many(recordings) if encoder is not None else None
        own = None if self._voice is None else float(similarity_among(self._voice).mean())
        self.recorded, _ = self._figures(recordings, own)

    def _figures(self, clips: Sequence[Samples], similarity: float | None) -> tuple[Figures, float | None]:
        """Figures of clips of the items' texts, in their order, and the word error rate."""
        wer = cer = None
        if self._recogniser is not None:
            heard = self._recogniser.transcribe_many(clips)
            errors = [count_errors(i.text, h, self.language) for i, h in zip(self.items, heard, strict=True)]
            wer = sum(e.word_errors for e in errors) / max(1, sum(e.words for e in errors))
            cer = sum(e.character_errors for e in errors) / max(1, sum(e.characters for e in errors))
        tracks = [track_f0(clip) for clip in clips]
        together = np.concatenate(tracks)
        voiced = together[together > 0]
        speaking = sum(timing(clip).speaking for clip in clips)
        letters = sum(character.isalnum() for item in self.items for character in item.text)
        bands = [periodicity(clip, track)[0] for clip, track in zip(clips, tracks, strict=True)]
        weight = sum(band.weight for band in bands)
        raw = sum(band.weighted for band in bands) / weight if weight else 0.0
        noise = noise_periodicity(together[:2400], (BAND,), self.seed)[0]
        figures = Figures(
            cer=cer,
            similarity=similarity,
            pitch_hz=float(np.median(voiced)) if voiced.size else 0.0,
            pitch_spread=f0_statistics(together).sd_semitones,
            pace=letters / speaking if speaking > 0 else 0.0,
            periodicity=above_noise(raw, noise),
        )
        return figures, wer

    def __call__(self, engine: Speaks, voice: Voice | None = None) -> QuickScore:
        """Score an engine; deterministic for a deterministic engine."""
        clips = []
        for number, item in enumerate(self.items):
            try:
                clips.append(clean(speak_24k(engine, item.text, voice, self.seed + number)))
            except VoicewrightError:
                clips.append(np.zeros(SAMPLE_RATE, np.float32))
        return self.score(clips)

    def score(self, clips: Sequence[Samples]) -> QuickScore:
        """Score clips (24 kHz) of the items' texts, in their order."""
        started = time.perf_counter()
        clips = [clean(clip) for clip in clips]
        alike = None
        if self._encoder is not None and self._voice is not None:
            alike = float(similarities(self._encoder, clips, self._voice).mean())
        made, wer = self._figures(clips, alike)
        real = self.recorded
        return QuickScore(
            score=score(made, real),
            wer=wer,
            **asdict(made),
            recordings_cer=real.cer,
            recordings_similarity=real.similarity,
            recordings_pitch_hz=real.pitch_hz,
            recordings_pace=real.pace,
            recordings_periodicity=real.periodicity,
            seconds=time.perf_counter() - started,
        )
