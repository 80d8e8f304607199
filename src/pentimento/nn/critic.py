"""Critics of patches: pix2pix's, the multi-scale one of pix2pixHD, and the one of pixels.

Users: mask-guided portrait editing, MaskGAN, pix2pix, CycleGAN, pix2pixHD.
"""

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from pentimento.nn.norm import Norm


class PatchCritic(nn.Module):
    """Score overlapping patches: 4 x 4 convolutions, strided while narrow.

    With padding 1 and 3 layers it is the 70 x 70 critic of pix2pix (Isola et al. 2017, 6.1.2).

    Args:
        in_channels: channels of condition and picture together.
        width: channels of the first layer; doubled per layer up to 8 x.
        layers: number of strided layers; one unstrided layer and the score follow.
        norm: channels → normalisation, used in all layers but the first and the last.
        padding: of every convolution; 2 in pix2pixHD and its kin.
        bias: whether convolutions in front of a normalisation have one.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        layers: int,
        norm: Norm,
        *,
        padding: int = 2,
        bias: bool = True,
    ) -> None:
        super().__init__()
        widths = [in_channels, *(width * min(2**n, 8) for n in range(layers + 1))]
        self.layers = nn.ModuleList()
        for n, (c_in, c_out) in enumerate(pairwise(widths)):
            stride = 2 if n < layers else 1
            conv = nn.Conv2d(c_in, c_out, 4, stride, padding, bias=bias or n == 0)
            between = [] if n == 0 else [norm(c_out)]
            self.layers.append(nn.Sequential(conv, *between, nn.LeakyReLU(0.2)))
        self.layers.append(nn.Sequential(nn.Conv2d(widths[-1], 1, 4, 1, padding)))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return every layer's output; the last one holds the unbounded scores (B, 1, h, w)."""
        features = []
        for layer in self.layers:
            x = layer(x)
            features.append(x)
        return features


class MultiscaleCritic(nn.Module):
    """Patch critics of one shape on a pyramid of the input, the full resolution first."""

    def __init__(
        self, in_channels: int, width: int = 64, layers: int = 3, scales: int = 2, *, norm: Norm
    ) -> None:
        super().__init__()
        self.scales = nn.ModuleList(
            PatchCritic(in_channels, width, layers, norm) for _ in range(scales)
        )

    def forward(self, x: Tensor, finest: int = 0) -> list[list[Tensor]]:
        """Return the features of each scale, as `PatchCritic` does.

        Args:
            x: (B, C, H, W).
            finest: the scale that `x` is of; finer ones are left out.
        """
        features = []
        for n, critic in enumerate(list(self.scales)[finest:]):
            if n:
                x = F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
            features.append(critic(x))
        return features


class PixelCritic(nn.Module):
    """Score every pixel by itself, with 1 x 1 convolutions (pix2pix, 1 x 1 "PixelGAN").

    Args:
        in_channels: channels of condition and picture together.
        width: channels of the first layer.
        norm: channels → normalisation of the second layer.
        bias: whether the second and the last convolution have one.
    """

    def __init__(self, in_channels: int, width: int, norm: Norm, *, bias: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [
                nn.Sequential(nn.Conv2d(in_channels, width, 1), nn.LeakyReLU(0.2)),
                nn.Sequential(
                    nn.Conv2d(width, 2 * width, 1, bias=bias), norm(2 * width), nn.LeakyReLU(0.2)
                ),
                nn.Sequential(nn.Conv2d(2 * width, 1, 1, bias=bias)),
            ]
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return every layer's output; the last one holds the unbounded scores (B, 1, H, W)."""
        features = []
        for layer in self.layers:
            x = layer(x)
            features.append(x)
        return features
