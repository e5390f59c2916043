"""Write `voicewright/voices/data/kokoro.json` from a folder of Kokoro's public voicepacks.

VOICEWRIGHT_VOICEPACKS=packs/ python benchmarks/voice_geometry.py
"""

from __future__ import annotations

import os
from pathlib import Path

from voicewright.voices.geometry import Geometry
from voicewright.voices.pack import Voicepack

TARGET = Path(__file__).resolve().parents[1] / "voicewright" / "voices" / "data" / "kokoro.json"


def main() -> None:
    paths = sorted(Path(os.environ["VOICEWRIGHT_VOICEPACKS"]).glob("*.bin"))
    geometry = Geometry.of("Kokoro 1.0", [Voicepack.read(path).rows for path in paths])
    TARGET.write_text(geometry.as_json(), "utf-8")
    print(f"{TARGET.name}: {geometry.packs} packs, {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
