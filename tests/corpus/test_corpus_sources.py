"""What is found in a folder: layouts, pairs, odd and hostile lines."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from voicewright.corpus.sources import Item, discover, safe_id
from voicewright.errors import VoicewrightError


def recordings(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"RIFF")
    return folder


def found(folder: Path, **options: object) -> dict[str, Item]:
    return {item.id: item for item in discover(folder, **options).items}  # type: ignore[arg-type]


def reasons(folder: Path) -> Counter[str | None]:
    return Counter(item.reason for item in discover(folder).items)


@pytest.mark.parametrize("place", ["wavs", "flac", ".", "deep/er"])
def test_metadata_finds_audio_wherever_it_lies(tmp_path: Path, place: str) -> None:
    recordings(tmp_path, f"{place}/a.flac", f"{place}/b.wav")
    (tmp_path / "metadata.csv").write_text("a|One two.\nb.wav|Three.\n", "utf-8")
    items = found(tmp_path)
    assert {name: item.text for name, item in items.items()} == {"a": "One two.", "b": "Three."}


def test_normalised_column_is_what_was_read(tmp_path: Path) -> None:
    recordings(tmp_path, "wavs/a.wav", "wavs/b.wav")
    (tmp_path / "metadata.csv").write_text(
        "a|In 1999 it ended.|In nineteen ninety nine it ended.\nb|Yes.|Yes.\n"
    )
    assert found(tmp_path)["a"].text == "In nineteen ninety nine it ended."
    assert found(tmp_path)["a"].speaker is None


@pytest.mark.parametrize("line", ["{id}|{text}|{who}", "{id}|{who}|{text}"])
def test_speaker_column(tmp_path: Path, line: str) -> None:
    rows = [("a", "we went out early", "1688"), ("b", "there it is", "1688"), ("c", "not any more", "367")]
    recordings(tmp_path, *(f"{row[0]}.wav" for row in rows))
    lines = [line.format(id=name, text=text, who=who) for name, text, who in rows]
    (tmp_path / "metadata.csv").write_text("\n".join(lines))
    assert [(i.text, i.speaker) for i in found(tmp_path).values()] == [row[1:] for row in rows]


def test_header_line_and_commas(tmp_path: Path) -> None:
    recordings(tmp_path, "clips/a.wav")
    (tmp_path / "metadata.csv").write_text(
        'file_name,transcription,speaker_id\nclips/a.wav,"Well, yes.",Ann\n'
    )
    (item,) = discover(tmp_path).items
    assert (item.id, item.text, item.speaker) == ("clips-a-" + item.id[-8:], "Well, yes.", "Ann")


def test_texts_beside_recordings(tmp_path: Path) -> None:
    recordings(tmp_path, "x/a.wav", "y/a.mp3", "c.WAV")
    (tmp_path / "x/a.txt").write_text("One\n two.\n")
    (tmp_path / "y/a.lab").write_text("Three.")
    (tmp_path / "c.txt").write_text("Four.")
    (tmp_path / "LICENSE.txt").write_text("Do what you like.")
    assert {item.source: item.text for item in discover(tmp_path).items} == {
        "x/a.wav": "One two.",
        "y/a.mp3": "Three.",
        "c.WAV": "Four.",
    }


def test_each_side_alone_is_counted(tmp_path: Path) -> None:
    recordings(tmp_path, "a.wav", "b.wav")
    (tmp_path / "a.txt").write_text("One.")
    (tmp_path / "z.txt").write_text("Nobody said this.")
    assert reasons(tmp_path) == {None: 1, "no_text": 1, "no_audio": 1}
    (tmp_path / "metadata.csv").write_text("a|One.\nq|Two.\n")
    assert reasons(tmp_path) == {None: 1, "no_text": 1, "no_audio": 1}


def test_recordings_alone_are_for_transcribing(tmp_path: Path) -> None:
    recordings(tmp_path, "talk.mp3", "more/talk.mp3")
    (tmp_path / "README.txt").write_text("Two talks.")
    sources = discover(tmp_path)
    assert not sources.items
    assert [item.id[:4] for item in sources.untranscribed] == ["more", "talk"]
    assert [item.reason for item in discover(tmp_path, transcribe="never").items] == ["no_text"] * 2
    assert len(discover(tmp_path / "talk.mp3").untranscribed) == 1


def test_orphans_are_transcribed_on_demand(tmp_path: Path) -> None:
    recordings(tmp_path, "a.wav", "b.wav")
    (tmp_path / "metadata.csv").write_text("a|One.\n")
    sources = discover(tmp_path, transcribe="always")
    assert [item.id for item in sources.items] == ["a"]
    assert [item.id for item in sources.untranscribed] == ["b"]


def test_identical_lines_keep_the_first_contradicting_ones_none(tmp_path: Path) -> None:
    recordings(tmp_path, "a.wav", "b.wav", "c.wav")
    (tmp_path / "metadata.csv").write_text("a|One.\na|One.\nb|Two.\nb|Three.\nc|Four.\n")
    items = discover(tmp_path).items
    assert [item.reason for item in items] == [None, "duplicate_id", "duplicate_id", "duplicate_id", None]


def test_bytes_that_are_not_utf8_cost_their_line_only(tmp_path: Path) -> None:
    recordings(tmp_path, "a.wav", "b.wav")
    (tmp_path / "metadata.csv").write_bytes(b"a|One.\nb|Caf\xe9.\n")
    items = found(tmp_path)
    assert items["a"].reason is None
    assert items["b"].reason == "non_utf8"
    assert "metadata.csv:2" in items["b"].detail
    (tmp_path / "metadata.csv").unlink()
    (tmp_path / "a.txt").write_bytes(b"Caf\xe9.")
    (tmp_path / "b.txt").write_bytes("Café.".encode("utf-8-sig"))
    assert found(tmp_path)["a"].reason == "non_utf8"
    assert found(tmp_path)["b"].text == "Café."


def test_utf16_and_byte_order_marks(tmp_path: Path) -> None:
    recordings(tmp_path, "a.wav")
    for encoding in ("utf-16", "utf-8-sig"):
        (tmp_path / "metadata.csv").write_bytes("a|Café.\r\n".encode(encoding))
        assert found(tmp_path)["a"].text == "Café."


def test_ids_cannot_leave_the_folder(tmp_path: Path) -> None:
    recordings(tmp_path, "secret.wav", "set/wavs/a.wav")
    ids = ["../secret", "../../secret.wav", str(tmp_path / "secret"), "..\\secret", "wavs/../../secret", "a"]
    (tmp_path / "set/metadata.csv").write_text("".join(f"{name}|Text.\n" for name in ids))
    items = discover(tmp_path / "set").items
    assert [item.reason for item in items] == ["unsafe_id"] * 5 + [None]
    assert [item.path for item in items[:5]] == [None] * 5


@pytest.mark.parametrize("name", ["a b", "ä/ö", "../../x", ".hidden", "", "con|x", "a" * 300])
def test_safe_ids_are_file_names(name: str) -> None:
    plain = safe_id(name)
    assert plain and "/" not in plain and not plain.startswith(".") and len(plain) < 120
    assert safe_id(name) == plain != safe_id(name + "!")


def test_rows_that_are_no_rows(tmp_path: Path) -> None:
    recordings(tmp_path, "a.wav", "b.wav")
    (tmp_path / "metadata.csv").write_text("a|One.\n\njust words\nb|\n|No id.\n")
    items = discover(tmp_path).items
    assert [item.reason for item in items] == [None, "bad_row", "no_text", "bad_row"]


def test_output_inside_the_source_is_left_alone(tmp_path: Path) -> None:
    recordings(tmp_path, "a.wav", "corpus/audio/a.flac", ".hidden/b.wav", "._a.wav")
    assert len(discover(tmp_path, tmp_path / "corpus").untranscribed) == 1


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(VoicewrightError, match="neither recordings nor texts"):
        discover(tmp_path)
    with pytest.raises(VoicewrightError, match="does not exist"):
        discover(tmp_path / "none")
