"""RVC voices where their trainer leaves them: which file of a folder is the voice, and that neighbours do not
matter. `convert --to`, `say --through` and `voice inspect | convert | merge` are of one opinion.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rvc_weights import filled, reduced
from safetensors.torch import save_file

from voicewright.catalogue.places import embedded_model
from voicewright.cli import main
from voicewright.errors import UsageError
from voicewright.model.checkpoint import Unfilled
from voicewright.rvc.converter import find as rvc_file
from voicewright.rvc.files.checkpoint import open_voice, save_voice
from voicewright.rvc.files.peek import find_voice, rvc_content
from voicewright.rvc.network.config import RVC_PRESETS
from voicewright.rvc.network.synthesizer import Synthesizer
from voicewright.rvc.verbs import find as rvc_path

CONFIG = replace(reduced(RVC_PRESETS["v2", "40k"]), spec_channels=RVC_PRESETS["v2", "40k"].spec_channels)
TRAINER = {"train": {"log_interval": 200, "epochs": 20000}, "data": {"sampling_rate": 40000}, "model": {}}
"""The beginning of the config.json that RVC-WebUI and Applio leave in a run's folder."""


def weights(posterior: bool = False) -> dict[str, torch.Tensor]:
    with torch.device("meta"), Unfilled():
        synthesizer = Synthesizer(CONFIG, posterior=posterior)
    return filled({name: tuple(value.shape) for name, value in synthesizer.state_dict().items()})


def _small(path: Path) -> None:
    state = {name: value.half() for name, value in weights().items()}
    content = {"weight": state, "config": CONFIG.to_list(), "info": "9epoch", "sr": "40k", "f0": 1}
    torch.save({**content, "version": "v2"}, path)


