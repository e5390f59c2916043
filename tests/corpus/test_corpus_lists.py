"""Folders that people bring, from `cases/lists.toml`: which text belongs to which recording."""

from __future__ import annotations

import csv
import random
import re
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from voicewright.corpus.sources import discover
from voicewright.errors import VoicewrightError

TABLE = Path(__file__).parents[1] / "support" / "cases" / "lists.toml"
CASES = tomllib.loads(TABLE.read_text("utf-8"))["case"]


def lay_out(case: dict[str, Any], root: Path) -> Path:
    """The folder of a case."""
    root.mkdir()
    for name in case.get("recordings", []):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"RIFF\x24\x00\x00\x00WAVEfmt ")
    for name, text in case.get("files", {}).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.replace("{root}", str(root)).encode(case.get("encoding", "utf-8")))
    for name, target in case.get("links", {}).items():
        (root / name).symlink_to(target, target_is_directory=True)
    return root / case["source"] if "source" in case else root


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['kind']}: {case['name']}")
def test_lists(tmp_path: Path, case: dict[str, Any]) -> None:
    source = lay_out(case, tmp_path / "set")
    if "stops" in case:
        with pytest.raises(VoicewrightError, match=case["stops"]):
            discover(source)
        return
    sources = discover(source, **case.get("options", {}))
    taken = [item for item in sources.items if item.reason is None]
    assert {item.source: item.text for item in taken} == case.get("right", {})
    refused = {item.source: item.reason for item in sources.items if item.reason}
    assert Counter(item.reason for item in sources.items if item.reason) == case.get("refused", {}), refused
    assert all(item.detail for item in sources.items if item.reason)
    assert len(sources.untranscribed) == case.get("open", 0)
    by_source = {item.source: item for item in taken}
    for name, speaker in case.get("speakers", {}).items():
        assert (by_source[name].speaker or "") == speaker
    for name, language in case.get("languages", {}).items():
        assert by_source[name].language == language
    assert re.search(case.get("notes", ""), "\n".join(getattr(sources, "notes", [])))


TEXTS = [
    "Well, yes; and no.",
    'He said "no, never", twice.',
    "It's late, isn't it?",
    "One | two.",
    "A colon: then words.",
    "Plain words",
    '"Quoted," she said.',
    "Tabs are\trare.",
    "Fish & chips, $5 = five dollars",
    "1999",
]
DIALECTS = [
    ({"delimiter": delimiter, "quoting": quoting, **more}, columns, header)
    for delimiter in ",;\t|"
    for quoting, more in [
        (csv.QUOTE_MINIMAL, {}),
        (csv.QUOTE_ALL, {}),
        (csv.QUOTE_NONNUMERIC, {}),
        (csv.QUOTE_ALL, {"quotechar": "'"}),
        (csv.QUOTE_MINIMAL, {"doublequote": False, "escapechar": "\\"}),
        (csv.QUOTE_NONE, {"escapechar": "\\", "quotechar": None}),
    ]
    for columns in [
        "id text",
        "id text speaker",
        "id speaker text",
        "id speaker language text",
        "speaker id text",
    ]
    for header in (False, True)
]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_whatever_a_table_is_written_with_is_read_back(tmp_path: Path, end: str) -> None:
    """Every way in which Python's csv (and so pandas) writes a table gives the same texts, whole."""
    names = [f"c{number:02d}" for number in range(len(TEXTS))]
    for name in names:
        (tmp_path / f"{name}.wav").write_bytes(b"RIFF")
    wrong = []
    for options, columns, header in DIALECTS:
        rows = [columns.split()] if header else []
        for number, (name, text) in enumerate(zip(names, TEXTS, strict=True)):
            cells = {
                "id": f"{name}.wav",
                "text": text,
                "language": "en",
                "speaker": ["ann", "bo"][number % 2],
            }
            rows.append([cells[column] for column in columns.split()])
        with (tmp_path / "data.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator=end, **options).writerows(rows)
        try:
            items = discover(tmp_path).items
        except VoicewrightError as error:
            wrong.append((options, columns, header, str(error)))
            continue
        read = {item.source: (item.text, item.speaker) for item in items}
        speakers = "speaker" in columns
        right = {
            f"{name}.wav": (text, ["ann", "bo"][number % 2] if speakers else None)
            for number, (name, text) in enumerate(zip(names, TEXTS, strict=True))
        }
        if read != right:
            wrong.append(
                (options, columns, header, [(k, read.get(k)) for k in right if read.get(k) != right[k]])
            )
    assert not wrong, f"{len(wrong)} of {len(DIALECTS)}: {wrong[:6]}"


def test_no_bytes_stop_a_list_with_anything_but_a_sentence(tmp_path: Path) -> None:
    """Broken lists: each recording has one outcome, and whatever is raised is a sentence."""
    rng = random.Random(19)
    pieces = [
        "a1",
        "A2.wav",
        "wavs/a3.wav",
        "|",
        ",",
        ";",
        "\t",
        '"',
        "'",
        "\\",
        "\n",
        "\r\n",
        "{",
        "}",
        "[",
        "]",
    ]
    pieces += [
        "file",
        "text",
        "speaker",
        "Some words.",
        " ",
        ":",
        "é",
        "ˈ",
        "\x00",
        "\ud800",
        "..",
        "/",
        "0",
        "en",
        "(",
        ")",
    ]
    for round_ in range(300):
        root = tmp_path / str(round_)
        (root / "wavs").mkdir(parents=True)
        for name in ("a1.wav", "a2.wav", "wavs/a3.wav"):
            (root / name).write_bytes(b"RIFF")
        text = "".join(rng.choices(pieces, k=rng.randrange(60)))
        name = rng.choice(["metadata.csv", "list.txt", "data.json", "a1.txt", "x.list", "train"])
        data = text.encode(rng.choice(["utf-8", "utf-16", "latin-1"]), "replace")
        (root / name).write_bytes(data + rng.randbytes(rng.choice([0, 0, 3])))
        try:
            sources = discover(root)
        except VoicewrightError:
            continue
        paths = [item.path for item in (*sources.items, *sources.untranscribed) if item.reason is None]
        assert len(paths) == len(set(paths))
        named = {item.path for item in (*sources.items, *sources.untranscribed)}
        assert named >= {root / "a1.wav", root / "a2.wav", root / "wavs/a3.wav"}
        assert len({item.id for item in sources.items if item.reason is None}) == len(
            [item for item in sources.items if item.reason is None]
        )


def test_a_link_that_leads_up_from_a_linked_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "far/wavs").mkdir(parents=True)
    (tmp_path / "set").mkdir()
    for name in ("far/wavs/a1.wav", "far/other.wav"):
        (tmp_path / name).write_bytes(b"RIFF")
    (tmp_path / "far/wavs/up").symlink_to("..")
    (tmp_path / "set/wavs").symlink_to("../far/wavs")
    assert [item.source for item in discover(tmp_path / "set").untranscribed] == ["wavs/a1.wav"]
