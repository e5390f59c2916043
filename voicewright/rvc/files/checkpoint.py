"""RVC voices on disk: opened without trust, written for every tool that reads upstream's files, merged.

`.pth` is upstream's small file: fp16 tensors under upstream's names, the 18-item configuration, `sr`, `f0`,
`version`, and Applio's further keys. `.safetensors` holds the same tensors, and the rest as JSON in its
metadata: it can hold no code at all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from voicewright.errors import VoicewrightError
from voicewright.model.checkpoint import Unfilled, write_atomically
from voicewright.model.reading import read_content, shown
from voicewright.rvc.files.recognise import METADATA, Found, Info, plain_info, recognised
from voicewright.rvc.network.config import SynthesizerConfig
from voicewright.rvc.network.synthesizer import Synthesizer

if TYPE_CHECKING:
    from voicewright.rvc.network.fast import FastSynthesizer

POSTERIOR = "enc_q."
EMBEDDER = "contentvec"
"""What content features a voice needs that does not say."""
SUFFIXES = (".pth", ".pt", ".safetensors")


@dataclass
class ConversionVoice:
    """An RVC voice ready for use.

    synthesizer: fp32, in eval mode, without posterior encoder. info: what the file says beside its weights.
    embedder: the content encoder that it was trained with. kind: voice, training checkpoint or safetensors.
    notes: sentences about what the file said falsely and was mended.
    """

    synthesizer: Synthesizer
    info: Info
    embedder: str
    path: Path
    kind: str = "voice"
    notes: list[str] = field(default_factory=list)

    @cached_property
    def fast(self) -> FastSynthesizer:
        """The same network for inference on a CPU, with the same `infer`; made when first asked for."""
        from voicewright.rvc.network.fast import FastSynthesizer

        return FastSynthesizer(self.synthesizer)

    @property
    def config(self) -> SynthesizerConfig:
        """The synthesizer's SynthesizerConfig."""
        return self.synthesizer.config


def open_voice(path: Path | str) -> ConversionVoice:
    """Read a voice: .pth of RVC-WebUI or Applio, a training checkpoint G_*.pth, or our .safetensors.

    Nothing in the file is run, and no size in it is believed before it is compared with the tensors that are
    there. Raises VoicewrightError in one sentence.
    """
    path = Path(path)
    found = read_voice(path)
    synthesizer = _built(found, path)
    embedder = found.info.get("embedder_model")
    named = embedder if isinstance(embedder, str) and embedder and embedder != "None" else EMBEDDER
    return ConversionVoice(synthesizer, found.info, named, path, found.kind, found.notes)


def read_voice(path: Path) -> Found:
    """What the file holds, recognised but not yet compared with its configuration. Errors as `open_voice`."""
    content = read_content(path)
    metadata: Mapping[str, str] | None = None
    if path.suffix.lower() == ".safetensors":
        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata() or {}
        except (SafetensorError, OSError, ValueError) as error:
            raise VoicewrightError(f"{path} is damaged or no safetensors file; copy it again.") from error
    return recognised(content, path, metadata)


def _built(found: Found, path: Path) -> Synthesizer:
    """The synthesizer with the file's weights in fp32, after every name and shape has been compared."""
    # Built without memory, so that a configuration of absurd widths is refused by comparison alone.
    with torch.device("meta"), Unfilled():
        synthesizer = Synthesizer(found.config, posterior=False)
    wanted = {name: tuple(value.shape) for name, value in synthesizer.state_dict().items()}
    given = {name: value for name, value in found.state.items() if not name.startswith(POSTERIOR)}
    _compare({name: tuple(value.shape) for name, value in given.items()}, wanted, path)
    state: dict[str, Tensor] = {}
    for name, value in given.items():
        state[name] = value.to(torch.float32, copy=True)
        if not torch.isfinite(state[name]).all():
            raise VoicewrightError(
                f"{path}: the weight {name} has values that are no numbers; get another copy."
            )
    synthesizer.load_state_dict(state, assign=True)
    return synthesizer.eval().requires_grad_(False)


def _compare(given: Mapping[str, tuple[int, ...]], wanted: Mapping[str, tuple[int, ...]], path: Path) -> None:
    missing = sorted(wanted.keys() - given.keys())
    foreign = sorted(given.keys() - wanted.keys())
    other = [
        f"{name} {list(given[name])} instead of {list(wanted[name])}"
        for name in sorted(wanted.keys() & given.keys())
        if given[name] != wanted[name]
    ]
    parts = [("lacking", missing), ("unknown", foreign), ("misshapen", other)]
    told = [
        f"{len(names)} {what} ({', '.join(shown(name, 100) for name in names[:3])})"
        for what, names in parts
        if names
    ]
    if told:
        raise VoicewrightError(
            f"{path}: its weights are not those of the configuration that it claims: {'; '.join(told)}."
        )


