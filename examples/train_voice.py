"""Prepare a folder of recordings and train a voice on it, in Python.

    python examples/train_voice.py recordings/ recipes/finetune.yaml work/

`recordings/` holds audio files with a text file of the same name beside each, or a metadata.csv. The voice is
then spoken by `TorchEngine("work/run")`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from voicewright.catalogue.places import embedded_model
from voicewright.corpus.prepare import prepare, render
from voicewright.training.run import train


def main(recordings: str, recipe: str, folder: str) -> None:
    corpus, run = Path(folder) / "corpus", Path(folder) / "run"
    summary = prepare(Path(recordings), corpus, licence="mine", consent="by the speaker")
    print(render(summary))
    result = train(Path(recipe), corpus, run, device="cpu", embedded=embedded_model())
    print(result.model)


if __name__ == "__main__":
    main(*sys.argv[1:4])
