"""Teaches `listen/ear.py`'s small speaker encoder.

    python benchmarks/train_ear.py READERS VOICEPACKS --output ear.safetensors [--steps 2000] [--test FOLDER]

READERS: a folder of recordings, one reader each (LibriSpeech's); VOICEPACKS: Kokoro's, each of which speaks a
few sentences. --test: a folder with `metadata.csv` (id|text|speaker), to print the equal error rate of clips
of speakers it never heard, beside the other two encoders'.
"""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path

import numpy as np
import soxr
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from voicewright.audio.files import read
from voicewright.engines.torch_engine import TorchEngine
from voicewright.listen.dvector import DVector
from voicewright.listen.ear import EAR, EarNetwork, ear_mel, ear_vector
from voicewright.listen.speaker import SpeakerEncoder

SENTENCES = (
    "The birch canoe slid on the smooth planks, and nobody on the shore had seen it leave.",
    "She asked whether the old clock in the hall would ever strike eleven again.",
    "Rice is often served in round bowls, but my cousin prefers a plate of blue china.",
    "If you wait until Thursday, the train to the coast costs only half as much.",
    "What a strange idea! Five foxes quickly jumped over the lazy brown dog at noon.",
)
SPEEDS = (1.0, 0.88, 1.13, 1.25)
"""Played faster or slower, a reader is another one: pitch and tract move together."""
SEGMENT = 160


def clips(readers: Path, packs: Path) -> list[list[np.ndarray]]:
    """16 kHz clips by speaker."""
    found = [[read(path, 16_000)] for path in sorted(readers.rglob("*")) if path.suffix in (".flac", ".wav")]
    engine = TorchEngine("kokoro")
    for path in sorted(packs.glob("*.bin")):
        spoken = [engine.speak(text, path, language="en-us").samples for text in SENTENCES]
        found.append([soxr.resample(x, 24_000, 16_000).astype(np.float32) for x in spoken])
    return found


def spectra(readers: Path, packs: Path, cache: Path | None) -> list[list[np.ndarray]]:
    """Log-mels [frames, 40] by class: a speaker at one speed."""
    if cache is not None and cache.is_file():
        with np.load(cache) as found:
            classes = int(found["classes"])
            return [[found[key] for key in found.files if key.startswith(f"{n}_")] for n in range(classes)]
    mels = []
    for speaker in clips(readers, packs):
        for speed in SPEEDS:
            played = [x if speed == 1 else soxr.resample(x, 16_000 * speed, 16_000) for x in speaker]
            mels.append([ear_mel(x.astype(np.float32), 16_000) for x in played])
    if cache is not None:
        arrays = {f"{n}_{k}": mel for n, of in enumerate(mels) for k, mel in enumerate(of)}
        np.savez(cache, classes=np.array(len(mels)), **arrays)
    return mels


def equal_error(similar: list[float], different: list[float]) -> float:
    points = np.sort(np.array(similar + different))
    misses = np.array([np.mean(np.array(similar) < x) for x in points])
    alarms = np.array([np.mean(np.array(different) >= x) for x in points])
    at = int(np.argmin(np.abs(misses - alarms)))
    return float((misses[at] + alarms[at]) / 2)


def test(network: EarNetwork, folder: Path) -> None:
    rows = [line.split("|") for line in (folder / "metadata.csv").read_text().splitlines()]
    by_id = {path.stem: path for path in folder.rglob("*") if path.suffix in (".flac", ".wav")}
    sounds = [(row[2], read(by_id[row[0]])[: 24_000 * 4]) for row in rows if row[0] in by_id]
    first, second = SpeakerEncoder(), DVector()
    for name, embed in (
        ("this", lambda x: ear_vector(network, x)),
        ("Resemblyzer", first.embed),
        ("d-vector", second.embed),
    ):
        vectors = [(who, embed(sound)) for who, sound in sounds]
        same, other = [], []
        for (a, x), (b, y) in itertools.combinations(vectors, 2):
            (same if a == b else other).append(float(x @ y))
        print(f"{name}: equal error rate {equal_error(same, other):.3f}", flush=True)


def batch(mels: list[list[np.ndarray]], size: int, draw: np.random.Generator) -> tuple[Tensor, Tensor]:
    labels = draw.integers(0, len(mels), size)
    rows = []
    for label in labels:
        mel = mels[label][int(draw.integers(len(mels[label])))]
        at = int(draw.integers(0, max(1, len(mel) - SEGMENT)))
        part = np.resize(mel[at : at + SEGMENT], (SEGMENT, 40))
        bands = np.linspace(-1, 1, 40)
        slope = draw.normal(0, 1.0) * bands + draw.normal(0, 0.7) * bands**2
        noise = part.max() - draw.uniform(4, 14) + draw.normal(0, 1.0) * bands
        part = np.logaddexp(part + slope, noise + draw.gumbel(0, 0.4, part.shape))
        if draw.random() < 0.3:
            part[:, int(draw.integers(26, 40)) :] = part.min()
        rows.append(part)
    return torch.from_numpy(np.stack(rows).astype(np.float32)), torch.from_numpy(labels)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("readers", type=Path)
    parser.add_argument("packs", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--cache", type=Path, help="Keep the spectra in this .npz file.")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--size", type=int, default=64, help="Clips in a batch.")
    parser.add_argument("--test", type=Path)
    options = parser.parse_args()
    torch.manual_seed(0)
    draw = np.random.default_rng(0)
    mels = spectra(options.readers, options.packs, options.cache)
    print(f"{len(mels)} classes", flush=True)
    network, centres = EarNetwork(), nn.Parameter(F.normalize(torch.randn(len(mels), EAR), dim=1))
    optimizer = torch.optim.AdamW([*network.parameters(), centres], 2e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, options.steps, pct_start=0.1)
    began, losses = time.monotonic(), []
    for step in range(1, options.steps + 1):
        x, labels = batch(mels, options.size, draw)
        cosines = network(x) @ F.normalize(centres, dim=1).T
        margin = F.one_hot(labels, len(mels)) * (0.2 * min(1.0, step / 700))
        loss = F.cross_entropy(24 * (cosines - margin), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
        if step % 250 == 0:
            print(f"{step}: {np.mean(losses[-250:]):.3f}, {time.monotonic() - began:.0f} s", flush=True)
            if options.test and step % 500 == 0:
                test(network.eval(), options.test)
                network.train()
    state = network.state_dict()
    halves = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    save_file(halves, options.output)


if __name__ == "__main__":
    main()
