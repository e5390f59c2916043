"""The iSTFTNet generator over NumPy's rows, step for step as `fast/generator.py`."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from voicewright.model.fast.library import LEAKY, SNAKE
from voicewright.model.light.layers import Affine, Array, Before, Conv, add
from voicewright.model.light.packed import Node
from voicewright.model.light.source import Noise, Source, Stft
from voicewright.model.light.statistics import Statistics

_LOG_CEILING = np.float32(20.0)


@dataclass
class Segment:
    """A stretch of an utterance, as `fast.generator.Segment`."""

    features: Array
    harmonics: Array
    affine: list[Array]
    counted: tuple[int, int] | None = None
    head: bool = True
    heard: bool = True


class Buffers:
    """Memory of a segment, reused from layer to layer."""

    def __init__(self) -> None:
        self._held: dict[str, Array] = {}

    def get(self, name: str, rows: int, width: int) -> Array:
        held = self._held.get(name)
        if held is None or held.size < rows * width:
            held = self._held[name] = np.empty(rows * width, np.float32)
        return held[: rows * width].reshape(rows, width)


class SnakeBlock:
    """Per dilation AdaIN, Snake, conv, AdaIN, Snake, conv, and the residual."""

    def __init__(self, node: Node, level: int) -> None:
        self._layers = [
            (
                Conv(layer["conv1"], level),
                int(layer["site1"]),
                layer["alpha1"],
                Conv(layer["conv2"], level),
                int(layer["site2"]),
                layer["alpha2"],
            )
            for layer in node["layers"]
        ]

    def __call__(
        self,
        xs: list[Array],
        stats: list[Array | None],
        affine: list[list[Array]],
        counted: list[tuple[int, int]],
        policy: Statistics,
        buffers: list[Buffers],
        totals: list[Array],
        first: bool,
        heard: list[bool] | None = None,
    ) -> None:
        """xs [L, C] with their statistics → totals: written when `first`, else added to."""
        heard = heard or [True] * len(xs)
        running, found = xs, stats
        for i, (conv1, site1, alpha1, conv2, site2, alpha2) in enumerate(self._layers):
            last = i + 1 == len(self._layers)
            norms = policy.at(site1, found)
            middle: list[Array] = []
            halfway: list[Array | None] = []
            for n, x in enumerate(running):
                y = buffers[n].get("y", *x.shape)
                before = Before(norms[n], affine[n][site1], SNAKE, alpha=alpha1)
                halfway.append(conv1(x, y, before, counted=counted[n] if policy.computes else None))
                middle.append(y)
            norms = policy.at(site2, halfway)
            after: list[Array] = []
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
    """A transposed convolution as a plain one whose rows hold a whole stride of samples."""

    def __init__(self, node: Node, level: int) -> None:
        self.rate, self._padding, self._taps = int(node["rate"]), int(node["padding"]), int(node["taps"])
        self.cout = int(node["cout"])
        self._conv = Conv(node["conv"], level)

    def rows(self, length: int) -> int:
        """Rows of the buffer that `__call__` wants for `length` input rows."""
        return (length + self._taps - 1) * self.rate

    def __call__(self, x: Array, buffer: Array, extra: int) -> Array:
        """leaky(x) upsampled: x [L, cin] → a view [extra + rate·L, cout] into buffer [extra + rows(L), cout],
        whose first `extra` rows are left to the caller (`extra` is 0 or 1)."""
        wide = buffer[extra:].reshape(-1, self.rate * self.cout)
        assert wide.base is not None  # a view: the convolution writes into the buffer
        self._conv(x, wide, Before(activation=LEAKY, slope=0.1))
        return buffer[self._padding : self._padding + extra + self.rate * len(x)]


class Generator:
    """What a packed generator's nodes say."""

    def __init__(self, node: Node, level: int) -> None:
        self._level = level
        self.affine = Affine(node["affine"], level)
        self.bins, self.stft = int(node["bins"]), Stft(node["stft"])
        self._phase_scale = np.float32(node["phase_scale"])
        self._source = Source(node["source"])
        self.context = int(node["context"])
        self._ups = [Upsample(up, level) for up in node["ups"]]
        self._noise = [(Conv(n["conv"], level), int(n["stride"]), int(n["padding"])) for n in node["noise"]]
        self._noise_blocks = [SnakeBlock(block, level) for block in node["noise_blocks"]]
        self._blocks = [[SnakeBlock(block, level) for block in stage] for stage in node["blocks"]]
        self._post = Conv(node["post"], level)
        self.scale = math.prod(up.rate for up in self._ups)
        self.post_reach = int(node["post_reach"])
        self.overlap = -(-self.stft.n_fft // (2 * self.stft.hop))

    def harmonics(self, f0: Array, noise: Noise) -> Array:
        """The source's spectrum as rows: f0 [2F] in Hz → [600F/hop + 1, n_fft + 2]."""
        return self.stft.polar(self._source(f0, noise))

    def body(self, segments: list[Segment], policy: Statistics) -> list[Array]:
        """Everything before the spectrum: → sums of the last blocks, [product of rates · L + 1, C] each."""
        buffers = [Buffers() for _ in segments]
        affine = [segment.affine for segment in segments]
        xs = [segment.features for segment in segments]
        scale = 1
        for i, up in enumerate(self._ups):
            last = i + 1 == len(self._ups)
            scale *= up.rate
            counted = [_counted(segment, scale, last) for segment in segments]
            lengths = [len(x) * up.rate + last for x in xs]
            sources = self._excite(i, segments, lengths, affine, counted, policy, buffers)
            ys: list[Array] = []
            stats: list[Array | None] = []
            for n, x in enumerate(xs):
                extra = int(last)
                y = up(x, buffers[n].get("a", up.rows(len(x)) + extra, up.cout), extra)
                if last:  # one row more in front, the mirror of the second
                    y[0] = y[2]
                total = add(y, sources[n], y, counted[n], self._level)
                stats.append(total if policy.computes else None)
                ys.append(y)
            totals = [buffers[n].get(f"b{i}", *y.shape) for n, y in enumerate(ys)]
            for j, block in enumerate(self._blocks[i]):
                heard = [segment.heard or not last for segment in segments]
                block(ys, stats, affine, counted, policy, buffers, totals, j == 0, heard)
            xs = totals
        return xs

    def _excite(
        self,
        stage: int,
        segments: list[Segment],
        lengths: list[int],
        affine: list[list[Array]],
        counted: list[tuple[int, int]],
        policy: Statistics,
        buffers: list[Buffers],
    ) -> list[Array]:
        """What the source adds at a stage: [length, C] for each segment."""
        conv, stride, padding = self._noise[stage]
        xs: list[Array] = []
        stats: list[Array | None] = []
        for n, segment in enumerate(segments):
            given = segment.harmonics
            if stride > 1 or padding:
                need = (lengths[n] + 1) * stride
                after = max(0, need - padding - len(given))
                given = np.pad(given, ((padding, after), (0, 0)))[:need]
                given = given.reshape(-1, stride * given.shape[1])
            x = buffers[n].get("a", lengths[n], conv.cout)
            stats.append(conv(given, x, counted=counted[n] if policy.computes else None))
            xs.append(x)
        totals = [buffers[n].get(f"b{stage}", *x.shape) for n, x in enumerate(xs)]
        self._noise_blocks[stage](xs, stats, affine, counted, policy, buffers, totals, first=True)
        return totals

    def spectrum(self, x: Array) -> Array:
        """Sums of the last blocks [M, C] → real and imaginary parts [M, n_fft + 2]."""
        post = np.empty((len(x), self._post.cout), np.float32)
        self._post(x, post, Before(activation=LEAKY, slope=0.01))
        magnitude = np.exp(np.minimum(post[:, : self.bins], _LOG_CEILING))
        phase = np.sin(post[:, self.bins :]) * self._phase_scale
        np.multiply(magnitude, np.cos(phase), out=post[:, : self.bins])
        np.multiply(magnitude, np.sin(phase), out=post[:, self.bins :])
        return post

    def __call__(self, features: Array, style: Array, harmonics: Array, policy: Statistics) -> Array:
        """One utterance: features [2F, C], acoustic style [128], harmonics as above → audio [600F]."""
        segment = Segment(features, harmonics, self.affine(style))
        return self.stft.inverse(self.spectrum(self.body([segment], policy)[0]))


def _counted(segment: Segment, scale: int, last: bool) -> tuple[int, int]:
    """Rows of a stage that count: its own range at that stage's rate; the extra first row with the head."""
    first, end = segment.counted or (0, len(segment.features))
    extra = int(last)
    low = first * scale + (0 if segment.head and first == 0 else extra)
    return low, end * scale + extra
