"""The constants of time and width that every room shares: Kokoro's."""

from __future__ import annotations

SAMPLE_RATE = 24_000
"""Samples a second of every model and of all audio inside a corpus."""
HOP = 300
"""Samples between two values of F0, energy and mel (12.5 ms)."""
FRAME = 600
"""Samples in one duration frame (25 ms): durations count these."""
STYLE = 128
"""Width of each half of a voicepack row: acoustic first, prosodic second."""
