"""Modulated deformable convolution (DCNv2; Zhu et al. 2019) out of `grid_sample`.

A tap that lies outside of the picture is 0, one at its border fades: exactly what sampling with
zero padding and aligned corners gives.

Alphabet: N batch; C, D channels in and out; K taps of the kernel; H, W.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def deform_conv(
    x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Return the convolution (N, D, H, W), stride 1, whose taps are shifted and weighed.

    Args:
        x: (N, C, H, W).
        offset: (N, 2K, H, W) shifts in pixels, per tap first down, then to the right.
        mask: (N, K, H, W) weight of each tap.
        weight: (D, C, k, k), odd k; padded so that H and W stay. K = k².
        bias: (D,).
    """
    n, c, h, w = x.shape
    side = weight.shape[-1]
    taps = torch.arange(side, device=x.device, dtype=x.dtype) - side // 2
    rows = torch.arange(h, device=x.device, dtype=x.dtype)
    columns = torch.arange(w, device=x.device, dtype=x.dtype)
    shift = offset.view(n, side * side, 2, h, w)
    y = shift[:, :, 0] + taps.repeat_interleave(side).view(1, -1, 1, 1) + rows.view(1, 1, -1, 1)
    z = shift[:, :, 1] + taps.repeat(side).view(1, -1, 1, 1) + columns.view(1, 1, 1, -1)
    # A single row or column has no extent to be a share of; any scale will do for its place 0.
    grid = torch.stack([2 * z / max(w - 1, 1) - 1, 2 * y / max(h - 1, 1) - 1], -1)
    if min(h, w) == 1:
        x = F.pad(x, (0, int(w == 1), 0, int(h == 1)))
    seen = F.grid_sample(x, grid.view(n, -1, w, 2), padding_mode="zeros", align_corners=True)
    seen = seen.view(n, c, side * side, h, w) * mask[:, None]
    out = torch.einsum("nckhw,dck->ndhw", seen, weight.flatten(2))
    return out if bias is None else out + bias.view(1, -1, 1, 1)
