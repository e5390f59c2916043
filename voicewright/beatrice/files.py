"""Beatrice 2's "paraphernalia": a folder of one TOML and five files of headerless little-endian fp16.

Sizes are known beforehand, so that nothing in a file decides what is allocated; the TOML's count of voices is
held against the size of speaker_embeddings.bin. Version 2.0.0-rc.0 alone; older ones are laid out otherwise.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from voicewright.audio.files import write_atomically
from voicewright.beatrice.network.extractors import PhoneExtractor, PitchEstimator
from voicewright.beatrice.network.layers import Stack
from voicewright.beatrice.network.model import BeatriceModel, BeatriceVoice, Speakers, WaveformGenerator
from voicewright.errors import VoicewrightError
from voicewright.model.reading import printable, shown

VERSION = "2.0.0-rc.0"
MAX_VOICES = 256
_MAX_TOML = 4 << 20
_FILES = (
    "phone_extractor",
    "pitch_estimator",
    "waveform_generator",
    "embedding_setter",
    "speaker_embeddings",
)


def open_beatrice(path: Path) -> BeatriceModel:
    """A model in fp32, ready to speak, from its folder or its TOML.

    Raises VoicewrightError for a missing or wrong file, a size that does not fit, values that are not finite.
    """
    toml = _toml(path)
    if toml is None:
        raise VoicewrightError(f"{path} is not a Beatrice model: it lacks a .toml with a [model] table.")
    name, description, voices = _described(toml)
    model = BeatriceModel(voices, name, description)
    for stem, tensors in _layout(model).items():
        _read(toml.parent / f"{stem}.bin", list(tensors))
    return model.eval()


def save_beatrice(model: BeatriceModel, folder: Path) -> Path:
    """Write a model's folder; returns its TOML. Portraits are not copied, their names are kept.

    Raises VoicewrightError when values do not fit fp16.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for stem, tensors in _layout(model).items():
        packed = []
        for tensor in tensors:
            half = tensor.detach().to(torch.float16)
            if not bool(torch.isfinite(half).all()):
                raise VoicewrightError(f"{stem}.bin cannot be written: a weight lies outside fp16's range.")
            packed.append(half.cpu().numpy().astype("<f2", copy=False).tobytes())
        write_atomically(folder / f"{stem}.bin", b"".join(packed))
    target = folder / f"beatrice_{re.sub(r'[^A-Za-z0-9_-]+', '_', model.name)[:80] or 'model'}.toml"
    write_atomically(target, _written(model).encode())
    return target


def _toml(path: Path) -> Path | None:
    candidates = sorted(path.glob("*.toml")) if path.is_dir() else [path] if path.suffix == ".toml" else []
    for candidate in candidates:
        if (
            candidate.is_file()
            and candidate.stat().st_size <= _MAX_TOML
            and (candidate.parent / "waveform_generator.bin").is_file()
        ):
            return candidate
    return None


def _described(toml: Path) -> tuple[str, str, tuple[BeatriceVoice, ...]]:
    try:
        said = tomllib.loads(toml.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as problem:
        told = printable(str(problem)[:200])
        raise VoicewrightError(f"{toml} is not valid TOML: {told}.") from problem
    except OSError as problem:
        raise VoicewrightError(f"{toml} cannot be read: {problem.strerror or problem}.") from problem
    model, voices = said.get("model"), said.get("voice")
    if not isinstance(model, dict) or not isinstance(voices, dict) or not voices:
        raise VoicewrightError(f"{toml} does not describe a Beatrice model: [model] or [voice.0] is missing.")
    if (version := shown(model.get("version"))) != VERSION:
        raise VoicewrightError(
            f"{toml} is of version {version}; Voicewright opens {VERSION}: export it anew."
        )
    if len(voices) > MAX_VOICES or sorted(voices) != sorted(str(i) for i in range(len(voices))):
        raise VoicewrightError(f"{toml}: voices must be numbered from 0 without gaps, {MAX_VOICES} at most.")
    listed = []
    for number in range(len(voices)):
        voice = voices[str(number)]
        if not isinstance(voice, dict) or not isinstance(voice.get("name"), str):
            raise VoicewrightError(f"{toml}: [voice.{number}] has no name.")
        portrait = voice.get("portrait")
        if not isinstance(portrait, dict):
            portrait = {}
        pitch = voice.get("average_pitch", 60.0)
        if not isinstance(pitch, int | float) or not 0 <= pitch <= 127:
            raise VoicewrightError(f"{toml}: average_pitch of [voice.{number}] is no note from 0 to 127.")
        listed.append(
            BeatriceVoice(
                voice["name"],
                str(voice.get("description", "")).strip(),
                float(pitch),
                str(portrait.get("path", "")),
                str(portrait.get("description", "")).strip(),
            )
        )
    return str(model.get("name", toml.stem))[:200], str(model.get("description", "")).strip(), tuple(listed)


def _written(model: BeatriceModel) -> str:
    def text(value: str) -> str:
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped) + '"'

    lines = ["[model]", f"version = {text(VERSION)}", f"name = {text(model.name)}"]
    lines += [f"description = {text(model.description)}"]
    for number, voice in enumerate(model.voices):
        lines += ["", f"[voice.{number}]", f"name = {text(voice.name)}"]
        lines += [f"description = {text(voice.description)}", f"average_pitch = {voice.average_pitch}"]
        lines += ["", f"[voice.{number}.portrait]", f"path = {text(voice.portrait)}"]
        lines += [f"description = {text(voice.portrait_description)}"]
    return "\n".join(lines) + "\n"


