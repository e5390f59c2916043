"""`voicewright export`: what is written, who opens it, what is refused."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import onnx_oracle
import pytest
import torch
from onnx_models import log_spectral_distance
from test_engine_models import write_small_model

from voicewright.cli import main
from voicewright.engines.export import Export, export
from voicewright.engines.onnx.sherpa import tokens, voices
from voicewright.engines.onnx_engine import OnnxEngine
from voicewright.engines.torch_engine import TorchEngine
from voicewright.errors import UsageError, VoicewrightError
from voicewright.model.checkpoint import export_kokoro, load_model
from voicewright.storage import digest
from voicewright.text.vocab import KOKORO
from voicewright.text.wordlist import words
from voicewright.voices.pack import Voicepack

TEXT = "The kettle sang on the stove."
PHONEMES = "ðə kˈɛTᵊl sˈæŋ ˌɔn ðə stˈOv."


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_model(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture(scope="module")
def exported(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Export:
    pytest.importorskip("onnx")
    return export(model, tmp_path_factory.mktemp("onnx"), "onnx")


@pytest.fixture(scope="module")
def sherpa(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Export:
    pytest.importorskip("onnx")
    few = {"the": "ðə", "kettle": "kˈɛTᵊl", "sang": "sˈæŋ", "on": "ˌɔn", "stove": "stˈOv"}
    with pytest.MonkeyPatch.context() as patch:  # the whole lexicon takes half a minute to decode
        patch.setattr("voicewright.engines.onnx.sherpa.words", lambda language: few.items())
        return export(model, tmp_path_factory.mktemp("sherpa"), "sherpa", "int8")


def test_our_engine_speaks_the_export_as_torch_does(model: Path, exported: Export) -> None:
    pytest.importorskip("onnxruntime")
    ours, theirs = TorchEngine(model), OnnxEngine(exported.folder / "model.onnx")
    assert theirs.voices == ours.voices and theirs.default_voice == ours.default_voice
    assert theirs.name == ours.name and theirs.config.vocab == ours.config.vocab
    for speed in (1.0, 1.3):
        one, two = ours.speak(TEXT, speed=speed), theirs.speak(TEXT, speed=speed)
        # The noise is another, so that edges may be cut a little elsewhere.
        assert abs(one.seconds - two.seconds) < 0.1
        assert [word.text for word in one.chunks[0].words] == [word.text for word in two.chunks[0].words]
        for mine, its in zip(one.chunks[0].words, two.chunks[0].words, strict=True):
            assert its.end - its.start == pytest.approx(mine.end - mine.start, abs=0.06)
    assert not two.warnings
    assert np.array_equal(two.samples, theirs.speak(TEXT, speed=1.3).samples)
    assert not np.array_equal(two.samples, theirs.speak(TEXT, speed=1.3, seed=1).samples)


def test_the_file_says_what_it_is(model: Path, exported: Export) -> None:
    onnx = pytest.importorskip("onnx")
    proto = onnx.load(str(exported.folder / "model.onnx"))
    facts = {item.key: item.value for item in proto.metadata_props}
    config = json.loads(facts["kokoro_config"])
    assert config["vocab"] == TorchEngine(model).config.vocab
    assert facts["voices"] == ",".join(exported.voices) and facts["licence"]
    assert len(facts["weights_sha256"]) == 64
    assert proto.opset_import[0].version == 17
    assert dict(exported.files) == {
        str(path.relative_to(exported.folder)): path.stat().st_size
        for path in exported.folder.rglob("*")
        if path.is_file()
    }


def test_kokoro_onnx_opens_it(exported: Export) -> None:
    folder = exported.folder
    reader = onnx_oracle.kokoro_onnx(folder / "model.onnx", folder / "voices.bin")
    assert tuple(reader.get_voices()) == exported.voices
    assert reader.has_timings and reader.tokenizer.vocab["ð"] == KOKORO["ð"]
    audio, rate, times = reader.create_timed(
        PHONEMES, exported.voices[0], 1.25, is_phonemes=True, trim=False, sentence_pause=0, clause_pause=0
    )
    assert rate == 24_000 and np.std(audio) > 1e-4
    assert [time.phoneme for time in times] == list(PHONEMES)
    engine = OnnxEngine(folder / "model.onnx")
    ids = np.array([[0, *(KOKORO[symbol] for symbol in PHONEMES), 0]])
    style = np.ascontiguousarray(engine._voice(exported.voices[0])[1].style(len(PHONEMES)))[None]
    ours, _ = engine.network.speak(ids, style, 1.25)
    assert np.array_equal(ours, audio)


def test_sherpa_onnx_opens_it(sherpa: Export) -> None:
    reader = pytest.importorskip("sherpa_onnx")
    folder = sherpa.folder
    config = reader.OfflineTtsConfig(
        model=reader.OfflineTtsModelConfig(
            kokoro=reader.OfflineTtsKokoroModelConfig(
                model=str(folder / "model.onnx"),
                voices=str(folder / "voices.bin"),
                tokens=str(folder / "tokens.txt"),
                lexicon=str(folder / "lexicon.txt"),
            ),
            num_threads=1,
        ),
        max_num_sentences=1,
    )
    assert config.validate()
    tts = reader.OfflineTts(config)
    assert tts.sample_rate == 24_000 and tts.num_speakers == len(sherpa.voices)
    told = tts.generate(TEXT, sid=0, speed=1.0)
    assert len(told.samples) > 6_000 and np.std(told.samples) > 1e-4
    wanted = reader.GenerationConfig()
    wanted.sid, wanted.silence_scale = len(sherpa.voices) - 1, 1.0
    wanted.phoneme_codepoints = [[ord(symbol) for symbol in PHONEMES]]
    audio = np.array(tts.generate("", wanted).samples, np.float32)
    pytest.importorskip("onnxruntime")
    network = OnnxEngine(folder / "model.onnx").network
    pack = Voicepack.of(np.fromfile(folder / "voices.bin", "<f4").reshape(-1, 511, 1, 256)[-1, 1:])
    style = np.ascontiguousarray(pack.style(len(PHONEMES)))[None]
    ids = np.array([[0, *(KOKORO[symbol] for symbol in PHONEMES), 0]])
    ours, _ = network.speak(ids, style)
    assert len(ours) == len(audio)
    assert log_spectral_distance(ours, audio) < 0.5


def test_what_sherpa_reads_beside_the_graph(sherpa: Export) -> None:
    lines = tokens(KOKORO).decode().splitlines()
    assert "  16" in lines and f"ð {KOKORO['ð']}" in lines and len(lines) == len(KOKORO)
    table = np.arange(510, dtype=np.float32)[:, None, None] * np.ones((1, 1, 256), np.float32)
    rows = np.frombuffer(voices([Voicepack.of(table), Voicepack.of(table + 1)]), "<f4").reshape(2, 511, 256)
    assert rows[0, 1, 0] == 0 and rows[0, 510, 0] == 509 and rows[1, 2, 0] == 2  # row n for n tokens
    written = (sherpa.folder / "lexicon.txt").read_text("utf-8")
    said = dict(line.split(" ", 1) for line in written.splitlines())
    assert said["the"] == "ð ə" and said["kettle"] == " ".join("kˈɛTᵊl") and len(said) == 5


def test_words_of_a_lexicon() -> None:
    first = dict(itertools.islice(words("en-us"), 200))
    assert list(first) == sorted(first) and len(first) == 200
    assert first["a"] == "ɐ"  # as before a consonant, not the letter's name
    assert all(word.isascii() and word == word.lower() for word in first)
    assert {symbol for sound in first.values() for symbol in sound} <= set(KOKORO)


def test_a_kokoro_export_needs_kokoros_graph(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(model), "-o", str(tmp_path / "out"), "--format", "kokoro"]) == 1
    error = capsys.readouterr().err
    assert "hidden_dim" in error and "decoder_channels" in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_kokoro_folder(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its files (a graph of these widths the package itself cannot build; test_model_parity opens a full
    one)."""
    monkeypatch.setattr("voicewright.model.checkpoint._check_exportable", lambda config: None)
    made = export(model, tmp_path / "out", "kokoro")
    engine = TorchEngine(model)
    assert set(made.files) == {
        "model.pth",
        "config.json",
        "card.json",
        *(f"voices/{v}.pt" for v in engine.voices),
    }
    state = torch.load(made.folder / "model.pth", weights_only=True)
    assert set(state) == {"bert", "bert_encoder", "predictor", "text_encoder", "decoder"}
    assert "module.generator.conv_post.weight_g" in state["decoder"]
    assert "voicewright" not in json.loads((made.folder / "config.json").read_text("utf-8"))
    pack = torch.load(made.folder / "voices" / f"{engine.voices[0]}.pt", weights_only=True)
    assert pack.shape == (510, 1, 256) and pack.dtype == torch.float32


