"""A voicepack in a moment: what encoders hear, what is written, what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch
from test_fit import studio as studio
from test_fit import third, voice

import voicewright
from voicewright.catalogue.shipped import style_encoders
from voicewright.cli import main
from voicewright.errors import UsageError, VoicewrightError
from voicewright.jobs.clone import encoders_for, speech_of
from voicewright.voices.fit_ears import open_encoders
from voicewright.voices.pack import Voicepack
from voicewright.voices.phones import open_phone_ear
from voicewright.voices.studio import SENTENCES, Studio
from voicewright.voices.style_encoders import (
    ENCODERS,
    PROSODY,
    TIMBRE,
    StyleEncoders,
    both_encoders,
    count_phones,
    impression,
    load_encoders,
    save_encoders,
)

__all__ = ["third", "voice"]
SHIPPED = style_encoders("kokoro")
needs_shipped = pytest.mark.skipif(SHIPPED is None, reason="no style encoders in this tree")


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory, studio: Studio, voice: Voicepack) -> Path:
    """Four sentences of the embedded voice, one after the other."""
    clips = studio.clips(voice, studio.lines(SENTENCES[:4], "en-us"))
    path = tmp_path_factory.mktemp("spoken") / "me.wav"
    soundfile.write(path, np.concatenate(clips), 24_000)
    return path


def test_encoders_are_kept_whole(tmp_path: Path) -> None:
    torch.manual_seed(2)
    net = StyleEncoders(8)
    torch.nn.init.normal_(net.timbre.outer.weight)
    net.curve.normal_()
    save_encoders(tmp_path / "e.safetensors", net, {"readers": 7})
    found, facts = load_encoders(tmp_path / "e.safetensors")
    assert facts == {"readers": 7}
    for name, value in net.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], value, atol=2e-3, rtol=2e-3)
    with pytest.raises(VoicewrightError, match="holds no style encoders"):
        load_encoders(Path(__file__))
    net.curve[0, 0] = torch.inf
    with pytest.raises(VoicewrightError, match="nothing was written"):
        save_encoders(tmp_path / "bad.safetensors", net, {})
    assert not (tmp_path / "bad.safetensors").exists()


@pytest.mark.usefixtures("third")
def test_halves_come_from_their_own_numbers(spoken: Path) -> None:
    """Timbre moves the acoustic half alone; pitch the prosodic one alone."""
    torch.manual_seed(2)
    net = StyleEncoders(8).eval()
    clips, _ = speech_of(spoken)
    ear = open_phone_ear(pytest.fail)
    assert ear is not None
    heard = impression(clips, *both_encoders(open_encoders(pytest.fail)), ear)
    assert heard.timbre.shape == (TIMBRE,) and heard.prosody().shape == (PROSODY + TIMBRE,)
    assert np.linalg.norm(heard.timbre[:192]) == pytest.approx(1, abs=1e-3)
    higher = replace(heard, portrait=replace(heard.portrait, pitch=heard.portrait.pitch + 12))
    one, other = net.pack(heard).rows, net.pack(higher).rows
    assert np.array_equal(one[..., :128], other[..., :128])
    assert np.abs(one[..., 128:] - other[..., 128:]).max() > 1e-3


def test_phones_are_counted_without_a_text(studio: Studio, voice: Voicepack) -> None:
    """About as many as the text has sounds: marks and spaces are none."""
    ear = open_phone_ear(pytest.fail)
    assert ear is not None
    lines = studio.lines(SENTENCES[:4], "en-us")
    for line, clip in zip(lines, studio.clips(voice, lines), strict=True):
        assert 0.6 < count_phones(clip, ear) / (line.tokens.shape[1] - 2) < 1.3


def test_speech_is_found_levelled_and_no_more_than_serves(tmp_path: Path, spoken: Path) -> None:
    sound, rate = soundfile.read(spoken, dtype="float32")
    soundfile.write(tmp_path / "quiet.wav", np.concatenate([np.zeros(rate * 5), 0.02 * sound]), rate)
    loud, quiet = speech_of(spoken)[0], speech_of(tmp_path / "quiet.wav")[0]
    assert sum(map(len, quiet)) == pytest.approx(sum(map(len, loud)), rel=0.1)
    level = [np.sqrt(np.mean(np.concatenate(clips) ** 2)) for clips in (loud, quiet)]
    assert level[0] == pytest.approx(level[1], rel=0.1)
    soundfile.write(tmp_path / "long.wav", np.tile(sound, 30), rate)
    assert 110 < sum(map(len, speech_of(tmp_path / "long.wav")[0])) / 24_000 < 130


def test_what_a_voice_will_suffer_from_is_told(tmp_path: Path, spoken: Path) -> None:
    sound, rate = soundfile.read(spoken, dtype="float32")
    assert speech_of(spoken)[1] == []
    soundfile.write(tmp_path / "loud.wav", np.clip(sound / np.abs(sound).max() * 6, -1, 1), rate)
    assert "cut off" in speech_of(tmp_path / "loud.wav")[1][0]
    soundfile.write(tmp_path / "phone.wav", soxr.resample(sound, rate, 8000), 8000)
    assert "as telephones do" in speech_of(tmp_path / "phone.wav")[1][0]


def test_what_cannot_be_read_of_a_folder_is_told(tmp_path: Path, spoken: Path) -> None:
    (tmp_path / "a.wav").write_bytes(spoken.read_bytes())
    (tmp_path / "b.wav").write_bytes(b"RIFF")
    clips, notes = speech_of(tmp_path)
    assert clips and len(notes) == 1 and "b.wav is left out" in notes[0]


@needs_shipped
@pytest.mark.usefixtures("third")
def test_recordings_become_a_pack_in_a_moment(spoken: Path, tmp_path: Path) -> None:
    out = tmp_path / "me.pt"
    made = voicewright.clone(spoken, out, consent="hers", progress=lambda *_: None)
    assert made.voice == out and made.heard_seconds > 4 and 120 < made.pitch < 260
    card = json.loads(out.with_suffix(".json").read_text("utf-8"))
    assert card["consent"] == "hers" and card["made"] == "voicewright clone" and card["kind"] == "voicepack"
    rows = Voicepack.read(out).rows[:, 0]
    assert np.ptp(rows, axis=0).max() > 0.05  # the curve over length
    assert 0.5 < np.linalg.norm(rows.mean(0)[:128]) < 6
    again = tmp_path / "again.pt"
    voicewright.clone(spoken, again, progress=lambda *_: None)
    np.testing.assert_array_equal(Voicepack.read(again).rows[:, 0], rows)


@needs_shipped
def test_the_shipped_encoders_say_what_they_heard() -> None:
    _, facts = encoders_for("kokoro")
    assert "readers" in facts and "CC BY" in str(facts["licence"])
    assert SHIPPED is not None and SHIPPED.stat().st_size < 16e6


@pytest.mark.parametrize(
    ("source", "out", "more", "code", "words"),
    [
        ("{spoken}", "me.txt", [], 2, "names no voicepack"),
        ("{spoken}", "there/is/none/me.pt", [], 2, "there is no folder"),
        ("{tmp}/nothing", "me.pt", [], 2, "no recordings at"),
        ("{tmp}/empty", "me.pt", [], 1, "holds no recordings"),
        ("{tmp}/silence.wav", "me.pt", [], 1, "0.0 s of speech"),
        ("{tmp}/short.wav", "me.pt", [], 1, "better ten, of one person"),
        ("{tmp}/text.wav", "me.pt", [], 1, "text.wav"),
        ("{spoken}", "me.pt", ["-m", "tiny"], 2, "no style encoders have been taught for tiny"),
        ("{spoken}", "me.pt", ["--encoders", "{tmp}/empty"], 2, "no style encoders at"),
        ("{spoken}", "me.pt", ["-m", "no-such-model"], 2, "no-such-model"),
        ("{spoken}", "me.pt", ["--statement", "{tmp}/none.wav"], 2, "no statement at"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(
    spoken: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    source: str,
    out: str,
    more: list[str],
    code: int,
    words: str,
) -> None:
    if SHIPPED is None and not more and code == 1:
        pytest.skip("no style encoders in this tree")
    (tmp_path / "empty").mkdir()
    soundfile.write(tmp_path / "silence.wav", np.zeros(100_000), 24_000)
    sound, rate = soundfile.read(spoken, dtype="float32")
    soundfile.write(tmp_path / "short.wav", sound[: int(1.5 * rate)], rate)
    (tmp_path / "text.wav").write_text("no sound at all", "utf-8")
    places = {"spoken": spoken, "tmp": tmp_path}
    given = [part.format(**places) for part in more]
    assert main(["clone", source.format(**places), "-o", str(tmp_path / out), *given]) == code
    told = capsys.readouterr().err
    assert words in told.splitlines()[-1] and "Traceback" not in told
    assert not list(tmp_path.rglob("me.*"))


@pytest.mark.usefixtures("third")
def test_encoders_of_ones_own_are_used(tmp_path: Path, spoken: Path) -> None:
    """As a run of `train clone` leaves them, for a model that has none."""
    torch.manual_seed(2)
    (tmp_path / "run" / "best").mkdir(parents=True)
    save_encoders(tmp_path / "run" / "best" / ENCODERS, StyleEncoders(8), {"name": "mine"})
    out = tmp_path / "me.pt"
    assert (
        main(["clone", str(spoken), "-o", str(out), "-m", "tiny", "--encoders", str(tmp_path / "run")]) == 0
    )
    assert json.loads(out.with_suffix(".json").read_text("utf-8"))["encoders"] == {"name": "mine"}


def test_a_model_without_encoders_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="fit a voice in minutes"):
        encoders_for("tiny")
