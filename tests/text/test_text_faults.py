"""A front end that fails at a stretch of a text loses that stretch's reading, and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from test_engine_models import write_small_model

from voicewright.cli import main
from voicewright.corpus.clips import ClipSettings, Limits, prepare_clip
from voicewright.corpus.sources import Item
from voicewright.engines import plan
from voicewright.engines.torch_engine import TorchEngine
from voicewright.errors import VoicewrightError
from voicewright.text.frontend import Frontend
from voicewright.text.pieces import Piece

Normalise = Callable[[str], list[Piece]]


def failing(front: Frontend, pattern: str, error: BaseException | None = None) -> Frontend:
    """The front end, made to fail at every text that holds the pattern."""
    inner = front._normalise

    def normalise(text: str) -> list[Piece]:
        if re.search(pattern, text):
            raise error or ValueError("no such number")
        return inner(text)

    front._normalise = normalise
    return front


TEXT = "It was late. The fair is on 12q05q24, they said!\n\nIt rained.\nThen 7 x99z came."


@pytest.mark.parametrize("language", ["en-us", "de", "ja", "zh"])
def test_a_fault_costs_one_word_and_is_reported_with_its_place(language: str) -> None:
    text = TEXT if language in ("en-us", "de") else "晴れ。雨 12q05q24 雪。\n\n x99z 風。"
    fine = Frontend(language).tokens(text)
    tokens = failing(Frontend(language), r"12q05|x9").tokens(text)
    assert [(fault.text, fault.place) for fault in tokens.faults] == [
        (word, text.index(word)) for word in (text[text.index("12q") :].split()[0], "x99z")
    ]
    assert "ValueError: no such number" in tokens.faults[0].reason
    left = [word.text for word in fine.words if not re.search(r"\d", word.text)]
    got = [word.text for word in tokens.words]
    assert set(left) - {"x99z"} <= set(got)
    assert re.sub(r"\D", "", "".join(got)) == re.sub(r"\D", "", text)
    assert tokens.ids == tuple(Frontend(language).ids(tokens.phonemes)) and fine.faults == ()


def test_a_fault_of_words_together_leaves_each_as_it_is() -> None:
    tokens = failing(Frontend(), r"rained\.\s+Then").tokens("It rained. Then it snowed. So what?")
    assert [word.text for word in tokens.words] == ["It", "rained", "Then", "it", "snowed", "So", "what"]
    assert [fault.place for fault in tokens.faults] == [0]


def test_what_cannot_be_read_even_by_letters_is_unknown() -> None:
    tokens = failing(Frontend(), r"[qz7]").tokens("a quiz on 7 cats")
    assert [word.text for word in tokens.words] == ["a", "ui", "on", "cats"]
    assert tokens.unknown == ("q", "z", "7")
    assert [fault.text for fault in tokens.faults] == ["quiz", "7"]


def test_chunks_report_their_own_faults() -> None:
    front = failing(Frontend(), r"x\dx")
    chunks = front.chunks("One x1x here.\n\nTwo here.\n\n  Three x2x and x3x.\n\nx4x")
    found = [(chunk.text[fault.place :].split()[0], fault.text) for chunk in chunks for fault in chunk.faults]
    assert found == [("x1x", "x1x"), ("x2x", "x2x"), ("x3x.", "x3x."), ("x4x", "x4x")]
    assert [len(chunk.faults) for chunk in chunks] == [1, 0, 2, 1]


@pytest.mark.parametrize(
    "error",
    [MemoryError(), KeyboardInterrupt(), VoicewrightError("no lexicon"), OSError("gone"), ImportError("x")],
)
def test_what_is_no_fault_of_the_text_passes_through(error: BaseException) -> None:
    with pytest.raises(type(error)):
        failing(Frontend(), "x", error).tokens("a x b")


def test_many_faults_stay_linear() -> None:
    tokens = failing(Frontend(), "x").tokens("x1 fine. " * 2000)
    assert len(tokens.faults) == 2000 and tokens.faults[-1].place == 9 * 1999


def test_speaking_tells_line_and_column() -> None:
    front = failing(Frontend(), "12-05")
    text = (
        "[rate:1.1]It was late.\n\n" + "It rained and rained. " * 90 + "\nThe fair is on 12-05-24, they said."
    )
    parts = list(plan.parts(text, lambda language, voice: front, lambda voice: None, early=True))
    (warning,) = [warning for part in parts for warning in part.warnings]
    assert warning.startswith("Line 4, column 16: the front end failed at '12-05-24,' (ValueError")


def test_say_goes_on_and_notes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = TorchEngine.frontend
    monkeypatch.setattr(TorchEngine, "frontend", lambda self, code: failing(made(self, code), "12-05"))
    folder, out = write_small_model(tmp_path / "small"), tmp_path / "a.wav"
    assert main(["say", "It is\n12-05-24 now.", "-o", str(out), "--model", str(folder), "--json"]) == 0
    said = capsys.readouterr()
    (warning,) = json.loads(said.out)["warnings"]
    assert warning.startswith("Line 2, column 1: the front end failed at '12-05-24'") and out.exists()
    assert f"warning: {warning}\n" in said.err


def test_a_training_text_with_a_fault_is_quarantined(tmp_path: Path) -> None:
    item = Item(id="a", source="a.wav", path=tmp_path / "a.wav", text="It is on 12-05-24 now.")
    outcome = prepare_clip(
        item, ClipSettings(tmp_path, "en-us", "anna", Limits()), failing(Frontend(), "12-05")
    )
    assert outcome.refusal is not None and outcome.refusal.reason == "misread"
    assert outcome.refusal.detail.startswith(
        "at character 10, the front end failed at '12-05-24' (ValueError"
    )
