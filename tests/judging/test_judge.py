"""The judge as a whole: pairs in, a report out. Engine, recogniser and speaker encoder are fakes here."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from voicewright.engines.protocol import Speech
from voicewright.errors import UsageError, VoicewrightError
from voicewright.judging.judge import Beside, judge, judge_model
from voicewright.judging.quick import QuickJudge
from voicewright.judging.report import MAX_PLAYERS, render, write_report
from voicewright.judging.result import Item, Judgement, Pair
from voicewright.listen import speaker

RATE = 24_000
TEXTS = ("The cat sat.", "A dog <b>barked</b> & ran.", "It rained all day.", "Nobody came to the house.")


def voice(text: str, base: float = 150.0, seed: int = 0) -> np.ndarray:
    """A buzz whose length follows the text and whose pitch falls."""
    count = 4000 + 500 * len(text)
    time = np.arange(count) / RATE
    phase = 2 * np.pi * np.cumsum(base * (1.2 - 0.3 * time / time[-1])) / RATE
    wave = sum(np.cos(k * phase) / k for k in range(1, 20))
    breath = np.random.default_rng(seed).standard_normal(count) * 0.02
    edge = np.zeros(2400)
    return np.concatenate([edge, 0.1 * wave + breath, edge]).astype(np.float32)


class Listener:
    """Hears what it was told that a clip says; the key is the clip's length and loudness."""

    name = "listener"

    def __init__(self) -> None:
        self.known: dict[tuple[int, float], str] = {}

    def teach(self, clip: np.ndarray, text: str) -> None:
        self.known[len(clip), round(float(np.abs(clip).sum()), 2)] = text

    def transcribe(self, samples: np.ndarray) -> str:
        return self.known.get((len(samples), round(float(np.abs(samples).sum()), 2)), "")

    def transcribe_many(self, clips: Sequence[np.ndarray], progress: object = None) -> list[str]:
        return [self.transcribe(clip) for clip in clips]


class Ear(speaker.SpeakerEncoder):
    """The mean spectrum as a voice; needs no weights."""

    def __init__(self) -> None:
        self.name = "ear"

    def embed(self, samples: np.ndarray, rate: int = RATE) -> np.ndarray:
        spectrum = np.log(speaker.mel_power(samples).mean(axis=0) + 1e-6)
        vector = np.zeros(256, np.float32)
        vector[:40] = spectrum - spectrum.min()
        return vector / np.linalg.norm(vector)


class Talker:
    """An engine at 22.05 kHz that refuses one text."""

    def __init__(self, refuse: str | None = None) -> None:
        self.refuse = refuse
        self.seeds: list[int] = []

    def speak(self, text: str, voice: object = None, speed: float = 1.0, seed: int = 0) -> Speech:
        if text == self.refuse:
            raise VoicewrightError("This text cannot be spoken.")
        self.seeds.append(seed)
        return Speech(globals()["voice"](text, 170.0, seed), 22_050, ())


def items() -> list[Item]:
    return [Item(f"u{n}", text, voice(text, seed=100 + n)) for n, text in enumerate(TEXTS)]


def taught(clips: Sequence[np.ndarray], texts: Sequence[str]) -> Listener:
    listener = Listener()
    for clip, text in zip(clips, texts, strict=True):
        listener.teach(clip, text)
    return listener


@pytest.fixture(scope="module")
def judged() -> tuple[Judgement, list[Pair]]:
    pairs = [
        Pair(i.id, i.text, i.recording, voice(i.text, 200.0, 7), voice(i.text, 150.0, 8)) for i in items()
    ]
    listener = taught([p.recording for p in pairs], TEXTS)
    for number, pair in enumerate(pairs):
        listener.teach(pair.synthesised, "wrong words" if number == 1 else pair.text)
        assert pair.copy_synthesis is not None
        listener.teach(pair.copy_synthesis, pair.text)
    listener.teach(pairs[0].recording, "the cat sad")
    return judge(pairs, listener, Ear(), resamples=100, conditions={"model": "m"}), pairs


