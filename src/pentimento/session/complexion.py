"""Skin and lips of one face as they look on another: what is light, what is melanin.

Differences of light are ratios, so they are taken between logarithms. Between two photos a part of
them is the cameras', the rest the complexions'; skin takes on both, lips hardly the second.
"""

from typing import Final

import cv2
import numpy as np

from pentimento.ops.blend import extend, from_light, low_pass, smooth, to_lab, to_light, to_rgb
from pentimento.ops.regions import Mask, box_around, disc, grow
from pentimento.ops.warp import Float
from pentimento.session.scene import (
    COMPLEXION,
    FACE,
    SETTING,
    VALUE,
    Donor,
    Scene,
    Style,
    dimpled,
)

SKIN: Final = (VALUE["skin"], VALUE["nose"])
_EYES: Final = (VALUE["l_eye"], VALUE["r_eye"])
_LEAST: Final = 50  # pixels of skin that tell its colour
_BROAD: Final = 8.0
"""Sigma of the light that belongs to a face and its place, in 256ths of the face's square."""
_HARDEST: Final = 2.0
"""Largest ratio of two skins' contrasts that is evened out."""
_LOCAL_HUE: Final = 0.4
"""Share of a skin's colour that changes from place to place and comes with another's feature."""
_FAR: Final = 0.05
"""Share of skin around a place below which the whole face's median tells more."""

_CAMERA: Final = 0.2
"""Difference of two skins' light, in powers of e, that cameras explain; beyond, it is melanin."""
_MOST_RELIT: Final = 1.0
"""Largest change of lips' light, in powers of e: beyond, it was not skin that was compared."""
_SLOPE: Final = 0.4
"""Largest difference, in powers of e, between the light on one end of the lips and their middle."""
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


def features_laid(image: Float, scene: Scene, donor: Donor, domain: Mask) -> Float:
    """Return the picture with the donor's eyes, brows or nose in this face's light.

    Broad light and complexion are the face's own, as its skin shows them around every place. Of
    the donor is what is finer: darker than skin by as large a share, as shadows and hair are, and
    brighter by no larger one, nor by more light: a gloss lies upon any skin alike. Poisson's
    equation would take the light from a border that lids, beards and shadows cross.

    Args:
        image: (S, S, 3) the scene's picture as painted so far.
        scene: what is painted.
        donor: whose features are wanted.
        domain: (S, S) what is exchanged: the features, theirs and own, and the skin about them.
    """
    unit, laid = scene.unit, donor.image
    own, theirs = np.isin(scene.labels, SKIN), donor.mask(SKIN)
    if min(own.sum(), theirs.sum()) >= _LEAST:
        mine, foreign = to_light(scene.image), to_light(donor.image)
        here, there = _broad(mine, own, unit), _broad(foreign, theirs, unit)
        # Hard light on the other skin, and colours of its place, do not belong to the shape.
        fine = foreign - there
        grey = fine.mean(2, keepdims=True)
        hard = grey[theirs].std() / max((mine - here).mean(2)[own].std(), 1e-3)
        soft = cv2.GaussianBlur(theirs.astype(np.float32), (0, 0), unit)[..., None]
        calm = grey * (1 + soft * (1 / np.clip(hard, 1, _HARDEST) - 1))
        coloured = grow(donor.mask(_EYES), unit)
        kept = _LOCAL_HUE + (1 - _LOCAL_HUE) * cv2.GaussianBlur(
            coloured.astype(np.float32), (0, 0), unit
        )
        fine = calm + kept[..., None] * (fine - grey)
        glow = np.exp(there + fine) + np.maximum(np.exp(here) - np.exp(there), 0)
        laid = from_light(np.minimum(here + fine, np.log(glow)))
    inner = cv2.erode(domain.astype(np.uint8), disc(2 * unit)).astype(np.float32)
    matte = cv2.GaussianBlur(inner, (0, 0), 1.2 * unit) * domain
    return np.asarray(image + matte[..., None] * (laid - image), np.float32)


def _broad(light: Float, skin: Mask, unit: float) -> Float:
    """Return the broad light (S, S, 3) of a skin, its median where none is near."""
    sure = cv2.erode(skin.astype(np.uint8), disc(1.5 * unit)) > 0
    sure = sure if sure.sum() >= _LEAST else skin
    median = np.median(light[sure], 0)
    near = smooth(sure.astype(np.float32), _BROAD * unit)[..., None]
    return np.asarray(
        median + near / (near + _FAR) * (low_pass(light, sure, _BROAD * unit) - median), np.float32
    )


def lips_laid(image: Float, scene: Scene, donor: Donor, values: list[int]) -> Float:
    """Return the picture with the donor's lips in this face's light, and nothing beside them.

    The light is told by the skin around the two mouths.

    Args:
        image: (S, S, 3) the scene's picture as painted so far.
        scene: what is painted.
        donor: whose lips are wanted.
        values: the classes that are exchanged, of `LIPS`.
    """
    unit = scene.unit
    own, theirs = np.isin(scene.labels, values), donor.mask(values)
    theirs &= np.isin(scene.labels, FACE)
    mouth = dimpled(own, unit)
    bare = np.isin(scene.labels, SKIN) & ~grow(mouth, unit)
    if (own & ~theirs).any() and bare.sum() > _LEAST:
        box = box_around(grow(own | theirs, 5 * unit), int(24 * unit))
        clean = image.copy()
        clean[box] = extend(image[box], bare[box], 3 * unit)
        gone = cv2.GaussianBlur(mouth.astype(np.float32), (0, 0), unit)[..., None]
        image = image + gone * (clean - image)
    around = grow(own | theirs, 16 * unit)
    bare, their_skin = bare & around, donor.mask(SKIN) & around
    if min(int(bare.sum()), int(their_skin.sum())) < _LEAST:
        return image
    shift = np.median(to_light(image)[bare], 0) - np.median(to_light(donor.image)[their_skin], 0)
    shift = np.clip(shift, -_MOST_RELIT, _MOST_RELIT)
    slope = _broad(to_light(image), bare, unit) - _broad(to_light(donor.image), their_skin, unit)
    slope = slope.mean(2, keepdims=True)
    slope = np.clip(slope - np.median(slope[theirs]), -_SLOPE, _SLOPE)
    laid = _lips_relit(scene, donor, own, theirs, np.asarray(shift, np.float32), slope)
    # A light mouth on a dark face, or a wet one, must not outshine the face.
    bright = laid.mean(2)
    cap = np.float32(np.quantile(image[bare | own].mean(1), 0.97))
    over = np.maximum(bright - cap, 0) * (theirs & (donor.labels != VALUE["mouth"]))
    laid = laid * ((bright - _SHINE * over) / np.maximum(bright, 1))[..., None]
    matte = cv2.GaussianBlur(grow(theirs, 0.4 * unit).astype(np.float32), (0, 0), 0.9 * unit)
    return np.asarray(image + matte[..., None] * (laid - image), np.float32)


def _lips_relit(
    scene: Scene, donor: Donor, own: Mask, theirs: Mask, shift: Float, slope: Float
) -> Float:
    """Return the donor's picture (S, S, 3) with lips that suit a skin lighter by `shift` (3,).

    `slope` (S, S, 1) is how the light of the two differs from side to side.
    """
    overall = float(shift.mean())
    camera = float(np.clip(overall, -_CAMERA, _CAMERA))
    melanin = overall - camera
    foreign = to_light(donor.image) + slope
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
