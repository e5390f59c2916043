"""Speaking without torch: the same as the restructured graph, from packed weights that are never trusted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from voicewright.catalogue.places import WEIGHTS
from voicewright.engines import light_engine
from voicewright.engines.open import open_engine
from voicewright.engines.torch_engine import TorchEngine
from voicewright.errors import UsageError, VoicewrightError
from voicewright.model.checkpoint import save_model
from voicewright.model.config import Extension, IstftNet, ModelConfig, PlBert
from voicewright.model.fast.choice import choose
from voicewright.model.fast.library import VARIABLE, levels, library
from voicewright.model.fast.model import FastModel
from voicewright.model.half import narrow
from voicewright.model.light import packed
from voicewright.model.light.model import LightModel
from voicewright.model.light.pack import pack
from voicewright.model.light.source import Noise
from voicewright.model.light.statistics import Carried
from voicewright.model.light.windows import Windows
from voicewright.model.tts.model import TTSModel
from voicewright.text.vocab import KOKORO
from voicewright.voices.pack import ROWS, WIDTH, Voicepack

needs_kernels = pytest.mark.skipif(library() is None, reason="the compiled kernels were not built here")
SEED = 123456789012345


def config_of() -> ModelConfig:
    """A graph of Kokoro's kind, just wide enough for the kernels' LSTM."""
    return ModelConfig(
        vocab=dict(KOKORO),
        hidden_dim=64,
        max_conv_dim=64,
        max_dur=6,
        n_layer=2,
        dim_in=8,
        istftnet=IstftNet(upsample_initial_channel=32),
        plbert=PlBert(hidden_size=32, num_attention_heads=2, intermediate_size=48, num_hidden_layers=2),
        voicewright=Extension(decoder_channels=48, decoder_residual=16, bert_embedding=8),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with one voice."""
    folder = tmp_path_factory.mktemp("models") / "m"
    torch.manual_seed(4)
    model = TTSModel(config_of()).eval()
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "alpha" in name or value.dim() == 1:
                value.add_(0.1 * torch.randn_like(value))
    save_model(folder, model, config_of())
    (folder / "voices").mkdir()
    rows = 0.3 * np.random.default_rng(2).standard_normal((ROWS, 1, WIDTH)).astype(np.float32)
    Voicepack(rows).write(folder / "voices" / "alto.safetensors")
    (folder / "card.json").write_text(json.dumps({"name": "m", "voice": "alto", "language": "en-us"}))
    return folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VOICEWRIGHT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / light_engine.FOLDER


def models(stored: str, path: Path) -> tuple[FastModel, LightModel]:
    torch.manual_seed(4)
    backend = choose("native", stored)
    fast = FastModel(TTSModel(config_of()).eval(), backend)
    with torch.inference_mode():
        tree = pack(fast)
    assert tree is not None and backend.level is not None
    packed.write(path, {"of": "this"}, tree)
    source, tree = packed.read(path)
    assert source == {"of": "this"}
    return fast, LightModel(tree, backend.level)


def ratio(ours: np.ndarray, reference: np.ndarray) -> float:
    """Signal to noise in dB."""
    assert ours.shape == reference.shape
    wide = reference.astype(np.float64)
    return float(10 * np.log10(np.mean(wide**2) / np.mean((ours.astype(np.float64) - wide) ** 2)))


def utterance() -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(7)
    ids = torch.randint(1, 170, (1, 30), generator=rng)
    ids[:, 0] = ids[:, -1] = 0
    return ids, 0.3 * torch.randn(1, 256, generator=rng)


@pytest.mark.parametrize("count", [16, 17, 432, 2700, 5003])
def test_noise_is_torchs(count: int) -> None:
    theirs = torch.Generator().manual_seed(SEED)
    ours = Noise(SEED)
    for _ in range(2):
        drawn = torch.randn(count, generator=theirs).numpy()
        assert np.abs(ours.normal(count) - drawn).max() < 3e-6


def test_noise_of_few_numbers_is_refused() -> None:
    with pytest.raises(ValueError, match="15 numbers"):
        Noise(1).normal(15)


