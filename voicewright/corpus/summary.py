"""What `prepare` made, as a record and as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from voicewright.corpus import sound as sounding
from voicewright.corpus.coverage import RARE, Coverage
from voicewright.corpus.items import Item
from voicewright.corpus.manifest import QUARANTINE, REASONS, Utterance
from voicewright.corpus.sound import Sound

_COLUMNS = 8


@dataclass(frozen=True)
class Summary:
    """What `prepare` made. `accepted` and all of `quarantined` together are `found`."""

    folder: Path
    language: str
    licence: str
    found: int
    accepted: int
    quarantined: dict[str, int]
    """Reason code → how many, most frequent first."""
    seconds: float
    """Of accepted speech."""
    speakers: dict[str, float]
    """Speaker → seconds."""
    resumed: int
    """Clips taken over from an earlier run."""
    coverage: Coverage
    texts: dict[str, int] = field(default_factory=dict)
    """Where the texts of accepted clips come from (a list, files beside, a recogniser) → how many."""
    notes: tuple[str, ...] = ()
    """Sentences on what was found and not taken, on texts and on language."""
    sound: Sound | None = None
    """Of accepted clips."""

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "corpus": str(self.folder),
            "language": self.language,
            "licence": self.licence,
            "found": self.found,
            "accepted": self.accepted,
            "quarantined": self.quarantined,
            "minutes": round(self.seconds / 60, 2),
            "speakers": {name: round(seconds, 1) for name, seconds in self.speakers.items()},
            "resumed": self.resumed,
            "texts": self.texts,
            "notes": list(self.notes),
            "coverage": self.coverage.as_dict(),
            "sound": self.sound.as_dict() if self.sound else None,
        }


def render(summary: Summary) -> str:
    """The summary as lines of plain text, without a last newline."""
    refused = sum(summary.quarantined.values())
    lines = [
        f"{summary.folder}: {summary.accepted} of {summary.found} clips accepted, "
        f"{summary.seconds / 60:.1f} minutes, {summary.language}"
    ]
    if summary.resumed:
        lines.append(f"{summary.resumed} clips taken over from an earlier run")
    if summary.texts:
        lines.append(f"Texts: {', '.join(f'{count} from {name}' for name, count in summary.texts.items())}")
    lines += [f"Note: {note}" for note in summary.notes]
    if len(summary.speakers) > 1:
        lines.append("Speakers:")
        lines += [f"  {name}: {seconds / 60:.1f} minutes" for name, seconds in summary.speakers.items()]
    if refused:
        lines.append(f"Refused: {refused} (each is a line in {summary.folder / QUARANTINE})")
        width = max(map(len, summary.quarantined))
        lines += [
            f"  {count:6d}  {code:<{width}}  {REASONS[code]}" for code, count in summary.quarantined.items()
        ]
    if summary.licence == "unknown":
        lines.append("Licence of the recordings: unknown. Name it before you share a voice made from them.")
    if summary.sound:
        lines += sounding.lines(summary.sound)
    return "\n".join(lines + _coverage_lines(summary.coverage))


def origins(accepted: Sequence[Utterance], items: Sequence[Item]) -> dict[str, int]:
    """Where the texts of accepted clips come from → how many, most first."""
    given = {item.id: item.origin for item in items if item.reason is None}
    return dict(
        Counter(
            f"the recogniser {utterance.transcript} (check them)"
            if utterance.transcript != "given"
            else given.get(utterance.id) or "given texts"
            for utterance in accepted
        ).most_common()
    )


def _coverage_lines(coverage: Coverage) -> list[str]:
    lines = ["Sounds, and how often each occurs:"]
    cells = [f"{symbol} {count:6d}" for symbol, count in coverage.sounds.items()]
    lines += ["  " + "   ".join(cells[start : start + _COLUMNS]) for start in range(0, len(cells), _COLUMNS)]
    missing = [symbol for symbol, count in coverage.sounds.items() if count == 0]
    rare = [symbol for symbol, count in coverage.sounds.items() if 0 < count < RARE]
    if missing:
        lines.append(f"  missing: {' '.join(missing)}")
    if rare:
        lines.append(f"  rare (fewer than {RARE}): {' '.join(rare)}")
    pairs = f"Pairs of neighbouring sounds: {coverage.pairs} different ones; "
    if coverage.prompted:
        lines.append(f"{pairs}{coverage.pairs_lacking} of those in the sentences for recording are lacking")
    else:
        lines.append(f"{pairs}there are no sentences for recording in this language to compare them with")
    if coverage.suggestions:
        lines.append("Sentences worth recording next:")
        for suggestion in coverage.suggestions:
            adds = [f"{len(suggestion.pairs)} rare pairs"] if suggestion.pairs else []
            shown = " ".join(suggestion.sounds[:8]) + (" …" if len(suggestion.sounds) > 8 else "")
            adds += [f"rare sounds {shown}"] if shown else []
            lines.append(f"  {suggestion.text}  ({'; '.join(adds)})")
    return lines
