"""The w-okada server over loopback, spoken to as its own clients speak: Socket.IO, REST, uploads, version
2's chunks."""

from __future__ import annotations

import base64
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import socketio
from live_fakes import Echo, voice_like

from voicewright.conversion.block import whole
from voicewright.errors import UsageError, VoicewrightError
from voicewright.serve.guard import check_origin
from voicewright.wokada.requests import to_int16
from voicewright.wokada.running import Runner
from voicewright.wokada.server import Server
from voicewright.wokada.session import Given, Session
from voicewright.wokada.slots import Slots, Uploads

CHUNK = 24_576
"""What w-okada's clients send by default: 192 units of 128 samples at 48 kHz."""


class Voice(Echo):
    def __init__(self, **values: Any) -> None:
        super().__init__(48_000, **values)
        self.speakers = {"0": "0"}


class Opened:
    """Opens the files of slots: a file must say `voice`, as a damaged model would not."""

    def __init__(self) -> None:
        self.voices: list[tuple[str, Voice]] = []

    def __call__(self, model: Path, index: Path | None) -> Voice:
        if not model.read_bytes().startswith(b"voice"):
            raise VoicewrightError(f"{model.name} is no RVC voice.")
        self.voices.append((model.name, Voice()))
        return self.voices[-1][1]


class Site:
    def __init__(self, folder: Path, given: Voice | None, **options: Any) -> None:
        self.opened = Opened()
        self.slots = Slots(folder / "slots")
        self.session = Session(
            self.slots,
            Uploads(folder / "uploads", room=1 << 20),
            self.opened,
            Given("kathleen", given) if given else None,
        )
        self.server = Server(self.session, **options)
        self.runner = Runner(self.server, "127.0.0.1", 0)
        ready = threading.Event()
        self.port = 0

        def began(port: int) -> None:
            self.port = port
            ready.set()

        self._thread = threading.Thread(target=self.runner.serve, args=(began,))
        self._thread.start()
        assert ready.wait(20)
        self.url = f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        self.runner.stop()
        self._thread.join(20)
        self.server.close()
        assert not self._thread.is_alive()

    def get(self, path: str, **more: Any) -> Any:
        return requests.get(self.url + path, timeout=20, **more)

    def post(self, path: str, form: dict[str, str] | None = None, **more: Any) -> Any:
        return requests.post(self.url + path, data=form, timeout=20, **more)

    def set(self, key: str, value: object) -> Any:
        return self.post("/update_settings", {"key": key, "val": str(value)})

    def upload(self, name: str, data: bytes) -> None:
        """As the client library does it: parts first, then their number."""
        size = max(len(data) // 2, 1)
        parts = [data[i : i + size] for i in range(0, len(data), size)]
        for number, part in enumerate(parts):
            answer = self.post(
                "/upload_file", {"filename": f"{name}_{number}"}, files={"file": ("blob", part)}
            )
            assert answer.json()["status"] == "OK", answer.text
        answer = self.post("/concat_uploaded_file", {"filename": name, "filenameChunkNum": str(len(parts))})
        assert answer.json()["status"] == "OK", answer.text

    def load(self, slot: int, *files: tuple[str, str], **more: Any) -> Any:
        listed = [{"name": name, "kind": kind, "dir": ""} for name, kind in files]
        params = {
            "voiceChangerType": "RVC",
            "slot": slot,
            "isSampleMode": False,
            "sampleId": "",
            "params": {},
        }
        params |= {"files": listed, **more}
        return self.post("/load_model", {"slot": "0", "isHalf": "false", "params": json.dumps(params)})


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path, Voice())
    yield site
    site.close()


class Client:
    """What w-okada's Python client does with python-socketio."""

    def __init__(self, url: str, **connecting: Any) -> None:
        self.sio = socketio.Client()
        self.answers: list[list[Any]] = []
        self.messages: list[Any] = []
        self._came = threading.Event()
        self.sio.on("response", self._answer, namespace="/test")
        self.sio.on("message", self.messages.append, namespace="/test")
        self.sio.connect(url, namespaces=["/test"], **connecting)

    def _answer(self, answer: list[Any]) -> None:
        self.answers.append(answer)
        self._came.set()

    def ask(self, stamp: object, data: object) -> list[Any]:
        self._came.clear()
        self.sio.emit("request_message", [stamp, data], namespace="/test")
        assert self._came.wait(20)
        return self.answers[-1]


