"""Models on this machine, and those that can be fetched."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from voicewright.catalogue.places import ModelEntry


def listing(folders: Iterable[Path] | None) -> list[ModelEntry]:
    """Models in `folders` (runs and models of the working directory when not given) and in the caches."""
    from voicewright.catalogue import places as artifacts

    return artifacts.list_models(folders or [Path(name) for name in artifacts.LOCAL])


def record(entry: ModelEntry) -> dict[str, object]:
    return {
        "name": entry.name,
        "folder": str(entry.folder),
        "voices": list(entry.voices),
        "licence": entry.card.get("licence"),
        "bytes": entry.bytes,
    }


def fetchable(found: Iterable[ModelEntry]) -> list[dict[str, object]]:
    """Published models that are not among those found."""
    from voicewright.catalogue.published import PUBLISHED
    from voicewright.catalogue.pull import part_files

    here = {entry.name for entry in found} | {entry.folder.name for entry in found}
    return [
        {
            "name": item.name,
            "megabytes": item.megabytes,
            "about": item.about,
            "licence": item.licence,
            "pinned": item.pinned,
        }
        for item in PUBLISHED.values()
        if item.name not in here and not (item.kind == "part" and part_files(item.name))
    ]


def fetchable_lines(items: Iterable[Mapping[str, object]]) -> list[str]:
    """The same for a person: one line for a model, one for all that are alike but for a version or a rate."""
    groups: dict[str, list[Mapping[str, object]]] = {}
    for item in items:
        family = re.sub(r"^(rvc)-.*", r"\1", str(item["name"]))
        groups.setdefault(family, []).append(item)
    lines = ["`voicewright models pull NAME` fetches:"] if groups else []
    for group in groups.values():
        first = group[0]
        size = f"{first['megabytes']:>5} MB"
        if len(group) == 1:
            lines.append(f"  {first['name']:<22} {size}  {first['about']}")
        else:
            names = ", ".join(str(item["name"]) for item in group)
            lines.append(f"  {f'{len(group)} to train from':<22} {size}  for RVC voices: {names}")
    return lines
