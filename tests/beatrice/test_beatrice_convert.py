"""Beatrice voices as converters: clock, joins, pitch, options."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from beatrice_weights import trained

from voicewright.beatrice.files import save_beatrice
from voicewright.beatrice.fold import fold
from voicewright.beatrice.network.model import BeatriceVoice
from voicewright.beatrice.offline import BeatriceConverter
from voicewright.cli import main
from voicewright.conversion.open import open_converter
from voicewright.conversion.protocol import Converter, ConvertOptions
from voicewright.errors import Cancelled, UsageError, VoicewrightError

RATE = 22_050


@pytest.fixture(scope="module")
def converter() -> Converter:
    return BeatriceConverter(
        fold(*trained(), (BeatriceVoice("Ann", average_pitch=57.0), BeatriceVoice("Bo")), "m")
    )


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    time = np.arange(int(9.3 * RATE)) / RATE
    hum = np.sin(2 * np.pi * np.cumsum(120 + 20 * np.sin(2 * np.pi * time)) / RATE)
    return (0.3 * hum * (1 + np.sin(2 * np.pi * 3 * time)) / 2).astype(np.float32)


def test_pieces_are_the_whole(converter: Converter, speech: np.ndarray) -> None:
    options = ConvertOptions(pitch=3.0, speaker="Bo", seed=4)
    whole = converter.convert(speech, RATE, options)
    assert len(whole.samples) == round(len(speech) * 24_000 / RATE)
    assert whole.sample_rate == 24_000 and whole.transpose == 3.0
    assert np.abs(whole.samples).max() <= 0.97 and whole.samples.std() > 0.01
    parts = np.concatenate(list(converter.stream(np.array_split(speech, 37), RATE, options)))
    np.testing.assert_allclose(parts, whole.samples, atol=1e-4)
    again = converter.convert(speech, RATE, options)
    np.testing.assert_array_equal(again.samples, whole.samples)


def test_joins_do_not_click(converter: Converter, speech: np.ndarray) -> None:
    made = converter.convert(np.tile(speech, 2), RATE, ConvertOptions(pitch=0.0)).samples
    jumps = np.abs(np.diff(made))
    for join in (8, 16):
        near = jumps[join * 24_000 - 300 : join * 24_000 + 300]
        assert near.max() <= 1.2 * np.quantile(jumps, 0.9999)


def test_pitch_is_carried_to_the_voice(converter: Converter, speech: np.ndarray) -> None:
    made = converter.convert(speech, RATE, ConvertOptions(pitch=2.0))
    voiced = made.f0_source > 0
    if voiced.any():
        steps = 12 * np.log2(made.f0_target[voiced] / made.f0_source[voiced])
        assert np.median(steps) == pytest.approx(2.0, abs=0.01)
    assert len(made.f0_source) == -(-len(speech) * 100 // RATE)


def test_another_rate_and_short_or_silent_input(converter: Converter) -> None:
    for samples, rate in ((np.zeros(8_000, np.float32), 8_000), (np.full(50, 0.1, np.float32), 48_000)):
        made = converter.convert(samples, rate, ConvertOptions(sample_rate=48_000))
        assert made.sample_rate == 48_000 and len(made.samples) == round(len(samples) * 48_000 / rate)
        assert np.isfinite(made.samples).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"speaker": "Cy"}, "has no voice 'Cy'; choose one of 0 Ann, 1 Bo"),
        ({"speaker": 2}, "has no voice 2"),
        ({"formant": 3.0}, "2 semitones at most"),
        ({"exact": True}, "about RVC voices"),
    ],
)
def test_options_it_cannot_follow(converter: Converter, options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        converter.convert(np.zeros(16_000, np.float32), 16_000, ConvertOptions(**options))  # type: ignore[arg-type]


def test_bad_samples_and_cancelling(converter: Converter, speech: np.ndarray) -> None:
    for samples in (np.zeros(0, np.float32), np.array([np.nan], np.float32)):
        with pytest.raises(VoicewrightError):
            converter.convert(samples, RATE, ConvertOptions())
    with pytest.raises(Cancelled):
        converter.convert(speech, RATE, ConvertOptions(), lambda: True)


def test_random_state_is_left_alone(converter: Converter, speech: np.ndarray) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    converter.convert(speech[:RATE], RATE, ConvertOptions())
    assert torch.equal(before, torch.get_rng_state())


def test_opened_by_name(converter: Converter, tmp_path: Path) -> None:
    model = fold(*trained(), (BeatriceVoice("Ann"), BeatriceVoice("Bo")), "two")
    toml = save_beatrice(model, tmp_path / "folder")
    for named in (toml, toml.parent):
        assert open_converter(named).name == "two"
    with pytest.raises(UsageError, match="--index belongs to voices of RVC"):
        open_converter(toml, tmp_path / "added.index")
    (toml.parent / "phone_extractor.bin").unlink()
    with pytest.raises(VoicewrightError, match="is missing"):
        open_converter(toml)


def test_the_command_line_inspects_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packed = io.BytesIO()
    phone, pitch, generator = trained()
    torch.save({"net_g": generator, "phone_extractor": phone, "pitch_estimator": pitch}, packed)
    checkpoint = tmp_path / "checkpoint_latest.pt.gz"
    checkpoint.write_bytes(gzip.compress(packed.getvalue(), 1))
    folder = tmp_path / "made"
    assert main(["voice", "convert", str(checkpoint), "--names", "Ann,Bo", "-o", str(folder)]) == 0
    assert main(["voice", "inspect", str(folder), "--json"]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["voices"] == {"0": "Ann, about 262 Hz", "1": "Bo, about 262 Hz"}
    assert said["parameters"] > 8_000_000 and "not stated" in said["licence"]
    assert main(["voice", "convert", str(folder), "--names", "Ann", "-o", str(tmp_path / "other")]) == 2
    assert main(["voice", "convert", str(folder), "-o", str(tmp_path / "other.pt")]) == 2
    (folder / "speaker_embeddings.bin").write_bytes(b"")
    assert main(["voice", "inspect", str(folder)]) == 1
    assert "has 0 bytes where 464384 are due" in capsys.readouterr().err
