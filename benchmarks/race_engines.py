"""The engines of race.py, each as a function of token ids and phonemes, and what they need prepared."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RATE = 24_000
ENGINES = (
    "ours",
    "ours in windows",
    "ours half",
    "ours torch bf16",
    "kokoro",
    "kokoro-onnx int8",
    "kokoro-onnx fp32",
    "openvino",
    "vox f32",
    "vox bf16",
    "kokoro-pi int8",
)
VOICE = "voice"


@dataclass(frozen=True)
class Said:
    """samples float32 [N]; seconds until the first of them were there."""

    samples: Any
    first: float


Speak = Callable[[list[int], str], Said]


def kept_out(name: str) -> str:
    return f"{name} is left out: its package or its file is not there, or it failed (see above)."


@cache
def _frontend(assets: Path) -> Any:
    sys.path.insert(0, str(ROOT))
    from voicewright.text.frontend import Frontend

    return Frontend("en-us", None, json.loads((assets / "config.json").read_text())["vocab"])


def tokens_of(assets: Path, text: str) -> dict[str, Any]:
    """A request: ids without pads, and phonemes."""
    tokens = _frontend(assets).tokens(text)
    return {"ids": list(tokens.ids), "phonemes": tokens.phonemes}


def prepare(assets: Path, voice: str) -> None:
    """Our folder's weights as the others read them: .pth, our fp32 ONNX export, OpenVINO's, vox's."""
    import numpy as np
    import torch

    from voicewright.catalogue.places import cache_folder, resolve_model, voice_files
    from voicewright.model.checkpoint import export_kokoro, load_model
    from voicewright.voices.pack import Voicepack

    (assets / "voices").mkdir(parents=True, exist_ok=True)
    model = resolve_model("kokoro")
    network, _, _ = load_model(model, styles=False)
    export_kokoro(network, assets / "kokoro.pth")
    shutil.copy(model / "config.json", assets / "config.json")
    rows = Voicepack.read(voice_files(model)[voice]).rows
    with (assets / "voices.bin").open("wb") as file:
        np.savez(file, **{VOICE: rows})
    torch.save(torch.from_numpy(rows.copy()), assets / "voices" / f"{VOICE}.pt")
    rounded = cache_folder() / "joined" / "kokoro-v1.0.int8.onnx"
    if rounded.is_file():
        shutil.copy(rounded, assets / "int8.onnx")
    line = [sys.executable, "-m", "voicewright", "export", "kokoro", "--format", "onnx"]
    subprocess.run([*line, "-o", str(assets / "onnx")], check=True)
    for dtype in ("f32", "bf16"):
        line = [
            sys.executable,
            "-m",
            "vox.build_kokoro",
            "--model",
            str(assets),
            "--no-g2p",
            "--dtype",
            dtype,
        ]
        subprocess.run([*line, "-o", str(assets / f"kokoro-{dtype}.tmod")], check=False)
    try:
        import openvino
    except ImportError:
        return
    whole = openvino.convert_model(assets / "onnx" / "model.onnx")
    openvino.save_model(whole, assets / "openvino.xml", compress_to_fp16=False)


def opened(name: str, assets: Path, threads: int) -> Speak:
    """An engine, loaded. Raises whatever its packages raise where it cannot be had."""
    if name in ("ours", "ours half", "ours in windows"):
        return _light(assets, "half" if name == "ours half" else "full", name == "ours in windows")
    if name == "ours torch bf16":
        return _torch(assets, threads)
    if name == "kokoro":
        return _kokoro(assets, threads)
    if name == "openvino":
        return _openvino(assets, threads)
    if name.startswith("vox"):
        return _vox(assets, name.partition(" ")[2], threads)
    files = {"kokoro-onnx int8": "int8.onnx", "kokoro-onnx fp32": "onnx/model.onnx"}
    return _onnx(assets, assets / files.get(name, "pi/int8.onnx"), name == "kokoro-pi int8", threads)


def _style(assets: Path, count: int) -> Any:
    """The voice's row for so many tokens, float32 [1, 256]."""
    import numpy as np

    with np.load(assets / "voices.bin") as packs:
        return packs[VOICE][count - 1].reshape(1, 256).astype(np.float32)


