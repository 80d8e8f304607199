"""The multi-scale patch critic of pix2pixHD (Wang et al. 2018, section 3.2).

Users: mask-guided portrait editing, MaskGAN, pix2pixHD.
"""

from collections.abc import Callable
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

Norm = Callable[[int], nn.Module]


class PatchCritic(nn.Module):
    """Score overlapping patches: 4 x 4 convolutions with padding 2, strided while narrow.

    Args:
        in_channels: channels of condition and picture together.
        width: channels of the first layer; doubled per layer up to 8 x.
        layers: number of strided layers; one unstrided layer and the score follow.
        norm: channels → normalisation, used in all layers but the first and the last.
    """

    def __init__(self, in_channels: int, width: int, layers: int, norm: Norm) -> None:
        super().__init__()
        widths = [in_channels, *(width * min(2**n, 8) for n in range(layers + 1))]
        self.layers = nn.ModuleList()
        for n, (c_in, c_out) in enumerate(pairwise(widths)):
            stride = 2 if n < layers else 1
            conv = nn.Conv2d(c_in, c_out, 4, stride, padding=2)
            between = [] if n == 0 else [norm(c_out)]
            self.layers.append(nn.Sequential(conv, *between, nn.LeakyReLU(0.2)))
        self.layers.append(nn.Sequential(nn.Conv2d(widths[-1], 1, 4, 1, padding=2)))

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

    def forward(self, x: Tensor) -> list[list[Tensor]]:
        """Return the features of each scale, as `PatchCritic` does."""
        features = []
        for n, critic in enumerate(self.scales):
            if n:
                x = F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
            features.append(critic(x))
        return features
