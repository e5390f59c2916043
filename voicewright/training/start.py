"""What a speaking model's training starts from: fresh weights, the embedded voice's, or a model folder's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from pydantic import ValidationError
from torch import nn

from voicewright.catalogue.places import CONFIGS, CONTENT, resolve_model
from voicewright.errors import VoicewrightError
from voicewright.model.checkpoint import compare, load_model
from voicewright.model.config import ModelConfig
from voicewright.model.content.files import load_content
from voicewright.model.diffusion_files import load_diffusion
from voicewright.model.recognise import read_config
from voicewright.training.recipe import Recipe
from voicewright.training.stages import Networks

GRAFTS = ("decoder.generator.gain_post.", "decoder.generator.lead_gain")
"""Layers that a switch may add to start weights; they begin as the graph makes them."""


def start_networks(recipe: Recipe, embedded: Path | None) -> Networks:
    """Networks of the recipe's `start`: fresh weights, the embedded voice's, or a model folder's."""
    torch.manual_seed(recipe.seed)
    if recipe.start == "scratch":
        assert recipe.model is not None
        networks = Networks(recipe.model, recipe.content, recipe.diffusion)
        _scale(networks)
        return networks
    folder = start_folder(recipe, embedded)
    assert folder is not None
    model, config, styles = load_model(folder)
    if styles is None:
        raise VoicewrightError(
            f"{folder} has no style encoders, which training needs; start from another model."
        )
    known = load_diffusion(folder, config) if recipe.diffusion is not None else None
    sizes = recipe.diffusion
    if known is not None and sizes is not None:  # it is gone on with: only noise and masking are the recipe's
        training = {"mask": sizes.mask, "mean": sizes.mean, "std": sizes.std}
        sizes = known.config.model_copy(update=training)
    networks = Networks(switched(config, recipe.switches), recipe.content, sizes)
    state = model.state_dict()
    for key, value in networks.tts.state_dict().items():
        if key.startswith(GRAFTS) and key not in state:
            state[key] = value
    compare(state, networks.tts.state_dict(), folder)
    networks.tts.load_state_dict(state)
    networks.styles.load_state_dict(styles.state_dict())
    if networks.content is not None and (folder / CONTENT).is_dir():
        old = load_content(folder, config).net
        if old.config == recipe.content:
            networks.content.load_state_dict(old.state_dict())
    if networks.diffusion is not None and known is not None:
        networks.diffusion.load_state_dict(known.state_dict())
        networks.diffusion.measured = True
    return networks


def start_vocab(recipe: Recipe, embedded: Path | None) -> Mapping[str, int]:
    """The table of symbols of what the recipe starts from. Raises VoicewrightError, UsageError."""
    if recipe.start == "scratch":
        assert recipe.model is not None
        return recipe.model.vocab
    folder = start_folder(recipe, embedded)
    assert folder is not None
    place = folder if folder.is_dir() else folder.parent
    for name in CONFIGS:
        if (place / name).is_file():
            return read_config(place / name).vocab
    return load_model(folder, styles=False)[1].vocab  # a bare file: its configuration follows from its shapes


def start_folder(recipe: Recipe, embedded: Path | None) -> Path | None:
    """The model that the recipe starts from; None for fresh weights. Raises VoicewrightError."""
    if recipe.start == "scratch":
        return None
    if recipe.start == "embedded":
        if embedded is None:
            raise VoicewrightError(
                "This installation carries no embedded model; give the recipe another `start`."
            )
        return embedded
    return resolve_model(recipe.start)


def switched(config: ModelConfig, switches: Mapping[str, object]) -> ModelConfig:
    """The configuration with changes to its `voicewright` block. Raises VoicewrightError for unknown ones."""
    if not switches:
        return config
    data = config.model_dump()
    data["voicewright"] |= switches
    try:
        return ModelConfig.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise VoicewrightError(f"switches: {where}: {first['msg']}.") from error


@torch.no_grad()
def _scale(networks: Networks) -> None:
    """Fit fresh weights to their units: F0 is in Hz, two orders above the rest; a token lasts 3 frames."""
    head = networks.tts.predictor.F0_proj
    nn.init.normal_(head.weight, std=5.0)
    assert head.bias is not None
    nn.init.constant_(head.bias, 100.0)
    networks.tts.decoder.F0_conv.parametrizations.weight.original0.mul_(0.01)
    nn.init.constant_(networks.tts.predictor.duration_proj.linear_layer.bias, -2.7)
