"""A small speaker encoder of our own: the ear that says when a fit is done, which neither steers nor reports.

x-vector shaped (Snyder et al. 2018): dilated convolutions over log-mels without their mean, mean and spread
over time, a unit vector [64]. Taught on 251 readers of LibriSpeech (CC BY 4.0) and Kokoro's own voices, at
four speeds each, disguised by noise, slope and bandwidth (`benchmarks/train_ear.py`; its card lies beside the
weights). It is weaker than the two that others taught; its errors are its own, which is what it is for.
"""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from safetensors.torch import load
from torch import Tensor, nn
from torch.nn import functional as F

from voicewright.config import SAMPLE_RATE
from voicewright.errors import VoicewrightError
from voicewright.listen.dvector import log_mel
from voicewright.listen.speaker import SPEAKER_RATE, Samples, speech_only

EAR = 64
WINDOW = 200
"""Mel frames (2 s) looked at together."""


class EarNetwork(nn.Module):
    """forward: log-mels [B, frames, 40] → unit vectors [B, 64]."""

    def __init__(self, width: int = 160) -> None:
        super().__init__()
        sizes = ((40, width, 5, 1), (width, width, 3, 2), (width, width, 3, 3), (width, width, 3, 4))
        self.layers = nn.ModuleList(
            nn.Conv1d(inputs, outputs, kernel, dilation=dilation, padding=dilation * (kernel // 2))
            for inputs, outputs, kernel, dilation in sizes
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(outputs) for _, outputs, _, _ in sizes)
        self.wide = nn.Conv1d(width, 2 * width, 1)
        self.out = nn.Linear(4 * width, EAR)

    def forward(self, mels: Tensor) -> Tensor:
        x = mels.transpose(1, 2)
        x = x - x.mean(2, keepdim=True)
        for number, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            y = norm(F.relu(layer(x)))
            x = x + y if number else y
        x = F.relu(self.wide(x))
        pooled = torch.cat([x.mean(2), x.std(2)], dim=1)
        return F.normalize(self.out(pooled), dim=1)


class Ear:
    """The shipped one. The dot product of two vectors is a similarity, about 0 for strangers."""

    name = "voicewright ear"
    strangers = "ear"

    def __init__(self) -> None:
        place = files("voicewright.listen").joinpath("data/ear.safetensors")
        try:
            state = load(place.read_bytes())
        except OSError as error:
            raise VoicewrightError(f"{place} cannot be read: install voicewright again.") from error
        network = EarNetwork()
        network.load_state_dict({name: value.float() for name, value in state.items()})
        self._network = network.eval().requires_grad_(False)

    def embed(self, samples: Samples, rate: int = SAMPLE_RATE) -> NDArray[np.float32]:
        """Unit vector [64] of one clip (float32 mono). Raises VoicewrightError for a silent clip."""
        return ear_vector(self._network, samples, rate)


def ear_mel(samples: Samples, rate: int = SAMPLE_RATE) -> NDArray[np.float32]:
    """Log-mel [frames, 40] of a clip's speech. Raises VoicewrightError for a silent clip."""
    clip = np.nan_to_num(np.asarray(samples, np.float32).reshape(-1))
    if rate != SPEAKER_RATE and clip.size:
        clip = soxr.resample(clip, rate, SPEAKER_RATE).astype(np.float32)
    peak = float(np.abs(clip).max(initial=0.0))
    if peak < 1e-6:
        raise VoicewrightError("A silent clip has no speaker: leave it out of the comparison.")
    clip = speech_only(clip / peak * np.float32(0.7))
    mel = log_mel(np.pad(clip, (0, max(0, 16_000 - len(clip)))))
    return np.maximum(mel, mel.max() - 12.0)


def ear_vector(network: EarNetwork, samples: Samples, rate: int = SAMPLE_RATE) -> NDArray[np.float32]:
    mel = ear_mel(samples, rate)
    if len(mel) <= WINDOW:
        windows = [mel]
    else:
        windows = [mel[at : at + WINDOW] for at in range(0, len(mel) - WINDOW + 1, WINDOW // 2)]
    with torch.inference_mode():
        mean = network(torch.from_numpy(np.stack(windows))).mean(0).numpy()
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-9), np.float32)
