"""Live on the command line and through a sound card that is not there: callbacks, files, words for what is
wrong."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import socketio
import soundfile
from live_fakes import Echo, plain_options, voice_like
from test_convert_commands import common, files, run  # noqa: F401
from test_convert_embedded import folder_of
from test_convert_embedded import voice as vowel

from voicewright.conversion import devices
from voicewright.conversion.block import AutoTranspose, LiveOptions, whole
from voicewright.conversion.devices import Bridge, Device, find
from voicewright.conversion.live import LiveConverter
from voicewright.conversion.own_live import OwnBlockVoice
from voicewright.errors import UsageError, VoicewrightError
from voicewright.jobs.live import Streamed

SHORT = plain_options(block=0.1, context=0.3)
MIC, EAR = Device(0, "Mic", 1, 0, 16_000), Device(1, "Ear", 0, 2, 16_000)


def converter(voice: Echo | None = None, options: LiveOptions = SHORT) -> LiveConverter:
    return LiveConverter(voice or Echo(), options, rate=16_000)


class Card:
    """What `sounddevice` looks like: a stream that hands over a recording and keeps what it is given."""

    class PortAudioError(Exception):
        pass

    def __init__(self, sound: np.ndarray, frames: int = 512, refuse: bool = False) -> None:
        self.sound, self.frames, self.refuse = sound, frames, refuse
        self.played: list[np.ndarray] = []
        self.default = SimpleNamespace(device=(0, 1))
        self.done = threading.Event()

    def query_devices(self) -> list[dict[str, Any]]:
        return [
            {
                "name": "Mic One",
                "max_input_channels": 1,
                "max_output_channels": 0,
                "default_samplerate": 16e3,
            },
            {"name": "Ear", "max_input_channels": 0, "max_output_channels": 2, "default_samplerate": 48e3},
            {
                "name": "Mic Two",
                "max_input_channels": 2,
                "max_output_channels": 0,
                "default_samplerate": 44.1e3,
            },
        ]

    def keep_time(self, bridge: Bridge, fed: int) -> None:
        """On a machine under load, give the worker the time that a real card would."""
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and bridge.error is None:
            if bridge.converter.stats.blocks >= fed // bridge.converter.block_samples:
                break
            time.sleep(0.001)
        time.sleep(0.001)

    def Stream(self, *, channels: tuple[int, int], callback: Callable[..., None], **_: Any) -> Any:
        if self.refuse:
            raise self.PortAudioError("busy")
        card = self

        class Running:
            def __enter__(self) -> None:
                threading.Thread(target=self._play, daemon=True).start()

            def __exit__(self, *_: object) -> None: ...

            def _play(self) -> None:
                for start in range(0, len(card.sound) - card.frames, card.frames):
                    said = np.full((card.frames, channels[1]), 9.0, np.float32)
                    heard = np.repeat(card.sound[start : start + card.frames, None], channels[0], 1)
                    callback(heard, said, card.frames, None, None)
                    card.played.append(said)
                    card.keep_time(callback.__self__, start + card.frames)  # type: ignore[attr-defined]
                card.done.set()

        return Running()


def test_from_card_to_card() -> None:
    card, stop, told = Card(voice_like(4.0, 16_000)), threading.Event(), []
    threading.Thread(target=lambda: (card.done.wait(20), stop.set()), daemon=True).start()
    made = converter()
    bridge = devices.run(made, MIC, EAR, stop, card, lambda *_: told.append(1), every=0.01)
    out = np.concatenate(card.played)
    assert out.shape[1] == 2 and np.array_equal(out[:, 0], out[:, 1])
    assert np.abs(out).max() < 1  # every sample was filled
    assert told and made.stats.blocks >= 35
    assert bridge.underruns <= 3
    wanted = whole(Echo(), voice_like(4.0, 16_000))[::2]
    heard = out[:, 0]
    likeness = [np.corrcoef(heard[lag : lag + 16_000], wanted[:16_000])[0, 1] for lag in range(0, 8_000, 4)]
    assert max(likeness) > 0.95


def test_what_cannot_keep_up_is_dropped() -> None:
    made = converter(Echo(slow=0.05))
    with Bridge(made) as bridge:
        said = np.zeros((1_600, 1), np.float32)
        for _ in range(30):
            bridge.callback(np.zeros((1_600, 1), np.float32), said, 1_600, None, None)
        assert len(bridge._heard) <= 3 * 1_600 + 1_600
        assert made.stats.dropped > 10


def test_a_card_that_takes_too_little_does_not_add_delay() -> None:
    made = converter()
    with Bridge(made) as bridge:
        for _ in range(40):
            bridge.callback(np.zeros((1_600, 1), np.float32), np.zeros((100, 1), np.float32), 100, None, None)
            time.sleep(0.004)
        assert len(bridge._said) <= 4 * 1_600
        assert made.stats.dropped > 5


def test_errors_of_the_worker_reach_the_user() -> None:
    class Broken(Echo):
        def convert(self, *_: Any) -> np.ndarray:
            raise VoicewrightError("the voice broke.")

    with pytest.raises(VoicewrightError, match="the voice broke"):
        devices.run(converter(Broken()), MIC, EAR, threading.Event(), Card(voice_like(2.0, 16_000)))
    with pytest.raises(VoicewrightError, match="could not be opened at 16000 Hz"):
        devices.run(converter(), MIC, EAR, threading.Event(), Card(np.zeros(0), refuse=True))


def test_devices_are_found_by_number_and_name() -> None:
    card = Card(np.zeros(0))
    known = devices.devices(card)
    assert find(known, None, False, card).name == "Mic One"
    assert find(known, None, True, card).name == "Ear"
    assert find(known, "two", False, card).number == 2
    assert find(known, "2", False, card).rate == 44_100
    for words, message in (("mic", "more than one of"), ("1", "none of"), ("nothing", "none of")):
        with pytest.raises(UsageError, match=message):
            find(known, words, False, card)
    with pytest.raises(VoicewrightError, match="no input device"):
        find([], None, False, card)


def test_without_portaudio_there_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert run("convert", "--list-devices") == 1
    assert "--live-from" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "sounddevice", Card(np.zeros(0)))
    assert run("convert", "--list-devices", "--json") == 0
    assert len(json.loads(capsys.readouterr().out)["devices"]) == 3
    assert run("convert", "--list-devices") == 0
    assert "2  Mic Two  (input, 44100 Hz)" in capsys.readouterr().out


def test_a_recording_in_place_of_a_microphone(
    files: Path,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out.wav"
    words = ["convert", "--live-from", files / "in.wav", *common(files), "-o", out, "--fast", "--json"]
    assert run(*words, "--method", "dio", "--context", "0.5") == 0
    said = json.loads(capsys.readouterr().out)
    samples, rate = soundfile.read(out)
    assert rate == 24_000 and len(samples) == 10 * 6_000  # 2.5 s are ten blocks
    assert np.abs(samples).max() > 0.001
    assert said["seconds"] == pytest.approx(2.5, abs=0.02) and said["block"] == 0.25
    assert said["delay"] > 0.3 and isinstance(said["live"], bool)


def test_a_recording_is_paced_like_speech(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "in.wav", voice_like(1.0, 16_000), 16_000)
    waits: list[float] = []
    now = [5.0]

    def wait(seconds: float) -> None:
        waits.append(seconds)
        now[0] += seconds

    made = converter()
    speech = devices.from_file(made, tmp_path / "in.wav", threading.Event(), True, wait, lambda: now[0])
    pieces = []
    for piece in speech:
        pieces.append(piece)
        now[0] += 0.25 if len(pieces) == 3 else 0.04  # converting takes its time
    assert len(pieces) == 10
    # The third block took longer than it lasts: the next three come late and are not waited for.
    assert waits == pytest.approx([0.1, 0.06, 0.06, 0.03, 0.06, 0.06, 0.06])
    stop = threading.Event()
    stop.set()
    assert not list(devices.from_file(made, tmp_path / "in.wav", stop))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--live", "--live-from", "a.wav"], "give one of --live"),
        (["--live-from", "a.wav", "--to", "tiny"], "say where the result goes"),
        (["--serve", "telepathy"], "there is no protocol to --serve 'telepathy'; there are w-okada"),
        (["--live", "a.wav", "--to", "tiny"], "take no recordings"),
        (["--live", "--to", "tiny", "--block", "0.001"], "block is 0.001"),
        (["--live", "--to", "tiny", "--pitch", "high"], "the pitch is 'high'"),
        (["--serve", "w-okada", "--origin", "evil"], "is no origin"),
        (["--serve", "w-okada", "--origin", "http://["], "is no origin"),
        (["--serve", "w-okada", "--port", "99999"], "there is no port 99999"),
        (["--serve", "w-okada", "--page", "nowhere"], "there is no folder nowhere"),
        (["--live-from", "a.wav", "-o", "-"], "say where the result goes"),
        (["--live-from", "a.wav", "-o", "x.txt"], "audio is written as"),
        (["--live-from", "a.wav", "-o", "./a.wav"], "would overwrite the recording"),
        (["--live", "--to", "tiny", "--target-pitch", "-7"], "target pitch of -7.0 Hz"),
        (["--live", "--to", "tiny", "--device", "cuda"], "leave --device out"),
    ],
)
def test_wrong_use_is_said(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("convert", *words) == 2
    assert message in capsys.readouterr().err


def test_what_is_live_is_said_truthfully() -> None:
    quick = Streamed("v", seconds=10, computed=4, factor=0.4, block=0.25, late_blocks=1)
    assert "live on this machine" in quick.lines()[0]
    assert "too slow" in replace(quick, factor=0.95).lines()[0]
    assert "too slow" in replace(quick, late_blocks=20).lines()[0]


def test_serving_a_voice_of_the_command_line(files: Path, tmp_path: Path) -> None:  # noqa: F811
    """The whole way: the command, its server, a voice from files, w-okada's messages, Ctrl-C."""
    words = [sys.executable, "-m", "voicewright", "convert", "--serve", "w-okada", "--port", "0"]
    words += ["--slots", str(tmp_path), *map(str, common(files))]
    process = subprocess.Popen(
        words, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    try:
        assert process.stderr is not None
        url = ""
        for line in process.stderr:
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                url = found[0]
                break
        client, answers = socketio.Client(), []
        came = threading.Event()
        client.on("response", lambda answer: (answers.append(answer), came.set()), namespace="/test")
        client.connect(url, namespaces=["/test"])
        data = (voice_like(0.512, 48_000) * 32_000).astype("<i2").tobytes()
        client.emit("request_message", [5, data], namespace="/test")
        assert came.wait(30)
        client.disconnect()
        assert answers[0][0] == 5 and len(answers[0][1]) == len(data)
        assert np.frombuffer(answers[0][1], "<i2").any()
    finally:
        process.send_signal(signal.SIGINT)
        code = process.wait(20)
        assert process.stderr is not None
        process.stderr.close()
    assert code in (0, 130, -signal.SIGINT)


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> OwnBlockVoice:
    return OwnBlockVoice(folder_of(tmp_path_factory.mktemp("model")))


def test_the_embedded_voice_in_blocks(embedded: OwnBlockVoice) -> None:
    made = LiveConverter(embedded, plain_options(block=0.25, context=1.0), rate=24_000)
    sound = vowel(3.0)
    out = np.concatenate([made.process(sound[i : i + 6_000]) for i in range(0, len(sound), 6_000)])
    assert len(out) == len(sound) and np.isfinite(out).all()
    assert np.abs(out[24_000:]).max() > 1e-4
    assert set(embedded.times) == {"content", "pitch", "synthesizer"}
    silent = LiveConverter(embedded, plain_options(block=0.25, context=1.0), rate=24_000)
    silent.reset()
    assert not silent.process(np.zeros(12_000, np.float32)).any()


def test_the_embedded_voice_says_what_it_has_not(embedded: OwnBlockVoice) -> None:
    for changed in ({"formant": 1.0}, {"unvoiced": "interpolate"}, {"speaker": 1}):
        with pytest.raises(UsageError, match="one speaker"):
            embedded.convert(np.zeros(16_000, np.float32), 25, 60, 30, plain_options(**changed))


def test_the_transposition_is_found_as_one_speaks() -> None:
    auto = plain_options(pitch="auto")
    transpose = AutoTranspose(220.0)
    voice = np.full(15, 110.0, np.float32)
    assert transpose.semitones(auto, voice) == 0.0
    assert transpose.semitones(auto, voice) == 12.0
    for _ in range(10):
        assert transpose.semitones(auto, voice) == 12.0
    assert transpose.semitones(auto, np.full(500, 440.0, np.float32)) == 12.0  # settled
    assert transpose.semitones(plain_options(pitch=-3.0), voice) == -3.0
    assert AutoTranspose(None).semitones(auto, np.full(50, 100.0, np.float32)) == 0.0
    aimed = plain_options(pitch="auto", target_pitch=200.0)
    assert AutoTranspose(None).semitones(aimed, np.full(50, 100.0, np.float32)) == 12.0
