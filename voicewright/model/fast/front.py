"""AdaIN residual blocks at 40 and 80 Hz, restructured: the decoder's front and the predictor's curves.

Rows of channels [L, C], as in `generator.py`; plain sums only, as these layers are wide and short: minimal
filters would double their weights' memory for a few milliseconds.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from voicewright.model.fast.convolution import Backend, Before, activate
from voicewright.model.fast.generator import Affine, Spent, keep, plain_bias, plain_weight
from voicewright.model.fast.library import LEAKY
from voicewright.model.fast.statistics import Statistics
from voicewright.model.layers import HALF, AdaINConvBlock
from voicewright.model.tts.decoder import Decoder

SLOPE = 0.2


class FastBlock:
    """`AdaINConvBlock`: x [L, inputs] → [L or 2L, outputs]."""

    def __init__(self, block: AdaINConvBlock, backend: Backend, affine: Affine) -> None:
        self._backend = backend
        self._sites = affine.add(block.norm1), affine.add(block.norm2)
        self.upsample = block.upsample
        assert isinstance(block.conv1, nn.Conv1d) and isinstance(block.conv2, nn.Conv1d)
        bias = plain_bias(block.conv2)
        assert bias is not None
        self.outputs, inputs = block.conv2.out_channels, block.conv1.in_channels
        skip = (
            torch.eye(inputs)[:, :, None]
            if isinstance(block.conv1x1, nn.Identity)
            else plain_weight(block.conv1x1)
        )
        # the block's factor is folded into both branches' last weights
        self._conv1 = backend.conv(plain_weight(block.conv1), block.conv1.bias, minimal=False)
        self._conv2 = backend.conv(plain_weight(block.conv2) * HALF, bias * HALF, minimal=False)
        self._skip = backend.conv(skip * HALF, None, minimal=False)
        self._pool: tuple[Tensor, Tensor] | None = None
        if block.upsample:
            assert isinstance(block.pool, nn.ConvTranspose1d) and block.pool.bias is not None
            # .clone(): the module's memory is let go
            self._pool = plain_weight(block.pool)[:, 0].T.clone(), block.pool.bias.detach().clone()

    def __call__(
        self,
        x: Tensor,
        affine: list[Tensor],
        out: Tensor | None = None,
        policy: Statistics | None = None,
    ) -> Tensor:
        """out: where to write, [.., outputs] with any row stride. policy: whose statistics, by negative
        sites, as the generator has the others; None: its own."""
        rows, policy = len(x), policy or Statistics()

        def norm(which: int, found: Tensor | None) -> Before:
            site = self._sites[which]
            (stats,) = policy.at(-1 - site, [found])
            return Before(stats, affine[site], LEAKY, slope=SLOPE)

        first = norm(0, self._backend.add(x, None, None, (0, rows)) if policy.computes else None)
        skip = torch.empty(rows, self.outputs)
        self._skip(x, skip)
        y = x
        if self._pool is not None:
            y, first = self._doubled(activate(x, first)), Before()
            skip = skip.repeat_interleave(2, dim=0)
        middle = torch.empty(len(y), self.outputs)
        second = norm(1, self._conv1(y, middle, first, counted=(0, len(y)) if policy.computes else None))
        if out is None:
            self._conv2(middle, skip, second, add=(skip,))
            return skip
        out.copy_(skip)
        self._conv2(middle, out, second, add=(out,))
        return out

    def _doubled(self, x: Tensor) -> Tensor:
        """The depthwise transposed convolution of stride 2: [L, C] → [2L, C]."""
        assert self._pool is not None
        weight, bias = self._pool
        following = F.pad(x[1:], (0, 0, 0, 1))
        even = torch.addcmul(bias, x, weight[1])
        odd = torch.addcmul(torch.addcmul(bias, x, weight[2]), following, weight[0])
        return torch.stack([even, odd], dim=1).flatten(0, 1)


class FastCurves:
    """The predictor's F0 and energy stacks after their shared LSTM: [L, C] → [2L] each."""

    def __init__(self, blocks: nn.ModuleList, head: nn.Module, backend: Backend) -> None:
        assert isinstance(head, nn.Conv1d) and head.bias is not None
        self._affine = Affine(backend)
        self._blocks: list[FastBlock] = []
        for block in blocks:
            assert isinstance(block, AdaINConvBlock)
            self._blocks.append(FastBlock(block, backend, self._affine))
        self._affine.join()
        self._head = head.weight.detach().float()[0, :, 0].clone(), head.bias.detach().clone()

    def __call__(self, x: Tensor, style: Tensor) -> Tensor:
        affine = self._affine(style)
        for block in self._blocks:
            x = block(x, affine)
        return torch.mv(x, self._head[0]) + self._head[1]


class FastFront:
    """`Decoder.front` for one utterance: asr [F, H], f0 and energy [2F], style [S] → features [2F, C]."""

    REACH = 10
    """Frames on either side that reach a frame's features, statistics apart: five blocks of two taps,
    and the doubling."""

    def __init__(self, decoder: Decoder, backend: Backend, spent: Spent = keep) -> None:
        self._backend = backend
        self._affine = Affine(backend)
        self._encode = FastBlock(decoder.encode, backend, self._affine)
        spent(decoder.encode)
        self._decode: list[FastBlock] = []
        for block in decoder.decode:
            assert isinstance(block, AdaINConvBlock)
            self._decode.append(FastBlock(block, backend, self._affine))
            spent(block)
        residual = decoder.asr_res[0]
        assert isinstance(residual, nn.Conv1d)
        self._residual = backend.conv(plain_weight(residual), residual.bias, minimal=False)
        self._affine.join()
        self._curves = [
            (plain_weight(conv).clone(), conv.bias.detach().clone())
            for conv in (decoder.F0_conv, decoder.N_conv)
        ]

    def __call__(
        self, asr: Tensor, f0: Tensor, energy: Tensor, style: Tensor, policy: Statistics | None = None
    ) -> Tensor:
        """policy: as for `FastBlock`; asr may then be the first frames of more."""
        affine = self._affine(style)
        frames, hidden = asr.shape
        curves = [
            F.conv1d(curve[None, None], weight, bias, stride=2, padding=1)[0, 0, :frames]
            for curve, (weight, bias) in zip((f0, energy), self._curves, strict=True)
        ]
        joined = torch.empty(frames, hidden + 2)
        joined[:, :hidden] = asr
        joined[:, hidden], joined[:, hidden + 1] = curves
        width, beside = self._encode.outputs, self._residual.cout
        # two buffers in turn; what every block is given beside its input stands in both already
        pair = [torch.empty(frames, width + beside + 2) for _ in range(2)]
        rest = torch.empty(frames, beside)
        self._residual(joined, rest)
        for buffer in pair:
            buffer[:, width : width + beside] = rest
            buffer[:, -2], buffer[:, -1] = curves
        self._encode(joined, affine, pair[0][:, :width], policy)
        for i, block in enumerate(self._decode[:-1]):
            block(pair[i % 2], affine, pair[1 - i % 2][:, :width], policy)
        return self._decode[-1](pair[(len(self._decode) - 1) % 2], affine, policy=policy)
