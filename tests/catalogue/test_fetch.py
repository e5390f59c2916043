"""Models by name: found in folders and caches, fetched from a server on this machine, never half."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType

import pytest
from test_engine_models import write_small_model

from voicewright.catalogue import download, published
from voicewright.catalogue import places as artifacts
from voicewright.catalogue import pull as pull_module
from voicewright.catalogue.places import hub_cache, list_models, resolve_model
from voicewright.catalogue.published import PUBLISHED, Published, PublishedFile
from voicewright.catalogue.pull import pull
from voicewright.cli import main
from voicewright.errors import UsageError, VoicewrightError

REVISION = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Server:
    """What the server holds and how it misbehaves: path → bytes, and what was asked of it."""

    files: dict[str, bytes]
    address: str = ""
    cut: dict[str, int] = field(default_factory=dict)
    """Path → bytes after which the connection breaks."""
    ranges: bool = True
    lie: dict[str, int] = field(default_factory=dict)
    """Path → Content-Length to announce."""
    moved: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    state = Server({})

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            state.asked.append((self.path, wanted))
            if (to := state.moved.get(self.path)) is not None:
                self.send_response(302)
                self.send_header("Location", to)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            data = state.files.get(self.path)
            start = int(wanted[6:-1]) if wanted and state.ranges else 0
            if data is None or start > len(data):
                self.send_error(404 if data is None else 416)
                return
            body = data[start:]
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.send_header("Content-Length", str(state.lie.get(self.path, len(body))))
            self.end_headers()
            cut = state.cut.get(self.path)
            self.wfile.write(body if cut is None else body[: max(cut - start, 0)])
            if cut is not None or self.path in state.lie:
                self.close_connection = True

        def log_message(self, *_: object) -> None: ...

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    state.address = f"http://127.0.0.1:{listening.server_address[1]}"
    monkeypatch.setenv("HF_ENDPOINT", state.address)
    monkeypatch.setenv("VOICEWRIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    yield state
    listening.shutdown()
    listening.server_close()
    thread.join()


@pytest.fixture
def small(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Published:
    """A published model of our own, small and sound, offered by the server."""
    folder = write_small_model(tmp_path / "source")
    files = []
    for name in ("model.safetensors", "config.json", "voices/alto.safetensors"):
        data = (folder / name).read_bytes()
        server.files[f"/ada/small/resolve/{REVISION}/{name}"] = data
        files.append(PublishedFile(name, name, len(data), hashlib.sha256(data).hexdigest()))
    entry = Published("small", "ada/small", REVISION, "CC0-1.0", "a small model", tuple(files), "alto")
    table = {"small": entry, **PUBLISHED}
    monkeypatch.setattr(published, "_table", lambda: table)
    return entry


def url(entry: Published, number: int = 0) -> str:
    return f"/{entry.repository}/resolve/{entry.revision}/{entry.files[number].path}"


def left(tmp_path: Path) -> set[str]:
    """What lies in the cache, by name."""
    return {path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()}


def test_a_pulled_model_is_whole_and_speaks_by_its_name(
    small: Published, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["say", "Hello.", "-o", str(tmp_path / "a.wav"), "--model", "small"]) == 2
    assert "`voicewright models pull small` fetches it (2 MB)" in capsys.readouterr().err
    assert main(["models", "pull", "small", "--json"]) == 0
    out, err = capsys.readouterr()
    folder = Path(json.loads(out)["folder"])
    assert folder == tmp_path / "cache" / "models" / "small" and "model.safetensors" in err
    assert left(tmp_path) == {"model.safetensors", "config.json", "alto.safetensors", "card.json"}
    assert not list((tmp_path / "cache" / "downloads").iterdir())
    assert main(["say", "Hello.", "-o", str(tmp_path / "a.wav"), "--model", "small", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["voice"] == "alto"
    asked = len(server.asked)
    assert pull("small") == folder and len(server.asked) == asked
    assert main(["models"]) == 0
    out, err = capsys.readouterr()
    assert "small\t" in out and "  kokoro-v1.0 " in err and "  small " not in err


def test_a_broken_download_goes_on_where_it_stopped(small: Published, server: Server, tmp_path: Path) -> None:
    path, whole = url(small), small.files[0].bytes or 0
    server.cut[path] = 1000
    with pytest.raises(
        VoicewrightError, match=rf"broke off after 1000 of {whole} bytes; run the command again"
    ):
        pull("small")
    assert left(tmp_path) == {"model.safetensors.part"} and not (tmp_path / "cache" / "models").exists()
    server.cut[path] = 5000
    with pytest.raises(VoicewrightError, match="broke off after 5000"):
        pull("small")
    server.cut.clear()
    assert (pull("small") / "model.safetensors").stat().st_size == whole
    assert [wanted for asked, wanted in server.asked if asked == path] == ["", "bytes=1000-", "bytes=5000-"]


def test_a_server_without_ranges_is_read_from_the_start(
    small: Published, server: Server, tmp_path: Path
) -> None:
    server.cut[url(small)] = 1000
    with pytest.raises(VoicewrightError, match="broke off"):
        pull("small")
    server.cut.clear()
    server.ranges = False
    pull("small")


def test_a_wrong_file_leaves_nothing(
    small: Published, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = url(small)
    server.files[path] = bytes(small.files[0].bytes or 0)
    assert main(["models", "pull", "small"]) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("voicewright: model.safetensors arrived with the sha256") and "instead of" in said
    assert left(tmp_path) == set()
    server.files[path] += b"more"
    with pytest.raises(VoicewrightError, match=r"announced with \d+ bytes instead of \d+"):
        pull("small")
    server.lie[path] = small.files[0].bytes or 0  # announced well, longer in truth: read no further
    with pytest.raises(VoicewrightError, match="sha256"):
        pull("small")
    server.lie.clear()
    server.files[path] = b"short"
    with pytest.raises(VoicewrightError, match="announced with 5 bytes"):
        pull("small")
    del server.files[path]
    with pytest.raises(VoicewrightError, match="answered with 404"):
        pull("small")
    assert left(tmp_path) == set() and not (tmp_path / "cache" / "models").exists()


def test_a_part_of_another_file_is_found_out(small: Published, server: Server, tmp_path: Path) -> None:
    server.cut[url(small)] = 1000
    with pytest.raises(VoicewrightError, match="broke off"):
        pull("small")
    (part,) = (tmp_path / "cache").rglob("*.part")
    part.write_bytes(bytes(1000))
    server.cut.clear()
    with pytest.raises(VoicewrightError, match="instead of"):
        pull("small")
    assert left(tmp_path) == set()
    pull("small")


def test_a_file_without_a_known_hash_wants_it_accepted(
    small: Published, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = small.files[1]
    unknown = PublishedFile(known.path, known.name, None, None, 100_000)
    entry = Published("open", small.repository, REVISION, "", "", (small.files[0], unknown))
    assert small.pinned and not entry.pinned
    table = {"open": entry}
    monkeypatch.setattr(published, "_table", lambda: table)
    with pytest.raises(VoicewrightError, match=f"run again with --accept-hash {known.sha256}"):
        pull("open")
    assert not (tmp_path / "cache" / "models").exists()
    asked = len(server.asked)
    assert main(["models", "pull", "open", "--accept-hash", str(known.sha256).upper()]) == 0
    assert [path for path, _ in server.asked[asked:]] == [url(small, 1)]
    entry = Published(
        "capped", small.repository, REVISION, "", "", (PublishedFile("config.json", "c", None, None, 9),)
    )
    table = {"capped": entry}
    monkeypatch.setattr(published, "_table", lambda: table)
    with pytest.raises(VoicewrightError, match="instead of at most 9"):
        pull("capped")


def test_offline_is_one_sentence(
    small: Published, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{free.getsockname()[1]}")
        assert main(["models", "pull", "small"]) == 1
    assert "cannot be reached" in capsys.readouterr().err
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert main(["models", "pull", "small"]) == 1
    assert "HF_HUB_OFFLINE" in capsys.readouterr().err
    assert main(["models", "pull", "unheard-of"]) == 2
    assert "kokoro-v1.0" in capsys.readouterr().err
    assert left(tmp_path) == set()


def test_only_safe_addresses_are_followed(
    small: Published, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["/store/abc"] = server.files[url(small)]
    server.moved[url(small)] = f"{server.address}/store/abc"
    assert pull("small").is_dir()
    for bad in ("http://example.org/x", "ftp://127.0.0.1/x", "file:///etc/hostname"):
        with pytest.raises(VoicewrightError, match="no https address"):
            download._check_url(bad)
    server.moved["/away"] = "http://192.0.2.1/x"
    with pytest.raises(VoicewrightError, match="no https address"):
        download._download(f"{server.address}/away", small.files[0], Path("x.part"), None)
    monkeypatch.setenv("HF_ENDPOINT", "http://huggingface.co")
    other = PublishedFile("config.json", "config.json", None, None, 9)
    with pytest.raises(VoicewrightError, match="no https address"):
        download.fetch(small, other, Path("never"), frozenset())


class Endless:
    """An answer that announces no length and never ends."""

    status = 200
    headers = MappingProxyType({"Content-Length": None, "Content-Range": None})

    def read(self, count: int) -> bytes:
        return bytes(count)


def test_an_endless_answer_is_cut_off(tmp_path: Path) -> None:
    file = PublishedFile("config.json", "config.json", None, None, 3_000_000)
    with pytest.raises(VoicewrightError, match="more than the 3000000 bytes"):
        download._receive(Endless(), file, tmp_path / "part", 0, 3_000_000, None)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_said_before_anything_is_fetched(
    small: Published, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pull_module.shutil, "disk_usage", lambda _: Full())
    with pytest.raises(VoicewrightError, match=r"needs 2 MB.*0 MB free; make room or set VOICEWRIGHT_CACHE"):
        pull("small")
    assert server.asked == []


@dataclass
class Full:
    free: int = 0


def snapshot(hub: Path, repository: str, revision: str, seed: int = 0) -> Path:
    """A model as Hugging Face's cache keeps it: files are links to blobs."""
    base = hub / f"models--{repository.replace('/', '--')}"
    folder = base / "snapshots" / revision
    source = write_small_model(hub / f"source{seed}", seed)
    for name in ("model.safetensors", "config.json", "voices/alto.safetensors"):
        blob = base / "blobs" / hashlib.sha256(f"{name}{seed}".encode()).hexdigest()
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes((source / name).read_bytes())
        link = folder / name.replace("model.safetensors", "kokoro-v1_0.safetensors")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blob)
    return folder


