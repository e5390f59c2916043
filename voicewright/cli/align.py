"""`align`: an alignment drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from voicewright.cli.console import emit
from voicewright.cli.options import Json


def align(
    corpus: Annotated[Path, typer.Argument(help="Prepared corpus.")],
    utterance: Annotated[str, typer.Argument(help="Id of the utterance to draw.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Picture to write (PNG).")],
    as_json: Json = False,
) -> None:
    """Draw an utterance's alignment over its spectrogram."""
    from voicewright.jobs.align import draw

    record = draw(corpus, utterance, output)
    if as_json:
        emit(record)
    else:
        print(output)
