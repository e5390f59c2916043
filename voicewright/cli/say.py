"""`say`: a text spoken into a file or down a pipe."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from voicewright.cli.console import note
from voicewright.cli.options import (
    Adapters,
    Embedder,
    Json,
    Language,
    Lexicon,
    ModelOption,
    Pitch,
    RvcIndex,
    Speaker,
    TargetPitch,
    Unvoiced,
    given_options,
    pitch_of,
)
from voicewright.errors import UsageError

if TYPE_CHECKING:
    from voicewright.jobs.say import Order, Said


_MOST_WARNINGS = 20
STYLES = ("diffusion_steps", "embedding_scale", "alpha", "beta")
"""What belongs to `--style-diffusion`."""
THROUGH = ("index", "embedder", "speaker", "pitch", "target_pitch", "unvoiced")
"""What belongs to `--through`."""


def say(
    given: typer.Context,
    text: Annotated[str | None, typer.Argument(help="What to say; - reads standard input.")] = None,
    file: Annotated[Path | None, typer.Option("-f", "--file", help="Read the text from a file.")] = None,
    output: Annotated[
        str,
        typer.Option("-o", "--output", help="wav, flac, mp3, ogg or opus; - writes WAV to standard output."),
    ] = "speech.wav",
    model: ModelOption = None,
    adapter: Adapters = None,
    voice: Annotated[str | None, typer.Option("--voice", "-v", help="Voice name or voicepack file.")] = None,
    speed: Annotated[float, typer.Option("--speed", "-s", help="0.25 to 4; 1 is natural.")] = 1.0,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same samples.")] = 0,
    language: Language = None,
    lexicon: Lexicon = None,
    timestamps: Annotated[
        Path | None,
        typer.Option("--timestamps", help="Write word times: .srt, .vtt or .json.", metavar="FILE"),
    ] = None,
    markup: Annotated[
        bool,
        typer.Option("--markup/--no-markup", help="Follow [pause:1s], [rate:1.1], [voice:x], [lang:fr]."),
    ] = True,
    keep_partial: Annotated[
        bool, typer.Option("--keep-partial", help="After Ctrl-C keep what was spoken so far.")
    ] = False,
    through: Annotated[
        str | None,
        typer.Option("--through", help="Let another voice say it: .pth of RVC, or a model.", metavar="VOICE"),
    ] = None,
    index: RvcIndex = None,
    embedder: Embedder = None,
    speaker: Speaker = 0,
    pitch: Pitch = "auto",
    target_pitch: TargetPitch = None,
    unvoiced: Unvoiced = "zero",
    weights: Annotated[
        Literal["full", "half"],
        typer.Option("--weights", help="half: in memory as fp16, a third less memory for a large model."),
    ] = "full",
    style_diffusion: Annotated[
        bool,
        typer.Option(
            "--style-diffusion", help="Draw a style for each sentence; other seeds read it otherwise."
        ),
    ] = False,
    diffusion_steps: Annotated[int, typer.Option("--diffusion-steps", help="Of the sampler, 2 to 100.")] = 10,
    embedding_scale: Annotated[
        float, typer.Option("--embedding-scale", help="Above 1, the style follows the text more.")
    ] = 1.0,
    alpha: Annotated[
        float, typer.Option("--alpha", help="Share of the drawn style in the sound; the rest is the voice's.")
    ] = 0.3,
    beta: Annotated[float, typer.Option("--beta", help="Share of it in the prosody.")] = 0.7,
    as_json: Json = False,
) -> None:
    """Speak a text into a file."""
    from voicewright.cli.texts import read_text
    from voicewright.jobs.say import Order
    from voicewright.jobs.say import say as speak

    asked = given_options(given)
    order = Order(
        text=read_text(text, file),
        output=output,
        model=model,
        voice=voice,
        speed=speed,
        seed=seed,
        language=language,
        lexicon=lexicon,
        timestamps=timestamps,
        markup=markup,
        keep_partial=keep_partial,
        weights=weights,
        adapters=tuple(adapter or ()),
        given=frozenset(asked),
    )
    if through is not None:
        from voicewright.conversion.protocol import ConvertOptions

        conversion = ConvertOptions(
            pitch=pitch_of(pitch, target_pitch), target_pitch=target_pitch, speaker=speaker, unvoiced=unvoiced
        )
        order = replace(order, through=through, index=index, embedder=embedder, conversion=conversion)
    else:
        _refuse_alone(asked, THROUGH, "--through; name a voice with it")
    if style_diffusion:
        from voicewright.engines.styles import StyleSampling

        order = replace(order, styles=StyleSampling(diffusion_steps, embedding_scale, alpha, beta))
    else:
        _refuse_alone(asked, STYLES, "--style-diffusion; ask for it")
    if output == "-" and as_json:
        raise UsageError("--json and -o - both want standard output; write the audio to a file.")
    if output == "-" and keep_partial:
        raise UsageError("--keep-partial is for files; what goes to standard output is out already.")
    if as_json:
        _as_json(order)
        return
    said = speak(order)
    _warn(said)
    if output != "-":
        note(f"{said.audio_seconds:.2f} s of speech in {said.wall_seconds:.2f} s.")
        print(output)


def _refuse_alone(asked: Mapping[str, str], names: Sequence[str], owner: str) -> None:
    """Raises UsageError for options that say something only beside another, which was not given."""
    if alone := [asked[name] for name in names if name in asked]:
        verb = "belongs" if len(alone) == 1 else "belong"
        raise UsageError(f"{', '.join(alone)} {verb} to {owner}.")


def _as_json(order: Order) -> None:
    """One object; a book's chunks wait on the disk, not in memory."""
    from voicewright.jobs.say import say as speak

    with tempfile.TemporaryFile("w+", encoding="utf-8") as kept:
        said = speak(order, kept)
        _warn(said)
        kept.seek(0)
        head = {"model": said.model, "voice": said.voice}
        print(json.dumps(head, ensure_ascii=False)[:-1], end=', "chunks": [')
        for number, line in enumerate(kept):
            print(", " * (number > 0) + line.rstrip("\n"), end="")
        tail = {
            "sample_rate": said.sample_rate,
            "audio_seconds": round(said.audio_seconds, 4),
            "first_audio_seconds": round(said.first_audio_seconds, 4),
            "wall_seconds": round(said.wall_seconds, 4),
            "output": order.output,
            "warnings": list(said.warnings),
        }
        print("], " + json.dumps(tail, ensure_ascii=False)[1:])


def _warn(said: Said) -> None:
    for warning in said.warnings[:_MOST_WARNINGS]:
        note(f"warning: {warning}")
    if len(said.warnings) > _MOST_WARNINGS:
        note(f"warning: and {len(said.warnings) - _MOST_WARNINGS} more like these.")
