"""A voicepack over text length, as a picture and as lines of text."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from voicewright.errors import UsageError, VoicewrightError
from voicewright.storage import replacing
from voicewright.voices.geometry import HALVES, Geometry
from voicewright.voices.pack import Voicepack
from voicewright.voices.repair import curve_basis
from voicewright.voices.rows import ROWS

Floats: TypeAlias = NDArray[np.float64]
COUNTS = np.arange(1, ROWS + 1)
_TICKS = (1, 5, 20, 100, 510)
_COLOURS = {"acoustic": "#1f6f8b", "prosodic": "#c1582d"}


def length_curve(half: Floats) -> tuple[Floats, Floats, float]:
    """How a half [510, 128] changes with length: its first direction of change [510], that of the fitted
    curve {1, log(t+1), t, t²} [510], and which share of all change the curve explains (1 where is none)."""
    basis = curve_basis(np.arange(ROWS, dtype=np.float64))
    weights, *_ = np.linalg.lstsq(basis, half, rcond=None)
    fitted = basis @ weights
    centred = half - half.mean(axis=0)
    total = float(np.sum(centred**2))
    if total < 1e-12:
        return np.zeros(ROWS), np.zeros(ROWS), 1.0
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    first = directions[0] * np.sign(centred[0] @ directions[0] or 1.0)
    explained = 1 - float(np.sum((half - fitted) ** 2)) / total
    return centred @ first, (fitted - half.mean(axis=0)) @ first, explained


def draw(pack: Voicepack, path: Path, title: str, geometry: Geometry | None = None) -> None:
    """A PNG: norms over length with the range of the public packs behind them; direction of change and fit.

    Raises UsageError for another suffix, VoicewrightError where matplotlib is missing.
    """
    if path.suffix.lower() != ".png":
        raise UsageError(f"{path}: the picture is a PNG; name it so.")
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise VoicewrightError(
            "drawing needs matplotlib, which is not installed; pip install 'voicewright[judge]' brings it."
        ) from error
    rows = pack.rows[:, 0].astype(np.float64)
    figure = Figure(figsize=(11, 6.4), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    axes = figure.subplots(2, 2, sharex=True)
    for column, (name, part) in enumerate(HALVES.items()):
        half, colour = rows[:, part], _COLOURS[name]
        upper, lower = axes[0][column], axes[1][column]
        if geometry is not None and geometry.tells_ranges:
            usual = geometry.half(name)
            upper.fill_between(
                COUNTS, usual.over_rows("lowest"), usual.over_rows("highest"), color="0.88", lw=0,
                label=f"{geometry.packs} packs of {geometry.model}",
            )  # fmt: skip
            upper.plot(COUNTS, usual.over_rows("median"), color="0.6", lw=1, label="their median")
        norm = np.linalg.norm(half, axis=1)
        upper.plot(COUNTS, norm, color=colour, lw=1.8, label="this pack")
        upper.set(title=f"{name} half", ylabel="norm of the row" if column == 0 else None)
        upper.set_ylim(0, 1.15 * max(upper.get_ylim()[1], float(norm.max())))
        upper.legend(frameon=False, fontsize=8)
        change, fit, share = length_curve(half)
        lower.plot(COUNTS, change, color=colour, lw=1.8, label="main direction of change")
        lower.plot(COUNTS, fit, color="0.2", lw=1, ls="--", label=f"1, log, t, t²: {share:.2%} of all change")
        lower.set(xlabel="tokens", ylabel="distance from the mean row" if column == 0 else None)
        lower.legend(frameon=False, fontsize=8)
        for axis in (upper, lower):
            axis.set_xscale("log")
            axis.set_xticks(_TICKS, [str(tick) for tick in _TICKS])
            axis.minorticks_off()
            axis.set_xlim(1, ROWS)
            axis.spines[["top", "right"]].set_visible(False)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


def text_plot(pack: Voicepack, geometry: Geometry | None = None, width: int = 60, height: int = 8) -> str:
    """The norms of both halves over length (logarithmic) in characters; dots: the range of other packs."""
    rows = pack.rows[:, 0].astype(np.float64)
    at = np.round(np.geomspace(1, ROWS, width)).astype(int) - 1
    lines = []
    for name, part in HALVES.items():
        norm = np.linalg.norm(rows[:, part], axis=1)[at]
        low, high = norm, norm
        if geometry is not None and geometry.tells_ranges:
            usual = geometry.half(name)
            low, high = usual.over_rows("lowest")[at], usual.over_rows("highest")[at]
        top = float(max(norm.max(), high.max())) or 1.0
        lines.append(f"{name} half: norm of the row")
        for line in range(height, 0, -1):
            floor, ceiling = top * (line - 1) / height, top * line / height
            cells = "".join(
                "●" if floor < norm[c] <= ceiling else "·" if low[c] < ceiling and high[c] > floor else " "
                for c in range(width)
            )
            label = f"{ceiling:5.1f} " if line in (height, height // 2) else " " * 6
            lines.append(f"{label}│{cells}".rstrip())
        lines.append("    0 └" + "─" * width)
    ruler = [" "] * (width + 4)
    for tick in _TICKS:
        place = round(np.log(tick) / np.log(ROWS) * (width - 1))
        ruler[place : place + len(str(tick))] = str(tick)
    lines.append("       " + "".join(ruler).rstrip() + "  tokens")
    return "\n".join(lines)
