"""Progress lines and the choice of utterances to judge on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import pytest

from voicewright.corpus.split import held_out, spread
from voicewright.errors import UsageError
from voicewright.progress import Progress


@dataclass
class Named:
    id: str


@dataclass
class Held:
    """Stands for a corpus: only the ids are looked at."""

    utterances: list[Named]


CORPUS = cast(Any, Held([Named(f"{part}{number}") for part in "ab" for number in range(4)]))


def test_progress_off_a_terminal_is_at_most_ten_lines_a_stage(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress()
    for done in range(101):
        progress("clips", done, 100)
    progress("plain words")
    progress("aligner", 0.5)
    progress.close()
    caught = capsys.readouterr()
    lines = caught.err.splitlines()
    assert caught.out == "" and lines[0] == "clips: 0 of 100" and lines[10] == "clips: 100 of 100"
    assert lines[11:] == ["plain words", "aligner: 50%"]


def test_spread_is_even_and_in_order() -> None:
    names = [str(number) for number in range(10)]
    assert spread(names, None) == spread(names, 99) == names
    assert spread(names, 4) == ["0", "3", "6", "9"]
    assert len(set(spread(names, 9))) == 9 and spread(names, 1) == ["0"]


def test_held_out_by_pattern_by_card_or_all() -> None:
    def ids(card: dict[str, object], pattern: str | None = None) -> list[str]:
        return [item.id for item in held_out(CORPUS, card, pattern)[0]]

    card: dict[str, object] = {"recipe": {"split": {"test": "^b[01]$", "validation": "^b", "every": 20}}}
    assert ids({}, "3$") == ["a3", "b3"]
    assert ids(card) == ["b0", "b1"] and ids(card, "^a0") == ["a0"]
    assert ids({"recipe": {"split": {"test": "^zzz", "validation": "^b", "every": 20}}}) == [
        "b0",
        "b1",
        "b2",
        "b3",
    ]
    assert len(ids({})) == 8 and "may have seen" in held_out(CORPUS, {})[1]
    with pytest.raises(UsageError, match="regular expression"):
        held_out(CORPUS, {}, "(")


def test_held_out_first_asks_the_cards_list() -> None:
    card: dict[str, object] = {"recipe": {"split": {"validation": "^b", "every": 20}}}
    found, rule = held_out(CORPUS, card | {"held_out": ["a2", "b1", "gone"]})
    assert [item.id for item in found] == ["a2", "b1"] and "card" in rule
    found, rule = held_out(CORPUS, card | {"held_out": ["of another corpus"]})
    assert len(found) == 8 and "none of them" in rule
    assert [item.id for item in held_out(CORPUS, card | {"held_out": ["a2"]}, "3$")[0]] == ["a3", "b3"]
