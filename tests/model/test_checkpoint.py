"""Weights on disk: exact round trips, every known layout, and refusals that name what is wrong."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_models import kokoro_like, small
from torch import Tensor, nn

from voicewright.catalogue.places import read_card
from voicewright.errors import VoicewrightError
from voicewright.model import checkpoint, layouts
from voicewright.model.checkpoint import export_kokoro, load_model, save_model
from voicewright.model.config import Extension, IstftNet, ModelConfig, PlBert
from voicewright.model.layers import spectral_norm
from voicewright.model.tts.model import TTSModel
from voicewright.model.tts.style import StyleEncoders

NORM = "parametrizations.weight"


def same(model: nn.Module, other: nn.Module) -> None:
    left, right = model.state_dict(), other.state_dict()
    assert left.keys() == right.keys()
    for key, value in left.items():
        assert torch.equal(value, right[key]), key


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, TTSModel, StyleEncoders]:
    config = small()
    torch.manual_seed(1)
    model, styles = TTSModel(config), StyleEncoders(config)
    save_model(tmp_path / "voice", model, config, styles, card={"name": "Ada", "hours": 1.5})
    return tmp_path / "voice", model, styles


def kokoro_layout(model: TTSModel, module: str = "module.") -> dict[str, dict[str, Tensor]]:
    """The published layout, made here by hand and not by the code under test."""
    out: dict[str, dict[str, Tensor]] = {}
    for key, value in model.state_dict().items():
        child, rest = key.split(".", 1)
        rest = rest.replace(f"{NORM}.original0", "weight_g").replace(f"{NORM}.original1", "weight_v")
        out.setdefault(child, {})[module + rest] = value.clone()
    return out


def old_spectral(encoder: nn.Module) -> dict[str, Tensor]:
    names = {f"{NORM}.original": "weight_orig", f"{NORM}.0._u": "weight_u", f"{NORM}.0._v": "weight_v"}
    out = {}
    for key, value in encoder.state_dict().items():
        for new, old in names.items():
            if key.endswith(new):
                key = key.removesuffix(new) + old
        out[f"module.{key}"] = value.clone()
    return out


def test_a_folder_comes_back_exactly(saved: tuple[Path, TTSModel, StyleEncoders]) -> None:
    folder, model, styles = saved
    loaded, config, encoders = load_model(folder)
    assert config == small()
    same(model, loaded)
    assert encoders is not None
    same(styles, encoders)
    assert not loaded.training and not encoders.training
    assert read_card(folder) == {"name": "Ada", "hours": 1.5}
    assert sorted(path.name for path in folder.iterdir()) == ["card.json", "config.json", "model.safetensors"]
    again, _, _ = load_model(folder / "model.safetensors")
    same(model, again)


def test_half_precision_storage_is_half_the_size_and_restores_fp32(
    saved: tuple[Path, TTSModel, StyleEncoders], tmp_path: Path
) -> None:
    _, model, _ = saved
    save_model(tmp_path / "half", model, model.config, dtype=torch.float16)
    assert all(
        value.dtype == torch.float16 for value in load_file(tmp_path / "half/model.safetensors").values()
    )
    loaded, _, styles = load_model(tmp_path / "half")
    assert styles is None
    for key, value in loaded.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, model.state_dict()[key].half().float()), key
    with torch.no_grad():
        model.bert_encoder.weight[0, 0] = 1e6
    with pytest.raises(VoicewrightError, match=r"bert_encoder\.weight is not finite as torch\.float16"):
        save_model(tmp_path / "other", model, model.config, dtype=torch.float16)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("prefix", ["module.", ""])
def test_kokoros_layout_loads(prefix: str, tmp_path: Path) -> None:
    model = TTSModel(kokoro_like())
    content = kokoro_layout(model, prefix)
    content["bert"][f"{prefix}embeddings.position_ids"] = torch.arange(512)[None]
    torch.save(content, tmp_path / "voice.pth")
    kokoro_like().write(tmp_path / "config.json")
    loaded, _, styles = load_model(tmp_path / "voice.pth")
    same(model, loaded)
    assert styles is None


def test_styletts2s_layout_loads_with_both_style_encoders(tmp_path: Path) -> None:
    config = small()
    model, styles = TTSModel(config), StyleEncoders(config).eval()
    net: dict[str, Any] = kokoro_layout(model)
    net |= {
        "style_encoder": old_spectral(styles.acoustic),
        "predictor_encoder": old_spectral(styles.prosodic),
    }
    net["mpd"] = {"discriminators.0.bias": torch.zeros(3)}
    net["diffusion"] = {"module.net.weight": torch.zeros(3)}
    assert "module.shared.0.weight_orig" in net["style_encoder"]
    torch.save({"net": net, "epoch": 3, "val_loss": 0.4}, tmp_path / "epoch.pth")
    loaded, _, encoders = load_model(tmp_path / "epoch.pth", config)
    same(model, loaded)
    assert encoders is not None
    same(styles, encoders)
    mel = torch.randn(1, 80, 70)
    with torch.no_grad():
        assert torch.equal(styles.encode(mel), encoders.encode(mel))


def test_old_spectral_norm_means_the_same() -> None:
    """The renaming against the old hook itself, not only against itself."""
    torch.manual_seed(2)
    old = nn.utils.spectral_norm(nn.Conv2d(3, 5, 3))
    old(torch.randn(1, 3, 8, 8))
    new = spectral_norm(nn.Conv2d(3, 5, 3))
    state = layouts.rename({f"c.{key}": value for key, value in old.state_dict().items()})
    new.load_state_dict({key.removeprefix("c."): value for key, value in state.items()})
    x = torch.randn(1, 3, 8, 8)
    torch.testing.assert_close(new.eval()(x), old.eval()(x))


def test_folded_weights_load(tmp_path: Path) -> None:
    config = small()
    model = TTSModel(config).eval()
    tokens, style = torch.randint(1, 178, (1, 6)), torch.randn(1, 256)
    durations = torch.full((1, 6), 2)
    before = model.speak(tokens, style, durations=durations)
    save_model(tmp_path, model.fold(), config)
    assert not any("original" in key for key in load_file(tmp_path / "model.safetensors"))
    loaded, _, _ = load_model(tmp_path)
    assert any("original0" in key for key in loaded.state_dict())
    after = loaded.speak(tokens, style, durations=durations)
    torch.testing.assert_close(before.f0, after.f0, rtol=1e-4, atol=1e-5)


def test_affine_norm_extras_are_folded_into_the_style(tmp_path: Path) -> None:
    """A model whose instance norms have trained affine weights gives the same numbers without them."""
    config = small()
    model = TTSModel(config).eval()
    content = kokoro_layout(model)
    rng = torch.Generator().manual_seed(0)
    block = model.decoder.encode
    scale, shift = torch.randn(18, generator=rng), torch.randn(18, generator=rng)
    content["decoder"]["module.encode.norm1.norm.weight"] = scale
    content["decoder"]["module.encode.norm1.norm.bias"] = shift
    torch.save(content, tmp_path / "affine.pth")
    loaded, _, _ = load_model(tmp_path / "affine.pth", config)
    x, style = torch.randn(2, 18, 20), torch.randn(2, 128)
    with torch.no_grad():
        gamma, beta = block.norm1.fc(style)[:, :, None].chunk(2, dim=1)
        plain = torch.nn.functional.instance_norm(x) * scale[:, None] + shift[:, None]
        expected = (1 + gamma) * plain + beta
        torch.testing.assert_close(loaded.decoder.encode.norm1(x, style), expected, rtol=1e-4, atol=1e-4)


def test_every_difference_is_named_at_once(saved: tuple[Path, TTSModel, StyleEncoders]) -> None:
    folder = saved[0]
    path = folder / "model.safetensors"
    state = load_file(path)
    del state["bert_encoder.weight"], state["predictor.lstm.bias_hh_l0"]
    state["decoder.extra"] = torch.zeros(2)
    state["style_encoders.acoustic.unshared.bias"] = torch.zeros(7)
    save_file(state, path)
    with pytest.raises(VoicewrightError) as caught:
        load_model(folder)
    text = str(caught.value)
    assert "missing (2): bert_encoder.weight, predictor.lstm.bias_hh_l0" in text
    assert "unexpected (1): decoder.extra" in text
    assert "wrong shape (1): style_encoders.acoustic.unshared.bias [7] instead of [128]" in text
    assert str(path) in text and "config.json" in text


def test_weights_of_other_widths_are_refused(saved: tuple[Path, TTSModel, StyleEncoders]) -> None:
    with pytest.raises(VoicewrightError, match=r"decoder\.encode\.conv1.*instead of"):
        load_model(saved[0], small(decoder_channels=32))


@pytest.mark.parametrize("keep", [0, 5, 400, -100])
def test_truncated_safetensors_are_refused(saved: tuple[Path, TTSModel, StyleEncoders], keep: int) -> None:
    path = saved[0] / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(VoicewrightError, match=r"model\.safetensors is damaged"):
        load_model(saved[0])


@pytest.mark.parametrize("keep", [0, 5, 400, -100])
def test_truncated_pickles_are_refused(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "voice.pth"
    torch.save(kokoro_layout(TTSModel(small())), path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(VoicewrightError, match=r"voice\.pth is damaged"):
        load_model(path, small())


class Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("writer", ["torch", "plain"])
def test_a_pickle_with_code_is_refused_and_runs_nothing(tmp_path: Path, writer: str) -> None:
    target, path = tmp_path / "ran", tmp_path / "voice.pth"
    content = {"decoder": {"x": torch.zeros(1)}, "bomb": Bomb(target)}
    if writer == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(VoicewrightError, match="was refused and nothing in it was run"):
        load_model(path, small())
    assert not target.exists()
    pickle.loads(pickle.dumps(Bomb(target)))
    assert target.exists()  # the bomb does go off where nobody refuses it


@pytest.mark.parametrize("content", [{}, [1, 2], {"bert": 3}, {"net": {}}])
def test_a_file_without_weights_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "voice.pth")
    with pytest.raises(VoicewrightError, match="give a Kokoro or StyleTTS 2 weights file"):
        load_model(tmp_path / "voice.pth", small())


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(VoicewrightError, match=r"config\.json"):
        load_model(tmp_path)
    small().write(tmp_path / "config.json")
    with pytest.raises(VoicewrightError, match=r"model\.safetensors does not exist"):
        load_model(tmp_path)


def test_a_failed_write_leaves_the_old_file(
    saved: tuple[Path, TTSModel, StyleEncoders], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, model, styles = saved
    before = (folder / "model.safetensors").read_bytes()

    def full(*_: object, **__: object) -> None:
        Path(_[1]).write_bytes(b"half a file")  # type: ignore[arg-type]
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(VoicewrightError, match=r"model\.safetensors could not be written.*disk is full"):
        save_model(folder, TTSModel(small()), small(), styles)
    assert (folder / "model.safetensors").read_bytes() == before
    assert sorted(path.name for path in folder.iterdir()) == ["card.json", "config.json", "model.safetensors"]
    same(model, load_model(folder)[0])


def test_export_writes_kokoros_layout_also_from_a_folded_model(tmp_path: Path) -> None:
    config = ModelConfig(vocab={}, plbert=PlBert(num_hidden_layers=1))
    model = TTSModel(config)
    plain = kokoro_layout(model)
    export_kokoro(model, tmp_path / "a.pth")
    written = torch.load(tmp_path / "a.pth", weights_only=True)
    assert {c: s.keys() for c, s in written.items()} == {c: s.keys() for c, s in plain.items()}
    assert all(torch.equal(written[c][k], v) for c, state in plain.items() for k, v in state.items())
    export_kokoro(model.fold(), tmp_path / "b.pth")
    folded = torch.load(tmp_path / "b.pth", weights_only=True)
    assert {c: s.keys() for c, s in folded.items()} == {c: s.keys() for c, s in plain.items()}


def test_export_refuses_what_the_package_cannot_build(tmp_path: Path) -> None:
    with pytest.raises(
        VoicewrightError, match=r"voicewright\.excitation.*hidden_dim.*upsample_initial_channel"
    ):
        export_kokoro(TTSModel(small()), tmp_path / "a.pth")
    assert not list(tmp_path.iterdir())
    assert IstftNet().upsample_initial_channel == 512 and Extension().harmonics == 8
