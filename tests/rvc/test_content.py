"""HuBERT for conversion: transformers' numbers, both file formats, names, and what is refused."""

from __future__ import annotations

import argparse
import json
import re
import sys
import types
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from voicewright.errors import UsageError, VoicewrightError
from voicewright.rvc.content import files as content
from voicewright.rvc.content import hubert
from voicewright.rvc.content.files import EMBEDDERS, open_content
from voicewright.rvc.content.hubert import ContentConfig, ContentEncoder, expected_shapes

SMALL: dict[str, Any] = {
    "hidden_size": 48,
    "num_hidden_layers": 10,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "conv_dim": [32] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
POSITION = "encoder.pos_conv_embed.conv."


def config(**changes: Any) -> ContentConfig:
    sizes = {key: tuple(value) if isinstance(value, list) else value for key, value in SMALL.items()}
    return ContentConfig(**{"projection": 12, **sizes, **changes})


def weights(shape: ContentConfig, seed: int = 0) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    made = {}
    for name, size in expected_shapes(shape).items():
        noise = torch.randn(size, generator=rng)
        norm = "norm" in name and name.endswith("weight")
        made[name] = 1 + 0.2 * noise if norm else noise * (0.1 if len(size) == 1 else size[1] ** -0.5)
    return made


def sound(seconds: float, batch: int = 1) -> Tensor:
    rng = torch.Generator().manual_seed(5)
    return 0.1 * torch.randn(batch, round(seconds * 16_000), generator=rng)


def weight_norm(own: dict[str, Tensor], gain: str, direction: str) -> dict[str, Tensor]:
    """The positional convolution's weight as a gain per tap and a direction of another length."""
    weight = own.pop(f"{POSITION}weight")
    own[POSITION + gain] = weight.norm(dim=(0, 1), keepdim=True)
    own[POSITION + direction] = 3.0 * weight
    return own


def fairseq_names(own: dict[str, Tensor]) -> dict[str, Tensor]:
    renamed = {}
    for name, value in weight_norm(own, "weight_g", "weight_v").items():
        name = re.sub(r"(conv_layers\.\d+)\.conv\.", r"\1.0.", name)
        name = name.replace("conv_layers.0.layer_norm.", "conv_layers.0.2.")
        name = re.sub(r"(layers\.\d+)\.layer_norm", r"\1.self_attn_layer_norm", name)
        name = re.sub(r"^feature_projection\.layer_norm", "layer_norm", name)
        for theirs, ours in (
            ("post_extract_proj", "feature_projection.projection"),
            ("encoder.pos_conv.0", "encoder.pos_conv_embed.conv"),
            (".self_attn.", ".attention."),
            (".fc1.", ".feed_forward.intermediate_dense."),
            (".fc2.", ".feed_forward.output_dense."),
        ):
            name = name.replace(ours, theirs)
        renamed[name] = value
    return {**renamed, "mask_emb": torch.zeros(1), "label_embs_concat": torch.zeros(2, 2)}


@pytest.fixture
def base_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """fairseq's files say no sizes: they are HuBERT-base's, here a small one's."""
    monkeypatch.setattr(content, "ContentConfig", lambda **given: config(**given))


# --- numbers


@pytest.mark.parametrize("full", [False, True], ids=["small", "base"])
def test_features_are_transformers(full: bool, figure: Callable[[str], None]) -> None:
    transformers = pytest.importorskip("transformers")
    shape = ContentConfig() if full else config()
    sizes = {} if full else SMALL
    theirs = transformers.HubertModel(transformers.HubertConfig(**sizes)).eval()
    own = weights(shape)
    state = weight_norm(dict(own), *content._NORMED[1])
    head = {name: state.pop(name) for name in ("final_proj.weight", "final_proj.bias")}
    width = shape.hidden_size
    theirs.load_state_dict({**state, "masked_spec_embed": torch.zeros(width)}, strict=True)
    ours = ContentEncoder(shape, own)
    samples = sound(0.7, batch=2)
    with torch.inference_mode():
        seen = theirs(samples, output_hidden_states=True)
        v1 = seen.hidden_states[9] @ head["final_proj.weight"].T + head["final_proj.bias"]
    layers = len(ours.layers)
    pairs = (
        (ours.encode(samples, "v1"), v1),
        (ours.encode(samples, "v2"), seen.last_hidden_state),
        (ours.hidden(samples, 0), seen.hidden_states[0]),
        (ours.hidden(samples, layers), seen.last_hidden_state),
    )
    worst = max(float((mine - other).abs().max() / other.abs().max()) for mine, other in pairs)
    assert all(mine.shape == other.shape and other.std() > 0.1 for mine, other in pairs)
    assert worst < 1e-5
    figure(f"HuBERT {'base' if full else 'small'}: within {worst:.1e} of transformers' largest value")


def test_frames_and_short_sounds() -> None:
    encoder = ContentEncoder(config(), weights(config()))
    for samples, frames in ((0, 0), (399, 0), (400, 1), (719, 1), (720, 2), (16_000, 49)):
        assert encoder.encode(sound(1.0)[:, :samples], "v2").shape == (1, frames, 48)
        assert encoder.encode(sound(1.0)[:, :samples], "v1").shape == (1, frames, 12)


def test_blocks_of_frames_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = ContentEncoder(config(), weights(config()))
    whole = encoder.encode(sound(1.0))
    monkeypatch.setattr(hubert, "BLOCK", 7)
    assert torch.allclose(encoder.encode(sound(1.0)), whole, atol=1e-5)


def test_silence_is_finite() -> None:
    encoder = ContentEncoder(config(), weights(config()))
    assert torch.isfinite(encoder.encode(torch.zeros(1, 4000))).all()


def test_bf16_stays_near(figure: Callable[[str], None]) -> None:
    own = weights(config())
    exact = ContentEncoder(config(), own).encode(sound(1.0))
    near = ContentEncoder(config(), own, torch.bfloat16).encode(sound(1.0))
    assert near.dtype == torch.float32
    ratio = float(10 * torch.log10(exact.square().mean() / (near - exact).square().mean()))
    assert 25 < ratio < 80  # below: broken; above: it was not bf16
    figure(f"HuBERT in bf16: {ratio:.0f} dB signal to noise at random weights")


def test_what_cannot_be_encoded_is_said() -> None:
    encoder = ContentEncoder(config(projection=None), weights(config(projection=None)))
    with pytest.raises(VoicewrightError, match="no final_proj"):
        encoder.encode(sound(0.1), "v1")
    with pytest.raises(VoicewrightError, match="'v3'"):
        encoder.encode(sound(0.1), "v3")
    with pytest.raises(VoicewrightError, match="at most 180 s"):
        encoder.encode(torch.zeros(1, 181 * 16_000))
    with pytest.raises(VoicewrightError, match="not from"):
        encoder.encode(torch.zeros(16_000))


# --- files


@pytest.mark.parametrize("names", content._NORMED, ids=["weight_g", "parametrizations"])
@pytest.mark.parametrize("file", ["pytorch_model.bin", "model.safetensors"])
def test_transformers_folders_open(tmp_path: Path, names: tuple[str, str], file: str) -> None:
    own = weights(config())
    state = {**weight_norm(dict(own), *names), "masked_spec_embed": torch.zeros(48)}
    (tmp_path / "config.json").write_text(json.dumps({**SMALL, "layer_norm_eps": 1e-5, "conv_bias": False}))
    if file.endswith("bin"):
        torch.save(state, tmp_path / file)
    else:
        save_file(state, tmp_path / file)
    wanted = ContentEncoder(config(), own).encode(sound(0.3), "v1")
    assert torch.allclose(open_content(tmp_path, "fp32").encode(sound(0.3), "v1"), wanted, atol=1e-5)


class Opened:
    """Would leave a trace if a file could run anything."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.fixture
def fairseq(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What fairseq leaves in a checkpoint, of classes that exist only while it is written."""
    left = {}
    for full in ("fairseq.data.dictionary.Dictionary", "omegaconf.dictconfig.DictConfig"):
        module, _, name = full.rpartition(".")
        kind = type(name, (), {"__module__": module})
        for depth in range(1, module.count(".") + 2):
            part = ".".join(module.split(".")[:depth])
            monkeypatch.setitem(sys.modules, part, types.ModuleType(part))
        setattr(sys.modules[module], name, kind)
        left[name] = kind()
        left[name].symbols = ["a", {"b": 1}]
    return {
        "args": argparse.Namespace(arch="hubert", kernels=[(512, 10, 5)]),
        "cfg": left["DictConfig"],
        "task_state": {"dictionaries": [left["Dictionary"]]},
        "optimizer_history": [{"num_updates": 400_000}],
        "last_optimizer_state": None,
    }


def forget(*packages: str) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] in packages]:
        del sys.modules[name]