def test_a_folder_with_a_foreign_weights_file(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Kokoro's own folder is: a .pth in place of model.safetensors."""
    monkeypatch.setattr("voicewright.model.checkpoint._check_exportable", lambda config: None)
    network, config, _ = load_model(model)
    pth = tmp_path / "k" / "kokoro-small.pth"
    pth.parent.mkdir()
    export_kokoro(network, pth)
    (pth.parent / "config.json").write_text(json.dumps(config.model_dump()))
    given = ["export", str(pth.parent), "--format", "kokoro", "-o", str(tmp_path / "out")]
    assert main([*given, "--voices", str(next((model / "voices").iterdir()))]) == 0
    card = json.loads((tmp_path / "out" / "card.json").read_text())
    assert card["exported"]["weights_sha256"] == digest(pth)


def test_chosen_voices_and_json(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = tmp_path / "af_mine.npz"
    Voicepack.constant(np.ones(256, np.float32)).write(own)
    engine = TorchEngine(model)
    chosen = f"{engine.voices[-1]},{own}"
    given = [
        "export",
        str(model),
        "-o",
        str(tmp_path / "out"),
        "--voices",
        chosen,
        "--precision",
        "int8",
        "--json",
    ]
    assert main(given) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["voices"] == [engine.voices[-1], "af_mine"] and record["precision"] == "int8"
    with np.load(tmp_path / "out" / "voices.bin") as bundle:
        assert bundle.files == [engine.voices[-1], "af_mine"]
        assert bundle["af_mine"].shape == (510, 1, 256)
    pytest.importorskip("onnxruntime")
    assert OnnxEngine(tmp_path / "out" / "model.onnx").speak(TEXT, "af_mine").seconds > 0.3


def test_say_knows_the_voices_of_a_bundle(
    exported: Export, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As kokoro-onnx's files come: model and bundle alone."""
    pytest.importorskip("onnxruntime")
    for name in ("model.onnx", "voices.bin"):
        (tmp_path / name).write_bytes((exported.folder / name).read_bytes())
    one, two = exported.voices[:2]
    for voice in (two, f"{one}(2)+{two}", f"{tmp_path / 'voices.bin'}:{two}"):
        given = ["say", TEXT, "--model", str(tmp_path / "model.onnx"), "-o", str(tmp_path / "a.wav")]
        assert main([*given, "--voice", voice]) == 0, capsys.readouterr().err
    assert main([*given, "--voice", "nobody"]) == 2
    assert one in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "code", "words"),
    [
        (["--format", "kokoro", "--precision", "fp16"], 2, "fp32 only"),
        (["--format", "sherpa", "--convention", "onnx-community"], 2, "--format onnx"),
        (["--voices", "nobody"], 2, "no voice 'nobody'"),
        (["-o", "model.onnx"], 2, "name a folder"),
        (["--precision", "int4"], 2, "int4"),
    ],
)
def test_wrong_use_is_one_sentence(
    given: list[str], code: int, words: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(model), "-o", str(tmp_path / "out"), *given]) == code
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1, error
    assert not (tmp_path / "out").exists()


def test_without_the_extra(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "onnx" else find(name, *a)
    )
    with pytest.raises(VoicewrightError, match=r"voicewright\[export\]"):
        export(model, tmp_path / "out", "onnx")


def test_arguments_of_the_function(model: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no format 'tflite'"):
        export(model, tmp_path, "tflite")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        export(model, tmp_path / "file")
