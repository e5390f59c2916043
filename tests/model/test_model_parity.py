"""Our graph against the `kokoro` package's: the same random weights give the same numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kokoro_oracle
import pytest
import torch
from torch import Tensor

from voicewright.model.checkpoint import export_kokoro, load_model
from voicewright.model.config import ModelConfig
from voicewright.model.tts.model import TTSModel
from voicewright.model.tts.source import AMPLITUDE, sines

CONFIG = ModelConfig(vocab={})
CHILDREN = ("bert", "bert_encoder", "predictor", "text_encoder", "decoder")
KOKORO_PARAMETERS = 81_763_410


def affine(key: str) -> bool:
    """Whether a key is one of the package's instance-norm extras."""
    return key.endswith((".norm.weight", ".norm.bias"))


def randomise(model: Any) -> None:
    """Weights that make every branch matter: voiced F0, unequal durations, biases and gains that act."""
    rng = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if affine(name):
                continue
            noise = torch.randn(value.shape, generator=rng)
            if "alpha" in name or name.endswith(("gamma", "LayerNorm.weight", "layer_norm.weight")):
                value.copy_(1 + 0.2 * noise)
            elif value.dim() == 1:
                value.add_(0.1 * noise)
        model.predictor.F0_proj.weight.mul_(100)
        model.predictor.F0_proj.bias.fill_(160.0)
        model.predictor.duration_proj.linear_layer.weight.mul_(8)
        model.predictor.duration_proj.linear_layer.bias.sub_(4.0)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, TTSModel]:
    folder = tmp_path_factory.mktemp("parity")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = kokoro_oracle.build(CONFIG, folder)
    randomise(theirs)
    content = {
        child: {
            f"module.{key}": value
            for key, value in getattr(theirs, child).state_dict().items()
            if not affine(key)
        }
        for child in CHILDREN
    }
    torch.save(content, folder / "random.pth")
    ours, _, styles = load_model(folder / "random.pth", CONFIG)
    assert styles is None
    return theirs, ours


@pytest.fixture(scope="module")
def inputs() -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(3)
    tokens = torch.randint(1, 178, (1, 18), generator=rng)
    tokens[:, 0] = tokens[:, -1] = 0
    return tokens, 0.3 * torch.randn(1, 256, generator=rng)


def close(ours: Tensor, theirs: Tensor, tolerance: float = 1e-5) -> None:
    """Equal within `tolerance` of the largest value."""
    assert ours.shape == theirs.shape
    assert theirs.std() > 0
    assert float((ours - theirs).abs().max() / theirs.abs().max()) < tolerance


def their_trunk(model: Any, tokens: Tensor, style: Tensor) -> dict[str, Tensor]:
    """The package's forward up to the generator, step by step."""
    lengths = torch.tensor([tokens.shape[1]])
    mask = torch.zeros(1, tokens.shape[1], dtype=torch.bool)
    context = model.bert_encoder(model.bert(tokens, attention_mask=(~mask).int())).transpose(-1, -2)
    d = model.predictor.text_encoder(context, style[:, 128:], lengths, mask)
    logits = model.predictor.duration_proj(model.predictor.lstm(d)[0])
    durations = torch.round(torch.sigmoid(logits).sum(-1)).clamp(min=1).long()
    path = torch.nn.functional.one_hot(
        torch.repeat_interleave(torch.arange(tokens.shape[1]), durations[0]), tokens.shape[1]
    ).T[None]
    f0, energy = model.predictor.F0Ntrain(d.transpose(-1, -2) @ path.float(), style[:, 128:])
    text = model.text_encoder(tokens, lengths, mask)
    caught: list[Tensor] = []
    handle = model.decoder.generator.register_forward_pre_hook(lambda _, given: caught.append(given[0]))
    model.decoder(text @ path.float(), f0, energy, style[:, :128])
    handle.remove()
    return {
        "d": d,
        "logits": logits,
        "durations": durations,
        "f0": f0,
        "energy": energy,
        "text": text,
        "front": caught[0],
    }


def our_trunk(model: TTSModel, tokens: Tensor, style: Tensor) -> dict[str, Tensor]:
    d = model.encode_prosody(tokens, None, style[:, 128:])
    logits = model.duration_logits(d)
    durations = torch.sigmoid(logits).sum(2).round().clamp(min=1).long()
    f0, energy = model.f0_energy(model.expand(d.transpose(1, 2), durations), style[:, 128:])
    text = model.encode_text(tokens)
    front = model.decoder.front(model.expand(text, durations), f0, energy, style[:, :128])
    return {
        "d": d,
        "logits": logits,
        "durations": durations,
        "f0": f0,
        "energy": energy,
        "text": text,
        "front": front,
    }


