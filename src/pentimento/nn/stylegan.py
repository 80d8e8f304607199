"""Building blocks of StyleGAN2 (Karras et al. 2020), in plain PyTorch.

Users: the swapping autoencoder, TCP, and the StyleGAN2 prior of GAN inversion.

Every layer has an equalised learning rate: weights are drawn from N(0, 1) and rescaled at run time
by 1/sqrt(fan-in). Activations are leaky ReLUs of slope 0.2 times sqrt(2). All of it can be
differentiated twice, which R1 regularisation needs.

Alphabet: B batch; C, D channels in and out; H, W size; Z style length.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import log2, sqrt
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BILINEAR = (1.0, 3.0, 3.0, 1.0)
"""Taps of the low-pass filter of StyleGAN2."""


def leaky(x: Tensor, bias: Tensor) -> Tensor:
    """Add a bias per channel (dimension 1), then the scaled leaky ReLU."""
    return F.leaky_relu(x + bias.view(-1, *[1] * (x.ndim - 2)), 0.2) * sqrt(2)


def upfirdn(x: Tensor, kernel: Tensor, up: int = 1, pad: tuple[int, int] = (0, 0)) -> Tensor:
    """Insert `up - 1` zeros after each pixel, pad both axes with zeros, convolve with `kernel`.

    Args:
        x: (B, C, H, W).
        kernel: (k, k), the same for every channel.
        up: factor of up-sampling.
        pad: zeros before and after, on either axis.
    """
    b, c, h, w = x.shape
    if up > 1:
        x = F.pad(x.view(b, c, h, 1, w, 1), (0, up - 1, 0, 0, 0, up - 1))
        x = x.view(b, c, h * up, w * up)
    x = F.pad(x, (*pad, *pad))
    weight = kernel.flip(0, 1).to(x.dtype).expand(c, 1, *kernel.shape)
    return F.conv2d(x, weight, groups=c)


class Blur(nn.Module):
    """Low-pass filter.

    Args:
        taps: one axis of the separable filter; normalised to sum 1.
        pad: pixels before and after.
        up: factor of up-sampling that the filter follows; its gain is `up` squared.
        reflect: pad by reflection, not with zeros.
        insert: also do the up-sampling (zero insertion) itself.
    """

    kernel: Tensor

    def __init__(
        self,
        taps: Sequence[float],
        pad: tuple[int, int],
        *,
        up: int = 1,
        reflect: bool = False,
        insert: bool = False,
    ) -> None:
        super().__init__()
        line = torch.tensor(taps)
        kernel = torch.outer(line, line)
        self.register_buffer("kernel", kernel * (up**2 / kernel.sum()))
        self.pad, self.reflect, self.factor = pad, reflect, up if insert else 1

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → filtered."""
        if self.reflect:
            return upfirdn(F.pad(x, (*self.pad, *self.pad), mode="reflect"), self.kernel)
        return upfirdn(x, self.kernel, self.factor, self.pad)


class EqualLinear(nn.Module):
    """Linear layer with equalised learning rate; also applied to maps, position by position.

    Args:
        c_in: input length.
        c_out: output length.
        bias: initial bias.
        rate: multiplier of the layer's learning rate (0.01 in the mapping network).
        activate: follow with the scaled leaky ReLU.
    """

    def __init__(
        self, c_in: int, c_out: int, *, bias: float = 0.0, rate: float = 1.0, activate: bool = False
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(c_out, c_in) / rate)
        self.bias = nn.Parameter(torch.full((c_out,), bias))
        self.scale, self.rate, self.activate = rate / sqrt(c_in), rate, activate

    def forward(self, x: Tensor) -> Tensor:
        """(B, C) → (B, D), or (B, C, H, W) → (B, D, H, W)."""
        weight, bias = self.weight * self.scale, self.bias * self.rate
        y = F.conv2d(x, weight[:, :, None, None]) if x.ndim == 4 else F.linear(x, weight)
        return leaky(y, bias) if self.activate else y + bias.view(-1, *[1] * (y.ndim - 2))


