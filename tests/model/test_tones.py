"""The loss on constant tones: sound with a preferred phase at the generator's frame rate loses."""

from __future__ import annotations

import math

import numpy as np
import torch

from voicewright.listen.artefacts import strongest_line
from voicewright.model.tones import line_levels, line_loss, tone_loss
from voicewright.units import SAMPLE_RATE

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


KOKORO_HOP = 5


def speech_like(seed: int = 0) -> torch.Tensor:
    """Noise in bursts [2, 24000]: half of it is near silence."""
    loud = (torch.arange(24_000) // 6000 % 2).float() + 1e-4
    return torch.randn(2, 24_000, generator=torch.Generator().manual_seed(seed)) * 0.1 * loud


def test_line_levels_find_the_line_whose_phase_jumps() -> None:
    clock = torch.arange(24_000) / SAMPLE_RATE
    turns = torch.rand(40, generator=torch.Generator().manual_seed(1)).repeat_interleave(600) * 2 * math.pi
    line = 0.02 * torch.cos(2 * math.pi * 4800.0 * clock + turns)
    levels = line_levels(speech_like() + line, KOKORO_HOP)
    assert levels.shape == (2, 4)
    assert (levels.argmax(1) == 1).all() and (levels[:, 1] > 5).all() and (levels[:, [0, 2, 3]] < 2).all()
    assert line_loss(speech_like() + line, speech_like(3), KOKORO_HOP) > 0.3
    # What recordings have too, and what chance gives, costs nothing to speak of.
    assert line_loss(speech_like() + line, speech_like(3) + line, KOKORO_HOP) < 0.1
    assert line_loss(speech_like(), speech_like(3), KOKORO_HOP) < 0.1


def test_line_levels_are_those_that_artefacts_are_judged_by() -> None:
    clock = np.arange(48_000) / SAMPLE_RATE
    sound = np.random.default_rng(0).standard_normal(48_000) * 0.1 + 0.02 * np.sin(2 * np.pi * 7200 * clock)
    samples = sound.astype(np.float32)
    judged = strongest_line([samples])
    assert abs(float(line_levels(torch.from_numpy(samples)[None], KOKORO_HOP).max()) - judged) < 0.7


def test_gradient_takes_the_line_away_and_silence_gives_none() -> None:
    clock = torch.arange(24_000) / SAMPLE_RATE
    audio = (speech_like() + 0.02 * torch.cos(2 * math.pi * 2400 * clock)).requires_grad_()
    before = line_loss(audio, speech_like(3), KOKORO_HOP)
    before.backward()
    assert audio.grad is not None and audio.grad.isfinite().all()
    step = 2e-3 * audio.grad / audio.grad.abs().max()
    assert line_loss(audio.detach() - step, speech_like(3), KOKORO_HOP) < before
    silent = torch.zeros(2, 24_000, requires_grad=True)
    loss = line_loss(silent, speech_like(3), KOKORO_HOP)
    loss.backward()
    assert loss == 0 and silent.grad is not None and silent.grad.isfinite().all()
    assert line_loss(audio.detach(), speech_like(3), 1) == 0  # without an inverse STFT there are no frames
