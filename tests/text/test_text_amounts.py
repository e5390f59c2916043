"""Figures and marks in any mixture: nothing raises, nothing is lost, nothing is read twice."""

import random
from itertools import pairwise

import pytest

from voicewright.text.english.normalise import normaliser
from voicewright.text.pieces import Kind

US, GB = normaliser(False), normaliser(True)
_SIGNS = [
    "-",
    "–",
    "—",
    "−",
    ".",
    ",",
    "/",
    " ",
    "+",
    "(",
    ")",
    ":",
    "'",
    "_",
    "=",
    "<",
    "x",
    "%",
    "°",
    "′",
    "″",
]
_MORE = "$ € ¥ US$ k M bn m km/h ² ⁻³ ₂ ½ ⅐ ⅟ ① ➓ ⓿ am PM p.m. No. th s Jan T Z # ♯ != /day ㎡ № h a ٣ １"


def _mixtures(seed: int, count: int) -> list[str]:
    """Texts of 3 to 20 parts, two of three of them figures."""
    rng = random.Random(seed)
    texts = []
    for _ in range(count):
        signs = _SIGNS[: rng.choice((1, 9, 21))] + (_MORE.split() if rng.random() < 0.4 else [])
        parts = [
            str(rng.randrange(10)) if rng.random() < 0.66 else rng.choice(signs)
            for _ in range(rng.randint(3, 20))
        ]
        texts.append("".join(parts))
    return texts


@pytest.mark.parametrize("normalise", [US, GB], ids=["en-us", "en-gb"])
def test_any_mixture_of_figures_and_marks_is_read(normalise) -> None:
    for text in _mixtures(seed=7, count=3000):
        for line in (text, f"It is {text}. Then"):
            try:
                pieces = normalise(line)
            except Exception as error:
                pytest.fail(f"{line!r} stops with {type(error).__name__}: {error}")
            assert all(a.stop <= b.start for a, b in pairwise(pieces)), line
            assert all(p.start < p.stop for p in pieces), line
            covered = {i for p in pieces for i in range(p.start, p.stop)}
            lost = {c for i, c in enumerate(line) if i not in covered and c.isdecimal()}
            assert not lost, (line, lost)


@pytest.mark.parametrize("length", range(3, 21))
def test_figures_with_hyphens_of_every_length(length: int) -> None:
    rng = random.Random(length)
    for _ in range(200):
        text = "".join(rng.choice("0123456789-") for _ in range(length))
        assert any(p.kind is Kind.WORD for p in US(f"Number 5{text} ends.")), text


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("9:30PM", ["9:30PM"]),
        ("2.5M users", ["2.5M", "users"]),
        ("$2.5 million", ["$2.5", "million"]),
        ("10 km", ["10", "km"]),
        ("9am–5pm", ["9am–5pm"]),
        ("1 1/2 tsp", ["1", "1/2", "tsp"]),
        ("10m x 5m", ["10m", "x", "5m"]),
        ("5:30 p.m. today", ["5:30", "p.m.", "today"]),
        ("$1/day", ["$1/day"]),
        ("6.02×10²³", ["6.02×10²³"]),
        ("40°26′46″N", ["40°26′46″N"]),
    ],
)
def test_a_written_word_is_one_piece(written: str, spoken: list[str]) -> None:
    pieces = [p for p in US(written) if p.kind is Kind.WORD]
    assert [written[p.start : p.stop] for p in pieces] == spoken
