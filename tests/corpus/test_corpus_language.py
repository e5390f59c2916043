"""Another language than was said is asked about; nothing is overwritten unasked."""

from __future__ import annotations

from pathlib import Path

import pytest
from sounds import Letters, speech, text

from voicewright.audio.files import write
from voicewright.cli import main
from voicewright.corpus.language import guess, settle
from voicewright.corpus.manifest import Corpus
from voicewright.corpus.prepare import prepare
from voicewright.errors import UsageError

SPOKEN = {
    "en": "The weather is fine today and we will go to the park with the children who like to play there.",
    "de": "Heute ist das Wetter schön und wir gehen mit den Kindern in den Park, weil sie dort gern spielen.",
    "nl": "Het is vandaag mooi weer en we gaan met de kinderen naar het park omdat ze daar graag spelen.",
    "fr": "Il fait beau ce matin et nous allons au parc avec les enfants, parce qu'ils y jouent volontiers.",
    "es": "Hoy hace buen tiempo y vamos al parque con los niños porque les gusta mucho jugar en la hierba.",
    "it": "Oggi il tempo è bello e andiamo al parco con i bambini perché a loro piace giocare sull'erba.",
    "pt": "Hoje o tempo está bom e vamos ao parque com as crianças porque elas gostam de brincar na relva.",
    "hi": "आज मौसम अच्छा है और हम बच्चों के साथ बगीचे में जा रहे हैं।",
    "ja": "今日は天気がいいので、子供たちと公園に行きます。",
    "zh": "今天天气很好，我们和孩子们一起去公园玩。",
    "sv": "Det är fint väder i dag och vi går till parken med barnen som vill leka där på gräset.",
    "pl": "Dzisiaj jest ładna pogoda i idziemy z dziećmi do parku, bo one lubią się tam bawić na trawie.",
    "ru": "Сегодня хорошая погода, и мы идём с детьми в парк.",
}


@pytest.mark.parametrize(("language", "line"), SPOKEN.items())
def test_languages_are_told_by_a_sentence(language: str, line: str) -> None:
    assert guess([line]) == language


def test_little_text_and_names_tell_nothing() -> None:
    assert guess([]) is None
    assert guess(["Goethe, Amsterdam, Rotterdam."]) is None
    assert guess([text(20.0)]) is None


def test_english_with_foreign_words_stays_english() -> None:
    line = "The café on the Königstraße was closed, so we went to the señor who sells the über good crêpes."
    assert guess([line] * 5) == "en"


def test_what_was_said_is_compared() -> None:
    here, out = Path("in"), Path("out")
    german = [SPOKEN["de"]] * 3
    assert settle("de", german, None, here, out) == ("de", "")
    assert settle("German", german, None, here, out)[0] == "German"
    assert settle("en-gb", [SPOKEN["en"]], None, here, out)[0] == "en-gb"
    assert settle("xx", [], None, here, out)[0] == "xx"
    assert settle(None, german, None, here, out)[0] == "de"
    assert "look German" in settle(None, german, None, here, out)[1]
    assert settle(None, [SPOKEN["en"]], None, here, out) == ("en-us", "")
    assert settle(None, [SPOKEN["pt"]], None, here, out)[0] == "pt-br"
    with pytest.raises(UsageError, match="look German, not American English: say --lang de"):
        settle("en-us", german, None, here, out)
    with pytest.raises(UsageError, match="holds a corpus in American English"):
        settle("de", german, "en-us", here, out)
    assert settle(None, ["Amsterdam."], "nl", here, out)[0] == "nl"


def _german(folder: Path) -> Path:
    folder.mkdir()
    words = [
        "heute",
        "ist",
        "das",
        "wetter",
        "und",
        "wir",
        "gehen",
        "mit",
        "den",
        "kindern",
        "in",
        "den",
        "park",
        "weil",
        "sie",
        "dort",
        "gern",
        "spielen",
    ]
    lines = []
    for number in range(4):
        write(folder / f"c{number}.wav", speech(1.5, number))
        lines.append(f"c{number}|{' '.join(words[4 * number : 4 * number + 4])}")
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n", "utf-8")
    return folder


def test_texts_of_another_language_leave_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = _german(tmp_path / "in"), tmp_path / "out"
    assert main(["prepare", str(source), "-o", str(out), "--lang", "en-us"]) == 2
    said = capsys.readouterr().err
    assert "look German" in said and "--no-check-language" in said and said.count("\n") == 1
    assert not out.exists()


def test_a_corpus_of_another_language_is_not_overwritten_unasked(tmp_path: Path) -> None:
    source, out = _german(tmp_path / "in"), tmp_path / "out"
    prepare(source, out, language="en-us", reader=Letters(), workers=1, check_language=False)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match="holds a corpus in American English"):
        prepare(source, out, language="de", reader=Letters(), workers=1)
    assert before == {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    prepare(source, out, language="de", reader=Letters(), workers=1, check_language=False)
    assert Corpus.read(out).meta.language == "de"


def test_without_a_word_the_texts_decide_and_it_is_said(tmp_path: Path) -> None:
    summary = prepare(_german(tmp_path / "in"), tmp_path / "out", reader=Letters(), workers=1)
    assert summary.language == "de"
    assert any("look German" in note for note in summary.notes)
