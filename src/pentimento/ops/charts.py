"""Charts: which part of a surface a pixel shows (I), and where on that part (U, V).

Alphabet: R boxes, P parts (0 is nothing), C coarse channels, S map side, T texture side.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Charts:
    """What a chart head says.

    Attributes:
        coarse: (R, C, S, S) logits of the segmentation, 0 the background.
        fine: (R, P, S, S) logits of the parts.
        u: (R, P, S, S) of every part; not bounded.
        v: (R, P, S, S).
    """

    coarse: Tensor
    fine: Tensor
    u: Tensor
    v: Tensor

    def __getitem__(self, chosen: slice) -> "Charts":
        """Return some of the boxes."""
        return Charts(self.coarse[chosen], self.fine[chosen], self.u[chosen], self.v[chosen])


def read_charts(charts: Charts, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Return part (R, H, W) int64 and uv (R, 2, H, W) of charts at another size.

    A pixel shows the part with the largest logit where the segmentation sees anything at all; uv
    is 0 elsewhere and not cut to [0, 1].
    """
    coarse, fine, u, v = (
        F.interpolate(each, (height, width), mode="bilinear", align_corners=False)
        for each in (charts.coarse, charts.fine, charts.u, charts.v)
    )
    part = fine.argmax(1) * (coarse.argmax(1) > 0)
    picked = torch.stack([each.gather(1, part[:, None])[:, 0] for each in (u, v)], 1)
    return part, picked * (part > 0)[:, None]


def position_map(uv: Tensor, shown: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Turn uv over a picture inside out: where in the picture every texel of the surface is seen.

    Pixels share their position among the four texels around them; a texel has their weighted mean.

    Args:
        uv: (2, H, W) in [0, 1].
        shown: (H, W) bool, which pixels show the surface.
        side: T.

    Returns:
        xy (2, T, T) in pixels, centres at halves, and the weight (T, T), 0 where nothing is seen.
    """
    height, width = shown.shape
    y, x = torch.meshgrid(
        torch.arange(height, device=uv.device) + 0.5,
        torch.arange(width, device=uv.device) + 0.5,
        indexing="ij",
    )
    values = torch.stack([x, y, torch.ones_like(x)])[:, shown]
    at = (uv[:, shown] * side - 0.5).clamp(0, side - 1)
    low = at.floor().clamp(max=side - 2)
    part = at - low
    texels = values.new_zeros(3, side * side)
    for right in (0, 1):
        for down in (0, 1):
            share = (part[0] if right else 1 - part[0]) * (part[1] if down else 1 - part[1])
            index = ((low[1] + down) * side + low[0] + right).long()
            texels.index_add_(1, index, values * share)
    weight = texels[2].reshape(side, side)
    return texels[:2].reshape(2, side, side) / weight.clamp(min=1e-6), weight


def seen_at(positions: Tensor, uv: Tensor) -> Tensor:
    """Return where in the picture points of the surface are: a position map, read bilinearly.

    Args:
        positions: (2, T, T) in pixels.
        uv: (M, 2) in [0, 1].

    Returns:
        (M, 2) x, y in pixels.
    """
    grid = (2 * uv - 1)[None, None]
    read = F.grid_sample(positions[None], grid, padding_mode="border", align_corners=False)
    return read[0, :, 0].T


def painted(pictures: Tensor, part: Tensor, uv: Tensor, lines: int = 24) -> Tensor:
    """Return pictures (N, 3, S, S) in [0, 1] with `lines` of equal u and v on every part."""
    u, v = uv.clamp(0, 1).unbind(1)
    colour = torch.stack([u, v, 0.4 + 0.2 * (part > 1)], 1)
    drawn = ((uv * lines).frac() < 0.12).any(1)[:, None]
    surface = torch.where(drawn, torch.ones_like(colour), 0.35 * pictures + 0.65 * colour)
    return torch.where((part > 0)[:, None], surface, pictures)
