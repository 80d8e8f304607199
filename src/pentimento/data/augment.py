"""Augmentations of faces: strong enough that a parser trained on drawn faces survives photos.

Every function takes a `FaceSample` and a generator and returns a new sample. Labels stay true:
geometry moves both alike, mirroring swaps the subject's left and right, and pixels whose class is
no longer known (beyond the picture, behind an occluder) become `IGNORE`. What real pictures vary
in and rendered ones do not (Tremblay et al. 2018, domain randomisation) is exaggerated on purpose.
"""

from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pentimento.data.faces import FaceSample
from pentimento.labels import CELEBAMASK19, IGNORE, LabelSet

Rng = np.random.Generator


def mirror_table(labels: LabelSet) -> NDArray[np.uint8]:
    """Return a 256-entry table that swaps every `l_` class with its `r_` partner."""
    table = np.arange(256, dtype=np.uint8)
    for value, name in enumerate(labels.classes):
        partner = {"l_": "r_", "r_": "l_"}.get(name[:2], "") + name[2:]
        # `l_lip` is the lower lip: it has no partner called `r_lip`.
        if partner in labels.classes:
            table[value] = labels.value(partner)
    return table


_MIRROR: Final = mirror_table(CELEBAMASK19)


def augment(sample: FaceSample, rng: Rng) -> FaceSample:
    """Return a random variation of a face, for training."""
    if rng.random() < 0.5:
        sample = mirror(sample)
    if rng.random() < 0.35:  # some are met as they are, moved at most: sharp, in their own colours
        return move(sample, rng)
    if rng.random() < 0.4:
        sample = new_background(sample, rng)
    if rng.random() < 0.3:
        sample = recolour(sample, rng)
    if rng.random() < 0.9:
        sample = move(sample, rng)
    if rng.random() < 0.15:
        sample = occlude(sample, rng)
    return photograph(sample, rng)


def mirror(sample: FaceSample) -> FaceSample:
    """Mirror the face; the subject's left becomes the right."""
    return FaceSample(
        np.ascontiguousarray(sample.image[:, ::-1]),
        np.ascontiguousarray(_MIRROR[sample.labels][:, ::-1]),
        sample.person,
    )


def move(sample: FaceSample, rng: Rng) -> FaceSample:
    """Rotate, scale, stretch and shift; what comes in from outside is unknown or a flat frame."""
    size = sample.labels.shape[0]
    angle = np.deg2rad(rng.normal(0, 8))
    scale = np.exp(rng.normal(0, 0.13))
    stretch = np.exp(rng.normal(0, 0.05))
    shear = rng.normal(0, 0.04)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ np.array([[scale * stretch, shear], [0, scale / stretch]])
    middle = np.full(2, (size - 1) / 2)
    shift = middle - linear @ middle + rng.normal(0, 0.05, 2) * size
    matrix = np.column_stack([linear, shift])
    framed = rng.random() < 0.3
    frame = ((0, 0, 0), (255, 255, 255), rng.integers(0, 256, 3))[rng.integers(3)]
    image = cv2.warpAffine(
        sample.image,
        matrix,
        (size, size),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT if framed else cv2.BORDER_REFLECT,
        borderValue=tuple(float(c) for c in frame),
    )
    labels = cv2.warpAffine(
        sample.labels,
        matrix,
        (size, size),
        flags=cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(0 if framed else IGNORE,),
    )
    return FaceSample(_u8(image), _u8(labels), sample.person)


def new_background(sample: FaceSample, rng: Rng) -> FaceSample:
    """Put random texture behind the head, where the label says background."""
    size = sample.labels.shape[0]
    behind = (sample.labels == 0).astype(np.float32)
    soft = cv2.GaussianBlur(behind, (0, 0), size / 256)[..., None] * behind[..., None]
    image = sample.image * (1 - soft) + _texture(size, rng) * soft
    return FaceSample(_u8(image), sample.labels, sample.person)


def recolour(sample: FaceSample, rng: Rng) -> FaceSample:
    """Shift the colour of every class by its own amount, as if painted with other materials."""
    size = sample.labels.shape[0]
    shifts = np.zeros((256, 3), np.float32)
    shifts[: len(CELEBAMASK19)] = rng.normal(0, 12, (len(CELEBAMASK19), 3))
    shifts[: len(CELEBAMASK19)] += rng.normal(0, 14, (len(CELEBAMASK19), 1))
    for name in ("nose", "l_ear", "r_ear", "neck"):  # skin is one material
        shifts[CELEBAMASK19.value(name)] *= 0.3
        shifts[CELEBAMASK19.value(name)] += shifts[CELEBAMASK19.value("skin")]
    field = cv2.GaussianBlur(shifts[sample.labels], (0, 0), size / 160)
    return FaceSample(_u8(sample.image + field), sample.labels, sample.person)