def save_voice(
    path: Path | str,
    synthesizer: Synthesizer,
    info: Mapping[str, Any] | None = None,
    dtype: torch.dtype = torch.float16,
) -> None:
    """Write a voice by suffix: .pth (or .pt) as RVC-WebUI, Applio and w-okada open it, or .safetensors.

    info: further keys, as `ConversionVoice.info` has them: `info` (free text such as 100epoch), `epoch`,
    `step`, `author`, `embedder_model`, …; only plain values are kept. The posterior encoder is left out.
    Raises VoicewrightError when a weight does not fit `dtype`, or the disk refuses.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise VoicewrightError(f"{path}: a voice is written as .pth or .safetensors; change its suffix.")
    weight: dict[str, Tensor] = {}
    for name, value in synthesizer.state_dict().items():
        if name.startswith(POSTERIOR):
            continue
        weight[name] = value.detach().to("cpu", dtype).contiguous()
        if not torch.isfinite(weight[name]).all():
            raise VoicewrightError(
                f"{path}: the weight {name} is not finite as {dtype}; nothing was written."
            )
    config = synthesizer.config
    facts: dict[str, Any] = {
        "config": config.to_list(),
        "info": "",
        **plain_info(info or {}),
        "sr": config.rate_name,
        "f0": int(config.f0),
        "version": config.version,
    }
    if path.suffix == ".safetensors":
        text = {"format": "pt", METADATA: json.dumps(facts, ensure_ascii=False)}
        write_atomically(path, lambda temporary: save_file(weight, temporary, metadata=text))
    else:
        write_atomically(path, lambda temporary: torch.save({"weight": weight, **facts}, temporary))


def merge(voices: Sequence[ConversionVoice], shares: Sequence[float] | None = None) -> ConversionVoice:
    """Mix voices linearly, tensor by tensor (lengths and directions apart, as upstream does).

    shares: one per voice, in any scale; equal when not given. Version, rate, F0, embedder and all shapes must
    be the same; of speaker tables the rows that all have are kept. Raises VoicewrightError in one sentence.
    """
    shares = [1.0] * len(voices) if shares is None else list(shares)
    if len(voices) < 2 or len(shares) != len(voices):
        raise VoicewrightError("a merge takes at least two voices, and one share for each.")
    total = sum(shares)
    if any(share < 0 for share in shares) or not 0 < total < float("inf"):
        raise VoicewrightError("shares of a merge are at least 0, and not all of them 0.")
    first = voices[0]
    for other in voices[1:]:
        _check_alike(first, other)
    speakers = min(voice.config.speakers for voice in voices)
    mixed: dict[str, Tensor] = {}
    states = [voice.synthesizer.state_dict() for voice in voices]
    for name, like in states[0].items():
        rows = slice(speakers) if name == "emb_g.weight" else slice(None)
        mixed[name] = torch.zeros_like(like[rows])
        for state, share in zip(states, shares, strict=True):
            mixed[name] += state[name][rows] * (share / total)
    with torch.device("meta"), Unfilled():
        synthesizer = Synthesizer(first.config.with_speakers(speakers), posterior=False)
    synthesizer.load_state_dict(mixed, assign=True)
    parts = [f"{share / total:.3g} {voice.path.name}" for voice, share in zip(voices, shares, strict=True)]
    info: Info = {"info": f"merged: {' + '.join(parts)}"}
    if any("embedder_model" in voice.info for voice in voices):
        info["embedder_model"] = first.embedder
    return ConversionVoice(synthesizer.eval().requires_grad_(False), info, first.embedder, first.path)


def _check_alike(a: ConversionVoice, b: ConversionVoice) -> None:
    names = f"{a.path} and {b.path}"
    pairs = (
        ("versions", a.config.version, b.config.version),
        ("sample rates", a.config.sample_rate, b.config.sample_rate),
        ("embedders", a.embedder, b.embedder),
    )
    for what, mine, other in pairs:
        if mine != other:
            raise VoicewrightError(
                f"{names} have different {what} ({mine}, {other}), so they cannot be merged."
            )
    if a.config.f0 != b.config.f0:
        raise VoicewrightError(f"one of {names} follows F0 and the other does not, so they cannot be merged.")
    if replace(a.config, speakers=1, segment_frames=1) != replace(b.config, speakers=1, segment_frames=1):
        raise VoicewrightError(f"{names} have different shapes, so they cannot be merged.")
