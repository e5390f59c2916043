"""The live voice that a user's words mean."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from voicewright.convert.open import beatrice_path, rvc_file
from voicewright.errors import UsageError

if TYPE_CHECKING:
    from voicewright.beatrice.live import BeatriceBlockVoice
    from voicewright.convert.own_live import EmbeddedBlockVoice
    from voicewright.rvc.convert.live import RvcBlockVoice


def open_live(
    to: str | Path, index: Path | None = None, *, embedder: str | Path | None = None
) -> RvcBlockVoice | BeatriceBlockVoice | EmbeddedBlockVoice:
    """As `open_converter`: RVC's file, a Beatrice 2 model, or a model's name or folder. Errors likewise."""
    other = beatrice_path(to)
    path = rvc_file(to) if other is None else None
    if path is None:
        for word, given in (("--index", index), ("--embedder", embedder)):
            if given is not None:
                raise UsageError(f"{word} belongs to voices of RVC, and {to} is none; leave it out.")
        if other is not None:
            from voicewright.beatrice.live import open_beatrice_block

            return open_beatrice_block(other)
        from voicewright.convert.own_live import EmbeddedBlockVoice

        return EmbeddedBlockVoice(to)
    from voicewright.rvc.convert.live import RvcOpener

    return RvcOpener(None if embedder is None else str(embedder))(path, index)
