"""What cameras, dim light and saving do to a scene: exposure, blur, noise, colour, compression."""

import cv2
import numpy as np
from numpy.typing import NDArray

from pentimento.world.photograph import encode

Field = NDArray[np.float32]
Rng = np.random.Generator


def snapshot(light: Field, rng: Rng, noise: Rng | None = None) -> NDArray[np.uint8]:
    """Take a picture as people take them, good ones and bad ones.

    Args:
        light: (H, W, 3) linear radiance.
        rng: where chance comes from: the camera and its settings.
        noise: where the noise comes from, `rng` by default; another one for every frame of a clip.

    Returns:
        (H, W, 3) uint8 sRGB.
    """
    height, width = light.shape[:2]
    side = min(height, width)
    exposure, warm, tint = rng.normal(0.0, 0.35), *rng.normal(0, 1, 2)
    dark = rng.uniform(0.7, 2.2) * (rng.random() < 0.1)
    blur = float(rng.choice([0, rng.uniform(0.2, 0.6), rng.uniform(0.6, 1.6)], p=[0.5, 0.35, 0.15]))
    shake = float(rng.uniform(2, 7) * (rng.random() < 0.08))
    angle = float(rng.uniform(0, np.pi))
    contrast, saturation = rng.uniform(-0.1, 0.4), float(np.clip(rng.normal(1, 0.22), 0.2, 1.7))
    grain = float(rng.gamma(1.5, 0.006) + 0.02 * (dark > 0))
    grey, aged = rng.random() < 0.08, rng.random() < 0.04
    fall, lifted = rng.uniform(0, 0.4), max(0.0, rng.normal(-0.02, 0.03))
    coarse = float(rng.uniform(1.3, 2.6) if rng.random() < 0.12 else 1.0)
    quality = int(rng.choice([rng.integers(25, 70), rng.integers(70, 97)], p=[0.3, 0.7]))

    luma = light @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    middle, bright = (float(v) for v in np.percentile(luma[::2, ::2], (60, 95)))
    metered = max(0.5 * float(np.mean(luma)) + 0.5 * middle, 0.36 * bright)
    gain = np.clip(0.2 / max(metered, 0.005), 0.25, 5.0) ** 0.8 * 2 ** (exposure - dark)
    light = light * np.float32(gain)
    light = light * np.array([1 + 0.06 * warm, 1 - 0.02 * tint, 1 - 0.07 * warm], np.float32)
    unit = side / 256
    if blur:
        light = np.asarray(cv2.GaussianBlur(light, (0, 0), blur * unit), np.float32)
    if shake:
        reach = max(1, round(shake * unit))
        kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
        dx, dy = reach * np.cos(angle) / 2, reach * np.sin(angle) / 2
        ends = [(round(reach + s * dx), round(reach + s * dy)) for s in (-1, 1)]
        cv2.line(kernel, ends[0], ends[1], 1.0)
        light = np.asarray(cv2.filter2D(light, -1, kernel / kernel.sum()), np.float32)
    y = ((np.arange(height, dtype=np.float32) + 0.5) / height - 0.5)[:, None]
    x = ((np.arange(width, dtype=np.float32) + 0.5) / width - 0.5)[None]
    light = light * (1 - np.float32(1.3 * fall) * (x * x + y * y))[..., None]

    picture = encode(light)
    picture = picture + np.float32(contrast) * (picture * picture * (3 - 2 * picture) - picture)
    level = (picture @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]
    picture = level + np.float32(0 if grey else saturation) * (picture - level)
    if aged:
        picture = picture * np.array([1.0, 0.93, 0.78], np.float32)
    picture = np.float32(lifted) + np.float32(1 - lifted) * picture
    noise = noise or rng
    specks = noise.normal(0, 1, (height, width, 1)).astype(np.float32)
    if not grey:
        tints = noise.normal(0, 1, (height, width, 3)).astype(np.float32)
        specks = specks + np.float32(0.6) * tints
    picture = picture + np.float32(grain) * specks
    pixels = np.clip(np.rint(picture * 255), 0, 255).astype(np.uint8)
    if coarse > 1:
        small = (max(16, round(width / coarse)), max(16, round(height / coarse)))
        pixels = cv2.resize(pixels, small, interpolation=cv2.INTER_AREA).astype(np.uint8)
    _, data = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    out = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB), np.uint8)
    if coarse > 1:
        out = cv2.resize(out, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.uint8)
    return out
