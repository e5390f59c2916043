"""An ONNX graph's constants, and what constant arithmetic makes of them.

Rounded integers and their scales, a norm times a direction: the few operators that stand between stored
values and a weight are done here, and nothing in the file runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from voicewright.errors import VoicewrightError

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

Array = NDArray[Any]


@dataclass
class Graph:
    """A graph's constants, and its nodes by what they give and by what they read."""

    path: Path
    constants: dict[str, Any]
    makers: dict[str, NodeProto]
    readers: dict[str, list[NodeProto]]

    def value(self, name: str, depth: int = 24) -> Array | None:
        """What a name stands for where it follows from constants alone; None where it follows from inputs."""
        from onnx import numpy_helper

        if name in self.constants:
            found = self.constants[name]
            if not isinstance(found, np.ndarray):
                self.constants[name] = found = numpy_helper.to_array(found)
            return found
        node = self.makers.get(name)
        if node is None or not depth:
            return None
        if node.op_type == "Constant":
            return np.asarray(numpy_helper.to_array(attribute(node, "value")))
        given = [self.value(part, depth - 1) if part else None for part in node.input]
        if any(part and value is None for part, value in zip(node.input, given, strict=True)):
            return None
        return _computed(node, given)


def open_graph(path: Path) -> Graph:
    """The graph of a file, its weights in memory.

    Raises VoicewrightError for a damaged file, weights outside its folder, and where `onnx` is missing.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ModuleNotFoundError as error:
        raise VoicewrightError(
            f"{path} needs the package onnx to be opened as weights: pip install 'voicewright[export]'."
        ) from error
    try:
        model = onnx.load(str(path), load_external_data=False)
    except (DecodeError, ValueError, OSError) as error:
        raise VoicewrightError(f"{path} is damaged or no ONNX file; copy or download it again.") from error
    graph: GraphProto = model.graph
    if not graph.node:
        raise VoicewrightError(f"{path} is damaged or no ONNX file; copy or download it again.")
    for tensor in graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            _check_outside(path, {entry.key: entry.value for entry in tensor.external_data})
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in graph.initializer):
        try:
            onnx.load_external_data_for_model(model, str(path.parent))
        except (OSError, ValueError, onnx.checker.ValidationError) as error:
            raise VoicewrightError(f"{path}: the file with its weights cannot be read ({error}).") from error
    readers: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    makers = {name: node for node in graph.node for name in node.output if name}
    return Graph(path, {tensor.name: tensor for tensor in graph.initializer}, makers, readers)


def _check_outside(path: Path, described: Mapping[str, str]) -> None:
    """Weights in a file of their own must lie in the same folder."""
    location = described.get("location", "")
    there = (path.parent / location).resolve()
    if not location or there.parent != path.parent.resolve():
        raise VoicewrightError(
            f"{path} has its weights in {location[:80]!r}, outside its folder; it is refused."
        )
    if not there.is_file():
        raise VoicewrightError(f"{path} has its weights in {location}, which is not beside it; copy it too.")


def attribute(node: NodeProto, name: str) -> Any:
    """A node's attribute, None where it has none of that name."""
    from onnx import helper

    return next((helper.get_attribute_value(item) for item in node.attribute if item.name == name), None)


def _computed(node: NodeProto, given: Sequence[Array | None]) -> Array | None:
    """The arithmetic that stands between stored constants and a weight."""
    some = [value for value in given if value is not None]
    first = some[0] if some else np.zeros(0)
    if node.op_type in ("Mul", "Div", "Add", "Sub", "Pow") and len(some) == 2:
        operation = {"Mul": np.multiply, "Div": np.divide, "Add": np.add, "Sub": np.subtract, "Pow": np.power}
        with np.errstate(divide="ignore", invalid="ignore"):
            # 0/0: a row that was rounded away has a norm of nothing.
            result = operation[node.op_type](some[0], some[1])
        return np.where(np.isnan(result), 0, result) if node.op_type == "Div" else result
    if node.op_type == "DequantizeLinear":
        return dequantized(some[0], some[1], given[2] if len(given) > 2 else None, attribute(node, "axis"))
    if node.op_type == "Cast":
        return first.astype(np.float32) if first.dtype.kind == "f" else first
    if node.op_type == "Sqrt":
        return np.sqrt(first)
    if node.op_type in ("ReduceL2", "ReduceSum", "ReduceSumSquare"):
        axes = attribute(node, "axes") if len(some) == 1 else some[1].tolist()
        squared = first if node.op_type == "ReduceSum" else first.astype(np.float64) ** 2
        total = squared.sum(
            axis=None if axes is None else tuple(axes), keepdims=bool(attribute(node, "keepdims") != 0)
        )
        return np.asarray(np.sqrt(total) if node.op_type == "ReduceL2" else total)
    if node.op_type == "Transpose":
        return first.transpose(attribute(node, "perm"))
    if node.op_type in ("Identity", "Abs"):
        return first if node.op_type == "Identity" else np.abs(first)
    if node.op_type == "Unsqueeze":
        axes = attribute(node, "axes") if len(some) == 1 else some[1].tolist()
        return np.expand_dims(first, tuple(axes))
    if node.op_type == "Squeeze":
        axes = attribute(node, "axes") if len(some) == 1 else some[1].tolist()
        return np.squeeze(first, tuple(axes) if axes is not None else None)
    if node.op_type == "Reshape":
        return first.reshape(some[1].tolist())
    if node.op_type == "Sum":
        return np.asarray(sum(some[1:], start=first))
    if node.op_type == "Slice" and len(some) == 4:
        start, stop, axis = (part.item() for part in some[1:])
        return first[(slice(None),) * axis + (slice(start, stop),)]
    return None


def dequantized(values: Array, scale: Array, zero: Array | None, axis: int | None = None) -> Array:
    """scale · (values - zero), with one scale in all or one for each place on an axis (else the last)."""
    shifted = values.astype(np.float32)
    if scale.ndim == 1 and len(scale) > 1:
        at = (axis if axis is not None else shifted.ndim - 1) % shifted.ndim
        shape = [1] * shifted.ndim
        shape[at] = len(scale)
        scale = scale.reshape(shape)
        zero = None if zero is None else np.broadcast_to(zero, len(scale.ravel())).reshape(shape)
    if zero is not None:
        shifted = shifted - zero.astype(np.float32)
    return shifted * scale.astype(np.float32)
