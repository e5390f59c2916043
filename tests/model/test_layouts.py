"""Weights in every layout that is in circulation: names, shapes, configurations, and refusals."""

from __future__ import annotations

import io
import json
import pickle
import re
import sys
import types
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import kokoro_oracle
import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file
from small_models import bare_like, hifigan_like, kokoro_like
from test_checkpoint import Bomb, kokoro_layout, old_spectral, same
from torch import Tensor, nn

from voicewright.errors import VoicewrightError
from voicewright.model import reading
from voicewright.model.checkpoint import load_model
from voicewright.model.config import ModelConfig
from voicewright.model.tts.model import TTSModel
from voicewright.model.tts.style import StyleEncoders
from voicewright.text.vocab import KOKORO, STYLETTS2_SPOKEN

LSTM = {"weight_ih": "Wx", "weight_hh": "Wh", "bias_ih": "bias_ih", "bias_hh": "bias_hh"}


def flat(content: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {f"{net}.{key}": value for net, state in content.items() for key, value in state.items()}


def mlx(model: nn.Module) -> dict[str, Tensor]:
    """The names and axes that mlx-audio saves, made here from its rules and not by the code under test."""
    out = {}
    for key, value in flat(kokoro_layout(model, "")).items():  # type: ignore[arg-type]
        base, _, last = key.rpartition(".")
        stem, _, way = last.partition("_l0")
        if stem in LSTM and "_l0" in last:
            key = f"{base}.{LSTM[stem]}_{'backward' if way else 'forward'}"
        elif last in ("gamma", "beta") and base.startswith("text_encoder"):
            key = f"{base}.{'weight' if last == 'gamma' else 'bias'}"
        elif last in ("weight", "weight_v") and value.dim() == 3:
            value = value.transpose(1, 2).contiguous()
        out[key] = value
    return out


def styletts2(config: ModelConfig) -> tuple[dict[str, Any], TTSModel, StyleEncoders]:
    """A checkpoint as StyleTTS 2's scripts save it, with what only training needs."""
    torch.manual_seed(4)
    model, styles = TTSModel(config), StyleEncoders(config).eval()
    net: dict[str, Any] = kokoro_layout(model)
    net |= {
        "style_encoder": old_spectral(styles.acoustic),
        "predictor_encoder": old_spectral(styles.prosodic),
        "diffusion": {"module.unet.weight": torch.zeros(3)},
        "text_aligner": {"module.cnn.bias": torch.zeros(3)},
        "mpd": {"discriminators.0.bias": torch.zeros(3)},
    }
    optimizer = torch.optim.AdamW(model.bert_encoder.parameters()).state_dict()
    return {"net": net, "optimizer": [("bert_encoder", optimizer)], "iters": 7, "epoch": 2}, model, styles


@pytest.fixture(scope="module")
def kokoro() -> TTSModel:
    torch.manual_seed(2)
    return TTSModel(kokoro_like())


@pytest.mark.parametrize(
    "layout", ["net", "bare keys", "net, flat", "nets with module", "mlx", "parametrised"]
)
def test_kokoros_weights_open_under_any_names(layout: str, kokoro: TTSModel, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    match layout:
        case "net":
            torch.save({"net": kokoro_layout(kokoro)}, path)
        case "bare keys":
            torch.save(flat(kokoro_layout(kokoro, "")), path)
        case "net, flat":
            torch.save({f"net.{k}": v for k, v in flat(kokoro_layout(kokoro)).items()}, path)
        case "nets with module":
            path = path.with_suffix(".safetensors")
            save_file(flat(kokoro_layout(kokoro)), path)
        case "mlx":
            path = path.with_suffix(".safetensors")
            state = mlx(kokoro)
            assert "predictor.lstm.Wx_backward" in state and "text_encoder.cnn.0.1.weight" in state
            assert state["decoder.generator.ups.0.weight_v"].shape == (32, 20, 16)
            save_file(state, path)
        case _:
            path = path.with_suffix(".safetensors")
            save_file({key: value.bfloat16() for key, value in kokoro.state_dict().items()}, path)
    loaded, _, styles = load_model(path, kokoro_like())
    assert styles is None
    if layout != "parametrised":
        same(kokoro, loaded)
        return
    for key, value in loaded.state_dict().items():
        assert value.dtype == torch.float32 and torch.equal(
            value, kokoro.state_dict()[key].bfloat16().float()
        )


def test_the_old_file_format_of_torch_opens(kokoro: TTSModel, tmp_path: Path) -> None:
    torch.save({"net": kokoro_layout(kokoro)}, tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    same(kokoro, load_model(tmp_path / "w.pth", kokoro_like())[0])


def test_the_packages_own_state_opens_bare_at_full_width(tmp_path: Path) -> None:
    """What people save as `KModel.state_dict()`: both weight norms, affine norms, no configuration."""
    theirs = kokoro_oracle.build(ModelConfig(vocab={}), tmp_path)
    state = {key: value.half() for key, value in theirs.state_dict().items()}
    state["decoder.generator.stft.window"] = torch.hann_window(20)
    (tmp_path / "m").mkdir()
    path = tmp_path / "m" / "kokoro.safetensors"
    save_file(state, path)
    said: list[str] = []
    ours, config, _ = load_model(path, note=said.append)
    assert config == ModelConfig(vocab=dict(KOKORO))
    assert len(said) == 1 and "was taken for Kokoro 1.0" in said[0] and "put the config.json" in said[0]
    found = ours.state_dict()
    for key in ("predictor.F0_proj.weight", "decoder.generator.conv_post.parametrizations.weight.original1"):
        old = key.replace("parametrizations.weight.original1", "weight_v")
        assert torch.equal(found[key], state[key if key in state else old].float())
    assert not any(value.is_meta for value in (*ours.parameters(), *ours.buffers()))


@pytest.mark.parametrize("hifigan", [False, True], ids=["istftnet", "hifigan"])
@pytest.mark.parametrize("beside", ["nothing", "config.yml"])
def test_styletts2s_checkpoints_open(hifigan: bool, beside: str, tmp_path: Path) -> None:
    config = bare_like(hifigan)
    styles_like = hifigan_like().voicewright.style_encoder
    extension = config.voicewright.model_copy(update={"style_encoder": styles_like})
    config = config.model_copy(update={"voicewright": extension})
    content, model, styles = styletts2(config)
    torch.save(content, tmp_path / "epoch.pth")
    said: list[str] = []
    if beside == "config.yml":
        (tmp_path / beside).write_text(yaml.safe_dump(upstream_config(config)))
        with pytest.raises(VoicewrightError, match=r"wrong shape.*decoder\.encode"):  # upstream fixes 1024
            load_model(tmp_path)
        return
    loaded, found, encoders = load_model(tmp_path, note=said.append)
    same(model, loaded)
    assert encoders is not None
    same(styles, encoders)
    assert found == config.model_copy(update={"vocab": dict(STYLETTS2_SPOKEN)})
    name = "HiFi-GAN" if hifigan else "iSTFTNet"
    assert said == [
        f"epoch.pth comes without a config.json and was taken for StyleTTS 2 with the {name} decoder and its "
        "table of 178 symbols. Its mpd, text_aligner, which only training needs, stay unused."
    ]


def upstream_config(config: ModelConfig) -> dict[str, Any]:
    """StyleTTS 2's config.yml of such a model."""
    net, kind = config.istftnet, config.voicewright.decoder
    decoder: dict[str, Any] = {
        "type": kind,
        "resblock_kernel_sizes": list(net.resblock_kernel_sizes),
        "resblock_dilation_sizes": [list(sizes) for sizes in net.resblock_dilation_sizes],
        "upsample_rates": list(net.upsample_rates),
        "upsample_kernel_sizes": list(net.upsample_kernel_sizes),
        "upsample_initial_channel": net.upsample_initial_channel,
    }
    if kind == "istftnet":
        decoder |= {"gen_istft_n_fft": net.gen_istft_n_fft, "gen_istft_hop_size": net.gen_istft_hop_size}
    fields = (
        "dim_in",
        "dropout",
        "hidden_dim",
        "max_conv_dim",
        "max_dur",
        "multispeaker",
        "n_layer",
        "n_mels",
    )
    params = {key: getattr(config, key) for key in (*fields, "n_token", "style_dim")}
    return {"model_params": params | {"decoder": decoder, "slm": {"sr": 16000}}, "batch_size": 16}


@pytest.mark.parametrize("kind", ["istftnet", "hifigan"])
def test_styletts2s_config_is_read(kind: str, tmp_path: Path) -> None:
    from voicewright.model.config import Extension, IstftNet, StyleEncoder
    from voicewright.model.recognise import read_config

    net = IstftNet()
    if kind == "hifigan":
        rates, kernels = (10, 5, 3, 2), (20, 10, 6, 4)
        net = IstftNet(upsample_rates=rates, upsample_kernel_sizes=kernels, gen_istft_hop_size=1)
    extension = Extension(decoder=kind, style_encoder=StyleEncoder())  # type: ignore[arg-type]
    full = ModelConfig(vocab=dict(STYLETTS2_SPOKEN), istftnet=net, voicewright=extension)
    (tmp_path / "config.yml").write_text(yaml.safe_dump(upstream_config(full)))
    assert read_config(tmp_path / "config.yml") == full
    # Kokoro 0.19 has the same block, as JSON and without style encoders.
    params = upstream_config(full)["model_params"]
    (tmp_path / "config.json").write_text(json.dumps(params))
    extension = Extension(decoder=kind)  # type: ignore[arg-type]
    assert read_config(tmp_path / "config.json") == full.model_copy(update={"voicewright": extension})
    (tmp_path / "config.yml").write_text("model_params: {decoder: {type: melgan}}")
    with pytest.raises(VoicewrightError, match=r"config\.yml: decoder"):
        read_config(tmp_path / "config.yml")
    (tmp_path / "config.yml").write_text("a: [")
    with pytest.raises(VoicewrightError, match=r"config\.yml cannot be read"):
        read_config(tmp_path / "config.yml")


def test_the_vocabulary_of_the_file_beside_is_taken(kokoro: TTSModel, tmp_path: Path) -> None:
    """1.1-zh has 1.0's graph and other symbols."""
    torch.save(kokoro_layout(kokoro), tmp_path / "kokoro-v1_1-zh.pth")
    kokoro_like().model_copy(update={"vocab": {"ㄅ": 30, "a": 43}}).write(tmp_path / "config.json")
    said: list[str] = []
    _, config, _ = load_model(tmp_path, note=said.append)
    assert config.vocab == {"ㄅ": 30, "a": 43} and said == []


def test_a_bare_kokoro_is_taken_for_a_version_or_refused(tmp_path: Path) -> None:
    model = TTSModel(bare_like())
    said: list[str] = []
    torch.save({"net": kokoro_layout(model)}, tmp_path / "old.pth")
    assert load_model(tmp_path / "old.pth", note=said.append)[1].vocab == STYLETTS2_SPOKEN
    torch.save(kokoro_layout(model), tmp_path / "new.pth")
    assert load_model(tmp_path / "new.pth", note=said.append)[1].vocab == KOKORO
    assert "Kokoro 0.19" in said[0] and "Kokoro 1.0" in said[1]
    (tmp_path / "new.pth").rename(tmp_path / "kokoro-v1_1-zh.pth")
    with pytest.raises(VoicewrightError, match=r"1\.1-zh.*put the config\.json"):
        load_model(tmp_path / "kokoro-v1_1-zh.pth")
    with pytest.raises(VoicewrightError, match=r"several weights files \(kokoro-v1_1-zh\.pth, old\.pth\)"):
        load_model(tmp_path)


def test_a_bare_file_that_leaves_doubt_is_one_sentence(kokoro: TTSModel, tmp_path: Path) -> None:
    torch.save(kokoro_layout(kokoro), tmp_path / "w.pth")
    with pytest.raises(VoicewrightError, match=r"PL-BERT of width 16.*put the config\.json") as caught:
        load_model(tmp_path / "w.pth")
    assert "\n" not in str(caught.value)
    torch.save({"net": {"generator": {"weight": torch.zeros(2)}}}, tmp_path / "w.pth")
    with pytest.raises(VoicewrightError, match="not hold the networks of Kokoro"):
        load_model(tmp_path / "w.pth")


def test_nothing_is_dropped_or_overwritten_in_silence(kokoro: TTSModel, tmp_path: Path) -> None:
    content = kokoro_layout(kokoro)
    content["decoder"]["module.encode.norm1.norm.weight"] = torch.ones(7)
    content["decoder"]["module.encode.norm1.norm.bias"] = torch.ones(7)
    content["vocoder"] = {"module.weight": torch.ones(1)}
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(VoicewrightError) as caught:
        load_model(tmp_path / "w.pth", kokoro_like())
    unexpected = "decoder.encode.norm1.norm.bias, decoder.encode.norm1.norm.weight, vocoder.weight"
    assert f"unexpected (3): {unexpected}" in str(caught.value)
    twice = flat(kokoro_layout(kokoro))
    twice["bert_encoder.bias"] = torch.zeros(16)
    torch.save(twice, tmp_path / "w.pth")
    with pytest.raises(VoicewrightError, match=r"holds bert_encoder\.bias twice"):
        load_model(tmp_path / "w.pth", kokoro_like())
    packed = mlx(kokoro) | {"bert_encoder.scales": torch.zeros(2)}
    save_file(packed, tmp_path / "w.safetensors")
    with pytest.raises(VoicewrightError, match="quantised MLX file"):
        load_model(tmp_path / "w.safetensors", kokoro_like())


class Scheduler:
    """Pickles like a bound function of a scheduler, which StyleTTS 2's LibriTTS checkpoint holds."""

    def __reduce__(self) -> tuple[Any, tuple[Any, str]]:
        return getattr, (torch.optim.lr_scheduler.OneCycleLR, "_annealing_cos")


class Munch(dict):  # type: ignore[type-arg]
    """Pickles like the `munch` package's, which need not be installed to open a file."""


Munch.__module__ = "munch"


def test_leftovers_of_training_are_read_as_nothing(
    kokoro: TTSModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "w.pth"
    leftovers = {"optimizer": [("bert", {"anneal": Scheduler()})], "val_loss": np.float64(0.5)}
    with monkeypatch.context() as patched:
        module = types.ModuleType("munch")
        module.Munch = Munch  # type: ignore[attr-defined]
        patched.setitem(sys.modules, "munch", module)
        torch.save({"net": kokoro_layout(kokoro), "args": Munch(style_dim=128), **leftovers}, path)
    content = reading.read_content(path)
    assert isinstance(content["optimizer"][0][1]["anneal"], reading.Inert)
    assert isinstance(content["val_loss"], reading.Inert) and content["args"] == {"style_dim": 128}
    same(kokoro, load_model(path, kokoro_like())[0])
    assert not any("Inert" in str(known) for known in torch.serialization.get_safe_globals())
    # Where the weights should be, an inert object is no weight.
    torch.save({"net": {"bert": {"x": Scheduler()}}}, path)
    with pytest.raises(VoicewrightError, match="neither a tensor nor a dictionary"):
        load_model(path, kokoro_like())


@pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])
def test_hostile_pickles_run_nothing(new: bool, tmp_path: Path) -> None:
    target, path = tmp_path / "ran", tmp_path / "w.pth"
    torch.save({"net": {"x": Bomb(target)}}, path, _use_new_zipfile_serialization=new)
    with pytest.raises(VoicewrightError, match=r"nothing in it was run.*\.mkdir"):
        reading.read_content(path)
    assert not target.exists()


def rewrite(path: Path, change: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> None:
    """The archive again, with entries replaced whose name ends like a key of `change`."""
    entries = {}
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            entries[name] = archive.read(name)
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(name, next((new for end, new in change.items() if name.endswith(end)), data))


def test_sizes_are_checked_before_they_are_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.pth"

    def refused(words: str) -> None:
        with pytest.raises(VoicewrightError, match=words) as caught:
            reading.read_content(path)
        assert "\n" not in str(caught.value)

    torch.save({"x": torch.arange(64.0)}, path)
    assert torch.equal(reading.read_content(path)["x"], torch.arange(64.0))
    rewrite(path, {})
    assert torch.equal(reading.read_content(path)["x"], torch.arange(64.0))
    rewrite(path, {"data/0": bytes(4 * 63)})
    refused("damaged")
    torch.save({"x": torch.zeros(2**20)}, path)
    rewrite(path, {}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 2**16
    refused("packed to be larger than it is")
    torch.save({"x": torch.zeros(1).expand(2**40)}, path)
    refused(r"tensor \[1099511627776\] that is no plain array")
    torch.save({"x": torch.zeros(3, device="meta")}, path)
    refused("no plain array")
    torch.save({"x": torch.zeros(3).to_sparse()}, path)
    refused("no plain array|refused|damaged")
    one = torch.zeros(1000)
    torch.save({str(number): one[:] for number in range(50)}, path)
    refused("far more tensors than it holds")
    (tmp_path / "other.zip").write_bytes(b"")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    refused("zip archive without weights")
    monkeypatch.setattr(reading, "MOST_BYTES", 10)
    refused("more than any weights file")


def test_an_old_file_that_claims_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save({"x": torch.zeros(5)}, path, _use_new_zipfile_serialization=False)
    honest = path.read_bytes()
    assert honest.count(b"K\x05N") == 1  # the storage's length, before its (absent) view
    path.write_bytes(honest.replace(b"K\x05N", b"J\x00\x00\x00\x7fN"))
    with pytest.raises(VoicewrightError, match="damaged"):
        reading.read_content(path)
    file = io.BytesIO()
    pickle.dump([1, 2], file, protocol=2)
    path.write_bytes(file.getvalue())
    with pytest.raises(VoicewrightError):
        load_model(path, kokoro_like())


def test_a_configuration_of_absurd_widths_is_refused_without_memory(kokoro: TTSModel, tmp_path: Path) -> None:
    torch.save(kokoro_layout(kokoro), tmp_path / "w.pth")
    config = kokoro_like().model_copy(update={"hidden_dim": 2_000_000})
    with pytest.raises(VoicewrightError, match=r"text_encoder\.embedding\.weight \[178, 16\] instead of"):
        load_model(tmp_path / "w.pth", config)


def test_no_capital_of_styletts2s_table_is_mistaken_for_kokoros_diphthong() -> None:
    """`A` is a letter there that no one ever spoke; what is said instead is spelt out or reported."""
    from voicewright.text.frontend import Frontend

    assert len(STYLETTS2_SPOKEN) == 149 and STYLETTS2_SPOKEN["ə"] == KOKORO["ə"]
    assert "A" in Frontend("en-us").tokens("Day by day.").phonemes
    spelt = Frontend("en-us", vocab=STYLETTS2_SPOKEN).tokens("Day by day.")
    assert not set(spelt.phonemes) & set("AIOQWYʤʧ") and spelt.ids[0] == STYLETTS2_SPOKEN["d"]


def test_every_layout_of_the_page_has_its_test() -> None:
    """docs/weights.md names tests; each is there."""
    page = (Path(__file__).parents[2] / "docs" / "weights.md").read_text("utf-8")
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)", page)
    assert len(named) > 9
    for file, name in named:
        found = next(Path(__file__).parents[1].rglob(file))
        assert f"def {name}" in found.read_text("utf-8"), f"{file} has no {name}"
    rows = [line for line in page.splitlines() if line.startswith("| ") and line.count("|") == 6]
    assert all("test_" in row or "config_is_read" in row for row in rows[1:])
