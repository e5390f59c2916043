"""A Voicewright model's own voice in live blocks: the embedded converter's steps on a window.

Loudness, mean spectrum and transposition, which the converter measures on a recording, are followed as the
speaker speaks; so are the statistics that the decoder normalises by, which makes it enough to decode what is
heard and the little that reaches it. Noise and phase of the excitation go on from block to block.
"""

from __future__ import annotations

import time
from pathlib import Path
from types import MappingProxyType

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor

from voicewright.audio.loudness import TARGET, lufs
from voicewright.conversion.block import FRAME as TENTH
from voicewright.conversion.block import RATE, AutoTranspose, LiveOptions, Samples
from voicewright.conversion.continuity import Noise, Phase
from voicewright.conversion.own import (
    CEILING_HZ,
    FLOOR_HZ,
    SILENT,
    OwnConverter,
    Spoken,
    remember,
    track,
    voiced_pitch,
)
from voicewright.conversion.protocol import ConvertOptions
from voicewright.errors import UsageError
from voicewright.model.content.bottleneck import LOUD, Content, normalised
from voicewright.model.fast.front import FastFront
from voicewright.model.fast.statistics import Carried
from voicewright.model.tts.source import glide
from voicewright.units import FRAME, HOP, SAMPLE_RATE

TEN = SAMPLE_RATE // 100
"""Samples of 10 ms."""
_FIRST, _FOLLOW = 100, 500
"""Frames of speech after which the loudness is its mean, and over how many the mean is."""


