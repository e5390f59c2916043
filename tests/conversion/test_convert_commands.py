"""`convert` and `say --through` on the command line: files, folders, words for what is wrong, times kept."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from convert_fakes import FakeContent, fake_voice, spoken
from rvc_weights import filled, noise
from safetensors.torch import save_file
from test_convert_pipeline import local_pitch

from voicewright.cli import main
from voicewright.cli.options import pitch_of
from voicewright.conversion.protocol import ConvertOptions
from voicewright.engines.speak_as import CHUNKS, ThroughEngine
from voicewright.engines.torch_engine import TorchEngine
from voicewright.errors import Cancelled, UsageError, VoicewrightError
from voicewright.jobs.convert import ConvertOrder, convert_file, plan
from voicewright.rvc.content.hubert import ContentConfig, expected_shapes
from voicewright.rvc.convert.index_build import build_index
from voicewright.rvc.convert.offline import RvcConverter
from voicewright.rvc.converter import find as rvc_file
from voicewright.rvc.files.checkpoint import open_voice, save_voice
from voicewright.rvc.network.config import SynthesizerConfig
from voicewright.rvc.network.synthesizer import Synthesizer

TEXT = "The kettle sang. [pause:0.5s] Outside, the rain kept falling."


@pytest.fixture(scope="module")
def engine() -> TorchEngine:
    return TorchEngine()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A narrow RVC voice, a narrow content model, an index: real files, random weights."""
    folder = tmp_path_factory.mktemp("rvc")
    config = SynthesizerConfig(
        inter=8, hidden=8, filter=16, heads=2, layers=1, upsample_rates=(10, 8, 2), upsample_kernels=(20, 16,
        4), initial_channels=16, resblock_kernels=(3,), resblock_dilations=((1, 3, 5),), speakers=2, gin=4,
        sample_rate=16_000,
    )  # fmt: skip
    synthesizer = Synthesizer(config, posterior=False)
    shapes = {name: tuple(value.shape) for name, value in synthesizer.state_dict().items()}
    synthesizer.load_state_dict(filled(shapes))
    save_voice(folder / "singer.pth", synthesizer, {"median_f0": 220.0})
    narrow = ContentConfig(num_hidden_layers=1, intermediate_size=32, conv_dim=(16,) * 7)
    weights = {name: noise(name, shape) * 0.1 for name, shape in expected_shapes(narrow).items()}
    (folder / "content").mkdir()
    save_file(weights, folder / "content" / "model.safetensors")
    said = {"num_hidden_layers": 1, "intermediate_size": 32, "conv_dim": [16] * 7}
    (folder / "content" / "config.json").write_text(json.dumps(said))
    build_index(noise("rows", (200, 768)).numpy(), folder, "singer")
    build_index(noise("rows", (200, 256)).numpy(), folder, "old", "v1", total=False)
    soundfile.write(folder / "in.wav", spoken(2.5, 24_000), 24_000)
    soundfile.write(folder / "short.wav", np.zeros(1, np.float32), 24_000)
    return folder


def run(*words: object) -> int:
    return main([str(word) for word in words])


def common(files: Path) -> list[object]:
    return ["--to", files / "singer.pth", "--embedder", files / "content"]


