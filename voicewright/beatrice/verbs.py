"""What `voice inspect | convert` do with Beatrice 2 models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voicewright.errors import UsageError

if TYPE_CHECKING:
    from voicewright.beatrice.network.model import BeatriceModel


TITLE = "a Beatrice model"
NAMES = True


def find(words: str | Path) -> Path | None:
    """The model that a word of the command line means; `convert --to` is of the same opinion."""
    from voicewright.beatrice import converter

    return converter.find(words)


def inspect(path: Path) -> dict[str, Any]:
    """What a model is, as a record. Raises VoicewrightError for whatever is none."""
    from voicewright.model.reading import printable

    model = _opened(path)
    voices = {
        str(number): f"{printable(voice.name)}, about {440 * 2 ** ((voice.average_pitch - 69) / 12):.0f} Hz"
        for number, voice in enumerate(model.voices)
    }
    facts: dict[str, Any] = {
        "voice": printable(model.name),
        "file": str(path),
        "what": "Beatrice 2 model" if path.suffix != ".gz" else "checkpoint of Beatrice 2's trainer",
        "version": model.version,
        "sample_rate": model.sample_rate,
        "description": printable(model.description),
        "voices": voices,
        "licence": "not stated; the format has no place for one",
        "parameters": sum(value.numel() for value in model.state_dict().values()),
    }
    return {key: value for key, value in facts.items() if value != ""}


def convert(inputs: Sequence[str], output: Path, names: Sequence[str] | None) -> tuple[list[Path], list[str]]:
    """A model, or a checkpoint of the trainer, written as a paraphernalia folder; its .toml.

    names: of its voices, which checkpoints do not hold. Raises UsageError for several inputs, another number
    of names, or an output that is a file.
    """
    from voicewright.beatrice.files import save_beatrice

    if len(inputs) > 1:
        raise UsageError("Beatrice models are converted one after the other; name one.")
    if output.suffix or output.is_file():
        raise UsageError(f"{output} is a file's name; a Beatrice model is a folder, so name one.")
    model = _opened(Path(inputs[0]))
    if names is not None:
        if len(names) != len(model.voices):
            raise UsageError(
                f"--names gives {len(names)} names for {len(model.voices)} voices; give one each."
            )
        model.voices = tuple(
            replace(voice, name=name) for voice, name in zip(model.voices, names, strict=True)
        )
    return [save_beatrice(model, output)], []


def _opened(path: Path) -> BeatriceModel:
    from voicewright.beatrice.files import open_beatrice
    from voicewright.beatrice.fold import open_trained

    return open_trained(path) if path.suffix == ".gz" else open_beatrice(path)
