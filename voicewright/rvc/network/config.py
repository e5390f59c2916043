"""The configuration of an RVC synthesizer: the 18 items of upstream's files, and the shipped presets.

Facts (positions, presets) follow the RVC WebUI and, for 24 kHz, Applio.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from voicewright.errors import VoicewrightError

Version = Literal["v1", "v2"]
FRAMES_PER_SECOND = 100
"""Frames of content, pitch and latent each second: one has 10 ms."""
RATE_NAMES = {"24k": 24_000, "32k": 32_000, "40k": 40_000, "48k": 48_000}
PITCH_BINS = 256
"""Rows of the pitch embedding; 1 … 255 are used."""

_MOST = 1 << 16
"""No width, rate or count of a known model comes near it, but for the sample rate."""


@dataclass(frozen=True)
class SynthesizerConfig:
    """All that shapes a synthesizer. Frames have 10 ms; `segment_frames` is what training decodes at a time.

    `version` decides the width of the content features, `f0` whether a pitch is wanted.
    """

    spec_channels: int = 1025
    segment_frames: int = 32
    inter: int = 192
    hidden: int = 192
    filter: int = 768
    heads: int = 2
    layers: int = 6
    kernel: int = 3
    dropout: float = 0.0
    resblock: str = "1"
    resblock_kernels: tuple[int, ...] = (3, 7, 11)
    resblock_dilations: tuple[tuple[int, ...], ...] = ((1, 3, 5),) * 3
    upsample_rates: tuple[int, ...] = (10, 10, 2, 2)
    initial_channels: int = 512
    upsample_kernels: tuple[int, ...] = (16, 16, 4, 4)
    speakers: int = 109
    gin: int = 256
    sample_rate: int = 40_000
    version: Version = "v2"
    f0: bool = True

    @property
    def phone_width(self) -> int:
        """Width of the content features: 256 for v1, 768 for v2."""
        return 256 if self.version == "v1" else 768

    @property
    def hop(self) -> int:
        """Samples of a frame."""
        return math.prod(self.upsample_rates)

    @property
    def rate_name(self) -> str:
        """The sample rate as upstream writes it, such as 40k."""
        return f"{self.sample_rate // 1000}k"

    @classmethod
    def from_list(cls, items: Sequence[Any], version: str, f0: bool) -> SynthesizerConfig:
        """Upstream's 18 items by position. Raises VoicewrightError in one sentence for whatever is no RVC."""
        if version not in ("v1", "v2"):
            raise VoicewrightError(f"RVC version {version!r} is unknown; v1 and v2 can be read.")
        if not isinstance(items, list | tuple) or len(items) != 18:
            count = len(items) if isinstance(items, list | tuple) else "no"
            raise VoicewrightError(f"the configuration has {count} items where RVC's has 18.")
        numbers = [_whole(items[i], f"item {i}") for i in (0, 1, 2, 3, 4, 5, 6, 7, 13, 15, 16)]
        spec, segment, inter, hidden, filters, heads, layers, kernel, initial, speakers, gin = numbers
        dropout = items[8]
        if isinstance(dropout, bool) or not isinstance(dropout, int | float) or not 0 <= dropout < 1:
            raise VoicewrightError("the configuration's item 8 is no dropout rate.")
        if not isinstance(items[9], str | int) or len(str(items[9])[:20]) > 3:
            raise VoicewrightError("the configuration's item 9 is no kind of residual blocks.")
        rate = items[17]
        if isinstance(rate, str):
            rate = RATE_NAMES.get(rate, rate)
        config = cls(
            spec, segment, inter, hidden, filters, heads, layers, kernel, float(dropout), str(items[9]),
            _wholes(items[10], "item 10"),
            tuple(_wholes(row, "item 11") for row in _rows(items[11])),
            _wholes(items[12], "item 12"), initial, _wholes(items[14], "item 14"), speakers, gin,
            _whole(rate, "item 17", 192_000), cast(Version, version), bool(f0),
        )  # fmt: skip
        config.check()
        return config

    def to_list(self) -> list[Any]:
        """Upstream's 18 items."""
        dilations = [list(row) for row in self.resblock_dilations]
        dropout = int(self.dropout) if self.dropout == int(self.dropout) else self.dropout
        return [
            self.spec_channels, self.segment_frames, self.inter, self.hidden, self.filter, self.heads,
            self.layers, self.kernel, dropout, self.resblock, list(self.resblock_kernels), dilations,
            list(self.upsample_rates), self.initial_channels, list(self.upsample_kernels), self.speakers,
            self.gin, self.sample_rate,
        ]  # fmt: skip

    def with_speakers(self, speakers: int) -> SynthesizerConfig:
        """The same for another number of speakers."""
        return replace(self, speakers=speakers)

    def check(self) -> None:
        """Raises VoicewrightError in one sentence when no synthesizer can have these numbers."""
        problems = (
            (
                self.resblock not in ("1", "2"),
                f"its residual blocks are of kind {self.resblock!r}, not 1 or 2",
            ),
            (
                len(self.upsample_rates) != len(self.upsample_kernels),
                "its rates and kernels differ in number",
            ),
            (
                len(self.resblock_kernels) != len(self.resblock_dilations),
                "its residual kernels and dilations differ in number",
            ),
            (
                any(len(row) != (3 if self.resblock == "1" else 2) for row in self.resblock_dilations),
                "its residual blocks have a wrong number of dilations",
            ),
            (
                not self.upsample_rates or len(self.upsample_rates) > 8,
                "it upsamples in no or too many stages",
            ),
            (
                any(
                    k < u or (k - u) % 2
                    for u, k in zip(self.upsample_rates, self.upsample_kernels, strict=False)
                ),
                "a rate and its kernel do not fit",
            ),
            (any(k % 2 == 0 for k in self.resblock_kernels), "a residual kernel is even"),
            (self.hidden % self.heads != 0, "its width cannot be divided among its heads"),
            (self.inter % 2 != 0, "its latent cannot be halved"),
            (
                self.initial_channels % (1 << len(self.upsample_rates)) != 0,
                "its width cannot be halved so often",
            ),
            (self.layers > 64 or self.kernel > 63, "its text encoder is absurdly large"),
            (
                self.hop * FRAMES_PER_SECOND != self.sample_rate,
                f"its rates multiply to {self.hop} samples a frame, which is not {self.sample_rate} Hz / 100",
            ),
        )
        for wrong, what in problems:
            if wrong:
                raise VoicewrightError(f"the configuration is no RVC synthesizer's: {what}.")


