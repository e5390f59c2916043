"""Batches of slices as a pure function of (seed, stage, step), clips of like length together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from voicewright.errors import VoicewrightError
from voicewright.model.share import WHOLE, Part, Share
from voicewright.rvc.network.losses import spectrogram
from voicewright.rvc.train.features import FRAMES, Slice

BUCKET = 100
"""Frames: clips whose lengths fall into the same hundred share batches."""


@dataclass
class VoiceBatch:
    """B slices, T frames of 10 ms, zeros beyond a slice's end.

    phone [B, T, width], lengths [B], pitch [B, T] bins (int64), f0 [B, T] Hz, spectrum [B, bins, T],
    audio [B, T · hop], speaker [B].
    """

    phone: Tensor
    lengths: Tensor
    pitch: Tensor
    f0: Tensor
    spectrum: Tensor
    audio: Tensor
    speaker: Tensor
    share: Share = WHOLE

    def part(self, share: Part) -> VoiceBatch:
        """The slices of a part."""
        rows = torch.tensor(share.rows)
        return VoiceBatch(**{name: value[rows] for name, value in self._tensors().items()}, share=share)

    def to(self, device: torch.device) -> VoiceBatch:
        moved = {name: value.to(device, non_blocking=True) for name, value in self._tensors().items()}
        return VoiceBatch(**moved, share=self.share)

    def _tensors(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}


class VoiceSampler:
    """`batch(step)` is deterministic; an epoch shows every slice once, and fills its last batches up."""

    unit = 1
    """What a clip takes of the batch's budget."""

    def __init__(
        self,
        slices: Sequence[Slice],
        *,
        seed: int,
        stage: int,
        clips: int,
        rate: int,
        n_fft: int,
        speakers: Sequence[str],
        coarse: Callable[[NDArray[np.float32]], NDArray[np.integer]],
    ) -> None:
        if not slices:
            raise VoicewrightError("There is nothing to train on: no slice of the corpus is long enough.")
        self.slices, self.seed, self.stage, self.clips = slices, seed, stage, clips
        self.rate, self.hop, self.n_fft = rate, rate // FRAMES, n_fft
        self.speakers = {name: number for number, name in enumerate(speakers)}
        self.coarse = coarse
        lengths = np.array([s.frames for s in slices])
        self.buckets = [np.flatnonzero(lengths // BUCKET == b) for b in np.unique(lengths // BUCKET)]
        self.epoch_steps = sum(-(-len(b) // clips) for b in self.buckets)
        self._epoch: tuple[int, list[NDArray[np.int64]]] = (-1, [])

    def _rng(self, *path: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, self.stage, *path])

    def _batches(self, epoch: int) -> list[NDArray[np.int64]]:
        if self._epoch[0] != epoch:
            rng = self._rng(0, epoch)
            found: list[NDArray[np.int64]] = []
            for bucket in self.buckets:
                order = rng.permutation(bucket)
                more = rng.choice(bucket, -len(bucket) % self.clips)
                found += list(np.concatenate([order, more]).reshape(-1, self.clips))
            self._epoch = (epoch, [found[i] for i in rng.permutation(len(found))])
        return self._epoch[1]

    def indices(self, step: int) -> NDArray[np.int64]:
        """Which slices make up the batch of this step (0-based within the stage)."""
        return self._batches(step // self.epoch_steps)[step % self.epoch_steps]

    def heaviest(self) -> int:
        """The step of the first epoch whose batch is longest."""
        return max(range(self.epoch_steps), key=lambda s: max(self.slices[i].frames for i in self.indices(s)))

    def batch(self, step: int, clips: int | None = None) -> VoiceBatch:
        """The batch of one step; `clips` cuts it down (for memory probing)."""
        chosen = [self.slices[i] for i in self.indices(step)[:clips]]
        longest = max(s.frames for s in chosen)
        rows = [self._row(s, longest) for s in chosen]
        stacked: dict[str, Any] = {key: torch.stack([row[key] for row in rows]) for key in rows[0]}
        return VoiceBatch(
            lengths=torch.tensor([s.frames for s in chosen]),
            speaker=torch.tensor([self.speakers[s.speaker] for s in chosen]),
            **stacked,
        )

    def _row(self, s: Slice, longest: int) -> dict[str, Tensor]:
        stored = s.load()
        frames, rest = s.frames, longest - s.frames
        audio = torch.from_numpy(stored["samples"])
        # Of the whole slice, then cut: only so do its last frames see the sound that goes on.
        spectrum = spectrogram(audio.unsqueeze(0), self.n_fft, self.hop)[0, :, :frames]
        f0 = stored["f0"][:frames]
        phone = np.repeat(stored["phone"].astype(np.float32), 2, axis=0)[:frames]
        return {
            "phone": torch.from_numpy(np.pad(phone, ((0, rest), (0, 0)))),
            "pitch": torch.from_numpy(np.pad(self.coarse(f0).astype(np.int64), (0, rest))),
            "f0": torch.from_numpy(np.pad(f0, (0, rest))),
            "spectrum": torch.nn.functional.pad(spectrum, (0, rest)),
            "audio": torch.nn.functional.pad(audio[: frames * self.hop], (0, rest * self.hop)),
        }
