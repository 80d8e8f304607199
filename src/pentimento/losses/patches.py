"""Textures compared by their small patches, without a network.

Gram matrices are as good as the network that they are of. Patches of pixels need none: a painted
picture should consist of the style's patches (the nearest ones; Li & Wand, CVPR 2016, take them of
features), and of each as often as the style does (their distribution; Elnekave & Weiss, CVPR 2022).

Alphabet: B batch; H, W size; n directions; m places.
"""

from collections.abc import Callable
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

_SIDE: Final = 7
_LEVELS: Final = 3
_DIRECTIONS: Final = 32
_PLACES: Final = 3000
_PLACED, _OFFERED = 600, 4000


def patch_distribution(pictures: Tensor, style: Tensor) -> Tensor:
    """Return how far the patches of pictures are from being distributed as the style's.

    The sliced Wasserstein distance of 7 × 7 patches at the full size and two halvings, in standard
    deviations of the style's: 0 where every patch is as frequent as there. Directions and places
    are drawn anew every time (`torch`'s generator).

    Args:
        pictures: (B, 3, H, W), each of which is compared by itself, from 32 pixels on each side.
        style: (1, 3, H', W'), likewise.
    """

    def apart(x: Tensor, y: Tensor) -> Tensor:
        directions = torch.randn(_DIRECTIONS, x.shape[1], _SIDE, _SIDE, device=x.device)
        directions /= directions.flatten(1).norm(dim=1)[:, None, None, None]
        places = min(_PLACES, *(_count(each) for each in (x, y)))
        ours, theirs = (_answers(each, directions, places) for each in (x, y))
        return ((ours - theirs).abs().mean(2) / theirs.std(2).clamp(min=1e-3)).mean()

    return _over_levels(pictures, style, apart)


def nearest_patches(pictures: Tensor, style: Tensor) -> Tensor:
    """Return the mean squared distance of patches of pictures from the nearest ones of a style.

    As a share of the variance of the style's pixels, at the full size and two halvings; of patches
    at places that are drawn anew every time.

    Args:
        pictures: (B, 3, H, W), from 32 pixels on each side.
        style: (1, 3, H', W'), likewise.
    """

    def apart(x: Tensor, y: Tensor) -> Tensor:
        ours, theirs = _drawn_patches(x, _PLACED), _drawn_patches(y, _OFFERED)
        with torch.no_grad():
            nearest = theirs[torch.cdist(ours, theirs).argmin(1)]
        return F.mse_loss(ours, nearest) / y.var().clamp(min=1e-3)

    return _over_levels(pictures, style, apart)


def _over_levels(x: Tensor, y: Tensor, apart: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    found = []
    for level in range(_LEVELS):
        if level:
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
        found.append(apart(x, y))
    return torch.stack(found).mean()


def _count(x: Tensor) -> int:
    height, width = (side - _SIDE + 1 for side in x.shape[2:])
    return height * width


def _answers(x: Tensor, directions: Tensor, places: int) -> Tensor:
    """Return what patches at drawn places answer to directions, in rising order: (B, n, m)."""
    answers = F.conv2d(x, directions).flatten(2)
    drawn = torch.randperm(answers.shape[2], device=x.device)[:places]
    return answers[..., drawn].sort(2).values


def _drawn_patches(x: Tensor, count: int) -> Tensor:
    """Return (up to `count`, C · 49) patches."""
    patches = F.unfold(x, _SIDE).transpose(1, 2).flatten(0, 1)
    return patches[torch.randperm(len(patches), device=x.device)[:count]]
