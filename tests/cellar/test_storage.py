"""What disks, shells and locales do to a command: a sentence or a file, never a traceback."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from voicewright.audio.writer import AudioWriter, PartFile
from voicewright.cli import main
from voicewright.errors import VoicewrightError
from voicewright.storage import decoded, refused, replacing, write_atomically, write_with

SPOKEN = "import sys; from voicewright.cli import main; sys.exit(main())"
LONGEST = "n" * 251 + ".wav"


NAMES = ("plain.bin", "n" * 255, "ü" * 127, "日" * 85, ".hidden", "-dash", "a b'c\"d")
WRITERS: tuple[Callable[[Path], object], ...] = (
    lambda path: write_atomically(path, b"new"),
    lambda path: write_with(path, lambda beside: beside.write_bytes(b"new")),
)


@pytest.mark.parametrize("name", NAMES)
def test_any_name_that_the_disk_takes(tmp_path: Path, name: str) -> None:
    write_atomically(tmp_path / name, b"one")
    write_with(tmp_path / name, lambda path: path.write_bytes(b"two"))
    part = PartFile(tmp_path / name)
    part.write(b"three")
    part.commit()
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [(name, b"three")]


@pytest.mark.parametrize("write", WRITERS)
def test_a_link_stays_and_its_file_is_written(tmp_path: Path, write: Callable[[Path], object]) -> None:
    (tmp_path / "there").mkdir()
    for name, target in (("link", "there/old"), ("chain", "link"), ("dangling", "there/none")):
        (tmp_path / name).symlink_to(target)
    (tmp_path / "there" / "old").write_bytes(b"old")
    write(tmp_path / "chain")
    write(tmp_path / "dangling")
    assert (tmp_path / "chain").is_symlink() and (tmp_path / "link").is_symlink()
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == ["none", "old"]
    assert {path.read_bytes() for path in (tmp_path / "there").iterdir()} == {b"new"}


CAUSES = {
    errno.ENOSPC: "disk is full; free some space",
    errno.EROFS: "read-only; choose another folder",
    errno.ENAMETOOLONG: "choose a shorter one",
    errno.EACCES: "you may not write there",
    errno.ENOENT: "make it first",
    errno.ELOOP: "lead in a circle",
    errno.EBADF: "choose another folder",
}


def test_advice_fits_the_cause() -> None:
    for number, words in CAUSES.items():
        told = str(refused(Path("x.wav"), OSError(number, os.strerror(number))))
        assert words in told and told.count(". ") == 0 and told.startswith("x.wav could not be written: ")
        assert ("free" in told) == (number == errno.ENOSPC)


def test_what_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    path.write_bytes(b"old")

    def fail(at: Path) -> None:
        at.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "no room")

    with pytest.raises(VoicewrightError, match="disk is full"):
        write_with(path, fail)
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_bytes(b"half")
        raise RuntimeError
    assert [(found.name, found.read_bytes()) for found in tmp_path.iterdir()] == [("kept", b"old")]
    with pytest.raises(VoicewrightError, match="choose a shorter one"):
        write_atomically(tmp_path / ("n" * 256), b"")
    with pytest.raises(VoicewrightError, match="make it first"):
        write_atomically(tmp_path / "none" / "x", b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "ogg", "opus"])
def test_a_full_disk_is_a_sentence_in_every_format(
    tmp_path: Path, suffix: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import numpy as np

    # The temporary name is a device that is always full.
    monkeypatch.setattr("voicewright.audio.writer.temporary_beside", lambda path: tmp_path / "always full")
    (tmp_path / "always full").symlink_to("/dev/full")
    writer = AudioWriter(tmp_path / f"x.{suffix}")
    with pytest.raises(VoicewrightError, match="disk is full"):
        for _ in range(40):
            writer.write(np.random.default_rng(0).standard_normal(24_000).astype(np.float32) * 0.1)
        writer.commit()
    writer.discard()
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_texts_in_any_unicode(coding: str) -> None:
    assert decoded("Café – 日本".encode(coding), "x.txt") == "Café – 日本"
    assert decoded("Ünï".encode("utf-16-be").join([b"\xfe\xff", b""]), "x") == "Ünï"


@pytest.mark.parametrize("data", ["Café".encode("latin-1"), b"\xff\xfeA", b"\xff\xfe\0\0A"])
def test_other_codings_are_a_sentence(data: bytes) -> None:
    with pytest.raises(VoicewrightError, match=r"x\.txt is not UTF-(8|16|32) text .*save it as UTF-8\.$"):
        decoded(data, "x.txt")


def _run(
    folder: Path, words: list[str], redirect: str, **variables: str
) -> subprocess.CompletedProcess[bytes]:
    """The command in a shell that closes streams; `models` and the like answer in well under a second."""
    script = f'exec "$0" -c "$1" "${{@:2}}" {redirect}'
    line = ["bash", "-c", script, sys.executable, SPOKEN, *words]
    return subprocess.run(line, cwd=folder, capture_output=True, env={**os.environ, **variables}, timeout=120)


@pytest.mark.parametrize(
    ("words", "redirect", "code", "told"),
    [
        (["models"], ">&-", 0, ""),
        (["models"], "2>&-", 0, ""),
        (["models", "--json"], "<&- >&- 2>&-", 0, ""),
        (["say", "-"], "<&-", 2, "standard input is closed"),
        (["say", "Hi.", "-o", "-"], ">&-", 2, "standard output is closed"),
        (["say"], "<&- 2>&-", 2, ""),
        (["say", "Hi.", "-o", "x.mp4"], ">&-", 2, "audio is written as"),
    ],
)
def test_closed_streams(tmp_path: Path, words: list[str], redirect: str, code: int, told: str) -> None:
    done = _run(tmp_path, words, redirect)
    assert done.returncode == code and b"Traceback" not in done.stderr and b"unexpected" not in done.stderr
    assert told.encode() in done.stderr and not list(tmp_path.iterdir())


def test_a_locale_of_ascii_and_closed_streams_still_speak(tmp_path: Path) -> None:
    """One process for what each alone needs a model for: letters beyond ASCII, a long name, no output."""
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": ""}
    (tmp_path / "there").mkdir()
    (tmp_path / LONGEST).symlink_to(tmp_path / "there" / "café.wav")
    done = _run(tmp_path, ["say", "Café.", "-o", LONGEST, "--json"], "<&-", **plain)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout.decode("utf-8"))
    assert record["chunks"][0]["text"] == "Café." and record["warnings"] == []
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["café.wav"]
    assert (tmp_path / LONGEST).is_symlink() and len(list(tmp_path.iterdir())) == 2


def test_text_of_utf_16_is_spoken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.txt").write_bytes("Hello.".encode("utf-16"))
    assert main(["say", "-f", str(tmp_path / "text.txt"), "-o", str(tmp_path / "x.wav")]) == 0
    assert (tmp_path / "x.wav").stat().st_size > 10_000
    (tmp_path / "old.txt").write_bytes("Café.".encode("latin-1"))
    assert main(["say", "-f", str(tmp_path / "old.txt"), "-o", str(tmp_path / "y.wav")]) == 1
    assert "is not UTF-8 text (byte 3); save it as UTF-8." in capsys.readouterr().err
