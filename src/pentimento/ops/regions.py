"""Shapes of regions in label maps: distances, soft edges, and the field that moves one to another.

Alphabet: S side in pixels, K classes. Label maps are (S, S) uint8.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pentimento.ops.warp import resize_field

Float = NDArray[np.float32]
Labels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

_FINEST: Final = 192  # px: registration of faces works no finer than this
_BLURS: Final = 12
"""Pixels beyond which a step of `register` cannot be felt: its blurs' radii and a gradient's."""


def box_around(mask: Mask, margin: int) -> tuple[slice, slice]:
    """Return rows and columns of the smallest box around the mask, widened by `margin` pixels.

    An empty mask has an empty box.
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return slice(0, 0), slice(0, 0)
    height, width = mask.shape
    return (
        slice(max(0, int(rows[0]) - margin), min(height, int(rows[-1]) + 1 + margin)),
        slice(max(0, int(columns[0]) - margin), min(width, int(columns[-1]) + 1 + margin)),
    )


def _away(mask: Mask) -> Float:
    """Return (S, S) distances to the nearest pixel of a mask, 0 on it."""
    return np.asarray(cv2.distanceTransform((~mask).view(np.uint8), cv2.DIST_L2, 5), np.float32)


def depth(mask: Mask) -> float:
    """Return how far from its border the innermost pixel of a mask lies, in pixels.

    A mask without a border is as deep as the map is long; an empty one has no depth.
    """
    inside = mask[box_around(mask, 1)]
    return min(float(_away(~inside).max(initial=0)), float(sum(mask.shape))) if inside.size else 0.0


def signed_distance(mask: Mask) -> Float:
    """Return (S, S) distances to the mask's border in pixels, positive inside.

    A mask without a border is as far from it as the map is long.
    """
    limit = float(sum(mask.shape))
    return np.minimum(_away(~mask), limit) - np.minimum(_away(mask), limit)


def grow(mask: Mask, radius: float) -> Mask:
    """Return the pixels within `radius` pixels of the mask."""
    box = box_around(mask, int(radius) + 1)
    near = np.zeros(mask.shape, np.bool_)
    if near[box].size:
        near[box] = _away(mask[box]) <= radius
    return near


def main_pieces(mask: Mask, share: float = 0.1) -> Mask:
    """Return the pieces of a mask that have `share` of its largest piece's area, or more."""
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    kept = areas >= share * max(1, areas.max())
    return np.asarray(kept[pieces])


def falloff(core: Mask, band: float) -> Float:
    """Return a weight that is 1 on the core and falls smoothly to exactly 0 over `band` pixels."""
    box = box_around(core, int(band) + 1)
    weight = np.zeros(core.shape, np.float32)
    if weight[box].size:
        t = np.clip(1 - _away(core[box]) / np.float32(band), 0, 1)
        weight[box] = t * t * (3 - 2 * t)
    return weight


def upsample(probabilities: Float, size: int) -> Labels:
    """Return the label map (size, size) of class probabilities (K, s, s), with smooth contours."""
    best = np.full((size, size), -1.0, np.float32)
    labels = np.zeros((size, size), np.uint8)
    for value, plane in enumerate(probabilities):
        if plane.max() < 0.2:  # cannot win anywhere against K - 1 others that matter
            continue
        large = cv2.resize(plane, (size, size), interpolation=cv2.INTER_CUBIC)
        wins = large > best
        best[wins], labels[wins] = large[wins], value
    return labels


def resized(labels: Labels, size: int, classes: Iterable[int]) -> Labels:
    """Return labels (size, size): which of the classes covers most of each pixel, 0 where none."""
    most = np.zeros((size, size), np.float32)
    covering = np.zeros((size, size), np.uint8)
    for value in classes:
        share = _share(labels == value, size)
        wins = share > most
        most[wins], covering[wins] = share[wins], value
    return covering


def shrunk(mask: Mask, side: int) -> Mask:
    """Return a mask at a smaller side: True where half of what is below is."""
    return _share(mask, side) >= np.float32(0.5)


