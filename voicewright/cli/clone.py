"""`clone`: a voicepack in a moment, by style encoders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from voicewright.cli.console import emit
from voicewright.cli.options import Json


def clone(
    source: Annotated[Path, typer.Argument(help="A recording, or a folder of them, of one person.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Voicepack to write: .pt, .bin, .npz, …")],
    model: Annotated[
        str, typer.Option("--model", "-m", help="Model that the voice is for.", metavar="MODEL")
    ] = "kokoro",
    consent: Annotated[
        str | None, typer.Option("--consent", help="Who allowed this use of the voice.")
    ] = None,
    licence: Annotated[str | None, typer.Option("--licence", help="Licence of the recordings.")] = None,
    statement: Annotated[
        Path | None,
        typer.Option("--statement", help="Recording in which the same person agrees.", metavar="PATH"),
    ] = None,
    encoders: Annotated[
        Path | None,
        typer.Option("--encoders", help="Encoders of your own: a run of `train clone`.", metavar="PATH"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Clone a voice in a moment: a voicepack for Kokoro by style encoders; `fit` comes nearer in minutes."""
    from voicewright.jobs.clone import CloneOptions
    from voicewright.jobs.clone import clone as run
    from voicewright.progress import Progress
    from voicewright.records import as_json as plain

    progress = Progress()
    try:
        asked = CloneOptions(model, consent, licence, statement, encoders)
        result = run(source, output, asked, progress=progress)
    finally:
        progress.close()
    if as_json:
        emit(plain(result))
    else:
        heard = f"{result.heard_seconds:.1f} s of speech at {result.pitch:.0f} Hz"
        print(f"{heard}, {result.work_seconds:.1f} s of work")
        print(output)
