"""The graph on a GPU: equal numbers, and no waiting for the device inside a training forward."""

from __future__ import annotations

import pytest
import torch
from small_models import kokoro_like, small

from voicewright.model.config import ModelConfig
from voicewright.model.tts.model import TTSModel
from voicewright.model.tts.style import StyleEncoders

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


@pytest.mark.parametrize("config", [small(), kokoro_like()], ids=["pulse", "sines"])
def test_speaking_is_the_same_on_the_gpu(config: ModelConfig) -> None:
    torch.manual_seed(0)
    model = TTSModel(config).eval()
    with torch.no_grad():
        model.predictor.F0_proj.bias.fill_(150.0)
    tokens, style = torch.randint(1, 178, (1, 8)), torch.randn(1, 256)
    durations = torch.full((1, 8), 3)
    here = model.speak(tokens, style, generator=torch.Generator().manual_seed(1), durations=durations)
    model.cuda()
    there = model.speak(
        tokens.cuda(),
        style.cuda(),
        generator=torch.Generator().manual_seed(1),
        durations=durations.cuda(),
    )
    assert there.audio.is_cuda
    torch.testing.assert_close(there.f0.cpu(), here.f0, rtol=1e-2, atol=0.5)
    assert torch.isfinite(there.audio).all()
    if config.voicewright.source_stft == "cartesian":  # raw phases flip between devices
        assert float((there.audio.cpu() - here.audio).abs().max() / here.audio.abs().max()) < 0.05


@pytest.mark.parametrize("config", [small(), kokoro_like()], ids=["pulse", "sines"])
def test_a_training_step_runs_in_bf16(config: ModelConfig) -> None:
    model, styles = TTSModel(config).cuda().train(), StyleEncoders(small()).cuda().train()
    lengths, frames = torch.tensor([9, 5]), torch.tensor([18, 15])
    tokens = (torch.randint(1, 178, (2, 9)) * (torch.arange(9) < lengths[:, None])).cuda()
    durations = torch.tensor([[2] * 9, [3] * 5 + [0] * 4]).cuda()
    with torch.autocast("cuda", torch.bfloat16):
        style = styles.encode(torch.randn(2, 80, 70).cuda())
        d = model.encode_prosody(tokens, lengths, style[:, 128:])
        logits = model.duration_logits(d, lengths)
        f0, energy = model.f0_energy(model.expand(d.transpose(1, 2), durations, 18), style[:, 128:], frames)
        asr = model.expand(model.encode_text(tokens, lengths), durations, 18)
        audio = model.decoder(asr, f0.detach().float(), energy, style[:, :128], smooth=True)
    assert audio.dtype == torch.float32
    loss = audio.square().mean() + logits.float().mean() + f0.float().mean()
    loss.backward()
    assert torch.isfinite(loss)
    assert float(model.decoder.generator.m_source.l_linear.weight.grad.abs().sum()) > 0


@pytest.mark.parametrize("config", [small(), kokoro_like()], ids=["pulse", "sines"])
def test_the_generator_never_waits_for_the_gpu(config: ModelConfig) -> None:
    decoder = TTSModel(config).cuda().train().decoder
    asr, style = torch.randn(2, 16, 20).cuda(), torch.randn(2, 128).cuda()
    f0, energy = torch.full((2, 40), 150.0).cuda(), torch.randn(2, 40).cuda()

    def step() -> None:
        x = decoder.front(asr, f0, energy, style)
        decoder.generator(x[:, :, 8:20], style, f0[:, 8:20]).square().mean().backward()

    step()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