def test_figures_of_both_sides(judged: tuple[Judgement, list[Pair]]) -> None:
    result, _ = judged
    wer = result.line("wer")
    assert wer.recordings is not None and wer.synthesised is not None and wer.copy_synthesis is not None
    assert wer.recordings.value == pytest.approx(1 / 20) or wer.recordings.value > 0
    assert wer.synthesised.value > wer.recordings.value and wer.copy_synthesis.value == 0.0
    assert wer.met is False
    pitch = result.line("f0_mean")
    assert pitch.ratio is not None and pitch.copy_ratio is not None
    assert pitch.ratio.value == pytest.approx(200 / 150, rel=0.03) and pitch.met is False
    assert pitch.copy_ratio.value == pytest.approx(1.0, abs=0.02)
    speaking = result.line("speaking")
    assert (
        speaking.ratio is not None and speaking.ratio.value == pytest.approx(1.0, abs=0.02) and speaking.met
    )
    clipped = result.line("clipped")
    assert clipped.met is True and clipped.aim == "0"
    assert result.utterances[0].id == "u1" and result.utterances[0].synthesised.heard == "wrong words"
    assert result.conditions["model"] == "m" and result.conditions["recogniser"] == "listener"


def test_recordings_against_themselves_are_level() -> None:
    pairs = [Pair(i.id, i.text, i.recording, i.recording) for i in items()]
    result = judge(pairs, taught([p.recording for p in pairs], TEXTS), Ear(), resamples=50)
    for line in result.summary:
        if line.ratio is not None:
            assert line.ratio.value == pytest.approx(1.0, abs=1e-6), line.key
        assert line.met is not False or line.key == "similarity", line.key
    similarity = result.line("similarity")
    assert similarity.synthesised is not None and similarity.recordings is not None
    assert similarity.synthesised.value == pytest.approx(similarity.recordings.value, abs=1e-5)


def test_same_seed_same_judgement() -> None:
    pairs = [Pair(i.id, i.text, i.recording, voice(i.text, 190.0)) for i in items()]
    listener = taught([p.recording for p in pairs], TEXTS)

    def once(seed: int) -> dict[str, object]:
        kept = judge(pairs, listener, Ear(), seed=seed, resamples=100).model_dump()
        kept.pop("conditions")
        return kept

    assert once(1) == once(1)
    assert once(1) != once(2)


def test_report_is_one_page_that_asks_for_nothing(
    judged: tuple[Judgement, list[Pair]], tmp_path: Path
) -> None:
    result, pairs = judged
    page, data = write_report(result, pairs, tmp_path / "new" / "report")
    text = page.read_text("utf-8")
    assert not re.search(r"(?:src|href|action|poster)\s*=\s*[\"'](?!data:)", text)
    assert not re.search(r"https?://|url\(|@import|<script|<link|<iframe", text)
    players = re.findall(r'<audio [^>]*src="data:audio/mpeg;base64,[A-Za-z0-9+/=]+"', text)
    assert len(players) == 12 <= MAX_PLAYERS  # four utterances, three sides
    assert text.count("data:image/webp;base64,") == 5 + 12 + 4
    assert "<b>words</b> listener" in text and "<b>quality</b> nobody (see the notes)" in text
    assert "&lt;b&gt;barked&lt;/b&gt; &amp; ran." in text and "<b>barked" not in text
    assert "$" not in re.sub(r"base64,[^\"]*", "", text)
    assert Judgement.model_validate(json.loads(data.read_text("utf-8"))) == result


def test_json_keeps_its_shape(judged: tuple[Judgement, list[Pair]]) -> None:
    """Scripts read this: a change here is a change of `schema_version`."""
    found = judged[0].model_dump()
    assert found["schema_version"] == 3
    assert set(found) == {
        "schema_version", "title", "conditions", "summary", "tones", "copy_tones", "sound", "utterances",
        "notes", "ways",
    }  # fmt: skip
    assert [line["key"] for line in found["summary"]] == [
        "wer", "cer", "wer_mean", "wer_capped", "wer_median", "cer_mean", "cer_capped", "cer_median",
        "similarity", "similarity_normalised", "echo_12", "echo_25", "lines", "level_2_3", "whistle", "hums",
        "tones", "f0_mean", "f0_sd", "f0_range", "voiced", "speaking", "rate", "pauses", "leading",
        "trailing",
        "clipped", "dc", "lufs", "periodicity", "visible_to", "ltas", "distance",
    ]  # fmt: skip
    assert set(found["summary"][0]) == {
        "key", "label", "unit", "digits", "explanation", "synthesised", "recordings", "copy_synthesis",
        "ratio", "copy_ratio", "aim", "met", "group", "difference",
    }  # fmt: skip
    assert set(found["utterances"][0]) == {
        "id", "text", "spoken_text", "synthesised", "recording", "copy_synthesis", "spectral_distance",
        "copy_distance", "beside",
    }  # fmt: skip
    assert set(found["sound"]) == {"synthesised", "recordings", "copy_synthesis"}


