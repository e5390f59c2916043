"""`voice inspect | convert | merge` on RVC voices, as typed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hostile_pickles import Calls
from rvc_weights import filled, reduced

from voicewright.cli import main
from voicewright.rvc.files.checkpoint import open_voice, save_voice
from voicewright.rvc.network.config import RVC_PRESETS
from voicewright.rvc.network.synthesizer import Synthesizer

V2 = reduced(RVC_PRESETS["v2", "40k"])


@pytest.fixture
def singer(tmp_path: Path) -> Path:
    net = Synthesizer(V2, posterior=False)
    net.load_state_dict(filled({name: tuple(value.shape) for name, value in net.state_dict().items()}))
    path = tmp_path / "singer.pth"
    save_voice(path, net, {"info": "100epoch", "author": "Ann", "embedder_model": "spin", "step": 7})
    return path


def said(capsys: pytest.CaptureFixture[str], *words: str | Path, code: int = 0) -> tuple[str, str]:
    assert main([str(word) for word in words]) == code
    out, error = capsys.readouterr()
    return out, error


def record(capsys: pytest.CaptureFixture[str], *words: str | Path) -> dict[str, Any]:
    found = json.loads(said(capsys, *words, "--json")[0])
    assert isinstance(found, dict)
    return found


def test_inspect(singer: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = record(capsys, "voice", "inspect", singer)
    assert found.pop("parameters") > 100_000
    assert found == {
        "voice": "singer",
        "file": str(singer),
        "what": "RVC voice",
        "version": "v2",
        "sample_rate": 40_000,
        "follows_f0": True,
        "speakers": 3,
        "embedder": "spin (layer 12, 768 wide)",
        "epochs": 100,
        "author": "Ann",
        "licence": "not stated",
        "sha256": hashlib.sha256(singer.read_bytes()).hexdigest(),
        "says": {"step": 7},
    }
    text, _ = said(capsys, "voice", "inspect", singer)
    assert "version: v2" in text and "licence: not stated" in text and "epochs: 100" in text
    out, error = said(capsys, "voice", "inspect", singer, "--packs", singer.parent, code=2)
    assert out == "" and "--plot and --packs are for voicepacks" in error


def test_inspect_tells_what_was_mended(singer: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = torch.load(singer, weights_only=True) | {"f0": 0, "license": "CC0", "epoch": 12}
    torch.save(content, singer)
    found = record(capsys, "voice", "inspect", singer)
    assert found["follows_f0"] and found["notes"][0].startswith("It says f0=0")
    assert (found["licence"], found["epochs"], found["says"]["info"]) == ("CC0", 12, "100epoch")


def test_there_and_back(singer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    safe, back = tmp_path / "singer.safetensors", tmp_path / "back.pth"
    assert said(capsys, "voice", "convert", singer, "-o", safe) == (f"{safe}\n", "")
    assert record(capsys, "voice", "convert", safe, "-o", back) == {"output": [str(back)], "notes": []}
    before, after = (torch.load(path, weights_only=True) for path in (singer, back))
    weights = before.pop("weight"), after.pop("weight")
    assert before == after and weights[0].keys() == weights[1].keys()
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    assert record(capsys, "voice", "inspect", safe)["what"] == "RVC voice as safetensors"
    folder = tmp_path / "safe"
    folder.mkdir()
    out, _ = said(capsys, "voice", "convert", singer, back, "-o", folder)
    assert out == f"{folder}/singer.safetensors\n{folder}/back.safetensors\n"


def test_merge(singer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other, out = tmp_path / "other.pth", tmp_path / "mixed.pth"
    voice = open_voice(singer)
    with torch.no_grad():
        for value in voice.synthesizer.parameters():
            value.mul_(2)
    save_voice(other, voice.synthesizer, voice.info)
    found = record(capsys, "voice", "merge", singer, other, "-o", out, "--shares", "1,3")
    assert found["info"] == "merged: 0.25 singer.pth + 0.75 other.pth" and found["embedder_model"] == "spin"
    assert any("index" in note for note in found["notes"])
    mixed, whole = (open_voice(path).synthesizer.state_dict() for path in (out, singer))
    assert all(torch.allclose(mixed[name], 1.75 * whole[name], rtol=2e-3, atol=1e-4) for name in whole)
    assert torch.load(out, weights_only=True)["f0"] == 1
    printed, error = said(capsys, "voice", "merge", singer, other, "-o", out)
    assert printed == f"{out}\n" and "not merged" in error


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["merge", "{}", "-o", "out.pth"], "at least two voices"),
        (["merge", "{}", "{}", "-o", "out.onnx"], "name a .pth or .safetensors file"),
        (["merge", "{}", "{}", "-o", "out.pth", "--shares", "1"], "gives 1 numbers for 2 voices"),
        (["merge", "{}", "{}", "-o", "out.pth", "--shares", "a,b"], "give numbers"),
        (["merge", "{}", "{}", "-o", "nowhere/out.pth"], "there is no folder nowhere"),
        (["blend", "{}(2)+{}", "-o", "out.pt"], "voicewright voice merge"),
        (["convert", "{}", "af_heart", "-o", "out.pth"], "af_heart is no RVC voice"),
        (["convert", "{}", "-o", "out.bin"], "name a .pth or .safetensors file"),
        (["convert", "{}", "{}", "-o", "out.pth"], "is no folder, which several voices need"),
        (["convert", "{}", "-o", "out.pth", "--rows", "511"], "are for voicepacks"),
        (["convert", "{}", "-o", "{}"], "would overwrite a voice"),
        (["merge", "{}", "{}", "-o", "{}"], "would overwrite a voice"),
        (["inspect", "missing.pth"], "missing.pth does not exist"),
    ],
)
def test_wrong_use_is_one_sentence(
    singer: Path, words: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["voice", *(word.replace("{}", str(singer)) for word in words)]) in (1, 2)
    out, error = capsys.readouterr()
    assert out == "" and expected in error and error.count("\n") == 1


def test_a_hostile_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, marker = tmp_path / "singer.pth", tmp_path / "ran"
    torch.save({"weight": Calls(Path.touch, marker)}, path)
    out, error = said(capsys, "voice", "inspect", path, code=1)
    assert out == "" and "refused and nothing in it was run" in error and not marker.exists()
