"""Prosodic styles that say nothing of their clip are widened before prosody is trained to follow them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fakes import small_recipe, tone_features

from voicewright.training.recipe import Recipe
from voicewright.training.speaking import Speaking
from voicewright.training.stages import Networks
from voicewright.voices.encode import encode_style

FEATURES = [tone_features(i) for i in range(24)]


def recipe(widen: float) -> Recipe:
    data = small_recipe().model_dump(mode="json")
    data["stages"] = [data["stages"][1] | {"widen": widen}]
    return Recipe.model_validate(data)


def styles(networks: Networks) -> np.ndarray:
    return np.stack([encode_style(networks.styles, clip.mel)[128:] for clip in FEATURES]).astype(np.float64)


def test_styles_spread_as_asked_about_the_mean_they_had() -> None:
    networks = Networks(small_recipe().model)
    before = styles(networks)
    size = np.linalg.norm(before.mean(0))
    said = Speaking(recipe(0.3), networks, FEATURES, []).begin(0)
    after = styles(networks)
    assert said is not None and "widened to 30%" in said
    assert np.linalg.norm(before.std(0)) < 0.1 * size  # else this shows nothing
    assert np.linalg.norm(after.std(0)) == pytest.approx(0.3 * size, rel=0.02)
    assert np.linalg.norm(after.mean(0) - before.mean(0)) < 0.02 * size
    apart = np.linalg.svd(after - after.mean(0), compute_uv=False)
    count = int((apart > 1e-3 * apart[0]).sum())
    assert (
        2 <= count <= 8 and apart[count - 1] > 0.98 * apart[0]
    )  # all directions that its width allows, alike


def test_what_is_wide_is_left_alone() -> None:
    networks = Networks(small_recipe().model)
    Speaking(recipe(0.5), networks, FEATURES, []).begin(0)
    before = {key: value.clone() for key, value in networks.state_dict().items()}
    assert Speaking(recipe(0.3), networks, FEATURES, []).begin(0) is None
    assert all(torch.equal(value, before[key]) for key, value in networks.state_dict().items())


def test_other_stages_widen_nothing() -> None:
    data = small_recipe().model_dump(mode="json")
    data["stages"][0]["widen"] = 0.3
    with pytest.raises(ValueError, match="acoustic widens no styles"):
        Recipe.model_validate(data)
