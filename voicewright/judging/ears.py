"""Who hears beside the recogniser: a second speaker encoder, judges of quality. How alike voices are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voicewright.errors import VoicewrightError
from voicewright.judging.measures import Likeness
from voicewright.judging.metrics import Samples
from voicewright.listen.quality import DistillMos, DnsMos, Quality
from voicewright.listen.speaker import EMBEDDING, Encoder, mean_voice
from voicewright.listen.strangers import strangers

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class MoreEars:
    """What hears if it is there. Nothing of it is needed for a judgement."""

    second: Encoder | None = None
    quality: tuple[Quality, ...] = ()
    missing: tuple[str, ...] = ()
    """A sentence for each that is not there: why, and what to do."""

    def conditions(self) -> dict[str, str]:
        """For the report: who heard."""
        found = {"second speaker encoder": self.second.name} if self.second else {}
        if self.quality:
            found["quality"] = ", ".join(one.name for one in self.quality)
        return found


def open_more_ears(makers: Sequence[Callable[[], Quality]] = (DistillMos, DnsMos)) -> MoreEars:
    """All that is installed here; what is not, or is broken, is said in `missing`. Nothing is raised.

    `makers`: which judges of quality are wanted.
    """
    from voicewright.listen.dvector import DVector

    missing: list[str] = []
    second: Encoder | None = None
    quality: list[Quality] = []
    try:
        second = DVector()
    except VoicewrightError as error:
        missing.append(str(error))
    for make in makers:
        try:
            quality.append(make())
        except VoicewrightError as error:
            missing.append(str(error))
    return MoreEars(second, tuple(quality), tuple(missing))


def open_choosing_ears() -> MoreEars:
    """What chooses checkpoints beside the recogniser and the first encoder. The second opinion on quality
    does not, so that it stays one."""
    return open_more_ears((DistillMos,))


def embed(encoder: Encoder, clips: Sequence[Samples]) -> tuple[Vectors, NDArray[np.bool_]]:
    """Unit vectors [N, 256] and which clips have one; silent clips get zeros."""
    vectors, valid = np.zeros((len(clips), EMBEDDING), np.float32), np.zeros(len(clips), bool)
    for index, clip in enumerate(clips):
        if float(np.abs(clip).max(initial=0.0)) > 1e-5:
            vectors[index], valid[index] = encoder.embed(clip), True
    return vectors, valid


def strangers_name(encoder: Encoder) -> str | None:
    """Whom this encoder's zero is taken from; None: it has none."""
    found = strangers(encoder.strangers)
    return None if found is None else found.name


def likeness(encoder: Encoder, vectors: Vectors, voice: Vectors) -> list[Likeness]:
    """For each clip's vector [N, 256], beside the recordings' [N, 256]: its, strangers', the recording's own.

    Without a list of strangers the zero is 0, which the report does not normalise by.
    """
    others = strangers(encoder.strangers)
    found = []
    for index, vector in enumerate(vectors):
        rest = mean_voice(np.delete(voice, index, axis=0))
        stranger = others.similarity(rest) if others is not None else 0.0
        found.append(Likeness(float(vector @ rest), stranger, float(voice[index] @ rest)))
    return found
