"""Each script of examples/ does what its docstring says."""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from test_demo import RECIPE, embedded, quick, recordings

from voicewright.catalogue.places import resolve_model, voice_files
from voicewright.voices.pack import Voicepack

__all__ = ["embedded", "quick", "recordings"]  # fixtures

ROOT = Path(__file__).resolve().parents[2]


Run = Callable[..., str]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a script as a program, in this process, which has torch loaded; what it printed."""

    def run(name: str, *given: str | Path) -> str:
        monkeypatch.setattr(sys, "argv", [name, *map(str, given)])
        runpy.run_path(str(ROOT / "examples" / name), run_name="__main__")
        return capsys.readouterr().out

    return run


def test_every_example_is_run_here() -> None:
    source = Path(__file__).read_text("utf-8")
    names = [path.name for path in (ROOT / "examples").glob("*.py")]
    assert len(names) >= 3
    assert all(f'"{name}"' in source for name in names)


def test_speak(run: Run, tmp_path: Path) -> None:
    said = run("speak.py", "Good morning.", tmp_path / "a.wav")
    assert [line.split()[-1] for line in said.splitlines()] == ["Good", "morning"]
    assert soundfile.info(tmp_path / "a.wav").duration > 0.5


def test_stream_to_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("Good morning. The ferry left at seven.", "utf-8")
    said = run("stream_to_file.py", tmp_path / "text.txt", tmp_path / "a.flac", tmp_path / "a.srt")
    seconds = float(said.split()[0])
    assert soundfile.info(tmp_path / "a.flac").duration == pytest.approx(seconds, abs=0.01)
    captions = (tmp_path / "a.srt").read_text("utf-8")
    assert captions.startswith("1\n00:00:00") and "ferry" in captions


def test_blend_voices(run: Run, tmp_path: Path) -> None:
    name, file = next(iter(voice_files(resolve_model(None)).items()))
    own = Voicepack.read(file)
    Voicepack(own.rows * 0.5).write(tmp_path / "half.bin")
    words = f"{name}(3)+{tmp_path / 'half.bin'}"
    said = run("blend_voices.py", words, tmp_path / "mixed.pt", tmp_path / "a.wav")
    assert [line.split()[0] for line in said.splitlines()] == ["0.75", "0.25"]
    assert np.allclose(Voicepack.read(tmp_path / "mixed.pt").rows, own.rows * 0.875, atol=1e-5)
    assert soundfile.info(tmp_path / "a.wav").duration > 0.5


def test_train_voice(
    embedded: Path,
    quick: None,
    recordings: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = tmp_path / "me"
    (source / "wavs").mkdir(parents=True)
    lines = (recordings / "metadata.csv").read_text("utf-8").splitlines(keepends=True)
    lines = sorted(sorted(lines, key=len)[:12])
    (source / "metadata.csv").write_text("".join(lines), "utf-8")
    for line in lines:
        name = f"wavs/{line.split('|')[0]}.wav"
        os.link(recordings / name, source / name)
    recipe = tmp_path / "short.yaml"
    recipe.write_text(yaml.safe_dump(RECIPE), "utf-8")
    main = runpy.run_path(str(ROOT / "examples" / "train_voice.py"))["main"]
    main(str(source), str(recipe), str(tmp_path / "work"))
    assert voice_files(resolve_model(tmp_path / "work" / "run"))
    assert str(tmp_path / "work" / "run") in capsys.readouterr().out
