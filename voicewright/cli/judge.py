"""`judge`: a model beside the recordings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from voicewright.cli.console import emit
from voicewright.cli.options import Json, ModelOption, Recogniser

if TYPE_CHECKING:
    from voicewright.judging.result import Judgement, Way


def judge(
    corpus: Annotated[Path, typer.Option("--corpus", help="Prepared corpus with the real recordings.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the report.")],
    model: ModelOption = None,
    voice: Annotated[str | None, typer.Option("--voice", "-v", help="Voice name or voicepack file.")] = None,
    beside: Annotated[
        list[str] | None,
        typer.Option(
            "--beside",
            help="Another who reads the same texts, in the same report; may be repeated.",
            metavar="MODEL[=VOICE]",
        ),
    ] = None,
    ids: Annotated[
        str | None, typer.Option("--ids", help="Only utterances whose id matches.", metavar="REGEX")
    ] = None,
    most: Annotated[int | None, typer.Option("--most", min=2, help="At most so many utterances.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same report.")] = 0,
    recogniser: Recogniser = "auto",
    copies: Annotated[
        bool | None,
        typer.Option(
            "--copy/--no-copy", help="Also judge copy-synthesis: real timing and pitch; not of ONNX files."
        ),
    ] = None,
    implementation: Annotated[
        Literal["auto", "native", "exact", "torch", "bf16", "plain"],
        typer.Option("--implementation", help="How the model is run on a CPU."),
    ] = "auto",
    as_json: Json = False,
) -> None:
    """Judge a model beside the recordings: recogniser, speaker, pitch, rhythm; one HTML page and JSON."""
    from voicewright.cli.judge import judgement_lines
    from voicewright.jobs.judge import run_judgement
    from voicewright.progress import Progress
    from voicewright.records import as_json as plain

    progress = Progress()
    result = run_judgement(
        model,
        corpus,
        output,
        voice=voice,
        ids=ids,
        most=most,
        seed=seed,
        recogniser=recogniser,
        copies=copies,
        implementation=implementation,
        beside=beside or (),
        progress=progress,
    )
    progress.close()
    if as_json:
        emit(plain(result))
    else:
        print("\n".join(judgement_lines(result)))
        print(output / "report.html")


def judgement_lines(result: Judgement) -> list[str]:
    """The summary as text: each measure beside the recordings' own."""
    rows = []
    for line in result.summary:
        figures = [
            f"{name} {estimate.value:.{line.digits}f}{line.unit and ' ' + line.unit}"
            for name, estimate in (
                ("speech", line.synthesised),
                ("recordings", line.recordings),
                ("copy-synthesis", line.copy_synthesis),
            )
            if estimate is not None
        ]
        aim = f"  [aim {line.aim}: {'met' if line.met else 'not met'}]" if line.aim else ""
        rows.append(f"{line.label}: {', '.join(figures)}{aim}")
    rows += [line for way in result.ways[1:] for line in _beside(way, result)]
    return rows + [f"note: {note}" for note in result.notes]


def _beside(way: Way, result: Judgement) -> list[str]:
    """A way's figures of the judgement's, and by how much they lie above the model's."""
    rows = [f"{way.name}, beside {result.ways[0].name}:" + (f" ({way.work})" if way.work else "")]
    for line in result.compared():
        if (figure := way.figure(line.key)) is not None:
            lowest, highest = figure.difference.low or 0.0, figure.difference.high or 0.0
            reached, apart, low, high = (
                f"{value:{sign}.{line.digits}f}"
                for value, sign in (
                    (figure.reached.value, ""),
                    (figure.difference.value, "+"),
                    (lowest, "+"),
                    (highest, "+"),
                )
            )
            unit = line.unit and " " + line.unit
            rows.append(f"  {line.label}: {reached}{unit}, {apart} ({low} to {high})")
    return rows
