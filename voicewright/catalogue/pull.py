"""What others published: known by its hash, here already, or fetched (only when it is asked to)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from voicewright.catalogue.places import CARD, PARTS, cache_folder, hub_cache, model_of
from voicewright.catalogue.published import PUBLISHED, Published, speaking
from voicewright.errors import UsageError, VoicewrightError
from voicewright.storage import digest


def published_file(path: Path) -> Published | None:
    """The published model whose weights this very file holds, by size and hash."""
    size = path.stat().st_size
    fitting = [
        entry
        for entry in speaking()
        if entry.weights.sha256 and size == (entry.weights.bytes or size) and size <= entry.weights.limit
    ]
    if not fitting:
        return None
    found = digest(path)
    return next((entry for entry in fitting if entry.weights.sha256 == found), None)


def part_files(name: str) -> list[Path]:
    """The weights of a part of voice conversion on this machine, the best place first; empty when missing.

    Looked for in `models/NAME` of the working directory, in our cache, and in Hugging Face's.
    """
    published = PUBLISHED[name]
    folders = [Path("models") / name, cache_folder() / PARTS / name]
    found = [folder / published.weights.name for folder in folders]
    places = [f"{published.repository}:{published.weights.path}", *published.also]
    found += [
        folder / place.name
        for folder in folders
        for place in (Path(place.partition(":")[2]) for place in published.also)
    ]
    for place in places:
        repository, _, path = place.partition(":")
        snapshots = hub_cache() / f"models--{repository.replace('/', '--')}" / "snapshots"
        found += sorted(snapshots.glob(f"*/{path}"))
    return [path for path in dict.fromkeys(found) if path.is_file()]


def missing_part(name: str) -> str:
    """One sentence: which file is missing, where it comes from, how to get it or where to put it."""
    published = PUBLISHED[name]
    hash_wanted = "" if published.pinned else " --accept-hash SHA256"
    return (
        f"{name} is not on this machine: `voicewright models pull {name}{hash_wanted}` fetches it "
        f"({published.megabytes} MB), or put {published.weights.path} of "
        f"{published.repository} on Hugging Face at {cache_folder() / PARTS / name / published.weights.name}."
    )


def pull(
    name: str,
    accepted: Iterable[str] = (),
    progress: Callable[[str, float, float], object] | None = None,
) -> Path:
    """Fetch a published model into our cache, and return its folder. One that is there is left as it is.

    Files arrive under `downloads`, are checked against their hashes, and only all together become the model's
    folder; a stopped download goes on where it stopped. `accepted` are hashes that the user trusts for files
    whose own is not known. Raises UsageError for an unknown name, VoicewrightError in one sentence otherwise.
    """
    from voicewright.catalogue.download import fetch

    if name not in PUBLISHED:
        raise UsageError(f"no model {name} is known; there are {', '.join(PUBLISHED)}.")
    published = PUBLISHED[name]
    target = cache_folder() / ("models" if published.kind == "speech" else PARTS) / name
    if target.is_dir():
        return model_of(target) if published.kind == "speech" else target
    work = cache_folder() / "downloads" / f"{name}-{published.revision[:12]}"
    try:
        work.mkdir(parents=True, exist_ok=True)
        missing = sum(file.limit for file in published.files if not (work / file.name).is_file())
        free = shutil.disk_usage(work).free
        if free < missing:
            raise VoicewrightError(
                f"{name} needs {missing / 1e6:.0f} MB, and {cache_folder()} has {free / 1e6:.0f} MB free; "
                "make room or set VOICEWRIGHT_CACHE to another folder."
            )
        for file in published.files:
            fetch(published, file, work / file.name, frozenset(accepted), progress)
        card = {
            "name": name,
            "licence": published.licence,
            "language": published.language,
            "source": f"{published.repository} at {published.revision}",
        }
        card |= {"voice": published.voice} if published.voice else {}
        (work / CARD).write_text(json.dumps(card, ensure_ascii=False, indent=1) + "\n", "utf-8")
        target.parent.mkdir(parents=True, exist_ok=True)
        work.replace(target)
    except OSError as error:
        raise VoicewrightError(
            f"{error.filename or work}: {error.strerror or error}; make room, or set VOICEWRIGHT_CACHE."
        ) from error
    return target
