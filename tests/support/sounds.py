"""Sounds for tests: syllables of harmonics with pauses, and a front end that reads letters."""

from __future__ import annotations

import string
from pathlib import Path

import numpy as np

from voicewright.audio.files import Samples, write
from voicewright.text.frontend import Tokens, Word

RATE = 24_000
LETTERS = string.ascii_lowercase


class Letters:
    """A front end in which every letter is a phoneme. Picklable."""

    def tokens(self, text: str) -> Tokens:
        unknown = tuple(dict.fromkeys(s for s in text.lower() if s not in LETTERS and s not in " ,.'"))
        phonemes = "".join(s for s in text.lower() if s in LETTERS or s in " ,.").strip()
        words = tuple(Word(word, 0, len(word)) for word in phonemes.split())
        return Tokens(text, phonemes, tuple(range(1, len(phonemes) + 1)), words, unknown)


def speech(
    seconds: float = 2.0, seed: int = 0, rate: int = RATE, level: float = 0.3, noise: float = 0.0005
) -> Samples:
    """Harmonics of a gliding pitch in syllables with pauses: levels vary as they do in speech."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    pitch = 120 + 20 * np.sin(2 * np.pi * 0.7 * time + seed)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    tone = sum(np.sin(number * phase) / number for number in range(1, 30))
    envelope = np.clip(np.sin(2 * np.pi * 3.1 * time + 0.3), 0.02, 1) ** 1.5
    samples = tone * envelope
    samples = level * samples / np.abs(samples).max() + noise * rng.normal(size=len(time))
    return samples.astype(np.float32)


def text(seconds: float = 2.0, seed: int = 0) -> str:
    """A text of ten letters for every second."""
    rng = np.random.default_rng(seed)
    words = ["".join(rng.choice(list(LETTERS), 5)) for _ in range(max(1, round(2 * seconds)))]
    return " ".join(words) + "."


def ljspeech(folder: Path, count: int = 6, seconds: float = 1.2) -> Path:
    """An LJSpeech-style folder of `count` clips."""
    (folder / "wavs").mkdir(parents=True)
    lines = []
    for number in range(count):
        write(folder / "wavs" / f"clip{number:03d}.wav", speech(seconds, number))
        lines.append(f"clip{number:03d}|{text(seconds, number)}")
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n", "utf-8")
    return folder
