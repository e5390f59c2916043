"""Conversion into a Voicewright model's own voice, without a download: `convert --to kathleen`.

A content network (`model/vc/bottleneck.py`) hears what is said and gives what the model's decoder needs to say
it: text features, energy, voicing. Pitch is the source's, moved to the target's range. Long recordings are cut
where they are quietest; every piece is heard and said with a second of its surroundings, and only there does
one fade into the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from voicewright.artifacts import embedded_model, resolve_model, voice_files
from voicewright.audio.loudness import TARGET, lufs
from voicewright.audio.mel import LogMel
from voicewright.audio.pitch import f0 as track
from voicewright.config import FRAME, HOP, SAMPLE_RATE
from voicewright.convert.flow import Cutter, Piece, Resampler, joined
from voicewright.convert.protocol import Converted, ConvertOptions, Note, Samples
from voicewright.errors import Cancel, UsageError, VoicewrightError, stop_if
from voicewright.model.checkpoint import load_content, load_model
from voicewright.model.fast.choice import choose
from voicewright.model.fast.model import FastModel
from voicewright.model.vc.bottleneck import FLOOR, LOUD, MEL, normalised

SILENT = -60.0
"""LUFS below which a recording counts as silence."""
FLOOR_HZ, CEILING_HZ = 50.0, 600.0
MEMORY = 20.0
"""Seconds of speech over which the source's mean spectrum is remembered."""
BRIDGE = 10
"""Frames (12.5 ms) of voiced speech without a pitch that are bridged from their neighbours."""
_METHODS = ("auto", "dio")


@dataclass
class _Source:
    """What is known of the source so far: the gain to the corpus's loudness, the factor of its pitch, and the
    running mean spectrum of its speech."""

    gain: float
    factor: float
    total: Tensor
    weight: float = 0.0
    loudest: float = -1e9