def _whole(value: Any, what: str, most: int = _MOST) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= most:
        raise VoicewrightError(f"the configuration's {what} is no number that an RVC model can have.")
    return value


def _rows(value: Any) -> Sequence[Any]:
    if not isinstance(value, list | tuple) or not 0 < len(value) <= 16:
        raise VoicewrightError("the configuration's item 11 is no list of dilations.")
    return value


def _wholes(value: Any, what: str) -> tuple[int, ...]:
    if not isinstance(value, list | tuple) or not 0 < len(value) <= 16:
        raise VoicewrightError(f"the configuration's {what} is no list of numbers.")
    return tuple(_whole(number, what, 4096) for number in value)


def _presets() -> dict[tuple[Version, str], SynthesizerConfig]:
    # rates, kernels, bins of the spectrum, frames that training decodes
    table: dict[tuple[Version, str], tuple[tuple[int, ...], tuple[int, ...], int, int]] = {
        ("v1", "32k"): ((10, 4, 2, 2, 2), (16, 16, 4, 4, 4), 513, 40),
        ("v1", "40k"): ((10, 10, 2, 2), (16, 16, 4, 4), 1025, 32),
        ("v1", "48k"): ((10, 6, 2, 2, 2), (16, 16, 4, 4, 4), 1025, 24),
        ("v2", "24k"): ((10, 6, 2, 2), (20, 12, 4, 4), 513, 36),
        ("v2", "32k"): ((10, 8, 2, 2), (20, 16, 4, 4), 513, 40),
        ("v2", "40k"): ((10, 10, 2, 2), (16, 16, 4, 4), 1025, 32),
        ("v2", "48k"): ((12, 10, 2, 2), (24, 20, 4, 4), 1025, 36),
    }
    return {
        (version, rate): SynthesizerConfig(
            spec_channels=bins,
            segment_frames=segment,
            upsample_rates=rates,
            upsample_kernels=kernels,
            sample_rate=RATE_NAMES[rate],
            version=version,
        )
        for (version, rate), (rates, kernels, bins, segment) in table.items()
    }


RVC_PRESETS = _presets()
"""(version, rate name) → configuration, with F0 and 109 speakers as in the public pretrained models."""
