"""Files of voicepacks: one or several arrays under names, in every format that the Kokoro world uses.

| suffix         | holds                                                                               |
|----------------|-------------------------------------------------------------------------------------|
| `.pt`          | a pickled tensor, or a dict of them (opened with `weights_only=True`)               |
| `.bin`         | raw little-endian float32 of one pack; of several, one after the other (sherpa-onnx's |
|                | `voices.bin`); or an npz under this name (kokoro-onnx's `voices-v1.0.bin`)          |
| `.npz`, `.npy` | NumPy's                                                                             |
| `.safetensors` | tensors by name                                                                     |

Raw files carry no names. Ours have them beside, one a line, in `voices.bin.names`; without that file the
packs are called 0, 1, 2, as sherpa-onnx numbers its speakers. 510 and 511 rows cannot be confused: the
shortest file that both would divide has 266 MB. A file that holds one array names it after itself.
"""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from voicewright.errors import UsageError, VoicewrightError
from voicewright.storage import replacing, write_atomically
from voicewright.voices.rows import OLD_ROWS, ROWS, WIDTH, Array

SUFFIXES = (".safetensors", ".pt", ".bin", ".npz", ".npy")
Format: TypeAlias = Literal["safetensors", "pt", "bin", "npz", "npy", "kokoro-onnx", "sherpa-onnx"]
ENDINGS: Mapping[Format, str] = {
    "safetensors": ".safetensors",
    "pt": ".pt",
    "bin": ".bin",
    "npz": ".npz",
    "npy": ".npy",
    "kokoro-onnx": ".bin",
    "sherpa-onnx": ".bin",
}
"""Format → suffix. The last two are files of several packs."""
ONE_ONLY: tuple[Format, ...] = ("bin", "npy")
NAMED: tuple[Format, ...] = ("kokoro-onnx", "sherpa-onnx")
"""Formats that keep the name of a single pack too."""

_KEY = "voice"
_MOST_BYTES = 128 * 1024 * 1024
"""A pack is half a megabyte and the largest file of packs in circulation 54 MB; more is not a voicepack."""
_NAME = re.compile(r"[^\W.][\w.+ -]{0,127}")

Arrays: TypeAlias = dict[str, NDArray[Any]]


def read_arrays(path: Path) -> Arrays:
    """Every array of a file by name, whatever its shape and type.

    Raises UsageError for a suffix that no voicepack has, VoicewrightError in one sentence for a file that is
    absent, too large, damaged, or would run code.
    """
    if not path.is_file():
        raise VoicewrightError(f"there is no voicepack at {path}.")
    if path.stat().st_size > _MOST_BYTES:
        raise VoicewrightError(
            f"{path} is {path.stat().st_size >> 20} MB, too large for a file of voicepacks."
        )
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise UsageError(f"{path}: a voicepack is one of {', '.join(SUFFIXES)}; convert it to one of these.")
    try:
        found = reader(path)
    except VoicewrightError:
        raise
    except MemoryError as error:
        raise VoicewrightError(f"{path} is damaged: its header claims more than memory holds.") from error
    except Exception as error:
        # Four parsers of other people's, given a damaged file, raise nearly anything (tokenize's errors too).
        raise VoicewrightError(f"{path} is damaged or not a voicepack: {_first_line(error)}.") from error
    if len(found) == 1 and _KEY in found:
        return {path.stem: found[_KEY]}
    return found


def pick(arrays: Mapping[str, NDArray[Any]], path: Path, name: str | None) -> tuple[str, NDArray[Any]]:
    """One array of a file, and what it is called. Raises VoicewrightError that lists what there is."""
    if name is None:
        if len(arrays) != 1:
            names = ", ".join(list(arrays)[:8]) or "none"
            names += f" and {len(arrays) - 8} more" if len(arrays) > 8 else ""
            raise VoicewrightError(
                f"{path} holds {len(arrays)} voices ({names}); say which, as in {path.name}:NAME."
            )
        return next(iter(arrays.items()))
    if name not in arrays:
        names = ", ".join(list(arrays)[:60]) or "none"
        raise VoicewrightError(f"{path} holds no voice {name!r}; it has {names}.")
    return name, arrays[name]


def check_name(name: str) -> str:
    """A name that may become a file's: letters, digits, `_ . + -` and spaces, not beginning with a dot.

    Names come out of files that others made; this is what keeps `../x` from being written anywhere.
    """
    if not _NAME.fullmatch(name):
        raise VoicewrightError(
            f"the voice name {name!r} cannot be a file's name; rename it with letters, digits, _ and -."
        )
    return name


def format_of(path: Path, given: Format | None, several: bool) -> Format:
    """The format to write `path` in; `given` outranks the suffix. Raises UsageError where they do not fit."""
    if given is None:
        by_suffix = {ending: name for name, ending in ENDINGS.items() if name not in NAMED}
        if path.suffix not in by_suffix:
            raise UsageError(f"{path}: a voicepack is written as {', '.join(SUFFIXES)}; choose one of these.")
        given = by_suffix[path.suffix]
        if several and given == "bin":
            raise UsageError(
                f"{path}: a .bin of several voices is of two kinds; say --format kokoro-onnx or sherpa-onnx."
            )
    if path.suffix != ENDINGS[given]:
        raise UsageError(f"{path}: the format {given} ends in {ENDINGS[given]}; name the file so.")
    if several and given in ONE_ONLY:
        raise UsageError(f"{path}: the format {given} holds one voice; choose another, or write to a folder.")
    return given


