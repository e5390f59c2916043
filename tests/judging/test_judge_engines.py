"""`voicewright judge` with any engine and any voice: ONNX files, implementations, mixes with files."""

from __future__ import annotations

import json
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
