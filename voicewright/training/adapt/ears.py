"""What hears adapters while they are trained: the new voice, and whether the base's own voices stay.

`score` is by the surest encoder (fit_ears.py), less what quality and words have lost, and less what the
base's voices have moved; one encoder neither steers nor chooses, it only reports.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from voicewright.catalogue.places import voice_files
from voicewright.errors import VoicewrightError
from voicewright.listen.artefacts import strongest_line
from voicewright.listen.quality import DistillMos
from voicewright.listen.recogniser import choose
from voicewright.model.checkpoint import load_model
from voicewright.model.fast.model import FastModel
from voicewright.training.adapt.folders import Heard
from voicewright.training.adapt.recipe import RECORDINGS
from voicewright.voices.fit_ears import (
    QUALITY_WEIGHT,
    WORDS_WEIGHT,
    Encoders,
    likeness,
    lines_cost,
    words_wrong,
)
from voicewright.voices.pack import Voicepack
from voicewright.voices.studio import Line, Studio

Samples = NDArray[np.float32]
MOVED_FREE = 1 / 3
"""Of what the gate lets a voice of the base move, what costs nothing ..."""
MOVED_WEIGHT = 5.0
"""... and what each 1 − cosine beyond it costs, in normalised similarity."""
WORDS_FREE = 0.1
"""Share of words heard wrong that a start may have before fewer are worth something: of a language that is
being learnt, most of what there is to win."""
_CHECKED = 2
"""Sentences in which the base's own voices are heard."""


