"""Points as maps and back: Gaussian label maps, four decodings, the loss-free part of landmarks.

Map coordinates count pixel centres from 0: the centre of the first pixel is (0, 0). A picture
point (x, y), whose frame has pixel centres at halves, lies at (x / stride - 0.5) of a map of that
stride; `to_map` and `to_picture` convert without bias.

Sources: Gaussian maps at sub-pixel centres and the Taylor decoding: Zhang et al., DARK, CVPR 2020;
quarter offset: Newell et al. 2016; soft-argmax: Sun et al., integral regression, ECCV 2018.

Alphabet: N points, H, W map size; … any leading sizes.
"""

from collections.abc import Sequence
from typing import Final, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Decoding = Literal["argmax", "quarter", "dark", "soft"]
DECODINGS: Final[tuple[Decoding, ...]] = ("argmax", "quarter", "dark", "soft")

# OpenCV's fixed kernels where no sigma is given; above 7 the formula of `blur_kernel` holds.
_SMALL_KERNELS: Final = {
    1: [1.0],
    3: [0.25, 0.5, 0.25],
    5: [0.0625, 0.25, 0.375, 0.25, 0.0625],
    7: [0.03125, 0.109375, 0.21875, 0.28125, 0.21875, 0.109375, 0.03125],
}


def to_map(points: Tensor, stride: float) -> Tensor:
    """Return picture points (…, 2) in coordinates of a map of that stride."""
    return points / stride - 0.5


def to_picture(points: Tensor, stride: float) -> Tensor:
    """Return map points (…, 2) in picture coordinates; undoes `to_map`."""
    return (points + 0.5) * stride


def gaussian_maps(points: Tensor, size: Sequence[int], sigma: float) -> Tensor:
    """Return (…, N, H, W) with exp(-d²/2σ²) around each point, peak 1 at the exact centre.

    The centre is not rounded, so a map holds its point to any fraction of a pixel; the Gaussian is
    not cut off.

    Args:
        points: (…, N, 2) x and y in map coordinates.
        size: (H, W).
        sigma: in map pixels.
    """
    height, width = size
    x = torch.arange(width, dtype=points.dtype, device=points.device)
    y = torch.arange(height, dtype=points.dtype, device=points.device)
    across = torch.exp(-((x - points[..., :1]) ** 2) / (2 * sigma**2))
    down = torch.exp(-((y - points[..., 1:]) ** 2) / (2 * sigma**2))
    return down[..., :, None] * across[..., None, :]


def hills(logits: Tensor) -> Tensor:
    """Return softmax maps (…, H, W): non-negative, of sum 1."""
    return logits.flatten(-2).softmax(-1).reshape(logits.shape)


def decode(maps: Tensor, how: Decoding, *, kernel: int = 11) -> tuple[Tensor, Tensor]:
    """Return points (…, N, 2) in map coordinates and the peaks (…, N) of maps (…, N, H, W).

    Args:
        maps: of Gaussian form; `soft` divides by their sum, the others only look around the peak.
        how: `argmax`: the highest pixel; `quarter`: a quarter pixel towards its higher neighbours;
            `dark`: the maximum of a parabola through the logarithm of the blurred map; `soft`: the
            mean position.
        kernel: side of DARK's blur; odd.
    """
    if how == "soft":
        return soft_argmax(maps), maps.flatten(-2).amax(-1)
    if how == "quarter":
        return quarter(maps)
    if how == "dark":
        return dark(maps, kernel)
    return argmax(maps)


