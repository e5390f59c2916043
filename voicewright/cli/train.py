"""`train`: a voice trained by a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voicewright.cli.console import emit
from voicewright.cli.options import Json, Recogniser

if TYPE_CHECKING:
    from voicewright.training.lifecycle import Result


def train(
    recipe: Annotated[str, typer.Argument(help="Recipe: a YAML file, or a shipped one's name: finetune, ….")],
    corpus: Annotated[Path, typer.Option("--corpus", help="Prepared corpus.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run.")],
    resume: Annotated[bool, typer.Option("--resume", help="Continue a stopped run, exactly.")] = False,
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")] = "auto",
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="Steps of the run; stages keep their proportions.")
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option("--minutes", min=0.1, help="As many steps as fit this time, at most the recipe's."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what the run would need and how long it would take; stop.")
    ] = False,
    batch: Annotated[
        int | None, typer.Option("--batch", min=1, help="Clips a step, in place of the recipe's.")
    ] = None,
    judged: Annotated[
        bool, typer.Option("--judge/--no-judge", help="Choose checkpoints by held-out judgement.")
    ] = True,
    recogniser: Recogniser = "auto",
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="Base of adapters (adapt), or what a voice of its own starts from.",
            metavar="MODEL",
        ),
    ] = None,
    voice: Annotated[
        str | None,
        typer.Option("--voice", "-v", help="Voicepack of `fit` that adapters begin with.", metavar="FILE"),
    ] = None,
    voices: Annotated[
        Path | None,
        typer.Option("--voices", help="Voices of the base beside its own (adapt).", metavar="PATH"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Train a voice by a recipe on a prepared corpus: one that speaks, adapters upon a model that stays
    (`adapt`), or an RVC voice (`kind: rvc`)."""
    from voicewright.jobs.train import train as run
    from voicewright.training.order import Wishes

    _finish_training(
        run(
            recipe,
            corpus,
            out,
            resume=resume,
            device=device,
            judged=judged,
            recogniser=recogniser,
            steps=steps,
            batch=batch,
            minutes=minutes,
            dry_run=dry_run,
            wishes=Wishes(model, voice, voices),
        ),
        as_json,
    )


def _finish_training(result: Result, as_json: bool) -> None:
    from voicewright.records import as_json as plain
    from voicewright.training.meeting import leads

    if leads() and as_json:  # of several processes the first one speaks
        emit(plain(result))
    elif leads() and result.model is not None:
        print(result.model)
    if not result.finished:
        raise typer.Exit(130)
