"""Small models, sentences and measures for the tests of ONNX exports."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import small_models
import torch
from numpy.typing import NDArray

from voicewright.model.config import ModelConfig
from voicewright.model.tts.model import TTSModel, Utterance

CASES: dict[str, Callable[[], ModelConfig]] = {
    "kokoro": small_models.kokoro_like,
    "pulse": small_models.small,
    "gain, lead and edges": lambda: small_models.small(
        source_gain=True, source_phase_from=3000.0, pitch_edges=True
    ),
}


@dataclass(frozen=True)
class Sample:
    """tokens int64 [1,T] with pads, style [1,256], speed [1]; a seed of the noise."""

    tokens: NDArray[np.int64]
    style: NDArray[np.float32]
    speed: NDArray[np.float32]
    seed: int = 0


def lively(config: ModelConfig) -> TTSModel:
    """Random weights that make every branch matter: voiced F0 that moves, unequal durations, gains that
    act."""
    torch.manual_seed(3)
    model = TTSModel(config).eval()
    with torch.no_grad():
        model.predictor.F0_proj.weight.mul_(60)
        model.predictor.F0_proj.bias.fill_(160.0)
        model.predictor.duration_proj.linear_layer.weight.mul_(8)
        model.predictor.duration_proj.linear_layer.bias.sub_(3.5)
        if model.decoder.generator.gain_post is not None:
            model.decoder.generator.gain_post.weight.normal_(std=0.1)
    return model


def samples() -> list[Sample]:
    """Sentences of 2 to 90 tokens, pads included."""
    rng = np.random.default_rng(5)
    made = []
    for count, speed, seed in ((2, 1.0, 0), (9, 1.0, 4), (40, 1.2, 0), (90, 0.9, 2**31 + 7)):
        tokens = rng.integers(1, 178, (1, count))
        tokens[0, 0] = tokens[0, -1] = 0
        style = (0.3 * rng.standard_normal((1, 256))).astype(np.float32)
        made.append(Sample(tokens, style, np.array([speed], np.float32), seed))
    return made


def say_in_torch(model: TTSModel, sample: Sample) -> Utterance:
    """Torch's answer, with the noise that the graph makes."""
    from voicewright.engines.onnx.noise import HashNoise

    noise = HashNoise(torch.tensor([sample.seed]), model.decoder.generator.m_source.l_linear.weight.detach())
    tokens, style = torch.from_numpy(sample.tokens), torch.from_numpy(sample.style)
    return model.speak(tokens, style, float(sample.speed[0]), noise)  # type: ignore[arg-type]


def session(proto: Any) -> Any:
    """An onnxruntime session of a graph."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    content = proto if isinstance(proto, bytes) else proto.SerializeToString()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def export_module(module: torch.nn.Module, given: tuple[torch.Tensor, ...], axes: Any = None) -> Any:
    """A session of any module, exported as the speaking graph is; inputs a, b, …"""
    from voicewright.engines.onnx import graph

    buffer = io.BytesIO()
    with graph._symbolics(), graph._quiet():
        torch.onnx.export(
            module,
            given,
            buffer,  # type: ignore[arg-type]
            dynamo=False,
            opset_version=graph.OPSET,
            input_names=list("abc")[: len(given)],
            dynamic_axes=axes,
        )
    return session(buffer.getvalue())


def snr(expected: NDArray[Any], got: NDArray[Any]) -> float:
    """dB."""
    noise = np.square(expected.astype(np.float64) - got).sum()
    return float(10 * np.log10(np.square(expected.astype(np.float64)).sum() / max(noise, 1e-300)))


def log_spectral_distance(expected: NDArray[Any], got: NDArray[Any]) -> float:
    """Mean over frames of the RMS difference of log spectra, in dB; what is 80 dB below the loudest counts
    as that."""

    def spectrum(wave: NDArray[Any]) -> NDArray[Any]:
        frames = np.lib.stride_tricks.sliding_window_view(np.pad(wave.astype(np.float64), 512), 1024)[::256]
        return np.abs(np.fft.rfft(frames * np.hanning(1024), axis=1))

    one, two = spectrum(expected), spectrum(got)
    floor = 1e-4 * one.max()
    return float(np.sqrt(np.square(20 * np.log10((one + floor) / (two + floor))).mean(1)).mean())
