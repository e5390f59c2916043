"""Text and a voicepack through our own graph."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from voicewright.artifacts import RUN_FOLDERS, read_card, resolve_model, voice_files
from voicewright.config import FRAME, SAMPLE_RATE
from voicewright.engines.joins import TAIL, limit, pause_after, trim
from voicewright.engines.protocol import Chunk, Speech, TokenTime, Voice, WordTime, join
from voicewright.errors import UsageError, VoicewrightError
from voicewright.model.checkpoint import load_model
from voicewright.model.fast.choice import choose
from voicewright.model.fast.library import return_memory
from voicewright.model.fast.model import FastModel
from voicewright.model.tts.model import TTSModel
from voicewright.text.frontend import Frontend, Tokens
from voicewright.text.g2p import LANGUAGES
from voicewright.text.vocab import PAD
from voicewright.voices.pack import Voicepack

SLOWEST, FASTEST = 0.25, 4.0
COMFORT = 200
"""Tokens in a chunk: beyond a few hundred, Kokoro-class models hurry."""
EARLY = 60
"""Tokens in the first chunk of a stream, so that sound comes soon: about a sentence or a clause."""
_BLOCK = 1000
"""Characters read by the front end at a time, at least: a book need not be read to be begun."""


@dataclass(frozen=True)
class _Part:
    """What is synthesised in one go, and how it ends."""

    tokens: Tokens
    paragraph: bool
    last: bool


class TorchEngine:
    """Speaks with a model folder (None: the one inside the package) on `device`.

    lexicon: a pronunciation file for the front end. implementation: of the graph on a CPU, one of
    `model.fast.choice.KINDS`, or "plain" for the graph as it is trained. Raises VoicewrightError when the
    model cannot be opened, UsageError for another implementation.
    """

    def __init__(
        self,
        model: Path | str | None = None,
        lexicon: Path | None = None,
        device: str = "cpu",
        implementation: str = "auto",
    ) -> None:
        self.model_path = resolve_model(model)
        self.card = read_card(self.model_path)
        self._files = voice_files(self.model_path)
        network, self.config, _ = load_model(self.model_path)
        self._device = torch.device(device)
        network = network.float().eval().requires_grad_(False).fold()
        self._model: TTSModel | FastModel
        if implementation == "plain" or self._device.type != "cpu":
            self._model = network.to(self._device)
        else:
            self._model = FastModel(network, choose(implementation), consume=True)
            del network
            return_memory()
        self._lexicon = lexicon
        self._frontends: dict[str, Frontend] = {}
        self._packs: dict[Path, Voicepack] = {}

    @property
    def name(self) -> str:
        """What the card calls the model, else the name of its folder (of its run, inside a training run)."""
        folder = self.model_path.resolve()
        named = folder.parent.name if folder.name in RUN_FOLDERS else folder.name
        return str(self.card.get("name") or named)

    @property
    def voices(self) -> tuple[str, ...]:
        return tuple(self._files)

    @property
    def default_voice(self) -> str:
        """The voice named by the card, else the first. Raises UsageError when the model has none."""
        named = self.card.get("voice")
        if isinstance(named, str) and named in self._files:
            return named
        if not self._files:
            raise UsageError(f"{self.model_path} comes without voices; give a voicepack file with --voice.")
        return next(iter(self._files))

    def frontend(self, language: str) -> Frontend:
        """The front end of a language, kept for the engine's life."""
        if language not in self._frontends:
            self._frontends[language] = Frontend(language, self._lexicon, self.config.vocab)
        return self._frontends[language]

    def speak(
        self,
        text: str,
        voice: Voice | None = None,
        speed: float = 1.0,
        seed: int = 0,
        language: str | None = None,
    ) -> Speech:
        """The whole text at once; the same arguments give the same samples. Raises as `stream`."""
        return join(list(self.stream(text, voice, speed, seed, language, early=False)), SAMPLE_RATE)

    def stream(
        self,
        text: str,
        voice: Voice | None = None,
        speed: float = 1.0,
        seed: int = 0,
        language: str | None = None,
        early: bool = True,
    ) -> Iterator[Speech]:
        """Speech chunk by chunk, times on the clock of the whole; the parts may be concatenated as they are.

        early: begin with a short chunk (a sentence or clause) so that sound comes soon; without it the parts
        are exactly those of `speak`. Raises UsageError for wrong arguments and empty text, VoicewrightError
        when the text holds nothing that can be spoken; both before the first part.
        """
        if not isinstance(speed, int | float) or not SLOWEST <= speed <= FASTEST:
            raise UsageError(f"the speed is {speed}; it must lie between {SLOWEST} and {FASTEST:g}.")
        if not text.strip():
            raise UsageError("there is no text to speak; give some words.")
        name, pack = self._voice(voice)
        frontend = self.frontend(language or self._language(name))
        return self._stream(text, name, pack, frontend, float(speed), seed, early)

    def _stream(
        self,
        text: str,
        name: str,
        pack: Voicepack,
        frontend: Frontend,
        speed: float,
        seed: int,
        early: bool,
    ) -> Iterator[Speech]:
        done = 0
        pending: list[str] = []
        for part in _parts(text, frontend, early):
            pending += _warnings(part.tokens)
            if part.tokens.words:
                samples, chunk = self._synthesise(part, name, pack, speed, seed, done)
                yield Speech(samples, SAMPLE_RATE, (chunk,), tuple(pending), done / SAMPLE_RATE)
                done += len(samples)
                pending = []
        if done == 0:
            frontend.tokens(text).check("The text")
            raise VoicewrightError("The text has nothing to speak: it holds no words.")

    def _synthesise(
        self, part: _Part, name: str, pack: Voicepack, speed: float, seed: int, done: int
    ) -> tuple[np.ndarray, Chunk]:
        """Samples of one part and its record; `done` samples of speech came before it."""
        tokens = part.tokens
        ids = torch.tensor([[PAD, *tokens.ids, PAD]], device=self._device)
        style = torch.from_numpy(pack.style(len(tokens.ids)).copy())[None].to(self._device)
        spoken = self._model.speak(ids, style, speed, _generator(seed, tokens.phonemes, self._device))
        audio = spoken.audio.cpu().numpy()
        if not np.isfinite(audio).all():
            raise VoicewrightError(
                f"the model gave values that are not numbers for {tokens.text[:40]!r}; the model or the "
                "voicepack is damaged."
            )
        ends = np.cumsum(spoken.durations.cpu().numpy()) * FRAME
        starts = np.concatenate([[0], ends[:-1]])[1:-1]
        ends = ends[1:-1]
        after = TAIL if part.last else pause_after(tokens.phonemes, part.paragraph, speed)
        head, tail = int(starts[tokens.words[0].start]), int(ends[tokens.words[-1].stop - 1])
        cut = trim(audio, head, tail, after)
        samples = limit(cut.samples)

        def clock(sample: int) -> float:
            return (done + min(max(sample - cut.offset, 0), len(samples))) / SAMPLE_RATE

        times = tuple(
            TokenTime(symbol, clock(start), clock(end))
            for symbol, start, end in zip(tokens.phonemes, starts.tolist(), ends.tolist(), strict=True)
        )
        words = tuple(
            WordTime(word.text, times[word.start].start, times[word.stop - 1].end) for word in tokens.words
        )
        end = (done + len(samples)) / SAMPLE_RATE
        return samples, Chunk(tokens.text, tokens.phonemes, name, times, words, done / SAMPLE_RATE, end)

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

    def _voice(self, voice: Voice | None) -> tuple[str, Voicepack]:
        if isinstance(voice, Voicepack):
            return "custom", voice
        if isinstance(voice, Path):
            name, path = voice.stem, voice
        else:
            name = voice if voice is not None else self.default_voice
            if name not in self._files:
                raise UsageError(
                    f"{self.name} has no voice {name!r}; it has {', '.join(self._files) or 'none'}."
                )
            path = self._files[name]
        if path not in self._packs:
            self._packs[path] = Voicepack.read(path)
        return name, self._packs[path]

    def _language(self, voice: str) -> str:
        """Kokoro's voice names begin with the letter of their language; else what the card says."""
        if match := re.match(r"([a-z])[fm]_", voice):
            for code, language in LANGUAGES.items():
                if language.kokoro == match[1]:
                    return code
        named = self.card.get("language")
        return named if isinstance(named, str) else "en-us"


