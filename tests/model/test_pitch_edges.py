"""The switch `pitch_edges`: predicted pitch loses the ramps at the borders of voicing."""

from __future__ import annotations

import torch
from small_models import small

from voicewright.model.tts.model import TTSModel
from voicewright.model.tts.prosody import REACH, clean_edges


def curve(*values: float) -> torch.Tensor:
    return torch.tensor([values])


def test_ramps_take_the_pitch_beside_them_and_the_rest_stays() -> None:
    f0 = curve(0, 0, 30, 90, 150, 160, 170, 180, 175, 165, 110, 50, 0, -5)
    cleaned = clean_edges(f0)[0].tolist()
    assert cleaned[:3] == [0, 0, 0] and cleaned[11:] == [0, 0, 0]
    assert cleaned[3] == cleaned[4] == 160  # the first frame with voiced neighbours
    assert cleaned[5:9] == [160, 170, 180, 175]
    assert cleaned[9] == cleaned[10] == 175


def test_steady_voice_is_untouched_and_a_stray_frame_is_dropped() -> None:
    steady = 160 + 30 * torch.sin(torch.arange(60) / 9)[None]
    assert torch.equal(clean_edges(steady), steady)
    stray = torch.cat([steady, torch.zeros(1, REACH + 2), curve(100, 0, 0)], dim=1)
    assert clean_edges(stray)[0, 60:].abs().sum() == 0


def test_each_item_of_a_batch_is_measured_by_its_own_pitch_and_silence_stays_silent() -> None:
    low = 80 + 10 * torch.sin(torch.arange(40) / 5)
    batch = torch.stack([low, 3 * low, torch.zeros(40)])
    assert torch.equal(clean_edges(batch), batch)


def test_speaking_uses_it_only_when_switched_on_and_never_on_given_pitch() -> None:
    torch.manual_seed(0)
    model = TTSModel(small()).eval()
    torch.nn.init.normal_(model.predictor.F0_proj.weight, std=100.0)
    torch.nn.init.constant_(model.predictor.F0_proj.bias, 100.0)
    switched = TTSModel(small(pitch_edges=True)).eval()
    switched.load_state_dict(model.state_dict())
    tokens, style = torch.arange(1, 25)[None], torch.randn(1, 256)
    raw, cleaned = (
        m.speak(tokens, style, generator=torch.Generator().manual_seed(0)) for m in (model, switched)
    )
    assert torch.equal(cleaned.f0, clean_edges(raw.f0[None])[0])
    assert not torch.equal(cleaned.f0, raw.f0)
    given = switched.speak(
        tokens, style, durations=raw.durations[None], f0=raw.f0[None], energy=raw.energy[None]
    )
    assert torch.equal(given.f0, raw.f0)
