"""kokoro-onnx's own reader, as the judge of our files; sentences reach it as phonemes.

Its tokenizer imports phonemizer (GPL) for text, which the tests neither need nor install: an empty module
stands in.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import pytest


def kokoro_onnx(model: Path, voices: Path) -> Any:
    """`kokoro_onnx.Kokoro` over a file; skips the test when the package is not installed."""
    pytest.importorskip("onnxruntime")
    if importlib.util.find_spec("kokoro_onnx") is None:
        pytest.skip("kokoro-onnx is not installed")
    names = (
        "phonemizer",
        "phonemizer.backend",
        "phonemizer.backend.espeak",
        "phonemizer.backend.espeak.wrapper",
    )
    added = [name for name in names if name not in sys.modules]
    for name in added:
        sys.modules[name] = types.ModuleType(name)

    class EspeakWrapper:
        set_data_path = set_library = staticmethod(lambda path: None)

    if added:
        sys.modules[names[-1]].EspeakWrapper = EspeakWrapper  # type: ignore[attr-defined]
    try:
        return importlib.import_module("kokoro_onnx").Kokoro(str(model), str(voices))
    finally:
        for name in added:
            del sys.modules[name]