@pytest.mark.parametrize("transports", [["websocket"], ["polling", "websocket"]])
def test_sound_over_socket_io(site: Site, transports: list[str]) -> None:
    client = Client(site.url, transports=transports)
    sound = voice_like(6.0, 48_000)[: CHUNK * 10]
    out = []
    for index, start in enumerate(range(0, len(sound), CHUNK)):
        stamp, data, perf = client.ask(1_700_000_000_000 + index, to_int16(sound[start : start + CHUNK]))
        assert stamp == 1_700_000_000_000 + index
        assert isinstance(data, bytes) and len(data) == 2 * CHUNK
        assert len(perf) == 3 and perf[1] > 0
        out.append(np.frombuffer(data, "<i2") / 32768)
    client.sio.disconnect()
    heard = np.concatenate(out)
    wanted = np.repeat(whole(Echo(16_000), sound[::3]), 3)
    best = max(
        float(np.corrcoef(heard[lag : lag + 150_000], wanted[:150_000])[0, 1])
        for lag in range(3_000, 9_000, 12)
    )
    assert best > 0.98


def test_sound_over_rest(site: Site) -> None:
    data = to_int16(voice_like(1.0, 48_000)[:CHUNK])
    body = {"timestamp": 7, "buffer": base64.b64encode(data).decode()}
    said = site.post("/test", json=body).json()
    assert said["timestamp"] == 7
    assert len(base64.b64decode(said["changedVoiceBase64"])) == len(data)
    assert site.post("/test", json={"timestamp": 7, "buffer": "!"}).status_code == 400
    assert site.post("/test", json=[1]).status_code == 400


def test_wrong_messages_are_answered_in_words(site: Site) -> None:
    client = Client(site.url)
    for message in ("text", b"\0\0\0", b"", bytes(2 * 48_000 * 11)):
        answer = client.ask(1, message)
        assert answer[1] == b"\0\0"  # fewer than 256 bytes: clients show a warning
    assert client.ask("no number", bytes(2 * CHUNK))[1] == b"\0\0"
    client.sio.disconnect()
    assert any("16 bit samples" in str(message) for message in client.messages)
    assert any("10 ms to 10 s" in str(message) for message in client.messages)


def test_settings_have_w_okadas_names(site: Site) -> None:
    assert site.get("/api/hello").json() == {"result": "Index"}
    info = site.get("/info").json()
    assert info["status"] == "OK" and info["tran"] == 0 and info["modelSlotIndex"] == 499
    assert [slot["name"] for slot in info["modelSlots"]] == ["kathleen"]
    voice = site.session._given.voice  # type: ignore[union-attr]
    wanted = {"tran": 12, "indexRatio": 0.5, "protect": 0.33, "f0Detector": "rmvpe_onnx", "dstId": 1}
    wanted |= {"extraConvertSize": 8_192, "crossFadeOverlapSize": 2_048, "silentThreshold": 0.001}
    for key, value in wanted.items():
        assert site.set(key, value).json()[key] == value
    site.post("/test", json={"timestamp": 0, "buffer": base64.b64encode(bytes(2 * CHUNK)).decode()})
    sound = base64.b64encode(to_int16(voice_like(1.0, 48_000)[:CHUNK])).decode()
    site.post("/test", json={"timestamp": 0, "buffer": sound})
    options = voice.options  # type: ignore[attr-defined]
    assert (options.pitch, options.index_rate, options.protect, options.method) == (12.0, 0.5, 0.33, "rmvpe")
    assert (options.speaker, options.join) == (1, "wokada")
    assert options.block == pytest.approx(0.512) and options.context == pytest.approx(8_192 / 48_000)
    assert options.silence == pytest.approx(-60)
    assert len(site.get("/performance").json()) == 3


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("tran", "99"),
        ("tran", "loud"),
        ("tran", "nan"),
        ("nothing", "1"),
        ("f0Detector", "ear"),
        ("f0Detector", "crepe"),  # w-okada has it; there is no such method here
        ("inputSampleRate", "1"),
        ("enableServerAudio", "1"),
        ("passThrough", "perhaps"),
        ("modelSlotIndex", "Beatrice-JVS"),
        ("modelSlotIndex", "3"),
        ("crossFadeOffsetRate", "0.95"),
    ],
)
def test_wrong_settings_change_nothing(site: Site, key: str, value: str) -> None:
    before = site.get("/info").json()
    answer = site.set(key, value)
    assert answer.status_code == 400
    assert answer.json()["status"] == "ERROR" and len(answer.json()["msg"]) > 10
    assert site.get("/info").json() == before


