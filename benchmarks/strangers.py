"""The table of strangers: mean speaker vectors of a folder that holds one clip of each of many speakers.

    python benchmarks/strangers.py CLIPS > voicewright/listen/data/strangers.toml

The shipped one: 251 clips of LibriSpeech train-clean-100 (CC BY 4.0), a reader each, the first 7 seconds.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from voicewright.audio.files import read
from voicewright.listen.campplus import CamEncoder
from voicewright.listen.dvector import DVector
from voicewright.listen.speaker import Encoder, SpeakerEncoder
from voicewright.units import SAMPLE_RATE

NOTICE = """\
# Means of speaker vectors, made by benchmarks/strangers.py; what they are for: ../strangers.py.
# Derived from LibriSpeech (train-clean-100) by Vassil Panayotov, Guoguo Chen, Daniel Povey, Sanjeev Khudanpur
# (http://www.openslr.org/12), licensed under CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/): the
# first 7 seconds of one clip of each reader, embedded and averaged.
# Encoders: {encoders}."""


def main(folder: str) -> None:
    clips = sorted(path for path in Path(folder).iterdir() if path.suffix in (".flac", ".wav"))
    encoders: Sequence[Encoder] = (SpeakerEncoder(), DVector(), CamEncoder())
    samples = [read(path)[: 7 * SAMPLE_RATE] for path in clips]
    print(NOTICE.format(encoders="; ".join(encoder.name for encoder in encoders)))
    count = len(clips)
    print(f'name = "{count} readers of LibriSpeech train-clean-100, women and men"\ncount = {count}\n')
    print("[mean]")
    for encoder in encoders:
        mean = np.mean([encoder.embed(clip) for clip in samples], axis=0)
        values = [f"{value:.4f}" for value in mean]
        rows = [", ".join(values[start : start + 12]) for start in range(0, len(values), 12)]
        print(f"{encoder.strangers} = [\n    " + ",\n    ".join(rows) + ",\n]")


if __name__ == "__main__":
    main(*sys.argv[1:])
