"""How much of what was learnt is kept at a run's end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from test_adapt_training import folder, recipe, run, step_of
from test_adapters import cache, pack

from voicewright.catalogue.adapted import is_adapter, read_adapter
from voicewright.catalogue.places import read_card, voice_files
from voicewright.model.checkpoint import load_model
from voicewright.training.adapt.folders import Heard
from voicewright.voices.pack import Voicepack

__all__ = ["cache", "folder"]
LEARNT = 10
"""Steps of the small recipe; what its last candidate has learnt is weighed below."""


class Ears:
    """Likes `wanted` of what the last step has learnt, and the start a little; hears the loss of words where
    the share is `poor`."""

    def __init__(self, wanted: float, start: float = -0.3, poor: float | None = None) -> None:
        self.wanted, self.start, self.poor = wanted, start, poor
        self.heard: list[float] = []

    def __call__(self, candidate: Path, first: Mapping[str, float]) -> Heard:
        if step_of(candidate) < LEARNT:
            score = self.start if step_of(candidate) == 0 else -9.0
            return Heard({"score": score, "words": 0.0})
        share = (
            read_adapter(candidate).scale if is_adapter(candidate) else read_card(candidate).get("share", 1)
        )
        self.heard.append(float(share))
        wrong = 0.9 if share == self.poor else 0.0
        sounds = {"mine-1": np.full(2400, share, np.float32) / 2}
        return Heard({"score": -abs(share - self.wanted), "words": wrong}, sounds)


def entries(out: Path) -> list[dict[str, float]]:
    found: list[dict[str, float]] = json.loads((out / "best.json").read_text("utf-8"))
    return found


def test_the_share_that_is_heard_best_is_kept(folder: Path, tmp_path: Path) -> None:
    ears = Ears(0.5)
    result, said = run(folder, tmp_path / "r", judge=ears)
    best = tmp_path / "r" / "best"
    assert ears.heard == [1.0, 0.75, 0.5, 0.3]  # from more to less, until it is not better
    assert read_adapter(best).scale == 0.5 and read_card(best)["share"] == 0.5
    assert read_card(best)["figures"]["score"] == 0 and read_card(best)["before"]["score"] == -0.3
    assert result.best[0] == entries(tmp_path / "r")[0] and result.best[0]["share"] == 0.5
    assert result.best[0]["score"] == 0 and result.best[0]["step"] == LEARNT
    assert any("0.5 of what step 10 had learnt is kept" in one for one in said)
    learnt, start = Voicepack.read(voice_files(best)["mine"]).rows, pack(3).rows
    state = load_file(sorted((tmp_path / "r" / "checkpoints").glob("*"))[-1] / "state.safetensors")
    offset = state["ema|acoustic.value"].numpy()
    np.testing.assert_allclose((learnt - start)[:, 0, :128], np.tile(0.5 * offset, (510, 1)), atol=1e-6)
    load_model(best)
    rows = [json.loads(line) for line in (tmp_path / "r" / "log.jsonl").read_text("utf-8").splitlines()]
    assert [row["share"] for row in rows if "share" in row] == [0.5]
    page = (tmp_path / "r" / "index.html").read_text("utf-8")
    assert "best at 10, 0.5 of what was learnt by then" in page
    assert not (tmp_path / "r" / "weighed").exists()
    heard = len(ears.heard)
    again, _ = run(folder, tmp_path / "r", judge=ears, resume=True)
    assert len(ears.heard) == heard and again.best == result.best


def test_a_share_may_be_better_than_a_start_that_the_whole_is_not(folder: Path, tmp_path: Path) -> None:
    result, _ = run(folder, tmp_path / "r", judge=Ears(0.5, start=-0.1))
    assert [int(one["step"]) for one in result.best] == [LEARNT, 0]
    assert read_card(tmp_path / "r" / "best")["share"] == 0.5


@pytest.mark.parametrize(("ears", "kept"), [(Ears(1.2), 1.0), (Ears(0.3, start=-0.9, poor=0.5), 0.75)])
def test_the_whole_or_what_is_healthy_is_kept(folder: Path, tmp_path: Path, ears: Ears, kept: float) -> None:
    """The whole where less is not better; nothing that breaks a gate, however near."""
    result, _ = run(folder, tmp_path / "r", judge=ears)
    best = tmp_path / "r" / "best"
    assert read_card(best)["share"] == kept and read_adapter(best).scale == kept
    assert result.best[0].get("share", 1.0) == kept


def test_without_shares_nothing_is_weighed(folder: Path, tmp_path: Path) -> None:
    ears = Ears(0.5)
    run(folder, tmp_path / "r", recipe(shares=[]), judge=ears)
    assert ears.heard == [1.0] and "share" not in read_card(tmp_path / "r" / "best")
    run(folder, tmp_path / "r", recipe(shares=[0.5]), judge=ears, resume=True)  # asked for afterwards
    assert ears.heard[1:] == [0.5] and read_card(tmp_path / "r" / "best")["share"] == 0.5


def test_of_a_finetune_too(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole matrices: a model between the base and what was learnt."""
    plain = recipe(rank="whole", shares=[])
    run(folder, tmp_path / "whole", plain, judge=Ears(1.0))

    class Half(Ears):
        def __call__(self, candidate: Path, first: Mapping[str, float]) -> Heard:
            found = super().__call__(candidate, first)
            return Heard({**found.figures, "score": float(len(self.heard))})

    run(folder, tmp_path / "half", recipe(rank="whole", shares=[0.5]), judge=Half(0.5))
    base, whole, half = (
        load_model(place)[0].float().fold().state_dict()
        for place in (folder, tmp_path / "whole" / "best", tmp_path / "half" / "best")
    )
    moved = [key for key in base if not torch.equal(base[key], whole[key])]
    assert moved and all(key.endswith(".weight") for key in moved)
    for key, value in base.items():
        torch.testing.assert_close(half[key], value + 0.5 * (whole[key] - value), atol=2e-6, rtol=1e-5)
