"""Durations out of files that do not give them: the same as those that the network predicts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from onnx_models import lively, samples
from small_models import kokoro_like

from voicewright.engines.onnx.durations import OUTPUT, with_durations
from voicewright.engines.onnx.graph import trace
from voicewright.engines.onnx_engine import OnnxEngine
from voicewright.errors import VoicewrightError


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "whole.onnx"
    path.write_bytes(trace(lively(kokoro_like())).SerializeToString())
    return path


def _without(path: Path, out: Path) -> Path:
    """The file as kokoro-onnx's are: the sound alone."""
    proto = onnx.load(str(path))
    names = [item.name for item in proto.graph.output]
    assert len(names) == 2
    del proto.graph.output[1]
    out.write_bytes(proto.SerializeToString())
    return out


def test_the_tensor_inside_is_given(whole: Path, tmp_path: Path) -> None:
    path = _without(whole, tmp_path / "sound.onnx")
    more = with_durations(path)
    assert more is not None
    first, second = onnxruntime.InferenceSession(str(whole)), onnxruntime.InferenceSession(more)
    assert [item.name for item in second.get_outputs()][-1] == OUTPUT
    for sample in samples():
        feed = dict(
            zip(
                (i.name for i in first.get_inputs()), (sample.tokens, sample.style, sample.speed), strict=True
            )
        )
        right, found = first.run(None, feed)[1], second.run(None, feed)[1]
        assert found.dtype == np.int64 and np.array_equal(found.ravel(), right.ravel())
    assert OnnxEngine(path).ends.durations == OUTPUT


def test_a_graph_without_one_such_place_is_left_alone(whole: Path, tmp_path: Path) -> None:
    proto = onnx.load(str(_without(whole, tmp_path / "sound.onnx")))
    rounded = next(node for node in proto.graph.node if node.op_type == "Round")
    proto.graph.node.append(helper.make_node("Clip", [rounded.output[0]], ["another"]))
    (tmp_path / "two.onnx").write_bytes(proto.SerializeToString())
    assert with_durations(tmp_path / "two.onnx") is None
    proto.graph.initializer[0].data_location = TensorProto.EXTERNAL
    (tmp_path / "outside.onnx").write_bytes(proto.SerializeToString())
    assert with_durations(tmp_path / "outside.onnx") is None
    (tmp_path / "damaged.onnx").write_bytes(b"RIFF" + bytes(99))
    with pytest.raises(VoicewrightError, match="damaged or no ONNX model"):
        with_durations(tmp_path / "damaged.onnx")
