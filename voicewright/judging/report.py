"""A judgement as one self-contained page (report.html) and as data (report.json)."""

from __future__ import annotations

import base64
import difflib
import html
import json
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template

import numpy as np

from voicewright.audio.files import encode, write_atomically
from voicewright.audio.loudness import normalise
from voicewright.errors import VoicewrightError
from voicewright.judging import figures
from voicewright.judging.metrics import Samples
from voicewright.judging.result import Clip, Judgement, Pair, Row, ToneRow, clean
from voicewright.judging.spectrum import long_term
from voicewright.judging.statistics import Estimate, Line
from voicewright.listen.artefacts import mean_cepstrum
from voicewright.units import SAMPLE_RATE

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
    template = Template(files("voicewright.judging").joinpath("report.html").read_text("utf-8"))
    by_id = {pair.id: pair for pair in pairs}
    conditions = result.conditions
    subtitle = f"{conditions.get('utterances')} held-out utterances · {conditions.get('date')}"
    return template.substitute(
        title=html.escape(result.title),
        subtitle=html.escape(subtitle),
        ears=_ears(result),
        tiles="".join(_tile(line) for keys in _TILES if (line := _first(result, keys)) is not None),
        notes=_notes(result.notes),
        summary=_summary(result.summary),
        plots=_plots(result, pairs),
        tones=_tones(result.tones, "synthesised") + _tones(result.copy_tones, "copy-synthesis"),
        examples="".join(_example(row, by_id[row.id]) for row in _examples(result.utterances)),
        utterances=_utterances(result.utterances),
        conditions="".join(
            f"<div><dt>{html.escape(key)}</dt><dd>{html.escape(_plain(value))}</dd></div>"
            for key, value in conditions.items()
        ),
    )


def _first(result: Judgement, keys: Sequence[str]) -> Line | None:
    return next((line for key in keys for line in result.summary if line.key == key), None)


def _ears(result: Judgement) -> str:
    """Who heard, and for what; what nobody heard is said, and the notes say what to install."""
    said = []
    for what, keys in _EARS.items():
        names = [str(result.conditions[key]) for key in keys if result.conditions.get(key)]
        said.append(f"<b>{what}</b> {html.escape(', '.join(names)) if names else 'nobody (see the notes)'}")
    return "Heard by: " + " · ".join(said)


def _plain(value: str | int | float | None) -> str:
    return "–" if value is None else str(value)


def _figure(estimate: Estimate | None, digits: int) -> str:
    if estimate is None:
        return "–"
    text = f"{estimate.value:.{digits}f}"
    if estimate.low is not None and estimate.high is not None:
        text += f"<small>{estimate.low:.{digits}f} – {estimate.high:.{digits}f}</small>"
    return text


def _signed(estimate: Estimate, digits: int) -> str:
    """A difference with its sign."""
    text = f"{estimate.value:+.{digits}f}"
    if estimate.low is not None and estimate.high is not None:
        text += f"<small>{estimate.low:+.{digits}f} – {estimate.high:+.{digits}f}</small>"
    return text


def _verdict(line: Line) -> str:
    if line.aim is None:
        return ""
    if line.met is None:
        return html.escape(line.aim)
    word, css = ("met", "yes") if line.met else ("missed", "no")
    return f'{html.escape(line.aim)}<small class="{css}">{word}</small>'


def _tile(line: Line) -> str:
    ours = line.synthesised.value if line.synthesised else 0.0
    colour = {True: "yes", False: "no", None: ""}[line.met]
    if line.key == "tones":
        under = "none allowed"
    else:
        theirs = f"{line.recordings.value:.{line.digits}f}" if line.recordings else "–"
        under = f"recordings {theirs}" + _beside(line)
    unit = f" {html.escape(line.unit)}" if line.unit else ""
    return (
        f'<div class="tile"><span class="soft">{html.escape(line.label)}</span>'
        f'<b class="{colour}">{ours:.{line.digits}f}<span class="soft">{unit}</span></b>'
        f'<span class="soft">{html.escape(under)}</span></div>'
    )


def _beside(line: Line) -> str:
    if line.ratio:
        return f" · {line.ratio.value:.2f}×"
    return f" · {line.difference.value:+.{line.digits}f}" if line.difference else ""


