"""Low-rank matrices beside a model's weights: attached for training, merged into weights for speaking.

Or whole ones, of a weight's own size: finetuning beside a base that stays as it is.

Hu et al. 2021 (LoRA): W + scale · B A, where A [rank, columns] begins at random and B [rows, rank] at zero: a
fresh adapter changes nothing. A convolution's weight is flattened to [rows, columns]; the base's weight norm
is folded before and made anew after.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils import parametrize

from voicewright.catalogue.adapted import Adapter
from voicewright.catalogue.places import read_card
from voicewright.catalogue.published import same_kokoro
from voicewright.errors import VoicewrightError
from voicewright.model.layouts import NORM
from voicewright.model.tts.model import TTSModel
from voicewright.storage import digest

PARTS = ("decoder", "predictor")
"""The parts of the graph that adapters can be for."""
READING = ("text_encoder", "bert")
"""Beside them, what reads symbols, for whole matrices alone: the text encoder, PL-BERT's table of symbols."""
_KINDS = (nn.Linear, nn.Conv1d, nn.ConvTranspose1d)
_TABLE_GAIN = 50.0
"""Of the matrices beside embeddings: a step that suits convolutions hardly moves a row that few texts use."""


class LowRank(nn.Module):
    """forward: a weight [rows, …] → the same with B A upon it, in fp32 also under autocast."""

    def __init__(self, weight: Tensor, rank: int, scale: float = 1.0) -> None:
        super().__init__()
        rows, columns = weight.shape[0], weight[0].numel()
        rank = min(rank, rows, columns)
        bound = 1 / math.sqrt(columns)
        self.scale = scale
        self.A = nn.Parameter(torch.empty(rank, columns).uniform_(-bound, bound))
        self.B = nn.Parameter(torch.zeros(rows, rank))

    def forward(self, weight: Tensor) -> Tensor:
        with torch.autocast(weight.device.type, enabled=False):
            return torch.addmm(weight.flatten(1), self.B, self.A, alpha=self.scale).view_as(weight)


