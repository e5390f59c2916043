"""Times of words from durations: by the convention a model was taught, in order, heard where they say."""

from __future__ import annotations

import numpy as np
import pytest

from voicewright.catalogue.packaged import KOKORO as PACKAGED
from voicewright.catalogue.packaged import installed, packaged_path
from voicewright.engines.clock import clock, lags
from voicewright.engines.torch_engine import TorchEngine
from voicewright.text.frontend import Tokens, Word
from voicewright.units import FRAME, SAMPLE_RATE
from voicewright.voices.pack import Voicepack

TEXT = "Sam saw the sea, and sang."
FLOOR_DB = -38.0


def said(phonemes: str = "wˈʌn tˈu, θɹˈi.") -> Tokens:
    words, at = [], 0
    for part in phonemes.split(" "):
        bare = part.rstrip(",.")
        words.append(Word(bare, at, at + len(bare)))
        at += len(part) + 1
    return Tokens(phonemes, phonemes, tuple(range(1, len(phonemes) + 1)), tuple(words), ())


def test_durations_of_our_aligner_are_taken_as_they_are() -> None:
    tokens = said()
    durations = np.array([9, *([2] * len(tokens.phonemes)), 7])
    assert not lags(durations, 1.0) and not lags(durations // 2, 2.0)
    times = clock(tokens, durations)
    edges = np.cumsum(durations) * FRAME
    assert np.array_equal(times.starts, edges[:-2]) and np.array_equal(times.ends, edges[1:-1])
    assert times.word_starts.tolist() == [edges[word.start] for word in tokens.words]
    assert times.word_ends.tolist() == [edges[word.stop] for word in tokens.words]


def test_durations_that_attention_taught() -> None:
    tokens = said()  # w ˈ ʌ n ␣ t ˈ u , ␣ θ ɹ ˈ i .
    durations = np.array([13, 1, 2, 2, 2, 2, 2, 3, 6, 2, 2, 2, 2, 3, 12, 6, 1])
    assert lags(durations, 1.0)
    times = clock(tokens, durations)
    frames = [int(number) // FRAME for number in (*times.word_starts, *times.word_ends)]
    # Two frames earlier, spaces halved; the last sound before a mark ends two frames after its nominal start.
    assert frames == [11, 19, 35, 19, 29, 46]
    # What is left of that sound is the mark's silence.
    assert times.ends[7] == times.starts[8] == 29 * FRAME and times.ends[8] == 33 * FRAME
    same = clock(tokens, durations, exact=True)
    assert same.word_starts[0] == 13 * FRAME


@pytest.mark.parametrize("speed", [0.5, 0.8, 1.0, 1.7, 2.0])
def test_times_stay_in_order_whatever_the_durations(speed: float) -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        tokens = said(" ".join(rng.choice(["ə", "ðə", "sˈi,", "kˈæt.", "ɪt"], 6)))
        durations = np.maximum(rng.integers(0, 9, len(tokens.phonemes) + 2), 1)
        durations[-1] = 1
        times = clock(tokens, durations, speed)
        assert (times.ends >= times.starts).all() and (times.starts[1:] >= times.ends[:-1]).all()
        assert (times.word_ends >= times.word_starts).all() and times.word_starts[0] >= 0
        assert (times.word_starts[1:] >= times.word_ends[:-1]).all()
        assert times.word_ends[-1] <= durations.sum() * FRAME


def test_a_text_without_words_has_times() -> None:
    tokens = Tokens("…", "…", (5,), (), ())
    assert clock(tokens, np.array([4, 3, 1])).word_starts.shape == (0,)


def _edges(engine: TorchEngine, voice: object, language: str) -> tuple[float, float]:
    """Seconds from where sound is heard to where the first word begins, and to where the last one ends."""
    speech = engine.speak(TEXT, voice, language=language)  # type: ignore[arg-type]
    count = len(speech.samples) // 120
    level = np.sqrt(np.square(speech.samples[: count * 120].reshape(-1, 120)).mean(1))
    loud = np.flatnonzero(level > level.max() * 10 ** (FLOOR_DB / 20))
    words = speech.chunks[0].words
    return (
        words[0].start - loud[0] * 120 / SAMPLE_RATE,
        words[-1].end - (loud[-1] + 1) * 120 / SAMPLE_RATE,
    )


def test_the_embedded_voice_is_heard_where_its_words_are() -> None:
    first, last = _edges(TorchEngine("tiny"), None, "en-us")
    assert abs(first) < 0.05 and abs(last) < 0.05


@pytest.mark.skipif(not installed(PACKAGED), reason="the extra kokoro is not installed")
def test_kokoro_is_heard_where_its_words_are(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own durations say the first word 30 to 90 ms late, and the last one's end 240 to 400 ms late."""
    from voicewright.voices.importing import imported_folder, make_ready

    if not (imported_folder("kokoro") / "model.safetensors").is_file():
        monkeypatch.setenv("VOICEWRIGHT_CACHE", str(tmp_path_factory.mktemp("cache")))
    make_ready("kokoro", lambda _: None)
    bundle = packaged_path(*(PACKAGED.voices or ("", "")))
    assert bundle is not None
    with np.load(bundle) as packs:
        pack = Voicepack.of(packs["jf_alpha"])
    first, last = _edges(TorchEngine("kokoro"), pack, "en-us")
    assert abs(first) < 0.06 and abs(last) < 0.09
