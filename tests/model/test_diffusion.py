"""Style diffusion: upstream's numbers, what padding does, that it learns, its files, its voices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from small_models import hifigan_like
from test_checkpoint import kokoro_layout, old_spectral
from test_engine_models import write_small_model
from torch import Tensor

from voicewright.catalogue.places import DIFFUSION
from voicewright.engines.open import open_engine
from voicewright.engines.styles import StyleSampling
from voicewright.engines.torch_engine import TorchEngine
from voicewright.errors import UsageError, VoicewrightError
from voicewright.model.config import ModelConfig
from voicewright.model.diffusion_files import load_diffusion, save_diffusion
from voicewright.model.tts.diffusion import DiffusionConfig, StyleDiffusion
from voicewright.model.tts.model import TTSModel
from voicewright.model.tts.style import StyleEncoders
from voicewright.voices.importing import import_weights

# StyleTTS2 5cedc71: Transformer1d, StyleTransformer1d, KDiffusion, ADPM2Sampler, KarrasSchedule (1e-4, 3, 9),
# with weights, text, reference and noise as made here; every fourth number of the style, 5 steps.
UPSTREAM = {
    (False, 1.0): [-0.110225, 0.212377, -0.399359, 0.521481, -0.550113, 0.541434, -0.525751, 0.480672],
    (False, 2.0): [-0.114881, 0.218786, -0.407344, 0.530825, -0.560562, 0.552702, -0.537532, 0.492644],
    (True, 1.0): [0.290791, -0.04413, 0.079393, 0.17588, -0.098597, 0.033385, -0.105286, -0.150422],
    (True, 2.0): [0.289311, -0.046764, 0.076335, 0.173249, -0.100072, 0.033475, -0.103655, -0.147703],
}
SIZES = DiffusionConfig(layers=2, heads=2, head_features=8)


def wave(count: int, pace: float, phase: float) -> Tensor:
    return torch.sin(torch.arange(count, dtype=torch.float64) * pace + phase).float()


def filled(reference: bool = False, context: int = 16, style: int = 32) -> StyleDiffusion:
    net = StyleDiffusion(SIZES.model_copy(update={"reference": reference}), context, style).eval()
    for i, (key, value) in enumerate(sorted(net.denoiser.state_dict().items())):
        one = 1.0 if key.endswith(("norm.weight", "norm_context.weight")) else 0.0
        value.copy_(0.15 * wave(value.numel(), 0.37 + 0.01 * i, float(i)).view(value.shape) + one)
    return net


@pytest.mark.parametrize(("reference", "scale"), list(UPSTREAM))
def test_styles_are_upstreams(reference: bool, scale: float, monkeypatch: pytest.MonkeyPatch) -> None:
    net = filled(reference)
    noise = [wave(32, 0.9 + 0.1 * i, float(i)).view(1, 32) * 1.3 for i in range(5)]
    monkeypatch.setattr(torch, "randn", lambda *size, **options: noise.pop(0))
    text, known = wave(11 * 16, 0.21, 0.5).view(1, 11, 16), 0.2 * wave(32, 0.5, 0.1).view(1, 32)
    made = net.sample(text, known if reference else None, 5, scale)
    torch.testing.assert_close(made[0, ::4], torch.tensor(UPSTREAM[reference, scale]), rtol=0, atol=2e-5)


def test_padding_counts_for_nothing() -> None:
    net = filled().denoiser
    text, x, level = (
        wave(9 * 16, 0.3, 0.0).view(1, 9, 16),
        wave(32, 0.4, 0.0).view(1, 32),
        torch.tensor([-0.4]),
    )
    alone = net(x, level, text)
    padded = torch.cat([text, torch.full((1, 5, 16), 7.0)], 1)
    pair = net(x.expand(2, -1), level.expand(2), padded.expand(2, -1, -1), lengths=torch.tensor([9, 14]))
    torch.testing.assert_close(pair[:1], alone)
    assert (pair[1] - alone[0]).abs().max() > 0.01


def test_untaught_it_draws_styles_spread_as_those_measured() -> None:
    """Also along which axes: half of the dimensions hang together."""
    torch.manual_seed(0)
    net = StyleDiffusion(DiffusionConfig(layers=1, heads=2, head_features=8), 6, 8).eval()
    mixing = torch.cat([torch.randn(8, 4), torch.randn(8, 2) @ torch.randn(2, 4)], 1)
    styles = torch.randn(3000, 8) @ mixing + 2
    net.measure(styles)
    text = torch.randn(1, 3, 6)
    with torch.no_grad():
        assert net.loss(styles, text.expand(3000, -1, -1)) == pytest.approx(1, abs=0.03)  # nothing is known
    made = net.sample(text.expand(3000, -1, -1), steps=20, generator=torch.Generator().manual_seed(1))
    off = (torch.cov(made.T) - torch.cov(styles.T)).norm() / torch.cov(styles.T).norm()
    assert off < 0.1 and ((made.mean(0) - styles.mean(0)) / styles.std(0)).abs().max() < 0.08
    few = net.sample(text.expand(3000, -1, -1), steps=10, generator=torch.Generator().manual_seed(1))
    assert (few.std(0) / styles.std(0)).min() > 0.9


def test_it_learns_which_styles_go_with_a_text() -> None:
    """Two texts: the styles of one lie around +1, of the other around -1, each with a spread of 0.3."""
    torch.manual_seed(0)
    texts = torch.randn(2, 1, 6)
    net = StyleDiffusion(DiffusionConfig(layers=1, heads=2, head_features=8), 6, 8)
    sign = torch.tensor([1.0, -1.0])

    def draw(count: int) -> tuple[Tensor, Tensor]:
        which = torch.randint(0, 2, (count,))
        return sign[which, None] + 0.3 * torch.randn(count, 8), texts[which]

    net.measure(draw(400)[0])
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(250):
        style, text = draw(64)
        optimizer.zero_grad()
        net.loss(style, text).backward()
        optimizer.step()
    net.eval()
    with torch.no_grad():
        assert net.loss(*draw(400)) < 0.8
    made = net.sample(texts.repeat_interleave(200, 0), steps=8, generator=torch.Generator().manual_seed(1))
    first, second = made[:200], made[200:]
    assert first.mean() > 0.7 and second.mean() < -0.7
    assert 0.15 < first.std(0).mean() < 0.6


def test_what_cannot_be_drawn_is_said() -> None:
    net = filled()
    with pytest.raises(VoicewrightError, match="at least 2 steps, not 1"):
        net.sample(torch.zeros(1, 3, 16), steps=1)
    with pytest.raises(VoicewrightError, match="600 tokens is longer than the 512"):
        net.sample(torch.zeros(1, 600, 16))
    for wrong in ({"steps": 1}, {"alpha": 1.2}, {"beta": -0.1}, {"embedding_scale": 11.0}):
        with pytest.raises(UsageError):
            StyleSampling(**wrong)  # type: ignore[arg-type]


def speaking(folder: Path, width: int = 16) -> StyleDiffusion:
    """A small model with style diffusion."""
    write_small_model(folder)
    torch.manual_seed(5)
    net = StyleDiffusion(SIZES, width)
    net.measure(0.3 * torch.randn(20, 256))
    save_diffusion(folder, net.eval())
    return net


def test_a_model_speaks_with_drawn_styles(tmp_path: Path) -> None:
    speaking(tmp_path / "m")
    text = "One two three."
    plain = TorchEngine(tmp_path / "m").speak(text).samples
    drawn = TorchEngine(tmp_path / "m", styles=StyleSampling(alpha=1.0, beta=1.0))
    first, again, other = (drawn.speak(text, seed=seed).samples for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first[:1000], other[:1000])
    none = TorchEngine(tmp_path / "m", styles=StyleSampling(alpha=0.0, beta=0.0)).speak(text).samples
    assert np.array_equal(none, plain) and not np.array_equal(first[:1000], plain[:1000])
    pieces = list(drawn.stream(text, seed=1))
    assert np.concatenate([piece.samples for piece in pieces]).shape == first.shape


def test_what_has_no_diffusion_says_so(tmp_path: Path) -> None:
    write_small_model(tmp_path / "m")
    with pytest.raises(UsageError, match="cannot draw styles; `voicewright train style_diffusion`"):
        open_engine(tmp_path / "m", styles=StyleSampling())
    with pytest.raises(UsageError, match="drawn with torch"):
        open_engine(tmp_path / "m", implementation="light", styles=StyleSampling())
    (tmp_path / "m.onnx").write_bytes(b"x")
    with pytest.raises(UsageError, match="speaks by voicepacks alone"):
        open_engine(tmp_path / "m.onnx", styles=StyleSampling())


def test_files_of_another_model_or_damaged_are_refused(tmp_path: Path) -> None:
    speaking(tmp_path / "m", width=24)
    config = ModelConfig.read(tmp_path / "m" / "config.json")
    with pytest.raises(VoicewrightError, match="belongs to another model"):
        load_diffusion(tmp_path / "m", config)
    net = speaking(tmp_path / "n")
    found = load_diffusion(tmp_path / "n", config)
    assert found is not None and found.config == net.config
    for key, value in net.state_dict().items():
        assert torch.equal(found.state_dict()[key], value)
    (tmp_path / "n" / DIFFUSION / "config.json").write_text("{", "utf-8")
    with pytest.raises(VoicewrightError, match="cannot be read as style diffusion"):
        load_diffusion(tmp_path / "n", config)
    with torch.no_grad():
        net.denoiser.to_out[1].weight.fill_(float("nan"))
    with pytest.raises(VoicewrightError, match="not finite"):
        save_diffusion(tmp_path / "o", net)
    assert not (tmp_path / "o").exists()


def test_styletts2s_checkpoints_bring_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As upstream's scripts save them: twice, `module.` in front, sizes in config.yml."""
    monkeypatch.setenv("VOICEWRIGHT_CACHE", str(tmp_path / "cache"))
    config = hifigan_like()
    torch.manual_seed(4)
    model, styles = TTSModel(config), StyleEncoders(config)
    net = StyleDiffusion(SIZES.model_copy(update={"reference": True}), config.plbert.hidden_size)
    state = net.denoiser.state_dict()
    twice = {
        f"module.{where}.{key}": value for where in ("unet", "diffusion.net") for key, value in state.items()
    }
    nets = {
        **kokoro_layout(model),
        "style_encoder": old_spectral(styles.acoustic),
        "predictor_encoder": old_spectral(styles.prosodic),
        "diffusion": twice,
    }
    (tmp_path / "s2").mkdir()
    path = tmp_path / "s2" / "epochs_2nd_00020.pth"
    torch.save({"net": nets}, path)
    said: list[str] = []
    heads = {"transformer": {"num_layers": 2, "num_heads": 2, "head_features": 8, "multiplier": 2}}
    noise = {"dist": {"sigma_data": 0.1926, "mean": -3.0, "std": 1.0}}
    (tmp_path / "s2" / "config.yml").write_text(
        yaml.safe_dump({"model_params": {"diffusion": {**heads, **noise, "embedding_mask_proba": 0.1}}}),
        "utf-8",
    )
    found = load_diffusion(path, config, said.append)
    assert found is not None and said == [] and found.config == net.config
    assert float(found.sigma_data) == pytest.approx(0.1926) and float(found.scale.max()) == 1
    for key, value in state.items():
        assert torch.equal(found.denoiser.state_dict()[key], value)
    (tmp_path / "s2" / "config.yml").unlink()
    config.write(tmp_path / "s2" / "config.json")
    import_weights(path, "mine")
    imported = load_diffusion(tmp_path / "cache" / "models" / "mine", config)
    assert imported is not None and imported.config.reference
    assert torch.equal(imported.denoiser.to_out[1].weight, net.denoiser.to_out[1].weight)
