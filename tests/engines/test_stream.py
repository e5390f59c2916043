"""Streams: pieces of any size give the same speech, tags are followed, times are those of the sound."""

from __future__ import annotations

import itertools
import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from test_engine_models import write_small_model

from voicewright.audio.limit import CEILING, limit
from voicewright.engines.joins import LEAD, Edges, trim
from voicewright.engines.protocol import Speech, join
from voicewright.engines.timestamps import render
from voicewright.engines.torch_engine import TorchEngine
from voicewright.errors import Cancelled, UsageError, VoicewrightError
from voicewright.model.fast.statistics import Carried
from voicewright.model.tts.model import TTSModel, Utterance
from voicewright.text.frontend import Frontend, Tokens, Word
from voicewright.units import FRAME, SAMPLE_RATE
from voicewright.voices.pack import Voicepack

TEXT = (
    "The kettle sang on the stove. Outside, the rain kept falling on the empty street, and nobody came. "
    "Would you have gone?\n\nWe would not."
)
Samples = NDArray[np.float32]


class Windowed(TorchEngine):
    """The small model, whose utterances come in pieces of `size` samples, made when they are asked for."""

    size = 6000
    pulled = 0
    gain = 1.0

    def _synthesise(
        self, tokens: Tokens, pack: Voicepack, speed: float, seed: int, carried: Carried | None
    ) -> tuple[NDArray[np.int64], Iterable[Samples]]:
        durations, pieces = super()._synthesise(tokens, pack, speed, seed, carried)
        whole = np.concatenate(list(pieces)) * np.float32(self.gain)

        def windows() -> Iterator[Samples]:
            for start in range(0, len(whole), self.size):
                self.pulled += 1
                yield whole[start : start + self.size]

        return durations, windows()


