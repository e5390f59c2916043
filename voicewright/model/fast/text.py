"""Everything that reads tokens, as rows of channels [T, C] of one item: PL-BERT, the encoders, their LSTMs.

The same numbers as `model/tts`. A clause has few rows, which keep the kernels busier than a general matrix
product, and the two directions of an LSTM run side by side.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from voicewright.model.fast.convolution import Backend, Conv
from voicewright.model.fast.filters import halved
from voicewright.model.fast.generator import Spent, keep, plain_bias, plain_weight
from voicewright.model.fast.library import checked, library, pointer
from voicewright.model.layers import AdaLayerNorm, ChannelNorm
from voicewright.model.tts.bert import Albert, Layer
from voicewright.model.tts.prosody import DurationEncoder
from voicewright.model.tts.text import TextEncoder


class FastAlbert:
    """`Albert`: tokens int64 [B, T] with `lengths` [B] → rows [T of each item, width] of each item."""

    def __init__(self, bert: Albert, backend: Backend, spent: Spent = keep) -> None:
        self._embeddings = bert.embeddings.float()
        self._depth = bert.encoder.depth
        self._mapping = _linear([bert.encoder.embedding_hidden_mapping_in], backend)
        self._layers: list[FastLayer] = []
        for module in bert.encoder.albert_layer_groups.modules():
            if isinstance(module, Layer):
                self._layers.append(FastLayer(module, backend))
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


class FastLstm:
    """A one-layer `nn.LSTM` of both directions: [T, inputs] → [T, 2 · hidden]."""

    def __init__(self, lstm: nn.LSTM, backend: Backend, spent: Spent = keep) -> None:
        found, hidden = library(), lstm.hidden_size
        self._hidden, self._level = hidden, backend.level
        self._plain: nn.LSTM | None = None
        if found is None or backend.level is None or hidden % (2 * found.vw_vector(backend.level)):
            self._plain = lstm.float()
            return
        ways = ("", "_reverse")

        def both(name: str) -> Tensor:
            return torch.cat([getattr(lstm, f"{name}_l0{way}").detach().float() for way in ways])

        bias = both("bias_ih") + both("bias_hh")
        self._given = backend.conv(both("weight_ih")[:, :, None], bias, minimal=False)
        wide = 8 * found.vw_vector(backend.level)
        recurrent = both("weight_hh").float().unflatten(0, (2, -1, wide))
        self._weight = recurrent.transpose(2, 3).contiguous()  # [2, panels, hidden, wide]
        self._factor: float | None = None
        if backend.stored == "half":
            self._weight, self._factor = halved(self._weight)
        spent(lstm)

    def __call__(self, x: Tensor) -> Tensor:
        if self._plain is not None:
            out: Tensor = self._plain(x[None])[0][0]
            return out
        found = library()
        assert found is not None
        gates, result = _apply(self._given, x), torch.empty(len(x), 2 * self._hidden)
        checked(
            found.vw_lstm(
                pointer(gates),
                pointer(self._weight) if self._factor is None else None,
                None if self._factor is None else pointer(self._weight),
                self._factor or 1.0,
                pointer(result),
                len(x),
                self._hidden,
                torch.get_num_threads(),
                self._level,
            )
        )
        return result


class FastDurationEncoder:
    """`DurationEncoder`: x [T, width], style [S] → [T, width + S]."""

    def __init__(self, encoder: DurationEncoder, backend: Backend, spent: Spent = keep) -> None:
        self._steps: list[tuple[FastLstm, AdaLayerNorm]] = []
        for lstm, norm in zip(encoder.lstms[::2], encoder.lstms[1::2], strict=True):
            assert isinstance(lstm, nn.LSTM) and isinstance(norm, AdaLayerNorm)
            self._steps.append((FastLstm(lstm, backend, spent), norm.float()))

    def __call__(self, x: Tensor, style: Tensor) -> Tensor:
        beside = style.expand(len(x), -1)
        for lstm, norm in self._steps:
            x = norm(lstm(torch.cat([x, beside], dim=1))[None], style[None])[0]
        return torch.cat([x, beside], dim=1)


class FastTextEncoder:
    """`TextEncoder`: tokens int64 [T] → [T, channels]."""

    def __init__(self, encoder: TextEncoder, backend: Backend, spent: Spent = keep) -> None:
        self._embedding = encoder.embedding.float()
        self._steps: list[tuple[Conv, ChannelNorm, float]] = []
        for block in encoder.cnn:
            assert isinstance(block, nn.Sequential)
            conv, norm, leaky = block[0], block[1], block[2]
            assert isinstance(norm, ChannelNorm) and isinstance(leaky, nn.LeakyReLU)
            plain = backend.conv(plain_weight(conv), plain_bias(conv), minimal=False)
            self._steps.append((plain, norm, leaky.negative_slope))
            spent(conv)
        self._lstm = FastLstm(encoder.lstm, backend, spent)

    def __call__(self, tokens: Tensor) -> Tensor:
        x: Tensor = self._embedding(tokens)
        for conv, norm, slope in self._steps:
            x = F.layer_norm(_apply(conv, x), (conv.cout,), norm.gamma, norm.beta)
            x = F.leaky_relu(x, slope)
        return self._lstm(x)


def _linear(modules: list[nn.Module], backend: Backend) -> Conv:
    """Linear layers of one input, their outputs side by side."""
    weights: list[Tensor] = []
    biases: list[Tensor] = []
    for module in modules:
        assert isinstance(module, nn.Linear)
        weights.append(module.weight)
        biases.append(module.bias)
    return backend.conv(torch.cat(weights)[:, :, None], torch.cat(biases), minimal=False)


def _apply(conv: Conv, x: Tensor, more: Tensor | None = None) -> Tensor:
    out = torch.empty(len(x), conv.cout)
    conv(x, out, add=() if more is None else (more,))
    return out
