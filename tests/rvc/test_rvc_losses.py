"""RVC's discriminators, losses and whole training step give upstream's numbers.

The expected values come from the RVC WebUI's own modules (`MultiPeriodDiscriminator[V2]`, `losses`,
`mel_processing`, `SynthesizerTrnMs256NSFsid`) on the weights and inputs that `rvc_steps.py` makes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from rvc_steps import batch, fill, loop, recipe, sounds

from voicewright.audio.melbank import slaney_filters
from voicewright.rvc.network.discriminators import VoiceDiscriminators
from voicewright.rvc.network.losses import (
    ScaledMels,
    VoiceMel,
    adversarial_loss,
    discriminator_loss,
    kl_loss,
    matching_loss,
)

# discriminator, adversarial, feature matching (which upstream doubles)
PINNED = {
    "v1": (54_968_286, 6.18469762802124, 6.040410995483398, 4.022180557250977),
    "v2": (71_410_594, 8.988967895507812, 8.762107849121094, 5.139999866485596),
}
# mean of the log-mel, 45 times the distance of two
MELS = {
    (32_000, 1024, 320, 80): (-3.4798001798428597, 24.44955825805664),
    (40_000, 2048, 400, 125): (-2.690291774007259, 24.286997616291046),
    (48_000, 2048, 480, 128): (-2.868296047238048, 24.744244515895844),
}
STEPS = (
    {
        "mel": 1.2347427606582642,
        "kl": 472.3220520019531,
        "features": 1.0690968036651611,
        "adversarial": 5.959625244140625,
        "discriminator": 6.260801315307617,
    },
    {
        "mel": 1.2444626092910767,
        "kl": 576.9791259765625,
        "features": 1.0644941329956055,
        "adversarial": 5.838682651519775,
        "discriminator": 6.137294769287109,
    },
)


@pytest.mark.parametrize("version", list(PINNED))
def test_discriminators_and_their_losses(version: str) -> None:
    torch.set_num_threads(1)
    count, own, adversarial, features = PINNED[version]
    discriminator = VoiceDiscriminators(version)
    assert sum(p.numel() for p in discriminator.parameters()) == count
    fill(discriminator, 3)
    real, fake = sounds()
    with torch.no_grad():
        (r, real_maps), (f, fake_maps) = discriminator(real), discriminator(fake)
    assert float(discriminator_loss(r, f)) == pytest.approx(own, rel=1e-5)
    assert float(adversarial_loss(f)) == pytest.approx(adversarial, rel=1e-5)
    assert float(2 * matching_loss(real_maps, fake_maps)) == pytest.approx(features, rel=1e-5)


@pytest.mark.parametrize("preset", list(MELS), ids=str)
def test_log_mels(preset: tuple[int, int, int, int]) -> None:
    rate, n_fft, hop, count = preset
    mel = VoiceMel(rate, n_fft, hop, count)
    real, fake = sounds()
    a, b = mel(real), mel(fake)
    assert a.shape == (2, count, 12_800 // hop)
    assert float(a.double().mean()) == pytest.approx(MELS[preset][0], rel=1e-5)
    assert 45 * float((a - b).abs().mean()) == pytest.approx(MELS[preset][1], rel=1e-5)


def test_filters_have_unit_area() -> None:
    """Each triangle's area over frequency is one, whatever its width (where bins are dense enough)."""
    filters = slaney_filters(40_000, 2048, 125)
    areas = filters.sum(1) * 40_000 / 2048
    assert areas[60:] == pytest.approx(np.ones(65), abs=0.02)


def test_kl_counts_the_masked_frames_only() -> None:
    rng = torch.Generator().manual_seed(4)
    z, logs_q, m, logs_p = (torch.randn(2, 5, 9, generator=rng) for _ in range(4))
    mask = torch.ones(2, 1, 9)
    mask[1, :, 6:] = 0
    whole = kl_loss(z, logs_q, m, logs_p, mask)
    z[1, :, 6:] = 100
    assert torch.equal(kl_loss(z, logs_q, m, logs_p, mask), whole)
    assert float(kl_loss(m, logs_p, m, logs_p, mask)) == pytest.approx(-0.5 * 5)


def test_the_optional_mels_are_zero_for_the_recording_itself() -> None:
    real, fake = sounds()
    loss = ScaledMels(40_000)
    assert float(loss(real, real)) == 0.0
    assert float(loss(fake, real)) > 0.1


def test_two_steps_of_the_loop_are_two_steps_of_upstream(tmp_path: Path) -> None:
    """Same weights, batches and random numbers: the second step's losses follow both optimizers' first."""
    torch.set_num_threads(1)
    made = loop(tmp_path)
    for step, expected in enumerate(STEPS):
        torch.manual_seed(100 + step)
        total, logged = made._losses(batch(recipe(), step), step)
        made._update(total, step)
        assert {name: float(value) for name, value in logged.items()} == pytest.approx(expected, rel=1e-5)
