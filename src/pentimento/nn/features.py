"""A small network in the manner of VGG, whose features tell how alike two pictures look.

Users: the system `features`, which trains it; perceptual losses and the perceptual metric.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn


class FeatureNet(nn.Module):
    """Levels of two 3 × 3 convolutions with ReLU; between levels, means of 2 × 2.

    Differs: VGG takes maxima between levels. Means carry gradients to every pixel, which is what
    those who synthesise pictures through it prefer (Gatys et al. 2016, section 2).

    Args:
        widths: channels of the levels; level n has stride 2^n.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            nn.ModuleList([nn.Conv2d(a, b, 3, padding=1), nn.Conv2d(b, b, 3, padding=1)])
            for a, b in pairwise([3, *widths])
        )

    def forward(self, picture: Tensor) -> list[Tensor]:
        """Return every level's features ≥ 0, fine to coarse, of (B, 3, H, W) in [-1, 1]."""
        seen: list[Tensor] = []
        x = picture
        for convs in self.levels:
            assert isinstance(convs, nn.ModuleList)
            if seen:
                x = F.avg_pool2d(x, 2)
            for conv in convs:
                x = F.relu(conv(x))
            seen.append(x)
        return seen