def test_passing_through(site: Site) -> None:
    assert site.set("passThrough", "true").json()["passThrough"] is True
    data = to_int16(voice_like(1.0, 48_000)[:CHUNK])
    said = site.post("/test", json={"timestamp": 0, "buffer": base64.b64encode(data).decode()}).json()
    assert base64.b64decode(said["changedVoiceBase64"]) == data


def test_uploads_become_slots(site: Site) -> None:
    site.upload("singer.pth", b"voice of a singer")
    site.upload("added.index", b"index")
    info = site.load(3, ("singer.pth", "rvcModel"), ("added.index", "rvcIndex")).json()
    slot = next(slot for slot in info["modelSlots"] if slot["slotIndex"] == 3)
    assert (slot["name"], slot["modelFile"], slot["indexFile"]) == ("singer", "singer.pth", "added.index")
    assert slot["samplingRate"] == 48_000 and slot["voiceChangerType"] == "RVC"
    assert site.slots.files(3)[0].read_bytes() == b"voice of a singer"
    # The client puts the time in front of the number.
    assert site.set("modelSlotIndex", 1_700_000_000 * 1000 + 3).json()["modelSlotIndex"] == 3
    edit = {"newData": json.dumps({"slot": 3, "key": "defaultTune", "val": 5})}
    site.post("/update_model_info", edit)
    assert site.set("modelSlotIndex", 3).json()["tran"] == 5
    site.set("tran", 7)
    site.post("/update_model_default")
    assert site.slots.read(3)["defaultTune"] == 7  # type: ignore[index]
    site.upload("face.png", b"picture")
    site.post(
        "/upload_model_assets", {"params": json.dumps({"slot": 3, "name": "iconFile", "file": "face.png"})}
    )
    icon = next(s for s in site.get("/info").json()["modelSlots"] if s["slotIndex"] == 3)["iconFile"]
    assert site.get("/" + icon).content == b"picture"


def test_a_bad_model_does_not_become_a_slot(site: Site) -> None:
    site.upload("bad.pth", b"malice")
    answer = site.load(2, ("bad.pth", "rvcModel"))
    assert answer.status_code == 400 and "no RVC voice" in answer.json()["msg"]
    assert site.slots.read(2) is None
    site.upload("good.pth", b"voice")
    assert site.load(2, ("good.pth", "rvcModel")).status_code == 200
    site.upload("bad.pth", b"malice")
    site.load(2, ("bad.pth", "rvcModel"))
    assert site.slots.read(2)["modelFile"] == "good.pth"  # type: ignore[index]
    assert site.load(2, ("never.pth", "rvcModel")).status_code == 400
    assert site.load(2, ("good.pth", "rvcModel"), isSampleMode=True).status_code == 400
    assert site.load(900, ("good.pth", "rvcModel")).status_code == 400


