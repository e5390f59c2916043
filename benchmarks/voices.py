"""What `docs/voices.md` says of the public voicepacks: lint, round trips, mixes, rows, mending, the curve.

    VOICEWRIGHT_VOICEPACKS=packs/ python benchmarks/voices.py [--json]

Everything is computed from the packs in that folder; nothing of them is kept. Under a minute on one core.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from voicewright.voices.blend import Shelf, parse, read_mix
from voicewright.voices.files import ENDINGS, ONE_ONLY, read_arrays, write_arrays
from voicewright.voices.geometry import HALVES, kokoro
from voicewright.voices.lint import lint
from voicewright.voices.pack import Voicepack
from voicewright.voices.repair import curve_basis, mend
from voicewright.voices.rows import ROWS, SHORT, Array, with_row_zero

Floats = NDArray[np.float64]
Packs = dict[str, Voicepack]
Spoil = Callable[[Array, Array], Array]


def linted(packs: Packs) -> dict[str, object]:
    usual = kokoro()
    found = Counter(f.code for name, pack in packs.items() for f in lint(name, pack.rows, usual))
    rng = np.random.default_rng(1)
    names = list(packs)
    flagged: Counter[str] = Counter()
    for _ in range(400):
        one, two = (packs[str(name)].rows for name in rng.choice(names, 2, replace=False))
        share = np.float32(rng.uniform(0.05, 0.95))
        flagged["mixes"] += bool(lint("mix", one * share + two * (1 - share), usual))
        less = one - np.float32(0.3) * two
        flagged["a-b(0.3), total"] += bool(lint("mix", less / np.float32(1.3), usual))
        flagged["a-b(0.3), sum"] += bool(lint("mix", less / np.float32(0.7), usual))
    return {
        "packs": len(packs),
        "findings": dict(found),
        **{f"flagged of 400 {key}": count for key, count in flagged.items()},
    }


def faults(packs: Packs) -> dict[str, object]:
    """Faults put into every pack: how many of them `lint` names rightly."""

    def scaled(by: float) -> Spoil:
        return lambda rows, other: np.concatenate([rows[:10] * np.float32(by), rows[10:]])

    def replaced(row: int) -> Spoil:
        return lambda rows, other: np.concatenate([rows[:row], other[row : row + 1], rows[row + 1 :]])

    cases: dict[str, tuple[str, Spoil]] = {
        "halves swapped": (
            "swapped-halves", lambda rows, other: np.concatenate([rows[..., 128:], rows[..., :128]], axis=2)
        ),
        "mean tiled": ("tiled-mean", lambda rows, other: np.tile(rows.mean(0, keepdims=True), (ROWS, 1, 1))),
        "rows 0-9 times 3": ("extreme-short-rows", scaled(3)),
        "rows 0-9 times 2": ("extreme-short-rows", scaled(2)),
        "rows 0-9 times 2, or leap": ("extreme-short-rows or broken-curve", scaled(2)),
        "row 100 of another voice": ("broken-curve", replaced(100)),
        "row 5 of another voice": ("broken-curve", replaced(5)),
        "two voices joined at row 250": (
            "broken-curve", lambda rows, other: np.concatenate([rows[:250], other[250:]])
        ),
        "dimensions shuffled": ("another-model", lambda rows, other: np.ascontiguousarray(rows[..., ::-1])),
        "rounded to fp16": ("rounded", lambda rows, other: rows.astype(np.float16).astype(np.float32)),
    }  # fmt: skip
    usual, names = kokoro(), list(packs)
    found: dict[str, object] = {}
    for label, (code, spoil) in cases.items():
        hits = 0
        for number, name in enumerate(names):
            other = packs[names[(number + 7) % len(names)]].rows
            named = {f.code for f in lint(name, spoil(packs[name].rows, other), usual)}
            hits += bool(named & set(code.split(" or ")))
        found[f"{label} -> {code}"] = f"{hits} of {len(names)}"
    return found


def round_trips(packs: Packs) -> dict[str, object]:
    """Single files in every format with 510 and 511 rows; files of all packs; all compared bit for bit."""
    exact: Counter[str] = Counter()
    tried: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for form, ending in ENDINGS.items():
            path = Path(folder) / f"voice{ending}"
            for name, pack in packs.items():
                for rows in (pack.rows, with_row_zero(pack.rows)):
                    write_arrays(path, {name: rows}, form)
                    tried[f"{form}, one"] += 1
                    exact[f"{form}, one"] += Voicepack.read(path).rows.tobytes() == pack.rows.tobytes()
            if form in ONE_ONLY:
                continue
            made = write_arrays(path, {name: pack.rows for name, pack in packs.items()}, form)
            read = read_arrays(path)
            tried[f"{form}, all"] += len(packs)
            exact[f"{form}, all"] += sum(
                read[name].tobytes() == pack.rows.tobytes() for name, pack in packs.items()
            )
            for file in made:
                file.unlink()
    return {key: f"{exact[key]} of {tried[key]}" for key in tried}


def mixes(folder: Path, packs: Packs, count: int = 400) -> dict[str, object]:
    """Random mixes beside Kokoro-FastAPI's formula and the `kokoro` package's mean, computed by torch."""
    shelf = Shelf({path.stem: path for path in folder.glob("*.bin")})
    tensors = {name: torch.from_numpy(pack.rows.copy()) for name, pack in packs.items()}
    rng = np.random.default_rng(0)
    sums = means = 0
    for _ in range(count):
        names = [str(name) for name in rng.choice(list(packs), rng.integers(2, 5), replace=False)]
        weights = [round(float(weight), 3) for weight in rng.uniform(0.05, 4, len(names))]
        signs = ["+", *rng.choice(["+", "-"], len(names) - 1, p=[0.7, 0.3])]
        words = "".join(
            f"{sign if number else ''}{name}({weight})"
            for number, (sign, name, weight) in enumerate(zip(signs, names, weights, strict=True))
        )
        total = sum(weights)
        theirs = tensors[names[0]] * (weights[0] / total)
        for sign, name, weight in zip(signs[1:], names[1:], weights[1:], strict=True):
            part = tensors[name] * (weight / total)
            theirs = theirs + part if sign == "+" else theirs - part
        sums += read_mix(parse(words, shelf)).rows.tobytes() == theirs.numpy().tobytes()
        mean = torch.mean(torch.stack([tensors[name] for name in names]), dim=0).numpy()
        means += read_mix(parse(",".join(names), shelf)).rows.tobytes() == mean.tobytes()
    return {"weighted_equal": f"{sums} of {count}", "means_equal": f"{means} of {count}"}


def slips(rows: Floats) -> dict[str, object]:
    """What it costs to read one row further, as share of the row's norm; rows [voices, 510, 256]."""
    slip = np.linalg.norm(np.diff(rows, axis=1), axis=2) / np.linalg.norm(rows[:, :-1], axis=2)
    return {
        f"{low + 1} to {high} tokens": {
            "median": round(float(np.median(slip[:, low:high])), 4),
            "max": round(float(slip[:, low:high].max()), 4),
        }
        for low, high in ((0, 5), (5, 20), (20, 50), (50, 200), (200, 509))
    }


