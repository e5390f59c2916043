"""Every option of every command changes what is asked of the job behind it, or is refused."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from voicewright.cli import app, main
from voicewright.cli.convert import MODES

JOBS = {
    "say": ["jobs.say.say"],
    "convert": [
        "jobs.convert.convert_all",
        "jobs.live.convert_live",
        "jobs.live.sound_devices",
        "wokada.serve.serve",
    ],
    "prepare": ["corpus.prepare.prepare"],
    "train": ["jobs.train.train"],
    "fit": ["jobs.fit.fit", "jobs.fit_adapt.fit_and_adapt"],
    "align": ["jobs.align.draw"],
    "judge": ["jobs.judge.run_judgement"],
    "demo": ["jobs.demo.run.demonstrate"],
    "export": ["engines.export.export"],
    "doctor": ["jobs.doctor.examine"],
}
"""Command → what does its work, below `voicewright`."""
BASE = {
    "say": ["say", "Hello."],
    "prepare": ["prepare", "IN", "-o", "OUT"],
    "train": ["train", "finetune", "--corpus", "IN", "-o", "OUT"],
    "fit": ["fit", "IN", "-o", "OUT"],
    "align": ["align", "IN", "a1", "-o", "OUT"],
    "judge": ["judge", "--corpus", "IN", "-o", "OUT"],
    "demo": ["demo"],
    "export": ["export", "tiny", "-o", "OUT"],
    "doctor": ["doctor"],
}
MODE = {
    "recordings": ["convert", "IN", "-o", "OUT.wav"],
    "--live": ["convert", "--live"],
    "--live-from": ["convert", "--live-from", "IN", "-o", "OUT.wav"],
    "--serve": ["convert", "--serve", "w-okada"],
    "--list-devices": ["convert", "--list-devices"],
}
NEEDS = {
    ("say", "text"): ["say"],
    ("say", "file"): ["say"],
    **{
        ("say", name): ["say", "Hello.", "--through", "x"]
        for name in ("index", "embedder", "speaker", "unvoiced")
    },
    ("say", "pitch"): ["say", "Hello.", "--through", "x"],
    ("say", "target_pitch"): ["say", "Hello.", "--through", "x"],
}
"""Options that want another one beside them."""
VALUES = {
    "speed": "1.5", "pitch": "3", "target_pitch": "120", "rate": "22050", "protect": "0.1", "silence": "-50",
    "serve": "w-okada", "output": "OTHER.wav", "text": "Other words.", "most": "7",
    "steps": "7", "batch": "7", "implementation": "plain", "weights": "half", "unvoiced": "interpolate",
    "transcribe": "never", "convention": "onnx-community", "precision": "int8", "format": "kokoro",
}  # fmt: skip
"""Parameter → a value that it may have and has not by itself; others are made from the default's type."""


class Asked(Exception):
    """Raised in place of a job; says what it was called with."""


@functools.cache
def commands() -> dict[str, Any]:
    """Every command by its words."""
    found: dict[str, Any] = {}

    def walk(command: Any, words: tuple[str, ...]) -> None:
        if hasattr(command, "commands"):
            for name, child in command.commands.items():
                walk(child, (*words, name))
        else:
            found[" ".join(words)] = command

    walk(typer.main.get_command(app), ())
    return found


def parameters() -> list[tuple[str, str]]:
    return [
        (name, str(parameter.name))
        for name, command in commands().items()
        if name in JOBS
        for parameter in command.params
        if parameter.name not in ("as_json", "help")
    ]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a file `IN`; every job raises what it was asked."""
    monkeypatch.chdir(tmp_path)
    for name in ("IN", "other"):
        (tmp_path / name).write_text("Words of a file.")
    for jobs in JOBS.values():
        for job in jobs:
            module, _, name = job.rpartition(".")

            def asked(*given: Any, job: str = job, **named: Any) -> None:
                kept = [one for one in given if not callable(one)]
                raise Asked(job, repr(kept), repr({k: v for k, v in named.items() if not callable(v)}))

            monkeypatch.setattr(importlib.import_module(f"voicewright.{module}"), name, asked)
    monkeypatch.setattr("voicewright.jobs.convert.plan", lambda order: ([], False))
    yield tmp_path


def asked_by(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = main(words)
    return code, capsys.readouterr().err


def is_argument(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "argument")


def written(name: str, parameter: Any) -> list[str]:
    """The option with a value that is not its default."""
    if is_argument(parameter):
        return [VALUES.get(str(parameter.name), "other")]
    option = next((word for word in parameter.opts if word.startswith("--")), parameter.opts[0])
    if parameter.is_flag:
        return [option if not parameter.default else parameter.secondary_opts[0]]
    if name == "convert" and parameter.name == "format":
        return [option, "flac"]
    made = {int: "7", float: "0.4"}.get(type(parameter.default), "other")
    return [option, VALUES.get(str(parameter.name), made)]


@pytest.mark.parametrize(("name", "parameter"), [one for one in parameters() if one[0] != "convert"])
def test_an_option_reaches_its_job(
    name: str, parameter: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = commands()[name]
    found = next(one for one in command.params if one.name == parameter)
    base = NEEDS.get((name, parameter), BASE[name])
    words = written(name, found)
    if is_argument(found):
        position = [one.name for one in command.params if is_argument(one)].index(parameter)
        changed = [*base[: 1 + position], *words, *base[2 + position :]]
    elif words[0] in base:
        at = base.index(words[0])
        changed = [*base[:at], *words, *base[at + 2 :]]
    else:
        changed = [*base, *words]
    plain = asked_by(BASE[name] if parameter in ("text", "file") else base, capsys)
    said = asked_by(changed, capsys)
    assert plain[0] == 1 and "Asked" in plain[1], plain
    assert said != plain and ("Asked" in said[1] or said[0] == 2), f"{' '.join(changed)} changes nothing"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("parameter", [one for name, one in parameters() if name == "convert"])
def test_an_option_of_convert_reaches_its_mode_or_is_refused(
    parameter: str, mode: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = next(one for one in commands()["convert"].params if one.name == parameter)
    words = written("convert", found)
    if words[0] in MODE[mode]:
        at = MODE[mode].index(words[0])
        changed = [*MODE[mode][:at], *words, *MODE[mode][at + (1 if found.is_flag else 2) :]]
    elif is_argument(found) and mode == "recordings":
        changed = ["convert", "other", "-o", "OUT.wav"]
    else:
        changed = [*MODE[mode], *words]
    plain = asked_by(MODE[mode], capsys)
    code, told = asked_by(changed, capsys)
    assert "Asked" in plain[1], plain
    chosen = {"--live": "live", "--list-devices": "list_devices", "--serve": "serve"}.get(mode)
    if parameter == chosen:
        assert "Asked" in told
    elif parameter in MODES[mode]:
        assert "Asked" in told and told != plain[1], f"{' '.join(changed)} changes nothing"
    else:
        assert code == 2 and "Asked" not in told, f"{' '.join(changed)} is not refused"


@pytest.mark.parametrize("name", sorted(commands()))
def test_no_parameter_of_a_command_is_left_unread(name: str) -> None:
    """Every parameter occurs in the command's body: --json and those of `voice` and `models` too."""
    callback = commands()[name].callback
    assert callback is not None
    function = inspect.unwrap(callback)
    tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    assert isinstance(tree, ast.FunctionDef)
    read = {node.id for part in tree.body for node in ast.walk(part) if isinstance(node, ast.Name)}
    assert {argument.arg for argument in tree.args.args} - read == set()
