"""Which row a text uses: our rule beside what each tool picks."""

from __future__ import annotations

import importlib
import importlib.machinery
import sys
import types
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest
import torch

from voicewright.voices.pack import Voicepack
from voicewright.voices.rows import OLD_ROWS, ROWS, WIDTH, Tool, row, tool_row, with_row_zero

COUNTS = (1, 2, 20, 509, 510)


def numbered(rows: int) -> np.ndarray:
    """Every row holds its own number."""
    return np.tile(np.arange(rows, dtype=np.float32)[:, None, None], (1, 1, WIDTH))


def test_our_row_is_the_python_packages() -> None:
    for count in COUNTS:
        assert row(count) == tool_row("kokoro", count, ROWS) == count - 1
    assert row(0) == 0 and row(511) == row(9999) == ROWS - 1


@pytest.mark.parametrize(
    ("tool", "rows", "expected"),
    [
        ("kokoro", ROWS, (0, 1, 19, 508, 509)),
        ("kokoro-onnx", ROWS, (0, 1, 19, 508, 509)),
        ("kokoro-onnx-0.5", ROWS, (1, 2, 20, 509, None)),
        ("kokoro.js", ROWS, (1, 2, 20, 509, 509)),
        ("sherpa-onnx", ROWS, (1, 2, 20, 509, None)),
        ("kokoro-0.19", OLD_ROWS, (1, 2, 20, 509, 510)),
        ("sherpa-onnx", OLD_ROWS, (1, 2, 20, 509, 510)),
        ("kokoro-onnx-0.5", OLD_ROWS, (1, 2, 20, 509, 510)),
    ],
)
def test_what_each_tool_takes(tool: Tool, rows: int, expected: tuple[int | None, ...]) -> None:
    assert tuple(tool_row(tool, count, rows) for count in COUNTS) == expected


def test_every_tool_is_in_the_table() -> None:
    assert {tool_row(tool, 7, ROWS) for tool in get_args(Tool)} == {6, 7}


def test_the_kokoro_package_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own `KPipeline.infer`, with bare modules for the imports that choosing a row has no need of."""
    found = importlib.machinery.PathFinder.find_spec("kokoro")
    if found is None or not found.submodule_search_locations:
        pytest.skip("the kokoro package is not installed")
    for needed in ("huggingface_hub", "loguru"):
        pytest.importorskip(needed)
    stand_ins: dict[str, dict[str, Any]] = {
        "kokoro_rows": {"__path__": list(found.submodule_search_locations)},
        "kokoro_rows.model": {"KModel": type("KModel", (), {"Output": object})},
        "misaki": {"en": SimpleNamespace(MToken=object), "espeak": None},
    }
    for name, contents in stand_ins.items():
        module = types.ModuleType(name)
        vars(module).update(contents)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "kokoro_rows.pipeline", raising=False)
    pipeline = importlib.import_module("kokoro_rows.pipeline").KPipeline
    taken: list[int] = []

    def model(phonemes: str, style: torch.Tensor, speed: float, return_output: bool) -> None:
        taken.append(int(style[0, 0]))

    for count in COUNTS:
        pipeline.infer(model, "a" * count, torch.from_numpy(numbered(ROWS)), 1.0)
    assert taken == [tool_row("kokoro", count, ROWS) for count in COUNTS]


def test_kokoro_onnx_agrees() -> None:
    package = pytest.importorskip("kokoro_onnx")
    choose = getattr(package.Kokoro, "_style_for", None)
    if choose is None:
        pytest.skip("this kokoro-onnx is older than 0.6")
    for rows in (ROWS, OLD_ROWS):
        taken = [int(choose(None, numbered(rows), count)[0, 0]) for count in COUNTS]
        assert taken == [tool_row("kokoro-onnx", count, rows) for count in COUNTS]


def test_a_file_of_511_rows_speaks_as_kokoro_0_19_would() -> None:
    pack = Voicepack.of(numbered(OLD_ROWS))
    for count in COUNTS:
        assert pack.style(count)[0] == tool_row("kokoro-0.19", count, OLD_ROWS)


def test_writing_511_rows_gives_tools_that_count_from_n_our_row() -> None:
    pack = Voicepack(numbered(ROWS))
    longer = with_row_zero(pack.rows)
    assert longer.shape == (OLD_ROWS, 1, WIDTH)
    for count in COUNTS:
        for tool in ("sherpa-onnx", "kokoro-onnx-0.5", "kokoro-0.19"):
            taken = tool_row(tool, count, OLD_ROWS)  # type: ignore[arg-type]
            assert taken is not None
            assert np.array_equal(longer[taken, 0], pack.style(count))
    assert np.array_equal(Voicepack.of(longer).rows, pack.rows)
