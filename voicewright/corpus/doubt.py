"""Which clips hold another text than was said? Judged against the rest of the corpus, not by a fixed limit.

An aligner says how much better a recording fits its own text than texts of other clips (the *margin*).
Right texts lie close together, far above 0; a text of another recording lies about 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

ENOUGH = 20
"""Clips from which on an aligner can tell."""
_OWN = 8
"""Clips of one speaker that are judged by themselves."""
_LEAST = 0.4
_SIGMAS = 3.5
"""A clip is doubtful below this share of the usual margin, and this many deviations below the usual."""
_WIDEST = 0.5
"""Where shares deviate by more than this, the aligner has learnt nothing: 0.12 in 10 minutes of one voice."""
_TEACHES = 0.70
"""Below this share of the usual margin a clip had better not teach."""
_MOST = 0.2
"""Share of a corpus that may be kept from teaching."""


def suspects(margins: Sequence[float | None], speakers: Sequence[str]) -> list[bool]:
    """Clips [N] that stand out so far that an aligner is better taught without them."""
    shares = relative(margins, speakers)
    limit = max(0.0, min(_TEACHES, float(np.quantile(shares, _MOST)) if len(shares) else 0.0))
    return [bool(share < limit) for share in shares]


def doubts(margins: Sequence[float | None], speakers: Sequence[str]) -> list[str] | None:
    """Why each clip's text is probably not what was said [N]; empty where nothing speaks against it.

    None where the aligner cannot tell: too few clips, or clips that it could not learn.
    """
    if sum(margin is not None for margin in margins) < ENOUGH:
        return None
    shares = relative(margins, speakers)
    spread = 1.4826 * float(np.median(np.abs(shares - 1.0)))
    if spread > _WIDEST:
        return None
    limit = min(_LEAST, 1.0 - _SIGMAS * spread)
    return [
        f"the recording fits its text hardly better than texts of other clips: {max(share, 0.0):.0%} of the "
        f"usual lead over them, at least {limit:.0%} is asked"
        if share < limit
        else ""
        for share in shares.tolist()
    ]


def relative(margins: Sequence[float | None], speakers: Sequence[str]) -> npt.NDArray[np.float64]:
    """Each margin as a share of what is usual for its speaker, or for the corpus where he has few clips.

    1 where there is no margin, and everywhere in a corpus of fewer than ENOUGH clips.
    """
    values = np.array([np.nan if margin is None else margin for margin in margins], np.float64)
    out = np.ones(len(values))
    known = np.isfinite(values)
    if known.sum() < ENOUGH:
        return out
    names = np.array(speakers)
    common = float(np.median(values[known]))
    for name in dict.fromkeys(speakers):
        own = known & (names == name)
        usual = float(np.median(values[own])) if own.sum() >= _OWN else common
        out[own] = values[own] / max(usual, 1e-3)
    return out
