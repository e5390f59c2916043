"""The one stream of a w-okada server: its voice, its settings, who uses it, and what becomes of a
piece of sound."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from voicewright.conversion.block import BlockVoice
from voicewright.conversion.live import LiveConverter
from voicewright.errors import UsageError, VoicewrightError
from voicewright.wokada.facts import facts
from voicewright.wokada.settings import Settings
from voicewright.wokada.slots import INDEXES, LARGEST_SLOT, MODELS, Slots, Uploads, slot_number

Samples = NDArray[np.float32]

HELD = 5.0
"""Seconds after its last piece for which a client owns the stream."""
LONGEST = 10.0
"""Seconds of a piece, at most."""
LOUDEST = 8.0
"""Of full scale."""
WAITING = 3
"""Pieces of a client that may wait; further ones are answered with silence, so that the delay
does not grow."""


OF_SLOT = {"tran": "defaultTune", "indexRatio": "defaultIndexRatio", "protect": "defaultProtect"}
"""Settings that a slot has defaults for."""


class Busy(VoicewrightError):
    """Another client is using the stream."""


class Behind(VoicewrightError):
    """Converting lags behind what comes in; the piece was dropped."""


class Opener(Protocol):
    """Opens a voice of a slot safely: model, index or None → the voice, ready to
    convert. Raises VoicewrightError."""

    def __call__(self, model: Path, index: Path | None, /) -> BlockVoice: ...


@dataclass(frozen=True)
class Given:
    """The voice named on the command line; it has a slot of its own that is in no folder."""

    name: str
    voice: BlockVoice
    number: int = LARGEST_SLOT


class Session:
    """One voice, one stream. Every method may be called from any thread; all but `admitted` wait
    for each other."""

    def __init__(
        self,
        slots: Slots,
        uploads: Uploads,
        open_voice: Opener,
        given: Given | None = None,
        start: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.slots, self.uploads = slots, uploads
        self.settings = Settings()
        self.dropped = 0
        self._open = open_voice
        self._given = given
        self._clock = clock
        self._lock = threading.RLock()
        self._door = threading.Lock()
        self._waiting = 0
        self._fresh = False
        self._owner: tuple[str, float] | None = None
        self._converter: LiveConverter | None = None
        self._voice: BlockVoice | None = None
        if given:
            self.set("modelSlotIndex", str(given.number))
        for key, text in (start or {}).items():
            self.set(key, text)

    # ---- sound

    @contextmanager
    def admitted(self, who: str) -> Iterator[None]:
        """A piece of client `who` is under way. Never waits. Raises Busy, or Behind if too many of
        its pieces wait."""
        with self._door:
            now = self._clock()
            if self._owner and self._owner[0] != who and now - self._owner[1] < HELD:
                raise Busy("another client is using this server; try again when it has stopped.")
            if self._waiting >= WAITING:
                self.dropped += 1
                raise Behind(
                    "converting lags behind; choose longer chunks, less extra, or another f0Detector."
                )
            if not self._owner or self._owner[0] != who:
                self._fresh = True
            self._owner = (who, now)
            self._waiting += 1
        try:
            yield
        finally:
            with self._door:
                self._waiting -= 1

    def convert(self, samples: Samples) -> Samples:
        """A piece [n] at the input's rate → as much at the output's. Pieces must come in their order.

        Raises UsageError for impossible pieces, VoicewrightError without a voice."""
        rate = int(self.settings["inputSampleRate"])
        if not 0.01 * rate <= len(samples) <= LONGEST * rate:
            raise UsageError(f"a piece has {len(samples)} samples; send 10 ms to {LONGEST:g} s at {rate} Hz.")
        if not np.isfinite(samples).all():
            raise UsageError("a piece holds values that are no numbers.")
        with self._lock:
            # Beyond any sound, what is computed overflows, and stays in the stream's buffers.
            return self._converted(np.clip(samples, -LOUDEST, LOUDEST))

    def leave(self, who: str) -> None:
        """The client is gone; the next may have the stream."""
        with self._door:
            if self._owner and self._owner[0] == who:
                self._owner = None

    def _converted(self, samples: Samples) -> Samples:
        if self.settings["passThrough"]:
            return samples
        if self._voice is None:
            raise VoicewrightError("no voice is chosen; load one into a slot and select it.")
        options = self.settings.options(len(samples))
        rates = int(self.settings["inputSampleRate"]), int(self.settings["outputSampleRate"])
        converter = self._converter
        if converter is None or (converter.rate, converter.output_rate) != rates:
            converter = LiveConverter(self._voice, options, rate=rates[0], output_rate=rates[1])
            self._converter = converter
        elif self._fresh:
            converter.reset()
        self._fresh = False
        if converter.options != options:
            converter.update(**vars(options))
        return converter.process(samples)

    @property
    def performance(self) -> list[float]:
        """Whole, converting, afterwards: seconds of the last piece, as clients show them."""
        last = self._converter.stats.last if self._converter else 0.0
        return [0, last, 0]

    # ---- settings and slots

    def set(self, key: str, text: str) -> None:
        """One of w-okada's settings. Raises UsageError, and VoicewrightError for a slot that cannot be
        opened; nothing has changed then."""
        value = self.settings.parse(key, text)
        with self._lock:
            if key == "modelSlotIndex":
                self._select(slot_number(value))
                return
            before = self.settings.values[key]
            self.settings.values[key] = value
            try:
                self.settings.options(int(self.settings["inputSampleRate"]))
            except UsageError:
                self.settings.values[key] = before
                raise

    def _select(self, number: int) -> None:
        if self._given and number == self._given.number:
            voice, defaults = self._given.voice, {}
        else:
            voice = self._open(*self.slots.files(number))
            defaults = self.slots.read(number) or {}
        self._voice = voice
        if self._converter:
            self._converter.use(voice)
        self.settings.values["modelSlotIndex"] = number
        for key, of_slot in OF_SLOT.items():
            try:
                self.settings.values[key] = self.settings.parse(key, str(defaults[of_slot]))
                self.settings.options(int(self.settings["inputSampleRate"]))
            except (KeyError, UsageError):  # a slot without defaults, or with impossible ones
                self.settings.values[key] = Settings()[key]

    def load(self, params: dict[str, Any]) -> None:
        """`/load_model`: uploaded files into a slot, once the model has opened.
        Raises UsageError, VoicewrightError."""
        if params.get("isSampleMode"):
            raise UsageError("this server fetches nothing; download the sample yourself and upload it.")
        if params.get("voiceChangerType") != "RVC":
            raise UsageError("only RVC voices can be loaded here.")
        files = params.get("files")
        if not isinstance(files, list) or not all(isinstance(item, dict) for item in files):
            raise UsageError("files must be a list of objects with name and kind.")
        kinds = {str(item.get("kind")): item.get("name") for item in files}
        if "rvcModel" not in kinds:
            raise UsageError("a voice needs a file of kind rvcModel.")
        number = slot_number(params.get("slot"))
        if self._given and number == self._given.number:
            raise UsageError(f"slot {number} is the voice of the command line; choose another.")
        model = self.uploads.take(kinds["rvcModel"], MODELS)
        index = self.uploads.take(kinds["rvcIndex"], INDEXES) if kinds.get("rvcIndex") else None
        voice = self._open(model, index)
        with self._lock:
            self.slots.fill(number, model, index, facts(voice))
            if self.settings["modelSlotIndex"] == number:
                self._select(number)

    def keep_defaults(self) -> None:
        """`/update_model_default`: the settings at hand become the slot's."""
        with self._lock:
            number = int(self.settings["modelSlotIndex"])
            for setting, key in OF_SLOT.items():
                self.slots.edit(number, key, self.settings[setting])

    def info(self) -> dict[str, Any]:
        """`/info`, under w-okada's names. Paths of this machine are not told."""
        slots = self.slots.listed()
        if self._given:
            slots.append(
                {
                    **{"description": "", "credit": "", "termsOfUseUrl": "", "iconFile": ""},
                    **{"modelFile": "", "indexFile": ""},
                    **facts(self._given.voice),
                    **{"voiceChangerType": "RVC", "name": self._given.name},
                    "slotIndex": self._given.number,
                }
            )
        return {
            **self.settings.values,
            "status": "OK",
            "gpus": [],
            "modelSlots": slots,
            "sampleModels": [],
            **{"serverAudioInputDevices": [], "serverAudioOutputDevices": []},
            "voiceChangerParams": {"model_dir": "slots"},
            "maxInputLength": 128 * 2048,
            "pipelineInfo": "Voicewright",
            "dropped": self.dropped,
            "delay": round(self._converter.delay, 4) if self._converter else 0.0,
        }
