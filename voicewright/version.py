"""The version, which tells nothing else to be loaded."""

from __future__ import annotations

__version__ = "0.1.0"
