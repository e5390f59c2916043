"""Beatrice 2 as a format of `convert --to`: which files are its, and how they are opened."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from voicewright.conversion.protocol import Opening

if TYPE_CHECKING:
    from voicewright.beatrice.live import BeatriceBlockVoice
    from voicewright.beatrice.offline import BeatriceConverter

TITLE = "Beatrice models"
TAKES: frozenset[str] = frozenset()


def find(to: str | Path) -> Path | None:
    """The Beatrice 2 model that is meant: its folder, its .toml, a .pt.gz of its trainer; None otherwise."""
    path = Path(to)
    if path.is_file():
        return path if path.name.endswith(".pt.gz") or path.suffix == ".toml" else None
    return path if path.is_dir() and any(path.glob("*.toml")) else None


def open(path: Path, how: Opening) -> BeatriceConverter:
    """A paraphernalia folder, its TOML, or a checkpoint of Beatrice's trainer. Raises VoicewrightError."""
    from voicewright.beatrice.offline import open_beatrice_voice

    return open_beatrice_voice(path)


def open_live(path: Path, how: Opening) -> BeatriceBlockVoice:
    """The same in live blocks."""
    from voicewright.beatrice.live import open_beatrice_block

    return open_beatrice_block(path)
