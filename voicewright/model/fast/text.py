"""PL-BERT as rows of channels: its linear layers through the kernels, which few rows keep busier than a
general matrix product does; the same numbers as `model/tts/bert.py`."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from voicewright.model.fast.convolution import Backend, Conv
from voicewright.model.fast.generator import Spent, keep
from voicewright.model.tts.bert import Albert, Layer


class FastAlbert:
    """`Albert`: tokens int64 [B, T] with `lengths` [B] → rows [T of each item, width] of each item."""

    def __init__(self, bert: Albert, backend: Backend, spent: Spent = keep) -> None:
        self._embeddings = bert.embeddings
        self._depth = bert.encoder.depth
        self._mapping = _linear([bert.encoder.embedding_hidden_mapping_in], backend)
        self._layers: list[FastLayer] = []
        for group in bert.encoder.albert_layer_groups:
            for layer in group.albert_layers:
                assert isinstance(layer, Layer)
                self._layers.append(FastLayer(layer, backend))
        for module in bert.modules():
            if isinstance(module, nn.Linear):
                spent(module)

    def __call__(self, tokens: Tensor, lengths: Tensor) -> list[Tensor]:
        counts = lengths.tolist()
        embedded = self._embeddings(tokens)
        x = _apply(
            self._mapping, torch.cat([row[:count] for row, count in zip(embedded, counts, strict=True)])
        )
        for _ in range(self._depth):
            for layer in self._layers:
                x = layer(x, counts)
        return list(x.split(counts))


class FastLayer:
    """`Layer` over the rows of several items at once, each of which attends to itself alone."""

    def __init__(self, layer: Layer, backend: Backend) -> None:
        attention = layer.attention
        self._heads = attention.heads
        self._joint = _linear([attention.query, attention.key, attention.value], backend)
        self._dense = _linear([attention.dense], backend)
        self._inner, self._outer = _linear([layer.ffn], backend), _linear([layer.ffn_output], backend)
        self._norms = attention.LayerNorm, layer.full_layer_layer_norm

    def __call__(self, x: Tensor, counts: list[int]) -> Tensor:
        parts = []
        for rows in _apply(self._joint, x).split(counts):
            q, k, v = rows.unflatten(1, (3, self._heads, -1)).permute(1, 2, 0, 3)[:, None]
            parts.append(F.scaled_dot_product_attention(q, k, v)[0].transpose(0, 1).flatten(1))
        x = self._norms[0](_apply(self._dense, torch.cat(parts), x))
        inner = F.gelu(_apply(self._inner, x), approximate="tanh")
        out: Tensor = self._norms[1](_apply(self._outer, inner, x))
        return out


def _linear(modules: list[nn.Module], backend: Backend) -> Conv:
    """Linear layers of one input, their outputs side by side."""
    weights, biases = [], []
    for module in modules:
        assert isinstance(module, nn.Linear)
        weights.append(module.weight)
        biases.append(module.bias)
    return backend.conv(torch.cat(weights)[:, :, None], torch.cat(biases), minimal=False)


def _apply(conv: Conv, x: Tensor, more: Tensor | None = None) -> Tensor:
    out = torch.empty(len(x), conv.cout)
    conv(x, out, add=() if more is None else (more,))
    return out
