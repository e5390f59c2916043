"""Durations out of ONNX files that do not give them: the tensor is inside, rounded and at least one.

Kokoro's graph rounds what it predicts for each token and raises it to one frame before it repeats the token
so often. Where a file has just one such place, the graph is loaded with one output more.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from voicewright.errors import VoicewrightError

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

OUTPUT = "voicewright_durations"
_RAISED = ("Clip", "Max")
_SAME = ("Cast", "Identity")


def with_durations(path: Path) -> bytes | None:
    """The file's graph with an output of int64 durations; None where it has no place for them, or several.

    Also None where the package `onnx` is missing, or the weights lie in a file of their own. Raises
    VoicewrightError for a damaged file.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ModuleNotFoundError:
        return None
    try:
        proto = onnx.load(str(path), load_external_data=False)
    except (DecodeError, ValueError, OSError) as error:
        raise VoicewrightError(f"{path} is damaged or no ONNX model; copy or export it again.") from error
    outside = any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in proto.graph.initializer)
    place = None if outside else _place(proto)
    if place is None:
        return None
    proto.graph.node.append(onnx.helper.make_node("Cast", [place], [OUTPUT], to=onnx.TensorProto.INT64))
    proto.graph.output.append(onnx.helper.make_tensor_value_info(OUTPUT, onnx.TensorProto.INT64, None))
    return bytes(proto.SerializeToString())


def _place(proto: ModelProto) -> str | None:
    """The one tensor that was rounded and then raised to one."""
    readers: dict[str, list[NodeProto]] = {}
    for node in proto.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    found = []
    for node in proto.graph.node:
        if node.op_type != "Round":
            continue
        behind = [node.output[0]]
        for name in behind:
            for reader in readers.get(name, ()):
                if reader.op_type in _RAISED:
                    found.append(reader.output[0])
                elif reader.op_type in _SAME and len(behind) < 4:
                    behind.append(reader.output[0])
    return found[0] if len(found) == 1 else None
