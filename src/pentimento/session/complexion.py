"""Skin and lips of one face as they look on another: what is light, what is melanin.

Differences of light are ratios, so they are taken between logarithms. Between two photos a part of
them is the cameras', the rest the complexions'; skin takes on both, lips hardly the second.
"""

from typing import Final

import cv2
import numpy as np

from pentimento.ops.blend import extend, from_light, to_lab, to_light, to_rgb
from pentimento.ops.regions import Mask, box_around, grow
from pentimento.ops.warp import Float
from pentimento.session.scene import COMPLEXION, FACE, SETTING, VALUE, Donor, Scene, Style

SKIN: Final = (VALUE["skin"], VALUE["nose"])
MOST_RELIT: Final = 0.5
"""Largest change of a clone's light, in powers of e: beyond lies an outline that met a beard."""
_LEAST: Final = 50  # pixels of skin that tell its colour

_CAMERA: Final = 0.2
"""Difference of two skins' light, in powers of e, that cameras explain; beyond, it is melanin."""
_LIPS_TINT: Final = 0.5
"""Share of the two skins' difference in colour that another's lips take on."""
_LIPS_TAN: Final = 0.5
"""Share of the light that melanin takes from the skin that it takes from the lips."""
_COMPLEXIONS: Final = 0.4
"""Difference beyond the cameras', in powers of e, of complexions that share no colour of lips."""
_SHINE: Final = 0.75
"""Share of another's lips' light beyond the face's own brightest that is taken back."""

_GLOSS: Final = 82.0
"""L beyond which a skin's lights are pressed together: no complexion is overexposed."""
_FEATURED: Final = 0.6
"""Share of a complexion's change that lips and brows take part in."""


def apart(scene: Scene, donor: Donor) -> Float:
    """Return how much lighter the scene's skin is than the donor's, (3,) in powers of e."""
    own, theirs = np.isin(scene.labels, SKIN), donor.mask(SKIN)
    if min(own.sum(), theirs.sum()) < _LEAST:
        return np.zeros(3, np.float32)
    medians = [
        np.median(to_light(image[mask]), 0)
        for image, mask in ((scene.image, own), (donor.image, theirs))
    ]
    return np.asarray(medians[0] - medians[1], np.float32)


def lips_laid(image: Float, scene: Scene, donor: Donor, values: list[int]) -> Float:
    """Return the picture with the donor's lips in this face's light, and nothing beside them.

    The light is told by the skin around the two mouths. A clone would take it from a border that
    runs through beards, and would take the beard along.

    Args:
        image: (S, S, 3) the scene's picture as painted so far.
        scene: what is painted.
        donor: whose lips are wanted.
        values: the classes that are exchanged, of `LIPS`.
    """
    unit = scene.unit
    own, theirs = np.isin(scene.labels, values), donor.mask(values)
    theirs &= np.isin(scene.labels, FACE)
    bare = np.isin(scene.labels, SKIN) & ~grow(own, 2 * unit)
    if (own & ~theirs).any() and bare.sum() > _LEAST:
        box = box_around(grow(own | theirs, 5 * unit), int(24 * unit))
        clean = image.copy()
        clean[box] = extend(image[box], bare[box], 3 * unit)
        gone = cv2.GaussianBlur(grow(own, unit).astype(np.float32), (0, 0), unit)[..., None]
        image = image + gone * (clean - image)
    around = grow(own | theirs, 16 * unit)
    bare, their_skin = bare & around, donor.mask(SKIN) & around
    if min(int(bare.sum()), int(their_skin.sum())) < _LEAST:
        return image
    shift = np.median(to_light(image)[bare], 0) - np.median(to_light(donor.image)[their_skin], 0)
    shift = np.clip(shift, -2 * MOST_RELIT, 2 * MOST_RELIT)
    laid = _lips_relit(scene, donor, own, theirs, np.asarray(shift, np.float32))
    # A light mouth on a dark face, or a wet one, must not outshine the face.
    bright = laid.mean(2)
    cap = np.float32(np.quantile(image[bare | own].mean(1), 0.97))
    over = np.maximum(bright - cap, 0) * (theirs & (donor.labels != VALUE["mouth"]))
    laid = laid * ((bright - _SHINE * over) / np.maximum(bright, 1))[..., None]
    matte = cv2.GaussianBlur(grow(theirs, 0.4 * unit).astype(np.float32), (0, 0), 0.9 * unit)
    return np.asarray(image + matte[..., None] * (laid - image), np.float32)


