"""RVC voices on disk: every kind opened, what is false mended or refused, written back, merged."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from rvc_weights import filled, reduced
from safetensors.torch import save_file
from torch import Tensor

from voicewright.errors import VoicewrightError
from voicewright.model.checkpoint import Unfilled
from voicewright.rvc.files.checkpoint import ConversionVoice, merge, open_voice, save_voice
from voicewright.rvc.network.config import RVC_PRESETS, SynthesizerConfig
from voicewright.rvc.network.synthesizer import Synthesizer

V2 = reduced(RVC_PRESETS["v2", "40k"])


@cache
def weights(config: SynthesizerConfig, posterior: bool = False) -> dict[str, Tensor]:
    with torch.device("meta"), Unfilled():
        net = Synthesizer(config, posterior)
    return filled({name: tuple(value.shape) for name, value in net.state_dict().items()})


def classic(config: SynthesizerConfig = V2, **more: Any) -> dict[str, Any]:
    """What RVC-WebUI writes: halves, the pretrained model's count of speakers, the constant 32."""
    items = config.to_list()
    items[1], items[-3] = 32, 109
    content = {
        "weight": {name: value.half() for name, value in weights(config).items()},
        "config": items,
        "info": "100epoch",
        "sr": config.rate_name,
        "f0": int(config.f0),
        "version": config.version,
    }
    return {key: value for key, value in (content | more).items() if value is not None}


@pytest.fixture
def stored(tmp_path: Path) -> Callable[..., Path]:
    def store(content: Any, name: str = "singer.pth", legacy: bool = False) -> Path:
        path = tmp_path / name
        torch.save(content, path, _use_new_zipfile_serialization=not legacy)
        return path

    return store


def holds(voice: ConversionVoice, state: dict[str, Tensor]) -> bool:
    found = voice.synthesizer.state_dict()
    return found.keys() == state.keys() and all(
        torch.equal(found[name], value.float()) for name, value in state.items()
    )


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("f0", [True, False])
@pytest.mark.parametrize("key", [("v1", "48k"), ("v2", "24k")])
def test_classic_files(stored: Callable[..., Path], key: Any, f0: bool, legacy: bool) -> None:
    config = reduced(replace(RVC_PRESETS[key], f0=f0))
    content = classic(config)
    voice = open_voice(stored(content, legacy=legacy))
    assert voice.config == replace(config, segment_frames=32, speakers=3)
    assert holds(voice, content["weight"]) and not voice.synthesizer.training
    assert (voice.info, voice.embedder, voice.notes) == ({"info": "100epoch"}, "contentvec", [])


def test_keys_that_are_absent(stored: Callable[..., Path]) -> None:
    v1 = reduced(RVC_PRESETS["v1", "40k"])
    voice = open_voice(stored(classic(v1, version=None, f0=None, sr=None, info=None)))
    assert (voice.config.version, voice.config.f0, voice.info) == ("v1", True, {})
    # absent means v1 with F0, but nothing is said that the weights would contradict
    assert open_voice(stored(classic(version=None))).config.version == "v2"
    with pytest.raises(VoicewrightError, match=r"singer\.pth: it has no emb_g\.weight"):
        content = classic()
        del content["weight"]["emb_g.weight"]
        open_voice(stored(content))


def test_applios_keys(stored: Callable[..., Path]) -> None:
    more = {
        "f0": True,
        "sr": 40000,
        "epoch": 200,
        "step": 5000,
        "creation_date": "2025-01-01T00:00:00",
        "model_hash": "ab" * 32,
        "overtrain_info": None,
        "dataset_length": "00:12:00",
        "model_name": "singer",
        "author": "\x1b[31mAnn\x07",
        "embedder_model": "spin",
        "speakers_id": 1,
        "vocoder": "HiFi-GAN",
    }
    content = classic() | more
    renamed = {
        ".weight_g": ".parametrizations.weight.original0",
        ".weight_v": ".parametrizations.weight.original1",
    }
    for old, new in renamed.items():  # as one of its switches writes them
        content["weight"] = {name.replace(old, new): value for name, value in content["weight"].items()}
    voice = open_voice(stored(content))
    assert holds(voice, classic()["weight"])
    assert voice.embedder == "spin" and voice.notes == []
    assert voice.info["author"] == "[31mAnn"  # nothing that would steer a terminal
    assert (voice.info["epoch"], voice.info["step"], voice.info["model_name"]) == (200, 5000, "singer")
    assert "overtrain_info" not in voice.info