class EqualConv(nn.Module):
    """Convolution with equalised learning rate."""

    def __init__(
        self, c_in: int, c_out: int, size: int, *, stride: int = 1, pad: int = 0, bias: bool = True
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(c_out, c_in, size, size))
        self.bias = nn.Parameter(torch.zeros(c_out)) if bias else None
        self.scale, self.stride, self.pad = 1 / sqrt(c_in * size**2), stride, pad

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, D, H', W')."""
        return F.conv2d(x, self.weight * self.scale, self.bias, self.stride, self.pad)


class Act(nn.Module):
    """Learnt bias per channel and the scaled leaky ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) or (B, C) → the same shape."""
        return leaky(x, self.bias)


class ConvLayer(nn.Module):
    """Low-pass filter when halving the size, convolution, activation.

    Args:
        c_in: input channels.
        c_out: output channels.
        size: of the kernel.
        down: halve the size.
        taps: of the filter in front of the strided convolution.
        reflect: pad by reflection, not with zeros.
        pad: False for a valid convolution.
        activate: with bias and leaky ReLU; without, the layer is linear.
        bias: of a layer that is not activated.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        size: int,
        *,
        down: bool = False,
        taps: Sequence[float] = BILINEAR,
        reflect: bool = False,
        pad: bool = True,
        activate: bool = True,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.prefilter: nn.Module
        if down:
            width = (len(taps) - 2 + size - 1) if pad else 0
            self.prefilter = Blur(taps, ((width + 1) // 2, width // 2), reflect=reflect)
            edge = 0
        else:
            edge = size // 2 if pad else 0
            self.prefilter = nn.ReflectionPad2d(edge) if reflect and edge else nn.Identity()
            edge = 0 if reflect else edge
        self.filter = EqualConv(c_in, c_out, size, stride=1 + down, pad=edge, bias=bias)
        self.act = Act(c_out) if activate else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, D, H', W')."""
        return self.act(self.filter(self.prefilter(x)))


class ResBlock(nn.Module):
    """Residual block of critics and encoders; the sum is divided by sqrt(2).

    The short cut pads with zeros even where the main branch pads by reflection, as the official
    swapping autoencoder does.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        *,
        down: bool = True,
        taps: Sequence[float] = BILINEAR,
        reflect: bool = False,
    ) -> None:
        super().__init__()
        self.conv1 = ConvLayer(c_in, c_in, 3, reflect=reflect)
        self.conv2 = ConvLayer(c_in, c_out, 3, down=down, taps=taps, reflect=reflect)
        self.skip = ConvLayer(c_in, c_out, 1, down=down, taps=taps, activate=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, D, H/2, W/2), or (B, D, H, W) without `down`."""
        return (self.conv2(self.conv1(x)) + self.skip(x)) / sqrt(2)


class Noise(nn.Module):
    """Adds a noise map, the same for all channels, with a learnt strength."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, noise: Tensor | None) -> Tensor:
        """Add `noise` (B or 1, 1, H, W) to x (B, C, H, W); None draws it anew."""
        if noise is None:
            noise = torch.randn(len(x), 1, *x.shape[2:], dtype=x.dtype, device=x.device)
        return x + self.weight * noise


class ModulatedConv(nn.Module):
    """Convolution whose weights are scaled by a style and brought back to unit norm.

    The weights w · s are never formed: x is scaled by s before and the result by the demodulation
    factor after the convolution (Karras et al. 2020, equations 1 to 3), so that one convolution
    serves the whole batch.

    Args:
        c_in: input channels.
        c_out: output channels.
        size: of the kernel.
        style: Z.
        up: double the size.
        demodulate: bring each output channel to unit norm; off in layers that make RGB.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        size: int,
        style: int,
        *,
        up: bool = False,
        demodulate: bool = True,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, c_out, c_in, size, size))
        self.blur = Blur(BILINEAR, (1, 1), up=2) if up else None
        self.modulation = EqualLinear(style, c_in, bias=1.0)
        self.scale, self.demodulate = 1 / sqrt(c_in * size**2), demodulate

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Convolve x (B, C, H, W) under style (B, Z)."""
        s = self.modulation(style)  # (B, C)
        weight = self.weight[0] * self.scale
        y = convolve(x * s[:, :, None, None], weight, self.blur)
        if not self.demodulate:
            return y
        energy = F.linear(s.square(), weight.square().sum((2, 3)))  # (B, D)
        return y * torch.rsqrt(energy + 1e-8)[:, :, None, None]


def convolve(x: Tensor, weight: Tensor, blur: Blur | None) -> Tensor:
    """Convolve with padding; given a filter, up-sample: transposed convolution, then the filter."""
    if blur is None:
        return F.conv2d(x, weight, padding=weight.shape[-1] // 2)
    return blur(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2))


class StyledConv(nn.Module):
    """A modulated convolution to `width` channels; then noise, bias and activation."""

    def __init__(self, conv: nn.Module, width: int) -> None:
        super().__init__()
        self.conv = conv
        self.noise = Noise()
        self.activate = Act(width)

    def forward(self, x: Tensor, style: Tensor, noise: Tensor | None) -> Tensor:
        """Style x (B, C, H, W); `noise` as in `Noise`."""
        return self.activate(self.noise(self.conv(x, style), noise))


class ToRGB(nn.Module):
    """RGB from features: a 1 × 1 modulated convolution without demodulation, and a bias.

    Args:
        conv: the convolution, to 3 channels.
        skip: add the RGB of the resolution below, up-sampled.
    """

    def __init__(self, conv: nn.Module, *, skip: bool = False) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))
        self.upsample = Blur(BILINEAR, (2, 1), up=2, insert=True) if skip else None
        self.conv = conv

    def forward(self, x: Tensor, style: Tensor, below: Tensor | None = None) -> Tensor:
        """Features (B, C, H, W), RGB below (B, 3, H/2, W/2) → (B, 3, H, W)."""
        rgb = self.conv(x, style) + self.bias
        return rgb if self.upsample is None else rgb + self.upsample(below)


