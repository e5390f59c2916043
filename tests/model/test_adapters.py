"""Adapters: merged as they are trained, stacked, exported, refused when they belong elsewhere."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import kokoro_oracle
import numpy as np
import onnx_oracle
import pytest
import torch
from safetensors.torch import load_file, save_file
from test_light import config_of, needs_kernels, ratio
from test_model_parity import CONFIG, close, our_trunk, their_trunk

from voicewright.catalogue.adapted import ADAPTER, read_adapter, write_adapter
from voicewright.catalogue.places import WEIGHTS, adapted, layers_of, read_card, voice_files
from voicewright.catalogue.published import KOKORO_INT8_SHA256, PUBLISHED
from voicewright.cli import main
from voicewright.engines import light_engine
from voicewright.engines.export import export
from voicewright.engines.onnx_engine import OnnxEngine
from voicewright.engines.open import open_engine
from voicewright.engines.torch_engine import TorchEngine
from voicewright.errors import UsageError, VoicewrightError
from voicewright.model import adapters
from voicewright.model.adapters import attach, pairs
from voicewright.model.checkpoint import load_model, save_model
from voicewright.model.layers import fold
from voicewright.model.tts.model import TTSModel
from voicewright.storage import digest
from voicewright.voices.pack import ROWS, WIDTH, Voicepack

TOKENS = torch.tensor([[0, 43, 47, 51, 57, 63, 43, 50, 0]])


def pack(seed: int) -> Voicepack:
    rows = 0.3 * np.random.default_rng(seed).standard_normal((ROWS, 1, WIDTH)).astype(np.float32)
    return Voicepack(rows)


def base_model(folder: Path, seed: int = 4, **card: object) -> Path:
    torch.manual_seed(seed)
    save_model(folder, TTSModel(config_of()).eval(), config_of(), card={"name": "m", "voice": "alto", **card})
    (folder / "voices").mkdir()
    pack(2).write(folder / "voices" / "alto.safetensors")
    return folder


def make_adapter(
    base: Path, folder: Path, parts: tuple[str, ...] = ("decoder", "predictor"), size: float = 0.05
) -> TTSModel:
    """An adapter that changes something, in `folder`; returns the model that carries it as training does."""
    net = load_model(base)[0].fold().requires_grad_(False)
    torch.manual_seed(9)
    found = {}
    for part in parts:
        modules = attach(net, part, 4)
        for module in modules.values():
            with torch.no_grad():
                module.B.normal_(std=size)
                module.A.copy_(module.A.half())
                module.B.copy_(module.B.half())
        found |= pairs({f"{part}.{key}": value for key, value in modules.state_dict().items()}, part)
    arrays = {name: (a.detach().numpy(), b.detach().numpy()) for name, (a, b) in found.items()}
    write_adapter(folder, arrays, str(base), digest(base / WEIGHTS))
    config_of().write(folder / "config.json")
    (folder / "voices").mkdir()
    pack(3).write(folder / "voices" / "mine.safetensors")
    (folder / "card.json").write_text(json.dumps({"name": "m as mine", "voice": "mine"}), "utf-8")
    return net.eval()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return base_model(tmp_path_factory.mktemp("base") / "m")


@pytest.fixture(scope="module")
def carrying(base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TTSModel]:
    folder = tmp_path_factory.mktemp("adapter") / "me"
    return folder, make_adapter(base, folder)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VOICEWRIGHT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def said(net: TTSModel, voice: Voicepack) -> torch.Tensor:
    style = torch.from_numpy(voice.style(TOKENS.shape[1] - 2).copy())[None]
    return net.speak(TOKENS, style, 1.0, torch.Generator().manual_seed(0)).audio


def test_merged_is_as_trained(base: Path, carrying: tuple[Path, TTSModel]) -> None:
    """Durations, F0, energy and sound of the merged model are those of the one that carries adapters."""
    folder, net = carrying
    merged, plain = load_model(folder)[0], load_model(base)[0]
    voice = pack(3)
    wanted, got, without = said(net, voice), said(merged, voice), said(plain, voice)
    assert got.shape == wanted.shape
    assert torch.allclose(got, wanted, atol=2e-4)
    assert without.shape != wanted.shape or not torch.allclose(without, wanted, atol=2e-3)


def test_fresh_adapters_change_nothing(base: Path) -> None:
    net = load_model(base)[0].fold().eval()
    before = said(net, pack(2))
    for part in adapters.PARTS:
        attach(net, part, 4)
    assert torch.equal(said(net, pack(2)), before)


def test_the_file_is_small_and_says_its_base(base: Path, carrying: tuple[Path, TTSModel]) -> None:
    folder, _ = carrying
    found = read_adapter(folder)
    assert found.base == str(base) and found.base_sha256 == digest(base / WEIGHTS)
    assert all(value.dtype == torch.float16 for value in load_file(folder / ADAPTER).values())
    assert (
        "decoder.encode.conv1" in found.matrices and "predictor.duration_proj.linear_layer" in found.matrices
    )
    assert not any("lstm" in name.rpartition(".")[0] and "fc" not in name for name in found.matrices)


def test_an_adapter_is_a_model_with_its_bases_voices(base: Path, carrying: tuple[Path, TTSModel]) -> None:
    folder, _ = carrying
    assert set(voice_files(folder)) == {"alto", "mine"}
    engine = TorchEngine(folder)
    assert engine.default_voice == "mine" and engine.name == "m as mine"
    one, other = engine.speak("One two."), TorchEngine(base).speak("One two.", voice="alto")
    assert not np.array_equal(one.samples, other.samples)
    with_model = TorchEngine(base, adapters=[folder]).speak("One two.")
    assert np.array_equal(with_model.samples, one.samples)


def test_stacks(base: Path, tmp_path: Path) -> None:
    """A decoder's and a predictor's adapter together are as both trained at once; in either order."""
    sound, prosody, both = tmp_path / "sound", tmp_path / "prosody", tmp_path / "both"
    make_adapter(base, both)
    whole = load_file(both / ADAPTER)
    for folder, part in ((sound, "decoder"), (prosody, "predictor")):
        names = {key.rpartition(".")[0] for key in whole if key.startswith(part)}
        arrays = {name: (whole[f"{name}.A"].numpy(), whole[f"{name}.B"].numpy()) for name in names}
        write_adapter(folder, arrays, str(base), digest(base / WEIGHTS))
    stack = adapted(base, [sound, prosody])
    assert [adapter.folder for adapter in layers_of(stack)[1]] == [sound.resolve(), prosody.resolve()]
    one, other = said(load_model(stack)[0], pack(2)), said(load_model(both)[0], pack(2))
    assert torch.equal(one, other)
    assert read_card(stack)["name"] == "m + sound + prosody"
    with pytest.raises(UsageError, match="both change decoder"):
        adapted(base, [sound, both])


def test_refusals(
    base: Path, carrying: tuple[Path, TTSModel], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = carrying
    other = base_model(tmp_path / "other", seed=5)
    out = ["-o", str(tmp_path / "x.wav")]
    assert main(["say", "Hi.", "--model", str(other), "--adapter", str(folder), *out]) == 1
    error = capsys.readouterr().err
    assert "other weights" in error and error.count("\n") == 1
    assert main(["say", "Hi.", "--model", "tiny", "--adapter", str(folder), *out]) == 1
    error = capsys.readouterr().err
    assert "is an adapter for" in error and error.count("\n") == 1
    assert main(["say", "Hi.", "--model", str(base), "--adapter", str(base), *out]) == 2
    assert "is no adapter" in capsys.readouterr().err
    lost = tmp_path / "lost"
    shutil.copytree(folder, lost)
    net = load_file(lost / ADAPTER)
    write = {"A": np.zeros((1, 3), np.float32), "B": np.zeros((2, 1), np.float32)}
    write_adapter(lost, {"decoder.x": (write["A"], write["B"])}, str(tmp_path / "nowhere"), "0" * 64)
    assert main(["say", "Hi.", "--model", str(lost), *out]) == 1
    error = capsys.readouterr().err
    assert "nowhere" in error and "--adapter" in error and error.count("\n") == 1
    assert not (tmp_path / "x.wav").exists()
    assert len(net) > 10


@pytest.mark.parametrize("damage", ["cut", "flipped header", "nan", "unpaired", "empty", "another format"])
def test_damaged_files(base: Path, carrying: tuple[Path, TTSModel], tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "me"
    shutil.copytree(carrying[0], folder)
    path = folder / ADAPTER
    facts = {"format": "voicewright-adapter-1", "base": str(base), "scale": "1.0"}
    facts["base_sha256"] = digest(base / WEIGHTS)
    tensors = load_file(path)
    data = path.read_bytes()
    if damage == "cut":
        path.write_bytes(data[:-7])
    elif damage == "flipped header":
        path.write_bytes(data[:20] + bytes([data[20] ^ 255]) + data[21:])
    elif damage == "nan":
        tensors["decoder.encode.conv1.B"][0, 0] = float("nan")
        save_file(tensors, path, facts)
    elif damage == "unpaired":
        del tensors["decoder.encode.conv1.B"]
        save_file(tensors, path, facts)
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        save_file(tensors, path, facts | {"format": "lora"})
    with pytest.raises(VoicewrightError, match="damaged"):
        load_model(folder)


def test_numbers_that_fp16_has_not_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(VoicewrightError, match="not finite"):
        write_adapter(tmp_path / "a", {"x": (np.full((1, 2), 1e6), np.ones((2, 1)))}, "tiny", "0")
    assert not (tmp_path / "a").exists()


def test_kokoro_whole_and_rounded_are_the_same_base(base: Path, carrying: tuple[Path, TTSModel]) -> None:
    whole = PUBLISHED["kokoro-v1.0"].weights.sha256
    assert whole is not None
    notes: list[str] = []
    made = read_adapter(carrying[0])
    old = made.__class__(made.path, "kokoro", "1" * 64, whole, 1.0, made.matrices)
    card = json.loads((base / "card.json").read_text())
    rounded = base_model(base.parent / f"rounded-{len(card)}", sha256=KOKORO_INT8_SHA256)
    adapters.check_base([old], rounded, rounded / WEIGHTS, notes.append)
    assert len(notes) == 1 and "another rounding" in notes[0]
    with pytest.raises(VoicewrightError, match="other weights"):
        adapters.check_base([old], base, base / WEIGHTS, None)


@needs_kernels
def test_without_torch_the_same(base: Path, carrying: tuple[Path, TTSModel], tmp_path: Path) -> None:
    """The light engine merges once, keeps it under the adapter's content, and notices another adapter."""
    folder = tmp_path / "me"
    shutil.copytree(carrying[0], folder)
    light = light_engine.opened(folder)
    assert light is not None
    one, other = (
        light.speak("One two three."),
        TorchEngine(folder, implementation="native").speak("One two three."),
    )
    assert len(one.samples) == len(other.samples)
    assert ratio(one.samples, other.samples) > 35  # as the base without adapters
    plain = light_engine.opened(base)
    assert plain is not None and not np.array_equal(plain.speak("One.").samples, light.speak("One.").samples)
    again = light_engine.opened(folder)
    assert again is not None and np.array_equal(again.speak("One two three.").samples, one.samples)
    shutil.rmtree(folder)
    make_adapter(base, folder, size=0.1)
    changed = light_engine.opened(folder)
    assert changed is not None and not np.array_equal(changed.speak("One two three.").samples, one.samples)
    stacked = open_engine(base, implementation="light", adapters=[folder])
    assert np.array_equal(stacked.speak("One two three.").samples, changed.speak("One two three.").samples)


