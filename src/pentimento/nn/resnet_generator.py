"""The residual generator of Johnson et al. (2016) as CycleGAN and pix2pixHD build it.

Users: CycleGAN, pix2pix, pix2pixHD.
"""

from collections import OrderedDict
from itertools import pairwise
from typing import Final

import torch.nn.functional as F
from torch import Tensor, nn

from pentimento.nn.norm import Norm
from pentimento.nn.unet import Dropout, DropoutName, doubling


class ResidualBlock(nn.Module):
    """Two 3 × 3 convolutions beside the identity; no activation after the sum."""

    def __init__(self, channels: int, *, norm: Norm, bias: bool, dropout: DropoutName) -> None:
        super().__init__()
        self.conv1, self.conv2 = (
            nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect", bias=bias)
            for _ in range(2)
        )
        self.norm1, self.norm2 = norm(channels), norm(channels)
        self.dropout = nn.Identity() if dropout == "off" else Dropout(at_test=dropout == "always")

    def forward(self, x: Tensor) -> Tensor:
        """Transform (B, C, h, w)."""
        y = self.dropout(F.relu(self.norm1(self.conv1(x))))
        return x + self.norm2(self.conv2(y))


class ResNetGenerator(nn.Module):
    """A 7 × 7 convolution, halvings, residual blocks, doublings, a 7 × 7 convolution, tanh.

    Args:
        in_channels: of the picture that comes.
        out_channels: of the one that goes; None leaves out the last convolution and tanh.
        width: channels of the first layer; doubled with every halving.
        blocks: number of residual blocks (9 for 256 pixels, 6 for 128).
        downs: number of halvings; height and width must be multiples of 2^downs.
        norm: channels → normalisation.
        bias: whether convolutions in front of a normalisation have one.
        dropout: whether to drop values between the convolutions of a block, and when.
        resize: see `nn.unet.doubling`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None,
        width: int = 64,
        blocks: int = 9,
        downs: int = 2,
        *,
        norm: Norm,
        bias: bool,
        dropout: DropoutName = "off",
        resize: bool = False,
    ) -> None:
        super().__init__()
        self.multiple: Final = 2**downs
        widths = [width * 2**n for n in range(downs + 1)]

        def layer(conv: nn.Module, channels: int) -> nn.Sequential:
            return nn.Sequential(OrderedDict(conv=conv, norm=norm(channels), relu=nn.ReLU()))

        first = nn.Conv2d(in_channels, width, 7, padding=3, padding_mode="reflect", bias=bias)
        self.first = layer(first, width)
        self.down = nn.Sequential(
            *(
                layer(nn.Conv2d(a, b, 3, stride=2, padding=1, bias=bias), b)
                for a, b in pairwise(widths)
            )
        )
        self.blocks = nn.Sequential(
            *(
                ResidualBlock(widths[-1], norm=norm, bias=bias, dropout=dropout)
                for _ in range(blocks)
            )
        )
        self.up = nn.Sequential(
            *(
                layer(doubling(a, b, 3, bias=bias, resize=resize), b)
                for a, b in pairwise(reversed(widths))
            )
        )
        painter = output_layers(width, out_channels) if out_channels else (nn.Identity(),) * 2
        self.last, self.tanh = painter

    def forward(self, x: Tensor, coarse: Tensor | None = None) -> Tensor:
        """Paint.

        Args:
            x: (B, C_in, H, W).
            coarse: features of a generator for half the size, of the channels and size that `x`
                has after the halvings; added to them (pix2pixHD's local enhancer).

        Returns:
            (B, C_out, H, W) in [-1, 1], or features (B, width, H, W) without a last convolution.
        """
        x = self.down(self.first(x))
        if coarse is not None:
            x = x + coarse
        return self.tanh(self.last(self.up(self.blocks(x))))


def output_layers(width: int, out_channels: int) -> tuple[nn.Module, nn.Module]:
    """Return the last convolution of a generator and its tanh."""
    last = nn.Conv2d(width, out_channels, 7, padding=3, padding_mode="reflect")
    return last, nn.Tanh()