class Whole(nn.Module):
    """forward: a weight [rows, …] → it with gain · D upon it, which has its size and is zero at first."""

    def __init__(self, weight: Tensor, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = gain
        self.D = nn.Parameter(torch.zeros_like(weight))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.gain * self.D


def adaptable(net: TTSModel, part: str) -> dict[str, nn.Module]:
    """All convolutions and linear layers of a part by name, style projections among them; LSTMs are none.

    Of what reads symbols their table too; of PL-BERT nothing else.
    """
    kinds = (*_KINDS, nn.Embedding) if part == READING[0] else _KINDS
    if part == READING[1]:
        return {"bert.embeddings.word_embeddings": net.bert.embeddings.word_embeddings}
    module = net.get_submodule(part)
    return {
        f"{part}.{name}": inner
        for name, inner in module.named_modules()
        if isinstance(inner, kinds) and isinstance(inner.weight, Tensor)
    }


def attach(net: TTSModel, part: str, rank: int | None, seed: int = 0) -> nn.ModuleDict:
    """Fresh adapters on every matrix of a part of a folded model, whose own weights stay as they are.

    rank: None for whole matrices.
    Returns them by the names of their modules, "/" for ".", as a ModuleDict has no dots in its names.
    """
    generator = torch.Generator().manual_seed(seed)
    found = nn.ModuleDict()
    for name, module in adaptable(net, part).items():
        weight = module.weight
        assert isinstance(weight, Tensor)
        if rank is None:
            whole = Whole(weight.detach(), _gain(name))
            parametrize.register_parametrization(module, "weight", whole)
            found[name.replace(".", "/")] = whole
            continue
        adapter = LowRank(weight.detach(), rank).to(weight.device)
        with torch.no_grad():
            bound = 1 / math.sqrt(adapter.A.shape[1])
            adapter.A.copy_((2 * torch.rand(adapter.A.shape, generator=generator) - 1) * bound)
        parametrize.register_parametrization(module, "weight", adapter)
        found[name.replace(".", "/")] = adapter
    return found


def pairs(state: Mapping[str, Tensor], part: str) -> dict[str, tuple[Tensor, Tensor]]:
    """A and B by module name out of a state dict whose keys are `part.decoder/encode/conv1.A` and `….B`."""
    found: dict[str, tuple[Tensor, Tensor]] = {}
    for key, value in state.items():
        if key.startswith(f"{part}.") and key.endswith(".A"):
            inner = key.removeprefix(f"{part}.").removesuffix(".A")
            found[inner.replace("/", ".")] = value, state[f"{part}.{inner}.B"]
    return found


def wholes(state: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    """What is added, by module name, out of a state dict whose keys are `part.decoder/encode/conv1.D`."""
    found = {}
    for key in state:
        if key.startswith(f"{part}.") and key.endswith(".D"):
            name = key.removeprefix(f"{part}.").removesuffix(".D").replace("/", ".")
            found[name] = _gain(name) * state[key]
    return found


def _gain(name: str) -> float:
    return _TABLE_GAIN if name.endswith("embedding") or name.endswith("word_embeddings") else 1.0


def merge(state: dict[str, Tensor], adapter: Adapter) -> None:
    """Put an adapter into the weights of a state dict, with or without weight norm, each in its own type.

    Raises VoicewrightError for an adapter of other shapes, and for one that is damaged.
    """
    strange = [name for name in adapter.matrices if _weight_key(state, name) is None]
    if strange:
        raise VoicewrightError(
            f"{adapter.folder} is an adapter for {adapter.base} and changes {strange[0]}, which this model "
            "does not have; name its own base with --model."
        )
    try:
        given = load_file(adapter.path)
    except (OSError, SafetensorError) as error:
        raise VoicewrightError(f"{adapter.path} is damaged ({error}); copy it again.") from error
    for name, (rows, _, columns) in adapter.matrices.items():
        key = _weight_key(state, name)
        assert key is not None
        weight = state[key]
        shape = (weight.shape[0], weight[0].numel())
        if shape != (rows, columns):
            raise VoicewrightError(
                f"{adapter.folder} is an adapter for {adapter.base}: its {name} is {rows} × {columns}, this "
                f"model's {shape[0]} × {shape[1]}; name its own base with --model."
            )
        a, b = given[f"{name}.A"].float(), given[f"{name}.B"].float()
        added = (b @ a).mul_(adapter.scale).view(weight.shape)
        if not torch.isfinite(added).all():
            raise VoicewrightError(
                f"{adapter.path}: {name} is not finite; the adapter is damaged, train anew."
            )
        _add(state, key, added)


def merge_whole(state: dict[str, Tensor], added: Mapping[str, Tensor]) -> None:
    """Put whole matrices, by module name, into the weights of a state dict. Raises VoicewrightError for what
    the model does not have, and for what is no number."""
    for name, value in added.items():
        key = _weight_key(state, name)
        if key is None or state[key].shape != value.shape:
            raise VoicewrightError(f"the finetune changes {name}, which this model does not have so.")
        if not torch.isfinite(value).all():
            raise VoicewrightError(f"the finetune's {name} is not finite; take an earlier checkpoint.")
        _add(state, key, value.float())


def _add(state: dict[str, Tensor], key: str, added: Tensor) -> None:
    """`added` upon a weight, which may be in two parts (weight norm); each keeps its type."""
    weight = state[key]
    base = key.removesuffix(f"{NORM}original1")
    if base == key:
        state[key] = (weight.float() + added).to(weight.dtype)
        return
    gain = state[f"{base}{NORM}original0"]
    whole = torch._weight_norm(weight.float(), gain.float(), 0) + added
    norm = torch.norm_except_dim(whole, 2, 0)
    state[f"{base}{NORM}original0"] = norm.to(gain.dtype)
    # A channel without anything needs a direction all the same, or it becomes 0/0.
    state[key] = torch.where(norm == 0, torch.ones_like(whole), whole).to(weight.dtype)


def _weight_key(state: Mapping[str, Tensor], name: str) -> str | None:
    plain, normed = f"{name}.weight", f"{name}{NORM}original1"
    return plain if plain in state else normed if normed in state else None


def source_of(base: Path, sha256: str) -> str:
    """The hash of what a model was imported from, else of its own weights."""
    named = read_card(base).get("sha256")
    return named if isinstance(named, str) and sha256 not in same_kokoro() else sha256


def check_base(
    adapters: Iterable[Adapter], base: Path, weights: Path, note: Callable[[str], object] | None
) -> None:
    """Refuse adapters that were trained on other weights than these.

    Kokoro 1.0 rounded to int8 and whole count as the same, which `note` is told. Raises VoicewrightError.
    """
    sha256 = digest(weights)
    source = source_of(base, sha256)
    for adapter in adapters:
        if adapter.base_sha256 == sha256:
            continue
        if adapter.base_source in same_kokoro() and source in same_kokoro():
            if note is not None and adapter.base_source != source:
                note(
                    f"{adapter.folder} was trained on Kokoro 1.0 with weights of another rounding; it serves "
                    "here too, and sounds a little different."
                )
            continue
        raise VoicewrightError(
            f"{adapter.folder} was trained on {adapter.base} with other weights than {weights} "
            f"(sha256 {adapter.base_sha256[:12]}…, here {sha256[:12]}…); name its own base with --model, or "
            "train it again on this one."
        )