def write_arrays(path: Path, packs: Mapping[str, Array], form: Format | None = None) -> list[Path]:
    """Write packs [510 | 511, 1, 256] under their names, aside first, so that no half file is ever seen.

    Returns the files written: the named one, and for sherpa-onnx's format the list of names beside it.
    """
    form = format_of(path, form, len(packs) > 1)
    if len(packs) > 1 or form in NAMED:
        for name in packs:
            check_name(name)
    made = [path]
    with replacing(path) as aside:
        _save(aside, form, packs)
    if form == "sherpa-onnx":
        made.append(_names_file(path))
        listed = "".join(f"{name}\n" for name in packs).encode("utf-8")
        write_atomically(made[1], listed)
    return made


def _save(path: Path, form: Format, packs: Mapping[str, Array]) -> None:
    only = next(iter(packs.values())) if len(packs) == 1 else None
    named = {_KEY: only} if only is not None else dict(packs)
    if form == "pt":
        import torch

        tensors = {name: torch.from_numpy(rows.copy()) for name, rows in packs.items()}
        held = io.BytesIO()  # into a file, torch writes that file's name as well, and ours is a temporary one
        torch.save(tensors if only is None else next(iter(tensors.values())), held)
        path.write_bytes(held.getvalue())
    elif form == "safetensors":
        from safetensors.numpy import save

        path.write_bytes(save(named))  # its own save_file leaves a file that only its owner may read
    elif form == "npz":
        _savez(path, named, compress=True)  # rows past the longest sentence may repeat: five times smaller
    elif form == "kokoro-onnx":
        _savez(
            path, packs, compress=False
        )  # as its own files are: they are read again for every program start
    elif form == "npy":
        with path.open("wb") as file:  # by name, numpy would add a suffix
            np.save(file, named[_KEY])
    else:
        path.write_bytes(b"".join(rows.astype("<f4").tobytes() for rows in packs.values()))


def _savez(path: Path, packs: Mapping[str, Array], compress: bool) -> None:
    """An npz whose bytes depend on its content alone, under any file name and with any member names."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED) as archive:
        for name, rows in packs.items():
            entry = zipfile.ZipInfo(f"{name}.npy")
            entry.compress_type = archive.compression
            with archive.open(entry, "w") as file:
                np.lib.format.write_array(file, rows, allow_pickle=False)


def _from_torch(path: Path) -> Arrays:
    import torch

    if zipfile.is_zipfile(path):
        _check_unpacked(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of unusual pickles; what cannot be opened raises
        held = torch.load(path, map_location="cpu", weights_only=True)
    named = held if isinstance(held, dict) else {path.stem: held}
    return {str(key): _numpy(value) for key, value in named.items() if isinstance(value, torch.Tensor)}


def _numpy(tensor: Any) -> NDArray[Any]:
    """NumPy has no bfloat16; float32 holds every value of it."""
    plain = tensor.detach()
    return np.asarray((plain.float() if str(plain.dtype) == "torch.bfloat16" else plain).numpy())


def _from_safetensors(path: Path) -> Arrays:
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        names = list(file.keys())
        if all(file.get_slice(name).get_dtype() in ("F64", "F32", "F16") for name in names):
            return {name: file.get_tensor(name) for name in names}
    from safetensors.torch import load_file  # kinds that NumPy lacks; torch takes a second to import

    return {name: _numpy(tensor) for name, tensor in load_file(path).items()}


def _from_npz(path: Path) -> Arrays:
    _check_unpacked(path)
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _from_npy(path: Path) -> Arrays:
    return {path.stem: np.load(path, allow_pickle=False)}


def _check_unpacked(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > _MOST_BYTES:
            raise VoicewrightError(f"{path} unpacks to more than {_MOST_BYTES >> 20} MB; it is refused.")


def _from_bin(path: Path) -> Arrays:
    if zipfile.is_zipfile(path):
        return _from_npz(path)
    size, line = path.stat().st_size, WIDTH * 4
    if size == 0 or size % line:
        expected = ROWS * line
        raise VoicewrightError(
            f"{path} has {size} bytes; a raw voicepack has {expected} ({ROWS} rows of {WIDTH} float32)."
        )
    values = np.fromfile(path, dtype="<f4").astype(np.float32).reshape(-1, 1, WIDTH)
    rows = next((rows for rows in (ROWS, OLD_ROWS) if len(values) % rows == 0), len(values))
    packs = [values[at : at + rows] for at in range(0, len(values), rows)]
    names = _read_names(path, len(packs))
    if names is None:
        names = [path.stem] if len(packs) == 1 else [str(number) for number in range(len(packs))]
    return dict(zip(names, packs, strict=True))


def _names_file(path: Path) -> Path:
    return path.with_name(path.name + ".names")


def _read_names(path: Path, count: int) -> list[str] | None:
    beside = _names_file(path)
    if not beside.is_file():
        return None
    names = [line.strip() for line in beside.read_text("utf-8").splitlines() if line.strip()]
    if len(names) != count or len(set(names)) != count:
        raise VoicewrightError(
            f"{beside} has {len(names)} names, some perhaps twice, for the {count} voices of {path.name}; "
            "correct it or remove it."
        )
    return names


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).rstrip(".")[:160]


_READERS: Mapping[str, Callable[[Path], Arrays]] = {
    ".pt": _from_torch,
    ".safetensors": _from_safetensors,
    ".npz": _from_npz,
    ".npy": _from_npy,
    ".bin": _from_bin,
}
