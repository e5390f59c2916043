"""Pitch of a prosodic half: taught from what a predictor says, and the way back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from test_fit import studio as studio
from test_fit import third, voice

from voicewright.errors import VoicewrightError
from voicewright.training.clone.drawn import Spread
from voicewright.training.clone.map import drawn_halves, predicted, taught_map
from voicewright.units import STYLE
from voicewright.voices.pack import Voicepack
from voicewright.voices.prosody_map import ProsodyMap
from voicewright.voices.studio import SENTENCES, Studio
from voicewright.voices.style_encoders import StyleEncoders, load_encoders, save_encoders

__all__ = ["third", "voice"]


@pytest.fixture(scope="module")
def known() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((20, STYLE)) / 8


@pytest.fixture(scope="module")
def taught(known: np.ndarray) -> tuple[ProsodyMap, np.ndarray]:
    """Of a predictor whose pitch bends with one direction and whose spread is another; what is heard lies
    half a semitone above what is predicted."""
    rng = np.random.default_rng(1)
    halves = np.concatenate([known, rng.standard_normal((1500, STYLE)) / 8])
    said = sung(halves)
    said[7] = np.nan
    return taught_map(halves, said, known, (said[20:60], said[20:60] + 0.5), 0)


def sung(halves: np.ndarray) -> np.ndarray:
    pitch = 85 + 12 * halves[:, 0] + 6 * halves[:, 1] + 20 * halves[:, 0] ** 2
    return np.stack([pitch, 3 + 2 * halves[:, 2] + halves[:, 0]], 1)


def test_the_map_answers_as_what_it_was_taught_by(taught: tuple[ProsodyMap, np.ndarray]) -> None:
    found, error = taught
    fresh = np.random.default_rng(2).standard_normal((200, STYLE)) / 8
    off = found(torch.from_numpy(fresh).float()).numpy() - (sung(fresh) + 0.5)
    assert np.sqrt(np.square(off).mean(0)).max() < 0.3
    np.testing.assert_allclose(np.sqrt(np.square(off).mean(0)), error, atol=0.15)


def test_a_half_is_moved_to_what_was_heard_and_no_further(taught: tuple[ProsodyMap, np.ndarray]) -> None:
    found, _ = taught
    half = torch.from_numpy(np.random.default_rng(3).standard_normal(STYLE) / 8).float()
    wanted = torch.tensor([84.0, 3.4])
    moved = found.settled(half, wanted)
    off = (found(moved[None])[0] - wanted).abs()
    assert off[0] < 0.2 and off[1] < 0.6  # as far as hearing is trusted
    heard = sung(moved[None].numpy())[0] + 0.5
    assert abs(heard[0] - 84.0) < 2 and abs(heard[1] - 3.4) < 0.9
    assert abs(sung(half[None].numpy())[0, 0] + 0.5 - 84.0) > 3.0
    assert float((moved - half).norm()) < 0.5 * float(half.norm())
    there = found.settled(moved, found(moved[None])[0])
    torch.testing.assert_close(there, moved, atol=1e-3, rtol=0)
    beyond = found.settled(half, torch.tensor([300.0, 3.4]))
    assert sung(beyond[None].numpy())[0, 0] < float(found.high[0]) + 2


def test_encoders_use_the_map_and_older_ones_have_none(
    tmp_path: Path, taught: tuple[ProsodyMap, np.ndarray]
) -> None:
    net = StyleEncoders(8)
    save_encoders(tmp_path / "e.safetensors", net, {})
    from safetensors.torch import load_file, save_file

    older = {k: v for k, v in load_file(tmp_path / "e.safetensors").items() if not k.startswith("map.")}
    save_file(older, tmp_path / "older.safetensors", {"facts": "{}"})
    assert not load_encoders(tmp_path / "older.safetensors")[0].map.taught
    net.map.load_state_dict(taught[0].state_dict())
    save_encoders(tmp_path / "e.safetensors", net, {})
    found, _ = load_encoders(tmp_path / "e.safetensors")
    assert found.map.taught
    half, wanted = torch.zeros(STYLE), torch.tensor([86.0, 3.0])
    torch.testing.assert_close(
        found.map.settled(half, wanted), taught[0].settled(half, wanted), atol=0.02, rtol=0
    )


def test_a_predictor_says_what_its_voice_sings(studio: Studio, voice: Voicepack) -> None:
    texts = [line.tokens for line in studio.lines(SENTENCES[:2], "en-us")]
    rows = voice.rows[:, 0]
    middle = rows[:, STYLE:].mean(0).astype(np.float64)
    curve = torch.from_numpy(rows[:, STYLE:] - middle).float()
    said = predicted(studio.net, np.stack([middle, middle]), curve, texts, lambda *_: None)
    curves = np.concatenate([studio.render(tokens, voice).f0.numpy() for tokens in texts])
    heard = 12 * np.log2(np.median(curves[curves > 40]))
    assert abs(said[0, 0] - heard) < 0.5
    np.testing.assert_allclose(said[0], said[1], atol=1e-4)


def test_halves_are_drawn_around_voices_and_readers(known: np.ndarray) -> None:
    rows = np.concatenate([known, known], 1)
    spread = Spread(rows, np.zeros((510, 256)))
    said = known[:4] + 3.0
    halves = drawn_halves(spread, said, 100, 0)
    assert halves.shape == (124, STYLE)
    np.testing.assert_array_equal(halves[:24], np.concatenate([known, said]))
    around = halves[24:].mean(1) > 1.5
    assert around.sum() == 50
    np.testing.assert_array_equal(halves, drawn_halves(spread, said, 100, 0))


def test_a_voiceless_predictor_is_told(known: np.ndarray) -> None:
    said = np.full((20, 2), np.nan)
    with pytest.raises(VoicewrightError, match="no pitch"):
        taught_map(known, said, known, (said, said), 0)