def argmax(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Return the highest pixel of each map, the first of equals, and its value."""
    peak, index = maps.flatten(-2).max(-1)
    x, y = index % maps.shape[-1], index // maps.shape[-1]
    return torch.stack([x, y], -1).to(maps.dtype), peak


def _at(maps: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Return the values (…, N) at integer places, the nearest inside for those outside."""
    height, width = maps.shape[-2:]
    index = y.clamp(0, height - 1) * width + x.clamp(0, width - 1)
    return maps.flatten(-2).gather(-1, index.long()[..., None])[..., 0]


def quarter(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Return argmax, moved by 0.25 towards the higher of the two neighbours on each axis.

    At the border, where there is only one, the point stays.
    """
    points, peak = argmax(maps)
    x, y = points.unbind(-1)
    slope = torch.stack(
        [
            _at(maps, x + 1, y) - _at(maps, x - 1, y),
            _at(maps, x, y + 1) - _at(maps, x, y - 1),
        ],
        -1,
    )
    last = points.new_tensor([maps.shape[-1] - 1, maps.shape[-2] - 1])
    inside = (points > 0) & (points < last)
    return points + 0.25 * slope.sign() * inside, peak


def blur_kernel(size: int, like: Tensor) -> Tensor:
    """Return OpenCV's Gaussian kernel (size,) for no given sigma: 0.3·((size-1)/2 - 1) + 0.8."""
    if size in _SMALL_KERNELS:
        return like.new_tensor(_SMALL_KERNELS[size])
    sigma = 0.3 * ((size - 1) * 0.5 - 1) + 0.8
    x = torch.arange(size, dtype=like.dtype, device=like.device) - (size - 1) / 2
    weights = torch.exp(-(x**2) / (2 * sigma**2))
    return weights / weights.sum()


def blurred(maps: Tensor, kernel: int) -> Tensor:
    """Return maps (…, H, W) after a Gaussian blur with zeros around, each at its old maximum."""
    weights = blur_kernel(kernel, maps)
    height, width = maps.shape[-2:]
    flat = maps.reshape(-1, 1, height, width)
    soft = F.conv2d(flat, weights.view(1, 1, 1, -1), padding=(0, kernel // 2))
    soft = F.conv2d(soft, weights.view(1, 1, -1, 1), padding=(kernel // 2, 0))
    old, new = flat.amax((2, 3), keepdim=True), soft.amax((2, 3), keepdim=True)
    return (soft * old / new).reshape(maps.shape)


def dark(maps: Tensor, kernel: int = 11) -> tuple[Tensor, Tensor]:
    """Return the points of DARK: blur, logarithm, one Newton step from the highest pixel."""
    points, peak = argmax(maps)
    return taylor(blurred(maps.double(), kernel).clamp(min=1e-10).log(), points), peak


def taylor(logs: Tensor, points: Tensor) -> Tensor:
    """Return the maxima of parabolas through the logarithms of maps (DARK, equation 9).

    A point stays where it lies within two pixels of the border or where the parabola has no single
    extremum.

    Args:
        logs: (…, N, H, W) logarithms.
        points: (…, N, 2) whole pixels to start from.
    """
    x, y = points.unbind(-1)

    def value(dx: int, dy: int) -> Tensor:
        return _at(logs, x + dx, y + dy)

    gx, gy = (value(1, 0) - value(-1, 0)) / 2, (value(0, 1) - value(0, -1)) / 2
    xx = (value(2, 0) - 2 * value(0, 0) + value(-2, 0)) / 4
    yy = (value(0, 2) - 2 * value(0, 0) + value(0, -2)) / 4
    xy = (value(1, 1) - value(1, -1) - value(-1, 1) + value(-1, -1)) / 4
    determinant = xx * yy - xy**2
    height, width = logs.shape[-2:]
    usable = (x > 1) & (x < width - 2) & (y > 1) & (y < height - 2) & (determinant != 0)
    safe = determinant.where(usable, torch.ones_like(determinant))
    step = torch.stack([(xy * gy - yy * gx) / safe, (xy * gx - xx * gy) / safe], -1)
    return points + (step * usable[..., None]).to(points.dtype)


def soft_argmax(maps: Tensor) -> Tensor:
    """Return the mean positions (…, N, 2) of maps of non-negative values; differentiable."""
    shares = maps.clamp(min=0)
    shares = shares / shares.sum((-2, -1), keepdim=True).clamp(min=1e-12)
    x = torch.arange(maps.shape[-1], dtype=maps.dtype, device=maps.device)
    y = torch.arange(maps.shape[-2], dtype=maps.dtype, device=maps.device)
    return torch.stack([(shares.sum(-2) * x).sum(-1), (shares.sum(-1) * y).sum(-1)], -1)


def flip_back(maps: Tensor, order: Tensor) -> Tensor:
    """Return the maps of a mirrored picture, mirrored back; `order` from `ops.landmarks`."""
    return maps.flip(-1).index_select(-3, order)
