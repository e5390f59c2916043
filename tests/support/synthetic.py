"""Pseudo-speech whose every phone's place is known: harmonics under formants, bands of noise, bursts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from scipy import signal

from voicewright.corpus.manifest import (
    Corpus,
    CorpusMeta,
    Measurements,
    Utterance,
    content_hash,
    write_corpus,
)

RATE = 24_000
FORMANTS = {
    "i": (280, 2300), "u": (320, 800), "ɑ": (750, 1200), "ɛ": (550, 1800), "m": (250, 1100), "l": (380, 1300),
}  # fmt: skip
NOISES = {"s": (5000, 9000), "ʃ": (2300, 4500), "f": (1200, 8000)}
STOPS = {"t": 4500.0, "k": 1800.0}
VOWELS = "iuɑɛ"
CONSONANTS = "mlsʃftk"


MEASURED = Measurements(
    source_rate=RATE,
    source_seconds=3,
    lufs=-23,
    peak=0.5,
    clipped=0,
    noise_db=-70,
    snr_db=40,
    bandwidth_hz=9000,
    silence_start=0,
    silence_end=0,
    phonemes_per_second=9,
    gain_db=0,
)


def sentence(rng: np.random.Generator) -> str:
    """Phonemes of a few made-up words with stress, spaces, sometimes a comma, always a full stop."""
    words = []
    for _ in range(int(rng.integers(4, 8))):
        word = ""
        for syllable in range(int(rng.integers(1, 4))):
            word += rng.choice(list(CONSONANTS)) + ("ˈ" if syllable == 0 else "") + rng.choice(list(VOWELS))
        words.append(word + (rng.choice(list(CONSONANTS)) if rng.random() < 0.5 else ""))
    if rng.random() < 0.6:
        words[1] += ","
    return " ".join(words) + "."


def speak(phonemes: str, rng: np.random.Generator) -> tuple[np.ndarray, list[tuple[str, float, float]]]:
    """Samples in -1..1 and each phone with its start and end in seconds."""
    pieces: list[np.ndarray] = []
    places: list[tuple[str, float, float]] = []
    at = 0
    pitch = rng.uniform(110, 200)
    for symbol in phonemes:
        if symbol in "ˈ .":
            continue
        seconds = {",": 0.3, "t": 0.09, "k": 0.09}.get(symbol, 0.12) * rng.uniform(0.75, 1.4)
        count = int(seconds * RATE)
        piece = _sound(symbol, count, pitch * rng.uniform(0.9, 1.1), rng)
        if symbol != ",":
            places.append((symbol, at / RATE, (at + count) / RATE))
        pieces.append(piece)
        at += count
    wave = np.concatenate(pieces) + 0.0005 * rng.standard_normal(at)
    return (0.1 * wave / np.sqrt(np.mean(wave**2))).clip(-1, 1).astype(np.float32), places


def _sound(symbol: str, count: int, pitch: float, rng: np.random.Generator) -> np.ndarray:
    time = np.arange(count) / RATE
    if symbol in FORMANTS:
        wave = np.zeros(count)
        for k in range(1, int(6000 / pitch)):
            gain = sum(np.exp(-(((k * pitch - f) / 180) ** 2)) for f in FORMANTS[symbol]) + 0.01
            wave += gain * np.sin(2 * np.pi * k * pitch * time + k)
        wave *= 0.4 if symbol in "ml" else 1.0
    elif symbol in NOISES:
        low, high = NOISES[symbol]
        bands = signal.butter(4, [low, high], "band", fs=RATE, output="sos")
        wave = 2.0 * signal.sosfilt(bands, rng.standard_normal(count))
        wave *= 0.3 if symbol == "f" else 1.0
    elif symbol in STOPS:
        wave = np.zeros(count)
        burst = count // 2
        tone = np.sin(2 * np.pi * STOPS[symbol] * time[:burst])
        wave[-burst:] = tone * rng.standard_normal(burst) * np.exp(-np.arange(burst) / 400)
    else:
        return np.zeros(count)
    edge = np.minimum(1.0, np.minimum(np.arange(count), np.arange(count)[::-1]) / 120)
    return wave * edge


def corpus(folder: Path, clips: int, seed: int = 0) -> Corpus:
    """A prepared corpus of pseudo-speech on disk."""
    rng = np.random.default_rng(seed)
    (folder / "audio").mkdir(parents=True)
    utterances = []
    for number in range(clips):
        phonemes = sentence(rng)
        wave, _ = speak(phonemes, rng)
        name = f"c{number:03d}"
        file = folder / "audio" / f"{name}.flac"
        soundfile.write(file, wave, RATE)
        utterances.append(
            Utterance(
                id=name,
                audio=f"audio/{name}.flac",
                text=phonemes,
                phonemes=phonemes,
                speaker="anna" if number % 2 else "bert",
                seconds=len(wave) / RATE,
                language="en-us",
                source=f"{name}.wav",
                hash=content_hash(file.read_bytes()),
                measurements=MEASURED,
            )
        )
    minutes = sum(u.seconds for u in utterances) / 60
    meta = CorpusMeta(
        language="en-us",
        licence="CC0-1.0",
        consent="made here",
        source="synthetic",
        speakers=("anna", "bert"),
        found=clips,
        accepted=clips,
        quarantined=0,
        minutes=minutes,
        lufs=-23,
        tool="tests",
    )
    write_corpus(folder, meta, utterances, [])
    return Corpus.read(folder)
