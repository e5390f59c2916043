"""The speaking graph as ONNX: tokens, style, speed → audio and durations.

torch's TorchScript exporter traces `SpeakingGraph`, which runs the model's own modules; only what that
exporter cannot write down is replaced: norms that ask for a width at run time, and the repetition of
columns by durations, which becomes a running sum, a comparison and a gather, so that every length stays
open. Durations are rounded in the graph as in torch. The inverse STFT is the model's own: inner bins
doubled, the sum of windows divided.
"""

from __future__ import annotations

import io
import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from voicewright.engines.onnx.noise import HashNoise
from voicewright.errors import VoicewrightError
from voicewright.model.checkpoint import conform
from voicewright.model.layers import AdaIN1d, AdaLayerNorm, ChannelNorm
from voicewright.model.tts.model import TTSModel
from voicewright.model.tts.prosody import clean_edges

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 17
"""The oldest with layer norm as one operator; what hexgrad's own files use, and every runtime
since 2022 runs."""
SEED_UNIT = 65_536
"""A seed of the noise rides on the first token, as seed · 65,536 + id. Nothing that opens Kokoro files
would hand in a fourth input, and an input with a default value makes onnxruntime print a warning in
each of them."""
LONGEST_SCAN = 2**16
"""Frames that a running maximum or minimum reaches over; 512 tokens of 50 frames of 25 ms are 51,200."""


@dataclass(frozen=True)
class Names:
    """What a convention calls the tensors. Every consumer also reads the order: tokens, style, speed."""

    tokens: str
    audio: str
    durations: str
    rank: int
    """1: audio [N], durations [T]; 2: [1,N] and [1,T]."""


CONVENTIONS = {
    "kokoro-onnx": Names("tokens", "audio", "duration", 1),
    "onnx-community": Names("input_ids", "waveform", "duration", 2),
}
"""kokoro-onnx, which sherpa-onnx reads too (by order); onnx-community's, which kokoro.js reads."""


class SpeakingGraph(nn.Module):
    """A folded, evaluated TTSModel as one function of tensors."""

    def __init__(self, model: TTSModel, rank: int = 1) -> None:
        super().__init__()
        self.model = model
        self.rank = rank

    def forward(self, tokens: Tensor, style: Tensor, speed: Tensor) -> tuple[Tensor, Tensor]:
        """tokens int64 [1,T] with pads, style [1,256], speed fp32 [1] -> audio fp32 [600F],
        durations int64 [T]."""
        model = self.model
        seed = tokens[0, :1] // SEED_UNIT
        tokens = tokens % SEED_UNIT
        half = model.config.style_dim
        acoustic, prosodic = style[:, :half], style[:, half:]
        d = model.encode_prosody(tokens, None, prosodic)
        expected = torch.sigmoid(model.duration_logits(d)).sum(2) / speed
        durations = expected.round().clamp(min=1).long()
        ends = torch.cumsum(durations, dim=1)[0]
        total: Any = ends[-1]  # a number while tracing too
        frames = torch.arange(total, device=tokens.device)
        owner = (ends[None] <= frames[:, None]).sum(1)
        f0, energy = model.f0_energy(d.transpose(1, 2).index_select(2, owner), prosodic)
        if model.config.voicewright.pitch_edges:
            f0 = clean_edges(f0)
        asr = model.encode_text(tokens).index_select(2, owner)
        generator = model.decoder.generator
        features = model.decoder.front(asr, f0, energy, acoustic)
        mix = generator.m_source.l_linear.weight
        harmonics = generator.harmonics(f0, HashNoise(seed, mix))
        audio = generator.synthesise(features, acoustic, harmonics)
        return (audio, durations) if self.rank == 2 else (audio[0], durations[0])


class _InstanceNorm(torch.autograd.Function):
    """Instance norm as its ONNX operator, whose width torch's tracer may not know."""

    @staticmethod
    def forward(context: Any, x: Tensor, width: int, eps: float) -> Tensor:
        return F.instance_norm(x, eps=eps)

    @staticmethod
    def symbolic(g: Any, x: Any, width: int, eps: float) -> Any:
        one, zero = (g.op("Constant", value_t=torch.full((width,), value)) for value in (1.0, 0.0))
        return g.op("InstanceNormalization", x, one, zero, epsilon_f=eps).setType(x.type())


