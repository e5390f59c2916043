"""Weights files opened without trust: nothing in them runs, and no size is believed before it is checked.

A pickle is gone through twice. The first time every name in it stands for an inert object, so that nothing is
imported, called or allocated; what comes out is the list of names it asks for and the sizes it claims. Only
then is it given to `torch.load(weights_only=True)`.
"""

from __future__ import annotations

import pickle
import pickletools
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from voicewright.errors import VoicewrightError

MOST_BYTES = 8 * 2**30
"""The largest file that is opened; StyleTTS 2's checkpoints with optimizer state have about 2 GB."""
MAPPED_FROM = 500_000_000
"""Bytes of a file beyond which it holds more than the weights of known models."""
LEFTOVERS = ("torch.", "numpy.", "munch.", "builtins.getattr")
"""What training scripts leave beside the weights (schedulers, scalars; StyleTTS 2's LibriTTS checkpoint has a
`getattr`). Whatever of it is not torch's own description of a tensor is read as an inert object."""
PLAIN = frozenset(
    {"collections.OrderedDict", "collections.Counter", "_codecs.encode"}
    | {f"builtins.{name}" for name in ("set", "bytearray", "complex")}
)
"""Names that torch reads as themselves, and which can do nothing."""
_ITEM_BYTES = {
    "Double": 8, "Long": 8, "ComplexFloat": 8, "ComplexDouble": 16, "Float": 4, "Int": 4,
    "Half": 2, "BFloat16": 2, "Short": 2, "Char": 1, "Byte": 1, "Bool": 1, "Untyped": 1,
}  # fmt: skip


class Inert:
    """Stands for whatever a pickle names: takes every argument and state, does nothing."""

    named = ""

    def __new__(cls, *_: object, **__: object) -> Inert:
        return super().__new__(cls)

    def __init__(self, *_: object, **__: object) -> None: ...

    def __setstate__(self, _: object) -> None: ...

    def __setitem__(self, _: object, __: object) -> None: ...

    def __call__(self, *_: object, **__: object) -> Inert:
        return self

    def append(self, _: object) -> None: ...

    def extend(self, _: object) -> None: ...


@dataclass
class _Survey:
    """What a pickle asks for: `names` of globals, and `storages` as key → bytes claimed."""

    names: set[str] = field(default_factory=set)
    storages: dict[str, int] = field(default_factory=dict)


class _Depths:
    """Follows a pickle's stack as `pickletools.dis` does, to know how deep its tuples lie in each other.

    A tuple that holds another twice, and so on forty times, is small, but to hash it (as a dictionary's
    key) takes years."""

    MOST = 12
    _MARK = -1

    def __init__(self) -> None:
        self._stack: list[int] = []
        self._memo: dict[int, int] = {}

    def follow(self, operation: pickletools.OpcodeInfo, argument: Any) -> None:
        name, stack = operation.name, self._stack
        if name.endswith("PUT") or name == "MEMOIZE":
            self._memo[len(self._memo) if argument is None else argument] = stack[-1] if stack else 0
            return
        if name.endswith("GET"):
            stack.append(self._memo.get(argument, 0))
            return
        if name == "DUP":
            stack.append(stack[-1] if stack else 0)
            return
        before = list(operation.stack_before)
        taken: list[int] = []
        if pickletools.markobject in before or (name == "POP" and stack and stack[-1] == self._MARK):
            while stack and stack[-1] != self._MARK:
                taken.append(stack.pop())
            if stack:
                stack.pop()
            before = before[: before.index(pickletools.markobject)] if name != "POP" else []
        for _ in before:
            taken.append(stack.pop() if stack else 0)
        if name == "MARK":
            stack.append(self._MARK)
            return
        depth = 1 + max(taken, default=0) if "TUPLE" in name or name == "FROZENSET" else 0
        if depth > self.MOST:
            raise pickle.UnpicklingError("tuples lie deeper in each other than in any weights file")
        stack.extend([depth] * len(operation.stack_after))


