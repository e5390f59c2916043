"""What containers say about their own length: where nobody filled it in, and where bytes are missing.

Recorders that write to a pipe, and those that die, leave lengths at 0 or at their most: "to the end".
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

_ENDLESS = 0x7FFF0000
"""Lengths from here on are what writers to a pipe put down."""
_LARGEST_PAGE = 65_307
_BOXES = frozenset((b"mdat", b"moov", b"moof"))
_SEGMENT = b"\x18\x53\x80\x67"
_RELIABLE = frozenset(("flac", "wv", "tta", "ape", "dsf", "caf", "wav", "w64", "aiff", "au", "tak"))
"""FFmpeg's names of containers that write down how many samples they hold; others' durations are guesses."""


class Repaired:
    """A file to be read from behind its ID3 tags, with some bytes of its header changed."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        try:
            self.start = behind_tags(self._file)
            self._size = self._file.seek(0, os.SEEK_END) - self.start
            self._patches: Sequence[tuple[int, bytes]] = ()
            self._patches = tuple(_patches(self))
        except BaseException:
            self._file.close()
            raise
        self.seek(0)

    def __enter__(self) -> Repaired:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, size: int = -1) -> bytes:
        at = self.tell()
        data = self._file.read(size)
        for place, replacement in self._patches:
            if place < at + len(data) and at < place + len(replacement):
                changed = bytearray(data)
                for offset, value in enumerate(replacement, place - at):
                    if 0 <= offset < len(changed):
                        changed[offset] = value
                data = bytes(changed)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            return self._file.seek(offset + (self.start if whence == os.SEEK_SET else 0), whence) - self.start
        except OSError:  # where a damaged header sends libsndfile, which is content with being told so
            return -1

    def tell(self) -> int:
        return self._file.tell() - self.start

    @property
    def size(self) -> int:
        """Bytes behind the tags."""
        return self._size


def behind_tags(file: IO[bytes]) -> int:
    """Where a file begins behind the ID3v2 tags at its head, however many."""
    at = 0
    size = file.seek(0, os.SEEK_END)
    while at + 10 < size:
        file.seek(at)
        head = file.read(10)
        if head[:3] != b"ID3" or max(head[6:]) > 127:
            break
        length = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        after = at + 10 + length + (10 if head[5] & 16 else 0)
        if after >= size:
            break
        at = after
    return at


def _patches(file: Repaired) -> Iterator[tuple[int, bytes]]:
    """Lengths in headers that nobody filled in, and what belongs there."""
    file.seek(0)
    head = file.read(12)
    if head[:4] == b".snd" and head[8:12] == bytes(4) and file.size > 24:
        yield 8, b"\xff" * 4
    if head[:4] not in (b"RIFF", b"RF64", b"BW64") or head[8:] != b"WAVE":
        return
    large, claimed = 0, 0
    for name, size, at in _chunks(file, 12, "<"):
        if name == b"ds64":
            large = at
            file.seek(at + 8)
            claimed = int.from_bytes(file.read(8), "little")
        if name == b"data":
            held = file.size - at
            length = claimed if large and size == 0xFFFFFFFF else size
            if not _goes_on(file, at, length, held):
                return
            if large:
                yield large, struct.pack("<QQ", file.size - 8, held)
                yield at - 4, b"\xff" * 4
            elif held < 0xFFFFFFFF:
                yield at - 4, struct.pack("<I", held)
            return


def _goes_on(file: Repaired, at: int, length: int, held: int) -> bool:
    """Whether the sound goes on to the file's end, whatever `length` says."""
    if length > held:
        return length >= _ENDLESS
    # A length that was last written long before the recorder died leaves most of the sound behind it.
    return held - length > length and _is_sound(file, at + length + length % 2)


