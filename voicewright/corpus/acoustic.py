"""What is measured on a clip's sound alone: samples, mel, F0, energy; stored in shards of a few dozen clips.

Run as a module it is the worker that `voicewright.corpus.features` starts: one JSON job a line on standard
input, the shard's name on standard output when it is written. A process of its own needs no cooperation
from the caller's script, which pools of the standard library do.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import save

from voicewright.audio.files import read, write_atomically
from voicewright.audio.mel import LogMel, energy
from voicewright.audio.pitch import f0
from voicewright.corpus.phones import PAD_FRAMES
from voicewright.errors import VoicewrightError
from voicewright.units import FRAME, SAMPLE_RATE

VERSION = "acoustic-1"
"""Part of every shard: raise it when anything below gives other numbers."""
SHARD = 64
_TYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "I16": np.dtype(np.int16),
}


@dataclass(frozen=True)
class Acoustic:
    """samples int16 [600F], mel float16 [80, 2F] ("styletts2" preset), f0 and energy float32 [2F]."""

    samples: npt.NDArray[np.int16]
    mel: npt.NDArray[np.float16]
    f0: npt.NDArray[np.float32]
    energy: npt.NDArray[np.float32]

    @property
    def frames(self) -> int:
        return len(self.samples) // FRAME


def pad(samples: npt.NDArray[np.floating]) -> npt.NDArray[np.int16]:
    """16-bit samples with digital silence around them, [600 F].

    Exactly 6 frames before; 7 after (the pad's 6 and one for final punctuation) and what the last frame
    lacks.
    """
    rest = -len(samples) % FRAME
    whole = np.pad(samples, (PAD_FRAMES * FRAME, rest + (PAD_FRAMES + 1) * FRAME))
    return np.clip(np.round(whole * 32768.0), -32768, 32767).astype(np.int16)


def measure(samples: npt.NDArray[np.floating], mel: LogMel) -> Acoustic:
    """Everything about one clip of 24 kHz samples [T] in -1..1; silence is added at both ends."""
    padded = pad(samples)
    wave = padded.astype(np.float32) / 32768.0
    count = 2 * (len(padded) // FRAME)
    with torch.no_grad():
        spectrum = mel(torch.from_numpy(wave))[:, :count]
        loudness = energy(spectrum)
    pitch = f0(wave, SAMPLE_RATE)[:count]
    return Acoustic(padded, spectrum.half().numpy(), pitch, loudness.numpy())


def write_shard(path: Path, clips: Mapping[str, Acoustic]) -> None:
    """Write clips under their keys to one safetensors file. Raises VoicewrightError when the disk refuses."""
    index = [[key, clip.frames] for key, clip in clips.items()]
    tensors = {
        "samples": np.concatenate([clip.samples for clip in clips.values()]),
        "mel": np.concatenate([clip.mel.ravel() for clip in clips.values()]),
        "f0": np.concatenate([clip.f0 for clip in clips.values()]),
        "energy": np.concatenate([clip.energy for clip in clips.values()]),
    }
    write_atomically(path, save(tensors, metadata={"version": VERSION, "clips": json.dumps(index)}))


def open_shard(path: Path) -> dict[str, Acoustic]:
    """The clips of a shard by key, as views of the mapped file: nothing is read before it is used.

    A shard of another version is empty. Raises VoicewrightError for a file that is damaged.
    """
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(size)) if size < 1 << 24 else {}
        meta = header["__metadata__"]
        if meta["version"] != VERSION:
            return {}
        raw = np.memmap(path, np.uint8, "r")
        flat: dict[str, npt.NDArray[Any]] = {}
        for name in ("samples", "mel", "f0", "energy"):
            start, stop = (8 + size + offset for offset in header[name]["data_offsets"])
            kind: np.dtype[Any] = _TYPES[header[name]["dtype"]]
            flat[name] = raw[start:stop].view(kind)
        clips: dict[str, Acoustic] = {}
        at = 0
        for key, frames in json.loads(meta["clips"]):
            grid = slice(2 * at, 2 * (at + frames))
            mel = flat["mel"][160 * at : 160 * (at + frames)].reshape(80, 2 * frames)
            samples = flat["samples"][FRAME * at : FRAME * (at + frames)].reshape(FRAME * frames)
            clips[key] = Acoustic(samples, mel, flat["f0"][grid], flat["energy"][grid])
            at += frames
        return clips
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise VoicewrightError(
            f"{path} is damaged ({error}); delete it and run the command again."
        ) from error


def work(jobs: Iterable[str]) -> None:
    """The worker: each job names a shard and its clips as [key, audio file]."""
    torch.set_num_threads(1)
    mel = LogMel("styletts2")
    for line in jobs:
        job = json.loads(line)
        clips: Sequence[tuple[str, str]] = job["clips"]
        write_shard(Path(job["shard"]), {key: measure(read(Path(file)), mel) for key, file in clips})
        print(job["shard"], flush=True)


def main() -> None:
    try:
        work(sys.stdin)
    except VoicewrightError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
