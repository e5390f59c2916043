"""A stranger's package, really installed: its engine, converter, task, language, command … are found."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

from voicewright import registry
from voicewright.cli import main
from voicewright.errors import UsageError

PLUGIN = Path(__file__).with_name("plugin")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package installed by pip, without network, and a `.parrot` file."""
    folder = tmp_path_factory.mktemp("parrot")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "parrot.py"):
        (source / name).write_bytes((PLUGIN / name).read_bytes())
    words = ["--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--no-build-isolation"]
    target = folder / "site"
    subprocess.run([sys.executable, "-m", "pip", "install", *words, "--target", target, source], check=True)
    (folder / "polly.parrot").write_text("polly")
    return folder


@dataclass
class Done:
    """What a command printed."""

    stdout: str
    stderr: str


@pytest.fixture(autouse=True)
def installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package is seen by this process; its folder is the working one."""
    monkeypatch.syspath_prepend(str(site / "site"))
    monkeypatch.chdir(site)


def run(site: Path, *words: object, code: int = 0) -> Done:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        ended = main([str(word) for word in words])
    assert ended == code, err.getvalue()
    return Done(out.getvalue(), err.getvalue())


def test_another_process_sees_it(site: Path) -> None:
    paths = os.pathsep.join(filter(None, (str(site / "site"), os.environ.get("PYTHONPATH"))))
    words = [sys.executable, "-m", "voicewright", "squawk"]
    done = subprocess.run(words, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, check=True)
    assert done.stdout == b"squawk \n"


def test_an_engine_of_a_stranger_speaks(site: Path) -> None:
    run(site, "say", "Pretty Polly speaks.", "--model", "polly.parrot", "-o", "said.wav")
    samples, rate = soundfile.read(site / "said.wav")
    assert rate == 16_000 and len(samples) == 3 * 4_000
    told = run(site, "say", "Hello.", "--model", "polly.parrot", "--weights", "half", "-o", "b.wav", code=2)
    assert "is a parrot, whose weights are as it stores them" in told.stderr
    assert "there is no model" in run(site, "say", "Hello.", "--model", "nobody.parrot", code=2).stderr


def test_a_converter_of_a_stranger_converts(site: Path) -> None:
    ramp = np.linspace(0, 0.5, 16_000, dtype=np.float32)
    soundfile.write(site / "in.wav", ramp, 16_000)
    run(site, "convert", "in.wav", "--to", "polly.parrot", "-o", "out.wav")
    np.testing.assert_allclose(soundfile.read(site / "out.wav")[0], ramp[::-1], atol=1e-3)
    told = run(site, "convert", "in.wav", "--to", "polly.parrot", "-o", "o.wav", "--index", "x.index", code=2)
    assert "--index belongs to voices of RVC" in told.stderr
    told = run(site, "convert", "in.wav", "--to", "polly.parrot", "-o", "o.wav", "--formant", "2", code=2)
    assert "--formant changes nothing here: a parrot has no formants" in told.stderr
    told = run(site, "convert", "--live-from", "in.wav", "--to", "polly.parrot", "-o", "o.wav", code=2)
    assert "parrots do not speak while one speaks" in told.stderr


def test_a_voice_format_of_a_stranger(site: Path) -> None:
    assert json.loads(run(site, "voice", "inspect", "polly.parrot", "--json").stdout)["what"] == "parrot"
    assert "feathers were kept" in run(site, "voice", "convert", "polly.parrot", "-o", "b.parrot").stderr
    told = run(site, "voice", "merge", "polly.parrot", "b.parrot", "-o", "c.parrot", code=2)
    assert "a parrot cannot be mixed" in told.stderr


def test_a_task_of_a_stranger_trains(site: Path) -> None:
    (site / "recipe.yaml").write_text("name: polly\nkind: parrot\n")
    done = run(site, "train", "recipe.yaml", "--corpus", ".", "-o", "run", "--steps", "3", "--json")
    assert json.loads(done.stdout)["steps"] == 3 and (site / "run" / "polly.parrot").is_file()
    (site / "recipe.yaml").write_text("name: polly\nkind: ostrich\n")
    told = run(site, "train", "recipe.yaml", "--corpus", ".", "-o", "other", code=2).stderr
    assert "there is no kind of recipe 'ostrich'; there are adapt, clone, parrot, rvc, voice" in told


def test_a_language_a_server_and_a_command_of_a_stranger(site: Path) -> None:
    dutch = json.loads(run(site, "say", "Goedemorgen.", "--lang", "nl", "-o", "a.wav", "--json").stdout)
    other = json.loads(run(site, "say", "Goedemorgen.", "--lang", "xp", "-o", "b.wav", "--json").stdout)
    assert dutch["chunks"] == other["chunks"]
    assert "a parrot listens on 5" in run(site, "convert", "--serve", "parrot", "--port", "5").stdout
    assert run(site, "squawk", "--times", "2").stdout == "squawk squawk \n"
    assert "squawk" in run(site, "--help").stdout and "say" in run(site, "--help").stdout
    assert "No such command" in run(site, "warble", code=2).stderr


@pytest.mark.parametrize("group", sorted(registry.OURS))
def test_everything_of_ours_loads(group: str) -> None:
    for plugin in registry.ours(group).values():
        assert plugin.load() is not None


def test_unknown_names_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "strangers", lambda group: {})
    with pytest.raises(UsageError, match=r"there is no server 'x'; there are w-okada\."):
        registry.named("servers", "x", "server")
