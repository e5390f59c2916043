"""RVC as a format of `convert --to`: which files are its voices, and how they are opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voicewright.catalogue.places import CONFIGS
from voicewright.conversion.protocol import Opening
from voicewright.errors import UsageError

if TYPE_CHECKING:
    from voicewright.model.precision import Precision
    from voicewright.rvc.convert.live import RvcBlockVoice
    from voicewright.rvc.convert.offline import RvcConverter
    from voicewright.rvc.convert.voice import Voice

TITLE = "voices of RVC"
TAKES = frozenset({"index", "embedder", "device"})
RVC_SUFFIXES = (".pth", ".pt", ".safetensors")
"""In small letters; files in capitals are the same."""


def find(to: str | Path) -> Path | None:
    """The RVC file that is meant; None where it is a model of ours. Raises UsageError.

    A file's content decides what it is, and not what lies beside it: RVC's trainers leave a config.json too.
    """
    from voicewright.rvc.files.peek import find_voice, rvc_content, without_voice

    path = Path(to)
    suffix = path.suffix.lower()
    if suffix == ".index":
        raise UsageError(
            f"{path} is an index, not a voice: give the voice's .pth to --to and this to --index."
        )
    if suffix == ".onnx":
        raise UsageError(
            f"{path} is an ONNX file; give the voice's .pth, which holds the same and opens everywhere."
        )
    if path.is_file():
        if suffix not in RVC_SUFFIXES:
            raise UsageError(f"{path} is no voice: one of RVC is a .pth or .safetensors file.")
        content = rvc_content(path)
        if content == "discriminator":
            raise UsageError(f"{path} is what judged a voice in training, not the voice;{_beside(path)}")
        ours = content is None and any((path.parent / name).is_file() for name in CONFIGS)
        return None if ours else path
    if path.is_dir():
        voice = find_voice(path)
        if voice is None and (left := without_voice(path)):
            raise UsageError(
                f"{path} holds {left} of RVC's training, but no voice: give the small .pth or the trainer's "
                "G_*.pth."
            )
        return voice
    if suffix in RVC_SUFFIXES:
        raise UsageError(f"there is no voice {path}.")
    return None


def _beside(path: Path) -> str:
    """Which file the voice is, where it lies beside what is none."""
    from voicewright.rvc.files.peek import find_voice

    voice = find_voice(path.parent)
    return " give the trainer's G_*.pth or the small .pth." if voice is None else f" give {voice}."


@dataclass(frozen=True)
class Spoken:
    """A voice whose synthesiser is the fast one; the one that was read is let go."""

    config: Any
    synthesizer: Any
    info: Mapping[str, Any]


def open(path: Path, how: Opening) -> RvcConverter:
    """See `ConverterFormat.open`. Content in fp32 where `how.exact`, as upstream has it."""
    from voicewright.rvc.content.encoder import open_listener, open_named
    from voicewright.rvc.convert.index import Index
    from voicewright.rvc.convert.offline import RvcConverter
    from voicewright.rvc.files.checkpoint import open_voice

    device = how.device
    if device != "cpu":
        import torch

        if device.partition(":")[0] != "cuda" or not torch.cuda.is_available():
            raise UsageError(f"there is no device {device!r} here; use cpu.")
    voice = open_voice(path)
    # The small file first: what does not fit is told before half a gigabyte is read.
    found = None if how.index is None else Index.open(how.index, voice.config.version)
    precision: Precision = "fp32" if how.exact else "auto"
    if how.embedder is None:
        content = open_named(voice.embedder, precision)
    else:
        content = open_listener(how.embedder, precision)
    if device == "cpu":
        from voicewright.rvc.network.fast import FastSynthesizer

        ready: Voice = Spoken(voice.config, FastSynthesizer(voice.synthesizer), voice.info)
    else:
        voice.synthesizer.to(device)
        ready = voice
    return RvcConverter(ready, content.to(device), found, name=path.stem, device=device, notes=voice.notes)


def open_live(path: Path, how: Opening) -> RvcBlockVoice:
    """The same in live blocks."""
    from voicewright.rvc.convert.live import RvcOpener

    return RvcOpener(None if how.embedder is None else str(how.embedder))(path, how.index)
