"""What w-okada's slots say of a voice, under its names."""

from __future__ import annotations

from typing import Any

from voicewright.conversion.block import BlockVoice
from voicewright.rvc.convert.live import RvcBlockVoice


def facts(voice: BlockVoice) -> dict[str, Any]:
    """Of w-okada's slot entry: samplingRate, f0, version, modelType, embChannels, speakers …

    Its clients know RVC's kinds alone; any other voice is told of as one of version 2.
    """
    if not isinstance(voice, RvcBlockVoice):
        return {
            "samplingRate": voice.sample_rate,
            "f0": True,
            "version": "v2",
            "modelType": "pyTorchRVCv2",
            "embChannels": 768,
            "speakers": dict(voice.speakers),
        }
    config = voice.voice.config
    first = config.version == "v1"
    return {
        "name": voice.name,
        "modelType": "pyTorchRVC" + ("" if first else "v2") + ("" if config.f0 else "Nono"),
        "samplingRate": int(config.sample_rate),
        "f0": bool(config.f0),
        "version": config.version,
        "embChannels": int(config.phone_width),
        "embOutputLayer": 9 if first else 12,
        "useFinalProj": first,
        "embedder": "hubert_base",
        "speakers": dict(voice.speakers),
    }
