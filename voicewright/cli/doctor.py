"""`doctor`: what is installed and what is missing."""

from __future__ import annotations

import typer

from voicewright.cli.console import emit, table
from voicewright.cli.options import Json


def doctor(as_json: Json = False) -> None:
    """Say what is installed, what is missing, and what that means."""
    from voicewright.jobs.doctor import examine

    report = examine()
    if as_json:
        emit(report)
    else:
        table(report)
    if report["problems"]:
        raise typer.Exit(1)
