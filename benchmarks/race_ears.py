"""What race.py's clips cost to the ear: words, quality, the speaker, and the distance to fp32.

    python benchmarks/race_ears.py --clips CLIPS [--reference kokoro]

Words by Whisper base (faster-whisper), quality by Distill-MOS, speaker similarity (a cosine) and log-spectral
distance to the same sentence by the reference engine. Every engine draws its own noise, so the
distance has a floor, which fp32 engines show.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
FRAME, HOP, FLOOR_DB = 1024, 256, 80.0


def spectra(samples: Any) -> Any:
    """Log power in dB, frames of 1024 every 256 samples; floor 80 dB below the loudest bin."""
    window = np.hanning(FRAME)
    frames = np.lib.stride_tricks.sliding_window_view(samples, FRAME)[::HOP] * window
    power = 10 * np.log10(np.abs(np.fft.rfft(frames, axis=1)) ** 2 + 1e-12)
    return np.maximum(power, power.max() - FLOOR_DB)


def distance(a: Any, b: Any) -> float | None:
    """Log-spectral distance in dB of two clips of one timing, best over shifts of up to 50 ms."""
    if abs(len(a) - len(b)) > 2400:
        return None
    best = None
    for shift in range(-1200, 1201, 60):
        x, y = (a[shift:], b) if shift >= 0 else (a, b[-shift:])
        count = min(len(x), len(y))
        p, q = spectra(x[:count]), spectra(y[:count])
        found = float(np.mean(np.sqrt(np.mean((p - q) ** 2, axis=1))))
        best = found if best is None else min(best, found)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--reference", default="kokoro")
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    from voicewright.listen.quality import DistillMos
    from voicewright.listen.recogniser import open_recogniser
    from voicewright.listen.speaker import SpeakerEncoder
    from voicewright.listen.words import count_errors

    ears, quality, speaker = open_recogniser("whisper"), DistillMos(), SpeakerEncoder()
    texts = [line for line in (ROOT / "benchmarks/data/race.txt").read_text().splitlines() if line]
    clips: dict[str, dict[int, Any]] = {}
    for path in sorted(options.clips.glob("*.npy")):
        name, _, number = path.stem.rpartition("-")
        clips.setdefault(name, {})[int(number)] = np.load(path)
    reference = clips[options.reference]
    print("| engine | clips | word errors | Distill-MOS | similarity to fp32 | distance to fp32, dB |")
    print("|---" * 6 + "|")
    for name, own in clips.items():
        numbers = sorted(set(own) & set(reference) & set(range(len(texts))))
        errors = [count_errors(texts[i], ears.transcribe(own[i])) for i in numbers]
        missed, words = sum(one.word_errors for one in errors), sum(one.words for one in errors)
        mos = statistics.mean(quality.score(own[i]) for i in numbers)
        alike = [float(np.dot(speaker.embed(own[i]), speaker.embed(reference[i]))) for i in numbers]
        far = [found for i in numbers if (found := distance(own[i], reference[i])) is not None]
        apart = f"{statistics.mean(far):.2f}" if far else "–"
        print(
            f"| {name.replace('_', ' ')} | {len(numbers)} | {missed / max(1, words):.3f} | {mos:.2f} | "
            f"{statistics.mean(alike):.3f} | {apart} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