@pytest.mark.parametrize(
    "name",
    [
        "../../evil.pth_0",
        "..\\evil.pth_0",
        "/etc/evil.pth_0",
        ".pth_0",
        "evil.sh_0",
        "evil.pth",
        "a\0b.pth_0",
        "_0",
        "\u00e4" * 110 + ".pth_0",
    ],
)
def test_names_of_files_are_not_trusted(site: Site, name: str, tmp_path: Path) -> None:
    site.post("/upload_file", {"filename": name}, files={"file": ("blob", b"x")})
    outside = [path for path in tmp_path.rglob("*evil*") if path.parent != tmp_path / "uploads"]
    assert not outside
    assert {path.name for path in (tmp_path / "uploads").glob("*")} <= {"evil.pth_0"}


def test_slots_name_no_files_elsewhere(site: Site, tmp_path: Path) -> None:
    secret = tmp_path / "secret.pth"
    secret.write_bytes(b"voice")
    folder = tmp_path / "slots" / "1"
    folder.mkdir(parents=True)
    for named in ("../../secret.pth", str(secret)):
        (folder / "params.json").write_text(json.dumps({"voiceChangerType": "RVC", "modelFile": named}))
        assert site.set("modelSlotIndex", 1).status_code == 400
    (folder / "linked.pth").symlink_to(secret)
    (folder / "params.json").write_text(json.dumps({"voiceChangerType": "RVC", "modelFile": "linked.pth"}))
    assert site.set("modelSlotIndex", 1).status_code == 400
    (folder / "params.json").write_text("{")
    assert site.get("/info").status_code == 200
    assert site.get("/slots/1/params.json").status_code == 404
    assert site.get("/slots/1/..%2f..%2fsecret.pth").status_code == 404


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("defaultIndexRatio", "nan"),
        ("defaultTune", 1e400),
        ("name", "\ud800"),
        ("name", "x" * (2 << 20)),
        ("speakers", "[" * 100_000),
        ("speakers", '{"0": NaN}'),
    ],
)
def test_a_slots_facts_stay_readable(site: Site, key: str, value: object) -> None:
    site.upload("good.pth", b"voice")
    assert site.load(2, ("good.pth", "rvcModel")).status_code == 200
    before = site.slots.read(2)
    answer = site.post("/update_model_info", {"newData": json.dumps({"slot": 2, "key": key, "val": value})})
    assert answer.status_code == 400 and len(answer.json()["msg"]) < 200
    assert site.get("/info").status_code == 200 and site.slots.read(2) == before is not None


def test_entries_that_cannot_be_sent_are_passed_over(site: Site, tmp_path: Path) -> None:
    for number, facts in enumerate(('{"a": NaN}', '{"a": "\\ud800"}', '{"a": 1e999}', "[" * 100_000)):
        (tmp_path / "slots" / str(number)).mkdir(parents=True)
        (tmp_path / "slots" / str(number) / "params.json").write_text(facts)
    (tmp_path / "slots" / "\u00b2").mkdir()
    assert [slot["slotIndex"] for slot in site.get("/info").json()["modelSlots"]] == [499]


def test_names_in_json_are_no_traps(site: Site) -> None:
    for name in ("\ud800.pth", "\u00e4" * 150 + ".pth", "a" * 300 + ".pth"):
        assert site.load(2, (name, "rvcModel")).status_code == 400
    assert site.get("/slots/1/" + "a" * 250 + ".png").status_code == 404
    form = {"filename": "a.pth", "filenameChunkNum": "\u00b2"}
    assert site.post("/concat_uploaded_file", form).status_code == 400
    url = site.url + "/api/configuration-manager/configuration"
    for number in ("Infinity", "NaN", "1e999"):
        assert requests.put(url, data=f'{{"extra_frame_sec": {number}}}', timeout=20).status_code == 400


def test_a_disk_that_refuses_is_answered(site: Site, tmp_path: Path) -> None:
    (tmp_path / "uploads").write_text("no folder")
    answer = site.post("/upload_file", {"filename": "a.pth_0"}, files={"file": ("blob", b"x")})
    assert answer.status_code == 507 and "disk refused" in answer.json()["msg"]


def test_old_uploads_make_room(site: Site, tmp_path: Path) -> None:
    part = {"files": {"file": ("b", bytes(700_000))}}
    assert site.post("/upload_file", {"filename": "a.pth_0"}, **part).ok
    os.utime(tmp_path / "uploads" / "a.pth_0", (1, 1))
    assert site.post("/upload_file", {"filename": "b.pth_0"}, **part).ok
    assert [path.name for path in (tmp_path / "uploads").iterdir()] == ["b.pth_0"]


