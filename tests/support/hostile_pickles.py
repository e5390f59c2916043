"""Files that would run code, write elsewhere or eat memory if a loader believed them, built by a test.

Every one that runs anything makes the file `marker`. None of them does in a reader that may be trusted.
"""

from __future__ import annotations

import io
import os
import pickle
import struct
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch


class Calls:
    """Pickles as a call of `function`."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self._call


class Restores:
    """Pickles as a call on restoring its state."""

    def __init__(self, function: Callable[..., Any], state: Any) -> None:
        self._function, self._state = function, state

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (), self._state, None, None, self._function


def text_pickle(module: str, name: str, argument: str) -> bytes:
    """Protocol 0, written by hand: the call module.name(argument)."""
    return f"c{module}\n{name}\n(V{argument}\ntR.".encode()


def _zip(data: bytes, extra: dict[str, bytes] | None = None, kind: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", kind) as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/byteorder", b"little")
        archive.writestr("archive/version", b"3\n")
        for name, content in (extra or {}).items():
            archive.writestr(name, content)
    return file.getvalue()


def _saved(content: Any, legacy: bool = False) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=not legacy)
    return file.getvalue()


def _legacy(which: int, evil: bytes) -> bytes:
    """The format before torch 1.6, one of its five pickles replaced."""
    system = {
        "protocol_version": 1001,
        "little_endian": True,
        "type_sizes": {"short": 2, "int": 4, "long": 4},
    }
    parts = [0x1950A86A20F9469CFC6C, 1001, system, {"weight": {}}, []]
    return b"".join(evil if i == which else pickle.dumps(part, 2) for i, part in enumerate(parts))


def _tar(evil: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in (
            ("storages", evil),
            ("tensors", evil),
            ("pickle", evil),
            ("../../marker", b"x"),
        ):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return file.getvalue()


def _storage(kind: str, key: str, count: int) -> bytes:
    """A tensor over a storage of a claimed kind, place and size, as torch writes it."""
    identity = b"(Vstorage\nctorch\n" + kind.encode() + f"\nV{key}\nVcpu\nI{count}\nt".encode()
    shape = f"(I{count}\nt(I1\nt".encode()
    return (
        b"(dVweight\n(dVemb_g.weight\nctorch._utils\n_rebuild_tensor_v2\n("
        + identity
        + b"QI0\n"
        + shape
        + b"I00\nccollections\nOrderedDict\n(tRtRss."
    )


def corpus(marker: Path) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the files. Making them runs nothing."""
    touch, code = f"touch {marker}", f"open({str(marker)!r}, 'w')"
    calls = {
        "system": Calls(os.system, touch),
        "popen": Calls(os.popen, touch),
        "subprocess": Calls(subprocess.check_output, ["touch", str(marker)]),
        "eval": Calls(eval, code),
        "exec": Calls(exec, code),
        "open": Calls(open, str(marker), "w"),
        "path": Calls(Path.touch, marker),
        "import": Calls(__import__, "antigravity"),
        "map": Calls(list, Calls(map, os.system, [touch])),
        "getattr": Calls(getattr, marker, "touch"),
        "torch load": Calls(torch.load, str(marker)),
        "nested": Calls(torch.storage._load_from_bytes, _saved({"x": Calls(os.system, touch)})),
        "pickle in pickle": Calls(pickle.loads, pickle.dumps(Calls(os.system, touch))),
    }
    for name, call in calls.items():
        yield f"{name} as a weight", _saved({"weight": {"emb_g.weight": call}, "config": [], "version": "v2"})
        yield f"{name} in legacy", _saved({"weight": {}, "config": call}, legacy=True)
        yield f"{name} beside", _saved({"weight": {"a": torch.ones(1)}, "info": [{"deep": (call,)}]})
        yield f"{name} plain", pickle.dumps({"weight": call})
    yield "state setter", _saved({"weight": Restores(os.system, touch)})
    hand = [
        ("os", "system", touch),
        ("posix", "system", touch),
        ("builtins", "eval", code),
        ("__builtin__", "exec", code),
    ]
    hand += [
        ("nt", "system", touch),
        ("webbrowser", "open", touch),
        ("torch.utils.cpp_extension", "load", touch),
    ]
    hand += [("torch.hub", "load", touch), ("numpy.testing._private.utils", "runstring", code)]
    hand += [("runpy", "run_path", str(marker)), ("torch._dynamo.guards.builtins", "eval", code)]
    for module, function, argument in hand:
        evil = text_pickle(module, function, argument)
        yield f"{module}.{function} in a zip", _zip(evil)
        yield f"{module}.{function} alone", evil
        for place in range(5):
            yield f"{module}.{function} in legacy place {place}", _legacy(place, evil)
    evil = text_pickle("os", "system", touch)
    yield "tar", _tar(evil)
    yield "persistent id that calls", _zip(b"cos\nsystem\n(V" + touch.encode() + b"\ntRQ.")
    yield "persistent id of words", _zip(b"Phttp://example.org/x\n.")
    yield "persistent module", _zip(b"(Vmodule\ncos\nsystem\nVx\nVy\nI1\ntQ.")
    yield "instance", _zip(b"(V" + touch.encode() + b"\nios\nsystem\n.")
    yield "object", _zip(b"(cos\nsystem\nV" + touch.encode() + b"\no.")
    yield (
        "stack of names",
        _zip(b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c" + bytes([len(touch)]) + touch.encode() + b"\x85R."),
    )
    yield "dotted name", _zip(b"\x80\x04\x8c\x05torch\x8c\x0aos.system_\x93)R.")
    yield "extension", _zip(b"\x82\x01.")
    yield (
        "scripted module",
        _zip(pickle.dumps({}), {"archive/constants.pkl": evil, "archive/code/__torch__.py": code.encode()}),
    )
    yield "second pickle", _zip(pickle.dumps({"weight": {}}), {"other/data.pkl": evil})
    yield "deflated", _zip(_saved({}), {"archive/data/0": bytes(1 << 24)}, zipfile.ZIP_DEFLATED)
    yield "climbing names", _zip(pickle.dumps({"weight": {}}), {"../../marker": b"x", f"{marker}": b"x"})
    yield "overlapping", _overlapping()
    yield "storage that is not there", _zip(_storage("FloatStorage", "0", 4))
    yield "storage elsewhere", _zip(_storage("FloatStorage", "../../../etc/passwd", 4))
    yield "storage of terabytes", _zip(_storage("FloatStorage", "0", 1 << 42), {"archive/data/0": bytes(16)})
    yield "storage below nothing", _zip(_storage("FloatStorage", "0", -4), {"archive/data/0": bytes(16)})
    yield "storage of a strange kind", _zip(_storage("PickleStorage", "0", 4), {"archive/data/0": bytes(16)})
    yield "view of one number", _saved({"weight": {"emb_g.weight": torch.ones(1).expand(1 << 20, 1 << 20)}})
    yield "tensor of nothing", _saved({"weight": {"emb_g.weight": torch.empty(1 << 30, 256, device="meta")}})
    yield "sparse", _saved({"weight": {"emb_g.weight": torch.eye(3).to_sparse()}})
    for size in (1 << 31, 1 << 62):
        yield f"bytes of {size}", _zip(b"\x80\x04\x8e" + struct.pack("<Q", size) + b"x.")
        yield f"frame of {size}", _zip(b"\x80\x04\x95" + struct.pack("<Q", size) + b"N.")
    yield "legacy storage that is not there", _legacy(4, pickle.dumps(["0"], 2))
    yield "memo of gigabytes", _zip(b"\x80\x02Nr" + struct.pack("<I", (1 << 31) - 1) + b".")
    yield "memo of gigabytes in words", _zip(b"Np2147483646\n.")
    yield "memo of gigabytes in legacy", b"\x80\x02Nr" + struct.pack("<I", (1 << 31) - 1) + b"."
    yield "deep", _zip(b"(" * 100_000 + b"t" * 100_000 + b".")
    yield "doubling", _zip(b"]q\x00" + b"(h\x00h\x00e" * 1000 + b".")
    yield "empty", b""
    yield "words", b"version https://git-lfs.github.com/spec/v1\n"
    yield "half", _saved({"weight": {"a": torch.ones(1000)}})[:2000]


def _overlapping() -> bytes:
    """A zip whose directory names the same bytes a thousand times."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"weight": {}}))
        archive.writestr("archive/data/0", bytes(1 << 16))
        first = archive.filelist[1]
        for i in range(1, 1000):
            entry = zipfile.ZipInfo(f"archive/data/{i}")
            entry.file_size = entry.compress_size = first.file_size
            entry.CRC, entry.header_offset = first.CRC, first.header_offset
            archive.filelist.append(entry)
            archive.NameToInfo[entry.filename] = entry
    return file.getvalue()
