"""Weights kept as fp16: the kernels and torch say the same with them, and nearly what fp32 says."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_models import kokoro_like
from test_fast import BACKENDS, LEVELS, model_of, needs_kernels, ratio, seeded, spoken
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from voicewright.engines.torch_engine import TorchEngine
from voicewright.errors import UsageError
from voicewright.model.checkpoint import load_model, save_model
from voicewright.model.fast import choice
from voicewright.model.fast.convolution import Backend, Before, NativeConv, TorchConv, activate
from voicewright.model.fast.filters import BALANCED, FAST, halved
from voicewright.model.fast.generator import plain_weight
from voicewright.model.fast.library import LEAKY, PLAIN, SNAKE
from voicewright.model.fast.model import FastModel
from voicewright.model.fast.text import FastLstm
from voicewright.model.half import LEAST, narrow
from voicewright.model.tts.source import Source

HALVES = {name: replace(backend, stored="half") for name, backend in BACKENDS.items()}


def test_fp16_has_room_for_weights_of_every_size() -> None:
    for size in (1e-9, 1e-3, 1.0, 3e5):
        weight = size * torch.randn(70, 8, 3, generator=seeded())
        stored, factor = halved(weight)
        assert stored.dtype == torch.float16
        assert ratio(stored.float() * factor, weight) > 70
    stored, factor = halved(torch.zeros(2, 3, 1))
    assert not stored.any() and factor == 1.0


@needs_kernels
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    ("cin", "cout", "taps", "dilation", "rows", "activation"),
    [
        (40, 24, 3, 1, 100, SNAKE),
        (33, 70, 11, 5, 301, SNAKE),
        (22, 22, 7, 3, 64, LEAKY),
        (48, 16, 3, 5, 4, PLAIN),
    ],
)
def test_kernels_widen_and_transform(
    level: int, cin: int, cout: int, taps: int, dilation: int, rows: int, activation: int
) -> None:
    """Beside sums in fp64 with the same rounded weights."""
    torch.manual_seed(0)
    weight, bias = 1e-3 * torch.randn(cout, cin, taps) / math.sqrt(cin * taps), torch.randn(cout)
    stored, factor = halved(weight)
    rounded = stored.double() * factor
    stats = torch.stack([torch.randn(cin), torch.rand(cin) + 0.3])
    before = Before(stats, torch.randn(2, cin), activation, 0.2, torch.rand(cin) + 0.5)
    x = torch.randn(rows, cin)
    wide = activate(x.double(), before).T[None]
    expected = F.conv1d(wide, rounded, dilation=dilation, padding=(taps - 1) * dilation // 2)[0].T
    out = torch.empty(rows, cout)
    for plan in (None, BALANCED[taps], FAST[taps]):
        NativeConv(weight, None, dilation, taps // 2, plan, level, "half")(x, out, before)
        assert ratio(out, expected) > 100
    TorchConv(weight, bias, dilation, taps // 2, torch.float32, stored="half")(x, out, before)
    assert ratio(out - bias, expected) > 60  # the bias, a thousand times larger, takes the rest


@needs_kernels
@pytest.mark.parametrize("level", LEVELS)
def test_the_recurrent_kernel_widens(level: int) -> None:
    torch.manual_seed(4)
    lstm = nn.LSTM(48, 64, batch_first=True, bidirectional=True).requires_grad_(False)
    x = torch.randn(50, 48)
    fast = FastLstm(lstm, Backend(level, FAST, stored="half"))
    for name, value in lstm.named_parameters():
        if "weight" in name:
            stored, factor = halved(value)
            value.copy_(stored.float() * factor)
    assert torch.allclose(fast(x), lstm(x[None])[0][0], atol=4e-6)


@pytest.mark.parametrize("name", HALVES)
def test_speech_from_halves_is_near(name: str) -> None:
    """The same rounded weights in torch alone: 90 dB; the plain graph in fp32: 50 dB."""
    model = model_of(kokoro_like())
    tokens, style, given = spoken(model.config)
    expected = model.speak(tokens, style, 1.0, seeded(), **given).audio
    in_torch = FastModel(model, HALVES["torch"]).speak(tokens, style, 1.0, seeded(), **given).audio
    result = FastModel(model, HALVES[name]).speak(tokens, style, 1.0, seeded(), **given).audio
    assert ratio(result, in_torch) > 90
    assert 50 < ratio(result, expected) < 90


@pytest.mark.parametrize("name", HALVES)
def test_prosody_from_halves_is_near(name: str) -> None:
    model = model_of(kokoro_like())
    tokens, style, _ = spoken(model.config)
    expected = model.speak(tokens, style, 1.3)
    result = FastModel(model, HALVES[name]).speak(tokens, style, 1.3)
    assert torch.equal(result.durations, expected.durations)
    assert float((result.f0 - expected.f0).abs().max()) < 0.1


@pytest.mark.parametrize("kind", ["model.safetensors", "kokoro.pth"])
def test_a_file_is_read_as_halves_that_are_rounded_once(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voicewright.model.half.LEAST", 64)
    model = model_of(kokoro_like())
    # directions of any length, as training leaves them
    model.decoder.generator.conv_post.parametrizations.weight.original1.data.mul_(3.0)
    save_model(tmp_path, model, model.config)
    if kind == "kokoro.pth":
        torch.save({"net": dict(model.state_dict())}, tmp_path / kind)
    read = load_model(tmp_path / kind, model.config, styles=False, halves=True)[0]
    assert {value.dtype for value in read.state_dict().values()} == {torch.float16, torch.float32}
    checked = 0
    for mine, theirs in zip(read.modules(), model.modules(), strict=True):
        if isinstance(theirs, nn.Conv1d | nn.ConvTranspose1d) and parametrize.is_parametrized(theirs):
            weight = plain_weight(theirs)
            if weight.numel() >= 64:
                # halves of the scale that the kernels use, and of none: the same numbers but for the tiniest
                stored, factor = halved(plain_weight(mine))
                assert torch.allclose(stored.float() * factor, weight.half().float(), atol=1e-7)
                checked += 1
    assert checked > 10
    tokens, style, given = spoken(model.config)
    backend = HALVES[list(HALVES)[-1]]
    expected = model.speak(tokens, style, 1.0, seeded(), **given).audio
    made = FastModel(read, backend, consume=True).speak(tokens, style, 1.0, seeded(), **given).audio
    assert ratio(made, expected) > 50


def test_only_what_fp16_holds_becomes_fp16() -> None:
    large = torch.randn(LEAST // 16, 16, generator=seeded())
    state = {"small": torch.randn(4, 4), "tiny": 1e-4 * large, "huge": 1e5 * large, "usual": large.clone()}
    given = {key: value.clone() for key, value in state.items()}
    found = narrow(dict(state))
    assert {key for key, value in found.items() if value.dtype == torch.float16} == {"usual"}
    for key, value in found.items():
        assert ratio(value.float(), given[key]) > 70


@pytest.mark.parametrize("overtones", [8, 12])
def test_a_source_in_pieces_is_the_whole(overtones: int) -> None:
    source = Source(overtones, "sines", plain_mix=False)
    f0 = 200 + 20 * torch.randn(1, 53, generator=seeded()).cumsum(1)
    f0[:, 10:18] = 0
    with torch.no_grad():
        whole = source(f0, seeded(1))
        made = list(source.pieces(f0, seeded(1), frames=16))
    assert len(made) == 4
    assert torch.allclose(torch.cat(made, dim=1), whole, atol=1e-6)


def test_the_engine_takes_halves() -> None:
    engine = TorchEngine(weights="half")
    full = TorchEngine()
    mine, theirs = (e.speak("One, two.", seed=3) for e in (engine, full))
    assert len(mine.samples) == len(theirs.samples)
    assert mine.chunks[0].words == theirs.chunks[0].words
    with pytest.raises(UsageError, match="cannot be stored as 'quarter'"):
        choice.choose("torch", "quarter")