@pytest.mark.usefixtures("base_width")
@pytest.mark.parametrize("half", [False, True], ids=["fp32", "fp16"])
def test_fairseqs_file_opens_without_fairseq(tmp_path: Path, fairseq: dict[str, Any], half: bool) -> None:
    own = weights(config())
    state = {name: value.half() if half else value for name, value in fairseq_names(dict(own)).items()}
    torch.save({**fairseq, "model": OrderedDict(state)}, tmp_path / "hubert_base.pt")
    forget("fairseq", "omegaconf")
    encoder = open_content(tmp_path / "hubert_base.pt", "fp32")
    assert not any(name.startswith(("fairseq", "omegaconf")) for name in sys.modules)
    wanted = ContentEncoder(config(), own).encode(sound(0.3))
    assert torch.allclose(encoder.encode(sound(0.3)), wanted, atol=2e-2 if half else 1e-5)


@pytest.mark.usefixtures("base_width")
def test_a_hostile_file_runs_nothing(tmp_path: Path, fairseq: dict[str, Any]) -> None:
    trace = tmp_path / "trace"
    state = fairseq_names(weights(config()))
    for name, hidden in (("a", {"cfg": Opened(trace)}), ("b", {"model": Opened(trace)})):
        torch.save({**fairseq, "model": state, **hidden}, tmp_path / f"{name}.pt")
        with pytest.raises(VoicewrightError):
            open_content(tmp_path / f"{name}.pt")
        assert not trace.exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda own: own.pop("encoder.layers.3.layer_norm.bias"), "layers.3.layer_norm.bias is missing"),
        (lambda own: own.update({"encoder.layers.10.x": torch.zeros(1)}), "layers.10.x is unknown"),
        (lambda own: own.update({"final_proj.bias": torch.zeros(5)}), r"final_proj.bias is \[5\] instead"),
        (lambda own: own.update({"a": torch.zeros(2, dtype=torch.int64)}), "not of floating point"),
        (lambda own: own.update({f"{POSITION}weight_g": torch.zeros(3)}), "unknown"),
    ],
)
def test_loading_is_strict(tmp_path: Path, change: Callable[[dict[str, Tensor]], Any], says: str) -> None:
    own = weights(config())
    change(own)
    (tmp_path / "config.json").write_text(json.dumps(SMALL))
    torch.save(own, tmp_path / "pytorch_model.bin")
    with pytest.raises(VoicewrightError, match=says):
        open_content(tmp_path)


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"feat_extract_norm": "layer", "do_stable_layer_norm": True}, "another kind of network"),
        ({"hidden_size": 10**9}, "from 1 to 4096"),
        ({"hidden_size": "48"}, "whole numbers"),
        ({"num_attention_heads": 5}, "contradicts itself"),
        ({"conv_stride": [5, 2]}, "contradicts itself"),
        ({"conv_stride": [1] * 7}, "frames of 20 samples every 1 are not HuBERT's"),
        ({"layer_norm_eps": "no"}, "small number"),
        ([], "no configuration"),
    ],
)
def test_configurations_that_lie(tmp_path: Path, said: Any, says: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**SMALL, **said} if isinstance(said, dict) else said))
    torch.save(weights(config()), tmp_path / "pytorch_model.bin")
    with pytest.raises(VoicewrightError, match=says):
        open_content(tmp_path)