def _light(assets: Path, stored: str, windows: bool) -> Speak:
    import numpy as np

    from voicewright.engines.light_engine import opened as light

    engine = light("kokoro", weights=stored)
    assert engine is not None and "torch" not in sys.modules
    model = engine._model
    known: list[Any] = []

    def speak(ids: list[int], phonemes: str) -> Said:
        style, tokens = _style(assets, len(ids))[0], np.array([0, *ids, 0])
        if not windows:
            began = time.perf_counter()
            audio = model.speak(tokens, style, 1.0, 1).audio
            return Said(audio, time.perf_counter() - began)
        if not known:
            known.append(model.listen(tokens, style))
        began = time.perf_counter()
        _, pieces = model.speak_windows(tokens, style, 1.0, 1, known[0])
        made = [next(pieces)]
        while not made[-1].any():  # silence that is left out
            made.append(next(pieces))
        first = time.perf_counter() - began
        return Said(np.concatenate([*made, *pieces]), first)

    return speak


def _torch(assets: Path, threads: int) -> Speak:
    import torch

    from voicewright.catalogue.places import resolve_model
    from voicewright.model.checkpoint import load_model
    from voicewright.model.fast.choice import choose
    from voicewright.model.fast.model import FastModel

    torch.set_num_threads(threads)
    model = FastModel(load_model(resolve_model("kokoro"), styles=False)[0], choose("bf16"), consume=True)

    def speak(ids: list[int], phonemes: str) -> Said:
        style = torch.from_numpy(_style(assets, len(ids)))
        began = time.perf_counter()
        rng = torch.Generator().manual_seed(1)
        audio = model.speak(torch.tensor([[0, *ids, 0]]), style, 1.0, rng).audio.numpy()
        return Said(audio, time.perf_counter() - began)

    return speak


def _kokoro(assets: Path, threads: int) -> Speak:
    import torch

    sys.path.insert(0, str(ROOT / "tests" / "support"))
    import kokoro_oracle

    from voicewright.model.config import ModelConfig

    torch.set_num_threads(threads)
    model = kokoro_oracle.build(ModelConfig.read(assets / "config.json"), assets, assets / "kokoro.pth")

    def speak(ids: list[int], phonemes: str) -> Said:
        style = torch.from_numpy(_style(assets, len(ids)))
        began = time.perf_counter()
        with torch.inference_mode():
            audio = model.forward_with_tokens(torch.tensor([[0, *ids, 0]]), style, 1.0)[0]
        return Said(audio.numpy().ravel(), time.perf_counter() - began)

    return speak


def _onnx(assets: Path, file: Path, operators: bool, threads: int) -> Speak:
    """kokoro-onnx's own inference of one batch, with its session's settings, or kokoro-pi's operators."""
    import onnxruntime
    from kokoro_onnx import Kokoro

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    if operators:
        options.register_custom_ops_library(str(file.with_name("libkokoro_pi_ops.so")))
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    kokoro = Kokoro.from_session(session, str(assets / "voices.bin"))
    voice = kokoro.get_voice_style(VOICE)

    def speak(ids: list[int], phonemes: str) -> Said:
        began = time.perf_counter()
        audio, _ = kokoro._create_audio(phonemes, voice, 1.0)
        return Said(audio.ravel(), time.perf_counter() - began)

    return speak


def _openvino(assets: Path, threads: int) -> Speak:
    import numpy as np
    import openvino

    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    model = openvino.Core().compile_model(str(assets / "openvino.xml"), "CPU", settings)
    request = model.create_infer_request()

    def speak(ids: list[int], phonemes: str) -> Said:
        given = np.array([[0, *ids, 0]]), _style(assets, len(ids)), np.ones(1, np.float32)
        began = time.perf_counter()
        audio = np.array(request.infer(list(given))[model.output(0)]).ravel()
        return Said(audio, time.perf_counter() - began)

    return speak


def _vox(assets: Path, dtype: str, threads: int) -> Speak:
    import numpy as np
    import vox

    engine = vox.Engine(str(assets / f"kokoro-{dtype}.tmod"), device="cpu", threads=threads)
    voice = engine.speaker_voice(engine.speakers[0])

    def speak(ids: list[int], phonemes: str) -> Said:
        began = time.perf_counter()
        session = engine.session(voice, phonemes=True)
        session.feed(phonemes)
        chunks = iter(session)
        made = [next(chunks)]
        first = time.perf_counter() - began
        return Said(np.concatenate([*made, *chunks]), first)

    return speak
