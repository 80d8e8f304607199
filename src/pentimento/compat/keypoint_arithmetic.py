"""What the official landmark codes do around their networks, to the last rounding.

Our own crops, maps and decodings (`ops.landmarks`, `ops.heatmaps`) keep fractions of a pixel. The
codes listed here round, truncate, count from one, or shift by half a pixel, each in its own way;
these functions repeat that for people who compare numbers. Points are x, y.

face-HRNet (HRNet-Facial-Landmark-Detection), HRNet pose, DARK (DarkPose), FAN (face-alignment),
princeton-vl's stacked hourglass. Sizes of crops and boxes are in units of 200 pixels (`scale`).
"""

import math
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

COFW_EYES: Final = (8, 9)
"""Outer eye corners of COFW's 29 points."""

AFLW_MIRROR: Final = (5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7, 6, 14, 13, 12, 17, 16, 15, 18)
COFW_MIRROR: Final = (
    1, 0, 3, 2, 6, 7, 4, 5, 9, 8, 11, 10, 14, 15, 12, 13, 17, 16, 19, 18, 20, 21, 23, 22, 24, 25,
    26, 27, 28,
)  # fmt: skip
"""Which point becomes point k of the mirror image, for AFLW's 19 and COFW's 29 points."""


# Crops


def crop_matrix(centre: Array, scale: float, size: int, rotation: float = 0.0) -> Array:
    """Return the (3, 3) matrix from picture to crop of face-HRNet, FAN and princeton-vl.

    A square of 200·scale pixels around the centre, turned by `rotation` degrees, to `size` pixels.
    """
    side = 200 * scale
    angle = math.radians(-rotation)
    c, s = math.cos(angle), math.sin(angle)
    zoom = size / side
    turn = zoom * np.array([[c, -s], [s, c]])
    matrix = np.eye(3)
    matrix[:2, :2] = turn
    matrix[:2, 2] = size / 2 - turn @ np.asarray(centre, np.float64)
    return matrix


def truncated(matrix: Array, points: Array, base: int = 0) -> NDArray[np.int64]:
    """Map points (…, 2) and cut their fractions off, as the three codes do.

    Args:
        matrix: (3, 3); invert it for the way back.
        points: in pixels, counted from `base`.
        base: 1 for face-HRNet, which counts from one.
    """
    mapped = (np.asarray(points, np.float64) - base) @ matrix[:2, :2].T + matrix[:2, 2]
    return mapped.astype(np.int64) + base


def fan_frame(box: Array) -> tuple[Array, float]:
    """Return centre and scale of FAN's crop for a face box (left, top, right, bottom)."""
    left, top, right, bottom = (float(edge) for edge in box)
    centre = [right - (right - left) / 2, bottom - (bottom - top) / 2 - 0.12 * (bottom - top)]
    return np.array(centre), (right - left + bottom - top) / 195


def fan_crop(image: NDArray[np.uint8], centre: Array, scale: float, size: int = 256) -> Any:
    """Return FAN's crop (size, size, 3) uint8 and its window's corners; whole pixels, 0 outside."""
    back = np.linalg.inv(crop_matrix(centre, scale, size))
    (left, top), (right, bottom) = (truncated(back, np.array([p, p])) for p in (1, size))
    window = np.zeros((bottom - top, right - left, 3), np.uint8)
    height, width = image.shape[:2]
    rows = slice(max(top, 0), min(bottom, height))
    columns = slice(max(left, 0), min(right, width))
    part = image[rows, columns]
    y, x = rows.start - top, columns.start - left
    window[y : y + part.shape[0], x : x + part.shape[1]] = part
    crop = cv2.resize(window, (size, size), interpolation=cv2.INTER_LINEAR)
    return crop, (left, top), (right, bottom)


def pose_matrix(
    centre: Array, scale: Array, size: tuple[int, int], rotation: float = 0.0, *, dark: bool
) -> Array:
    """Return the (2, 3) matrix from picture to crop of HRNet pose, or DARK's unbiased one.

    Args:
        centre: of the person.
        scale: (width, height) in units of 200 pixels; only the width counts.
        size: (width, height) of the crop.
        rotation: degrees.
        dark: measure between the centres of the outer pixels, not between their edges.
    """
    less = 1 if dark else 0
    zoom = (size[0] - less) / (200 * float(scale[0]) - less)
    angle = math.radians(rotation)
    c, s = zoom * math.cos(angle), zoom * math.sin(angle)
    linear = np.array([[c, s], [-s, c]])
    middle = (np.array(size) - less) / 2
    return np.column_stack([linear, middle - linear @ np.asarray(centre, np.float64)])