class _Surveyor(pickle.Unpickler):
    """Goes through a pickle with every global inert, so that no code of it or of anyone runs."""

    def __init__(self, file: BinaryIO, survey: _Survey) -> None:
        super().__init__(file, encoding="bytes")
        self._survey = survey

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module.replace('__builtin__', 'builtins')}.{name}"
        self._survey.names.add(full)
        return type("Inert", (Inert,), {"named": full})

    def persistent_load(self, pid: Any) -> Any:
        if isinstance(pid, tuple) and len(pid) >= 5:
            kind = getattr(pid[1], "named", "").rpartition(".")[2].removesuffix("Storage")
            key, count = pid[2], pid[4]
            text = key.decode("utf-8", "replace") if isinstance(key, bytes) else str(key)
            if kind not in _ITEM_BYTES or not isinstance(count, int) or count < 0:
                raise pickle.UnpicklingError("a tensor's storage is described in no known way")
            claimed = count * _ITEM_BYTES[kind]
            if self._survey.storages.setdefault(text, claimed) != claimed:
                raise pickle.UnpicklingError("a tensor's storage is claimed twice with different sizes")
        return Inert()


def _survey_one(file: BinaryIO, survey: _Survey) -> None:
    """One pickle from where `file` stands, its places in memory checked before any is taken."""
    start, depths = file.tell(), _Depths()
    for count, (operation, argument, _) in enumerate(pickletools.genops(file)):
        # The unpickler makes its table as long as the highest number in it, before anything stands there.
        if operation.name.endswith("PUT") and argument is not None and argument > count:
            raise pickle.UnpicklingError("an object has a number higher than there are objects")
        depths.follow(operation, argument)
    file.seek(start)
    _Surveyor(file, survey).load()


def read_content(path: Path, inert: tuple[str, ...] = (), *, mapped: bool = False) -> Any:
    """What a .safetensors, PyTorch or ONNX file holds: tensors on the CPU, in dictionaries.

    `inert` are beginnings of further names that the file may hold, and which are read as objects that can do
    nothing: classes of the program that trained it. mapped: tensors may stay on the disk until they are
    read, for who wants them one by one. Raises VoicewrightError in one sentence for a missing, damaged,
    oversized or hostile file.
    """
    if not path.is_file():
        raise VoicewrightError(f"{path} does not exist; give a model folder or a weights file.")
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise VoicewrightError(
            f"{path} has {size / 1e9:.1f} GB, more than any weights file known here; nothing of it was read."
        )
    if path.suffix.lower() == ".safetensors":
        return _read_safetensors(path, mapped)
    if path.suffix.lower() == ".onnx":
        from voicewright.model.onnx_weights import read_onnx

        return read_onnx(path)
    content = _read_pickle(path, size, mapped, inert)
    _check_tensors(path, content, size)
    return content


def _damaged(path: Path, kind: str = "PyTorch") -> str:
    return f"{path} is damaged or no {kind} file; copy or download it again."


def _read_safetensors(path: Path, mapped: bool) -> dict[str, Tensor]:
    try:
        # not mapped, whoever takes a tensor apart gives its memory back at once
        return load_file(path, backend="mmap" if mapped else "pread")
    except (SafetensorError, OSError, ValueError) as error:
        raise VoicewrightError(
            f"{path} is damaged or no safetensors file ({error}); copy or download it again."
        ) from error


