"""RVC's conversion, chunk by chunk in bounded memory, with joins that cannot be heard.

Source → 16 kHz → high-pass → chunks cut where it is quiet, each with its surroundings → content features,
retrieval, F0 → synthesiser → crossfade → loudness → limiter.

The synthesiser sums F0 up into the phase of its excitation from a chunk's first frame on. So that two chunks
agree where they meet, F0 is estimated once for the frames that both hear, and the first frame of the later
one, a second before the join, gets the F0 that brings its phase to where the earlier one's was.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from voicewright.conversion.offline import BLOCK, OfflineConverter
from voicewright.conversion.pitch import coarse
from voicewright.conversion.protocol import (
    CONTENT_RATE,
    PITCH_HOP,
    Converted,
    ConvertOptions,
    Meter,
    Note,
    Samples,
)
from voicewright.conversion.signal import LoudnessMix
from voicewright.conversion.source import EXTRA, Piece, Source, pieces, survey
from voicewright.errors import UsageError, VoicewrightError
from voicewright.rvc.convert.voice import (
    Content,
    Estimate,
    Floats,
    Voice,
    check_index,
    doubled,
    expected_pitch,
    ignored,
    protect,
    settle,
    speaker_row,
)
from voicewright.rvc.convert.voice import known_pitch as known_pitch
from voicewright.stopping import Cancel, stop_if

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from voicewright.rvc.convert.index import Index

FADE = 0.04
"""Seconds over which one chunk goes over into the next."""
FRAMES = CONTENT_RATE // PITCH_HOP
"""Frames of F0 a second."""
_ENOUGH = 50
"""Voiced frames from which a median is taken for a voice's."""


class RvcConverter(OfflineConverter):
    """Converts into one RVC voice. `index` may be None; `estimate` is `conversion.pitch.estimate` unless
    given. `notes`: what is to be known of the voice's file, told with every conversion."""

    filtered = True

    def __init__(
        self,
        voice: Voice,
        content: Content,
        index: Index | None = None,
        *,
        name: str = "voice",
        estimate: Estimate | None = None,
        device: str = "cpu",
        notes: Sequence[str] = (),
    ) -> None:
        self.voice, self.content, self.index = voice, content, index
        self.notes = tuple(notes)
        self._name, self.device = name, device
        self._estimate = estimate
        check_index(index, voice, name)

    @property
    def name(self) -> str:
        return self._name

    @property
    def sample_rate(self) -> int:
        return int(self.voice.config.sample_rate)

    @property
    def ignores(self) -> dict[str, str]:  # type: ignore[override]
        return ignored(self.voice, self.index is not None)

    def pitch_meter(self, options: ConvertOptions) -> Meter | None:
        """See `Converter.pitch_meter`."""
        if not self.voice.config.f0 or (options.target_pitch or known_pitch(self.voice)) is None:
            return None
        return lambda samples: self.estimate(samples, options)

    def estimate(self, samples: Floats, options: ConvertOptions) -> Floats:
        """F0 as the options want it: [n] at 16 kHz → Hz, [n // 160 + 1]."""
        from voicewright.conversion import pitch

        ask: Estimate = self._estimate or pitch.estimate
        # Upstream hears a recording as a whole; a chunk never is long enough to be cut again.
        found = ask(samples, options.method, f0_min=options.f0_min, f0_max=options.f0_max, whole=True)
        if options.exact:
            return np.asarray(found, np.float32)
        # Networks search where they learned to; what lies beyond is not wanted here.
        wanted = (found >= options.f0_min) & (found <= options.f0_max)
        return np.where(wanted, found, 0).astype(np.float32)

    def convert(
        self, samples: Samples, rate: int, options: ConvertOptions, cancel: Cancel | None = None
    ) -> Converted:
        """A whole recording; see `Converter.convert`. With `options.exact` as RVC-WebUI does it."""
        if options.exact:
            from voicewright.rvc.convert.exact import convert_exactly

            return convert_exactly(self, samples, rate, options, cancel)
        measured = options.pitch != "auto" or options.source_pitch is not None or not self.voice.config.f0
        if not measured and len(samples) > options.chunks.longest * rate:
            blocks = [samples[at : at + BLOCK] for at in range(0, len(samples), BLOCK)]
            seen = survey(blocks, rate, lambda part: self.estimate(part, options), cancel)
            options = options.measured(seen.pitch)
        return super().convert(samples, rate, options, cancel)

    def begin(
        self, options: ConvertOptions, note: Note, cancel: Cancel | None, whole: Samples | None, rate: int
    ) -> _Recording:
        """See `OfflineConverter.begin`."""
        if options.exact:
            raise UsageError(
                "exact conversion needs the whole recording at once; convert it without --exact."
            )
        speaker = speaker_row(self.voice, options.speaker, self.name)
        return _Recording(self, options, speaker, cancel, note)

    def features(
        self, samples: Samples, options: ConvertOptions, cancel: Cancel | None
    ) -> tuple[Floats, Floats]:
        """Content [k, C] every 20 ms of samples [320 k + 80], with retrieval and without."""
        import torch

        stop_if(cancel)
        wave = torch.from_numpy(np.ascontiguousarray(samples))[None].to(self.device)
        with stopping(cancel, self.content), torch.inference_mode():
            found = self.content.encode(wave, self.voice.config.version)
        plain = found[0].float().cpu().numpy()
        if not np.isfinite(plain).all():
            raise VoicewrightError("the content model gave values that are not numbers; it is damaged.")
        stop_if(cancel)
        if self.index is None or options.index_rate == 0:
            return plain, plain
        return self.index.blend(plain, options.index_rate), plain

    def synthesise(
        self,
        features: Floats,
        f0: Floats | None,
        pitch: NDArray[np.int64] | None,
        speaker: int,
        generator: torch.Generator,
        cancel: Cancel | None,
        decode_length: int | None = None,
    ) -> Samples:
        """features [T, C], f0 [T] in Hz and pitch [T] in bins (None for voices without) → [hop · T]."""
        import torch

        from voicewright.rvc.network.fast import FastSynthesizer

        stop_if(cancel)

        def batch(values: NDArray[Any] | None) -> Tensor | None:
            return None if values is None else torch.from_numpy(values)[None].to(self.device)

        further: dict[str, Any] = {} if decode_length is None else {"decode_length": decode_length}
        if cancel is not None and isinstance(self.voice.synthesizer, FastSynthesizer):
            further["check"] = lambda: stop_if(cancel)
        with stopping(cancel, self.voice.synthesizer), torch.inference_mode():
            made = self.voice.synthesizer.infer(
                batch(np.ascontiguousarray(features)),
                torch.tensor([len(features)], device=self.device),
                batch(pitch),
                batch(f0),
                torch.tensor([speaker], device=self.device),
                generator=generator,
                **further,
            )
        out = made[0].float().cpu().numpy()
        if not np.isfinite(out).all():
            raise VoicewrightError(f"{self.name} gave values that are not numbers; its file is damaged.")
        return np.asarray(out, np.float32)


