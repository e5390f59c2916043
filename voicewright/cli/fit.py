"""`fit`: a voicepack fitted to recordings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voicewright.cli.console import emit
from voicewright.cli.options import Json, Recogniser

if TYPE_CHECKING:
    from voicewright.jobs.fit import Result


def fit(
    source: Annotated[Path, typer.Argument(help="A recording, a folder of them, or a prepared corpus.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Voicepack to write: .pt, .bin, .npz, …")],
    model: Annotated[
        str, typer.Option("--model", "-m", help="Model that the voice is for.", metavar="MODEL")
    ] = "kokoro",
    voices: Annotated[
        Path | None,
        typer.Option("--voices", help="Known voices to start from, beside the model's own.", metavar="PATH"),
    ] = None,
    language: Annotated[
        str | None,
        typer.Option("--language", "--lang", help="What is spoken; else guessed.", metavar="CODE"),
    ] = None,
    consent: Annotated[
        str | None, typer.Option("--consent", help="Who allowed this use of the voice.")
    ] = None,
    licence: Annotated[str | None, typer.Option("--licence", help="Licence of the recordings.")] = None,
    statement: Annotated[
        Path | None,
        typer.Option("--statement", help="Recording in which the same person agrees.", metavar="PATH"),
    ] = None,
    crops: Annotated[
        int, typer.Option("--crops", min=0, max=2000, help="Pieces of sound looked at, at most.")
    ] = 80,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same voice.")] = 0,
    adapt: Annotated[
        Path | None,
        typer.Option("--adapt", help="Train adapters too, in this folder.", metavar="FOLDER"),
    ] = None,
    recogniser: Recogniser = "auto",
    as_json: Json = False,
) -> None:
    """Fit a voice to recordings: a voicepack for Kokoro, whose weights stay as they are."""
    from voicewright.jobs.fit import FitOptions
    from voicewright.jobs.fit import fit as run
    from voicewright.jobs.fit_adapt import fit_and_adapt
    from voicewright.progress import Progress
    from voicewright.records import as_json as plain
    from voicewright.stopping import interruptible
    from voicewright.voices.fit import Settings

    progress, adapted = Progress(), None
    asked = FitOptions(
        model, voices, language, consent, licence, statement, recogniser, Settings(crops=crops, seed=seed)
    )
    try:
        with interruptible() as stop:
            if adapt is None:
                result = run(source, output, asked, progress=progress, cancelled=stop.is_set)
            else:
                result, adapted = fit_and_adapt(
                    source, output, adapt, asked, progress=progress, cancelled=stop.is_set
                )
    finally:
        progress.close()
    if as_json:
        emit(plain(result) | ({"adapters": plain(adapted)} if adapted is not None else {}))
    else:
        print(table(result))
        print(output)
        if adapted is not None and adapted.model is not None:
            print(adapted.model)
    if stop.is_set() or (adapted is not None and not adapted.finished):
        raise typer.Exit(130)


def table(result: Result) -> str:
    """The figures as text, one line a measure."""
    columns = list(result.figures)
    lines = [f"{'':34}" + "".join(f"{name:>12}" for name in columns)]
    for encoder in result.figures["fitted"].similarity:
        cells = [result.figures[name].similarity.get(encoder) for name in columns]
        lines.append(_line(f"similarity, {encoder[:20]}", cells, 2))
    lines.append(_line("quality (Distill-MOS)", [result.figures[name].quality for name in columns], 2))
    lines.append(_line("words wrong", [result.figures[name].words for name in columns], 3))
    lines.append(_line("pitch, Hz", [result.figures[name].pitch for name in columns], 0))
    lines.append("Similarity: 0 as strangers are, 1 as the speaker's other recordings are.")
    return "\n".join(lines)


def _line(label: str, cells: list[float | None], digits: int) -> str:
    return f"{label:34}" + "".join(f"{'–' if cell is None else f'{cell:.{digits}f}':>12}" for cell in cells)
