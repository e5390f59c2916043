"""Which row of a voicepack a text uses: the tools differ, and this is where they are reconciled.

A text of n tokens, pads not counted, is spoken with one row. What the tools pick (read in their sources):

| tool                         | rows | row for n tokens | at n = 510         |
|------------------------------|------|------------------|--------------------|
| kokoro (Python), FastAPI     | 510  | n − 1 (*)        | 509                |
| kokoro-onnx from 0.6         | 510  | min(n, rows) − 1 | 509                |
| kokoro-onnx up to 0.5        | 510  | n                | IndexError         |
| kokoro.js                    | 510  | min(n, 509)      | 509                |
| sherpa-onnx                  | any  | n                | ends the programme |
| Kokoro 0.19's own code       | 511  | n                | 510                |

(*) it counts characters of the phoneme string before those outside the vocabulary are dropped, so that a
text with unknown symbols gets a later row there than anywhere else.

Where `n` comes from: packs of Kokoro 0.19 have 511 rows, row 0 for no token at all. Those of 1.0 lost
that first row, and tools that still count from n read one row further than the pack was made for. That
is audible in short texts if anywhere (`docs/voices.md` has the distances), and at 510 tokens it fails.

Voicewright: 510 rows, row n − 1, held within the table. A file of 511 rows loses its row 0 on reading,
so that n tokens get the row that 0.19 would take. `with_row_zero` is the way back: a file of 511 rows
whose row n is our row n − 1, right for the tools that count from n, and safe for them at 510.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from voicewright.units import STYLE

ROWS = 510
"""Rows of a voicepack: the longest text has 510 tokens."""
OLD_ROWS = ROWS + 1
"""Rows in files of Kokoro 0.19."""
WIDTH = 2 * STYLE
SHORT = 20
"""Texts under so many tokens use rows that lie far from all others, in every public pack."""

Array: TypeAlias = NDArray[np.float32]
Tool: TypeAlias = Literal[
    "kokoro", "kokoro-onnx", "kokoro-onnx-0.5", "kokoro.js", "sherpa-onnx", "kokoro-0.19"
]


def row(tokens: int, rows: int = ROWS) -> int:
    """Our row for a text of `tokens` tokens (pads not counted), clamped to the table."""
    return min(max(tokens - 1, 0), rows - 1)


def tool_row(tool: Tool, tokens: int, rows: int) -> int | None:
    """The row that `tool` takes from a file of `rows` rows for 1 to 510 tokens; None where it fails."""
    if tool == "kokoro":
        wanted = tokens - 1
    elif tool == "kokoro-onnx":
        wanted = min(tokens, rows) - 1
    elif tool == "kokoro.js":
        wanted = min(tokens, ROWS - 1)
    else:
        wanted = tokens
    return wanted if wanted < rows else None


def without_row_zero(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """[511, …] → [510, …]: the row for no tokens goes; anything else is returned as it is."""
    return values[1:] if values.shape[0] == OLD_ROWS else values


def with_row_zero(rows: Array) -> Array:
    """[510, …] → [511, …] for tools that count from n: the first row stands twice."""
    return np.concatenate([rows[:1], rows])
