"""Speaking: reproducibility, joins, times, voices, refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_engine_models import write_small_model

from voicewright.audio.limit import CEILING, limit
from voicewright.catalogue.places import embedded_model, list_models, resolve_model
from voicewright.engines.joins import LEAD, TAIL, fade, pause_after, trim
from voicewright.engines.plan import COMFORT, EARLY, blocks
from voicewright.engines.protocol import Speech, join
from voicewright.engines.torch_engine import TorchEngine
from voicewright.errors import UsageError, VoicewrightError
from voicewright.units import FRAME, SAMPLE_RATE
from voicewright.voices.pack import Voicepack

LONG = (
    "The road went down to the river, and the river went down to the sea. "
    "Nobody in the village could say who had built the bridge, or when; it had always been there! "
    "Would you walk across it at night? I would not, and neither would my brother, who fears nothing.\n\n"
    "In spring the water rises. The old people carry their chairs to the bank and watch it come, "
    "and they talk about other springs, higher water, and the year when the mill was washed away."
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_model(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture(scope="module")
def engine(folder: Path) -> TorchEngine:
    return TorchEngine(folder)


@pytest.fixture(scope="module")
def long(engine: TorchEngine) -> Speech:
    return engine.speak(LONG)


def test_same_arguments_same_samples(engine: TorchEngine) -> None:
    first = engine.speak("A small boat.", seed=3)
    assert np.array_equal(first.samples, engine.speak("A small boat.", seed=3).samples)
    assert not np.array_equal(first.samples, engine.speak("A small boat.", seed=4).samples)
    other = engine.speak("A small boat.", voice="basso", seed=3)
    assert other.chunks[0].voice == "basso" and first.chunks[0].voice == "alto"
    assert len(other.samples) != len(first.samples) or not np.array_equal(other.samples, first.samples)


def test_long_text_is_chunked_and_complete(engine: TorchEngine, long: Speech) -> None:
    assert len(long.chunks) > 2
    assert max(len(chunk.phonemes) for chunk in long.chunks) <= COMFORT
    spoken = [word.text for chunk in long.chunks for word in chunk.words]
    assert spoken == [word.text for word in engine.frontend("en-us").tokens(LONG).words]
    assert " ".join("".join(chunk.text for chunk in long.chunks).split()).count("bridge") == 1


def test_chunks_follow_one_another_without_gap_or_click(long: Speech) -> None:
    joins = [round(chunk.end * SAMPLE_RATE) for chunk in long.chunks]
    assert joins[-1] == len(long.samples)
    steps = np.abs(np.diff(long.samples))
    for number, at in enumerate(joins[:-1]):
        assert round(long.chunks[number + 1].start * SAMPLE_RATE) == at
        # The fades meet at nothing: no step at the join, and small ones within a millisecond of it.
        assert steps[at - 1] == 0
        assert steps[at - 24 : at + 24].max() <= 0.3 * steps.max()
    assert abs(long.samples[0]) < 1e-6 and abs(long.samples[-1]) < 1e-3


def test_times_rise_and_lie_inside_the_audio(long: Speech) -> None:
    clock = 0.0
    for chunk in long.chunks:
        assert "".join(token.symbol for token in chunk.tokens) == chunk.phonemes
        assert chunk.start == pytest.approx(clock, abs=1e-6)
        at = chunk.start
        for token in chunk.tokens:
            assert at - 1e-9 <= token.start <= token.end <= chunk.end + 1e-9
            at = token.end
        assert all(word.end > word.start for word in chunk.words)
        assert all(a.end <= b.start + 1e-9 for a, b in zip(chunk.words, chunk.words[1:], strict=False))
        clock = chunk.end
    assert clock == pytest.approx(long.seconds)


def test_times_are_the_durations_of_the_model(engine: TorchEngine) -> None:
    import torch

    chunk = engine.speak("Seven green bottles.").chunks[0]
    ids = engine.frontend("en-us").tokens("Seven green bottles.").ids
    model = engine._model
    pack = Voicepack.read(engine.model_path / "voices" / "alto.safetensors")
    spoken = model.speak(torch.tensor([[0, *ids, 0]]), torch.from_numpy(pack.style(len(ids)).copy())[None])
    frames = [round((token.end - token.start) * SAMPLE_RATE / FRAME) for token in chunk.tokens[:-2]]
    assert frames == spoken.durations[1:-3].tolist()


def test_stream_is_early_and_gives_the_same_words(engine: TorchEngine, long: Speech) -> None:
    text = LONG.split("\n\n")[1].replace(". ", ", ") + " " + LONG
    parts, late = list(engine.stream(text)), engine.speak(text)
    first = next(chunk for part in parts for chunk in part.chunks)  # comes with the last window of it
    assert len(first.phonemes) <= 1.5 * EARLY < len(late.chunks[0].phonemes)
    assert [part.start for part in parts] == pytest.approx(
        np.cumsum([0.0, *(part.seconds for part in parts[:-1])]).tolist()
    )
    whole = join(parts, SAMPLE_RATE)
    assert [w.text for c in whole.chunks for w in c.words] == [w.text for c in late.chunks for w in c.words]
    same = join(list(engine.stream(LONG, early=False)), SAMPLE_RATE)
    assert np.array_equal(same.samples, long.samples)


@pytest.mark.parametrize("between", ["\n\n", " "])
def test_stream_does_not_read_a_book_before_beginning(engine: TorchEngine, between: str) -> None:
    frontend = engine.frontend("en-us")
    read = []
    original = frontend.chunks
    frontend.chunks = lambda text, limit=510: read.append(len(text)) or original(text, limit)  # type: ignore
    try:
        next(iter(engine.stream(between.join([LONG.replace("\n\n", between)] * 50))))
    finally:
        del frontend.chunks  # type: ignore[method-assign]
    assert 0 < sum(read) < 15 * len(LONG)


def test_speed_scales_time(engine: TorchEngine) -> None:
    text = "The clock in the hall struck nine while everybody slept."
    normal, fast, slow = (engine.speak(text, speed=speed).seconds for speed in (1.0, 2.0, 0.5))
    assert fast < 0.75 * normal < 0.75 * 0.75 * slow


def test_never_clips(engine: TorchEngine, long: Speech) -> None:
    assert np.abs(long.samples).max() <= CEILING + 1e-6
    rng = np.random.default_rng(0)
    loud = (3 * np.sin(np.arange(24000) / 20) * rng.random(24000)).astype(np.float32)
    assert np.abs(limit(loud)).max() <= CEILING
    quiet = 0.1 * loud
    assert np.array_equal(limit(quiet), quiet)
    # One peak leaves what is 50 ms away alone.
    single = np.full(24000, 0.5, np.float32)
    single[12000] = 1.5
    assert np.allclose(limit(single)[[10000, 14000]], 0.5)


def test_blocks_lose_nothing() -> None:
    book = " ".join([LONG.replace("\n\n", " ")] * 20) + "\n\n" + "\n \n".join([LONG] * 5)
    cuts = list(blocks(book))
    assert len(cuts) > 3 and not cuts[-1][2] and cuts[-1][1] == len(book)
    assert "".join("".join(book[start:stop] for start, stop, _ in cuts).split()) == "".join(book.split())
    assert [ends for *_, ends in cuts[:-1]].count(True) >= 1 and [ends for *_, ends in cuts].count(False) > 1
    assert next(blocks(book, 250))[1] < 600 < next(blocks(book))[1]


@pytest.mark.parametrize(
    "text", ["\U0001f680" * 40_000, "word " * 20_000, "é\u0301" * 20_000, "春。" * 20_000]
)
def test_blocks_of_any_text_are_short(text: str) -> None:
    cuts = list(blocks(text, 250))
    assert "".join(text[start:stop] for start, stop, _ in cuts) == text
    assert cuts[0][1] <= 16 * 250 and max(stop - start for start, stop, _ in cuts) <= 16_001


@pytest.mark.parametrize("speed", [0.2, 4.1, 0.0, -1.0, float("nan"), float("inf")])
def test_speed_outside_its_range_is_wrong_use(engine: TorchEngine, speed: float) -> None:
    with pytest.raises(UsageError, match=r"0\.25"):
        engine.stream("Hello.", speed=speed)


@pytest.mark.parametrize("text", ["", "  \n\t "])
def test_empty_text_is_wrong_use(engine: TorchEngine, text: str) -> None:
    with pytest.raises(UsageError, match="no text"):
        engine.speak(text)


@pytest.mark.parametrize("text", ["...", "?! — …", "\U0001f600\U0001f680", '"', "\U0001f600.\n\n!"])
def test_nothing_speakable_says_so(engine: TorchEngine, text: str) -> None:
    with pytest.raises(VoicewrightError, match="nothing to speak"):
        engine.speak(text)


def test_unknown_symbols_are_warned_of(engine: TorchEngine) -> None:
    speech = engine.speak("A \U0001f680 flies.")
    assert len(speech.warnings) == 1 and "\U0001f680" in speech.warnings[0]
    assert engine.speak("A bird flies.").warnings == ()


def test_unknown_voice_names_those_there_are(engine: TorchEngine, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="alto, basso"):
        engine.speak("Hello.", voice="soprano")
    with pytest.raises(UsageError, match="alto, basso"):
        engine.speak("Hello.", voice="../small/voices/alto.safetensors")
    with pytest.raises(VoicewrightError, match="no voicepack"):
        engine.speak("Hello.", voice=tmp_path / "absent.pt")
    path = engine.model_path / "voices" / "basso.safetensors"
    assert engine.speak("Hello.", voice=path).chunks[0].voice == "basso"
    assert engine.speak("Hello.", voice=Voicepack.read(path)).chunks[0].voice == "custom"


def test_language_by_voice_name_or_argument(engine: TorchEngine) -> None:
    american = engine.speak("I can't bathe the tomato.").chunks[0].phonemes
    british = engine.speak("I can't bathe the tomato.", language="en-gb").chunks[0].phonemes
    assert american != british
    assert engine._language("bf_emma") == "en-gb" and engine._language("alto") == "en-us"
    with pytest.raises(UsageError, match="tlh"):
        engine.speak("Hello.", language="tlh")


def test_a_pack_that_breaks_the_model_is_reported(engine: TorchEngine) -> None:
    with pytest.raises(VoicewrightError, match="not numbers"):
        engine.speak("Hello.", voice=Voicepack.constant(np.full(256, 1e38, np.float32)))


def silence_then_tone(lead: float, sound: float, tail: float) -> np.ndarray:
    parts = [0.001, 0.5, 0.001]
    rng = np.random.default_rng(0)
    return np.concatenate(
        [
            level * rng.standard_normal(int(seconds * SAMPLE_RATE))
            for level, seconds in zip(parts, (lead, sound, tail), strict=True)
        ]
    ).astype(np.float32)


def test_trim_leaves_the_lead_and_the_pause_wanted() -> None:
    samples = silence_then_tone(0.4, 1.0, 0.6)
    head, tail = int(0.4 * SAMPLE_RATE), int(1.4 * SAMPLE_RATE)
    cut = trim(samples, head, tail, after=0.3)
    assert len(cut.samples) / SAMPLE_RATE == pytest.approx(LEAD + 1.0 + 0.3, abs=0.015)
    assert cut.offset / SAMPLE_RATE == pytest.approx(0.4 - LEAD, abs=0.015)
    padded = trim(samples, head, tail, after=1.0)
    assert len(padded.samples) / SAMPLE_RATE == pytest.approx(LEAD + 1.0 + 1.0, abs=0.015)


def test_trim_never_cuts_sound() -> None:
    samples = silence_then_tone(0.1, 1.0, 0.1)
    # The model's clock says that speech is shorter than it is: what sounds stays.
    cut = trim(samples, int(0.4 * SAMPLE_RATE), int(0.8 * SAMPLE_RATE), after=0.1)
    assert cut.offset <= int(0.1 * SAMPLE_RATE)
    assert cut.offset + len(cut.samples) >= int(1.1 * SAMPLE_RATE)
    silent = trim(np.zeros(12000, np.float32), 3000, 9000, after=0.1)
    assert len(silent.samples) > 0 and not silent.samples.any()


def test_fades_and_pauses() -> None:
    ones = np.ones(2400, np.float32)
    fade(ones)
    assert ones[0] == 0 and ones[-1] == 0 and ones[1200] == 1
    short = np.ones(3, np.float32)
    fade(short)
    assert pause_after("ɐ.", False, 1.0) > pause_after("ɐ,", False, 1.0) > pause_after("ɐ", False, 1.0)
    assert pause_after("ɐ.”", False, 1.0) == pause_after("ɐ.", False, 1.0)
    assert pause_after("ɐ.", True, 1.0) > pause_after("ɐ.", False, 1.0) == 2 * pause_after("ɐ.", False, 2.0)
    assert TAIL > 0


def test_resolving_models(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOICEWRIGHT_CACHE", str(tmp_path / "cache"))
    assert resolve_model(folder) == folder
    run = tmp_path / "run"
    for name in ("export", "best"):
        (run / name).mkdir(parents=True)
        with pytest.raises(VoicewrightError, match="no model"):
            resolve_model(tmp_path / "run" / name)
        for file in ("config.json", "model.safetensors"):
            (run / name / file).write_bytes((folder / file).read_bytes())
        assert resolve_model(run) == run / name
    (run / "best" / "model.safetensors").unlink()
    with pytest.raises(VoicewrightError, match="no weights"):
        resolve_model(run)
    with pytest.raises(UsageError, match="no model at"):
        resolve_model(tmp_path / "absent")
    cached = tmp_path / "cache" / "models" / "mine"
    cached.mkdir(parents=True)
    for file in ("config.json", "model.safetensors"):
        (cached / file).write_bytes((folder / file).read_bytes())
    assert resolve_model("mine") == cached
    names = [entry.folder for entry in list_models([folder.parent])]
    assert cached in names and folder in names


def test_a_missing_embedded_model_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voicewright.catalogue.places.resources.files", lambda package: tmp_path)
    with pytest.raises(VoicewrightError, match="embedded model"):
        embedded_model()


def test_a_damaged_card_is_one_sentence(folder: Path, tmp_path: Path) -> None:
    for file in ("config.json", "model.safetensors"):
        (tmp_path / file).write_bytes((folder / file).read_bytes())
    (tmp_path / "card.json").write_text("{cut")
    with pytest.raises(VoicewrightError, match=r"card\.json"):
        TorchEngine(tmp_path)
    (tmp_path / "card.json").write_text("{}")
    with pytest.raises(UsageError, match="without voices"):
        TorchEngine(tmp_path).speak("Hello.")


def test_a_run_gives_its_name_to_its_model(folder: Path, tmp_path: Path) -> None:
    best = tmp_path / "mine" / "best"
    best.mkdir(parents=True)
    for file in ("config.json", "model.safetensors"):
        (best / file).write_bytes((folder / file).read_bytes())
    assert TorchEngine(tmp_path / "mine").name == "mine"


def test_copy_synthesis_keeps_the_timing_given(engine: TorchEngine) -> None:
    tokens = np.array([0, 50, 83, 4, 0])
    durations = np.array([6, 3, 5, 2, 6])
    frames = 2 * int(durations.sum())
    f0, energy = np.full(frames, 150, np.float32), np.ones(frames, np.float32)
    made = engine.resynthesise(tokens, durations, f0, energy)
    assert made.shape == (FRAME * int(durations.sum()),) and np.abs(made).max() <= CEILING + 1e-6
    assert np.array_equal(made, engine.resynthesise(tokens, durations, f0, energy))
    assert not np.array_equal(made, engine.resynthesise(tokens, durations, 2 * f0, energy))
    with pytest.raises(VoicewrightError, match="f0"):
        engine.resynthesise(tokens, durations, f0[:-1], energy)
