"""The score that chooses checkpoints, as a table: of two voices the one that a person would keep."""

from __future__ import annotations

from dataclasses import replace

import pytest

from voicewright.judge.score import MOST, WEIGHTS, Figures, score, shortfalls

# A man's recordings, as a finetuning met them: the first checkpoint spoke in the pitch it began with.
MAN = Figures(cer=0.10, similarity=0.90, pitch_hz=113, pitch_spread=2.8, pace=14.0, periodicity=0.50)
BEFORE = Figures(cer=0.276, similarity=0.78, pitch_hz=162.8, pitch_spread=2.6, pace=13.5, periodicity=0.50)
AFTER = Figures(cer=0.194, similarity=0.80, pitch_hz=116.7, pitch_spread=2.7, pace=13.8, periodicity=0.30)
GOOD = replace(MAN, cer=0.12, similarity=0.86)
DEAF = Figures(pitch_hz=113, pitch_spread=2.8, pace=14.0, periodicity=0.50)
"""The same without a recogniser and a speaker encoder."""


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        pytest.param(AFTER, BEFORE, id="the case: words, voice and pitch against periodicity"),
        pytest.param(
            replace(AFTER, periodicity=0.0), replace(BEFORE, similarity=0.80), id="no periodicity at all"
        ),
        pytest.param(GOOD, replace(GOOD, cer=0.20), id="words"),
        pytest.param(GOOD, replace(GOOD, similarity=0.75), id="voice"),
        pytest.param(GOOD, replace(GOOD, pitch_hz=140), id="too high"),
        pytest.param(GOOD, replace(GOOD, pitch_hz=90), id="too low"),
        pytest.param(replace(GOOD, pitch_hz=140), replace(GOOD, pitch_hz=190), id="higher still"),
        pytest.param(GOOD, replace(GOOD, pitch_spread=0.8), id="flat"),
        pytest.param(GOOD, replace(GOOD, pitch_spread=6.0), id="singing"),
        pytest.param(GOOD, replace(GOOD, pace=10.0), id="slow"),
        pytest.param(GOOD, replace(GOOD, pace=20.0), id="fast"),
        pytest.param(GOOD, replace(GOOD, periodicity=0.25), id="hoarse, all else alike"),
        pytest.param(GOOD, replace(GOOD, pitch_hz=0, pitch_spread=0, pace=0, cer=1.0), id="silence"),
        pytest.param(replace(GOOD, pitch_hz=150), replace(GOOD, pitch_hz=0), id="a whisper"),
        pytest.param(
            replace(GOOD, periodicity=0.2), replace(GOOD, pitch_hz=160), id="hoarse before wrongly pitched"
        ),
        pytest.param(replace(GOOD, periodicity=0.2), replace(GOOD, pace=9.0), id="hoarse before slow"),
    ],
)
def test_the_better_one_is_preferred(better: Figures, worse: Figures) -> None:
    assert score(better, MAN) > score(worse, MAN)
    # And without anything that needs a model to hear: where the two differ in what is left, the order stays.
    blind = [replace(one, cer=None, similarity=None) for one in (better, worse)]
    if blind[0] != blind[1]:
        assert score(blind[0], DEAF) > score(blind[1], DEAF)


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(MAN, id="the recordings"),
        pytest.param(replace(MAN, cer=0.0, similarity=0.99, periodicity=0.9), id="better than they are"),
        pytest.param(replace(MAN, pitch_hz=115, pace=14.4, pitch_spread=3.0), id="within her own range"),
    ],
)
def test_as_good_as_the_recordings_is_zero(made: Figures) -> None:
    assert score(made, MAN) == pytest.approx(0.0, abs=1e-12)


def test_the_old_score_would_have_kept_the_worse() -> None:
    """What the table guards against: periodicity at .25 outweighed the rest."""

    def old(made: Figures) -> float:
        assert made.cer is not None and made.similarity is not None and made.periodicity is not None
        words, alike = made.cer - 0.10, 0.90 - made.similarity
        return -words - alike - 0.25 * (1 - made.periodicity / 0.50)

    assert old(replace(AFTER, periodicity=0.0)) < old(BEFORE)
    assert score(replace(AFTER, periodicity=0.0), MAN) > score(BEFORE, MAN)


def test_no_shortfall_outgrows_its_bound() -> None:
    nothing = Figures(cer=1.0, similarity=0.0, pitch_hz=0, pitch_spread=0, pace=0, periodicity=0)
    found = shortfalls(nothing, MAN)
    assert set(found) == set(WEIGHTS)
    assert all(found[name] <= most for name, most in MOST.items())
    assert WEIGHTS["periodicity"] * MOST["periodicity"] <= 0.1


def test_what_was_not_measured_counts_for_neither() -> None:
    assert score(Figures(), MAN) == 0.0 and shortfalls(MAN, Figures()) == {}
    assert set(shortfalls(DEAF, MAN)) == {"pitch", "spread", "pace", "periodicity"}
