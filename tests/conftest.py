"""Figures that tests measure are printed at the end of a run, from parallel workers too."""

from __future__ import annotations

from collections.abc import Callable

import pytest

FIGURE = "figure"


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Notes a measured figure for the end of the run."""
    return lambda text: record_property(FIGURE, text)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    said = [
        str(text)
        for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
        for name, text in getattr(report, "user_properties", [])
        if name == FIGURE and report.when == "call"
    ]
    if said:
        terminalreporter.section("figures")
        for text in said:
            terminalreporter.write_line(text)
