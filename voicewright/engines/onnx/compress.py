"""Smaller ONNX files: weights stored as fp16 or int8, arithmetic in fp32.

Published int8 files of Kokoro quantise activations too and sound like it, while onnxruntime gains next to
no time by it on a CPU (int8 convolutions are slower than fp32 ones there). So only what is stored shrinks:
each large weight becomes small numbers followed by a Cast (and, for int8, a multiplication by its scales),
which runtimes carry out once, when they open the file. int8 has one scale for every output channel and
every 32 values of it, chosen for the least squared error; tensors to which the sound is most sensitive stay
fp16 (`SENSITIVE`).
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
SENSITIVE = re.compile(r"bert|predictor|duration_proj|/lstms\.| /lstm/|/shared/|conv_post|gain_post")
"""Names of weights and of nodes that int8 leaves at fp16: PL-BERT and the prosody predictor, whose errors
move pitch and durations, and the last layer."""
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
        exact = precision == "fp16" or axes is None or SENSITIVE.search(place)
        if exact or axes is None:
            kept.append(_half(tensor.name, values, nodes))
        else:
            kept += _eight(tensor.name, values, axes, nodes)
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


def _half(name: str, values: NDArray[np.generic], nodes: list[NodeProto]) -> TensorProto:
    from onnx import TensorProto, helper, numpy_helper

    if float(np.abs(values).max(initial=0.0)) > _REACH:
        raise VoicewrightError(f"the weight {name} is too large for fp16; export it as fp32.")
    nodes.append(
        helper.make_node("Cast", [f"{name}.fp16"], [name], name=f"{name}.cast", to=TensorProto.FLOAT)
    )
    return numpy_helper.from_array(values.astype(np.float16), f"{name}.fp16")


def _eight(
    name: str, values: NDArray[np.generic], axes: tuple[int, ...], nodes: list[NodeProto]
) -> list[TensorProto]:
    """int8 [rows, blocks, 32] times scales [rows, blocks, 1], cut, shaped and turned into the weight
    again."""
    from onnx import TensorProto, helper, numpy_helper

    order = [*axes, *(axis for axis in range(values.ndim) if axis not in axes)]
    turned = values.transpose(order)
    rows = int(np.prod(turned.shape[: len(axes)]))
    flat = np.ascontiguousarray(turned, dtype=np.float32).reshape(rows, -1)
    width = flat.shape[1]
    padded = np.pad(flat, ((0, 0), (0, -width % BLOCK))).reshape(rows, -1, BLOCK)
    numbers, scales = quantise(padded)
    made = [
        numpy_helper.from_array(numbers, f"{name}.int8"),
        numpy_helper.from_array(scales, f"{name}.scale"),
        numpy_helper.from_array(np.array([rows, -1], np.int64), f"{name}.flat"),
        numpy_helper.from_array(np.array(turned.shape, np.int64), f"{name}.shape"),
    ]

    def node(operator: str, inputs: list[str], output: str, **attributes: Any) -> None:
        nodes.append(helper.make_node(operator, inputs, [output], name=f"{output}.{operator}", **attributes))

    node("Cast", [f"{name}.int8"], f"{name}.float", to=TensorProto.FLOAT)
    node("Cast", [f"{name}.scale"], f"{name}.scale32", to=TensorProto.FLOAT)
    node("Mul", [f"{name}.float", f"{name}.scale32"], f"{name}.scaled")
    node("Reshape", [f"{name}.scaled", f"{name}.flat"], f"{name}.rows")
    last = f"{name}.rows"
    if padded.size != flat.size:
        made += [
            numpy_helper.from_array(np.array([value], np.int64), f"{name}.{what}")
            for what, value in (("start", 0), ("stop", width), ("axis", 1))
        ]
        node("Slice", [last, f"{name}.start", f"{name}.stop", f"{name}.axis"], f"{name}.cut")
        last = f"{name}.cut"
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
