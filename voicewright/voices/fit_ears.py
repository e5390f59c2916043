"""What hears a voice while it is fitted: one encoder stops and weighs, with quality, lines and words;
another, which neither steers nor stops, reports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from voicewright.audio.pitch import f0
from voicewright.errors import VoicewrightError
from voicewright.listen.artefacts import strongest_line
from voicewright.listen.campplus import CamEncoder
from voicewright.listen.dvector import DVector
from voicewright.listen.heard import Recogniser
from voicewright.listen.quality import DistillMos, Quality
from voicewright.listen.speaker import Encoder, SpeakerEncoder, mean_voice
from voicewright.listen.steering import SteeringEncoder
from voicewright.listen.strangers import strangers
from voicewright.listen.words import count_errors
from voicewright.voices.fit import Steer
from voicewright.voices.pack import Voicepack
from voicewright.voices.studio import Line, Studio

Samples = NDArray[np.float32]
QUALITY_WEIGHT = 0.25
"""Normalised similarity that a point of quality is worth, below what the start has ..."""
QUALITY_MARGIN = 0.15
"""... less what nobody hears."""
WORDS_WEIGHT = 2.0
"""The same for the share of words that are wrong beyond the start's."""
LINES_FREE, LINES_WEIGHT = 2.5, 0.03
"""Decibels of the generator's lines that recordings have too, and what each beyond costs."""


@dataclass(frozen=True)
class Encoders:
    """Who hears what: `surest` finds the start and says when a fit is done; `steering` with its gradients,
    by name; `independent` neither steers nor stops, it only reports."""

    surest: Encoder
    steering: dict[str, tuple[Encoder, Callable[[Tensor], Tensor]]]
    independent: Encoder | None

    @property
    def both(self) -> tuple[Encoder, Encoder] | None:
        """CAM++ and Resemblyzer, by which style encoders hear; None where one of them is not here."""
        first = next(one for one, _ in self.steering.values())
        return (self.surest, first) if self.surest is not first else None

    def all(self) -> list[Encoder]:
        """Those of a report, the independent one first."""
        found = [one for one, _ in self.steering.values()]
        return found if self.independent is None else [self.independent, *found]


def open_encoders(note: Callable[[str], object]) -> Encoders:
    """What is installed. Raises VoicewrightError without Resemblyzer's weights."""
    first = SpeakerEncoder()
    steering: dict[str, tuple[Encoder, Callable[[Tensor], Tensor]]] = {
        first.name: (first, SteeringEncoder(first))
    }
    surest: Encoder = first
    try:
        surer = CamEncoder()
        steering[surer.name] = surer, surer.vectors
        surest = surer
    except VoicewrightError as error:
        note(f"One speaker encoder alone steers, and a second would make a better voice: {error}")
    try:
        independent: Encoder | None = DVector()
    except VoicewrightError as error:
        note(f"No encoder that has not steered reports: {error}")
        independent = None
    return Encoders(surest, steering, independent)


def steers(encoders: Encoders, clips: Sequence[Samples]) -> list[Steer]:
    """Each encoder that steers, and the recordings by it."""
    found = []
    for encoder, vectors in encoders.steering.values():
        voice = mean_voice(np.stack([encoder.embed(clip) for clip in clips]))
        found.append(Steer(vectors, torch.from_numpy(voice)))
    return found


def words_wrong(recogniser: Recogniser, lines: Sequence[Line], clips: Sequence[Samples]) -> float:
    """Share of the lines' words that the recogniser hears wrong in the clips."""
    heard = recogniser.transcribe_many(clips)
    errors = [count_errors(line.text, said, line.language) for line, said in zip(lines, heard, strict=True)]
    return sum(one.word_errors for one in errors) / max(1, sum(one.words for one in errors))


def lines_cost(clips: Sequence[Samples]) -> float:
    """What the clips' lines cost a voice's score."""
    return LINES_WEIGHT * max(0.0, strongest_line(clips) - LINES_FREE)


@dataclass(frozen=True)
class Likeness:
    """Normalised similarity by one encoder: 0 for strangers, 1 for the speaker's own other recordings."""

    encoder: Encoder
    voice: NDArray[np.float32]
    floor: float
    ceiling: float

    def of(self, clips: Sequence[Samples]) -> float:
        """Mean over clips."""
        raw = float(np.mean([self.encoder.embed(clip) @ self.voice for clip in clips]))
        return (raw - self.floor) / max(self.ceiling - self.floor, 1e-3)