class _AdaIN(nn.Module):
    def __init__(self, norm: AdaIN1d) -> None:
        super().__init__()
        self.fc, self.eps = norm.fc, norm.eps

    def forward(self, x: Tensor, style: Tensor, mask: Tensor | None = None) -> Tensor:
        gamma, beta = self.fc(style)[:, :, None].chunk(2, dim=1)
        return torch.addcmul(beta, 1 + gamma, _InstanceNorm.apply(x, self.fc.out_features // 2, self.eps))


class _AdaLayer(nn.Module):
    def __init__(self, norm: AdaLayerNorm) -> None:
        super().__init__()
        self.fc = norm.fc

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        gamma, beta = self.fc(style)[:, None].chunk(2, dim=2)
        return torch.addcmul(beta, 1 + gamma, F.layer_norm(x, (self.fc.out_features // 2,)))


class _Channels(nn.Module):
    def __init__(self, norm: ChannelNorm) -> None:
        super().__init__()
        self.gamma, self.beta = norm.gamma, norm.beta

    def forward(self, x: Tensor) -> Tensor:
        y = F.layer_norm(x.transpose(1, 2), (len(self.gamma),), self.gamma, self.beta)
        return y.transpose(1, 2)


def _replace_norms(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, AdaIN1d):
            setattr(module, name, _AdaIN(child))
        elif isinstance(child, AdaLayerNorm):
            setattr(module, name, _AdaLayer(child))
        elif isinstance(child, ChannelNorm):
            setattr(module, name, _Channels(child))
        else:
            _replace_norms(child)


def trace(model: TTSModel, convention: str = "kokoro-onnx") -> ModelProto:
    """The model as an fp32 ONNX graph in the names of a convention. The model itself stays as it was.

    Inputs: tokens int64 [1,T], style fp32 [1,256], speed fp32 [1].
    Raises VoicewrightError when the graph holds something that ONNX cannot say.
    """
    import onnx

    names = CONVENTIONS[convention]
    ready = _copy(model)
    graph = SpeakingGraph(ready, names.rank).eval()
    tokens = torch.arange(12)[None] % model.config.n_token
    given = (tokens, torch.zeros(1, 2 * model.config.style_dim), torch.ones(1))
    last = names.rank - 1
    buffer = io.BytesIO()
    with _symbolics(), _quiet(), torch.no_grad():
        try:
            torch.onnx.export(
                graph,
                given,
                buffer,  # type: ignore[arg-type]
                dynamo=False,
                opset_version=OPSET,
                input_names=[names.tokens, "style", "speed"],
                output_names=[names.audio, names.durations],
                dynamic_axes={
                    names.tokens: {1: "tokens"},
                    names.audio: {last: "samples"},
                    names.durations: {last: "tokens"},
                },
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise VoicewrightError(
                f"this graph cannot be written as ONNX: {str(error).strip().splitlines()[0][:200]}; "
                "report it with the model's config.json."
            ) from error
    proto = onnx.load_from_string(buffer.getvalue())
    proto.producer_name, proto.producer_version = "voicewright", ""
    return proto


def _copy(model: TTSModel) -> TTSModel:
    """The model again, folded and with norms that can be traced (a deep copy
    would share parametrisations)."""
    ready = TTSModel(model.config)
    state = {key: value.detach().float().cpu() for key, value in model.state_dict().items()}
    ready.load_state_dict(conform(state, ready.state_dict()))
    ready.eval().requires_grad_(False).fold()
    _replace_norms(ready)
    return ready


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns of every length that is open; that they are open is wanted, and tested."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


@contextmanager
def _symbolics() -> Iterator[None]:
    """Operators that the exporter lacks, or writes so that ranks are lost; gone again afterwards."""
    added = {
        "aten::repeat_interleave": _repeat,
        "aten::atan2": _atan2,
        "aten::cummax": _running("Max", -(2**31)),
        "aten::cummin": _running("Min", 2**31),
        "aten::nanmedian": _nanmedian,
    }
    for name, function in added.items():
        torch.onnx.register_custom_op_symbolic(name, function, OPSET)
    try:
        yield
    finally:
        for name in added:
            torch.onnx.unregister_custom_op_symbolic(name, OPSET)


def _whole(g: Any, *values: int) -> Any:
    return g.op("Constant", value_t=torch.tensor(values))


def _number(value: Any) -> int:
    return int(torch.onnx.symbolic_helper._get_const(value, "i", "argument"))


def _atan2(g: Any, y: Any, x: Any) -> Any:
    """The angle of (x, y) as torch has it; torch's own export gives -π for (negative, 0) and NaN for (0, 0).

    Kokoro's source has exact zeros in y at the lowest and highest bin, where the former turns π into -π.
    """
    zero, one, pi = (g.op("Constant", value_t=torch.tensor(value)) for value in (0.0, 1.0, math.pi))
    nothing = g.op("And", g.op("Equal", x, zero), g.op("Equal", y, zero))
    angle = g.op("Atan", g.op("Div", y, g.op("Where", nothing, one, x)))
    turn = g.op("Where", g.op("Less", y, zero), g.op("Neg", pi), pi)
    turned = g.op("Add", angle, turn)
    return g.op("Where", g.op("Less", x, zero), turned, angle).setType(x.type())


def _repeat(g: Any, x: Any, repeats: Any, dim: Any = None, size: Any = None) -> Any:
    """`repeat_interleave` by a fixed number along one axis: a new axis, tiled, and merged again."""
    rank, axis = x.type().dim(), _number(dim)
    tiled = [1] * (rank + 1)
    tiled[axis + 1] = _number(repeats)
    shape = [0] * rank
    shape[axis] = -1
    wide = g.op("Tile", g.op("Unsqueeze", x, _whole(g, axis + 1)), _whole(g, *tiled))
    return g.op("Reshape", wide, _whole(g, *shape))


def _running(operator: str, neutral: int) -> Any:
    """`cummax` or `cummin` of whole numbers [B,T] along axis 1, by doubling; the places are not given."""

    def symbolic(g: Any, x: Any, dim: Any) -> tuple[Any, Any]:
        if x.type().dim() != 2 or _number(dim) != 1:
            raise torch.onnx.errors.SymbolicValueError("only along the second of two axes", x)
        length = g.op("Gather", g.op("Shape", x), _whole(g, 1))
        held, step = x, 1
        while step < LONGEST_SCAN:
            shifted = g.op(
                "Pad", held, _whole(g, 0, step, 0, 0), g.op("Constant", value_t=torch.tensor(neutral))
            )
            shifted = g.op("Slice", shifted, _whole(g, 0), length, _whole(g, 1))
            held = g.op(operator, held, shifted)
            step *= 2
        return held.setType(x.type()), held

    return symbolic


def _nanmedian(g: Any, x: Any, dim: Any, keepdim: Any) -> tuple[Any, Any]:
    """The lower median of the numbers of [B,T] along axis 1, [B,1]; NaN without any. Its place
    is not given."""
    if x.type().dim() != 2 or _number(dim) != 1 or not _number(keepdim):
        raise torch.onnx.errors.SymbolicValueError("only along the second of two axes, which is kept", x)
    infinite = g.op("Constant", value_t=torch.tensor(float("inf")))
    missing = g.op("IsNaN", x)
    length = g.op("Gather", g.op("Shape", x), _whole(g, 1))
    ordered, _ = g.op("TopK", g.op("Where", missing, infinite, x), length, axis_i=1, largest_i=0, outputs=2)
    count = g.op("ReduceSum", g.op("Cast", g.op("Not", missing), to_i=7), _whole(g, 1), keepdims_i=1)
    last = g.op("Sub", count, _whole(g, 1))
    place = g.op("Div", g.op("Max", last, _whole(g, 0)), _whole(g, 2))
    value = g.op("GatherElements", ordered, place, axis_i=1)
    none = g.op("Less", last, _whole(g, 0))
    value = g.op("Where", none, g.op("Constant", value_t=torch.tensor(float("nan"))), value)
    return value, place
