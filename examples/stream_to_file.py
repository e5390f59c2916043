"""Write a long text's speech while it is being made, with captions beside it, in constant memory.

python examples/stream_to_file.py book.txt book.flac book.srt
"""

from __future__ import annotations

import sys
from itertools import chain
from pathlib import Path

from voicewright.audio.writer import AudioWriter
from voicewright.engines.timestamps import Rows
from voicewright.engines.torch_engine import TorchEngine


def main(text: str, audio: str, captions: str) -> None:
    engine = TorchEngine()
    parts = engine.stream(Path(text).read_text("utf-8"))
    first = next(parts)  # a text with nothing to speak fails here, before any file is opened
    writer = AudioWriter(Path(audio), first.sample_rate)
    rows = Rows(Path(captions).suffix, first.sample_rate)
    seconds = 0.0
    try:
        with Path(captions).open("w", encoding="utf-8") as times:
            times.write(rows.begin())
            for part in chain([first], parts):
                writer.write(part.samples)
                seconds = part.start + part.seconds
                for chunk in part.chunks:
                    times.write(rows.chunk(chunk))
            times.write(rows.end(seconds))
        writer.commit()
    finally:
        writer.discard()  # nothing to do once it is committed
    print(f"{seconds:.2f} s of speech")


if __name__ == "__main__":
    main(*sys.argv[1:4])
