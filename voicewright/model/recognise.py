"""Which configuration a weights file belongs to: from the file beside it, else from its own shapes.

Beside weights stand Kokoro's `config.json`, the `config.json` of Kokoro 0.19 or StyleTTS 2's `config.yml`. A
bare file is recognised where its shapes leave no doubt about the graph; the symbol table, which no shape
shows, then follows from the layout, and a sentence says so.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from torch import Tensor

from voicewright.catalogue.places import CONFIG
from voicewright.catalogue.pull import published_file
from voicewright.errors import VoicewrightError
from voicewright.model.config import Extension, IstftNet, ModelConfig, PlBert, StyleEncoder
from voicewright.model.layouts import DENOISER, NORM, STYLES, Weights
from voicewright.text.vocab import KOKORO, STYLETTS2_SPOKEN
from voicewright.units import HOP

YAML = ("config.yml", "config.yaml")
BESIDE = f"put the {CONFIG} that belongs to these weights beside them"


class _Doubt(Exception):
    """Why a bare file's configuration cannot be told from its shapes."""


def configuration(path: Path, weights: Weights) -> tuple[ModelConfig, str | None]:
    """The configuration of a weights file, and the sentence to say when it was recognised, not read.

    Raises VoicewrightError when there is none beside it and the shapes leave more than one.
    """
    beside = path.parent / CONFIG
    if beside.is_file():
        return read_config(beside), None
    for name in YAML:
        if (path.parent / name).is_file():
            return read_config(path.parent / name), None
    try:
        return _bare(path, weights)
    except _Doubt as doubt:
        raise VoicewrightError(f"{path} comes without a {CONFIG}, and {doubt}; {BESIDE}.") from doubt