@pytest.mark.parametrize("posterior", [True, False])
@pytest.mark.parametrize("key", RVC_PRESETS, ids="-".join)
def test_training_checkpoints(stored: Callable[..., Path], key: Any, posterior: bool) -> None:
    config = replace(reduced(RVC_PRESETS[key]), spec_channels=RVC_PRESETS[key].spec_channels)
    state = weights(config, posterior)
    content = {"model": state, "iteration": 7, "optimizer": {"state": {}}, "learning_rate": 1e-4}
    voice = open_voice(stored(content, "G_7.pth"))
    assert voice.config == config and voice.kind == "training checkpoint"
    assert holds(voice, {name: value for name, value in state.items() if not name.startswith("enc_q")})
    assert voice.info == {"iteration": 7, "learning_rate": 1e-4}
    assert len(voice.notes) == 1 and f"{config.version} at {config.rate_name}" in voice.notes[0]


def test_a_training_checkpoint_whose_rate_cannot_be_told(stored: Callable[..., Path]) -> None:
    config = reduced(replace(RVC_PRESETS["v1", "48k"], f0=False))
    with pytest.raises(VoicewrightError, match="shapes do not tell one"):
        open_voice(stored({"model": weights(config)}))


def test_the_posterior_encoder_is_left_out(stored: Callable[..., Path]) -> None:
    content = classic()
    content["weight"] = {name: value.half() for name, value in weights(V2, posterior=True).items()}
    assert holds(open_voice(stored(content)), classic()["weight"])


def test_false_flags_are_mended_and_said(stored: Callable[..., Path]) -> None:
    voice = open_voice(stored(classic(f0=0, version="v1", sr="48k")))
    assert (voice.config.f0, voice.config.version, voice.config.sample_rate) == (True, "v2", 40_000)
    assert [note.partition(",")[0] for note in voice.notes] == [
        "It says that it is v1",
        "It says f0=0",
        "It says sr=48k; its configuration's 40000 Hz counts.",
    ]
    voice = open_voice(stored(classic(replace(V2, f0=False)) | {"f0": 1}))
    assert not voice.config.f0 and voice.notes == [
        "It says f0=1, but its weights know no F0; they are believed."
    ]


def lie(place: int, value: Any) -> dict[str, Any]:
    content = classic()
    content["config"][place] = value
    return content


def nested(depth: int = 18) -> Any:
    """Small in a file, 2^18 numbers when written out; with a few more it would be all of memory."""
    value: Any = [1, 2]
    for _ in range(depth):
        value = [value, value]
    return value


