"""What an adapter says of itself, read without torch: its base, its matrices; and what stacks adapters.

An adapter's folder holds `adapter.safetensors`: for some weights W of its base a pair A [rank, columns] and
B [rows, rank] in fp16, so that W + scale · B A is spoken with (Hu et al. 2021, LoRA; a convolution's weight
[rows, …] is flattened to columns). The file's metadata name the base and the hash of its weights.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voicewright.errors import UsageError, VoicewrightError
from voicewright.storage import digest, write_atomically

ADAPTER = "adapter.safetensors"
STACK = "stack.json"
"""Of a folder that stands for a base with several adapters: their places."""
FORMAT = "voicewright-adapter-1"
_LARGEST_HEADER = 4 << 20
_LARGEST = 512 << 20
"""Bytes; an adapter of rank 8 for all of Kokoro has four million."""
_ITEM = {"F16": 2, "F32": 4}


@dataclass(frozen=True)
class Adapter:
    """An adapter's file, as its header has it.

    base: name or path of the model it was trained on; base_sha256: of that model's weights file; base_source:
    the hash of what that file was imported from, where it is known. matrices: rows, rank and columns of each,
    by the name of its module.
    """

    path: Path
    base: str
    base_sha256: str
    base_source: str
    scale: float
    matrices: Mapping[str, tuple[int, int, int]]

    @property
    def folder(self) -> Path:
        return self.path.parent

    def sha256(self) -> str:
        """Of the file, in hexadecimal."""
        return digest(self.path)


def is_adapter(folder: Path) -> bool:
    return (folder / ADAPTER).is_file()


def read_adapter(folder: Path) -> Adapter:
    """The header of a folder's adapter. Raises VoicewrightError for a file that is none, or damaged."""
    path = folder / ADAPTER
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > _LARGEST_HEADER:
                raise ValueError("its header is too long")
            head = json.loads(file.read(length))
        size = path.stat().st_size
        if not isinstance(head, dict) or size > _LARGEST:
            raise ValueError("it is too large, or its header is no table")
        facts = dict(head.pop("__metadata__", {}))
        if facts.get("format") != FORMAT:
            raise ValueError(f"its format is {facts.get('format') or 'not named'}, not {FORMAT}")
        matrices = _matrices(head)
        last = max(int(item["data_offsets"][1]) for item in head.values())
        if size != 8 + length + last:
            raise ValueError("it is cut off")
        scale = float(facts["scale"])
        if not math.isfinite(scale):
            raise ValueError(f"its scale is {scale}")
        return Adapter(
            path, facts["base"], facts["base_sha256"], facts.get("base_source", ""), scale, matrices
        )
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise VoicewrightError(f"{path} is damaged or no adapter ({error}); copy it again.") from error


def _matrices(head: Mapping[str, Mapping[str, object]]) -> dict[str, tuple[int, int, int]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for name, item in head.items():
        shape, given = item["shape"], item["dtype"]
        if given not in _ITEM or not isinstance(shape, list) or len(shape) != 2:
            raise ValueError(f"{name} is no matrix of fp16 or fp32")
        shapes[name] = (int(shape[0]), int(shape[1]))
    names = sorted({name.rpartition(".")[0] for name in shapes})
    if not names:
        raise ValueError("it holds nothing")
    found: dict[str, tuple[int, int, int]] = {}
    for name in names:
        (rank, columns), (rows, inner) = shapes[f"{name}.A"], shapes[f"{name}.B"]
        if rank != inner or rank < 1:
            raise ValueError(f"{name}'s two halves do not fit each other")
        found[name] = (rows, rank, columns)
    if len(shapes) != 2 * len(found):
        raise ValueError("it holds more than pairs of matrices")
    return found


def write_adapter(
    folder: Path,
    matrices: Mapping[str, tuple[NDArray[np.floating], NDArray[np.floating]]],
    base: str,
    base_sha256: str,
    base_source: str = "",
    scale: float = 1.0,
) -> None:
    """Write a folder's adapter, whole or not at all. matrices: by name, A [rank, columns] and B [rows, rank].

    Raises VoicewrightError when a number is none, or beyond fp16's range.
    """
    from safetensors.numpy import save

    stored: dict[str, NDArray[np.float16]] = {}
    for name, pair in matrices.items():
        for letter, values in zip("AB", pair, strict=True):
            with np.errstate(over="ignore"):  # infinite then, and refused
                half = np.ascontiguousarray(np.asarray(values).astype(np.float16))
            if not np.isfinite(half).all():
                raise VoicewrightError(
                    f"{folder}: the adapter of {name} is not finite, so nothing was written; "
                    "take an earlier checkpoint."
                )
            stored[f"{name}.{letter}"] = half
    facts = {
        "format": FORMAT,
        "base": base,
        "base_sha256": base_sha256,
        "base_source": base_source,
        "scale": repr(float(scale)),
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / ADAPTER, save(stored, facts))


def refuse_overlap(adapters: Sequence[Adapter]) -> None:
    """Raise UsageError for two adapters that change the same matrix."""
    seen: dict[str, Adapter] = {}
    for adapter in adapters:
        for name in adapter.matrices:
            if name in seen:
                raise UsageError(
                    f"{seen[name].folder} and {adapter.folder} both change {name}; only adapters for "
                    "different matrices can be stacked: use one of them."
                )
        seen |= dict.fromkeys(adapter.matrices, adapter)


def read_stack(folder: Path) -> tuple[Path, list[Path]]:
    """Base and adapters of a folder that stacks them. Raises VoicewrightError."""
    path = folder / STACK
    try:
        record = json.loads(path.read_text("utf-8"))
        return Path(record["base"]), [Path(place) for place in record["adapters"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise VoicewrightError(f"{path} is damaged ({error}); remove its folder.") from error