def occlude(sample: FaceSample, rng: Rng) -> FaceSample:
    """Cover a random blob with texture; what lies behind it is unknown."""
    size = sample.labels.shape[0]
    around = np.sort(rng.uniform(0, 2 * np.pi, 7))
    reach = rng.uniform(0.06, 0.22) * size * rng.uniform(0.5, 1, 7)
    blob = rng.uniform(0, size, 2) + np.stack([np.cos(around), np.sin(around)], 1) * reach[:, None]
    covered = np.zeros((size, size), np.uint8)
    cv2.fillPoly(covered, [np.round(blob).astype(np.int32)], (1,))
    inside = covered.astype(bool)
    image = np.where(inside[..., None], _texture(size, rng), sample.image)
    labels = np.where(inside, np.uint8(IGNORE), sample.labels)
    return FaceSample(_u8(image), _u8(labels), sample.person)


def photograph(sample: FaceSample, rng: Rng) -> FaceSample:
    """Light, lens, sensor and file: tone, colour cast, blur, noise and JPEG; labels stay."""
    image: Any = _tone(sample.image, rng)
    if rng.random() < 0.25:
        grey = image @ np.array([0.299, 0.587, 0.114], np.float32)
        image = np.repeat(grey[..., None], 3, 2)
    size = sample.labels.shape[0]
    if rng.random() < 0.15:  # light from one side
        y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j].astype(np.float32)
        angle = rng.uniform(0, 2 * np.pi)
        side = x * np.cos(angle) + y * np.sin(angle)
        image = image * np.exp(rng.uniform(0.1, 0.5) * side)[..., None].astype(np.float32)
    if rng.random() < 0.2:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.6) * size / 192)
    if rng.random() < 0.15:  # a small face that was enlarged
        small = max(24, round(size * rng.uniform(0.3, 0.8)))
        image = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA)
        image = cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.5:
        image = image + rng.normal(0, rng.uniform(1, 10), image.shape).astype(np.float32)
    pixels = _u8(image)
    if rng.random() < 0.4:
        quality = int(rng.integers(25, 95))  # which channel is called red does not matter here
        coded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        pixels = _u8(cv2.imdecode(coded, cv2.IMREAD_COLOR))
    return FaceSample(pixels, sample.labels, sample.person)


def _tone(image: NDArray[np.uint8], rng: Rng) -> NDArray[np.float32]:
    """Gamma, contrast, brightness and cast by one table per channel, then saturation."""
    ramp = np.linspace(0, 1, 256, dtype=np.float32)[:, None]
    gamma = np.exp(rng.normal(0, 0.3) + rng.normal(0, 0.06, 3))
    contrast = np.exp(rng.normal(0, 0.2))
    offset = rng.normal(0, 0.08) + rng.normal(0, 0.04, 3)
    table = ((ramp**gamma - 0.5) * contrast + 0.5 + offset).clip(0, 1) * 255
    toned = np.stack([table[:, c][image[..., c]] for c in range(3)], -1).astype(np.float32)
    grey = toned.mean(-1, keepdims=True)
    return np.asarray(grey + (toned - grey) * np.exp(rng.normal(0, 0.3)), np.float32)


def _texture(size: int, rng: Rng) -> NDArray[np.float32]:
    """Return (size, size, 3) in [0, 255]: noise of several scales with flat shapes upon it."""
    field = np.zeros((size, size, 3), np.float32) + rng.uniform(0, 255) * rng.uniform(0.5, 1, 3)
    for cells in (2, 5, 12, 40):
        noise = rng.normal(0, rng.uniform(0, 45), (cells, cells, 3)).astype(np.float32)
        if rng.random() < 0.5:
            noise[...] = noise.mean(-1, keepdims=True)
        field += cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC)
    canvas = np.ascontiguousarray(field, np.float32)
    for _ in range(int(rng.integers(0, 7))):
        corners = rng.uniform(-0.2, 1.2, (int(rng.integers(3, 6)), 2)) * size
        colour = tuple(float(c) for c in rng.uniform(0, 255, 3))
        cv2.fillPoly(canvas, [np.round(corners).astype(np.int32)], colour)
    return canvas.clip(0, 255)


def _u8(image: Any) -> NDArray[np.uint8]:
    if image.dtype != np.uint8:
        image = np.rint(image.clip(0, 255))
    return np.ascontiguousarray(image, np.uint8)
