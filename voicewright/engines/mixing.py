"""What `--voice` means: names of the model, files, members of files, mixes of these."""

from __future__ import annotations

from pathlib import Path

from voicewright.voices.blend import Mix, parse


def words_to_mix(words: str, model: str | Path | None, owner: str | None = None) -> Mix:
    """What `--voice` means on a command line: names of the model, files, members of files, mixes of these."""
    if model is not None and Path(model).suffix == ".onnx":
        from voicewright.engines.onnx_engine import shelf_beside

        return parse(words, shelf_beside(Path(model), owner))
    from voicewright.voices.sources import shelf_of

    return parse(words, shelf_of(model, None, owner))
