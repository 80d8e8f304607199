"""The non-parametric painter: align, warp, extend, blend. No weights, no training.

What the paper on mask-guided editing contrasts itself with, done carefully. Regions that moved are
carried by a smooth field between their contours (`ops.regions.register`), what was uncovered is
continued from what lies around it, another face's features are laid in under this face's light,
its hair is matted over the result, and looks are transferred as colour distributions. `paste` is
the crudest form, for measurements.

Alphabet: S side of the scene's window in pixels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final, TypeAlias

import cv2
import numpy as np

from pentimento.ops.blend import (
    colour_transfer,
    extend,
    from_light,
    guided,
    low_pass,
    nearest,
    push_pull,
    to_lab,
    to_light,
    without,
)
from pentimento.ops.regions import (
    Labels,
    Mask,
    box_around,
    carry,
    disc,
    grow,
    main_pieces,
    radial,
    signed_distance,
    stacked,
)
from pentimento.ops.warp import Float, flow_warp
from pentimento.session.complexion import (
    SKIN,
    complexion,
    features_laid,
    lips_laid,
)
from pentimento.session.scene import (
    ABOUT,
    FACE,
    FEATURES,
    LIPS,
    PAINTED,
    SETTING,
    VALUE,
    Donor,
    Scene,
)
from pentimento.session.unseen import TYPICAL, mouth_inside, white_of

_BROWS: Final = (VALUE["l_brow"], VALUE["r_brow"])
_EYES: Final = (VALUE["l_eye"], VALUE["r_eye"])
_REPAINTED: Final = (*_BROWS, VALUE["nose"])
"""Features whose new shapes the generator paints better than a warp; its eyes and lips are soft."""
_ASTRAY: Final = 8.0
"""Grey levels between warp and generator from which on the warp's detail is out of place, too."""
_STILL: Final = 0.7
"""Share of the broad light that stays where it was when the skin beneath it moves."""
_COLOURED: Final = 24.0
"""Spread of a pixel's channels that a tenth of any colour photo reaches."""
_SHUT: Final = 0.08
"""Area of a mouth's inside over its squared width, below which it is a line between lips."""
_EYES_KEEP: Final = 0.7
"""Share of their own colour that another's eyes keep; the rest follows the skin around them."""


@dataclass(frozen=True)
class Painted:
    """A painter's answer in the frame of the crop.

    Attributes:
        image: (S, S, 3) the new crop, 0..255; equals the source where the scene's weight is 0.
        keep: (S, S) 1 where the source's own finest detail belongs, 0 where it was replaced.
    """

    image: Float
    keep: Float


@dataclass(frozen=True)
class Tone:
    """A generator's opinion, in the frame (`session.repaint`).

    Attributes:
        before: (S, S, 3) its picture of the source.
        after: (S, S, 3) its picture of the edit.
        known: (S, S) where it has one: the face's square.
    """

    before: Float
    after: Float
    known: Mask

    def within(self, window: tuple[slice, slice]) -> "Tone":
        """Return the part of it that a window of the frame shows."""
        return Tone(self.before[window], self.after[window], self.known[window])


Note: TypeAlias = Callable[[str], None]
Ask: TypeAlias = Callable[[], Tone]
"""Gives a tone where it is needed: a generator's picture takes time, and not all edits need it."""


def paint(scene: Scene, ask: Ask | None = None, note: Note = lambda stage: None) -> Painted:
    """Paint a scene.

    Args:
        scene: what is wanted.
        ask: gives a tone, from which new content takes its low frequencies.
        note: called before each layer; whatever it raises ends the painting.
    """
    rows, columns = scene.window()
    if rows.start == rows.stop:
        return Painted(scene.image, np.ones(scene.labels.shape, np.float32))
    part = scene.within((rows, columns))
    new, moved = _Canvas(part, ask and (lambda: ask().within((rows, columns))), note).painted()
    image = scene.image.copy()
    weight = part.weight[..., None]
    image[rows, columns] = part.image + weight * (new - part.image)
    keep = np.ones(scene.labels.shape, np.float32)
    keep[rows, columns] = 1 - moved
    return Painted(image, keep)


