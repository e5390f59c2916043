"""Kokoro's graph from packed weights, without torch: what `FastModel` says with its fp32 kernels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from voicewright.model.light.front import Curves, Front
from voicewright.model.light.generator import Generator
from voicewright.model.light.layers import Array, Lstm
from voicewright.model.light.packed import Node
from voicewright.model.light.source import Noise
from voicewright.model.light.statistics import Carried, Frozen, Kept
from voicewright.model.light.text import Albert, DurationEncoder, TextEncoder
from voicewright.model.light.windows import FADE, RATE, Sketch, Windows, pieces
from voicewright.units import FRAME, SAMPLE_RATE

Whole = NDArray[np.int64]
_SOUND = 0.15
"""Seconds of the first sound that a first window holds at least."""
_KEPT = 0.125
"""Seconds of the silence before it that are made: sound may begin 75 ms before the durations say, and 50 ms
are kept before it."""


@dataclass(frozen=True)
class Utterance:
    """audio [600F]; durations int64 [T] in 25 ms frames; f0 in Hz and energy [2F]."""

    audio: Array
    durations: Whole
    f0: Array
    energy: Array


@dataclass(frozen=True)
class Prosody:
    """When and how, and the text's features [T, H]."""

    durations: Whole
    f0: Array
    energy: Array
    asr: Array


class LightModel:
    """The graph of a packed tree (`pack.py` makes it), for kernels of `level`.

    It keeps views of the packed file's pages, not copies.
    """

    def __init__(self, tree: Node, level: int) -> None:
        self._style = int(tree["style"])
        self._bert = Albert(tree["bert"], level)
        self._bert_encoder: list[Array] = tree["bert_encoder"]
        self._text_encoder = TextEncoder(tree["text_encoder"], level)
        self._duration_encoder = DurationEncoder(tree["duration_encoder"], level)
        self._duration_lstm = Lstm(tree["duration_lstm"], level)
        self._shared = Lstm(tree["shared"], level)
        self._duration_proj: list[Array] = tree["duration_proj"]
        self._f0, self._energy = Curves(tree["f0"], level), Curves(tree["energy"], level)
        self._front = Front(tree["front"], level)
        self.generator = Generator(tree["generator"], level)

    def speak(self, tokens: Whole, style: Array, speed: float, seed: int) -> Utterance:
        """tokens int64 [T] with both pads, style [256], a seed as of `torch.Generator`."""
        made = self._prepare(tokens, style, speed)
        own = Kept()
        return Utterance(self._whole(made, style, seed, own), made.durations, made.f0, made.energy)

    def speak_windows(
        self,
        tokens: Whole,
        style: Array,
        speed: float,
        seed: int,
        carried: Carried,
        windows: Windows | None = None,
    ) -> tuple[Prosody, Iterator[Array]]:
        """Prosody at once, then the audio piece by piece: early windows by what is known of the voice,
        `carried`, and all of the rest."""
        made = self._prepare(tokens, style, speed)
        return made, self._pieces(made, style, seed, carried, windows)

    def listen(self, tokens: Whole, style: Array) -> Carried:
        """The statistics of a voice, from an utterance that nobody will hear."""
        own = Kept()
        self._whole(self._prepare(tokens, style, 1.0), style, 0, own)
        return Carried(own.kept)

    def _whole(self, made: Prosody, style: Array, seed: int, own: Kept) -> Array:
        acoustic = style[: self._style]
        expanded = np.repeat(made.asr, made.durations, axis=0)
        features = self._front(expanded, made.f0, made.energy, acoustic, own)
        harmonics = self.generator.harmonics(made.f0, Noise(seed))
        return self.generator(features, acoustic, harmonics, own)

    def _pieces(
        self, made: Prosody, style: Array, seed: int, carried: Carried, windows: Windows | None
    ) -> Iterator[Array]:
        expanded, acoustic = np.repeat(made.asr, made.durations, axis=0), style[: self._style]
        if windows is None:
            silence = int(made.durations[0]) * FRAME / SAMPLE_RATE
            windows = Windows(silent=max(0, int((silence - _KEPT) * RATE)))
            windows = replace(windows, early=(min(silence, _KEPT) + _SOUND, *windows.early[1:]))
        sketch: Sketch | None = None
        if ends := windows.cuts(2 * len(expanded)):
            frames = -(-(ends[0] + self.generator.context + FADE) // 2) + Front.REACH
            if frames <= 0.7 * len(expanded):
                policy = Frozen(carried.stats)
                sketched = self._front(expanded[:frames], made.f0, made.energy, acoustic, policy)
                sketch = Sketch(sketched, 2 * Front.REACH)
        yield from pieces(
            self.generator,
            lambda: self._front(expanded, made.f0, made.energy, acoustic),
            acoustic,
            self.generator.harmonics(made.f0, Noise(seed)),
            windows,
            carried,
            sketch,
        )

    def _prepare(self, tokens: Whole, style: Array, speed: float) -> Prosody:
        prosodic = style[self._style :]
        weight, bias = self._bert_encoder
        d = self._duration_encoder(self._bert(tokens) @ weight.T + bias, prosodic)
        weight, bias = self._duration_proj
        logits = self._duration_lstm(d) @ weight.T + bias
        expected = (1 / (1 + np.exp(-logits))).sum(1) / np.float32(speed)
        durations = np.maximum(np.rint(expected), 1).astype(np.int64)
        shared = self._shared(np.repeat(d, durations, axis=0))
        f0, energy = self._f0(shared, prosodic), self._energy(shared, prosodic)
        return Prosody(durations, f0, energy, self._text_encoder(tokens))