def _generator(seed: int, phonemes: str, device: torch.device) -> torch.Generator:
    """Seeded by what is said, so that a chunk sounds the same wherever it stands."""
    digest = hashlib.sha256(f"{seed} {phonemes}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def _warnings(tokens: Tokens) -> list[str]:
    if not tokens.unknown:
        return []
    return [f"No reading is known for {' '.join(tokens.unknown)}: left out of {tokens.text.strip()[:40]!r}."]


def _parts(text: str, frontend: Frontend, early: bool) -> Iterator[_Part]:
    """The text in parts of a comfortable length, one ahead so that each knows whether it is the last."""
    held: tuple[Tokens, bool] | None = None
    first = early
    for block, more in _blocks(text):
        chunks = [chunk for chunk in frontend.chunks(block, COMFORT) if chunk.ids or chunk.unknown]
        if first and chunks:
            chunks[:1] = _early(chunks[0], frontend)
            first = False
        position = 0
        for number, chunk in enumerate(chunks):
            found = block.find(chunk.text, position)
            position = found + len(chunk.text) if found >= 0 else position
            follows = number < len(chunks) - 1
            paragraph = bool(re.match(r"\s*\n\s*\n", block[position:])) if follows else more
            paragraph = paragraph or bool(re.search(r"\n\s*\n\s*$", chunk.text))
            if held is not None:
                yield _Part(*held, last=False)
            held = chunk, paragraph
    if held is not None:
        yield _Part(*held, last=True)


def _early(chunk: Tokens, frontend: Frontend) -> list[Tokens]:
    """A long first chunk as a short one and the rest."""
    if len(chunk.ids) <= 1.5 * EARLY:
        return [chunk]
    head = frontend.chunks(chunk.text, EARLY)[0]
    at = chunk.text.find(head.text)
    rest = chunk.text[at + len(head.text) :] if at >= 0 else ""
    if not head.words or not rest.strip():
        return [chunk]
    return [head, *frontend.chunks(rest, COMFORT)]


def _blocks(text: str) -> Iterator[tuple[str, bool]]:
    """The text in stretches of `_BLOCK` characters or more, and whether each ends a paragraph before another.

    Cut at blank lines; inside an endless paragraph, at ends of sentences that are no abbreviations.
    """
    start = 0
    for match in re.finditer(r"\n[^\S\n]*\n\s*|(?<=[a-z]{4}[.!?])\s+(?=[A-Z])", text):
        blank = match[0].count("\n") > 1
        if match.end() - start >= (_BLOCK if blank else 4 * _BLOCK) and match.end() < len(text):
            yield text[start : match.start()], blank
            start = match.end()
    yield text[start:], False