def read_config(path: Path) -> ModelConfig:
    """Kokoro's config.json, that of Kokoro 0.19, or StyleTTS 2's config.yml."""
    if path.suffix in (".yml", ".yaml"):
        import yaml

        try:
            content = yaml.safe_load(path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise VoicewrightError(f"{path} cannot be read as a model configuration: {error}.") from error
        content = content.get("model_params") if isinstance(content, Mapping) else None
        if not isinstance(content, Mapping):
            raise VoicewrightError(f"{path} has no model_params; give StyleTTS 2's config.yml.")
        return _styletts2(content, path, encoders=True)
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return ModelConfig.read(path)  # which words the error
    if isinstance(content, Mapping) and "decoder" in content and "istftnet" not in content:
        return _styletts2(content, path, encoders=False)
    return ModelConfig.read(path)


def _styletts2(params: Mapping[str, Any], path: Path, encoders: bool) -> ModelConfig:
    """StyleTTS 2's `model_params` (Kokoro 0.19's config.json has the same) as our configuration.

    What upstream's code fixes and its file does not say: PL-BERT's widths, the text encoder's kernel, the
    decoder's 1024 and 64; its style encoders are as wide as `dim_in` and `hidden_dim`.
    """
    plain = (
        "dim_in",
        "dropout",
        "hidden_dim",
        "max_conv_dim",
        "max_dur",
        "multispeaker",
        "n_layer",
        "n_mels",
    )
    fields = {key: params[key] for key in (*plain, "n_token", "style_dim") if key in params}
    decoder = params.get("decoder")
    decoder = dict(decoder) if isinstance(decoder, Mapping) else {}
    kind = decoder.pop("type", "istftnet")
    try:
        net = IstftNet.model_validate(decoder | ({"gen_istft_hop_size": 1} if kind == "hifigan" else {}))
        styles = None
        if encoders:
            styles = StyleEncoder(
                channels=fields.get("dim_in", 64), max_channels=fields.get("hidden_dim", 512)
            )
        return ModelConfig(
            istftnet=net,
            vocab=dict(STYLETTS2_SPOKEN),
            voicewright=Extension(decoder=kind, style_encoder=styles),
            **fields,
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "model_params"
        raise VoicewrightError(f"{path}: {where}: {first['msg']}.") from error


def _bare(path: Path, weights: Weights) -> tuple[ModelConfig, str]:
    state = weights.state
    if "bert.embeddings.word_embeddings.weight" not in state:
        raise _Doubt("it does not hold the networks of Kokoro or StyleTTS 2")
    found = _graph(state)
    if (
        any(key.startswith(STYLES) for key in state)
        or weights.left_out
        or found.voicewright.decoder == "hifigan"
    ):
        kind = "HiFi-GAN" if found.voicewright.decoder == "hifigan" else "iSTFTNet"
        name, vocab = f"StyleTTS 2 with the {kind} decoder and its table of 178 symbols", STYLETTS2_SPOKEN
    elif weights.wrapped:
        name, vocab = "Kokoro 0.19, which has StyleTTS 2's table of 178 symbols", STYLETTS2_SPOKEN
    else:
        known = published_file(path)
        if (known and "zh" in known.name) or (known is None and re.search(r"zh|1[._-]1", path.stem)):
            raise _Doubt("as Kokoro 1.1-zh it needs the vocabulary of its own file")
        name, vocab = "Kokoro 1.0 with its 114 symbols", KOKORO
        if known is None:
            name += "; if it is a finetune with another vocabulary, " + BESIDE
    unused = [name for name in weights.left_out if name != DENOISER]
    aside = f" Its {', '.join(unused)}, which only training needs, stay unused." * bool(unused)
    config = found.model_copy(update={"vocab": dict(vocab)})
    return config, f"{path.name} comes without a {CONFIG} and was taken for {name}.{aside}"


def _shape(state: Mapping[str, Tensor], key: str, axes: int) -> tuple[int, ...]:
    """The shape of a weight, however its norm is written."""
    for name in (key, key.removesuffix(".weight") + f"{NORM}original1"):
        if name in state and state[name].dim() == axes:
            return tuple(state[name].shape)
    raise _Doubt(f"its {key} is missing or of another kind than known graphs have")


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    """How many numbered modules match: 1 + the largest number in the pattern's group."""
    numbers = [int(match[1]) for key in state if (match := re.match(pattern, key))]
    return 1 + max(numbers, default=-1)


def _graph(state: Mapping[str, Tensor]) -> ModelConfig:
    """Every width that shapes show. What they do not show is taken only where all known files agree."""
    n_token, hidden = _shape(state, "text_encoder.embedding.weight", 2)
    tokens, embedding = _shape(state, "bert.embeddings.word_embeddings.weight", 2)
    positions, _ = _shape(state, "bert.embeddings.position_embeddings.weight", 2)
    _, width = _shape(state, "bert_encoder.weight", 2)
    layer = "bert.encoder.albert_layer_groups.0.albert_layers.0."
    inner, _ = _shape(state, layer + "ffn.weight", 2)
    if (width, inner, embedding) != (768, 2048, 128) or tokens != n_token:
        raise _Doubt(f"a PL-BERT of width {width} leaves its heads and its depth open")
    _, _, kernel = _shape(state, "text_encoder.cnn.0.0.weight", 3)
    _, style = _shape(state, "predictor.text_encoder.lstms.1.fc.weight", 2)
    max_dur, _ = _shape(state, "predictor.duration_proj.linear_layer.weight", 2)
    channels = _shape(state, "decoder.encode.conv2.weight", 3)[0]
    residual = _shape(state, "decoder.asr_res.0.weight", 3)[0]
    encoders = None
    if any(key.startswith(STYLES) for key in state):
        first = state.get(f"{STYLES}acoustic.shared.0{NORM}original")
        last, _ = _shape(state, f"{STYLES}acoustic.unshared.weight", 2)[::-1]
        if first is None:
            raise _Doubt("its style encoders are of no known kind")
        encoders = StyleEncoder(channels=first.shape[0], max_channels=last)
    net, extension = _generator(state)
    try:
        return ModelConfig(
            istftnet=net,
            hidden_dim=hidden,
            max_dur=max_dur,
            n_layer=_count(state, r"text_encoder\.cnn\.(\d+)\."),
            n_token=n_token,
            style_dim=style,
            text_encoder_kernel_size=kernel,
            plbert=PlBert(max_position_embeddings=positions),
            vocab={},
            voicewright=Extension(
                decoder_channels=channels,
                decoder_residual=residual,
                style_encoder=encoders,
                **extension,
            ),
        )
    except ValidationError as error:
        raise _Doubt(f"its shapes fit no graph known here ({error.errors()[0]['msg']})") from error


def _generator(state: Mapping[str, Tensor]) -> tuple[IstftNet, dict[str, Any]]:
    head = "decoder.generator."
    stages = _count(state, r"decoder\.generator\.ups\.(\d+)\.")
    blocks = _count(state, r"decoder\.generator\.resblocks\.(\d+)\.")
    ups = [_shape(state, f"{head}ups.{i}.weight", 3) for i in range(stages)]
    out = _shape(state, head + "conv_post.weight", 3)[0]
    _, sources = _shape(state, head + "m_source.l_linear.weight", 2)
    hifigan = f"{head}alphas.0" in state
    # A pulse, Cartesian spectra and a gain are switches of our own, which shapes show only in part.
    if not stages or blocks % stages or sources < 2 or f"{head}gain_post.weight" in state:
        raise _Doubt("its generator has switches that only its configuration tells")
    dilated = {_count(state, rf"decoder\.generator\.resblocks\.{i}\.convs1\.(\d+)\.") for i in range(blocks)}
    kernels = [size for _, _, size in ups]
    rates = [size // 2 for size in kernels]
    hop = 1 if hifigan else HOP // max(math.prod(rates), 1)
    if dilated != {3} or math.prod(rates) * hop != HOP:
        raise _Doubt("its generator's rates and dilations are none of the known ones")
    sizes = [_shape(state, f"{head}resblocks.{i}.convs1.0.weight", 3)[2] for i in range(blocks // stages)]
    try:
        net = IstftNet(
            upsample_rates=tuple(rates),
            upsample_kernel_sizes=tuple(kernels),
            gen_istft_n_fft=20 if hifigan else out - 2,
            gen_istft_hop_size=hop,
            resblock_kernel_sizes=tuple(sizes),
            resblock_dilation_sizes=((1, 3, 5),) * len(sizes),
            upsample_initial_channel=ups[0][0],
        )
    except ValidationError as error:
        raise _Doubt(f"its generator fits no graph known here ({error.errors()[0]['msg']})") from error
    noise = _shape(state, f"{head}noise_res.{stages - 1}.convs1.0.weight", 3)[2]
    decoder = "hifigan" if hifigan else "istftnet"
    return net, {"decoder": decoder, "harmonics": sources - 1, "noise_kernel": noise}
