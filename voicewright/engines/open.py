"""The engine for a model: ours by its files, a stranger's where the model is none of ours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from voicewright import registry
from voicewright.errors import UsageError, VoicewrightError

if TYPE_CHECKING:
    from voicewright.engines.protocol import Engine
    from voicewright.engines.speaking import Speaking
    from voicewright.engines.styles import StyleSampling


class EngineFormat(Protocol):
    """What a plug-in of `voicewright.engines` is, be it a module."""

    TITLE: str
    """With its article: "an ONNX file"."""

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
    styles: StyleSampling | None = None,
) -> Engine:
    """OnnxEngine for an ONNX file or a folder of an export, else TorchEngine; a plug-in's where neither is.

    implementation, weights, adapters, styles: as TorchEngine's, or "light" for LightEngine; others have only
    the defaults. Raises UsageError for what an engine does not have.
    """

    def foreign(formats: Iterable[registry.Plugin]) -> Engine | None:
        for plugin in formats:
            one: EngineFormat = plugin.load()
            if (path := one.find(model)) is not None:
                _refuse(f"{path} is {one.TITLE}", implementation, weights, adapters, styles)
                return one.open(path, lexicon)
        return None

    if (found := foreign(registry.ours("engines").values())) is not None:
        return found
    try:
        return _own(model, lexicon, implementation, weights, adapters, styles)
    except VoicewrightError:  # no model of ours; perhaps of a plug-in
        if (found := foreign(registry.strangers("engines").values())) is not None:
            return found
        raise


def _refuse(
    what: str,
    implementation: str,
    weights: str,
    adapters: Sequence[Path | str],
    styles: StyleSampling | None,
) -> None:
    """Raises UsageError for what only our own graph has."""
    if styles is not None:
        raise UsageError(f"{what}, which speaks by voicepacks alone; leave --style-diffusion out.")
    if adapters:
        raise UsageError(
            f"{what}, whose weights stay as they are; adapters go upon model folders, and "
            "`voicewright export` makes ONNX files of these."
        )
    if weights != "full":
        raise UsageError(f"{what}, whose weights are as it stores them; leave --weights out.")
    if implementation != "auto":
        raise UsageError(
            f"{what}, run by its own engine; the implementation {implementation!r} is for model folders "
            "and weights files."
        )


def _own(
    model: Path | str | None,
    lexicon: Path | None,
    implementation: str,
    weights: str,
    adapters: Sequence[Path | str],
    styles: StyleSampling | None,
) -> Speaking:
    if implementation != "light":
        from voicewright.engines.torch_engine import TorchEngine

        return TorchEngine(
            model,
            lexicon=lexicon,
            implementation=implementation,
            weights=weights,
            adapters=adapters,
            styles=styles,
        )
    if styles is not None:
        raise UsageError("styles are drawn with torch; leave the implementation to be chosen.")
    from voicewright.engines import light_engine

    light = light_engine.opened(model, lexicon, weights, adapters)
    if light is None:
        raise UsageError(
            f"{model or 'the embedded model'} cannot be spoken without torch: that takes the compiled "
            "kernels, and a folder of Kokoro's own graph; leave the implementation to be chosen."
        )
    return light
