"""Weights out of ONNX files: every kind of rounding back to torch's names, and refusals in one sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx_models import lively
from small_models import kokoro_like
from torch import Tensor

from voicewright.engines.onnx.graph import trace
from voicewright.errors import VoicewrightError
from voicewright.model.checkpoint import load_model, save_model
from voicewright.model.layouts import conform
from voicewright.model.onnx_constants import Graph
from voicewright.model.onnx_weights import _blocks, read_onnx
from voicewright.model.tts.model import TTSModel

UNUSED = ("bert.pooler", "bert.embeddings.token_type")
"""What inference does not ask for, or asks for in part."""


@pytest.fixture(scope="module")
def model() -> TTSModel:
    return lively(kokoro_like())


@pytest.fixture(scope="module")
def folded(model: TTSModel) -> Mapping[str, Tensor]:
    other = TTSModel(model.config)
    other.load_state_dict(model.state_dict())
    return other.eval().fold().state_dict()


@pytest.fixture(scope="module")
def exported(model: TTSModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    path.write_bytes(trace(model).SerializeToString())
    return path


def _halved(path: Path, out: Path) -> None:
    """Weights stored as fp16, with a cast before each use, as converters leave them."""
    proto = onnx.load(str(path))
    for tensor in proto.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.ndim > 1:
            name = tensor.name
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
            cast = helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT)
            proto.graph.node.insert(0, cast)
    out.write_bytes(proto.SerializeToString())


def _dynamic(weight_type: str) -> Callable[[Path, Path], None]:
    def make(path: Path, out: Path) -> None:
        from onnxruntime.quantization import QuantType, quantize_dynamic

        quantize_dynamic(path, out, weight_type=QuantType[weight_type], per_channel=weight_type == "QInt8")

    return make


ROUNDINGS: dict[str, tuple[Callable[[Path, Path], None], float]] = {
    "fp32": (lambda path, out: out.write_bytes(path.read_bytes()) and None, 1e-7),
    "fp16": (_halved, 6e-4),
    "int8": (_dynamic("QInt8"), 0.012),
    "uint8": (_dynamic("QUInt8"), 0.012),
}
"""How a file is rounded, and the most that a weight may differ, of the largest in its tensor."""


@pytest.mark.parametrize("name", ROUNDINGS)
def test_weights_come_back(
    name: str, exported: Path, folded: Mapping[str, Tensor], model: TTSModel, tmp_path: Path
) -> None:
    make, most = ROUNDINGS[name]
    path = tmp_path / f"{name}.onnx"
    make(exported, path)
    state = read_onnx(path)
    assert state.keys() == folded.keys()
    for key, value in folded.items():
        if not key.startswith(UNUSED):
            error = float((state[key] - value).abs().max() / value.abs().max().clamp(min=1e-6))
            assert error <= most, f"{key} differs by {error:.4f}"
    types = "bert.embeddings.token_type_embeddings.weight"
    torch.testing.assert_close(state[types][0], folded[types][0], atol=0.02, rtol=0.02)
    # Named where weights are wanted, it opens like any other file.
    model.config.write(tmp_path / "config.json")
    opened, _, styles = load_model(path)
    assert styles is None and all(torch.isfinite(value).all() for value in opened.state_dict().values())


def test_a_channel_that_was_rounded_away_is_no_nan(model: TTSModel, tmp_path: Path) -> None:
    state = {key: value.clone() for key, value in model.state_dict().items()}
    folded = {"decoder.F0_conv.weight": torch.zeros(1, 1, 3)}
    split = conform(folded, state)
    assert all(torch.isfinite(value).all() for value in split.values())
    opened = TTSModel(model.config)
    opened.load_state_dict(state | split)
    assert torch.equal(opened.decoder.F0_conv.weight, torch.zeros(1, 1, 3))
    save_model(tmp_path, opened, model.config)
    assert torch.equal(load_model(tmp_path)[0].fold().decoder.F0_conv.weight, torch.zeros(1, 1, 3))


def test_blocks_of_four_bits() -> None:
    """`MatMulNBits` as onnxruntime packs it: two values a byte, scale and zero point for each block of 32."""
    rng = np.random.default_rng(1)
    outer, inner, size = 3, 80, 32
    count = -(-inner // size)
    whole = rng.integers(0, 16, (outer, count, size), dtype=np.uint8)
    scale = rng.random((outer, count)).astype(np.float32)
    zero = rng.integers(0, 16, (outer, count), dtype=np.uint8)
    packed = whole[..., 0::2] | (whole[..., 1::2] << 4)
    padded = np.pad(zero, ((0, 0), (0, count % 2)))
    zeros = (padded[:, 0::2] | (padded[:, 1::2] << 4)).reshape(-1)
    constants = {"b": packed, "s": scale.reshape(-1), "z": zeros}
    for names, shift in ((["b", "s", "z"], zero), (["b", "s"], np.full_like(zero, 8))):
        node = helper.make_node(
            "MatMulNBits", ["a", *names], ["y"], K=inner, N=outer, bits=4, block_size=size
        )
        found = _blocks(Graph(Path("x"), dict(constants), {}, {}), node)
        right = (whole.astype(np.float32) - shift[..., None]) * scale[..., None]
        np.testing.assert_allclose(found, right.reshape(outer, -1)[:, :inner], rtol=1e-6)


def _external(location: str) -> Callable[[bytes], bytes]:
    def make(data: bytes) -> bytes:
        proto = onnx.load_from_string(data)
        tensor = proto.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", location
        return bytes(proto.SerializeToString())

    return make


def _poisoned(data: bytes) -> bytes:
    proto = onnx.load_from_string(data)
    tensor = next(item for item in proto.graph.initializer if len(item.dims) > 1)
    values = numpy_helper.to_array(tensor).copy()
    values.reshape(-1)[0] = np.nan
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return bytes(proto.SerializeToString())


BAD: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda data: b"", "damaged or no ONNX file"),
    "cut in half": (lambda data: data[: len(data) // 2], "damaged or no ONNX file|another network"),
    "not ONNX": (lambda data: b"RIFF" + bytes(200), "damaged or no ONNX file"),
    "outside": (_external("../secret.bin"), "outside its folder"),
    "absolute": (_external("/etc/hostname"), "outside its folder"),
    "lost": (_external("weights.bin"), "is not beside it"),
    "poisoned": (_poisoned, "values that are no numbers"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_a_sentence(name: str, exported: Path, tmp_path: Path) -> None:
    change, told = BAD[name]
    path = tmp_path / "x.onnx"
    path.write_bytes(change(exported.read_bytes()))
    with pytest.raises(VoicewrightError, match=told) as caught:
        read_onnx(path)
    assert "\n" not in str(caught.value)


def test_another_network_is_a_sentence(tmp_path: Path) -> None:
    weight = numpy_helper.from_array(np.ones((4, 4), np.float32), "w")
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])]
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="/dense/MatMul")
    graph = helper.make_graph([node], "other", inputs, outputs, [weight])
    (tmp_path / "x.onnx").write_bytes(helper.make_model(graph).SerializeToString())
    with pytest.raises(VoicewrightError, match="another network than Kokoro's"):
        read_onnx(tmp_path / "x.onnx")
