"""What neither picture shows, drawn by rule: the inside of a mouth; and what is not as it seems.

Users: session/baseline.py. Alphabet: S side of the scene's window in pixels; pictures (S, S, 3) in
0..255; u across a mouth in [-1, 1], v from its upper lip down in [0, 1].
"""

from typing import Final

import cv2
import numpy as np

from pentimento.ops.blend import low_pass, to_lab
from pentimento.ops.regions import Mask, grow
from pentimento.ops.warp import Float

TYPICAL: Final = {
    "background": (128, 128, 128), "skin": (200, 150, 130), "nose": (200, 148, 128),
    "eye_g": (60, 55, 55), "l_eye": (120, 95, 85), "r_eye": (120, 95, 85),
    "l_brow": (95, 70, 60), "r_brow": (95, 70, 60), "l_ear": (185, 130, 115),
    "r_ear": (185, 130, 115), "mouth": (95, 40, 40), "u_lip": (165, 90, 90),
    "l_lip": (185, 105, 105), "hair": (70, 50, 40), "hat": (90, 80, 80), "ear_r": (190, 180, 150),
    "neck_l": (190, 180, 150), "neck": (185, 135, 118), "cloth": (95, 90, 100),
}  # fmt: skip
"""sRGB of a class that neither picture shows; all that a painter without a model can know."""

_GAPS: Final = (0.0, 0.21, 0.39, 0.56, 0.71, 0.84)
"""|u| of the gaps between upper teeth: incisors, canine, premolars, ever narrower to the eye."""
_CAVITY: Final = (46, 18, 18)
_TONGUE: Final = (128, 62, 62)
_IVORY: Final = (1.0, 0.955, 0.875)  # times the light
_WARM: Final = (0.85, 1.02, 1.12)  # powers of the shade: light among lips and gums turns red
_LIGHT: Final = (150.0, 225.0)  # of 255: what the white of an eye may say about the light


def mouth_inside(inside: Mask, white: float, unit: float) -> Float:
    """Draw the inside of a mouth: upper teeth in the lip's shade, the dark, and the tongue.

    Args:
        inside: (S, S) where it is; at least one pixel.
        white: brightness of something white in this light, such as an eye's white; 0..255.
        unit: one 256th of the face's square, in pixels.

    Returns:
        (S, S, 3), good on and near `inside`.
    """
    columns = np.flatnonzero(inside.any(0))
    side = inside.shape[0]
    middle, half = float(columns.mean()), max(float(np.ptp(columns)) / 2, 1.0)
    y = np.arange(side, dtype=np.float32)[:, None]
    u = (np.arange(side, dtype=np.float32)[None] - np.float32(middle)) / np.float32(half)
    top = np.where(inside.any(0), inside.argmax(0), 0).astype(np.float32)
    top = np.interp(np.arange(side), columns, cv2.blur(top[columns][None], (5, 1))[0])[None]
    high = max(float(inside.sum(0).max()), 1.0)
    v = (y - top) / np.float32(high)

    reach = min(0.5 * high, 0.3 * half)  # pixels of teeth that a lip shows
    light = np.float32(np.clip(white, *_LIGHT))
    edge = reach * (1 - 0.4 * u**2)
    crown = np.abs(u)
    gap = np.min([np.abs(crown - g) for g in _GAPS], 0) * half / unit  # units to the nearest gap
    edge = edge * (1 - 0.12 * np.exp(-((gap / 0.9) ** 2)))
    teeth = np.clip((edge - v * high) / (0.8 * unit) + 0.5, 0, 1) * np.clip(9 - 9 * crown, 0, 1)
    shade = np.clip(0.6 + 0.55 * v * high / max(reach, 1.0), 0, 1)  # of the upper lip
    shade = shade * np.clip(1.05 - 0.6 * u**2, 0.25, 1) * (1 - 0.16 * np.exp(-((gap / 0.45) ** 2)))

    tongue = np.exp(-(((v - 1.0) / 0.32) ** 2) - (u / 0.55) ** 2)[..., None]
    dark, red = (np.array(c, np.float32) * (light / 255) for c in (_CAVITY, _TONGUE))
    drawn = dark + tongue * (red - dark)
    ivory = light * np.array(_IVORY, np.float32) * shade[..., None] ** np.array(_WARM, np.float32)
    drawn = drawn + teeth[..., None] * (ivory - drawn)
    drawn = cv2.GaussianBlur(drawn.astype(np.float32), (0, 0), 0.5 * unit)
    return np.asarray(np.clip(drawn, 0, 255), np.float32)


def white_of(image: Float, eyes: Mask, skin: Mask) -> float:
    """Return how bright white is in this light, told by the eyes, else by the skin."""
    for mask, share in ((eyes, 0.97), (skin, 0.98)):
        if mask.sum() >= 12:
            return float(np.quantile(image[mask].mean(-1), share))
    return float(np.mean(_LIGHT))


def shadow_of_hair(image: Float, skin: Mask, removed: Mask, unit: float) -> Mask:
    """Return skin near removed hair that is darker than skin is: hair that was taken for skin.

    Args:
        image: (S, S, 3).
        skin: where the picture is said to show skin.
        removed: where hair was taken away.
        unit: one 256th of the face's square, in pixels.
    """
    none = np.zeros(skin.shape, np.bool_)
    near = grow(removed, 22 * unit) & skin
    if near.sum() < 30 or (skin & ~near).sum() < 100:
        return none
    light = to_lab(image)[..., 0]
    # What the skin's light is here, if it goes on from the face: its dark outliers have no say.
    sure = skin & ~grow(removed, 5 * unit) & (light > np.quantile(light[skin], 0.25))
    usual = low_pass(light, sure, 14 * unit)
    spread = 1.48 * float(np.median(np.abs(light - usual)[sure])) + 1.0
    dark = near & (light < usual - max(3.2 * spread, 7.0)) & (usual > 1)
    # Only what hangs together with the removed hair: brows and shaded temples are skin's own.
    return np.asarray(grow(_touching(dark, removed, unit), 2 * unit) & skin)


def loose_hair(image: Float, setting: Mask, removed: Mask, unit: float) -> Mask:
    """Return what lies beside removed hair, looks like it and hangs together with it.

    A parser sees the outline of hair and not each of its curls.

    Args:
        image: (S, S, 3).
        setting: where the picture is said to show background or clothes.
        removed: where hair was taken away.
        unit: one 256th of the face's square, in pixels.
    """
    alike = np.zeros(setting.shape, np.bool_)
    if removed.sum() < 100:
        return alike
    near = grow(removed, 45 * unit) & setting
    far = setting & ~grow(removed, 12 * unit)
    if not near.any() or far.sum() < 100:
        return alike
    lab = cv2.GaussianBlur(to_lab(image), (0, 0), unit)
    gaps = []
    for known in (removed, far):
        colours = lab[known]
        cov = np.cov(colours, rowvar=False) + np.diag([9.0, 4.0, 4.0])
        away = lab[near] - colours.mean(0)
        gaps.append((away @ np.linalg.inv(cov) * away).sum(-1))
    alike[near] = (gaps[0] < 5.0) & (gaps[0] < 0.6 * gaps[1])
    return np.asarray(grow(_touching(alike, removed, unit), 2 * unit) & setting)


def _touching(mask: Mask, removed: Mask, unit: float) -> Mask:
    """Return the pieces of a mask that reach to within two units of removed hair."""
    _, pieces = cv2.connectedComponents(np.asarray(mask | grow(removed, 2 * unit), np.uint8))
    return np.asarray(np.isin(pieces, np.unique(pieces[removed])) & mask)