def _read(path: Path, tensors: list[Tensor]) -> None:
    wanted = 2 * sum(tensor.numel() for tensor in tensors)
    if not path.is_file():
        raise VoicewrightError(f"{path} is missing: a Beatrice model has five .bin files beside its .toml.")
    if (size := path.stat().st_size) != wanted:
        raise VoicewrightError(
            f"{path} has {size} bytes where {wanted} are due: damaged, or of other voices."
        )
    values = np.fromfile(path, dtype="<f2").astype(np.float32)
    if not np.isfinite(values).all():
        raise VoicewrightError(f"{path} holds values that are not finite: the file is damaged.")
    at = 0
    with torch.no_grad():
        for tensor in tensors:
            part = torch.from_numpy(values[at : at + tensor.numel()])
            tensor.copy_(part.view(tensor.shape))
            at += tensor.numel()


def _layout(model: BeatriceModel) -> dict[str, Iterator[Tensor]]:
    """The tensors of each file in the order in which they lie there."""
    return dict(
        zip(
            _FILES,
            (
                _phone_extractor(model.phone_extractor),
                _pitch_estimator(model.pitch_estimator),
                _waveform_generator(model.generator),
                _embedding_setter(model.generator),
                _speakers(model.speakers),
            ),
            strict=True,
        )
    )


def _layer(layer: nn.Module) -> Iterator[Tensor]:
    assert isinstance(layer.weight, Tensor)
    yield layer.weight
    bias = getattr(layer, "bias", None)
    if bias is not None:
        yield bias


def _stack(stack: Stack) -> Iterator[Tensor]:
    yield from _layer(stack.embed)
    if stack.first_norm is not None:
        yield from _layer(stack.first_norm)
    for block in stack.layers():
        if block.attention is not None:
            yield from _layer(block.attention.inputs)
            yield from _layer(block.attention.output)
        if block.voice is not None:
            yield from _layer(block.voice.query)
            yield from _layer(block.voice.output)
        for layer in (block.depthwise, block.widen, block.narrow):
            yield from _layer(layer)
    if stack.last_norm is not None:
        yield from _layer(stack.last_norm)


def _phone_extractor(net: PhoneExtractor) -> Iterator[Tensor]:
    for layer in net.features:
        yield from _layer(layer)
    yield from _stack(net.backbone)
    yield from _layer(net.head)


def _pitch_estimator(net: PitchEstimator) -> Iterator[Tensor]:
    for layer in (*net.partials, *net.periods):
        yield from _layer(layer)
    yield from _stack(net.backbone)
    yield from _layer(net.head)


def _waveform_generator(net: WaveformGenerator) -> Iterator[Tensor]:
    for layer in (net.phones, net.pitches, net.pitch_features):
        yield from _layer(layer)
    vocoder = net.vocoder
    yield from _stack(vocoder.prenet)
    yield from _stack(vocoder.response)
    yield from _layer(vocoder.response_out)
    yield vocoder.window
    yield from _stack(vocoder.noise)
    yield from _layer(vocoder.noise_out)
    yield from _stack(vocoder.filter)
    yield from _layer(vocoder.filter_out)


def _embedding_setter(net: WaveformGenerator) -> Iterator[Tensor]:
    for block in net.vocoder.prenet.layers():
        assert block.voice is not None
        yield from _layer(block.voice.memory)


def _speakers(net: Speakers) -> Iterator[Tensor]:
    yield net.codebooks
    yield from _layer(net.speakers)
    yield from _layer(net.formants)
    yield net.memories
