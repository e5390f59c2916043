"""Text and a voicepack through our own graph."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from voicewright.artifacts import RUN_FOLDERS, read_card, resolve_model, voice_files
from voicewright.audio.limit import limit
from voicewright.config import FRAME, SAMPLE_RATE
from voicewright.engines import plan
from voicewright.engines.joins import LEAD, TAIL, Edges, pause_after
from voicewright.engines.protocol import Cancel, Chunk, Speech, TokenTime, Voice, WordTime, join, stop_if
from voicewright.errors import UsageError, VoicewrightError
from voicewright.model.checkpoint import load_model
from voicewright.model.fast.choice import choose
from voicewright.model.fast.convolution import Backend
from voicewright.model.fast.library import return_memory
from voicewright.model.fast.model import FastModel
from voicewright.model.fast.statistics import Carried
from voicewright.model.tts.model import TTSModel
from voicewright.text.frontend import Frontend, Tokens
from voicewright.text.g2p import LANGUAGES
from voicewright.text.markup import FASTEST, SLOWEST
from voicewright.text.vocab import PAD
from voicewright.voices.blend import Mix, Shelf, Term, parse, read_mix
from voicewright.voices.importing import make_ready
from voicewright.voices.pack import Voicepack
from voicewright.voices.sources import refuse_stranger

_KEPT_PACKS = 64
"""Voicepacks kept in memory, half a megabyte each: mixes are without number."""
_WARMING = "ðə kwˈɪk bɹˈWn fˈɑks ʤˈʌmps ˈOvəɹ ɐ lˈAzi dˈɔɡ, ænd ʃˌi sˈɔ ɪt."
"""What a voice says to itself: Kokoro's symbols, of which a model takes those that it has."""


