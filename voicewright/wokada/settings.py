"""The settings of w-okada's clients, key by key, and what they mean for a live stream.

Names and defaults are w-okada v1's (`VoiceChangerV2Settings`, `RVCSettings`, `ServerDeviceSettings`). Sizes
are in samples of the input's rate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from voicewright.conversion.block import LiveOptions
from voicewright.errors import UsageError

DEFAULTS: dict[str, int | float | str | bool] = {
    "modelSlotIndex": -1,
    "passThrough": False,
    "inputSampleRate": 48_000,
    "outputSampleRate": 48_000,
    "crossFadeOffsetRate": 0.1,
    "crossFadeEndRate": 0.9,
    "crossFadeOverlapSize": 4096,
    "tran": 0,
    "indexRatio": 0.0,
    "protect": 0.5,
    "silentThreshold": 0.00001,
    "extraConvertSize": 4096,
    "f0Detector": "rmvpe",
    "dstId": 0,
}
"""What has an effect here."""

KEPT: dict[str, int | float | str] = {
    **{"recordIO": 0, "gpu": -1, "rvcQuality": 0, "silenceFront": 1, "modelSamplingRate": 48_000},
    **{"enableServerAudio": 0, "serverAudioStated": 0, "serverAudioSampleRate": 48_000},
    **{"serverInputAudioSampleRate": 48_000, "serverOutputAudioSampleRate": 48_000},
    **{"serverMonitorAudioSampleRate": 48_000, "serverInputAudioBufferSize": 24_576},
    **{"serverOutputAudioBufferSize": 24_576, "serverInputDeviceId": -1, "serverOutputDeviceId": -1},
    **{"serverMonitorDeviceId": -1, "serverReadChunkSize": 192, "serverInputAudioGain": 1.0},
    **{"serverOutputAudioGain": 1.0, "serverMonitorAudioGain": 1.0, "exclusiveMode": "false"},
    **{"srcId": 0, "framework": "PyTorch", "onnxExecutionProvider": "", "f0Factor": 1.0, "noiseScale": 0.0},
    **{"predictF0": 0, "clusterInferRatio": 0.0, "useEnhancer": 0, "useDiff": 0, "diffMethod": ""},
    **{"useDiffSilence": 0, "diffAcc": 0, "diffSpkId": 0, "kStep": 0, "threshold": -45.0, "speedUp": 0},
    **{"skipDiffusion": 1, "enableDirectML": 0},
}
"""What clients may set without any effect here: other models' settings, graphics cards, the
server's own devices."""

REFUSED = {
    "enableServerAudio": "this server has no devices of its own; use `voicewright convert --live`.",
    "serverAudioStated": "this server has no devices of its own; use `voicewright convert --live`.",
    "recordIO": "this server records nothing.",
}

METHODS = {
    **{"dio": "dio", "harvest": "harvest", "rmvpe": "rmvpe", "rmvpe_onnx": "rmvpe", "fcpe": "fcpe"},
}
_RATES = (8_000, 192_000)


@dataclass
class Settings:
    """Values by w-okada's names."""

    values: dict[str, int | float | str | bool] = field(default_factory=lambda: {**KEPT, **DEFAULTS})

    def __getitem__(self, key: str) -> Any:
        return self.values[key]

    def parse(self, key: str, text: str) -> int | float | str | bool:
        """A client's words for a value → the value. Raises UsageError for unknown keys
        and impossible values."""
        if key not in self.values:
            raise UsageError(f"there is no setting {key[:40]!r}.")
        kind = type(self.values[key])
        try:
            value: int | float | str | bool
            if kind is bool:
                value = {"true": True, "false": False, "1": True, "0": False}[text.lower()]
            elif kind is int:
                number = float(text)
                value = number if key == "tran" and number % 1 else int(number)
            elif kind is float:
                value = float(text)
            else:
                value = text[:200]
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError
        except (KeyError, ValueError, OverflowError):
            raise UsageError(f"{text[:40]!r} is no value for {key}.") from None
        if key in REFUSED and value not in (0, "0"):
            raise UsageError(f"{key}: {REFUSED[key]}")
        if key == "f0Detector" and value not in METHODS:
            raise UsageError(f"there is no f0Detector {text[:40]!r}; there are {', '.join(METHODS)}.")
        if key in ("inputSampleRate", "outputSampleRate") and not _RATES[0] <= int(value) <= _RATES[1]:
            raise UsageError(f"{key} must be between {_RATES[0]} and {_RATES[1]} Hz.")
        return value

    def options(self, chunk: int) -> LiveOptions:
        """What the settings ask of a stream of pieces of `chunk` samples. Raises UsageError for
        what is impossible."""
        rate = int(self["inputSampleRate"])
        silent = float(self["silentThreshold"])
        return LiveOptions(
            block=chunk / rate,
            crossfade=min(max(int(self["crossFadeOverlapSize"]) / rate, 0.01), 2.0),
            context=max(int(self["extraConvertSize"]), 0) / rate,
            pitch=float(self["tran"]),
            method=METHODS[str(self["f0Detector"])],
            index_rate=float(self["indexRatio"]),
            protect=float(self["protect"]),
            rms_mix=1.0,  # its own clients mix nothing
            silence=20 * math.log10(silent) if 1e-6 <= silent <= 1 else None,
            speaker=int(self["dstId"]),
            join="wokada",
            fade=(float(self["crossFadeOffsetRate"]), float(self["crossFadeEndRate"])),
        )