def _notes(notes: Sequence[str]) -> str:
    if not notes:
        return ""
    items = "".join(f"<li>{_code(note)}</li>" for note in notes)
    return f'<div class="card"><h3>Notes</h3><ul>{items}</ul></div>'


def _code(note: str) -> str:
    """A note with its commands, which stand between backquotes, set apart."""
    parts = html.escape(note).split("`")
    return "".join(f"<code>{p}</code>" if n % 2 and n < len(parts) - 1 else p for n, p in enumerate(parts))


def _compared(line: Line) -> str:
    return _signed(line.difference, line.digits) if line.difference else _figure(line.ratio, 2)


def _summary(lines: Sequence[Line]) -> str:
    copies = any(line.copy_synthesis for line in lines)
    head = '<th>Measure</th><th class="model">Synthesised</th><th class="person">Recordings</th>'
    head += "<th>Ratio, or difference</th>"
    head += '<th class="copy">Copy-synthesis</th><th>Ratio</th>' if copies else ""
    rows, group, wide = [], "", 7 if copies else 5
    for line in lines:
        if line.group != group:
            group = line.group
            rows.append(f'<tr class="group"><th colspan="{wide}">{html.escape(group)}</th></tr>')
        unit = f' <span class="soft">{html.escape(line.unit)}</span>' if line.unit else ""
        cells = [
            f"<td>{html.escape(line.label)}{unit}<small>{html.escape(line.explanation)}</small></td>",
            f'<td data-name="synthesised">{_figure(line.synthesised, line.digits)}</td>',
            f'<td data-name="recordings">{_figure(line.recordings, line.digits)}</td>',
            f'<td data-name="beside">{_compared(line)}</td>',
        ]
        if copies:
            cells += [
                f'<td data-name="copy-synthesis">{_figure(line.copy_synthesis, line.digits)}</td>',
                f'<td data-name="its ratio">{_figure(line.copy_ratio, 2)}</td>',
            ]
        cells.append(f'<td data-name="aim">{_verdict(line) or "–"}</td>')
        rows.append("<tr>" + "".join(cells) + "</tr>")
    return (
        f'<table class="sum"><thead><tr>{head}<th>Aim</th></tr></thead><tbody>{"".join(rows)}</tbody></table>'
    )


def _image(webp: bytes, description: str) -> str:
    data = base64.b64encode(webp).decode()
    return f'<img alt="{html.escape(description)}" src="data:image/webp;base64,{data}">'


def _plots(result: Judgement, pairs: Sequence[Pair]) -> str:
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
    return "".join(
        f'<figure class="card"><figcaption>{title}</figcaption>{_image(picture, title)}</figure>'
        for title, picture in pictures
    )