def channels(size: int, base: int = 32768, most: int = 512) -> int:
    """Return the number of channels at a resolution; the defaults are StyleGAN2's."""
    return min(base // size, most)


class Critic(nn.Module):
    """StyleGAN2's critic.

    Args:
        size: of the pictures, a power of two.
        base: channels times resolution.
        most: most channels.
        group: samples over which the minibatch standard deviation is taken; 0 leaves it out, as
            the swapping autoencoder does.
    """

    def __init__(self, size: int, base: int = 32768, most: int = 512, group: int = 4) -> None:
        super().__init__()
        sizes = [size >> n for n in range(int(log2(size)) - 1)]  # down to 4
        widths = [channels(s, base, most) for s in sizes]
        self.convs = nn.Sequential(
            ConvLayer(3, widths[0], 1), *(ResBlock(a, b) for a, b in pairwise(widths))
        )
        last = widths[-1]
        self.final_conv = ConvLayer(last + (group > 0), last, 3)
        self.final_linear = nn.Sequential(
            EqualLinear(last * 16, last, activate=True), EqualLinear(last, 1)
        )
        self.group = group

    def features(self, picture: Tensor) -> Tensor:
        """(B, 3, S, S) → (B, C, 4, 4), what the last two layers score."""
        x = self.convs(picture)
        if self.group:
            x = torch.cat([x, minibatch_deviation(x, self.group)], 1)
        return self.final_conv(x)

    def forward(self, picture: Tensor) -> Tensor:
        """(B, 3, S, S) in [-1, 1] → unbounded scores (B, 1)."""
        return self.final_linear(self.features(picture).flatten(1))


def minibatch_deviation(x: Tensor, group: int) -> Tensor:
    """Return (B, 1, H, W): the mean standard deviation over groups of samples.

    The batch must be a multiple of `group`, or smaller than it.
    """
    b, _, h, w = x.shape
    group = min(b, group)
    grouped = x.view(group, b // group, *x.shape[1:])
    deviation = torch.sqrt(grouped.var(0, unbiased=False) + 1e-8).mean((1, 2, 3))  # (B / group,)
    return deviation.repeat(group).view(b, 1, 1, 1).expand(b, 1, h, w)


class PixelNorm(nn.Module):
    """Divide by the root mean square over channels."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, …) → the same shape."""
        return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)


class Mapping(nn.Sequential):
    """StyleGAN2's mapping network, z → w: normalisation and dense layers at rate 0.01."""

    def __init__(self, style: int = 512, depth: int = 8) -> None:
        dense = (EqualLinear(style, style, rate=0.01, activate=True) for _ in range(depth))
        super().__init__(PixelNorm(), *dense)


class Synthesis(nn.Module):
    """StyleGAN2's synthesis network with RGB skips.

    Args:
        size: S of the pictures, a power of two.
        style: Z, length of w.
        base: channels times resolution.
        most: most channels.
    """

    def __init__(self, size: int, style: int = 512, base: int = 32768, most: int = 512) -> None:
        super().__init__()
        sizes = [4 * 2**n for n in range(int(log2(size)) - 1)]
        self.layers = 2 * len(sizes)
        c = channels(4, base, most)
        self.input = nn.Parameter(torch.randn(1, c, 4, 4))
        self.convs = nn.ModuleList()
        self.to_rgbs = nn.ModuleList()
        for s in sizes:
            d = channels(s, base, most)
            for up in (True, False) if s > 4 else (False,):
                self.convs.append(StyledConv(ModulatedConv(c, d, 3, style, up=up), d))
                c = d
            to_rgb = ToRGB(ModulatedConv(d, 3, 1, style, demodulate=False), skip=s > 4)
            self.to_rgbs.append(to_rgb)
        for n in range(self.layers - 1):
            side = sizes[(n + 1) // 2]
            self.register_buffer(f"noise_{n}", torch.randn(1, 1, side, side))

    def forward(self, w: Tensor, fresh_noise: bool = False) -> Tensor:
        """Paint w (B, layers, Z): one style per layer; a single w is repeated by the caller.

        Returns:
            (B, 3, S, S), about [-1, 1]. The noise is the stored one unless `fresh_noise`.
        """
        x = self.input.expand(len(w), -1, -1, -1)
        rgb = None
        for n, conv in enumerate(self.convs):
            x = conv(x, w[:, n], None if fresh_noise else self.get_buffer(f"noise_{n}"))
            if n % 2 == 0:  # the second convolution of a resolution, or the only one at 4 × 4
                rgb = self.to_rgbs[n // 2](x, w[:, n + 1], rgb)
        return cast(Tensor, rgb)
