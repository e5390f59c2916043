"""Weights on disk: our folders, Kokoro's .pth and StyleTTS 2's checkpoints, always strictly.

A model folder holds `model.safetensors` (keys of TTSModel, and of the style encoders behind
`style_encoders.`) and `config.json`. Layouts that are mapped on loading:

- `module.` prefixes of DataParallel;
- weight norm as `weight_g`/`weight_v`, as parametrisation, or folded into a plain `weight`;
- spectral norm as `weight_orig`/`weight_u`/`weight_v`, or as parametrisation;
- `{"net": {...}}` of StyleTTS 2, whose training-only networks are left out (`TRAINING_ONLY`);
- affine extras of AdaIN's instance norms, as the `kokoro` package declares them: folded into `fc`.
"""

from __future__ import annotations

import json
import os
import pickle
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from voicewright.artifacts import CARD, CONFIG, WEIGHTS
from voicewright.config import Extension, IstftNet, ModelConfig
from voicewright.errors import VoicewrightError
from voicewright.model.tts.model import TTSModel
from voicewright.model.tts.style import StyleEncoders

STYLES = "style_encoders."
TRUNK = ("bert", "bert_encoder", "predictor", "text_encoder", "decoder")
STYLE_NETS = {"style_encoder": STYLES + "acoustic", "predictor_encoder": STYLES + "prosodic"}
TRAINING_ONLY = frozenset({"diffusion", "text_aligner", "pitch_extractor", "mpd", "msd", "wd"})
NORM = ".parametrizations.weight."

