"""Speech → text, offline: pocketsphinx's own model, or a Whisper model that is at hand."""

from __future__ import annotations

import importlib.util
import re
from typing import Literal, Protocol

import numpy as np

from voicewright.audio.files import Samples
from voicewright.errors import VoicewrightError

RATE = 16_000
RecogniserName = Literal["pocketsphinx", "faster-whisper"]
_SILENCE = 0.3


class Recogniser(Protocol):
    """`transcribe` takes samples [T] at 16 kHz and gives the words, or an empty string."""

    name: RecogniserName

    def transcribe(self, samples: Samples) -> str: ...


class PocketSphinx:
    """The small US English model of the pocketsphinx wheel.

    Lower case, no punctuation, about one word in five wrong on clean speech.
    """

    name: RecogniserName = "pocketsphinx"

    def __init__(self) -> None:
        try:
            import pocketsphinx
        except ImportError as error:
            raise VoicewrightError(
                "Transcribing recordings needs pocketsphinx: install voicewright[prepare]."
            ) from error
        self._new = lambda: pocketsphinx.Decoder(samprate=RATE, loglevel="FATAL")
        self._decoder = self._new()
        self._cmn = self._decoder.get_cmn(False)

    def transcribe(self, samples: Samples) -> str:
        peak = float(np.abs(samples).max(initial=0.0))
        if peak == 0.0:
            return ""
        pad = np.zeros(int(_SILENCE * RATE), np.float32)
        pcm = (np.concatenate([pad, samples / peak * 0.9, pad]) * 32767).astype("<i2").tobytes()
        # Its running mean would make a piece depend on those before it, and so on the number of processes.
        self._decoder.set_cmn(self._cmn)
        self._decoder.start_utt()
        self._decoder.process_raw(pcm, False, True)
        self._decoder.end_utt()
        found = self._decoder.hyp()
        return clean(found.hypstr) if found is not None else ""


class FasterWhisper:
    """A Whisper model that is already on this machine; nothing is fetched."""

    name: RecogniserName = "faster-whisper"

    def __init__(self, language: str, model: str = "base") -> None:
        try:
            import faster_whisper
        except ImportError as error:
            raise VoicewrightError(
                "faster-whisper is not installed: pip install voicewright[whisper]."
            ) from error
        self._language = language.split("-")[0]
        try:
            self._model = faster_whisper.WhisperModel(
                model, device="cpu", compute_type="int8", cpu_threads=1, local_files_only=True
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise VoicewrightError(
                f"The Whisper model {model!r} is not on this machine: download it, or use pocketsphinx."
            ) from error

    def transcribe(self, samples: Samples) -> str:
        parts, _ = self._model.transcribe(samples, language=self._language, beam_size=5)
        return " ".join(" ".join(part.text for part in parts).split())


def choose(language: str, name: RecogniserName | None = None) -> RecogniserName:
    """Which recogniser serves a language: the one named, or faster-whisper where it works, or pocketsphinx.

    Raises VoicewrightError where none does.
    """
    if name == "faster-whisper":
        FasterWhisper(language)
        return name
    if name is None and importlib.util.find_spec("faster_whisper") is not None:
        try:
            FasterWhisper(language)
            return "faster-whisper"
        except VoicewrightError:
            pass  # installed without a model: the offline one serves
    if not language.startswith("en"):
        raise VoicewrightError(
            f"No offline recogniser knows {language!r}: give a text with each recording, "
            "or install voicewright[whisper] and a model."
        )
    if importlib.util.find_spec("pocketsphinx") is None:
        raise VoicewrightError("Transcribing recordings needs pocketsphinx: install voicewright[prepare].")
    return "pocketsphinx"


def build(language: str, name: RecogniserName) -> Recogniser:
    """The recogniser itself: slow to load, so once a process."""
    return FasterWhisper(language) if name == "faster-whisper" else PocketSphinx()


def clean(hypothesis: str) -> str:
    """pocketsphinx's words without fillers (`<sil>`, `[NOISE]`) and pronunciation numbers (`read(2)`)."""
    words = re.sub(r"<[^>]*>|\[[^\]]*\]|\+\+[^+]*\+\+", " ", hypothesis)
    return " ".join(re.sub(r"\(\d+\)", "", words).split())
