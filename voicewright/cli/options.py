"""Options that several commands have, as Typer reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from voicewright.errors import UsageError

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
Language = Annotated[
    str | None,
    typer.Option(
        "--language",
        "--lang",
        help="en-us, fr-fr, ja, German, …; the voice's own when not given.",
        metavar="CODE",
    ),
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="Model folder, run, weights file, or a name: tiny, kokoro-v1.0, …",
        metavar="MODEL",
    ),
]
Adapters = Annotated[
    list[str] | None,
    typer.Option(
        "--adapter", help="Adapter upon the model (train adapt); may be repeated.", metavar="FOLDER"
    ),
]
Lexicon = Annotated[
    Path | None, typer.Option("--lexicon", help="Pronunciations of your own.", metavar="FILE")
]
Embedder = Annotated[
    str | None,
    typer.Option("--embedder", help="Content model in place of the voice's own.", metavar="NAME|FILE"),
]
Speaker = Annotated[int, typer.Option("--speaker", help="Of a voice with several.")]
Unvoiced = Annotated[
    Literal["zero", "interpolate"], typer.Option("--unvoiced", help="Pitch between voiced sounds.")
]
RvcIndex = Annotated[
    Path | None, typer.Option("--index", help="The voice's added_….index, of RVC.", metavar="FILE")
]
Pitch = Annotated[
    str, typer.Option("--pitch", help="auto, or semitones to transpose by, such as +4.", metavar="auto|N")
]
TargetPitch = Annotated[
    float | None,
    typer.Option("--target-pitch", help="The voice's median pitch in Hz, for auto.", metavar="HZ"),
]
Recogniser = Annotated[
    str,
    typer.Option(
        "--recogniser", help="auto, pocketsphinx, whisper or whisper:NAME_OR_FOLDER.", metavar="NAME"
    ),
]
Transcribe = Literal["auto", "always", "never"]


def given_options(context: typer.Context) -> dict[str, str]:
    """What a command line says: parameter → the option as it is written; not what has its default."""
    found = {}
    for parameter in context.command.params:
        name = str(parameter.name)
        source = context.get_parameter_source(name)
        if source is not None and source.name not in ("DEFAULT", "DEFAULT_MAP"):
            options = [word for word in parameter.opts if word.startswith("--")]
            found[name] = options[0] if options else name
    return found


def pitch_of(words: str, target: float | None = None) -> float | Literal["auto"]:
    """`auto`, or semitones such as +4, -3.5, 0. target: the voice's median in Hz. Raises UsageError."""
    if words.strip().lower() == "auto":
        return "auto"
    try:
        semitones = float(words)
    except ValueError:
        raise UsageError(f"the pitch is {words!r}; give `auto` or semitones such as +4.") from None
    if target is not None:
        raise UsageError(f"--target-pitch is what `auto` aims at, and --pitch is {words}; leave one out.")
    return semitones