def _tones(tones: Sequence[ToneRow], name: str) -> str:
    if not tones:
        return ""
    rows = "".join(
        f"<tr><td>{tone.hertz:.0f} Hz</td><td>{tone.prominence:.1f} dB</td>"
        f"<td>{tone.above_recordings:.1f} dB</td><td>{tone.level:.1f} dB</td></tr>"
        for tone in tones
    )
    return (
        f'<div class="card scroll"><h3>Constant tones, {name}</h3><table><thead><tr><th>Frequency</th>'
        "<th>Above its surroundings</th><th>Above the recordings</th><th>Against speech</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )


def _examples(rows: Sequence[Row]) -> list[Row]:
    """Rows spread evenly from the worst to the best, as many as the players allow."""
    each = 3 if rows and rows[0].copy_synthesis else 2
    count = min(len(rows), 4 if each == 3 else MAX_PLAYERS // each - 2)
    places = np.unique(np.linspace(0, len(rows) - 1, count).round().astype(int))
    return [rows[place] for place in places]


def _example(row: Row, pair: Pair) -> str:
    clips: dict[str, tuple[Samples, Clip]] = {
        "synthesised": (clean(pair.synthesised), row.synthesised),
        "recordings": (clean(pair.recording), row.recording),
    }
    if row.copy_synthesis is not None:
        clips["copy_synthesis"] = (clean(pair.copy_synthesis), row.copy_synthesis)
    longest = max(len(samples) for samples, _ in clips.values()) / SAMPLE_RATE
    parts = []
    for name, (samples, clip) in clips.items():
        label = figures.LABELS[name].removesuffix("s") if name == "recordings" else figures.LABELS[name]
        parts.append(
            f'<figure><figcaption><b class="{_CLASSES[name]}">{label}</b> '
            f'<span class="soft">CER {clip.cer:.2f} · similarity {clip.similarity:.2f}{_rated(clip)}'
            "</span></figcaption>"
            f"{_image(figures.spectrogram(samples, longest), f'Spectrogram of the {label}')}"
            f'{_player(samples)}<span class="soft">heard: {_difference(row.spoken_text, clip.heard)}</span>'
            "</figure>"
        )
    curves = figures.pitch_curves({name: samples for name, (samples, _) in clips.items()})
    parts.append(f"<figure><figcaption>Pitch</figcaption>{_image(curves, 'Pitch curves')}</figure>")
    layout = "pairs four" if len(parts) == 4 else "pairs"
    return (
        f'<div class="card"><p class="said">“{html.escape(row.text)}” '
        f'<span class="soft">{html.escape(row.id)}</span></p>'
        f'<div class="{layout}">{"".join(parts)}</div></div>'
    )


def _rated(clip: Clip) -> str:
    return f" · Distill-MOS {clip.quality['distillmos']:.2f}" if "distillmos" in clip.quality else ""


def _player(samples: Samples) -> str:
    data = base64.b64encode(encode(normalise(samples, SAMPLE_RATE), SAMPLE_RATE, "mp3")).decode()
    return f'<audio controls preload="none" src="data:audio/mpeg;base64,{data}"></audio>'


def _difference(expected: str, heard: str) -> str:
    """What was heard, wrong words marked and missing ones struck through."""
    wanted, got = expected.split(), heard.split()
    out = []
    for kind, a, b, c, d in difflib.SequenceMatcher(None, wanted, got, autojunk=False).get_opcodes():
        if kind in ("delete", "replace"):
            out.append(f"<del>{html.escape(' '.join(wanted[a:b]))}</del>")
        if kind != "delete" and c < d:
            words = html.escape(" ".join(got[c:d]))
            out.append(words if kind == "equal" else f"<mark>{words}</mark>")
    return " ".join(out) or "<i>nothing</i>"


def _utterances(rows: Sequence[Row]) -> str:
    """The table of utterances: each figure of the speech, and the recording's own beside it."""
    rated = any("distillmos" in row.synthesised.quality for row in rows)
    second = any("similarity_second" in row.synthesised.likeness for row in rows)
    head = "".join(f'<th rowspan="2">{name}</th>' for name in ("Id", "Text", "Heard"))
    head += '<th class="n" rowspan="2">WER</th>'
    pairs: list[tuple[str, Callable[[Clip], float | None], int]] = [
        ("CER", lambda clip: clip.cer, 2),
        ("Similarity", lambda clip: clip.similarity, 2),
        *([("Second encoder", lambda clip: clip.likeness.get("similarity_second"), 2)] if second else []),
        *([("Distill-MOS", lambda clip: clip.quality.get("distillmos"), 2)] if rated else []),
        ("Seconds", lambda clip: clip.measures["speaking"], 2),
    ]
    head += "".join(f'<th class="n" colspan="2">{name}</th>' for name, _, _ in pairs)
    sub = "".join('<th class="n">speech</th><th class="n">rec.</th>' for _ in pairs)

    def cells(row: Row) -> str:
        return "".join(
            f'<td class="n" data-name="{label}">{"–" if value is None else format(value, f".{digits}f")}</td>'
            for name, figure, digits in pairs
            for label, value in (
                (name, figure(row.synthesised)),
                (f"recording’s {name}", figure(row.recording)),
            )
        )

    body = "".join(
        f'<tr><td class="soft">{html.escape(row.id)}</td><td>{html.escape(row.text)}</td>'
        f'<td class="heard">{_difference(row.spoken_text, row.synthesised.heard)}</td>'
        f'<td class="n" data-name="WER">{row.synthesised.wer:.2f}</td>{cells(row)}</tr>'
        for row in rows
    )
    return f'<table class="words"><thead><tr>{head}</tr><tr>{sub}</tr></thead><tbody>{body}</tbody></table>'
