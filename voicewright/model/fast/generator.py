"""The iSTFTNet generator, restructured for inference: the same numbers as `model/tts/generator.py`, sooner.

Everything is rows of channels [L, C]; weight norm is folded; a transposed convolution is one plain
convolution whose output rows hold a whole stride of samples; AdaIN, Snake, convolution, residual and the
statistics of the next AdaIN are one pass. Work is a list of segments: whole utterances with their own
statistics, or pieces of one utterance that share them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from voicewright.model.fast.convolution import Backend, Before, Conv
from voicewright.model.fast.library import LEAKY, SNAKE
from voicewright.model.fast.statistics import Statistics
from voicewright.model.layers import AdaIN1d, AdaINSnakeBlock
from voicewright.model.tts.generator import LOG_CEILING, Generator, lead, polar
from voicewright.model.tts.source import Rng, Source

_ROWS = 16384
"""Rows of the source's spectrum that are made at a time."""
Spent = Callable[[nn.Module], object]
"""Told of a module whose weights have been taken, so that they need not be held twice."""


def keep(module: nn.Module) -> None:
    """Leaves it as it is."""


def plain_weight(module: nn.Module) -> Tensor:
    """A convolution's weight with its norm folded in, in fp32 (a copy where it was not)."""
    if parametrize.is_parametrized(module, "weight"):
        given = dict(module.named_parameters())
        base = "parametrizations.weight.original"
        gain, direction = (given[f"{base}{number}"].detach().float() for number in (0, 1))
        return torch._weight_norm(direction, gain, 0)
    weight = module.weight
    assert isinstance(weight, Tensor)
    return weight.detach().float()


def plain_bias(module: nn.Module) -> Tensor | None:
    bias = module.bias
    assert bias is None or isinstance(bias, Tensor)
    return None if bias is None else bias.detach()


class Affine:
    """All AdaIN's linear maps as one: style [S] → gain and shift [2, C] of every norm, in order of `add`."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._conv: Conv | None = None
        self._weights: list[Tensor] = []
        self._biases: list[Tensor] = []
        self._widths: list[int] = []

    def add(self, norm: AdaIN1d) -> int:
        """The number under which this norm's gain and shift will be found."""
        self._weights.append(norm.fc.weight.detach())
        bias = norm.fc.bias.detach().float().clone()
        width = len(bias) // 2
        bias[:width] += 1
        self._biases.append(bias)
        self._widths.append(width)
        return len(self._widths) - 1

    def __len__(self) -> int:
        return len(self._widths)

    def join(self) -> None:
        """One matrix of all, a copy; the norms may go after it."""
        if self._conv is None:
            whole = torch.cat(self._weights)[:, :, None]
            self._conv = self._backend.conv(whole, torch.cat(self._biases), minimal=False)
            self._weights, self._biases = [], []

    def __call__(self, style: Tensor) -> list[Tensor]:
        assert self._conv is not None
        flat = torch.empty(1, self._conv.cout)
        self._conv(style.float()[None].contiguous(), flat)
        parts = flat[0].split([2 * width for width in self._widths])
        return [part.view(2, -1) for part in parts]


@dataclass
class Segment:
    """A stretch of an utterance: features [L, C] at 80 Hz, the source's spectrum [scale · L + 1, n_fft + 2],
    gain and shift of every norm, and the feature rows that count for statistics (None: all).

    head: whether the stretch begins where the utterance does. heard: whether more is wanted of it than
    statistics.
    """

    features: Tensor
    harmonics: Tensor
    affine: list[Tensor]
    counted: tuple[int, int] | None = None
    head: bool = True
    heard: bool = True


class Buffers:
    """Memory of a segment, reused from layer to layer."""

    def __init__(self) -> None:
        self._held: dict[str, Tensor] = {}

    def get(self, name: str, rows: int, width: int) -> Tensor:
        held = self._held.get(name)
        if held is None or held.numel() < rows * width:
            held = self._held[name] = torch.empty(rows * width)
        return held[: rows * width].view(rows, width)


