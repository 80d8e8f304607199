"""From commands to a scene: which label every pixel shall have, and whose look.

Alphabet: S side of the aligned working crop. Everything here is geometry; painters
(`session.baseline`, `session.repaint`) turn a scene into a picture.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import cv2
import numpy as np

from pentimento.errors import FaceError
from pentimento.labels import CELEBAMASK19, REGIONS
from pentimento.ops.blend import extend
from pentimento.ops.regions import (
    Labels,
    Mask,
    box_around,
    carry,
    depth,
    falloff,
    grow,
    one_hot,
    signed_distance,
)
from pentimento.ops.warp import Float, flow_warp
from pentimento.session.unseen import loose_hair, shadow_of_hair

VALUE: Final = {name: value for value, name in enumerate(CELEBAMASK19.classes)}
FEATURES: Final = tuple(
    VALUE[n] for n in ("nose", "l_eye", "r_eye", "l_brow", "r_brow", "mouth", "u_lip", "l_lip")
)
FACE: Final = (VALUE["skin"], *FEATURES)
_EARS: Final = (VALUE["l_ear"], VALUE["r_ear"])
LIPS: Final = tuple(VALUE[n] for n in ("mouth", "u_lip", "l_lip"))
SETTING: Final = tuple(VALUE[n] for n in ("background", "skin", "neck"))
"""Classes that other things lie on: they are uncovered and filled, never moved about."""

PAINTED: Final = (*FACE, VALUE["hair"])
"""Classes that a portrait generator paints; everything else it copies from the picture."""

BAND: Final = 0.03
"""Width of the blend band as a share of the FFHQ square's side (8 pixels of 256)."""


COMPLEXION: Final = tuple(
    VALUE[n]
    for n in ("skin", "nose", "l_ear", "r_ear", "neck", "l_brow", "r_brow", "u_lip", "l_lip")
)
"""What a look of the skin is given to, features in part: a face is no mask before neck and ears."""

_PAIRS: Final = (("l_eye", "r_eye"), ("l_brow", "r_brow"), ("l_ear", "r_ear"))
_OTHER_SIDE: Final = np.arange(256, dtype=np.uint8)
"""Class → its counterpart on the other side of the face; most are their own."""
for _left, _right in _PAIRS:
    _OTHER_SIDE[[VALUE[_left], VALUE[_right]]] = VALUE[_right], VALUE[_left]

HALO: Final = 3.0
"""Units around removed hair in which skin and background still carry its shade."""
ABOUT: Final = 15.0
"""Units of skin about a brow that move with it."""
_ROUND: Final = 1.6
"""Units (standard deviation) by which the outline of an edited mask is smoothed."""


@dataclass(frozen=True)
class Donor:
    """Another face, already fitted into the frame of the one that is edited.

    Attributes:
        image: (S, S, 3), 0..255.
        labels: (S, S).
        name: what errors call it.
    """

    image: Float
    labels: Labels
    name: str

    def mask(self, classes: Sequence[int]) -> Mask:
        """Return where it has one of the classes."""
        return np.isin(self.labels, classes)

    def within(self, window: tuple[slice, slice]) -> "Donor":
        """Return the part of the donor that a window of the crop shows."""
        return replace(self, image=self.image[window], labels=self.labels[window])


@dataclass(frozen=True)
class Style:
    """The look that a region takes, and how much of it.

    Attributes:
        classes: the region's classes: their colours are taken together.
        pixels: (N, 3) the reference's colours of that region, 0..255.
        amount: share of the change that is made.
    """

    classes: tuple[int, ...]
    pixels: Float
    amount: float