LIES: dict[str, tuple[Any, str]] = {
    "wide": (lie(13, 65536), r"misshapen \(dec\.cond\.bias"),
    "absurd": (lie(13, 1 << 40), "no number that an RVC model can have"),
    "negative": (lie(2, -192), "no number that an RVC model can have"),
    "words": (lie(12, "rm -rf"), "no list of numbers"),
    "nested": (lie(11, [[[1]]] * 3), "no number that an RVC model can have"),
    "endless": (lie(10, [3] * 10_000), "no list of numbers"),
    "rates": (lie(12, [10, 10, 2, 4]), "multiply to 800 samples a frame"),
    "rate": (lie(17, 48000), "multiply to 400 samples a frame, which is not 48000"),
    "layers": (lie(6, 60), r"lacking \(enc_p\.encoder\.attn_layers\.10"),
    "layered": (lie(6, 60_000), "absurdly large"),
    "heads": (lie(5, 5), "cannot be divided among its heads"),
    "block": (lie(9, "3"), "of kind '3', not 1 or 2"),
    "nan": (lie(8, float("nan")), "no dropout rate"),
    "fewer": (classic() | {"config": [1, 2, 3]}, "has 3 items where RVC's has 18"),
    "no list": (classic() | {"config": "18 items, truly"}, "has no items where RVC's has 18"),
    "version": (classic(version="v3"), "its version is v3"),
    "f0": (classic(f0=[1]), "its f0 is neither 0 nor 1"),
    "f0 tensor": (classic(f0=torch.ones(3)), "its f0 is neither 0 nor 1"),
    "fork": (classic() | {"config": [*V2.to_list()[:17], 768, 40000]}, "a voice of the DDPN fork"),
    "voras": (classic(version="voras_beta"), "VoRAS"),
    "vocoder": (classic(vocoder="RefineGAN"), "its vocoder is RefineGAN"),
    "no weights": (classic(weight={}), "holds no weights"),
    "numbers": (classic(weight={"a": 1}), "a is no tensor of weights"),
    "integers": (classic(weight={"a": torch.ones(3, dtype=torch.int8)}), "a is no tensor of weights"),
    "list": ([1, 2], "holds no dictionary"),
    "other": ({"net": {}}, "neither `weight` nor `model`"),
    "infinite": (
        classic(weight=classic()["weight"] | {"emb_g.weight": torch.full((3, 16), float("nan"))}),
        r"the weight emb_g\.weight has values that are no numbers",
    ),
    "stranger": (
        classic(weight=classic()["weight"] | {"dec.door": torch.ones(1)}),
        r"1 unknown \(dec\.door\)",
    ),
    "nested version": (classic(version=nested()), "its version is a list;"),
    "nested vocoder": (classic(vocoder=nested()), "its vocoder is a list,"),
    "nested block": (lie(9, nested()), "no kind of residual blocks"),
    "nested name": (classic(weight={((1, 2), (1, 2)): 1}), "a tuple is no tensor"),
    "terminal": (
        classic(weight=classic()["weight"] | {"dec\x1b[31m" + "x" * 9000: torch.ones(1)}),
        r"1 unknown \(dec \[31mx{92}\)",
    ),
    "scalar": (classic(weight=classic()["weight"] | {"emb_g.weight": torch.tensor(1.0)}), "is no table"),
}


@pytest.mark.parametrize("name", LIES)
def test_lies_are_refused_in_one_sentence(stored: Callable[..., Path], name: str) -> None:
    content, expected = LIES[name]
    path = stored(content)
    with pytest.raises(VoicewrightError, match=expected) as caught:
        open_voice(path)
    said = str(caught.value)
    assert said.startswith(str(path)) and said.endswith(".") and "\n" not in said and len(said) < 600


def test_keys_that_take_years_to_hash_are_refused_at_once(tmp_path: Path) -> None:
    body = b"K\x01\x85q\x00"
    for depth in range(60):  # each tuple holds the last one twice
        body = body + b"0h%ch%c\x86q%c" % (depth, depth, depth + 1)
    evil = b"\x80\x02}" + body + b"K\x01s."
    path = tmp_path / "slow.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("slow/data.pkl", evil)
        archive.writestr("slow/version", "3")
    with pytest.raises(VoicewrightError, match="is damaged"):
        open_voice(path)


def test_numbers_that_json_has_not_are_left_out(stored: Callable[..., Path]) -> None:
    info = open_voice(
        stored(classic(epoch=float("nan"), step=float("inf"), author="A", deep=[1.0, 1e400]))
    ).info
    assert info["author"] == "A" and info["deep"] == [1.0] and not {"epoch", "step"} & info.keys()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_writing_and_opening_again(stored: Callable[..., Path], tmp_path: Path, suffix: str) -> None:
    voice = open_voice(stored(classic(epoch=3, embedder_model="spin", author="Ann")))
    out = tmp_path / f"again{suffix}"
    save_voice(out, voice.synthesizer, voice.info)
    again = open_voice(out)
    assert (again.config, again.info, again.embedder) == (voice.config, voice.info, "spin")
    assert holds(again, voice.synthesizer.state_dict())
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["singer.pth", out.name])


