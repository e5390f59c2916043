"""An RVC voice in live blocks: content features of the window, its pitch, retrieval, the
synthesizer's last frames.

What is random is drawn once for every frame of the stream and kept while that frame is in the window, and
the excitation's phase goes on from block to block (the frame before the first that is heard gets the F0
that brings it there). So two blocks say the same where they overlap, and a whole recording says what its
blocks say but for what they cannot hear. RVC-WebUI draws anew and starts its phase at zero in every block;
SOLA alone makes its blocks meet.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from voicewright.conversion.block import FRAME, AutoTranspose, LiveOptions, PitchCache, Samples
from voicewright.conversion.continuity import Noise
from voicewright.errors import VoicewrightError
from voicewright.rvc.convert.voice import check_index, doubled, ignored, known_pitch, protect, speaker_row

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from voicewright.rvc.convert.index import Index
    from voicewright.rvc.convert.offline import Content, Voice
    from voicewright.rvc.files.checkpoint import ConversionVoice
    from voicewright.rvc.network.synthesizer import Synthesizer

Floats = NDArray[np.float32]

LEAD = 2
"""Frames decoded before those that are heard: they hold the correction of the phase, and
what padding spoils."""
_BEFORE = {"dio": 30}
_BEFORE_OTHERS = 15
"""Frames that pitch is measured over before the new ones. With RVC-WebUI's 5, blocks of 0.1 s are found
voiced or not otherwise than in the whole in 12 (FCPE) to 39 (DIO) of 100 frames; with these in 2, for a
few milliseconds more."""
_RMVPE_STEP = 5120


class RvcBlockVoice:
    """`BlockVoice` for RVC. `estimate` is `convert.pitch.estimate` unless given (tests)."""

    def __init__(
        self,
        voice: Voice,
        content: Content,
        index: Index | None = None,
        *,
        name: str = "voice",
        seed: int | None = 0,
        estimate: Any = None,
    ) -> None:
        check_index(index, voice, name)
        self.voice, self.content, self.index, self.name = voice, content, index, name
        self.sample_rate = int(voice.config.sample_rate)
        self.grid = 2
        self.speakers = _speakers(voice)
        self.times: dict[str, float] = {}
        """Seconds of the last block's parts: content, index, pitch, synthesizer."""
        self._estimate = estimate
        self._methods: dict[str, str] = {}
        self._pitch = PitchCache()
        self._transpose = AutoTranspose(known_pitch(voice))
        self._latent = Noise(voice.config.inter, seed)
        self._hiss = Noise(voice.config.hop, None if seed is None else seed + 1)
        self._turns: Floats | None = None
        """Turns of the excitation at the frames of the last block, from its second on."""
        self._behind = 0
        """How many frames before the newest that second frame was."""

    @property
    def ignores(self) -> dict[str, str]:
        return ignored(self.voice, self.index is not None)

    def reset(self) -> None:
        self._pitch.clear()
        self._transpose.reset()
        self._latent.clear()
        self._hiss.clear()
        self._turns = None

    def skip(self, fresh: int) -> None:
        self._pitch.shift(fresh)
        self._latent.shift(fresh)
        self._hiss.shift(fresh)
        self._turns = None

    def convert(self, window: Samples, fresh: int, head: int, frames: int, options: LiveOptions) -> Samples:
        """See `BlockVoice.convert`. Raises UsageError for a speaker that there is not, VoicewrightError for
        values that are no numbers."""
        clock, total = time.perf_counter, len(window) // FRAME
        speaker = speaker_row(self.voice, options.speaker, self.name)
        self._latent.shift(fresh)
        self._hiss.shift(fresh)
        began = clock()
        plain = self._content(window)
        heard = clock()
        features = self._retrieved(plain, head, options.index_rate)
        found = clock()
        lead = min(LEAD, head)
        first, count = head - lead, frames + lead
        stretched = math.ceil(count * 2 ** (options.formant / 12)) if options.formant else count
        f0 = coded = None
        features, plain = doubled(features, total), doubled(plain, total)
        if self.voice.config.f0:
            source = self._source(window, fresh, total, options)
            features = protect(features, plain, source, options.protect)
            semitones = self._transpose.semitones(options, source[-fresh:])
            f0, coded = self._target(source, semitones, options, count, stretched)
            self._continue(f0, first, count, total, fresh)
        measured = clock()
        sound = self._synthesise(features, f0, coded, speaker, first, count, total, stretched)
        self.times = {
            "content": heard - began,
            "index": found - heard,
            "pitch": measured - found,
            "synthesizer": clock() - measured,
        }
        return sound[lead * self.voice.config.hop :]

    def _content(self, window: Samples) -> Floats:
        """[total frames of 20 ms, C]; the last held, for the encoder gives one too few."""
        import torch

        with torch.inference_mode():
            wave = torch.from_numpy(np.ascontiguousarray(window))[None]
            found = self.content.encode(wave, self.voice.config.version)[0].float().numpy()
        if not len(found):  # less than 25 ms
            return np.zeros((1, self.voice.config.phone_width), dtype=np.float32)
        if not np.isfinite(found).all():
            raise VoicewrightError("the content model gave values that are not numbers; it is damaged.")
        return np.asarray(found, np.float32)

    def _retrieved(self, plain: Floats, head: int, rate: float) -> Floats:
        """What is heard alone is looked up: from frame `head` on."""
        if self.index is None or rate == 0:
            return plain
        place = min(head // 2, len(plain) - 1)
        return np.concatenate([plain[:place], self.index.blend(plain[place:], rate)])

    def _source(self, window: Samples, fresh: int, total: int, options: LiveOptions) -> Floats:
        """F0 [total] of the window: the new frames and a few before them measured, the rest remembered."""
        from voicewright.conversion import pitch

        method = self._method(options.method)
        length = (fresh + _BEFORE.get(method, _BEFORE_OTHERS)) * FRAME
        if method == "rmvpe":
            length = _RMVPE_STEP * ((length - 1) // _RMVPE_STEP + 1) - FRAME
        estimate = self._estimate or pitch.estimate
        measured = estimate(window[-min(length, len(window)) :], method)
        if len(measured) > total:  # everything is new: a whole recording, whose edges are all there is
            self._pitch.shift(min(fresh, len(self._pitch.values)))
            return np.asarray(measured[:total], np.float32)
        self._pitch.take(fresh, measured)
        return self._pitch.last(total)

    def _method(self, wanted: str) -> str:
        """`auto` is FCPE where it is installed, else DIO: harvest alone takes 0.4 of the time there is."""
        if wanted not in self._methods:
            from voicewright.conversion import pitch

            found = pitch.resolve(wanted)
            self._methods[wanted] = "dio" if wanted == "auto" and found == "harvest" else found
        return self._methods[wanted]

    def _target(
        self, source: Floats, semitones: float, options: LiveOptions, count: int, stretched: int
    ) -> tuple[Floats, NDArray[np.int64]]:
        """F0 in Hz, and its codes: those of the sound as it is made, before its formants are moved."""
        from voicewright.conversion import pitch

        if options.unvoiced == "interpolate":
            source = pitch.interpolate_unvoiced(source)
        f0 = pitch.transpose(source, semitones)
        return f0, pitch.coarse(f0 * np.float32(count / stretched))

    def _continue(self, f0: Floats, first: int, count: int, total: int, fresh: int) -> None:
        """Change F0 of frame `first` so that frame `first + 1` begins at the phase that it had in
        the last block."""
        here = total - (first + 1)
        """Frames of the window from the second decoded one on."""
        if self._turns is not None:
            place = self._behind + fresh - here
            if 0 <= place < len(self._turns):
                missing = float(self._turns[place]) - float(f0[first]) / 100
                f0[first] += np.float32((missing % 1.0) * 100)
        turns = np.cumsum(f0[first : first + count].astype(np.float64) / 100)
        self._turns, self._behind = (turns % 1.0).astype(np.float32), here

    def _synthesise(
        self,
        features: Floats,
        f0: Floats | None,
        coded: NDArray[np.int64] | None,
        speaker: int,
        first: int,
        count: int,
        total: int,
        stretched: int,
    ) -> Samples:
        import torch

        def batch(values: NDArray[Any] | None) -> Tensor | None:
            return None if values is None else torch.from_numpy(np.ascontiguousarray(values))[None]

        with torch.inference_mode():
            made = self.voice.synthesizer.infer(
                batch(features),
                torch.tensor([total]),
                batch(coded),
                batch(f0),
                torch.tensor([speaker]),
                generator=cast("torch.Generator", self._numbers(first, count, total)),
                skip_head=first,
                return_length=count,
                decode_length=None if stretched == count else stretched,
            )
        sound = made[0].float().numpy()
        if not np.isfinite(sound).all():
            raise VoicewrightError(f"{self.name} gave values that are not numbers; its file is damaged.")
        if stretched != count:
            import soxr

            sound = soxr.resample(sound, stretched, count)
            sound = np.pad(sound, (0, max(count * self.voice.config.hop - len(sound), 0)))
        return np.asarray(sound[: count * self.voice.config.hop], np.float32)

    def _numbers(self, first: int, count: int, total: int) -> Any:
        """The kept numbers in the order in which the synthesizer asks: latent, start phase (unused), hiss."""
        import torch

        def give(shape: torch.Size, normal: bool) -> Tensor:
            if not normal:
                return torch.zeros(shape)
            if len(shape) == 3 and shape[2] == 1:
                hiss = self._hiss.ending(count, total - first - count).reshape(-1)
                return torch.from_numpy(hiss.copy()).reshape(shape)
            kept = self._latent.ending(shape[2], 0)
            return torch.from_numpy(np.ascontiguousarray(kept.T))[None]

        return give


def _speakers(voice: Voice) -> dict[str, str]:
    """Rows of the speaker table, by the names that the file gives them."""
    said = voice.info.get("speaker_info") if hasattr(voice.info, "get") else None
    names = {str(row): str(label)[:80] for row, label in said.items()} if isinstance(said, dict) else {}
    return {str(row): names.get(str(row), str(row)) for row in range(min(int(voice.config.speakers), 128))}


class RvcOpener:
    """Opens RVC files as live voices; content models stay open, one for each that voices were trained with.

    `content`: a name or file to use whatever the voice says."""

    def __init__(self, content: str | None = None) -> None:
        self._named = content
        self._open: dict[str, Content] = {}

    def __call__(self, model: Path, index: Path | None = None) -> RvcBlockVoice:
        """Model and index files → the voice. Raises VoicewrightError for files that are none, UsageError
        for a content model that is not here."""
        from voicewright.rvc.convert.index import Index
        from voicewright.rvc.files.checkpoint import open_voice
        from voicewright.rvc.network.fast import FastSynthesizer

        voice = open_voice(model)
        table = Index.open(index, voice.config.version) if index else None
        content = self._content(voice)
        quick = replace(voice, synthesizer=cast("Synthesizer", FastSynthesizer(voice.synthesizer)))
        return RvcBlockVoice(quick, content, table, name=voice.path.stem)

    def _content(self, voice: ConversionVoice) -> Content:
        from voicewright.rvc.content.encoder import open_listener, open_named

        name = self._named or voice.embedder
        if name not in self._open:
            # What an uploaded file names is a name, never a path.
            self._open[name] = open_listener(name) if self._named else open_named(name)
        return self._open[name]