def test_judging_an_engine(tmp_path: Path) -> None:
    engine = Talker(refuse=TEXTS[2])
    stages: set[str] = set()
    result = judge_model(
        engine, items(), tmp_path, recogniser=Listener(), encoder=Ear(), seed=40,
        progress=lambda stage, done, total: stages.add(stage),
    )  # fmt: skip
    assert engine.seeds == [40, 41, 43]
    assert "u2 was not spoken: This text cannot be spoken." in result.notes
    silent = next(row for row in result.utterances if row.id == "u2")
    assert (silent.synthesised.wer, silent.synthesised.similarity) == (1.0, 0.0)
    assert (tmp_path / "report.html").is_file() and (tmp_path / "report.json").is_file()
    assert {"speaking", "measuring"} <= stages
    # 22.05 kHz samples were brought to 24 kHz: pitch is what was spoken.
    pitch = result.line("f0_mean").ratio
    assert pitch is not None and pitch.value == pytest.approx(170 / 150 * 22_050 / 24_000, rel=0.03)


def test_others_beside_the_model(tmp_path: Path) -> None:
    """Figures of each, their paired difference from the model's, players, and what making them took."""

    class Higher(Talker):
        def speak(self, text: str, voice: object = None, speed: float = 1.0, seed: int = 0) -> Speech:
            super().speak(text, voice, speed, seed)
            return Speech(globals()["voice"](text, 340.0, seed), RATE, ())

    others = [Beside("same", Talker()), Beside("high", Higher(refuse=TEXTS[0]), work="<none>")]
    result = judge_model(
        Talker(), items(), tmp_path, recogniser=Listener(), encoder=Ear(), seed=40,
        name="me, fitted", work="5 min", beside=others, notes=["said"],
    )  # fmt: skip
    assert [way.name for way in result.ways] == ["me, fitted", "same", "high"]
    assert "high: u0 was not spoken: This text cannot be spoken." in result.notes and "said" in result.notes
    same, high = result.ways[1].figure("f0_mean"), result.ways[2].figure("f0_mean")
    assert same is not None and high is not None
    assert (same.difference.value, same.difference.low, same.difference.high) == (0.0, 0.0, 0.0)
    mine = result.line("f0_mean").synthesised
    assert mine is not None and high.reached.value == pytest.approx(
        2 * mine.value * 24_000 / 22_050, rel=0.03
    )
    assert high.difference.value == pytest.approx(high.reached.value - mine.value, abs=1e-5)
    assert high.difference.low is not None and high.difference.low > 50
    page = (tmp_path / "report.html").read_text("utf-8")
    assert page.count("<audio ") == 4 * 3 <= MAX_PLAYERS  # three utterances, four who read
    assert "&lt;none&gt;" in page and "5 min" in page and "<b>" + f"{high.reached.value:.1f}" in page
    one = Pair("a", "Text.", voice("Text."), voice("Text."), beside={"x": voice("Text.")})
    with pytest.raises(UsageError, match="not read by the same"):
        judge([one, Pair("b", "Text.", voice("Text."), voice("Text."))], Listener(), Ear())


def test_samples_that_are_not_numbers_are_named() -> None:
    pairs = [Pair(i.id, i.text, i.recording, i.recording.copy()) for i in items()]
    pairs[0].synthesised[5000:5010] = np.nan
    pairs = pairs[:2]
    result = judge(pairs, Listener(), Ear(), resamples=20)
    assert any("u0" in note and "not numbers" in note for note in result.notes)
    json.dumps(result.model_dump(), allow_nan=False)
    render(result, pairs)


def test_wrong_pairs_are_refused() -> None:
    one = Pair("a", "Text.", voice("Text."), voice("Text."))
    with pytest.raises(UsageError, match="at least two"):
        judge([one], Listener(), Ear())
    with pytest.raises(UsageError, match="'a' comes twice"):
        judge([one, one], Listener(), Ear())
    mute = Pair("b", "Text.", np.zeros(RATE, np.float32), voice("Text."))
    with pytest.raises(VoicewrightError, match="silent: b"):
        judge([one, mute], Listener(), Ear())
    wordless = Pair("c", "…", voice("Text."), voice("Text."))
    with pytest.raises(VoicewrightError, match="no words"):
        judge([one, wordless], Listener(), Ear())


