"""RVC's synthesizer against numbers that upstream's own classes gave, in every configuration.

`data/rvc_expected.json` was made by RVC-WebUI's `infer_pack/models.py` (branch 20240604, d60cd3d), in fp32 on
one thread, with the weights and inputs of `rvc_weights.py`. For each configuration: names and shapes of the
full-size table, and of the same synthesizer in narrow (`reduced`) the samples of a whole utterance (seed 3),
of frames 30 to 41 alone, of the same stretched to 14 frames, and of a training pass with all its latents
(seed 4). v2 at 40 kHz stands there in full size too.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rvc_weights import digest, filled, inputs, noise, reduced, summary

from voicewright.model.checkpoint import Unfilled
from voicewright.rvc.network.config import RVC_PRESETS, SynthesizerConfig
from voicewright.rvc.network.synthesizer import Synthesizer

EXPECTED: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "support" / "data" / "rvc_expected.json").read_text("utf-8")
)
CONFIGS = {
    f"{version}-{rate}-{'f0' if f0 else 'plain'}": replace(preset, f0=f0)
    for (version, rate), preset in RVC_PRESETS.items()
    for f0 in (True, False)
}
TOLERANCE = 1e-5


def shapes(module: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in module.state_dict().items()}


def furthest(x: torch.Tensor, expected: dict[str, Any]) -> float:
    """The largest deviation of the recorded values, and of the length relative to itself."""
    found = summary(x)
    assert found["shape"] == expected["shape"]
    values = zip(found["values"], expected["values"], strict=True)  # type: ignore[call-overload]
    length = abs(found["norm"] - expected["norm"]) / expected["norm"]  # type: ignore[operator]
    return max(length, *(abs(a - b) for a, b in values))


def made(config: SynthesizerConfig) -> Synthesizer:
    net = Synthesizer(config)
    net.load_state_dict(filled(shapes(net)))
    return net.eval()


def test_every_configuration_is_expected() -> None:
    assert set(EXPECTED) == set(CONFIGS)


@pytest.mark.parametrize("name", CONFIGS)
def test_full_size_has_upstreams_names_and_shapes(name: str) -> None:
    with torch.device("meta"), Unfilled():
        net = Synthesizer(CONFIGS[name])
    used = {key: value for key, value in net.state_dict().items() if not key.startswith("enc_q")}
    assert len(used) == EXPECTED[name]["tensors"]
    assert sum(value.numel() for value in used.values()) == EXPECTED[name]["parameters"]
    assert digest(shapes(net)) == EXPECTED[name]["names"]


@pytest.mark.parametrize("name", CONFIGS)
def test_inference_is_upstreams(name: str) -> None:
    expected = EXPECTED[name]["reduced"]
    config = reduced(CONFIGS[name])
    net = made(config)
    given = inputs(name, config.phone_width).values()
    part = {"skip_head": 30, "return_length": 12}
    for what, more in (("infer", {}), ("streamed", part), ("stretched", {**part, "decode_length": 14})):
        torch.manual_seed(3)
        assert furthest(net.infer(*given, **more), expected[what]) < TOLERANCE
        own = torch.Generator().manual_seed(3)
        assert furthest(net.infer(*given, generator=own, **more), expected[what]) < TOLERANCE


@pytest.mark.parametrize("name", CONFIGS)
def test_the_training_pass_is_upstreams(name: str) -> None:
    expected = EXPECTED[name]["reduced"]
    config = reduced(CONFIGS[name])
    net = made(config)
    *given, speaker = inputs(name, config.phone_width).values()
    spectrum = noise(f"{name}.spectrum", (2, config.spec_channels, 48)).abs()
    torch.manual_seed(4)
    audio, first, mask, spectrum_mask, latents = net(*given, spectrum, torch.tensor([48, 47]), speaker)
    assert first.tolist() == expected["first"]
    assert furthest(audio[:, 0], expected["trained"]) < TOLERANCE
    for what, value in zip(expected["latents"], latents, strict=True):
        assert furthest(value, expected["latents"][what]) < TOLERANCE
    assert mask.sum().item() == 48 + 39 and spectrum_mask.sum().item() == 48 + 47
    audio.sum().backward()
    assert all(value.grad is not None for value in net.dec.parameters())


def test_full_size_is_upstreams() -> None:
    name = "v2-40k-f0"
    given = inputs(name, 768, 12).values()
    net = made(CONFIGS[name])
    torch.manual_seed(3)
    assert furthest(net.infer(*given), EXPECTED[name]["full"]["infer"]) < TOLERANCE
