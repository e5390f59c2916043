"""What is said in a sound, with gradients: phones as the embedded content network hears them.

A voice that is drawn to a speaker by encoders' vectors alone blurs its sounds, and no log-mel minds: vowels
drift, last consonants go. So a fit also asks that a crop says to this ear what the start's voice says there.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from voicewright.audio.mel import LogMel
from voicewright.catalogue.places import CONFIG, resolve_model
from voicewright.errors import VoicewrightError
from voicewright.model.config import ModelConfig
from voicewright.model.content.bottleneck import MEL, ContentNet, mean_spectrum, normalised
from voicewright.model.content.files import load_content
from voicewright.units import FRAME

EDGE_BACK, EDGE_AHEAD = 6, 10
"""Frames at a crop's ends in which the network hears too little of what is around them."""


class PhoneEar(nn.Module):
    """Sound [B, 600 F] at 24 kHz → log-probabilities of phones [B, K, F], one column a frame of 25 ms."""

    def __init__(self, net: ContentNet) -> None:
        super().__init__()
        self.net, self.mel = net.requires_grad_(False), LogMel(MEL)

    def forward(self, sound: Tensor) -> Tensor:
        frames = sound.shape[-1] // FRAME
        mel = self.mel(sound)[..., : 2 * frames]
        heard: Tensor = self.net(normalised(mel, mean_spectrum(mel))).phones
        return heard.float().log_softmax(1)


def open_phone_ear(note: Callable[[str], object]) -> PhoneEar | None:
    """The embedded model's content network as an ear; None, and a note, where it is not there."""
    try:
        folder = resolve_model("tiny")
        return PhoneEar(load_content(folder, ModelConfig.read(folder / CONFIG)).net)
    except VoicewrightError as error:
        note(f"Phones are not heard while fitting, which costs words: {error}")
        return None


def unlike(heard: Tensor, wanted: Tensor) -> Tensor:
    """Divergence in nats of what is heard from what is wanted, log-probabilities [B, K, F], off the edges."""
    inner = slice(EDGE_BACK, -EDGE_AHEAD)
    return (wanted.exp() * (wanted - heard)).sum(1)[:, inner].mean()
