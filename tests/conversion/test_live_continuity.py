"""The embedded voice and Beatrice in blocks: what is random and periodic goes on, so that joins stay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from beatrice_weights import trained
from live_fakes import plain_options, voice_like
from test_convert_embedded import folder_of
from test_live_rvc import closeness

from voicewright.beatrice.files import save_beatrice
from voicewright.beatrice.fold import fold
from voicewright.beatrice.live import BeatriceBlockVoice
from voicewright.beatrice.network.model import BeatriceVoice
from voicewright.conversion.block import AutoTranspose, BlockVoice, LiveOptions, Samples
from voicewright.conversion.continuity import Noise, Phase
from voicewright.conversion.live import LiveConverter
from voicewright.conversion.open import open_live
from voicewright.conversion.own_live import OwnBlockVoice
from voicewright.conversion.sola import best_offset
from voicewright.errors import UsageError
from voicewright.model.fast.statistics import Carried, Frozen, Pooled

VOICES = (BeatriceVoice("Ann", average_pitch=57.0), BeatriceVoice("Bo", average_pitch=69.0))


@pytest.fixture(scope="module")
def beatrice() -> BeatriceBlockVoice:
    return BeatriceBlockVoice(fold(*trained(), VOICES, "m"))


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> OwnBlockVoice:
    return OwnBlockVoice(folder_of(tmp_path_factory.mktemp("model")))


def live(
    voice: BlockVoice, sound: Samples, options: LiveOptions
) -> tuple[Samples, LiveConverter, list[float]]:
    voice.reset()
    converter = LiveConverter(voice, options, rate=16_000, output_rate=voice.sample_rate)
    step, pieces, joins = converter.block_samples, [], []
    for start in range(0, len(sound) - step + 1, step):
        pieces.append(converter.process(sound[start : start + step]))
        joins.append(converter.join_offset)
    return np.concatenate(pieces), converter, joins


def test_a_phase_is_taken_up_where_blocks_join() -> None:
    phase = Phase()
    assert phase.start(np.array([0.0, 0.3, 0.6, 0.9]), 10, 11) == 0.0
    assert phase.start(np.array([0.0, 0.4, 0.8]), 12, 13) == pytest.approx(0.5)  # 0.9 there, not 0.4
    assert phase.start(np.array([0.0, 0.1]), 13, 14) == pytest.approx(0.2)  # 0.8 + 0.5, not 0.1
    assert phase.start(np.array([0.0, 0.1]), 50, 51) == 0.0  # beyond what was said
    phase.clear()
    assert phase.start(np.array([0.0, 0.1]), 50, 51) == 0.0


def test_uniform_noise_lies_between_0_and_1() -> None:
    noise = Noise(1000, 0, uniform=True)
    noise.shift(5)
    kept = noise.ending(5, 0)
    assert 0 <= kept.min() < 0.01 and 0.99 < kept.max() < 1


def test_a_join_stays_where_another_is_hardly_better() -> None:
    tail = np.sin(np.arange(100) / 3).astype(np.float32)
    samples = np.concatenate([np.zeros(20, np.float32), tail, np.zeros(60, np.float32)])
    assert best_offset(samples, tail, 60) == 20
    assert best_offset(samples, tail, 60, last=21, stay=0.2) == 21
    assert best_offset(samples, tail, 60, last=29, stay=0.2) == 20  # against the phase


def test_statistics_follow_a_stream() -> None:
    carried, own = Carried(), torch.tensor([[1.0], [1.0]])
    first = carried.running(10)
    first.at(0, [own])
    carried.follow(first, 10)
    assert carried.rows == 10 and torch.equal(carried.stats[0], own)
    later = carried.running(30)
    assert isinstance(later, Pooled)
    (mixed,) = later.at(0, [own + 4.0 * torch.tensor([[1.0], [0.0]])])
    assert mixed[0].item() == pytest.approx(4.0)  # a quarter of 1, three of 5
    carried.follow(later, 30)
    silent = carried.running(0)
    assert isinstance(silent, Frozen)
    carried.follow(silent, 0)
    assert carried.rows == 40 and carried.stats[0][0].item() == pytest.approx(4.0)


def test_beatrice_goes_on_where_blocks_overlap(beatrice: BeatriceBlockVoice) -> None:
    """Not so where phase and noise begin anew. (Random weights hear other pitches from another past.)"""
    sound, options = voice_like(6.0, 16_000), plain_options(pitch=2.0)

    def overlap(forget: bool) -> float:
        beatrice.reset()
        first = beatrice.convert(sound[: 500 * 160], 500, 420, 80, options)
        if forget:
            beatrice._phase.clear()
        second = beatrice.convert(sound[25 * 160 : 525 * 160], 25, 420, 80, options)
        return closeness(second[: 15 * 240], first[25 * 240 : 40 * 240])

    assert overlap(False) > overlap(True) + 4


def test_the_embedded_source_goes_on(embedded: OwnBlockVoice, monkeypatch: pytest.MonkeyPatch) -> None:
    model, drawn = embedded._parts.model, []
    plain = model.sound

    def spy(text: Any, f0: torch.Tensor, energy: Any, style: Any, rng: Any, **more: Any) -> torch.Tensor:
        noise = rng(torch.Size([1, 300 * len(f0), embedded._waves]), True)
        drawn.append((noise[0], rng(torch.Size([1, 1]), False).item(), embedded._turns(f0)))
        return plain(text, f0, energy, style, rng, **more)

    monkeypatch.setattr(model, "sound", spy)
    embedded.reset()
    sound = voice_like(6.0, 16_000)
    embedded.convert(sound[: 500 * 160], 500, 420, 80, plain_options())
    embedded.convert(sound[25 * 160 : 525 * 160], 25, 420, 80, plain_options())
    (before, start, turns), (after, later, others) = drawn
    moved = 25 * 240
    count = len(after) - moved
    kept = count - 600  # what fills up the last frame is nobody's
    torch.testing.assert_close(before[len(before) - count :][:kept], after[:kept], rtol=0, atol=0)
    steps = len(after) // 300 - len(others) + 1
    assert steps in (0, 1)
    join = len(others) - 1 - 80 * 240 // 300  # where the second block is first heard
    here, there = later + others[join], start + turns[join + 20 + len(turns) - len(others)]
    assert abs((here - there + 0.5) % 1.0 - 0.5) < 1e-3


@pytest.mark.parametrize("kind", ["beatrice", "embedded"])
def test_blocks_are_reproducible_and_random_state_is_left_alone(
    kind: str, request: pytest.FixtureRequest
) -> None:
    voice = request.getfixturevalue(kind)
    sound, options = voice_like(1.5, 16_000), plain_options(block=0.2, context=0.5)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first, _, _ = live(voice, sound, options)
    second, _, _ = live(voice, sound, options)
    np.testing.assert_array_equal(first, second)
    assert torch.equal(before, torch.get_rng_state()) and np.abs(first).max() > 1e-4


def test_the_embedded_voice_decodes_what_is_heard_alone(
    embedded: OwnBlockVoice, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, rows = embedded._parts.model, []
    plain = model.sound
    monkeypatch.setattr(
        model, "sound", lambda text, *a, **k: (rows.append(len(text)), plain(text, *a, **k))[1]
    )
    out, _, _ = live(embedded, voice_like(3.0, 16_000), plain_options(block=0.25, context=2.5))
    assert np.isfinite(out).all() and max(rows) < 40  # 1 s, where the window has 2.8


def test_beatrice_says_what_it_has_not(beatrice: BeatriceBlockVoice) -> None:
    for changed, message in (
        ({"speaker": 2}, "no voice 2; choose one of 0 Ann, 1 Bo"),
        ({"formant": 3.0}, "2 semitones at most"),
        ({"unvoiced": "interpolate"}, "leave --unvoiced out"),
    ):
        with pytest.raises(UsageError, match=message):
            beatrice.convert(np.zeros(16_000, np.float32), 25, 60, 30, plain_options(**changed))  # type: ignore[arg-type]


def test_a_paraphernalia_folder_goes_live(tmp_path: Path) -> None:
    voice = open_live(save_beatrice(fold(*trained(), VOICES, "two"), tmp_path / "folder").parent)
    assert isinstance(voice, BeatriceBlockVoice)
    assert voice.speakers == {"0": "Ann", "1": "Bo"}
    made = voice.convert(np.zeros(480, np.float32), 1, 0, 3, plain_options(context=0.0))  # next to no window
    assert made.shape == (720,) and np.isfinite(made).all()


def test_another_voice_is_aimed_at_with_what_was_heard() -> None:
    auto, transpose = plain_options(pitch="auto"), AutoTranspose(220.0)
    assert transpose.semitones(auto, np.full(30, 110.0, np.float32)) == 12.0
    transpose.aim(110.0)
    assert transpose.semitones(auto, np.zeros(0, np.float32)) == 0.0