@needs_kernels
@pytest.mark.parametrize("stored", ["full", "half"])
def test_says_what_the_fast_graph_says(stored: str, tmp_path: Path) -> None:
    fast, light = models(stored, tmp_path / "m.vwp")
    ids, style = utterance()
    theirs = fast.speak(ids, style, 0.9, torch.Generator().manual_seed(SEED))
    ours = light.speak(ids[0].numpy(), style[0].numpy(), 0.9, SEED)
    assert np.array_equal(ours.durations, theirs.durations.numpy())
    assert np.abs(ours.f0 - theirs.f0.numpy()).max() < 0.01
    assert ratio(ours.energy, theirs.energy.numpy()) > 80
    # at the mirrored ends rounding decides between the phases π and -π
    inner = slice(1200, -1200)
    assert ratio(ours.audio[inner], theirs.audio.numpy()[inner]) > 45


@needs_kernels
def test_early_windows_then_the_whole(tmp_path: Path) -> None:
    _, light = models("full", tmp_path / "m.vwp")
    ids, style = utterance()
    given = ids[0].numpy(), style[0].numpy(), 1.0, SEED
    whole = light.speak(*given).audio
    windows = Windows(early=(0.2, 0.3), silent=8)
    heard = light.listen(*given[:2])  # of this very utterance, so that only rounding is left
    pieces = list(light.speak_windows(*given, heard, windows)[1])
    assert [len(piece) for piece in pieces[:3]] == [8 * 300, 16 * 300, 24 * 300]
    assert not pieces[0].any()
    made = np.concatenate(pieces)
    assert ratio(made[8 * 300 :], whole[8 * 300 :]) > 30
    rest = sum(map(len, pieces[:3])) + 300  # after a row that is faded
    assert np.array_equal(made[rest:], whole[rest:])


@needs_kernels
def test_strange_statistics_are_gone_after_the_early_windows(tmp_path: Path) -> None:
    _, light = models("full", tmp_path / "m.vwp")
    ids, style = utterance()
    given = ids[0].numpy(), style[0].numpy(), 1.0, SEED
    whole = light.speak(*given).audio
    strange = Carried({site: 1.3 * own for site, own in light.listen(*given[:2]).stats.items()})
    made = np.concatenate(list(light.speak_windows(*given, strange, Windows(early=(0.2, 0.3)))[1]))
    assert ratio(made[:12_000], whole[:12_000]) < 20
    assert np.array_equal(made[40 * 300 + 300 :], whole[40 * 300 + 300 :])


def test_little_is_not_cut() -> None:
    assert Windows(early=(0.2, 0.5), silent=4).cuts(200) == [20, 60]
    assert Windows(early=(0.2, 0.5), silent=4).cuts(60) == [20]
    assert Windows(early=(0.2, 0.5), silent=4).cuts(20) == []


