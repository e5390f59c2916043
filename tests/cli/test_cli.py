"""The command line's manners: quick help, exit codes, JSON, no tracebacks."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from test_engine_models import write_small_model

from voicewright.cli import main
from voicewright.errors import Interrupted
from voicewright.voices.pack import Voicepack


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from voicewright.cli import main; assert main(['--help']) == 0; "
        "heavy = {'torch', 'numpy', 'scipy', 'av', 'soundfile', 'transformers'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        seconds.append(time.perf_counter() - began)
        assert done.returncode == 0, done.stderr
    print(f"voicewright --help: {sorted(seconds)[1]:.3f} s")
    assert sorted(seconds)[1] < 2
    for name in ("say", "prepare", "train", "judge", "align", "voice", "doctor", "models"):
        assert name in done.stdout


@pytest.mark.parametrize(
    "name",
    ["say", "prepare", "train", "judge", "align", "voice inspect", "doctor", "models list", "models pull"],
)
def test_every_command_has_help_and_json(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*name.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    assert "--json" in shown


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "--help"),
        (["sing"], "sing"),
        (["train"], "recipe"),
        (["train", "r.yaml"], "--corpus"),
        (["prepare"], "source"),
        (["voice", "inspect"], "voice"),
    ],
)
def test_wrong_use_is_two(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    caught = capsys.readouterr()
    assert says.lower() in caught.err.lower() and caught.err.count("\n") == 1 and caught.out == ""


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    from voicewright import __version__

    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == __version__


def test_unexpected_faults_show_no_traceback_unless_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(folders: object) -> None:
        raise ZeroDivisionError("boom")

    monkeypatch.setattr("voicewright.catalogue.places.list_models", fail)
    assert main(["models"]) == 1
    plain = capsys.readouterr().err
    assert "boom" in plain and "--debug" in plain and "Traceback" not in plain
    assert main(["models", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err

    def interrupt(folders: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("voicewright.catalogue.places.list_models", interrupt)
    assert main(["models"]) == 130
    assert capsys.readouterr().err == "Interrupted.\n"

    def leave(folders: object) -> None:
        raise Interrupted("what there is by now lies in x; --resume goes on.")

    monkeypatch.setattr("voicewright.catalogue.places.list_models", leave)
    assert main(["models"]) == 130
    assert capsys.readouterr().err == "what there is by now lies in x; --resume goes on.\n"


def test_models_lists_local_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_small_model(tmp_path / "mine" / "best")
    assert main(["models", str(tmp_path), "--json"]) == 0
    listed = {entry["folder"]: entry for entry in json.loads(capsys.readouterr().out)["models"]}
    assert listed[str(folder)]["voices"] == ["alto", "basso"] and listed[str(folder)]["bytes"] > 1000
    assert main(["models", str(tmp_path)]) == 0
    assert "alto, basso" in capsys.readouterr().out


def test_inspecting_a_voice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "v.bin"
    Voicepack.constant(np.ones(256, np.float32)).write(path)
    assert main(["voice", "inspect", str(path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["shape"] == [510, 1, 256] and facts["varies_with_length"] is False
    assert facts["acoustic"]["norm_at_100_tokens"] == pytest.approx(128**0.5, abs=1e-3)
    folder = write_small_model(tmp_path / "m")
    assert main(["voice", "inspect", "alto", "--model", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["varies_with_length"] is True
    assert main(["voice", "inspect", "tenor", "--model", str(folder)]) == 2
    assert "alto, basso" in capsys.readouterr().err
    path.write_bytes(b"short")
    assert main(["voice", "inspect", str(path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_doctor_says_what_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["doctor", "--json"])
    report = json.loads(capsys.readouterr().out)
    assert code == (1 if report["problems"] else 0)
    assert report["torch"]["threads"] >= 1 and report["packages"]["torch"] != "missing"
    assert report["espeak_library"] and Path(report["espeak_library"]).is_file()
    assert report["speech"]["kernels"] in report["speech"]["available"]


def test_doctor_says_what_speaks(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOICEWRIGHT_KERNELS", "none")
    main(["doctor", "--json"])
    report = json.loads(capsys.readouterr().out)
    assert report["speech"]["kernels"] == "none" and report["speech"]["speech"] == "fp32 in torch alone"
    monkeypatch.setenv("VOICEWRIGHT_KERNELS", "sse")
    assert main(["doctor", "--json"]) == 1
    assert "'sse'" in json.loads(capsys.readouterr().out)["problems"][-1]
    monkeypatch.setenv("VOICEWRIGHT_KERNELS", "none")
    monkeypatch.setattr("voicewright.model.fast.library.library", lambda: None)
    monkeypatch.setattr("voicewright.model.fast.choice.library", lambda: None)
    main(["doctor", "--json"])
    assert "C compiler" in json.loads(capsys.readouterr().out)["notes"][0]


def test_doctor_knows_every_extra_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    """The list was once written by hand, with an extra that there was not and without two that there were."""
    import tomllib

    from voicewright.jobs.doctor import DEVELOPERS, MEANING

    assert main(["doctor", "--json"]) in (0, 1)
    told = json.loads(capsys.readouterr().out)["extras"]
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
    declared = set(project["optional-dependencies"]) - set(DEVELOPERS)
    assert set(told) == declared == set(MEANING)


def test_one_vocabulary_of_recognisers() -> None:
    """Every command that hears takes the same `--recogniser`, told in one way."""
    import typer

    from voicewright.cli import app

    helps = {
        parameter.help
        for command in typer.main.get_command(app).commands.values()  # type: ignore[attr-defined]
        for parameter in command.params
        if parameter.name == "recogniser"
    }
    assert len(helps) == 1 and "whisper" in helps.pop()
