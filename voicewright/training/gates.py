"""What a judgement may lose against the first one before a run goes back to its last healthy state."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MOST_RETURNS = 5
"""So many times a run goes back, each time at half the rate; then it ends with the best that was heard."""


@dataclass(frozen=True)
class Gate:
    """One figure of a verdict. `falls`: whether it is worse when it falls; `most`: by how much it may get
    worse than it was at first (with `still`: than nothing); `what`: the sentence's words for it; `enough`: a
    figure that is as good as it need be (the recordings' own), however much better the first one was."""

    figure: str
    most: float
    what: str
    falls: bool = False
    still: bool = False
    enough: str = ""


def lost(verdict: Mapping[str, float], first: Mapping[str, float], gates: Sequence[Gate]) -> str | None:
    """What of a verdict is beyond its gate, as words for a sentence; None for a healthy one.

    Figures that a verdict or the first one lacks are not looked at: nobody here can hear them.
    """
    broken = [name for name, value in verdict.items() if not math.isfinite(value)]
    if broken:
        return f"{', '.join(broken)} came out as no number"
    found = []
    for gate in gates:
        if gate.figure not in verdict or not (gate.still or gate.figure in first):
            continue
        before = 0.0 if gate.still else first[gate.figure]
        now = verdict[gate.figure]
        enough = verdict.get(gate.enough, math.nan)
        if now >= enough if gate.falls else now <= enough:
            continue
        if (before - now if gate.falls else now - before) > gate.most + 1e-9:
            came = f"{now:.3f}" if gate.still else f"from {before:.3f} to {now:.3f}"
            found.append(f"{gate.what} ({came}, at most {gate.most:g} is let pass)")
    return " and ".join(found) or None
