"""Pixels as files hold them ↔ planes as translating networks see them."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pentimento.errors import DataError
from pentimento.labels import IGNORE

Pixels = NDArray[Any]
"""(H, W, C) uint8 or uint16 of a picture, or (H, W) uint8 of classes."""

MOST_CHANNELS: Final = 4
"""Of a picture; what has more is one plane per class."""

LUMA: Final = (0.299, 0.587, 0.114)
"""How much red, green and blue count for lightness (Rec. 601)."""


def planes(pixels: Pixels, channels: int) -> NDArray[np.float32]:
    """Return what a network sees of a sample.

    Args:
        pixels: (H, W, C) uint8 or uint16, or (H, W) classes.
        channels: of the result; the number of classes where `pixels` are classes.

    Returns:
        (channels, H, W): a picture in [-1, 1]; of classes one plane each with 0 and 1, all 0 where
        the class is unknown (255).

    Raises:
        DataError: a class is beyond `channels`, or the picture has another number of channels.
    """
    if pixels.ndim == 2:
        values = np.unique(pixels)
        if (wrong := values[(values >= channels) & (values != IGNORE)]).size:
            raise DataError(
                f"classes {wrong.tolist()} are beyond the {channels} that the model knows "
                f"(0..{channels - 1}, {IGNORE} = unknown)"
            )
        return np.asarray(pixels == np.arange(channels)[:, None, None], np.float32)
    if pixels.shape[2] != channels:
        raise DataError(f"a picture of {pixels.shape[2]} channels where {channels} are expected")
    half = np.float32(np.iinfo(pixels.dtype).max / 2)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1) / half - 1, np.float32)


def with_channels(pixels: Pixels, channels: int, name: str = "picture") -> Pixels:
    """Return a picture with another number of channels: grey ↔ colour, alpha dropped."""
    count = pixels.shape[2]
    if count == channels:
        return pixels
    if count in (2, 4):
        return with_channels(pixels[..., :-1], channels, name)
    if count == 1:
        return np.repeat(pixels, channels, 2)
    if (count, channels) == (3, 1):
        return np.asarray(np.rint(pixels @ np.array(LUMA)), pixels.dtype)[..., None]
    raise DataError(f"{name}: {count} channels cannot become {channels}")


def pixels_of(seen: NDArray[np.float32], dtype: Any) -> Pixels:
    """Return a picture from planes in [-1, 1], or the likeliest class where there is one for each.

    Args:
        seen: (C, H, W).
        dtype: uint8 or uint16 of the picture; classes are uint8.

    Returns:
        (H, W, C), or (H, W) classes if C > 4.
    """
    if len(seen) > MOST_CHANNELS:
        return np.asarray(seen.argmax(0), np.uint8)
    most = np.iinfo(dtype).max
    scaled = (seen.transpose(1, 2, 0).astype(np.float64) + 1) * (most / 2)
    return np.asarray(np.rint(scaled.clip(0, most)), dtype)
