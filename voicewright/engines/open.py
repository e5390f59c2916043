"""The engine for a model: ours by its files, a stranger's where the model is none of ours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from voicewright import registry
from voicewright.errors import UsageError, VoicewrightError

if TYPE_CHECKING:
    from voicewright.engines.protocol import Engine
    from voicewright.engines.speaking import Speaking


class EngineFormat(Protocol):
    """What a plug-in of `voicewright.engines` is, be it a module."""

    def find(self, model: Path | str | None) -> Path | None:
        """What speaks, where these words mean a model of this kind; else None."""
        ...

    def open(self, path: Path, lexicon: Path | None) -> Engine:
        """Raises VoicewrightError in one sentence for a model that cannot be opened."""
        ...


def open_engine(
    model: Path | str | None,
    lexicon: Path | None = None,
    implementation: str = "auto",
    weights: str = "full",
    adapters: Sequence[Path | str] = (),
) -> Engine:
    """OnnxEngine for an ONNX file or a folder of an export, else TorchEngine; a plug-in's where neither is.

    implementation, weights, adapters: as TorchEngine's, or "light" for LightEngine; others have only the
    defaults. Raises UsageError for what an engine does not have.
    """
    from voicewright.engines import onnx_engine

    file = onnx_engine.find(model)
    if file is not None:
        if adapters:
            raise UsageError(
                f"{file} is an ONNX file, whose weights stay as they are; adapters go upon model folders, "
                "and `voicewright export` makes ONNX files of these."
            )
        if weights != "full":
            raise UsageError(
                f"{file} is an ONNX file, whose weights are as it stores them; leave --weights out."
            )
        if implementation != "auto":
            raise UsageError(
                f"{file} is run by onnxruntime alone; the implementation {implementation!r} is for model "
                "folders and weights files."
            )
        return onnx_engine.OnnxEngine(file, lexicon=lexicon)
    if implementation == "light":
        return _light(model, lexicon, weights, adapters)
    from voicewright.engines.torch_engine import TorchEngine

    try:
        return TorchEngine(
            model, lexicon=lexicon, implementation=implementation, weights=weights, adapters=adapters
        )
    except VoicewrightError:  # no model of ours; perhaps of a plug-in
        if (found := _strangers(model, lexicon)) is not None:
            return found
        raise


def _light(
    model: Path | str | None, lexicon: Path | None, weights: str, adapters: Sequence[Path | str]
) -> Speaking:
    from voicewright.engines import light_engine

    light = light_engine.opened(model, lexicon, weights, adapters)
    if light is None:
        raise UsageError(
            f"{model or 'the embedded model'} cannot be spoken without torch: that takes the compiled "
            "kernels, and a folder of Kokoro's own graph; leave the implementation to be chosen."
        )
    return light


def _strangers(model: Path | str | None, lexicon: Path | None) -> Engine | None:
    for plugin in registry.strangers("engines").values():
        one: EngineFormat = plugin.load()
        if (path := one.find(model)) is not None:
            return one.open(path, lexicon)
    return None
