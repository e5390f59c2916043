"""The ONNX graph says what torch says: sample by sample, at every length, for every switch of the graph."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_models
import pytest
import torch
from onnx_models import CASES, Sample, lively, log_spectral_distance, samples, say_in_torch, session, snr

from voicewright.engines.onnx.compress import BLOCK, REST, Precision, compress, quantise, quantise_finely
from voicewright.engines.onnx.graph import SEED_UNIT, trace
from voicewright.engines.onnx.noise import HashNoise
from voicewright.model.tts.model import TTSModel
from voicewright.model.tts.source import sines

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module", params=sorted(CASES))
def traced(request: pytest.FixtureRequest) -> tuple[str, TTSModel, Any]:
    model = lively(CASES[request.param]())
    return request.param, model, trace(model)


def say(run: Any, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    tokens = sample.tokens.copy()
    tokens[0, 0] += sample.seed * SEED_UNIT
    audio, durations = run.run(None, {"tokens": tokens, "style": sample.style, "speed": sample.speed})
    return audio, durations


def test_the_graph_is_torchs(traced: tuple[str, TTSModel, Any], figure: Callable[[str], None]) -> None:
    name, model, proto = traced
    onnx.checker.check_model(proto, full_check=True)
    run = session(proto)
    assert [item.name for item in run.get_inputs()] == ["tokens", "style", "speed"]
    assert not run.get_overridable_initializers()
    ratios, distances = [], []
    for sample in samples():
        audio, durations = say(run, sample)
        expected = say_in_torch(model, sample)
        assert np.array_equal(durations, expected.durations.numpy())
        assert audio.shape == tuple(expected.audio.shape) == (600 * durations.sum(),)
        assert expected.f0.std() > 5
        assert expected.audio.std() > 1e-3
        ratios.append(snr(expected.audio.numpy(), audio))
        distances.append(log_spectral_distance(expected.audio.numpy(), audio))
    figure(
        f"{name}: SNR {min(ratios):.1f} dB at least, log-spectral distance {max(distances):.4f} dB at most"
    )
    # A polar source turns a phase of pi into -pi where rounding says so: few values, but all of their size.
    polar = model.config.voicewright.source_stft == "polar" and model.config.voicewright.excitation == "sines"
    assert min(ratios) > (15 if polar else 30)
    assert max(distances) < 0.5


def test_same_input_same_samples_and_a_seed_that_matters(traced: tuple[str, TTSModel, Any]) -> None:
    run, first = session(traced[2]), samples()[1]
    again = say(run, first)[0]
    assert np.array_equal(say(run, first)[0], again)
    other, durations = say(run, Sample(first.tokens, first.style, first.speed, first.seed + 1))
    assert not np.array_equal(other, again)
    assert np.array_equal(durations, say(run, first)[1])


def test_speeds_between_whole_numbers_act(traced: tuple[str, TTSModel, Any]) -> None:
    run, first = session(traced[2]), samples()[2]
    lengths = [
        int(say(run, Sample(first.tokens, first.style, np.array([speed], np.float32)))[1].sum())
        for speed in (0.5, 1.0, 1.3)
    ]
    assert lengths[0] > 1.5 * lengths[1] > lengths[1] > lengths[2]


def test_other_names_for_kokoro_js() -> None:
    run = session(trace(lively(CASES["pulse"]()), "onnx-community"))
    assert [item.name for item in run.get_inputs()] == ["input_ids", "style", "speed"]
    sample = samples()[0]
    audio, durations = run.run(
        ["waveform", "duration"], {"input_ids": sample.tokens, "style": sample.style, "speed": sample.speed}
    )
    assert audio.shape == (1, 600 * durations.sum())
    assert durations.shape == sample.tokens.shape


def test_a_folded_model_exports_and_still_speaks() -> None:
    model = lively(CASES["pulse"]()).fold()
    before = say_in_torch(model, samples()[0]).audio
    proto = trace(model)
    assert torch.equal(say_in_torch(model, samples()[0]).audio, before)
    assert snr(before.numpy(), say(session(proto), samples()[0])[0]) > 30


def test_noise_is_white_normal_and_its_own_for_every_seed() -> None:
    def draw(seed: int) -> np.ndarray:
        made = HashNoise(torch.tensor([seed]), torch.ones(1, 1))(torch.Size([1, 240_000, 1]), True)
        return made[0, :, 0].double().numpy()

    one, two = draw(0), draw(1)
    for noise in (one, two, draw(2**40)):
        assert abs(noise.mean()) < 0.01
        assert abs(noise.std() - 1) < 0.01
        assert abs(np.mean(noise**4) - 3) < 0.1
        power = np.square(np.abs(np.fft.rfft(noise)))[1:120_001].reshape(10, -1).mean(1) / len(noise)
        assert np.all(np.abs(power - 1) < 0.05)
        assert all(abs(np.mean(noise[:-lag] * noise[lag:])) < 0.01 for lag in (1, 2, 3, 7, 100))
    assert abs(np.mean(one * two)) < 0.01


def test_shared_noise_weighs_as_independent_channels() -> None:
    mix = torch.tensor([[0.3, -0.4, 1.2]])
    made = HashNoise(torch.tensor([3]), mix)(torch.Size([1, 100_000, 3]), True)
    assert float((made @ mix.T).std()) == pytest.approx(float(mix.norm()), rel=0.02)


def test_angles_at_the_edges_are_torchs(tmp_path: Path) -> None:
    """torch's own export gives -pi where the imaginary part is 0 and the real one negative, and NaN at 0,
    0."""

    class Angle(torch.nn.Module):
        def forward(self, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
            return torch.atan2(y, x)

    y = torch.tensor([0.0, 0.0, 0.0, 1.0, -1.0, 1.0, -1.0, 1e-30, -2.0])
    x = torch.tensor([-1.0, 1.0, 0.0, 0.0, 0.0, -1.0, -1.0, -1.0, 3.0])
    run = onnx_models.export_module(Angle(), (y, x))
    made = run.run(None, {"a": y.numpy(), "b": x.numpy()})[0]
    assert np.allclose(made, torch.atan2(y, x).numpy(), atol=1e-6)
    assert made[0] == pytest.approx(math.pi)


def test_predicted_pitch_with_clean_edges_exports() -> None:
    from voicewright.model.tts.prosody import clean_edges

    class Edges(torch.nn.Module):
        def forward(self, f0: torch.Tensor) -> torch.Tensor:
            return clean_edges(f0)

    rng = torch.Generator().manual_seed(1)
    curves = []
    for length in (40, 7, 300):
        f0 = 180 + 40 * torch.randn(1, length, generator=rng)
        f0[:, torch.rand(length, generator=rng) < 0.3] = 10.0
        f0[:, : length // 5] *= torch.linspace(0, 1, length // 5)
        curves.append(f0)
    curves.append(torch.full((1, 30), 5.0))
    run = onnx_models.export_module(Edges(), (curves[0],), {"a": {1: "t"}})
    changed = 0
    for f0 in curves:
        expected = clean_edges(f0)
        changed += int((expected != f0).sum())
        assert np.array_equal(run.run(None, {"a": f0.numpy()})[0], expected.numpy())
    assert changed > 50


@pytest.fixture(scope="module")
def pulse() -> Any:
    """Steady pitch: a random net's answers to fp16 by hertz, a trained one's does not (docs/export.md)."""
    model = lively(CASES["pulse"]())
    model.predictor.F0_proj.weight.data.div_(60)
    return trace(model)


def smaller(proto: Any, precision: Precision) -> Any:
    made = onnx.ModelProto()
    made.CopyFrom(proto)
    compress(made, precision)
    return made


def test_smaller_files_sound_the_same(pulse: Any, figure: Callable[[str], None]) -> None:
    size = {"fp32": len(pulse.SerializeToString())}
    expected = [say(session(pulse), sample) for sample in samples()]
    worst: dict[str, float] = {}
    precisions: tuple[Precision, ...] = ("fp16", "int8")
    for precision in precisions:
        proto = smaller(pulse, precision)
        onnx.checker.check_model(proto, full_check=True)
        size[precision] = len(proto.SerializeToString())
        run = session(proto)
        distances = []
        for sample, (audio, durations) in zip(samples(), expected, strict=True):
            got, frames = say(run, sample)
            # These durations are random sums; one that lies next to a half may fall to the other side.
            assert np.abs(frames - durations).sum() <= 2
            if np.array_equal(frames, durations):
                distances.append(log_spectral_distance(audio, got))
        worst[precision] = max(distances)
        figure(
            f"{precision}: {size[precision]} of {size['fp32']} bytes, distance up to {max(distances):.3f} dB"
        )
        assert len(distances) >= 2
    assert size["int8"] < size["fp16"] < 0.8 * size["fp32"]  # much of so small a graph is pitch
    assert worst["fp16"] < 0.2
    assert worst["int8"] < 0.8


def test_what_int8_spares(pulse: Any) -> None:
    """Pitch, durations and PL-BERT keep 24 bits; of the decoder every large weight becomes int8."""
    proto = smaller(pulse, "int8")
    names = {item.name for item in proto.graph.initializer}
    fine = {name.removesuffix(".int8.2") for name in names if name.endswith(".int8.2")}
    eight = {name.removesuffix(".int8") for name in names if name.endswith(".int8")}
    assert any("resblocks" in name for name in eight) and any("decode" in name for name in eight)
    prosodic = {
        name
        for node in proto.graph.node
        for name in node.input
        if (
            "bert" in node.name
            or ("predictor" in name and "predictor.N." not in name)
            or "/shared/" in node.name
            or "duration_proj" in node.name
        )
        or (node.op_type == "LSTM" and "/text_encoder/lstm/" not in node.name)
    }
    assert len(prosodic) > 40
    assert not eight & prosodic
    assert fine and fine <= prosodic
    assert {f"{name}.int8.{part}" for name in fine for part in range(3)} <= names


def test_runtimes_do_not_unpack_a_whole_small_file(pulse: Any, tmp_path: Path) -> None:
    """What onnxruntime keeps after its optimisations: whole numbers become fp32 layer by layer."""
    import onnxruntime

    for precision, most in (("int8", 0.45), ("fp16", 1.02)):
        proto = smaller(pulse, precision)
        (tmp_path / "small.onnx").write_bytes(proto.SerializeToString())
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / "kept.onnx")
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        onnxruntime.InferenceSession(
            str(tmp_path / "small.onnx"), options, providers=["CPUExecutionProvider"]
        )
        kept = onnx.load(str(tmp_path / "kept.onnx"))
        floats = sum(
            4 * onnx.numpy_helper.to_array(item).size
            for item in kept.graph.initializer
            if item.data_type == onnx.TensorProto.FLOAT
        )
        print(f"{precision}: {floats} bytes of fp32")
        assert floats < most * sum(
            4 * onnx.numpy_helper.to_array(item).size for item in pulse.graph.initializer
        )


def test_24_bits_are_exact_in_any_order() -> None:
    rng = np.random.default_rng(0)
    blocks = (rng.standard_normal((200, BLOCK)) * 10.0 ** rng.integers(-6, 3, (200, 1))).astype(np.float32)
    blocks[0], blocks[1, 0], blocks[2] = 0, 1.0, 1e-30
    parts, scales = quantise_finely(blocks)
    floats = [part.astype(np.float32) * (scales * REST ** (2 - at)) for at, part in enumerate(parts)]
    assert np.array_equal((floats[0] + floats[1]) + floats[2], floats[0] + (floats[1] + floats[2]))
    error = np.abs((floats[0] + floats[1]) + floats[2] - blocks)
    assert (error <= 2.0**-23 * np.abs(blocks).max(1, keepdims=True)).all()


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_pitch_survives_smaller_files(precision: Precision) -> None:
    """Pitch that answers to the least change: fp16 alone would move it (more than 2 dB)."""
    plain = trace(lively(CASES["pulse"]()))
    run, less = session(plain), session(smaller(plain, precision))
    for sample in samples():
        (audio, durations), (got, frames) = say(run, sample), say(less, sample)
        assert np.array_equal(frames, durations)
        assert log_spectral_distance(audio, got) < 0.5


def test_quantise_is_close_and_never_leaves_its_range() -> None:
    rng = np.random.default_rng(0)
    blocks = rng.standard_normal((50, 4, BLOCK)).astype(np.float32)
    blocks[0] = 0
    blocks[1, 0, 0] = 30
    numbers, scales = quantise(blocks)
    assert np.abs(numbers.astype(int)).max() <= 127
    back = numbers * scales.astype(np.float32)
    assert snr(blocks, back) > 40
    assert np.array_equal(back[0], blocks[0])


def test_sines_need_no_noise_to_agree() -> None:
    """The longest utterance: phases wrap in the graph as in torch, so that the last second is as exact."""

    class Sines(torch.nn.Module):
        def forward(self, f0: torch.Tensor) -> torch.Tensor:
            return sines(f0, 8)

    f0 = 120 + 60 * torch.rand(1, 1600, generator=torch.Generator().manual_seed(2))
    run = onnx_models.export_module(Sines(), (f0[:, :20],), {"a": {1: "t"}})
    made = run.run(None, {"a": f0.numpy()})[0]
    assert np.abs(made - sines(f0, 8).numpy()).max() < 1e-3