def likeness(encoder: Encoder, own: Sequence[Samples], others: Sequence[Samples] = ()) -> Likeness:
    """own: the speaker's recordings, whose mean is the voice; others: more of them, whose likeness to it is
    the ceiling. Without others each is held against the mean of the rest; with one alone, its halves."""
    clips = list(own) if len(own) > 1 or others else [own[0][: len(own[0]) // 2], own[0][len(own[0]) // 2 :]]
    vectors = np.stack([encoder.embed(clip) for clip in clips])
    voice = mean_voice(vectors)
    if others:
        found = [float(encoder.embed(clip) @ voice) for clip in others]
    else:
        rest = [mean_voice(np.delete(vectors, index, axis=0)) for index in range(len(vectors))]
        found = [float(vector @ one) for vector, one in zip(vectors, rest, strict=True)]
    known = strangers(encoder.strangers)
    floor = known.similarity(voice) if known is not None else 0.0
    return Likeness(encoder, voice, floor, float(np.mean(found)))


@dataclass(frozen=True)
class Heard:
    """A voice's figures. None: nothing here hears it."""

    similarity: dict[str, float]
    quality: float | None
    words: float | None
    """Share of words that the recogniser hears wrong."""
    pitch: float
    """Median, Hz."""


@dataclass(frozen=True)
class _Spoken:
    """What a voice said: clips, the quality of each, the share of words that were wrong; None: nothing here
    hears it."""

    clips: list[Samples]
    quality: NDArray[np.float32] | None
    words: float | None


class Ears:
    """stopping: the ear of `check` and `weigh`; reporting: those of the table; lines: what a voice is heard
    by, the first `few` of them at intervals."""

    def __init__(
        self,
        studio: Studio,
        stopping: Likeness,
        reporting: Sequence[Likeness],
        recogniser: Recogniser | None,
        lines: Sequence[Line],
        note: Callable[[str], object],
        few: int = 4,
    ) -> None:
        self._studio, self._stopping, self._reporting = studio, stopping, tuple(reporting)
        self._recogniser, self._lines, self._few = recogniser, tuple(lines), few
        self._quality: Quality | None = None
        try:
            self._quality = DistillMos()
        except VoicewrightError as error:
            note(f"Quality is not heard: {error}")
        self._start: _Spoken | None = None
        self._heard: list[tuple[NDArray[np.float32], _Spoken]] = []
        self._weighed = -np.inf
        """The highest score of a weighing."""

    def begin_with(self, pack: Voicepack) -> Heard:
        """The voice that a fit begins with, which others are held against from now on."""
        self._start = self._spoken(pack)
        return self._figures(self._start)

    def check(self, pack: Voicepack) -> float:
        """Similarity to the ear that stops, less what quality has lost since the start; of a few lines."""
        clips = self._studio.clips(pack, self._lines[: self._few])
        return self._score(_Spoken(clips, self._quality_of(clips), None))

    def weigh(self, pack: Voicepack) -> float:
        """The same of all lines, and less the words that were lost; they are not listened to where a voice
        could not be the best of those weighed even if it lost none."""
        if self._known(pack) is None:
            clips = self._studio.clips(pack, self._lines)
            spoken = _Spoken(clips, self._quality_of(clips), None)
            if (most := self._score(spoken)) < self._weighed:
                return most
            self._heard.append((pack.rows, replace(spoken, words=self._words_of(clips))))
        score = self._score(self._spoken(pack))
        self._weighed = max(self._weighed, score)
        return score

    def hear(self, pack: Voicepack) -> Heard:
        return self._figures(self._spoken(pack))

    def hear_clips(self, clips: Sequence[Samples]) -> Heard:
        """Of recordings: nobody asks whether their words are right."""
        return self._figures(_Spoken(list(clips), self._quality_of(clips), None))

    def _score(self, spoken: _Spoken) -> float:
        clips, first = spoken.clips, self._start
        score = min(1.0, self._stopping.of(clips))  # nobody is more alike than oneself
        if first is not None and first.quality is not None and spoken.quality is not None:
            before = float(first.quality[: len(clips)].mean())
            score -= QUALITY_WEIGHT * max(0.0, before - QUALITY_MARGIN - float(spoken.quality.mean()))
        if first is not None and first.words is not None and spoken.words is not None:
            score -= WORDS_WEIGHT * max(0.0, spoken.words - first.words)
        return score - lines_cost(clips)

    def _figures(self, spoken: _Spoken) -> Heard:
        clips, quality = spoken.clips, spoken.quality
        voiced = np.concatenate([(curve := f0(clip))[curve > 0] for clip in clips])
        similar = {one.encoder.name: one.of(clips) for one in self._reporting}
        mean = None if quality is None else float(quality.mean())
        return Heard(similar, mean, spoken.words, float(np.median(voiced)) if len(voiced) else 0.0)

    def _spoken(self, pack: Voicepack) -> _Spoken:
        """All lines by a voice; what was heard once is remembered."""
        if (known := self._known(pack)) is not None:
            return known
        clips = self._studio.clips(pack, self._lines)
        spoken = _Spoken(clips, self._quality_of(clips), self._words_of(clips))
        self._heard.append((pack.rows, spoken))
        return spoken

    def _known(self, pack: Voicepack) -> _Spoken | None:
        return next((spoken for rows, spoken in self._heard if np.array_equal(rows, pack.rows)), None)

    def _words_of(self, clips: Sequence[Samples]) -> float | None:
        return None if self._recogniser is None else words_wrong(self._recogniser, self._lines, clips)

    def _quality_of(self, clips: Sequence[Samples]) -> NDArray[np.float32] | None:
        if self._quality is None:
            return None
        return np.array([self._quality.score(clip) for clip in clips], np.float32)
