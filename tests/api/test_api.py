"""What `import voicewright` gives: by name, lazily, over the same jobs as the commands."""

from __future__ import annotations

import inspect
import subprocess
import sys
from dataclasses import MISSING, fields
from pathlib import Path

import numpy as np
import pytest
import soundfile
import typer

import voicewright
from voicewright.catalogue.places import embedded_model
from voicewright.cli import app
from voicewright.conversion.block import LiveOptions
from voicewright.conversion.protocol import ConvertOptions

NAMES = {
    "Cancelled", "Interrupted", "UsageError", "Voice", "VoicewrightError", "__version__",
    "clone", "convert", "fit", "judge", "load", "prepare", "train",
}  # fmt: skip


def test_names_are_these_and_documented() -> None:
    assert set(voicewright.__all__) == NAMES <= set(dir(voicewright))
    for name in NAMES - {"__version__"}:
        assert inspect.getdoc(getattr(voicewright, name)), f"{name} says nothing"
    with pytest.raises(AttributeError, match="no attribute 'sing'"):
        voicewright.sing  # type: ignore[attr-defined]  # noqa: B018


def test_importing_loads_nothing_and_rooms_do_not_hide_functions() -> None:
    code = (
        "import sys, voicewright\n"
        "assert not {'numpy', 'torch', 'pydantic', 'typer'} & set(sys.modules), 'heavy'\n"
        "import voicewright.conversion, voicewright.training, voicewright.judging, voicewright.jobs.fit\n"
        "assert all(callable(getattr(voicewright, name)) for name in ('convert', 'train', 'judge', 'fit'))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert Path(voicewright.__file__).with_name("py.typed").is_file()


def test_a_voice_says_streams_and_saves(tmp_path: Path) -> None:
    voice = voicewright.load("tiny")
    speech = voice.say("Hello there.", seed=1)
    assert [word.text for word in speech.words] == ["Hello", "there"] and voice.names == ("kathleen",)
    parts = list(voice.stream("Hello there.", seed=1))
    assert abs(sum(len(part.samples) for part in parts) - len(speech.samples)) < 2_400
    for suffix in ("wav", "flac", "mp3"):
        assert soundfile.info(speech.save(tmp_path / f"a.{suffix}")).duration == pytest.approx(
            speech.seconds, abs=0.1
        )
    with pytest.raises(voicewright.UsageError, match="audio is written as"):
        speech.save(tmp_path / "a.txt")
    with pytest.raises(voicewright.UsageError, match="the speed is 9"):
        voice.say("Hello.", speed=9)
    with pytest.raises(voicewright.VoicewrightError):
        voicewright.load("nowhere")
    pack = tmp_path / "my-own+voice.npz"
    pack.write_bytes((embedded_model() / "voices" / "kathleen.npz").read_bytes())
    assert len(voicewright.load("tiny", pack).say("Hello.").samples)


def test_convert_is_the_command(tmp_path: Path) -> None:
    voicewright.load("tiny").say("Something is said.").save(tmp_path / "in.wav")
    made = voicewright.convert(tmp_path / "in.wav", tmp_path / "a.wav")
    command = ["convert", str(tmp_path / "in.wav"), "-o", str(tmp_path / "b.wav")]
    from voicewright.cli import main

    assert main(command) == 0 and made[0].output == str(tmp_path / "a.wav")
    np.testing.assert_array_equal(
        soundfile.read(tmp_path / "a.wav")[0], soundfile.read(tmp_path / "b.wav")[0]
    )


def test_command_and_library_have_one_set_of_defaults() -> None:
    """house rule: `convert` sounds as `ConvertOptions()` and `LiveOptions()` do."""
    command = typer.main.get_command(app).commands["convert"]  # type: ignore[attr-defined]
    said = {parameter.name: parameter.default for parameter in command.params}
    said["context"], said["sample_rate"] = said.pop("past"), said.pop("rate")
    for options in (ConvertOptions, LiveOptions):
        for field in fields(options):
            if field.name in said and field.default is not MISSING:
                assert said[field.name] == field.default, f"{options.__name__}.{field.name}"
    shared = {field.name: field.default for field in fields(ConvertOptions)}
    for field in fields(LiveOptions):
        assert shared.get(field.name, field.default) == field.default, field.name
