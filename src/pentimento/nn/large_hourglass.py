"""CornerNet's hourglass: the trunk of CornerNet and both CenterNets (Law and Deng 2018).

Unlike Newell's it halves by strided convolutions and has no skip modules beside its residual
blocks. With `DIMS`, `BLOCKS` and two stacks it is Hourglass-104. Parts carry the official names.

Alphabet: N batch; C channels; H, W at stride 4, multiples of 2^levels.
"""

from collections.abc import Sequence
from typing import Final

import torch.nn.functional as F
from torch import Tensor, nn

from pentimento.nn.pointwise import PointwiseConv

DIMS: Final = (256, 256, 384, 384, 384, 512)
"""Channels at each level of Hourglass-104, finest first."""

BLOCKS: Final = (2, 2, 2, 2, 2, 4)
"""Residual blocks at each of its levels."""


class Conv(nn.Module):
    """Convolution, batch norm, ReLU; with a bias instead of the norm where that is left out."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, *, norm: bool):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=not norm)
        self.bn = nn.BatchNorm2d(outputs) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, outputs, H / stride, W / stride)."""
        return F.relu(self.bn(self.conv(x)))


class Residual(nn.Module):
    """Two 3 × 3 convolutions and a shortcut, projected where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        same = (inputs, stride) == (outputs, 1)
        self.skip = nn.Identity() if same else projection(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(skip(x) + F(x))."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.skip(x))


def projection(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Return a 1 × 1 convolution with a batch norm."""
    return nn.Sequential(PointwiseConv(inputs, outputs, stride), nn.BatchNorm2d(outputs))


def _down(inputs: int, outputs: int, count: int, stride: int = 1) -> nn.Sequential:
    rest = (Residual(outputs, outputs) for _ in range(count - 1))
    return nn.Sequential(Residual(inputs, outputs, stride), *rest)


def _up(inputs: int, outputs: int, count: int) -> nn.Sequential:
    rest = (Residual(inputs, inputs) for _ in range(count - 1))
    return nn.Sequential(*rest, Residual(inputs, outputs))


class Hourglass(nn.Module):
    """One level and all below it: down, through, up again, added to what stayed."""

    def __init__(self, dims: Sequence[int], blocks: Sequence[int]):
        super().__init__()
        self.up1 = _down(dims[0], dims[0], blocks[0])
        self.low1 = _down(dims[0], dims[1], blocks[0], 2)
        deeper = len(dims) > 2
        self.low2 = (
            Hourglass(dims[1:], blocks[1:]) if deeper else _down(dims[1], dims[1], blocks[1])
        )
        self.low3 = _up(dims[1], dims[0], blocks[0])

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, dims[0], H, W)."""
        low = self.low3(self.low2(self.low1(x)))
        return self.up1(x) + F.interpolate(low, scale_factor=2.0)


class Trunk(nn.Module):
    """Stem to stride 4 and stacked hourglasses, one map of features per stack.

    Args:
        dims: channels of each level.
        blocks: residual blocks of each level.
        stacks: hourglasses one after another.
        channels: of the returned maps.
    """

    def __init__(
        self,
        dims: Sequence[int] = DIMS,
        blocks: Sequence[int] = BLOCKS,
        stacks: int = 2,
        channels: int = 256,
    ):
        super().__init__()
        first = dims[0]
        self.pre = nn.Sequential(
            Conv(3, first // 2, 7, 2, norm=True), Residual(first // 2, first, 2)
        )
        self.kps = nn.ModuleList(Hourglass(dims, blocks) for _ in range(stacks))
        self.cnvs = nn.ModuleList(Conv(first, channels, norm=True) for _ in range(stacks))
        between = range(stacks - 1)
        self.inters_ = nn.ModuleList(projection(first, first) for _ in between)
        self.cnvs_ = nn.ModuleList(projection(channels, first) for _ in between)
        self.inters = nn.ModuleList(Residual(first, first) for _ in between)

    def maps(self, image: Tensor) -> list[Tensor]:
        """Return one (N, channels, H, W) per stack of images (N, 3, 4H, 4W)."""
        x = self.pre(image)
        out = []
        for index, (hourglass, conv) in enumerate(zip(self.kps, self.cnvs, strict=True)):
            out.append(conv(hourglass(x)))
            if index < len(self.inters):
                x = F.relu(self.inters_[index](x) + self.cnvs_[index](out[-1]))
                x = self.inters[index](x)
        return out


def final(inputs: int, outputs: int, bias: float) -> nn.Conv2d:
    """Return the last layer of a head, which answers `bias` everywhere to begin with."""
    layer = nn.Conv2d(inputs, outputs, 1)
    assert layer.bias is not None
    nn.init.constant_(layer.bias, bias)
    return layer


def heads(stacks: int, inputs: int, outputs: int, bias: float = 0.0) -> nn.ModuleList:
    """Return one two-layer head per stack; `bias` is what the last layer starts with."""
    out = nn.ModuleList()
    for _ in range(stacks):
        last = final(inputs, outputs, bias)
        out.append(nn.Sequential(Conv(inputs, inputs, norm=False), last))
    return out