def test_exported_merged(
    carrying: tuple[Path, TTSModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The .pth holds W + B A, as the kokoro package's own modules read it; ONNX speaks it."""
    folder, net = carrying
    monkeypatch.setattr("voicewright.model.checkpoint._check_exportable", lambda config: None)
    made = export(folder, tmp_path / "k", "kokoro")
    assert set(made.voices) == {"alto", "mine"}
    state = torch.load(tmp_path / "k" / "model.pth", weights_only=True)["decoder"]
    got = torch._weight_norm(state["module.encode.conv1.weight_v"], state["module.encode.conv1.weight_g"], 0)
    assert torch.allclose(got, net.decoder.encode.conv1.weight, atol=1e-6)
    card = json.loads((tmp_path / "k" / "card.json").read_text())
    assert card["exported"]["adapters"][0]["sha256"] == digest(folder / ADAPTER)
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    export(folder, tmp_path / "o", "onnx")
    one = OnnxEngine(tmp_path / "o" / "model.onnx").speak("One two.", voice="mine")
    other = TorchEngine(folder).speak("One two.", voice="mine")
    assert abs(one.seconds - other.seconds) < 0.1
    reader = onnx_oracle.kokoro_onnx(tmp_path / "o" / "model.onnx", tmp_path / "o" / "voices.bin")
    assert set(reader.get_voices()) == {"alto", "mine"}
    audio, rate = reader.create("ðə stˈOv.", "mine", 1.0, is_phonemes=True)
    assert rate == 24_000 and np.std(audio) > 1e-4


def test_the_kokoro_package_opens_it(tmp_path: Path) -> None:
    """At full width, where that package can build the graph: its numbers are those of the merged model."""
    kokoro_oracle.module("model")
    torch.manual_seed(1)
    base = tmp_path / "full"
    save_model(base, TTSModel(CONFIG).eval(), CONFIG, card={"name": "full"})
    make_adapter(base, tmp_path / "me", size=0.02)
    export(tmp_path / "me", tmp_path / "out", "kokoro")
    theirs = kokoro_oracle.build(CONFIG, tmp_path, tmp_path / "out" / "model.pth")
    merged = load_model(tmp_path / "me")[0]
    style = 0.3 * torch.randn(1, 256)
    with torch.no_grad():
        got, wanted = their_trunk(theirs, TOKENS, style), our_trunk(merged, TOKENS, style)
    assert torch.equal(got["durations"], wanted["durations"])
    close(got["front"], wanted["front"])


def test_an_interrupted_export_leaves_nothing(
    carrying: tuple[Path, TTSModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("voicewright.model.checkpoint._check_exportable", lambda config: None)
    monkeypatch.setattr("voicewright.engines.export._write_pack", stop)
    with pytest.raises(KeyboardInterrupt):
        export(carrying[0], tmp_path / "out", "kokoro")
    assert list(tmp_path.iterdir()) == [] or not (tmp_path / "out").exists()
    assert not [path for path in tmp_path.iterdir() if "exporting" in path.name]


def test_folding_again_keeps_the_weights(carrying: tuple[Path, TTSModel]) -> None:
    """Merged weights have a weight norm again, whose product is what was merged."""
    merged = load_model(carrying[0])[0]
    fold(merged)
    for name, module in adapters.adaptable(merged, "decoder").items():
        assert torch.allclose(module.weight, carrying[1].get_submodule(name).weight, atol=1e-5)