def paste(scene: Scene) -> Painted:
    """Put donors' pixels where they are wanted, else the nearest pixel of the class: unblended."""
    image = scene.image.copy()
    for value in np.unique(scene.target[scene.core]):
        donor = scene.swaps.get(int(value))
        image_from = donor.image if donor else scene.image
        have = (donor.labels if donor else scene.labels) == value
        want = scene.core & (scene.target == value)
        if not have.any():
            image[want] = TYPICAL[list(VALUE)[int(value)]]
            continue
        y, x = nearest(have)
        image[want] = image_from[y[want], x[want]]
    for style in {id(s): s for s in scene.styles.values()}.values():
        inside = np.isin(scene.target, style.classes)
        image[inside] += style.amount * (style.pixels.mean(0) - image[inside].mean(0))
    image = np.where(scene.core[..., None], np.clip(image, 0, 255), scene.image)
    return Painted(image, (~scene.core).astype(np.float32))


class _Canvas:
    """The layers of one painting, from back to front."""

    def __init__(self, scene: Scene, ask: Ask | None, note: Note) -> None:
        self.scene = scene
        self._ask = ask
        self._note = note
        self.unit = scene.unit
        self.moved = np.zeros(scene.labels.shape, np.bool_)
        # A hair's edge is matted over what lies beneath, so what lies beneath must be known there.
        self.hair = scene.target == VALUE["hair"]
        self.beneath = without(scene.target, VALUE["hair"]) if self.hair.any() else scene.target

    @cached_property
    def tone(self) -> Tone | None:
        return None if self._ask is None else self._ask()

    def painted(self) -> tuple[Float, Float]:
        """Return the new window (S, S, 3) and how much of it was replaced (S, S)."""
        scene = self.scene
        image, labels = self._features_taken()
        changed = scene.target != scene.labels
        self.moved |= changed
        swapped = np.isin(scene.target, [v for v in scene.swaps if v not in FEATURES])
        if changed.any() or swapped.any():
            image = self._layered(image, labels)
        image = self._repainted(image)
        image = self._restyled(image)
        moved = cv2.GaussianBlur(self.moved.astype(np.float32), (0, 0), 1.5 * self.unit)
        return image, np.maximum(moved, self.moved.astype(np.float32))

    def _features_taken(self) -> tuple[Float, Labels]:
        """Return image and labels with the donors' eyes, brows, nose and mouth."""
        scene = self.scene
        image, labels = scene.image, scene.labels.copy()
        groups: dict[int, tuple[Donor, list[int]]] = {}
        for value, donor in scene.swaps.items():
            if value in FEATURES:
                groups.setdefault(id(donor), (donor, []))[1].append(value)
        for donor, values in groups.values():
            lips = [v for v in values if v in LIPS]
            if lips:
                image = lips_laid(image, scene, donor, lips)
                own, theirs = np.isin(scene.labels, lips), donor.mask(lips)
                theirs &= np.isin(scene.labels, FACE)
                labels[own] = VALUE["skin"]
                labels[theirs] = donor.labels[theirs]
                self.moved |= grow(own | theirs, 5 * self.unit)
                values = [v for v in values if v not in LIPS]
            if not values:
                continue
            own, theirs = np.isin(scene.labels, values), donor.mask(values)
            theirs &= np.isin(scene.labels, FACE)
            domain = grow(own | theirs, 5 * self.unit) & np.isin(scene.labels, FACE)
            domain &= donor.mask(FACE)  # strands over a brow stay where they are
            others = [v for v in FEATURES if v not in values]
            domain &= ~(np.isin(labels, others) & ~theirs)
            image = features_laid(image, scene, donor, domain)
            eyes = theirs & np.isin(donor.labels, _EYES)
            share = _EYES_KEEP * cv2.GaussianBlur(eyes.astype(np.float32), (0, 0), self.unit)
            image = image + (share * eyes)[..., None] * (donor.image - image)
            labels[own] = VALUE["skin"]
            labels[theirs] = donor.labels[theirs]
            self.moved |= domain
        return image, labels

    def _layered(self, image: Float, labels: Labels) -> Float:
        """Return all classes' contents, composed along the soft edges of the wanted labels."""
        scene = self.scene
        total = np.zeros_like(image)
        share = np.zeros(labels.shape, np.float32)
        active = scene.weight > 0
        content = self._face(image, labels)
        sigma = 0.7 * self.unit
        for value in np.unique(self.beneath[active]):
            if value not in FACE:
                layer = self._object(int(value), image, labels)
            elif value == VALUE["skin"]:
                layer = content
            else:
                continue  # features lie in the face's own layer
            member = np.isin(self.beneath, FACE) if value in FACE else self.beneath == value
            alpha = cv2.GaussianBlur(member.astype(np.float32), (0, 0), sigma)
            total += alpha[..., None] * layer
            share += alpha
        if not (np.unique(self.beneath[active]) == VALUE["skin"]).any():
            alpha = cv2.GaussianBlur(np.isin(self.beneath, FACE).astype(np.float32), (0, 0), sigma)
            total += alpha[..., None] * content
            share += alpha
        rest = np.where(share[..., None] > 0.02, total / np.maximum(share, 0.02)[..., None], image)
        if not (self.hair & active).any():
            return rest
        hair = self._object(VALUE["hair"], image, labels)
        alpha = self._matte()[..., None]
        return np.asarray(rest + alpha * (hair - rest), np.float32)

    def _matte(self) -> Float:
        """Return the hair's opacity; strands of a donor's hair are found in the donor's picture."""
        soft = cv2.GaussianBlur(self.hair.astype(np.float32), (0, 0), 1.1 * self.unit)
        donor = self.scene.swaps.get(VALUE["hair"])
        if donor is None:
            return np.asarray(soft, np.float32)
        guide = donor.image.mean(2) / np.float32(255)
        fine = guided(guide, self.hair.astype(np.float32), max(2, round(4 * self.unit)), 2e-3)
        as_shot = grow((donor.labels == VALUE["hair"]) ^ self.hair, 6 * self.unit)
        sharp = np.clip(1.15 * fine - 0.075, 0, 1)
        return np.asarray(np.where(as_shot, soft, sharp), np.float32)

    def _face(self, image: Float, labels: Labels) -> Float:
        """Return the layer of the face: skin and features, carried to their new places."""
        scene = self.scene
        near = scene.weight > 0
        opens = self._mouth_opens(labels, near)
        shapes = [
            v
            for v in FEATURES
            if ((labels == v) & near).any() or ((scene.target == v) & near).any()
        ]
        bands = [VALUE["u_lip"], VALUE["l_lip"]] if opens else []
        shapes = [v for v in shapes if not (opens and v in LIPS)]
        lift = self._lift(labels)
        if lift is not None:
            carried = flow_warp(labels, lift, nearest=True)
            left = np.where(np.isin(labels, _BROWS), np.uint8(VALUE["skin"]), labels)
            image = flow_warp(image, lift)
            labels = np.where(np.isin(carried, _BROWS), carried, left)
            shapes = [v for v in shapes if v not in _BROWS]
            self.moved |= (np.abs(lift).max(-1) > 0.2) & near
        field = self._field([labels == v for v in shapes], [scene.target == v for v in shapes])
        if bands:
            parted = stacked(
                [labels == v for v in bands], [scene.target == v for v in bands], 14 * self.unit
            )
            field = parted if field is None else field + parted
        here = labels
        if field is not None:
            still, image = image, flow_warp(image, field)
            here = flow_warp(labels, field, nearest=True)
            image = self._light_kept(still, labels, image, here)
            self.moved |= (np.hypot(field[..., 0], field[..., 1]) > 0.2) & near
        for value in FACE:
            want = (self.beneath == value) & near
            have = here == value
            # Between parts of the face a contour that is missed by a little is not worth a patch.
            near_enough = grow(have, 2 * self.unit) & np.isin(here, FACE)
            if value == VALUE["skin"]:
                have &= ~scene.halo
                near_enough &= ~scene.halo
            if value == VALUE["mouth"] and opens:
                # The line between closed lips is no inside of a mouth, however far it is stretched.
                have, near_enough = np.zeros_like(have), np.zeros_like(have)
            missing = want & ~have & ~near_enough
            if not missing.any():
                continue
            filled = self._extended(value, image, have, missing)
            soft = cv2.GaussianBlur(missing.astype(np.float32), (0, 0), 0.8 * self.unit)
            soft = np.maximum(soft, missing)[..., None]
            image = image + soft * (filled - image)
        return image

    def _lift(self, labels: Labels) -> Float | None:
        """Return the field that raises or lowers brows as wholes, None if they rest.

        The skin about a brow goes with it, and so do the hairs that the mask has missed; the eye
        below stays, what lies between stretches.
        """
        target, unit = self.scene.target, self.unit
        total = np.zeros((*labels.shape, 2), np.float32)
        for brow, eye in zip(_BROWS, _EYES, strict=True):
            here, there = labels == brow, target == brow
            if not (here ^ there).any() or not here.any() or not there.any():
                continue
            down, right = np.argwhere(here).mean(0) - np.argwhere(there).mean(0)
            if abs(down) < max(unit, 2 * abs(right)):
                continue
            lids = grow(labels == eye, 2 * unit) & ~grow(here | there, unit)
            total += stacked([here, lids], [there, lids], ABOUT * unit)
        weight = np.minimum(1, 2 * self.scene.weight)[..., None]
        return total * weight if total.any() else None

    def _light_kept(self, still: Float, labels: Labels, moved: Float, here: Labels) -> Float:
        """Return moved skin in the broad light that fell on its place before.

        A nose that is squeezed carries its edges along; the shade of its flanks, squeezed as well,
        would pile up beside the bridge.
        """
        then, now = np.isin(labels, SKIN), np.isin(here, SKIN)
        lit = to_light(moved)
        sigma = 4 * self.unit
        change = low_pass(to_light(still), then, sigma) - low_pass(lit, now, sigma)
        soft = cv2.GaussianBlur((then & now).astype(np.float32), (0, 0), self.unit) * now
        return from_light(lit + _STILL * soft[..., None] * change)

    def _object(self, value: int, image: Float, labels: Labels) -> Float:
        """Return the layer of hair, hat, glasses, ears, neck, clothes or background."""
        scene = self.scene
        donor = scene.swaps.get(value)
        have = (donor.labels if donor else labels) == value
        want = self.hair if value == VALUE["hair"] else scene.target == value
        content = self._toned(donor, value) if donor else image
        # What is only cut short or covered stays as it is; what must reach further is stretched.
        if value not in SETTING and (want & ~have & (scene.weight > 0)).sum() > 30 * self.unit**2:
            field = self._field([have], [want])
            if value == VALUE["hair"] and donor is None and field is not None:
                field = self._hair_field(have, want)
            if field is not None:
                content = flow_warp(content, field)
                have = flow_warp(have.astype(np.uint8), field, nearest=True) > 0
                length = np.hypot(field[..., 0], field[..., 1])
                self.moved |= want & (length > 0.2) & (scene.weight > 0)
        if donor:
            self.moved |= want
        near = grow(want, 6 * self.unit) & (scene.weight > 0)
        return self._extended(value, content, have, near)

    def _toned(self, donor: Donor, value: int) -> Float:
        """Return the donor's picture in the light of the scene, judged by the two skins."""
        own = np.isin(self.scene.labels, SKIN)
        theirs = donor.mask(SKIN)
        if own.sum() < 50 or theirs.sum() < 50:
            return donor.image
        if value in (VALUE["l_ear"], VALUE["r_ear"], VALUE["neck"]):
            return colour_transfer(donor.image, theirs, self.scene.image[own])
        levels = [
            float(np.median(to_lab(picture)[mask][:, 0]))
            for picture, mask in ((self.scene.image, own), (donor.image, theirs))
        ]
        gain = np.clip(levels[0] / max(levels[1], 1.0), 0.75, 1.3)
        return np.asarray(np.clip(donor.image * gain, 0, 255), np.float32)

    def _extended(self, value: int, image: Float, known: Mask, need: Mask) -> Float:
        """Return the class continued to where it is needed, free of its neighbours' halo."""
        self._note("paint")
        scene = self.scene
        rim = 2.0 if value in SETTING else 1.0
        specks = np.zeros_like(known)
        if value in (*SETTING, VALUE["cloth"]):  # skin that was taken for cloth must not spread
            specks, known = known & ~main_pieces(known), main_pieces(known)
        if value not in FACE and (scene.halo & (scene.target == value)).any():
            known = known & ~grow(scene.halo, 4 * self.unit)  # loose strands beside removed hair
        sure = cv2.erode(known.astype(np.uint8), disc(rim * self.unit), borderValue=1) > 0
        sure = sure if sure.sum() >= 0.2 * known.sum() else known
        new = (scene.target == value) & (scene.weight > 0) & ~known
        if sure.sum() < 12:
            if value == VALUE["mouth"]:
                white = white_of(
                    scene.image,
                    np.isin(scene.labels, _EYES),
                    np.isin(scene.labels, SKIN),
                )
                drawn = mouth_inside(scene.target == VALUE["mouth"], white, self.unit)
                return self._as_colourful(drawn)
            if value in PAINTED and self.tone is not None:
                return push_pull(self._trusted(value, self.tone), self.tone.known)
            colour = np.array(TYPICAL[list(VALUE)[value]], np.float32)
            filled = self._as_colourful(np.broadcast_to(colour, image.shape).astype(np.float32))
        elif (need & ~sure).any():
            box = box_around(need, int(24 * self.unit))
            box = box if sure[box].sum() > 12 else (slice(None), slice(None))
            filled = image.copy()
            filled[box] = extend(image[box], sure[box], 3 * self.unit)
        else:
            filled = image
        if specks.any():
            filled = np.where(specks[..., None], image, filled)
        if value in PAINTED and new.any() and self.tone is not None:
            return self._told(value, filled, new, self.tone)
        return filled

    def _as_colourful(self, drawn: Float) -> Float:
        """Return what was drawn without a model, grey in a grey photo."""
        chroma = np.ptp(self.scene.image, -1)
        share = np.float32(np.clip(np.quantile(chroma, 0.9) / _COLOURED, 0, 1))
        grey = drawn.mean(-1, keepdims=True)
        return np.asarray(grey + share * (drawn - grey), np.float32)

    def _mouth_opens(self, labels: Labels, near: Mask) -> bool:
        """Return whether the mouth was shut and shall be open; teeth that were seen are kept."""
        lips = np.isin(labels, LIPS)
        if not (lips & near).any() or not (self.scene.target == VALUE["mouth"]).any():
            return False
        wide = float(np.ptp(np.nonzero(lips)[1])) + 1
        shown, wanted = (int((of == VALUE["mouth"]).sum()) for of in (labels, self.scene.target))
        return wanted > 4 * shown and shown < _SHUT * wide**2

    def _trusted(self, value: int, tone: Tone) -> Float:
        """Return the generator's picture of the edit, freed of the error it makes on the class."""
        scene = self.scene
        seen = tone.known & (scene.labels == value)
        if seen.sum() < 12:
            seen = tone.known & np.isin(scene.labels, PAINTED)
        error = (scene.image - tone.before)[seen].mean(0) if seen.any() else np.zeros(3)
        return np.asarray(np.clip(tone.after + error, 0, 255), np.float32)

    def _told(self, value: int, filled: Float, new: Mask, tone: Tone) -> Float:
        """Return the content with the generator's low frequencies where it is new."""
        sigma = 4 * self.unit
        wide = grow(new, 2 * self.unit) & tone.known
        # At the class's border and beyond the generator paints its neighbours: they have no say.
        own = (self.scene.target == value).astype(np.uint8)
        inside = wide & (cv2.erode(own, disc(1.5 * self.unit), borderValue=1) > 0)
        if not inside.any():
            return filled
        wanted = low_pass(self._trusted(value, tone), inside, sigma)
        shift = np.where(wide[..., None], wanted - low_pass(filled, inside, sigma), 0)
        return np.asarray(filled + shift, np.float32)

    def _repainted(self, image: Float) -> Float:
        """Return the picture with reshaped features as the generator paints them.

        All that its resolution can show is its own; what is finer is the picture's, as far as the
        warp agrees with it. It is freed of the error that it makes on what did not change.
        """
        scene, unit = self.scene, self.unit
        face = np.isin(scene.labels, FACE) & np.isin(scene.target, FACE) & (scene.weight > 0)
        changed = np.zeros_like(face)
        for value in _REPAINTED:
            here, there = scene.labels == value, scene.target == value
            new = (here ^ there) & face
            # What hair covers or bares of a feature does not reshape it.
            if value not in scene.swaps and new.sum() > 0.25 * there.sum():
                changed |= (here | there) & face
        if not changed.any() or self.tone is None:
            return image
        tone, near = self.tone, grow(changed, 16 * unit)
        still = near & tone.known & ~grow(changed, 6 * unit)
        error = low_pass(scene.image - tone.before, still, 4 * unit)
        wanted = np.clip(tone.after + error, 0, 255)
        share = grow(changed, 5 * unit) & tone.known & face
        soft = cv2.GaussianBlur(share.astype(np.float32), (0, 0), 1.5 * unit)[..., None]
        change = wanted - image
        broad = cv2.GaussianBlur(change, (0, 0), 0.5 * unit)
        gap = cv2.GaussianBlur(np.abs(broad).mean(-1), (0, 0), unit)[..., None]
        agree = np.exp(-((gap / _ASTRAY) ** 2))
        return np.asarray(image + soft * (change + agree * (broad - change)), np.float32)

    def _field(self, have: list[Mask], want: list[Mask]) -> Float | None:
        """Return the field that carries the shapes to where they are wanted, None if they rest."""
        weight = self.scene.weight
        pairs = [(a, b) for a, b in zip(have, want, strict=True) if a.any() and b.any()]
        differs = [float(((a ^ b) & (weight > 0)).sum()) for a, b in pairs]
        if max(differs, default=0.0) < 8 * self.unit**2:  # a few pixels of 256: no movement
            return None
        return carry([a for a, _ in pairs], [b for _, b in pairs], weight)

    def _hair_field(self, have: Mask, want: Mask) -> Float:
        """Return the field that lets hair stand farther from the face, strand by strand."""
        face = np.isin(self.scene.labels, FACE)
        seen = face if face.any() else have
        y, x = np.nonzero(seen)
        most = max(0.0, -float(signed_distance(have)[want].min())) + 4 * self.unit
        sure = cv2.erode(have.astype(np.uint8), disc(1.2 * self.unit), borderValue=1) > 0
        return radial(sure, want, (float(x.mean()), float(y.mean())), most)

    def _shading(self, inside: Mask, tone: Tone) -> Float:
        """Return how the generator's change of a region's light varies over the region.

        Its mean and its colours are left out: what colour the region shall have is seen in the
        reference itself.
        """
        seen = inside & tone.known
        if not seen.any():
            return np.zeros_like(tone.after)
        change = low_pass(tone.after - tone.before, seen, 4 * self.unit)
        light = change.mean(-1, keepdims=True)
        return push_pull(np.broadcast_to(light - light[seen].mean(), change.shape), seen)

    def _restyled(self, image: Float) -> Float:
        """Return the picture with the looks that were asked for."""
        styles = {id(style): style for style in self.scene.styles.values()}
        for style in styles.values():
            inside = np.isin(self.scene.target, style.classes)
            if inside.sum() < 12 or len(style.pixels) < 12:
                continue
            soft = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), 1.2 * self.unit)[..., None]
            if VALUE["skin"] in style.classes:
                image = complexion(image, self.scene, inside, style)
                continue
            change = style.amount * (colour_transfer(image, inside, style.pixels) - image)
            if set(style.classes) & set(PAINTED) and self.tone is not None:
                change = change + self._shading(inside, self.tone)
            image = image + soft * change
        return np.asarray(image, np.float32)
