"""Inline markup: what is read, what is refused and where, and that it takes linear time."""

from __future__ import annotations

import time

import pytest

from voicewright.text.markup import Stretch, plain, stretches


def told(text: str) -> list[tuple[str, str | None, str | None, float, float]]:
    return [(s.text, s.language, s.voice, s.rate, s.pause) for s in stretches(text)]


def problems(text: str) -> list[str]:
    return [str(problem) for stretch in stretches(text) for problem in stretch.problems]


def test_every_tag_and_its_end() -> None:
    assert told("A [pause:1.5s]B [rate:1.1]C[/rate] D [voice:x]E[/voice] F") == [
        ("A ", None, None, 1.0, 0.0),
        ("B ", None, None, 1.0, 1.5),
        ("C", None, None, 1.1, 0.0),
        (" D ", None, None, 1.0, 0.0),
        ("E", None, "x", 1.0, 0.0),
        (" F", None, None, 1.0, 0.0),
    ]
    assert told("a[lang:fr]b[lang:de]c[/lang]d") == [
        ("a", None, None, 1.0, 0.0),
        ("b", "fr", None, 1.0, 0.0),
        ("c", "de", None, 1.0, 0.0),
        ("d", None, None, 1.0, 0.0),
    ]


@pytest.mark.parametrize(
    ("tag", "seconds"),
    [("[pause:200ms]", 0.2), ("[PAUSE: .5 s]", 0.5), ("[pause:2s][pause:1s]", 3.0), ("[pause:0s]", 0.0)],
)
def test_pauses_in_both_units_add_up(tag: str, seconds: float) -> None:
    assert sum(stretch.pause for stretch in stretches(f"Hello {tag} world")) == pytest.approx(seconds)
    assert problems(f"Hello {tag} world") == []


def test_a_pause_at_the_end_is_kept() -> None:
    assert told("A.[pause:2s]")[-1] == ("", None, None, 1.0, 2.0)


def test_mixed_voices_are_names_too() -> None:
    assert [s.voice for s in stretches("[voice:af_bella(2)+af_sky(1)]Hi")] == ["af_bella(2)+af_sky(1)"]


def test_places_lead_back_to_the_written_text() -> None:
    text = "One [rate:2]two\n[lang:fr]trois[/lang][foo:bar] four [pause:1s]"
    for stretch in stretches(text):
        assert text[stretch.start : stretch.start + len(stretch.text)] == stretch.text


@pytest.mark.parametrize(
    "text",
    [
        "See [Kokoro](/kˈOkəɹO/) and [lang:fr](/x/).",
        "A [link](https://example.org/a).",
        "It was [sic] cold [note: very] at [10:30] in [https://example.org].",
        "He [pauses] and [voices] it; a[0] and [/] stay.",
    ],
)
def test_what_is_no_tag_stays(text: str) -> None:
    assert list(stretches(text)) == [Stretch(text, 0)]


@pytest.mark.parametrize(
    ("tag", "reason"),
    [
        ("[pause:soon]", "is no pause"),
        ("[pause:61s]", "is no pause"),
        ("[pause:5]", "is no pause"),
        ("[pause:-1s]", "is no pause"),
        ("[pause]", "lacks its value"),
        ("[/pause]", "has no end"),
        ("[rate:9]", "is no rate"),
        ("[rate:nan]", "is no rate"),
        ("[rate:0]", "is no rate"),
        ("[/rate]", "closes nothing"),
        ("[/voice]", "closes nothing"),
        ("[/lang:fr]", "no value"),
        ("[voice:]", "lacks its value"),
        ("[foo:bar]", "is unknown"),
        ("[/foo]", "is unknown"),
    ],
)
def test_wrong_tags_are_reported_with_their_place_and_not_spoken(tag: str, reason: str) -> None:
    text = f"First line.\nThen {tag} more."
    (found,) = problems(text)
    assert found.startswith(f"Line 2, column 6: {tag} ") and reason in found
    assert "".join(stretch.text for stretch in stretches(text)) == "First line.\nThen  more."


def test_an_unclosed_tag_is_reported() -> None:
    (found,) = problems("Wait [pause:5s and go on.")
    assert "no closing bracket" in found
    assert "".join(s.text for s in stretches("Wait [pause:5s and go on.")) == "Wait  and go on."


def test_switched_off_everything_is_text() -> None:
    assert list(plain("A [pause:1s] B")) == [Stretch("A [pause:1s] B", 0)]


def test_the_first_stretch_comes_before_the_rest_is_read() -> None:
    began = time.process_time()
    first = next(stretches("One. [pause:1s]" + "x [rate:1.1]" * 200_000))
    assert first.text == "One. " and time.process_time() - began < 0.2


@pytest.mark.parametrize(
    "unit", ["[rate:", "[", "[pause:1s]", "[foo:bar]\n", "[/lang]", "[lang:fr]a", "[[[:"]
)
def test_time_is_linear(unit: str) -> None:
    def cost(times: int) -> float:
        text = unit * times
        best = float("inf")
        for _ in range(3):
            began = time.process_time()
            for _ in stretches(text):
                pass
            best = min(best, time.process_time() - began)
        return best

    small, large = cost(2_000), cost(20_000)
    assert large < 30 * max(small, 0.002)