class EmbeddedConverter:
    """Converts into the voice of a model folder that has a content network.

    to: a model's name or folder, or the name of the embedded model's voice. implementation: of the graph, as
    in `model.fast.choice`. Raises VoicewrightError for a model that cannot convert, UsageError when there is
    none.
    """

    sample_rate = SAMPLE_RATE

    def __init__(self, to: Path | str = "tiny", implementation: str = "auto") -> None:
        folder = model_for(to)
        network, config, _ = load_model(folder, styles=False)
        conversion = load_content(folder, config)
        try:
            self._model = FastModel(network.float(), choose(implementation), consume=True)
        except TypeError as error:
            raise VoicewrightError(f"{folder} cannot convert speech: {error}.") from error
        self._content, self._style, self.pitch = conversion.net, conversion.style, conversion.pitch
        self._mel = LogMel(MEL)
        self.name = str(to)

    def convert(
        self, samples: Samples, rate: int, options: ConvertOptions, cancel: Cancel | None = None
    ) -> Converted:
        """See `protocol.Converter`. Loudness and pitch are measured on the whole recording first."""
        self._check(options)
        wave = _checked(samples)
        if not len(wave):
            raise VoicewrightError("there are no samples to convert; give a recording with sound in it.")
        heard = np.concatenate([*Resampler(rate, SAMPLE_RATE).all([wave])])
        notes = _Notes()
        made = [*self._stream([heard], options, cancel, notes, whole=heard)]
        out = np.concatenate([*Resampler(SAMPLE_RATE, options.sample_rate or SAMPLE_RATE).all(made)])
        count = round(len(wave) * (options.sample_rate or SAMPLE_RATE) / rate)
        out = np.pad(out, (0, max(0, count - len(out))))[:count]
        return Converted(
            out,
            options.sample_rate or SAMPLE_RATE,
            np.concatenate(notes.source),
            np.concatenate(notes.target),
            notes.semitones,
            tuple(notes.warnings),
        )

    def stream(
        self,
        blocks: Iterable[Samples],
        rate: int,
        options: ConvertOptions,
        cancel: Cancel | None = None,
        note: Note | None = None,
    ) -> Iterator[Samples]:
        """See `protocol.Converter`. Loudness and transposition are settled by the first piece with speech."""
        self._check(options)
        heard = Resampler(rate, SAMPLE_RATE).all(_checked(block) for block in blocks)
        made = self._stream(heard, options, cancel, note or _Notes())
        yield from Resampler(SAMPLE_RATE, options.sample_rate or SAMPLE_RATE).all(made)

    def _check(self, options: ConvertOptions) -> None:
        if options.method not in _METHODS:
            raise UsageError(
                f"the embedded voice follows pitch by {_METHODS[1]}, not {options.method}; leave --method out."
            )
        if options.formant or options.unvoiced != "zero":
            raise UsageError(
                "the embedded voice has its own formants and voicing; leave --formant and --unvoiced out."
            )
        if options.speaker not in (0, "0"):
            raise UsageError(f"the embedded voice is one speaker; there is no speaker {options.speaker!r}.")

    def _stream(
        self,
        blocks: Iterable[Samples],
        options: ConvertOptions,
        cancel: Cancel | None,
        note: Note,
        whole: Samples | None = None,
    ) -> Iterator[Samples]:
        source: _Source | None = None
        quiet = True

        def said(piece: Piece) -> Samples:
            nonlocal source, quiet
            stop_if(cancel)
            if source is None:
                source = self._measure(piece.samples if whole is None else whole, options, note)
            if source is None:
                frames = len(piece.samples) // HOP
                return self._silence(piece, np.zeros(frames, np.float32), note)
            quiet = False
            return self._say(piece, source, options, cancel, note)

        yield from joined(Cutter(options.chunks, FRAME, SAMPLE_RATE).all(blocks), said, SAMPLE_RATE)
        if quiet:
            note.warn("nothing but silence was heard, so silence was written.")

    def _silence(self, piece: Piece, none: NDArray[np.float32], note: Note) -> Samples:
        own = none[piece.before // HOP : (piece.before + piece.count) // HOP]
        note.pitch(_tens(own), _tens(own))
        return np.zeros(len(piece.samples), np.float32)

    def _measure(self, wave: Samples, options: ConvertOptions, note: Note) -> _Source | None:
        """Gain and transposition; None when there is nothing but silence."""
        loudness = lufs(wave, SAMPLE_RATE)
        if loudness < SILENT:
            return None
        gain = 10 ** ((TARGET - loudness) / 20)
        if options.pitch == "auto":
            # Two minutes are enough for a median.
            voiced = _track(wave[: 120 * SAMPLE_RATE] * np.float32(gain), options)
            voiced = voiced[voiced > 0]
            median = float(np.median(voiced)) if len(voiced) > 20 else 0.0
            factor = (options.target_pitch or self.pitch) / median if median else 1.0
            if not median:
                note.warn("the source has no voiced speech (music, noise or whisper?), so no pitch was moved.")
        else:
            factor = 2 ** (float(options.pitch) / 12)
        note.transposed(12 * float(np.log2(factor)))
        return _Source(gain, factor, torch.zeros(80))

    @torch.inference_mode()
    def _say(
        self, piece: Piece, source: _Source, options: ConvertOptions, cancel: Cancel | None, note: Note
    ) -> Samples:
        """The piece with its surroundings, in the target's voice and the source's loudness."""
        count = len(piece.samples)
        wave = np.pad(piece.samples, (0, -count % FRAME)) * np.float32(source.gain)
        steps = len(wave) // HOP
        mel = self._mel(torch.from_numpy(np.pad(wave, (0, max(0, 1024 - len(wave))))))[:, :steps]
        own = slice(piece.before // HOP, (piece.before + piece.count) // HOP)
        mean = _remember(source, mel, own)
        heard = self._content(normalised(mel, mean)[None])
        stop_if(cancel)
        found = _track(wave, options)[:steps]
        f0 = voiced_pitch(found, heard.voicing[0].sigmoid().numpy())
        moved = np.where(f0 > 0, np.clip(f0 * source.factor, FLOOR_HZ, CEILING_HZ), 0).astype(np.float32)
        note.pitch(_tens(f0[own]), _tens(moved[own]))
        rng = torch.Generator().manual_seed(options.seed + piece.number)
        text = heard.text[0].T.contiguous()
        sound = self._model.sound(text, torch.from_numpy(moved), heard.energy[0], self._style, rng)
        return _limited(sound.numpy()[:count] / np.float32(source.gain))


def model_for(to: Path | str) -> Path:
    """The model folder that a name stands for: a model's, or the embedded model's voice."""
    embedded = embedded_model()
    if str(to) in voice_files(embedded):
        return embedded
    folder = resolve_model(to)
    return folder if folder.is_dir() else folder.parent


def voiced_pitch(found: NDArray[np.float32], voicing: NDArray[np.float32]) -> NDArray[np.float32]:
    """The tracker's pitch [T] where the network hears voice [T] (probabilities), short gaps bridged.

    The network knows what is being said; the tracker loses creaky or noisy periods, and finds pitch in hum.
    """
    pitch = np.where(voicing > 0.25, found, 0).astype(np.float32)
    known = np.flatnonzero(pitch > 0)
    if not len(known):
        return pitch
    steps = np.arange(len(pitch))
    bridged = np.exp(np.interp(steps, known, np.log(pitch[known])))
    after = np.searchsorted(known, steps)
    left = steps - known[np.clip(after - 1, 0, None)]
    right = known[np.clip(after, None, len(known) - 1)] - steps
    near = np.minimum(np.where(left < 0, BRIDGE + 1, left), np.where(right < 0, BRIDGE + 1, right)) <= BRIDGE
    return np.where((pitch == 0) & (voicing > 0.6) & near, bridged, pitch).astype(np.float32)


def _track(wave: Samples, options: ConvertOptions) -> NDArray[np.float32]:
    return track(wave, SAMPLE_RATE, max(options.f0_min, FLOOR_HZ), min(options.f0_max, CEILING_HZ))


def _remember(source: _Source, mel: Tensor, own: slice) -> Tensor:
    """The mean spectrum of what was loud lately [80, 1], this piece's included."""
    level = torch.logsumexp(mel, 0)
    top = float(level.quantile(0.95))
    source.loudest = max(top, source.loudest - 1.0)
    loud = (level > source.loudest - LOUD).float()
    loud[: own.start] *= source.weight == 0  # what came before was counted with its own piece
    added = float(loud.sum())
    keep = max(0.0, min(1.0, 1 - (source.weight + added - MEMORY * SAMPLE_RATE / HOP) / max(1, source.weight)))
    source.total = source.total * keep + mel @ loud
    source.weight = source.weight * keep + added
    mean = source.total / max(1.0, source.weight)
    return mean.clamp_min(FLOOR)[:, None]


def _tens(curve: NDArray[np.float32]) -> NDArray[np.float32]:
    """A curve of 12.5 ms at 10 ms, the nearest value each."""
    count = len(curve) * 5 // 4
    return curve[np.minimum((np.arange(count) * 4 + 2) // 5, max(0, len(curve) - 1))]


def _limited(wave: Samples) -> Samples:
    """What exceeds 0.9 bent to stay below 1."""
    over = np.abs(wave) > 0.9
    if not over.any():
        return wave
    bent = np.sign(wave) * (0.9 + 0.1 * np.tanh((np.abs(wave) - 0.9) / 0.1))
    return np.where(over, bent, wave).astype(np.float32)


def _checked(samples: Samples) -> Samples:
    wave = np.asarray(samples, np.float32)
    if wave.ndim != 1:
        raise VoicewrightError(f"speech to convert is one channel, not an array of shape {wave.shape}.")
    if not np.isfinite(wave).all():
        raise VoicewrightError("the samples hold values that are not numbers; decode the recording again.")
    return wave


class _Notes:
    """Keeps what a stream says beside its samples."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.semitones = 0.0
        self.source: list[NDArray[np.float32]] = []
        self.target: list[NDArray[np.float32]] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)

    def transposed(self, semitones: float) -> None:
        self.semitones = semitones

    def pitch(self, f0_source: NDArray[np.float32], f0_target: NDArray[np.float32]) -> None:
        self.source.append(f0_source)
        self.target.append(f0_target)
