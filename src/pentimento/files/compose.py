"""Between a picture's own colours and the sRGB view that models see and repaint.

`to_rgb8` shows any picture as 8-bit RGB; `composite` brings new colours back into the picture's
own mode and depth. What a weight of zero covers, and what a repaint left at the view's own value,
keeps its very bytes.

Conversions. Grey: replicated; back by luma, Rec. 601. 16-bit: value / 257; back by adding 257
times the change to the source's own value. CMYK: by its ICC profile when it has one, else
(255 - ink)(255 - black) / 255; back by the same profile, else with as much black as possible; a
pixel whose colour stays keeps its own mixture of inks. ICC profiles of RGB and grey pictures are
not applied: models see the stored values, and the way back is exact.
"""

from dataclasses import replace
from io import BytesIO
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from pentimento.structures import Picture

_LUMA: Final = np.array([0.299, 0.587, 0.114], np.float32)


def to_rgb8(picture: Picture) -> NDArray[np.uint8]:
    """Return the (H, W, 3) uint8 sRGB view of a picture; alpha is ignored."""
    pixels = picture.pixels
    if pixels.dtype == np.uint16:
        wide = pixels.astype(np.uint32)
        wide += 128
        wide //= 257
        pixels = wide.astype(np.uint8)
    if picture.mode == "cmyk":
        return _cmyk_view(pixels, picture.icc)
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


def _cmyk_view(pixels: NDArray[np.uint8], icc: bytes | None) -> NDArray[np.uint8]:
    """Return CMYK as sRGB: by the profile, or (255 - ink)(255 - black) / 255 without one."""
    profiled = _converted(Image.fromarray(np.ascontiguousarray(pixels), "CMYK"), icc, to_cmyk=False)
    if profiled is not None:
        return profiled
    light = 255 - pixels.astype(np.uint16)
    return ((light[..., :3] * light[..., 3:] + 127) // 255).astype(np.uint8)


def _converted(image: Image.Image, icc: bytes | None, *, to_cmyk: bool) -> NDArray[np.uint8] | None:
    """Convert between CMYK and sRGB by a profile; None without one, or when it is damaged."""
    if icc is None:
        return None
    try:
        inks, screen = ImageCms.ImageCmsProfile(BytesIO(icc)), ImageCms.createProfile("sRGB")
        if to_cmyk:
            converted = ImageCms.profileToProfile(image, screen, inks, outputMode="CMYK")
        else:
            converted = ImageCms.profileToProfile(image, inks, screen, outputMode="RGB")
        return np.array(converted, np.uint8)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None


def composite(picture: Picture, rgb: NDArray[np.float32], weight: NDArray[np.float32]) -> Picture:
    """Return the picture with new colours blended in.

    Args:
        picture: what lies beneath.
        rgb: (H, W, 3) new colours, 0..255, in the view that `to_rgb8` gives.
        weight: (H, W) in 0..1; 0 keeps a pixel's very bytes, 1 takes the new colour.

    Returns:
        A picture with the same mode, depth, alpha and metadata.

    Raises:
        ValueError: sizes differ, or a weight or colour is not finite or out of range.
    """
    size = picture.pixels.shape[:2]
    if rgb.shape != (*size, 3) or weight.shape != size:
        raise ValueError(f"colours {rgb.shape} and weights {weight.shape} do not fit {size}")
    box = _extent(weight)
    if box is None:
        return picture
    part, new = weight[box].astype(np.float32)[..., None], rgb[box].astype(np.float32)
    if not ((part >= 0) & (part <= 1)).all() or not np.isfinite(new).all():
        raise ValueError("weights must lie in 0..1 and colours must be finite")
    below = replace(picture, pixels=picture.pixels[box], alpha=None)
    pixels = picture.pixels.copy()
    pixels[box] = _blended(below, np.clip(new, 0, 255), part)
    return replace(picture, pixels=pixels)


def _extent(weight: NDArray[np.float32]) -> tuple[slice, slice] | None:
    """Return the smallest box that holds every weight that is not zero."""
    rows, columns = (np.flatnonzero((weight != 0).any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return None
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _blended(below: Picture, new: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[Any]:
    """Return the pixels of `below` moved by `weight` towards the colours `new`."""
    old = below.pixels
    view = to_rgb8(below)
    step = 257 if old.dtype == np.uint16 else 1
    if below.mode == "cmyk":
        # Ink has many mixtures for one colour: a pixel whose colour stays keeps its own.
        differs = (np.abs(new - view) >= 0.5).any(axis=2, keepdims=True)
        target = _cmyk_of(np.rint(new).astype(np.uint8), below.icc)
        change = weight * differs * (step * target.astype(np.float32) - old)
    else:
        change = weight * (new - view) * step
        if below.mode == "grey":
            change = (change @ _LUMA)[..., None]
    moved: NDArray[Any] = np.clip(np.rint(old + change), 0, np.iinfo(old.dtype).max)
    return moved.astype(old.dtype)


def _cmyk_of(rgb: NDArray[np.uint8], icc: bytes | None) -> NDArray[np.uint8]:
    """Return sRGB as CMYK: by the profile, or with as much black as possible without one."""
    profiled = _converted(Image.fromarray(rgb), icc, to_cmyk=True)
    if profiled is not None:
        return profiled
    light = rgb.max(axis=2, keepdims=True).astype(np.uint16)
    colour = (rgb * np.uint16(255) + light // 2) // np.maximum(light, 1)
    ink = np.where(light > 0, 255 - colour, 0)
    return np.dstack([ink, 255 - light]).astype(np.uint8)
