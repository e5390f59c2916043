"""Predicted pitch is given the recordings' spread, and unvoiced stays unvoiced."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from fakes import narrow_config, tone_features

from voicewright.corpus.features import Features
from voicewright.model.tts.model import TTSModel
from voicewright.training.calibrate import LOUDEST, MOST, match_spectrum, spread, spread_pitch
from voicewright.units import STYLE
from voicewright.voices.pack import Voicepack


def test_spread_is_restored_and_bounded() -> None:
    torch.manual_seed(0)
    model = TTSModel(narrow_config()).eval()
    torch.nn.init.normal_(model.predictor.F0_proj.weight, std=4.0)
    torch.nn.init.constant_(model.predictor.F0_proj.bias, 160.0)
    pack = Voicepack.constant(np.zeros(2 * STYLE, np.float32))

    def predict() -> np.ndarray:
        style = torch.zeros(1, STYLE)
        curves = []
        with torch.no_grad():
            for f in utterances:
                d = model.encode_prosody(torch.from_numpy(f.tokens)[None], None, style)
                under = model.expand(d.transpose(1, 2), torch.from_numpy(f.durations)[None])
                curves.append(model.f0_energy(under, style)[0][0].numpy())
        return np.concatenate(curves)

    utterances = [tone_features(i) for i in range(6)]
    before = predict()
    # The "recordings" move 1.2 times as far, in octaves, as the model does.
    middle = np.median(before)
    position = 0
    for i, f in enumerate(utterances):
        own = before[position : position + len(f.f0)]
        position += len(f.f0)
        utterances[i] = dataclasses.replace(f, f0=(middle * (own / middle) ** 1.2).astype(np.float32))
    wanted = spread(np.concatenate([f.f0 for f in utterances]))
    factor = spread_pitch(model, pack, utterances)
    assert 1.15 < factor < 1.25
    assert abs(spread(predict()) / wanted - 1) < 0.05
    assert abs(np.median(predict()) - middle) < 1.0
    wide = [dataclasses.replace(f, f0=(middle * (f.f0 / middle) ** 9).astype(np.float32)) for f in utterances]
    assert spread_pitch(model, pack, wide) == MOST


def test_too_little_voice_changes_nothing() -> None:
    torch.manual_seed(0)
    model = TTSModel(narrow_config())
    weight = model.predictor.F0_proj.weight.clone()
    silent = dataclasses.replace(tone_features(0), f0=np.zeros_like(tone_features(0).f0))
    assert spread_pitch(model, Voicepack.constant(np.zeros(2 * STYLE, np.float32)), [silent]) == 1.0
    assert torch.equal(model.predictor.F0_proj.weight, weight)


def test_spectrum_is_matched_bin_by_bin_and_within_bounds() -> None:
    torch.manual_seed(0)
    model = TTSModel(narrow_config()).eval()
    pack = Voicepack.constant(np.zeros(2 * STYLE, np.float32))
    utterances = [tone_features(i) for i in range(3)]
    bias = model.decoder.generator.conv_post.bias
    bins = model.decoder.generator.bins
    hertz = np.arange(bins) * 200.0

    def recorded() -> list[Features]:
        """The utterances as if the model's own voice had been recorded."""
        found = []
        for f in utterances:
            given = [torch.from_numpy(np.array(x))[None] for x in (f.tokens, f.durations, f.f0, f.energy)]
            rng = torch.Generator().manual_seed(0)
            audio = model.speak(given[0], torch.zeros(1, 2 * STYLE), 1.0, rng, *given[1:]).audio
            scaled = audio / audio.abs().max() * 20_000
            found.append(dataclasses.replace(f, samples=scaled.numpy().astype(np.int16)))
        return found

    own = recorded()
    kept = bias.detach().clone()
    assert match_spectrum(model, pack, own) < 0.5
    with torch.no_grad():
        bias.copy_(kept)
        high = torch.from_numpy(hertz > 5000)
        bias[:bins][high] += 0.4  # 3.5 dB too bright
    said = match_spectrum(model, pack, own, rounds=3)
    assert 2.0 < said <= LOUDEST + 0.01
    left = (bias[:bins] - kept[:bins]).detach().numpy()
    bright = left[hertz > 6000].mean() - left[(hertz > 1000) & (hertz < 4000)].mean()
    assert abs(bright) < 0.12
    assert np.array_equal(left[hertz < 700], np.zeros(int((hertz < 700).sum())))


def test_spectrum_stays_where_nothing_is_voiced_and_finite_where_bands_are_silent() -> None:
    torch.manual_seed(0)
    model = TTSModel(narrow_config()).eval()
    pack = Voicepack.constant(np.zeros(2 * STYLE, np.float32))
    bias = model.decoder.generator.conv_post.bias
    kept = bias.detach().clone()
    whispered = [dataclasses.replace(f, f0=np.zeros_like(f.f0)) for f in (tone_features(i) for i in range(3))]
    assert match_spectrum(model, pack, whispered) == 0.0
    assert torch.equal(bias, kept)
    mute = [dataclasses.replace(f, samples=np.zeros_like(f.samples)) for f in map(tone_features, range(3))]
    assert match_spectrum(model, pack, mute) <= LOUDEST + 0.01
    assert bias.isfinite().all()
