"""After training: predicted pitch gets the spread that the speaker has, and sound the recordings' spectrum.

A network trained to predict F0 from text alone hedges: its curve is the mean of what the speaker might do,
so it moves less than any speaker. As with the global-variance compensation of parametric synthesis (Toda &
Tokuda 2007), the spread is restored after training, here in the weights of the last layer, so that every
engine speaks with it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from voicewright.corpus.features import Features
from voicewright.model.tts.generator import Generator
from voicewright.model.tts.model import TTSModel
from voicewright.model.tts.prosody import clean_edges
from voicewright.units import HOP, SAMPLE_RATE, STYLE
from voicewright.voices.pack import Voicepack

MOST = 1.4
"""More than this would stretch errors, not melody."""
AT_MOST = 48
VOICED = 60.0
"""Hz; both curves must be above."""
ENOUGH = 200
"""Voiced frames without which there is nothing to go by."""
SOUNDED = 12
LOWEST = 700.0
"""Hz; below, single harmonics decide, and their level is not the last layer's business."""
LOUDEST = 6.0
"""dB; more than this would be another fault than a wrong balance."""
WIDTH = 150.0
_FFT = 1024
_DB = 8.685889638


def spread(hertz: NDArray[np.float32]) -> float:
    """Range of the middle 70 % in octaves: the ramps that curves take at voicing borders hardly reach it."""
    low, high = np.percentile(hertz, [15, 85])
    return float(np.log2(high / low))


@torch.no_grad()
def spread_pitch(
    model: TTSModel, pack: Voicepack, utterances: Sequence[Features], factor: float | None = None
) -> float:
    """Scale the F0 layer so that voiced F0 spreads as in the utterances. Returns the factor (1 to MOST).

    F0 moves away from its median, so unvoiced frames (about 0 Hz) go below 0 and stay unvoiced; a factor
    below 1 would lift them, and is not applied. The utterances should be held-out ones of one speaker.
    `factor` overrides the measured one.
    """
    chosen = [utterances[int(i)] for i in np.linspace(0, len(utterances) - 1, min(AT_MOST, len(utterances)))]
    made, real = [], []
    training = model.training
    model.eval()
    for f in chosen:
        tokens = torch.from_numpy(np.array(f.tokens)).unsqueeze(0)
        durations = torch.from_numpy(np.array(f.durations)).unsqueeze(0)
        style = torch.from_numpy(pack.style(len(f.tokens) - 2)[STYLE:].copy()).unsqueeze(0)
        d = model.encode_prosody(tokens, None, style)
        f0 = model.f0_energy(model.expand(d.transpose(1, 2), durations), style)[0]
        curve = (clean_edges(f0) if model.config.voicewright.pitch_edges else f0)[0].numpy()
        both = (curve > VOICED) & (f.f0 > VOICED)
        made.append(curve[both])
        real.append(np.asarray(f.f0)[both])
    model.train(training)
    predicted, wanted = np.concatenate(made), np.concatenate(real)
    if len(predicted) < ENOUGH:
        return 1.0
    measured = spread(wanted) / max(spread(predicted), 1e-6)
    k = float(np.clip(measured if factor is None else factor, 1.0, MOST))
    head, middle = model.predictor.F0_proj, float(np.median(predicted))
    head.weight.mul_(k)
    assert head.bias is not None
    head.bias.copy_(middle + k * (head.bias - middle))
    return k


@torch.no_grad()
def match_spectrum(
    model: TTSModel, pack: Voicepack, utterances: Sequence[Features], rounds: int = 2
) -> float:
    """Shift the generator's log magnitudes, bin by bin, until copy-synthesis has the utterances' long-term
    spectrum where they are voiced. Returns the largest shift in dB (at most LOUDEST up or down).

    Bins whose phase the excitation leads are shifted in voiced frames alone.

    Bins below LOWEST are left alone: the pitch lives there. The utterances should be held-out ones of one
    speaker; a handful is enough. Does nothing (0) to a decoder without an inverse STFT, or when hardly a
    frame is voiced.
    """
    generator = model.decoder.generator
    if not isinstance(generator, Generator):
        return 0.0
    chosen = [utterances[int(i)] for i in np.linspace(0, len(utterances) - 1, min(SOUNDED, len(utterances)))]
    bias = generator.conv_post.bias
    assert isinstance(bias, torch.Tensor)
    hertz = torch.arange(generator.bins) * (SAMPLE_RATE / generator.stft.n_fft)
    voiced = [f.f0 > 0 for f in chosen]
    if sum(int(voice.sum()) for voice in voiced) < ENOUGH:
        return 0.0
    wanted = _band_power([torch.from_numpy(f.samples / 32768).float() for f in chosen], voiced, hertz)
    split = generator.bins - (0 if generator.lead_gain is None else len(generator.lead_gain))
    before = bias[:split].clone()
    gain = None if generator.lead_gain is None else generator.lead_gain.clone()
    shift = torch.zeros(generator.bins)
    for _ in range(rounds):
        made = []
        for f in chosen:
            given = [torch.from_numpy(np.array(x))[None] for x in (f.tokens, f.durations, f.f0, f.energy)]
            style = torch.from_numpy(pack.style(len(f.tokens) - 2).copy())[None]
            rng = torch.Generator().manual_seed(0)
            made.append(model.speak(given[0], style, 1.0, rng, *given[1:]).audio)
        step = 0.5 * (wanted / _band_power(made, voiced, hertz)).log()
        shift = (shift + 0.8 * step * (hertz >= LOWEST)).clamp(-LOUDEST / _DB, LOUDEST / _DB)
        bias[:split] = before + shift[:split]
        if generator.lead_gain is not None and gain is not None:
            generator.lead_gain.copy_(gain + shift[split:])
    return float(shift.abs().max()) * _DB


def _band_power(
    clips: Sequence[torch.Tensor], voiced: Sequence[np.ndarray], hertz: torch.Tensor
) -> torch.Tensor:
    """Share of the clips' power around each frequency [bins], averaged over their voiced pieces of 43 ms."""
    window = torch.hann_window(_FFT)
    pieces = []
    for clip, voice in zip(clips, voiced, strict=True):
        spectrum = torch.stft(clip, _FFT, _FFT // 2, window=window, return_complex=True).abs().square()
        at = (torch.arange(spectrum.shape[1]) * (_FFT // 2) // HOP).clamp(max=len(voice) - 1)
        pieces.append(spectrum[:, torch.from_numpy(voice)[at]])
    power = torch.cat(pieces, 1).mean(1)
    at = torch.arange(len(power)) * (SAMPLE_RATE / _FFT)
    near = ((at[None] - hertz[:, None]).abs() <= WIDTH).float()
    return ((near @ power / near.sum(1)) / power.sum().clamp_min(1e-12)).clamp_min(1e-12)
