"""What a weights file holds, by the names in it: is it a voice of RVC, and which file of a folder is one?

Nothing is unpickled and no weight is read: names stand as plain text in a pickle's operations and in the
header of a safetensors file.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from voicewright.errors import UsageError

Content = Literal["voice", "checkpoint", "discriminator"]

SUFFIXES = (".pth", ".pt", ".safetensors")
_MOST = 64 << 20
"""Bytes of a pickle, or of a file's beginning, that are looked at; RVC's names stand in the first few MB."""
_SYNTHESIZER = b"enc_p.emb_phone.weight"
_DISCRIMINATOR = re.compile(rb"discriminators\.\d+\.convs?\.")
_INNER = ("weights", "")
"""Where in a trainer's folder the small voices may lie."""


def rvc_content(path: Path) -> Content | None:
    """What of RVC a file holds: a small voice, a checkpoint of training, a discriminator; None of others."""
    try:
        names, separate = _names(path)
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError):
        return None  # whoever opens it says what is wrong with it
    if _SYNTHESIZER in names:
        return "voice" if separate or _has_key(names, b"weight") else "checkpoint"
    return "discriminator" if _DISCRIMINATOR.search(names) and _has_key(names, b"model") else None


def find_voice(folder: Path) -> Path | None:
    """The voice of RVC in a folder as its trainer leaves it; None where there is none.

    The small file is preferred, which other tools open too; else the checkpoint of most steps, G_2333333.pth
    being the latest under RVC-WebUI. Raises UsageError that names them where there are several small ones.
    """
    for inner in _INNER:
        within = folder / inner if inner else folder
        small = [path for path in _weights(within) if rvc_content(path) == "voice"]
        if len(small) > 1:
            names = ", ".join(path.name for path in small[:5])
            raise UsageError(f"{within} holds several voices ({names}); name the one that is meant.")
        if small:
            return small[0]
    steps = [path for path in _weights(folder) if rvc_content(path) == "checkpoint"]
    return max(steps, key=_step, default=None)


def without_voice(folder: Path) -> str:
    """What of RVC lies in a folder whose weights are all none to speak with: names of it; else empty."""
    weights = _weights(folder)
    judges = [path for path in weights if rvc_content(path) == "discriminator"]
    if len(judges) < len(weights):
        return ""
    indexes = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".index")
    return ", ".join(path.name for path in (judges + indexes)[:5])


def _weights(folder: Path) -> Sequence[Path]:
    if not folder.is_dir():
        return []
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def _step(path: Path) -> int:
    numbers = re.findall(r"\d+", path.stem[:200])
    return int(numbers[-1]) if numbers else 0


def _names(path: Path) -> tuple[bytes, bool]:
    """The part of a file that has its names, and whether it is a safetensors file."""
    if path.suffix.lower() == ".safetensors":
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            return file.read(min(size, _MOST)), True
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            pickles = [name for name in archive.namelist() if name.endswith("data.pkl")]
            if not pickles:
                return b"", False
            with archive.open(pickles[0]) as file:
                return file.read(_MOST), False
    with path.open("rb") as file:
        return file.read(_MOST), False


def _has_key(names: bytes, key: bytes) -> bool:
    """Is `key` a string of its own in the pickle, in either way that protocols 2 and 4 write one?"""
    return b"X" + len(key).to_bytes(4, "little") + key in names or b"\x8c" + bytes([len(key)]) + key in names
