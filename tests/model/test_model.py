"""What the graph promises to training and to speaking, on graphs of a few thousand weights."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from small_models import ISTFT, kokoro_like, small
from torch import Tensor

from voicewright.errors import VoicewrightError
from voicewright.model.config import IstftNet, ModelConfig, StyleEncoder
from voicewright.model.layers import AdaIN1d, fold, snake, spectral_norm
from voicewright.model.tts.decoder import box_smooth
from voicewright.model.tts.generator import STFT, polar
from voicewright.model.tts.model import TTSModel
from voicewright.model.tts.source import PULSE_TOP, Source, pulses, sines
from voicewright.model.tts.style import StyleEncoder as Encoder
from voicewright.model.tts.style import StyleEncoders
from voicewright.units import HOP, SAMPLE_RATE


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(config: ModelConfig) -> TTSModel:
    torch.manual_seed(11)
    model = TTSModel(config)
    with torch.no_grad():
        model.predictor.F0_proj.bias.fill_(150.0)
        model.predictor.duration_proj.linear_layer.bias.sub_(3.0)
    return model


def forward(model: TTSModel, smooth: bool = False, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
    """A training forward of a padded batch of three."""
    torch.manual_seed(5)
    lengths = torch.tensor([9, 5, 7])
    tokens = torch.randint(1, 178, (3, 9)) * (torch.arange(9) < lengths[:, None])
    durations = torch.randint(1, 4, (3, 9)) * (torch.arange(9) < lengths[:, None])
    style = torch.randn(3, 256)
    frames = durations.sum(1)
    with torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None):
        d = model.encode_prosody(tokens, lengths, style[:, 128:])
        logits = model.duration_logits(d, lengths)
        f0, energy = model.f0_energy(model.expand(d.transpose(1, 2), durations), style[:, 128:], frames)
        text = model.encode_text(tokens, lengths)
        asr = model.expand(text, durations)
        audio = model.decoder(asr, f0.detach().float(), energy, style[:, :128], smooth, seeded())
    return {"d": d, "logits": logits, "f0": f0, "energy": energy, "text": text, "audio": audio}


@pytest.mark.parametrize("config", [small(), kokoro_like()], ids=["pulse", "sines"])
def test_every_weight_trains_but_the_pooler(config: ModelConfig) -> None:
    model = make(config).train()
    out = forward(model, smooth=True)
    assert out["audio"].shape == (3, out["f0"].shape[1] * HOP)
    sum(value.float().square().mean() for value in out.values()).backward()
    idle = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0}
    # A bias before instance norm, before softmax, or on the never-used second token type, has no effect.
    expected = {"bert.pooler.weight", "bert.pooler.bias"}
    assert expected <= idle
    assert not [name for name in idle - expected if "weight" in name or "l_linear" in name]
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("config", [small(), kokoro_like()], ids=["pulse", "sines"])
def test_a_padded_batch_equals_its_items(config: ModelConfig) -> None:
    model = make(config).eval()
    lengths, durations = torch.tensor([9, 5]), torch.tensor([[2] * 9, [3] * 5 + [0] * 4])
    tokens = torch.randint(1, 178, (2, 9), generator=seeded())
    style = torch.randn(2, 128, generator=seeded(1))
    with torch.no_grad():
        d = model.encode_prosody(tokens, lengths, style)
        logits, text = model.duration_logits(d, lengths), model.encode_text(tokens, lengths)
        f0, energy = model.f0_energy(model.expand(d.transpose(1, 2), durations), style, durations.sum(1))
        alone = tokens[1:, :5]
        d1 = model.encode_prosody(alone, None, style[1:])
        f1, e1 = model.f0_energy(model.expand(d1.transpose(1, 2), durations[1:, :5]), style[1:])
        torch.testing.assert_close(d[1:, :5], d1, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(logits[1:, :5], model.duration_logits(d1), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(text[1:, :, :5], model.encode_text(alone), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(f0[1:, : 2 * 15], f1, rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(energy[1:, : 2 * 15], e1, rtol=1e-4, atol=1e-5)
    assert d[1, 5:].abs().max() == 0
    assert text[1, :, 5:].abs().max() == 0


def test_dropout_lives_in_training_only() -> None:
    model = make(small())
    tokens, style = torch.ones(1, 6, dtype=torch.long), torch.randn(1, 128)
    d = model.encode_prosody(tokens, None, style)
    for call in (
        lambda: model.encode_text(tokens),
        lambda: model.encode_prosody(tokens, None, style),
        lambda: model.duration_logits(d),
        lambda: model.f0_energy(d.transpose(1, 2), style)[0],
        lambda: model.f0_energy(d.transpose(1, 2), style)[1],
    ):
        model.train()
        assert not torch.equal(call(), call())
        model.eval()
        assert torch.equal(call(), call())


def test_bf16_autocast_keeps_audio_and_statistics_in_fp32() -> None:
    model = make(small()).train()
    exact, rough = forward(model.eval()), forward(model, dtype=torch.bfloat16)
    assert rough["audio"].dtype == torch.float32
    assert torch.isfinite(rough["audio"]).all()
    assert float((exact["text"] - rough["text"].float()).detach().abs().max()) < 0.05
    norm = AdaIN1d(8, 4)
    x = 1000 + torch.randn(2, 4, 500)  # bf16 statistics would lose the variance under the mean
    with torch.autocast("cpu", torch.bfloat16):
        y = norm(x, torch.zeros(2, 8))
    gamma, beta = norm.fc.bias[:, None].chunk(2)
    expected = (1 + gamma) * (x - x.mean(2, keepdim=True)) / x.std(2, keepdim=True) + beta
    torch.testing.assert_close(y, expected, rtol=1e-2, atol=1e-2)
    low = (20 + torch.randn(2, 4, 500)).bfloat16()
    y = norm(low, torch.zeros(2, 8))
    assert y.dtype == torch.bfloat16
    exact = low.double()
    expected = (1 + gamma) * (exact - exact.mean(2, keepdim=True)) / exact.std(2, keepdim=True) + beta
    torch.testing.assert_close(y.double(), expected, rtol=1e-2, atol=2e-2)


def test_expand_repeats_columns() -> None:
    x, durations = torch.randn(2, 3, 4), torch.tensor([[2, 1, 0, 3], [1, 1, 1, 0]])
    y = TTSModel.expand(x, durations)
    assert y.shape == (2, 3, 6)
    assert torch.equal(y[0], x[0].repeat_interleave(durations[0], dim=1))
    assert torch.equal(y[1, :, :3], x[1, :, :3])
    assert y[1, :, 3:].abs().max() == 0
    assert torch.equal(TTSModel.expand(x, durations, 4), y[:, :, :4])


@pytest.mark.parametrize("config", [small(), kokoro_like()], ids=["pulse", "sines"])
def test_generator_works_on_slices_and_is_seeded(config: ModelConfig) -> None:
    model = make(config).eval()
    generator = model.decoder.generator
    x, f0 = torch.randn(2, 32, 14), torch.full((2, 14), 140.0)
    style = torch.randn(2, 128)
    with torch.no_grad():
        first = generator(x, style, f0, seeded(1))
        assert first.shape == (2, 14 * HOP)
        assert torch.equal(first, generator(x, style, f0, seeded(1)))
        assert not torch.equal(first, generator(x, style, f0, seeded(2)))
        assert generator(x[:, :, 3:8], style, f0[:, 3:8], seeded(1)).shape == (2, 5 * HOP)


def test_speak_takes_what_it_is_given() -> None:
    model = make(small())
    tokens, style = torch.randint(1, 178, (1, 8), generator=seeded()), torch.randn(1, 256)
    said = model.train().speak(tokens, style, generator=seeded(4))
    assert model.training
    again = model.eval().speak(tokens, style, generator=seeded(4))
    assert torch.equal(said.audio, again.audio)
    frames = int(said.durations.sum())
    assert said.audio.shape == (600 * frames,)
    assert said.f0.shape == said.energy.shape == (2 * frames,)
    replay = model.speak(
        tokens,
        style,
        generator=seeded(4),
        durations=said.durations[None],
        f0=said.f0[None],
        energy=said.energy[None],
    )
    assert torch.equal(said.audio, replay.audio)
    given = torch.tensor([[3, 1, 2, 4, 1, 1, 2, 3]])
    high = model.speak(tokens, style, durations=given, f0=torch.full((1, 34), 250.0))
    assert torch.equal(high.durations, given[0])
    assert high.f0.unique().tolist() == [250.0]
    assert int(model.speak(tokens, style, speed=0.5).durations.sum()) > frames
    with pytest.raises(VoicewrightError, match=r"f0 has shape \[1, 9\].*\[1, 34\]"):
        model.speak(tokens, style, durations=given, f0=torch.ones(1, 9))
    with pytest.raises(VoicewrightError, match="speed is 0"):
        model.speak(tokens, style, speed=0)
    with pytest.raises(VoicewrightError, match=r"600 tokens.*at most 512"):
        model.speak(torch.ones(1, 600, dtype=torch.long), style)


def test_folding_changes_nothing_but_the_keys() -> None:
    model = make(kokoro_like()).eval()
    tokens, style = torch.randint(1, 178, (1, 8), generator=seeded()), torch.randn(1, 256)
    before = model.speak(tokens, style, generator=seeded())
    assert any("original0" in key for key in model.state_dict())
    after = model.fold().speak(tokens, style, generator=seeded())
    assert not any("original0" in key for key in model.state_dict())
    assert torch.equal(before.durations, after.durations)
    torch.testing.assert_close(before.f0, after.f0, rtol=1e-5, atol=1e-4)


def test_pulses_are_the_sum_of_their_harmonics() -> None:
    f0 = torch.full((1, 12), 207.0)
    wave = pulses(f0, seeded())[0, :, 0].double()
    start = torch.rand(1, 1, generator=seeded()).double()[0, 0]
    turns = start + torch.arange(1, 12 * HOP + 1, dtype=torch.float64) * 207 / SAMPLE_RATE
    count = int(PULSE_TOP // 207)
    direct = torch.stack([torch.cos(2 * math.pi * k * turns) for k in range(1, count + 1)]).sum(0)
    direct /= math.sqrt(count / 2)
    assert float((wave - direct).abs().max()) < 1e-3 * float(direct.max())
    assert 0.9 < float(wave.square().mean().sqrt()) < 1.1
    zero = torch.Generator()
    exact = pulses(torch.full((1, 8), 100.0), zero.manual_seed(0))
    assert torch.isfinite(exact).all()
    assert float(exact.max()) <= math.sqrt(2 * (PULSE_TOP // 100)) * 1.0001


@pytest.mark.parametrize("kind", ["sines", "pulse"])
def test_the_phase_is_exact_after_a_minute(kind: str) -> None:
    """After 60 s the wave is what it was in the first second, a whole number of periods before."""
    f0 = torch.full((1, 4800), 240.0)  # a period of exactly 100 samples
    wave = (sines(f0, 8) if kind == "sines" else pulses(f0, seeded()))[0, :, 0]
    head, tail = wave[600:1800], wave[-1800:-600]
    drift = (head - tail).abs().max() / head.abs().max()
    assert float(drift) < 2e-4


def test_pulses_have_no_energy_above_their_top_and_glide() -> None:
    f0 = torch.linspace(100, 220, 80)[None]
    wave = pulses(f0, seeded())[0, :, 0]
    spectrum = torch.fft.rfft(wave * torch.hann_window(len(wave))).abs().square()
    edge = int(11_800 / (SAMPLE_RATE / 2) * len(spectrum))
    assert float(spectrum[edge:].sum() / spectrum.sum()) < 1e-3


def test_many_sines_stay_below_nyquist() -> None:
    waves = sines(torch.full((1, 4), 900.0), 20)[0]
    assert waves.shape == (4 * HOP, 21)
    assert waves[:, 13:].abs().max() == 0
    assert (waves[:, :13].abs().amax(0) > 0.5).all()
    assert sines(torch.full((1, 4), 1500.0), 8)[0, :, 8].abs().max() > 0.5  # Kokoro's own nine are kept


def test_source_noise_follows_the_voicing() -> None:
    source = Source(8, "pulse", plain_mix=True)
    f0 = torch.cat([torch.zeros(1, 40), torch.full((1, 40), 200.0)], dim=1)
    with torch.no_grad():
        wave = source(f0, seeded())[0] / source.l_linear.weight.item()
    silent, voiced = wave[: 40 * HOP], wave[40 * HOP :]
    assert 0.03 < float(silent.std()) < 0.037
    assert 0.07 < float(voiced.std()) < 0.12


def test_stft_is_torchs() -> None:
    for n_fft, hop in ((20, 5), (120, 30)):
        stft, wave = STFT(n_fft, hop), torch.randn(2, 3000, generator=seeded())
        window = torch.hann_window(n_fft)
        expected = torch.stft(wave, n_fft, hop, n_fft, window, return_complex=True)
        real, imaginary = stft(wave)
        torch.testing.assert_close(real, expected.real, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(imaginary, expected.imag, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(stft.inverse(real, imaginary), wave, rtol=1e-4, atol=1e-5)
        changed = torch.polar(torch.rand(2, n_fft // 2 + 1, 101), torch.randn(2, n_fft // 2 + 1, 101))
        torch.testing.assert_close(
            stft.inverse(changed.real, changed.imag),
            torch.istft(changed, n_fft, hop, n_fft, window),
            rtol=1e-4,
            atol=1e-5,
        )


def test_polar_has_bounded_gradients_and_exact_values() -> None:
    real = torch.tensor([0.0, 1e-12, 3.0, -1.0], requires_grad=True)
    imaginary = torch.tensor([0.0, -1e-12, 4.0, 0.0], requires_grad=True)
    magnitude, phase = polar(real, imaginary)
    torch.testing.assert_close(
        magnitude.detach(), torch.hypot(real, imaginary).detach(), rtol=1e-5, atol=1e-9
    )
    assert torch.equal(phase.detach(), torch.atan2(imaginary, real).detach())
    (magnitude.sum() + phase.sum()).backward()
    assert torch.isfinite(real.grad).all() and float(real.grad.abs().max()) < 100
    # d|z| + dphase at 3+4i: 3/5 - 4/25 (up to the floor), 4/5 + 3/25
    assert real.grad[2].item() == pytest.approx(0.44, abs=1e-4)
    assert imaginary.grad[2].item() == pytest.approx(0.92, abs=1e-4)


def test_snake_and_smoothing_formulas() -> None:
    x, alpha = torch.randn(2, 3, 5), 1 + torch.rand(1, 3, 1)
    torch.testing.assert_close(snake(x, alpha), x + torch.sin(alpha * x) ** 2 / alpha)
    curve = torch.zeros(1, 9)
    curve[0, 4] = 3.0
    assert box_smooth(curve, 3)[0].tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 0]
    assert box_smooth(curve, 15).shape == curve.shape
    assert torch.equal(box_smooth(curve, 1), curve)


def test_front_smooths_only_when_asked() -> None:
    model = make(small()).eval()
    asr, style = torch.randn(1, 16, 12), torch.randn(1, 128)
    f0, energy = 100 + 50 * torch.rand(1, 24), torch.randn(1, 24)
    with torch.no_grad():
        plain = model.decoder.front(asr, f0, energy, style)
        assert plain.shape == (1, 32, 24)
        assert torch.equal(plain, model.decoder.front(asr, f0, energy, style))
        many = [model.decoder.front(asr, f0, energy, style, smooth=True, rng=seeded(i)) for i in range(12)]
    assert len({round(float(y.double().abs().sum()), 6) for y in many}) > 3


def test_style_encoder_has_styletts2s_size_and_limits() -> None:
    encoder = Encoder(StyleEncoder()).eval()
    assert sum(p.numel() for p in encoder.parameters()) == 13_845_440
    styles = StyleEncoders(small()).eval()
    with torch.no_grad():
        assert encoder(torch.randn(1, 1, 80, 65)).shape == (1, 128)
        both = styles.encode(torch.randn(2, 80, 97, generator=seeded()))
        assert both.shape == (2, 256)
        mel = torch.randn(2, 80, 97, generator=seeded())
        assert torch.equal(both[:, :128], styles.acoustic(mel[:, None]))
        assert torch.equal(both[:, 128:], styles.prosodic(mel[:, None]))
    with pytest.raises(VoicewrightError, match=r"at least 65 mel frames.*got 64"):
        styles.encode(torch.randn(1, 80, 64))


def test_spectral_norm_reaches_norm_one_and_is_torchs() -> None:
    torch.manual_seed(3)
    conv = spectral_norm(torch.nn.Conv2d(4, 6, 3))
    other = torch.nn.utils.parametrizations.spectral_norm(torch.nn.Conv2d(4, 6, 3))
    other.load_state_dict(conv.state_dict())
    x = torch.randn(1, 4, 9, 9)
    for _ in range(3):
        torch.testing.assert_close(conv(x), other(x))
    assert conv.state_dict().keys() == other.state_dict().keys()
    for key, value in conv.state_dict().items():
        torch.testing.assert_close(value, other.state_dict()[key])
    for _ in range(60):
        conv(x)
    largest = torch.linalg.matrix_norm(conv.weight.detach().flatten(1), 2)
    assert float(largest) == pytest.approx(1, abs=1e-3)
    with torch.autocast("cpu", torch.bfloat16):
        conv(x)
    assert conv.state_dict()["parametrizations.weight.0._u"].dtype == torch.float32
    conv.eval()
    before = conv(x)
    fold(conv)
    assert list(conv.state_dict()) == ["bias", "weight"]
    assert torch.equal(conv(x), before)


def test_two_forwards_before_one_backward_are_allowed() -> None:
    styles = StyleEncoders(small()).train()
    mel = torch.randn(2, 80, 70)
    (styles.encode(mel) - styles.encode(mel.flip(2))).square().sum().backward()
    assert all(p.grad is not None for p in styles.parameters())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"upsample_rates": (8,)}, "product 300"),
        ({"gen_istft_hop_size": 25}, "product 300"),
        ({"upsample_kernel_sizes": (20, 12)}, "one kernel for each"),
        ({"upsample_kernel_sizes": (21,)}, "even number"),
        ({"resblock_kernel_sizes": (3,)}, "one list for each"),
        ({"resblock_kernel_sizes": (4, 7)}, "must be odd"),
        ({"upsample_initial_channel": 31}, "halve evenly"),
        ({"gen_istft_n_fft": 40}, "at least twice"),
    ],
)
def test_a_generator_that_cannot_be_built_is_explained(
    change: dict[str, object], words: str, tmp_path: Path
) -> None:
    content = small().model_dump(mode="json")
    content["istftnet"] |= change
    path = tmp_path / "config.json"
    path.write_text(json.dumps(content))
    with pytest.raises(VoicewrightError, match=words) as caught:
        ModelConfig.read(path)
    assert "istftnet" in str(caught.value)
    assert IstftNet(**ISTFT).upsample_rates == (10,)
