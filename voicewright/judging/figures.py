"""Pictures for the report: spectrograms with pitch, long-term spectra, periodicity by band. WebP bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from voicewright.audio.pitch import f0 as track_f0
from voicewright.judging.metrics import PROFILE_EDGES, VISIBLE, Samples
from voicewright.judging.result import Sound
from voicewright.judging.spectrum import LongTerm
from voicewright.listen.artefacts import ECHOES
from voicewright.units import HOP, SAMPLE_RATE

COLOURS = {"synthesised": "#e0602f", "recordings": "#3d8fd6", "copy_synthesis": "#9a78d8"}
LABELS = {"synthesised": "synthesised", "recordings": "recordings", "copy_synthesis": "copy-synthesis"}
_INK = "#8a949e"
"""A grey that reads on white and on black: the pictures are transparent."""
_N_FFT, _HOP = 1024, 120
_DYNAMIC_DB = 75.0


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), dpi=140, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _plain(axes)
    return figure, axes


def _plain(axes: Axes) -> None:
    axes.set_facecolor("none")
    axes.tick_params(colors=_INK, labelsize=9)
    axes.xaxis.label.set_color(_INK)
    axes.yaxis.label.set_color(_INK)
    for spine in axes.spines.values():
        spine.set_color(_INK)
        spine.set_linewidth(0.6)


def _webp(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    # A fifth of the size of PNG, and it keeps the transparent ground.
    figure.savefig(buffer, format="webp", transparent=True, pil_kwargs={"quality": 82, "method": 4})
    return buffer.getvalue()


def spectrogram(samples: Samples, seconds: float | None = None) -> bytes:
    """Spectrogram of one clip (24 kHz) to 12 kHz, 75 dB deep, with its F0. `seconds` sets the time axis."""
    clip = np.pad(np.asarray(samples, np.float64), _N_FFT // 2)
    frames = np.lib.stride_tricks.sliding_window_view(clip, _N_FFT)[::_HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(_N_FFT), axis=1)) ** 2
    level = 10 * np.log10(power + 1e-10)
    top = float(level.max())
    length = len(samples) / SAMPLE_RATE
    figure, axes = _figure(4.6, 2.6)
    axes.imshow(
        level.T,
        origin="lower",
        aspect="auto",
        extent=(0.0, length, 0.0, SAMPLE_RATE / 2000),
        vmin=top - _DYNAMIC_DB,
        vmax=top,
        cmap="magma",
        interpolation="bilinear",
    )
    # transparent=True would clear the ground behind a shorter clip: draw it.
    end = max(seconds or length, 0.05)
    axes.axvspan(0, end, color="#000004", linewidth=0, zorder=-1)
    axes.set(xlabel="s", ylabel="kHz", xlim=(0, end), ylim=(0, SAMPLE_RATE / 2000))
    pitch = track_f0(np.asarray(samples, np.float32))
    right = axes.twinx()
    _plain(right)
    track = np.where(pitch > 0, pitch, np.nan)
    right.plot(np.arange(len(pitch)) * HOP / SAMPLE_RATE, track, color="#7cf5e0", linewidth=1.1)
    right.set(ylim=(0, 1000), yticks=[100, 200, 300, 400])
    right.set_ylabel("F0, Hz", loc="bottom", fontsize=9)
    return _webp(figure)


def pitch_curves(clips: Mapping[str, Samples]) -> bytes:
    """F0 of the readings of one text, each on its own time from first to last voiced frame."""
    figure, axes = _figure(4.6, 2.6)
    for name, clip in clips.items():
        pitch = track_f0(np.asarray(clip, np.float32))
        voiced = np.flatnonzero(pitch > 0)
        if not voiced.size:
            continue
        pitch = pitch[voiced[0] : voiced[-1] + 1]
        times = np.arange(len(pitch)) * HOP / SAMPLE_RATE
        axes.plot(
            times, np.where(pitch > 0, pitch, np.nan), color=COLOURS[name], linewidth=1.6, label=LABELS[name]
        )
    axes.set(xlabel="s from the first voiced frame", ylabel="F0, Hz")
    _legend(axes)
    return _webp(figure)


def average_spectra(spectra: Mapping[str, LongTerm]) -> bytes:
    """Long-term average (solid) and what is there all the time (dotted), smoothed a little, dB."""
    figure, axes = _figure(4.6, 2.8)
    for name, spectrum in spectra.items():
        khz = spectrum.hertz / 1000
        kernel = np.hanning(11) / np.hanning(11).sum()
        smooth = np.convolve(np.pad(spectrum.average, 5, mode="edge"), kernel, mode="valid")
        axes.plot(khz, smooth, color=COLOURS[name], linewidth=1.4, label=LABELS[name])
        axes.plot(khz, spectrum.median, color=COLOURS[name], linewidth=0.5, alpha=0.75)
    low = min(float(np.percentile(s.median, 1)) for s in spectra.values())
    axes.set(xlabel="kHz", ylabel="dB below speech level", xlim=(0, 12), ylim=(max(-120.0, low - 5), -5))
    axes.grid(color=_INK, alpha=0.2, linewidth=0.5)
    _legend(axes)
    return _webp(figure)


def repeats(cepstra: Mapping[str, Samples]) -> bytes:
    """Mean cepstra from 5 to 30 ms: an echo or a comb is a spike, a voice's own pitch a hill."""
    figure, axes = _figure(4.6, 2.8)
    first, last = round(0.005 * SAMPLE_RATE), round(0.03 * SAMPLE_RATE)
    for name, cepstrum in cepstra.items():
        times = np.arange(first, last) * 1000 / SAMPLE_RATE
        axes.plot(times, cepstrum[first:last], color=COLOURS[name], linewidth=1.0, label=LABELS[name])
    for seconds in ECHOES:
        axes.axvline(seconds * 1000, color=_INK, linewidth=0.8, linestyle=":")
    axes.set(xlabel="ms", ylabel="mean cepstrum", xlim=(5, 30))
    axes.grid(color=_INK, alpha=0.2, linewidth=0.5)
    _legend(axes)
    return _webp(figure)


