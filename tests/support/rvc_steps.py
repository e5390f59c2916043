"""Inputs and weights of RVC's training step that anyone can make again, for our loop and for upstream's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from rvc_fakes import small
from rvc_weights import filled
from torch import Tensor, nn

from voicewright.rvc.network.losses import spectrogram
from voicewright.rvc.train.batches import VoiceBatch
from voicewright.rvc.train.recipe import VoiceRecipe
from voicewright.rvc.train.task import Converting, VoiceNetworks
from voicewright.training.loop import Trainer

FRAMES = 40


def fill(module: nn.Module, seed: int) -> None:
    """Discriminators' weights: normal numbers, directions as they come, lengths about 1, biases small."""
    for number, (name, parameter) in enumerate(sorted(module.named_parameters())):
        rng = np.random.default_rng([seed, number])
        x = torch.from_numpy(rng.standard_normal(tuple(parameter.shape), dtype=np.float32))
        with torch.no_grad():
            if name.endswith("weight_v"):
                parameter.copy_(x)
            else:
                parameter.copy_(1 + 0.2 * x if name.endswith("weight_g") else 0.1 * x)


def sounds(count: int = 12_800) -> tuple[Tensor, Tensor]:
    """Two noisy tones [2, count] as recordings, two others as what was made."""
    rng = np.random.default_rng(7)
    time = np.arange(count) / 40_000
    pairs = []
    for pitches, level, noise in (((150, 220), 0.3, 0.05), ((151, 210), 0.25, 0.08)):
        tones = np.stack([level * np.sin(2 * np.pi * f * time) for f in pitches])
        pairs.append(torch.from_numpy((tones + noise * rng.standard_normal((2, count))).astype(np.float32)))
    return pairs[0], pairs[1]


def recipe() -> VoiceRecipe:
    """Upstream's losses, optimizers and full discriminators over a narrow v1 synthesizer at 40 kHz."""
    optimizer = {"decay": 0.9, "decay_every": 1}
    losses = {"mel": 45, "kl": 1, "adversarial": 1, "features": 2}
    return small(
        rate="40k",
        narrow_critics=1,
        ema=0.0,
        synthesizer={
            "inter": 16,
            "hidden": 16,
            "filter": 32,
            "layers": 2,
            "initial_channels": 64,
            "gin": 8,
            "speakers": 3,
            "segment_frames": 8,
        },
        stages=[
            {"steps": 8, "clips": 2, "optimizer": optimizer, "discriminator": optimizer, "losses": losses}
        ],
    )


def loop(folder: Path) -> Trainer:
    plan = recipe()
    networks = VoiceNetworks(plan.config)
    shapes = {name: tuple(value.shape) for name, value in networks.synthesizer.state_dict().items()}
    networks.synthesizer.load_state_dict(filled(shapes))
    task = Converting(plan, networks, [], [], ["a", "b", "c"], lambda f0: np.ones(len(f0), np.int64))
    made = Trainer(task, folder, torch.device("cpu"), fingerprint="x", line=print)
    fill(made.learners.discriminators["waveform"], 3)
    made.enter_stage()
    return made


def batch(plan: VoiceRecipe, step: int) -> VoiceBatch:
    rng = np.random.default_rng([2, step])
    config = plan.config
    lengths = torch.tensor([FRAMES, FRAMES - 6])
    audio = torch.from_numpy((0.1 * rng.standard_normal((2, FRAMES * config.hop))).astype(np.float32))
    audio[1, int(lengths[1]) * config.hop :] = 0
    voiced = rng.random((2, FRAMES)) < 0.7
    f0 = torch.from_numpy(np.where(voiced, rng.uniform(100, 300, (2, FRAMES)), 0).astype(np.float32))
    return VoiceBatch(
        phone=torch.from_numpy(rng.standard_normal((2, FRAMES, config.phone_width)).astype(np.float32)),
        lengths=lengths,
        pitch=(f0 / 4).long().clamp(1, 255),
        f0=f0,
        spectrum=spectrogram(audio, plan.n_fft, config.hop),
        audio=audio,
        speaker=torch.tensor([0, 2]),
    )
