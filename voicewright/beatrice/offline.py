"""Beatrice 2 voices behind the converters' protocol: pieces of eight seconds, heard with their surroundings.

The pulses' phase goes on across pieces and the noise is crossfaded, so that no join is heard.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch

from voicewright.beatrice.files import open_beatrice
from voicewright.beatrice.fold import open_trained
from voicewright.beatrice.network.extractors import HOP
from voicewright.beatrice.network.model import BeatriceModel, Heard
from voicewright.beatrice.network.vocoder import HOP as OUT_HOP
from voicewright.beatrice.network.vocoder import running_phase
from voicewright.conversion.offline import OfflineConverter
from voicewright.conversion.pitch import semitones_between
from voicewright.conversion.protocol import ConvertOptions, Meter, Note, Samples
from voicewright.conversion.source import Source
from voicewright.errors import UsageError
from voicewright.stopping import Cancel

_FRAMES = 800
"""Frames of 10 ms in a piece."""
_BEFORE, _AFTER = 300, 12
"""Frames heard on either side of it; the networks look 5 frames ahead, back as far as there is anything."""
_FADE = OUT_HOP
_UNPITCHED = 0.5
IGNORED = MappingProxyType(
    {
        "index_rate": "Beatrice has no index",
        "protect": "Beatrice has no index",
        "rms_mix": "Beatrice follows the recording's loudness",
        "method": "Beatrice finds pitch itself",
        "unvoiced": "Beatrice finds voicing itself",
    }
)


def open_beatrice_voice(path: Path) -> BeatriceConverter:
    """A converter from a paraphernalia folder, its TOML, or a checkpoint of Beatrice's trainer."""
    return BeatriceConverter(open_trained(path) if path.suffix == ".gz" else open_beatrice(path))


class BeatriceConverter(OfflineConverter):
    """A model's voices; `options.speaker` chooses one by number or name."""

    sample_rate = BeatriceModel.sample_rate

    def __init__(self, model: BeatriceModel) -> None:
        self._model = model

    @property
    def name(self) -> str:
        return self._model.name or self._model.voices[0].name

    ignores = IGNORED

    def pitch_meter(self, options: ConvertOptions) -> Meter | None:
        """See `Converter.pitch_meter`: the first seconds decide."""
        return None

    def begin(
        self, options: ConvertOptions, note: Note, cancel: Cancel | None, whole: Samples | None, rate: int
    ) -> _Recording:
        """See `OfflineConverter.begin`."""
        if options.exact:
            raise UsageError("`exact` is about RVC voices; this one is Beatrice's.")
        if abs(options.formant) > 2:
            raise UsageError(f"Beatrice shifts formants by 2 semitones at most, not {options.formant:g}.")
        return _Recording(self._model, self._speaker(options.speaker), options, note)

    def _speaker(self, wanted: int | str) -> int:
        names = [voice.name for voice in self._model.voices]
        if isinstance(wanted, str) and wanted in names:
            return names.index(wanted)
        if isinstance(wanted, int) and 0 <= wanted < len(names):
            return wanted
        shown = ", ".join(f"{number} {name}" for number, name in enumerate(names[:8]))
        raise UsageError(f"{self.name} has no voice {wanted!r}; choose one of {shown}.")


@dataclass(frozen=True)
class _Piece:
    """seen: 16 kHz samples of `past` frames before the piece, its own `count`, and those that look ahead."""

    seen: Samples
    past: int
    count: int


class _Recording:
    """One recording on its way: what has been heard, and the phase at which the pulses go on."""

    def __init__(self, model: BeatriceModel, voice: int, options: ConvertOptions, note: Note) -> None:
        self._model, self._options, self._note = model, options, note
        self._voice = torch.tensor([voice])
        self._target = options.target_pitch or 440.0 * 2 ** ((model.voices[voice].average_pitch - 69) / 12)
        self._generator = torch.Generator().manual_seed(options.seed)
        self._shift: float | None = None if options.pitch == "auto" else float(options.pitch)
        self._phase: torch.Tensor | None = None
        self._tail: Samples | None = None

    def cut(self, blocks: Iterable[Samples]) -> Iterator[_Piece]:
        """See `Run.cut`."""
        held, past = np.zeros(0, np.float32), 0
        for block, last in _with_end(blocks):
            held = np.concatenate([held, block])
            if last:
                held = np.pad(held, (0, -len(held) % HOP))
            while (whole := len(held) // HOP) > past:
                ready = whole - past
                if not last and ready < _FRAMES + _AFTER:
                    break
                count = min(_FRAMES, ready)
                seen = held[: (past + count + _AFTER) * HOP]
                yield _Piece(np.pad(seen, (0, (past + count + _AFTER) * HOP - len(seen))), past, count)
                drop = max(0, past + count - _BEFORE)
                held, past = held[drop * HOP :], past + count - drop

    @torch.inference_mode()
    def hear(self, piece: _Piece) -> Heard:
        """See `Run.hear`."""
        heard = self._hear(torch.from_numpy(np.ascontiguousarray(piece.seen))[None])
        self._tell(heard, piece.past, piece.count)
        return heard

    @torch.inference_mode()
    def say(self, piece: _Piece, heard: Heard) -> Samples:
        """See `Run.say`."""
        past, count = piece.past, piece.count
        if self._phase is None:
            phase = torch.zeros(1)
        else:
            # The phase at the first frame from which the one where the last piece ended follows.
            moved = running_phase(heard.pitch[:, : past + 1], torch.zeros(1))[:, past * OUT_HOP]
            phase = (self._phase - moved) % 1.0
        at = running_phase(heard.pitch, phase)
        self._phase = at[:, (past + count) * OUT_HOP]
        made = self._model.say(heard, self._voice, phase, self._generator)[0].numpy()
        own = made[past * OUT_HOP : (past + count) * OUT_HOP].copy()
        if self._tail is not None:
            rise = np.linspace(0, 1, _FADE, dtype=np.float32)[: len(own)]
            own[: len(rise)] = rise * own[: len(rise)] + (1 - rise) * self._tail[: len(rise)]
        self._tail = made[(past + count) * OUT_HOP :][:_FADE].copy()
        return own

    def end(self, source: Source) -> None:
        """See `Run.end`."""
        for warning in source.warnings:
            self._note.warn(warning)

    def _hear(self, samples: torch.Tensor) -> Heard:
        options = self._options
        if self._shift is None:
            self._shift = 0.0
            first = self._model.hear(samples, self._voice)
            voiced = first.source[first.unpitched < _UNPITCHED]
            if len(voiced) >= 10:
                self._shift = semitones_between(float(voiced.median()), self._target)
            else:
                self._note.warn("No pitch was found in the first seconds: nothing is transposed.")
        if self._phase is None:
            self._note.transposed(self._shift)
        return self._model.hear(samples, self._voice, pitch_shift=self._shift, formant_shift=options.formant)

    def _tell(self, heard: Heard, past: int, count: int) -> None:
        pitched = (heard.unpitched < _UNPITCHED).float()
        source, target = (heard.source * pitched)[0], (heard.pitch * pitched)[0]
        self._note.pitch(source[past : past + count].numpy(), target[past : past + count].numpy())


def _with_end(blocks: Iterable[Samples]) -> Iterator[tuple[Samples, bool]]:
    """Each block with whether it is the last; one empty block where there is none."""
    waiting = np.zeros(0, np.float32)
    for number, block in enumerate(blocks):
        if number:
            yield waiting, False
        waiting = block
    yield waiting, True
