"""Weights out of an ONNX file of Kokoro, whatever it was rounded to: fp32, fp16, int8, uint8, 4 bits.

Exporters lose the names of most weights, but every node keeps the path of the module that it came from.
So the graph is walked once: whatever multiplies, convolves or looks up is asked for its module and its
weight, and a weight is whatever constant arithmetic gives (`onnx_constants.py`).

Sources: ONNX's operators, and onnxruntime's `DynamicQuantizeLSTM`, `MatMulNBits` and fused norms of the
domain com.microsoft. Nothing in the file runs.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from voicewright.errors import VoicewrightError
from voicewright.model.onnx_constants import Array, Graph, attribute, dequantized, open_graph

if TYPE_CHECKING:
    from onnx import NodeProto

GIVE = "give the ONNX file of a Kokoro model"
_MATRIX = ("MatMul", "MatMulInteger", "MatMulNBits", "Gemm")
_CONVOLUTION = ("Conv", "ConvInteger", "ConvTranspose", "FusedConv", "QLinearConv")
_LSTM = ("LSTM", "DynamicQuantizeLSTM")
_LOOKUP = ("Gather", "GatherBlockQuantized")
_WEIGHTED = frozenset((*_MATRIX, *_CONVOLUTION, *_LSTM, *_LOOKUP))
_ROOTS = ("encoder", "decoder", "model", "kmodel", "k_model")
"""Names that exporters wrap the network in."""
_PREDICTOR = ("F0", "N", "F0_proj", "N_proj", "shared", "lstm", "duration_proj")
"""Modules of the predictor that exporters call themselves, so that its name is not in their paths."""
_ROUNDED = re.compile(
    r"(_Transposed)?(_quantized|_quant|_scales?|_zero_points?|_q4|_q8|_fp16|\.half)$|_Transposed$"
    r"|((?<=\.weight)|(?<=\.bias)|(?<=\.gamma)|(?<=\.beta)|(?<=\.alpha\d\.\d))(\.\w+){1,2}$"
)
"""What tools append to the name of a weight that they round, and to what belongs to it."""
_UNPACKING = ("Cast", "Identity", "DequantizeLinear", "Transpose", "Reshape", "Slice", "Sum")
_GATES = (0, 2, 3, 1)
"""ONNX has an LSTM's gates as i, o, f, c; torch as i, f, c, o."""


def read_onnx(path: Path) -> dict[str, Tensor]:
    """The weights of a Kokoro ONNX file in fp32, flat, under torch's names with folded weight norms.

    Raises VoicewrightError in one sentence for a damaged file, weights outside it, another network, values
    that are no numbers; and where the package `onnx` is missing.
    """
    graph = open_graph(path)
    state: dict[str, Array] = {}
    for node in graph.makers.values():
        module = None
        if node.op_type in _WEIGHTED:
            module = _stored_module(graph, node) or _module(node.name)
        if module is None or f"{module}.weight" in state:  # ALBERT's one layer is called twelve times
            continue
        for key, value in _weights_of(graph, node, module).items():
            state.setdefault(key, value)
    for name in [*graph.constants, *graph.makers]:
        named = None if _ROUNDED.search(name) else _named(name)
        stored = graph.value(name) if named is not None and named not in state else None
        if named is not None and stored is not None and stored.dtype.kind == "f":
            state[named] = stored
    if (
        "bert.embeddings.word_embeddings.weight" not in state
        or "decoder.generator.conv_post.weight" not in state
    ):
        raise VoicewrightError(f"{path} holds another network than Kokoro's; {GIVE}.")
    _settle(state, graph)
    bad = [key for key, value in state.items() if not np.isfinite(value).all()]
    if bad:
        raise VoicewrightError(
            f"{path}: the weight {bad[0]} has values that are no numbers; get another copy."
        )
    return {key: torch.from_numpy(np.array(value, np.float32)) for key, value in state.items()}


def _weights_of(graph: Graph, node: NodeProto, module: str) -> dict[str, Array]:
    """The weights of the module that a node belongs to: key → values as torch has them."""
    kind = node.op_type
    if kind in _LSTM:
        return _lstm(graph, node, module)
    if kind in _LOOKUP:
        table = _table(graph, node)
        return {} if table is None or table.ndim != 2 else {f"{module}.weight": table}
    if kind in _CONVOLUTION:
        weight = _integer(graph, node) if kind == "ConvInteger" else graph.value(node.input[1])
        return {} if weight is None or weight.ndim != 3 else {f"{module}.weight": weight}
    if kind == "MatMulNBits":
        return {f"{module}.weight": _blocks(graph, node)}
    weight = _integer(graph, node) if kind == "MatMulInteger" else graph.value(node.input[1])
    if weight is None or weight.ndim != 2:
        return {}
    straight = kind == "Gemm" and attribute(node, "transB")
    found = {f"{module}.weight": weight if straight else weight.T}
    if kind == "Gemm" and len(node.input) > 2 and (bias := graph.value(node.input[2])) is not None:
        found[f"{module}.bias"] = bias
    return found


