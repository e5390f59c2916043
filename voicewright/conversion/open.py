"""The voice that a user's words mean: of a foreign format by its file, a model of ours by name or folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from voicewright import registry
from voicewright.conversion.protocol import Converter, ConverterFormat, Opening
from voicewright.errors import UsageError

if TYPE_CHECKING:
    from voicewright.conversion.block import BlockVoice


def open_converter(
    to: str | Path,
    index: Path | None = None,
    *,
    embedder: str | Path | None = None,
    device: str = "cpu",
    exact: bool = False,
) -> Converter:
    """Open what `to` names: a voice of a format that is known here (RVC, Beatrice 2, plug-ins), else a model
    folder or name. The rest as `Opening` has it.

    Raises UsageError for what is not there or does not belong together, VoicewrightError for damaged files,
    each in one sentence.
    """
    how = Opening(index, embedder, device, exact)
    found = find_format(to, how)
    if found is not None:
        return found[0].open(found[1], how)
    from voicewright.conversion.own import OwnConverter

    return OwnConverter(to)


def open_live(to: str | Path, index: Path | None = None, *, embedder: str | Path | None = None) -> BlockVoice:
    """The same voices in live blocks. Errors likewise."""
    how = Opening(index, embedder)
    found = find_format(to, how)
    if found is not None:
        return found[0].open_live(found[1], how)
    from voicewright.conversion.own_live import OwnBlockVoice

    return OwnBlockVoice(to)


def find_format(to: str | Path, how: Opening | None = None) -> tuple[ConverterFormat, Path] | None:
    """The foreign format that `to` is of, and its file; None: a model of ours.

    Raises UsageError for a file that is no voice, and for what is asked of a voice that has no such thing.
    """
    how = how or Opening()
    asked = {
        "index": how.index is not None,
        "embedder": how.embedder is not None,
        "device": how.device != "cpu",
    }
    formats = _formats("ours")
    refused: UsageError | None = None
    try:
        found = _first(formats, to)
    except UsageError as error:  # a stranger's format may still take it
        found, refused = None, error
    if found is None:
        more = _formats("strangers")
        formats += more
        found = _first(more, to)
    if found is None and refused is not None:
        raise refused
    takes = frozenset() if found is None else found[0].TAKES
    for name, wanted in asked.items():
        if wanted and name not in takes:
            owners = " and ".join(one.TITLE for one in formats if name in one.TAKES)
            if name == "device":
                raise UsageError(f"only {owners} convert on another device than cpu, and {to} is none.")
            raise UsageError(f"--{name} belongs to {owners}, and {to} is none; leave it out.")
    return found


def _formats(whose: Literal["ours", "strangers"]) -> list[ConverterFormat]:
    found = registry.ours("converters") if whose == "ours" else registry.strangers("converters")
    return [cast("ConverterFormat", plugin.load()) for plugin in found.values()]


def _first(formats: list[ConverterFormat], to: str | Path) -> tuple[ConverterFormat, Path] | None:
    for one in formats:
        if (path := one.find(to)) is not None:
            return one, path
    return None


def refuse_ignored(converter: Converter | BlockVoice, given: Iterable[str]) -> None:
    """Raises UsageError for an option that was given and that this voice has no use for."""
    for name in given:
        if (why := converter.ignores.get(name)) is not None:
            option = "--" + name.replace("_", "-")
            raise UsageError(f"{option} changes nothing here: {why}; leave it out.")