def mending(packs: Packs) -> dict[str, object]:
    """Rows taken out and put back by `--fix`: distance from the truth, as share of its norm."""
    usual = kokoro()
    cases = {
        "rows 0-19 (short texts)": slice(0, SHORT),
        "row 0": slice(0, 1),
        "row 100": slice(100, 101),
        "rows 60-79": slice(60, 80),
        "rows 200-299": slice(200, 300),
        "rows 490-509": slice(490, 510),
    }
    found: dict[str, object] = {}
    for label, where in cases.items():
        misses, moved, left = [], 0.0, 0
        for name, pack in packs.items():
            broken = pack.rows.copy()
            broken[where] = np.nan
            repair = mend(name, broken, usual)
            truth = pack.rows[where, 0]
            miss = np.linalg.norm(repair.pack.rows[where, 0] - truth, axis=1) / np.linalg.norm(truth, axis=1)
            misses.append(miss)
            others = np.delete(np.arange(ROWS), where)
            moved = max(moved, float(np.abs(repair.pack.rows[others] - pack.rows[others]).max()))
            left += len(repair.left)
        every = np.stack(misses)
        found[label] = {
            "median": round(float(np.median(every)), 4),
            "p95": round(float(np.quantile(every, 0.95)), 4),
            "max": round(float(every.max()), 4),
            "other_rows_moved": moved,
            "findings_left": left,
        }
    return found


def curve_study(rows: Floats) -> dict[str, object]:
    """How well bases over length describe the voices: share of the variation within a voice not explained.

    "one row out": each row predicted from the other 509 of its voice. "voice out": the basis itself learned
    from the other 53 voices (principal components over length). "from K": only K rows seen, evenly spread
    over log length from 5 to 200 tokens, the rest of that range predicted.
    """
    t = np.arange(ROWS, dtype=np.float64)
    full = np.concatenate([curve_basis(t), (t[:, None] / (ROWS - 1)) ** 3], axis=1)
    bases = {"1, log": full[:, :2], "1, log, t": full[:, :3], "1, log, t, t²": full[:, :4], "+ t³": full}
    total = float(np.sum((rows - rows.mean(axis=1, keepdims=True)) ** 2))
    table: dict[str, object] = {}
    for label, basis in bases.items():
        table[label] = _fit_figures(rows, basis, total)
    table["4 learned, voice out"] = _learned(rows, 3, total)
    for number in (4, 8, 16, 32):
        table[f"from {number} rows"] = _from_few(rows, bases["1, log, t, t²"], number)
    return table


