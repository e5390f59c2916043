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
from voicewright.audio.loudness import TARGET, lufs
from voicewright.audio.mel import LogMel
from voicewright.audio.pitch import f0 as by_dio
from voicewright.catalogue.places import embedded_model, read_card, resolve_model, voice_files
from voicewright.conversion.flow import Crossfade, Cutter, Piece, Resampler
from voicewright.conversion.offline import OfflineConverter
from voicewright.conversion.protocol import CONTENT_RATE, ConvertOptions, Meter, Note, Samples
from voicewright.conversion.source import Source
from voicewright.errors import UsageError, VoicewrightError
from voicewright.model.checkpoint import load_model
from voicewright.model.content.bottleneck import FLOOR, LOUD, MEL, Content, normalised
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
class Spoken:
    """What is known of the source so far: the gain that brought its first piece to the corpus's loudness, the
    factor of its pitch, and the running mean spectrum of its speech."""

    gain: float
    factor: float
    total: Tensor
    weight: float = 0.0
    loudest: float = -1e9
    level: float | None = None
    """Log power of the mean spectrum of the first piece."""


class OwnConverter(OfflineConverter):
    """Converts into the voice of a model folder that has a content network.

    to: a model's name or folder, or the name of the embedded model's voice. implementation: of the graph, as
    in `model.fast.choice`. Raises VoicewrightError for a model that cannot convert, UsageError when there is
    none.
    """

    sample_rate = SAMPLE_RATE
    hears = SAMPLE_RATE
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
            self.model = FastModel(network.float(), choose(implementation), consume=True)
        except TypeError as error:
            raise VoicewrightError(f"{folder} cannot convert speech: {error}.") from error
        self.content, self.style, self.pitch = conversion.net, conversion.style, conversion.pitch
        self.mel = LogMel(MEL)
        self.name = str(to)
        self.language = str(read_card(folder).get("language") or "")
        """The one language that its content network has heard."""

    def begin(
        self, options: ConvertOptions, note: Note, cancel: Cancel | None, whole: Samples | None, rate: int
    ) -> _Recording:
        """See `OfflineConverter.begin`. Loudness and transposition are settled by the first piece with
        speech, transposition by all of a recording that is there."""
        self._check(options)
        heard = None if whole is None else np.concatenate([*Resampler(rate, SAMPLE_RATE).all([whole])])
        return _Recording(self, options, note, cancel, heard)

    def pitch_meter(self, options: ConvertOptions) -> Meter | None:
        """See `Converter.pitch_meter`."""
        return lambda samples: self.estimate(samples, options)

    def estimate(self, samples: Samples, options: ConvertOptions) -> NDArray[np.float32]:
        """F0 as the options want it: [n] at 16 kHz → Hz, every 12.5 ms."""
        return track(resample(samples, CONTENT_RATE, SAMPLE_RATE), options)

    def _check(self, options: ConvertOptions) -> None:
        if options.formant or options.unvoiced != "zero":
            raise UsageError(
                "the embedded voice has its own formants and voicing; leave --formant and --unvoiced out."
            )
        if options.speaker != 0:
            raise UsageError(f"the embedded voice is one speaker; there is no speaker {options.speaker}.")
        if options.exact:
            raise UsageError("--exact is RVC-WebUI's way of converting; the embedded voice has none.")


@dataclass(frozen=True)
class _Heard:
    """What is said; F0 [steps] in Hz as it is to be said; the factor that brings the source's loudness."""

    content: Content
    f0: NDArray[np.float32]
    loudness: np.float64


