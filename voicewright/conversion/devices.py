"""Microphone → voice → speakers, through sounddevice (extra `live`); and a file in their place.

PortAudio calls `Bridge.callback` from a thread of its own, which must never wait: it leaves samples in one
queue and takes them from another. A worker converts in between. What cannot keep up is dropped and counted,
so that the delay stays.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voicewright.conversion.block import Samples
from voicewright.conversion.live import LiveConverter
from voicewright.conversion.streaming import Queue
from voicewright.errors import UsageError, VoicewrightError

MISSING = (
    "microphone and speakers need the sounddevice package and PortAudio: `pip install voicewright[live]`, "
    "and on Linux `apt install libportaudio2`; without them, try a file: --live-from in.wav -o out.wav."
)
_HELD = 3
"""Blocks that may wait on either side."""


def sounddevice() -> Any:
    """The module. Raises VoicewrightError in one sentence where it, or PortAudio, is not there."""
    try:
        import sounddevice as module
    except (ImportError, OSError) as error:
        raise VoicewrightError(MISSING) from error
    return module


@dataclass(frozen=True)
class Device:
    number: int
    name: str
    inputs: int
    outputs: int
    rate: int


def devices(module: Any) -> list[Device]:
    """What there is to hear with and to speak through."""
    return [
        Device(
            number,
            str(entry["name"]),
            int(entry["max_input_channels"]),
            int(entry["max_output_channels"]),
            round(entry["default_samplerate"]),
        )
        for number, entry in enumerate(module.query_devices())
    ]


def find(known: list[Device], words: str | None, output: bool, module: Any) -> Device:
    """The device of a number or of a part of its name; the system's own for None. Raises UsageError."""
    kind = "output" if output else "input"
    usable = [device for device in known if (device.outputs if output else device.inputs) > 0]
    if words is None:
        number = module.default.device[1 if output else 0]
        found = [device for device in usable if device.number == number] or usable[:1]
        if not found:
            raise VoicewrightError(f"this machine has no {kind} device; plug one in, or use --live-from.")
        return found[0]
    if words.isdigit():
        found = [device for device in usable if device.number == int(words)]
    else:
        found = [device for device in usable if words.lower() in device.name.lower()]
    if len(found) != 1:
        names = ", ".join(f"{device.number} {device.name}" for device in found or usable)
        raise UsageError(f"{kind} device {words!r} is {'more than one' if found else 'none'} of: {names}.")
    return found[0]


class Bridge:
    """Between a sound card's callback and the converter. Start the worker with `with`."""

    def __init__(self, converter: LiveConverter) -> None:
        self.converter = converter
        self.error: Exception | None = None
        self.underruns = 0
        """Callbacks that found too little to play, after the first block."""
        self._heard = Queue(_HELD * converter.block_samples + converter.rate // 10)
        out = round(converter.options.block * converter.output_rate)
        self._said = Queue((_HELD + 1) * out + converter.output_rate // 10)
        self._most_said = _HELD * out
        self._lock = threading.Condition()
        self._stopping = False
        self._playing = False
        self._worker = threading.Thread(target=self._work, name="convert", daemon=True)

    def __enter__(self) -> Bridge:
        self._worker.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._stopping = True
            self._lock.notify()
        self._worker.join(10)

    def callback(
        self,
        heard: NDArray[np.float32],
        said: NDArray[np.float32],
        frames: int,
        moment: object,
        status: object,
    ) -> None:
        """PortAudio's: `heard` [frames, channels] in, `said` [frames, channels] to be filled."""
        mono = heard.mean(axis=1, dtype=np.float32)
        with self._lock:
            if len(mono) > self._heard.free:
                self._heard.pop(len(mono) - self._heard.free)
                self.converter.stats.dropped += 1
            self._heard.push(mono[-self._heard.free :] if self._heard.free < len(mono) else mono)
            sound = self._said.pop(frames) if self._playing else np.zeros(0, dtype=np.float32)
            if self._playing and len(sound) < frames:
                self.underruns += 1
            self._lock.notify()
        said[: len(sound)] = sound[:, None]
        said[len(sound) :] = 0.0

    def _work(self) -> None:
        block = self.converter.block_samples
        while True:
            with self._lock:
                self._lock.wait_for(lambda: self._stopping or len(self._heard) >= block)
                if self._stopping:
                    return
                piece = self._heard.pop(block)
            try:
                sound = self.converter.process(piece)
            except Exception as error:  # told to the thread that waits for it
                self.error = error
                return
            with self._lock:
                excess = len(self._said) + len(sound) - self._most_said
                if excess > 0:  # the card took less than it gave: keep up with it
                    self._said.pop(excess)
                    self.converter.stats.dropped += 1
                self._said.push(sound)
                self._playing = True


def run(
    converter: LiveConverter,
    hears: Device,
    speaks: Device,
    stop: threading.Event,
    module: Any,
    tell: Callable[[LiveConverter, Bridge], None] = lambda converter, bridge: None,
    every: float = 2.0,
) -> Bridge:
    """Convert from one device to another until `stop`. `tell` is called now and then.

    Raises VoicewrightError when a device refuses, and whatever converting raised."""
    with Bridge(converter) as bridge:
        try:
            stream = module.Stream(
                samplerate=converter.rate,
                device=(hears.number, speaks.number),
                channels=(min(hears.inputs, 2), min(speaks.outputs, 2)),
                dtype="float32",
                latency="low",
                callback=bridge.callback,
            )
            with stream:
                told = time.monotonic()
                while not stop.wait(0.1) and bridge.error is None:
                    if time.monotonic() - told > every:
                        told = time.monotonic()
                        tell(converter, bridge)
        except module.PortAudioError as error:
            raise VoicewrightError(
                f"{hears.name} and {speaks.name} could not be opened at {converter.rate} Hz ({error}); "
                "choose others (--list-devices), or another --rate."
            ) from error
    if bridge.error is not None:
        raise bridge.error
    return bridge


def from_file(
    converter: LiveConverter,
    path: Path,
    stop: threading.Event,
    paced: bool = True,
    sleep: Callable[[float], object] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Samples]:
    """A recording as if it came from a microphone: blocks out, at `output_rate`, with the delay of a
    live stream at their head and cut off at the recording's end. `paced` waits for each block to
    have been spoken."""
    from voicewright.audio import files

    rest = sleep or stop.wait
    block = converter.block_samples
    began, count = clock(), 0
    for piece in _whole_blocks(files.blocks(path, converter.rate), block):
        count += len(piece)
        if paced and (ahead := began + count / converter.rate - clock()) > 0:
            rest(ahead)
        if stop.is_set():
            return
        yield converter.process(piece)


def _whole_blocks(pieces: Iterator[Samples], block: int) -> Iterator[Samples]:
    """Blocks of exactly `block` samples, silence after the last."""
    kept = np.zeros(0, dtype=np.float32)
    for piece in pieces:
        kept = np.concatenate([kept, piece])
        while len(kept) >= block:
            yield kept[:block]
            kept = kept[block:]
    if len(kept):
        yield np.pad(kept, (0, block - len(kept)))
