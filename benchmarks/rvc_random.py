"""An RVC voice and a content model with random weights, for benchmarks: speed and memory do not depend on
them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from voicewright.rvc.content.hubert import ContentConfig, expected_shapes
from voicewright.rvc.files.checkpoint import save_voice
from voicewright.rvc.network.config import RVC_PRESETS
from voicewright.rvc.network.synthesizer import Synthesizer

NARROW = {"num_hidden_layers": 1, "intermediate_size": 32, "conv_dim": [16] * 7}


def write_rvc(folder: Path, narrow: bool = False, kind: tuple[str, str] = ("v2", "40k")) -> list[str]:
    """Writes `singer.pth` and `content/`, and returns the words of a command line that use them.

    narrow: networks that cost next to nothing, for what is not about networks.
    """
    generator = torch.Generator().manual_seed(0)
    config = RVC_PRESETS[kind]  # type: ignore[index]
    if narrow:
        config = replace(
            config, inter=8, hidden=8, filter=16, layers=1, initial_channels=16, resblock_kernels=(3,),
            resblock_dilations=((1, 3, 5),), gin=4,
        )  # fmt: skip
    torch.manual_seed(0)
    save_voice(folder / "singer.pth", Synthesizer(config, posterior=False), {"median_f0": 200.0})
    sizes = {key: tuple(value) if isinstance(value, list) else value for key, value in NARROW.items()}
    shapes = expected_shapes(ContentConfig(**sizes) if narrow else ContentConfig())  # type: ignore[arg-type]
    weights = {}
    for name, shape in shapes.items():
        fan_in = max(1, int(torch.tensor(shape[1:]).prod())) if len(shape) > 1 else 1
        weights[name] = torch.randn(shape, generator=generator) / fan_in**0.5
        if name.endswith("norm.weight"):
            weights[name] = torch.ones(shape)
    (folder / "content").mkdir(parents=True, exist_ok=True)
    save_file(weights, folder / "content" / "model.safetensors")
    if narrow:
        (folder / "content" / "config.json").write_text(json.dumps(NARROW))
    return ["--to", str(folder / "singer.pth"), "--embedder", str(folder / "content")]
