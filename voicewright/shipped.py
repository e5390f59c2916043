"""Voices of ours for other people's models, inside the package: an adapter by name, packs for Kokoro."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

ADAPTERS = ("kathleen",)
"""Model names that are adapters upon Kokoro (`weights/NAME`)."""
_HUB = "models--hexgrad--Kokoro-82M"


def shipped_adapter(name: str) -> Path | None:
    """The folder of an adapter that ships with the package; None for other names."""
    folder = _weights() / name
    return folder if name in ADAPTERS and folder.is_dir() else None


def shipped_packs(model: Path) -> Path | None:
    """The folder of packs that ship for this model (a folder or a weights file); None where there are none.

    Kokoro 1.0 is known by where it lies: our cache under its name, or the hub's cache.
    """
    folder = model if model.is_dir() else model.parent
    kokoro = folder.name in ("kokoro", "kokoro-v1.0") or _HUB in folder.parts
    packs = _weights() / "kokoro" / "voices"
    return packs if kokoro and packs.is_dir() else None


def _weights() -> Path:
    return Path(str(resources.files("voicewright"))) / "weights"
