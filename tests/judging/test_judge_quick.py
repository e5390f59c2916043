"""What chooses checkpoints hears: two voices that differ in one fault, and the better one wins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
from test_judge import RATE, TEXTS, Ear, items, taught, voice

from voicewright.judging.ears import MoreEars
from voicewright.judging.quick import QuickJudge
from voicewright.judging.score import WEIGHTS
from voicewright.listen.artefacts import listen_for_artefacts, pooled


def spoken(fault: Callable[[np.ndarray], np.ndarray] = lambda clip: clip) -> list[np.ndarray]:
    """The texts by a voice like the recordings', with a fault or none."""
    return [fault(voice(text, 152.0, 40 + n)).astype(np.float32) for n, text in enumerate(TEXTS)]


def echo(samples: int) -> Callable[[np.ndarray], np.ndarray]:
    def add(clip: np.ndarray) -> np.ndarray:
        late = np.concatenate([np.zeros(samples), clip[:-samples]])
        return np.asarray(clip + 0.5 * late)

    return add


def lines(clip: np.ndarray) -> np.ndarray:
    time = np.arange(len(clip)) / RATE
    return np.asarray(clip + 0.01 * np.sin(2 * np.pi * 4800 * time) * (np.abs(clip) > 0))


def silent_ends(clip: np.ndarray) -> np.ndarray:
    """Speech falls silent within 0.3 s: what `voice` makes ends at once, which counts as held."""
    fade = np.ones(len(clip))
    length = int(0.3 * RATE)
    fade[-2400 - length : -2400] = np.linspace(1.0, 0.0, length) ** 2
    fade[-2400:] = 0.0
    return np.asarray(clip * fade, np.float32)


def hum(clip: np.ndarray) -> np.ndarray:
    """The last 0.4 s as one held tone instead of silence."""
    time = np.arange(int(0.4 * RATE)) / RATE
    return np.concatenate([clip, 0.05 * np.sin(2 * np.pi * 120 * time)])


def shrill(clip: np.ndarray) -> np.ndarray:
    spectrum = np.fft.rfft(clip)
    hertz = np.fft.rfftfreq(len(clip), 1 / RATE)
    return np.fft.irfft(spectrum * np.where((hertz > 2000) & (hertz < 3000), 4.0, 1.0), len(clip))


class Rater:
    """Gives every clip what it was told to give."""

    key, name = "distillmos", "Rater 1"

    def __init__(self, marks: float = 4.0) -> None:
        self.marks = marks

    def score(self, samples: np.ndarray, rate: int = RATE) -> float:
        return self.marks


class Known(Ear):
    """An encoder whose strangers are listed."""

    strangers = "resemblyzer"


class Unlisted(Ear):
    """An encoder whose strangers nobody measured."""

    strangers = ""


@pytest.mark.parametrize(
    ("fault", "term"),
    [
        pytest.param(echo(300), "echo", id="an echo at 12.5 ms"),
        pytest.param(echo(600), "echo", id="an echo at 25 ms"),
        pytest.param(lines, "lines", id="a line at 4.8 kHz"),
        pytest.param(hum, "hums", id="ends that hum"),
        pytest.param(shrill, "whistle", id="2 to 3 kHz 12 dB too loud"),
    ],
)
def test_the_same_voice_with_a_fault_loses(fault: Callable[[np.ndarray], np.ndarray], term: str) -> None:
    """No other ear is there: words, similarity and quality are alike, or not heard at all."""
    held = [replace(item, recording=silent_ends(item.recording)) for item in items()]
    quick = QuickJudge(held, None, None)
    sound, faulty = quick.score(spoken(silent_ends)), quick.score(spoken(lambda c: fault(silent_ends(c))))
    assert faulty.score < sound.score
    assert faulty.costs[term] > sound.costs[term] + 0.01
    assert sound.costs[term] == pytest.approx(0.0, abs=0.02)


def test_better_quality_wins_at_equal_words() -> None:
    held = items()
    clips = spoken()
    listener = taught([*[i.recording for i in held], *clips], [*TEXTS, *TEXTS])
    rater = Rater(4.4)
    quick = QuickJudge(held, listener, Ear(), more=MoreEars(quality=(rater,)))
    assert quick.recorded.quality == 4.4
    scores = {}
    for rater.marks in (3.0, 3.8):
        found = quick.score(clips)
        assert found.made.cer == 0.0 and found.made.quality == rater.marks
        scores[rater.marks] = found.score
    assert scores[3.8] - scores[3.0] == pytest.approx(0.8 * WEIGHTS["quality"])
    # Without such a judge both are one and the same, and nothing is invented.
    without = QuickJudge(held, listener, Ear()).score(clips)
    assert without.made.quality is None and "quality" not in without.costs
    assert "quality" not in without.measured()


def test_similarity_is_the_mean_of_the_encoders_with_strangers() -> None:
    quick = QuickJudge(items(), None, Known(), more=MoreEars(second=Known()))
    assert quick.recorded.likeness == pytest.approx(1.0)
    alone = QuickJudge(items(), None, Known())
    made = alone.score(spoken(shrill)).made
    assert quick.score(spoken(shrill)).made.likeness == pytest.approx(made.likeness)
    assert made.likeness is not None and made.likeness < 1.0
    assert QuickJudge(items(), None, Unlisted()).recorded.likeness is None


def test_scores_name_their_ears() -> None:
    full = QuickJudge(items(), taught([], []), Ear(), more=MoreEars(Known(), (Rater(),)))
    deaf = QuickJudge(items(), None, None)
    assert full.ears.split("; ")[1:] == ["listener", "ear", "ear", "Rater 1"]
    assert deaf.ears != full.ears and deaf.ears.startswith("score ")


def test_pooled_faults_are_those_of_the_report() -> None:
    """The report pools by sums, for its intervals; the score from the clips: the figures are the same."""
    from voicewright.judging.measures import artefact_measures

    clips = spoken(echo(300))
    found = [listen_for_artefacts(clip, np.full(len(clip) // 300 + 1, 150.0)) for clip in clips]
    together = pooled(found)
    measures = {one.key: one for one in artefact_measures(0.0)}
    fields = {"echo_12": "echo_12_5", "echo_25": "echo_25", "lines": "lines", "level_2_3": "level_2_3_khz"}

    @dataclass
    class Judged:
        artefacts: object

    for key, name in (*fields.items(), ("hums", "hums")):
        sums = np.sum([measures[key].sums(Judged(one)) for one in found], axis=0)  # type: ignore[arg-type]
        assert float(measures[key].figure(sums)) == pytest.approx(together[name], abs=1e-9)
