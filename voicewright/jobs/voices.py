"""Voicepacks looked into, checked, mended and converted, under any name that a user gives them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from voicewright.errors import UsageError, VoicewrightError
from voicewright.voices.blend import parse, read_mix
from voicewright.voices.files import ENDINGS, Format, check_name, read_arrays, write_arrays
from voicewright.voices.geometry import HALVES, Geometry, directions, kokoro
from voicewright.voices.lint import Finding, lint, unreadable
from voicewright.voices.nearest import by_family, neighbours
from voicewright.voices.pack import Voicepack, describe
from voicewright.voices.plot import length_curve
from voicewright.voices.repair import Repair, mend
from voicewright.voices.rows import OLD_ROWS, ROWS, with_row_zero
from voicewright.voices.sources import arrays_of, geometry_for, pack_files, shelf_of


@dataclass(frozen=True)
class Inspected:
    """A voicepack, what it was compared with, and what there is to say of it (a JSON object)."""

    name: str
    pack: Voicepack
    usual: Geometry
    facts: dict[str, Any]


def inspect_pack(voice: str, model: str | None, packs: Path | None) -> Inspected:
    """A voice of the model, a file, file:member or a mix; with `packs`, the voices that it is near to.

    Raises UsageError, VoicewrightError.
    """
    mix = parse(voice, shelf_of(model, packs))
    pack = read_mix(mix)
    usual = geometry_for(mix.terms[0].path, model)
    rows = pack.rows[:, 0].astype(float)
    angles = directions(rows, usual)
    facts: dict[str, Any] = {
        "voice": mix.name,
        "file": str(mix.terms[0].path) if len(mix.terms) == 1 else None,
        **describe(pack),
        "curve_explains": {name: round(length_curve(rows[:, part])[2], 5) for name, part in HALVES.items()},
        "compared_with": f"{usual.packs} packs of {usual.model}",
        "cosine_with_their_mean": {name: round(angles[name], 3) for name in HALVES},
    }
    if packs is not None:
        facts["nearest"] = _nearest(pack, packs, usual)
    return Inspected(mix.name, pack, usual, facts)


def _nearest(pack: Voicepack, packs: Path, usual: Geometry) -> dict[str, object]:
    """Families by their nearest member, with at most three voices each."""
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


def lint_packs(
    voices: Sequence[str], model: str | None, fix: Path | None = None, hold_below: int = 0
) -> list[tuple[dict[str, Any], list[Finding]]]:
    """For each voicepack a record (a JSON object) and the findings that are left, mended into `fix` or not.

    What cannot be read or mended is a finding of its own, and the others go on. Raises UsageError for names
    that do not fit.
    """
    results: list[tuple[dict[str, Any], list[Finding]]] = []

    def damaged(path: Path, error: VoicewrightError) -> None:
        finding = unreadable(error)
        results.append(({"voice": path.stem, "file": str(path), "findings": [finding.as_dict()]}, [finding]))

    found = arrays_of(voices, shelf_of(model), damaged)
    targets = _fixed_paths(fix, [name for name, _, _ in found]) if fix is not None else {}
    for name, path, values in found:
        usual = geometry_for(path, model)
        findings = lint(name, values, usual, kokoro())
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
    return results


def _fix_record(output: Path, repair: Repair) -> dict[str, Any]:
    return {
        "output": str(output),
        "done": list(repair.done),
        "rows_changed": len(repair.replaced),
        "largest_change_in_other_rows": repair.moved,
        "left": [finding.as_dict() for finding in repair.left],
    }


def _fixed_paths(target: Path, names: Sequence[str]) -> dict[str, Path]:
    if double := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"two voices are called {', '.join(double)}; mend them one after the other.")
    if len(names) == 1 and target.suffix and not target.is_dir():
        check_output(target)
        return {names[0]: target}
    folder = _folder(target)
    return {name: folder / f"{check_name(name)}.safetensors" for name in names}


def convert_packs(
    inputs: Sequence[str],
    output: Path,
    form: Format | None,
    rows: int,
    called: Sequence[str] | None,
    model: str | None,
) -> tuple[dict[str, Voicepack], list[Path]]:
    """Voicepacks written again in another format, under the names that they are `called`; and the files.

    Raises UsageError, VoicewrightError.
    """
    found = arrays_of(inputs, shelf_of(model))
    called = [name for name, _, _ in found] if called is None else called
    if len(called) != len(found):
        raise UsageError(f"--names gives {len(called)} names for {len(found)} voices; give one for each.")
    if double := sorted({name for name in called if called.count(name) > 1}):
        raise UsageError(f"two voices are called {', '.join(double)}; tell them apart with --names.")
    packs = {
        name: Voicepack.of(values, f"{path}:{name}")
        for name, (_, path, values) in zip(called, found, strict=True)
    }
    if output.suffix and not output.is_dir():
        check_output(output)
        return packs, write_packs(output, packs, form, rows)
    if form in ("kokoro-onnx", "sherpa-onnx"):
        raise UsageError(f"the format {form} is one file of all voices; name it, as in -o voices.bin.")
    folder = _folder(output)
    ending = ENDINGS[form or "safetensors"]
    made = [
        path
        for name, pack in packs.items()
        for path in write_packs(folder / f"{check_name(name)}{ending}", {name: pack}, form, rows)
    ]
    return packs, made


def write_packs(output: Path, packs: Mapping[str, Voicepack], form: Format | None, rows: int) -> list[Path]:
    """Write voicepacks with 510 rows, or 511 for tools that count from n; the files. Raises UsageError."""
    if rows not in (ROWS, OLD_ROWS):
        raise UsageError(f"--rows is {rows}; a voicepack has {ROWS} rows, or {OLD_ROWS} for older tools.")
    longer = rows == OLD_ROWS
    arrays = {name: with_row_zero(pack.rows) if longer else pack.rows for name, pack in packs.items()}
    return write_arrays(output, arrays, form)


def digest(pack: Voicepack) -> str:
    """SHA-256 of the raw rows: the same for the same voice in every format."""
    return hashlib.sha256(pack.rows.astype("<f4").tobytes()).hexdigest()


def check_output(output: Path) -> None:
    """Raises UsageError unless `output` can be a file."""
    if output.is_dir():
        raise UsageError(f"{output} is a folder; name a file in it.")
    if not output.parent.is_dir():
        raise UsageError(f"there is no folder {output.parent} to write {output.name} to; make it first.")


def _folder(target: Path) -> Path:
    if target.is_dir():
        return target
    if target.suffix or target.exists():
        raise UsageError(f"{target} is no folder, which several voices need; name one, or make it first.")
    if not target.parent.is_dir():
        raise UsageError(f"there is no folder {target.parent} to make {target.name} in; make it first.")
    target.mkdir()
    return target
