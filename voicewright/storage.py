"""Files written so that readers see the old one or the new one, nothing between; and why a disk refused,
in a sentence."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import math
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from voicewright.errors import VoicewrightError

_LONGEST = 120
"""Bytes of a name that is written out in the temporary one; file systems take 255 at most, some 143."""
_CAUSES = {
    errno.ENOSPC: "the disk is full; free some space or choose another folder",
    errno.EDQUOT: "your share of the disk is used up; free some space or choose another folder",
    errno.EFBIG: "a file of that size is not allowed there; choose another folder",
    errno.EROFS: "the disk is read-only; choose another folder",
    errno.ENAMETOOLONG: "the name is longer than the disk takes; choose a shorter one",
    errno.EACCES: "you may not write there; choose another folder",
    errno.EPERM: "you may not write there; choose another folder",
    errno.ENOENT: "there is no such folder; make it first",
    errno.ENOTDIR: "a part of its path is a file; choose another folder",
    errno.EISDIR: "it is a folder; name a file in it",
    errno.ELOOP: "its symbolic links lead in a circle; choose another name",
    errno.EINVAL: "the disk does not take such a name; choose another one",
    errno.EILSEQ: "the disk does not take such a name; choose another one",
    errno.EIO: "the disk failed; choose another one",
}


def destination(path: Path) -> Path:
    """The file itself that is written: what a symbolic link points to, there or not."""
    try:
        return Path(os.path.realpath(path)) if path.is_symlink() else path
    except OSError:  # whoever opens it says what is wrong with the name
        return path


def temporary_beside(path: Path) -> Path:
    """The name under which `path` is written until it is whole: hidden, beside it, never too long."""
    name = path.name
    if len(os.fsencode(name)) > _LONGEST:
        name = hashlib.blake2b(os.fsencode(name), digest_size=12).hexdigest()
    return path.with_name(f".{name}.{os.getpid()}.part")


def refused(path: Path, error: OSError) -> VoicewrightError:
    """Why `path` could not be written and what to do, as an error of one sentence."""
    cause = _CAUSES.get(error.errno or 0) or f"{error.strerror or error}; choose another folder"
    return VoicewrightError(f"{path} could not be written: {cause}.")


@contextmanager
def replacing(path: Path, sync: bool = True) -> Iterator[Path]:
    """A name to write the content of `path` to; it becomes `path` when the block ends without an error.

    sync: wait until the disk has it. Raises VoicewrightError naming the cause when the disk refuses; nothing
    is left behind then.
    """
    target = destination(path)
    temporary = temporary_beside(target)
    try:
        temporary.touch()
        mode = stat.S_IMODE(temporary.stat().st_mode)
        yield temporary
        temporary.chmod(mode)  # safetensors makes files that only their owner may read
        if sync:
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
        temporary.replace(target)
    except OSError as error:
        raise refused(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes, sync: bool = True) -> None:
    """`data` as the content of `path`. Errors as `replacing`."""
    with replacing(path, sync) as temporary:
        temporary.write_bytes(data)


def write_with(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file that becomes `path`; its folder is made. Errors as `replacing`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refused(path, error) from error
    with replacing(path) as temporary:
        write(temporary)


def decoded(data: bytes, name: str) -> str:
    """Text of UTF-8, or of UTF-16 and UTF-32 where a byte order mark says so. `name` stands in the error.

    Raises VoicewrightError for anything else.
    """
    marks = (
        (b"\xff\xfe\0\0", "utf-32"),
        (b"\0\0\xfe\xff", "utf-32"),
        (b"\xff\xfe", "utf-16"),
        (b"\xfe\xff", "utf-16"),
    )
    coding = next((coding for mark, coding in marks if data.startswith(mark)), "utf-8-sig")
    try:
        return data.decode(coding)
    except UnicodeDecodeError as error:
        shown = coding.removesuffix("-sig").upper()
        raise VoicewrightError(
            f"{name} is not {shown} text (byte {error.start}); save it as UTF-8."
        ) from error


def plain(value: Any) -> Any:
    """Numbers to four places; without those that JSON has not."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    return value


def digest(path: Path) -> str:
    """A file's sha256, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
