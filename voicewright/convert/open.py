"""The converter that a user's words mean: a voice of RVC or Beatrice by its file, a model of ours by name or
folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voicewright.catalogue.places import CONFIGS
from voicewright.convert.protocol import Converter
from voicewright.errors import UsageError

if TYPE_CHECKING:
    from voicewright.model.precision import Precision
    from voicewright.rvc.convert.voice import Voice

RVC_SUFFIXES = (".pth", ".pt", ".safetensors")
"""In small letters; files in capitals are the same."""


def open_converter(
    to: str | Path,
    index: Path | None = None,
    *,
    embedder: str | Path | None = None,
    device: str = "cpu",
    exact: bool = False,
) -> Converter:
    """Open what `to` names: a .pth or .safetensors of RVC (or a folder with one), a Beatrice 2 model, else a
    model folder or name.

    index: an added_*.index for RVC voices. embedder: the content model in place of the one that the voice
    names. exact: content in fp32, as upstream has it.

    Raises UsageError for what is not there or does not belong together, VoicewrightError for damaged files,
    each in one sentence.
    """
    other = beatrice_path(to)
    path = rvc_file(to) if other is None else None
    if path is None:
        for word, given in (("--index", index), ("--embedder", embedder)):
            if given is not None:
                raise UsageError(f"{word} belongs to voices of RVC, and {to} is none; leave it out.")
        if device != "cpu":
            raise UsageError(f"only voices of RVC convert on another device than cpu, and {to} is none.")
    if other is not None:
        from voicewright.beatrice.offline import open_beatrice_voice

        return open_beatrice_voice(other)
    if path is None:
        from voicewright.convert.own import EmbeddedConverter

        return EmbeddedConverter(to)
    from voicewright.rvc.content.encoder import open_listener, open_named
    from voicewright.rvc.convert.index import Index
    from voicewright.rvc.convert.offline import RvcConverter
    from voicewright.rvc.files.checkpoint import open_voice

    if device != "cpu":
        import torch

        if device.partition(":")[0] != "cuda" or not torch.cuda.is_available():
            raise UsageError(f"there is no device {device!r} here; use cpu.")
    voice = open_voice(path)
    # The small file first: what does not fit is told before half a gigabyte is read.
    found = None if index is None else Index.open(index, voice.config.version)
    precision: Precision = "fp32" if exact else "auto"
    if embedder is None:
        content = open_named(voice.embedder, precision)
    else:
        content = open_listener(embedder, precision)
    if device == "cpu":
        from voicewright.rvc.network.fast import FastSynthesizer

        ready: Voice = Spoken(voice.config, FastSynthesizer(voice.synthesizer), voice.info)
    else:
        voice.synthesizer.to(device)
        ready = voice
    return RvcConverter(ready, content.to(device), found, name=path.stem, device=device, notes=voice.notes)


@dataclass(frozen=True)
class Spoken:
    """A voice whose synthesiser is the fast one; the one that was read is let go."""

    config: Any
    synthesizer: Any
    info: Mapping[str, Any]


def beatrice_path(to: str | Path) -> Path | None:
    """The Beatrice 2 model that is meant: its folder, its .toml, a .pt.gz of its trainer; None otherwise."""
    path = Path(to)
    if path.is_file():
        return path if path.name.endswith(".pt.gz") or path.suffix == ".toml" else None
    return path if path.is_dir() and any(path.glob("*.toml")) else None


def rvc_file(to: str | Path) -> Path | None:
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