def _integer(graph: Graph, node: NodeProto) -> Array | None:
    """An integer operator's weight; its scale is one of the numbers that the result is multiplied with."""
    values = graph.value(node.input[1])
    if values is None:
        return None
    zero = graph.value(node.input[3]) if len(node.input) > 3 and node.input[3] else None
    scale = None
    # Behind it: perhaps a bias that was rounded alike, a cast, and the product of both scales.
    behind = [node.output[0]]
    for name in behind:
        for reader in graph.readers.get(name, ()):
            if reader.op_type in ("Add", "Cast") and len(behind) < 8:
                behind.append(reader.output[0])
            elif reader.op_type == "Mul":
                makers = [graph.makers[part] for part in reader.input if part in graph.makers]
                parts = [part for maker in makers if maker.op_type == "Mul" for part in maker.input]
                # The input's scale stands before the weight's, and may be a constant as well.
                scales = [s for part in parts if (s := graph.value(part)) is not None]
                scale = scales[-1] if scales else scale
    if scale is None:
        raise VoicewrightError(
            f"{graph.path}: the scale of {node.name[:100]} is not where others have it; {GIVE}."
        )
    # Convolutions have their output channels in front, matrices behind.
    return dequantized(values, scale, zero, 0 if values.ndim == 3 else None)


def _table(graph: Graph, node: NodeProto) -> Array | None:
    """An embedding: of numbers, or of integers whose scale follows behind."""
    values = graph.value(node.input[0])
    if values is None or values.dtype.kind == "f":
        return values
    if node.op_type == "GatherBlockQuantized":
        return _block_table(graph, node, values)
    base = _ROUNDED.sub("", node.input[0])
    scale, zero = f"{base}_scale", f"{base}_zero_point"
    for reader in graph.readers.get(node.output[0], ()):
        if reader.op_type == "DequantizeLinear":
            scale = reader.input[1]
            zero = reader.input[2] if len(reader.input) > 2 else ""
    found = graph.value(scale)
    return None if found is None else dequantized(values, found, graph.value(zero))


def _block_table(graph: Graph, node: NodeProto, values: Array) -> Array | None:
    scale = graph.value(node.input[2])
    if scale is None:
        return None
    size = int(attribute(node, "block_size") or 128)
    flat = values.astype(np.float32).reshape(values.shape[0], -1, size)
    zero = graph.value(node.input[3]) if len(node.input) > 3 and node.input[3] else None
    shifted = flat - (0 if zero is None else zero.astype(np.float32)[..., None])
    return (shifted * scale.astype(np.float32)[..., None]).reshape(values.shape)


