"""A model opened for fitting: its graph twice (for gradients, for speed), its voices, its front end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from voicewright.catalogue.places import cache_folder, read_card, resolve_model, voice_files, weights_sha256
from voicewright.errors import UsageError, VoicewrightError
from voicewright.model.checkpoint import load_model
from voicewright.model.fast.choice import choose
from voicewright.model.fast.model import FastModel
from voicewright.model.precision import fastest
from voicewright.model.tts.model import TTSModel, Utterance
from voicewright.text.frontend import Frontend
from voicewright.text.vocab import PAD
from voicewright.voices.files import read_arrays
from voicewright.voices.importing import make_ready
from voicewright.voices.pack import Voicepack
from voicewright.voices.sources import pack_files

SENTENCES = (
    "The birch canoe slid on the smooth planks.",
    "It is easy to tell the depth of a well.",
    "These days a chicken leg is a rare dish.",
    "The juice of lemons makes fine punch.",
    "Glue the sheet to the dark blue background.",
    "Rice is often served in round bowls.",
    "The box was thrown beside the parked truck.",
    "The hogs were fed chopped corn and garbage.",
    "Four hours of steady work faced us.",
    "A large size in stockings is hard to sell.",
)
"""Harvard sentences (IEEE 1969), list 1: known voices are heard by the first, fitted ones by all."""


@dataclass(frozen=True)
class Line:
    """A text and its tokens int64 [1, T], with both pads."""

    text: str
    language: str
    tokens: torch.Tensor


class Studio:
    """`model` by name or path; `voices`: a folder of packs known beside the model's own.

    Raises UsageError for a model that has no voices, or another decoder than Kokoro's.
    """

    def __init__(self, model: str, voices: Path | None, note: Callable[[str], object]) -> None:
        make_ready(model, note)
        self.folder = resolve_model(model)
        self.card = read_card(self.folder)
        network, self.config, _ = load_model(self.folder, None, note)
        if self.config.voicewright.decoder == "hifigan":
            raise UsageError(f"{model} has StyleTTS 2's decoder; voices are fitted to Kokoro's alone.")
        self.net: TTSModel = network.eval().float().requires_grad_(False).fold()
        twin, _, _ = load_model(self.folder, None, lambda _: None)
        self.backend = choose("auto", "full")
        self._fast = FastModel(twin.eval().requires_grad_(False), self.backend, consume=True)
        self.packs = self._known(voices, note)
        if not self.packs:
            raise UsageError(f"{model} comes without voices to start from; name some with --voices.")
        self.sha256 = weights_sha256(self.folder)
        self._frontends: dict[str, Frontend] = {}

    def _known(self, voices: Path | None, note: Callable[[str], object]) -> dict[str, Voicepack]:
        files = dict(voice_files(self.folder, shipped=False))  # no fit begins with a voice of ours
        found: dict[str, Voicepack] = {}
        if voices is not None and voices.is_file():
            arrays = read_arrays(voices)
            found = {name: Voicepack.of(rows, f"{voices}, {name}") for name, rows in arrays.items()}
        elif voices is not None:
            files |= pack_files(voices)
        for name, path in files.items():
            try:
                found[name] = Voicepack.read(path)
            except VoicewrightError as error:
                note(f"{path} is left out: {error}")
        return found

    @property
    def name(self) -> str:
        return str(self.card.get("name") or self.folder.name)

    @property
    def portraits(self) -> Path:
        """Where what the known voices sound like is kept."""
        return cache_folder() / "fit" / f"{self.sha256[:16]}.json"

    @property
    def precision(self) -> torch.dtype:
        """What gradients through the decoder are computed in; renderings have kernels of their own."""
        return fastest()

    def ids(self, phonemes: str) -> NDArray[np.int64]:
        """Ids [T] of phonemes, with both pads; symbols that the model lacks are left out."""
        vocab = self.config.vocab
        return np.array([PAD, *(vocab[symbol] for symbol in phonemes if symbol in vocab), PAD], np.int64)

    def render(self, tokens: torch.Tensor, pack: Voicepack) -> Utterance:
        """Tokens [1, T] with both pads, spoken in a voice; always with the same noise."""
        rng = torch.Generator().manual_seed(0)
        style = torch.from_numpy(pack.style(tokens.shape[1] - 2).copy())[None]
        return self._fast.speak(tokens, style, 1.0, rng)

    def lines(self, texts: Sequence[str], language: str) -> list[Line]:
        """Texts as the model reads them."""
        if language not in self._frontends:
            self._frontends[language] = Frontend(language, None, self.config.vocab)
        frontend = self._frontends[language]
        return [
            Line(text, language, torch.tensor([[PAD, *frontend.tokens(text).ids, PAD]])) for text in texts
        ]

    def clips(self, pack: Voicepack, lines: Sequence[Line]) -> list[NDArray[np.float32]]:
        """The lines spoken in a voice, each [T] at 24 kHz."""
        return [self.render(line.tokens, pack).audio.numpy() for line in lines]