class TorchEngine:
    """Speaks with a model folder (None: the one inside the package) on `device`.

    lexicon: a pronunciation file for the front end. implementation: of the graph on a CPU, one of
    `model.fast.choice.KINDS`, or "plain" for the graph as it is trained. weights: in memory as fp32 ("full")
    or fp16 ("half", computed with in fp32 all the same; for the restructured graph alone). Raises
    VoicewrightError when the model cannot be opened, UsageError for another implementation.
    """

    def __init__(
        self,
        model: Path | str | None = None,
        lexicon: Path | None = None,
        device: str = "cpu",
        implementation: str = "auto",
        weights: str = "full",
    ) -> None:
        self._notes: list[str] = []
        """What is to be known of the model itself; said with the first speech."""
        make_ready(str(model), self._notes.append)
        self.model_path = resolve_model(model)
        self.card = read_card(self.model_path)
        self._files = voice_files(self.model_path)
        self._device = torch.device(device)
        backend: Backend | None = None
        if implementation != "plain" and self._device.type == "cpu":
            backend = choose(implementation, weights)
        halves = backend is not None and backend.stored == "half"
        network, self.config, _ = load_model(self.model_path, None, self._notes.append, False, halves)
        network = network.eval().requires_grad_(False)
        self._model: TTSModel | FastModel
        if backend is None or self.config.voicewright.decoder == "hifigan":
            self._model = network.float().fold().to(self._device)
        else:
            self._model = FastModel(network, backend, consume=True)
            del network
            return_memory()
        self._lexicon = lexicon
        self._frontends: dict[str, Frontend] = {}
        self._packs: dict[Path | Mix, Voicepack] = {}
        self._warmed: dict[int, tuple[Voicepack, Carried]] = {}

    @property
    def name(self) -> str:
        """What the card calls the model, else the name of its folder (of its run, inside a training run)."""
        folder = self.model_path.absolute()
        if folder.parent.name == "snapshots":  # of Hugging Face's cache: models--owner--name/snapshots/hash
            return str(self.card.get("name") or folder.parents[1].name.partition("--")[2].replace("--", "/"))
        folder = folder.resolve()
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

    def warm(self, voice: Voice | None = None, language: str | None = None) -> None:
        """Do now what the first sound of a stream would wait for: a front end read in, and what the voice's
        statistics are like, from a sentence that nobody hears.

        Streams of a warmed voice begin several times sooner; at full width warming takes about a second.
        Raises as `stream`.
        """
        name, pack = self._voice(voice)
        self.frontend(language or self._language(name)).tokens("One.")
        ids = [self.config.vocab[symbol] for symbol in _WARMING if symbol in self.config.vocab]
        if id(pack) in self._warmed or not isinstance(self._model, FastModel) or not ids:
            return
        style = torch.from_numpy(pack.style(len(ids)).copy())[None]
        self._warmed[id(pack)] = pack, self._model.listen(torch.tensor([[PAD, *ids, PAD]]), style)
        while len(self._warmed) > _KEPT_PACKS:
            del self._warmed[next(iter(self._warmed))]

    def speak(
        self,
        text: str,
        voice: Voice | None = None,
        speed: float = 1.0,
        seed: int = 0,
        language: str | None = None,
        markup: bool = True,
        cancel: Cancel | None = None,
    ) -> Speech:
        """The whole text at once; the same arguments give the same samples. Raises as `stream`."""
        parts = self.stream(text, voice, speed, seed, language, early=False, markup=markup, cancel=cancel)
        return join(list(parts), SAMPLE_RATE)

    def stream(
        self,
        text: str,
        voice: Voice | None = None,
        speed: float = 1.0,
        seed: int = 0,
        language: str | None = None,
        early: bool = True,
        markup: bool = True,
        cancel: Cancel | None = None,
    ) -> Iterator[Speech]:
        """Speech piece by piece, times on the clock of the whole; the parts may be concatenated as they are.

        Words come with the piece that they begin in, the record of a chunk with its last piece.

        early: begin with a short chunk (a sentence or clause), and pass on windows of a chunk where the model
        makes such, so that sound comes soon; without it every piece is a chunk, and all of them are `speak`.
        markup: follow inline tags (`text/markup.py`); wrong ones become warnings.
        cancel: an Event, or a function that says whether to stop, asked before every piece.

        Raises UsageError for wrong arguments and empty text, VoicewrightError when the text holds nothing
        that can be spoken, both before the first part; Cancelled when `cancel` says so.
        """
        if not isinstance(speed, int | float) or not SLOWEST <= speed <= FASTEST:
            raise UsageError(f"the speed is {speed}; it must lie between {SLOWEST} and {FASTEST:g}.")
        if not text.strip():
            raise UsageError("there is no text to speak; give some words.")
        chosen = self._voice(voice)
        # A language that nobody reads is told of at once, not in the midst of the text.
        self.frontend(language or self._language(chosen[0]))
        return self._stream(text, chosen, language, float(speed), seed, early, markup, cancel)

    def _stream(
        self,
        text: str,
        chosen: tuple[str, Voicepack],
        language: str | None,
        speed: float,
        seed: int,
        early: bool,
        markup: bool,
        cancel: Cancel | None,
    ) -> Iterator[Speech]:
        def frontend(code: str | None, voice: str | None) -> Frontend:
            return self.frontend(code or language or self._language(voice or chosen[0]))

        done = 0
        heard: dict[int, tuple[Voicepack, Carried]] = {}
        """What voices have sounded like in this stream, so that the same call gives the same samples."""
        pending, self._notes = self._notes, []
        stop_if(cancel)
        for part in plan.parts(text, frontend, self._voice, early, markup):
            stop_if(cancel)
            pending += part.warnings
            if isinstance(part, plan.Rest):
                if done == 0:
                    Tokens("", "", (), (), part.unknown).check("The text")
                silence = np.zeros(round(part.pause * SAMPLE_RATE), np.float32)
                yield Speech(silence, SAMPLE_RATE, (), tuple(pending), done / SAMPLE_RATE)
            else:
                name, pack = chosen if part.voice is None else self._voice(part.voice)
                pace = min(max(speed * part.rate, SLOWEST), FASTEST)
                if pace != speed * part.rate:
                    pending.append(f"A rate of {part.rate:g} at speed {speed:g} is held at {pace:g}.")
                carried = self._known(pack, heard) if early else None
                for speech in self._spoken(part, name, pack, pace, seed, done, carried, cancel):
                    done += len(speech.samples)
                    yield replace(speech, warnings=tuple(pending))
                    pending = []

    def _spoken(
        self,
        part: plan.Part,
        name: str,
        pack: Voicepack,
        speed: float,
        seed: int,
        done: int,
        carried: Carried | None,
        cancel: Cancel | None,
    ) -> Iterator[Speech]:
        """One part, piece by piece; `done` samples of speech came before it."""
        tokens = part.tokens
        durations, pieces = self._synthesise(tokens, pack, speed, seed, carried)
        ends = np.cumsum(durations) * FRAME
        starts, ends = ends[:-2], ends[1:-1]
        after = TAIL if part.last else pause_after(tokens.phonemes, part.paragraph, speed)
        if part.pause is not None:
            # What follows brings a little silence of its own.
            after = max(0.0, part.pause - (0.0 if part.last else LEAD))
        head, tail = int(starts[tokens.words[0].start]), int(ends[tokens.words[-1].stop - 1])
        edges = Edges(int(durations.sum()) * FRAME, head, tail, after, max(0.0, part.before - LEAD))

        def placed(sample: int) -> int:
            """Where a sample of the utterance stands in the whole speech."""
            at = edges.before + max(sample - edges.offset, 0)
            return done + (min(at, edges.length) if edges.finished else at)

        def clock(sample: int) -> float:
            return placed(sample) / SAMPLE_RATE

        told, begin = 0, done
        for audio in pieces:
            if not np.isfinite(audio).all():
                raise VoicewrightError(
                    f"the model gave values that are not numbers for {tokens.text[:40]!r}; the model or the "
                    "voicepack is damaged."
                )
            samples = edges.feed(audio)
            if len(samples) or edges.finished:
                so_far = done + edges.length
                words: list[WordTime] = []
                while told < len(tokens.words):
                    word = tokens.words[told]
                    start, stop = int(starts[word.start]), int(ends[word.stop - 1])
                    if placed(start) >= so_far and not edges.finished:
                        break
                    words.append(WordTime(word.text, clock(start), clock(stop)))
                    told += 1
                chunks: tuple[Chunk, ...] = ()
                if edges.finished:
                    chunks = (_record(part, name, starts, ends, clock, done, done + edges.length),)
                yield Speech(samples, SAMPLE_RATE, chunks, (), begin / SAMPLE_RATE, tuple(words))
                begin = so_far
            stop_if(cancel)
        if not edges.finished:
            raise VoicewrightError(f"the model stopped in the midst of {tokens.text[:40]!r}; report this.")

    def _known(self, pack: Voicepack, heard: dict[int, tuple[Voicepack, Carried]]) -> Carried:
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

    def _voice(self, voice: Voice | None) -> tuple[str, Voicepack]:
        """Its label and rows. A string is a name of this model or a mix of names, never a file."""
        if isinstance(voice, Voicepack):
            return "custom", voice
        if isinstance(voice, Path):
            return voice.stem, self._pack(voice, lambda: self._foreign(str(voice), Voicepack.read(voice)))
        if isinstance(voice, Mix):
            mix = voice
        else:
            words = voice if voice is not None else self.default_voice
            mix = parse(words, self._shelf())

        def check(term: Term, pack: Voicepack) -> None:
            if term.path not in self._files.values():  # one voice among others is as foreign as alone
                self._foreign(term.name, pack)

        return mix.name, self._pack(mix, lambda: read_mix(mix, check))

    def _shelf(self) -> Shelf:
        """The names that a string may use."""
        return Shelf(self._files, owner=self.name)

    def _foreign(self, words: str, pack: Voicepack) -> Voicepack:
        """The pack from elsewhere. Raises VoicewrightError where it is plainly not for this model."""
        refuse_stranger(words, pack, self.name, self._files.values())
        return pack

    def _pack(self, key: Path | Mix, read: Callable[[], Voicepack]) -> Voicepack:
        """Read once and kept, as long as it is among the last that were asked for."""
        pack = self._packs.pop(key, None) or read()
        self._packs[key] = pack
        while len(self._packs) > _KEPT_PACKS:
            del self._packs[next(iter(self._packs))]
        return pack

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


def _record(
    part: plan.Part,
    name: str,
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    clock: Callable[[int], float],
    begin: int,
    end: int,
) -> Chunk:
    """The record of a part, samples [begin, end); starts and ends of its tokens by the model's clock."""
    tokens = part.tokens
    times = tuple(
        TokenTime(symbol, clock(start), clock(stop))
        for symbol, start, stop in zip(tokens.phonemes, starts.tolist(), ends.tolist(), strict=True)
    )
    words = tuple(
        WordTime(word.text, times[word.start].start, times[word.stop - 1].end) for word in tokens.words
    )
    return Chunk(
        tokens.text,
        tokens.phonemes,
        name,
        times,
        words,
        begin / SAMPLE_RATE,
        end / SAMPLE_RATE,
        part.place,
    )
