"""The page of a run: what is played, what is drawn, what it says."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from test_adapt_training import folder, poor_at, recipe, run, step_of
from test_adapters import cache

from voicewright.training.adapt.folders import Heard
from voicewright.training.adapt.page import PAGE

__all__ = ["cache", "folder"]


@pytest.fixture(scope="module")
def page(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("paged") / "r"
    tone = np.zeros(2400, np.float32)

    def judge(candidate: Path, first: object) -> Heard:
        step = step_of(candidate)
        figures = {"score": float(step), "similarity": 0.25 + step / 100, "words": 0.0, "moved": step / 500}
        sounds = {"mine-1": tone, "stock-alto": tone}
        return Heard(figures, sounds, {} if first else {"recording-1": tone, "stock-alto": tone})

    run(folder, out, recipe(), judge=judge)
    return out / PAGE


def test_everything_played_is_there(page: Path) -> None:
    text = page.read_text("utf-8")
    played = re.findall(r'src="([^"]+)"', text)
    assert all((page.parent / file).is_file() for file in played)
    assert [file.split("/")[1] for file in played] == [
        "before", "step-00000000", "step-00000010", "before", "step-00000010",
    ]  # fmt: skip
    assert not re.search(r"https?://", text)


def test_the_best_and_the_start_are_told(page: Path) -> None:
    text = page.read_text("utf-8")
    assert "Voice mine. Step 10 of 10, best at 10." in text
    assert "start 0.25 → best 0.35" in text and text.count("<polyline") == 3
    assert re.search(r'<tr class="best"><td>10</td>\s*<td>0.35</td>', text)


def test_without_figures_to_draw_there_is_no_curve(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "r", recipe(stages=[recipe().model_dump()["stages"][0]]), judge=poor_at())
    text = (tmp_path / "r" / PAGE).read_text("utf-8")
    assert "words heard wrong" in text and "Recordings" not in text
