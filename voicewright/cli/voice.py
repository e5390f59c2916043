"""`voice inspect | lint | blend | merge | convert`: what is in a voice, what is wrong with it, making others.

Typer reads the functions of this module; everything heavy is imported where it is used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from voicewright.cli.console import emit as _emit
from voicewright.cli.console import note as _note
from voicewright.cli.console import table as _table
from voicewright.errors import UsageError, VoicewrightError

if TYPE_CHECKING:
    from voicewright.voices.files import Format
    from voicewright.voices.geometry import Geometry
    from voicewright.voices.lint import Finding
    from voicewright.voices.pack import Voicepack
    from voicewright.voices.repair import Repair

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
    from voicewright.voices.blend import parse, read_mix
    from voicewright.voices.geometry import directions
    from voicewright.voices.pack import describe
    from voicewright.voices.plot import draw, length_curve, text_plot
    from voicewright.voices.sources import geometry_for, shelf_of

    if plot is not None and (plot.suffix.lower() != ".png" or not plot.parent.is_dir()):
        raise UsageError(f"{plot}: name a .png file in a folder that exists.")
    mix = parse(voice, shelf_of(model, packs))
    pack = read_mix(mix)
    usual = geometry_for(mix.terms[0].path, model)
    rows = pack.rows[:, 0].astype(float)
    angles = directions(rows, usual)
    facts: dict[str, Any] = {
        "voice": mix.name,
        "file": str(mix.terms[0].path) if len(mix.terms) == 1 else None,
        **describe(pack),
        "curve_explains": {
            name: round(length_curve(rows[:, part])[2], 5) for name, part in _halves().items()
        },
        "compared_with": f"{usual.packs} packs of {usual.model}",
        "cosine_with_their_mean": {name: round(angles[name], 3) for name in _halves()},
    }
    if packs is not None:
        facts["nearest"] = _nearest(mix.name, pack, packs, usual)
    if plot is not None:
        draw(pack, plot, mix.name, usual)
        facts["plot"] = str(plot)
    if as_json:
        _emit(facts)
        return
    if "nearest" in facts:
        facts["nearest"] = {
            family: [
                f"{n['name']} at {n['distance']:.2f} (cosines {n['acoustic_cosine']:.2f} and "
                f"{n['prosodic_cosine']:.2f})"
                for n in found
            ]
            for family, found in facts["nearest"].items()
        }
    _table({key: value for key, value in facts.items() if value is not None})
    print(text_plot(pack, usual))


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
    from voicewright.voices.geometry import kokoro
    from voicewright.voices.lint import lint as check
    from voicewright.voices.lint import unreadable
    from voicewright.voices.repair import mend
    from voicewright.voices.sources import arrays_of, geometry_for, shelf_of

    if hold_below and fix is None:
        raise UsageError("--hold-below changes a voice; say with --fix where to write it.")
    results: list[tuple[dict[str, Any], list[Finding]]] = []

    def damaged(path: Path, error: VoicewrightError) -> None:
        finding = unreadable(error)
        results.append(({"voice": path.stem, "file": str(path), "findings": [finding.as_dict()]}, [finding]))

    found = arrays_of(voices, shelf_of(model), damaged)
    targets = _fixed_paths(fix, [name for name, _, _ in found]) if fix is not None else {}
    for name, path, values in found:
        usual = geometry_for(path, model)
        findings = check(name, values, usual, kokoro())
        record: dict[str, Any] = {
            "voice": name,
            "file": str(path),
            "compared_with": f"{usual.packs} packs of {usual.model}",
            "findings": [finding.as_dict() for finding in findings],
        }
        if fix is not None:
            try:
                repair = mend(name, values, usual, kokoro(), hold_below)
            except VoicewrightError as error:  # its findings stay, and are errors; the other voices go on
                record["fix"] = {"output": None, "failed": str(error)}
            else:
                repair.pack.write(targets[name])
                record["fix"] = _fix_record(targets[name], repair)
                findings = list(repair.left)
        results.append((record, findings))
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
    from voicewright.voices.blend import parse, read_mix
    from voicewright.voices.sources import shelf_of

    if ".pth" in words.lower():
        raise UsageError("RVC voices are mixed by `voicewright voice merge a.pth b.pth -o c.pth`.")
    _check_output(output)
    mix = parse(words, shelf_of(model, packs), normalise)
    pack = read_mix(mix)
    made = _write(output, {output.stem: pack}, form, rows)
    shares = [
        {"voice": term.name, "member": term.member, "share": round(share, 6)}
        for term, share in zip(mix.terms, mix.shares, strict=True)
    ]
    total = sum(mix.shares)
    if normalise == "total" and total < 0.999:
        _note(f"note: the shares sum to {total:.2f}, as in Kokoro-FastAPI; --normalise sum keeps the level.")
    if as_json:
        record = {"voice": mix.name, "shares": shares, "sum": round(total, 6), "sha256": _digest(pack)}
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

    if (foreign := find_format(inputs)) is not None:
        one = foreign[0]
        if form is not None or rows != 510 or (names is not None and not one.NAMES):
            options = "--format and --rows are" if one.NAMES else "--names, --format and --rows are"
            raise UsageError(f"{options} for voicepacks; {one.TITLE} needs none.")
        given = None if names is None else [name.strip() for name in names.split(",")]
        made, notes = one.convert(inputs, output, given)
        for note in notes:
            _note(f"note: {note}")
        _emit({"output": [str(path) for path in made], "notes": notes}) if as_json else print(*made, sep="\n")
        return
    from voicewright.voices.files import ENDINGS, check_name
    from voicewright.voices.pack import Voicepack
    from voicewright.voices.sources import arrays_of, shelf_of

    found = arrays_of(inputs, shelf_of(model))
    called = [name for name, _, _ in found] if names is None else [name.strip() for name in names.split(",")]
    if len(called) != len(found):
        raise UsageError(f"--names gives {len(called)} names for {len(found)} voices; give one for each.")
    if double := sorted({name for name in called if called.count(name) > 1}):
        raise UsageError(f"two voices are called {', '.join(double)}; tell them apart with --names.")
    packs = {
        name: Voicepack.of(values, f"{path}:{name}")
        for name, (_, path, values) in zip(called, found, strict=True)
    }
    if output.suffix and not output.is_dir():
        _check_output(output)
        made = _write(output, packs, form, rows)
    else:
        if form in ("kokoro-onnx", "sherpa-onnx"):
            raise UsageError(f"the format {form} is one file of all voices; name it, as in -o voices.bin.")
        folder = _folder(output)
        ending = ENDINGS[form or "safetensors"]
        made = [
            path
            for name, pack in packs.items()
            for path in _write(folder / f"{check_name(name)}{ending}", {name: pack}, form, rows)
        ]
    if as_json:
        listed = [{"voice": name, "sha256": _digest(pack)} for name, pack in packs.items()]
        _emit({"voices": listed, "rows": rows, "output": [str(path) for path in made]})
    else:
        print("\n".join(str(path) for path in made))


def _halves() -> Mapping[str, slice]:
    from voicewright.voices.geometry import HALVES

    return HALVES


def _nearest(name: str, pack: Voicepack, packs: Path, usual: Geometry) -> dict[str, object]:
    """Families by their nearest member, with at most three voices each."""
    from dataclasses import asdict

    import numpy as np

    from voicewright.voices.files import read_arrays
    from voicewright.voices.nearest import by_family, neighbours
    from voicewright.voices.pack import Voicepack
    from voicewright.voices.sources import pack_files

    if packs.is_dir():
        others = {stem: Voicepack.read(path) for stem, path in pack_files(packs).items()}
    else:
        others = {stem: Voicepack.of(values, stem) for stem, values in read_arrays(packs).items()}
    others = {stem: other for stem, other in others.items() if not np.array_equal(other.rows, pack.rows)}
    return {
        family: [
            {key: round(v, 4) if isinstance(v, float) else v for key, v in asdict(neighbour).items()}
            for neighbour in found[:3]
        ]
        for family, found in by_family(neighbours(pack, others, usual)).items()
    }


def _fixed_paths(target: Path, names: Sequence[str]) -> dict[str, Path]:
    from voicewright.voices.files import check_name

    if double := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"two voices are called {', '.join(double)}; mend them one after the other.")
    if len(names) == 1 and target.suffix and not target.is_dir():
        _check_output(target)
        return {names[0]: target}
    folder = _folder(target)
    return {name: folder / f"{check_name(name)}.safetensors" for name in names}


def _folder(target: Path) -> Path:
    if target.is_dir():
        return target
    if target.suffix or target.exists():
        raise UsageError(f"{target} is no folder, which several voices need; name one, or make it first.")
    if not target.parent.is_dir():
        raise UsageError(f"there is no folder {target.parent} to make {target.name} in; make it first.")
    target.mkdir()
    return target


def _check_output(output: Path) -> None:
    if output.is_dir():
        raise UsageError(f"{output} is a folder; name a file in it.")
    if not output.parent.is_dir():
        raise UsageError(f"there is no folder {output.parent} to write {output.name} to; make it first.")


def _write(output: Path, packs: Mapping[str, Voicepack], form: Format | None, rows: int) -> list[Path]:
    from voicewright.voices.files import write_arrays
    from voicewright.voices.rows import OLD_ROWS, ROWS, with_row_zero

    if rows not in (ROWS, OLD_ROWS):
        raise UsageError(f"--rows is {rows}; a voicepack has {ROWS} rows, or {OLD_ROWS} for older tools.")
    longer = rows == OLD_ROWS
    arrays = {name: with_row_zero(pack.rows) if longer else pack.rows for name, pack in packs.items()}
    return write_arrays(output, arrays, form)


def _digest(pack: Voicepack) -> str:
    """SHA-256 of the raw rows: the same for the same voice in every format."""
    import hashlib

    return hashlib.sha256(pack.rows.astype("<f4").tobytes()).hexdigest()


def _fix_record(output: Path, repair: Repair) -> dict[str, Any]:
    return {
        "output": str(output),
        "done": list(repair.done),
        "rows_changed": len(repair.replaced),
        "largest_change_in_other_rows": repair.moved,
        "left": [finding.as_dict() for finding in repair.left],
    }


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
