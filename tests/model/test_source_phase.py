"""The switch `source_phase_from`: from there on voiced frames have the excitation's phase."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_models import small

from voicewright.errors import VoicewrightError
from voicewright.model.config import ModelConfig
from voicewright.model.tts.generator import Generator, lead
from voicewright.model.tts.model import TTSModel
from voicewright.model.tts.source import Source


def generator(**switches: object) -> Generator:
    torch.manual_seed(0)
    made = TTSModel(small(**switches)).decoder.generator.eval()
    assert isinstance(made, Generator)
    return made


def parts(made: Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The spectrum that goes into the inverse STFT, and the source's."""
    rng = torch.Generator().manual_seed(1)
    x, style = torch.randn(1, 32, 20, generator=rng), torch.randn(1, 128, generator=rng)
    f0 = torch.cat([torch.full((1, 10), 150.0), torch.zeros(1, 10)], dim=1)
    harmonics = made.harmonics(f0, torch.Generator().manual_seed(2))
    seen: list[torch.Tensor] = []
    original = made.stft.inverse

    def inverse(real: torch.Tensor, imaginary: torch.Tensor) -> torch.Tensor:
        seen.extend([real, imaginary])
        return original(real, imaginary)

    made.stft.inverse = inverse  # type: ignore[method-assign]
    made.synthesise(x, style, harmonics)
    return seen[0], seen[1], harmonics


@torch.no_grad()
def test_voiced_frames_take_the_sources_phase_above_and_everything_else_stays() -> None:
    plain, led = generator(), generator(source_phase_from=2600.0)
    assert led.lead_gain is not None and len(led.lead_gain) == led.bins - 13
    led.load_state_dict(plain.state_dict() | {"lead_gain": torch.full_like(led.lead_gain, -0.45)})
    real, imaginary, harmonics = parts(led)
    before, before_imaginary, _ = parts(plain)
    voiced = harmonics[0, 2 * led.bins].bool()
    assert voiced[:101].all() and not voiced[101:].any()  # ten features of 150 Hz, then none
    unchanged = torch.ones(led.bins, len(voiced), dtype=torch.bool)
    unchanged[13:, voiced] = False
    torch.testing.assert_close(real[0][unchanged], before[0][unchanged])
    torch.testing.assert_close(imaginary[0][unchanged], before_imaginary[0][unchanged])
    upper = (slice(13, -1), voiced)
    own = torch.atan2(imaginary[0][upper], real[0][upper])
    theirs = torch.atan2(harmonics[0, led.bins : 2 * led.bins][upper], harmonics[0][: led.bins][upper])
    assert torch.cos(own - theirs).min() > 0.999
    ratio = torch.hypot(real, imaginary)[0][upper] / torch.hypot(before, before_imaginary)[0][upper]
    torch.testing.assert_close(ratio, torch.full_like(ratio, 0.6376), rtol=1e-3, atol=0)


def test_lead_works_on_rows_as_on_columns() -> None:
    rng = torch.Generator().manual_seed(0)
    real, imaginary, magnitude = (torch.rand(1, 7, 5, generator=rng) for _ in range(3))
    harmonics, voiced = torch.randn(1, 15, 5, generator=rng), torch.tensor([[[1.0, 0, 1, 0, 1]]])
    gain = torch.randn(1, 4, 1, generator=rng)
    columns = lead((real, imaginary), magnitude, harmonics, voiced, gain)
    rows = lead((real[0].T, imaginary[0].T), magnitude[0].T, harmonics[0].T, voiced[0].T, gain[0].T)
    for column, row in zip(columns, rows, strict=True):
        torch.testing.assert_close(row.T, column[0])


def test_noise_beside_a_voiced_excitation_follows_its_switch() -> None:
    f0 = torch.full((1, 40), 200.0)
    quiet, loud = (Source(8, "pulse", plain_mix=True, voiced_noise=level) for level in (0.0, 0.05))
    first, second = (quiet(f0, torch.Generator().manual_seed(seed)) for seed in (0, 0))
    assert torch.equal(first, second)
    difference = loud(f0, torch.Generator().manual_seed(0)) - first
    assert 0.015 < difference.std() < 0.03  # half of the noise, as the mix begins at one half


def test_it_needs_a_source_in_real_and_imaginary_parts(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"vocab": {}, "voicewright": {"source_phase_from": 2600}}', "utf-8")
    with pytest.raises(
        VoicewrightError, match=r"source_phase_from needs voicewright\.source_stft: cartesian"
    ):
        ModelConfig.read(path)
