"""A Beatrice 2 model's voices in live blocks: the window heard and said, of which the end is kept.

The pulses go on in phase where a block joins the last one, and the noise belongs to frames of the stream.
"""

from __future__ import annotations

import time
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from voicewright.beatrice.files import open_beatrice
from voicewright.beatrice.fold import open_trained
from voicewright.beatrice.network.model import BeatriceModel, Heard
from voicewright.beatrice.network.vocoder import HOP, SAMPLE_RATE
from voicewright.beatrice.offline import IGNORED
from voicewright.conversion.block import FRAME, AutoTranspose, LiveOptions, Samples
from voicewright.conversion.continuity import Noise, Phase
from voicewright.errors import UsageError, VoicewrightError

_UNPITCHED = 0.5
_LEAST = 8
"""Frames that the networks need."""


def open_beatrice_block(path: Path, seed: int = 0) -> BeatriceBlockVoice:
    """From a paraphernalia folder, its TOML, or a checkpoint of Beatrice's trainer. Errors as theirs."""
    return BeatriceBlockVoice(open_trained(path) if path.suffix == ".gz" else open_beatrice(path), seed)


class BeatriceBlockVoice:
    """`BlockVoice` for Beatrice 2; `options.speaker` chooses the voice."""

    ignores = MappingProxyType(
        {name: why for name, why in IGNORED.items() if name not in ("rms_mix", "unvoiced")}
    )

    def __init__(self, model: BeatriceModel, seed: int = 0) -> None:
        self.sample_rate = SAMPLE_RATE
        self.grid = 1
        self.continues = True
        self.speakers = {str(number): voice.name[:80] for number, voice in enumerate(model.voices)}
        self.times: dict[str, float] = {}
        self._model = model
        self._noise = Noise(HOP, seed, uniform=True)
        self._phase = Phase()
        self._transpose = AutoTranspose(None)
        self.reset()

    def reset(self) -> None:
        self._passed = 0
        self._noise.clear()
        self._phase.clear()
        self._transpose.reset()

    def skip(self, fresh: int) -> None:
        self._passed += fresh
        self._noise.shift(fresh)

    @torch.inference_mode()
    def convert(self, window: Samples, fresh: int, head: int, frames: int, options: LiveOptions) -> Samples:
        """See `BlockVoice.convert`. Raises UsageError for a voice or an option that the model has not,
        VoicewrightError for values that are no numbers."""
        number = self._voice(options)
        clock, voice = time.perf_counter, torch.tensor([number])
        began = clock()
        self._passed += fresh
        self._noise.shift(fresh)
        missing = max(_LEAST - len(window) // FRAME, 0)
        window, head = np.pad(window, (missing * FRAME, 0)), head + missing
        total = len(window) // FRAME
        heard = self._hear(torch.from_numpy(np.ascontiguousarray(window))[None], voice, fresh, options)
        content = clock()
        first = self._passed - total
        start = self._phase.start(self._turns(heard), first, first + head)
        # The frame after the window's last is never heard; its noise is the last one's.
        noise = self._noise.ending(total, 0)
        noise = np.concatenate([noise, noise[-1:]]).reshape(1, -1)
        sound = self._model.say(heard, voice, torch.tensor([start]), noise=torch.from_numpy(noise))
        said = np.asarray(sound[0, head * HOP : (head + frames) * HOP].numpy(), np.float32)
        if not np.isfinite(said).all():
            raise VoicewrightError("the voice gave values that are not numbers; its files are damaged.")
        self.times = {"content": content - began, "pitch": 0.0, "synthesizer": clock() - content}
        return said

    def _voice(self, options: LiveOptions) -> int:
        voices = self._model.voices
        if not 0 <= options.speaker < len(voices):
            shown = ", ".join(f"{number} {voice.name}" for number, voice in enumerate(voices[:8]))
            raise UsageError(f"the model has no voice {options.speaker}; choose one of {shown}.")
        if abs(options.formant) > 2:
            raise UsageError(f"Beatrice shifts formants by 2 semitones at most, not {options.formant:g}.")
        if options.unvoiced != "zero":
            raise UsageError("Beatrice finds voicing itself; leave --unvoiced out.")
        self._transpose.aim(440.0 * 2 ** ((voices[options.speaker].average_pitch - 69) / 12))
        return options.speaker

    def _hear(self, samples: torch.Tensor, voice: torch.Tensor, fresh: int, options: LiveOptions) -> Heard:
        """What is said at the pitch that the options mean; again where this block settled it."""
        before = self._transpose.semitones(options, np.zeros(0, np.float32))
        heard = self._model.hear(samples, voice, pitch_shift=before, formant_shift=options.formant)
        pitched = heard.source * (heard.unpitched < _UNPITCHED)
        after = self._transpose.semitones(options, pitched[0, -fresh:].numpy())
        if after == before:
            return heard
        return self._model.hear(samples, voice, pitch_shift=after, formant_shift=options.formant)

    def _turns(self, heard: Heard) -> Any:
        """Turns where frames begin and at the end, 0 at the first sample: float64 [frames + 1].

        The phase of `running_phase` is that of its first sample, whose own step does not count."""
        steps = heard.pitch[0].double().numpy() * (HOP / SAMPLE_RATE)
        own = np.append(heard.pitch[0].double().numpy(), float(heard.pitch[0, -1])) / SAMPLE_RATE
        turns = np.concatenate([[0.0], np.cumsum(steps)])
        return turns + own - own[0]