class SnakeBlock:
    """`AdaINSnakeBlock`: per dilation AdaIN, Snake, conv, AdaIN, Snake, conv, and the residual."""

    def __init__(self, block: AdaINSnakeBlock, backend: Backend, affine: Affine) -> None:
        self._layers: list[tuple[Conv, int, Tensor, Conv, int, Tensor]] = []
        convolutions = zip(block.convs1, block.convs2, strict=True)
        norms = zip(block.adain1, block.adain2, strict=True)
        alphas = zip(block.alpha1, block.alpha2, strict=True)
        for pair, adain, alpha in zip(convolutions, norms, alphas, strict=True):
            assert isinstance(pair[0], nn.Conv1d)
            layer: list[Any] = []
            for conv, norm, snake, dilation in zip(pair, adain, alpha, (pair[0].dilation[0], 1), strict=True):
                assert isinstance(norm, AdaIN1d)
                layer += [
                    backend.conv(plain_weight(conv), plain_bias(conv), dilation),
                    affine.add(norm),
                    snake.detach().float().flatten().clone(),
                ]
            self._layers.append(tuple(layer))

    def __call__(
        self,
        xs: list[Tensor],
        stats: list[Tensor | None],
        affine: list[list[Tensor]],
        counted: list[tuple[int, int]],
        policy: Statistics,
        buffers: list[Buffers],
        totals: list[Tensor],
        first: bool,
        heard: list[bool] | None = None,
    ) -> None:
        """xs [L, C] with their statistics → totals: written when `first`, else added to. xs stay as they
        are. heard: of which segments totals are wanted; the others' are room for what is between."""
        heard = heard or [True] * len(xs)
        running, found = xs, stats
        for i, (conv1, site1, alpha1, conv2, site2, alpha2) in enumerate(self._layers):
            last = i + 1 == len(self._layers)
            norms = policy.at(site1, found)
            middle: list[Tensor] = []
            halfway: list[Tensor | None] = []
            for n, x in enumerate(running):
                y = buffers[n].get("y", *x.shape)
                before = Before(norms[n], affine[n][site1], SNAKE, alpha=alpha1)
                halfway.append(conv1(x, y, before, counted=counted[n] if policy.computes else None))
                middle.append(y)
            norms = policy.at(site2, halfway)
            after: list[Tensor] = []
            found = []
            for n, x in enumerate(running):
                if last and not heard[n]:
                    after.append(x)
                    continue
                out = totals[n] if last or first or not heard[n] else buffers[n].get("r", *x.shape)
                before = Before(norms[n], affine[n][site2], SNAKE, alpha=alpha2)
                more = (x, out) if last and not first else (x,)
                wanted = counted[n] if policy.computes and not last else None
                found.append(conv2(middle[n], out, before, add=more, counted=wanted))
                after.append(out)
            running = after