class Beeping(Windowed):
    """Every word is a tone exactly as long as its tokens, everything else is silence."""

    def _synthesise(
        self, tokens: Tokens, pack: Voicepack, speed: float, seed: int, carried: Carried | None
    ) -> tuple[NDArray[np.int64], Iterable[Samples]]:
        spoken = np.full(len(tokens.ids), max(1, round(4 / speed)))
        for symbol in (" ", ",", "."):
            spoken[[at for at, sound in enumerate(tokens.phonemes) if sound == symbol]] = 6
        durations = np.concatenate([[12], spoken, [14]]).astype(np.int64)
        ends = np.cumsum(durations) * FRAME
        whole = np.zeros(int(ends[-1]), np.float32)
        for word in tokens.words:
            start, stop = int(ends[word.start]), int(ends[word.stop])
            whole[start:stop] = 0.5 * np.sin(np.arange(stop - start) * 0.2)
        return durations, [whole[at : at + self.size] for at in range(0, len(whole), self.size)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_model(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture
def windowed(folder: Path) -> Windowed:
    return Windowed(folder)


@pytest.fixture
def beeping(folder: Path) -> Beeping:
    return Beeping(folder)


@pytest.mark.parametrize("gain", [1.0, 40.0])
def test_pieces_of_any_size_give_the_same_speech(windowed: Windowed, folder: Path, gain: float) -> None:
    windowed.gain = gain
    text = "[pause:300ms]" + TEXT + " [rate:1.4]And [voice:basso]faster.[/voice][/rate] [pause:2s]"
    windowed.size = 10**9
    whole = windowed.speak(text)
    loudest = np.abs(whole.samples).max()
    assert loudest <= CEILING + 1e-6 and (gain == 1.0 or loudest > 0.9)
    for size in (12_000, 6_000, 1_237):
        windowed.size = size
        parts = list(windowed.stream(text, early=False))
        assert len(parts) > len(whole.chunks)
        joined = join(parts, SAMPLE_RATE)
        assert np.array_equal(joined.samples, whole.samples)
        assert joined.chunks == whole.chunks and joined.words == whole.words
        assert joined.words == tuple(word for chunk in joined.chunks for word in chunk.words)
        starts = np.cumsum([0.0, *(part.seconds for part in parts[:-1])])
        assert [part.start for part in parts] == pytest.approx(starts.tolist())
        for part in parts:
            inside = [-1e-6 <= word.start - part.start < part.seconds + 1e-6 for word in part.words]
            assert all(inside)


class WindowsOfTheModel:
    """A model that gives its utterances in windows, as `speak_windows` promises."""

    def __init__(self, model: TTSModel) -> None:
        self.speak = model.speak
        self.made = 0

    def speak_windows(
        self, tokens: torch.Tensor, style: torch.Tensor, speed: float, generator: torch.Generator
    ) -> tuple[Utterance, Iterator[torch.Tensor]]:
        spoken = self.speak(tokens, style, speed, generator)

        def windows() -> Iterator[torch.Tensor]:
            for piece in spoken.audio.split(5000):
                self.made += 1
                yield piece

        return spoken, windows()


def test_windows_of_the_model_are_passed_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = TorchEngine(folder)
    whole = engine.speak(TEXT)
    model = WindowsOfTheModel(engine._model)
    monkeypatch.setattr(engine, "_model", model)
    parts = engine.stream(TEXT)
    next(parts)
    assert 0 < model.made < 4
    joined = join([*parts], SAMPLE_RATE)
    assert len(joined.chunks) >= len(whole.chunks)
    made = model.made
    assert np.array_equal(engine.speak(TEXT).samples, whole.samples) and model.made == made


def test_a_warmed_voice_begins_sooner_and_says_the_same(folder: Path) -> None:
    text = "A sentence that is long enough for windows, " * 3 + "at least for some of them. And another one."
    cold, warm = TorchEngine(folder), TorchEngine(folder)
    warm.warm()
    first, again, warmed = (list(engine.stream(text)) for engine in (cold, cold, warm))
    assert len(first) > 2
    # what a stream learns of a voice is its own: the same call gives the same samples
    for one, other in zip(first, again, strict=True):
        assert np.array_equal(one.samples, other.samples)
    assert np.array_equal(
        join(list(warm.stream(text)), SAMPLE_RATE).samples, join(warmed, SAMPLE_RATE).samples
    )
    assert len(warmed[0].samples) < len(first[0].samples)
    whole, joined = cold.speak(text), join(warmed, SAMPLE_RATE)
    assert [word.text for word in joined.words] == [word.text for word in whole.words]
    with pytest.raises(UsageError):
        warm.warm("nobody")


def test_one_piece_is_what_the_plain_engine_gives(windowed: Windowed, folder: Path) -> None:
    assert np.array_equal(windowed.speak(TEXT).samples, TorchEngine(folder).speak(TEXT).samples)


def test_sound_comes_before_the_second_half_is_made(windowed: Windowed) -> None:
    windowed.size = 3000
    parts = windowed.stream("A sentence that the model needs a while for.")
    first = next(parts)
    early = windowed.pulled
    assert first.words[0].text == "A" and not first.chunks
    rest = list(parts)
    assert early * 3 < windowed.pulled
    assert [bool(part.chunks) for part in rest] == [False] * (len(rest) - 1) + [True]


@pytest.mark.parametrize("sizes", [[100_000], [1], [240], [7, 977, 15_000]])
def test_edges_of_pieces(sizes: list[int]) -> None:
    rng = np.random.default_rng(1)
    whole = np.concatenate(
        [level * rng.standard_normal(n) for level, n in ((1e-4, 9000), (0.6, 9123), (1e-4, 7777))]
    )
    whole = whole.astype(np.float32)
    reference = limit(trim(whole, 9600, 17_000, 0.2).samples)
    edges = Edges(len(whole), 9600, 17_000, 0.2)
    out, at = [], 0
    for size in itertools.cycle(sizes):
        out.append(edges.feed(whole[at : at + size]))
        at += size
        if at >= len(whole):
            break
    made = np.concatenate(out)
    assert edges.finished and edges.length == len(made)
    assert len(made) == len(reference) and np.abs(made - reference).max() < 1e-6
    assert edges.offset == trim(whole, 9600, 17_000, 0.2).offset
    with pytest.raises(ValueError, match="announced"):
        edges.feed(whole[:1])


def onsets(samples: Samples) -> list[tuple[float, float]]:
    """Seconds in which sound begins and ends, to about 2 ms."""
    window = 48
    loud = np.abs(samples[: len(samples) // window * window]).reshape(-1, window).max(1) > 0.02
    edges = np.flatnonzero(np.diff(np.concatenate([[0], loud.astype(int), [0]])))
    return [(a * window / SAMPLE_RATE, b * window / SAMPLE_RATE) for a, b in edges.reshape(-1, 2)]


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        "One two. [pause:1.5s]Three [rate:2]four five[/rate] six, [voice:basso]seven[/voice] eight.",
        "[pause:700ms][rate:0.5]Slow words[/rate] [lang:en-gb]in London[/lang] and here [pause:1s]",
    ],
)
@pytest.mark.parametrize("size", [4_000, 10**9])
def test_word_times_are_those_of_the_sound(beeping: Beeping, text: str, size: int) -> None:
    beeping.size = size
    speech = beeping.speak(text)
    found = onsets(speech.samples)
    words = [word for chunk in speech.chunks for word in chunk.words]
    assert len(words) == len(found) > 5
    for word, (start, end) in zip(words, found, strict=True):
        assert word.start == pytest.approx(start, abs=0.015) and word.end == pytest.approx(end, abs=0.015)
    clock = 0.0
    for chunk in speech.chunks:
        for token in chunk.tokens:
            assert clock - 1e-9 <= token.start <= token.end <= chunk.end + 1e-9
            clock = token.end
    assert clock <= speech.seconds


def test_pauses_are_as_long_as_asked_for(beeping: Beeping) -> None:
    found = onsets(beeping.speak("One. [pause:1.5s]Two [pause:250ms] three. [pause:2s]").samples)
    gaps = [b[0] - a[1] for a, b in itertools.pairwise(found)]
    assert gaps == pytest.approx([1.5, 0.25], abs=0.03)
    speech = beeping.speak("[pause:1s][pause:1s]One.[pause:2s]")
    ((start, end),) = onsets(speech.samples)
    assert start == pytest.approx(2.0, abs=0.03) and speech.seconds - end == pytest.approx(2.0, abs=0.03)
    fast = onsets(beeping.speak("One. [pause:1.5s]Two.", speed=2.0).samples)
    assert fast[1][0] - fast[0][1] == pytest.approx(1.5, abs=0.03)


def test_rates_multiply_the_speed_and_are_held_in_range(beeping: Beeping) -> None:
    def seconds(text: str, speed: float = 1.0) -> float:
        (word,) = beeping.speak(text, speed=speed).words
        return word.end - word.start

    normal = seconds("wonderful")
    assert seconds("[rate:2]wonderful") == pytest.approx(normal / 2)
    assert seconds("[rate:2]wonderful", speed=0.5) == pytest.approx(normal)
    assert seconds("[rate:2]wonderful", speed=4.0) == pytest.approx(seconds("wonderful", speed=4.0))
    held = beeping.speak("[rate:2]wonderful", speed=4.0)
    assert len(held.warnings) == 1 and "held at 4" in held.warnings[0]


def test_voices_change_and_come_back(windowed: Windowed) -> None:
    speech = windowed.speak("Good day, [voice:basso]said the king[/voice] and left.")
    assert [chunk.voice for chunk in speech.chunks] == ["alto", "basso", "alto"]
    text = "Good day, [voice:basso]said the king[/voice] and left."
    assert [text[c.place :].split()[0] for c in speech.chunks] == ["Good", "said", "and"]


def test_a_language_inside_a_sentence_stays_one_utterance(windowed: Windowed) -> None:
    speech = windowed.speak("They say [lang:en-gb]tomato[/lang] with a tomato.")
    (chunk,) = speech.chunks
    assert chunk.text == "They say tomato with a tomato."
    said = [chunk.phonemes[w.start : w.stop] for w in _words(chunk)]
    assert said[2] == windowed.frontend("en-gb").tokens("tomato").phonemes
    assert said[5] == windowed.frontend("en-us").tokens("tomato").phonemes != said[2]
    ends = [token.end for token in chunk.tokens]
    assert ends == sorted(ends)


class _Span:
    def __init__(self, start: int, stop: int) -> None:
        self.start, self.stop = start, stop


def _words(chunk: object) -> list[_Span]:
    phonemes = chunk.phonemes  # type: ignore[attr-defined]
    spans, start = [], 0
    for part in phonemes.rstrip(".").split(" "):
        spans.append(_Span(start, start + len(part)))
        start += len(part) + 1
    return spans


def test_a_new_sentence_or_paragraph_is_not_joined(windowed: Windowed) -> None:
    assert len(windowed.speak("One. [lang:en-gb]Two.[/lang] Three.").chunks) == 3
    assert len(windowed.speak("One\n\n[lang:en-gb]two[/lang]\n\nthree").chunks) == 3
    together = windowed.speak("One\n\n[lang:en-gb]two[/lang]").seconds
    assert together > windowed.speak("One[pause:50ms][lang:en-gb]two[/lang]").seconds


def test_wrong_tags_are_reported_and_not_spoken(windowed: Windowed) -> None:
    speech = windowed.speak("Good [voice:soprano]day[/voice],\nmy [lang:tlh]friend[/lang] [rate:x]there.")
    assert [word.text for word in speech.words] == ["Good", "day", "my", "friend", "there"]
    assert {chunk.voice for chunk in speech.chunks} == {"alto"}
    voice, tongue, rate = speech.warnings
    assert voice.startswith("Line 1, column 6: [voice:soprano]") and "alto, basso" in voice
    assert tongue.startswith("Line 2, column 4: [lang:tlh]")
    assert rate.startswith("Line 2, column 28: [rate:x]")


def test_a_voice_whose_language_nobody_reads_is_reported(
    windowed: Windowed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windowed, "_language", lambda voice: "tlh" if voice == "basso" else "en-us")
    speech = windowed.speak("Good [voice:basso]day[/voice].")
    assert {chunk.voice for chunk in speech.chunks} == {"alto"}
    assert len(speech.warnings) == 1 and "[voice:basso]" in speech.warnings[0] and "tlh" in speech.warnings[0]


def test_markup_can_be_switched_off(windowed: Windowed) -> None:
    words = [word.text for word in windowed.speak("Say [pause:3s] now.", markup=False).words]
    assert words[0] == "Say" and "pause" in words and words[-1] == "now"
    assert windowed.speak("Say [pause:3s] now.", markup=False).seconds < 4


def test_inline_phonemes_are_still_read(windowed: Windowed) -> None:
    (chunk,) = windowed.speak("[Kokoro](/kˈOkəɹO/) speaks.").chunks
    assert chunk.phonemes.startswith("kˈOkəɹO ") and chunk.words[0].text.strip("[]()/") != ""


@pytest.mark.parametrize("text", ["[pause:1s]", "[rate:2][/rate]", "[voice:basso] … [/voice]", "[foo:bar]"])
def test_nothing_but_tags_is_nothing_to_speak(windowed: Windowed, text: str) -> None:
    with pytest.raises(VoicewrightError, match="nothing to speak"):
        windowed.speak(text)


def test_cancelling_takes_one_piece(windowed: Windowed) -> None:
    windowed.size = 2000
    stop = threading.Event()
    parts = windowed.stream(TEXT, cancel=stop)
    next(parts)
    made = windowed.pulled
    stop.set()
    with pytest.raises(Cancelled):
        next(parts)
    assert windowed.pulled <= made + 1
    with pytest.raises(Cancelled):
        windowed.speak(TEXT, cancel=lambda: True)
    asked = iter([False] * 5)
    with pytest.raises(Cancelled):
        windowed.speak(TEXT, cancel=lambda: next(asked, True))
    assert windowed.speak("Hello.", cancel=threading.Event()).seconds > 0


@pytest.mark.parametrize("unit", ["The road went down to the river. ", "word ", "a\n", "Héllo ", "日本語 "])
def test_a_megabyte_starts_at_once(windowed: Windowed, unit: str) -> None:
    text = "Hello. " + unit * (1_000_000 // len(unit))
    windowed.speak("Warm.")
    began = time.process_time()
    first = next(windowed.stream(text))
    assert first.words[0].text == "Hello"
    assert time.process_time() - began < 5.0


class Unspaced(Frontend):
    """A language whose words stand without spaces: every two letters are a word, every letter a sound."""

    def chunks(self, text: str, limit: int = 510) -> list[Tokens]:
        out = []
        for sentence in re.findall(r"[^。]+。?", text):
            phonemes = "".join("aeiou"[ord(c) % 5] if c != "。" else "." for c in sentence)
            size = len(sentence.rstrip("。"))
            words = tuple(
                Word(sentence[at : min(at + 2, size)], at, min(at + 2, size)) for at in range(0, size, 2)
            )
            out.append(Tokens(sentence, phonemes, tuple(self.ids(phonemes)), words, ()))
        return out


def test_words_without_spaces_have_their_times(beeping: Beeping) -> None:
    beeping._frontends["ja"] = Unspaced()
    text = "吾輩は猫である。名前はまだ無い。"
    speech = beeping.speak(f"She said: [lang:ja]{text}[/lang] And left.")
    japanese = [word for word in speech.words if not word.text.isascii()]
    assert "".join(word.text for word in japanese) == text.replace("。", "")
    clock = 0.0
    for word in speech.words:
        assert clock - 1e-9 <= word.start < word.end <= speech.seconds
        clock = word.end
    srt = render(speech, ".srt")
    assert "She said: 吾輩は猫である。" in srt and "名前はまだ無い。" in srt
    assert render(speech, ".json").count("吾輩") >= 1 and json.loads(render(speech, ".json"))["chunks"]


def test_what_ends_in_nothing_still_pauses(beeping: Beeping) -> None:
    ((_, end),) = onsets((speech := beeping.speak("One. " + "\U0001f680 " * 3000 + "[pause:2s]")).samples)
    assert speech.seconds - end > 2.0 and speech.warnings
    found = onsets(beeping.speak("One. [pause:1s]" + "\U0001f680 " * 3000 + "[pause:2s] Two.").samples)
    assert found[1][0] - found[0][1] == pytest.approx(3.0, abs=0.4)


def test_a_model_that_stops_early_is_reported(windowed: Windowed, monkeypatch: pytest.MonkeyPatch) -> None:
    whole: Callable[..., tuple[NDArray[np.int64], Iterable[Samples]]] = windowed._synthesise

    def cut(*arguments: object) -> tuple[NDArray[np.int64], Iterable[Samples]]:
        durations, pieces = whole(*arguments)
        return durations, list(pieces)[:-1]

    monkeypatch.setattr(windowed, "_synthesise", cut)
    with pytest.raises(VoicewrightError, match="in the midst"):
        windowed.speak(TEXT)


def test_a_damaged_pack_is_reported_by_name(windowed: Windowed, tmp_path: Path) -> None:
    rows = np.zeros((510, 1, 256), np.float32)
    rows[7, 0, 3] = np.nan
    path = tmp_path / "bad.npy"
    np.save(path, rows)
    with pytest.raises(VoicewrightError, match="NaN"):
        windowed.speak("Hello.", voice=path)
    with pytest.raises(UsageError):
        windowed.stream("Hello.", speed=0)


def test_streams_are_clocked_from_one_to_the_next(windowed: Windowed) -> None:
    clock = 0.0
    for part in windowed.stream(TEXT + " [pause:1s] " + TEXT):
        assert isinstance(part, Speech) and part.start == pytest.approx(clock)
        clock += part.seconds
    assert LEAD > 0
