"""StyleTTS 2's HiFi-GAN generator: upstream's numbers, its place in the graph, what it refuses."""

from __future__ import annotations

from pathlib import Path

import hifigan_reference as reference
import pytest
import torch
from pydantic import ValidationError
from small_models import hifigan_like

from voicewright.errors import VoicewrightError
from voicewright.model.checkpoint import export_kokoro, load_model, save_model
from voicewright.model.config import Extension, IstftNet
from voicewright.model.layers import fold
from voicewright.model.layouts import NORM
from voicewright.model.tts.hifigan import TAIL, HifiGan
from voicewright.model.tts.model import TTSModel
from voicewright.model.tts.style import StyleEncoders

# Every 119th sample from the 37th on, and the RMS of each 300 samples; see hifigan_reference.py.
SAMPLES = [
    0.647022, 0.479972, 0.514216, 0.474679, 0.588988, 0.522329, 0.562981, 0.488814,
    0.524892, 0.512315, 0.429034, 0.619574, 0.439251, 0.514017, 0.492801,
]  # fmt: skip
LEVELS = [0.534039, 0.530406, 0.544385, 0.586459, 0.540718, 0.542806]


@pytest.fixture
def generator() -> HifiGan:
    config = IstftNet(
        upsample_rates=(10, 5, 3, 2),
        upsample_kernel_sizes=(20, 10, 6, 4),
        gen_istft_hop_size=1,
        upsample_initial_channel=32,
    )
    net = HifiGan(config, Extension(decoder="hifigan"), 128).eval()
    with torch.no_grad():
        for key, value in net.state_dict().items():
            old = key
            for new, hook in (("original0", "weight_g"), ("original1", "weight_v")):
                old = old.replace(f"{NORM[1:]}{new}", hook)
            value.copy_(reference.weight(old, value.shape))
    return net


@torch.no_grad()
def test_the_generator_gives_upstreams_numbers(generator: HifiGan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generator.m_source, "forward", lambda f0, rng: reference.source())
    f0 = torch.full((1, reference.STEPS), 120.0)
    audio = generator(reference.features(), reference.style(), f0)
    assert audio.shape == (1, 300 * reference.STEPS)
    torch.testing.assert_close(audio[0, 37::119], torch.tensor(SAMPLES), rtol=0, atol=2e-5)
    levels = torch.stack([part.square().mean().sqrt() for part in audio[0].split(300)])
    torch.testing.assert_close(levels, torch.tensor(LEVELS), rtol=0, atol=2e-5)
    before = audio.clone()
    fold(generator)
    torch.testing.assert_close(generator(reference.features(), reference.style(), f0), before)


def test_the_graph_speaks_and_trains_with_it() -> None:
    torch.manual_seed(0)
    model = TTSModel(hifigan_like())
    tokens, style = torch.tensor([[0, 50, 51, 4, 0]]), torch.randn(1, 256)
    durations = torch.full((1, 5), 2)
    curves = {"f0": torch.full((1, 20), 120.0), "energy": torch.zeros(1, 20)}
    rng = torch.Generator().manual_seed(1)
    spoken = model.speak(tokens, style, generator=rng, durations=durations, **curves)
    assert spoken.audio.shape == (6000,) and bool(torch.isfinite(spoken.audio).all())
    assert float(spoken.audio.std()) > 0 and not spoken.audio[-TAIL:].any() and spoken.audio[-TAIL - 1] != 0
    asr = model.expand(model.encode_text(tokens), durations)
    model.decoder(asr, curves["f0"], curves["energy"], style[:, :128]).square().mean().backward()
    silent = [name for name, p in model.decoder.named_parameters() if p.grad is None]
    assert silent == []


def test_it_is_spoken_one_frame_late_as_upstream_does(monkeypatch: pytest.MonkeyPatch) -> None:
    model = TTSModel(hifigan_like())
    seen: list[torch.Tensor] = []

    def decoder(asr: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
        seen.append(asr)
        return torch.zeros(1, 600 * asr.shape[2])

    monkeypatch.setattr(model.decoder, "forward", decoder)
    tokens, durations = torch.tensor([[0, 50, 51, 4, 0]]), torch.tensor([[1, 2, 3, 1, 2]])
    model.speak(tokens, torch.zeros(1, 256), durations=durations)
    with torch.inference_mode():
        text = model.expand(model.eval().encode_text(tokens), durations)
    torch.testing.assert_close(seen[0], text[..., [0, *range(text.shape[2] - 1)]])
    assert not torch.equal(text[..., 0], text[..., 1])


def test_a_folder_of_it_comes_back_and_is_not_for_the_kokoro_package(tmp_path: Path) -> None:
    config = hifigan_like()
    model, styles = TTSModel(config), StyleEncoders(config)
    save_model(tmp_path / "m", model, config, styles)
    loaded, found, encoders = load_model(tmp_path / "m")
    assert found == config and encoders is not None
    for key, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), key
    with pytest.raises(VoicewrightError, match=r"voicewright\.decoder"):
        export_kokoro(model, tmp_path / "x.pth")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"istftnet": {"upsample_rates": [10, 6], "upsample_kernel_sizes": [20, 12]}}, "must be 1"),
        ({"voicewright": {"decoder": "hifigan", "excitation": "pulse"}}, "no switches for its source"),
        ({"voicewright": {"decoder": "istftnet"}}, "kernel 10 does not fit rate 5"),
        ({"voicewright": {"decoder": "wavenet"}}, "'istftnet' or 'hifigan'"),
    ],
)
def test_what_cannot_be_built_is_explained(change: dict[str, object], words: str) -> None:
    config = hifigan_like()
    with pytest.raises(ValidationError, match=words):
        type(config).model_validate(config.model_dump() | change)
