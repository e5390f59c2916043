"""Beatrice 2: folding, files and forward, against numbers of the rc.0 trainer's own modules.

The trainer's modules (Project Beatrice, MIT) got the weights of `beatrice_weights.trained` and the sound of
`beatrice_weights.sound`, without the dropout that their cross-attention keeps in evaluation and with
`torch.rand` replaced as below. Each entry is a norm and six values, evenly spaced.
"""

from __future__ import annotations

import gzip
import io
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from beatrice_weights import sound, trained
from torch import Tensor

from voicewright.beatrice.converter import find
from voicewright.beatrice.files import open_beatrice, save_beatrice
from voicewright.beatrice.fold import fold, open_trained
from voicewright.beatrice.network.extractors import read_pitch
from voicewright.beatrice.network.model import BeatriceModel, BeatriceVoice
from voicewright.beatrice.network.vocoder import running_phase
from voicewright.errors import VoicewrightError

TRAINER = {
    "phones": (104.901891, [0.039185, -0.645311, 0.867727, 0.363015, -0.400119, 0.036669]),
    "logits": (303.767974, [-0.942179, 0.501257, -1.178162, 0.749921, -0.063999, 0.352277]),
    "energy": (6.002941, [0.366063, 0.429359, 0.429162, 0.427648, 0.422021, 0.369802]),
    "bins": (3846.411054, [352.0, 216.0, 116.0, 335.0, 116.0, 317.0]),
    "features": (4.618113, [0.000532, 0.139508, 0.075653, 0.003302, 0.145313, 0.179414]),
    "samples": (40.986241, [-0.048396, 0.116245, 0.038305, -0.029415, -0.006839, -0.061384]),
}
VOICES = (
    BeatriceVoice("Ann", 'says "hello"', 57.5, "ann.png", "a face"),
    BeatriceVoice("Böb \\ co", "two\nlines", 45.125),
)


@pytest.fixture(scope="module")
def model() -> BeatriceModel:
    return fold(*trained(), VOICES, "two voices")


def _agrees(name: str, found: Tensor) -> None:
    flat = found.double().flatten()
    norm, values = TRAINER[name]
    assert float(flat.norm()) == pytest.approx(norm, rel=1e-5)
    chosen = flat[torch.linspace(0, len(flat) - 1, 6).long()]
    np.testing.assert_allclose(chosen.numpy(), values, atol=1e-5)


def _even(*shape: int, **_: object) -> Tensor:
    return torch.from_numpy(np.random.default_rng(len(shape)).random(shape).astype(np.float32))


