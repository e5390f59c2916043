"""The whole graph for inference, restructured: what `TTSModel.speak` says, sooner, in windows,
and in batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from voicewright.errors import VoicewrightError
from voicewright.model.fast.convolution import Backend
from voicewright.model.fast.front import FastCurves, FastFront
from voicewright.model.fast.generator import FastGenerator, keep
from voicewright.model.fast.library import return_memory
from voicewright.model.fast.statistics import Carried, Frozen, Kept, Statistics
from voicewright.model.fast.text import FastAlbert, FastDurationEncoder, FastLstm, FastTextEncoder
from voicewright.model.fast.windows import FADE, Sketch, Windows, chosen, pieces
from voicewright.model.tts.generator import Generator
from voicewright.model.tts.model import TTSModel, Utterance
from voicewright.model.tts.prosody import clean_edges
from voicewright.model.tts.source import Rng
from voicewright.units import FRAME, SAMPLE_RATE

_SOUND = 0.15
"""Seconds of the first sound that a first window holds at least."""


@dataclass(frozen=True)
class Request:
    """One utterance of a batch: tokens int64 [1, T] with both pads, style [1, 256]; `rng` seeds the noise."""

    tokens: Tensor
    style: Tensor
    speed: float = 1.0
    rng: torch.Generator | None = None
    durations: Tensor | None = None
    f0: Tensor | None = None
    energy: Tensor | None = None


@dataclass(frozen=True)
class Prosody:
    """When and how: durations int64 [T] in 25 ms frames, f0 in Hz and energy fp32 [2F]."""

    durations: Tensor
    f0: Tensor
    energy: Tensor


class FastModel:
    """`TTSModel` for inference on a CPU; it keeps its own copies of the decoder's weights, so the model may
    go. The model's weights may be in fp16, and have their norms folded in or not.

    Raises TypeError for a HiFi-GAN decoder.
    """

    def __init__(self, model: TTSModel, backend: Backend, consume: bool = False) -> None:
        """consume: empty the model's decoder on the way, so that its weights are never held twice."""
        self.config, self.backend = model.config, backend
        spent = _release if consume else keep
        with torch.inference_mode():
            model = model.eval().requires_grad_(False)
            predictor, decoder = model.predictor, model.decoder
            if not isinstance(decoder.generator, Generator):
                raise TypeError("a HiFi-GAN decoder has no restructured form; use the graph as it is trained")
            self._bert = FastAlbert(model.bert, backend, spent)
            self._bert_encoder = model.bert_encoder.float()
            self._text_encoder = FastTextEncoder(model.text_encoder, backend, spent)
            self._duration_encoder = FastDurationEncoder(predictor.text_encoder, backend, spent)
            self._duration_lstm = FastLstm(predictor.lstm, backend, spent)
            self._shared = FastLstm(predictor.shared, backend, spent)
            self._duration_proj = predictor.duration_proj.float()
            self._f0 = FastCurves(predictor.F0, predictor.F0_proj, backend)
            self._energy = FastCurves(predictor.N, predictor.N_proj, backend)
            spent(predictor.F0)
            spent(predictor.N)
            self._front = FastFront(decoder, backend, spent)
            self.generator = FastGenerator(decoder.generator, backend, spent)

    @torch.inference_mode()
    def speak(
        self,
        tokens: Tensor,
        style: Tensor,
        speed: float = 1.0,
        generator: torch.Generator | None = None,
        durations: Tensor | None = None,
        f0: Tensor | None = None,
        energy: Tensor | None = None,
    ) -> Utterance:
        """As `TTSModel.speak`: tokens int64 [1, T], style [1, 256]."""
        request = Request(tokens, style, speed, generator, durations, f0, energy)
        return self.speak_batch([request])[0]

    @torch.inference_mode()
    def speak_batch(self, requests: Sequence[Request]) -> list[Utterance]:
        """Many utterances at once, each as it would be alone; PL-BERT reads them together."""
        spoken = []
        for request, prosody, asr in self._prepare(requests):
            features, acoustic = self._features(request, prosody, asr)
            harmonics = self.generator.harmonics(prosody.f0, request.rng)
            audio = self.generator(features, acoustic, harmonics)
            spoken.append(Utterance(audio, prosody.durations, prosody.f0, prosody.energy))
        return spoken

    @torch.inference_mode()
    def speak_windows(
        self,
        tokens: Tensor,
        style: Tensor,
        speed: float = 1.0,
        generator: torch.Generator | None = None,
        windows: Windows | None = None,
        durations: Tensor | None = None,
        f0: Tensor | None = None,
        energy: Tensor | None = None,
        carried: Carried | None = None,
    ) -> tuple[Prosody, Iterator[Tensor]]:
        """Prosody at once, then the audio piece by piece, whose concatenation is the utterance [600F].

        Pieces are made as they are asked for; leaving the iterator cancels what is left. carried: of the
        same voice, from `listen` or from utterances before this one, which teaches it in its turn.
        """
        request = Request(tokens, style, speed, generator, durations, f0, energy)
        _, prosody, asr = self._prepare([request])[0]
        return prosody, self._pieces(request, prosody, asr, windows, carried)

    @torch.inference_mode()
    def sound(
        self,
        text: Tensor,
        f0: Tensor,
        energy: Tensor,
        acoustic: Tensor,
        rng: Rng = None,
        windows: Windows | None = None,
        policy: Statistics | None = None,
    ) -> Tensor:
        """The decoder alone: text features [F, H] of every frame, f0 in Hz and energy [2F], acoustic style
        [128] → audio [600F], made window by window; in one piece where a `policy` says what to normalise by.
        """
        features = self._front(text, f0, energy, acoustic, policy)
        harmonics = self.generator.harmonics(f0, rng)
        if policy is not None:
            return self.generator(features, acoustic, harmonics, policy)
        made = pieces(self.generator, features, acoustic, harmonics, windows or Windows(first=2.0))
        return torch.cat(list(made))

    @torch.inference_mode()
    def listen(self, tokens: Tensor, style: Tensor) -> Carried:
        """The statistics of a voice, from an utterance that nobody will hear: as for `speak`."""
        request = Request(tokens, style, rng=torch.Generator().manual_seed(0))
        _, prosody, asr = self._prepare([request])[0]
        own, carried = Kept(), Carried()
        features, acoustic = self._features(request, prosody, asr, own)
        self.generator(features, acoustic, self.generator.harmonics(prosody.f0, request.rng), own)
        carried.learn(own.kept, len(features))
        return carried

    def _pieces(
        self,
        request: Request,
        prosody: Prosody,
        asr: Tensor,
        windows: Windows | None,
        carried: Carried | None,
    ) -> Iterator[Tensor]:
        # inference mode must not span a yield: it would leak into the caller
        with torch.inference_mode():
            expanded, own = asr.repeat_interleave(prosody.durations, dim=0), Kept()
            acoustic = request.style[0, : self.config.style_dim]
            curves = prosody.f0, prosody.energy
            windows = windows or _for_silence(chosen(carried), prosody)
            sketch = self._sketch(expanded, curves, acoustic, windows, carried)
            made = pieces(
                self.generator,
                lambda: self._front(expanded, *curves, acoustic, own),
                acoustic,
                self.generator.harmonics(prosody.f0, request.rng),
                windows,
                carried,
                sketch,
                own.kept,
            )
        while True:
            with torch.inference_mode():
                piece = next(made, None)
            if piece is None:
                return
            yield piece

    def _sketch(
        self,
        expanded: Tensor,
        curves: tuple[Tensor, Tensor],
        acoustic: Tensor,
        windows: Windows,
        carried: Carried | None,
    ) -> Sketch | None:
        """Features for the first window alone, where the voice is known and the rest is worth leaving."""
        if carried is None or not carried.rows or not windows.early:
            return None
        first = windows.cuts(2 * len(expanded))[0] + self.generator.context + FADE
        frames = -(-first // 2) + FastFront.REACH
        if frames > 0.7 * len(expanded):
            return None
        features = self._front(expanded[:frames], *curves, acoustic, Frozen(carried.stats))
        return Sketch(features, 2 * FastFront.REACH)

    def _features(
        self, request: Request, prosody: Prosody, asr: Tensor, policy: Statistics | None = None
    ) -> tuple[Tensor, Tensor]:
        """asr [T, H] → the generator's features [2F, C], and the acoustic style [128]."""
        acoustic = request.style[0, : self.config.style_dim]
        expanded = asr.repeat_interleave(prosody.durations, dim=0)
        return self._front(expanded, prosody.f0, prosody.energy, acoustic, policy), acoustic

    def _prepare(self, requests: Sequence[Request]) -> list[tuple[Request, Prosody, Tensor]]:
        """Prosody and text features [T, H] of each request."""
        for request in requests:
            if not request.speed > 0:
                raise VoicewrightError(
                    f"The speed is {request.speed}; give a number above 0, 1 is the natural pace."
                )
        lengths = torch.tensor([request.tokens.shape[1] for request in requests])
        tokens = torch.zeros(len(requests), int(lengths.max()), dtype=torch.long)
        for row, request in zip(tokens, requests, strict=True):
            row[: request.tokens.shape[1]] = request.tokens[0]
        read = self._read(requests, tokens, lengths)
        return [
            (request, self._prosody(request, own), self._text_encoder(request.tokens[0]))
            for request, own in zip(requests, read, strict=True)
        ]

    def _read(self, requests: Sequence[Request], tokens: Tensor, lengths: Tensor) -> list[Tensor | None]:
        """d [T, H + S] of each request; None for those that bring their whole prosody."""
        wanted = [None in (r.durations, r.f0, r.energy) for r in requests]
        if not any(wanted):
            return [None] * len(requests)
        found: list[Tensor | None] = []
        for request, rows, want in zip(requests, self._bert(tokens, lengths), wanted, strict=True):
            prosodic = request.style[0, self.config.style_dim :]
            found.append(self._duration_encoder(self._bert_encoder(rows), prosodic) if want else None)
        return found

    def _prosody(self, request: Request, d: Tensor | None) -> Prosody:
        if request.durations is not None:
            durations = request.durations[0]
        else:
            assert d is not None
            logits = self._duration_proj(self._duration_lstm(d))
            expected = torch.sigmoid(logits.float()).sum(1) / request.speed
            durations = expected.round().clamp(min=1).long()
        shared: Tensor | None = None
        if request.f0 is None or request.energy is None:
            assert d is not None
            shared = self._shared(d.repeat_interleave(durations, dim=0))
        frames = int(durations.sum())
        curves = []
        for name, curve, stack in (
            ("f0", request.f0, self._f0),
            ("energy", request.energy, self._energy),
        ):
            if curve is None:
                assert shared is not None
                made = stack(shared, request.style[0, self.config.style_dim :])
                edges = name == "f0" and self.config.voicewright.pitch_edges
                curves.append(clean_edges(made[None])[0] if edges else made)
                continue
            if tuple(curve.shape) != (1, 2 * frames):
                raise VoicewrightError(
                    f"{name} has shape {list(curve.shape)} but the durations need "
                    f"[1, {2 * frames}]; give two values for each 25 ms frame."
                )
            curves.append(curve[0].float())
        return Prosody(durations, *curves)


def _for_silence(windows: Windows, prosody: Prosody) -> Windows:
    """A first window that reaches into the first sound: what comes before is silence, and cut off."""
    silence = int(prosody.durations[0]) * FRAME / SAMPLE_RATE
    return replace(windows, first=max(windows.first, silence + _SOUND))


def _release(module: nn.Module) -> None:
    """Empty every weight below and give its memory back; one that was folded is a buffer and no
    parameter any more."""
    for parameter in module.parameters():
        parameter.data = torch.empty(0)
    for child in module.modules():
        if "weight" in dict(child.named_buffers(recurse=False)):
            child.register_buffer("weight", torch.empty(0))
    return_memory()
