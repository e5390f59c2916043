"""The restructured graph says what the plain graph says, in every implementation, in windows and in
batches."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from small_models import EXTENSION, ISTFT, kokoro_like, small
from torch import Tensor, nn
from torch.nn import functional as F

from voicewright.errors import UsageError, VoicewrightError
from voicewright.model.config import ModelConfig
from voicewright.model.fast import choice
from voicewright.model.fast.convolution import Backend, Before, NativeConv, TorchConv, activate, moments
from voicewright.model.fast.filters import BALANCED, FAST, Plan, matrices
from voicewright.model.fast.generator import FastGenerator, Segment
from voicewright.model.fast.library import LEAKY, PLAIN, SNAKE, levels, library, threads
from voicewright.model.fast.model import FastModel, Request
from voicewright.model.fast.statistics import Carried, Kept, Statistics
from voicewright.model.fast.text import FastLstm
from voicewright.model.fast.windows import WARM, Windows, pieces, weigh
from voicewright.model.tts.model import TTSModel

LEVELS = [] if library() is None else list(range(library().vw_best() + 1))  # type: ignore[union-attr]
needs_kernels = pytest.mark.skipif(not LEVELS, reason="the compiled kernels were not built here")
BACKENDS = {"torch": Backend(None, {})} | {f"level {i}": Backend(i, FAST) for i in LEVELS}
GRAPHS = {
    "sines": kokoro_like(),
    "pulse": small(),
    "gain": small(source_gain=True),
    "led, edges": small(source_phase_from=2600.0, pitch_edges=True),
    "two stages, pulse": small({**ISTFT, "upsample_rates": (5, 2), "upsample_kernel_sizes": (11, 4)}),
}
assert "excitation" in EXTENSION


def ratio(ours: Tensor, reference: Tensor) -> float:
    """Signal to noise in dB."""
    reference = reference.double()
    noise = (ours.double() - reference).square().mean()
    return float(10 * torch.log10(reference.square().mean() / noise))


def seeded(seed: int = 5) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def model_of(config: ModelConfig) -> TTSModel:
    """Weights that make every branch matter."""
    torch.manual_seed(3)
    model = TTSModel(config).eval()
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "alpha" in name:
                value.add_(0.2 * torch.randn_like(value))
            elif value.dim() == 1:
                value.add_(0.1 * torch.randn_like(value))
        model.predictor.duration_proj.linear_layer.bias.sub_(3.0)
        if model.decoder.generator.gain_post is not None:
            model.decoder.generator.gain_post.weight.normal_(std=0.1)
    return model


def spoken(config: ModelConfig, tokens: int = 12) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Tokens, style, and given prosody with voiced and unvoiced stretches."""
    rng = seeded(tokens)
    ids = torch.randint(1, config.n_token, (1, tokens), generator=rng)
    ids[:, 0] = ids[:, -1] = 0
    durations = torch.randint(1, 9, (1, tokens), generator=rng)
    steps = 2 * int(durations.sum())
    f0 = 150 + 30 * torch.sin(torch.arange(steps) / 7)[None]
    f0[:, steps // 3 : steps // 2] = 0
    energy = torch.randn(1, steps, generator=rng)
    style = 0.3 * torch.randn(1, 2 * config.style_dim, generator=rng)
    return ids, style, {"durations": durations, "f0": f0, "energy": energy}


@pytest.mark.parametrize("plan", [*BALANCED.values(), *FAST.values(), Plan(4, 3, 1)])
def test_minimal_filters_are_filters(plan: Plan) -> None:
    out, filters, given = matrices(plan.m, plan.r)
    signal, taps = torch.randn(plan.points).double(), torch.randn(plan.r).double()
    expected = F.conv1d(signal[None, None], taps[None, None])[0, 0]
    assert torch.allclose(out @ ((filters @ taps) * (given @ signal)), expected, atol=1e-10)
    assert plan.products() < plan.r * plan.subs


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
def test_kernels_equal_torch(
    level: int, cin: int, cout: int, taps: int, dilation: int, rows: int, activation: int
) -> None:
    torch.manual_seed(0)
    weight, bias = torch.randn(cout, cin, taps) / math.sqrt(cin * taps), torch.randn(cout)
    stats = torch.stack([torch.randn(cin), torch.rand(cin) + 0.3])
    before = Before(stats, torch.randn(2, cin), activation, 0.2, torch.rand(cin) + 0.5)
    x, more = torch.randn(rows, cin), torch.randn(rows, cout)
    wide = activate(x.double(), before)
    expected = F.conv1d(
        wide.T[None], weight.double(), bias.double(), dilation=dilation, padding=(taps - 1) * dilation // 2
    )
    result = expected[0].T + more
    counted = (1, rows - 1)
    for plan in (None, BALANCED[taps], FAST[taps]):
        conv = NativeConv(weight, bias, dilation, taps // 2, plan, level)
        out = torch.empty(rows, cout)
        moments = conv(x, out, before, (more,), counted)
        assert ratio(out, result) > 100
        assert moments is not None
        inner = result[1:-1]
        assert torch.allclose(moments[0].double(), inner.mean(0), atol=1e-5)
        assert torch.allclose(moments[1].double(), inner.var(0, correction=0), rtol=1e-4)
    torch_out = torch.empty(rows, cout)
    TorchConv(weight, bias, dilation, taps // 2, torch.float32)(x, torch_out, before, (more,))
    assert ratio(torch_out, result) > 120


@needs_kernels
@pytest.mark.parametrize("level", LEVELS)
def test_the_sine_is_as_exact_as_stated(level: int) -> None:
    x = torch.linspace(-1000, 1000, 4096).view(256, 16)
    conv = NativeConv(torch.eye(16)[:, :, None], None, 1, 0, None, level)
    out = torch.empty(256, 16)
    conv(x, out, Before(activation=SNAKE, alpha=torch.ones(16)))
    error = (out.double() - x.double()) - torch.sin(x.double()).square()
    # storing x + sin² rounds by half a unit of x; that is not the sine's doing
    assert float(error.abs().max()) < 3e-7 + 1000 * 2**-24


@needs_kernels
@pytest.mark.parametrize("level", LEVELS)
def test_the_recurrent_kernel_equals_torch(level: int) -> None:
    torch.manual_seed(4)
    for hidden, steps, gain in ((64, 50, 1.0), (32, 1, 1.0), (64, 20, 60.0)):
        lstm = nn.LSTM(48, hidden, batch_first=True, bidirectional=True).requires_grad_(False)
        x = gain * torch.randn(steps, 48)  # a large gain saturates every gate
        expected = lstm(x[None])[0][0]
        fast = FastLstm(lstm, Backend(level, FAST), lambda module: module.weight_hh_l0.zero_())
        assert not lstm.weight_hh_l0.any(), "the kernel was not used"
        assert torch.allclose(fast(x), expected, atol=2e-6)


@needs_kernels
def test_variance_survives_a_large_mean() -> None:
    x = 1000 + torch.randn(5000, 24)
    stats = Backend(LEVELS[-1], {}).add(x, None, None, (0, 5000))
    assert torch.allclose(stats[1], x.double().var(0, correction=0).float(), rtol=1e-3)


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("graph", GRAPHS)
def test_speech_equals_the_plain_graph(name: str, graph: str) -> None:
    model = model_of(GRAPHS[graph])
    tokens, style, given = spoken(model.config)
    expected = model.speak(tokens, style, 1.0, seeded(), **given)
    fast = FastModel(model, BACKENDS[name], consume=True)
    assert model.decoder.encode.conv1.parametrizations.weight.original1.numel() == 0
    result = fast.speak(tokens, style, 1.0, seeded(), **given)
    assert result.audio.shape == expected.audio.shape
    assert expected.audio.std() > 1e-4
    assert ratio(result.audio, expected.audio) > 90


@pytest.mark.parametrize("name", BACKENDS)
def test_prosody_equals_the_plain_graph(name: str) -> None:
    model = model_of(kokoro_like())
    tokens, style, _ = spoken(model.config)
    expected = model.speak(tokens, style, 1.3)
    result = FastModel(model, BACKENDS[name]).speak(tokens, style, 1.3)
    assert torch.equal(result.durations, expected.durations)
    assert torch.allclose(result.f0, expected.f0, rtol=1e-4, atol=1e-4)
    assert torch.allclose(result.energy, expected.energy, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", BACKENDS)
def test_a_batch_is_its_single_runs(name: str) -> None:
    fast = FastModel(model_of(kokoro_like()), BACKENDS[name])
    requests = []
    for length in (7, 15, 4):
        tokens, style, _ = spoken(fast.config, length)
        requests.append(Request(tokens, style, rng=seeded(length)))
    batch = fast.speak_batch(requests)
    for request, result in zip(requests, batch, strict=True):
        assert request.rng is not None
        alone = fast.speak(
            request.tokens, request.style, 1.0, request.rng.manual_seed(request.tokens.shape[1])
        )
        assert torch.equal(result.durations, alone.durations)
        # F0 differs by rounding, and phases accumulate it: prosody is compared here, the decoder above
        assert torch.allclose(result.f0, alone.f0, rtol=1e-4, atol=1e-4)
        assert result.audio.shape == alone.audio.shape


@pytest.mark.parametrize("graph", GRAPHS)
def test_windows_with_the_right_statistics_are_the_whole(graph: str) -> None:
    """One probe that covers everything but its edges: what differs is the statistics' last digits, never a
    join."""
    backend = BACKENDS[list(BACKENDS)[-1]]
    fast = FastModel(model_of(GRAPHS[graph]), backend)
    tokens, style, given = spoken(fast.config, 40)
    whole = fast.speak(tokens, style, 1.0, seeded(), **given).audio
    close = Windows(first=0.4, largest=1.0, every=0.05)
    prosody, made = fast.speak_windows(tokens, style, 1.0, seeded(), close, **given)
    parts = list(made)
    assert torch.equal(prosody.durations, given["durations"][0])
    assert len(parts) > 3
    joined = torch.cat(parts)
    assert joined.shape == whole.shape
    assert ratio(joined, whole) > 20


@pytest.mark.parametrize("graph", GRAPHS)
def test_windows_join_as_one_signal(graph: str) -> None:
    """Cut differently, with the same statistics held, the same samples come out."""
    fast = FastModel(model_of(GRAPHS[graph]), BACKENDS[list(BACKENDS)[-1]])
    generator, config = fast.generator, fast.config
    rng = seeded(1)
    rows, width = 200, config.istftnet.upsample_initial_channel
    features, style = torch.randn(rows, width, generator=rng), 0.3 * torch.randn(128, generator=rng)
    harmonics = generator.harmonics(torch.full((rows,), 140.0), seeded())
    plans = [Windows(first=0.5, growth=g, largest=0.9, every=0.3, probe=0.1) for g in (1.0, 1.8)]
    cuts = [plan.cuts(rows) for plan in plans]
    assert cuts[0] != cuts[1] and cuts[0][0] == cuts[1][0]
    first, second = (torch.cat(list(pieces(generator, features, style, harmonics, plan))) for plan in plans)
    assert ratio(first, second) > 90


def parts_of(generator: FastGenerator, rows: int = 240) -> tuple[Tensor, Tensor, Tensor]:
    """Features, style and harmonics of an utterance for a generator."""
    width, rng = generator._ups[0]._conv.cin, seeded(1)  # type: ignore[attr-defined]
    features, style = torch.randn(rows, width, generator=rng), 0.3 * torch.randn(128, generator=rng)
    return features, style, generator.harmonics(torch.full((rows,), 140.0), seeded())


def test_windows_that_know_the_statistics_are_the_whole() -> None:
    """Through the first windows, the cross-fade and the rest: nothing but the statistics differs."""
    generator = FastModel(model_of(kokoro_like()), BACKENDS[list(BACKENDS)[-1]]).generator
    given = parts_of(generator)
    own, carried = Kept(), Carried()
    whole = generator(*given, own)
    carried.learn(own.kept, len(given[0]))
    made = list(pieces(generator, *given, replace(WARM, trust=1.0), carried))
    assert len(made) > 3 and len(made[0]) == 0.25 * 24000
    assert ratio(torch.cat(made), whole) > 85


def test_carried_statistics_bring_the_first_sound_without_probes() -> None:
    """Strange statistics too give one signal: faded over, never cut; and they are corrected."""
    generator = FastModel(model_of(kokoro_like()), BACKENDS[list(BACKENDS)[-1]]).generator
    given = parts_of(generator)
    own, carried = Kept(), Carried()
    whole = generator(*given, own)
    carried.learn({site: torch.stack([s[0], 1.3 * s[1]]) for site, s in own.kept.items()}, 100)
    made = pieces(generator, *given, None, carried)
    first = [next(made), next(made)]
    assert carried.rows == 100  # nothing of this utterance has been looked at
    joined = torch.cat([*first, *made])
    assert carried.rows == 100 + len(given[0])
    assert joined.shape == whole.shape
    at = sum(map(len, first))
    steps = (joined - whole).diff().abs()
    assert float(steps[at - 3 : at + 3].max()) <= float(steps[at - 2400 : at + 2400].max())
    assert ratio(joined[at + 300 :], whole[at + 300 :]) > ratio(joined[:at], whole[:at])


def test_a_sketch_of_the_first_rows_is_enough_for_the_first_window() -> None:
    """The layers before the generator run for the first window's rows alone; nothing but statistics tells."""
    fast = FastModel(model_of(kokoro_like()), BACKENDS[list(BACKENDS)[-1]])
    tokens, style, _ = spoken(fast.config, 60)
    carried = fast.listen(tokens, style)
    whole = fast.speak(tokens, style, 1.0, seeded(0)).audio
    asked: list[int] = []
    front = fast._front

    def watched(asr: Tensor, *rest: Any) -> Tensor:
        asked.append(len(asr))
        return front(asr, *rest)

    fast._front = watched  # type: ignore[assignment]
    plan = replace(WARM, trust=1.0)
    prosody, made = fast.speak_windows(tokens, style, 1.0, seeded(0), plan, carried=carried)
    first = next(made)
    frames = int(prosody.durations.sum())
    assert len(asked) == 1 and asked[0] < 0.7 * frames
    rest = list(made)
    assert asked[1:] == [frames] and len(rest) > 2
    assert ratio(torch.cat([first, *rest]), whole) > 80


def test_what_is_carried_is_the_whole_of_what_was_heard() -> None:
    x = torch.randn(300, 8, generator=seeded()) * 2 + 1
    carried = Carried()
    for part in x.split([100, 150, 50]):
        carried.learn({0: moments(part)}, len(part))
    assert torch.allclose(carried.stats[0], moments(x), atol=1e-5)
    other = carried.copy()
    other.learn({0: moments(x[:10])}, 10)
    assert carried.rows == 300 and torch.allclose(carried.stats[0], moments(x), atol=1e-5)


def test_cuts_cover_everything_once() -> None:
    for rows in (1, 20, 61, 500, 4001):
        plan = Windows()
        ends = [0, *plan.cuts(rows)]
        assert ends[-1] == rows and all(a < b for a, b in pairwise(ends))
        probes = plan.probed(ends[1], rows)
        assert all(ends[1] <= a < b <= rows for a, b in probes)
        assert all(a[1] <= b[0] for a, b in pairwise(probes))


def test_weights_lean_to_what_is_missing() -> None:
    """Loud rows are a tenth of the utterance but half of what was sampled: their weight must fall."""
    features = torch.randn(1000, 8, generator=seeded())
    features[:100] *= 5
    weights = weigh(features, [(0, 50), (500, 550)], [0.5, 0.5])
    assert sum(weights) == pytest.approx(1)
    assert 0.02 < weights[0] < 0.25


def test_own_statistics_are_each_segments_own() -> None:
    fast = FastModel(model_of(kokoro_like()), BACKENDS[list(BACKENDS)[-1]])
    generator = fast.generator
    rng = seeded(2)
    segments = []
    for rows in (30, 50):
        features = torch.randn(rows, 32, generator=rng)
        harmonics = generator.harmonics(torch.full((rows,), 120.0), rng)
        segments.append(Segment(features, harmonics, generator.affine(torch.randn(128, generator=rng))))
    both = generator.body(segments, Statistics())
    for segment, total in zip(segments, both, strict=True):
        assert torch.equal(generator.body([segment], Statistics())[0], total)


def test_wrong_arguments_have_one_sentence() -> None:
    fast = FastModel(model_of(small()), BACKENDS["torch"])
    tokens, style, given = spoken(fast.config)
    with pytest.raises(VoicewrightError, match="above 0"):
        fast.speak(tokens, style, 0.0)
    with pytest.raises(VoicewrightError, match="two values for each"):
        fast.speak(
            tokens, style, durations=given["durations"], f0=given["f0"][:, :-1], energy=given["energy"]
        )
    with pytest.raises(UsageError, match="no implementation 'quick'"):
        choice.choose("quick")


def test_the_processor_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(choice.VARIABLE, raising=False)
    monkeypatch.setattr(choice, "amx", lambda: True)
    expected = LEVELS[-1] if LEVELS else None
    assert choice.choose("auto") == Backend(expected, {}, torch.bfloat16)
    monkeypatch.setattr(choice, "amx", lambda: False)
    assert choice.choose("auto").level == expected
    monkeypatch.setattr(choice, "library", lambda: None)
    monkeypatch.setattr("voicewright.model.fast.library.library", lambda: None)
    assert choice.choose("auto") == Backend(None, {}, torch.float32)
    with pytest.raises(UsageError, match="not there"):
        choice.choose("native")
    assert choice.described()["kernels"] == "none"


@needs_kernels
@pytest.mark.parametrize("level", LEVELS)
def test_the_environment_names_the_kernels(level: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "amx", lambda: True)  # which a named level leaves alone
    monkeypatch.setenv(choice.VARIABLE, levels()[level].upper())
    assert choice.choose() == Backend(level, FAST)
    assert choice.choose("bf16") == Backend(level, {}, torch.bfloat16)
    assert choice.described()["kernels"] == levels()[level]


def test_the_environment_leaves_the_kernels_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(choice.VARIABLE, "none")
    assert choice.choose() == Backend(None, {}) and choice.choose("bf16").level is None
    assert choice.described()["speech"] == "fp32 in torch alone"
    if LEVELS:
        with pytest.raises(UsageError, match="VOICEWRIGHT_KERNELS=none leaves out"):
            choice.choose("native")
    monkeypatch.setenv(choice.VARIABLE, "avx1024")
    with pytest.raises(UsageError, match="is 'avx1024'; here it may be"):
        choice.choose()


@needs_kernels
def test_the_kernels_share_torchs_threads() -> None:
    """And say the same by two as by one, whoever takes which part."""
    assert threads() is not None
    torch.manual_seed(2)
    conv = NativeConv(torch.randn(64, 48, 3), torch.randn(64), 1, 1, FAST[3], LEVELS[-1])
    x, outs, before = torch.randn(3000, 48), [], torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            outs.append(torch.empty(3000, 64))
            conv(x, outs[-1])
    finally:
        torch.set_num_threads(before)
    assert ratio(*outs) > 120


@pytest.mark.parametrize("level", [None, *LEVELS])
@pytest.mark.parametrize("graph", ["sines", "pulse"])
def test_bf16_is_near(level: int | None, graph: str) -> None:
    """What runs on AMX; here oneDNN emulates or does without."""
    model = model_of(GRAPHS[graph])
    tokens, style, given = spoken(model.config)
    expected = model.speak(tokens, style, 1.0, seeded(), **given).audio
    fast = FastModel(model, Backend(level, {}, torch.bfloat16))
    result = fast.speak(tokens, style, 1.0, seeded(), **given).audio
    assert 25 < ratio(result, expected) < 80


@needs_kernels
@pytest.mark.parametrize("level", LEVELS)
def test_the_steps_around_bf16_equal_torch(level: int) -> None:
    torch.manual_seed(1)
    x, weight, bias = torch.randn(90, 24), torch.randn(40, 24, 3) / 8, torch.randn(40)
    before = Before(torch.rand(2, 24) + 0.5, torch.randn(2, 24), SNAKE, alpha=torch.rand(24) + 0.5)
    more = (torch.randn(90, 40), torch.randn(90, 40))
    results, moments = [], []
    for way in (level, None):
        out = torch.empty(90, 40)
        moments.append(TorchConv(weight, bias, 3, 1, torch.bfloat16, way)(x, out, before, more, (5, 80)))
        results.append(out)
    # a sine that differs in its last digit may round to the other bf16 number now and then
    assert ratio(*results) > 50
    assert moments[0] is not None and moments[1] is not None
    assert torch.allclose(moments[0], moments[1], atol=1e-2)
