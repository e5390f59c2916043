"""Conversion into a Voicewright model's own voice, without a download: `convert --to kathleen`.

A content network (`model/content/bottleneck.py`) hears what is said and gives what the model's decoder needs
to say it: text features, energy, voicing. Pitch is the source's, moved to the target's range. Long recordings
are cut where they are quietest; every piece is heard and said with a second of its surroundings, and only
there does one fade into the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from voicewright.audio.files import resample
from voicewright.audio.limit import CEILING, Limiter
from voicewright.audio.loudness import TARGET, lufs
from voicewright.audio.mel import LogMel
from voicewright.audio.pitch import f0 as track
from voicewright.catalogue.places import embedded_model, read_card, resolve_model, voice_files
from voicewright.conversion.flow import Cutter, Piece, Resampler, as_long, joined
from voicewright.conversion.heard import Heard
from voicewright.conversion.protocol import CONTENT_RATE, Converted, ConvertOptions, Meter, Note, Samples
from voicewright.conversion.source import check_recording
from voicewright.errors import UsageError, VoicewrightError
from voicewright.model.checkpoint import load_model
from voicewright.model.content.bottleneck import FLOOR, LOUD, MEL, normalised
from voicewright.model.content.files import load_content
from voicewright.model.fast.choice import choose
from voicewright.model.fast.model import FastModel
from voicewright.stopping import Cancel, stop_if
from voicewright.units import FRAME, HOP, SAMPLE_RATE

SILENT = -60.0
"""LUFS below which a recording counts as silence."""
FLOOR_HZ, CEILING_HZ = 50.0, 600.0
HUM = 70.0
"""Hz."""
MEMORY = 20.0
"""Seconds of speech over which the source's mean spectrum is remembered."""
BRIDGE = 10
"""Frames (12.5 ms) of voiced speech without a pitch that are bridged from their neighbours."""


@dataclass
class _Source:
    """What is known of the source so far: the gain that brought its first piece to the corpus's loudness, the
    factor of its pitch, and the running mean spectrum of its speech."""

    gain: float
    factor: float
    total: Tensor
    weight: float = 0.0
    loudest: float = -1e9
    level: float | None = None
    """Log power of the mean spectrum of the first piece."""


