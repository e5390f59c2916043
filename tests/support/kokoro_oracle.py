"""The `kokoro` package's own model, as the reference that ours is compared with.

The package's `__init__` imports a grapheme-to-phoneme stack that the model does not need, so a bare package
module stands in for it while the model's modules are imported.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch

from voicewright.model.config import ModelConfig


def module(name: str) -> Any:
    """`kokoro.<name>` without the package's `__init__`; skips the test when the package is not installed."""
    if "kokoro" not in sys.modules:
        spec = importlib.machinery.PathFinder.find_spec("kokoro")
        if spec is None or not spec.submodule_search_locations:
            pytest.skip("the kokoro package is not installed")
        package = types.ModuleType("kokoro")
        package.__path__ = list(spec.submodule_search_locations)
        sys.modules["kokoro"] = package
    if (
        "attr" not in sys.modules and importlib.util.find_spec("attr") is None
    ):  # imported there by accident, never used
        unused = types.ModuleType("attr")
        unused.attr = None  # type: ignore[attr-defined]
        sys.modules["attr"] = unused
    for needed in ("transformers", "loguru", "huggingface_hub"):
        pytest.importorskip(needed)
    return importlib.import_module(f"kokoro.{name}")


def build(config: ModelConfig, folder: Path, weights: Path | None = None) -> Any:
    """The package's KModel of a configuration, from a weights file, or freshly initialised without one."""
    if weights is None:
        weights = folder / "empty.pth"
        torch.save({}, weights)
    plain = config.model_dump(exclude={"voicewright"})
    model = module("model").KModel(repo_id="local", config=plain, model=str(weights))
    return model.eval()
