"""Speak a text into a file and say when each word begins.

python examples/speak.py "Good morning." morning.wav
"""

from __future__ import annotations

import sys
from pathlib import Path

from voicewright.audio.files import write
from voicewright.engines.torch_engine import TorchEngine


def main(text: str, output: str) -> None:
    engine = TorchEngine()  # the embedded voice; TorchEngine("models/mine") for another
    speech = engine.speak(text, speed=1.0, seed=0)
    write(Path(output), speech.samples, speech.sample_rate)
    for chunk in speech.chunks:
        for word in chunk.words:
            print(f"{word.start:6.2f} s  {word.text}")


if __name__ == "__main__":
    main(*sys.argv[1:3])