def test_a_body_of_no_stated_length_is_cut_off(site: Site, capfd: pytest.CaptureFixture[str]) -> None:
    pieces = (bytes(1 << 20) for _ in range(12))
    answer = requests.post(site.url + "/test", data=pieces, timeout=20)
    assert answer.status_code == 413 and "Traceback" not in capfd.readouterr().err


def test_deafening_sound_does_not_spoil_the_stream(site: Site) -> None:
    url = "/api/voice-changer/convert_chunk"
    for level in (3e38, 0.1):
        wave = np.full(24_000, level, "<f4")
        answer = site.post(url, files={"waveform": ("w", wave.tobytes())})
        assert answer.status_code == 200 and np.abs(np.frombuffer(answer.content, "<f4")).max() < 20


def test_uploads_are_capped(site: Site) -> None:
    assert site.post("/upload_file", {"filename": "a.pth_0"}, files={"file": ("b", bytes(700_000))}).ok
    answer = site.post("/upload_file", {"filename": "a.pth_1"}, files={"file": ("b", bytes(700_000))})
    assert answer.status_code == 400 and "1 MB together" in answer.json()["msg"]
    assert (
        site.post("/upload_file", {"filename": "a.pth_1"}, files={"file": ("b", bytes(9 << 20))}).status_code
        == 413
    )
    for count in ("2", "0", "-1", "99999999999"):
        form = {"filename": "a.pth", "filenameChunkNum": count}
        assert site.post("/concat_uploaded_file", form).status_code == 400


def test_pages_from_elsewhere_are_refused(site: Site) -> None:
    for origin in (
        "https://evil.example",
        "null",
        "http://[",
        "http://127.0.0.1:x@evil.example",
        f"http://evil.example:{site.port}",
        "http://localhost:1",
    ):
        assert site.get("/info", headers={"Origin": origin}).status_code == 403
        with pytest.raises(socketio.exceptions.ConnectionError):
            Client(site.url, transports=["websocket"], headers={"Origin": origin})
    picture = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    assert site.get("/info", headers=picture).status_code == 403
    assert site.get("/info", headers=picture | {"Sec-Fetch-Mode": "navigate"}).status_code == 200
    for origin in (site.url, f"http://localhost:{site.port}"):
        assert site.get("/info", headers={"Origin": origin}).status_code == 200
    client = Client(site.url, transports=["websocket"], headers={"Origin": site.url})
    client.sio.disconnect()


def test_names_that_were_pointed_here_are_refused(site: Site) -> None:
    assert site.get("/info", headers={"Host": f"evil.example:{site.port}"}).status_code == 421
    assert (
        site.get("/socket.io/?EIO=4&transport=polling", headers={"Host": "evil.example"}).status_code == 421
    )
    for host in (f"localhost:{site.port}", "127.0.0.1", f"[::1]:{site.port}"):
        assert site.get("/info", headers={"Host": host}).status_code == 200


def test_origins_may_be_allowed(tmp_path: Path) -> None:
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "index.html").write_text("a page")
    site = Site(tmp_path, None, origins=["https://voice.example"], hosts=["studio"], page=tmp_path / "page")
    try:
        assert site.get("/info", headers={"Origin": "https://voice.example"}).status_code == 200
        assert site.get("/info", headers={"Host": "studio:1"}).status_code == 200
        assert site.get("/info", headers={"Origin": "https://other.example"}).status_code == 403
        assert site.get("/").text == "a page"
        client = Client(site.url)
        assert client.ask(1, bytes(2 * CHUNK))[1] == b"\0\0"  # no voice is chosen
        client.sio.disconnect()
        assert any("no voice is chosen" in str(message) for message in client.messages)
    finally:
        site.close()