class _Recording:
    """One conversion under way: the source as it is known so far, and what comes to its end."""

    def __init__(
        self,
        converter: OwnConverter,
        options: ConvertOptions,
        note: Note,
        cancel: Cancel | None,
        whole: Samples | None,
    ) -> None:
        self._voice, self._options, self._note, self._cancel = converter, options, note, cancel
        self._whole = whole
        self._source: Spoken | None = None
        self._quiet = True
        self._fade = Crossfade(SAMPLE_RATE)

    def cut(self, blocks: Iterable[Samples]) -> Iterator[Piece]:
        """See `Run.cut`."""
        return Cutter(self._options.chunks, FRAME, SAMPLE_RATE).all(blocks)

    @torch.inference_mode()
    def hear(self, piece: Piece) -> _Heard | None:
        """See `Run.hear`; None while there was nothing but silence."""
        if self._source is None:
            self._source = self._measure(piece.samples)
        if self._source is None:
            return None
        self._quiet = False
        source, options = self._source, self._options
        wave = np.pad(piece.samples, (0, -len(piece.samples) % FRAME)) * np.float32(source.gain)
        steps = len(wave) // HOP
        mel = self._voice.mel(torch.from_numpy(np.pad(wave, (0, max(0, 1024 - len(wave))))))[:, :steps]
        own = slice(piece.before // HOP, (piece.before + piece.count) // HOP)
        mean = remember(source, mel, own)
        heard = self._voice.content(normalised(mel, mean)[None])
        stop_if(self._cancel)
        f0 = voiced_pitch(track(wave, options)[:steps], heard.voicing[0].sigmoid().numpy())
        moved = np.where(f0 > 0, np.clip(f0 * source.factor, FLOOR_HZ, CEILING_HZ), 0).astype(np.float32)
        self._note.pitch(_tens(f0[own]), _tens(moved[own]))
        # The network hears everything at one loudness; how loud the source is lately says its mean spectrum.
        level = float(torch.logsumexp(mean, 0))
        source.level = level if source.level is None else source.level
        return _Heard(heard, moved, np.exp(0.5 * (level - source.level)) / source.gain)

    @torch.inference_mode()
    def say(self, piece: Piece, heard: _Heard | None) -> Samples:
        """See `Run.say`: in the target's voice and the source's loudness."""
        if heard is None:
            none = np.zeros(len(piece.samples) // HOP, np.float32)
            own = none[piece.before // HOP : (piece.before + piece.count) // HOP]
            self._note.pitch(_tens(own), _tens(own))
            return self._fade.join(piece, np.zeros(len(piece.samples), np.float32))
        rng = torch.Generator().manual_seed(self._options.seed + piece.number)
        text = heard.content.text[0].T.contiguous()
        sound = self._voice.model.sound(
            text, torch.from_numpy(heard.f0), heard.content.energy[0], self._voice.style, rng
        )
        return self._fade.join(
            piece, np.asarray(sound.numpy()[: len(piece.samples)] * heard.loudness, np.float32)
        )

    def end(self, source: Source) -> None:
        """See `Run.end`."""
        if self._quiet:
            self._note.warn("nothing but silence was heard, so silence was written.")

    def _measure(self, first: Samples) -> Spoken | None:
        """Gain and transposition, this from the whole where it is there; None when the piece is silent."""
        options = self._options
        loudness = lufs(first, SAMPLE_RATE)
        if loudness < SILENT:
            return None
        gain = 10 ** ((TARGET - loudness) / 20)
        if options.pitch == "auto":
            # Two minutes are enough for a median.
            heard = (first if self._whole is None else self._whole)[: 120 * SAMPLE_RATE]
            voiced = track(heard * np.float32(gain), options)
            voiced = voiced[voiced > 0]
            median = options.source_pitch or (float(np.median(voiced)) if len(voiced) > 20 else 0.0)
            factor = (options.target_pitch or self._voice.pitch) / median if median else 1.0
            if not median:
                self._note.warn(
                    "the source has no voiced speech (music, noise or whisper?), so no pitch was moved."
                )
        else:
            factor = 2 ** (float(options.pitch) / 12)
        self._note.transposed(12 * float(np.log2(factor)))
        return Spoken(gain, factor, torch.zeros(80))


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


def track(wave: Samples, options: ConvertOptions) -> NDArray[np.float32]:
    """F0 [T] every 12.5 ms by the method that is asked for: FCPE where it is installed, else WORLD's DIO.

    DIO's search begins above the hum of the mains, which it would follow wherever nobody speaks lower.
    """
    from voicewright.conversion.pitch import estimate, resolve

    low, high = max(options.f0_min, FLOOR_HZ), min(options.f0_max, CEILING_HZ)
    method = resolve(options.method)
    if method == "dio" or (options.method == "auto" and method != "fcpe"):
        return by_dio(wave, SAMPLE_RATE, max(low, HUM), high)
    tens = estimate(resample(wave, SAMPLE_RATE, CONTENT_RATE), method, f0_min=low, f0_max=high)
    tens = np.where((tens >= low) & (tens <= high), tens, 0)
    at = np.minimum(np.rint(np.arange(len(wave) // HOP + 1) * 1.25).astype(int), len(tens) - 1)
    return np.asarray(tens[at], np.float32)


def remember(source: Spoken, mel: Tensor, own: slice) -> Tensor:
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