def _checkpoint(path: Path) -> None:
    state = weights(posterior=True)
    optimizer = {"state": {0: {"step": 3, "exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 1e-4}]}
    torch.save({"model": state, "iteration": 7, "optimizer": optimizer, "learning_rate": 1e-4}, path)


def _discriminator(path: Path) -> None:
    names = ("discriminators.0.convs.0.weight_g", "discriminators.1.convs.0.weight_v")
    torch.save({"model": dict.fromkeys(names, torch.ones(2)), "iteration": 7, "optimizer": {}}, path)


def _safetensors(path: Path) -> None:
    _small(path.with_suffix(".aside"))
    voice = open_voice(path.with_suffix(".aside"))
    path.with_suffix(".aside").unlink()
    save_voice(path, voice.synthesizer, voice.info)


def _config(path: Path) -> None:
    path.write_text(json.dumps(TRAINER))


def _other(path: Path) -> None:
    path.write_bytes(b"anything")


def _stranger(path: Path) -> None:
    torch.save({"bert": {"module.embeddings.word_embeddings.weight": torch.ones(2)}}, path)


WRITERS: Mapping[str, Callable[[Path], None]] = {
    "s": _small,
    "g": _checkpoint,
    "d": _discriminator,
    "t": _safetensors,
    "c": _config,
    "o": _other,
    "x": _stranger,
}

FOLDERS: tuple[tuple[str, str, str, str], ...] = (
    # what it is, its files and their kinds, what is named (.: the folder), the voice or !words of refusal
    ("latest and config", "G_2333333.pth=g config.json=c", "G_2333333.pth", "G_2333333.pth"),
    ("the folder of it", "G_2333333.pth=g config.json=c", ".", "G_2333333.pth"),
    ("with the judge", "G_2333333.pth=g D_2333333.pth=d config.json=c", ".", "G_2333333.pth"),
    ("the small one too", "G_2333333.pth=g singer.pth=s config.json=c", ".", "singer.pth"),
    ("the small one beside a config", "singer.pth=s config.json=c", "singer.pth", "singer.pth"),
    ("StyleTTS 2's config beside", "singer.pth=s config.yml=o", "singer.pth", "singer.pth"),
    ("capitals", "SINGER.PTH=s", ".", "SINGER.PTH"),
    ("capitals of a checkpoint", "G_100.PTH=g config.json=c", ".", "G_100.PTH"),
    ("several steps", "G_900.pth=g G_12000.pth=g config.json=c", ".", "G_12000.pth"),
    ("in weights/", "weights/singer.pth=s G_100.pth=g config.json=c", ".", "weights/singer.pth"),
    ("all that RVC-WebUI leaves",
     "G_2333333.pth=g D_2333333.pth=d config.json=c added_IVF9_Flat_nprobe_1_a_v2.index=o "
     "trained_IVF9_Flat_nprobe_1_a_v2.index=o total_fea.npy=o filelist.txt=o train.log=o "
     "events.out.tfevents.1=o 3_feature768/a.npy=o",
     ".", "G_2333333.pth"),
    ("all that Applio leaves",
     "G_2333333.pth=g D_2333333.pth=d config.json=c model_info.json=o a_100e_2000s.pth=s "
     "added_a.index=o reference/ref16000.npy=o",
     ".", "a_100e_2000s.pth"),
    ("as .pt", "singer.pt=s config.json=c", ".", "singer.pt"),
    ("as safetensors", "singer.safetensors=t config.json=c", ".", "singer.safetensors"),
    ("safetensors named", "model.safetensors=t config.json=c", "model.safetensors", "model.safetensors"),
    ("a hidden copy", "._singer.pth=o singer.pth=s config.json=c", ".", "singer.pth"),
    ("a damaged neighbour", "broken.pth=o singer.pth=s config.json=c", ".", "singer.pth"),
    ("another model's weights beside", "kokoro.pth=x singer.pth=s", ".", "singer.pth"),
    ("several voices", "a.pth=s b.pth=s config.json=c", ".", "!several voices (a.pth, b.pth)"),
    ("the judge itself", "G_7.pth=g D_7.pth=d config.json=c", "D_7.pth", "!G_7.pth"),
    ("the judge alone", "D_7.pth=d", "D_7.pth", "!G_*.pth"),
    ("the folder of a judge alone", "D_7.pth=d config.json=c", ".",
     "!D_7.pth of RVC's training, but no voice"),
    ("the folder of an index alone", "added_a.INDEX=o total_fea.npy=o config.json=c", ".",
     "!added_a.INDEX of RVC's training, but no voice"),
    ("the index", "added_a.INDEX=o singer.pth=s", "added_a.INDEX", "!--index"),
)  # fmt: skip


def _fill(folder: Path, files: str) -> None:
    for name, _, kind in (file.rpartition("=") for file in files.split()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        WRITERS[kind](folder / name)


@pytest.mark.parametrize(("what", "files", "named", "right"), FOLDERS)
def test_the_voice_of_a_folder(tmp_path: Path, what: str, files: str, named: str, right: str) -> None:
    _fill(tmp_path, files)
    if right.startswith("!"):
        with pytest.raises(UsageError) as caught:
            rvc_file(tmp_path / named)
        assert right[1:] in str(caught.value)
        if (tmp_path / named).is_dir():
            with pytest.raises(UsageError) as again:
                rvc_path(tmp_path / named)
            assert str(again.value) == str(caught.value)
        return
    assert rvc_file(tmp_path / named) == rvc_path(tmp_path / named) == tmp_path / right
    assert open_voice(tmp_path / right).config == CONFIG


def test_models_of_ours_are_not_taken_for_rvc(tmp_path: Path) -> None:
    assert rvc_file(embedded_model()) is None and rvc_path(embedded_model()) is None
    assert rvc_file(embedded_model() / "model.safetensors") is None
    _config(tmp_path / "config.json")
    _stranger(tmp_path / "kokoro.pth")
    assert rvc_file(tmp_path / "kokoro.pth") is None and find_voice(tmp_path) is None
    save_file({"enc_p.other": torch.ones(1)}, tmp_path / "x.safetensors")
    assert rvc_content(tmp_path / "x.safetensors") is None


def test_inspect_and_convert_take_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _fill(tmp_path, "G_2333333.pth=g D_2333333.pth=d config.json=c")
    assert main(["voice", "inspect", str(tmp_path), "--json"]) == 0
    facts: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert facts["file"] == str(tmp_path / "G_2333333.pth") and facts["what"] == "RVC training checkpoint"
    assert main(["voice", "convert", str(tmp_path), "-o", str(tmp_path / "small.pth")]) == 0
    assert rvc_content(tmp_path / "small.pth") == "voice"
    assert rvc_file(tmp_path) == tmp_path / "small.pth"