State = dict[str, Tensor]


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, flush it to the disk, then rename it into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except (OSError, SafetensorError, RuntimeError) as error:  # torch and safetensors wrap a full disk
        raise VoicewrightError(
            f"{path} cannot be written: {error}; free space or choose another place."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


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
    stored: State = {}
    for key, value in state.items():
        stored[key] = value.detach().to("cpu", dtype).contiguous()
        if not torch.isfinite(stored[key]).all():
            raise VoicewrightError(
                f"{folder}: the weight {key} is not finite as {dtype}, so nothing was written; "
                "take an earlier checkpoint or store float32."
            )
    folder = Path(folder)
    write_atomically(folder / CONFIG, config.write)
    write_atomically(folder / WEIGHTS, lambda path: save_file(stored, path, metadata={"format": "pt"}))
    if card is not None:
        text = json.dumps(card, ensure_ascii=False, indent=1) + "\n"
        write_atomically(folder / CARD, lambda path: path.write_text(text, "utf-8"))


def load_model(
    path: Path, config: ModelConfig | None = None, styles: bool = True
) -> tuple[TTSModel, ModelConfig, StyleEncoders | None]:
    """Read a model folder, or one weights file (.safetensors, or .pth/.pt of Kokoro or StyleTTS 2).

    Without `config`, `config.json` beside the weights is read. Everything comes back in fp32 and in eval
    mode; the style encoders are None when the file has none, or when `styles` says that they are not wanted
    (speaking needs none, and starts sooner without). Raises VoicewrightError, with every missing,
    unexpected or misshapen key by name, when the weights are not exactly those of the configuration.
    """
    path = Path(path)
    weights = path / WEIGHTS if path.is_dir() else path
    config = config or ModelConfig.read(weights.parent / CONFIG)
    state = read_state(weights, "" if styles else STYLES)
    encoders: StyleEncoders | None = None
    with _NoInit():
        model = TTSModel(config)
        modules: dict[str, nn.Module] = {"": model}
        if any(key.startswith(STYLES) for key in state):
            encoders = StyleEncoders(config)
            modules[STYLES] = encoders
    wanted = {
        prefix + key: value for prefix, net in modules.items() for key, value in net.state_dict().items()
    }
    state = conform(state, wanted)
    compare(state, wanted, weights)
    for prefix, net in modules.items():
        part = {key: state[prefix + key] for key in net.state_dict()}
        # For speaking, the tensors stay where the file is mapped; training wants memory of its own.
        net.load_state_dict(part, assign=not styles)
        net.eval()
    return model, config, encoders


class _NoInit(TorchFunctionMode):
    """Leaves parameters as the memory is: each of them is read from a file afterwards, strictly."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def read_state(path: Path, without: str = "") -> State:
    """All tensors of a weights file in fp32, as flat keys of our naming; none that begins with `without`.

    Never runs code from the file.
    """
    path = Path(path)
    if not path.is_file():
        raise VoicewrightError(f"{path} does not exist; give a model folder or a weights file.")
    flat = _read_safetensors(path) if path.suffix == ".safetensors" else _flatten(_read_pickle(path), path)
    return {
        key: value.float()
        for key, value in _rename(flat).items()
        if not (without and key.startswith(without))
    }


def _read_safetensors(path: Path) -> State:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise VoicewrightError(
            f"{path} is damaged or no safetensors file ({error}); copy or download it again."
        ) from error


def _read_pickle(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        text = str(error)
        if "Unsupported" in text or "GLOBAL" in text:
            raise VoicewrightError(
                f"{path} was refused and nothing in it was run: it holds more than tensors, which could run "
                "foreign code; ask for a safetensors file."
            ) from error
        raise VoicewrightError(f"{path} is damaged or no PyTorch file; copy or download it again.") from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise VoicewrightError(f"{path} is damaged or no PyTorch file; copy or download it again.") from error


def _flatten(content: Any, path: Path) -> State:
    """Nested module dictionaries to one, as `module.key`, less the networks that only training needs."""
    if isinstance(content, Mapping) and isinstance(content.get("net"), Mapping):
        content = content["net"]
    if not isinstance(content, Mapping) or not content:
        raise VoicewrightError(f"{path} holds no state dictionary; give a Kokoro or StyleTTS 2 weights file.")
    flat: State = {}
    for name, part in content.items():
        if isinstance(part, Tensor):
            flat[str(name)] = part
        elif isinstance(part, Mapping) and all(isinstance(value, Tensor) for value in part.values()):
            if name not in TRAINING_ONLY:
                head = STYLE_NETS.get(name, name)
                flat |= {f"{head}.{str(key).removeprefix('module.')}": value for key, value in part.items()}
        else:
            raise VoicewrightError(
                f"{path}: the entry {name!r} is neither a tensor nor a dictionary of tensors; "
                "give a Kokoro or StyleTTS 2 weights file."
            )
    return flat


def _rename(state: State) -> State:
    """Old norm hooks to parametrisations, and a leading `module.` away."""
    out: State = {}
    for key, value in state.items():
        key = key.removeprefix("module.")
        base, _, last = key.rpartition(".")
        spectral = f"{base}.weight_orig" in state or f"module.{base}.weight_orig" in state
        if last == "weight_orig":
            key = f"{base}{NORM}original"
        elif spectral and last in ("weight_u", "weight_v"):
            key = f"{base}{NORM}0._{last[-1]}"
        elif last in ("weight_g", "weight_v"):
            key = f"{base}{NORM}original{'gv'.index(last[-1])}"
        # A buffer that old versions of `transformers` stored.
        if key != "bert.embeddings.position_ids":
            out[key] = value
    return out


def conform(state: State, wanted: Mapping[str, Tensor]) -> State:
    """Split folded weights into norm and direction, and fold affine extras, where `wanted` has them so."""
    out = dict(state)
    for key in state:
        base = key.removesuffix(".weight")
        if key == base or key in wanted:
            continue
        if f"{base}{NORM}original1" in wanted:
            weight = out.pop(key)
            out[f"{base}{NORM}original0"] = torch.norm_except_dim(weight, 2, 0)
            out[f"{base}{NORM}original1"] = weight
        elif (
            base.endswith(".norm")
            and f"{base.removesuffix('norm')}fc.weight" in out
            and f"{base}.bias" in out
        ):
            _fold_affine(out, base.removesuffix("norm"))
    return out


def _fold_affine(state: State, prefix: str) -> None:
    """(1+γ)(wx+b)+β is again (1+γ')x+β', with γ' = wγ+w-1 and β' = β+b(1+γ), both linear in the style."""
    scale, shift = state.pop(f"{prefix}norm.weight"), state.pop(f"{prefix}norm.bias")
    weight, bias = state[f"{prefix}fc.weight"], state[f"{prefix}fc.bias"]
    if weight.shape[0] != 2 * len(scale):
        return
    gamma, beta = weight.chunk(2)
    gamma_bias, beta_bias = bias.chunk(2)
    state[f"{prefix}fc.weight"] = torch.cat([gamma * scale[:, None], beta + gamma * shift[:, None]])
    state[f"{prefix}fc.bias"] = torch.cat(
        [gamma_bias * scale + scale - 1, beta_bias + shift * (1 + gamma_bias)]
    )


def compare(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], source: Path) -> None:
    """Raise one VoicewrightError that names every key in which a file and a graph differ."""

    def line(title: str, keys: Iterable[str]) -> list[str]:
        names = sorted(keys)
        return [f"{title} ({len(names)}): {', '.join(names)}"] if names else []

    shapes = [
        f"{key} {list(value.shape)} instead of {list(wanted[key].shape)}"
        for key, value in state.items()
        if key in wanted and value.shape != wanted[key].shape
    ]
    problems = (
        line("missing", wanted.keys() - state.keys())
        + line("unexpected", state.keys() - wanted.keys())
        + line("wrong shape", shapes)
    )
    if problems:
        raise VoicewrightError(
            f"{source} does not fit its configuration; use the config.json that belongs to these weights.\n"
            + "\n".join(problems)
        )


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
