"""RVC's synthesizer for inference: the fast one says what the plain one says."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from rvc_weights import filled, inputs, reduced
from torch import Tensor

from voicewright.model.fast import choice
from voicewright.model.fast.library import library
from voicewright.rvc.network import fast
from voicewright.rvc.network.config import RVC_PRESETS, SynthesizerConfig
from voicewright.rvc.network.decoder import phase
from voicewright.rvc.network.fast import FastSynthesizer
from voicewright.rvc.network.synthesizer import Synthesizer

KINDS = ["torch", "native"] if library() is not None else ["torch"]
V2 = reduced(RVC_PRESETS["v2", "40k"])


def made(config: SynthesizerConfig) -> Synthesizer:
    net = Synthesizer(config, posterior=False)
    net.load_state_dict(filled({name: tuple(value.shape) for name, value in net.state_dict().items()}))
    return net.eval()


def decibels(signal: Tensor, other: Tensor) -> float:
    assert signal.shape == other.shape
    difference = (signal - other).square().mean().item()
    return 10 * math.log10(signal.square().mean().item() / max(difference, 1e-30))


@pytest.mark.parametrize(
    ("key", "f0", "kind"),
    [(key, f0, KINDS[-1]) for key in RVC_PRESETS for f0 in (True, False)] + [(("v1", "48k"), True, "torch")],
)
def test_fast_says_what_plain_says(
    key: tuple[str, str], f0: bool, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = reduced(replace(RVC_PRESETS[key], f0=f0))  # type: ignore[index]
    net = made(config)
    quick = FastSynthesizer(net, choice.choose(kind))
    given = inputs("fast", config.phone_width, 60, 1).values()
    part = {"skip_head": 30, "return_length": 15}
    for window in (1 << 14, 1 << 30):  # several windows, and one
        monkeypatch.setattr(fast, "WINDOW", window)
        for more in ({}, part, {**part, "decode_length": 17}):
            torch.manual_seed(1)
            plain = net.infer(*given, **more)
            torch.manual_seed(1)
            assert decibels(plain, quick.infer(*given, **more)) > 100


def test_small_residual_blocks() -> None:
    config = replace(V2, resblock="2", resblock_dilations=((1, 3),) * 3)
    net = made(config)
    given = inputs("fast", config.phone_width, 30).values()
    for kind in KINDS:
        torch.manual_seed(1)
        plain = net.infer(*given)
        torch.manual_seed(1)
        assert decibels(plain, FastSynthesizer(net, choice.choose(kind)).infer(*given)) > 100


def test_fast_keeps_its_own_weights() -> None:
    net = made(V2)
    given = inputs("fast", V2.phone_width, 20, 1).values()
    quick = FastSynthesizer(net)
    before = quick.infer(*given, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for value in net.parameters():
            value.zero_()
    after = quick.infer(*given, generator=torch.Generator().manual_seed(1))
    assert torch.equal(before, after) and before.abs().max() > 0.01


@pytest.mark.parametrize("quick", [True, False])
def test_a_batch_is_its_items(quick: bool) -> None:
    """A shorter item in a batch is what it is alone, as far as its own frames reach."""
    net = made(replace(V2, f0=False))
    phone, lengths, *_, who = inputs("batch", 768, 60).values()
    with torch.no_grad():
        net.enc_p.proj.weight[V2.inter :] = 0  # no deviation, so no noise
        net.enc_p.proj.bias[V2.inter :] = -100
    # In fp32: with AMX, bf16 would be chosen, in which 50 dB are all there is.
    speaker = FastSynthesizer(net, choice.choose(KINDS[-1])) if quick else net
    both = speaker.infer(phone, lengths, None, None, who)
    alone = speaker.infer(phone[1:, : lengths[1]], lengths[1:], None, None, who[1:])
    kept = (int(lengths[1]) - 10) * V2.hop
    assert decibels(alone[0, :kept], both[1, :kept]) > 90


@pytest.mark.parametrize("quick", [True, False])
def test_a_pitch_is_asked_for(quick: bool) -> None:
    net = made(V2)
    phone, lengths, pitch, _, who = inputs("x", 768, 20).values()
    speaker = FastSynthesizer(net) if quick else net
    with pytest.raises(ValueError, match="given none"):
        speaker.infer(phone, lengths, None, None, who)
    with pytest.raises(ValueError, match="given none"):
        speaker.infer(phone, lengths, pitch, None, who)


def test_the_phase_of_an_hour_is_exact() -> None:
    """A constant frequency whose period is a whole number of frames ends each where it began."""
    hop, rate, frames = 4, 400, 360_000
    turns = phase(torch.full((1, frames), 50.0), hop, rate).view(frames, hop)
    expected = torch.tensor([0.125, 0.25, 0.375, 0.5])
    assert (turns[::2].abs() - expected).abs().max() < 1e-6
    glide = phase(torch.linspace(100, 200, 300)[None], 400, 40_000).double()
    step = torch.diff(glide) % 1
    assert (step * 40_000 - 100).abs().min() < 0.5 and (step * 40_000 - 200).abs().min() < 0.5