# Label maps


def _stamp(image: Array, kernel: Array, left: int, top: int) -> None:
    """Write a kernel into an image, in place; what lies outside is lost."""
    height, width = image.shape
    rows = slice(max(top, 0), min(top + kernel.shape[0], height))
    columns = slice(max(left, 0), min(left + kernel.shape[1], width))
    if rows.start < rows.stop and columns.start < columns.stop:
        image[rows, columns] = kernel[
            rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
        ]


def _hill(size: int, centre: float, sigma: float) -> Array:
    line = np.exp(-((np.arange(size) - centre) ** 2) / (2 * sigma**2))
    return np.outer(line, line)


def face_hrnet_map(point: Array, size: int, sigma: float) -> NDArray[np.float32]:
    """Return face-HRNet's label map: a window of ±3 sigma whose corners are cut to whole pixels.

    With a sigma of 1.5 the window has an even side; near the upper and left border the hill then
    stands one pixel further in.
    """
    image = np.zeros((size, size), np.float32)
    reach = 3 * sigma
    x, y = (float(v) for v in point)
    kernel = _hill(math.ceil(2 * reach + 1 - 1e-9), (2 * reach + 1) // 2, sigma)
    left, top, right, bottom = (
        int(x - reach),
        int(y - reach),
        int(x + reach + 1),
        int(y + reach + 1),
    )
    if left < size and top < size and right >= 0 and bottom >= 0:
        _stamp(image, kernel[: bottom - top, : right - left], left, top)
    return image


def pose_maps(
    points: Array, visible: Array, size: tuple[int, int], sigma: float, *, dark: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return label maps (N, H, W) and weights (N, 1) of HRNet pose, or those of DARK.

    HRNet rounds the centre and cuts the hill off at 3 sigma; DARK does neither.

    Args:
        points: (N, 2) in map pixels.
        visible: (N,); above 0.5 a point is drawn.
        size: (width, height) of the maps.
        sigma: in map pixels.
        dark: which of the two.
    """
    width, height = size
    maps = np.zeros((len(points), height, width), np.float32)
    weights = np.asarray(visible, np.float32)[:, None].copy()
    reach = int(3 * sigma)
    x, y = np.arange(width), np.arange(height)[:, None]
    for image, point, weight in zip(maps, points, weights, strict=True):
        mx, my = point if dark else (int(point[0] + 0.5), int(point[1] + 0.5))
        left, top = int(mx - reach), int(my - reach)
        if left >= width or top >= height or int(mx + reach + 1) < 0 or int(my + reach + 1) < 0:
            weight[0] = 0
        elif weight[0] > 0.5 and dark:
            image[...] = np.exp(-((x - mx) ** 2 + (y - my) ** 2) / (2 * sigma**2))
        elif weight[0] > 0.5:
            _stamp(image, _hill(2 * reach + 1, reach, sigma), left, top)
    return maps, weights


def fan_map(point: Array, size: int, sigma: float) -> NDArray[np.float32]:
    """Return FAN's label map: a 13 × 13 hill (for sigma 2) of its own width, counted from one.

    Near the upper and left border it stands further in than elsewhere.
    """
    image = np.zeros((size, size), np.float32)
    side = int(6 * sigma + 1)
    kernel = fan_kernel(side)
    low = [math.floor(math.floor(v) - 3 * sigma) for v in point]
    high = [math.floor(math.floor(v) + 3 * sigma) for v in point]
    if max(low) > size or min(high) < 1:
        return image
    (kx, ky), (ix, iy) = ([max(1, -v) for v in low], [max(1, v) for v in low])
    columns, rows = (min(h, size) - i + 1 for h, i in zip(high, (ix, iy), strict=True))
    part = kernel[ky - 1 : ky - 1 + rows, kx - 1 : kx - 1 + columns]
    _stamp(image, part, ix - 1, iy - 1)
    return image


def fan_kernel(side: int) -> Array:
    """Return FAN's hill, whose sigma is a quarter of its side."""
    return _hill(side, (side - 1) / 2, 0.25 * side)


def princeton_map(point: Array, size: int, sigma: float) -> NDArray[np.float32]:
    """Return princeton-vl's label map: cut to whole pixels; nothing where x is not above 0."""
    image = np.zeros((size, size), np.float32)
    x, y = (int(v) for v in point)
    if point[0] > 0 and 0 <= x < size and 0 <= y < size:
        reach = int(3 * sigma + 1)
        _stamp(image, princeton_kernel(sigma), x - reach, y - reach)
    return image


def princeton_kernel(sigma: float) -> Array:
    """Return princeton-vl's hill of side 6 sigma + 3."""
    return _hill(int(6 * sigma + 3), int(3 * sigma + 1), sigma)


# Decodings. Maps are (N, K, H, W).


def peaks(maps: Array) -> tuple[Array, Array]:
    """Return the highest pixels (N, K, 2), counted from 0, and their values (N, K)."""
    flat = maps.reshape(*maps.shape[:2], -1)
    index = flat.argmax(-1)
    return np.stack([index % maps.shape[3], index // maps.shape[3]], -1), flat.max(-1)


def _slopes(maps: Array, points: Array) -> Array:
    """Return right minus left and lower minus upper neighbour, the border repeated."""
    x, y = points[..., 0], points[..., 1]
    n, k = np.indices(x.shape)
    right, left = np.minimum(x + 1, maps.shape[3] - 1), np.maximum(x - 1, 0)
    below, above = np.minimum(y + 1, maps.shape[2] - 1), np.maximum(y - 1, 0)
    return np.stack(
        [maps[n, k, y, right] - maps[n, k, y, left], maps[n, k, below, x] - maps[n, k, above, x]],
        -1,
    )


def _within(points: Array, low: int, size: tuple[int, int], margin: int) -> Array:
    x, y = points[..., 0], points[..., 1]
    return ((x > low) & (x < size[0] - margin) & (y > low) & (y < size[1] - margin))[..., None]


def face_hrnet_points(maps: Array) -> tuple[Array, Array]:
    """Return face-HRNet's peaks counted from one (0 where a map is not positive), and the points.

    The points are moved by a quarter where neither neighbour is in the first row or column, then
    by a half.
    """
    at, value = peaks(maps)
    inside = _within(at, 0, (maps.shape[3], maps.shape[2]), 1)
    peak = np.where(value[..., None] > 0, at + 1.0, 0.0)
    inside = inside & (value[..., None] > 0)
    return peak, peak + 0.25 * np.sign(_slopes(maps, at)) * inside + 0.5


def pose_points(maps: Array) -> Array:
    """Return HRNet pose's points: a quarter towards the higher neighbour, not beside the border."""
    at, value = peaks(maps)
    at = np.where(value[..., None] > 0, at, 0)
    inside = _within(at, 1, (maps.shape[3], maps.shape[2]), 1)
    return at + 0.25 * np.sign(_slopes(maps, at)) * inside


def fan_points(maps: Array) -> Array:
    """Return FAN's points of 64² maps: half a pixel further, then by the higher neighbours."""
    at, _ = peaks(maps)
    return at + 0.5 + 0.25 * np.sign(_slopes(maps, at)) * _within(at, 0, (64, 64), 1)


def princeton_points(maps: Array) -> Array:
    """Return princeton-vl's points: a quarter, ties to the left and up, half a pixel further."""
    at, value = peaks(maps)
    moved = at + np.where(_slopes(maps, at) > 0, 0.25, -0.25) + 0.5
    return np.where(value[..., None] > 0, moved, at)


# Losses and scores


def weighted_error(answer: Array, target: Array, weight: Array | None) -> float:
    """Return HRNet pose's loss of maps (N, K, H, W): half the mean squared error."""
    error = (answer - target) if weight is None else (answer - target) * weight[..., None]
    return float(0.5 * np.square(error).mean())


def hardest_error(answer: Array, target: Array, weight: Array, keep: int) -> float:
    """Return the loss over the `keep` worst points of every sample (OHKM)."""
    error = np.square((answer - target) * weight[..., None]).mean((2, 3)) / 2
    return float(np.sort(error, 1)[:, -keep:].mean())


def map_accuracy(answer: Array, target: Array, threshold: float) -> tuple[Array, float, int]:
    """Return HRNet pose's training accuracy: mean first, then each point; the mean; how many count.

    Distances of the peaks in tenths of the map, x by its height and y by its width; points whose
    true peak is in the first two rows or columns do not count.
    """
    found, true = (
        np.where(value[..., None] > 0, at, 0) for at, value in (peaks(answer), peaks(target))
    )
    norm = np.array(answer.shape[2:]) / 10
    distance = np.hypot(*np.moveaxis((found - true) / norm, -1, 0))
    counts = np.asarray((true > 1).all(-1))
    shares = [
        float((distance[c, k] < threshold).mean()) if (c := counts[:, k]).any() else -1.0
        for k in range(answer.shape[1])
    ]
    known = [share for share in shares if share >= 0]
    mean = float(np.mean(known)) if known else 0.0
    return np.array([mean, *shares]), mean, len(known)
