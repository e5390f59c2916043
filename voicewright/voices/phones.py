"""What is said in a sound, with gradients: phones as the embedded content network hears them.

A voice that is drawn to a speaker by encoders' vectors alone blurs its sounds, and no log-mel minds: vowels
drift, last consonants go. So a fit also asks that a crop says to this ear what the start's voice says there.
It hears, too, where a recording says something else than its text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from voicewright.audio.mel import LogMel
from voicewright.catalogue.places import CONFIG, resolve_model
from voicewright.corpus.split import spread
from voicewright.errors import VoicewrightError
from voicewright.model.config import ModelConfig
from voicewright.model.content.bottleneck import MEL, ContentNet, mean_spectrum, normalised
from voicewright.model.content.files import load_content
from voicewright.model.tts.model import TTSModel
from voicewright.units import FRAME, STYLE
from voicewright.voices.pack import Voicepack
from voicewright.voices.prosody import row_of
from voicewright.voices.references import Reference

OTHER = 1.8
"""`Misfit.weight` from which on a recording says another text. In nats alone a strange voice or noise, off at
any time, comes near it: the embedded voice moved far away is off its own text by 2.7 of them, and weighs 1.1.

Own texts, and other texts of the nearest length, heard against the start of a fit. Kokoro, 48 clips of two
readers, ten of them from Japanese voices too: own .3 to 1.6 nats, weight to .4; 22 others 3.7 to 7.3, weight
from 2.4. The embedded model, 90 clips of eight: own to 2.9, weight to 1.5; 45 others from 2.9, weight from
1.4, two under the limit. Ten in Dutch by it: own to 3.4, one over the limit (2.05); six others from 2.1.
Medians and trimmed means of the frames part them less. With a limit of 3 nats as many were wrong."""
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


@dataclass(frozen=True)
class Misfit:
    """How far a recording is off what is wanted: in `nats`, and as a `share` of how far it is off the same a
    quarter, a half and three quarters of the clip later, where it says something else in any case."""

    nats: float
    share: float

    @property
    def weight(self) -> float:
        return self.nats * self.share


def misfit(heard: Tensor, wanted: Tensor) -> Misfit:
    """Of log-probabilities [1, K, F] of what is heard and wanted."""
    nats = float(unlike(heard, wanted))
    frames = wanted.shape[-1]
    later = [float(unlike(heard, wanted.roll(part * frames // 4, -1))) for part in (1, 2, 3)]
    return Misfit(nats, nats / max(sum(later) / len(later), 1e-6))


class StartsPhones:
    """What the start's voice says of a reference: phones [1, K, F] under the recording's times and curves."""

    def __init__(self, net: TTSModel, start: Voicepack, ear: PhoneEar, precision: torch.dtype) -> None:
        self._net, self.ear, self._precision = net, ear, precision
        self._rows = torch.from_numpy(start.rows[:, 0].copy())

    @torch.no_grad()
    def of(self, item: Reference, inside: slice = slice(None)) -> Tensor:
        """Of the frames `inside`."""
        frames = range(item.frames)[inside]
        curves = slice(2 * frames.start, 2 * frames.stop)
        text = self._net.encode_text(item.tokens)[:, :, item.owner[inside]]
        style = row_of(self._rows, item)[None, :STYLE]
        noise = torch.Generator().manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=self._precision == torch.bfloat16):
            spoken = self._net.decoder(
                text, item.f0[None, curves], item.energy[None, curves], style, rng=noise
            )
        phones: Tensor = self.ear(spoken.float())
        return phones


@torch.no_grad()
def with_phones(
    references: Sequence[Reference], says: StartsPhones, most: int
) -> tuple[list[Reference], list[str]]:
    """References, `most` of them, evenly chosen, with what the start's voice says of them; and a sentence for
    each whose recording says something else than its text, which is left out.

    Where one of those chosen does, all are listened to. Raises VoicewrightError where they are the most.
    """
    count = len(references)
    chosen = spread(range(count), most)
    found: dict[int, Reference] = dict(enumerate(references))
    refused: dict[int, str] = {}
    while chosen:
        for index in chosen:
            item = references[index]
            wanted = says.of(item)
            off = misfit(says.ear(item.sound[None]), wanted)
            found[index] = replace(item, phones=wanted)
            if off.weight >= OTHER:
                refused[index] = (
                    f"{item.id}: its text does not fit what is said ({off.nats:.1f} nats off); left out"
                )
        chosen = [index for index, item in found.items() if refused and item.phones is None]
    if len(refused) > count - len(refused):
        first = ", ".join(references[index].id for index in sorted(refused)[:3])
        raise VoicewrightError(
            f"the texts are not what is said: {len(refused)} of {count} recordings say something "
            f"else ({first} ...); mend the texts, or leave them out and let Whisper write them."
        )
    kept = [item for index, item in found.items() if index not in refused]
    return kept, [refused[index] for index in sorted(refused)]


def listen_to_texts(
    net: TTSModel,
    references: Sequence[Reference],
    start: Voicepack,
    precision: torch.dtype,
    most: int,
    note: Callable[[str], object],
) -> tuple[StartsPhones | None, list[Reference], list[str]]:
    """`with_phones` by the ear that is here, each sentence noted; None and all references without one."""
    ear = open_phone_ear(note)
    if ear is None:
        return None, list(references), []
    says = StartsPhones(net, start, ear, precision)
    kept, refused = with_phones(references, says, most)
    for sentence in refused[:5]:
        note(sentence)
    return says, kept, refused
