"""A recipe's `switches`: parts of the start weights' graph turned on, others refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from small_models import small

from voicewright.errors import VoicewrightError
from voicewright.model.checkpoint import save_model
from voicewright.model.tts.model import TTSModel
from voicewright.model.tts.style import StyleEncoders
from voicewright.training.recipe import Optimizer, Recipe, StageRecipe
from voicewright.training.start import start_networks

STAGE = StageRecipe(
    stage="spectrum",
    steps=1,
    batch_frames=80,
    optimizer=Optimizer(learning_rate=1e-4),
    losses={"mel": 1, "stft": 1, "convergence": 1},
)


def saved(folder: Path) -> TTSModel:
    torch.manual_seed(0)
    model = TTSModel(small())
    save_model(folder, model, small(), StyleEncoders(small()))
    return model


def recipe(start: str, **switches: object) -> Recipe:
    return Recipe(name="x", start=start, switches=switches, stages=(STAGE,))


def test_a_new_layer_begins_at_zero_and_everything_else_is_the_start_weights(tmp_path: Path) -> None:
    model = saved(tmp_path)
    switches = {"source_gain": True, "pitch_edges": True, "source_phase_from": 2600.0}
    networks = start_networks(recipe(str(tmp_path), **switches), None)
    assert networks.tts.config.voicewright.source_gain and networks.tts.config.voicewright.pitch_edges
    state = networks.tts.state_dict()
    for key, value in model.state_dict().items():
        assert torch.equal(state[key], value), key
    added = set(state) - set(model.state_dict())
    zero = {"decoder.generator.gain_post.weight", "decoder.generator.gain_post.bias"}
    assert added == zero | {"decoder.generator.lead_gain"}
    assert all(not state[key].any() for key in zero)


def test_switches_that_would_change_shapes_or_do_not_exist_are_refused(tmp_path: Path) -> None:
    saved(tmp_path)
    with pytest.raises(VoicewrightError, match="does not fit"):
        start_networks(recipe(str(tmp_path), decoder_channels=32), None)
    with pytest.raises(VoicewrightError, match=r"switches: voicewright\.nonsense"):
        start_networks(recipe(str(tmp_path), nonsense=1), None)


def test_fresh_weights_have_no_switches() -> None:
    with pytest.raises(ValidationError, match="write them into `model`"):
        Recipe(name="x", model=small(), switches={"source_gain": True}, stages=(STAGE,))
