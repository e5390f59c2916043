"""A run killed with SIGKILL and resumed is bit for bit the run that was never stopped."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from fakes import small_recipe, tone_features
from forked import HERE, Forked
from safetensors.torch import load_file

from voicewright.errors import VoicewrightError
from voicewright.training.run import train_features
from voicewright.training.state import Checkpoints

TOTAL = 21


@pytest.fixture(scope="module")
def run() -> Iterator[Forked]:
    with Forked("resume_script") as forked:
        yield forked


def losses(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def straight(run: Forked, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("straight")
    assert run(out) == 0
    return out


def test_killed_and_resumed_is_bit_identical(run: Forked, straight: Path, tmp_path: Path) -> None:
    """Killed in each stage, at a stage's first step, and twice in the middle of saving."""
    for kill_at, place in ((3, "step"), (5, "save"), (7, "step"), (9, "save"), (15, "step"), (19, "step")):
        assert run(tmp_path, kill_at, place) == -signal.SIGKILL
    assert run(tmp_path) == 0
    assert losses(tmp_path) == losses(straight)
    mine, theirs = (
        Checkpoints(p / "checkpoints").found()[0] / "state.safetensors" for p in (tmp_path, straight)
    )
    a, b = load_file(mine), load_file(theirs)
    assert a.keys() == b.keys()
    assert [key for key in a if not torch.equal(a[key], b[key])] == []


def test_log_covers_every_stage_and_the_adversarial_phase(straight: Path) -> None:
    log = [entry for entry in losses(straight) if entry["kind"] == "train"]
    assert [entry["step"] for entry in log] == list(range(1, TOTAL + 1))
    assert {entry["stage"] for entry in log} == {"acoustic", "prosody", "joint", "diffusion"}
    assert "adversarial" not in log[2] and "adversarial" in log[3]


def test_damaged_checkpoints_fall_back_then_refuse(straight: Path, tmp_path: Path) -> None:
    """A flipped byte is noticed; the one before is used; when all are damaged the run does not start over."""
    features = [tone_features(i) for i in range(18)]
    said: list[str] = []
    recipe = small_recipe()
    train_features(recipe, features, tmp_path, device=torch.device("cpu"), line=said.append)
    newest, older = Checkpoints(tmp_path / "checkpoints").found()
    data = bytearray((newest / "state.safetensors").read_bytes())
    data[len(data) // 2] ^= 1
    (newest / "state.safetensors").write_bytes(data)
    train_features(recipe, features, tmp_path, resume=True, device=torch.device("cpu"), line=said.append)
    assert any("is damaged" in text for text in said)
    for path in Checkpoints(tmp_path / "checkpoints").found():
        cut = (path / "state.safetensors").read_bytes()
        (path / "state.safetensors").write_bytes(cut[: len(cut) // 2])
    with pytest.raises(VoicewrightError, match=r"No checkpoint .* is sound"):
        train_features(recipe, features, tmp_path, resume=True, device=torch.device("cpu"), line=said.append)
    assert older.exists()


def test_another_recipe_or_an_unasked_resume_is_refused(straight: Path) -> None:
    features = [tone_features(i) for i in range(18)]
    with pytest.raises(VoicewrightError, match="--resume"):
        train_features(small_recipe(), features, straight, device=torch.device("cpu"), line=lambda s: None)
    with pytest.raises(VoicewrightError, match="another recipe"):
        other = small_recipe(seed=5)
        train_features(
            other, features, straight, resume=True, device=torch.device("cpu"), line=lambda s: None
        )


def test_interrupting_saves_and_the_resumed_run_is_bit_identical(
    run: Forked, straight: Path, tmp_path: Path
) -> None:
    """Step 5 is no step at which checkpoints are written anyway."""
    script = HERE / "sigint_script.py"
    stopped = subprocess.run(
        [sys.executable, str(script), str(tmp_path), "5"], check=False, cwd=script.parent, capture_output=True
    )
    assert stopped.returncode == 130, stopped.stderr.decode()
    assert b"Stopped at step 5; `--resume` goes on from there." in stopped.stdout
    assert Checkpoints(tmp_path / "checkpoints").found()[0].name == "step-00000005"
    assert run(tmp_path) == 0
    assert losses(tmp_path) == losses(straight)
    mine, theirs = (
        load_file(Checkpoints(p / "checkpoints").found()[0] / "state.safetensors")
        for p in (tmp_path, straight)
    )
    assert mine.keys() == theirs.keys()
    assert [key for key in mine if not torch.equal(mine[key], theirs[key])] == []
