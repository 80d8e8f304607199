"""From light to a file's pixels: exposure, lens, tone curve, noise, compression."""

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
Rng = np.random.Generator


def encode(linear_rgb: Field) -> Field:
    """Return sRGB in [0, 1] of linear RGB, highlights rolled off above 0.6."""
    knee, top = 0.6, 1.0
    over = np.maximum(linear_rgb - knee, 0)
    rolled = knee + (top - knee) * (1 - np.exp(-over / (top - knee)))
    x = np.clip(np.where(linear_rgb > knee, rolled, linear_rgb), 0, 1)
    srgb = np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055)
    return np.asarray(srgb, np.float32)


def photograph(light: Field, skin: NDArray[np.bool_], rng: Rng) -> NDArray[np.uint8]:
    """Take the picture.

    Args:
        light: (S, S, 3) linear radiance.
        skin: (S, S) where exposure is metered.
        rng: where chance comes from.

    Returns:
        (S, S, 3) uint8 sRGB.
    """
    size = light.shape[0]
    keep, exposure, warm, tint = rng.uniform(0.35, 0.75), rng.normal(0, 0.16), *rng.normal(0, 1, 2)
    soft, fall, contrast = rng.uniform(0.0, 0.55), rng.uniform(0, 0.35), rng.uniform(-0.05, 0.3)
    grain, saturation, quality = rng.gamma(2, 0.0022), rng.normal(1.0, 0.09), rng.integers(78, 97)
    grey, lifted = rng.random() < 0.035, max(0.0, rng.normal(-0.01, 0.015))

    luma = light @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    if skin.any():
        # A camera lifts deep skin part of the way, never to the tone of pale skin.
        metered = float(np.percentile(luma[skin], 70))
        target = 0.40 ** (1 - keep) * max(metered, 0.02) ** keep
        light = light * np.float32(np.clip(target / max(metered, 0.01), 0.3, 4) * 2**exposure)
        mean = light[skin].mean(axis=0)
        cast = mean / mean.mean() / np.array([1.32, 0.93, 0.75])
        light = light / np.float32(np.clip(cast, 0.6, 1.6)) ** np.float32(0.42)
    light = light * np.array([1 + 0.03 * warm, 1 - 0.012 * tint, 1 - 0.04 * warm], np.float32)
    if soft > 0.15:
        light = np.asarray(cv2.GaussianBlur(light, (0, 0), soft * size / 256 + 0.12), np.float32)
    y, x = (np.mgrid[:size, :size] + 0.5).astype(np.float32) / size - 0.5
    light = light * (1 - fall * 1.3 * (x * x + y * y))[..., None].astype(np.float32)

    picture = encode(light)
    curve = picture * picture * (3 - 2 * picture)
    picture = picture + np.float32(contrast) * (curve - picture)
    grey_level = picture @ np.array([0.299, 0.587, 0.114], np.float32)
    amount = 0.0 if grey else saturation
    picture = grey_level[..., None] + np.float32(amount) * (picture - grey_level[..., None])
    picture = lifted + (1 - lifted) * picture
    noise = rng.normal(0, 1, (size, size, 1)) + 0.5 * rng.normal(0, 1, (size, size, 3)) * (not grey)
    picture = picture + (grain * noise).astype(np.float32)
    pixels = np.clip(np.rint(picture * 255), 0, 255).astype(np.uint8)
    _, data = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB), np.uint8)
