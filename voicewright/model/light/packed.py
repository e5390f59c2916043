"""Weights ready for the kernels in one file, mapped into memory when they are read.

Layout: MAGIC, the header's length as uint64, the header (JSON, UTF-8), then arrays at multiples of 64 bytes.
The header says what the arrays were made of, and holds the tree in which {"array": [place, type, shape]}
stands for an array, and a sum of every array and of itself: a file that was cut or altered is refused.
"""

from __future__ import annotations

import hashlib
import json
import mmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voicewright.storage import write_with

MAGIC = b"VWPACK01"
ALIGNED = 64
_LARGEST_HEADER = 1 << 22
_TYPES = ("float32", "float16", "int64")

Node = dict[str, Any]
"""A tree of numbers, words and arrays: what a layer is made of."""


class Unusable(Exception):
    """A packed file that is not to be used; it is made anew."""


def write(path: Path, source: Node, tree: Node) -> None:
    """Write a tree and what it was made of (JSON's types); the file appears whole or not at all.

    Raises VoicewrightError when the disk refuses.
    """
    arrays: list[NDArray[Any]] = []
    place = 0

    def described(value: Any) -> Any:
        nonlocal place
        if isinstance(value, dict):
            return {key: described(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [described(inner) for inner in value]
        if isinstance(value, np.ndarray):
            array = np.ascontiguousarray(value)
            arrays.append(array)
            at, place = place, -(-(place + array.nbytes) // ALIGNED) * ALIGNED
            return {"array": [at, str(array.dtype), list(array.shape), total(array)]}
        return value

    body = {"source": source, "tree": described(tree)}
    body["bytes"] = place
    text = json.dumps(body).encode()
    head = json.dumps({"sha256": hashlib.sha256(text).hexdigest(), "length": len(text)}).encode()
    start = _start(len(head) + len(text))

    def fill(target: Path) -> None:
        with target.open("wb") as file:
            file.write(MAGIC + len(head).to_bytes(8, "little") + head + text)
            for array in arrays:
                file.write(bytes(-file.tell() % ALIGNED))
                file.write(array.data)
            file.write(bytes(start + place - file.tell()))

    write_with(path, fill)


def _start(written: int) -> int:
    """Where arrays begin, after so many bytes of header."""
    return -(-(len(MAGIC) + 8 + written) // ALIGNED) * ALIGNED


def total(array: NDArray[Any]) -> int:
    """The sum of an array's bytes as numbers of 64 bits (of 8, where they are no multiple): any single change
    shows, and summing is as quick as memory."""
    flat = array.reshape(-1).view(np.uint8)
    return int(np.add.reduce(flat.view(np.uint64) if len(flat) % 8 == 0 else flat, dtype=np.uint64))


def read(path: Path) -> tuple[Node, Node]:
    """What a file was made of, and its tree, whose arrays are the file's own pages (not to be written to).

    Raises Unusable for anything that `write` has not written, FileNotFoundError where there is nothing.
    """
    with path.open("rb") as file:
        start = file.read(len(MAGIC) + 8)
        length = int.from_bytes(start[len(MAGIC) :], "little")
        if start[: len(MAGIC)] != MAGIC or len(start) < len(MAGIC) + 8 or length > _LARGEST_HEADER:
            raise Unusable("it is no packed file")
        try:
            head = json.loads(file.read(length))
            size = int(head["length"])
            text = file.read(size) if 0 < size <= _LARGEST_HEADER else b""
            if hashlib.sha256(text).hexdigest() != head["sha256"]:
                raise Unusable("its header is damaged")
            body = json.loads(text)
        except (ValueError, KeyError, TypeError) as error:
            raise Unusable("its header is damaged") from error
        begin = _start(length + size)
        whole = begin + int(body["bytes"])
        if path.stat().st_size != whole:
            raise Unusable("it is cut off")
        pages = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
    return body["source"], _filled(body["tree"], pages[begin:])


def _filled(value: Any, pages: NDArray[np.uint8]) -> Any:
    if isinstance(value, list):
        return [_filled(inner, pages) for inner in value]
    if not isinstance(value, dict):
        return value
    if "array" not in value:
        return {key: _filled(inner, pages) for key, inner in value.items()}
    at, kind, shape, expected = value["array"]
    if kind not in _TYPES:
        raise Unusable(f"it holds {kind}")
    own = pages[at : at + int(np.prod(shape)) * np.dtype(kind).itemsize].view(kind)
    if total(own) != expected:
        raise Unusable("its weights are damaged")
    return own.reshape(shape)
