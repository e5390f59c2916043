"""A cheap judgement for choosing checkpoints while training."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from voicewright.engines.protocol import Voice
from voicewright.errors import UsageError, VoicewrightError
from voicewright.judging.ears import MoreEars, Vectors, embed, likeness
from voicewright.judging.heard import HeardClip, hear, pool, word_errors
from voicewright.judging.judge import Talker, speak_24k
from voicewright.judging.metrics import Samples
from voicewright.judging.result import Item, clean
from voicewright.judging.score import VERSION, Figures, costs
from voicewright.listen.heard import Recogniser
from voicewright.listen.speaker import Encoder, SpeakerEncoder
from voicewright.listen.strangers import strangers
from voicewright.listen.words import Errors, count_errors
from voicewright.units import SAMPLE_RATE


@dataclass(frozen=True)
class QuickScore:
    """A checkpoint's score, higher is better, and what it is made of."""

    score: float
    costs: dict[str, float]
    """What each shortfall took off it."""
    wer: float | None
    made: Figures
    recorded: Figures
    seconds: float

    def measured(self) -> dict[str, float]:
        """The figures that there are, flat: the recordings' own under `recordings_…`."""
        found = {"score": self.score, "wer": self.wer, **asdict(self.made)}
        found |= {f"recordings_{name}": value for name, value in asdict(self.recorded).items()}
        found |= {f"cost_{name}": value for name, value in self.costs.items()} | {"seconds": self.seconds}
        return {name: float(value) for name, value in found.items() if value is not None}


class QuickJudge:
    """Scores checkpoints on a few held-out utterances; the recordings' own figures are taken once.

    What `score` weighs: words, similarity, quality, pitch, pace, periodicity, artefacts. Without a recogniser
    there are no words, without encoders no similarity, without a judge of quality (the first of `more`'s)
    none of it; the rest is always measured. Give it validation utterances, never test ones.
    """

    def __init__(
        self,
        items: Sequence[Item],
        recogniser: Recogniser | None,
        encoder: SpeakerEncoder | None,
        *,
        more: MoreEars | None = None,
        language: str = "en-us",
        seed: int = 0,
    ) -> None:
        if len(items) < 2:
            raise UsageError(f"A quick judgement needs at least two held-out utterances, got {len(items)}.")
        self.items = list(items)
        self.language, self.seed = language, seed
        self._recogniser = recogniser
        more = more or MoreEars()
        self._quality = more.quality[0] if more.quality else None
        self._encoders: list[Encoder] = [ear for ear in (encoder, more.second) if ear is not None]
        self._first = encoder
        recordings = [clean(item.recording) for item in self.items]
        self._voices: list[Vectors] = [embed(ear, recordings)[0] for ear in self._encoders]
        self.recorded_clips = self.hear(recordings)
        self.recorded = pool(self.recorded_clips, seed)

    @property
    def ears(self) -> str:
        """Who hears, and which score: only scores by the same ears are compared."""
        named = [ear.name for ear in (self._recogniser, *self._encoders, self._quality) if ear is not None]
        return "; ".join([f"score {VERSION}", *named])

    def hear(self, clips: Sequence[Samples]) -> list[HeardClip]:
        """Every ear's opinion of clips (24 kHz) of the items' texts, in their order."""
        texts = [item.text for item in self.items]
        errors: list[Errors | None] = [None] * len(clips)
        if self._recogniser is not None:
            words = self._recogniser.transcribe_many(clips)
            errors = [count_errors(t, said, self.language) for t, said in zip(texts, words, strict=True)]
        vectors = [embed(ear, clips)[0] for ear in self._encoders]
        alike = [
            likeness(ear, found, voice)
            for ear, found, voice in zip(self._encoders, vectors, self._voices, strict=True)
        ]
        normal = [number for number, ear in enumerate(self._encoders) if strangers(ear.strangers) is not None]
        return [
            hear(
                clip,
                texts[index],
                errors[index],
                alike[0][index].similarity if self._first is not None else None,
                tuple(
                    (found.similarity, found.stranger, found.own)
                    for found in (alike[number][index] for number in normal)
                ),
                self._quality.score(clip) if self._quality is not None else None,
            )
            for index, clip in enumerate(clips)
        ]

    def __call__(self, engine: Talker, voice: Voice | None = None) -> QuickScore:
        """Score an engine; deterministic for a deterministic engine."""
        return self.score(self.speak(engine, voice))

    def speak(self, engine: Talker, voice: Voice | None = None) -> list[Samples]:
        """The items' texts spoken (24 kHz); a second of silence where the engine refuses one."""
        clips = []
        for number, item in enumerate(self.items):
            try:
                clips.append(clean(speak_24k(engine, item.text, voice, self.seed + number)))
            except VoicewrightError:
                clips.append(np.zeros(SAMPLE_RATE, np.float32))
        return clips

    def score(self, clips: Sequence[Samples]) -> QuickScore:
        """Score clips (24 kHz) of the items' texts, in their order."""
        started = time.perf_counter()
        heard = self.hear([clean(clip) for clip in clips])
        made = pool(heard, self.seed)
        lost = costs(made, self.recorded)
        return QuickScore(
            score=-sum(lost.values()),
            costs=lost,
            wer=word_errors(heard),
            made=made,
            recorded=self.recorded,
            seconds=time.perf_counter() - started,
        )