class AdaptEars:
    """Judges adapter folders. `seconds`: how long one judgement takes; `ears`: who hears.

    voice: the name of the new voice in a folder. stock: voices of the base that are heard too. own: clips
    that similarity is to; held: those that nothing is trained on, which are the ceiling. stock_lines: what
    the base's voices speak, where it is something else; their words count where the language is the same.
    moved: the gate on how far they move.
    """

    def __init__(
        self,
        studio: Studio,
        voice: str,
        stock: Mapping[str, Voicepack],
        held: Sequence[Samples],
        own: Sequence[Samples],
        lines: Sequence[Line],
        recogniser: str,
        language: str,
        encoders: Encoders,
        note: Callable[[str], object],
        stock_lines: Sequence[Line] | None = None,
        moved: float = 0.06,
    ) -> None:
        self._studio, self._voice = studio, voice
        self._stock, self._lines = dict(stock), tuple(lines)
        self._moved_free = MOVED_FREE * moved
        self._stock_lines = tuple(lines if stock_lines is None else stock_lines)[:_CHECKED]
        self._encoder = next(iter(encoders.steering.values()))[0]
        self._ears = {one.name: likeness(one, own, held) for one in encoders.all()}
        self._surest = encoders.surest.name
        self._keys = {self._surest: "similarity"}
        if encoders.independent is not None:
            self._keys[encoders.independent.name] = "independent"
        for name in self._ears:  # one that steers and is not the surest
            self._keys.setdefault(name, "steering")
        self._quality: DistillMos | None = None
        self._recogniser = None
        try:
            self._quality = DistillMos()
        except VoicewrightError as error:
            note(f"Quality is not heard: {error}")
        hears = "nobody"
        try:
            choice = choose(recogniser, language)
            # A gate of two words in thirty would fall by what a weak recogniser mishears.
            if choice.kind == "whisper" or recogniser != "auto":
                choice = choice.ready()
                self._recogniser, hears = choice.open(), choice.shown
            else:
                note(f"Words are not heard while training: {choice.shown} is too weak for it.")
        except VoicewrightError as error:
            if recogniser != "auto":
                raise
            note(f"Words are not heard: {error}")
        self.ears = f"adapt 3: {self._surest}, {hears}, quality {self._quality is not None}"
        self._held = tuple(held)
        self._real = self._quality_of(held)
        began = time.monotonic()
        self._before = {
            name: self._clips(studio.render, pack, self._stock_lines) for name, pack in self._stock.items()
        }
        self.seconds = 2 * (time.monotonic() - began)

    def __call__(self, folder: Path, first: Mapping[str, float]) -> Heard:
        """The figures of a folder, held against the first ones (of a start that is empty, against itself)."""
        network, _, _ = load_model(folder, None, None, False)
        fast = FastModel(network.eval().requires_grad_(False), self._studio.backend, consume=True)

        def render(tokens: torch.Tensor, pack: Voicepack) -> object:
            style = torch.from_numpy(pack.style(tokens.shape[1] - 2).copy())[None]
            return fast.speak(tokens, style, 1.0, torch.Generator().manual_seed(0))

        clips = self._clips(render, Voicepack.read(voice_files(folder)[self._voice]), self._lines)
        alike = {self._keys[name]: one.of(clips) for name, one in self._ears.items()}
        figures = {"score": min(1.0, alike["similarity"]), **alike}  # nobody is more alike than oneself
        quality, words = self._quality_of(clips), self._words_of(self._lines, clips)
        sounds = {f"{self._voice}-{number + 1}": clip for number, clip in enumerate(clips)}
        figures |= self._stock_figures(render, sounds)
        if quality is not None:
            figures["quality"] = quality
            wanted = first.get("quality", quality)
            if self._real is not None:
                wanted, figures[RECORDINGS] = min(wanted, self._real), self._real
            figures["score"] -= QUALITY_WEIGHT * max(0.0, wanted - quality)
        if words is not None:
            figures["words"] = words
            before = min(first.get("words", words), WORDS_FREE)
            figures["score"] -= WORDS_WEIGHT * max(0.0, words - before)
        figures["lines"] = strongest_line(clips)
        figures["score"] -= lines_cost(clips)
        figures["score"] -= MOVED_WEIGHT * max(0.0, figures.get("moved", 0.0) - self._moved_free)
        return Heard(figures, sounds, {} if first else self._earlier())

    def _earlier(self) -> dict[str, Samples]:
        """Recordings that nothing is trained on, and the base's voices as they were."""
        found = {f"recording-{number + 1}": clip for number, clip in enumerate(self._held[:4])}
        return found | {f"stock-{name}": clips[0] for name, clips in self._before.items()}

    def _stock_figures(self, render: Callable[..., object], sounds: dict[str, Samples]) -> dict[str, float]:
        """How far the base's own voices have moved, each and the farthest, and how many words they lose."""
        found: dict[str, float] = {}
        wrong: list[float] = []
        for name, pack in self._stock.items():
            clips = self._clips(render, pack, self._stock_lines)
            sounds[f"stock-{name}"] = clips[0]
            both = zip(clips, self._before[name], strict=True)
            alike = [float(self._encoder.embed(one) @ self._encoder.embed(other)) for one, other in both]
            found[f"moved_{name}"] = 1 - float(np.mean(alike))
            if (words := self._words_of(self._stock_lines, clips)) is not None:
                wrong.append(words)
        if found:
            found["moved"] = max(found.values())
        return found | ({"stock_words": float(np.mean(wrong))} if wrong else {})

    def _clips(self, render: Callable[..., object], pack: Voicepack, lines: Sequence[Line]) -> list[Samples]:
        return [render(line.tokens, pack).audio.numpy() for line in lines]  # type: ignore[attr-defined]

    def _quality_of(self, clips: Sequence[Samples]) -> float | None:
        if self._quality is None:
            return None
        return float(np.mean([self._quality.score(clip) for clip in clips]))

    def _words_of(self, lines: Sequence[Line], clips: Sequence[Samples]) -> float | None:
        """Share of the lines' words that are heard wrong; None in a language that nobody here listens for."""
        if self._recogniser is None or any(line.language != self._lines[0].language for line in lines):
            return None
        return words_wrong(self._recogniser, lines, clips)
