"""A judgement as one self-contained page (report.html) and as data (report.json)."""

from __future__ import annotations

import base64
import difflib
import json
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from voicewright.audio.files import encode, write_atomically
from voicewright.audio.loudness import normalise
from voicewright.errors import VoicewrightError
from voicewright.judging import figures
from voicewright.judging.metrics import Samples
from voicewright.judging.result import Clip, Judgement, Pair, Row, clean
from voicewright.judging.spectrum import long_term
from voicewright.listen.artefacts import mean_cepstrum
from voicewright.units import SAMPLE_RATE

if TYPE_CHECKING:
    from jinja2 import Template

MAX_PLAYERS = 12
_TILES = (
    ("wer",), ("cer",), ("similarity_normalised", "similarity"), ("similarity_second_normalised",),
    ("distillmos", "dnsmos"), ("f0_sd",), ("periodicity",), ("echo_12",), ("echo_25",), ("tones",),
)  # fmt: skip
"""Of each the first that the judgement has is shown."""
_EARS = {
    "words": ("recogniser",),
    "speaker": ("speaker encoder", "second speaker encoder"),
    "quality": ("quality",),
}
"""Conditions that name who heard, by what for."""
_CLASSES = {"synthesised": "model", "recordings": "person", "copy_synthesis": "copy"}


