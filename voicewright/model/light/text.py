"""Everything that reads tokens, as `fast/text.py`: PL-BERT, the encoders, their LSTMs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from voicewright.errors import VoicewrightError
from voicewright.model.light.layers import Array, Conv, Lstm, layer_norm, leaky
from voicewright.model.light.packed import Node

Tokens = NDArray[np.int64]
_BERT_EPS = 1e-12
_NORM_EPS = 1e-5
_GELU = np.float32(np.sqrt(2 / np.pi))


class Albert:
    """Tokens int64 [T] → rows [T, width]."""

    def __init__(self, node: Node, level: int) -> None:
        self._words, self._positions = node["words"], node["positions"]
        self._norm = node["norm"]
        self._mapping = Conv(node["mapping"], level)
        self._depth = int(node["depth"])
        self._layers = [_Layer(layer, level) for layer in node["layers"]]

    def __call__(self, tokens: Tokens) -> Array:
        if len(tokens) > len(self._positions):
            raise VoicewrightError(
                f"The text has {len(tokens)} tokens with its pads, but this model reads at most "
                f"{len(self._positions)}; split it into sentences."
            )
        embedded = self._words[tokens] + self._positions[: len(tokens)]
        x = self._mapping.of(layer_norm(embedded, self._norm, _BERT_EPS))
        for _ in range(self._depth):
            for layer in self._layers:
                x = layer(x)
        return x


class _Layer:
    def __init__(self, node: Node, level: int) -> None:
        self._heads = int(node["heads"])
        self._joint, self._dense = Conv(node["joint"], level), Conv(node["dense"], level)
        self._inner, self._outer = Conv(node["inner"], level), Conv(node["outer"], level)
        self._norms = node["norms"]

    def __call__(self, x: Array) -> Array:
        q, k, v = self._joint.of(x).reshape(len(x), 3, self._heads, -1).transpose(1, 2, 0, 3)
        scores = np.matmul(q, k.transpose(0, 2, 1))
        scores *= np.float32(q.shape[2] ** -0.5)
        scores -= scores.max(2, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(2, keepdims=True)
        mixed = np.matmul(scores, v).transpose(1, 0, 2).reshape(len(x), -1)
        x = layer_norm(self._dense.of(np.ascontiguousarray(mixed), x), self._norms[0], _BERT_EPS)
        inner = self._inner.of(x)
        cube = inner * inner
        cube *= np.float32(0.044715)
        cube += 1
        cube *= inner
        cube *= _GELU
        np.tanh(cube, out=cube)
        cube += 1
        cube *= inner
        cube *= np.float32(0.5)
        return layer_norm(self._outer.of(cube, x), self._norms[1], _BERT_EPS)


class DurationEncoder:
    """x [T, width], style [S] → [T, width + S]."""

    def __init__(self, node: Node, level: int) -> None:
        self._steps = [(Lstm(step["lstm"], level), step["fc"]) for step in node["steps"]]

    def __call__(self, x: Array, style: Array) -> Array:
        beside = np.broadcast_to(style, (len(x), len(style)))
        for lstm, (weight, bias) in self._steps:
            x = lstm(np.concatenate([x, beside], axis=1))
            gamma, beta = np.split(weight @ style + bias, 2)
            x = layer_norm(x, (1 + gamma, beta), _NORM_EPS)
        return np.concatenate([x, beside], axis=1)


class TextEncoder:
    """Tokens int64 [T] → [T, channels]."""

    def __init__(self, node: Node, level: int) -> None:
        self._embedding = node["embedding"]
        self._steps = [
            (Conv(step["conv"], level), step["norm"], float(step["slope"])) for step in node["steps"]
        ]
        self._lstm = Lstm(node["lstm"], level)

    def __call__(self, tokens: Tokens) -> Array:
        x = np.ascontiguousarray(self._embedding[tokens])
        for conv, norm, slope in self._steps:
            x = leaky(layer_norm(conv.of(x), norm, _NORM_EPS), slope)
        return self._lstm(x)
