"""Models out of installed packages: joined, checked, imported, spoken with by name."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from onnx_models import lively
from small_models import kokoro_like

from voicewright.catalogue import packaged
from voicewright.catalogue.packaged import KOKORO, Packaged, installed, joined
from voicewright.cli import main
from voicewright.errors import UsageError, VoicewrightError
from voicewright.model.checkpoint import save_model
from voicewright.voices import importing
from voicewright.voices.importing import import_any, import_voices, imported_folder, make_ready
from voicewright.voices.rows import ROWS, WIDTH

PARTS = (b"the first part, ", b"the second")


@pytest.fixture
def item(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Packaged:
    """A file of two parts in two packages, and a cache of its own."""
    monkeypatch.setenv("VOICEWRIGHT_CACHE", str(tmp_path / "cache"))
    for number, data in enumerate(PARTS):
        (tmp_path / f"part_{number}").mkdir()
        (tmp_path / f"part_{number}" / "part.bin").write_bytes(data)
    monkeypatch.syspath_prepend(str(tmp_path))
    whole = b"".join(PARTS)
    return dataclasses.replace(
        KOKORO,
        parts=(("part_0", "part.bin"), ("part_1", "part.bin")),
        file="whole.onnx",
        bytes=len(whole),
        sha256=hashlib.sha256(whole).hexdigest(),
        voices=None,
    )


def test_parts_are_joined_once(item: Packaged, tmp_path: Path) -> None:
    assert installed(item)
    path = joined(item)
    assert path.read_bytes() == b"".join(PARTS) and path.parent == tmp_path / "cache" / "joined"
    before = path.stat().st_mtime_ns
    assert joined(item) == path and path.stat().st_mtime_ns == before


def test_an_altered_or_missing_part_is_a_sentence(item: Packaged, tmp_path: Path) -> None:
    (tmp_path / "part_1" / "part.bin").write_bytes(b"the Second")
    with pytest.raises(VoicewrightError, match=r"not the pinned ones .*force-reinstall"):
        joined(item)
    (tmp_path / "part_1" / "part.bin").unlink()
    assert not installed(item)
    with pytest.raises(VoicewrightError, match="lacks the package part-1"):
        joined(item)
    assert not list((tmp_path / "cache").rglob("*.onnx")) and not list((tmp_path / "cache").rglob("*.part"))


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small model's folder, whose weights file is imported with its configuration beside it."""
    monkeypatch.setenv("VOICEWRIGHT_CACHE", str(tmp_path / "cache"))
    config = kokoro_like()
    save_model(tmp_path / "theirs", lively(config), config)
    return tmp_path / "theirs" / "model.safetensors"


def _pack(seed: int) -> bytes:
    return (0.2 * np.random.default_rng(seed).standard_normal((ROWS, 1, WIDTH))).astype("<f4").tobytes()


def test_weights_and_voices_are_imported(weights: Path, tmp_path: Path) -> None:
    made = import_any(str(weights), "mine")
    assert made.folder == imported_folder("mine") and (made.folder / "model.safetensors").is_file()
    with pytest.raises(UsageError, match="there is a model mine"):
        import_any(str(weights), "mine")
    archive = tmp_path / "kokoro-js-1.2.1.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        for name, data in (
            ("package/voices/af_one.bin", _pack(1)),
            ("package/voices/../../../escaped.bin", _pack(2)),
            ("package/README.md", b"words"),
            ("package/voices/big.bin", bytes(5 << 20)),
        ):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    assert import_voices(archive, "mine").voices == ("af_one", "escaped")
    assert sorted(path.name for path in (made.folder / "voices").iterdir()) == ["af_one.bin", "escaped.bin"]
    assert not (tmp_path.parent / "escaped.bin").exists()
    assert (made.folder / "voices" / "af_one.bin").read_bytes() == _pack(1)


def test_wrong_words_are_sentences(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "damaged.tgz").write_bytes(b"no archive at all")
    cases = (
        (["nothing.onnx"], 2, "there is no file nothing.onnx"),
        ([str(weights), "--name", "../out"], 2, "no name for a model"),
        ([str(weights), "--name", "a", "--voices-into", "b"], 2, "give one of them"),
        ([str(tmp_path / "damaged.tgz"), "--voices-into", "none"], 2, "no imported model none"),
    )
    for words, code, told in cases:
        assert main(["models", "import", *words]) == code
        said = capsys.readouterr().err
        assert told in said and said.count("\n") == 1
    assert main(["models", "import", str(weights), "--name", "mine", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "mine"
    assert main(["models", "import", str(tmp_path / "damaged.tgz"), "--voices-into", "mine"]) == 1
    assert "damaged or no archive" in capsys.readouterr().err
    assert not list((tmp_path / "cache" / "models").glob(".*"))


def test_what_is_missing_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from voicewright.catalogue.places import resolve_model

    monkeypatch.setenv("VOICEWRIGHT_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(packaged, "packaged_path", lambda *_: None)
    monkeypatch.chdir(tmp_path)
    told: list[str] = []
    make_ready("kokoro", told.append)
    with pytest.raises(UsageError, match=r"pip install 'voicewright\[kokoro\]'.*models pull kokoro-v1.0"):
        resolve_model("kokoro")
    assert told == []


@pytest.mark.skipif(not installed(KOKORO), reason="the extra kokoro is not installed")
def test_kokoro_itself_speaks_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The real weights: joined, imported strictly, spoken with; which Kokoro it is, is said."""
    monkeypatch.setenv("VOICEWRIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    voice = np.load(Path(str(packaged.packaged_path(*importing.PACKAGED["kokoro"].voices or ("", "")))))
    name = sorted(voice.files)[0]
    words = ["say", "Good morning.", "--lang", "en-us", "--model", "kokoro", "--voice", name]
    assert main([*words, "-o", "a.wav", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["model"] == "kokoro-v1.0-int8" and "made ready once" in " ".join(told["warnings"])
    assert 0.7 < told["audio_seconds"] < 2.5
    assert not (tmp_path / "cache" / "joined" / "kokoro-v1.0.int8.onnx.part").exists()