def write_report(result: Judgement, pairs: Sequence[Pair], out: Path) -> tuple[Path, Path]:
    """Write `out/report.html` and `out/report.json`, each atomically; gives their paths."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise VoicewrightError(
            f"The report's folder {out} cannot be made: {error.strerror or error}. Choose another with -o."
        ) from error
    page, data = out / "report.html", out / "report.json"
    write_atomically(data, (json.dumps(result.model_dump(), ensure_ascii=False, indent=1) + "\n").encode())
    write_atomically(page, render(result, pairs).encode())
    return page, data


def render(result: Judgement, pairs: Sequence[Pair]) -> str:
    """The page: style, players and pictures all inside; it asks for nothing from outside."""
    by_id = {pair.id: pair for pair in pairs}
    return _template().render(
        title=result.title,
        conditions=result.conditions,
        ears=_ears(result),
        tiles=[line for keys in _TILES if (line := result.first(keys)) is not None],
        notes=[_code(note) for note in result.notes],
        summary=result.summary,
        beside=_beside(result),
        copies=any(line.copy_synthesis for line in result.summary),
        plots=_plots(result, pairs),
        tone_rows=result.tones,
        copy_tone_rows=result.copy_tones,
        examples=[_example(row, by_id[row.id]) for row in _examples(result.utterances)],
        columns=list(_columns(result.utterances)),
        utterances=_utterances(result.utterances),
    )


def _template() -> Template:
    """report.html; whatever it is given is escaped, and what it is not given is an error."""
    from jinja2 import Environment, StrictUndefined

    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page.filters["number"] = lambda value, digits, form="fixed": format(
        value, f"{'+' if form == 'signed' else ''}.{digits}f"
    )
    return page.from_string(files("voicewright.judging").joinpath("report.html").read_text("utf-8"))


def _beside(result: Judgement) -> dict[str, Any] | None:
    """The table of those who read beside the model: their names, what making them took, and rows of figures
    (text, small text, whether it surely differs from the model's); None where there are none."""
    if not result.ways:
        return None
    rows = []
    for line in result.compared():
        assert line.synthesised is not None and line.recordings is not None

        def shown(value: float, form: str = "", digits: int = line.digits) -> str:
            return format(value, f"{form}.{digits}f")

        cells = [(shown(line.recordings.value), "", False), (shown(line.synthesised.value), "", False)]
        for way in result.ways[1:]:
            figure = way.figure(line.key)
            assert figure is not None
            apart = figure.difference
            low, high = apart.low or 0.0, apart.high or 0.0
            span = f"{shown(apart.value, '+')} ({shown(low, '+')} – {shown(high, '+')})"
            cells.append((shown(figure.reached.value), span, low * high > 0))
        rows.append((line.label, line.unit, cells))
    return {"ways": result.ways, "rows": rows}


def _ears(result: Judgement) -> dict[str, list[str]]:
    """Who heard, by what for; what nobody heard is said, and the notes say what to install."""
    return {
        what: [str(result.conditions[key]) for key in keys if result.conditions.get(key)]
        for what, keys in _EARS.items()
    }


def _code(note: str) -> list[tuple[bool, str]]:
    """A note in pieces, and which of them are commands: those stand between backquotes."""
    parts = note.split("`")
    return [(bool(n % 2) and n < len(parts) - 1, part) for n, part in enumerate(parts)]


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _plots(result: Judgement, pairs: Sequence[Pair]) -> list[tuple[str, str]]:
    spectra = {
        "synthesised": long_term([clean(pair.synthesised) for pair in pairs]),
        "recordings": long_term([clean(pair.recording) for pair in pairs]),
    }
    if "copy_synthesis" in result.sound:
        spectra["copy_synthesis"] = long_term([clean(pair.copy_synthesis) for pair in pairs])
    rows = result.utterances
    repeats = {
        "synthesised": mean_cepstrum([clean(pair.synthesised) for pair in pairs]),
        "recordings": mean_cepstrum([clean(pair.recording) for pair in pairs]),
    }
    pictures = [
        ("Average spectrum; thin: what is there half of the time", figures.average_spectra(spectra)),
        (
            "Periodicity by frequency band; dotted: harmonics visible",
            figures.periodicity_profile(result.sound),
        ),
        ("What repeats after so long; dotted: the decoder's half frame and frame", figures.repeats(repeats)),
        (
            "Seconds of speech, one dot an utterance",
            figures.scatter(
                [row.synthesised.measures["speaking"] for row in rows],
                [row.recording.measures["speaking"] for row in rows],
                "s",
            ),
        ),
        (
            "Mean pitch, one dot an utterance",
            figures.scatter(
                [row.synthesised.measures["mean_hz"] for row in rows],
                [row.recording.measures["mean_hz"] for row in rows],
                "Hz",
            ),
        ),
    ]
    return [(title, _encoded(picture)) for title, picture in pictures]


def _examples(rows: Sequence[Row]) -> list[Row]:
    """Rows spread evenly from the worst to the best, as many as the players allow."""
    each = (3 if rows and rows[0].copy_synthesis else 2) + (len(rows[0].beside) if rows else 0)
    count = min(len(rows), 4 if each <= 3 else max(2, MAX_PLAYERS // each))
    places = np.unique(np.linspace(0, len(rows) - 1, count).round().astype(int))
    return [rows[place] for place in places]


def _example(row: Row, pair: Pair) -> dict[str, Any]:
    clips: dict[str, tuple[Samples, Clip]] = {
        "synthesised": (clean(pair.synthesised), row.synthesised),
        "recordings": (clean(pair.recording), row.recording),
    }
    if row.copy_synthesis is not None:
        clips["copy_synthesis"] = (clean(pair.copy_synthesis), row.copy_synthesis)
    labels = {name: figures.LABELS[name] for name in clips} | {"recordings": "recording"}
    curves = figures.pitch_curves({name: samples for name, (samples, _) in clips.items()})
    clips |= {name: (clean(pair.beside[name]), clip) for name, clip in row.beside.items()}
    longest = max(len(samples) for samples, _ in clips.values()) / SAMPLE_RATE
    shown = [
        {
            "css": _CLASSES.get(name, "other"),
            "label": labels.get(name, name),
            "of": clip,
            "spectrogram": _encoded(figures.spectrogram(samples, longest)),
            "sound": _encoded(encode(normalise(samples, SAMPLE_RATE), SAMPLE_RATE, "mp3")),
            "words": _difference(row.spoken_text, clip.heard),
        }
        for name, (samples, clip) in clips.items()
    ]
    return {"text": row.text, "id": row.id, "clips": shown, "pitch": _encoded(curves)}


def _difference(expected: str, heard: str) -> list[tuple[str, str]]:
    """What was heard, in pieces: right, wrong, or missing."""
    wanted, got = expected.split(), heard.split()
    out = []
    for kind, a, b, c, d in difflib.SequenceMatcher(None, wanted, got, autojunk=False).get_opcodes():
        if kind in ("delete", "replace"):
            out.append(("missing", " ".join(wanted[a:b])))
        if kind != "delete" and c < d:
            out.append(("right" if kind == "equal" else "wrong", " ".join(got[c:d])))
    return out


def _columns(rows: Sequence[Row]) -> dict[str, Callable[[Clip], float | None]]:
    """Figures of the table of utterances by name."""
    rated = any("distillmos" in row.synthesised.quality for row in rows)
    second = any("similarity_second" in row.synthesised.likeness for row in rows)
    found: dict[str, Callable[[Clip], float | None]] = {
        "CER": lambda clip: clip.cer,
        "Similarity": lambda clip: clip.similarity,
    }
    if second:
        found["Second encoder"] = lambda clip: clip.likeness.get("similarity_second")
    if rated:
        found["Distill-MOS"] = lambda clip: clip.quality.get("distillmos")
    return found | {"Seconds": lambda clip: clip.measures["speaking"]}


def _utterances(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Each figure of the speech, and the recording's own beside it."""
    columns = _columns(rows)
    return [
        {
            "id": row.id,
            "text": row.text,
            "words": _difference(row.spoken_text, row.synthesised.heard),
            "wer": row.synthesised.wer,
            "figures": [(name, of(row.synthesised), of(row.recording)) for name, of in columns.items()],
        }
        for row in rows
    ]
