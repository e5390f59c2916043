"""Mel presets against a slow reference written from the definition, and StyleTTS 2's silence value."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import signal

from voicewright.audio.mel import PRESETS, LogMel, MelPreset, energy, log_mel, mel_filters
from voicewright.errors import VoicewrightError

torch.set_num_threads(1)


def _slow(samples: np.ndarray, p: MelPreset) -> np.ndarray:
    """One frame after the other, one filter after the other, in double precision."""
    padded = np.pad(samples.astype(np.float64), p.n_fft // 2, mode="reflect")
    window = np.zeros(p.n_fft)
    start = (p.n_fft - p.win) // 2
    window[start : start + p.win] = signal.get_window("hann", p.win, fftbins=True)
    hz = np.arange(p.n_fft // 2 + 1) * (p.filter_rate / p.n_fft)

    def mel(f: float) -> float:
        return 2595 * np.log10(1 + f / 700)

    corners = [700 * (10 ** (m / 2595) - 1) for m in np.linspace(mel(p.fmin), mel(p.fmax), p.n_mels + 2)]
    out = []
    for at in range(0, len(samples) + 1, p.hop):
        power = np.abs(np.fft.rfft(padded[at : at + p.n_fft] * window)) ** 2
        row = []
        for low, middle, high in zip(corners[:-2], corners[1:-1], corners[2:], strict=True):
            triangle = np.interp(hz, [low, middle, high], [0, 1, 0], left=0, right=0)
            row.append((np.log(p.floor + power @ triangle) - p.mean) / p.std)
        out.append(row)
    return np.array(out).T


def _noise(count: int = 6000) -> np.ndarray:
    rng = np.random.default_rng(3)
    tone = np.sin(2 * np.pi * 440 * np.arange(count) / 24_000)
    return (0.1 * rng.standard_normal(count) + 0.3 * tone).astype(np.float32)


@pytest.mark.parametrize("name", list(PRESETS))
def test_presets_match_the_definition(name: str) -> None:
    wave = _noise()
    fast = log_mel(torch.from_numpy(wave), name).numpy()
    slow = _slow(wave, PRESETS[name])
    assert fast.shape == slow.shape == (PRESETS[name].n_mels, 1 + len(wave) // PRESETS[name].hop)
    np.testing.assert_allclose(fast, slow, atol=2e-4)


@pytest.mark.parametrize("name", list(PRESETS))
def test_silence(name: str) -> None:
    mel = log_mel(torch.zeros(2400), name)
    # A million-th of power in natural logarithms is what conversion reads; all others are StyleTTS 2's scale.
    assert PRESETS[name].silence == pytest.approx(-13.8155 if name == "content" else -1.878, abs=5e-4)
    assert torch.allclose(mel, torch.tensor(PRESETS[name].silence))


def test_the_historical_filters_are_spaced_for_16_khz_on_24_khz_bins() -> None:
    """A 3 kHz tone lies in bin 256 of 1024, which the historical filters take for 2 kHz."""
    time = np.arange(24_000) / 24_000
    tone = torch.from_numpy(np.sin(2 * np.pi * 3000 * time).astype(np.float32))

    def peak_hz(name: str) -> float:
        p = PRESETS[name]
        loudest = int(log_mel(tone, name)[:, 40].argmax())
        top = 2595 * np.log10(1 + p.fmax / 700)
        return 700 * (10 ** (top * (loudest + 1) / (p.n_mels + 1) / 2595) - 1)

    assert peak_hz("24k") == pytest.approx(3000, rel=0.04)
    assert peak_hz("styletts2") == pytest.approx(2000, rel=0.04)


def test_frames_are_centred_on_multiples_of_the_hop() -> None:
    wave = torch.zeros(12_000)
    wave[20 * 300] = 1.0
    loud = log_mel(wave, "styletts2").mean(0)
    assert int(loud.argmax()) == 20
    # Four hops make one window: the click is seen by the frames at less than two hops from it.
    assert (loud > PRESETS["styletts2"].silence + 1e-3).nonzero().ravel().tolist() == [19, 20, 21]


def test_batches_gradients_and_one_module_for_many_calls() -> None:
    module = LogMel("24k-512")
    wave = torch.from_numpy(np.stack([_noise(), _noise()[::-1].copy()])).requires_grad_()
    mel = module(wave)
    assert mel.shape == (2, 128, 121)
    assert torch.equal(mel[1], module(wave[1]))
    mel.mean().backward()
    assert wave.grad is not None and torch.isfinite(wave.grad).all() and wave.grad.abs().sum() > 0
    assert not list(module.parameters()) and not module.state_dict()


def test_half_precision_input_is_computed_in_full() -> None:
    wave = torch.from_numpy(_noise())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mel = log_mel(wave)
    assert mel.dtype == torch.float32 and torch.equal(mel, log_mel(wave))


def test_energy_is_the_log_norm_of_the_power() -> None:
    mel = log_mel(torch.from_numpy(_noise()))
    expected = torch.log(torch.exp(4 * mel - 4).norm(dim=0))
    assert torch.allclose(energy(mel), expected, atol=1e-4)
    assert energy(mel[None]).shape == (1, mel.shape[1])


def test_every_filter_has_a_peak_and_bad_calls_are_named() -> None:
    for name in ("styletts2", "24k"):
        assert float(mel_filters(name).amax(0).min()) > 0.3
    with pytest.raises(VoicewrightError, match="24k-512"):
        LogMel("nothing")
    with pytest.raises(VoicewrightError, match="too few"):
        log_mel(torch.zeros(1024))
