"""Damaged and foreign weights wherever a model is named: one sentence, the right exit code, nothing left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx_models import lively
from small_models import kokoro_like

from voicewright.catalogue.places import list_models
from voicewright.cli import main
from voicewright.engines.onnx.compress import compress
from voicewright.engines.onnx.graph import trace
from voicewright.voices.importing import import_weights, imported_folder
from voicewright.voices.pack import Voicepack

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small Kokoro in int8, as a graph."""
    proto = trace(lively(kokoro_like()))
    compress(proto, "int8")
    return bytes(proto.SerializeToString())


def _external(location: str) -> Callable[[bytes], bytes]:
    def make(data: bytes) -> bytes:
        proto = onnx.load_from_string(data)
        tensor = max(proto.graph.initializer, key=lambda item: len(item.raw_data))
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", location
        return bytes(proto.SerializeToString())

    return make


def _scale(value: float) -> Callable[[bytes], bytes]:
    def make(data: bytes) -> bytes:
        proto = onnx.load_from_string(data)
        for tensor in proto.graph.initializer:
            if tensor.name.endswith(".scale"):
                values = onnx.numpy_helper.to_array(tensor).copy()
                values[:] = value
                tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
        return bytes(proto.SerializeToString())

    return make


def _other(data: bytes) -> bytes:
    value, kind = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    made = onnx.helper.make_graph([node], "other", [value("x", kind, [1, 3])], [value("y", kind, [1, 3])])
    model = onnx.helper.make_model(made, opset_imports=[onnx.helper.make_opsetid("", 17)])
    model.ir_version = 8
    return bytes(model.SerializeToString())


BAD: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "text": lambda data: b"these are words, and no model\n" * 9,
    "half": lambda data: data[: len(data) // 2],
    "other": _other,
    "outside": _external("../../etc/passwd"),
    "absolute": _external("/etc/passwd"),
    "lost": _external("lost.bin"),
    "nan": _scale(float("nan")),
    "inf": _scale(float("inf")),
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a configuration and a voice beside what is to be opened, and a cache of its own."""
    monkeypatch.setenv("VOICEWRIGHT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "m").mkdir()
    kokoro_like().write(tmp_path / "m" / "config.json")
    Voicepack.constant(np.full(256, 0.1, np.float32)).write(tmp_path / "v.bin")
    return tmp_path / "m"


def _one_sentence(capsys: pytest.CaptureFixture[str], code: int, file: str) -> str:
    told = capsys.readouterr().err
    assert code == 1, told
    assert told.count("\n") == 1 and file in told and "Traceback" not in told and len(told) < 600, told
    return told


@pytest.mark.parametrize("name", BAD)
def test_bad_onnx_files(name: str, good: bytes, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = place / "model.onnx", place / "x.wav"
    file.write_bytes(BAD[name](good))
    words = ["say", "Hello there.", "-m", str(file), "-v", str(place.parent / "v.bin"), "-o", str(out)]
    _one_sentence(capsys, main(words), "" if name in ("nan", "inf") else "model.onnx")
    assert not out.exists()
    _one_sentence(capsys, main(["models", "import", str(file), "--name", "mine"]), "model.onnx")
    _one_sentence(capsys, main(["export", str(file), "-o", str(place / "out")]), "model.onnx")
    assert not (place / "out").exists()
    assert not list((place.parent / "cache").rglob("*.*"))


def test_the_good_one_is_good(good: bytes, place: Path) -> None:
    file = place / "model.onnx"
    file.write_bytes(good)
    out = place / "x.wav"
    assert main(["say", "Hello.", "-m", str(file), "-v", str(place.parent / "v.bin"), "-o", str(out)]) == 0
    assert main(["models", "import", str(file), "--name", "mine"]) == 0
    assert (imported_folder("mine") / "model.safetensors").is_file()


@pytest.mark.parametrize("content", ["zip", "empty", "text", "half"])
def test_bad_torch_files(content: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    file = place / "kokoro.pth"
    torch.save({"decoder": {"x": torch.zeros(300)}}, file)
    if content == "zip":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("letter.txt", "words")
    else:
        data = file.read_bytes()
        file.write_bytes({"empty": b"", "text": b"words\n" * 30, "half": data[: len(data) // 2]}[content])
    _one_sentence(capsys, main(["models", "import", str(file), "--name", "mine"]), "kokoro.pth")
    words = ["say", "Hello.", "-m", str(file), "-v", str(place.parent / "v.bin"), "-o", str(place / "x.wav")]
    _one_sentence(capsys, main(words), "kokoro.pth")
    assert not list((place.parent / "cache").rglob("*.*")) and not (place / "x.wav").exists()


_KILLED = """
import os, signal, sys
from pathlib import Path
from voicewright.model import checkpoint
from voicewright.voices.importing import import_weights
whole = checkpoint.save_model
def save(*given, **named):
    whole(*given, **named)
    os.kill(os.getpid(), getattr(signal, sys.argv[2]))
checkpoint.save_model = save
import_weights(Path(sys.argv[1]), "mine")
"""


@pytest.mark.parametrize("how", ["SIGKILL", "SIGINT"])
def test_an_import_that_was_killed_leaves_no_model(how: str, good: bytes, place: Path) -> None:
    file = place / "model.onnx"
    file.write_bytes(good)
    ended = subprocess.run(
        [sys.executable, "-c", _KILLED, str(file), how],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode != 0
    if how == "SIGKILL":
        assert ended.returncode == -signal.SIGKILL
    assert not imported_folder("mine").exists()
    assert not [entry for entry in list_models() if "mine" in str(entry.folder)]
    for left in imported_folder("mine").parent.glob(".mine-*"):
        os.utime(left, (0, 0))
    import_weights(file, "mine")
    assert [path.name for path in imported_folder("mine").parent.iterdir()] == ["mine"]
