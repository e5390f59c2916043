"""Readings of one sentence by drawn styles: how they differ, and whether each is sound.

    python benchmarks/style_diffusion.py MODEL RECORDINGS OUT [--sentences 8] [--seeds 6]

MODEL has style diffusion (`voicewright train style_diffusion`); RECORDINGS is a folder of its speaker's clips
that it never saw, with metadata.csv (`name|text`). Ways: the voicepack alone (seeds move but noise), StyleTTS
2's usual mix (alpha .3, beta .7), drawn styles alone. Spread over seeds: standard deviation of a sentence's
median pitch (semitones), of its length (percent) and of its pitch curve (semitones, stretched to one length).
Sound: words heard wrongly, Distill-MOS, likeness to the recordings by two encoders, echoes and lines. The
recordings' own figures stand beside (their spread is that of different sentences). OUT gets the readings.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from own_voice import RATE, SENTENCES, level

from voicewright.audio.files import read
from voicewright.audio.pitch import f0
from voicewright.engines.styles import StyleSampling
from voicewright.engines.torch_engine import TorchEngine
from voicewright.listen.artefacts import listen_for_artefacts, pooled
from voicewright.listen.campplus import CamEncoder
from voicewright.listen.dvector import DVector
from voicewright.listen.quality import DistillMos
from voicewright.listen.recogniser import choose
from voicewright.listen.speaker import mean_voice
from voicewright.listen.words import count_errors

WAYS = {
    "voicepack": None,
    "mixed .3 / .7": StyleSampling(),
    "drawn": StyleSampling(alpha=1.0, beta=1.0),
    "drawn, scale 2": StyleSampling(alpha=1.0, beta=1.0, embedding_scale=2.0),
}
POINTS = 50
"""Of a pitch curve stretched to one length."""


def semitones(clip: np.ndarray) -> np.ndarray:
    """Pitch where it is voiced; one value where it never is."""
    curve = f0(clip)
    voiced = curve[curve > 0]
    return 12 * np.log2(voiced / 100) if len(voiced) else np.zeros(1)


def spread(readings: Sequence[Sequence[np.ndarray]]) -> tuple[float, float, float]:
    """Over the readings of each sentence: median pitch, length, curve; see above."""
    medians, lengths, curves = [], [], []
    for clips in readings:
        pitch = [semitones(clip) for clip in clips]
        medians.append(np.std([np.median(curve) for curve in pitch]))
        lengths.append(100 * np.std([len(clip) for clip in clips]) / np.mean([len(clip) for clip in clips]))
        even = [np.interp(np.linspace(0, 1, POINTS), np.linspace(0, 1, len(p)), p) for p in pitch]
        even = [curve - np.median(curve) for curve in even]
        curves.append(np.mean(np.std(even, axis=0)))
    return float(np.mean(medians)), float(np.mean(lengths)), float(np.mean(curves))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("recordings", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--sentences", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=6)
    given = parser.parse_args()
    texts = SENTENCES[: given.sentences]
    rows = [line.split("|") for line in (given.recordings / "metadata.csv").read_text("utf-8").splitlines()]
    found = {
        path.stem: path for path in given.recordings.rglob("*.*") if path.suffix in (".wav", ".flac", ".ogg")
    }
    own = [level(read(found[row[0]])) for row in rows[:20]]
    encoders = (DVector(), CamEncoder())
    voices = [mean_voice(np.stack([encoder.embed(clip) for clip in own])) for encoder in encoders]
    recogniser, quality = choose("auto", "en-us").ready().open(), DistillMos()

    def sound(clips: Sequence[np.ndarray], said: Sequence[str]) -> str:
        heard = recogniser.transcribe_many(clips)
        errors = [count_errors(text, words, "en-us") for text, words in zip(said, heard, strict=True)]
        wer = sum(e.word_errors for e in errors) / sum(e.words for e in errors)
        like = [
            np.mean([encoder.embed(clip) @ voice for clip in clips])
            for encoder, voice in zip(encoders, voices, strict=True)
        ]
        faults = pooled([listen_for_artefacts(clip, f0(clip)) for clip in clips])
        mos = [quality.score(clip) for clip in clips]
        return (
            f"{wer:.3f} | {np.mean(mos):.2f} (least {min(mos):.2f}) | {like[0]:.2f} / {like[1]:.2f} | "
            f"{faults['echo_25']:.3f} / {faults['lines']:.1f}"
        )

    print("| | pitch | length | curve | WER | MOS | d-vector / CAM++ | echo / lines |")
    print("|---|---|---|---|---|---|---|---|")
    medians = [np.median(semitones(clip)) for clip in own]
    print(f"| recordings | {np.std(medians):.2f} | | | {sound(own, [row[1] for row in rows[:20]])} |")
    given.out.mkdir(parents=True, exist_ok=True)
    for way, styles in WAYS.items():
        engine = TorchEngine(given.model, styles=styles)
        readings = [[engine.speak(text, seed=seed).samples for seed in range(given.seeds)] for text in texts]
        for number, clips in enumerate(readings[:2]):
            for seed, clip in enumerate(clips):
                name = f"{way.replace(' ', '_').replace('/', '-')}-{number}-{seed}.wav"
                soundfile.write(given.out / name, clip, RATE)
        flat = [level(clip) for clips in readings for clip in clips]
        said = [text for text in texts for _ in range(given.seeds)]
        pitch, length, curve = spread(readings)
        print(f"| {way} | {pitch:.2f} | {length:.1f} % | {curve:.2f} | {sound(flat, said)} |", flush=True)


if __name__ == "__main__":
    main()
