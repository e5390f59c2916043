"""`prepare`: a corpus made from recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from voicewright.cli.console import emit
from voicewright.cli.options import Json, Lexicon, Recogniser, Transcribe


def prepare(
    source: Annotated[Path, typer.Argument(help="Folder of recordings.")],
    out: Annotated[
        Path, typer.Option("-o", "--output", help="Folder of the corpus; continued when it exists.")
    ],
    language: Annotated[
        str | None,
        typer.Option(
            "--language", "--lang", help="en-us, fr-fr, ja, German, …; else guessed.", metavar="CODE"
        ),
    ] = None,
    speaker: Annotated[str | None, typer.Option("--speaker", help="Name of who speaks.")] = None,
    licence: Annotated[str | None, typer.Option("--licence", help="Licence of the recordings.")] = None,
    consent: Annotated[
        str | None, typer.Option("--consent", help="Who allowed this use of the voice.")
    ] = None,
    lexicon: Lexicon = None,
    transcribe: Annotated[Transcribe, typer.Option("--transcribe", help="auto, always or never.")] = "auto",
    recogniser: Recogniser = "auto",
    verify: Annotated[
        bool,
        typer.Option("--verify/--no-verify", help="Refuse clips whose text is probably not what is said."),
    ] = True,
    check_language: Annotated[
        bool,
        typer.Option(
            "--check-language/--no-check-language", help="Refuse texts that are in another language."
        ),
    ] = True,
    as_json: Json = False,
) -> None:
    """Make a corpus from recordings: cut, transcribe, measure, accept or quarantine with a reason."""
    from voicewright.corpus.prepare import prepare as run
    from voicewright.corpus.prepare import render
    from voicewright.progress import Progress

    progress = Progress()
    try:
        summary = run(
            source,
            out,
            language=language,
            speaker=speaker,
            licence=licence,
            consent=consent,
            lexicon=lexicon,
            transcribe=transcribe,
            recogniser=recogniser,
            verify=verify,
            check_language=check_language,
            progress=progress,
        )
    finally:
        progress.close()
    if as_json:
        emit(summary.as_dict())
    else:
        print(render(summary))