@dataclass(frozen=True)
class Scene:
    """What is to be painted.

    Attributes:
        image: (S, S, 3) the source crop, 0..255.
        labels: (S, S) its parse.
        target: (S, S) the labels that are wanted.
        swaps: class → donor of its shape and look.
        styles: class → donor of its look alone.
        core: (S, S) where something is asked for.
        weight: (S, S) 1 on the core, 0 beyond the blend band.
        halo: (S, S) where the picture still shows what was taken away: its rim, its strands.
        unit: one 256th of the face's FFHQ square, in pixels: what radii are given in.
        faint: class → how much of it shows, where a part is half taken that the face has not.
    """

    image: Float
    labels: Labels
    target: Labels
    swaps: Mapping[int, Donor]
    styles: Mapping[int, Style]
    core: Mask
    weight: Float
    halo: Mask
    unit: float
    faint: Mapping[int, float] = field(default_factory=dict)

    @property
    def side(self) -> int:
        """Side of the working crop in pixels."""
        return int(self.labels.shape[0])

    def window(self) -> tuple[slice, slice]:
        """Return the smallest square of rows and columns that holds all of the work."""
        ys, xs = np.nonzero(self.weight)
        if not len(ys):
            return slice(0, 0), slice(0, 0)
        margin = int(24 * self.unit)
        need = max(np.ptp(ys), np.ptp(xs)) + 1 + 2 * margin
        size = min(self.side, 8 * -(-int(need) // 8))
        top, left = (
            int(np.clip((a.min() + a.max() + 1 - size) // 2, 0, self.side - size)) for a in (ys, xs)
        )
        return slice(top, top + size), slice(left, left + size)

    def within(self, window: tuple[slice, slice]) -> "Scene":
        """Return the scene of a part of the crop; donors are cut with it."""
        donors = {id(d): d.within(window) for d in self.swaps.values()}
        return Scene(
            self.image[window],
            self.labels[window],
            self.target[window],
            {v: donors[id(d)] for v, d in self.swaps.items()},
            self.styles,
            self.core[window],
            self.weight[window],
            self.halo[window],
            self.unit,
            self.faint,
        )


def classes_of(region: str) -> tuple[int, ...]:
    """Return the class values of a region name; FaceError lists the regions there are."""
    if region not in REGIONS:
        raise FaceError(f"no region is called {region!r}; there are {', '.join(REGIONS)}")
    return CELEBAMASK19.values(*REGIONS[region])


def fitted(image: Float, labels: Labels, own: Labels, name: str) -> Donor:
    """Fit another aligned face to this one's: same cheek lines, same distance of eyes and chin."""
    side = own.shape[0]
    here, there = _proportions(own), _proportions(labels)
    if here is None or there is None:
        return Donor(image, labels, name)
    scale_x = float(np.clip(here[1] / there[1], 0.8, 1.25))
    scale_y = float(np.clip(here[3] / there[3], 0.8, 1.25))
    matrix = np.array(
        [[scale_x, 0, here[0] - scale_x * there[0]], [0, scale_y, here[2] - scale_y * there[2]]]
    )
    moved = cv2.warpAffine(
        image, matrix, (side, side), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    parts = cv2.warpAffine(
        labels, matrix, (side, side), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE
    )
    return Donor(np.asarray(np.clip(moved, 0, 255)), np.asarray(parts), name)


def _proportions(labels: Labels) -> tuple[float, float, float, float] | None:
    """Return the face's middle x, its cheek width, the eye line's y and the height below it."""
    eyes = np.nonzero(np.isin(labels, (VALUE["l_eye"], VALUE["r_eye"], VALUE["eye_g"])))[0]
    lips = np.nonzero(np.isin(labels, LIPS))[0]
    face = np.isin(labels, (*FACE, VALUE["eye_g"]))
    if not len(eyes) or not len(lips) or lips.mean() <= eyes.mean() + 4:
        return None
    rows = face[int(eyes.mean()) : int(lips.mean())]
    rows = rows[rows.any(1)]
    first = np.median(rows.argmax(1))
    last = np.median(rows.shape[1] - rows[:, ::-1].argmax(1))
    chin = float(np.nonzero(face.any(1))[0].max())
    return (
        float(first + last) / 2,
        float(last - first),
        float(eyes.mean()),
        chin - float(eyes.mean()),
    )


@dataclass
class _Draft:
    """A scene while its commands are laid on."""

    image: Float
    labels: Labels
    target: Labels
    swaps: dict[int, Donor] = field(default_factory=dict)
    styles: dict[int, Style] = field(default_factory=dict)
    faint: dict[int, float] = field(default_factory=dict)
    touched: Mask = field(default_factory=lambda: np.zeros((1, 1), np.bool_))


class SceneBuilder:
    """Lays commands on a source crop: swaps first, then reshapes, whatever order they come in."""

    def __init__(self, image: Float, labels: Labels, unit: float) -> None:
        """Start from a source crop (S, S, 3), its labels (S, S) and its unit (see `Scene`)."""
        self._unit = unit
        self._draft = _Draft(image, labels, labels.copy(), touched=np.zeros(labels.shape, np.bool_))

    def swap(self, region: str, donor: Donor, amount: float = 1.0) -> None:
        """Give a region the shape and look of the donor's, or of a face `amount` of the way there.

        Raises:
            FaceError: the donor has no such region, or no such region exists.
        """
        classes = classes_of(region)
        if not donor.mask(classes).any():
            raise FaceError(f"{donor.name}: its face shows no {region}, so there is none to take")
        if region == "skin":  # all features lie in it: its shape is the face's own
            self.restyle(region, donor, amount)
            return
        draft = self._draft
        for group in _parts(classes):
            theirs = donor if group[0] not in FEATURES else _centred(donor, draft.labels, group)
            if amount < 1 and np.isin(draft.labels, group).any() and theirs.mask(group).any():
                theirs = _between(draft.image, draft.labels, theirs, group, amount, self._unit)
            elif amount < 1:
                draft.faint.update(dict.fromkeys(group, amount))
            if group[0] in FEATURES:
                self._put_feature(group, theirs)
            else:
                self._put_object(group, theirs)
            for value in group:
                draft.swaps[value] = theirs

    def _put_feature(self, group: tuple[int, ...], donor: Donor) -> None:
        draft = self._draft
        own, theirs = np.isin(draft.target, group), donor.mask(group)
        theirs &= np.isin(draft.target, FACE)  # hair and glasses stay in front
        draft.target[own] = _nearest_class(draft.target, own, FACE)[own]
        draft.target[theirs] = donor.labels[theirs]
        draft.touched |= own | theirs
        if set(group) & set(LIPS):
            draft.touched |= dimpled(own, self._unit) & np.isin(draft.target, FACE)

    def _put_object(self, group: tuple[int, ...], donor: Donor) -> None:
        draft = self._draft
        own, theirs = np.isin(draft.target, group), donor.mask(group)
        if group[0] != VALUE["hat"]:
            theirs &= draft.target != VALUE["hat"]
        if group[0] in _EARS:  # what hair covers of an ear stays covered
            theirs &= draft.target != VALUE["hair"]
        bare = own & ~theirs
        skin = bare & donor.mask((*FACE, VALUE["eye_g"])) & _within_face(draft.labels)
        ears = bare & donor.mask(_EARS) & (group[0] == VALUE["hair"])
        around = tuple(VALUE[n] for n in ("background", "cloth"))
        draft.target[bare] = _nearest_class(draft.target, own, around)[bare]
        # A neck is as wide as the donor's: hair on the shoulders touches it and hides none.
        throat = bare & donor.mask((VALUE["neck"], VALUE["neck_l"]))
        if (draft.labels == VALUE["neck"]).any():
            draft.target[throat] = VALUE["neck"]
        draft.target[skin] = VALUE["skin"]
        for value in _EARS:
            shown = ears & (donor.labels == value)
            # A tip that hair left free is no ear yet: beside it the wall would show through.
            if shown.sum() > 2 * (draft.labels == value).sum():
                draft.target[shown] = value
                draft.swaps.setdefault(value, donor)
        draft.target[theirs] = donor.labels[theirs]
        draft.touched |= own | theirs

    def restyle(self, region: str, donor: Donor, amount: float) -> None:
        """Give a region the donor's look, as much as `amount` in [0, 1] says.

        Raises:
            FaceError: the region is missing here or there, or no such region exists.
        """
        classes = classes_of(region)
        if not donor.mask(classes).any():
            raise FaceError(
                f"{donor.name}: its face shows no {region}, so there is no look to take"
            )
        if region == "skin":
            classes = COMPLEXION
            style = Style(classes, donor.image[donor.mask(FACE[:2])], amount)
        else:
            style = Style(classes, donor.image[donor.mask(classes)], amount)
        for value in classes:
            self._draft.styles[value] = style

    def mirror(self, region: str) -> None:
        """Give a region the shape and look of its counterpart, mirrored.

        Raises:
            FaceError: the face shows no such counterpart.
        """
        draft = self._draft
        labels = _OTHER_SIDE[draft.labels[:, ::-1]]
        image = np.ascontiguousarray(draft.image[:, ::-1])
        donor = Donor(image, labels, "the other side")
        self.swap(region, donor)

    def paint(self, labels: Labels, painted: Mask) -> None:
        """Set the labels of the painted pixels, exactly as they were painted."""
        self._draft.target[painted] = labels[painted]

    def reshape(self, labels: Labels, changed: Mask) -> None:
        """Set the labels of the changed pixels, their outline as smooth as flesh is."""
        draft = self._draft
        draft.target[changed] = labels[changed]
        box = box_around(grow(changed, 6 * _ROUND * self._unit), 0)
        if changed[box].size:
            found, shares = np.unique(draft.target[box], return_inverse=True)
            shares8: Labels = shares.reshape(draft.target[box].shape).astype(np.uint8)
            smooth = found[one_hot(shares8, len(found), _ROUND * self._unit).argmax(0)]
            draft.target[box] = np.where(changed[box], smooth, draft.target[box])

    def build(self) -> Scene:
        """Return the finished scene."""
        draft = self._draft
        unit = self._unit
        changed = draft.target != draft.labels
        core = changed | draft.touched
        core |= _interior(draft.labels, draft.target, changed, unit)
        bared = _vacated(draft.labels, draft.target)
        skin, behind = (
            np.isin(draft.labels, group) & np.isin(draft.target, group)
            for group in ((VALUE["skin"],), (VALUE["background"], VALUE["cloth"]))
        )
        halo = grow(bared, HALO * unit) | shadow_of_hair(draft.image, skin, bared, unit)
        halo |= loose_hair(draft.image, behind, bared, unit)
        core |= halo
        for value in FEATURES[3:5]:  # a brow that moves takes the skin about it along
            if ((draft.labels == value) & changed).any() and (draft.target == value).any():
                about = grow((draft.labels == value) | (draft.target == value), ABOUT * unit)
                core |= about & np.isin(draft.target, FACE[:1])
        styled = np.isin(draft.target, [v for v, s in draft.styles.items() if s.amount > 0])
        core |= styled
        weight = falloff(core, BAND * 256 * unit) * _frame(draft.labels.shape[0])
        return Scene(
            draft.image,
            draft.labels,
            draft.target,
            dict(draft.swaps),
            {v: s for v, s in draft.styles.items() if s.amount > 0},
            core,
            weight,
            halo,
            unit,
            draft.faint,
        )


def _between(
    image: Float, labels: Labels, donor: Donor, group: Sequence[int], amount: float, unit: float
) -> Donor:
    """Return the face that has a part `amount` of the way from the own one to a donor's.

    Its outline is where the mean of both signed distances is zero. Both pictures are carried to
    it, each part is continued as far as that takes, and the two are dissolved into one another.
    """

    def mean(values: Sequence[int]) -> Float:
        own, theirs = (signed_distance(np.isin(of, values)) for of in (labels, donor.labels))
        return own + np.float32(amount) * (theirs - own)

    inside = mean(group) > 0
    inner = np.array(group, np.uint8)[np.argmax([mean([value]) for value in group], axis=0)]
    box = box_around(inside | np.isin(labels, group) | donor.mask(group), int(24 * unit))
    support = falloff(inside, 16 * unit)
    looks = []
    for picture, of in ((image, labels), (donor.image, donor.labels)):
        field = carry([of == v for v in group], [inside & (inner == v) for v in group], support)
        look = flow_warp(picture, field)
        known = flow_warp(np.isin(of, group).view(np.uint8), field, nearest=True) > 0
        if known.any():
            look[box] = np.where(
                inside[box][..., None], extend(look[box], known[box], 3 * unit), look[box]
            )
        looks.append(look)
    around = np.where(donor.mask(group), labels, donor.labels)
    return Donor(
        looks[0] + np.float32(amount) * (looks[1] - looks[0]),
        np.where(inside, inner, around),
        donor.name,
    )


def dimpled(mouth: Mask, unit: float) -> Mask:
    """Return a mouth with the dimples beside its corners, which go where it goes."""
    size = (2 * round(5 * unit) + 1, 2 * round(2 * unit) + 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, size)
    return np.asarray(cv2.dilate(mouth.astype(np.uint8), kernel) > 0)


def _vacated(labels: Labels, target: Labels) -> Mask:
    """Return where something that lay in front of face and setting was taken away."""
    front = ("hair", "hat", "eye_g")
    return np.asarray(np.isin(labels, [VALUE[name] for name in front]) & (labels != target))


def _within_face(labels: Labels) -> Mask:
    """Return where a face can be: anywhere above its eyes, below them within its own outline."""
    face, eyes = np.isin(labels, FACE), np.isin(labels, FEATURES[1:3])
    within = np.ones(labels.shape, np.bool_)
    if face.any() and eyes.any():
        hull = np.zeros(labels.shape, np.uint8)
        points = np.argwhere(face)[:, ::-1].astype(np.int32)
        cv2.fillConvexPoly(hull, cv2.convexHull(points), (1,))
        low = int(np.nonzero(eyes)[0].max())
        within[low:] = hull[low:] > 0
    return within


def _parts(classes: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Split a region into what moves on its own: each eye, each brow; the mouth as a whole."""
    if set(classes) & set(LIPS):
        return [classes]
    return [(value,) for value in classes]


def _centred(donor: Donor, own: Labels, group: tuple[int, ...]) -> Donor:
    """Shift a donor so that its part lies where the own one does; unmoved if there is none."""
    here, there = np.nonzero(np.isin(own, group)), np.nonzero(donor.mask(group))
    if not len(here[0]) or not len(there[0]):
        return donor
    dy, dx = (float(np.mean(a) - np.mean(b)) for a, b in zip(here, there, strict=True))
    side = own.shape[0]
    matrix = np.array([[1.0, 0.0, dx], [0.0, 1.0, dy]])
    image = cv2.warpAffine(
        donor.image, matrix, (side, side), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    labels = cv2.warpAffine(
        donor.labels, matrix, (side, side), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE
    )
    return Donor(np.asarray(np.clip(image, 0, 255)), np.asarray(labels), donor.name)


def _nearest_class(labels: Labels, hole: Mask, allowed: tuple[int, ...]) -> Labels:
    """Return for every pixel the class of the nearest allowed pixel outside the hole."""
    best = np.full(labels.shape, np.inf, np.float32)
    nearest = np.zeros(labels.shape, np.uint8)
    for value in allowed:
        there = (labels == value) & ~hole
        if not there.any():
            continue
        away = cv2.distanceTransform((~there).astype(np.uint8), cv2.DIST_L2, 5)
        closer = away < best
        best[closer], nearest[closer] = away[closer], value
    return nearest


def _interior(labels: Labels, target: Labels, changed: Mask, unit: float) -> Mask:
    """Return pixels whose content moves although their label stays: what a reshape drags along."""
    inside = np.zeros(labels.shape, np.bool_)
    if not changed.any():
        return inside
    concerned = set(np.unique(labels[changed])) | set(np.unique(target[changed]))
    for value in concerned - set(SETTING):
        edge = changed & ((labels == value) | (target == value))
        reach = grow(edge, 2.5 * min(depth(edge), float(len(edge))) + 4 * unit)
        inside |= reach & (labels == value) & (target == value)
    return inside


def _frame(side: int) -> Float:
    """Return 1 inside the crop, falling to 0 at its border, which is no border of the photo."""
    distance = np.minimum(np.arange(side), np.arange(side)[::-1]).astype(np.float32)
    ramp = np.clip(distance / (0.08 * side), 0, 1)
    ramp = ramp * ramp * (3 - 2 * ramp)
    return np.asarray(np.minimum(ramp[:, None], ramp[None, :]), np.float32)