def periodicity_profile(sounds: Mapping[str, Sound]) -> bytes:
    """Periodicity above noise by 1 kHz band."""
    figure, axes = _figure(4.6, 2.8)
    for name, sound in sounds.items():
        centres = (np.asarray(PROFILE_EDGES[:-1]) + np.asarray(PROFILE_EDGES[1:])) / 2000
        axes.plot(
            centres, sound.profile, "o-", color=COLOURS[name], linewidth=1.4, markersize=4, label=LABELS[name]
        )
    axes.axhline(VISIBLE, color=_INK, linewidth=0.8, linestyle=":")
    axes.set(xlabel="kHz", ylabel="periodicity above noise", xlim=(0, 8), ylim=(0, 1))
    axes.grid(color=_INK, alpha=0.2, linewidth=0.5)
    _legend(axes)
    return _webp(figure)


def scatter(mine: Sequence[float], theirs: Sequence[float], label: str) -> bytes:
    """One point an utterance: recordings across, synthesised up, with the line of equality."""
    figure, axes = _figure(4.6, 2.8)
    low, top = min([*mine, *theirs]) * 0.9, max([*mine, *theirs, 1e-6]) * 1.05
    axes.plot([low, top], [low, top], color=_INK, linewidth=0.8, linestyle=":")
    axes.scatter(theirs, mine, s=14, color=COLOURS["synthesised"], alpha=0.6, linewidths=0)
    axes.set(xlabel=f"recordings: {label}", ylabel=f"synthesised: {label}", xlim=(low, top), ylim=(low, top))
    axes.grid(color=_INK, alpha=0.2, linewidth=0.5)
    return _webp(figure)


def _legend(axes: Axes) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=9, labelcolor=_INK)
