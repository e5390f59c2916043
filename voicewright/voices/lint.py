"""What is wrong with a voicepack, in findings with a code, a severity, and what to do.

Errors keep a pack from speaking as meant, warnings are likely faults, notes are worth knowing. Ranges
come from the packs of a model (`geometry.py`), with room around them: a pack is odd only far outside of
what all public ones do. None of those has a finding.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from voicewright.voices.geometry import HALVES, Geometry, cosine, directions, kokoro
from voicewright.voices.rows import OLD_ROWS, ROWS, SHORT, WIDTH, without_row_zero

Severity: TypeAlias = Literal["error", "warning", "note"]
Floats: TypeAlias = NDArray[np.float64]

ROOM = 1.5
"""Norms may go so many times beyond the public range."""
STEP_ROOM = 4.0
"""Steps between rows may be so many times larger than any public one: subtraction magnifies them."""
LEAST_COSINE = 0.3
"""With the mean voice: 0.42 is the least of the public packs, another model's voices are near 0."""
LEAST_KOKORO = 0.4
"""Both halves at or above it: the pack is of Kokoro's kind."""
SWAPPED = 0.3
"""So much better do the halves fit when swapped; the public packs fit worse by 0.54 or more."""
FLAT = 0.25
"""Of the smallest public spread over lengths; less is as good as one vector."""

CODES: dict[str, tuple[Severity, str]] = {
    "unreadable": ("error", "the file is damaged or no voicepack"),
    "wrong-shape": ("error", "the array is not [510, 1, 256]"),
    "wrong-rows": ("error", "another number of rows than 510 or 511"),
    "wrong-type": ("error", "the values are not floating-point numbers"),
    "not-finite": ("error", "NaN or infinite values"),
    "zero-rows": ("error", "rows with a half of norm 0"),
    "swapped-halves": ("error", "the prosodic half comes first"),
    "another-model": ("error", "the voice of another model"),
    "odd-half": ("warning", "one half unlike any voice of the model"),
    "tiled-mean": ("warning", "one vector repeated for every length"),
    "extreme-short-rows": ("warning", "rows of short texts far larger than any public pack's"),
    "extreme-rows": ("warning", "rows far larger than any public pack's"),
    "faint-rows": ("warning", "rows far smaller than any public pack's"),
    "broken-curve": ("warning", "a leap between neighbouring rows"),
    "kokoro-0.19": ("warning", "511 rows, as Kokoro 0.19 had them"),
    "kokoro-1.1-zh": ("warning", "a voice name of Kokoro 1.1-zh"),
    "rounded": ("note", "values rounded to 16 bits"),
    "wide-type": ("note", "values of 64 bits, which become 32"),
    "flat": ("note", "hardly any change with length"),
}
"""Every code: its severity and what it stands for."""


@dataclass(frozen=True)
class Finding:
    """`message`: what was found where; `advice`: what to do; `rows`: the rows concerned, first and last."""

    code: str
    severity: Severity
    message: str
    advice: str
    rows: tuple[int, int] | None = None

    def as_dict(self) -> dict[str, object]:
        return {key: value for key, value in asdict(self).items() if value is not None}


def lint(
    name: str, values: NDArray[Any], geometry: Geometry, public: Geometry | None = None
) -> list[Finding]:
    """Findings for the array of a file, worst first.

    values: as read, of any shape and type; geometry: of the model that the pack is meant for; public:
    Kokoro's, where that is another model, to recognise its packs by.
    """
    found = list(_outside(name, values))
    if any(finding.severity == "error" for finding in found):
        return found
    rows = without_row_zero(values.reshape(values.shape[0], -1)).astype(np.float64)
    for check in (_finite, _zero, _precision):
        found += check(rows, geometry)
    # Rows already reported, and ranges of a model that the pack is not of, would only repeat themselves.
    origin = list(_origin(rows, geometry, public))
    found += origin
    if not any(finding.severity == "error" for finding in origin):
        usual = rows.copy()
        usual[~np.isfinite(rows).all(axis=1)] = np.nan
        for part in HALVES.values():
            usual[~np.any(rows[:, part] != 0, axis=1), part] = np.nan
        for check in (_length, _norms, _steps):
            found += check(usual, geometry)
    order = ("error", "warning", "note")
    return sorted(found, key=lambda finding: order.index(finding.severity))


def unreadable(error: Exception) -> Finding:
    """The finding for a file that could not be opened."""
    return _finding("unreadable", str(error).rstrip("."), "get or export the file again")


def _finding(code: str, message: str, advice: str, rows: NDArray[np.intp] | None = None) -> Finding:
    where = None if rows is None or not len(rows) else (int(rows.min()), int(rows.max()))
    return Finding(code, CODES[code][0], message, advice, where)


