"""`voicewright judge` with any engine and any voice: ONNX files, implementations, mixes with files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from test_engine_models import write_small_model
from test_judge import Ear, Listener

from voicewright.catalogue.places import resolve_model, voice_files
from voicewright.cli import main
from voicewright.corpus.manifest import Corpus
from voicewright.engines.export import export
from voicewright.judging.result import Item
from voicewright.training.work import Part, add_part
from voicewright.voices.pack import Voicepack

TEXTS = {"one": "The kettle sang on the stove.", "two": "Nobody spoke."}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_model(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("packs") / "own.npz"
    rows = np.stack([np.full((510, 1, 256), value, np.float32) for value in (0.1, 0.2)])
    np.savez(path, first=rows[0], second=rows[1])
    return path


@pytest.fixture
def corpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Two recordings of noise, and judges that need no models."""
    rng = np.random.default_rng(0)
    recordings = {name: rng.standard_normal(30_000).astype(np.float32) * 0.1 for name in TEXTS}
    utterances = tuple(SimpleNamespace(id=name, speaker="tone", text=TEXTS[name]) for name in TEXTS)
    found = SimpleNamespace(utterances=utterances, meta=SimpleNamespace(language="en-us"))
    monkeypatch.setattr(Corpus, "read", lambda folder: found)
    monkeypatch.setattr(
        "voicewright.jobs.judge.read_items",
        lambda corpus, ids: [Item(name, TEXTS[name], recordings[name]) for name in ids],
    )
    monkeypatch.setattr("voicewright.listen.recogniser.open_recogniser", lambda *given: Listener())
    monkeypatch.setattr("voicewright.judging.judge.SpeakerEncoder", Ear)
    return tmp_path / "corpus"


def run(corpus: Path, *given: str | Path) -> int:
    out = corpus.parent / "report"
    return main(["judge", "--corpus", str(corpus), "-o", str(out), "--json", *map(str, given)])


def conditions(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    found: dict[str, object] = json.loads(capsys.readouterr().out)["conditions"]
    return found


def test_an_onnx_file_and_a_mix_with_files(
    model: Path, bundle: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    name = next(iter(voice_files(resolve_model(model))))
    mixed = f"both={bundle}:first(2)+{name}"
    made = export(model, tmp_path / "out", "onnx", "fp16", [name, mixed, f"{bundle}:second"])
    assert made.voices == (name, "both", "second")
    rows = Voicepack.read(tmp_path / "out" / "voices" / "both.bin").rows
    whole = Voicepack.read(voice_files(resolve_model(model))[name]).rows
    assert np.allclose(rows, (2 * 0.1 + whole) / 3, atol=1e-6)

    file = tmp_path / "out" / "model.onnx"
    assert run(corpus, "--model", file, "--voice", f"{bundle}:first+{name}") == 0
    assert conditions(capsys)["implementation"] == "onnxruntime, fp16"
    assert run(corpus, "--model", file, "--copy") == 2
    assert "copy-synthesis" in capsys.readouterr().err
    assert run(corpus, "--model", file, "--implementation", "bf16") == 2
    assert "run by its own engine" in capsys.readouterr().err


def test_implementations_are_judged_alike(
    model: Path, bundle: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for implementation in ("torch", "bf16"):
        given = ("--model", model, "--implementation", implementation, "--no-copy")
        assert run(corpus, *given, "--voice", f"{bundle}:first") == 0
        assert conditions(capsys)["implementation"] == implementation
    assert run(corpus, "--model", model, "--voice", "nobody+x") == 2
    assert "nobody" in capsys.readouterr().err


def test_others_read_the_same_texts(
    model: Path, bundle: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A voice's card and a run's folder say what making it took; wrong ones are refused."""
    run_folder = tmp_path / "run"
    shutil.copytree(model, run_folder / "best")
    (run_folder / "run.json").write_text("{}")
    add_part(run_folder, Part(what="voicepack", seconds=200))
    add_part(run_folder, Part(what="training", seconds=400, steps=9, peak_gib=4.5))
    pack = tmp_path / "me.safetensors"
    Voicepack.read(bundle, "first").write(pack)
    pack.with_suffix(".json").write_text('{"seconds_of_work": {"a": 50, "b": 20.4}, "heard_seconds": 61.3}')
    fitted = f"{model}={pack}"
    given = ("--model", run_folder, "--no-copy", "--beside", fitted, "--beside", model)
    assert run(corpus, *given) == 0
    found = json.loads(capsys.readouterr().out)
    assert [way["name"] for way in found["ways"]][1:] == [fitted, str(model)]
    assert [way["work"] for way in found["ways"]] == [
        "10 min (voicepack 200 s, training 7 min) on cpu; 4.5 GiB at most".replace("200 s", "3 min"),
        "70 s from 61 s of speech",
        None,
    ]
    keys = {figure["key"] for figure in found["ways"][1]["figures"]}
    assert {"wer", "cer", "similarity", "echo_12", "f0_mean"} <= keys
    for wrong, words in (
        (fitted, "given twice"),
        ("nothing-here", "nothing-here"),
        (f"{model}=nobody", "nobody"),
    ):
        assert run(corpus, *given, "--beside", wrong) == 2
        assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("voices", "words"),
    [
        (["a/b={}"], "cannot be the name"),
        (["{}", "{}"], "two voices would be called 'first'"),
        (["nobody+x"], "nobody"),
    ],
)
def test_wrong_voices_of_an_export(
    voices: list[str],
    words: str,
    model: Path,
    bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("onnx")
    chosen = ",".join(text.format(f"{bundle}:first") for text in voices)
    assert main(["export", str(model), "-o", str(tmp_path / "out"), "--voices", chosen]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()
