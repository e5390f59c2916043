"""The best monotonic path of tokens through frames, for many clips at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


def best_paths(enter: Floats, stay: Floats, tokens: Ints, frames: Ints) -> tuple[Ints, Floats]:
    """Viterbi search in which every token is visited in order and owns at least one frame.

    enter, stay [B, F, T]: score of frame f when it is token t's first, or a later one. tokens, frames [B]:
    true sizes, tokens <= frames. Returns durations [B, T] (0 beyond a clip's tokens; each row sums to its
    frames) and the score of each path [B], -inf where the scores allow no path.
    """
    batch, longest, width = enter.shape
    rows = np.arange(batch)
    score = np.full((batch, width), -np.inf, np.float32)
    score[:, 0] = enter[:, 0, 0]
    moved = np.zeros((longest, batch, width), bool)
    final = np.full(batch, -np.inf, np.float32)
    for f in range(longest):
        if f:
            stayed = score + stay[:, f]
            entered = np.full_like(score, -np.inf)
            entered[:, 1:] = score[:, :-1]
            entered += enter[:, f]
            moved[f] = entered > stayed
            score = np.maximum(stayed, entered)
        ending = frames - 1 == f
        final[ending] = score[ending, tokens[ending] - 1]
    durations = np.zeros((batch, width), np.int64)
    at = tokens - 1
    for f in range(longest - 1, -1, -1):
        inside = f < frames
        durations[rows[inside], at[inside]] += 1
        at = at - (inside & moved[f, rows, at])
    return durations, final