def test_upstream_finds_its_keys(stored: Callable[..., Path], tmp_path: Path) -> None:
    net = Synthesizer(V2)  # with its posterior encoder, as training has it
    save_voice(tmp_path / "out.pth", net, {"info": "7epoch"})
    content = torch.load(tmp_path / "out.pth", weights_only=True)
    assert list(content) == ["weight", "config", "info", "sr", "f0", "version"]
    assert (content["sr"], content["f0"], content["version"], content["info"]) == ("40k", 1, "v2", "7epoch")
    assert content["config"] == V2.to_list() and len(content["config"]) == 18
    assert all(value.dtype == torch.float16 for value in content["weight"].values())
    assert not any(name.startswith("enc_q") for name in content["weight"])


def test_what_cannot_be_written(tmp_path: Path) -> None:
    net = Synthesizer(V2, posterior=False)
    with pytest.raises(VoicewrightError, match="change its suffix"):
        save_voice(tmp_path / "singer.onnx", net)
    with torch.no_grad():
        net.emb_g.weight[0, 0] = 1e6
    with pytest.raises(VoicewrightError, match=r"emb_g\.weight is not finite as torch\.float16"):
        save_voice(tmp_path / "singer.pth", net)
    assert list(tmp_path.iterdir()) == []


def test_safetensors_without_their_description(tmp_path: Path) -> None:
    path = tmp_path / "singer.safetensors"
    for metadata in (None, {"rvc": "{"}, {"rvc": "[1]"}, {"rvc": "[" * 100_000}):
        save_file(weights(V2), path, metadata=metadata)
        with pytest.raises(VoicewrightError, match="no description of an RVC voice"):
            open_voice(path)
    save_file(weights(V2), path, metadata={"rvc": json.dumps({"config": lie(13, 128)["config"]})})
    with pytest.raises(VoicewrightError, match="misshapen"):
        open_voice(path)


def test_merging(stored: Callable[..., Path]) -> None:
    a = open_voice(stored(classic(), "a.pth"))
    narrow = replace(V2, speakers=2)
    other = classic(narrow)
    other["weight"] = {name: value * 2 for name, value in other["weight"].items()}
    b = open_voice(stored(other, "b.pth"))
    mixed = merge([a, b], [3, 1])
    state = mixed.synthesizer.state_dict()
    assert mixed.config == replace(a.config, speakers=2)
    for name, value in b.synthesizer.state_dict().items():
        mine = a.synthesizer.state_dict()[name][: len(value)]
        assert torch.allclose(state[name], 0.75 * mine + 0.25 * value, atol=1e-6)
    assert mixed.info == {"info": "merged: 0.75 a.pth + 0.25 b.pth"}


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (classic(reduced(RVC_PRESETS["v2", "48k"])), r"different sample rates \(40000, 48000\)"),
        (classic(reduced(RVC_PRESETS["v1", "40k"])), r"different versions \(v2, v1\)"),
        (classic(replace(V2, f0=False)), "follows F0 and the other does not"),
        (classic(replace(V2, filter=128)), "different shapes"),
        (classic(embedder_model="spin"), r"different embedders \(contentvec, spin\)"),
    ],
)
def test_what_cannot_be_merged(stored: Callable[..., Path], other: Any, expected: str) -> None:
    a, b = open_voice(stored(classic(), "a.pth")), open_voice(stored(other, "b.pth"))
    with pytest.raises(VoicewrightError, match=expected):
        merge([a, b])


def test_shares_of_a_merge(stored: Callable[..., Path]) -> None:
    a = open_voice(stored(classic()))
    for voices, shares in (
        ([a], None),
        ([a, a], [1]),
        ([a, a], [0, 0]),
        ([a, a], [-1, 2]),
        ([a, a], [1, float("inf")]),
    ):
        with pytest.raises(VoicewrightError):
            merge(voices, shares)
