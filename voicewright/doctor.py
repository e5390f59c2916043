"""What this installation can do, and what it lacks."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
from collections.abc import Mapping
from pathlib import Path

from voicewright import __version__
from voicewright.artifacts import cache_folder, list_models

REQUIRED = (
    "torch",
    "numpy",
    "scipy",
    "soundfile",
    "soxr",
    "av",
    "safetensors",
    "pydantic",
    "kokorog2p",
    "espeakng-loader",
    "pyloudnorm",
    "pyworld-prebuilt",
)
OPTIONAL: Mapping[str, tuple[str, ...]] = {
    "prepare": ("silero-vad", "pocketsphinx"),
    "judge": ("jiwer", "matplotlib", "pocketsphinx", "resemblyzer"),
    "train": ("tensorboard", "matplotlib"),
    "convert": ("torchfcpe",),
    "ja": ("fugashi", "jaconv", "mojimoji", "unidic-lite"),
    "zh": ("cn2an", "jieba", "ordered-set", "pypinyin"),
    "onnx": ("onnxruntime",),
    "export": ("onnx",),
    "whisper": ("faster-whisper",),
}
"""Package extra → what it brings."""


def examine() -> dict[str, object]:
    """Facts about this machine and installation; `problems`: what keeps the base commands from working."""
    problems: list[str] = []
    versions = {name: _version(name) for name in REQUIRED}
    problems += [f"{name} is not installed" for name, version in versions.items() if version is None]
    library = _espeak()
    if library is None:
        problems.append("the espeak-ng library was not found; install espeakng-loader")
    models = list_models()
    if not models:
        problems.append("no model: this installation lacks the embedded one")
    extras = {
        extra: {name: _version(name) or "missing" for name in names} for extra, names in OPTIONAL.items()
    }
    recognisers = [name for name in ("pocketsphinx", "faster-whisper") if _version(name)]
    cache = cache_folder()
    return {
        "voicewright": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "torch": _torch() if versions["torch"] else {},
        "espeak_library": library,
        "recognisers": recognisers,
        "packages": {name: version or "missing" for name, version in versions.items()},
        "extras": extras,
        "models": [entry.name for entry in models],
        "cache": str(cache),
        "cached": sorted(path.name for path in cache.iterdir()) if cache.is_dir() else [],
        "problems": problems,
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _espeak() -> str | None:
    if importlib.util.find_spec("espeakng_loader") is None:
        return None
    import espeakng_loader

    path = Path(espeakng_loader.get_library_path())
    return str(path) if path.is_file() else None


def _torch() -> dict[str, object]:
    import torch

    return {
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "cpu_features": torch.backends.cpu.get_cpu_capability(),
        "bf16_units": bool(getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)()),
        "cuda": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
    }
