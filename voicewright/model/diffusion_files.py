"""Style diffusion on disk: our `<model>/diffusion/`, or the `diffusion` network of StyleTTS 2's files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from pydantic import ValidationError
from torch import Tensor

from voicewright.catalogue.places import CONFIG, CONFIGS, DIFFUSION, WEIGHTS, layers_of, weights_file
from voicewright.errors import VoicewrightError
from voicewright.model.checkpoint import Unfilled, write_network
from voicewright.model.config import ModelConfig
from voicewright.model.layouts import compare, denoiser
from voicewright.model.reading import read_content
from voicewright.model.tts.diffusion import DiffusionConfig, StyleDiffusion


def save_diffusion(
    folder: Path,
    diffusion: StyleDiffusion,
    card: Mapping[str, object] | None = None,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write a model folder's style diffusion. Raises VoicewrightError when the disk refuses or a weight does
    not fit the type."""
    facts = {"network": diffusion.config.model_dump(), "context": diffusion.denoiser.fixed_embedding.width}
    write_network(Path(folder) / DIFFUSION, facts, diffusion.state_dict(), card, dtype)


def load_diffusion(
    model: Path, config: ModelConfig, note: Callable[[str], object] | None = None
) -> StyleDiffusion | None:
    """The style diffusion of a model (a folder of ours, an adapter's base, or StyleTTS 2's file), in fp32 and
    eval mode; None where it has none.

    `note` is given the sentence that says what was taken for granted. Raises VoicewrightError for a damaged
    one, or one that belongs to another model.
    """
    base = layers_of(Path(model))[0]
    inner = base / DIFFUSION
    if (inner / CONFIG).is_file():
        sizes, context = _own(inner / CONFIG)
        found = read_content(inner / WEIGHTS)
        state = {key: value.float().clone() for key, value in found.items() if isinstance(value, Tensor)}
        source = inner / WEIGHTS
    else:
        source = weights_file(base)
        if source.name == WEIGHTS:  # ours, beside which there is no diffusion
            return None
        named = denoiser(read_content(source), source)
        if not named:
            return None
        sizes, sigma, read = _upstream(source, named)
        if note is not None and not read:
            note(
                f"{source.name} comes without a configuration: its style diffusion was taken for upstream's."
            )
        context = config.plbert.hidden_size
        width = 2 * config.style_dim
        state = {f"denoiser.{key}": value.float().clone() for key, value in named.items()}
        state |= {"mean": torch.zeros(width), "scale": torch.ones(width), "sigma_data": torch.tensor(sigma)}
        state |= {"axes": torch.eye(width), "spread": torch.ones(width)}
    if context != config.plbert.hidden_size:
        raise VoicewrightError(
            f"{source} belongs to another model: it reads a text encoder of {context} features."
        )
    with torch.device("meta"), Unfilled():
        diffusion = StyleDiffusion(sizes, context, 2 * config.style_dim)
    compare(state, diffusion.state_dict(), source)
    diffusion.load_state_dict(state, assign=True)
    diffusion.measured = True
    return diffusion.eval().requires_grad_(False)


def _own(path: Path) -> tuple[DiffusionConfig, int]:
    try:
        facts = json.loads(path.read_text("utf-8"))
        return DiffusionConfig.model_validate(facts["network"]), int(facts["context"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise VoicewrightError(f"{path} cannot be read as style diffusion: {error}.") from error


def _upstream(weights: Path, state: Mapping[str, Tensor]) -> tuple[DiffusionConfig, float, bool]:
    """Sizes and sigma_data of upstream's denoiser, from the config.yml beside it and from its shapes; whether
    there was one. Its heads are told by no shape: upstream has 8."""
    said: Mapping[str, Any] = {}
    for path in (weights.parent / name for name in CONFIGS):
        if path.suffix != ".json" and path.is_file():
            content = yaml.safe_load(path.read_text("utf-8"))
            params = content.get("model_params") if isinstance(content, Mapping) else None
            found = params.get("diffusion") if isinstance(params, Mapping) else None
            said = found if isinstance(found, Mapping) else {}
    network, noise = said.get("transformer") or {}, said.get("dist") or {}
    heads = int(network.get("num_heads", 8))
    try:
        width, inner = state["blocks.0.feed_forward.0.weight"].shape[::-1]
        config = DiffusionConfig(
            layers=len({key.split(".")[1] for key in state if key.startswith("blocks.")}),
            heads=heads,
            head_features=state["blocks.0.attention.to_q.weight"].shape[0] // heads,
            multiplier=inner // width,
            reference="to_features.0.weight" in state,
            positions=state["fixed_embedding.embedding.weight"].shape[0],
            mask=said.get("embedding_mask_proba", 0.1),
            mean=noise.get("mean", -3.0),
            std=noise.get("std", 1.0),
        )
        return config, float(noise.get("sigma_data", 0.2)), bool(said)
    except (KeyError, ValueError, TypeError, ValidationError) as error:
        raise VoicewrightError(
            f"{weights}: its style diffusion is of no known kind ({error}); give StyleTTS 2's own file."
        ) from error