def _is_sound(file: Repaired, at: int) -> bool:
    """Whether what stands here is no further chunk, no tag and no padding."""
    file.seek(at)
    head = file.read(4096)
    if not head.strip(b"\0") and len(head) < 4096:
        return False
    if head[:3] in (b"ID3", b"TAG") or head[:8] == b"APETAGEX":
        return False
    named = head[:4].isascii() and head[:4].decode("ascii").isprintable() and len(head) >= 8
    return not (named and at + 8 + int.from_bytes(head[4:8], "little") <= file.size + 1)


def _chunks(file: Repaired | IO[bytes], at: int, order: str) -> Iterator[tuple[bytes, int, int]]:
    """Name, claimed size and place of the content of each chunk from `at` on."""
    while True:
        file.seek(at)
        header = file.read(8)
        if len(header) < 8:
            return
        size = struct.unpack(f"{order}I", header[4:])[0]
        yield header[:4], size, at + 8
        at += 8 + size + size % 2


def promised_seconds(path: Path, container: str, seconds: float | None, by_ffmpeg: bool) -> float | None:
    """The length that a header promises, None where it is only a guess or an upper bound."""
    if seconds is None:
        return None
    if container in ("wav", "wavex", "aiff"):
        # libsndfile would quietly shorten what is promised to what the file holds.
        return _promised_by_chunk(path, seconds, "<" if container != "aiff" else ">")
    return seconds if container in _RELIABLE or not by_ffmpeg else None


def _promised_by_chunk(path: Path, seconds: float, order: str) -> float:
    with Repaired(path) as file:
        for name, size, at in _chunks(file, 12, order):
            if name in (b"data", b"SSND"):
                held = file.size - at
                if size == 0 or size >= _ENDLESS or held >= size:
                    break
                # Bytes per second do not matter: whatever is missing counts as at least a second.
                return seconds * size / held if held > 0 and seconds else seconds + 1.0
    return seconds


def _mp3_bytes(head: bytes) -> int:
    """How many bytes an MP3's first frame says that there are, 0 where it does not say."""
    at = max(head.find(b"Xing"), head.find(b"Info"))
    if at < 0 or len(head) < at + 16 or not head[at + 7] & 2:
        return 0
    at += 8 + (4 if head[at + 7] & 1 else 0)
    return int.from_bytes(head[at : at + 4], "big")


def cut_short(path: Path, container: str) -> bool:
    """Whether a container counts more bytes than the file has."""
    if container == "ogg":
        return not _last_page_whole(path)
    with Repaired(path) as file:
        if container == "mp3":
            return _mp3_bytes(file.read(4096)) > file.size
        if "matroska" in container:
            return _segment_end(file.read(64)) > file.size
        if "mov" in container:
            return any(name in _BOXES and end > file.size for name, end in _boxes(file))
    return False


def _last_page_whole(path: Path) -> bool:
    """Whether the last page of an Ogg file is all there. Many encoders do not mark it as the last."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 2 * _LARGEST_PAGE))
        tail = file.read()
    at = tail.rfind(b"OggS")
    if at < 0 or at + 27 > len(tail):
        return False
    segments = tail[at + 26]
    lengths = tail[at + 27 : at + 27 + segments]
    return len(lengths) == segments and at + 27 + segments + sum(lengths) <= len(tail)


def _segment_end(head: bytes) -> int:
    """Where a Matroska file's segment ends, 0 where it does not say."""
    at = head.find(_SEGMENT)
    if at < 0 or at + 4 >= len(head) or not head[at + 4]:
        return 0
    width = 9 - head[at + 4].bit_length()
    value = int.from_bytes(head[at + 4 : at + 4 + width], "big") & ((1 << 7 * width) - 1)
    return 0 if value == (1 << 7 * width) - 1 else at + 4 + width + value


def _boxes(file: Repaired) -> Iterator[tuple[bytes, int]]:
    """Name and end of each top-level box of an MP4."""
    at = 0
    while at + 8 <= file.size:
        file.seek(at)
        header = file.read(16)
        size = int.from_bytes(header[:4], "big")
        if size == 1 and len(header) == 16:
            size = int.from_bytes(header[8:], "big")
        if size < 8:
            return
        at += size
        yield header[4:8], at