def test_quick_score_orders_voices() -> None:
    held_out = items()
    listener = taught([i.recording for i in held_out], TEXTS)
    quick = QuickJudge(held_out, listener, Ear())
    perfect = quick.score([i.recording for i in held_out])
    assert perfect.score == pytest.approx(0.0, abs=1e-5) and perfect.made.cer == 0.0
    deaf = quick(Talker())
    assert deaf.made.cer == 1.0 and deaf.score < -0.9
    assert quick(Talker()).score == deaf.score
    refused = quick(Talker(refuse=TEXTS[0]))
    assert refused.made.similarity < deaf.made.similarity
    flat = deaf.measured()
    assert flat["score"] == deaf.score == pytest.approx(-sum(deaf.costs.values()))
    assert flat["cer"] == 1.0 and flat["recordings_cer"] == 0.0 and flat["cost_words"] == 1.0
    with pytest.raises(UsageError, match="at least two"):
        QuickJudge(held_out[:1], listener, Ear())


def test_windows_over_a_clip() -> None:
    assert speaker.partial_starts(10) == [0]
    assert speaker.partial_starts(int(16_000 * 1.9)) == [0]
    long = speaker.partial_starts(16_000 * 10)
    assert long[1] - long[0] == 77 and long[-1] * 160 + 0.75 * 25_600 <= 160_000


def test_slaney_filters_have_equal_area_and_known_centres() -> None:
    filters = speaker.slaney_filters(16_000, 4096, 40)
    assert filters.shape == (40, 2049)
    areas = filters.sum(axis=1) * (16_000 / 4096)
    assert np.allclose(areas, 1.0, atol=0.05)
    # 40 filters on 0-8 kHz: 45.245 mel in 41 steps, linear 66.67 Hz a mel at the bottom.
    assert filters[0].argmax() * 16_000 / 4096 == pytest.approx(73.6, abs=4)


def test_silence_is_cut_from_a_speaker_sample() -> None:
    loud = np.random.default_rng(0).standard_normal(16_000).astype(np.float32) * 0.1
    clip = np.concatenate([loud, np.zeros(32_000, np.float32), loud])
    kept = speaker.speech_only(clip)
    assert 32_000 <= len(kept) <= 32_000 + 2 * 8 * 480


def test_speaker_weights_absent_or_wrong(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "pretrained.pt"
    broken.write_bytes(b"PK no weights")
    with pytest.raises(VoicewrightError, match="not Resemblyzer's weights"):
        speaker.SpeakerEncoder(broken)
    torch.save({"other": 1}, broken)
    with pytest.raises(VoicewrightError, match="not Resemblyzer's weights"):
        speaker.SpeakerEncoder(broken)
    monkeypatch.setattr(speaker.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(VoicewrightError, match="pip install --no-deps"):
        speaker.find_weights()


def test_speaker_encoder_is_deaf_to_level_and_hears_voices() -> None:
    try:
        encoder = speaker.SpeakerEncoder()
    except VoicewrightError:
        pytest.skip("the Resemblyzer package is not installed")
    low, high = voice(TEXTS[3], 100.0), voice(TEXTS[3], 320.0)
    one = encoder.embed(low)
    assert one.shape == (256,) and float(one @ one) == pytest.approx(1.0, abs=1e-5) and one.min() >= 0
    assert float(one @ encoder.embed(voice(TEXTS[2], 100.0, 5))) > float(one @ encoder.embed(high)) + 0.05
    assert float(one @ encoder.embed(low * np.float32(0.2))) > 0.999
    with pytest.raises(VoicewrightError, match="silent"):
        encoder.embed(np.zeros(RATE, np.float32))


def test_similarity_leaves_the_clip_itself_out() -> None:
    a, b = np.eye(256, dtype=np.float32)[0], np.eye(256, dtype=np.float32)[1]
    assert speaker.similarity_among(np.stack([a, a, b])) == pytest.approx([0.7071, 0.7071, 0.0], abs=1e-3)
    assert speaker.similarity_to_voice(np.stack([a, b]), np.stack([a, a])) == pytest.approx([1.0, 0.0])
    assert speaker.similarity_among(a[None]) == pytest.approx([1.0])
