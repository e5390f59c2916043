"""A cheap judgement for choosing checkpoints while training."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from voicewright.audio.pitch import f0 as track_f0
from voicewright.config import SAMPLE_RATE
from voicewright.engines.protocol import Voice
from voicewright.errors import UsageError, VoicewrightError
from voicewright.judge.judge import Speaks, similarities, speak_24k
from voicewright.judge.metrics import BAND, Samples, above_noise, noise_periodicity, periodicity
from voicewright.judge.result import Item, clean
from voicewright.judge.speaker import SpeakerEncoder, similarity_among
from voicewright.judge.words import count_errors
from voicewright.listen.recogniser import Recogniser, open_recogniser


@dataclass(frozen=True)
class QuickScore:
    """A checkpoint's score, higher is better, and what it is made of."""

    score: float
    wer: float
    cer: float
    similarity: float
    periodicity: float
    recordings_cer: float
    recordings_similarity: float
    recordings_periodicity: float
    seconds: float


class QuickJudge:
    """Scores checkpoints on a few held-out utterances; the recordings' own figures are taken once.

    score = − max(0, CER − recordings' CER) − max(0, recordings' similarity − similarity)
            − 0.25 · max(0, 1 − periodicity / recordings' periodicity)
    so 0 is a voice that no figure here tells from the recordings, and a point of CER weighs as much as a
    point of cosine. Give it validation utterances, never test ones.
    """

    def __init__(
        self,
        items: Sequence[Item],
        recogniser: Recogniser | None = None,
        encoder: SpeakerEncoder | None = None,
        *,
        language: str = "en-us",
        seed: int = 0,
        periodicity_weight: float = 0.25,
    ) -> None:
        if len(items) < 2:
            raise UsageError(f"A quick judgement needs at least two held-out utterances, got {len(items)}.")
        self.items = list(items)
        self.language, self.seed, self.periodicity_weight = language, seed, periodicity_weight
        self._recogniser = recogniser or open_recogniser("auto", language)
        self._encoder = encoder or SpeakerEncoder()
        recordings = [clean(item.recording) for item in self.items]
        self._voice = self._encoder.embed_many(recordings)
        _, self._cer, self._periodicity = self._measure(recordings)
        self._similarity = float(similarity_among(self._voice).mean())

    def _measure(self, clips: Sequence[Samples]) -> tuple[float, float, float]:
        """WER, CER and periodicity above noise of clips of the items' texts."""
        heard = self._recogniser.transcribe_many(clips)
        errors = [count_errors(i.text, h, self.language) for i, h in zip(self.items, heard, strict=True)]
        tracks = [track_f0(clip) for clip in clips]
        bands = [periodicity(clip, track)[0] for clip, track in zip(clips, tracks, strict=True)]
        weight = sum(band.weight for band in bands)
        raw = sum(band.weighted for band in bands) / weight if weight else 0.0
        noise = noise_periodicity(np.concatenate(tracks)[:2400], (BAND,), self.seed)[0]
        return (
            sum(e.word_errors for e in errors) / sum(e.words for e in errors),
            sum(e.character_errors for e in errors) / sum(e.characters for e in errors),
            above_noise(raw, noise),
        )

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
        wer, cer, periodic = self._measure(clips)
        similarity = float(similarities(self._encoder, clips, self._voice).mean())
        short = 1.0 - periodic / self._periodicity if self._periodicity > 0 else 0.0
        score = (
            -max(0.0, cer - self._cer)
            - max(0.0, self._similarity - similarity)
            - self.periodicity_weight * max(0.0, short)
        )
        return QuickScore(
            score=score,
            wer=wer,
            cer=cer,
            similarity=similarity,
            periodicity=periodic,
            recordings_cer=self._cer,
            recordings_similarity=self._similarity,
            recordings_periodicity=self._periodicity,
            seconds=time.perf_counter() - started,
        )