def _blocks(graph: Graph, node: NodeProto) -> Array:
    """`MatMulNBits`: [out, blocks, bytes] of 4 or 8 bits, a scale and perhaps a zero point for each block."""
    bits, size = int(attribute(node, "bits") or 4), int(attribute(node, "block_size"))
    inner, outer = int(attribute(node, "K")), int(attribute(node, "N"))
    packed, scale = graph.value(node.input[1]), graph.value(node.input[2])
    if packed is None or scale is None or bits not in (4, 8):
        raise VoicewrightError(
            f"{graph.path}: {node.name[:100]} has {bits}-bit weights of no known kind; {GIVE}."
        )
    zero = graph.value(node.input[3]) if len(node.input) > 3 and node.input[3] else None
    count = -(-inner // size)
    values = _unpacked(packed.reshape(outer, count, -1), bits)[..., :size].astype(np.float32)
    if zero is None:
        shift: Array = np.full((outer, count), float(1 << (bits - 1)), np.float32)
    elif zero.dtype.kind == "f":
        shift = zero.reshape(outer, -1)[:, :count].astype(np.float32)
    else:
        shift = _unpacked(zero.reshape(outer, -1), bits)[:, :count].astype(np.float32)
    scaled = (values - shift[..., None]) * scale.astype(np.float32).reshape(outer, count)[..., None]
    return scaled.reshape(outer, -1)[:, :inner]


def _unpacked(packed: Array, bits: int) -> Array:
    """Two values a byte, the lower half first; 8 bits are as they are."""
    if bits == 8:
        return packed
    pairs = np.stack([packed & 15, packed >> 4], axis=-1)
    return pairs.reshape(*packed.shape[:-1], -1)


def _lstm(graph: Graph, node: NodeProto, module: str) -> dict[str, Array]:
    """W, R and B of both directions under torch's names, gates in torch's order."""
    given = [graph.value(name) if name else None for name in node.input]
    across, again, bias = given[1], given[2], given[3] if len(given) > 3 else None
    if across is None or again is None:
        return {}
    if node.op_type == "DynamicQuantizeLSTM":
        # Stored [directions, in, 4 h], one scale a direction or one for each column.
        across = _per_direction(across, given[8], given[9]).transpose(0, 2, 1)
        again = _per_direction(again, given[10], given[11]).transpose(0, 2, 1)
    hidden = again.shape[-1]
    bias = np.zeros((len(across), 8 * hidden), np.float32) if bias is None else bias

    def turned(values: Array) -> Array:
        gates = values.reshape(4, hidden, *values.shape[1:])
        return gates[list(_GATES)].reshape(values.shape)

    found: dict[str, Array] = {}
    for direction, tail in enumerate(("", "_reverse")[: len(across)]):
        found[f"{module}.weight_ih_l0{tail}"] = turned(across[direction])
        found[f"{module}.weight_hh_l0{tail}"] = turned(again[direction])
        found[f"{module}.bias_ih_l0{tail}"] = turned(bias[direction][: 4 * hidden])
        found[f"{module}.bias_hh_l0{tail}"] = turned(bias[direction][4 * hidden :])
    return found


def _per_direction(values: Array, scale: Array | None, zero: Array | None) -> Array:
    if scale is None:
        return values.astype(np.float32)

    def spread(numbers: Array) -> Array:
        numbers = numbers.astype(np.float32)
        return numbers.reshape(len(values), 1, -1) if numbers.size > 1 else numbers.reshape(1, 1, 1)

    return (values.astype(np.float32) - (0 if zero is None else spread(zero))) * spread(scale)


def _stored_module(graph: Graph, node: NodeProto) -> str | None:
    """The module by the name of the weight itself, where it has kept one."""
    name = node.input[0 if node.op_type in _LOOKUP else 1]
    while name not in graph.constants:
        maker = graph.makers.get(name)
        if maker is None or maker.op_type not in _UNPACKING:
            return None
        name = maker.input[0]
    base, _, last = _ROUNDED.sub("", name).rpartition(".")
    return _named(base) if last == "weight" else None


def _module(path: str) -> str | None:
    """The module that a node's path names: /decoder/decoder/asr_res/asr_res.0/Conv → decoder.asr_res.0."""
    parts = path.removeprefix("/").split("/")[:-1]
    kept: list[str] = []
    for at, part in enumerate(parts):
        part = re.sub(r"_\d+$", "", part)  # the same module, called again
        following = parts[at + 1] if at + 1 < len(parts) else ""
        if following.startswith(f"{part}."):
            continue  # a sequence, which names itself in its members
        kept.append(part)
    return _named(".".join(kept)) if kept else None


def _named(name: str) -> str | None:
    """A name under the network's own root, whatever exporters wrap it in; None for what is none."""
    if "/" in name or "::" in name:
        return None
    parts = name.split(".")
    while len(parts) > 1 and parts[0] in _ROOTS and (parts[0] != "decoder" or parts[1] == "decoder"):
        parts = parts[1:]
    head = parts[0]
    if head in _PREDICTOR or (head == "text_encoder" and parts[1:2] == ["lstms"]):
        parts = ["predictor", *parts]
    return (
        ".".join(parts)
        if parts[0] in ("bert", "bert_encoder", "predictor", "text_encoder", "decoder")
        else None
    )


def _settle(state: dict[str, Array], graph: Graph) -> None:
    """What no ONNX file has, and what it has in another shape."""
    width = state["bert_encoder.weight"].shape[1]
    state.setdefault("bert.pooler.weight", np.zeros((width, width), np.float32))  # inference never asks it
    state.setdefault("bert.pooler.bias", np.zeros(width, np.float32))
    types = "bert.embeddings.token_type_embeddings.weight"
    if types not in state:
        # All tokens are of the first type, whose row some exporters keep as a constant without a name.
        added = [node for node in graph.makers.values() if node.name.endswith("/bert/embeddings/Add")]
        rows = [graph.value(name) for node in added for name in node.input]
        row = next((row for row in rows if row is not None and row.ndim == 1), None)
        if row is not None:
            state[types] = np.stack([row, np.zeros_like(row)])
    for key in [key for key in state if ".stft." in key]:
        del state[key]
    for key, value in state.items():
        # Slopes of Snake: one a channel.
        if re.search(r"\.alpha\d\.\d$", key) and value.ndim == 1:
            state[key] = value.reshape(1, -1, 1)
