"""Whose voice it is and that they agree: what a fitted voice's card says, and a spoken statement checked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voicewright.audio.files import read
from voicewright.audio.loudness import normalise
from voicewright.errors import UsageError, VoicewrightError
from voicewright.listen.recogniser import choose
from voicewright.listen.speaker import Encoder
from voicewright.units import SAMPLE_RATE
from voicewright.voices.fit_ears import likeness

Samples = NDArray[np.float32]
SAME = 0.5
"""Normalised similarity from which a statement counts as the same person's."""
_SHORTEST = 2.0
_LEVEL = -23.0


@dataclass(frozen=True)
class Rights:
    """What goes into a voice's card. `statement`: a recording in which the person agrees."""

    consent: str
    licence: str
    statement: Path | None = None

    def card(
        self, own: Sequence[Samples], encoder: Encoder, language: str, note: Callable[[str], object]
    ) -> dict[str, Any]:
        """Entries of the card. own: the recordings. Raises VoicewrightError for somebody else's statement."""
        found: dict[str, Any] = {"consent": self.consent, "licence": self.licence}
        if self.statement is not None:
            found["statement"] = _checked(self.statement, own, encoder, language, note)
        return found


def opened(path: Path) -> Samples:
    """A statement's sound. Raises UsageError where there is none or it is too short."""
    if not path.is_file():
        raise UsageError(f"there is no statement at {path}; name a recording in which the person agrees.")
    sound = read(path)
    if len(sound) < _SHORTEST * SAMPLE_RATE or float(np.abs(sound).max()) < 1e-4:
        raise UsageError(f"{path} is no statement: record a sentence of two seconds or more.")
    return np.asarray(normalise(sound, SAMPLE_RATE, _LEVEL), np.float32)


def _checked(
    path: Path, own: Sequence[Samples], encoder: Encoder, language: str, note: Callable[[str], object]
) -> dict[str, Any]:
    """The file's hash, how alike its speaker is, and what is said in it (where a recogniser is)."""
    sound = opened(path)
    alike = likeness(encoder, own).of([sound])
    if alike < SAME:
        raise VoicewrightError(
            f"{path} is not spoken by the person of the recordings (similarity {alike:.2f}, {SAME} is the "
            "least; 1 is the same voice): nothing was fitted."
        )
    said = ""
    try:
        said = choose("auto", language).ready().open().transcribe(sound)
    except VoicewrightError as error:
        note(f"What the statement says was not read: {error}")
    return {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "similarity": round(alike, 3),
        "encoder": encoder.name,
        "text": said,
    }