# --- names


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VOICEWRIGHT_CACHE", str(tmp_path / "ours"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


@pytest.mark.parametrize("name", EMBEDDERS)
def test_a_missing_one_is_one_sentence(nowhere: Path, name: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_content(name)
    said = str(caught.value)
    place = nowhere / "ours" / "parts" / name / "pytorch_model.bin"
    assert said.count(". ") == 0 and f"voicewright models pull {name}" in said
    assert "on Hugging Face" in said and str(place) in said
    with pytest.raises(UsageError, match="neither a file"):
        open_content("wavlm-large")


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("contentvec", "ours/parts/contentvec/pytorch_model.bin"),
        ("hubert_base", "models/contentvec/pytorch_model.bin"),
        ("Content-Vec-Best", "hub/models--lengyue233--content-vec-best/snapshots/abc/pytorch_model.bin"),
        ("spin", "hub/models--IAHispano--Applio/snapshots/d/Resources/embedders/spin/pytorch_model.bin"),
    ],
)
def test_names_are_found_where_files_are(nowhere: Path, name: str, place: str) -> None:
    path = nowhere / place
    path.parent.mkdir(parents=True)
    torch.save(weights(config()), path)
    path.with_name("config.json").write_text(json.dumps(SMALL))
    assert open_content(name).encode(sound(0.1)).shape == (1, 4, 48)
