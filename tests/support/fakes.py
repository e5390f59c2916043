"""Small stand-ins for tests: a narrow model configuration, and features of harmonic tones."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from voicewright.audio.mel import LogMel, energy
from voicewright.corpus.features import Features
from voicewright.model.config import ModelConfig
from voicewright.text.vocab import KOKORO
from voicewright.training.recipe import Recipe


def narrow_config(**extension: Any) -> ModelConfig:
    """Kokoro's graph at a few ten thousand parameters."""
    return ModelConfig.model_validate(
        {
            "hidden_dim": 32,
            "n_layer": 1,
            "plbert": {
                "hidden_size": 32,
                "num_attention_heads": 2,
                "intermediate_size": 64,
                "num_hidden_layers": 1,
            },
            "istftnet": {
                "upsample_rates": [10],
                "upsample_kernel_sizes": [20],
                "gen_istft_n_fft": 120,
                "gen_istft_hop_size": 30,
                "upsample_initial_channel": 32,
                "resblock_kernel_sizes": [3],
                "resblock_dilation_sizes": [[1, 3]],
            },
            "vocab": dict(KOKORO),
            "voicewright": {
                "decoder_channels": 32,
                "decoder_residual": 8,
                "bert_embedding": 16,
                "excitation": "pulse",
                "source_stft": "cartesian",
                "noise_kernel": 3,
                "style_encoder": {"channels": 4, "max_channels": 8},
                **extension,
            },
        }
    )


def tone_features(index: int, speaker: str = "tone") -> Features:
    """An utterance of steady tones, one a token, between silent pads; all fields agree with each other."""
    rng = np.random.default_rng([3, index])
    count = int(rng.integers(12, 24))
    tokens = rng.choice([43, 47, 51, 57, 63], count).astype(np.int64)
    tokens[[0, -1]] = 0
    durations = rng.integers(2, 6, count).astype(np.int64)
    durations[[0, -1]] = 6
    frames = int(durations.sum())
    pitch = np.where(tokens > 0, 120.0 + 2 * tokens, 0.0)
    f0 = np.repeat(pitch, 2 * durations).astype(np.float32)
    phase = 2 * np.pi * np.cumsum(np.repeat(f0, 300)) / 24_000
    wave = sum(np.sin(k * phase) / k for k in range(1, 6)) * 0.1 * (np.repeat(f0, 300) > 0)
    samples = (np.asarray(wave) * 32767).astype(np.int16)
    mel = LogMel("styletts2")(torch.from_numpy(samples.astype(np.float32) / 32768))[:, : 2 * frames]
    return Features(
        id=f"t{index:04d}",
        speaker=speaker,
        tokens=tokens,
        durations=durations,
        confidence=1.0,
        f0=f0,
        energy=energy(mel).numpy(),
        mel=mel.half().numpy(),
        samples=samples,
    )


def with_diffusion(recipe: Recipe, steps: int = 5) -> Recipe:
    """The recipe with a last stage that teaches style diffusion."""
    data = recipe.model_dump(mode="json")
    stage = {
        "stage": "diffusion",
        "steps": steps,
        "batch_frames": 160,
        "optimizer": {"learning_rate": 2e-3, "warmup": 2},
        "losses": {"denoising": 1},
    }
    sizes = {"layers": 1, "heads": 2, "head_features": 4, "multiplier": 1}
    return Recipe.model_validate(data | {"diffusion": sizes, "stages": [*data["stages"], stage]})


def small_recipe(**changes: Any) -> Recipe:
    """All three stages, a few steps each, adversarial phases included."""
    step = {"learning_rate": 2e-3, "warmup": 2}
    sound = {"mel": 1, "stft": 1, "convergence": 1, "adversarial": 1, "features": 1}
    prosody = {"duration": 1, "duration_ce": 20, "f0": 1, "energy": 1, "adversarial": 0.1, "features": 0.1}
    crop = {"crop": 24, "window": 16, "batch_frames": 48, "optimizer": step, "discriminator": step}
    stages = [
        {"stage": "acoustic", "steps": 6, "gan_start": 3, "losses": sound, **crop},
        {
            "stage": "prosody",
            "steps": 5,
            "gan_start": 2,
            "losses": prosody,
            "batch_frames": 160,
            "optimizer": step,
            "discriminator": step,
        },
        {"stage": "joint", "steps": 5, "gan_start": 1, "losses": sound | prosody, **crop},
    ]
    data: dict[str, Any] = {
        "name": "small",
        "model": narrow_config().model_dump(),
        "precision": "fp32",
        "log_every": 1,
        "checkpoint_every": 2,
        "preview_every": 10**9,
        "judge": {"every": 8, "sentences": 2, "keep": 2},
        "discriminators": {
            "periods": [2, 3],
            "period_channels": [4, 8],
            "resolutions": [[512, 128]],
            "spectrogram_channels": 4,
            "per_step": 2,
        },
        "stages": stages,
        "split": {"every": 6},
    }
    return Recipe.model_validate(data | changes)