def test_parameter_count_is_kokoros(pair: tuple[Any, TTSModel]) -> None:
    theirs, ours = pair
    assert sum(p.numel() for p in ours.parameters()) == KOKORO_PARAMETERS
    extras = sum(p.numel() for name, p in theirs.named_parameters() if affine(name))
    assert sum(p.numel() for p in theirs.parameters()) - extras == KOKORO_PARAMETERS


@torch.no_grad()
def test_trunk_is_kokoros(pair: tuple[Any, TTSModel], inputs: tuple[Tensor, Tensor]) -> None:
    expected, got = their_trunk(pair[0], *inputs), our_trunk(pair[1], *inputs)
    assert torch.equal(got.pop("durations"), expected["durations"])
    assert len(set(expected.pop("durations")[0].tolist())) > 2
    assert float(expected["f0"].std()) > 1
    for name, value in got.items():
        close(value, expected[name])


@torch.no_grad()
def test_speak_follows_the_same_trunk(pair: tuple[Any, TTSModel], inputs: tuple[Tensor, Tensor]) -> None:
    tokens, style = inputs
    expected, got = their_trunk(pair[0], tokens, style), pair[1].speak(tokens, style)
    assert torch.equal(got.durations, expected["durations"][0])
    close(got.f0, expected["f0"][0])
    close(got.energy, expected["energy"][0])
    audio, durations = pair[0].forward_with_tokens(tokens, style, 1.3)
    faster = pair[1].speak(tokens, style, speed=1.3)
    assert torch.equal(faster.durations, durations)
    assert faster.audio.shape == audio.shape


@torch.no_grad()
def test_generator_is_kokoros_at_equal_harmonics(
    pair: tuple[Any, TTSModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs, ours = pair[0].decoder.generator, pair[1].decoder.generator
    rng = torch.Generator().manual_seed(5)
    x, style = torch.randn(2, 512, 30, generator=rng), 0.3 * torch.randn(2, 128, generator=rng)
    source = 0.1 * torch.randn(2, 30 * 300, generator=rng)
    magnitude, phase = theirs.stft.transform(source)
    monkeypatch.setattr(theirs.m_source, "forward", lambda f0: (source[:, :, None], None, None))
    monkeypatch.setattr(ours.m_source, "forward", lambda f0, rng: source)
    expected = theirs(x, style, torch.full((2, 60), 120.0)[:, :30])
    harmonics = torch.cat([magnitude, phase], dim=1)
    close(ours.synthesise(x, style, harmonics), expected.squeeze(1), 1e-4)
    # Our own analysis of the same source: equal but where rounding turns a phase of pi into -pi.
    own = ours.harmonics(torch.full((2, 30), 120.0))
    close(own[:, :11], magnitude)
    apart = (own[:, 11:] - phase).abs()
    assert float((apart > 1e-2).float().mean()) < 1e-3
    assert torch.equal(own[:, [11, 21]], phase[:, [0, 10]])


@torch.no_grad()
def test_sines_are_kokoros(pair: tuple[Any, TTSModel], monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = pair[0].decoder.generator
    f0 = torch.tensor([[0.0, 0.0, 110.0, 115.5, 120.0, 131.0, 0.0, 0.0, 220.0, 230.0, 700.0, 0.0]])
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
    expected, voiced, _ = theirs.m_source.l_sin_gen(theirs.f0_upsamp(f0[:, None]).transpose(1, 2))
    assert float((sines(f0, 8) * AMPLITUDE * voiced - expected).abs().max()) < 1e-4


def test_export_loads_in_the_package(
    pair: tuple[Any, TTSModel], inputs: tuple[Tensor, Tensor], tmp_path: Path
) -> None:
    theirs, ours = pair
    export_kokoro(ours, tmp_path / "voice.pth")
    loaded = kokoro_oracle.build(CONFIG, tmp_path, tmp_path / "voice.pth")
    content = torch.load(tmp_path / "voice.pth", weights_only=True)
    assert set(content) == set(CHILDREN)
    for child, state in content.items():
        net = getattr(loaded, child)
        report = net.load_state_dict(
            {key.removeprefix("module."): v for key, v in state.items()}, strict=False
        )
        extras = {key for key in net.state_dict() if affine(key)}
        assert set(report.missing_keys) == extras
        assert report.unexpected_keys == []
        assert len(extras) == {"decoder": 116, "predictor": 24}.get(child, 0)
    fresh = loaded.state_dict()
    for key, value in theirs.state_dict().items():
        assert torch.equal(fresh[key], value), key
        if affine(key):
            assert torch.equal(value, torch.ones_like(value) * key.endswith("weight"))
    with torch.no_grad():
        expected, got = our_trunk(ours, *inputs), their_trunk(loaded, *inputs)
    assert torch.equal(got["durations"], expected["durations"])
    close(got["front"], expected["front"])
