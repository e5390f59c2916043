"""What `voice inspect | convert | merge` do with RVC voices, the singers of `voicewright convert --to`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voicewright.errors import UsageError, VoicewrightError
from voicewright.storage import digest

if TYPE_CHECKING:
    pass

TITLE = "an RVC voice"
NAMES = False
LICENCE_KEYS = ("license", "licence", "terms", "terms_of_use")
NO_INDEX = "an .index of features is not merged; use one of a single singer, or none (--index-rate 0)"


def find(words: str | Path) -> Path | None:
    """The file of an RVC voice that a word of the command line means, or the folder that its trainer left.

    `convert --to` is of the same opinion. None where it is none. Raises UsageError where several are meant,
    or a file that only training needs.
    """
    from voicewright.rvc.converter import find as voice_file
    from voicewright.rvc.files.peek import rvc_content

    path = Path(words)
    if path.suffix.lower() == ".pth" or path.is_dir():
        return voice_file(path) if path.exists() else path
    return voice_file(path) if path.is_file() and rvc_content(path) is not None else None


def inspect(path: Path) -> dict[str, Any]:
    """What a voice is and needs, as a record. Raises VoicewrightError for whatever is no RVC voice."""
    from voicewright.rvc.files.checkpoint import open_voice

    voice = open_voice(path)
    config, info = voice.config, dict(voice.info)
    layer = "layer 9 and its projection, 256 wide" if config.version == "v1" else "layer 12, 768 wide"
    count = sum(value.numel() for value in voice.synthesizer.state_dict().values())
    facts: dict[str, Any] = {
        "voice": info.pop("model_name", path.stem),
        "file": str(path),
        "what": f"RVC {voice.kind}" if voice.kind != "safetensors" else "RVC voice as safetensors",
        "version": config.version,
        "sample_rate": config.sample_rate,
        "follows_f0": config.f0,
        "speakers": config.speakers,
        "embedder": f"{voice.embedder} ({layer})",
        "epochs": _epochs(info),
        "author": info.pop("author", None),
        "licence": next((info.pop(key) for key in LICENCE_KEYS if key in info), "not stated"),
        "parameters": count,
        "sha256": digest(path),
        "says": {key: value for key, value in info.items() if key != "embedder_model" and value != ""},
        "notes": voice.notes,
    }
    return {key: value for key, value in facts.items() if value not in (None, {}, [])}


def _epochs(info: dict[str, Any]) -> int | None:
    """`epoch`, or the number in the free text that RVC-WebUI writes, such as 100epoch."""
    import re

    if isinstance(info.get("epoch"), int):
        return int(info.pop("epoch"))
    found = re.fullmatch(r"\s*(\d{1,9})\s*epochs?\s*", str(info.get("info", "")))
    if found is None:
        return None
    del info["info"]
    return int(found[1])


def convert(
    inputs: Sequence[str], output: Path, names: Sequence[str] | None = None
) -> tuple[list[Path], list[str]]:
    """Voices written again by the suffix of `output`, or into a folder as safetensors: files, and notes.

    Values stay as they are: upstream's halves are halves again.
    """
    from voicewright.rvc.files.checkpoint import SUFFIXES, open_voice, save_voice

    paths = [find(words) for words in inputs]
    found = [path for path in paths if path is not None]
    if len(found) < len(paths):
        raise UsageError(
            f"{inputs[paths.index(None)]} is no RVC voice, and others here are; convert them apart."
        )
    if output.is_dir():
        targets = [output / f"{path.stem}.safetensors" for path in found]
    elif len(inputs) > 1:
        raise UsageError(f"{output} is no folder, which several voices need; make it first.")
    else:
        targets = [output]
    _check(targets, SUFFIXES, found)
    if len(set(targets)) < len(targets):
        raise UsageError("two voices have one name; convert them one after the other.")
    notes: list[str] = []
    for path, target in zip(found, targets, strict=True):
        voice = open_voice(path)
        notes += [f"{path}: {note}" for note in voice.notes]
        save_voice(target, voice.synthesizer, voice.info)
    return targets, notes


def merge(inputs: Sequence[Path], output: Path, shares: str | None) -> tuple[dict[str, Any], list[str]]:
    """Several voices mixed into one file: what was made, and notes."""
    from voicewright.rvc.files.checkpoint import SUFFIXES, merge, open_voice, save_voice

    _check([output], SUFFIXES, inputs)
    voices = [open_voice(find(path) or path) for path in inputs]
    try:
        given = None if shares is None else [float(share) for share in shares.split(",")]
    except ValueError as error:
        raise UsageError(f"--shares is {shares!r}; give numbers, as in 0.7,0.3.") from error
    if given is not None and len(given) != len(voices):
        raise UsageError(f"--shares gives {len(given)} numbers for {len(voices)} voices; give one for each.")
    mixed = merge(voices, given)
    save_voice(output, mixed.synthesizer, mixed.info)
    notes = [f"{voice.path}: {note}" for voice in voices for note in voice.notes]
    if len({voice.config.speakers for voice in voices}) > 1:
        notes.append(
            f"the voices have different counts of speakers; the first {mixed.config.speakers} are kept"
        )
    return {"speakers": mixed.config.speakers, **mixed.info}, [*notes, NO_INDEX]


def _check(targets: Sequence[Path], suffixes: Sequence[str], inputs: Sequence[str | Path]) -> None:
    sources = {Path(words).resolve() for words in inputs}
    for target in targets:
        if target.resolve() in sources:
            raise UsageError(f"{target} would overwrite a voice that is read; name another file with -o.")
        if target.suffix not in suffixes:
            raise UsageError(f"{target}: name a .pth or .safetensors file.")
        if not target.parent.is_dir():
            raise VoicewrightError(f"there is no folder {target.parent} to write to; make it first.")