class OwnConverter:
    """Converts into the voice of a model folder that has a content network.

    to: a model's name or folder, or the name of the embedded model's voice. implementation: of the graph, as
    in `model.fast.choice`. Raises VoicewrightError for a model that cannot convert, UsageError when there is
    none.
    """

    sample_rate = SAMPLE_RATE
    ignores = MappingProxyType(
        {
            "index_rate": "a model's own voice has no index",
            "protect": "a model's own voice has no index",
            "rms_mix": "a model's own voice follows the recording's loudness",
        }
    )

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
        self.language = str(read_card(folder).get("language") or "")
        """The one language that its content network has heard."""

    def convert(
        self, samples: Samples, rate: int, options: ConvertOptions, cancel: Cancel | None = None
    ) -> Converted:
        """See `protocol.Converter`. Loudness and pitch are measured on the whole recording first."""
        self._check(options)
        wave = check_recording(samples, rate)
        heard = np.concatenate([*Resampler(rate, SAMPLE_RATE).all([wave])])
        wanted, notes = options.sample_rate or SAMPLE_RATE, Heard()
        out = np.concatenate([*self._finished(self._stream([heard], options, cancel, notes, heard), wanted)])
        count = round(len(wave) * wanted / rate)
        return notes.converted(np.pad(out, (0, max(0, count - len(out))))[:count], wanted)

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
        count = 0

        def checked() -> Iterator[Samples]:
            nonlocal count
            for block in blocks:
                yield check_recording(block, rate, count)
                count += len(block)

        made = self._stream(Resampler(rate, SAMPLE_RATE).all(checked()), options, cancel, note or Heard())
        wanted = options.sample_rate or SAMPLE_RATE
        yield from as_long(self._finished(made, wanted), lambda: round(count * wanted / rate))

    def _finished(self, made: Iterator[Samples], rate: int) -> Iterator[Samples]:
        """At the wanted rate, and without peaks beyond full scale."""
        limiter = Limiter(rate, CEILING)
        for part in Resampler(SAMPLE_RATE, rate).all(made):
            if len(ready := limiter.feed(part, last=False)):
                yield ready
        yield limiter.feed(np.zeros(0, np.float32), last=True)

    def pitch_meter(self, options: ConvertOptions) -> Meter | None:
        """See `Converter.pitch_meter`."""
        return lambda samples: self.estimate(samples, options)

    def estimate(self, samples: Samples, options: ConvertOptions) -> NDArray[np.float32]:
        """F0 as the options want it: [n] at 16 kHz → Hz, every 12.5 ms."""
        return _track(resample(samples, CONTENT_RATE, SAMPLE_RATE), options)

    def _check(self, options: ConvertOptions) -> None:
        if options.formant or options.unvoiced != "zero":
            raise UsageError(
                "the embedded voice has its own formants and voicing; leave --formant and --unvoiced out."
            )
        if options.speaker != 0:
            raise UsageError(f"the embedded voice is one speaker; there is no speaker {options.speaker}.")
        if options.exact:
            raise UsageError("--exact is RVC-WebUI's way of converting; the embedded voice has none.")

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
                source = self._measure(piece.samples, whole, options, note)
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

    def _measure(
        self, first: Samples, whole: Samples | None, options: ConvertOptions, note: Note
    ) -> _Source | None:
        """Gain and transposition, this from the whole where it is there; None when the piece is silent."""
        loudness = lufs(first, SAMPLE_RATE)
        if loudness < SILENT:
            return None
        gain = 10 ** ((TARGET - loudness) / 20)
        if options.pitch == "auto":
            # Two minutes are enough for a median.
            heard = (first if whole is None else whole)[: 120 * SAMPLE_RATE]
            voiced = _track(heard * np.float32(gain), options)
            voiced = voiced[voiced > 0]
            median = options.source_pitch or (float(np.median(voiced)) if len(voiced) > 20 else 0.0)
            factor = (options.target_pitch or self.pitch) / median if median else 1.0
            if not median:
                note.warn(
                    "the source has no voiced speech (music, noise or whisper?), so no pitch was moved."
                )
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
        # The network hears everything at one loudness; how loud the source is lately says its mean spectrum.
        level = float(torch.logsumexp(mean, 0))
        source.level = level if source.level is None else source.level
        loud = np.exp(0.5 * (level - source.level)) / source.gain
        return np.asarray(sound.numpy()[:count] * loud, np.float32)


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
    """F0 [T] every 12.5 ms by the method that is asked for: FCPE where it is installed, else WORLD's DIO.

    DIO's search begins above the hum of the mains, which it would follow wherever nobody speaks lower.
    """
    from voicewright.conversion.pitch import estimate, resolve

    low, high = max(options.f0_min, FLOOR_HZ), min(options.f0_max, CEILING_HZ)
    method = resolve(options.method)
    if method == "dio" or (options.method == "auto" and method != "fcpe"):
        return track(wave, SAMPLE_RATE, max(low, HUM), high)
    tens = estimate(resample(wave, SAMPLE_RATE, CONTENT_RATE), method, f0_min=low, f0_max=high)
    tens = np.where((tens >= low) & (tens <= high), tens, 0)
    at = np.minimum(np.rint(np.arange(len(wave) // HOP + 1) * 1.25).astype(int), len(tens) - 1)
    return np.asarray(tens[at], np.float32)


def _remember(source: _Source, mel: Tensor, own: slice) -> Tensor:
    """The mean spectrum of what was loud lately [80, 1], this piece's included."""
    level = torch.logsumexp(mel, 0)
    top = float(level.quantile(0.95))
    source.loudest = max(top, source.loudest - 1.0)
    loud = (level > source.loudest - LOUD).float()
    loud[: own.start] *= source.weight == 0  # what came before was counted with its own piece
    added = float(loud.sum())
    keep = max(
        0.0, min(1.0, 1 - (source.weight + added - MEMORY * SAMPLE_RATE / HOP) / max(1, source.weight))
    )
    source.total = source.total * keep + mel @ loud
    source.weight = source.weight * keep + added
    mean = source.total / max(1.0, source.weight)
    return mean.clamp_min(FLOOR)[:, None]


def _tens(curve: NDArray[np.float32]) -> NDArray[np.float32]:
    """A curve of 12.5 ms at 10 ms, the nearest value each."""
    count = len(curve) * 5 // 4
    return curve[np.minimum((np.arange(count) * 4 + 2) // 5, max(0, len(curve) - 1))]
