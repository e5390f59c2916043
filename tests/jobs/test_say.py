"""`voicewright say` as a user runs it, and the timestamp files."""

from __future__ import annotations

import io
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from test_engine_models import write_small_model

from voicewright.cli import main
from voicewright.engines.protocol import Chunk, Speech, WordTime
from voicewright.engines.timestamps import LONGEST_CUE, LONGEST_LINE, cues, render
from voicewright.errors import UsageError

SENTENCES = "The kettle sang on the stove. Outside, the rain kept falling on the empty street."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_model(tmp_path_factory.mktemp("models") / "small")


def command(*arguments: object, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    """Run in a fresh interpreter."""
    return subprocess.run(
        [sys.executable, "-m", "voicewright", *map(str, arguments)],
        input=b"" if stdin is None else stdin,
        capture_output=True,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def one_sentence(error: str) -> bool:
    return error.count("\n") == 1 and "Traceback" not in error and error.startswith("voicewright: ")


def test_json_has_the_agreed_fields(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a.wav"
    assert main(["say", SENTENCES, "-o", str(out), "--model", str(folder), "--json", "--voice", "basso"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["model"] == "small" and record["voice"] == "basso" and record["sample_rate"] == 24000
    samples, rate = soundfile.read(out)
    assert rate == 24000 and len(samples) / rate == pytest.approx(record["audio_seconds"], abs=1e-3)
    assert record["wall_seconds"] > 0
    for chunk in record["chunks"]:
        assert set(chunk) == {"text", "phonemes", "tokens"}
        assert [token["symbol"] for token in chunk["tokens"]] == list(chunk["phonemes"])
        assert all(0 <= t["start"] <= t["end"] <= record["audio_seconds"] + 1e-3 for t in chunk["tokens"])


@pytest.mark.parametrize("extension", ["wav", "flac", "mp3", "ogg", "opus"])
def test_formats_by_extension(
    folder: Path, tmp_path: Path, extension: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / f"a.{extension}"
    assert main(["say", "Hello.", "-o", str(out), "-m", str(folder)]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    with soundfile.SoundFile(out) as file:
        assert file.frames > 0
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_text_from_standard_input_and_wav_to_standard_output(folder: Path) -> None:
    done = command("say", "-", "-o", "-", "-m", folder, stdin="Good morning, café.".encode())
    assert done.returncode == 0, done.stderr
    samples, rate = soundfile.read(io.BytesIO(done.stdout))
    assert rate == 24000 and len(samples) > 12000
    assert b"Traceback" not in done.stderr


def test_text_from_a_file(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "text.txt"
    text.write_bytes("\ufeffGood morning.".encode())
    out = tmp_path / "a.wav"
    assert main(["say", "-f", str(text), "-o", str(out), "-m", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["chunks"][0]["text"] == "Good morning."


@pytest.mark.parametrize("suffix", [".srt", ".vtt", ".json"])
def test_timestamps_beside_the_audio(folder: Path, tmp_path: Path, suffix: str) -> None:
    stamps = tmp_path / f"words{suffix}"
    out = tmp_path / "a.wav"
    assert main(["say", SENTENCES, "-o", str(out), "-m", str(folder), "--timestamps", str(stamps)]) == 0
    text = stamps.read_text("utf-8")
    assert "kettle" in text and "street" in text
    if suffix == ".json":
        words = [word["text"] for chunk in json.loads(text)["chunks"] for word in chunk["words"]]
        assert words[0] == "The" and len(words) == 15


def test_same_seed_same_file(folder: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        out = tmp_path / f"{name}.wav"
        assert main(["say", "Hello.", "-o", str(out), "-m", str(folder), "--seed", str(seed)]) == 0
    a, b, c = ((tmp_path / f"{name}.wav").read_bytes() for name in "abc")
    assert a == b != c


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["Hello.", "-o", "a.xyz"], 2, "a.xyz"),
        (["Hello.", "-o", "no/such/folder/a.wav"], 2, "no/such/folder"),
        (["Hello.", "--speed", "9"], 2, "0.25"),
        (["Hello.", "--speed", "0"], 2, "0.25"),
        (["Hello.", "--speed", "nan"], 2, "0.25"),
        (["[pause:1s][foo:bar]"], 1, "nothing to speak"),
        (["Hello.", "--voice", "soprano"], 2, "alto, basso"),
        (["Hello.", "--voice", "absent.pt"], 1, "absent.pt"),
        (["Hello.", "--language", "tlh"], 2, "tlh"),
        (["Hello.", "--timestamps", "a.txt"], 2, ".srt"),
        (["Hello.", "--model", "absent"], 2, "absent"),
        (["Hello.", "-f", "also.txt"], 2, "not both"),
        (["-f", "absent.txt"], 2, "absent.txt"),
        (["Hello.", "--json", "-o", "-"], 2, "standard output"),
        ([""], 2, "no text"),
        (["?!"], 1, "nothing to speak"),
        (["\U0001f600"], 1, "nothing to speak"),
        (["Hello.", "--nope"], 2, "--nope"),
        (["Hello.", "--speed", "fast"], 2, "--speed"),
    ],
)
def test_refusals_are_one_sentence_and_leave_nothing(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    model = [] if "--model" in arguments else ["--model", str(folder)]
    assert main(["say", *arguments, *model]) == code
    caught = capsys.readouterr()
    assert one_sentence(caught.err) and says in caught.err
    assert caught.out == "" and list(tmp_path.iterdir()) == []


def test_a_pack_that_holds_nan_is_one_sentence(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = np.zeros((510, 1, 256), "<f4")
    rows[40, 0, 5] = np.nan
    rows.tofile(tmp_path / "bad.bin")
    arguments = ["say", "Hello.", "-o", str(tmp_path / "a.wav"), "-m", str(folder)]
    assert main([*arguments, "--voice", str(tmp_path / "bad.bin")]) == 1
    error = capsys.readouterr().err
    assert one_sentence(error) and "row 40 holds NaN" in error
    assert [path.name for path in tmp_path.iterdir()] == ["bad.bin"]


def test_text_that_is_not_utf8(folder: Path, tmp_path: Path) -> None:
    done = command("say", "-", "-o", tmp_path / "a.wav", "-m", folder, stdin=b"caf\xe9")
    assert done.returncode == 1 and "UTF-8" in done.stderr.decode() and one_sentence(done.stderr.decode())
    assert list(tmp_path.iterdir()) == []


def test_a_cut_model_is_one_sentence(folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in ("config.json", "model.safetensors"):
        data = (folder / file).read_bytes()
        (broken / file).write_bytes(data if file == "config.json" else data[: len(data) // 2])
    done = command("say", "Hello.", "-o", tmp_path / "a.wav", "-m", broken)
    assert done.returncode == 1 and one_sentence(done.stderr.decode()), done.stderr
    assert not (tmp_path / "a.wav").exists()


def test_failure_while_writing_leaves_the_old_file(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a.wav"
    out.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert main(["say", "Hello.", "-o", str(out), "-m", str(folder)]) == 1
    assert "disk is full" in capsys.readouterr().err
    assert out.read_bytes() == b"old" and [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def start_long(folder: Path, where: Path, *more: str) -> subprocess.Popen[bytes]:
    """A process that speaks for a long time and has begun to write."""
    (where / "book.txt").write_text(SENTENCES * 3000)
    process = subprocess.Popen(
        [sys.executable, "-m", "voicewright", "say", "-f", "book.txt", "-m", str(folder), *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=where,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        if sum(path.stat().st_size for path in where.glob(".*.part")) > 200_000:
            break
        time.sleep(0.05)
    return process


def test_interrupted_keeps_what_was_spoken_when_asked(folder: Path, tmp_path: Path) -> None:
    out, stamps = tmp_path / "a.flac", tmp_path / "a.json"
    process = start_long(folder, tmp_path, "-o", out.name, "--timestamps", stamps.name, "--keep-partial")
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=30)
    assert process.returncode == 130
    assert f"voicewright: interrupted; {out.name} holds the first" in error.decode().splitlines()[-1]
    samples, rate = soundfile.read(out)
    record = json.loads(stamps.read_text("utf-8"))
    assert record["audio_seconds"] == pytest.approx(len(samples) / rate, abs=1e-3) and len(samples) > rate
    assert record["chunks"][-1]["end"] == pytest.approx(record["audio_seconds"], abs=1e-3)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([out.name, "a.json", "book.txt"])


def test_interrupted_says_so_in_one_sentence(folder: Path, tmp_path: Path) -> None:
    process = start_long(folder, tmp_path, "-o", "a.wav")
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=30)
    assert process.returncode == 130 and time.monotonic() - began < 10
    told = [line for line in error.decode().splitlines() if "of the text" not in line]
    assert len(told) == 1 and told[0].startswith("voicewright: interrupted after ")
    assert [path.name for path in tmp_path.iterdir()] == ["book.txt"]


def test_a_pipe_is_fed_while_the_rest_is_made(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text(SENTENCES * 3000)
    with subprocess.Popen(
        [sys.executable, "-m", "voicewright", "say", "-f", "book.txt", "-m", str(folder), "-o", "-"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        head = process.stdout.read(44 + 48_000)
        assert head[:4] == b"RIFF" and len(head) == 48_044 and process.poll() is None
        process.stdout.close()
        assert process.wait(30) == 1 and b"Traceback" not in process.stderr.read()


def test_a_file_behind_standard_output_gets_its_length(folder: Path, tmp_path: Path) -> None:
    said = [sys.executable, "-m", "voicewright", "say", "Hello.", "-o", "-", "-m", str(folder)]
    with (tmp_path / "a.wav").open("wb") as file:
        subprocess.run(said, stdout=file, stderr=subprocess.DEVNULL, check=True)
    data = (tmp_path / "a.wav").read_bytes()
    assert int.from_bytes(data[40:44], "little") == len(data) - 44


def test_wrong_tags_are_warned_of_and_markup_can_be_off(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a.wav"
    text = "One [rate:fast]two [pause:3s] three."
    assert main(["say", text, "-o", str(out), "-m", str(folder), "--json"]) == 0
    caught = capsys.readouterr()
    record = json.loads(caught.out)
    assert len(record["warnings"]) == 1 and "warning: Line 1, column 5: [rate:fast]" in caught.err
    assert record["audio_seconds"] > 3 and len(record["chunks"]) == 2
    assert main(["say", text, "-o", str(out), "-m", str(folder), "--json", "--no-markup"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert "pause" in "".join(chunk["text"] for chunk in plain["chunks"])


def test_a_long_text_shows_its_progress(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a.wav"
    assert main(["say", SENTENCES * 40, "-o", str(out), "-m", str(folder)]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if "of the text" in line]
    assert 3 <= len(lines) <= 10 and lines[-1].startswith("100%") and "times real time" in lines[0]


def spoken(text: str, seconds: float = 0.4, start: float = 0.0) -> Chunk:
    """A chunk whose words last `seconds` each."""
    words = re.findall(r"[\w'-]+", text)
    times = tuple(
        WordTime(word, start + seconds * number, start + seconds * (number + 0.9))
        for number, word in enumerate(words)
    )
    return Chunk(text, "", "alto", (), times, start, start + seconds * len(words))


def test_cues_are_readable_and_as_written() -> None:
    text = (
        'He said: "Well, I never!" Then (as always) he left & went home <slowly>, past the old '
        "mill and the bridge, over hills and far away. Up. Down."
    )
    found = cues([spoken(text), spoken("Another chunk begins", start=30)])
    assert " ".join(cue.text for cue in found) == text + " Another chunk begins"
    assert found[0].text == 'He said: "Well, I never!"'
    for cue in found:
        assert len(cue.text) <= LONGEST_LINE and 0 < cue.end - cue.start <= LONGEST_CUE
    assert all(a.end <= b.start for a, b in itertools.pairwise(found))
    assert [cue.text for cue in found[-3:]] == ["Up.", "Down.", "Another chunk begins"]


def test_cues_without_spaces() -> None:
    text = "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。薄暗い所で泣いていた。"
    words = re.findall(r"[^。]{1,3}", text)
    times = tuple(WordTime(word, 0.3 * n, 0.3 * n + 0.25) for n, word in enumerate(words))
    found = cues([Chunk(text, "", "v", (), times, 0, 0.3 * len(words))])
    assert "".join(cue.text for cue in found) == text
    assert (
        found[0].text == "吾輩は猫である。" and max(len(cue.text) for cue in found) <= LONGEST_LINE // 2 + 2
    )
    assert all(a.end <= b.start for a, b in itertools.pairwise(found))


def test_cues_of_odd_words() -> None:
    long = "Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch"
    assert [cue.text for cue in cues([spoken(f"To {long} now")])] == ["To", long, "now"]
    slow = cues([spoken("one two three", seconds=5)])
    assert [cue.text for cue in slow] == ["one", "two", "three"]
    replaced = Chunk("$5 is 5", "", "v", (), (WordTime("five dollars", 0, 1), WordTime("is", 1, 2)), 0, 2)
    assert cues([replaced])[0].text == "$5 is 5"


def test_srt_and_vtt_are_well_formed() -> None:
    chunk = spoken("Tom & Jerry <b> ran. It was late.", start=3599.5)
    speech = Speech(np.zeros(24000, np.float32), 24000, (chunk,))
    srt = render(speech, ".srt")
    assert srt.startswith("1\n00:59:59,500 --> 01:00:0")
    assert "Tom & Jerry <b> ran." in srt and srt.endswith("\n\n")
    vtt = render(speech, ".VTT")
    assert vtt.startswith("WEBVTT\n\n00:59:59.500 --> 01:00:0")
    assert "Tom &amp; Jerry &lt;b&gt; ran." in vtt
    with pytest.raises(UsageError):
        render(speech, ".txt")
