"""Smaller ONNX files: weights stored in two bytes or in one, arithmetic in fp32.

Published int8 files of Kokoro quantise activations too and sound like it, while onnxruntime gains next to
no time by it on a CPU (int8 convolutions are slower than fp32 ones there). So only what is stored shrinks:
each large weight becomes small numbers followed by a Cast (and, for int8, a multiplication by its scales),
which runtimes carry out once, when they open the file. int8 has one scale for every output channel and
every 32 values of it, chosen for the least squared error; the last layer stays fp16 (`LAST`).

What decides pitch and durations (`SENSITIVE`) is stored in three bytes a value, 24 bits with a scale every
32, unless fp16 holds it exactly. The phase of a voice is a running sum of its pitch, so that an error of
0.1 Hz is another waveform after three seconds, and fp16 makes such errors.
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
"""Steps that the second part of a 24-bit value divides the first part's step into."""
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
            kept += _blocks(tensor.name, values, axes or (0,), nodes, fine=True)
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
    """Whole numbers [rows, blocks, 32] of 8 bits (fine: 24) times scales [rows, blocks, 1], cut, shaped and
    turned into the weight again."""
    from onnx import TensorProto, helper, numpy_helper

    order = [*axes, *(axis for axis in range(values.ndim) if axis not in axes)]
    turned = values.transpose(order)
    rows = int(np.prod(turned.shape[: len(axes)]))
    flat = np.ascontiguousarray(turned, dtype=np.float32).reshape(rows, -1)
    width = flat.shape[1]
    padded = np.pad(flat, ((0, 0), (0, -width % BLOCK))).reshape(rows, -1, BLOCK)
    made = [
        numpy_helper.from_array(np.array([rows, -1], np.int64), f"{name}.flat"),
        numpy_helper.from_array(np.array(turned.shape, np.int64), f"{name}.shape"),
    ]

    def node(operator: str, inputs: list[str], output: str, **attributes: Any) -> None:
        nodes.append(helper.make_node(operator, inputs, [output], name=f"{output}.{operator}", **attributes))

    if fine:
        whole, rest, scales = quantise_finely(padded)
        parts: dict[str, NDArray[Any]] = {
            "int16": whole,
            "int8": rest,
            "scale": scales,
            "unit": np.array(1 / REST, np.float32),
        }
        node("Cast", [f"{name}.int16"], f"{name}.whole", to=TensorProto.FLOAT)
        node("Cast", [f"{name}.int8"], f"{name}.rest", to=TensorProto.FLOAT)
        node("Mul", [f"{name}.rest", f"{name}.unit"], f"{name}.part")
        node("Add", [f"{name}.whole", f"{name}.part"], f"{name}.float")
        node("Mul", [f"{name}.float", f"{name}.scale"], f"{name}.scaled")
    else:
        numbers, halves = quantise(padded)
        parts = {"int8": numbers, "scale": halves}
        node("Cast", [f"{name}.int8"], f"{name}.float", to=TensorProto.FLOAT)
        node("Cast", [f"{name}.scale"], f"{name}.scale32", to=TensorProto.FLOAT)
        node("Mul", [f"{name}.float", f"{name}.scale32"], f"{name}.scaled")
    made += [numpy_helper.from_array(part, f"{name}.{what}") for what, part in parts.items()]
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


def quantise_finely(
    blocks: NDArray[np.float32],
) -> tuple[NDArray[np.int16], NDArray[np.int8], NDArray[np.float32]]:
    """Values [..., n] -> whole numbers within ±32,767, the rest in steps of 1/256, and fp32 scales [..., 1].

    The sum of both is exact in fp32, whose numbers have 24 bits too.
    """
    peak = np.abs(blocks).max(axis=-1, keepdims=True)
    scales = np.where(peak > 0, peak / 32_767, 1.0).astype(np.float32)
    steps = blocks.astype(np.float64) / scales
    whole = np.clip(np.rint(steps), -32_767, 32_767)
    rest = np.clip(np.rint((steps - whole) * REST), -127, 127)
    return whole.astype(np.int16), rest.astype(np.int8), scales