def _outside(name: str, values: NDArray[Any]) -> Iterator[Finding]:
    """Shape, type, and what the file's own words tell."""
    shape = list(values.shape)
    if values.ndim not in (2, 3) or values.shape[-1] != WIDTH or (values.ndim == 3 and values.shape[1] != 1):
        yield _finding(
            "wrong-shape",
            f"the array is {shape}, not [{ROWS}, 1, {WIDTH}]",
            "export the voice again; other widths are other models",
        )
        return
    if not np.issubdtype(values.dtype, np.floating):
        yield _finding("wrong-type", f"the values are {values.dtype}", "export the voice as float32")
        return
    if values.shape[0] not in (ROWS, OLD_ROWS):
        yield _finding(
            "wrong-rows",
            f"{values.shape[0]} rows instead of {ROWS}",
            "export the voice again, or let --fix cut or lengthen it",
        )
    if values.shape[0] == OLD_ROWS:
        yield _finding(
            "kokoro-0.19",
            f"{OLD_ROWS} rows, as packs of Kokoro 0.19 have: other weights and another vocabulary",
            "use it with Kokoro 0.19 only; if it was made with --rows 511, all is well",
        )
    if re.fullmatch(r"[a-z][fm]_\d{3}", name) or name in ("af_maple", "af_sol", "bf_vale"):
        yield _finding(
            "kokoro-1.1-zh",
            f"{name!r} is a name of Kokoro 1.1-zh, whose vocabulary and weights are others",
            "use it with that model only",
        )
    if values.dtype == np.float64:
        yield _finding("wide-type", "the values are float64", "nothing; reading rounds them to float32")


def _finite(rows: Floats, geometry: Geometry) -> Iterator[Finding]:
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(bad):
        yield _finding(
            "not-finite",
            f"{_rows(bad)} NaN or infinite values",
            "export the voice again, or let --fix fill the rows in from their neighbours",
            bad,
        )


def _zero(rows: Floats, geometry: Geometry) -> Iterator[Finding]:
    for name, part in HALVES.items():
        bad = np.flatnonzero(np.isfinite(rows).all(axis=1) & (np.abs(rows[:, part]).max(axis=1) == 0))
        if len(bad):
            yield _finding(
                "zero-rows",
                f"{_rows(bad)} nothing but zeros in the {name} half",
                "export the voice again, or let --fix fill the rows in from their neighbours",
                bad,
            )


def _precision(rows: Floats, geometry: Geometry) -> Iterator[Finding]:
    single = rows.astype(np.float32)
    single = single[np.isfinite(single).all(axis=1)]
    bits = single.view(np.uint32)
    with np.errstate(over="ignore"):
        half = single.astype(np.float16).astype(np.float32)
    if not single.size or not single.any():
        return
    for kind, rounded in (("fp16", bool((half == single).all())), ("bf16", not (bits & 0xFFFF).any())):
        if rounded:
            error = "0.05 %" if kind == "fp16" else "0.4 %"
            yield _finding(
                "rounded",
                f"every value has been rounded to {kind}",
                f"take the original if it exists; values are off by at most {error}, which is not heard",
            )
            return


def _length(rows: Floats, geometry: Geometry) -> Iterator[Finding]:
    good = rows[np.isfinite(rows).all(axis=1)]
    if len(good) < 2:
        return
    if float(np.ptp(good, axis=0).max()) == 0:
        yield _finding(
            "tiled-mean",
            f"one vector repeated {len(good)} times: short and long texts are given the same style",
            "fit the voice from recordings of many lengths, which gives it a curve",
        )
    elif geometry.tells_ranges:
        spread = {
            name: float(np.linalg.norm(good[:, part] - good[:, part].mean(axis=0), axis=1).mean())
            for name, part in HALVES.items()
        }
        if all(value < FLAT * geometry.half(name).spread for name, value in spread.items()):
            least = " and ".join(f"{geometry.half(name).spread:.3g}" for name in HALVES)
            yield _finding(
                "flat",
                f"rows stray only {spread['acoustic']:.2g} (acoustic) and {spread['prosodic']:.2g} "
                f"(prosodic) from their mean, those of {geometry.model} at least {least}",
                "nothing, if the voice was made so; else fit it from recordings of many lengths",
            )


def _norms(rows: Floats, geometry: Geometry) -> Iterator[Finding]:
    if not geometry.tells_ranges or len(rows) != ROWS:
        return
    for name, part in HALVES.items():
        norm = np.linalg.norm(rows[:, part], axis=1)
        half = geometry.half(name)
        high, low = half.over_rows("highest"), half.over_rows("lowest")
        with np.errstate(invalid="ignore"):
            large, small = norm > ROOM * high, norm < low / ROOM
        small[:SHORT] = False  # a voice that does not vary with length is small there
        for code, bad in (
            ("extreme-short-rows", np.flatnonzero(large[:SHORT])),
            ("extreme-rows", np.flatnonzero(large[SHORT:]) + SHORT),
        ):
            if len(bad):
                worst = bad[np.argmax(norm[bad] / high[bad])]
                yield _finding(
                    code,
                    f"{_rows(bad)} {name} norms of up to {norm[worst]:.3g} (row {worst}), where no public "
                    f"pack exceeds {high[worst]:.3g}",
                    "let --fix put the curve of the other rows there",
                    bad,
                )
        bad = np.flatnonzero(small)
        if len(bad):
            yield _finding(
                "faint-rows",
                f"{_rows(bad)} {name} norms down to {norm[bad].min():.3g}, where every public pack has "
                f"at least {low[bad[np.argmin(norm[bad])]]:.3g}",
                "if it is a mix with subtraction, blend it again with --normalise sum",
                bad,
            )


