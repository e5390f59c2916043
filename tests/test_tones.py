"""The loss on constant tones: sound with a preferred phase at the generator's frame rate loses."""

from __future__ import annotations

import math

import torch

from voicewright.config import SAMPLE_RATE
from voicewright.model.tones import tone_loss

HOP = 30


def noise(seed: int = 0) -> torch.Tensor:
    return torch.randn(4, 24_000, generator=torch.Generator().manual_seed(seed)) * 1e-3


def tone(hertz: float, level: float = 1e-3) -> torch.Tensor:
    return level * torch.cos(2 * math.pi * hertz / SAMPLE_RATE * torch.arange(24_000)).expand(4, -1)


def test_noise_costs_nearly_nothing_and_a_tone_hidden_in_it_does() -> None:
    quiet = tone_loss(noise(), HOP)
    assert quiet < 0.2
    # A frame rate of 800 Hz; alternating frames give odd multiples of 400 Hz.
    for hertz in (2800.0, 5600.0):
        assert tone_loss(noise() + tone(hertz), HOP) > quiet + 0.5
    # A tone that frames cannot make by standing still is another loss's business.
    assert tone_loss(noise() + tone(2930.0), HOP) < 0.3


def test_a_tone_in_a_pause_is_heard_beside_loud_speech() -> None:
    whole = noise() + tone(5600.0)
    whole[:, :12_000] += noise(1)[:, :12_000] * 10
    assert tone_loss(whole, HOP) > tone_loss(noise(2), HOP) + 0.1


def test_gradient_takes_the_tone_away() -> None:
    audio = (noise() + tone(5600.0)).requires_grad_()
    before = tone_loss(audio, HOP)
    before.backward()
    assert audio.grad is not None and audio.grad.isfinite().all()
    step = 1e-4 * audio.grad / audio.grad.abs().max()
    assert tone_loss(audio.detach() - step, HOP) < before


def test_silence_is_no_tone_and_gives_no_nan() -> None:
    silent = torch.zeros(2, 24_000, requires_grad=True)
    loss = tone_loss(silent, HOP)
    loss.backward()
    assert loss == 0 and silent.grad is not None and silent.grad.isfinite().all()
