"""Small stand-ins for RVC training: extractors that need no weights, and a narrow recipe of a few steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from voicewright.audio.pitch import f0 as world
from voicewright.rvc.train.features import Extractors
from voicewright.rvc.train.recipe import VoiceRecipe


def content(samples: np.ndarray) -> np.ndarray:
    """256 numbers a frame of 20 ms that tell of the spectrum's shape: a random view of 40 log bands."""
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(samples, 40), 400)[::320]
    power = np.abs(np.fft.rfft(frames * np.hanning(400), axis=1)) ** 2
    bands = np.log(np.add.reduceat(power, np.arange(0, 200, 5), axis=1) + 1e-5)
    view = np.random.default_rng(5).standard_normal((bands.shape[1], 256)) / 8
    return (bands @ view).astype(np.float32)


def pitch(samples: np.ndarray) -> np.ndarray:
    """WORLD's F0, taken from its 12.5 ms grid to RVC's 10 ms."""
    found = world(samples, 16_000)
    times = np.arange(len(samples) // 160 + 1) * 0.01
    return found[np.minimum(np.rint(times / 0.0125).astype(int), len(found) - 1)]


def coarse(f0: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(f0 / 4), 1, 255).astype(np.int64)


def extractors() -> Extractors:
    return Extractors(content, "bands", "bands", pitch, "world", coarse)


SYNTHESIZER: dict[str, Any] = {
    "inter": 16,
    "hidden": 16,
    "filter": 32,
    "layers": 1,
    "initial_channels": 64,
    "resblock_kernels": [3],
    "resblock_dilations": [[1, 3, 5]],
    "gin": 8,
    "speakers": 2,
    "segment_frames": 16,
}


def small(**changes: Any) -> VoiceRecipe:
    data: dict[str, Any] = {
        "name": "small",
        "kind": "rvc",
        "version": "v1",
        "rate": "32k",
        "synthesizer": SYNTHESIZER,
        "narrow_critics": 16,
        "content": "bands",
        "precision": "fp32",
        "ema": 0.9,
        "log_every": 1,
        "checkpoint_every": 2,
        "split": {"every": 4},
        "judge": {"every": 4, "sentences": 2, "keep": 2},
        "stages": [
            {
                "steps": 8,
                "clips": 2,
                "optimizer": {"learning_rate": 2e-3},
                "losses": {"mel": 45, "kl": 1, "adversarial": 1, "features": 2},
            }
        ],
    }
    return VoiceRecipe.model_validate(data | changes)
