"""A Beatrice 2 model: 16 kHz speech and one of its voices → 24 kHz speech."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from voicewright.beatrice.network.extractors import (
    BINS_PER_OCTAVE,
    PHONES,
    PITCH_BINS,
    PhoneExtractor,
    PitchEstimator,
    hertz,
    read_pitch,
)
from voicewright.beatrice.network.layers import shift_right
from voicewright.beatrice.network.vocoder import Vocoder

CODES = 512
FORMANTS = 9
"""Formant shifts of −2 to +2 semitones, in halves."""
MEMORY = (384, 128)
_NEAREST = 4


@dataclass(frozen=True)
class BeatriceVoice:
    """What a model says of one voice."""

    name: str
    description: str = ""
    average_pitch: float = 60.0
    """MIDI note number."""
    portrait: str = ""
    portrait_description: str = ""


@dataclass(frozen=True, eq=False)
class Heard:
    """What a model heard, 100 frames a second: x [B, C, T] for the vocoder; pitch [B, T], to be spoken, and
    source [B, T], as it was, in Hz; unpitched [B, T], how likely there was no pitch."""

    x: Tensor
    pitch: Tensor
    source: Tensor
    unpitched: Tensor


class WaveformGenerator(nn.Module):
    """Phones, pitch and a voice → samples: what lies in waveform_generator.bin and embedding_setter.bin."""

    def __init__(self, channels: int = 256) -> None:
        super().__init__()
        self.phones = nn.Conv1d(PHONES, channels, 1)
        self.pitches = nn.Embedding(PITCH_BINS, channels)
        self.pitch_features = nn.Conv1d(4, channels, 1)
        self.vocoder = Vocoder(channels, MEMORY[1])


class Speakers(nn.Module):
    """The voices of a model: what lies in speaker_embeddings.bin."""

    def __init__(self, voices: int, channels: int = 256) -> None:
        super().__init__()
        self.codebooks = nn.Parameter(torch.zeros(voices, CODES, PHONES))
        self.speakers = nn.Embedding(voices, channels)
        self.formants = nn.Embedding(FORMANTS, channels)
        self.memories = nn.Parameter(torch.zeros(voices, *MEMORY))


class BeatriceModel(nn.Module):
    """All of a model. An independent engine: nothing is claimed of matching the closed library."""

    sample_rate = 24_000

    def __init__(
        self,
        voices: tuple[BeatriceVoice, ...],
        name: str = "",
        description: str = "",
        version: str = "2.0.0-rc.0",
    ) -> None:
        super().__init__()
        self.voices = voices
        self.name = name
        self.description = description
        self.version = version
        self.phone_extractor = PhoneExtractor()
        self.pitch_estimator = PitchEstimator()
        self.generator = WaveformGenerator()
        self.speakers = Speakers(len(voices))

    def hear(
        self,
        samples: Tensor,
        voice: Tensor,
        *,
        pitch_shift: float = 0.0,
        formant_shift: float = 0.0,
        quantise: bool = True,
    ) -> Heard:
        """What is to be said and how: samples [B, n] at 16 kHz, n a multiple of 160 and at least
        800, voice [B].

        pitch_shift in semitones, in steps of 1/8; formant_shift −2 to 2, in halves. `quantise` replaces each
        phone by the mean of the four nearest of the voice's own.
        """
        phones = self.phone_extractor(samples)
        if quantise:
            phones = nearest_codes(phones, self.speakers.codebooks[voice])
        phones = phones * (phones.square().mean(1, keepdim=True) + torch.finfo(torch.float32).eps).rsqrt()
        logits, energy = self.pitch_estimator(samples)
        source, features = read_pitch(logits)
        bins = (source + round(pitch_shift * BINS_PER_OCTAVE / 12)).clamp(1, PITCH_BINS - 1)
        # Energy and pitch look further ahead than phones do; later by that, all three mean the same moment.
        hints = torch.cat([shift_right(energy, 1), shift_right(features, 2)], dim=1)
        made = self.generator
        x = (
            made.phones(phones)
            + made.pitches(shift_right(bins[:, None], 2)[:, 0]).transpose(1, 2)
            + made.pitch_features(hints)
            + self.speakers.speakers(voice)[:, :, None]
            + self.speakers.formants.weight[formant_index(formant_shift)][:, None]
        )
        return Heard(F.silu(x), hertz(bins), hertz(source), features[:, 0])

    def say(
        self,
        heard: Heard,
        voice: Tensor,
        phase: Tensor | None = None,
        generator: torch.Generator | None = None,
        noise: Tensor | None = None,
    ) -> Tensor:
        """Samples [B, 240 · T] at 24 kHz. phase [B] in turns at the first of them, and noise as for
        `vocoder.shaped_noise`; random without them."""
        memory = self.speakers.memories[voice]
        if phase is None:
            phase = torch.rand(len(voice), generator=generator, device=voice.device)
        return self.generator.vocoder(heard.x, heard.pitch, memory, phase, generator, noise)


def nearest_codes(phones: Tensor, codebooks: Tensor) -> Tensor:
    """The mean of the four nearest codes by cosine. phones [B, 128, T], codebooks [B, 512, 128] → [B, 128,
    T]. A quantiser in the manner of kNN-VC (Baas et al., 2023)."""
    unit = F.normalize(phones, dim=1, eps=1e-6).transpose(1, 2)
    chosen = (unit @ codebooks.transpose(1, 2)).topk(_NEAREST, dim=-1).indices  # [B, T, 4]
    batch, length, count = chosen.shape
    rows = chosen.reshape(batch, length * count, 1).expand(-1, -1, PHONES)
    return codebooks.gather(1, rows).view(batch, length, count, PHONES).mean(2).transpose(1, 2)


def formant_index(semitones: float) -> int:
    """Row of a formant shift; shifts beyond ±2 semitones take the last one."""
    return min(max(round((semitones + 2.0) * 2.0), 0), FORMANTS - 1)
