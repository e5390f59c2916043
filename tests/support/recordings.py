"""Recordings as people have them, written by hand or through FFmpeg, for tests."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import soundfile
from numpy.typing import NDArray
from sounds import RATE, speech

from voicewright.audio.files import Samples, resample

Make = Callable[[Path], Path]
CLIP = speech(2.0, level=0.25)


def sound(name: str, samples: Samples, subtype: str | None = None, rate: int = RATE) -> Make:
    """Through libsndfile; the container by the name's ending."""

    def make(folder: Path) -> Path:
        soundfile.write(folder / name, samples, rate, subtype=subtype)
        return folder / name

    return make


def coded(
    name: str,
    codec: str,
    samples: Samples = CLIP,
    rate: int = 48_000,
    container: str | None = None,
    video: float = 0.0,
    options: dict[str, str] | None = None,
) -> Make:
    """Through FFmpeg: samples [n] or [channels, n] at RATE; `video`: seconds of pictures beside the sound."""

    def make(folder: Path) -> Path:
        values = np.atleast_2d(samples).astype(np.float32)
        layout = {1: "mono", 2: "stereo", 6: "5.1"}[len(values)]
        values = np.stack([resample(row, RATE, rate) for row in values])
        with av.open(str(folder / name), "w", format=container, options=options or {}) as file:
            stream = file.add_stream(codec, rate=rate)
            stream.layout = layout
            if codec == "wmav2":
                stream.bit_rate = 128_000
            pictures = file.add_stream("flv" if name.endswith("flv") else "mpeg4", rate=10) if video else None
            if pictures is not None:
                pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
                for _ in range(int(video * 10)):
                    picture = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
                    file.mux(pictures.encode(picture))
                file.mux(pictures.encode(None))
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(values), format="fltp", layout=layout)
            frame.sample_rate = rate
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                file.mux(packet)
        return folder / name

    return make


def silent_film(name: str) -> Make:
    """Pictures without sound."""

    def make(folder: Path) -> Path:
        with av.open(str(folder / name), "w") as file:
            stream = file.add_stream("mpeg4", rate=10)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for _ in range(5):
                picture = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
                file.mux(stream.encode(picture))
            file.mux(stream.encode(None))
        return folder / name

    return make


def changed(make: Make, change: Callable[[bytearray], bytes | bytearray], name: str | None = None) -> Make:
    """The file of `make` with its bytes changed."""

    def again(folder: Path) -> Path:
        path = make(folder)
        data = bytes(change(bytearray(path.read_bytes())))
        path.unlink()
        path = folder / (name or path.name)
        path.write_bytes(data)
        return path

    return again


def lengths(riff: int | None, data: int | None) -> Callable[[bytearray], bytearray]:
    """Other lengths in a WAV's header; None leaves one as it is."""

    def change(content: bytearray) -> bytearray:
        at = content.index(b"data") + 4
        if riff is not None:
            content[4:8] = struct.pack("<I", riff)
        if data is not None:
            content[at : at + 4] = struct.pack("<I", data)
        return content

    return change


def ds64(riff: int, data: int) -> Callable[[bytearray], bytearray]:
    """Other lengths in an RF64's `ds64` chunk."""

    def change(content: bytearray) -> bytearray:
        at = content.index(b"ds64") + 8
        content[at : at + 16] = struct.pack("<QQ", riff, data)
        return content

    return change


def w64(size: int) -> Callable[[bytearray], bytearray]:
    """Another length of a W64's data."""

    def change(content: bytearray) -> bytearray:
        at = content.index(b"data\xf3\xac") + 16
        content[at : at + 8] = struct.pack("<Q", size)
        return content

    return change


def ssnd(size: int) -> Callable[[bytearray], bytearray]:
    """Another length of an AIFF's sound."""

    def change(content: bytearray) -> bytearray:
        at = content.index(b"SSND") + 4
        content[at : at + 4] = struct.pack(">I", size)
        return content

    return change


def unended(content: bytearray) -> bytearray:
    """An Ogg whose last page is not marked as the last, with its checksum."""
    at = content.rfind(b"OggS")
    content[at + 5] &= ~4
    content[at + 22 : at + 26] = bytes(4)
    content[at + 22 : at + 26] = struct.pack("<I", _crc(content[at:]))
    return content


def _crc(page: bytes) -> int:
    value = 0
    for byte in page:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ 0x04C11DB7 if value & 0x80000000 else value << 1) & 0xFFFFFFFF
    return value


def without_info_frame(content: bytearray) -> bytearray:
    """An MP3 without the frame that says how long it is."""
    at = next(place for place in range(len(content)) if content[place] == 0xFF and content[place + 1] >= 0xE0)
    follows = content.index(bytes(content[at : at + 2]), at + 30)
    return content[follows:]


ID3V2 = b"ID3\x03\x00\x00\x00\x00\x00\x15TIT2\x00\x00\x00\x0b\x00\x00\x00Some title"
ID3V1 = b"TAG" + b"Some title".ljust(125, b"\0")
APE = (
    b"APETAGEX" + struct.pack("<IIII", 2000, 54, 1, 0xA0000000) + bytes(8)
    + struct.pack("<II", 5, 0) + b"Title\0" + b"Title"
    + b"APETAGEX" + struct.pack("<IIII", 2000, 48, 1, 0x80000000) + bytes(8)
)  # fmt: skip


def knocked(
    samples: Samples,
    before: tuple[float, ...],
    after: tuple[float, ...],
    still: float = 1.2,
    level: float = 0.3,
) -> Samples:
    """Speech with `still` seconds of faint noise at each end, in which keys are hit so many seconds before
    it begins and after it ends."""
    rng = np.random.default_rng(3)
    edge = round(still * RATE)
    whole = np.concatenate([np.zeros(edge), samples, np.zeros(edge)]) + 1e-4 * rng.normal(
        size=len(samples) + 2 * edge
    )
    for place in [edge - round(t * RATE) for t in before] + [
        edge + len(samples) + round(t * RATE) for t in after
    ]:
        knock = key(rng, level)
        whole[place : place + len(knock)] += knock[: len(whole) - place]
    return whole.astype(np.float32)


def key(rng: np.random.Generator, level: float = 0.3) -> NDArray[np.float64]:
    """A key that is hit: a click of 3 ms and the table after it, 40 ms."""
    time = np.arange(round(0.04 * RATE)) / RATE
    click = rng.normal(size=len(time)) * np.exp(-time / 0.001)
    table = np.sin(2 * np.pi * 420 * time) * np.exp(-time / 0.008)
    return level * (click / np.abs(click).max() + 0.5 * table)
