"""What is a recording, by its name: one answer for every command."""

from __future__ import annotations

from pathlib import Path

_SOUND = (
    *("wav", "wave", "bwf", "rf64", "w64", "flac", "aif", "aiff", "aifc", "au", "snd", "caf", "sf", "ircam"),
    *("voc", "sph", "nist", "mp1", "mp2", "mp3", "mpa", "mpga", "m2a", "ogg", "oga", "opus", "spx", "aac"),
    *("adts", "loas", "latm", "m4a", "m4b", "m4r", "ac3", "eac3", "ec3", "dts", "amr", "awb", "3ga", "qcp"),
    *("wma", "mka", "weba", "ape", "wv", "tta", "tak", "shn", "mpc", "dsf", "oma", "ra"),
)
_FILMS = (
    *("mov", "qt", "mp4", "m4v", "f4v", "3gp", "3gpp", "3g2", "avi", "ts", "mts", "m2ts", "flv", "mkv"),
    *("webm", "ogv", "ogx", "mpg", "mpeg", "mpe", "vob", "wmv", "asf", "rm", "rmvb", "nut"),
)
EXTENSIONS = frozenset((*_SOUND, *_FILMS))
"""Lower-case endings without the dot that are taken for recordings."""

CONTAINERS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dsf,dts,dtshd,eac3,flac,flv,ircam,loas,matroska,webm,mov,mp3,mpc,mpc8,"
    "mpeg,mpegts,nistsphere,nut,ogg,oma,qcp,rm,shn,tak,tta,voc,w64,wav,wv"
)
"""What FFmpeg may take a file for: containers that hold sound, and nothing that names other files."""


def ending(path: Path) -> str:
    """`wav` of `Clip.WAV`."""
    return path.suffix.lower().lstrip(".")


def is_film(path: Path) -> bool:
    """Whether a name promises pictures beside the sound: of two recordings of one name the other is taken."""
    return ending(path) in _FILMS


def is_recording(path: Path) -> bool:
    """Whether a file is taken for a recording: by its ending, and where that has another use, by its content.

    What is inside may be damaged, or without sound: whoever opens it says so.
    """
    name = ending(path)
    return name in EXTENSIONS and (name != "ts" or not _source_code(path))


def is_text(path: Path) -> bool:
    """Whether a file begins as text does, in any of Unicode's encodings with its mark or in one of bytes.

    What cannot be read is taken for text: whoever reads it says so.
    """
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError:
        return True
    return head.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" not in head


def _source_code(path: Path) -> bool:
    """TypeScript shares its ending with MPEG transport streams, whose packets of 188 bytes begin with a G."""
    try:
        with path.open("rb") as file:
            head = file.read(1024)
    except OSError:
        return False
    return bool(head) and b"\0" not in head and not head[:1] == head[188:189] == b"G"
