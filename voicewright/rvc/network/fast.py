"""RVC's synthesizer for inference on a CPU: the same numbers as `synthesizer.py`, sooner.

The decoder, nine tenths of the work, goes through the compiled steps of `model/fast`: rows of channels,
activation, convolution and residual as one pass, minimal filters, transposed convolutions as plain ones. Its
convolutions reach 60 steps to either side at every stage, which is little once the rate is high, and nothing
in it depends on the whole utterance; so the later stages run in windows that stay in the processor's cache.
Encoder and flow keep torch, with their weight norm folded.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from voicewright.model.fast.choice import choose
from voicewright.model.fast.convolution import Backend, Before, Conv
from voicewright.model.fast.library import LEAKY
from voicewright.rvc.network.config import SynthesizerConfig
from voicewright.rvc.network.decoder import LAST_SLOPE, Decoder, ResidualBlock, stretched
from voicewright.rvc.network.layers import SLOPE, NormedConv, NormedTransposed
from voicewright.rvc.network.synthesizer import Synthesizer, latent, returned

WINDOW = 1 << 20
"""Bytes that one buffer of a window should have, about; a window uses four of them."""
WIDE = 4000
"""Rows a second from which on stages run in windows."""
_ACTIVATED = Before(activation=LEAKY, slope=SLOPE)


def folded(module: nn.Module) -> nn.Module:
    """A copy of `module` for inference, in which every weight-normed convolution is a plain one."""
    module = copy.deepcopy(module)
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if not isinstance(child, NormedConv):
                continue
            outputs, inputs, kernel = child.weight_v.shape
            plain = nn.Conv1d(
                inputs, outputs, kernel, padding=child.padding, dilation=child.dilation, device="meta"
            )
            state = {"weight": child.weight.detach(), "bias": child.bias.detach()}
            plain.load_state_dict(state, assign=True)
            setattr(parent, name, plain)
    return module.eval().requires_grad_(False)


class _Buffers:
    """Memory of the decoder's layers, reused from window to window."""

    def __init__(self) -> None:
        self._held: dict[str, Tensor] = {}

    def get(self, name: str, rows: int, width: int) -> Tensor:
        held = self._held.get(name)
        if held is None or held.numel() < rows * width:
            held = self._held[name] = torch.empty(rows * width)
        return held[: rows * width].view(rows, width)


