"""Every row of the tables of written texts in `tests/support/cases/`, kind by kind."""

from __future__ import annotations

import pytest
from reading_cases import FOLDER, Case, cases, problem

_TABLES = sorted(path.stem for path in FOLDER.glob("*.tsv"))


def _kinds() -> list[tuple[str, str]]:
    return [(name, kind) for name in _TABLES for kind in dict.fromkeys(case.kind for case in cases(name))]


def _rows(name: str, kind: str) -> list[Case]:
    return [case for case in cases(name) if case.kind == kind]


@pytest.mark.parametrize(("name", "kind"), _kinds())
def test_readings(name: str, kind: str) -> None:
    rows = _rows(name, kind)
    wrong = list(filter(None, map(problem, rows)))
    assert not wrong, f"{len(wrong)} of {len(rows)} are read wrongly:\n" + "\n".join(wrong)