def _lips_relit(scene: Scene, donor: Donor, own: Mask, theirs: Mask, shift: Float) -> Float:
    """Return the donor's picture (S, S, 3) with lips that suit a skin lighter by `shift` (3,)."""
    overall = float(shift.mean())
    camera = float(np.clip(overall, -_CAMERA, _CAMERA))
    melanin = overall - camera
    foreign = to_light(donor.image)
    laid = foreign + camera + min(0.0, _LIPS_TAN * melanin) + _LIPS_TINT * (shift - overall)
    # The lips of a dark face would come out white in the light of a fair one: there its own lips
    # say how light, how red and how varied lips are. Teeth are the same on everyone.
    inner = theirs & (donor.labels != VALUE["mouth"])
    mine = own & (scene.labels != VALUE["mouth"])
    if melanin > 0 and min(int(mine.sum()), int(inner.sum())) > 20:
        native = to_light(scene.image)[mine]
        varied = native.std(0).mean() / max(foreign[inner].std(0).mean(), 1e-3)
        suited = np.median(native, 0) + float(np.clip(varied, 0.4, 1)) * (
            foreign - np.median(foreign[inner], 0)
        )
        soft = cv2.GaussianBlur(inner.astype(np.float32), (0, 0), 0.7 * scene.unit)[..., None]
        laid = laid + min(1.0, melanin / _COMPLEXIONS) * soft * (suited - laid)
    return from_light(np.asarray(laid, np.float32))


def complexion(image: Float, scene: Scene, inside: Mask, style: Style) -> Float:
    """Return the picture with another's complexion: its lightness and hue, no more.

    What is no skin though the mask says so (beards, strands, brows' ends) keeps its colour, and
    the light on the face stays: a shaded forehead is shaded in any complexion.

    Args:
        image: (S, S, 3) the scene's picture as painted so far.
        scene: what is painted.
        inside: (S, S) the classes of the style.
        style: the reference's colours, and how much of them.
    """
    unit, target = scene.unit, scene.target
    lab, theirs = to_lab(image), to_lab(style.pixels[:, None])[:, 0]
    seen = np.isin(scene.labels, COMPLEXION[:2]) & inside
    own = lab[seen if seen.sum() >= _LEAST else inside]
    mean, goal = (np.median(_skin_like(pixels), 0) for pixels in (own, theirs))
    # How much like this face's skin each pixel is, by hue alone, freckles smoothed away.
    hue = cv2.GaussianBlur(lab[..., 1:], (0, 0), 1.5 * unit)
    spread = 1.48 * np.median(np.abs(_skin_like(own) - mean), 0)[1:] + 2.5
    far = (((hue - mean[1:]) / spread) ** 2).sum(-1)
    alike = np.exp(-0.5 * np.maximum(far - 6, 0) / 4)
    near = grow(inside, 1.5 * unit) & ~np.isin(target, SETTING[:1])
    weight = near * np.where(np.isin(target, COMPLEXION[5:]), np.float32(_FEATURED), 1)
    alike = np.where(np.isin(target, COMPLEXION[5:]), 1, alike)
    reach = cv2.GaussianBlur(weight.astype(np.float32), (0, 0), unit)
    share = style.amount * cv2.GaussianBlur((alike * reach).astype(np.float32), (0, 0), unit)
    dim = np.clip(lab[..., :1] / mean[0], 0.3, 1.25)  # shade has less of any hue
    gain = goal[0] / mean[0]
    # Fair skin shows softer shades than dark skin that is simply lit up.
    power = np.clip(1 - 0.4 * np.log(gain), 0.6, 1.2)
    bright = goal[0] * (np.maximum(lab[..., :1], 0) / mean[0]) ** power
    bright = np.minimum(bright, _GLOSS) + 0.35 * np.maximum(bright - _GLOSS, 0)
    # Melanin hides the blood beneath: a darker complexion shows less of what made this uneven.
    uneven = min(1.0, gain) * (lab[..., 1:] - mean[1:])
    wanted = np.concatenate([bright, mean[1:] + uneven + dim * (goal - mean)[1:]], 2)
    changed = to_rgb(np.asarray(lab + share[..., None] * (wanted - lab), np.float32))
    return np.asarray(np.where(share[..., None] > 0, changed, image), np.float32)


def _skin_like(lab: Float) -> Float:
    """Return the pixels (N, 3) of skin without its third that is least coloured: beard, shadow."""
    chroma = np.hypot(lab[:, 1], lab[:, 2])
    return np.asarray(lab[chroma >= np.quantile(chroma, 0.33)])
