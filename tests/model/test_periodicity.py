"""The periodicity loss on signals with known answers."""

from __future__ import annotations

import torch

from voicewright.model.periodicity import BANDS, correlation, delayed, periodicity_loss, split_bands

F0 = torch.full((1, 80), 200.0)


def pulses(count: int = 24_000) -> torch.Tensor:
    audio = torch.zeros(1, count)
    audio[:, ::120] = 1.0
    return audio


def test_pulses_are_periodic_and_noise_is_not() -> None:
    torch.manual_seed(0)
    lag = torch.full((1, 24_000), 120.0)
    valid = torch.ones(1, 24_000, dtype=torch.bool)
    tone = correlation(split_bands(pulses()), lag, valid)[..., 4:-4]
    hiss = correlation(split_bands(torch.randn(1, 24_000)), lag, valid)[..., 4:-4]
    assert tone.min() > 0.99
    assert hiss[:, 1:].abs().mean() < 0.15


def test_loss_is_zero_for_equals_and_large_for_noise_in_place_of_pulses() -> None:
    torch.manual_seed(0)
    real = pulses()
    assert periodicity_loss(real, real, F0) == 0
    assert periodicity_loss(torch.randn(1, 24_000), real, F0) > 0.7


def test_gradient_makes_noise_more_periodic() -> None:
    torch.manual_seed(0)
    fake = torch.randn(1, 24_000, requires_grad=True)
    before = periodicity_loss(fake, pulses(), F0)
    before.backward()
    assert fake.grad is not None and fake.grad.isfinite().all()
    step = fake.detach() - 0.2 * fake.grad / fake.grad.square().mean().sqrt()
    assert periodicity_loss(step, pulses(), F0) < before - 0.05


def test_unvoiced_clips_cost_nothing() -> None:
    assert periodicity_loss(torch.randn(1, 24_000), torch.randn(1, 24_000), torch.zeros(1, 80)) == 0


def test_fractional_delay_of_a_sine() -> None:
    time = torch.arange(2_000, dtype=torch.float32) / 24_000
    wave = torch.sin(2 * torch.pi * 1_000 * time)[None, None]
    late = delayed(wave, torch.full((1, 2_000), 10.5))
    expected = torch.sin(2 * torch.pi * 1_000 * (time - 10.5 / 24_000))
    assert (late[0, 0, 20:] - expected[20:]).abs().max() < 0.01
    assert len(BANDS) == split_bands(wave[0]).shape[1]