def _steps(rows: Floats, geometry: Geometry) -> Iterator[Finding]:
    if len(rows) != ROWS:
        return
    for name, part in HALVES.items():
        with np.errstate(invalid="ignore", over="ignore"):
            step = np.linalg.norm(np.diff(rows[:, part], axis=0), axis=1)
        if geometry.tells_ranges:
            high = STEP_ROOM * geometry.half(name).over_rows("step")[:-1]
        else:  # nothing is known of this model but that rows follow one another smoothly
            high = np.full(ROWS - 1, float(np.nanmedian(np.linalg.norm(rows[:, part], axis=1))))
        if geometry.tells_ranges:  # short rows found to be extreme leap by nature
            norm = np.linalg.norm(rows[:SHORT, part], axis=1)
            if (norm > ROOM * geometry.half(name).over_rows("highest")[:SHORT]).any():
                step[:SHORT] = 0
        bad = np.flatnonzero(step > high)
        if len(bad):
            worst = bad[np.argmax(step[bad] / high[bad])]
            yield _finding(
                "broken-curve",
                f"from row {worst} to {worst + 1} the {name} half leaps by {step[worst]:.3g}"
                + (f", and {len(bad) - 1} more leaps" if len(bad) > 1 else ""),
                "the file is damaged or put together from two; export it again, or let --fix smooth it",
                bad,
            )


def _origin(rows: Floats, geometry: Geometry, public: Geometry | None) -> Iterator[Finding]:
    """Does the voice point where the model's voices do?"""
    angles = directions(rows, geometry)
    straight = angles["acoustic"], angles["prosodic"]
    swapped = angles["acoustic_swapped"], angles["prosodic_swapped"]
    if not any(straight) and not any(swapped):
        return
    if sum(swapped) - sum(straight) > SWAPPED and min(swapped) > LEAST_COSINE:
        yield _finding(
            "swapped-halves",
            f"the halves fit {geometry.model} when swapped (cosines {_pair(swapped)}) and not as they are "
            f"({_pair(straight)})",
            "swap them, as --fix does; the acoustic half (decoder) comes first",
        )
        return
    if not geometry.tells_ranges:
        if public is not None and is_of(rows, public) and max(straight) < LEAST_COSINE:
            yield _finding(
                "another-model",
                f"this is a voice of {public.model}'s kind, not of {geometry.model} (cosines with its own "
                f"voices {_pair(straight)})",
                f"use it with {public.model}, or fit the speaker to {geometry.model}",
            )
        return
    odd = [name for name in HALVES if angles[name] < LEAST_COSINE]
    usual = {name: geometry.half(name).cosine for name in HALVES}
    if len(odd) == 2:
        yield _finding(
            "another-model",
            f"neither half is like a voice of {geometry.model} (cosines {_pair(straight)}; its own have at "
            f"least {usual['acoustic']:.2f} and {usual['prosodic']:.2f})",
            "use it with the model it was made for, and name that with --model when linting",
        )
    elif odd:
        yield _finding(
            "odd-half",
            f"the {odd[0]} half is unlike any voice of {geometry.model} (cosine {angles[odd[0]]:.2f}; "
            f"its own have at least {usual[odd[0]]:.2f})",
            "if the halves come from two voices on purpose, listen; else export the voice again",
        )


def is_of(rows: NDArray[np.floating], geometry: Geometry) -> bool:
    """True for a pack whose halves both point where the voices of this model do; rows [510, 256]."""
    angles = directions(rows, geometry)
    return angles["acoustic"] >= LEAST_KOKORO and angles["prosodic"] >= LEAST_KOKORO


def is_stranger(rows: NDArray[np.floating], own: NDArray[np.floating]) -> bool:
    """True where a pack is of Kokoro's kind and a model's own voice is not, nor is near to the pack.

    Both [510, 256]. Such a pack makes noise with that model; nothing less certain is called so.
    """
    public = kokoro()
    if not is_of(rows, public) or is_of(own, public):
        return False
    mean, its = rows[SHORT:].mean(axis=0), own[SHORT:].mean(axis=0)
    return all(cosine(mean[part], its[part]) < LEAST_COSINE for part in HALVES.values())


def _pair(cosines: tuple[float, float]) -> str:
    return f"{cosines[0]:.2f} and {cosines[1]:.2f}"


def _rows(bad: NDArray[np.intp]) -> str:
    """Rows in words, with their verb."""
    if len(bad) == 1:
        return f"row {bad[0]} has"
    if bad[-1] - bad[0] + 1 == len(bad):
        return f"rows {bad[0]}–{bad[-1]} have"
    return f"{len(bad)} rows between {bad[0]} and {bad[-1]} have"
