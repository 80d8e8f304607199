"""Filling, joining and matching pictures: push-pull, mirrored texture, colour transfer, grain.

Alphabet: S side in pixels, C channels. Pictures are (S, S, C) float32 in 0..255 unless said
otherwise; masks are (S, S) bool; weights are (S, S) float32 in [0, 1].
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Mask = NDArray[np.bool_]

_DARK = 16.0  # of 255, added before logarithms: shadows are not worth much


def _wide(weight: NDArray[Any], image: NDArray[Any]) -> NDArray[Any]:
    """Return the weight with as many trailing axes as the image."""
    return weight[..., None] if image.ndim == 3 else weight


def push_pull(image: Float, known: Mask) -> Float:
    """Fill the unknown pixels smoothly from the known ones, through a pyramid (Gortler 1996)."""
    weight = known.astype(np.float32)
    levels = [(image * _wide(weight, image), weight)]
    while min(levels[-1][1].shape) > 1 and float(levels[-1][1].min()) < 0.999:
        colour, w = levels[-1]
        small_c, small_w = cv2.pyrDown(colour), cv2.pyrDown(w)
        capped = np.minimum(1.0, 4 * small_w)  # one known pixel in four makes a cell known
        gain = capped / np.maximum(small_w, 1e-6)
        levels.append((small_c * _wide(gain, image), capped))
    colour, w = levels[-1]
    filled = colour / _wide(np.maximum(w, 1e-6), image)
    for colour, w in reversed(levels[:-1]):
        up = cv2.resize(filled, w.shape[::-1], interpolation=cv2.INTER_LINEAR)
        filled = colour + _wide(1 - w, image) * up
    return np.asarray(filled, np.float32)


def smooth(image: Float, sigma: float) -> Float:
    """Return a Gaussian mean; wide ones are computed at a resolution that they do not outgrow."""
    step = int(sigma / 1.5)
    if step < 2:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.float32)
    height, width = image.shape[:2]
    size = (-(-width // step), -(-height // step))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma / step)
    return np.asarray(cv2.resize(small, (width, height)), np.float32)


def low_pass(image: Float, within: Mask, sigma: float) -> Float:
    """Return the Gaussian mean of the pixels `within`, everywhere; unknown far away is 0."""
    weight = within.astype(np.float32)
    total = smooth(image * _wide(weight, image), sigma)
    share = np.maximum(smooth(weight, sigma), np.float32(1e-4))
    return np.asarray(total / _wide(share, image), np.float32)


def nearest(known: Mask) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return row and column (S, S) of the known pixel that is nearest to each pixel."""
    _, cell = cv2.distanceTransformWithLabels(
        (~known).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    rows, columns = np.nonzero(known)
    order = np.zeros(int(cell.max()) + 1, np.intp)
    order[cell[known]] = np.arange(len(rows))
    index = order[cell]
    return rows[index], columns[index]


def extend(image: Float, known: Mask, sigma: float) -> Float:
    """Continue the known part over the whole frame: smooth tone plus mirrored fine texture.

    The tone is a push-pull fill; detail finer than `sigma` is reflected across the border of the
    known part, so that grain, hair and cloth run on instead of turning into a blur.
    """
    if known.all():
        return image
    if not known.any():
        raise ValueError("nothing is known: there is no texture to continue")
    coarse = low_pass(image, known, sigma)
    tone = smooth(push_pull(coarse, known), sigma)
    detail = image - coarse
    height, width = known.shape
    rows, columns = nearest(known)
    y = np.clip(2 * rows - np.arange(height)[:, None], 0, height - 1)
    x = np.clip(2 * columns - np.arange(width)[None, :], 0, width - 1)
    lost = ~known[y, x]
    y, x = np.where(lost, rows, y), np.where(lost, columns, x)
    mirrored = np.where(lost[..., None], 0.0, detail[y, x])
    return np.where(known[..., None], image, tone + mirrored).astype(np.float32)


def to_lab(rgb: Float) -> Float:
    """Return CIE Lab (L 0..100) of sRGB pixels in 0..255."""
    clipped = np.clip(rgb, 0, 255).astype(np.float32) / np.float32(255)
    return np.asarray(cv2.cvtColor(clipped, cv2.COLOR_RGB2LAB))


def to_rgb(lab: Float) -> Float:
    """Return sRGB pixels in 0..255 of CIE Lab ones."""
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB) * np.float32(255))


def to_light(image: Float) -> Float:
    """Return a picture whose differences are ratios of light: lips stay redder than any skin."""
    return np.log(np.maximum(image, 0) + np.float32(_DARK))


