"""A small model with random weights, for the tests of engine and command line; and that it speaks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from voicewright.model.checkpoint import load_model, save_model
from voicewright.model.config import Extension, IstftNet, ModelConfig, PlBert
from voicewright.model.tts.model import TTSModel
from voicewright.text.vocab import KOKORO
from voicewright.voices.pack import ROWS, WIDTH, Voicepack


def write_small_model(folder: Path, seed: int = 0) -> Path:
    """A model folder of a few ten thousand parameters with the voices `alto` (the default) and `basso`."""
    config = ModelConfig(
        vocab=dict(KOKORO),
        hidden_dim=16,
        max_conv_dim=16,
        max_dur=4,
        n_layer=1,
        dim_in=8,
        istftnet=IstftNet(upsample_initial_channel=16),
        plbert=PlBert(hidden_size=16, num_attention_heads=2, intermediate_size=16, num_hidden_layers=1),
        voicewright=Extension(decoder_channels=16, decoder_residual=8, bert_embedding=8),
    )
    torch.manual_seed(seed)
    save_model(folder, TTSModel(config), config)
    (folder / "voices").mkdir(exist_ok=True)
    rng = np.random.default_rng(seed)
    for name, size in (("basso", 0.3), ("alto", 0.2)):
        rows = size * rng.standard_normal((ROWS, 1, WIDTH)).astype(np.float32)
        Voicepack(rows).write(folder / "voices" / f"{name}.safetensors")
    (folder / "card.json").write_text(json.dumps({"name": "small", "voice": "alto", "language": "en-us"}))
    return folder


def test_small_model_opens_and_speaks(tmp_path: Path) -> None:
    model, config, styles = load_model(write_small_model(tmp_path / "m"))
    assert styles is None and config.hidden_dim == 16
    tokens = torch.tensor([[0, 50, 51, 52, 4, 0]])
    spoken = model.speak(tokens, torch.zeros(1, 256), generator=torch.Generator().manual_seed(0))
    assert len(spoken.audio) == 600 * int(spoken.durations.sum())
    assert bool(torch.isfinite(spoken.audio).all())
