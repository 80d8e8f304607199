"""Random patches of pictures, for critics that judge texture without place."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def random_patches(
    image: Tensor,
    size: int,
    count: int,
    share: tuple[float, float] = (1 / 8, 1 / 4),
    rand: Callable[..., Tensor] = torch.rand,
) -> Tensor:
    """Cut patches of random place, size, proportions and handedness.

    Args:
        image: (B, 3, S, S).
        size: P; every patch is resampled to it.
        count: T.
        share: range of a patch's sides, as shares of the picture's; width and height differ.
        rand: source of uniform numbers.

    Returns:
        (B, T, 3, P, P).
    """
    b = len(image)
    mirror, side, place = (rand(b * count, 1, 1, n, device=image.device) for n in (1, 2, 2))
    scale = side * (share[1] - share[0]) + share[0]
    centre = (place * 2 - 1) * (1 - scale)
    line = torch.linspace(-1, 1, size, device=image.device)
    y, x = torch.meshgrid(line, line, indexing="ij")
    flat = torch.stack([x, y], -1).expand(b * count, size, size, 2)
    sign = torch.cat([mirror.round() * 2 - 1, torch.ones_like(mirror)], -1)
    grid = flat * sign * scale + centre
    copies = image[:, None].expand(b, count, *image.shape[1:]).flatten(0, 1)
    patches = F.grid_sample(copies, grid, align_corners=False)
    return patches.view(b, count, *patches.shape[1:])