def from_light(light: Float) -> Float:
    """Undo `to_light`."""
    return np.asarray(np.clip(np.exp(light) - _DARK, 0, 255), np.float32)


def _moments(lab: Float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and covariance of Lab pixels (N, 3), without their lightest and darkest 4 %."""
    low, high = np.quantile(lab[:, 0], [0.04, 0.96])
    kept = lab[(lab[:, 0] >= low) & (lab[:, 0] <= high)].astype(np.float64)
    return kept.mean(0), np.cov(kept, rowvar=False) + np.diag([2.0, 1.0, 1.0])


def colour_transfer(rgb: Float, own: Mask, reference: Float) -> Float:
    """Return the picture with the colours of `own` pixels moved onto those of `reference`.

    Quantiles of lightness, then the linear Monge-Kantorovich map between two Gaussians in Lab
    (Pitié & Kokaram 2007), its stretch held within 0.55..1.8 so that noise is not blown up.

    Args:
        rgb: (S, S, 3) the picture; the map is applied to all of it.
        own: the pixels whose colours are matched.
        reference: (N, 3) sRGB pixels with the wanted colours.
    """
    lab, goal = to_lab(rgb), to_lab(reference[:, None])[:, 0]
    # Lightness first, quantile to quantile: highlights of dark hair become highlights of fair hair.
    steps = np.linspace(0.02, 0.98, 13)
    have, want = np.quantile(lab[own][:, 0], steps), np.quantile(goal[:, 0], steps)
    have = np.r_[0, np.maximum.accumulate(have) + np.arange(1, len(steps) + 1) * 1e-3, 101]
    want = np.r_[0, want, 100]
    rise = np.diff(have) * np.clip(np.diff(want) / np.diff(have), 0.3, 2.5)  # no noise blown up
    middle = len(have) // 2
    curve = np.concatenate([[0.0], np.cumsum(rise)])
    lab[..., 0] = np.interp(lab[..., 0], have, curve - curve[middle] + want[middle])
    mean, cov = _moments(lab[own])
    goal_mean, goal_cov = _moments(goal)
    values, vectors = np.linalg.eigh(cov)
    root = (vectors * np.sqrt(values)) @ vectors.T
    inverse = (vectors / np.sqrt(values)) @ vectors.T
    inner, basis = np.linalg.eigh(root @ goal_cov @ root)
    matrix = inverse @ (basis * np.sqrt(np.maximum(inner, 1e-9))) @ basis.T @ inverse
    stretch, axes = np.linalg.eigh((matrix + matrix.T) / 2)
    matrix = (axes * np.clip(stretch, 0.55, 1.8)) @ axes.T
    moved = (lab - mean.astype(np.float32)) @ matrix.T.astype(np.float32)
    return to_rgb((moved + goal_mean.astype(np.float32)).astype(np.float32))


def grain_level(image: Float, within: Mask) -> float:
    """Return the standard deviation of the finest detail (a 1-px high-pass) of flat areas.

    The lower quartile of local deviations is taken, so that edges and hair do not count as grain.
    """
    grey = image.mean(2) if image.ndim == 3 else image
    high = grey - cv2.GaussianBlur(grey, (0, 0), 1.0)
    local = np.sqrt(np.maximum(cv2.blur(high * high, (7, 7)), 0))[within]
    return float(np.quantile(local, 0.25)) if local.size else 0.0


def grain(shape: tuple[int, int], level: float, seed: int) -> Float:
    """Return (H, W) float32 of film-like grain whose `grain_level` is `level`."""
    noise = np.random.default_rng(seed).standard_normal(shape, np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 0.6)
    measured = float(np.std(soft - cv2.GaussianBlur(soft, (0, 0), 1.0)))
    return np.asarray(soft * (level / max(measured, 1e-6)), np.float32)


def guided(guide: Float, mask: Float, radius: int, eps: float) -> Float:
    """Return the mask with its edges moved onto the guide's (He 2010, grey guide in 0..1)."""
    box = (2 * radius + 1, 2 * radius + 1)

    def mean(a: Float) -> Float:
        return np.asarray(cv2.blur(a, box), np.float32)

    m_guide, m_mask = mean(guide), mean(mask)
    slope = (mean(guide * mask) - m_guide * m_mask) / (mean(guide * guide) - m_guide**2 + eps)
    offset = m_mask - slope * m_guide
    return np.asarray(np.clip(mean(slope) * guide + mean(offset), 0, 1), np.float32)


def without(labels: NDArray[np.uint8], value: int) -> NDArray[np.uint8]:
    """Return the labels with one class replaced by the nearest other one."""
    known = labels != value
    if not known.any():
        return labels
    y, x = nearest(known)
    return labels[y, x]
