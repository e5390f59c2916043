"""What ships for other people's models: an adapter by name, packs and style encoders for Kokoro."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

ADAPTERS = ("kathleen",)
"""Model names that are adapters upon Kokoro (`weights/NAME`)."""
_HUB = "models--hexgrad--Kokoro-82M"
_KOKORO = ("kokoro", "kokoro-v1.0", "kokoro-v1.0-mlx")
_WHOLE = 300_000_000
"""Bytes: a file of all of Kokoro's weights has more."""


def shipped_adapter(name: str) -> Path | None:
    """The folder of an adapter that ships with the package; None for other names."""
    folder = _weights() / name
    return folder if name in ADAPTERS and folder.is_dir() else None


def shipped_packs(model: Path) -> Path | None:
    """The folder of packs that ship for this model (a folder or a weights file); None where there are none.

    Kokoro 1.0 is known by where it lies (our cache under its name, or the hub's cache) and by its size.
    """
    folder = model if model.is_dir() else model.parent
    known = folder.name in _KOKORO[:2] or _HUB in folder.parts
    packs = _weights() / "kokoro" / "voices"
    if not known or not packs.is_dir():
        return None
    files = (path for path in folder.iterdir() if path.suffix in (".pth", ".safetensors"))
    return packs if any(path.stat().st_size > _WHOLE for path in files) else None


def style_encoders(model: str) -> Path | None:
    """The file of style encoders that `clone` uses for a model of this name; None where there is none.

    They need the model's name alone, not its weights: a voicepack is made on a machine that cannot speak.
    """
    path = _weights() / "kokoro" / "clone.safetensors"
    return path if model in _KOKORO and path.is_file() else None


def _weights() -> Path:
    return Path(str(resources.files("voicewright"))) / "weights"