def test_hugging_faces_cache_is_searched_by_name(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from voicewright.engines.torch_engine import TorchEngine

    hub = tmp_path / "hf" / "hub"
    assert hub_cache() == hub
    with pytest.raises(UsageError, match=r"models pull kokoro-v1\.0"):
        resolve_model("kokoro-v1.0")
    stray = snapshot(hub, "hexgrad/Kokoro-82M", "f" * 40, 1)
    assert resolve_model("kokoro-v1.0") == resolve_model("hexgrad/Kokoro-82M") == stray
    current = snapshot(hub, "hexgrad/Kokoro-82M", "e" * 40, 2)
    (current.parents[1] / "refs").mkdir()
    (current.parents[1] / "refs" / "main").write_text("e" * 40)
    assert resolve_model("kokoro-v1.0") == current
    pinned = snapshot(hub, "hexgrad/Kokoro-82M", PUBLISHED["kokoro-v1.0"].revision, 3)
    assert resolve_model("kokoro-v1.0") == pinned and resolve_model("hexgrad/Kokoro-82M") == current
    newest = hub / "models--hexgrad--Kokoro-82M" / "snapshots" / ("d" * 40)
    newest.mkdir()
    (newest / "config.json").write_bytes((pinned / "config.json").read_bytes())  # fetched without weights
    (current.parents[1] / "refs" / "main").write_text("d" * 40)
    assert resolve_model("hexgrad/Kokoro-82M") != newest
    engine = TorchEngine("kokoro-v1.0")
    assert engine.name == "hexgrad/Kokoro-82M" and engine.voices == ("alto",)
    listed = {entry.name: entry for entry in list_models()}
    assert listed["kokoro-v1.0"].folder == pinned and listed["kokoro-v1.0"].bytes > 1000
    elsewhere = tmp_path / "elsewhere"
    monkeypatch.setenv("HF_HUB_CACHE", str(elsewhere))
    with pytest.raises(UsageError):
        resolve_model("kokoro-v1.0")
    mine = snapshot(elsewhere, "ada/voice", "a" * 40, 4)
    assert resolve_model("ada/voice") == mine
    assert server.asked == []


def test_names_are_looked_for_in_order(server: Server, tmp_path: Path) -> None:
    """Package, folders, runs, our cache, Hugging Face's cache."""
    write_small_model(tmp_path / "tiny")
    assert resolve_model("tiny") == artifacts.embedded_model() != resolve_model("./tiny")
    hub = snapshot(tmp_path / "hf" / "hub", "hexgrad/Kokoro-82M", "f" * 40)
    found = [resolve_model("kokoro-v1.0")]
    for base in (tmp_path / "cache" / "models", tmp_path / "runs"):
        write_small_model(base / "kokoro-v1.0" / ("best" if base.name == "runs" else ""))
        found.append(resolve_model("kokoro-v1.0"))
    write_small_model(tmp_path / "kokoro-v1.0")
    found.append(resolve_model("kokoro-v1.0"))
    assert [path.resolve() for path in found] == [
        hub,
        tmp_path / "cache" / "models" / "kokoro-v1.0",
        tmp_path / "runs" / "kokoro-v1.0" / "best",
        tmp_path / "kokoro-v1.0",
    ]


def test_a_folder_of_voicepacks_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "af_heart.pt").write_bytes(b"x")
    with pytest.raises(VoicewrightError, match="holds no model"):
        resolve_model(tmp_path)
    (tmp_path / "epochs.pth").write_bytes(b"x")
    assert resolve_model(tmp_path) == tmp_path
    assert artifacts.weights_file(tmp_path) == tmp_path / "epochs.pth"


def test_the_table_of_published_models_is_sound() -> None:
    for name, entry in PUBLISHED.items():
        assert name == entry.name and entry.repository.count("/") == 1 and entry.licence and entry.about
        assert len({file.name for file in entry.files}) == len(entry.files)
        for file in entry.files:
            assert file.sha256 is None or (len(file.sha256) == 64 and int(file.sha256, 16))
            assert 0 < file.limit < 3e9
            assert not Path(file.name).is_absolute() and ".." not in Path(file.name).parts
        if entry.voice:
            assert any(Path(file.name).stem == entry.voice for file in entry.files)
    pinned = {name for name, entry in PUBLISHED.items() if entry.pinned}
    assert pinned == {
        *("kokoro-v1.0", "kokoro-v1.1-zh", "kokoro-v1.0-mlx", "styletts2-libritts"),
        *("contentvec", "rmvpe"),
        *(
            f"rvc-{v}-{rate}k{pitch}"
            for v in ("v1", "v2")
            for rate in (32, 40, 48)
            for pitch in ("", "-nof0")
        ),
    }
    kokoro = PUBLISHED["kokoro-v1.0"]
    assert str(kokoro.weights.sha256).startswith("496dba11") and len(kokoro.files) == 2 + 54
