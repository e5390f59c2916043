"""Mends what `lint` finds, where something sound is left to mend it from.

Rows that are wrong (not finite, zero, far too large, torn) are replaced one by one; every other row
stays as it is, bit for bit. What takes their place is the length curve {1, log(t+1), t, t²} fitted to
the sound rows of that half, shifted to meet the nearest sound rows on either side. `docs/voices.md` has
the distance from the truth, measured by taking rows out of the public packs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from voicewright.errors import VoicewrightError
from voicewright.voices.curve import length_basis
from voicewright.voices.geometry import HALVES, Geometry
from voicewright.voices.lint import ROOM, STEP_ROOM, Finding, lint
from voicewright.voices.pack import Voicepack
from voicewright.voices.rows import ROWS, SHORT, WIDTH, Array, without_row_zero

EARLY = 50
"""Rows before this one are predicted by a fit that weighs rows by 1 / token count, later ones evenly."""
SOUND = 64
"""Rows that must be left for a curve to be fitted to them."""
Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Repair:
    """The mended pack; what was done, in words; which rows changed, and how far the others moved (0)."""

    pack: Voicepack
    done: tuple[str, ...]
    replaced: tuple[int, ...]
    moved: float
    left: tuple[Finding, ...]
    """What `lint` still finds."""


def mend(
    name: str,
    values: NDArray[Any],
    geometry: Geometry,
    kokoro: Geometry | None = None,
    hold_below: int = 0,
) -> Repair:
    """Mend the array of a file.

    hold_below: texts of fewer tokens get the row for so many, which tames short texts that lie on the curve
    and are extreme nevertheless. Raises VoicewrightError where too little is left, or where the array is no
    voicepack.
    """
    codes = {finding.code for finding in lint(name, values, geometry, kokoro)}
    if codes & {"wrong-shape", "wrong-type"}:
        raise VoicewrightError(f"{name} is no voicepack ({', '.join(sorted(codes))}); it cannot be mended.")
    done: list[str] = []
    rows = without_row_zero(values.reshape(values.shape[0], WIDTH)).astype(np.float32)
    if values.shape[0] == ROWS + 1:
        done.append("row 0 of 511, for no token, was left out")
    rows = _with_all_rows(name, rows, done)
    before = rows
    if "swapped-halves" in {finding.code for finding in lint(name, rows, geometry, kokoro)}:
        rows = np.concatenate([rows[:, HALVES["prosodic"]], rows[:, HALVES["acoustic"]]], axis=1)
        before = rows
        done.append("the halves were swapped")
    mended = rows.copy()
    for half, part in HALVES.items():
        bad = _bad_rows(rows[:, part].astype(np.float64), half, geometry)
        if bad.any():
            mended[:, part] = _filled(name, rows[:, part].astype(np.float64), bad, half, geometry)
            done.append(f"{int(bad.sum())} {half} rows were taken from the curve of the others")
    if hold_below > 1:
        at = min(hold_below, ROWS) - 1
        mended[:at] = mended[at]
        done.append(f"texts under {hold_below} tokens get the row for {hold_below}")
    changed = np.flatnonzero((mended != before).any(axis=1))  # a NaN differs from everything
    kept = np.setdiff1d(np.arange(ROWS), changed)
    moved = float(np.abs(mended[kept] - before[kept]).max()) if len(kept) else 0.0
    pack = Voicepack.of(mended, name)
    left = lint(name, pack.rows, geometry, kokoro)
    return Repair(pack, tuple(done), tuple(changed.tolist()), moved, tuple(left))


def _with_all_rows(name: str, rows: Array, done: list[str]) -> Array:
    """Cut to 510 rows, or lengthened to them with the last finite row."""
    count = len(rows)
    if count > ROWS:
        done.append(f"{count} rows were cut to {ROWS}")
        return rows[:ROWS]
    if count < ROWS:
        if count < SOUND:
            raise VoicewrightError(f"{name} has {count} rows; from fewer than {SOUND} no pack can be mended.")
        sound = np.flatnonzero(np.isfinite(rows).all(axis=1))
        if len(sound) == 0:
            raise VoicewrightError(f"{name} holds no finite row; it cannot be mended.")
        done.append(f"{count} rows were lengthened to {ROWS} by repeating row {sound[-1]}")
        return np.concatenate([rows, np.tile(rows[sound[-1]], (ROWS - count, 1))])
    return rows


def _bad_rows(half: Floats, name: str, geometry: Geometry) -> NDArray[np.bool_]:
    """[510] rows of a half [510, 128] that cannot be trusted: what `lint` objects to, seen row by row."""
    with np.errstate(invalid="ignore", over="ignore"):
        norm = np.linalg.norm(half, axis=1)
    bad = ~np.isfinite(norm) | (norm == 0)
    if not geometry.tells_ranges:
        return bad
    ranges = geometry.half(name)
    with np.errstate(invalid="ignore"):
        large = norm > ROOM * ranges.over_rows("highest")
    bad |= large
    if large[:SHORT].any():
        bad[:SHORT] = True  # what made some of them large has touched their neighbours
    # A row far from the last sound one before it and from the next sound one after it stands alone: torn out.
    step = STEP_ROOM * ranges.over_rows("step")
    for row in np.flatnonzero(~bad):
        others = [i for i in (row - 1, row + 1) if 0 <= i < len(half) and not bad[i]]
        far = [float(np.linalg.norm(half[row] - half[i])) > step[min(row, i)] for i in others]
        if len(far) == 2 and all(far):
            bad[row] = True
    return bad


def _filled(name: str, half: Floats, bad: NDArray[np.bool_], which: str, geometry: Geometry) -> Floats:
    """The half [510, 128] with its bad rows on the curve of the sound ones, none larger than is usual."""
    sound = np.flatnonzero(~bad)
    if len(sound) < SOUND:
        raise VoicewrightError(
            f"{name} has {len(sound)} sound {which} rows left; from fewer than {SOUND} it cannot be mended."
        )
    filled = half.copy()
    # Rows change most at the short end, so what is missing there is told by the short rows that are left.
    early = bad & (np.arange(ROWS) < EARLY)
    for rows, trust in ((early, 1 / (sound + 1.0)), (bad & ~early, np.ones(len(sound)))):
        if rows.any():
            filled[rows] = _curve(half, sound, trust)[rows]
    if geometry.tells_ranges:
        high = ROOM * geometry.half(which).over_rows("highest")
        for row in np.flatnonzero(bad)[::-1]:
            if np.linalg.norm(filled[row]) > high[row] and row + 1 < ROWS:
                filled[row] = filled[row + 1]
    return filled


def _curve(half: Floats, sound: NDArray[np.intp], trust: Floats) -> Floats:
    """[510, 128] the curve fitted to the sound rows by weights `trust`, and shifted to pass through them."""
    t = np.arange(ROWS, dtype=np.float64)
    basis = curve_basis(t)
    weights, *_ = np.linalg.lstsq(basis[sound] * trust[:, None], half[sound] * trust[:, None], rcond=None)
    curve = basis @ weights
    residual = half[sound] - curve[sound]
    return curve + np.stack([np.interp(t, sound, column) for column in residual.T], axis=1)


def curve_basis(t: Floats) -> Floats:
    """[N, 4]: 1, log(t+1), t, t², with t = token count − 1; the last two scaled to [0, 1] over the table."""
    return np.concatenate([np.ones((len(t), 1)), length_basis(t + 1)], axis=1)
