"""RVC as a task of `train`: recipes of `kind: rvc`, heard by the content model and pitch method they name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from voicewright.progress import Progress
    from voicewright.rvc.train.features import Extractors
    from voicewright.rvc.train.recipe import VoiceRecipe
    from voicewright.training.lifecycle import Result
    from voicewright.training.order import TrainOrder


def task(order: TrainOrder, progress: Progress) -> Result:
    """Train an RVC voice, with its index. Raises UsageError, VoicewrightError."""
    from voicewright.rvc.convert.index_build import build_index
    from voicewright.rvc.train.run import train_voice

    def index(rows: NDArray[np.float32], folder: Path, name: str, version: str) -> Path:
        return build_index(rows, folder, name, version, progress=progress)

    return train_voice(
        order.recipe,
        order.corpus,
        order.out,
        lambda plan: voice_extractors(plan, order.device),
        resume=order.resume,
        device=order.device,
        build_index=index,
        options=order.options,
        line=progress,
    )


def voice_extractors(recipe: VoiceRecipe, device: str = "auto") -> Extractors:
    """The content encoder and pitch method that a recipe names. Raises UsageError for what is missing."""
    import hashlib

    import numpy as np
    import torch

    from voicewright.conversion import pitch
    from voicewright.rvc.content.encoder import open_listener, said_name, weights_of
    from voicewright.rvc.train.features import Extractors
    from voicewright.training.devices import pick_device

    encoder = open_listener(recipe.content).to(pick_device(device))
    name = recipe.content
    # Another file under the same name must not be taken for it in caches.
    with weights_of(name).open("rb") as file:
        name += " " + hashlib.file_digest(file, "blake2b").hexdigest()[:16]
    method = pitch.resolve(recipe.pitch) if recipe.f0 else "none"

    def content(samples: NDArray[np.float32]) -> NDArray[np.float32]:
        wave = torch.from_numpy(np.ascontiguousarray(samples))[None].to(pick_device(device))
        return encoder.encode(wave, recipe.version)[0].float().cpu().numpy()

    def f0(samples: NDArray[np.float32]) -> NDArray[np.float32]:
        if not recipe.f0:
            return np.zeros(len(samples) // pitch.HOP + 1, np.float32)
        found = pitch.estimate(samples, method)
        return pitch.interpolate_unvoiced(found) if recipe.unvoiced == "interpolate" else found

    return Extractors(
        content,
        said_name(recipe.content),
        f"{name} {recipe.version}",
        f0,
        f"{method} {recipe.unvoiced}",
        pitch.coarse,
    )