class _Upsample:
    """A transposed convolution as a plain one whose output rows hold a whole stride of samples."""

    def __init__(self, module: NormedTransposed, scale: float, backend: Backend) -> None:
        weight = module.weight.detach().float() * scale  # [cin, cout, kernel]
        self.rate, self._padding = module.stride, module.padding
        cin, self.cout, kernel = weight.shape
        self._taps = -(-kernel // self.rate)
        full = F.pad(weight, (0, self._taps * self.rate - kernel))
        # out[rate·q + s] = sum over a of x[q - a] w[a·rate + s]; as a correlation the taps run backwards
        pieces = full.view(cin, self.cout, self._taps, self.rate).flip(2)
        flat = pieces.permute(3, 1, 0, 2).reshape(self.rate * self.cout, cin, self._taps)
        bias = module.bias.detach().float().repeat(self.rate)
        self._conv = backend.conv(flat, bias, center=self._taps - 1, minimal=False)
        self.reach = self._taps

    def __call__(self, x: Tensor, buffers: _Buffers, name: str) -> Tensor:
        """leaky(x) upsampled: x [L, cin] → [rate·L, cout] in a buffer."""
        rows = (len(x) + self._taps - 1) * self.rate
        buffer = buffers.get(name, rows, self.cout)
        self._conv(x, buffer.view(-1, self.rate * self.cout), _ACTIVATED)
        return buffer[self._padding : self._padding + self.rate * len(x)]


class _Excite:
    """A stage's convolution of the excitation, strided: rows of a whole stride of samples."""

    def __init__(self, module: nn.Module, backend: Backend) -> None:
        assert isinstance(module, nn.Conv1d) and module.bias is not None
        weight = module.weight.detach().float()  # [cout, 1, kernel]
        self.stride, self._padding = module.stride[0], int(module.padding[0])
        self._taps = -(-weight.shape[2] // self.stride)
        full = F.pad(weight[:, 0], (0, self._taps * self.stride - weight.shape[2]))
        # [cout, taps, stride] → a row is `stride` channels
        flat = full.view(-1, self._taps, self.stride).transpose(1, 2)
        self._conv = backend.conv(flat, module.bias, center=0, minimal=False)

    def __call__(self, wave: Tensor, first: int, y: Tensor) -> None:
        """Adds to y [L, cout], whose first row is row `first` of the stage, what wave [N] excites there."""
        begin = first * self.stride - self._padding
        end = begin + (len(y) + self._taps - 1) * self.stride
        inside = wave[max(begin, 0) : max(end, 0)]
        before = max(-begin, 0)
        given = F.pad(inside, (before, end - begin - before - len(inside)))
        self._conv(given.view(-1, self.stride), y, add=(y,))


class _Block:
    """A residual block of either kind."""

    def __init__(self, block: nn.Module, backend: Backend) -> None:
        def made(module: nn.Module) -> Conv:
            assert isinstance(module, NormedConv)
            return backend.conv(module.weight, module.bias, module.dilation)

        self._layers: list[tuple[Conv | None, Conv]]
        if isinstance(block, ResidualBlock):
            pairs = zip(block.convs1, block.convs2, strict=True)
            self._layers = [(made(first), made(second)) for first, second in pairs]
            modules = [*block.convs1, *block.convs2]
        else:
            assert isinstance(block.convs, nn.ModuleList)
            modules = list(block.convs)
            self._layers = [(None, made(conv)) for conv in modules]
        self.reach = sum(module.padding for module in modules if isinstance(module, NormedConv))

    def __call__(self, x: Tensor, total: Tensor, buffers: _Buffers, first: bool) -> None:
        """x [L, C] → total, written when `first`, else added to. x stays as it is."""
        running = x
        for i, (early, late) in enumerate(self._layers):
            last = i + 1 == len(self._layers)
            given = running
            if early is not None:
                given = buffers.get("y", *x.shape)
                early(running, given, _ACTIVATED)
            # a block of one convolution each must not write where it still reads
            out = total if last else buffers.get("r" if early is not None or i % 2 else "y", *x.shape)
            late(given, out, _ACTIVATED, add=(running, total) if last and not first else (running,))
            running = out


class _Stage:
    """One upsampling with its excitation and residual blocks; the mean over blocks is left to the next."""

    def __init__(self, decoder: Decoder, index: int, backend: Backend) -> None:
        up, count = decoder.ups[index], decoder.kernels
        assert isinstance(up, NormedTransposed)
        # the mean over blocks is folded into whoever reads their sum: leaky(x / k) is leaky(x) / k
        self.up = _Upsample(up, 1.0 if index == 0 else 1.0 / count, backend)
        self._excite = _Excite(decoder.noise_convs[index], backend) if decoder.f0 else None
        own = decoder.resblocks[index * count : (index + 1) * count]
        self._blocks = [_Block(block, backend) for block in own]
        self.reach = max(block.reach for block in self._blocks)
        self._name = f"{index}"

    def __call__(self, x: Tensor, wave: Tensor | None, first: int, buffers: _Buffers) -> Tensor:
        """x [L, cin], the first of them row `first` of the utterance → sums of blocks [rate·L, cout]."""
        y = self.up(x, buffers, "up" + self._name)
        if self._excite is not None:
            assert wave is not None
            self._excite(wave, first * self.up.rate, y)
        total = buffers.get("total" + self._name, *y.shape)
        for j, block in enumerate(self._blocks):
            block(y, total, buffers, first=j == 0)
        return total


class FastDecoder:
    """`Decoder` for inference; it keeps copies of the weights."""

    def __init__(self, decoder: Decoder, backend: Backend) -> None:
        self._pre = backend.conv(decoder.conv_pre.weight, decoder.conv_pre.bias, minimal=False)
        self._cond = folded(decoder.cond)
        self._stages = [_Stage(decoder, i, backend) for i in range(len(decoder.ups))]
        post = decoder.conv_post.weight / decoder.kernels
        self._post = backend.conv(post, None, minimal=False)
        self._post_reach = post.shape[2] // 2
        rates = [stage.up.rate for stage in self._stages]
        self.hop = math.prod(rates)
        scales = [100 * math.prod(rates[:i]) for i in range(len(rates) + 1)]
        self._whole = next(
            (i for i, scale in enumerate(scales) if scale * rates[min(i, len(rates) - 1)] > WIDE), 0
        )
        """Stages before this one run over the whole utterance."""

    def __call__(
        self, x: Tensor, wave: Tensor | None, g: Tensor, check: Callable[[], None] | None = None
    ) -> Tensor:
        """x [T, inter] (rows are frames), the excitation [hop·T], g [1, gin, 1] → samples [hop·T].

        check: called now and then; what it raises ends the work.
        """
        buffers = _Buffers()
        pre = torch.empty(len(x), self._pre.cout)
        self._pre(x.contiguous(), pre)
        rows = pre.add_(self._cond(g)[0, :, 0])
        for stage in self._stages[: self._whole]:
            rows = stage(rows, wave, 0, buffers)
        late = self._stages[self._whole :]
        scale = math.prod(stage.up.rate for stage in late)
        context, width = self._context(late), late[-1].up.cout
        step = max(WINDOW // (4 * width * scale), 2 * context)
        samples = torch.empty(len(rows) * scale)
        for begin in range(0, len(rows), step):
            if check is not None:
                check()
            end = min(begin + step, len(rows))
            left = max(begin - context, 0)
            part, first = rows[left : end + context], left
            for stage in late:
                part = stage(part, wave, first, buffers)
                first *= stage.up.rate
            last = torch.empty(len(part), 1)
            self._post(part, last, Before(activation=LEAKY, slope=LAST_SLOPE))
            skip = (begin - left) * scale
            samples[begin * scale : end * scale] = last[skip : skip + (end - begin) * scale, 0]
        return samples.tanh_()

    def _context(self, late: list[_Stage]) -> int:
        """Rows to either side of a window, at the rate where windows begin, that reach its samples."""
        reach = float(self._post_reach)
        for stage in reversed(late):
            # one for the excitation's own padding, which is on both sides of the true edge
            reach = (reach + stage.reach + 1) / stage.up.rate + stage.up.reach
        return math.ceil(reach)


class FastSynthesizer:
    """`Synthesizer.infer`, sooner. Built from a synthesizer, of which it keeps copies."""

    def __init__(self, synthesizer: Synthesizer, backend: Backend | None = None) -> None:
        self.config: SynthesizerConfig = synthesizer.config
        backend = choose() if backend is None else backend
        with torch.no_grad():
            self._enc_p = folded(synthesizer.enc_p)
            self._flow = folded(synthesizer.flow)
            self._source = folded(synthesizer.dec.m_source) if self.config.f0 else None
            self._table = synthesizer.emb_g.weight.detach().clone()
            self._decoder = FastDecoder(synthesizer.dec, backend)

    @torch.inference_mode()
    def infer(
        self,
        phone: Tensor,
        lengths: Tensor,
        pitch: Tensor | None,
        f0: Tensor | None,
        speaker: Tensor,
        *,
        generator: torch.Generator | None = None,
        skip_head: int | None = None,
        return_length: int | None = None,
        decode_length: int | None = None,
        check: Callable[[], None] | None = None,
    ) -> Tensor:
        """Everything as `Synthesizer.infer`. check: called many times; what it raises ends the work."""
        g = self._table[speaker][:, :, None]
        z = latent(self._enc_p, self._flow, phone, lengths, pitch, g, generator, skip_head, return_length)
        waves: list[Tensor | None] = [None] * len(z)
        frames = z.shape[2] if decode_length is None else decode_length
        if self._source is not None:
            if f0 is None:
                raise ValueError("this synthesizer follows F0 and was given none")
            wave = self._source(returned(f0, skip_head or 0, return_length), generator)
            waves = list(stretched(wave, frames * self.config.hop)[:, 0])
        rows = stretched(z, frames).transpose(1, 2)
        return torch.stack(
            [
                self._decoder(*pair, g[i : i + 1], check)
                for i, pair in enumerate(zip(rows, waves, strict=True))
            ]
        )
