"""Joins of converted blocks, against numbers of RVC-WebUI's and w-okada's own loops on the same sines."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from voicewright.conversion.sola import Sola, best_offset, partial_fade, sine_fade

Blocks = list[np.ndarray]


def sines(rate: int, block: int, crossfade: int, search: int, count: int = 6) -> Blocks:
    """Windows of a gliding tone, each up to `search` samples early, as a converter's blocks are."""
    time = np.arange(rate * 4) / rate
    shifts = np.random.default_rng(3)
    phase = 2 * np.pi * np.cumsum(140 * 2 ** (0.3 * np.sin(2 * np.pi * 1.3 * time))) / rate
    voice = 0.3 * np.sin(phase) + 0.2 * np.sin(2 * phase + 1) + 0.1 * np.sin(3 * phase + 0.5)
    voice = (voice + 0.05 * np.sin(2 * np.pi * 1234.5 * time)).astype(np.float32)
    starts = [1000 + i * block - int(shifts.integers(0, search + 1)) for i in range(count)]
    return [voice[start : start + block + crossfade + search].copy() for start in starts]


# Offsets and samples that upstream's lines gave for these windows (RVC-WebUI 20240604, w-okada master
# ae6b8ba).
UPSTREAM: list[tuple[Callable[[int, int], Sola], int, int, int, int, list[int], list[float]]] = [
    (
        Sola,
        *(40_000, 10_000, 1_600, 400),
        [0, 203, 240, 263, 241, 141],
        [-0.2761768, 0.2088763, 0.0594558, 0.0129299, 0.3515036],
    ),
    (
        Sola,
        *(48_000, 12_000, 1_920, 480),
        [0, 241, 286, 313, 287, 167],
        [0.3453608, -0.4760045, -0.2132911, -0.4988653, 0.0450799],
    ),
    (
        Sola,
        *(8_000, 1_000, 200, 80),
        [0, 37, 45, 50, 45, 37],
        [-0.5010258, 0.1325568, 0.3971864, -0.0400547, 0.1832676],
    ),
    (
        Sola.wokada,
        *(48_000, 24_576, 4_096, 576),
        [576, 157, 211, 244, 212, 570],
        [-0.3539705, -0.4454145, -0.0357217, 0.0761304, 0.0819084],
    ),
    (
        Sola.wokada,
        *(8_000, 1_024, 512, 96),
        [96, 26, 35, 40, 35, 95],
        [0.0738244, -0.0653317, 0.1476652, 0.0503283, -0.0048444],
    ),
]


@pytest.mark.parametrize(("make", "rate", "block", "crossfade", "search", "offsets", "samples"), UPSTREAM)
def test_joins_are_upstreams(
    make: Callable[[int, int], Sola],
    rate: int,
    block: int,
    crossfade: int,
    search: int,
    offsets: list[int],
    samples: list[float],
) -> None:
    sola = make(crossfade, search)
    joined, found = [], []
    for window in sines(rate, block, crossfade, search):
        joined.append(sola.join(window))
        found.append(sola.offset)
    assert found == offsets
    out = np.concatenate(joined)
    places = [block * k + 7 * k + crossfade // 3 for k in range(1, 6)]
    np.testing.assert_allclose(out[places], samples, atol=2e-7)


def test_a_join_follows_the_waveform() -> None:
    """Blocks that are up to 10 ms early come out as one tone; butt joints would jump."""
    rate, block, crossfade, search = 8_000, 1_000, 200, 80
    sola = Sola(crossfade, search)
    out = np.concatenate([sola.join(window) for window in sines(rate, block, crossfade, search)])
    curvature = np.abs(np.diff(out[crossfade:], 2))
    butt = np.concatenate([w[:block] for w in sines(rate, block, crossfade, search)])
    assert curvature.max() < 1.1 * np.abs(np.diff(sines(rate, 4_000, 0, 0, 1)[0], 2)).max()
    assert np.abs(np.diff(butt, 2)).max() > 3 * curvature.max()


def test_fades_add_up_to_one() -> None:
    for fade in (sine_fade(160), partial_fade(160), partial_fade(160, 0.0, 1.0), partial_fade(160, 0.3, 0.3)):
        np.testing.assert_allclose(fade.rising + fade.falling, 1.0, atol=1e-12)
    with pytest.raises(ValueError, match="the end after the start"):
        partial_fade(160, 0.9, 0.1)


def test_silence_joins_at_the_first_place() -> None:
    assert best_offset(np.zeros(300, np.float32), np.zeros(200, np.float32), 100) == 0
    sola = Sola(200, 100)
    assert not sola.join(np.zeros(1300, np.float32)).any()


def test_after_a_reset_a_block_fades_in() -> None:
    sola = Sola(200, 0)
    sola.join(np.ones(1200, np.float32))
    assert sola.join(np.ones(1200, np.float32))[0] == pytest.approx(1.0)
    sola.reset()
    assert sola.join(np.ones(1200, np.float32))[0] == 0.0


def test_a_block_shorter_than_its_crossfade_is_refused() -> None:
    with pytest.raises(ValueError, match="shorter than its crossfade"):
        Sola(200, 0).join(np.zeros(399, np.float32))
