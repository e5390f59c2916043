"""`export`: a model written for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from voicewright.cli.console import emit, note
from voicewright.cli.options import Adapters, Json


def export(
    model: Annotated[str, typer.Argument(help="Model folder, training run, weight file, or tiny.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the export; made when missing.")],
    adapter: Adapters = None,
    format: Annotated[
        Literal["kokoro", "onnx", "sherpa"], typer.Option("--format", help="Who opens it.")
    ] = "onnx",
    precision: Annotated[
        Literal["fp32", "fp16", "int8"], typer.Option("--precision", help="How weights are stored.")
    ] = "fp32",
    voices: Annotated[
        str | None,
        typer.Option(
            "--voices", help="Voices, files, mixes, NAME=MIX, separated by commas; all when not given."
        ),
    ] = None,
    convention: Annotated[
        Literal["kokoro-onnx", "onnx-community"],
        typer.Option("--convention", help="Tensor names of --format onnx; kokoro.js reads onnx-community's."),
    ] = "kokoro-onnx",
    as_json: Json = False,
) -> None:
    """Write a model for other programs: the kokoro package, kokoro-onnx, kokoro.js, sherpa-onnx."""
    from voicewright.engines.export import export as run

    names = [name.strip() for name in (voices or "").split(",") if name.strip()]
    made = run(model, output, format, precision, names, convention, adapter or ())
    if as_json:
        from voicewright.records import as_json as plain

        emit(plain(made))
    else:
        for name, size in made.files.items():
            note(f"{size / 1e6:9.2f} MB  {name}")
        print(output)
