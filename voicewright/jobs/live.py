"""`convert --live`, `--live-from` and `--serve`: conversion while one speaks."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from voicewright.errors import UsageError

if TYPE_CHECKING:
    from voicewright.conversion.block import LiveOptions
    from voicewright.conversion.devices import Bridge, Device
    from voicewright.conversion.live import LiveConverter

RATE = 48_000
Serve: TypeAlias = Callable[["LiveOrder", "LiveOptions"], int]
"""What a plug-in of `voicewright.servers` is: serves an order until Ctrl-C; the exit code."""


@dataclass(frozen=True)
class LiveOrder:
    """What was asked for; fields are the command's options. Exactly one of live,
    live_from, serve, list_devices."""

    to: str | None = None
    index: Path | None = None
    embedder: str | None = None
    live: bool = False
    live_from: Path | None = None
    output: str | None = None
    fast: bool = False
    input_device: str | None = None
    output_device: str | None = None
    list_devices: bool = False
    rate: int | None = None
    serve: str | None = None
    host: str = "127.0.0.1"
    port: int = 18_888
    origins: tuple[str, ...] = ()
    page: Path | None = None
    slots: Path | None = None
    given: frozenset[str] = frozenset()
    """Names of `LiveOptions` that were said, not left to their defaults."""


@dataclass
class Streamed:
    """What became of a stream; seconds."""

    voice: str
    seconds: float = 0.0
    """Of sound."""
    computed: float = 0.0
    factor: float = 0.0
    """Computing for a second of sound: under 1 is live."""
    block: float = 0.0
    worst_block: float = 0.0
    late_blocks: int = 0
    dropped: int = 0
    delay: float = 0.0
    """From mouth to ear, without the devices' own."""
    output: str | None = None
    warnings: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """For people."""
        live = "live on this machine" if self.live else "too slow to be live on this machine"
        said = [
            f"{self.seconds:.1f} s of sound, {self.computed:.1f} s of computing: {live}",
            f"blocks of {1000 * self.block:.0f} ms, the slowest {1000 * self.worst_block:.0f} ms, "
            f"{self.late_blocks} late, {self.dropped} dropped; delay {1000 * self.delay:.0f} ms",
        ]
        return [*said, *self.warnings]

    @property
    def live(self) -> bool:
        """Does every block but a few take less time than it lasts?"""
        return self.factor < 0.9 and self.late_blocks * 20 <= max(self.seconds / max(self.block, 0.01), 20)


def convert_live(order: LiveOrder, options: LiveOptions) -> Streamed:
    """From a microphone, or a recording in its place, until it ends or Ctrl-C.
    Raises UsageError, VoicewrightError."""
    if order.to is None:
        order = replace(order, to="tiny")
    if order.live_from is not None:
        _check_output(order.live_from, order.output)
        return _from_file(order, options)
    return _devices(order, options)


def _check_output(source: Path, output: str | None) -> None:
    """Raises UsageError for what cannot be written, and for the recording itself, before anything opens."""
    from voicewright.jobs.convert import check_file

    if output is None or output == "-":
        raise UsageError("say where the result goes: -o out.wav.")
    check_file(output, source)


def sound_devices() -> list[Device]:
    """Microphones and speakers. Raises VoicewrightError where nothing can say."""
    from voicewright.conversion import devices

    return devices.devices(devices.sounddevice())


def _converter(order: LiveOrder, options: LiveOptions, rate: int) -> LiveConverter:
    from voicewright.conversion.live import LiveConverter
    from voicewright.conversion.open import open_live, refuse_ignored

    assert order.to is not None
    voice = open_live(order.to, order.index, embedder=order.embedder)
    refuse_ignored(voice, order.given)
    converter = LiveConverter(voice, options, rate=rate)
    print("warming up", file=sys.stderr, flush=True)
    last = converter.warm_up()
    if last > options.block:
        print(
            f"a block of {1000 * options.block:.0f} ms takes {1000 * last:.0f} ms here: choose a longer "
            "--block, a shorter --context or --method dio.",
            file=sys.stderr,
        )
    return converter


def _streamed(order: LiveOrder, converter: LiveConverter) -> Streamed:
    stats = converter.stats
    return Streamed(
        str(order.to),
        stats.sound,
        stats.seconds,
        stats.factor,
        converter.options.block,
        stats.worst,
        stats.late,
        stats.dropped,
        converter.latency,
        order.output,
    )


def _from_file(order: LiveOrder, options: LiveOptions) -> Streamed:
    """A recording in place of a microphone, a file in place of speakers."""
    from voicewright.audio.files import probe
    from voicewright.audio.writer import AudioWriter
    from voicewright.conversion import devices
    from voicewright.stopping import interruptible

    assert order.live_from is not None and order.output is not None
    rate = order.rate or probe(order.live_from).rate
    converter = _converter(order, options, rate)
    with interruptible() as stop:
        writer = AudioWriter(Path(order.output), rate)
        try:
            for piece in devices.from_file(converter, order.live_from, stop, paced=not order.fast):
                writer.write(piece)
            writer.commit()
        finally:
            writer.discard()
    return _streamed(order, converter)


def _devices(order: LiveOrder, options: LiveOptions) -> Streamed:
    from voicewright.conversion import devices
    from voicewright.stopping import interruptible

    module = devices.sounddevice()
    known = devices.devices(module)
    hears = devices.find(known, order.input_device, False, module)
    speaks = devices.find(known, order.output_device, True, module)
    converter = _converter(order, options, order.rate or RATE)
    print(f"{hears.name} → {order.to} → {speaks.name}; Ctrl-C ends", file=sys.stderr, flush=True)

    def tell(converter: LiveConverter, bridge: Bridge) -> None:
        stats = converter.stats
        print(
            f"\r{1000 * stats.last:.0f} ms a block, {stats.late} late, {stats.dropped} dropped, "
            f"{bridge.underruns} gaps, delay {1000 * converter.latency:.0f} ms",
            end="" if sys.stderr.isatty() else "\n",
            file=sys.stderr,
            flush=True,
        )

    with interruptible() as stop:
        bridge = devices.run(converter, hears, speaks, stop, module, tell)
    done = _streamed(order, converter)
    if bridge.underruns:
        done.warnings.append(f"{bridge.underruns} gaps were heard: choose a longer --block.")
    return done
