"""Smaller ONNX files: weights stored in two bytes or in one, arithmetic in fp32.

Published int8 files of Kokoro quantise activations too and sound like it, while onnxruntime gains next to
no time by it on a CPU (int8 convolutions are slower than fp32 ones there). So only what is stored shrinks.
int8 has one scale for every output channel and every 32 values of it, chosen for the least squared error; the
last layer stays fp16 (`LAST`), behind a Cast.

What decides pitch and durations (`SENSITIVE`) is stored in three bytes a value, 24 bits with a scale every
32, unless fp16 holds it exactly. The phase of a voice is a running sum of its pitch, so that an error of
0.1 Hz is another waveform after three seconds, and fp16 makes such errors.

Whole numbers go through `DequantizeLinear`. Plain arithmetic (Cast, Mul, Add) would be worked out by runtimes
when they open a file, with every step between kept until the end: six times the weights in fp32. This
operator is left alone and done where its weight is used, so that only one layer at a time is fp32.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from voicewright.errors import VoicewrightError

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

Precision = Literal["fp32", "fp16", "int8"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")
SMALLEST = 1024
"""Values; below this a tensor stays fp32."""
BLOCK = 32
REST = 256
"""Steps of each part of a 24-bit value in one step of the part before it."""
_MOST = 127 * REST**2 + 127 * REST + 127
_SMALLEST_POWER = -126
SENSITIVE = re.compile(r"bert|predictor\.(?!N\.)|duration_proj|/lstms\.| /lstm/|/shared/")
"""Names of weights and of nodes of PL-BERT and of the prosody predictor, save for its energy."""
LAST = re.compile(r"conv_post|gain_post")
_REACH = 65_504.0


def compress(proto: ModelProto, precision: Precision) -> None:
    """Store the weights of a graph from `trace` in `precision`, in place.

    Raises VoicewrightError when a weight does not fit fp16.
    """
    if precision == "fp32":
        return
    nodes: list[NodeProto] = []
    kept: list[TensorProto] = []
    users = _users(proto)
    for tensor in proto.graph.initializer:
        values = _array(tensor)
        using = users.get(tensor.name, [])
        if values.dtype != np.float32 or values.size < SMALLEST or not using:
            kept.append(tensor)
            continue
        axes = _output_axes(using[0], values.ndim)
        place = " ".join([tensor.name, *(name for _, name in using)])
        sensitive = SENSITIVE.search(place) is not None
        if sensitive and not _is_half(values):
            kept += _blocks(tensor.name, values, (), nodes, fine=True)
        elif axes is None or precision == "fp16" or sensitive or LAST.search(place):
            kept.append(_half(tensor.name, values, nodes))
        else:
            kept += _blocks(tensor.name, values, axes, nodes, fine=False)
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(kept)
    rest = list(proto.graph.node)
    del proto.graph.node[:]
    proto.graph.node.extend([*nodes, *rest])


def _array(tensor: TensorProto) -> NDArray[np.generic]:
    from onnx import numpy_helper

    values: NDArray[np.generic] = numpy_helper.to_array(tensor)
    return values


def _users(proto: ModelProto) -> dict[str, list[tuple[str, str]]]:
    """For each tensor the (operator and place, node name) of those that read it, also under another name."""
    users: dict[str, list[tuple[str, str]]] = {}
    same: dict[str, str] = {}
    for node in proto.graph.node:
        if node.op_type == "Identity":
            same[node.output[0]] = node.input[0]
    for node in proto.graph.node:
        for place, name in enumerate(node.input):
            if node.op_type != "Identity":
                users.setdefault(same.get(name, name), []).append((f"{node.op_type}{place}", node.name))
    return users


def _output_axes(use: tuple[str, str], rank: int) -> tuple[int, ...] | None:
    """Axes of a weight that have scales of their own; None where int8 is not for it."""
    known = {"Conv1": (0,), "ConvTranspose1": (1,), "MatMul1": (1,), "LSTM1": (0, 1), "LSTM2": (0, 1)}
    known |= {"Gemm1": (0,), "Gather0": (0,)}
    axes = known.get(use[0])
    return axes if axes is not None and rank > max(axes) else None


def _is_half(values: NDArray[np.generic]) -> bool:
    """fp16 holds them exactly, as it does where the model itself was stored so."""
    with np.errstate(over="ignore"):
        return bool((values.astype(np.float16) == values).all())


def _half(name: str, values: NDArray[np.generic], nodes: list[NodeProto]) -> TensorProto:
    from onnx import TensorProto, helper, numpy_helper

    if float(np.abs(values).max(initial=0.0)) > _REACH:
        raise VoicewrightError(f"the weight {name} is too large for fp16; export it as fp32.")
    nodes.append(
        helper.make_node("Cast", [f"{name}.fp16"], [name], name=f"{name}.cast", to=TensorProto.FLOAT)
    )
    return numpy_helper.from_array(values.astype(np.float16), f"{name}.fp16")


def _blocks(
    name: str, values: NDArray[np.generic], axes: tuple[int, ...], nodes: list[NodeProto], fine: bool
) -> list[TensorProto]:
    """Whole numbers [blocks, 32] of 8 bits (fine: three such, 24 bits) with a scale for each block, given
    back as the weight: `DequantizeLinear` (fine: the sum of three), cut and shaped."""
    from onnx import TensorProto, helper, numpy_helper

    order = [*axes, *(axis for axis in range(values.ndim) if axis not in axes)]
    turned = values.transpose(order)
    rows = int(np.prod(turned.shape[: len(axes)]))
    flat = np.ascontiguousarray(turned, dtype=np.float32).reshape(rows, -1)
    width = flat.shape[1]
    padded = np.pad(flat, ((0, 0), (0, -width % BLOCK))).reshape(-1, BLOCK)
    made = [numpy_helper.from_array(np.array(turned.shape, np.int64), f"{name}.shape")]

    def node(operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(operator, inputs, [output], name=f"{output}.{operator}", **attributes))
        return output

    def stored(array: NDArray[Any], what: str) -> str:
        made.append(numpy_helper.from_array(array, f"{name}.{what}"))
        return f"{name}.{what}"

    if fine:
        parts, steps = quantise_finely(padded)
        scale = stored(steps[:, 0], "scale")
        given = []
        for part, numbers in enumerate(parts):
            unit = stored(np.array(REST ** (len(parts) - 1 - part), np.float32), f"unit{part}")
            step = node("Mul", [scale, unit], f"{name}.scale{part}")
            given.append(
                node(
                    "DequantizeLinear", [stored(numbers, f"int8.{part}"), step], f"{name}.part{part}", axis=0
                )
            )
        last = node("Sum", given, f"{name}.float")
    else:
        numbers, halves = quantise(padded)
        step = node("Cast", [stored(halves[:, 0], "scale")], f"{name}.scale32", to=TensorProto.FLOAT)
        last = node("DequantizeLinear", [stored(numbers, "int8"), step], f"{name}.float", axis=0)
    if padded.size != flat.size:
        last = node("Reshape", [last, stored(np.array([rows, -1], np.int64), "flat")], f"{name}.rows")
        cut = [
            stored(np.array([value], np.int64), what)
            for what, value in (("start", 0), ("stop", width), ("axis", 1))
        ]
        last = node("Slice", [last, *cut], f"{name}.cut")
    straight = order == sorted(order)
    node("Reshape", [last, f"{name}.shape"], name if straight else f"{name}.turned")
    if not straight:
        node("Transpose", [f"{name}.turned"], name, perm=[order.index(axis) for axis in range(values.ndim)])
    return made


def quantise(blocks: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float16]]:
    """Values [..., n] -> whole numbers within ±127 and fp16 scales [..., 1] with the least squared error.

    Tried for each block: the scale that just holds its largest value, and some that clip it.
    """
    peak = np.abs(blocks).max(axis=-1, keepdims=True)
    best = np.full_like(peak, np.inf)
    scales = np.ones_like(peak, dtype=np.float16)
    for share in (1.0, 0.97, 0.94, 0.9, 0.85):
        tried = np.maximum(peak * (share / 127), 1e-7).astype(np.float16)
        step = tried.astype(np.float32)
        error = np.square(np.clip(np.rint(blocks / step), -127, 127) * step - blocks).sum(-1, keepdims=True)
        better = error < best
        best, scales = np.where(better, error, best), np.where(better, tried, scales)
    step = scales.astype(np.float32)
    return np.clip(np.rint(blocks / step), -127, 127).astype(np.int8), scales


def quantise_finely(
    blocks: NDArray[np.float32],
) -> tuple[tuple[NDArray[np.int8], ...], NDArray[np.float32]]:
    """Values [..., n] -> three times whole numbers of 8 bits, each in 256 steps of the next, and fp32 scales
    [..., 1] of the last.

    Scales are powers of two, so that the products and their sum, of 24 bits, are exact in fp32, in any order.
    """
    peak = np.abs(blocks.astype(np.float64)).max(axis=-1, keepdims=True)
    power = np.ceil(np.log2(np.where(peak > 0, peak, 1.0) / _MOST))
    scales = np.exp2(np.maximum(power, _SMALLEST_POWER))
    rest = np.rint(blocks / scales).astype(np.int64)
    parts = []
    for _ in range(2):
        part = (rest + REST // 2) % REST - REST // 2
        parts.append(part.astype(np.int8))
        rest = (rest - part) // REST
    return (rest.astype(np.int8), parts[1], parts[0]), scales.astype(np.float32)