class OwnBlockVoice:
    """`BlockVoice` for a model folder or the embedded voice; errors as `OwnConverter`'s."""

    ignores = MappingProxyType({name: OwnConverter.ignores[name] for name in ("index_rate", "protect")})

    def __init__(self, to: str | Path | OwnConverter = "tiny", seed: int = 0) -> None:
        converter = to if isinstance(to, OwnConverter) else OwnConverter(to)
        self.sample_rate = SAMPLE_RATE
        self.grid = 5
        """50 ms, where the window's frames of 10 ms and the model's of 25 ms both begin."""
        self.continues = True
        self.speakers = {"0": converter.name}
        self.times: dict[str, float] = {}
        self._parts = converter
        source = converter.model.generator.source
        self._pulses = source.excitation == "pulse"
        self._waves = source.l_linear.in_features
        self._noise = Noise(TEN * self._waves, seed)
        self._phase = Phase()
        self._transpose = AutoTranspose(converter.pitch)
        self.reset()

    def reset(self) -> None:
        self._source = Spoken(1.0, 1.0, torch.zeros(80))
        self._loudness: float | None = None
        self._listened = 0
        self._passed = 0
        """Frames of the stream, less what makes windows begin at multiples of the grid."""
        self._begun = False
        self._transpose.reset()
        self._noise.clear()
        self._phase.clear()
        self._carried = Carried()

    def skip(self, fresh: int) -> None:
        """Silence changes nothing of what is remembered but where the stream is."""
        self._passed += fresh
        self._noise.shift(fresh)

    @torch.inference_mode()
    def convert(self, window: Samples, fresh: int, head: int, frames: int, options: LiveOptions) -> Samples:
        """See `BlockVoice.convert`. Raises UsageError for what the embedded voice does not have."""
        if options.formant or options.unvoiced != "zero" or options.speaker:
            raise UsageError(
                "the embedded voice is one speaker with its own formants and voicing; leave those out."
            )
        clock, parts = time.perf_counter, self._parts
        began = clock()
        window, head = self._place(window, fresh, head)
        wave = np.asarray(soxr.resample(window, RATE, SAMPLE_RATE), np.float32)
        if not self._listen(wave, fresh):
            return np.zeros(frames * TEN, dtype=np.float32)
        wave = np.pad(wave, (0, -len(wave) % FRAME)) * np.float32(self._source.gain)
        steps = len(wave) // HOP
        mel = parts.mel(torch.from_numpy(np.pad(wave, (0, max(0, 1024 - len(wave))))))[:, :steps]
        new = slice(max(steps - fresh * TEN // HOP, 0), steps)
        heard = parts.content(normalised(mel, remember(self._source, mel, new))[None])
        content = clock()
        f0 = voiced_pitch(
            track(wave, ConvertOptions(method=options.method))[:steps], heard.voicing[0].sigmoid().numpy()
        )
        factor = 2 ** (self._transpose.semitones(options, f0[new]) / 12)
        moved = np.where(f0 > 0, np.clip(f0 * factor, FLOOR_HZ, CEILING_HZ), 0).astype(np.float32)
        pitch = clock()
        level = torch.logsumexp(mel[:, new], 0)
        spoken = int((level > self._source.loudest - LOUD).sum())
        said = self._say(heard, torch.from_numpy(moved), head, len(window) // TENTH, spoken)
        said = said[: frames * TEN] / self._source.gain
        self.times = {"content": content - began, "pitch": pitch - content, "synthesizer": clock() - pitch}
        return np.asarray(np.pad(said, (0, frames * TEN - len(said))), np.float32)

    def _place(self, window: Samples, fresh: int, head: int) -> tuple[Samples, int]:
        """The window without the nothing that came before the stream, and its head; keeps count of frames."""
        total = len(window) // TENTH
        self._noise.shift(fresh)
        self._passed += fresh
        if not self._begun:
            self._begun, self._passed = True, total
        sound = np.flatnonzero(window[: head * TENTH])
        empty = int(sound[0]) // TENTH if len(sound) else head
        empty -= empty % self.grid
        return window[empty * TENTH :], head - empty

    def _say(self, heard: Content, f0: Tensor, head: int, total: int, spoken: int) -> Samples:
        """Samples from frame `head` of the window's `total` on. f0 [steps]; `spoken` of its steps
        are new speech."""
        model = self._parts.model
        join = head * TEN // HOP
        first = max((join - model.generator.context) // 2 - FastFront.REACH, 0)
        origin = (self._passed - total) * TEN // HOP
        f0 = f0[2 * first :]
        start = self._phase.start(self._turns(f0), origin + 2 * first, origin + join)
        if not self._pulses:
            f0 = f0.clone()
            f0[0] += start * SAMPLE_RATE / HOP
        hiss = self._noise.ending(total, 0).reshape(-1, self._waves)[2 * first * HOP :]

        def numbers(shape: torch.Size, normal: bool) -> Tensor:
            if not normal:
                return torch.full(shape, start)
            beyond = shape[1] - len(hiss)
            """Samples that fill up the last frame; nobody hears them."""
            return torch.from_numpy(np.concatenate([hiss, hiss[len(hiss) - beyond :][::-1]]))[None]

        policy = self._carried.running(spoken)
        text = heard.text[0].T[first:].contiguous()
        energy = heard.energy[0][2 * first :]
        sound = model.sound(text, f0, energy, self._parts.style, numbers, policy=policy)
        self._carried.follow(policy, spoken)
        return np.asarray(sound.numpy()[head * TEN - 2 * first * HOP :], np.float32)

    def _turns(self, f0: Tensor) -> NDArray[np.float64]:
        """Turns of the excitation where steps of f0 [T] begin; of sines, at their middles."""
        if not self._pulses:
            return np.cumsum(f0.double().numpy() * HOP / SAMPLE_RATE)
        turns = torch.cumsum(glide(f0[None]).double() / SAMPLE_RATE, 1)[0].numpy()
        return np.concatenate([[0.0], turns[HOP - 1 :: HOP]])

    def _listen(self, wave: Samples, fresh: int) -> bool:
        """Follow the loudness, at first its greatest, later its mean; False while there was silence alone.

        What is remembered of the spectrum moves along, for it was measured at the gain of then."""
        if len(wave) >= SAMPLE_RATE // 2:
            now = lufs(wave, SAMPLE_RATE)
            if now >= SILENT:
                last = now if self._loudness is None else self._loudness
                follow = min(fresh / _FOLLOW, 1.0)
                self._loudness = max(now, last) if self._listened < _FIRST else last + follow * (now - last)
                self._listened += fresh
        if self._loudness is None:
            return False
        gain = 10 ** ((TARGET - self._loudness) / 20)
        moved = 2 * float(np.log(gain / self._source.gain))  # the mel is of power
        self._source.total += self._source.weight * moved
        self._source.loudest += moved
        self._source.gain = gain
        return True
