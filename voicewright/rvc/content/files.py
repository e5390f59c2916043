"""Content models on disk: where they are, and fairseq's and transformers' names → ours.

A file of fairseq (`hubert_base.pt`) holds objects of fairseq, omegaconf and argparse beside its tensors. It
is opened without any of these: each becomes an object that can do nothing, and only `model` is looked at.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from voicewright.errors import UsageError, VoicewrightError
from voicewright.model.precision import Precision, choose
from voicewright.model.reading import read_content
from voicewright.rvc.content.hubert import ContentConfig, ContentEncoder

EMBEDDERS = (
    "contentvec",
    "spin",
    "spin-v2",
    "chinese-hubert-base",
    "japanese-hubert-base",
    "korean-hubert-base",
)
"""What Applio's `embedder_model` may say, as named in `catalogue/data/published.toml`."""
ALIASES = {
    "hubert": "contentvec",
    "hubert_base": "contentvec",
    "hubert_base.pt": "contentvec",
    "contentvec_base": "contentvec",
    "content-vec-best": "contentvec",
    "spin_v2": "spin-v2",
    "spinv2": "spin-v2",
}
"""Other spellings in circulation. RVC's hubert_base is ContentVec, not Facebook's HuBERT."""
FILES = ("model.safetensors", "pytorch_model.bin", "hubert_base.pt")
FOREIGN = (
    *("fairseq.", "omegaconf.", "argparse.Namespace", "enum.", "typing.Any", "collections.defaultdict"),
    *(f"builtins.{kind}" for kind in ("dict", "list", "tuple", "int", "float", "str", "bool", "object")),
    *("copyreg._reconstructor", "pathlib.P"),
)
"""What fairseq's checkpoints hold beside tensors. None of it is imported."""
UNUSED = frozenset({"masked_spec_embed", "mask_emb", "label_embs_concat"})
"""Weights of training."""
_BASE = {
    "feat_extract_norm": "group",
    "do_stable_layer_norm": False,
    "conv_bias": False,
    "hidden_act": "gelu",
    "feat_extract_activation": "gelu",
    "conv_pos_batch_norm": False,
    "feat_proj_layer_norm": True,
}
"""What a configuration may say of things that are the same in every model of HuBERT-base's kind."""
_RENAMED = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"^feature_extractor\.conv_layers\.(\d+)\.0\.", r"feature_extractor.conv_layers.\1.conv."),
        (r"^feature_extractor\.conv_layers\.0\.2\.", "feature_extractor.conv_layers.0.layer_norm."),
        (r"^post_extract_proj\.", "feature_projection.projection."),
        (r"^layer_norm\.", "feature_projection.layer_norm."),
        (r"^encoder\.pos_conv\.0\.", "encoder.pos_conv_embed.conv."),
        (r"^(encoder\.layers\.\d+)\.self_attn\.", r"\1.attention."),
        (r"^(encoder\.layers\.\d+)\.self_attn_layer_norm\.", r"\1.layer_norm."),
        (r"^(encoder\.layers\.\d+)\.fc1\.", r"\1.feed_forward.intermediate_dense."),
        (r"^(encoder\.layers\.\d+)\.fc2\.", r"\1.feed_forward.output_dense."),
    )
)
_POSITION = "encoder.pos_conv_embed.conv."
_NORMED = (
    ("weight_g", "weight_v"),
    ("parametrizations.weight.original0", "parametrizations.weight.original1"),
)


def open_content(name_or_path: str | Path = "contentvec", precision: Precision = "auto") -> ContentEncoder:
    """The content model of a name that a voice gives (`contentvec`, `spin`, …), or of a file or folder.

    `precision`: see `precision.choose`; fp32 is as upstream's to rounding, bf16 twice as fast and about 38 dB
    of signal to noise away. Raises UsageError for a model that is not here (which file, from where, where to
    put it), VoicewrightError for a file that cannot be used.
    """
    return open_file(resolve(name_or_path), precision)


def resolve(name_or_path: str | Path) -> Path:
    """The weights file that a name, a file or a folder means.

    Raises UsageError in one sentence for what is not there: which file, from where, where to put it.
    """
    path = Path(name_or_path)
    if path.is_file():
        return path
    if path.is_dir():
        return _file_in(path)
    from voicewright.catalogue import pull as catalogue

    word = str(name_or_path).strip()
    name = ALIASES.get(word.lower(), word.lower())
    if name not in EMBEDDERS:
        raise UsageError(
            f"there is no content model {word!r}: it is neither a file or folder here nor one of "
            f"{', '.join(EMBEDDERS)}; give the path of the one that the voice was trained with."
        )
    found = catalogue.part_files(name)
    if not found:
        raise UsageError(catalogue.missing_part(name))
    return found[0]


def _file_in(folder: Path) -> Path:
    for name in FILES:
        if (folder / name).is_file():
            return folder / name
    others = sorted(path for path in folder.iterdir() if path.suffix in (".safetensors", ".bin", ".pt"))
    if len(others) != 1:
        raise UsageError(
            f"{folder} holds no content model (none of {', '.join(FILES)}); name the weights file."
        )
    return others[0]


