"""Shapes of regions in label maps: distances, soft edges, and the field that moves one to another.

Alphabet: S side in pixels, K classes. Label maps are (S, S) uint8.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from pentimento.ops.warp import flow_warp, resize_field

Float = NDArray[np.float32]
Labels = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def signed_distance(mask: Mask) -> Float:
    """Return (S, S) distances to the mask's border in pixels, positive inside.

    A mask without a border is as far from it as the map is long.
    """
    limit = float(sum(mask.shape))
    inside = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
    outside = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
    return np.asarray(np.minimum(inside, limit) - np.minimum(outside, limit), np.float32)


def grow(mask: Mask, radius: float) -> Mask:
    """Return the pixels within `radius` pixels of the mask."""
    if not mask.any():
        return mask
    away = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
    return np.asarray(away <= radius)


def falloff(core: Mask, band: float) -> Float:
    """Return a weight that is 1 on the core and falls smoothly to exactly 0 over `band` pixels."""
    if not core.any():
        return np.zeros(core.shape, np.float32)
    away = cv2.distanceTransform((~core).astype(np.uint8), cv2.DIST_L2, 5)
    t = np.clip(1 - away / band, 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


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
    if not pairs:
        return np.zeros((size, size, 2), np.float32)
    from_d = [signed_distance(a) for a, _ in pairs]
    to_d = [signed_distance(b) for _, b in pairs]
    field = np.zeros((1, 1, 2), np.float32)
    for level, rounds in ((side // 4, 50), (side // 2, 40), (side, 15)):
        reach = 0.12 * level  # pixels of this level at which distances saturate
        scale = level / side / reach

        def shrink(distance: Float, level: int = level, scale: float = scale) -> Float:
            small = cv2.resize(distance, (level, level), interpolation=cv2.INTER_AREA)
            return np.asarray(np.clip(small * np.float32(scale), -1, 1), np.float32)

        have, want = [shrink(d) for d in from_d], [shrink(d) for d in to_d]
        free = cv2.resize(support, (level, level), interpolation=cv2.INTER_AREA)[..., None]
        field = (
            resize_field(field, level)
            if field.shape[0] > 1
            else np.zeros((level, level, 2), np.float32)
        )
        for _ in range(rounds):
            push = np.zeros((level, level, 2), np.float32)
            steep = np.full((level, level), 1e-4 / reach**2, np.float32)
            for a, b in zip(have, want, strict=True):
                moved = flow_warp(a, field)
                error = b - moved
                gx = cv2.Sobel(moved, cv2.CV_32F, 1, 0, ksize=3, scale=0.125)
                gy = cv2.Sobel(moved, cv2.CV_32F, 0, 1, ksize=3, scale=0.125)
                push[..., 0] += error * gx
                push[..., 1] += error * gy
                steep += gx * gx + gy * gy + 0.25 * error * error
            step = push / steep[..., None]
            length = np.linalg.norm(step, axis=2, keepdims=True)
            step *= np.minimum(1.0, 2.0 / np.maximum(length, 1e-6))
            moved_on = field + cv2.GaussianBlur(step, (0, 0), 1.5)
            field = np.asarray(cv2.GaussianBlur(moved_on, (0, 0), 0.8) * free, np.float32)
    return resize_field(field, size)