@dataclass(frozen=True)
class _Heard:
    """features [frames, C]; f0 [frames] in Hz and its codes, None for voices without; turns: the excitation's
    phase at a frame of the whole. The sound is made `stretched` frames long where formants move."""

    features: Floats
    f0: Floats | None
    pitch: NDArray[np.int64] | None
    turns: Callable[[float], float] | None
    frames: int
    stretched: int


class _Recording:
    """One conversion under way: what one chunk leaves behind for the next."""

    def __init__(
        self,
        converter: RvcConverter,
        options: ConvertOptions,
        speaker: int,
        cancel: Cancel | None,
        note: Note,
    ) -> None:
        import torch

        self._converter, self._options, self._speaker = converter, options, speaker
        self._cancel, self._note = cancel, note
        self._config = converter.voice.config
        self._generator = torch.Generator(converter.device).manual_seed(options.seed)
        self._semitones: float | None = None if options.pitch == "auto" else float(options.pitch)
        self._known = np.zeros(0, np.float32)
        """F0 of the source from frame `_known_at` on, as the chunk before heard it, up to just
        past its end."""
        self._known_at = 0
        self._turns: Callable[[float], float] | None = None
        """Phase of the excitation, in turns, at a frame of the whole, as the chunk before had it."""
        self._tail = np.zeros(0, np.float32)
        """Samples of the chunk before beyond its end, to be faded out."""
        self._warned: set[str] = set()
        self._voiced = False
        self._mix = LoudnessMix(self._config.sample_rate, options.rms_mix)

    def cut(self, blocks: Iterable[Samples]) -> Iterator[Piece]:
        """See `Run.cut`."""
        for told in self._converter.notes:
            self._warn(told)
        if wish := expected_pitch(self._converter.voice, self._options):
            self._warn(wish)
        return pieces(blocks, self._options.chunks, self._cancel)

    def end(self, source: Source) -> None:
        """See `Run.end`."""
        for warning in source.warnings:
            self._warn(warning)
        if self._config.f0 and not self._voiced and source.peak > 0:
            self._warn("no pitch was found in the recording: the result is a whisper, if it is anything.")

    def _warn(self, message: str) -> None:
        if message not in self._warned:
            self._note.warn(message)
        self._warned.add(message)

    def hear(self, piece: Piece) -> _Heard:
        """See `Run.hear`: content features, with retrieved ones, and F0 as the synthesiser is to have it."""
        options = self._options
        frames = (len(piece.heard) - EXTRA) // PITCH_HOP
        features, plain = self._converter.features(piece.heard, options, self._cancel)
        features, plain = (doubled(part, frames) for part in (features, plain))
        stretched = math.ceil(frames * 2 ** (options.formant / 12)) if options.formant else frames
        if not self._config.f0:
            return _Heard(features, None, None, None, frames, stretched)
        source_f0 = self._source_f0(piece, frames)
        features = protect(features, plain, source_f0, options.protect)
        target = self._target_f0(piece, source_f0)
        # Stretching the excitation and squeezing the sound leave F0 where it was; the embedded pitch goes
        # with the formants, as the sound is when it is made.
        pitch = coarse(target * np.float32(frames / stretched))
        f0, turned = self._in_phase(piece, target)
        return _Heard(features, f0, pitch, turned, frames, stretched)

    def say(self, piece: Piece, heard: _Heard) -> Samples:
        """See `Run.say`: crossfaded with the piece before, and as loud as the options want it."""
        hop, frames, stretched = self._config.hop, heard.frames, heard.stretched
        made = self._converter.synthesise(
            heard.features, heard.f0, heard.pitch, self._speaker, self._generator, self._cancel,
            None if stretched == frames else stretched,
        )  # fmt: skip
        if stretched != frames:
            import soxr

            made = soxr.resample(made, stretched, frames).astype(np.float32)
        self._turns = heard.turns
        begin = (piece.start - piece.at) * hop // PITCH_HOP
        end = (piece.end - piece.at) * hop // PITCH_HOP
        own = made[begin:end].copy()
        fading = min(len(self._tail), len(own))
        if fading:
            rise = np.sin(0.5 * np.pi * (np.arange(fading) + 0.5) / fading).astype(np.float32) ** 2
            own[:fading] = own[:fading] * rise + self._tail[:fading] * (1 - rise)
        self._tail = made[end : end + int(FADE * self._config.sample_rate)].copy()
        return self._mix.feed(piece.own, own, piece.last)

    def _source_f0(self, piece: Piece, frames: int) -> Floats:
        """F0 [frames] of what a piece hears; where the one before heard the same, what that one found."""
        stop_if(self._cancel)
        found = self._converter.estimate(piece.heard[: frames * PITCH_HOP], self._options)[:frames]
        found = np.pad(found, (0, frames - len(found)))
        first = piece.at // PITCH_HOP
        before = self._known[max(0, first - self._known_at) :]
        if len(before):
            found[: len(before)] = before[:frames]
        keep = min(frames, (piece.end - piece.at) // PITCH_HOP + math.ceil(FADE * FRAMES) + 1)
        self._known, self._known_at = found[:keep].copy(), first
        stop_if(self._cancel)
        return found

    def _target_f0(self, piece: Piece, source_f0: Floats) -> Floats:
        """F0 that the synthesiser is asked for; tells the note about the piece's own frames."""
        options = self._options
        own = slice((piece.start - piece.at) // PITCH_HOP, math.ceil((piece.end - piece.at) / PITCH_HOP))
        voiced = source_f0[own][source_f0[own] > 0]
        self._voiced |= bool(len(voiced))
        semitones = self._semitones
        if semitones is None:
            semitones, message = settle(options, self._converter.name, self._converter.voice, voiced)
            if message:
                self._warn(message)
            if len(voiced) >= _ENOUGH or piece.last or options.source_pitch is not None:
                self._semitones = semitones
        self._note.transposed(semitones)
        target = source_f0
        if options.unvoiced == "interpolate":
            from voicewright.conversion.pitch import interpolate_unvoiced

            target = interpolate_unvoiced(source_f0)
        target = (target * np.float32(2 ** (semitones / 12))).astype(np.float32)
        self._note.pitch(source_f0[own].copy(), target[own].copy())
        return target

    def _in_phase(self, piece: Piece, f0: Floats) -> tuple[Floats, Callable[[float], float]]:
        """F0 [T] whose phase meets that of the chunk before, and the phase as a function of
        the whole's frame."""
        f0 = f0.copy()
        first = piece.at // PITCH_HOP
        if self._turns is not None:
            # The excitation has turned through f0 / 100 after a frame of 10 ms.
            missing = self._turns(first + 1) - float(f0[0]) / FRAMES
            f0[0] += np.float32((missing % 1.0) * FRAMES)
        turns = np.concatenate([[0.0], np.cumsum(f0.astype(np.float64) / FRAMES)])
        return f0, lambda frame: float(np.interp(frame - first, np.arange(len(turns)), turns))


@contextlib.contextmanager
def stopping(cancel: Cancel | None, network: object) -> Iterator[None]:
    """While it lasts, every module of `network` asks `cancel` before it runs, in this thread: a chunk of a
    minute can be left within a fraction of a second."""
    from torch import nn

    if cancel is None or not isinstance(network, nn.Module):
        yield
        return
    here = threading.get_ident()

    def ask(module: nn.Module, _: object) -> None:
        if threading.get_ident() == here:
            stop_if(cancel)

    hooks = [module.register_forward_pre_hook(ask) for module in network.modules()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
