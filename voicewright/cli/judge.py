"""`judge`."""

from __future__ import annotations

from voicewright.judge.result import Judgement


def judgement_lines(result: Judgement) -> list[str]:
    """The summary as text: each measure beside the recordings' own."""
    rows = []
    for line in result.summary:
        figures = [
            f"{name} {estimate.value:.{line.digits}f}{line.unit and ' ' + line.unit}"
            for name, estimate in (
                ("speech", line.synthesised),
                ("recordings", line.recordings),
                ("copy-synthesis", line.copy_synthesis),
            )
            if estimate is not None
        ]
        aim = f"  [aim {line.aim}: {'met' if line.met else 'not met'}]" if line.aim else ""
        rows.append(f"{line.label}: {', '.join(figures)}{aim}")
    return rows + [f"note: {note}" for note in result.notes]
