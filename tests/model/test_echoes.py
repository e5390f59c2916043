"""The loss on echoes: it hears what the ears hear, no pitch; its gradient takes echoes away."""

from __future__ import annotations

import numpy as np
import torch

from voicewright.listen.artefacts import listen_for_artefacts, pooled
from voicewright.model.echoes import LAGS, echo_levels, echo_loss

FRAMES = 66


def breath(seed: int = 0, frames: int = FRAMES) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(1, 600 * frames, generator=generator)


def buzz(hertz: float, seed: int = 0) -> torch.Tensor:
    time = torch.arange(600 * FRAMES) / 24_000
    wave = sum(torch.cos(2 * np.pi * hertz * k * time) / k for k in range(1, 30))
    return 0.1 * wave[None] + 0.02 * breath(seed)


def echoed(sound: torch.Tensor, lag: int, strength: float = 0.1) -> torch.Tensor:
    return sound + strength * torch.nn.functional.pad(sound, (lag, 0))[:, : sound.shape[1]]


def silent_pitch() -> torch.Tensor:
    return torch.zeros(1, 2 * FRAMES)


def test_an_echo_at_a_frame_or_half_of_one_costs() -> None:
    for lag in LAGS:
        assert echo_loss(echoed(breath(), lag), breath(1), silent_pitch()) > 0.5
        assert echo_loss(echoed(breath(), lag), echoed(breath(1), lag), silent_pitch()) < 0.3
        assert echo_loss(echoed(breath(), lag + 40), breath(1), silent_pitch()) < 0.3
    assert echo_loss(breath(), breath(1), silent_pitch()) < 0.3


def test_a_pitch_whose_period_lies_there_is_none() -> None:
    f0 = torch.full((1, 2 * FRAMES), 160.0)  # two periods in 12.5 ms
    assert echo_loss(buzz(160.0), breath(1), f0) == 0
    assert echo_loss(buzz(160.0), breath(1), silent_pitch()) > 1


def test_it_agrees_with_the_ear() -> None:
    """In units of the cepstrum the same as `listen/artefacts.py` sums up."""
    sound = echoed(breath(3), LAGS[1], 0.15)
    found = listen_for_artefacts(sound[0].numpy(), np.zeros(2 * FRAMES, np.float32))
    ear = found.echoes / found.echo_frames[:, None]
    assert torch.allclose(echo_levels(sound, silent_pitch())[0].double(), torch.from_numpy(ear), atol=2e-3)
    assert pooled([found])["echo_25"] == 0  # no pitch to compare with: the loss still hears it


def test_its_gradient_takes_the_echo_away_and_silence_has_none() -> None:
    sound = echoed(breath(), LAGS[1]).requires_grad_()
    before = echo_loss(sound, breath(1), silent_pitch())
    before.backward()
    assert sound.grad is not None
    step = 0.02 * sound.grad / sound.grad.abs().max()
    assert echo_loss(sound.detach() - step, breath(1), silent_pitch()) < before
    silent = torch.zeros(1, 600 * FRAMES, requires_grad=True)
    loss = echo_loss(silent, breath(1), silent_pitch())
    loss.backward()
    assert loss == 0 and silent.grad is not None and bool(torch.isfinite(silent.grad).all())
