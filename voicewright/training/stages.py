"""The stages of a speaking model, each a frozen record: what trains, which losses it knows, its forward pass.

The adversarial pair (`fake`, `real`,
`condition`) goes to the stage's own discriminator; the loop adds the losses "adversarial" and "features" once
its switch is on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import torch
from torch import Tensor, nn

from voicewright.audio.augment import Disguise
from voicewright.errors import VoicewrightError
from voicewright.model.config import ModelConfig
from voicewright.model.content.bottleneck import ContentConfig, ContentNet, mean_spectrum, normalised
from voicewright.model.losses import SpectralLoss, curve_loss, duration_losses
from voicewright.model.periodicity import periodicity_loss
from voicewright.model.share import Share
from voicewright.model.tones import tone_loss
from voicewright.model.tts.diffusion import DiffusionConfig, StyleDiffusion
from voicewright.model.tts.model import TTSModel
from voicewright.model.tts.style import StyleEncoders
from voicewright.training.batches import Batch
from voicewright.training.recipe import StageRecipe
from voicewright.training.sway import Swayed, swayed
from voicewright.training.task import GAN, Output, Stage, StagedNetworks
from voicewright.units import FRAME, STYLE

F0_SCALE = 50.0
"""Hz: the bend of the smooth L1 on F0, about a fifth of a speaking range."""


class Networks(StagedNetworks):
    """Everything that an exported model holds: the Kokoro graph, the two style encoders, where the model
    is to convert speech the content network, and where it is to draw styles their diffusion."""

    def __init__(
        self,
        config: ModelConfig,
        content: ContentConfig | None = None,
        diffusion: DiffusionConfig | None = None,
    ) -> None:
        super().__init__()
        if config.voicewright.style_encoder is None:
            raise VoicewrightError(
                "Training needs style encoders: give the model a voicewright.style_encoder block."
            )
        self.tts = TTSModel(config)
        self.styles = StyleEncoders(config)
        self.content = ContentNet(content, config.hidden_dim, config.n_token) if content else None
        self.diffusion: StyleDiffusion | None = None
        if diffusion is not None:
            self.diffusion = StyleDiffusion(diffusion, config.plbert.hidden_size, 2 * config.style_dim)
        self.disguise = Disguise()

    def parts(self) -> dict[str, nn.Module]:
        names = ("bert", "bert_encoder", "predictor", "text_encoder", "decoder")
        found: dict[str, nn.Module] = {name: self.tts.get_submodule(name) for name in names}
        found |= {"style_acoustic": self.styles.acoustic, "style_prosodic": self.styles.prosodic}
        if self.content is not None:
            found["content"] = self.content
        if self.diffusion is not None:
            found["diffusion"] = self.diffusion
        # A part of the decoder that can train alone; it comes last, so that it may thaw in a frozen decoder.
        return found | {"spectrum": nn.ModuleList(self.tts.decoder.generator.spectrum())}


def expand(x: Tensor, frame_token: Tensor) -> Tensor:
    """Token features [B, C, T] laid under frames by frame_token [B, F] → [B, C, F]."""
    return x.gather(2, frame_token.unsqueeze(1).expand(-1, x.shape[1], -1))


def mixed_style(encoder: nn.Module, batch: Batch, mix: tuple[float, float, float]) -> Tensor:
    """Each clip's style [B, 128]: its own, another clip's of its speaker, or the speaker's mean in the batch.

    Speaking uses a voicepack, which is a mean: a network that only ever saw a clip's own style would lean on
    details that no voicepack carries.
    """
    share, count = batch.share, len(batch.speaker)
    own, other = encoder(torch.cat([batch.style_own, batch.style_other]).unsqueeze(1)).chunk(2)
    same = (batch.speaker.unsqueeze(0) == batch.speaker.unsqueeze(1)).to(own.dtype)
    mean = (same @ (own + other)) / (2 * same.sum(1, keepdim=True))
    draw = share.rand(count, 1, device=own.device)
    return share.mine(torch.where(draw < mix[0], own, torch.where(draw < mix[0] + mix[1], other, mean)))


def _sound(
    nets: Networks, spectral: SpectralLoss, batch: Batch, recipe: StageRecipe, f0: Tensor, energy: Tensor
) -> Output:
    """Decode a random window of the crop and compare it with the recording."""
    assert batch.audio is not None
    style = mixed_style(nets.styles.acoustic, batch, recipe.style_mix)
    text = nets.tts.encode_text(batch.tokens, batch.lengths)
    x = nets.tts.decoder.front(expand(text, batch.frame_token), f0, energy, style)
    frames = batch.frame_token.shape[1]
    start = batch.share.randint(frames - recipe.window + 1)
    stop = start + recipe.window
    fake = nets.tts.decoder.generator(
        x[:, :, 2 * start : 2 * stop], style, f0[:, 2 * start : 2 * stop].detach()
    )
    real = batch.audio[:, FRAME * start : FRAME * stop]
    losses = dict(spectral(fake, real, batch.share))
    if "periodicity" in recipe.losses:
        pitch = f0[:, 2 * start : 2 * stop].detach()
        losses["periodicity"] = periodicity_loss(fake, real, pitch, batch.share)
    if "tones" in recipe.losses:
        losses["tones"] = tone_loss(fake, nets.tts.config.istftnet.gen_istft_hop_size, batch.share)
    return Output(losses, fake=fake, real=real)


def _acoustic(nets: Networks, spectral: SpectralLoss, batch: Batch, recipe: StageRecipe) -> Output:
    return _sound(nets, spectral, batch, recipe, batch.f0, batch.energy)


def contours(f0: Tensor, energy: Tensor, mask: Tensor) -> Tensor:
    """F0, voicing and energy at unit scale, [B, 3, 2F], zero where the mask is."""
    voicing = torch.sigmoid((f0.float() - 60.0) / 15.0)
    stacked = torch.stack([f0.float() / 200.0, voicing, energy.float() / 4.0], 1)
    return stacked * mask.unsqueeze(1)


def _prosody_pass(nets: Networks, batch: Batch, recipe: StageRecipe) -> tuple[Output, Tensor, Tensor]:
    style = mixed_style(nets.styles.prosodic, batch, recipe.style_mix)
    wanted = Swayed(style, batch.f0, batch.energy, batch.durations)
    if recipe.sway is not None:
        wanted = swayed(wanted, recipe.sway, len(batch.speaker), batch.share)
        style = wanted.style
    d = nets.tts.encode_prosody(batch.tokens, batch.lengths, style)
    positions = torch.arange(batch.tokens.shape[1], device=d.device)
    tokens = positions < batch.lengths.to(d.device).unsqueeze(1)
    logits = nets.tts.duration_logits(d, batch.lengths)
    losses = duration_losses(logits, wanted.durations, tokens, batch.share)
    under = expand(d.transpose(1, 2), batch.frame_token)
    # A crop's silent rest is part of the signal; a whole clip's padding is not.
    frames = None if batch.audio is not None else batch.frames
    f0, energy = nets.tts.f0_energy(under, style, frames)
    mask = batch.frame_mask.repeat_interleave(2, 1)
    losses["f0"] = curve_loss(f0, wanted.f0, mask, F0_SCALE, batch.share)
    losses["energy"] = curve_loss(energy, wanted.energy, mask, 1.0, batch.share)
    output = Output(
        losses,
        fake=contours(f0, energy, mask),
        real=contours(wanted.f0, wanted.energy, mask),
        condition=under[:, :-STYLE].detach().float(),
    )
    return output, f0, energy


def _prosody(nets: Networks, spectral: SpectralLoss, batch: Batch, recipe: StageRecipe) -> Output:
    return _prosody_pass(nets, batch, recipe)[0]


def _joint(nets: Networks, spectral: SpectralLoss, batch: Batch, recipe: StageRecipe) -> Output:
    """Half of the clips sound under predicted pitch and energy: the decoder meets what it will be given."""
    prosody, f0, energy = _prosody_pass(nets, batch, recipe)
    predicted = batch.share.mine(batch.share.rand(len(batch.speaker), 1, device=f0.device)) < 0.5
    f0 = torch.where(predicted, f0.float(), batch.f0)
    energy = torch.where(predicted, energy.float(), batch.energy)
    sound = _sound(nets, spectral, batch, recipe, f0, energy)
    return Output(sound.losses | prosody.losses, fake=sound.fake, real=sound.real)


def _content(nets: Networks, spectral: SpectralLoss, batch: Batch, recipe: StageRecipe) -> Output:
    """The disguised clip must give the text features, energy and voicing of the clip itself.

    "front" compares what the decoder's first half makes of these features with what it makes of the true
    ones.
    """
    assert nets.content is not None and batch.audio is not None
    mel, source = nets.disguise(batch.audio)
    heard = nets.content(normalised(mel, mean_spectrum(mel)))
    at = source.clamp_min(0)
    mask = (source >= 0) & batch.frame_mask.gather(1, at)
    with torch.no_grad():
        tokens = batch.tokens.gather(1, batch.frame_token).gather(1, at)
        true = nets.tts.encode_text(batch.tokens, batch.lengths)
        true = expand(true, batch.frame_token.gather(1, at))
        twice = (2 * at).repeat_interleave(2, 1)
        twice[:, 1::2] += 1
        f0, energy = batch.f0.gather(1, twice), batch.energy.gather(1, twice)
    weight = mask.float()
    both = weight.repeat_interleave(2, 1)
    logits = heard.phones.float()
    named = nn.functional.cross_entropy(logits, tokens, reduction="none", label_smoothing=0.05)
    voiced = nn.functional.binary_cross_entropy_with_logits(heard.voicing, (f0 > 0).float(), reduction="none")
    right = (logits.argmax(1) == tokens).float()
    phones, voicing, good, count, twofold = batch.share.sums(
        (named * weight).sum(), (voiced * both).sum(), (right * weight).sum(), weight.sum(), both.sum()
    )
    losses = {
        "text": _relative(heard.text, true, weight, batch.share),
        "phones": phones / count,
        "energy": curve_loss(heard.energy, energy, both, 1.0, batch.share),
        "voicing": voicing / twofold,
    }
    measures = {"errors": 1 - good / count}
    if "front" not in recipe.losses:
        return Output(losses, measures)
    style = mixed_style(nets.styles.acoustic, batch, recipe.style_mix).detach()
    made = nets.tts.decoder.front(heard.text, f0, energy, style)
    with torch.no_grad():
        wanted = nets.tts.decoder.front(true, f0, energy, style)
    losses["front"] = _relative(made, wanted, both, batch.share)
    return Output(losses, measures)


def _diffusion(nets: Networks, spectral: SpectralLoss, batch: Batch, recipe: StageRecipe) -> Output:
    """Styles of whole clips, denoised under their own texts; the text's features are not taught by it."""
    assert nets.diffusion is not None and batch.style is not None
    with torch.no_grad():
        text = nets.tts.bert(batch.tokens, batch.lengths).float()
    loss = nets.diffusion.loss(
        batch.style, text, batch.reference, batch.lengths, batch.share, len(batch.speaker)
    )
    return Output({"denoising": loss})