def open_file(path: Path, precision: Precision = "fp32") -> ContentEncoder:
    """A content model from its weights file and, where there is one, `config.json` beside it.

    Raises VoicewrightError in one sentence for a damaged or hostile file, other networks, unknown or missing
    weights.
    """
    weights = to_weights(read_content(path, FOREIGN), path)
    try:
        return ContentEncoder(config_of(path, weights), weights, choose(precision))
    except VoicewrightError as error:
        raise VoicewrightError(f"{path}: {error}") from error


def to_weights(content: Any, path: Path) -> dict[str, Tensor]:
    """A file's content → weights by transformers' names, weight norm folded, unused ones left out."""
    state = content.get("model", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    ):
        raise VoicewrightError(f"{path} holds no state of a network; give the weights of a HuBERT.")
    weights: dict[str, Tensor] = {}
    for name, value in state.items():
        short = _renamed(name)
        if short in UNUSED:
            continue
        if short in weights:
            raise VoicewrightError(f"{path} holds {short} twice under different names; refused.")
        if not value.is_floating_point():
            raise VoicewrightError(f"{path}: {name} is of {value.dtype}, not of floating point; refused.")
        weights[short] = value
    for gain, direction in _NORMED:
        g, v = (weights.get(_POSITION + part) for part in (gain, direction))
        if g is None or v is None:
            continue
        if v.dim() != 3 or g.shape != (1, 1, v.shape[2]) or f"{_POSITION}weight" in weights:
            raise VoicewrightError(f"{path}: the weight norm of the positional convolution is malformed.")
        norm = v.float().norm(dim=(0, 1), keepdim=True)
        weights[f"{_POSITION}weight"] = v.float() * (g.float() / norm)
        del weights[_POSITION + gain], weights[_POSITION + direction]
    return weights


def _renamed(name: str) -> str:
    for prefix in ("hubert.", "model."):
        if name.startswith(prefix):
            name = name.removeprefix(prefix)
            break
    for pattern, replacement in _RENAMED:
        name, count = pattern.subn(replacement, name)
        if count:
            break
    return name


def config_of(path: Path, weights: Mapping[str, Tensor]) -> ContentConfig:
    """What `config.json` beside the weights says, else HuBERT-base; `final_proj` is as wide as it is."""
    projection = weights.get("final_proj.weight")
    wide = int(projection.shape[0]) if projection is not None and projection.dim() == 2 else None
    beside = path.parent / "config.json"
    if path.suffix == ".pt" or not beside.is_file():
        return ContentConfig(projection=wide)
    try:
        said = json.loads(beside.read_text("utf-8")) if beside.stat().st_size < 2**20 else None
    except (OSError, ValueError, RecursionError) as error:
        raise VoicewrightError(f"{beside} cannot be read: {error}.") from error
    if not isinstance(said, dict):
        raise VoicewrightError(f"{beside} is no configuration of a HuBERT.")
    strange = [key for key, value in _BASE.items() if said.get(key, value) != value]
    if strange:
        told = ", ".join(f"{key}: {json.dumps(said[key])}" for key in strange)
        raise VoicewrightError(
            f"{beside} describes another kind of network than HuBERT-base ({told}), which RVC needs."
        )
    return ContentConfig(projection=wide, **_sizes(said, beside))


def _sizes(said: Mapping[str, Any], beside: Path) -> dict[str, Any]:
    """The sizes in a configuration, each within what the kind can have."""
    plain = {
        "hidden_size": 4096,
        "num_hidden_layers": 48,
        "num_attention_heads": 64,
        "intermediate_size": 16384,
        "num_conv_pos_embeddings": 512,
        "num_conv_pos_embedding_groups": 256,
    }
    sizes: dict[str, Any] = {}
    for key, most in plain.items():
        if key in said:
            sizes[key] = _whole(said[key], most, key, beside)
    for key in ("conv_dim", "conv_kernel", "conv_stride"):
        if key in said:
            values = said[key]
            if not isinstance(values, list) or not 0 < len(values) <= 16:
                raise VoicewrightError(f"{beside}: {key} must be a short list of whole numbers.")
            sizes[key] = tuple(_whole(value, 4096, key, beside) for value in values)
    config = ContentConfig(**sizes)
    layers = {len(config.conv_dim), len(config.conv_kernel), len(config.conv_stride)}
    divides = not config.hidden_size % config.num_attention_heads
    grouped = not config.hidden_size % config.num_conv_pos_embedding_groups
    if len(layers) != 1 or not divides or not grouped:
        raise VoicewrightError(f"{beside} contradicts itself; copy or download it again.")
    if (config.hop, config.field) != (ContentConfig().hop, ContentConfig().field):
        # Strides show in no weight's shape: ones would ask for 320 times the frames, and memory squared.
        raise VoicewrightError(
            f"{beside}: frames of {config.field} samples every {config.hop} are not HuBERT's."
        )
    eps = said.get("layer_norm_eps", 1e-5)
    if not isinstance(eps, float) or not 0 < eps < 1e-2:
        raise VoicewrightError(f"{beside}: layer_norm_eps must be a small number.")
    return {**sizes, "layer_norm_eps": eps}


def _whole(value: object, most: int, key: str, beside: Path) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= most:
        raise VoicewrightError(f"{beside}: {key} must be whole numbers from 1 to {most}.")
    return value