def _fit_figures(rows: Floats, basis: Floats, total: float) -> dict[str, float]:
    q, _ = np.linalg.qr(basis)
    residual = rows - np.einsum("nk,mk,vmd->vnd", q, q, rows, optimize=True)
    leverage = np.sum(q * q, axis=1)
    left_out = residual / (1 - leverage)[None, :, None]
    voice_total = np.sum((rows - rows.mean(axis=1, keepdims=True)) ** 2, axis=(1, 2))
    by_voice = np.sum(residual**2, axis=(1, 2)) / voice_total
    return {
        "left_pct": round(100 * float(np.sum(residual**2)) / total, 3),
        "worst_voice_pct": round(100 * float(by_voice.max()), 3),
        "one_row_out_pct": round(100 * float(np.sum(left_out**2)) / total, 3),
        "mean_distance": round(float(np.linalg.norm(residual, axis=2).mean()), 4),
        "mean_distance_under_20": round(float(np.linalg.norm(residual[:, : SHORT - 1], axis=2).mean()), 4),
    }


def _learned(rows: Floats, number: int, total: float) -> dict[str, float]:
    """A constant and `number` directions over length, from all voices but the one described."""
    centred = rows - rows.mean(axis=1, keepdims=True)
    grams = np.einsum("vnd,vmd->vnm", centred, centred, optimize=True)
    whole = grams.sum(axis=0)
    left, worst, distances, short = 0.0, 0.0, [], []
    for voice, gram in enumerate(grams):
        _, vectors = np.linalg.eigh(whole - gram)
        basis, _ = np.linalg.qr(np.concatenate([np.ones((ROWS, 1)), vectors[:, -number:]], axis=1))
        residual = rows[voice] - basis @ (basis.T @ rows[voice])
        square = float(np.sum(residual**2))
        left += square
        worst = max(worst, square / float(np.trace(gram)))
        distances.append(np.linalg.norm(residual, axis=1).mean())
        short.append(np.linalg.norm(residual[: SHORT - 1], axis=1).mean())
    return {
        "left_pct": round(100 * left / total, 3),
        "worst_voice_pct": round(100 * worst, 3),
        "mean_distance": round(float(np.mean(distances)), 4),
        "mean_distance_under_20": round(float(np.mean(short)), 4),
    }


def _from_few(rows: Floats, basis: Floats, number: int) -> dict[str, float]:
    seen = np.unique(np.round(np.geomspace(5, 200, number)).astype(int)) - 1
    rest = np.setdiff1d(np.arange(4, 200), seen)
    far = np.arange(300, ROWS)
    weights = np.linalg.pinv(basis[seen])
    predicted = np.einsum("nk,ks,vsd->vnd", basis, weights, rows[:, seen], optimize=True)
    miss = np.linalg.norm(predicted - rows, axis=2) / np.linalg.norm(rows, axis=2)
    return {
        "inside_median": round(float(np.median(miss[:, rest])), 4),
        "inside_p95": round(float(np.quantile(miss[:, rest], 0.95)), 4),
        "beyond_300_median": round(float(np.median(miss[:, far])), 4),
        "beyond_300_max": round(float(miss[:, far].max()), 4),
    }


def main() -> None:
    folder = Path(os.environ["VOICEWRIGHT_VOICEPACKS"])
    packs = {path.stem: Voicepack.read(path) for path in sorted(folder.glob("*.bin"))}
    rows = np.stack([pack.rows[:, 0] for pack in packs.values()]).astype(np.float64)
    report: dict[str, dict[str, object]] = {
        "lint": linted(packs),
        "faults": faults(packs),
        "round_trips": round_trips(packs),
        "mixes": mixes(folder, packs),
        "one_row_further": slips(rows),
        "mending": mending(packs),
        "curve": curve_study(rows),
        "curve_halves_left_pct": {
            name: _fit_figures(
                rows[..., part],
                curve_basis(np.arange(ROWS, dtype=np.float64)),
                float(np.sum((rows[..., part] - rows[..., part].mean(axis=1, keepdims=True)) ** 2)),
            )["left_pct"]
            for name, part in HALVES.items()
        },
    }
    if "--json" in sys.argv[1:]:
        print(json.dumps(report, ensure_ascii=False))
        return
    for section, figures in report.items():
        print(f"\n{section}")
        for key, value in figures.items():
            print(f"  {key}: {value}")


if __name__ == "__main__":
    main()