def _read_pickle(path: Path, size: int, mapped: bool, inert: tuple[str, ...] = ()) -> Any:
    modern = zipfile.is_zipfile(path)
    try:
        survey = _survey_zip(path, size) if modern else _survey_legacy(path, size)
    except VoicewrightError:
        raise
    except (pickle.UnpicklingError, zipfile.BadZipFile, ArithmeticError, LookupError) as error:
        raise VoicewrightError(_damaged(path)) from error
    except (AttributeError, EOFError, ImportError, OSError, TypeError, ValueError, MemoryError) as error:
        raise VoicewrightError(_damaged(path)) from error
    strange = sorted(
        name for name in survey.names if name not in PLAIN and not name.startswith(LEFTOVERS + inert)
    )
    if strange:
        raise VoicewrightError(_refusal(path, strange))
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_as_inert(survey.names - PLAIN)):
            warnings.simplefilter("ignore")
            # Large files are mapped, so that the optimizer state beside the weights costs no memory.
            mapped = modern and (mapped or size > MAPPED_FROM)
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        refused = any(word in str(error) for word in ("Unsupported", "GLOBAL", "reduce", "build", "create"))
        raise VoicewrightError(_refusal(path, ()) if refused else _damaged(path)) from error
    except (RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise VoicewrightError(_damaged(path)) from error
    except AssertionError as error:  # torch's, for storages that a legacy file lists and does not have
        raise VoicewrightError(_damaged(path)) from error


def _as_inert(names: Iterable[str]) -> list[Any]:
    """Stand-ins for torch's unpickler. Munch objects, StyleTTS 2's configurations, are plain dictionaries."""
    munch = [(OrderedDict, name) for name in sorted(names) if name.startswith("munch.")]
    names = [name for name in names if not name.startswith("munch.")]
    return munch + [(type("Inert", (Inert,), {"named": name}), name) for name in sorted(names)]


def _refusal(path: Path, strange: Sequence[str]) -> str:
    # Names are a stranger's text: no control characters, which could steer a terminal, and no novels.
    named = ("".join(mark if mark.isprintable() else " " for mark in name[:80]) for name in strange[:5])
    asks = f" ({', '.join(named)})" if strange else ""
    return (
        f"{path} was refused and nothing in it was run: it holds more than tensors{asks}, which could run "
        "foreign code; ask for a safetensors file."
    )


def _survey_zip(path: Path, size: int) -> _Survey:
    """torch.save's own format: an uncompressed zip with `data.pkl` and one record for each storage."""
    survey = _Survey()
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
        if not stored or sum(entry.file_size for entry in entries) > size:
            raise VoicewrightError(
                f"{path} is packed to be larger than it is, as torch never writes it; it was refused unread."
            )
        pickles = [entry for entry in entries if entry.filename.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise VoicewrightError(f"{path} is a zip archive without weights; give a PyTorch weights file.")
        root = pickles[0].filename.removesuffix("data.pkl")
        records = {entry.filename: entry.file_size for entry in entries}
        with archive.open(pickles[0]) as file:
            _survey_one(file, survey)  # type: ignore[arg-type]
    for key, claimed in survey.storages.items():
        if records.get(f"{root}data/{key}") != claimed:
            raise VoicewrightError(_damaged(path))
    return survey


def _survey_legacy(path: Path, size: int) -> _Survey:
    """The format before torch 1.6: magic number, protocol, system, content, keys, then raw storages."""
    survey = _Survey()
    with path.open("rb") as file:
        for _ in range(4):
            _survey_one(file, survey)
            if sum(survey.storages.values()) > size:
                raise VoicewrightError(_damaged(path))
            if file.tell() >= size:  # a plain pickle of one object; torch.load refuses it
                break
    return survey


def tensors(content: Any, depth: int = 3) -> Iterator[Tensor]:
    """All tensors in nested dictionaries, to a depth that every known layout stays within."""
    if isinstance(content, Tensor):
        yield content
    elif isinstance(content, Mapping) and depth:
        for value in content.values():
            yield from tensors(value, depth - 1)


def _check_tensors(path: Path, content: Any, size: int) -> None:
    """Tensors that pretend to be larger than their bytes (views of little, none at all) are refused."""
    total = 0
    for value in tensors(content):
        plain = value.layout is torch.strided and value.device.type == "cpu" and not value.is_quantized
        wide = value.numel() * value.element_size()
        if not plain or wide > value.untyped_storage().nbytes():
            raise VoicewrightError(
                f"{path} holds a tensor {list(value.shape)} that is no plain array; refused."
            )
        total += wide
    if total > 2 * size:
        raise VoicewrightError(f"{path} describes far more tensors than it holds; refused.")


def printable(text: str) -> str:
    """A stranger's text without control characters, which could steer a terminal."""
    return "".join(mark if mark.isprintable() else " " for mark in text).strip()


def shown(value: Any, most: int = 40) -> str:
    """A stranger's value in a sentence. Of what is no text or number its kind alone: written out, a few
    nested lists that hold each other twice fill all memory."""
    if isinstance(value, str):
        return printable(value[:most])
    if isinstance(value, int) and abs(value) >= 1 << 63:
        return "a number of many digits"
    return str(value)[:most] if isinstance(value, int | float) else f"a {type(value).__name__}"
