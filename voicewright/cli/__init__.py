"""The command line: one file a command, which parses, calls a job and prints."""

from __future__ import annotations

from voicewright.cli.root import app, main

__all__ = ["app", "main"]
