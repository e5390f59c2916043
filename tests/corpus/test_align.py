"""Durations: the monotonic search, what tokens may claim, and the aligner on speech whose truth is known."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from synthetic import sentence, speak

from voicewright.audio.mel import LogMel
from voicewright.corpus.acoustic import measure
from voicewright.corpus.align import AlignerSettings, Alignment, Clip, align, apply, plausible
from voicewright.corpus.monotonic import best_paths
from voicewright.corpus.phones import (
    MAX_FRAMES,
    PAD_FRAMES,
    free_pauses,
    inventory,
    is_phone,
    plan,
    tidy_pauses,
)
from voicewright.errors import VoicewrightError
from voicewright.model.tts.aligner import AlignerNet, load_aligner, save_aligner

torch.set_num_threads(1)

SMALL = AlignerSettings(width=96)
Places = list[tuple[str, float, float]]


def _clips(count: int, seed: int = 0) -> tuple[list[Clip], list[Places]]:
    rng, mel = np.random.default_rng(seed), LogMel()
    clips, truth = [], []
    for number in range(count):
        phonemes = sentence(rng)
        wave, places = speak(phonemes, rng)
        clips.append(Clip(f"c{number}", phonemes, "anna", measure(wave, mel).mel))
        truth.append(places)
    return clips, truth


@pytest.fixture(scope="module")
def spoken() -> tuple[list[Clip], list[Places]]:
    return _clips(10)


@pytest.fixture(scope="module")
def aligned(spoken: tuple[list[Clip], list[Places]]) -> tuple[list[Alignment], AlignerNet]:
    return align(spoken[0], SMALL)


def _end_errors(clips: list[Clip], found: list[Alignment], truth: list[Places]) -> np.ndarray:
    """Frames between where each phone was found to end and where it ends."""
    errors = []
    for clip, alignment, places in zip(clips, found, truth, strict=True):
        ends = np.cumsum(alignment.durations) - PAD_FRAMES
        sounds = [e for e, s in zip(ends[1:-1], clip.phonemes, strict=True) if is_phone(s)]
        errors += [end - place[2] / 0.025 for end, place in zip(sounds, places, strict=True)]
    return np.array(errors)


# --- the search ---


def test_the_search_finds_what_trying_everything_finds() -> None:
    rng = np.random.default_rng(1)
    sizes = [(3, 7), (1, 4), (5, 5), (4, 8)]
    enter, stay = (rng.standard_normal((len(sizes), 8, 5)).astype(np.float32) for _ in range(2))
    tokens, frames = (np.array(column) for column in zip(*sizes, strict=True))
    durations, score = best_paths(enter, stay, tokens, frames)
    for row, (t, f) in enumerate(sizes):
        best = (-np.inf, ())
        for cuts in itertools.combinations(range(1, f), t - 1):
            starts = (0, *cuts)
            total = 0.0
            for token, (a, b) in enumerate(zip(starts, (*cuts, f), strict=True)):
                total += enter[row, a, token] + stay[row, a + 1 : b, token].sum()
            best = max(best, (total, tuple(np.diff((*starts, f)))))
        assert score[row] == pytest.approx(best[0], abs=1e-4)
        assert tuple(durations[row, :t]) == best[1]
        assert not durations[row, t:].any()


def test_the_search_says_when_there_is_no_path() -> None:
    stay = np.zeros((1, 4, 2), np.float32)
    enter = np.full((1, 4, 2), -np.inf, np.float32)
    enter[0, 0, 0] = 0
    assert best_paths(enter, stay, np.array([2]), np.array([4]))[1][0] == -np.inf


# --- what tokens may claim ---


def test_stress_takes_one_frame_of_what_follows_and_a_length_mark_one_of_what_precedes() -> None:
    classes = {symbol: i for i, symbol in enumerate(inventory(["kˈɑːt, s"]))}
    assert set(classes) == {"", "k", "ɑ", "t", "s"}
    made = plan("kˈɑːt, s", classes)
    assert made.symbols == ("", "k", "ˈ", "ɑ", "ː", "t", ",", " ", "s", "")
    assert made.enter[2].tolist() == [classes["ɑ"], -1, -1] and made.stay[2] == -1
    assert made.enter[4].tolist() == [classes["ɑ"], -1, -1] and made.stay[4] == -1
    assert made.enter[6].tolist() == made.enter[7].tolist() == [0, classes["t"], classes["s"]]
    assert made.stay[[0, 6, 7, 9]].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("phonemes", "given", "tidy"),
    [
        ("a, b", [6, 3, 2, 10, 4, 7], [6, 3, 11, 1, 4, 7]),
        ("a b", [6, 3, 8, 4, 7], [6, 3, 8, 4, 7]),
        ("ab.", [6, 3, 4, 5, 7], [6, 3, 4, 1, 11]),
        ("“ab", [6, 5, 3, 4, 7], [10, 1, 3, 4, 7]),
        ("a, b", [6, 3, 60, 4, 4, 7], [6, 3, 50, 14, 4, 7]),
    ],
)
def test_a_pause_lies_on_its_punctuation(phonemes: str, given: list[int], tidy: list[int]) -> None:
    assert tidy_pauses(np.array(given), ("", *phonemes, "")).tolist() == tidy


# --- the aligner ---


def test_half_a_minute_is_enough_to_find_the_phones(
    spoken: tuple[list[Clip], list[Places]], aligned: tuple[list[Alignment], AlignerNet]
) -> None:
    clips, truth = spoken
    found, _ = aligned
    for clip, alignment in zip(clips, found, strict=True):
        assert alignment.id == clip.id and not alignment.reason
        assert len(alignment.durations) == len(clip.phonemes) + 2
        assert alignment.durations.sum() == clip.frames
        assert alignment.durations.min() >= 1 and alignment.durations.max() <= MAX_FRAMES
        assert alignment.durations[0] >= PAD_FRAMES and alignment.durations[-1] >= PAD_FRAMES
        stress = [d for d, s in zip(alignment.durations[1:-1], clip.phonemes, strict=True) if s == "ˈ"]
        assert set(stress) == {1}
    errors = np.abs(_end_errors(clips, found, truth))
    # A quarter of a frame is what rounding to frames costs; spaces take another from the ends of words.
    assert errors.mean() < 0.75
    assert np.percentile(errors, 95) < 2.5


def test_commas_own_the_pauses(
    spoken: tuple[list[Clip], list[Places]], aligned: tuple[list[Alignment], AlignerNet]
) -> None:
    commas = [
        d
        for clip, a in zip(spoken[0], aligned[0], strict=True)
        for d, s in zip(a.durations[1:-1], clip.phonemes, strict=True)
        if s == ","
    ]
    assert commas and min(commas) >= 6  # the pauses last 225 ms or more


def test_the_same_input_gives_the_same_durations(spoken: tuple[list[Clip], list[Places]]) -> None:
    settings = AlignerSettings(rounds=1, steps=20, gaussian_rounds=3, width=32)
    torch.manual_seed(5)
    first, _ = align(spoken[0], settings)
    torch.manual_seed(6)
    torch.rand(3)
    second, _ = align(spoken[0], settings)
    for a, b in zip(first, second, strict=True):
        assert np.array_equal(a.durations, b.durations) and a.confidence == b.confidence


def test_training_leaves_the_global_random_state_alone(spoken: tuple[list[Clip], list[Places]]) -> None:
    before = torch.get_rng_state()
    align(spoken[0][:3], AlignerSettings(rounds=1, steps=20, gaussian_rounds=1, width=16))
    assert torch.equal(before, torch.get_rng_state())


def test_a_saved_aligner_places_new_speech_and_warms_up_another(
    aligned: tuple[list[Alignment], AlignerNet], tmp_path: Path
) -> None:
    path = tmp_path / "aligner.safetensors"
    save_aligner(aligned[1], path)
    assert path.stat().st_size < 2_000_000
    net = load_aligner(path)
    clips, truth = _clips(3, seed=9)
    assert np.abs(_end_errors(clips, apply(net, clips), truth)).mean() < 0.8
    # Three clips alone, a few steps: good only because the start is.
    warm, _ = align(clips, AlignerSettings(rounds=1, steps=20, width=96), init=net)
    assert np.abs(_end_errors(clips, warm, truth)).mean() < 0.8
    fresh = AlignerNet((*net.symbols, "ʒ"), net.width)
    assert fresh.adopt(net) == ["ʒ"]
    with pytest.raises(VoicewrightError, match="wide"):
        AlignerNet(net.symbols, 8).adopt(net)


def test_the_wrong_text_earns_little_confidence(
    spoken: tuple[list[Clip], list[Places]], aligned: tuple[list[Alignment], AlignerNet]
) -> None:
    clips = spoken[0]
    swapped = [
        Clip(c.id, o.phonemes, c.speaker, c.mel) for c, o in zip(clips, clips[1:] + clips[:1], strict=True)
    ]
    right = min(a.confidence for a in aligned[0])
    wrong = max(a.confidence for a in apply(aligned[1], swapped))
    assert right > 0.8 > 0.6 > wrong


def test_what_cannot_be_aligned_says_why(aligned: tuple[list[Alignment], AlignerNet]) -> None:
    mel = np.full((80, 40), -1.8, np.float32)
    short, strange = apply(aligned[1], [Clip("a", "sisisisisisisi", "x", mel), Clip("b", "ʒi", "x", mel)])
    assert short.confidence == 0 and "14 tokens" in short.reason
    assert strange.confidence == 0 and "not trained on" in strange.reason
    with pytest.raises(VoicewrightError, match="long enough"):
        align([Clip("a", "sisisisisisisi", "x", mel)])


def test_a_pause_no_token_can_hold_is_refused() -> None:
    rng, mel = np.random.default_rng(0), LogMel()
    clips, _ = _clips(4)
    wave, _ = speak("sˈi", rng)
    hole = np.concatenate([wave, 1e-4 * rng.standard_normal(40_000).astype(np.float32), wave])
    clips.append(Clip("hole", "sˈi sˈi", "anna", measure(hole, mel).mel))
    found, _ = align(clips, AlignerSettings(rounds=1, steps=40, width=64))
    assert found[-1].confidence == 0 and "more than 1.25" in found[-1].reason
    assert not any(a.reason for a in found[:-1])


def test_a_damaged_aligner_is_named(tmp_path: Path) -> None:
    path = tmp_path / "aligner.safetensors"
    save_aligner(AlignerNet(("", "a"), 8), path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(VoicewrightError, match=r"aligner\.safetensors"):
        load_aligner(path)


def test_plausibility() -> None:
    pitch = np.full(2 * 26, 150.0)
    good = np.array([6, 4, 1, 8, 7])
    assert plausible("kˈɑ", good, pitch)
    assert not plausible("kˈɑ", good, 0 * pitch)
    assert not plausible("kˈɑ", np.array([5, 5, 1, 8, 7]), pitch)
    assert not plausible("kˈɑ", np.array([6, 1, 1, 15, 7]), np.full(60, 150.0))


# --- pauses without a mark ---

PAUSED = ("", *"aˈn taˈn.", "")
HELD = [6, 4, 1, 12, 1, 3, 4, 1, 3, 1, 7]
"""The first n lasts 12 frames, of which a pause took 9; then the space, and t."""


def _quiet(frames: range) -> np.ndarray:
    quiet = np.zeros(sum(HELD), bool)
    quiet[frames.start : frames.stop] = True
    return quiet


@pytest.mark.parametrize(
    ("quiet", "n", "space", "t"),
    [
        (range(14, 24), 3, 10, 3),  # a pause that the n had taken
        (range(13, 24), 3, 10, 3),  # a phone keeps a little, however quiet it is
        (range(20, 24), 12, 1, 3),  # too short for a pause
        (range(14, 20), 12, 1, 3),  # quiet inside the phone is none
        (range(0), 12, 1, 3),  # a long phone that sounds
    ],
)
def test_silence_stands_between_words(quiet: range, n: int, space: int, t: int) -> None:
    found = free_pauses(np.array(HELD), PAUSED, _quiet(quiet))
    assert found.sum() == sum(HELD) and found.min() >= 1
    assert (found[3], found[4], found[5]) == (n, space, t)
    assert found[0] == HELD[0] and found[-1] == HELD[-1]


def test_silence_is_freed_from_the_word_behind_and_goes_to_the_mark() -> None:
    symbols = ("", *"an, ˈat", "")
    durations = np.array([6, 4, 3, 4, 1, 1, 12, 3, 7])
    quiet = np.zeros(durations.sum(), bool)
    quiet[13:26] = True
    assert free_pauses(durations, symbols, quiet).tolist() == [6, 4, 3, 12, 1, 1, 4, 3, 7]
    assert free_pauses(durations, symbols, np.ones_like(quiet)).sum() == durations.sum()
