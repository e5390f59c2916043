"""Mix voices, write the mix as a voicepack that Kokoro's tools open, and speak with it.

python examples/blend_voices.py "kathleen(2)+packs/other.bin" mixed.pt mixed.wav
"""

from __future__ import annotations

import sys
from pathlib import Path

from voicewright.audio.files import write
from voicewright.engines.torch_engine import TorchEngine
from voicewright.voices.blend import parse, read_mix
from voicewright.voices.sources import shelf_of


def main(words: str, pack_file: str, output: str) -> None:
    engine = TorchEngine()
    mix = parse(words, shelf_of(engine.model_path))  # names of the model's voices, and files
    pack = read_mix(mix)
    pack.write(Path(pack_file))
    speech = engine.speak("This is a mix of voices.", voice=pack)
    write(Path(output), speech.samples, speech.sample_rate)
    for term, share in zip(mix.terms, mix.shares, strict=True):
        print(f"{share:6.2f}  {term.name}")


if __name__ == "__main__":
    main(*sys.argv[1:4])
