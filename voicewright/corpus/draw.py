"""An alignment drawn over its spectrogram: to see whether boundaries sit where they should."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from voicewright.corpus.features import Features
from voicewright.errors import VoicewrightError
from voicewright.text.vocab import KOKORO
from voicewright.units import FRAME, HOP, SAMPLE_RATE

_INCHES_PER_SECOND = 4.5


def draw_alignment(features: Features, path: Path, title: str = "") -> None:
    """Write a PNG: the log-mel with each token's start and symbol, F0 on top of it, loudness below.

    450 dots to a second. Raises VoicewrightError when the file cannot be written.
    """
    seconds = len(features.samples) / SAMPLE_RATE
    figure = Figure(figsize=(max(6.0, _INCHES_PER_SECOND * seconds), 5.2), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [4, 1]})
    half = HOP / SAMPLE_RATE / 2
    frames = features.mel.shape[1]
    grid = np.arange(frames) * HOP / SAMPLE_RATE
    upper.imshow(
        features.mel.astype(np.float32),
        origin="lower",
        aspect="auto",
        cmap="magma",
        extent=(-half, frames * HOP / SAMPLE_RATE - half, 0, features.mel.shape[0]),
    )
    symbols = {number: symbol for symbol, number in KOKORO.items()}
    starts = np.concatenate([[0], np.cumsum(features.durations)]) * FRAME / SAMPLE_RATE
    for token, start, stop in zip(features.tokens, starts[:-1], starts[1:], strict=True):
        symbol = symbols.get(int(token), "pad")
        for panel in (upper, lower):
            panel.axvline(start, color="white" if panel is upper else "grey", linewidth=0.6)
        shown = "␣" if symbol == " " else symbol
        upper.text((start + stop) / 2, features.mel.shape[0] + 1, shown, ha="center", va="bottom", fontsize=9)
    pitch = upper.twinx()
    pitch.plot(grid, np.where(features.f0 > 0, features.f0, np.nan), color="cyan", linewidth=1.2)
    pitch.set_ylim(0, 600)
    pitch.set_ylabel("F0, Hz")
    upper.set_ylabel("mel bin")
    upper.set_title(
        f"{title or features.id}: confidence {features.confidence:.2f}", fontsize=10, loc="left", pad=18
    )
    lower.plot(grid, features.energy, color="black", linewidth=0.8)
    lower.set_xlim(0, seconds)
    lower.set_xlabel("seconds")
    lower.set_ylabel("energy")
    try:
        figure.savefig(path, format="png")
    except OSError as error:
        raise VoicewrightError(f"{path} cannot be written: {error}. Name another file.") from error
