"""Text and a voicepack through our own graph."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from voicewright.audio.limit import limit
from voicewright.catalogue.places import resolve_model
from voicewright.engines.protocol import Voice
from voicewright.engines.speaking import KEPT_PACKS, WARMING, Heard, Speaking, seed_of
from voicewright.engines.styles import StyleSampler, StyleSampling
from voicewright.model.checkpoint import load_model
from voicewright.model.fast.choice import choose
from voicewright.model.fast.convolution import Backend
from voicewright.model.fast.library import return_memory
from voicewright.model.fast.model import FastModel
from voicewright.model.fast.statistics import Carried
from voicewright.model.tts.model import TTSModel
from voicewright.text.frontend import Tokens
from voicewright.text.vocab import PAD
from voicewright.voices.importing import ready
from voicewright.voices.pack import Voicepack


class TorchEngine(Speaking):
    """Speaks with a model folder (None: the one inside the package) on `device`.

    lexicon: a pronunciation file for the front end. implementation: of the graph on a CPU, one of
    `model.fast.choice.KINDS`, or "plain" for the graph as it is trained. weights: in memory as fp32 ("full")
    or fp16 ("half", computed with in fp32 all the same; for the restructured graph alone). adapters: folders
    of adapters upon the model (None: upon the base of the first). styles: how the model's style diffusion
    draws them (None: the voicepack's own). Raises VoicewrightError when the model cannot be opened,
    UsageError for another implementation and for a model without what is asked of it.
    """

    def __init__(
        self,
        model: Path | str | None = None,
        lexicon: Path | None = None,
        device: str = "cpu",
        implementation: str = "auto",
        weights: str = "full",
        adapters: Sequence[Path | str] = (),
        styles: StyleSampling | None = None,
    ) -> None:
        notes: list[str] = []
        model = ready(model, adapters, notes.append)
        super().__init__(resolve_model(model), lexicon, notes)
        self._device = torch.device(device)
        backend: Backend | None = None
        if implementation != "plain" and self._device.type == "cpu":
            backend = choose(implementation, weights)
        halves = backend is not None and backend.stored == "half"
        network, self.config, _ = load_model(self.model_path, None, self._notes.append, False, halves)
        network = network.eval().requires_grad_(False)
        self._sampler: StyleSampler | None = None
        if styles is not None:
            self._sampler = StyleSampler(self.model_path, network.bert, self.config, styles, self._device)
        self._model: TTSModel | FastModel
        if backend is None or self.config.voicewright.decoder == "hifigan":
            self._model = network.float().fold().to(self._device)
        else:
            self._model = FastModel(network, backend, consume=True)
            del network
            return_memory()
        self._warmed: dict[int, tuple[Voicepack, Carried]] = {}

    def warm(self, voice: Voice | None = None, language: str | None = None) -> None:
        """Do now what the first sound of a stream would wait for: a front end read in, and what the voice's
        statistics are like, from a sentence that nobody hears.

        Streams of a warmed voice begin several times sooner; at full width warming takes about a second.
        Raises as `stream`.
        """
        name, pack = self._voice(voice)
        self.frontend(language or self._language(name)).tokens("One.")
        ids = [self.config.vocab[symbol] for symbol in WARMING if symbol in self.config.vocab]
        if id(pack) in self._warmed or not isinstance(self._model, FastModel) or not ids:
            return
        style = torch.from_numpy(pack.style(len(ids)).copy())[None]
        self._warmed[id(pack)] = pack, self._model.listen(torch.tensor([[PAD, *ids, PAD]]), style)
        while len(self._warmed) > KEPT_PACKS:
            del self._warmed[next(iter(self._warmed))]

    def _known(self, pack: Voicepack, heard: Heard) -> Carried:
        """What is known of a voice in a stream: from warming, then from what the stream has said so far."""
        if not isinstance(self._model, FastModel):
            return Carried()
        if id(pack) not in heard:
            warmed = self._warmed.get(id(pack))
            # the pack is kept beside it, so that no other gets its number
            heard[id(pack)] = pack, Carried() if warmed is None else warmed[1].copy()
        return heard[id(pack)][1]

    def _synthesise(
        self,
        tokens: Tokens,
        pack: Voicepack,
        speed: float,
        seed: int,
        carried: Carried | None,
    ) -> tuple[NDArray[np.int64], Iterable[NDArray[np.float32]]]:
        """Durations int64 [T] with both pads, and the pieces whose concatenation is the utterance [600F].

        carried: what is known of the voice; with it, pieces come as soon as they are made, from a model that
        has `speak_windows`. None asks for the utterance in one piece.
        """
        ids = torch.tensor([[PAD, *tokens.ids, PAD]], device=self._device)
        style = torch.from_numpy(pack.style(len(tokens.ids)).copy())[None].to(self._device)
        if self._sampler is not None:
            style = self._sampler.style(ids, style, seed)
        generator = _generator(seed, tokens.phonemes, self._device)
        in_windows = getattr(self._model, "speak_windows", None) if carried is not None else None
        if in_windows is not None:
            known = {"carried": carried} if isinstance(self._model, FastModel) else {}
            prosody, pieces = in_windows(ids, style, speed, generator, **known)
            return prosody.durations.cpu().numpy(), (piece.float().cpu().numpy() for piece in pieces)
        spoken = self._model.speak(ids, style, speed, generator)
        return spoken.durations.cpu().numpy(), [spoken.audio.cpu().numpy()]

    def resynthesise(
        self,
        tokens: NDArray[np.int64],
        durations: NDArray[np.int64],
        f0: NDArray[np.float32],
        energy: NDArray[np.float32],
        voice: Voice | None = None,
        seed: int = 0,
    ) -> NDArray[np.float32]:
        """Copy-synthesis: the decoder alone, with the timing and pitch of a recording.

        tokens and durations int64 [T] with the pads (sum F); f0 and energy float32 [2F]. Returns [600F].
        """
        _, pack = self._voice(voice)
        style = torch.from_numpy(pack.style(len(tokens) - 2).copy())
        given = [torch.from_numpy(np.array(x))[None] for x in (tokens, durations, f0, energy)]
        ids, frames, pitch, loudness = (x.to(self._device) for x in given)
        spoken = self._model.speak(
            ids,
            style[None].to(self._device),
            1.0,
            _generator(seed, str(tokens.tolist()), self._device),
            durations=frames,
            f0=pitch,
            energy=loudness,
        )
        return limit(spoken.audio.cpu().numpy())


def _generator(seed: int, phonemes: str, device: torch.device) -> torch.Generator:
    return torch.Generator(device).manual_seed(seed_of(seed, phonemes))
