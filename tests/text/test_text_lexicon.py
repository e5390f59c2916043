"""A user's own pronunciations."""

from pathlib import Path

import pytest

from voicewright.errors import VoicewrightError
from voicewright.text.frontend import Frontend
from voicewright.text.lexicon import Lexicon
from voicewright.text.vocab import KOKORO


def write(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "words.tsv"
    path.write_bytes(text.encode(encoding))
    return path


def test_tabs_commas_slashes_comments_and_a_byte_order_mark(tmp_path):
    path = write(tmp_path, "\ufeff# mine\n\nKokoro\tkˈOkəɹO\r\nnginx,/ˈɛnʤɪnˈɛks/\n")
    lexicon = Lexicon.read(path, KOKORO)
    assert len(lexicon) == 2
    assert lexicon.get("Kokoro") == "kˈOkəɹO"
    assert lexicon.get("nginx") == "ˈɛnʤɪnˈɛks"
    assert lexicon.get("apache") is None


def test_lower_case_is_for_any_case_and_capitals_only_for_themselves(tmp_path):
    lexicon = Lexicon.read(write(tmp_path, "polish\tpˈɑlɪʃ\nPolish\tpˈOlɪʃ\nNASA\tnˈæsə\n"), KOKORO)
    assert lexicon.get("polish") == lexicon.get("POLISH") == "pˈɑlɪʃ"
    assert lexicon.get("Polish") == "pˈOlɪʃ"
    assert lexicon.get("nasa") is None
    assert "NASA" in lexicon
    assert "Nasa" not in lexicon


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("word only", "expected a word"),
        ("word\t", "expected a word"),
        ("\tə", "expected a word"),
        ("two words\tə", "more than one word"),
        ("word\tə1", "'1'"),
        ("word\tABC", "'B'"),
    ],
)
def test_an_error_names_file_and_line(tmp_path, line, complaint):
    path = write(tmp_path, f"fine\tfˈIn\n{line}\n")
    with pytest.raises(VoicewrightError) as caught:
        Lexicon.read(path, KOKORO)
    assert str(path) in str(caught.value)
    assert "line 2" in str(caught.value)
    assert complaint in str(caught.value)


def test_contradicting_lines_missing_and_misencoded_files(tmp_path):
    with pytest.raises(VoicewrightError, match=r"line 2.*other phonemes"):
        Lexicon.read(write(tmp_path, "a\tə\na\tA\n"), KOKORO)
    assert len(Lexicon.read(write(tmp_path, "a\tə\na\tə\n"), KOKORO)) == 1
    with pytest.raises(VoicewrightError, match="not UTF-8"):
        Lexicon.read(write(tmp_path, "café\tkæf\n", "latin-1"), KOKORO)
    with pytest.raises(VoicewrightError, match="cannot be read"):
        Lexicon.read(tmp_path / "none.tsv", KOKORO)


def test_the_front_end_uses_it_before_everything_else(tmp_path):
    path = write(tmp_path, "tomato\ttəmˈɑtO\nC++\tsˈiplˌʌs\nDr\tdˈɑk\nGPT-4\tʤˌipˌitˈifˌɔɹ\n.NET\tdˈɑtnˌɛt\n")
    frontend = Frontend("en-us", lexicon=path)
    tokens = frontend.tokens("Tomato, TOMATO's C++ and Dr. GPT-4 (.NET)")
    heard = {word.text: tokens.phonemes[word.start : word.stop] for word in tokens.words}
    assert heard["Tomato"] == "təmˈɑtO"
    assert heard["TOMATO's"] == "təmˈɑtOz"
    assert heard["C++"] == "sˈiplˌʌs"
    assert heard["Dr"] == "dˈɑk"
    assert heard["GPT-4"] == "ʤˌipˌitˈifˌɔɹ"
    assert heard[".NET"] == "dˈɑtnˌɛt"
    assert tokens.unknown == ()


def test_it_does_not_touch_other_front_ends(tmp_path):
    Frontend("en-us", lexicon=write(tmp_path, "tomato\ttəmˈɑtO\n")).tokens("tomato")
    assert Frontend("en-us").tokens("tomato").phonemes != "təmˈɑtO"
