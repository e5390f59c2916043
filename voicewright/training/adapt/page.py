"""A run's page: its judgements as curves, and recordings, start, best and the base's voices side by side.

Written anew after every judgement from what the run's folder holds (log.jsonl, samples/, best/), so that it
is whole whenever one looks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from voicewright.storage import write_atomically
from voicewright.training.work import parts_of, told

PAGE = "index.html"
SAMPLES = "samples"
BEFORE = "before"
"""Of the samples: the folder of what was heard before the first step, recordings among it."""
_WIDTH, _HEIGHT, _PAD = 300.0, 110.0, 8.0
_SHOWN = (
    ("similarity", "similarity (chooses)", 2),
    ("steering", "similarity (steers)", 2),
    ("independent", "similarity (independent)", 2),
    ("words", "words heard wrong", 3),
    ("quality", "quality, Distill-MOS", 2),
    ("moved", "base's voices moved", 3),
)


@dataclass(frozen=True)
class Curve:
    """A figure over steps. `points`: of an SVG polyline; `marks`: x, y and title of each; first, best: values
    as shown; low, high: the axis."""

    title: str
    points: str
    marks: tuple[tuple[float, float, str], ...]
    first: str
    best: str


def write_page(out: Path, card: Mapping[str, Any], best: Sequence[Mapping[str, float]], steps: int) -> None:
    """`out/index.html`. best: the ranking; steps: of the whole run."""
    judged = _judged(out / "log.jsonl")
    kept = [int(entry["step"]) for entry in best]
    made = _template().render(
        title=str(card["name"]),
        about=_about(card),
        cost=told(parts) if (parts := parts_of(out)) else None,
        steps=steps,
        done=judged[-1]["step"] if judged else 0,
        best=kept[0] if kept else None,
        share=best[0].get("share", 1.0) if best else 1.0,
        columns=[(title, digits, key) for key, title, digits in _SHOWN if any(key in row for row in judged)],
        rows=[{**row, "kept": row["step"] in kept} for row in judged],
        curves=[
            _curve(key, title, digits, judged, kept) for key, title, digits in _SHOWN if _has(judged, key)
        ],
        ways=_ways(out, kept[0] if kept else None),
    )
    write_atomically(out / PAGE, made.encode())


def _about(card: Mapping[str, Any]) -> str:
    """Whose voice on what, from how much, and by whose leave; as far as the card says it."""
    data, base = card.get("data") or {}, card.get("base") or {}
    parts = [f"Voice {card['voice']}" + (f" on {base['name']}" if base.get("name") else "")]
    if "minutes" in data:
        parts.append(f"{data['minutes']} minutes of {', '.join(data.get('speakers', ()))}")
    parts += [f"{key}: {card[key]}" for key in ("language", "consent", "licence") if card.get(key)]
    return "; ".join(parts)


def _template() -> Any:
    """page.html; whatever it is given is escaped, and what it is not given is an error."""
    from jinja2 import Environment, StrictUndefined

    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page.filters["number"] = lambda value, digits: format(value, f".{digits}f")
    source = resources.files("voicewright.training.adapt").joinpath("page.html").read_text("utf-8")
    return page.from_string(source)


def _judged(log: Path) -> list[dict[str, Any]]:
    """Judgements by step, the last one of each; a line cut by a kill is passed over."""
    found: dict[int, dict[str, Any]] = {}
    for text in log.read_text("utf-8").splitlines() if log.is_file() else ():
        try:
            row = json.loads(text)
        except ValueError:
            continue
        if row.get("kind") == "judged":
            found[int(row["step"])] = row
    return [found[step] for step in sorted(found)]


def _has(judged: Sequence[Mapping[str, Any]], key: str) -> bool:
    return sum(key in row for row in judged) > 1


def _curve(
    key: str, title: str, digits: int, judged: Sequence[Mapping[str, Any]], kept: Sequence[int]
) -> Curve:
    values = [(int(row["step"]), float(row[key])) for row in judged if key in row]
    low, high = min(v for _, v in values), max(v for _, v in values)
    last = max(1, values[-1][0])
    places = [
        (
            _PAD + (_WIDTH - 2 * _PAD) * step / last,
            _HEIGHT - _PAD - (_HEIGHT - 2 * _PAD) * (value - low) / max(high - low, 1e-9),
            f"step {step}: {value:.{digits}f}",
        )
        for step, value in values
    ]
    top = next((value for step, value in values if kept and step == kept[0]), values[-1][1])
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in places)
    return Curve(title, points, tuple(places), f"{values[0][1]:.{digits}f}", f"{top:.{digits}f}")


def _ways(out: Path, best: int | None) -> list[tuple[str, list[tuple[str, str]]]]:
    """What is played: a title, and labels with files relative to the page."""
    folders = [path for path in sorted((out / SAMPLES).glob("step-*")) if path.is_dir()]
    first = folders[0] if folders else None
    chosen = out / SAMPLES / f"step-{best:08d}" if best is not None else None
    places = (
        ("Recordings", out / SAMPLES / BEFORE, "recording-"),
        ("The start: a voicepack alone", first, ""),
        ("The best so far", chosen, ""),
        ("The base's voices without it", out / SAMPLES / BEFORE, "stock-"),
        ("The base's voices with it", chosen, "stock-"),
    )
    found = []
    for title, folder, prefix in places:
        sounds = sorted(folder.glob("*.wav")) if folder is not None and folder.is_dir() else []
        chosen_ones = [
            path
            for path in sounds
            if (
                path.stem.startswith(prefix) if prefix else not path.stem.startswith(("stock-", "recording-"))
            )
        ]
        if chosen_ones and not (title.startswith("The best") and chosen == first):
            shown = [
                (
                    path.stem.removeprefix("stock-").replace("recording-", "recording "),
                    path.relative_to(out).as_posix(),
                )
                for path in chosen_ones[:4]
            ]
            found.append((title, shown))
    return found
