"""`demo`: the whole road."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from voicewright.cli.console import emit, note
from voicewright.cli.options import Json


def demo(
    recordings: Annotated[
        Path | None, typer.Option("--recordings", help="Recordings of a person; without, a stand-in reads.")
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for everything made.")] = Path(
        "demo-output"
    ),
    language: Annotated[
        str | None,
        typer.Option(
            "--language",
            "--lang",
            help="en-us, fr-fr, ja, German, …; guessed when not given.",
            metavar="CODE",
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            help="Recipe: a YAML file, or a shipped one's name; else adapt where Kokoro is, or finetune.",
        ),
    ] = None,
    consent: Annotated[
        str | None, typer.Option("--consent", help="Who allowed this use of the voice.")
    ] = None,
    licence: Annotated[str | None, typer.Option("--licence", help="Licence of the recordings.")] = None,
    as_json: Json = False,
) -> None:
    """Show the whole road: speak, prepare, make a voice upon Kokoro (or train a small one), speak, judge."""
    from contextlib import redirect_stdout

    from voicewright.cli.root import main
    from voicewright.jobs.demo.run import demonstrate
    from voicewright.records import as_json as plain

    with redirect_stdout(sys.stderr if as_json else sys.stdout):
        made = demonstrate(
            main,
            output,
            recordings,
            language=language,
            recipe=recipe,
            consent=consent,
            licence=licence,
            note=note,
        )
    if as_json:
        emit(plain(made))
    else:
        print(made.text())
