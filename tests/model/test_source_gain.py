"""The switch `source_gain`: nothing at first, then a share of the source's own spectrum."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_models import small

from voicewright.errors import VoicewrightError
from voicewright.model.checkpoint import export_kokoro, load_model, save_model
from voicewright.model.config import ModelConfig
from voicewright.model.tts.generator import Generator
from voicewright.model.tts.model import TTSModel


def generators() -> tuple[Generator, Generator]:
    """The same weights without and with the switch."""
    torch.manual_seed(0)
    plain, gained = (TTSModel(small(source_gain=gain)).decoder.generator.eval() for gain in (False, True))
    state = gained.state_dict()
    assert {key for key in state if key not in plain.state_dict()} == {"gain_post.weight", "gain_post.bias"}
    gained.load_state_dict(state | plain.state_dict())
    return plain, gained


def sound(generator: Generator) -> torch.Tensor:
    rng = torch.Generator().manual_seed(1)
    x = torch.randn(1, 32, 20, generator=rng)
    style = torch.randn(1, 128, generator=rng)
    return generator(x, style, torch.full((1, 20), 150.0), torch.Generator().manual_seed(2))


@torch.no_grad()
def test_a_fresh_gain_changes_nothing_and_a_taught_one_adds_the_source() -> None:
    plain, gained = generators()
    before = sound(plain)
    assert torch.equal(sound(gained), before)
    assert gained.gain_post is not None
    gained.gain_post.bias.fill_(1.0)
    added = sound(gained) - before
    source = gained.m_source(torch.full((1, 20), 150.0), None)
    assert added.shape == source.shape == before.shape
    # What came is the excitation itself: the same sound, whatever its start phase.
    spectra = [torch.fft.rfft(s[0, 300:-300]).abs() for s in (added, source)]
    assert torch.nn.functional.cosine_similarity(*spectra, dim=0) > 0.9


def test_polar_sources_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"vocab": {}, "voicewright": {"source_gain": true}}', "utf-8")
    with pytest.raises(VoicewrightError, match=r"source_gain needs voicewright\.source_stft: cartesian"):
        ModelConfig.read(path)


def test_it_is_kept_on_disk_and_folding_leaves_the_sound(tmp_path: Path) -> None:
    model = TTSModel(small(source_gain=True))
    generator = model.decoder.generator
    assert generator.gain_post is not None
    torch.nn.init.normal_(generator.gain_post.weight)
    save_model(tmp_path, model, model.config)
    again, config, _ = load_model(tmp_path)
    assert config.voicewright.source_gain
    kept = again.decoder.generator.gain_post
    assert kept is not None and torch.equal(kept.weight, generator.gain_post.weight)
    with torch.no_grad():
        before = sound(again.decoder.generator)
        assert torch.allclose(sound(again.fold().decoder.generator), before, atol=1e-5)


def test_weights_and_switch_must_agree(tmp_path: Path) -> None:
    for saved, asked, word in ((False, True, "missing"), (True, False, "unexpected")):
        model = TTSModel(small(source_gain=saved))
        save_model(tmp_path / word, model, model.config)
        with pytest.raises(VoicewrightError, match=rf"{word} \(2\): decoder.generator.gain_post.bias"):
            load_model(tmp_path / word, small(source_gain=asked))


def test_kokoro_cannot_have_it(tmp_path: Path) -> None:
    with pytest.raises(VoicewrightError, match=r"voicewright\.source_gain"):
        export_kokoro(TTSModel(small(source_gain=True)), tmp_path / "a.pth")
    assert list(tmp_path.iterdir()) == []