@needs_kernels
def test_packed_once_then_mapped(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = light_engine.opened(folder)
    assert first is not None
    reference = TorchEngine(folder, implementation="native").speak("Hello there, you.", seed=3)
    spoken = first.speak("Hello there, you.", seed=3)
    assert ratio(spoken.samples, reference.samples) > 40
    assert [word.text for word in spoken.words] == [word.text for word in reference.words]

    def never(*_: object) -> None:
        raise AssertionError("made again")

    monkeypatch.setattr(light_engine, "_made", never)
    again = light_engine.opened(folder)
    assert again is not None
    assert np.array_equal(again.speak("Hello there, you.", seed=3).samples, spoken.samples)


@needs_kernels
def test_weights_are_packed_for_the_named_kernels(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each instruction set has a layout of its own; none leaves speech to torch."""
    spoken = []
    for name in levels():
        monkeypatch.setenv(VARIABLE, name)
        engine = light_engine.opened(folder)
        assert engine is not None
        spoken.append(engine.speak("Good morning.", seed=1).samples)
    for other in spoken[1:]:
        assert len(other) == len(spoken[0]) and ratio(other, spoken[0]) > 40
    monkeypatch.setenv(VARIABLE, "none")
    assert light_engine.opened(folder) is None


@needs_kernels
def test_streams_of_two_engines_are_equal(folder: Path, cache: Path) -> None:
    def streamed() -> np.ndarray:
        engine = light_engine.opened(folder)
        assert engine is not None
        parts = list(engine.stream("Hello there, you and all of the others here.", seed=3))
        assert len(parts) > 1
        return np.concatenate([part.samples for part in parts])

    first = streamed()  # which hears the voice for itself
    assert list(cache.glob("voice-*.vwp"))
    assert np.array_equal(first, streamed())  # which is told by the cache


@needs_kernels
@pytest.mark.parametrize("harm", ["cut", "header", "weights", "empty", "another"])
def test_a_damaged_packed_file_is_made_anew(folder: Path, cache: Path, harm: str) -> None:
    engine = light_engine.opened(folder)
    assert engine is not None
    expected = engine.speak("Hello.").samples
    (path,) = cache.glob("[!v]*.vwp")
    data = bytearray(path.read_bytes())
    if harm == "weights":
        data[-len(data) // 3] ^= 0x10
    if harm == "header":
        data[data.index(b'"cin"')] ^= 1
    path.unlink()  # the engine has it mapped
    path.write_bytes({"cut": data[:-64], "empty": b"", "another": b"RIFF" * 999}.get(harm, data))
    with pytest.raises(packed.Unusable):
        packed.read(path)
    again = light_engine.opened(folder)
    assert again is not None
    assert np.array_equal(again.speak("Hello.").samples, expected)
    packed.read(path)


@needs_kernels
def test_other_weights_are_packed_anew(folder: Path, cache: Path) -> None:
    engine = light_engine.opened(folder)
    assert engine is not None
    before = engine.speak("Hello.").samples
    torch.manual_seed(5)
    kept = (folder / WEIGHTS).read_bytes()
    try:
        save_model(folder, TTSModel(config_of()).eval(), config_of())
        other = light_engine.opened(folder)
        assert other is not None
        after = other.speak("Hello.").samples
        assert before.shape != after.shape or not np.allclose(before, after)
    finally:
        (folder / WEIGHTS).write_bytes(kept)


@needs_kernels
def test_a_cache_that_refuses_costs_a_sentence(folder: Path, tmp_path: Path, cache: Path) -> None:
    cache.parent.mkdir()
    cache.write_bytes(b"a file where the folder should be")
    engine = light_engine.opened(folder)
    assert engine is not None
    spoken = engine.speak("Hello.")
    assert [w for w in spoken.warnings if "packed anew at every start" in w and str(cache) in w]
    assert len(list(engine.stream("Hello there."))) > 0


@needs_kernels
@pytest.mark.skipif(sys.platform != "linux", reason="/proc/self/maps is Linux's")
def test_say_leaves_torch_alone(folder: Path, cache: Path, tmp_path: Path) -> None:
    assert light_engine.opened(folder) is not None
    program = (
        "import sys; from voicewright.cli import main; code = main(sys.argv[1:]); "
        "loaded = 'torch' in sys.modules or 'libtorch' in open('/proc/self/maps').read(); "
        "sys.exit(9 if loaded else code)"
    )
    line = ["say", "Hello there.", "--model", str(folder), "-o", str(tmp_path / "x.wav")]
    done = subprocess.run([sys.executable, "-c", program, *line], capture_output=True, env=dict(os.environ))
    assert done.returncode == 0, done.stderr.decode()
    assert (tmp_path / "x.wav").stat().st_size > 1000


def test_other_graphs_are_left_to_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert light_engine.opened(None) is None  # pulses, edges, a led phase
    with pytest.raises(VoicewrightError):
        TorchEngine(tmp_path / "nothing")
    assert light_engine.opened(tmp_path / "nothing") is None
    monkeypatch.setattr(light_engine, "library", lambda: None)
    assert light_engine.opened(tmp_path) is None


@needs_kernels
def test_opened_by_name_of_the_implementation(folder: Path, cache: Path) -> None:
    assert isinstance(open_engine(folder, implementation="light"), light_engine.LightEngine)
    with pytest.raises(UsageError, match="cannot be spoken without torch"):
        open_engine(None, implementation="light")


def test_channels_of_zeros_stay_zeros_as_half() -> None:
    name = "x.parametrizations.weight.original"
    direction = torch.randn(300, 300, 3)
    direction[5] = 1e-20
    gain = torch.ones(300, 1, 1)
    gain[5] = 0
    state = narrow({f"{name}0": gain, f"{name}1": direction})
    assert state[f"{name}1"].dtype == torch.float16
    folded = torch._weight_norm(state[f"{name}1"].float(), state[f"{name}0"].float(), 0)
    assert torch.isfinite(folded).all()
    assert not folded[5].any()
