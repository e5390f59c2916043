"""Weights on disk: our folders, Kokoro's and StyleTTS 2's files, always strictly.

A model folder holds `model.safetensors` (keys of TTSModel, and of the style encoders behind
`style_encoders.`) and `config.json`. Foreign files are read by `reading.py`, brought to our names by
`layouts.py`, and given a configuration by `recognise.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from voicewright.catalogue.places import CARD, CONFIG, WEIGHTS, layers_of, weights_file
from voicewright.errors import VoicewrightError
from voicewright.model.adapters import check_base, merge
from voicewright.model.config import Extension, IstftNet, ModelConfig
from voicewright.model.half import narrow
from voicewright.model.layouts import NORM, STYLES, TRUNK, State, Weights, canonical, compare, conform
from voicewright.model.reading import read_content
from voicewright.model.recognise import configuration
from voicewright.model.tts.model import TTSModel
from voicewright.model.tts.style import StyleEncoders
from voicewright.storage import write_with

__all__ = [
    "compare",
    "conform",
    "export_kokoro",
    "load_model",
    "read_state",
    "save_model",
    "write_atomically",
]


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """`storage.write_with` for what torch and safetensors write: they wrap a full disk."""
    try:
        write_with(path, write)
    except (SafetensorError, RuntimeError) as error:
        raise VoicewrightError(
            f"{path} could not be written: {error}; free space or choose another folder."
        ) from error


def save_model(
    folder: Path,
    model: TTSModel,
    config: ModelConfig,
    style_encoders: StyleEncoders | None = None,
    card: Mapping[str, object] | None = None,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write a model folder; each file appears whole or not at all.

    `dtype` torch.float16 halves the file (loading gives fp32 again). `card` becomes card.json.
    Raises VoicewrightError when the disk refuses or a weight does not fit the type.
    """
    state = dict(model.state_dict())
    if style_encoders is not None:
        state |= {STYLES + key: value for key, value in style_encoders.state_dict().items()}
    write_network(folder, config.model_dump(), state, card, dtype)


def write_network(
    folder: Path,
    facts: Mapping[str, object],
    state: Mapping[str, Tensor],
    card: Mapping[str, object] | None,
    dtype: torch.dtype,
) -> None:
    """A folder of a network: config.json of `facts`, model.safetensors of `state`, card.json.

    Raises VoicewrightError, before anything is written, for a weight that does not fit the type.
    """
    stored: State = {}
    for key, value in state.items():
        stored[key] = value.detach().to("cpu", dtype).contiguous()
        if not torch.isfinite(stored[key]).all():
            raise VoicewrightError(
                f"{folder}: the weight {key} is not finite as {dtype}, so nothing was written; "
                "take an earlier checkpoint or store float32."
            )
    folder = Path(folder)
    write_json(folder / CONFIG, facts)
    write_atomically(folder / WEIGHTS, lambda path: save_file(stored, path, metadata={"format": "pt"}))
    if card is not None:
        write_json(folder / CARD, card)


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """An indented JSON file that appears whole or not at all."""
    text = json.dumps(content, ensure_ascii=False, indent=1) + "\n"
    write_atomically(path, lambda place: place.write_text(text, "utf-8"))


