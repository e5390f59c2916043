"""`models list | pull | import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from voicewright.cli.console import emit, note
from voicewright.cli.options import Json


class ListsByDefault(TyperGroup):
    """`models`, `models FOLDER` and `models --json` mean `models list …`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        help_wanted = bool(args) and args[0] in ctx.help_option_names
        if not help_wanted and (not args or args[0] not in self.commands):
            args = ["list", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    help="Models on this machine, and those that can be fetched.", cls=ListsByDefault, rich_markup_mode=None
)


@app.command("list")
def list_(
    folders: Annotated[
        list[Path] | None, typer.Argument(help="Folders to search; runs and models when not given.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the models on this machine: embedded, cached, local; and what `pull` can fetch."""
    from voicewright.jobs.models import fetchable, fetchable_lines, listing, record

    found = listing(folders)
    if as_json:
        emit({"models": [record(entry) for entry in found], "fetchable": fetchable(found)})
        return
    for entry in found:
        voices = ", ".join(entry.voices) or "no voices"
        print(f"{entry.name}\t{entry.bytes / 1e6:.1f} MB\t{voices}\t{entry.folder}")
    for line in fetchable_lines(fetchable(found)):
        note(line)


@app.command("pull")
def pull(
    name: Annotated[str, typer.Argument(help="A published model, such as kokoro-v1.0.")],
    accept_hash: Annotated[
        list[str] | None,
        typer.Option(
            "--accept-hash", help="Trust a file with this sha256, where none is known.", metavar="HEX"
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Fetch a published model into the cache, checked against its published hashes."""
    from voicewright.catalogue.pull import pull as run
    from voicewright.progress import Progress

    progress = Progress()
    try:
        folder = run(name, [value.lower() for value in accept_hash or []], progress)
    finally:
        progress.close()
    if as_json:
        emit({"name": name, "folder": str(folder)})
    else:
        print(folder)


@app.command("import")
def import_(
    source: Annotated[
        str, typer.Argument(help="Weights (.onnx, .pth, .safetensors), voicepacks, or kokoro of packages.")
    ],
    name: Annotated[
        str | None, typer.Option("--name", help="What the model is to be called; its file's name otherwise.")
    ] = None,
    into: Annotated[
        str | None,
        typer.Option(
            "--voices-into", help="SOURCE holds voicepacks for this imported model.", metavar="MODEL"
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make weights or voicepacks of others ready once, in the cache, to be used by name."""
    from voicewright.progress import Progress
    from voicewright.voices.importing import import_any

    progress = Progress()
    try:
        made = import_any(source, name, into, progress)
    finally:
        progress.close()
    if as_json:
        from voicewright.records import as_json as plain

        emit(plain(made))
        return
    for line in made.notes:
        note(line)
    if made.voices:
        note(f"{len(made.voices)} voices: {', '.join(made.voices[:8])}{', …' * (len(made.voices) > 8)}")
    print(made.folder)
