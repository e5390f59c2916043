"""A `FastModel` of fp32 kernels → the tree that `model/light` speaks from.

The one place that knows both: it reads the packed layers that `fast/` made, so that they are made one way.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor, nn

from voicewright.model.fast.convolution import Conv, NativeConv
from voicewright.model.fast.front import FastBlock, FastCurves
from voicewright.model.fast.generator import Affine, FastGenerator, SnakeBlock
from voicewright.model.fast.model import FastModel
from voicewright.model.fast.text import FastAlbert, FastLayer, FastLstm, FastTextEncoder
from voicewright.model.light.packed import Node


def pack(model: FastModel) -> Node | None:
    """The tree of a model, as views of its memory; None where its layers are not all of the kernels.

    The graph must have Kokoro's own switches: `model/light` knows no others."""
    front, encoder = model._front, model._duration_encoder
    lstms = [step[0] for step in encoder._steps]
    lstms += [model._duration_lstm, model._shared, model._text_encoder._lstm]
    if not isinstance(front._residual, NativeConv) or any(lstm._plain is not None for lstm in lstms):
        return None
    return {
        "style": model.config.style_dim,
        "bert": _bert(model._bert),
        "bert_encoder": _linear(model._bert_encoder),
        "text_encoder": _text(model._text_encoder),
        "duration_encoder": {
            "steps": [{"lstm": _lstm(lstm), "fc": _linear(norm.fc)} for lstm, norm in encoder._steps]
        },
        "duration_lstm": _lstm(model._duration_lstm),
        "shared": _lstm(model._shared),
        "duration_proj": _linear(getattr(model._duration_proj, "linear_layer", model._duration_proj)),
        "f0": _curves(model._f0),
        "energy": _curves(model._energy),
        "front": {
            "affine": _affine(front._affine),
            "encode": _block(front._encode),
            "decode": [_block(block) for block in front._decode],
            "residual": _conv(front._residual),
            "curves": [[_array(weight.flatten()), _array(bias)] for weight, bias in front._curves],
        },
        "generator": _generator(model.generator),
    }


def _array(tensor: Tensor) -> np.ndarray[Any, Any]:
    array: np.ndarray[Any, Any] = tensor.detach().numpy()
    return array


def _conv(conv: Conv) -> Node:
    assert isinstance(conv, NativeConv)
    a = conv._arguments
    names = ("cin", "cout", "center", "dilation", "m", "r", "points", "subs")
    return {name: int(getattr(a, name)) for name in names} | {
        "weight": _array(conv._weight),
        "bias": _array(conv._bias),
        "transforms": [_array(part) for part in conv._transforms],
    }


def _linear(module: nn.Module) -> list[np.ndarray[Any, Any]]:
    assert isinstance(module, nn.Linear)
    return [_array(module.weight), _array(module.bias)]


def _norm(module: nn.Module) -> list[np.ndarray[Any, Any]]:
    weight, bias = module.weight, module.bias
    assert isinstance(weight, Tensor) and isinstance(bias, Tensor)
    return [_array(weight), _array(bias)]


def _lstm(lstm: FastLstm) -> Node:
    return {
        "given": _conv(lstm._given),
        "weight": _array(lstm._weight),
        "hidden": lstm._hidden,
        "factor": 1.0 if lstm._factor is None else lstm._factor,
    }


def _bert(bert: FastAlbert) -> Node:
    tables = bert._embeddings
    return {
        "words": _array(tables.word_embeddings.weight + tables.token_type_embeddings.weight[0]),
        "positions": _array(tables.position_embeddings.weight),
        "norm": _norm(tables.LayerNorm),
        "mapping": _conv(bert._mapping),
        "depth": bert._depth,
        "layers": [_layer(layer) for layer in bert._layers],
    }


def _layer(layer: FastLayer) -> Node:
    return {
        "heads": layer._heads,
        "joint": _conv(layer._joint),
        "dense": _conv(layer._dense),
        "inner": _conv(layer._inner),
        "outer": _conv(layer._outer),
        "norms": [_norm(norm) for norm in layer._norms],
    }


def _text(encoder: FastTextEncoder) -> Node:
    return {
        "embedding": _array(encoder._embedding.weight),
        "steps": [
            {"conv": _conv(conv), "norm": [_array(norm.gamma), _array(norm.beta)], "slope": slope}
            for conv, norm, slope in encoder._steps
        ],
        "lstm": _lstm(encoder._lstm),
    }


def _affine(affine: Affine) -> Node:
    assert affine._conv is not None
    return {"conv": _conv(affine._conv), "widths": list(affine._widths)}


def _block(block: FastBlock) -> Node:
    node: Node = {
        "sites": list(block._sites),
        "conv1": _conv(block._conv1),
        "conv2": _conv(block._conv2),
        "skip": _conv(block._skip),
    }
    if block._pool is not None:
        node["pool"] = [_array(part) for part in block._pool]
    return node


def _curves(curves: FastCurves) -> Node:
    return {
        "affine": _affine(curves._affine),
        "blocks": [_block(block) for block in curves._blocks],
        "head": [_array(part) for part in curves._head],
    }


def _snake(block: SnakeBlock) -> Node:
    names = ("conv1", "site1", "alpha1", "conv2", "site2", "alpha2")
    layers = []
    for layer in block._layers:
        node: Node = dict(zip(names, layer, strict=True))
        layers.append(
            node
            | {name: _conv(node[name]) for name in ("conv1", "conv2")}
            | {name: _array(node[name]) for name in ("alpha1", "alpha2")}
        )
    return {"layers": layers}


def _generator(generator: FastGenerator) -> Node:
    stft, source = generator.stft, generator.source
    return {
        "affine": _affine(generator.affine),
        "bins": generator.bins,
        "stft": {
            "n_fft": stft.n_fft,
            "hop": stft.hop,
            "analysis": _array(stft.analysis[:, 0]),
            "synthesis": _array(stft.synthesis[:, 0]),
            "overlap": _array(stft.overlap.flatten()),
        },
        "source": {
            "overtones": source.overtones,
            "voiced_noise": source.voiced_noise,
            "mix": [_array(source.l_linear.weight[0]), _array(source.l_linear.bias)],
        },
        "phase_scale": float(generator._phase_scale),
        "context": generator.context,
        "ups": [
            {
                "rate": up.rate,
                "padding": up._padding,
                "taps": up._taps,
                "cout": up.cout,
                "conv": _conv(up._conv),
            }
            for up in generator._ups
        ],
        "noise": [{"conv": _conv(conv), "stride": s, "padding": p} for conv, s, p in generator._noise],
        "noise_blocks": [_snake(block) for block in generator._noise_blocks],
        "blocks": [[_snake(block) for block in stage] for stage in generator._blocks],
        "post": _conv(generator._post),
        "post_reach": generator.post_reach,
    }