@torch.inference_mode()
def test_says_what_the_trainer_says(model: BeatriceModel, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = sound()
    _agrees("phones", model.phone_extractor(heard))
    logits, energy = model.pitch_estimator(heard)
    _agrees("logits", logits)
    _agrees("energy", energy)
    bins, features = read_pitch(logits)
    _agrees("bins", bins)
    _agrees("features", features)
    monkeypatch.setattr(torch, "rand", _even)
    voices = torch.tensor([0, 1])
    _agrees("samples", model.say(model.hear(heard, voices, pitch_shift=-2.0, formant_shift=1.0), voices))


@torch.inference_mode()
def test_files_hold_all_of_a_model(model: BeatriceModel, tmp_path: Path) -> None:
    toml = save_beatrice(model, tmp_path / "paraphernalia")
    sizes = {path.stem: path.stat().st_size for path in toml.parent.glob("*.bin")}
    assert sizes == {
        "phone_extractor": 7_244_608,
        "pitch_estimator": 3_499_136,
        "waveform_generator": 7_921_664,
        "embedding_setter": 264_192,
        "speaker_embeddings": 4_608 + 2 * 229_888,
    }
    assert find(toml) == toml and find(toml.parent) == toml.parent and find(tmp_path) is None
    again = open_beatrice(toml.parent)
    assert (again.voices, again.name) == (VOICES, "two voices")
    for key, value in model.state_dict().items():
        torch.testing.assert_close(again.state_dict()[key], value.half().float(), rtol=0, atol=0, msg=key)
    heard = sound(0.4)
    torch.testing.assert_close(again.phone_extractor(heard), model.phone_extractor(heard), rtol=0, atol=8e-3)
    second = save_beatrice(again, tmp_path / "again")
    for path in toml.parent.glob("*.bin"):
        assert path.read_bytes() == (second.parent / path.name).read_bytes()


def test_opens_the_trainers_checkpoint(model: BeatriceModel, tmp_path: Path) -> None:
    phone, pitch, generator = trained()
    packed = io.BytesIO()
    torch.save(
        {
            "iteration": 1,
            "net_g": generator,
            "phone_extractor": phone,
            "pitch_estimator": pitch,
            "h": {"san": False},
        },
        packed,
    )
    path = tmp_path / "checkpoint_voices_00000001.pt.gz"
    path.write_bytes(gzip.compress(packed.getvalue(), 1))
    opened = open_trained(path)
    assert [voice.name for voice in opened.voices] == ["voice 0", "voice 1"]
    for key, value in model.state_dict().items():
        assert torch.equal(opened.state_dict()[key], value), key
    whole = path.read_bytes()
    for damaged in (whole[:-5000], whole[:20] + bytes(100) + whole[120:]):
        path.write_bytes(damaged)
        with pytest.raises(VoicewrightError, match="cannot be unpacked"):
            open_trained(path)


def test_a_small_file_does_not_unpack_to_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voicewright.beatrice.fold.MOST_BYTES", 3 << 20)
    path = tmp_path / "checkpoint_1.pt.gz"
    path.write_bytes(gzip.compress(bytes(5 << 20)))
    with pytest.raises(VoicewrightError, match="unpacks to more than"):
        open_trained(path)


@pytest.mark.parametrize(
    ("part", "key", "value", "message"),
    [
        (2, "vq.codebooks", torch.zeros(50_000_000, 0, 0), r"table of voices is \[50000000, 0, 0\]"),
        (2, "vq.codebooks", torch.tensor(1.0), r"table of voices is \[\]"),
        (2, 7, torch.zeros(1), "does not fit"),
        (0, "head.bias", torch.full((128,), float("nan")), "no numbers"),
        (1, "head.weight", torch.zeros(()), "does not fit"),
    ],
)
def test_lying_checkpoints(tmp_path: Path, part: int, key: object, value: Tensor, message: str) -> None:
    parts = [dict(state) for state in trained()]
    parts[part][key] = value  # type: ignore[index]
    names = ("phone_extractor", "pitch_estimator", "net_g")
    path = tmp_path / "checkpoint.pt"
    torch.save(dict(zip(names, parts, strict=True)), path)
    with pytest.raises(VoicewrightError, match=message) as caught:
        open_trained(path)
    assert "\n" not in str(caught.value)


def test_strange_names_are_written_and_read(model: BeatriceModel, tmp_path: Path) -> None:
    voices = (BeatriceVoice("\U000e0001\x1b[31m"), BeatriceVoice("b"))
    again = open_beatrice(save_beatrice(fold(*trained(), voices, "n" * 300), tmp_path))
    assert again.voices == voices


def test_strange_weights_are_named() -> None:
    phone, pitch, generator = trained()
    with pytest.raises(VoicewrightError, match="has 2 voices, 1 were named"):
        fold(phone, pitch, generator, VOICES[:1])
    with pytest.raises(VoicewrightError, match=r"keys that rc\.0 has not: extra"):
        fold(phone, pitch, generator | {"extra": torch.zeros(1)})
    del phone["head.bias"]
    with pytest.raises(VoicewrightError, match=r"lacks head\.bias"):
        fold(phone, pitch, generator)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "pitch_estimator.bin").unlink(), r"pitch_estimator\.bin is missing"),
        (lambda f: (f / "speaker_embeddings.bin").write_bytes(b"\0" * 8), "has 8 bytes where 464384 are due"),
        (lambda f: (f / "embedding_setter.bin").write_bytes(b"\xff" * 264_192), "not finite"),
        (lambda f: _edit(f, "2.0.0-rc.0", "2.0.0-beta.1"), r"version 2\.0\.0-beta\.1"),
        (lambda f: _edit(f, "[voice.1]", "[voice.7]"), "numbered from 0"),
        (lambda f: _edit(f, "[model]", "[model"), "not valid TOML"),
        (lambda f: _edit(f, 'name = "Ann"', "name = 3"), r"\[voice\.0\] has no name"),
        (lambda f: _edit(f, "= 57.5", f"= {10**400}"), r"average_pitch of \[voice\.0\]"),
        (lambda f: _edit(f, "= 57.5", "= nan"), r"average_pitch of \[voice\.0\]"),
        (lambda f: _edit(f, "= 57.5", "= " + "[" * 50_000), "not valid TOML"),
    ],
)
def test_damaged_folders(model: BeatriceModel, tmp_path: Path, spoil: object, message: str) -> None:
    save_beatrice(model, tmp_path)
    assert callable(spoil)
    spoil(tmp_path)
    with pytest.raises(VoicewrightError, match=message):
        open_beatrice(tmp_path)


def _edit(folder: Path, old: str, new: str) -> None:
    (toml,) = folder.glob("*.toml")
    text = toml.read_text(encoding="utf-8")
    assert old in text
    toml.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_phase_goes_on_where_it_stopped() -> None:
    pitch = torch.linspace(100, 300, 50)[None]
    whole = running_phase(pitch, torch.tensor([0.25]))
    later = running_phase(pitch[:, 20:], whole[:, 20 * 240])
    difference = (whole[:, 20 * 240 :] - later + 0.5) % 1.0 - 0.5
    assert float(difference.abs().max()) < 1e-4
    assert math.isclose(float(whole[0, 0]), 0.25)
