"""What every engine of ours does with a text: parts, voices, languages, joins and times; not the network."""

from __future__ import annotations

import hashlib
import re
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voicewright.catalogue.places import RUN_FOLDERS, read_card, voice_files
from voicewright.engines import plan
from voicewright.engines.clock import Clock
from voicewright.engines.clock import clock as clock_of
from voicewright.engines.joins import LEAD, TAIL, Edges, pause_after
from voicewright.engines.protocol import Chunk, SpeakOptions, Speaks, Speech, TokenTime, Voice, WordTime
from voicewright.errors import UsageError, VoicewrightError
from voicewright.model.config import ModelConfig
from voicewright.stopping import Cancel, stop_if
from voicewright.text.frontend import Frontend, Tokens
from voicewright.text.g2p import LANGUAGES
from voicewright.text.markup import FASTEST, SLOWEST
from voicewright.units import FRAME, SAMPLE_RATE
from voicewright.voices.blend import Mix, Shelf, Term, parse, read_mix
from voicewright.voices.pack import Voicepack
from voicewright.voices.sources import refuse_stranger

KEPT_PACKS = 64
"""Voicepacks kept in memory, half a megabyte each: mixes are without number."""
WARMING = "ðə kwˈɪk bɹˈWn fˈɑks ʤˈʌmps ˈOvəɹ ɐ lˈAzi dˈɔɡ, ænd ʃˌi sˈɔ ɪt."
"""What a voice says to itself: Kokoro's symbols, of which a model takes those that it has."""

Heard = dict[int, tuple[Voicepack, Any]]
"""What is known of the voices of one stream, by the pack's id; the pack is kept beside it, so that no other
gets its number."""


class Speaking(Speaks):
    """Text and a voicepack through a network, which `_synthesise` stands for."""

    config: ModelConfig
    sample_rate = SAMPLE_RATE

    def __init__(self, model_path: Path, lexicon: Path | None, notes: list[str]) -> None:
        """model_path: a folder or weights file that exists. notes: said with the first speech."""
        self._notes = notes
        self.model_path = model_path
        self.card: dict[str, object] = read_card(model_path)
        self._files = voice_files(model_path)
        self._lexicon = lexicon
        self._frontends: dict[str, Frontend] = {}
        self._packs: dict[Path | Mix, Voicepack] = {}

    @abstractmethod
    def warm(self, voice: Voice | None = None, language: str | None = None) -> None:
        """Do now what the first sound of a stream would wait for. Raises as `stream`."""

    @abstractmethod
    def _known(self, pack: Voicepack, heard: Heard) -> Any:
        """What is known of a voice in a stream: from warming, then from what the stream has said so far."""

    @abstractmethod
    def _synthesise(
        self, tokens: Tokens, pack: Voicepack, speed: float, seed: int, carried: Any
    ) -> tuple[NDArray[np.int64], Iterable[NDArray[np.float32]]]:
        """Durations int64 [T] with both pads, and the pieces whose concatenation is the utterance [600F].

        carried: what is known of the voice; with it, pieces come as soon as they are made, from a model that
        makes such. None asks for the utterance in one piece.
        """

    _timed_by_ear = False
    """Are durations taken from the sound, not the model's own?"""

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

    def parts(self, text: str, options: SpeakOptions, cancel: Cancel | None = None) -> Iterator[Speech]:
        """See `Engine.parts`; early pieces are windows of a chunk where the model makes such."""
        if not text.strip():
            raise UsageError("there is no text to speak; give some words.")
        chosen = self._voice(options.voice)
        # A language that nobody reads is told of at once, not in the midst of the text.
        self.frontend(options.language or self._language(chosen[0]))
        return self._stream(text, chosen, options, cancel)

    def _stream(
        self, text: str, chosen: tuple[str, Voicepack], options: SpeakOptions, cancel: Cancel | None
    ) -> Iterator[Speech]:
        speed = float(options.speed)

        def frontend(code: str | None, voice: str | None) -> Frontend:
            return self.frontend(code or options.language or self._language(voice or chosen[0]))

        done = 0
        heard: Heard = {}
        """What voices have sounded like in this stream, so that the same call gives the same samples."""
        pending, self._notes = self._notes, []
        stop_if(cancel)
        for part in plan.parts(text, frontend, self._voice, options.early, options.markup):
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
                carried = self._known(pack, heard) if options.early else None
                for speech in self._spoken(part, name, pack, pace, options.seed, done, carried, cancel):
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
        carried: Any,
        cancel: Cancel | None,
    ) -> Iterator[Speech]:
        """One part, piece by piece; `done` samples of speech came before it."""
        tokens = part.tokens
        durations, pieces = self._synthesise(tokens, pack, speed, seed, carried)
        ends = np.cumsum(durations) * FRAME
        starts, ends = ends[:-2], ends[1:-1]
        times = clock_of(tokens, durations, speed, self._timed_by_ear)
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
                    start, stop = int(times.word_starts[told]), int(times.word_ends[told])
                    if placed(start) >= so_far and not edges.finished:
                        break
                    words.append(WordTime(word.text, clock(start), clock(stop)))
                    told += 1
                chunks: tuple[Chunk, ...] = ()
                if edges.finished:
                    chunks = (_record(part, name, times, clock, done, done + edges.length),)
                yield Speech(samples, SAMPLE_RATE, chunks, (), begin / SAMPLE_RATE, tuple(words))
                begin = so_far
            stop_if(cancel)
        if not edges.finished:
            raise VoicewrightError(f"the model stopped in the midst of {tokens.text[:40]!r}; report this.")

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
            if not self._is_own(term.path):  # one voice among others is as foreign as alone
                self._foreign(term.name, pack)

        return mix.name, self._pack(mix, lambda: read_mix(mix, check))

    def _shelf(self) -> Shelf:
        """The names that a string may use."""
        return Shelf(self._files, owner=self.name)

    def _is_own(self, path: Path) -> bool:
        """Does the file belong to the model?"""
        return path in self._files.values()

    def _foreign(self, words: str, pack: Voicepack) -> Voicepack:
        """The pack from elsewhere. Raises VoicewrightError where it is plainly not for this model."""
        refuse_stranger(words, pack, self.name, self._files.values())
        return pack

    def _pack(self, key: Path | Mix, read: Callable[[], Voicepack]) -> Voicepack:
        """Read once and kept, as long as it is among the last that were asked for."""
        pack = self._packs.pop(key, None) or read()
        self._packs[key] = pack
        while len(self._packs) > KEPT_PACKS:
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


def seed_of(seed: int, phonemes: str) -> int:
    """By what is said, so that a chunk sounds the same wherever it stands."""
    digest = hashlib.sha256(f"{seed} {phonemes}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def _record(
    part: plan.Part,
    name: str,
    heard: Clock,
    clock: Callable[[int], float],
    begin: int,
    end: int,
) -> Chunk:
    """The record of a part, samples [begin, end); starts and ends of its tokens by the model's clock."""
    tokens = part.tokens
    times = tuple(
        TokenTime(symbol, clock(start), clock(stop))
        for symbol, start, stop in zip(
            tokens.phonemes, heard.starts.tolist(), heard.ends.tolist(), strict=True
        )
    )
    words = tuple(
        WordTime(word.text, clock(start), clock(stop))
        for word, start, stop in zip(
            tokens.words, heard.word_starts.tolist(), heard.word_ends.tolist(), strict=True
        )
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
