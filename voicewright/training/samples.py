"""What a run lets hear: the same few held-out sentences at every judgement, the recordings beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from voicewright.audio.files import write
from voicewright.corpus.features import Features
from voicewright.corpus.sources import safe_id
from voicewright.model.checkpoint import load_model
from voicewright.training.batches import Batch
from voicewright.training.export import voice_name
from voicewright.training.loop import Trainer
from voicewright.units import SAMPLE_RATE
from voicewright.voices.pack import Voicepack

SAMPLES = 3
"""Held-out sentences that are spoken at every judgement."""


def speak_samples(trainer: Trainer[Batch], folder: Path, validation: Sequence[Features]) -> None:
    """Speak the same few held-out sentences, pitch and timing predicted, into the run's `samples` folder.

    The recordings lie beside them. TensorBoard gets the first two as often as the recipe previews.
    """
    model, _, _ = load_model(folder)
    model.eval()
    step = trainer.counters.total
    for number, f in enumerate(validation[:: max(1, len(validation) // SAMPLES)][:SAMPLES]):
        pack = Voicepack.read(folder / "voices" / f"{voice_name(f.speaker)}.safetensors")
        style = torch.from_numpy(pack.style(len(f.tokens) - 2)).unsqueeze(0)
        spoken = model.speak(
            torch.from_numpy(np.asarray(f.tokens)).unsqueeze(0),
            style,
            generator=torch.Generator().manual_seed(0),
        )
        made, real = spoken.audio.numpy(), (f.samples / 32768).astype(np.float32)
        write_sample(trainer.out, step, f.id, made, real, SAMPLE_RATE)
        if number < 2 and step % trainer.recipe.preview_every == 0:
            trainer.telemetry.preview(step, f.id, made, real)


def write_sample(
    out: Path, step: int, name: str, made: NDArray[np.float32], real: NDArray[np.float32], rate: int
) -> None:
    """`samples/step-…/NAME.wav` of a run, and once `samples/recordings/NAME.wav`."""
    for folder, samples in ((f"step-{step:08d}", made), ("recordings", real)):
        path = out / "samples" / folder / f"{safe_id(name)}.wav"
        if folder != "recordings" or not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path, np.asarray(samples, np.float32), rate)
