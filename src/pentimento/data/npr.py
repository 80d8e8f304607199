"""NPRportrait: 100 manual face maps (Bultemeier, NPRportrait-segmentation, CC BY 4.0).

The maps are layouts of faces of every kind; the photos exist as thumbnails only, of several
licences. These faces are therefore for validation, never for training.

Colours of the maps tell 15 classes, some of them wider than ours: `skin` includes the neck and
`lips` both lips. Skin well below the mouth is `IGNORE` here; lips are parted at the mouth's middle.
"""

from functools import partial
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pentimento.data.faces import Face, FaceSample, aligned, read_rgb
from pentimento.errors import DataError
from pentimento.labels import CELEBAMASK19, IGNORE

_LABELS, _PHOTOS = "segmentations", "thumbnails/images"
_COLOURS: Final = {
    (49, 130, 189): "skin", (107, 174, 214): "cloth", (230, 85, 13): "eye", (253, 141, 60): "nose",
    (253, 174, 107): "ear", (49, 163, 84): "hair", (116, 196, 118): "brow",
    (161, 217, 155): "skin",  # facial hair
    (117, 107, 177): "lip", (158, 154, 200): "mouth", (188, 189, 220): "mouth",
    (150, 150, 150): "hat", (189, 189, 189): "eye_g", (0, 0, 0): "background",
}  # fmt: skip

Mask = NDArray[np.bool_]


def npr_faces(folder: Path) -> list[Face]:
    """Return the faces that show both eyes and the mouth, all of them for validation.

    Raises:
        DataError: the folder does not hold the maps and the thumbnails.
    """
    maps = sorted((folder / _LABELS).rglob("*.png"))
    faces = []
    for labels in maps:
        photo = folder / _PHOTOS / labels.relative_to(folder / _LABELS)
        found = list(photo.parent.glob(f"{photo.stem}.*")) if photo.parent.is_dir() else []
        if found and _landmarks(_masks(read_rgb(labels))) is not None:
            person = f"npr-{labels.parent.parent.name}-{labels.parent.name}-{labels.stem}"
            faces.append(Face(person, partial(_read, found[0], labels, person), "val"))
    if not faces:
        raise DataError(
            f"{folder}: expected {_LABELS}/**/*.png with photos of the same names in {_PHOTOS}/; "
            f"found {len(maps)} maps and no pair"
        )
    return faces


def _masks(colours: NDArray[np.uint8]) -> dict[str, Mask]:
    code = colours.astype(np.int32) @ np.array([65536, 256, 1])
    masks: dict[str, Mask] = {}
    for (r, g, b), name in _COLOURS.items():
        masks[name] = masks.get(name, np.zeros(code.shape, bool)) | (
            code == r * 65536 + g * 256 + b
        )
    return masks


def _landmarks(masks: dict[str, Mask]) -> NDArray[np.float64] | None:
    """Return image-left eye, image-right eye and mouth (3, 2) in pixels, or None."""
    count, _, stats, centres = cv2.connectedComponentsWithStats(masks["eye"].astype(np.uint8))
    large = np.argsort(-stats[1:count, cv2.CC_STAT_AREA])[:2] + 1
    mouth = np.argwhere(masks["lip"] | masks["mouth"])
    if len(large) < 2 or not len(mouth):
        return None
    left, right = sorted((centres[i] for i in large), key=lambda xy: float(xy[0]))
    low, high = np.quantile(mouth[:, 1], [0.02, 0.98])
    middle = np.array([(low + high) / 2, mouth[:, 0].mean()])
    return np.stack([left, right, middle]) + 0.5


def _read(photo: Path, labels: Path, person: str, size: int) -> FaceSample:
    masks = _masks(read_rgb(labels))
    points = _landmarks(masks)
    assert points is not None  # such faces are not listed
    eyes, mouth = points[:2].mean(0), points[2]
    down = mouth - eyes
    height, width = masks["skin"].shape
    y, x = np.mgrid[:height, :width] + 0.5
    image_right = (x - eyes[0]) * down[1] - (y - eyes[1]) * down[0] > 0
    depth = ((x - eyes[0]) * down[0] + (y - eyes[1]) * down[1]) / (down @ down)  # 0 eyes, 1 mouth

    values = np.full((height, width), IGNORE, np.uint8)
    for name in ("background", "cloth", "nose", "hair", "mouth", "hat", "eye_g"):
        values[masks[name]] = CELEBAMASK19.value(name)
    values[masks["skin"] & (depth < 1.4)] = CELEBAMASK19.value("skin")
    for name in ("eye", "ear", "brow"):
        right, left = CELEBAMASK19.values(f"r_{name}", f"l_{name}")
        values[masks[name]] = np.where(image_right, left, right)[masks[name]]
    upper, lower = CELEBAMASK19.values("u_lip", "l_lip")
    values[masks["lip"]] = np.where(depth < 1, upper, lower)[masks["lip"]]

    image = cv2.resize(read_rgb(photo), (width, height), interpolation=cv2.INTER_CUBIC)
    return aligned(np.asarray(image, np.uint8), values, points, person, size)
