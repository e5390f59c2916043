"""What a synthesiser made, on its way out: loudness, rate, peaks, exact length; piece by piece."""

from __future__ import annotations

import numpy as np
import soxr

from voicewright.audio.limit import CEILING, Limiter
from voicewright.conversion.protocol import ConvertOptions, Samples
from voicewright.conversion.signal import LoudnessMix


class Finish:
    """`feed` takes pieces at `rate` with their source and gives what is certain, at the rate that is
    wanted."""

    def __init__(self, rate: int, options: ConvertOptions) -> None:
        wanted = options.sample_rate or rate
        self._mix = LoudnessMix(rate, options.rms_mix)
        self._resampler = None
        if wanted != rate:
            self._resampler = soxr.ResampleStream(rate, wanted, 1, dtype="float32")
        self._limiter = Limiter(wanted, CEILING)
        self._given = 0

    def feed(self, source: Samples, made: Samples, last: bool = False, length: int | None = None) -> Samples:
        """source: the piece's own samples at 16 kHz. length: of the whole, known with the last piece."""
        ready = self._mix.feed(source, made, last)
        if self._resampler is not None:
            ready = self._resampler.resample_chunk(ready, last=last)
        if last and length is not None:
            missing = length - self._given - self._limiter.waiting - len(ready)
            # Rounding between rates costs or gives a sample or two.
            ready = np.pad(ready, (0, missing)) if missing > 0 else ready[: len(ready) + missing]
        out = self._limiter.feed(ready, last)
        self._given += len(out)
        return out
