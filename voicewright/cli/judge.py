"""`judge`: a model beside the recordings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from voicewright.cli.console import emit
from voicewright.cli.options import Json, ModelOption, Recogniser

if TYPE_CHECKING:
    from voicewright.judging.result import Judgement


def judge(
    corpus: Annotated[Path, typer.Option("--corpus", help="Prepared corpus with the real recordings.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the report.")],
    model: ModelOption = None,
    voice: Annotated[str | None, typer.Option("--voice", "-v", help="Voice name or voicepack file.")] = None,
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
    return rows + [f"note: {note}" for note in result.notes]