def _relative(made: Tensor, wanted: Tensor, weight: Tensor, share: Share) -> Tensor:
    """Squared error [B, C, T] over the variance of what is wanted, where weight [B, T] is."""
    weight = weight.unsqueeze(1)
    wanted = wanted.float()
    count, summed = share.sums(weight.sum(), (wanted * weight).sum((0, 2), keepdim=True))
    total = count * wanted.shape[1]
    apart, off = share.sums(
        ((wanted - summed / count).square() * weight).sum(), ((made.float() - wanted).square() * weight).sum()
    )
    return off / total / (apart / total).clamp_min(1e-6)


_SOUND = ("mel", "stft", "convergence", "periodicity", "tones")
_PROSODY = ("duration", "duration_ce", "f0", "energy")
_CONTENT = ("text", "phones", "energy", "voicing", "front")
_LEFT_OUT, _FRONT = frozenset({"periodicity", "tones"}), frozenset({"front"})
"""What a recipe may leave out of the losses of sound, and of content."""

Forward: TypeAlias = Callable[[Networks, SpectralLoss, Batch, StageRecipe], Output]

_ACOUSTIC_PARTS = ("text_encoder", "decoder", "spectrum", "style_acoustic")
_PROSODY_PARTS = ("bert", "bert_encoder", "predictor", "style_prosodic")

STAGES: Mapping[str, Stage[Forward]] = MappingProxyType(
    {
        stage.name: stage
        for stage in (
            Stage("spectrum", ("spectrum",), _SOUND + GAN, True, "waveform", _acoustic, optional=_LEFT_OUT),
            Stage("acoustic", _ACOUSTIC_PARTS, _SOUND + GAN, True, "waveform", _acoustic, optional=_LEFT_OUT),
            Stage("prosody", _PROSODY_PARTS, _PROSODY + GAN, False, "contour", _prosody),
            Stage(
                "content", ("content",), _CONTENT, True, "waveform", _content, optional=frozenset({"front"})
            ),
            Stage("diffusion", ("diffusion",), ("denoising",), False, "none", _diffusion),
            Stage(
                "joint",
                _ACOUSTIC_PARTS + _PROSODY_PARTS,
                _SOUND + _PROSODY + GAN,
                True,
                "waveform",
                _joint,
                optional=_LEFT_OUT,
            ),
        )
    }
)