def test_a_recording_through_real_files(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, again = tmp_path / "out.wav", tmp_path / "again.wav"
    index = next(files.glob("added_*_singer_v2.index"))
    assert run("convert", files / "in.wav", *common(files), "--index", index, "-o", out, "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["voice"] == "singer" and not record["failed"]
    (file,) = record["files"]
    assert file["seconds"] == 2.5 and file["sample_rate"] == 16_000
    assert file["transpose"] == round(12 * np.log2(220 / file["source_pitch"]))
    samples, rate = soundfile.read(out)
    assert rate == 16_000 and len(samples) == 40_000 and 0.001 < np.abs(samples).max() <= 1
    assert run("convert", files / "in.wav", *common(files), "-o", again, "--pitch", "+3") == 0
    assert capsys.readouterr().out == f"{again}\n"
    assert not np.array_equal(samples, soundfile.read(again)[0])


def test_folders_keep_their_shape_and_a_bad_recording_stops_nothing(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    soundfile.write(source / "a.wav", spoken(1.0, 8_000), 8_000)
    soundfile.write(source / "a.flac", spoken(0.5, 44_100), 44_100)
    soundfile.write(source / "deep" / "b.wav", np.zeros((4000, 2), np.float32), 48_000)
    (source / "broken.wav").write_bytes(b"nothing")
    (source / "notes.txt").write_text("no recording")
    out = tmp_path / "made"
    assert run("convert", source, *common(files), "-o", out, "--json", "--format", "flac") == 1
    record = json.loads(capsys.readouterr().out)
    made = sorted(str(path.relative_to(out)) for path in out.rglob("*.*"))
    assert made == ["a.flac.flac", "a.wav.flac", "deep/b.flac"]
    assert [Path(one["input"]).name for one in record["failed"]] == ["broken.wav"]
    warned = {Path(one["input"]).name: one["warnings"] for one in record["files"]}
    assert any("8000 samples a second" in words for words in warned["a.wav"])
    assert warned["b.wav"] == ["the recording is silent."]


BAD = [
    ([], 2, "nothing to convert"),
    (["nothing.wav"], 2, "there is no recording nothing.wav"),
    (["IN", "--to", "none.pth"], 2, "there is no voice none.pth"),
    (["IN", "--to", "INDEX"], 2, "is an index, not a voice"),
    (["IN", "--to", "IN"], 2, "is no voice"),
    (["IN", "--to", "x.onnx"], 2, "give the voice's .pth"),
    (["IN", "--index", "none.index"], 2, "there is no index none.index"),
    (["IN", "--index", "OLD"], 1, "of v1, and the voice is v2"),
    (["IN", "--index", "IN"], 1, "no IVFFlat index"),
    (["IN", "--pitch", "high"], 2, "`auto` or semitones"),
    (["IN", "--pitch", "+99"], 2, "between -36 and +36"),
    (["IN", "--speaker", "7"], 2, "no speaker 7"),
    (["IN", "-o", "out.xyz"], 2, "audio is written as"),
    (["IN", "-o", "no/such/out.wav"], 2, "there is no folder"),
    (["IN", "-o", "IN"], 2, "overwrite"),
    (["IN", "IN"], 2, "need a folder"),
    (["IN", "--seed", str(1 << 70)], 2, "too many digits"),
    (["SHORT", "--exact", "-o", "x.wav"], 1, "shorter than 10 ms"),
    (["IN", "--method", "guess"], 2, "no pitch method"),
    (["IN", "--embedder", "nobody"], 2, "no content model"),
    (["CONTENT", "-o", "x"], 2, "there are no recordings"),
]


@pytest.mark.parametrize(("words", "code", "sentence"), BAD, ids=[case[2] for case in BAD])
def test_what_is_wrong_is_one_sentence(
    files: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: int,
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    known = {
        "IN": files / "in.wav",
        "INDEX": next(files.glob("added_*_singer_v2.index")),
        "OLD": next(files.glob("added_*_old_v1.index")),
        "CONTENT": files / "content",
        "SHORT": files / "short.wav",
    }
    line: list[object] = ["convert", *(known.get(word, word) for word in words)]
    if "--to" not in words:
        line += ["--to", files / "singer.pth"]
    if "--embedder" not in words:
        line += ["--embedder", files / "content"]
    if "-o" not in words and "IN" in words and words.count("IN") == 1:
        line += ["-o", tmp_path / "x.wav"]
    assert run(*line) == code
    told = capsys.readouterr().err
    assert sentence in told and told.count("\n") == 1 and told.startswith("voicewright: ")
    assert not list(tmp_path.iterdir())


def test_a_device_that_a_model_cannot_use_is_not_passed_over(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("convert", files / "in.wav", "--device", "cuda", "-o", tmp_path / "x.wav") == 2
    assert "only voices of RVC convert on another device" in capsys.readouterr().err


def test_suffixes_in_capitals(files: Path, tmp_path: Path) -> None:
    for name in ("S.PTH", "S.SafeTensors"):
        save_voice(tmp_path / name.lower(), open_voice(files / "singer.pth").synthesizer)
        (tmp_path / name.lower()).rename(tmp_path / name)
        assert open_voice(tmp_path / name).config.speakers == 2
        assert rvc_file(tmp_path / name) == tmp_path / name


def test_a_missing_content_model_says_where_it_belongs(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VOICEWRIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    assert run("convert", files / "in.wav", "--to", files / "singer.pth", "-o", tmp_path / "x.wav") == 2
    told = capsys.readouterr().err
    assert "contentvec is not on this machine" in told and str(tmp_path / "cache") in told


def test_stopping_leaves_nothing_behind(files: Path, tmp_path: Path) -> None:
    """As Ctrl-C does: asked in the midst of a recording, whose file was begun under another name."""
    stop, seen = threading.Event(), []

    def progress(*told: object) -> None:
        seen.append(sorted(tmp_path.iterdir()))
        stop.set()

    recording = tmp_path.parent / "long.wav"
    soundfile.write(recording, spoken(70), 16_000)
    fake = RvcConverter(fake_voice(), FakeContent(), estimate=local_pitch)
    with pytest.raises(Cancelled):
        convert_file(fake, recording, tmp_path / "out.wav", ConvertOptions(pitch=0.0), stop, progress)
    assert seen and all(path.name.endswith(".part") for path in seen[0])
    assert not list(tmp_path.iterdir())


def test_pitch_words() -> None:
    assert [pitch_of(words) for words in ("auto", " AUTO", "+4", "-3.5", "0")] == ["auto", "auto", 4, -3.5, 0]


def test_results_never_collide(tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav"):
        soundfile.write(tmp_path / name, np.zeros(10), 8_000)
    order = ConvertOrder((tmp_path / "a.wav", tmp_path / "b.wav"), "x.pth", str(tmp_path))
    with pytest.raises(UsageError, match="overwrite"):
        plan(order)
    work, _ = plan(ConvertOrder((tmp_path / "a.wav",), "voices/singer.pth"))
    assert work == [(tmp_path / "a.wav", Path("a-singer.wav"))]


def fake_converter() -> RvcConverter:
    return RvcConverter(
        fake_voice(info={"median_f0": 300.0}), FakeContent(), name="fake", estimate=local_pitch
    )


def test_speech_goes_through_with_its_times(engine: TorchEngine) -> None:
    plain = engine.speak(TEXT)
    through = ThroughEngine(engine, fake_converter())
    said = through.speak(TEXT)
    assert said.sample_rate == through.sample_rate == 40_000
    assert said.seconds == pytest.approx(plain.seconds, abs=1 / 40_000)
    assert said.words == plain.words and said.chunks == plain.chunks and len(said.words) == 8
    parts = list(through.stream(TEXT, early=False))
    np.testing.assert_array_equal(np.concatenate([part.samples for part in parts]), said.samples)
    starts = np.cumsum([0, *(part.seconds for part in parts)])[:-1]
    np.testing.assert_allclose([part.start for part in parts], starts, atol=1e-6)
    # Where the text is silent, in the midst of a join, nothing jumps.
    for part in parts:
        assert abs(part.samples[0]) < 1e-3 and abs(part.samples[-1]) < 1e-3
    voiced = [part for part in parts if part.chunks]
    assert len(voiced) >= 2 and len(parts) >= len(voiced)


def test_synthesis_goes_on_while_speech_is_converted(engine: TorchEngine) -> None:
    """When the first part is handed over, the engine is already at work on what follows."""
    threads: list[str] = []
    said = engine.parts

    class Watched:
        name, voices, sample_rate = "watched", (), 24_000

        def parts(self, *arguments: object):
            for part in said(*arguments):
                threads.append(threading.current_thread().name)
                yield part

    parts = ThroughEngine(Watched(), fake_converter()).stream("One fish. Two fish. Red fish. Blue fish. " * 6)
    first = next(parts)
    assert first.samples.any() and first.words
    end = time.monotonic() + 20
    while len(threads) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    assert len(threads) >= 2 and set(threads) == {"synthesis"}
    parts.close()
    assert not [one for one in threading.enumerate() if one.name == "synthesis"]


def test_errors_and_cancelling_reach_the_reader(engine: TorchEngine) -> None:
    through = ThroughEngine(engine, fake_converter())
    with pytest.raises(UsageError):
        through.stream("  ")
    stop = threading.Event()
    parts = through.stream("One fish. Two fish. Red fish. Blue fish. " * 9, cancel=stop)
    next(parts)
    stop.set()
    with pytest.raises(Cancelled):
        list(parts)
    broken = fake_converter()
    broken.voice.synthesizer.infer = lambda *a, **k: torch.full((1, len(a[0][0]) * 400), torch.nan)
    with pytest.raises(VoicewrightError, match="not numbers"):
        ThroughEngine(engine, broken).speak("Hello.")
    with pytest.raises(UsageError, match="the seed has"):
        ThroughEngine(engine, fake_converter()).speak("One fish. Two fish. " * 20, seed=10**20)
    assert not [one for one in threading.enumerate() if one.name == "synthesis"]


def test_say_through_a_voice(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = tmp_path / "cache" / "parts" / "contentvec"
    cache.parent.mkdir(parents=True)
    cache.symlink_to(files / "content")
    monkeypatch.setenv("VOICEWRIGHT_CACHE", str(tmp_path / "cache"))
    out, stamps = tmp_path / "said.wav", tmp_path / "said.json"
    line = ["say", TEXT, "--through", files / "singer.pth", "-o", out, "--timestamps", stamps, "--json"]
    assert run(*line) == 0
    record = json.loads(capsys.readouterr().out)
    assert "through singer" in record["model"] and record["sample_rate"] == 16_000
    samples, rate = soundfile.read(out)
    assert rate == 16_000 and len(samples) / rate == pytest.approx(record["audio_seconds"], abs=1e-3)
    words = [word for chunk in json.loads(stamps.read_text())["chunks"] for word in chunk["words"]]
    assert len(words) == 8 and words[-1]["end"] <= record["audio_seconds"]
    for option in (("--pitch", "+2"), ("--embedder", "spin"), ("--speaker", "1"), ("--unvoiced", "zero")):
        assert run("say", "Hello.", *option, "-o", out) == 2
        assert f"{option[0]} belongs to --through" in capsys.readouterr().err


def test_say_through_a_voice_whose_content_model_has_no_name(files: Path, tmp_path: Path) -> None:
    """What the sentence about such a voice advises is possible here too, and so are its other speakers."""
    made = []
    for speaker in "01":
        out = tmp_path / f"{speaker}.wav"
        line = ["say", "Hello.", "--through", files / "singer.pth", "--embedder", files / "content"]
        assert run(*line, "--speaker", speaker, "--unvoiced", "interpolate", "-o", out) == 0
        made.append(soundfile.read(out)[0])
    assert len(made[0]) == len(made[1]) and not np.array_equal(*made)


def test_the_options_of_a_chain_hear_little_silence() -> None:
    assert ThroughEngine(None, fake_converter()).options == ConvertOptions(chunks=CHUNKS)  # type: ignore[arg-type]
