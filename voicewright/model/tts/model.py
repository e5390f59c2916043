"""The whole graph. Kokoro's 82 M and a voice of a few million parameters are the same class."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from voicewright.errors import VoicewrightError
from voicewright.model.config import ModelConfig
from voicewright.model.layers import fold
from voicewright.model.tts.bert import Albert
from voicewright.model.tts.decoder import Decoder
from voicewright.model.tts.hifigan import TAIL
from voicewright.model.tts.prosody import ProsodyPredictor, clean_edges
from voicewright.model.tts.text import TextEncoder


@dataclass(frozen=True)
class Utterance:
    """What `TTSModel.speak` made: audio fp32 [600F], durations int64 [T] (sum F), f0 and energy fp32 [2F]."""

    audio: Tensor
    durations: Tensor
    f0: Tensor
    energy: Tensor


class TTSModel(nn.Module):
    """Kokoro's graph with every width from the configuration.

    Style vectors are [B,128] halves of a voicepack row: acoustic for the decoder, prosodic for the predictor.
    `lengths` [B] count tokens with both pads; give them as a CPU tensor. None means that nothing is padded.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        plbert, hidden, style = config.plbert, config.hidden_dim, config.style_dim
        self.bert = Albert(
            config.n_token,
            config.voicewright.bert_embedding,
            plbert.hidden_size,
            plbert.num_attention_heads,
            plbert.intermediate_size,
            plbert.num_hidden_layers,
            plbert.max_position_embeddings,
        )
        self.bert_encoder = nn.Linear(plbert.hidden_size, hidden)
        self.predictor = ProsodyPredictor(style, hidden, config.n_layer, config.max_dur, config.dropout)
        self.text_encoder = TextEncoder(
            hidden, config.text_encoder_kernel_size, config.n_layer, config.n_token
        )
        self.decoder = Decoder(config)
        self._late = config.voicewright.decoder == "hifigan"

    def encode_text(self, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        """tokens int64 [B,T] -> acoustic text features [B,H,T]."""
        out: Tensor = self.text_encoder(tokens, lengths)
        return out

    def encode_prosody(self, tokens: Tensor, lengths: Tensor | None, style: Tensor) -> Tensor:
        """tokens int64 [B,T], prosodic style [B,128] -> d [B,T,H+128]."""
        context = self.bert_encoder(self.bert(tokens, lengths)).transpose(1, 2)
        out: Tensor = self.predictor.text_encoder(context, style, lengths)
        return out

    def duration_logits(self, d: Tensor, lengths: Tensor | None = None) -> Tensor:
        """d [B,T,H+128] -> logits [B,T,max_dur]; a duration in 25 ms frames is the sum of their sigmoids."""
        return self.predictor.duration_logits(d, lengths)

    def f0_energy(
        self, expanded: Tensor, style: Tensor, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Expanded d [B,H+128,F], prosodic style -> F0 in Hz and energy, each [B,2F]; lengths in frames."""
        return self.predictor.f0_energy(expanded, style, lengths)

    @staticmethod
    def expand(x: Tensor, durations: Tensor, frames: int | None = None) -> Tensor:
        """Repeat each token's column: x [B,C,T], durations int64 [B,T] -> [B,C,F], 0 past an item's own end.

        F is `frames`, or the longest item's sum (which a GPU has to be waited for).
        """
        ends = torch.cumsum(durations, dim=1)
        total = int(ends[:, -1].max()) if frames is None else frames
        steps = torch.arange(total, device=x.device).expand(len(x), -1).contiguous()
        owner = torch.searchsorted(ends.contiguous(), steps, right=True)
        inside = owner < x.shape[2]
        row = owner.clamp(max=x.shape[2] - 1) + torch.arange(len(x), device=x.device)[:, None] * x.shape[2]
        columns = x.transpose(1, 2).flatten(0, 1).index_select(0, row.flatten())
        return (columns.unflatten(0, (len(x), total)) * inside[:, :, None]).transpose(1, 2)

    def fold(self) -> TTSModel:
        """Bake weight norm into plain weights, for faster inference. Returns self."""
        fold(self)
        return self

    remove_weight_norm = fold

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
        """Speak tokens int64 [1,T] (with both pads) in the voice style [1,256].

        What is not given is predicted: durations int64 [1,T], f0 and energy [1,2F]. `generator` seeds the
        noise. Raises VoicewrightError for a speed that is not positive or curves that do not fit.
        """
        if not speed > 0:
            raise VoicewrightError(f"The speed is {speed}; give a number above 0, 1 is the natural pace.")
        training = self.training
        self.eval()
        try:
            return self._speak(tokens, style, speed, generator, durations, f0, energy)
        finally:
            self.train(training)

    def _speak(
        self,
        tokens: Tensor,
        style: Tensor,
        speed: float,
        generator: torch.Generator | None,
        durations: Tensor | None,
        f0: Tensor | None,
        energy: Tensor | None,
    ) -> Utterance:
        half = self.config.style_dim
        acoustic, prosodic = style[:, :half], style[:, half:]
        if durations is None or f0 is None or energy is None:
            d = self.encode_prosody(tokens, None, prosodic)
            if durations is None:
                expected = torch.sigmoid(self.duration_logits(d).float()).sum(2) / speed
                durations = expected.round().clamp(min=1).long()
        frames = int(durations.sum())
        if f0 is None or energy is None:
            predicted = self.f0_energy(self._spread(d.transpose(1, 2), durations, frames), prosodic)
            if f0 is None:
                f0 = clean_edges(predicted[0]) if self.config.voicewright.pitch_edges else predicted[0]
            energy = predicted[1] if energy is None else energy
        for name, curve in (("f0", f0), ("energy", energy)):
            if tuple(curve.shape) != (1, 2 * frames):
                raise VoicewrightError(
                    f"{name} has shape {list(curve.shape)} but the durations need [1, {2 * frames}]; "
                    "give two values for each 25 ms frame."
                )
        asr = self._spread(self.encode_text(tokens), durations, frames)
        audio = self.decoder(asr, f0.to(asr.dtype), energy.to(asr.dtype), acoustic, rng=generator)
        if self._late:
            audio[:, -TAIL:] = 0
        return Utterance(audio[0].float(), durations[0], f0[0].float(), energy[0].float())

    def _spread(self, x: Tensor, durations: Tensor, frames: int) -> Tensor:
        """`expand` for inference. StyleTTS 2's HiFi-GAN models are spoken with features one frame late."""
        x = self.expand(x, durations, frames)
        return torch.cat([x[..., :1], x[..., :-1]], dim=2) if self._late else x
