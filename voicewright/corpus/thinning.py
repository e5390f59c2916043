"""Fewer clips where there is more speech than anybody asks for: evenly chosen, so that all of it is heard."""

from __future__ import annotations

from collections.abc import Sequence

from voicewright.audio.files import probe
from voicewright.corpus.items import Item
from voicewright.corpus.split import spread
from voicewright.errors import VoicewrightError

_UNKNOWN = 5.0
"""Seconds of a clip whose header does not say."""


def thinned(items: Sequence[Item], most: float | None) -> tuple[list[Item], list[str]]:
    """Items of about `most` seconds (all of them where there is less, or for None), and a note on it.

    What is refused already stays: it costs nothing.
    """
    if most is None:
        return list(items), []
    lengths = [_seconds(item) for item in items]
    total = sum(lengths)
    if total <= most:
        return list(items), []
    usable = [index for index, length in enumerate(lengths) if length]
    count = max(1, round(len(usable) * most / total))
    chosen = set(spread(usable, count))
    kept = [item for index, item in enumerate(items) if index in chosen or not lengths[index]]
    said = f"{total / 60:.0f} minutes are more than is listened to: {count} of {len(usable)} clips are"
    return kept, [said]


def _seconds(item: Item) -> float:
    if item.reason is not None or item.path is None:
        return 0.0
    try:
        return probe(item.path).seconds or _UNKNOWN
    except VoicewrightError:
        return _UNKNOWN  # whoever opens it says what is wrong with it