class Upsample:
    """A transposed convolution as a plain one: rows q of its output hold samples rate·q .. rate·q + rate - 1,
    shifted by the padding, each a sum over ceil(kernel / rate) inputs."""

    def __init__(self, module: nn.ConvTranspose1d, scale: float, backend: Backend) -> None:
        weight = plain_weight(module)  # [cin, cout, kernel]
        self.rate, self._padding = module.stride[0], int(module.padding[0])
        cin, self.cout, kernel = weight.shape
        self._taps = -(-kernel // self.rate)
        if spare := self._taps * self.rate - kernel:
            weight = F.pad(weight, (0, spare))
        # out[rate·q + s] = sum over a of x[q - a] w[a·rate + s]; as a correlation the taps run backwards
        pieces = weight.view(cin, self.cout, self._taps, self.rate).permute(3, 1, 0, 2)
        flat = torch.empty(self.rate, self.cout, cin, self._taps)
        for tap in range(self._taps):  # flipped and scaled without copies of the whole
            torch.mul(pieces[..., self._taps - 1 - tap], scale, out=flat[..., tap])
        del weight, pieces
        assert module.bias is not None
        bias = module.bias.detach().float().repeat(self.rate)
        self._conv = backend.conv(flat.flatten(0, 1), bias, center=self._taps - 1, minimal=False)

    def rows(self, length: int) -> int:
        """Rows of the buffer that `__call__` wants for `length` input rows."""
        return (length + self._taps - 1) * self.rate

    def __call__(self, x: Tensor, buffer: Tensor, slope: float) -> Tensor:
        """leaky(x) upsampled: x [L, cin] → a view [rate·L, cout] into buffer [rows(L), cout]."""
        wide = buffer.view(-1, self.rate * self.cout)
        self._conv(x, wide, Before(activation=LEAKY, slope=slope))
        return buffer[self._padding : self._padding + self.rate * len(x)]


class FastGenerator:
    """`Generator` for inference. Give it a generator with or without folded weight norm; it keeps
    its own copies."""

    def __init__(self, generator: Generator, backend: Backend, spent: Spent = keep) -> None:
        self._backend = backend
        self.affine = Affine(backend)
        self._kernels = generator.kernels
        self.bins, self.stft = generator.bins, generator.stft
        self._phase_scale, self._cartesian = generator.phase_scale, generator.cartesian
        gain = generator.lead_gain
        self._lead_gain = None if gain is None else gain.detach().clone()[None]
        self._voiced = generator.voiced
        self.source: Source = generator.m_source
        self.context = context_rows(generator)
        self._ups: list[Upsample] = []
        self._noise: list[tuple[Conv, int, int]] = []
        self._noise_blocks: list[SnakeBlock] = []
        self._blocks: list[list[SnakeBlock]] = []
        for i, up in enumerate(generator.ups):
            assert isinstance(up, nn.ConvTranspose1d)
            # the mean over blocks is folded into whoever reads their sum: leaky(x / k) is leaky(x) / k
            scale = 1.0 if i == 0 else 1.0 / self._kernels
            self._ups.append(Upsample(up, scale, backend))
            self._noise.append(self._noise_conv(generator.noise_convs[i]))
            self._noise_blocks.append(SnakeBlock(_snake(generator.noise_res[i]), backend, self.affine))
            own = generator.resblocks[i * self._kernels : (i + 1) * self._kernels]
            self._blocks.append([])
            for block in own:
                self._blocks[i].append(SnakeBlock(_snake(block), backend, self.affine))
                spent(block)
            for module in (up, generator.noise_convs[i], generator.noise_res[i]):
                spent(module)
        post, bias = plain_weight(generator.conv_post), plain_bias(generator.conv_post)
        if generator.gain_post is not None:
            more = plain_bias(generator.gain_post)
            assert bias is not None and more is not None
            post, bias = torch.cat([post, plain_weight(generator.gain_post)]), torch.cat([bias, more])
        self._gains = generator.gain_post is not None
        self._post = backend.conv(post / self._kernels, bias, minimal=False)
        self.affine.join()
        self.scale = math.prod(up.rate for up in self._ups)
        """Rows of the spectrum in a row of features."""
        self.post_reach = post.shape[2] // 2
        self.overlap = -(-self.stft.n_fft // (2 * self.stft.hop))
        """Rows of the spectrum on either side that overlap a sample."""

    def _noise_conv(self, module: nn.Module) -> tuple[Conv, int, int]:
        """A strided convolution over rows of several steps each: (conv, stride, padding)."""
        assert isinstance(module, nn.Conv1d)
        weight = plain_weight(module).float()
        stride, padding = module.stride[0], int(module.padding[0])
        taps = weight.shape[2] // stride
        # row q holds steps stride·q .. stride·q + stride - 1, channels fastest
        folded = weight.unflatten(2, (taps, stride)).permute(0, 3, 1, 2).flatten(1, 2)
        return self._backend.conv(folded, module.bias, center=0, minimal=False), stride, padding

    def harmonics(self, f0: Tensor, rng: Rng = None) -> Tensor:
        """The source's spectrum as rows: f0 [2F] in Hz → [600F/hop + 1, n_fft + 2], and one more
        column, as `Generator.harmonics` has it, where the phase is led."""
        source = torch.cat(list(self.source.pieces(f0[None], rng)), dim=1)
        real, imaginary = (part[0] for part in self.stft(source))
        led = self._lead_gain is not None
        rows = torch.empty(real.shape[1], 2 * self.bins + led)
        for first in range(0, len(rows), _ROWS):  # a piece at a time: polar form takes ten times its memory
            own = slice(first, first + _ROWS)
            parts = real[:, own], imaginary[:, own]
            for i, part in enumerate(parts if self._cartesian else polar(*parts)):
                rows[own, i * self.bins : (i + 1) * self.bins] = part.T
        if led:
            rows[:, -1] = self._voiced(f0[None])[0, 0]
        return rows

    def body(self, segments: list[Segment], policy: Statistics) -> list[Tensor]:
        """Everything before the spectrum: → sums of the last blocks, [product of rates · L + 1, C] each (of
        segments that are not heard, nothing of use).

        The mean over blocks is left to `spectrum`, which has it in its weights.
        """
        buffers = [Buffers() for _ in segments]
        affine = [segment.affine for segment in segments]
        xs = [segment.features for segment in segments]
        scale = 1
        for i, up in enumerate(self._ups):
            last = i + 1 == len(self._ups)
            scale *= up.rate
            counted = [self._counted(segment, scale, last) for segment in segments]
            lengths = [len(x) * up.rate + last for x in xs]
            sources = self._excite(i, segments, lengths, affine, counted, policy, buffers)
            ys: list[Tensor] = []
            stats: list[Tensor | None] = []
            for n, x in enumerate(xs):
                pad = 1 if last else 0
                buffer = buffers[n].get("a", up.rows(len(x)) + pad, up.cout)
                y = up(x, buffer[pad:], 0.1)
                if last:
                    # one row more in front, the mirror of the second
                    start = buffer[pad:].storage_offset()
                    offset = (y.storage_offset() - start) // up.cout
                    y = buffer[offset : offset + len(y) + 1]
                    y[0] = y[2]
                total = self._backend.add(y, sources[n], y, counted[n])
                stats.append(total if policy.computes else None)
                ys.append(y)
            # the source has been added, so its memory is free; the next stage reads this one's while it
            # writes its own
            totals = [buffers[n].get(f"b{i}", *y.shape) for n, y in enumerate(ys)]
            for j, block in enumerate(self._blocks[i]):
                heard = [segment.heard or not last for segment in segments]
                block(ys, stats, affine, counted, policy, buffers, totals, j == 0, heard)
            xs = totals
        return xs

    def _counted(self, segment: Segment, scale: int, last: bool) -> tuple[int, int]:
        """Rows of a stage that count: its own range at that stage's rate; the extra first row
        with the head."""
        first, end = segment.counted or (0, len(segment.features))
        extra = int(last)
        low = first * scale + (0 if segment.head and first == 0 else extra)
        return low, end * scale + extra

    def _excite(
        self,
        stage: int,
        segments: list[Segment],
        lengths: list[int],
        affine: list[list[Tensor]],
        counted: list[tuple[int, int]],
        policy: Statistics,
        buffers: list[Buffers],
    ) -> list[Tensor]:
        """What the source adds at a stage: [length, C] for each segment."""
        conv, stride, padding = self._noise[stage]
        xs: list[Tensor] = []
        stats: list[Tensor | None] = []
        for n, segment in enumerate(segments):
            given = segment.harmonics[:, : 2 * self.bins]
            if stride > 1 or padding:
                need = (lengths[n] + 1) * stride
                given = F.pad(given, (0, 0, padding, max(0, need - padding - len(given))))[:need]
                given = given.reshape(-1, stride * given.shape[1])
            x = buffers[n].get("a", lengths[n], conv.cout)
            stats.append(conv(given, x, counted=counted[n] if policy.computes else None))
            xs.append(x)
        totals = [buffers[n].get(f"b{stage}", *x.shape) for n, x in enumerate(xs)]
        self._noise_blocks[stage](xs, stats, affine, counted, policy, buffers, totals, first=True)
        return totals

    def spectrum(self, x: Tensor, harmonics: Tensor) -> Tensor:
        """Sums of the last blocks [M, C] and the source's rows → real and imaginary parts [M, n_fft + 2]."""
        post = torch.empty(len(x), self._post.cout)
        self._post(x, post, Before(activation=LEAKY, slope=0.01))
        bins = self.bins
        magnitude = torch.exp(post[:, :bins].clamp(max=LOG_CEILING))
        phase = torch.sin(post[:, bins : 2 * bins]) * self._phase_scale
        real, imaginary = magnitude * torch.cos(phase), magnitude * torch.sin(phase)
        if self._lead_gain is not None:
            voiced = harmonics[:, 2 * bins :]
            real, imaginary = lead((real, imaginary), magnitude, harmonics, voiced, self._lead_gain)
        parts = torch.cat([real, imaginary], dim=1)
        if self._gains:
            parts = torch.addcmul(parts, post[:, 2 * bins :].repeat(1, 2), harmonics[:, : 2 * bins])
        return parts

    def __call__(
        self, features: Tensor, style: Tensor, harmonics: Tensor, policy: Statistics | None = None
    ) -> Tensor:
        """One utterance: features [2F, C], acoustic style [128], harmonics as above → audio [600F], fp32."""
        segment = Segment(features, harmonics, self.affine(style))
        return self.wave(self.body([segment], policy or Statistics())[0], harmonics)

    def wave(self, total: Tensor, harmonics: Tensor) -> Tensor:
        """Sums of the last blocks [M, C] and the source's rows → samples [(M - 1) · hop]."""
        parts = self.spectrum(total, harmonics)
        return self.stft.inverse(*(part.T[None] for part in parts.chunk(2, dim=1)))[0]


def _snake(module: nn.Module) -> AdaINSnakeBlock:
    assert isinstance(module, AdaINSnakeBlock)
    return module


def context_rows(generator: Generator) -> int:
    """Rows at 80 Hz on either side that reach an output, statistics apart."""
    rates = [int(up.stride[0]) for up in generator.ups if isinstance(up, nn.ConvTranspose1d)]
    here = math.prod(rates)
    reach = plain_weight(generator.conv_post).shape[2] // 2 + generator.stft.n_fft / 2 / generator.stft.hop
    rows = reach / here
    for i in range(len(rates) - 1, -1, -1):
        own = generator.resblocks[i * generator.kernels : (i + 1) * generator.kernels]
        widest = max(_reach(_snake(block)) for block in [*own, generator.noise_res[i]])
        # one more for the source's strided convolution, one for the transposed one, at its input's rate
        rows += (widest + 1) / here
        here //= rates[i]
        rows += 1.0 / here
    return math.ceil(rows)


def _reach(block: AdaINSnakeBlock) -> int:
    """Steps to either side that a block's output depends on."""
    steps = 0
    for conv in [*block.convs1, *block.convs2]:
        assert isinstance(conv, nn.Conv1d)
        steps += int(conv.dilation[0]) * (conv.kernel_size[0] - 1) // 2
    return steps
