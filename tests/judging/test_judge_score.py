"""The score that chooses checkpoints, as a table: of two voices the one that a person would keep."""

from __future__ import annotations

from dataclasses import replace

import pytest

from voicewright.judging.score import MOST, WEIGHTS, Figures, score, shortfalls

# A man's recordings, as a finetuning met them: the first checkpoint spoke in the pitch it began with.
MAN = Figures(
    cer=0.10, similarity=0.90, likeness=1.0, quality=4.2, pitch_hz=113, pitch_spread=2.8, pace=14.0,
    periodicity=0.50, echo=0.03, lines_db=0.4, whistle_db=-18.0, hums=0.0,
)  # fmt: skip
BEFORE = Figures(cer=0.276, similarity=0.78, pitch_hz=162.8, pitch_spread=2.6, pace=13.5, periodicity=0.50)
AFTER = Figures(cer=0.194, similarity=0.80, pitch_hz=116.7, pitch_spread=2.7, pace=13.8, periodicity=0.30)
GOOD = replace(MAN, cer=0.12, similarity=0.86, likeness=0.9, quality=3.8)
DEAF = replace(MAN, cer=None, similarity=None, likeness=None, quality=None)
"""The same without a recogniser, speaker encoders and a judge of quality."""


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        pytest.param(AFTER, BEFORE, id="the case: words, voice and pitch against periodicity"),
        pytest.param(
            replace(AFTER, periodicity=0.0), replace(BEFORE, similarity=0.80), id="no periodicity at all"
        ),
        pytest.param(GOOD, replace(GOOD, cer=0.20), id="words"),
        pytest.param(GOOD, replace(GOOD, likeness=0.6), id="voice"),
        pytest.param(
            replace(GOOD, likeness=None),
            replace(GOOD, likeness=None, similarity=0.75),
            id="voice, no strangers",
        ),
        pytest.param(GOOD, replace(GOOD, quality=3.5), id="quality, words alike"),
        pytest.param(GOOD, replace(GOOD, echo=0.4), id="an echo"),
        pytest.param(GOOD, replace(GOOD, lines_db=6.0), id="lines of the generator"),
        pytest.param(GOOD, replace(GOOD, whistle_db=-12.0), id="2 to 3 kHz too loud"),
        pytest.param(GOOD, replace(GOOD, hums=0.5), id="ends that hum"),
        pytest.param(replace(GOOD, quality=3.6), replace(GOOD, echo=0.5), id="duller before an echo"),
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
    blind = [replace(one, cer=None, similarity=None, likeness=None, quality=None) for one in (better, worse)]
    if blind[0] != blind[1]:
        assert score(blind[0], DEAF) > score(blind[1], DEAF)


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(MAN, id="the recordings"),
        pytest.param(
            replace(MAN, cer=0.0, similarity=0.99, likeness=1.1, quality=4.6, periodicity=0.9, lines_db=-1.0),
            id="better than they are",
        ),
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


def test_a_slight_echo_does_not_outweigh_words() -> None:
    assert score(replace(GOOD, echo=0.2), MAN) > score(replace(GOOD, cer=0.3), MAN)


def test_no_shortfall_outgrows_its_bound() -> None:
    nothing = Figures(
        cer=1.0, similarity=0.0, likeness=-3.0, quality=1.0, pitch_hz=0, pitch_spread=0, pace=0,
        periodicity=0, echo=5.0, lines_db=60.0, whistle_db=0.0, hums=1.0,
    )  # fmt: skip
    found = shortfalls(nothing, MAN)
    assert set(found) == set(WEIGHTS)
    assert all(found[name] <= most for name, most in MOST.items())
    assert WEIGHTS["periodicity"] * MOST["periodicity"] <= 0.1
    # No artefact alone counts for more than half of all words.
    assert all(WEIGHTS[name] * MOST[name] <= 0.5 for name in ("echo", "lines", "whistle", "hums"))


def test_what_was_not_measured_counts_for_neither() -> None:
    assert score(Figures(), MAN) == 0.0 and shortfalls(MAN, Figures()) == {}
    assert set(shortfalls(DEAF, MAN)) == set(WEIGHTS) - {"words", "similarity", "quality"}
