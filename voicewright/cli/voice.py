"""`voice inspect | lint | blend | merge | convert`: what is in a voice, what is wrong with it, making others.

Typer reads the functions of this module; everything heavy is imported where it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from voicewright.cli.console import emit as _emit
from voicewright.cli.console import note as _note
from voicewright.cli.console import table as _table
from voicewright.errors import UsageError

app = typer.Typer(
    help="Look into voicepacks and RVC voices, mend, mix and convert them.", rich_markup_mode=None
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
Model = Annotated[
    str | None,
    typer.Option("--model", "-m", help="Model folder, training run, weight file, or tiny.", metavar="MODEL"),
]
Packs = Annotated[
    Path | None,
    typer.Option("--packs", help="Folder or file of voicepacks, whose names may be used.", metavar="PATH"),
]
FormatName = Literal["safetensors", "pt", "bin", "npz", "npy", "kokoro-onnx", "sherpa-onnx"]
FormatOption = Annotated[
    FormatName | None, typer.Option("--format", help="Where the suffix does not tell, or for a folder.")
]
RowsOption = Annotated[
    int, typer.Option("--rows", help="510; 511 for tools that count rows from n (docs/voices.md).")
]


@app.command()
def inspect(
    voice: Annotated[str, typer.Argument(help="A voice of the model, a file, file:member, or a mix.")],
    model: Model = None,
    packs: Packs = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Draw the length curve into a PNG.", metavar="FILE")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check a voicepack and describe it; with --packs, say which voices it is near to.

    Of a voice of RVC (.pth) or Beatrice: version, rate, speakers, what it needs, author and licence where it
    says so.
    """
    from voicewright.voices.foreign import find_format

    if (foreign := find_format([voice])) is not None:
        if plot is not None or packs is not None:
            raise UsageError("--plot and --packs are for voicepacks; this voice has no length curve.")
        found = foreign[0].inspect(foreign[1])
        _emit(found) if as_json else _table(found)
        return
    from voicewright.jobs.voices import inspect_pack
    from voicewright.voices.plot import draw, text_plot

    if plot is not None and (plot.suffix.lower() != ".png" or not plot.parent.is_dir()):
        raise UsageError(f"{plot}: name a .png file in a folder that exists.")
    seen = inspect_pack(voice, model, packs)
    facts = dict(seen.facts)
    if plot is not None:
        draw(seen.pack, plot, seen.name, seen.usual)
        facts["plot"] = str(plot)
    if as_json:
        _emit(facts)
        return
    if "nearest" in facts:
        facts["nearest"] = {
            family: [_neighbour(one) for one in found] for family, found in facts["nearest"].items()
        }
    _table({key: value for key, value in facts.items() if value is not None})
    print(text_plot(seen.pack, seen.usual))


@app.command()
def lint(
    voices: Annotated[list[str], typer.Argument(help="Voices, files (every voice in them), or folders.")],
    model: Model = None,
    fix: Annotated[
        Path | None,
        typer.Option("--fix", help="Write mended voices: a file for one, a folder.", metavar="PATH"),
    ] = None,
    hold_below: Annotated[
        int,
        typer.Option("--hold-below", min=0, max=510, help="With --fix: shorter texts get this length's row."),
    ] = 0,
    as_json: Json = False,
) -> None:
    """Find what is wrong with voicepacks. Ends with 1 when a finding is an error."""
    from voicewright.jobs.voices import lint_packs

    if hold_below and fix is None:
        raise UsageError("--hold-below changes a voice; say with --fix where to write it.")
    results = lint_packs(voices, model, fix, hold_below)
    counts = {
        severity: sum(finding.severity == severity for _, left in results for finding in left)
        for severity in ("error", "warning", "note")
    }
    if as_json:
        _emit({"voices": [record for record, _ in results], **{f"{key}s": n for key, n in counts.items()}})
    else:
        for record, _ in results:
            print("\n".join(_lint_lines(record)))
        summary = ", ".join(f"{n} {key}{'' if n == 1 else 's'}" for key, n in counts.items())
        _note(f"{len(results)} {'voice' if len(results) == 1 else 'voices'}: {summary}.")
    if counts["error"]:
        raise typer.Exit(1)