def test_origins_are_written_as_browsers_write_them() -> None:
    for given, sent in (
        ("HTTPS://Voice.Example:443/", "https://voice.example"),
        ("http://a:8080", "http://a:8080"),
        ("http://[::1]:80", "http://[::1]"),
    ):
        assert check_origin(given) == sent
    for bad in ("evil", "null", "http://[", "http://a:x", "http://a?b", "http://u@a", "file:///x", "http://"):
        with pytest.raises(UsageError, match="is no origin"):
            check_origin(bad)


def test_one_client_at_a_time(site: Site) -> None:
    first, second = Client(site.url), Client(site.url)
    data = to_int16(voice_like(1.0, 48_000)[:CHUNK])
    assert len(first.ask(1, data)[1]) == 2 * CHUNK
    assert second.ask(2, data)[1] == b"\0\0"
    assert (
        site.post("/test", json={"timestamp": 0, "buffer": base64.b64encode(data).decode()}).status_code
        == 409
    )
    first.sio.disconnect()
    deadline = time.monotonic() + 10
    while len(second.ask(3, data)[1]) < 256:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    second.sio.disconnect()


def test_what_lags_behind_is_dropped(tmp_path: Path) -> None:
    site = Site(tmp_path, Voice(slow=0.3))
    try:
        client = Client(site.url, transports=["websocket"])
        data = to_int16(voice_like(1.0, 48_000)[:CHUNK])
        for stamp in range(8):
            client.sio.emit("request_message", [stamp, data], namespace="/test")
        deadline = time.monotonic() + 20
        while len(client.answers) < 8:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        client.sio.disconnect()
        assert {len(answer[1]) for answer in client.answers} == {2 * CHUNK}
        assert 2 <= site.session.dropped <= 5
        assert any("lags behind" in str(message) for message in client.messages)
        converted = [answer[0] for answer in client.answers if answer[2][1]]
        assert converted == sorted(converted) and len(converted) == 8 - site.session.dropped
    finally:
        site.close()


def test_chunks_of_version_2(site: Site) -> None:
    sound = voice_like(1.0, 48_000)[:24_000]
    for path in ("convert_chunk", "convert_chunk_bulk"):
        answer = site.post(
            f"/api/voice-changer/{path}",
            files={"waveform": ("waveform.bin", sound.astype("<f4").tobytes())},
            headers={"x-timestamp": "42"},
        )
        assert answer.status_code == 200 and answer.headers["x-timestamp"] == "42"
        assert len(np.frombuffer(answer.content, "<f4")) == len(sound)
    assert site.post("/api/voice-changer/convert_chunk", files={"waveform": ("w", b"abc")}).status_code == 400
    bad = np.full(4_800, np.nan, "<f4").tobytes()
    assert site.post("/api/voice-changer/convert_chunk", files={"waveform": ("w", bad)}).status_code == 400
    there = site.get("/api/configuration-manager/configuration").json()
    assert (there["input_sample_rate"], there["current_slot_index"]) == (48_000, 499)
    there |= {"extra_frame_sec": 0.5, "input_sample_rate": 24_000, "pass_through": True}
    url = site.url + "/api/configuration-manager/configuration"
    changed = requests.put(url, json=there, timeout=20).json()
    assert (changed["extra_frame_sec"], changed["input_sample_rate"], changed["pass_through"]) == (
        0.5,
        24_000,
        True,
    )
    slots = site.get("/api/slot-manager/slots").json()
    assert [(slot["slot_index"], slot["name"]) for slot in slots] == [(499, "kathleen")]
    slot = site.get("/api/slot-manager/slots/499").json() | {"pitch_shift": 4}
    assert (
        requests.put(f"{site.url}/api/slot-manager/slots/499", json=slot, timeout=20).json()["pitch_shift"]
        == 4
    )
    assert site.get("/info").json()["tran"] == 4
    assert site.get("/api/slot-manager/slots/7").status_code == 404


def test_a_port_that_is_taken_is_one_sentence(site: Site) -> None:
    with pytest.raises(VoicewrightError, match=f"cannot listen on 127.0.0.1:{site.port}.*--port"):
        Runner(site.server, "127.0.0.1", site.port).serve()
