"""Batches: a pure function of the step, whole in what they cover, consistent in what they cut."""

from __future__ import annotations

import threading
from collections import Counter

import numpy as np
import pytest
import torch
from fakes import tone_features

from voicewright.errors import VoicewrightError
from voicewright.training.batches import SILENT_MEL, STYLE_FRAMES, Batch, Sampler, prefetch
from voicewright.units import FRAME

FEATURES = [tone_features(i, "one" if i % 3 else "two") for i in range(11)]


def sampler(crop: int | None = 24, budget: int = 96, seed: int = 3) -> Sampler:
    return Sampler(FEATURES, seed=seed, stage=0, batch_frames=budget, crop=crop)


def same(a: Batch, b: Batch) -> bool:
    pairs = [(x, vars(b)[name]) for name, x in vars(a).items() if name != "share"]
    return all(x is y if x is None else x.shape == y.shape and torch.equal(x, y) for x, y in pairs)


@pytest.mark.parametrize("crop", [24, None])
def test_a_step_has_one_batch_whatever_was_asked_before(crop: int | None) -> None:
    straight = sampler(crop)
    batches = [straight.batch(step) for step in range(12)]
    backwards = sampler(crop)
    for step in (11, 0, 7, 3):
        assert same(backwards.batch(step), batches[step])
    assert not all(same(sampler(crop, seed=4).batch(step), batches[step]) for step in range(12))


def test_an_epoch_of_whole_clips_has_every_clip_once_under_the_budget() -> None:
    s = sampler(crop=None, budget=200)
    for epoch in range(3):
        batches = s._epoch(epoch)
        assert sorted(int(i) for b in batches for i in b) == list(range(len(FEATURES)))
        assert len(batches) > 1
        for b in batches:
            assert len(b) == 1 or int(s.frames[b].max()) * len(b) <= 200


def test_crops_draw_clips_by_their_length_under_the_budget() -> None:
    shares = [max(1, int(f.durations.sum()) // 24) for f in FEATURES]
    assert max(shares) > min(shares)
    for clips in (1, 4, 5):
        s = sampler(crop=24, budget=24 * clips)
        for epoch in range(3):
            batches = s._epoch(epoch)
            assert all(len(b) <= clips for b in batches)
            seen = Counter(int(i) for b in batches for i in b)
            # Steps are of one size: the last is filled up rather than left out.
            assert all(seen[i] >= share for i, share in enumerate(shares))
            assert 0 <= seen.total() - sum(shares) < clips


def test_steps_walk_through_epochs() -> None:
    s = sampler(crop=None, budget=200)
    first = len(s._epoch(0))
    second = len(s._epoch(1))
    walked = [int(i) for step in range(first, first + second) for i in s.indices(step)]
    assert sorted(walked) == list(range(len(FEATURES)))


def test_a_crop_is_the_same_stretch_of_every_array() -> None:
    s = sampler(crop=24)
    for step in range(6):
        batch = s.batch(step)
        assert batch.audio is not None
        for row, index in enumerate(s.indices(step)):
            f = FEATURES[index]
            owner = np.repeat(np.arange(len(f.tokens)), f.durations)
            audio = f.samples.astype(np.float32) / 32768
            cut = batch.audio[row].numpy()
            # Found by its sound, which no two places share.
            starts = [
                start
                for start in range(len(owner) - 24 + 1)
                if np.array_equal(audio[FRAME * start : FRAME * (start + 24)], cut)
            ]
            assert starts, "the audio is no stretch of its clip"
            assert any(
                np.array_equal(owner[start : start + 24], batch.frame_token[row].numpy())
                and np.array_equal(f.f0[2 * start : 2 * (start + 24)], batch.f0[row].numpy())
                and np.array_equal(f.energy[2 * start : 2 * (start + 24)], batch.energy[row].numpy())
                for start in starts
            )
            assert batch.frame_mask[row].all() and int(batch.frames[row]) == 24


def test_a_short_clip_goes_on_as_silence_of_its_last_pad() -> None:
    s = sampler(crop=400, budget=1600)
    batch = s.batch(0)
    assert batch.audio is not None
    for row, index in enumerate(s.indices(0)):
        f = FEATURES[index]
        own = int(f.durations.sum())
        assert own < 400 and int(batch.frames[row]) == own
        assert batch.frame_mask[row].sum() == own and batch.frame_mask[row, :own].all()
        last = len(f.tokens) - 1
        assert (batch.frame_token[row, own:] == last).all() and int(batch.tokens[row, last]) == 0
        assert (batch.audio[row, FRAME * own :] == 0).all() and (batch.f0[row, 2 * own :] == 0).all()
        assert (batch.energy[row, 2 * own :] == float(f.energy[-1])).all()
        assert np.array_equal(batch.audio[row, : FRAME * own].numpy(), f.samples.astype(np.float32) / 32768)


def test_style_references_are_of_the_same_speaker_and_silence_beyond() -> None:
    s = sampler(crop=None, budget=200)
    seen: Counter[bool] = Counter()
    for step in range(8):
        batch = s.batch(step)
        for row, index in enumerate(s.indices(step)):
            f = FEATURES[index]
            for reference, speaker in ((batch.style_own[row], None), (batch.style_other[row], f.speaker)):
                assert reference.shape == (80, STYLE_FRAMES)
                owners = [
                    g
                    for g in ([f] if speaker is None else FEATURES)
                    if (speaker is None or g.speaker == speaker) and _is_window(g.mel, reference.numpy())
                ]
                assert owners
                seen[any(g is not f for g in owners)] += 1
    assert seen[True] and seen[False]


def _is_window(mel: np.ndarray, piece: np.ndarray) -> bool:
    wide = mel.astype(np.float32)
    short = STYLE_FRAMES - wide.shape[1]
    if short > 0:
        return np.array_equal(piece[:, : wide.shape[1]], wide) and bool(
            (piece[:, wide.shape[1] :] == np.float32(SILENT_MEL)).all()
        )
    return any(np.array_equal(wide[:, a : a + STYLE_FRAMES], piece) for a in range(1 - short))


def test_nothing_to_train_on_is_a_sentence() -> None:
    with pytest.raises(VoicewrightError, match="nothing to train on"):
        Sampler([], seed=0, stage=0, batch_frames=10, crop=None)


def test_prefetch_is_in_order_passes_errors_on_and_ends_its_thread() -> None:
    s = sampler()
    ahead = list(prefetch(s.batch, 2, 7))
    assert all(same(batch, s.batch(step)) for step, batch in enumerate(ahead, 2)) and len(ahead) == 5

    def broken(step: int) -> Batch:
        if step == 3:
            raise ValueError("clip 3 is broken")
        return s.batch(step)

    got = []
    with pytest.raises(ValueError, match="clip 3 is broken"):
        for batch in prefetch(broken, 0, 9):
            got.append(batch)
    assert len(got) == 3
    left = prefetch(s.batch, 0, 1000)
    next(left)
    left.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "batches"]