def _share(mask: Mask, side: int) -> Float:
    """Return how much of each pixel of a (side, side) map a mask covers."""
    share = np.zeros((side, side), np.float32)
    # Cells of whole pixels on both sides: those around the mask can be resized alone.
    cells = math.gcd(len(mask), side) if side < len(mask) else 1
    have, want = len(mask) // cells, side // cells
    rows, columns = (range(s.start // have, -(-s.stop // have)) for s in box_around(mask, 0))
    if rows and columns:
        part = mask[
            have * rows.start : have * rows.stop, have * columns.start : have * columns.stop
        ]
        share[want * rows.start : want * rows.stop, want * columns.start : want * columns.stop] = (
            cv2.resize(
                part.astype(np.float32),
                (want * len(columns), want * len(rows)),
                interpolation=cv2.INTER_AREA,
            )
        )
    return share


def one_hot(labels: Labels, classes: int, sigma: float = 0.0) -> Float:
    """Return (K, S, S) float32 memberships, blurred by `sigma` pixels."""
    planes: Float = (labels[None] == np.arange(classes, dtype=np.uint8)[:, None, None]).astype(
        np.float32
    )
    if sigma > 0:
        for plane in planes:
            if plane.any():
                cv2.GaussianBlur(plane, (0, 0), sigma, dst=plane)
    return planes


def register(source: Sequence[Mask], target: Sequence[Mask], support: Float, size: int) -> Float:
    """Return the backward field that carries the source shapes onto the target shapes.

    Demons (Thirion 1998) on the clipped signed distances of the shapes, coarse to fine: at a
    target pixel p the source lies at p + field(p). Shapes without pixels on either side count for
    nothing; where `support` is 0 nothing moves.

    Args:
        source: masks (S, S) as they are.
        target: the same regions as they shall be.
        support: (S, S) in [0, 1], how freely each place may move.
        size: S' at which the field is returned, (S', S', 2) in pixels of S'.
    """
    pairs = [(a, b) for a, b in zip(source, target, strict=True) if a.any() and b.any()]
    side = support.shape[0]
    if not pairs or not support.any():
        return np.zeros((size, size, 2), np.float32)
    distances = [(signed_distance(a), signed_distance(b)) for a, b in pairs]
    field = np.zeros((side // 4, side // 4, 2), np.float32)
    for level, rounds in ((side // 4, 50), (side // 2, 40), (side, 15)):
        field = resize_field(field, level)
        free = cv2.resize(support, (level, level), interpolation=cv2.INTER_AREA)
        reach = 0.12 * level  # pixels of this level at which distances saturate

        def at_level(distance: Float, level: int = level, reach: float = reach) -> Float:
            small = cv2.resize(distance, (level, level), interpolation=cv2.INTER_AREA)
            return np.asarray(np.clip(small * np.float32(level / len(distance) / reach), -1, 1))

        shapes = [(at_level(a), at_level(b)) for a, b in distances]
        _demons(field, shapes, np.asarray(free, np.float32), rounds, 1e-4 / reach**2)
    return resize_field(field, size)


def carry(source: Sequence[Mask], target: Sequence[Mask], support: Float) -> Float:
    """Return the field of `register` at the masks' own size; large ones are registered smaller."""
    side = len(support)
    small = min(side, _FINEST)
    source, target = ([shrunk(mask, small) for mask in masks] for masks in (source, target))
    free = cv2.resize(support, (small, small), interpolation=cv2.INTER_AREA)
    return register(source, target, np.asarray(free, np.float32), side)


def _demons(
    field: Float, shapes: Sequence[tuple[Float, Float]], free: Float, rounds: int, least: float
) -> None:
    """Improve a backward field (S, S, 2) in place, at one resolution.

    Args:
        field: what is known so far.
        shapes: distances (S, S) of each shape as it is and as it shall be.
        free: (S, S) in [0, 1], how freely each place may move.
        rounds: number of steps.
        least: added to the steepness, so that flat places stay.
    """
    # Nothing moves beyond the support; what happens farther than the blurs reach does not matter.
    box = box_around(free > 0, _BLURS)
    x, y = (np.ascontiguousarray(field[box][..., axis]) for axis in (0, 1))
    free = free[box]
    place = np.arange(len(field), dtype=np.float32)
    rows, columns = place[box[0], None], place[box[1]]
    for _ in range(rounds):
        from_x, from_y = columns + x, rows + y
        push_x, push_y = np.zeros_like(x), np.zeros_like(y)
        steep = np.full(x.shape, least, np.float32)
        for have, want in shapes:
            moved = cv2.remap(
                have, from_x, from_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
            )
            error = want[box] - moved
            gx = cv2.Sobel(moved, cv2.CV_32F, 1, 0, ksize=3, scale=0.125)
            gy = cv2.Sobel(moved, cv2.CV_32F, 0, 1, ksize=3, scale=0.125)
            push_x += error * gx
            push_y += error * gy
            steep += gx * gx + gy * gy + 0.25 * error * error
        step_x, step_y = push_x / steep, push_y / steep
        length = np.sqrt(step_x * step_x + step_y * step_y)
        within = np.minimum(1.0, 2.0 / np.maximum(length, 1e-6))
        for way, step in ((x, step_x), (y, step_y)):
            moved_on = way + cv2.GaussianBlur(step * within, (0, 0), 1.5)
            way[:] = cv2.GaussianBlur(moved_on, (0, 0), 0.8) * free
    field[box] = np.stack([x, y], -1)


def radial(
    have: Mask, want: Mask, centre: tuple[float, float], most: float, bins: int = 360
) -> Float:
    """Return the backward field that stretches a ring-like region along the rays from a centre.

    Along each ray what lies between the inner and the outer border as they are is stretched over
    the borders as they shall be; a border that draws back moves nothing, it cuts. Unlike the field
    of `register` it cannot turn, so strands of hair stay strands.

    Args:
        have: (S, S) the region as it is.
        want: (S, S) as it shall be.
        centre: (x, y) of the rays in pixels.
        most: pixels that anything is moved at most.
        bins: number of rays.

    Returns:
        (S, S, 2) in pixels: the source of target pixel p lies at p + field(p).
    """
    side = have.shape[0]
    y, x = np.mgrid[:side, :side].astype(np.float32)
    dx, dy = x - np.float32(centre[0]), y - np.float32(centre[1])
    away = np.maximum(np.hypot(dx, dy), 1e-3)
    angle = (np.arctan2(dy, dx) / (2 * np.pi) % 1) * bins
    ray = angle.astype(int) % bins
    borders = []
    both = np.ones(bins, np.bool_)
    for mask in (have, want):
        inner, outer = np.full(bins, np.inf), np.full(bins, -np.inf)
        np.minimum.at(inner, ray[mask], away[mask])
        np.maximum.at(outer, ray[mask], away[mask])
        borders += [inner, outer]
        both &= np.isfinite(inner)
    if not both.any():
        return np.zeros((side, side, 2), np.float32)
    inner, outer, inner_want, outer_want = (_around(b, both) for b in borders)
    inner_want, outer_want = np.minimum(inner, inner_want), np.maximum(outer, outer_want)

    def at(values: Float) -> Float:
        """Values per ray → (S, S), linear between rays."""
        low = angle.astype(int)
        return np.asarray(
            values[low % bins] + (angle - low) * (values[(low + 1) % bins] - values[low % bins])
        )

    r0, r1, w0, w1 = (at(b) for b in (inner, outer, inner_want, outer_want))
    share = np.clip((away - w0) / np.maximum(w1 - w0, 1e-3), 0, 1)
    shift = (1 - share) * (r0 - w0) + share * (r1 - w1)
    shift = np.clip(shift * np.clip(away / np.maximum(w0, 1), 0, 1), -most, most)
    return np.asarray(np.stack([dx, dy], -1) * (shift / away)[..., None], np.float32)


def _around(values: NDArray[np.float64], known: NDArray[np.bool_]) -> Float:
    """Return values per ray, smoothed over neighbouring rays; unknown ones are interpolated."""
    n = len(values)
    wide = 4
    index = np.flatnonzero(known)
    filled = np.interp(np.arange(n), index, values[index], period=n)
    ringed = np.r_[filled[-8 * wide :], filled, filled[: 8 * wide]].astype(np.float32)[None]
    smoothed = cv2.GaussianBlur(ringed, (0, 0), wide)[0]
    return np.asarray(smoothed[8 * wide : -8 * wide], np.float32)


def stacked(have: Sequence[Mask], want: Sequence[Mask], margin: float) -> Float:
    """Return the backward field that moves bands lying one above another, column by column.

    For lips that part: each lip moves up or down as a whole, and nothing moves sideways.

    Args:
        have: masks (S, S) of the bands as they are, from top to bottom.
        want: as they shall be.
        margin: pixels above, beside and (twice as many) below in which the motion fades.

    Returns:
        (S, S, 2) in pixels; zero if no column shows a band before and after.
    """
    side = have[0].shape[0]
    field = np.zeros((side, side, 2), np.float32)
    places, shifts = [], []
    for a, b in zip(have, want, strict=True):
        both = np.flatnonzero(a.any(0) & b.any(0))
        if not len(both):
            continue
        fade = np.arange(side)
        beyond = np.maximum(np.maximum(both[0] - fade, fade - both[-1]), 0) / margin
        for first in (True, False):
            rows = [_border(mask[:, both], first) for mask in (a, b)]
            shift = np.interp(fade, both, rows[0] - rows[1]) * np.exp(-2 * beyond**2)
            places.append(_along(np.interp(fade, both, rows[1]), margin / 8))
            shifts.append(_along(shift, margin / 8))
    if not places:
        return field
    places = [places[0] - margin, *places, places[-1] + 2 * margin]
    shifts = [np.zeros(side), *shifts, np.zeros(side)]
    knots, values = np.maximum.accumulate(np.stack(places), 0), np.stack(shifts)
    for column in range(side):
        field[:, column, 1] = np.interp(np.arange(side), knots[:, column], values[:, column])
    return field


def _border(band: Mask, first: bool) -> NDArray[np.float64]:
    """Return the first row of a band in every column, or the one after its last."""
    rows = band.argmax(0) if first else len(band) - band[::-1].argmax(0)
    return np.asarray(rows, np.float64)


def _along(values: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """Return a row of values smoothed along itself."""
    row = cv2.GaussianBlur(values[None], (0, 0), max(sigma, 0.3), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(row[0])


def disc(radius: float) -> Labels:
    """Return a disc of ones for `cv2.erode` and its kin, at least 3 pixels wide."""
    size = 2 * max(1, round(radius)) + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)), np.uint8)
