"""Several processes train as one does; one that dies, stops or has no memory left takes the others along."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes import small_recipe, tone_features
from forked import HERE, Forked
from safetensors.torch import load_file
from torch import Tensor

from voicewright.errors import UsageError, VoicewrightError
from voicewright.training import loop
from voicewright.training.devices import pick_device
from voicewright.training.ranks import ALONE, Ranks
from voicewright.training.speaking import Speaking
from voicewright.training.start import start_networks
from voicewright.training.state import Checkpoints

TOTAL, STOPPED = 8, 130


class Pair:
    """Two processes that meet."""

    def __init__(self, *both: Forked) -> None:
        self.both = both

    def __call__(self, out: Path, at: int = 0, place: str = "never") -> list[int]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        with ThreadPoolExecutor(2) as pool:
            started = [pool.submit(one, out, at, place, rank, 2, port) for rank, one in enumerate(self.both)]
            return [one.result() for one in started]


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with Forked("ranks_script") as first, Forked("ranks_script") as second:
        yield Pair(first, second)


@pytest.fixture(scope="module")
def one(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("one")
    assert pair.both[0](out) == 0
    return out


@pytest.fixture(scope="module")
def two(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("two")
    assert pair(out) == [0, 0]
    return out


def log(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text("utf-8").splitlines()]


def alike(a: Path, b: Path, rel: float) -> None:
    """Whether two runs logged the same, within float noise or what `rel` allows. Norms of gradients get a
    hundredth: most of an adversarial gradient cancels out, and processors round the rest differently."""
    for mine, theirs in zip(log(a), log(b), strict=True):
        words = {key: value for key, value in mine.items() if isinstance(value, str)}
        assert words.items() <= theirs.items()
        numbers = {key: value for key, value in mine.items() if key not in (*words, "gradient")}
        if "gradient" in mine:
            assert theirs["gradient"] == pytest.approx(mine["gradient"], rel=max(rel, 1e-2))
        assert {key: theirs[key] for key in numbers} == pytest.approx(numbers, rel=rel)


def state(out: Path) -> dict[str, Tensor]:
    return load_file(Checkpoints(out / "checkpoints").found()[0] / "state.safetensors")


def same_bytes(a: Path, b: Path) -> None:
    assert log(a) == log(b)
    mine, theirs = state(a), state(b)
    assert mine.keys() == theirs.keys()
    assert [key for key in mine if not torch.equal(mine[key], theirs[key])] == []


def test_two_processes_train_as_one_does(one: Path, two: Path) -> None:
    """Both stages, adversarial phases included: within float noise, and what is on disk alike."""
    steps = [entry for entry in log(one) if entry["kind"] == "train"]
    assert [entry["step"] for entry in steps] == list(range(1, TOTAL + 1))
    assert all(("adversarial" in entry) == (entry["step"] in (3, 4, 7, 8)) for entry in steps)
    alike(one, two, 1e-4)
    mine, theirs = state(one), state(two)
    assert mine.keys() == theirs.keys()
    weights = [key for key in mine if key.startswith("net|") and mine[key].numel() > 1]
    for key in weights:
        apart, size = (mine[key] - theirs[key]).norm(), mine[key].norm()
        assert apart < 1e-3 * size + 1e-3, key
    files = [
        sorted(str(path.relative_to(out)) for path in out.rglob("*") if "tensorboard" not in str(path))
        for out in (one, two)
    ]
    assert files[0] == files[1]


def test_a_killed_process_is_started_again_and_the_run_ends_as_if_it_never_was(
    two: Path, tmp_path: Path
) -> None:
    """By torchrun itself, which starts both again; they resume by themselves."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--max-restarts", "1"]
    ended = subprocess.run(
        [*command, str(HERE / "ranks_script.py"), str(tmp_path), "6", "kill"],
        check=False, cwd=HERE, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert "(exitcode: -9) local_rank: 1" in ended.stderr
    assert re.search(r"Resumed at step [46] of 8", ended.stderr)  # the first may have saved step 6 by then
    assert "Process 0 of 2 lost the others" in ended.stderr and "[1] " not in ended.stderr
    same_bytes(tmp_path, two)


def test_asked_to_stop_one_takes_the_other_along(pair: Pair, two: Path, tmp_path: Path) -> None:
    """Step 3 is no step at which checkpoints are written anyway."""
    assert pair(tmp_path, 3, "stop") == [STOPPED, STOPPED]
    assert Checkpoints(tmp_path / "checkpoints").found()[0].name in ("step-00000003", "step-00000004")
    assert pair(tmp_path) == [0, 0]
    same_bytes(tmp_path, two)


def test_without_memory_all_take_their_clips_in_pieces(pair: Pair, one: Path, tmp_path: Path) -> None:
    """One runs out in the midst of a step, when the other has begun to add up: both take the step again."""
    assert pair(tmp_path, 4, "spill") == [0, 0]
    record = json.loads((Checkpoints(tmp_path / "checkpoints").found()[0] / "state.json").read_text())
    assert record["counters"]["batch_frames"]["0 in pieces"] == 2
    alike(one, tmp_path, 2e-3)


def test_where_a_single_clip_does_not_fit_a_checkpoint_is_kept(pair: Pair, tmp_path: Path) -> None:
    run = pair.both[0]
    assert run(tmp_path, 4, "full") == 1
    assert Checkpoints(tmp_path / "checkpoints").found()[0].name == "step-00000003"
    assert run(tmp_path) == 0  # with memory it goes on


def test_each_process_has_its_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert pick_device() == torch.device("cuda")
    for name, value in {"RANK": "6", "LOCAL_RANK": "2", "WORLD_SIZE": "8"}.items():
        monkeypatch.setenv(name, value)
    assert pick_device() == pick_device("cuda") == torch.device("cuda:2")
    assert pick_device("cpu") == torch.device("cpu")
    with pytest.raises(UsageError, match="use --device cuda, not cuda:1"):
        pick_device("cuda:1")
    monkeypatch.setenv("LOCAL_RANK", "4")
    with pytest.raises(UsageError, match="this machine has 4"):
        pick_device()


class Two(Ranks):
    """The first of two processes, of which the other does nothing."""

    count = 2


def test_what_has_no_parts_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Whole(Speaking):
        parts = False

    def made() -> loop.Trainer[object]:
        task = Whole(small_recipe(), start_networks(small_recipe(), None), [tone_features(0)], [])
        return loop.Trainer(task, tmp_path, torch.device("cpu"), fingerprint="", line=print)

    assert made().ranks is ALONE
    monkeypatch.setattr(loop, "here", lambda device: Two())
    with pytest.raises(VoicewrightError, match="train in one process"):
        made()