@app.command()
def blend(
    words: Annotated[str, typer.Argument(help="As in 'af_bella(2)+af_sky(1)', 'a,b', 'a-b(0.3)'.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Voicepack to write.")],
    model: Model = None,
    packs: Packs = None,
    normalise: Annotated[
        Literal["total", "sum", "none"],
        typer.Option("--normalise", help="total: as Kokoro-FastAPI; sum: keeps the level; none."),
    ] = "total",
    rows: RowsOption = 510,
    form: FormatOption = None,
    as_json: Json = False,
) -> None:
    """Mix voices into a new voicepack."""
    from voicewright.jobs.voices import check_output, digest, write_packs
    from voicewright.voices.blend import parse, read_mix
    from voicewright.voices.sources import shelf_of

    if ".pth" in words.lower():
        raise UsageError("RVC voices are mixed by `voicewright voice merge a.pth b.pth -o c.pth`.")
    check_output(output)
    mix = parse(words, shelf_of(model, packs), normalise)
    pack = read_mix(mix)
    made = write_packs(output, {output.stem: pack}, form, rows)
    shares = [
        {"voice": term.name, "member": term.member, "share": round(share, 6)}
        for term, share in zip(mix.terms, mix.shares, strict=True)
    ]
    total = sum(mix.shares)
    if normalise == "total" and total < 0.999:
        _note(f"note: the shares sum to {total:.2f}, as in Kokoro-FastAPI; --normalise sum keeps the level.")
    if as_json:
        record = {"voice": mix.name, "shares": shares, "sum": round(total, 6), "sha256": digest(pack)}
        _emit({**record, "output": [str(path) for path in made]})
    else:
        print(output)


@app.command()
def merge(
    inputs: Annotated[list[Path], typer.Argument(help="RVC voices of one version, rate and embedder.")],
    output: Annotated[Path, typer.Option("-o", "--output", help=".pth or .safetensors to write.")],
    shares: Annotated[
        str | None, typer.Option("--shares", help="As in 0.7,0.3; equal when not given.", metavar="A,B,…")
    ] = None,
    as_json: Json = False,
) -> None:
    """Mix RVC voices into one, tensor by tensor."""
    from voicewright.voices.foreign import find_format, formats

    found = find_format(inputs)
    mixing = [one for one in ([found[0]] if found else formats()) if hasattr(one, "merge")]
    if not mixing:
        title = "a voice of this kind" if found is None else found[0].TITLE
        raise UsageError(f"{title} cannot be mixed; voicepacks are, by `voicewright voice blend`.")
    record, notes = mixing[0].merge(inputs, output, shares)
    if as_json:
        _emit({"output": str(output), **record, "notes": notes})
        return
    for note in notes:
        _note(f"note: {note}.")
    print(output)


@app.command()
def convert(
    inputs: Annotated[list[str], typer.Argument(help="Files, file:member, folders, or voices of the model.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="File, or folder for one file a voice.")],
    form: FormatOption = None,
    rows: RowsOption = 510,
    names: Annotated[
        str | None, typer.Option("--names", help="New names, in order.", metavar="A,B,…")
    ] = None,
    model: Model = None,
    as_json: Json = False,
) -> None:
    """Convert voicepacks between formats, single ones and files of several; values stay as they are.

    RVC voices: .pth to .safetensors, which can hold no code, and back. Beatrice: a trainer's .pt.gz to a
    folder that its programs open.
    """
    from voicewright.voices.foreign import find_format

    called = None if names is None else [name.strip() for name in names.split(",")]
    if (foreign := find_format(inputs)) is not None:
        one = foreign[0]
        if form is not None or rows != 510 or (names is not None and not one.NAMES):
            options = "--format and --rows are" if one.NAMES else "--names, --format and --rows are"
            raise UsageError(f"{options} for voicepacks; {one.TITLE} needs none.")
        made, notes = one.convert(inputs, output, called)
        for note in notes:
            _note(f"note: {note}")
        _emit({"output": [str(path) for path in made], "notes": notes}) if as_json else print(*made, sep="\n")
        return
    from voicewright.jobs.voices import convert_packs, digest

    packs, made = convert_packs(inputs, output, form, rows, called, model)
    if as_json:
        listed = [{"voice": name, "sha256": digest(pack)} for name, pack in packs.items()]
        _emit({"voices": listed, "rows": rows, "output": [str(path) for path in made]})
    else:
        print("\n".join(str(path) for path in made))


def _neighbour(found: Mapping[str, Any]) -> str:
    cosines = f"cosines {found['acoustic_cosine']:.2f} and {found['prosodic_cosine']:.2f}"
    return f"{found['name']} at {found['distance']:.2f} ({cosines})"


def _lint_lines(record: Mapping[str, Any]) -> list[str]:
    lines = []
    for finding in record["findings"]:
        lines.append(
            f"{record['voice']}: {finding['severity']} {finding['code']}: {finding['message']}; "
            f"{finding['advice']}."
        )
    if "fix" in record:
        fix = record["fix"]
        if "failed" in fix:
            return [*lines, f"{record['voice']}: not mended: {fix['failed']}"]
        done = "; ".join(fix["done"]) or "nothing to mend"
        lines.append(f"{record['voice']}: mended into {fix['output']}: {done}.")
        for left in fix["left"]:
            lines.append(f"{record['voice']}: left: {left['severity']} {left['code']}: {left['message']}.")
    return lines or [f"{record['voice']}: clean (compared with {record['compared_with']})"]