def load_model(
    path: Path,
    config: ModelConfig | None = None,
    note: Callable[[str], object] | None = None,
    styles: bool = True,
    halves: bool = False,
) -> tuple[TTSModel, ModelConfig, StyleEncoders | None]:
    """Read a model folder, or one weights file of any layout in docs/weights.md.

    An adapter's folder gives its base with the adapter merged, once the base has proved to be its own.
    Without `config`, the configuration beside the weights is read; a bare file is recognised, and `note` is
    given the sentence that says what it was taken for. Everything comes back in fp32 and in eval mode (with
    `halves`, large weights in fp16, which only `FastModel` takes); the style encoders are None when the file
    has none, or when `styles` says that they are not wanted (speaking needs none). Raises VoicewrightError,
    with every missing, unexpected or misshapen key by name, when the weights are not exactly those of the
    configuration.
    """
    base, adapters = layers_of(Path(path))
    path = weights_file(base)
    weights = read_weights(path, halves)
    if config is None:
        config, sentence = configuration(path, weights)
        if sentence is not None and note is not None:
            note(sentence)
    given = {key: value for key, value in weights.state.items() if styles or not key.startswith(STYLES)}
    # Built without memory, so that a configuration of absurd widths is refused by comparison alone.
    with torch.device("meta"), Unfilled():
        model = TTSModel(config)
        encoders = StyleEncoders(config) if any(key.startswith(STYLES) for key in given) else None
    modules: dict[str, nn.Module] = {"": model} | ({STYLES: encoders} if encoders is not None else {})
    wanted = {
        prefix + key: value for prefix, net in modules.items() for key, value in net.state_dict().items()
    }
    state = conform(given, wanted)
    compare(state, wanted, path)
    for adapter in adapters:
        merge(state, adapter)
    if adapters:
        check_base(adapters, base, path, note)
    for prefix, net in modules.items():
        part = {key: state[prefix + key].contiguous() for key in net.state_dict()}
        net.load_state_dict(part, assign=True)
        hollow = [name for name, value in net.named_buffers() if value.is_meta]
        if hollow:  # a table that no file stores must be made on the CPU, as STFT does
            raise RuntimeError(f"{', '.join(hollow)} of {type(net).__name__} came without values")
        net.eval()
    return model, config, encoders


class Unfilled(TorchFunctionMode):
    """Leaves out the filling of new weights and their norms, which meta tensors have no use for.

    torch would load its compiler for them: a second of start-up.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init" or func in _FILLING:
            return args[0] if args else named["tensor"]
        if func is torch.norm_except_dim:
            weight, _, dim = args
            return weight.new_empty([size if i == dim else 1 for i, size in enumerate(weight.shape)])
        return func(*args, **named)


_FILLING = (torch.Tensor.normal_, torch.Tensor.uniform_, nn.functional.normalize)


def read_weights(path: Path, halves: bool = False) -> Weights:
    """A weights file's tensors in fp32 under our names, on memory of their own. Runs no code of the file.

    halves: large ones in fp16, as `narrow` has them.
    """
    weights = canonical(read_content(path, mapped=halves), path)
    if halves:
        return Weights(narrow(weights.state), weights.wrapped, weights.left_out)
    owned: State = {}
    for key, value in weights.state.items():
        # Files that are mapped to the disk come back as parts of one storage.
        mapped = value.untyped_storage().nbytes() > value.numel() * value.element_size()
        owned[key] = value.to(torch.float32, copy=mapped)
    return Weights(owned, weights.wrapped, weights.left_out)


def read_state(path: Path) -> State:
    """All tensors of a weights file in fp32, as flat keys of our naming."""
    return read_weights(Path(path)).state


def export_kokoro(model: TTSModel, path: Path) -> None:
    """Write the .pth that the `kokoro` package loads: five state dictionaries, `module.`, weight_g/weight_v.

    Raises VoicewrightError when the model's widths or source differ from what that package can build.
    """
    _check_exportable(model.config)
    reference = TTSModel(model.config).state_dict()
    state = conform(dict(model.state_dict()), reference)
    nested: dict[str, State] = {name: {} for name in TRUNK}
    for key, value in state.items():
        name, _, rest = key.partition(".")
        for new, old in (("original0", "weight_g"), ("original1", "weight_v")):
            rest = rest.replace(f"{NORM[1:]}{new}", old)
        nested[name][f"module.{rest}"] = value.detach().cpu().float().clone()
    write_atomically(Path(path), lambda temporary: torch.save(nested, temporary))


def _check_exportable(config: ModelConfig) -> None:
    fixed = Extension().model_dump(exclude={"style_encoder"})
    ours = config.voicewright.model_dump(exclude={"style_encoder"})
    different = [f"voicewright.{key}" for key, value in fixed.items() if ours[key] != value]
    if config.hidden_dim != 512:
        different.append("hidden_dim")
    if config.istftnet.upsample_initial_channel != IstftNet().upsample_initial_channel:
        different.append("istftnet.upsample_initial_channel")
    if different:
        raise VoicewrightError(
            f"The kokoro package cannot build this model: it has fixed values for {', '.join(different)}; "
            "only a graph of Kokoro's widths can be exported to it."
        )
