"""Named label sets of face parsing and the explicit remaps between them.

Left and right are always the *subject's*. Official Helen files call the image-left eye "left"; its
names are turned round here, so the values of a Helen file are unchanged and only the words differ.

Sources: CelebAMask-HQ (order and demo colours), Mask-Guided Portrait Editing (Helen, 11 classes),
zllrunning's BiSeNet (a third order of the CelebAMask-HQ classes).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

IGNORE: Final = 255
"""Value of pixels without a truth, in every label set; never a class."""


@dataclass(frozen=True)
class LabelSet:
    """An ordered list of classes; the position of a name is its value in a label map.

    Attributes:
        name: key in `LABEL_SETS`.
        classes: class names in order, `classes[0]` being the background.
        colours: one RGB triple (0..255) per class, the palette of indexed mask files.
    """

    name: str
    classes: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]

    def __post_init__(self) -> None:
        """Refuse a table whose parts do not fit each other."""
        if len(self.classes) != len(self.colours):
            raise ValueError(
                f"label set {self.name!r}: {len(self.classes)} classes but "
                f"{len(self.colours)} colours"
            )
        if len(set(self.classes)) != len(self.classes):
            raise ValueError(f"label set {self.name!r}: a class name occurs twice")

    def __len__(self) -> int:
        """Return the number of classes, background included."""
        return len(self.classes)

    def value(self, name: str) -> int:
        """Return the value of a class name; ValueError names the classes there are."""
        if name not in self.classes:
            raise ValueError(
                f"{name!r} is not a class of {self.name}; it has {', '.join(self.classes)}"
            )
        return self.classes.index(name)

    def values(self, *names: str) -> tuple[int, ...]:
        """Return the values of several class names."""
        return tuple(self.value(name) for name in names)


CELEBAMASK19: Final = LabelSet(
    "celebamask19",
    (
        "background", "skin", "nose", "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "l_ear",
        "r_ear", "mouth", "u_lip", "l_lip", "hair", "hat", "ear_r", "neck_l", "neck", "cloth",
    ),
    (
        (0, 0, 0), (204, 0, 0), (76, 153, 0), (204, 204, 0), (51, 51, 255), (204, 0, 204),
        (0, 255, 255), (51, 255, 255), (102, 51, 0), (255, 0, 0), (102, 204, 0), (255, 255, 0),
        (0, 0, 153), (0, 0, 204), (255, 51, 153), (0, 204, 204), (0, 51, 0), (255, 153, 51),
        (0, 204, 0),
    ),
)  # fmt: skip

HELEN11: Final = LabelSet(
    "helen11",
    (
        "background", "skin", "r_brow", "l_brow", "r_eye", "l_eye", "nose", "u_lip", "mouth",
        "l_lip", "hair",
    ),
    (
        (0, 0, 0), (204, 0, 0), (51, 255, 255), (0, 255, 255), (204, 0, 204), (51, 51, 255),
        (76, 153, 0), (255, 255, 0), (102, 204, 0), (0, 0, 153), (0, 0, 204),
    ),
)  # fmt: skip

BISENET19: Final = LabelSet(
    "bisenet19",
    (
        "background", "skin", "l_brow", "r_brow", "l_eye", "r_eye", "eye_g", "l_ear", "r_ear",
        "ear_r", "nose", "mouth", "u_lip", "l_lip", "neck", "neck_l", "cloth", "hair", "hat",
    ),
    tuple(
        CELEBAMASK19.colours[CELEBAMASK19.value(name)]
        for name in (
            "background", "skin", "l_brow", "r_brow", "l_eye", "r_eye", "eye_g", "l_ear", "r_ear",
            "ear_r", "nose", "mouth", "u_lip", "l_lip", "neck", "neck_l", "cloth", "hair", "hat",
        )
    ),
)  # fmt: skip

LABEL_SETS: Final = {s.name: s for s in (CELEBAMASK19, HELEN11, BISENET19)}

REGIONS: Final[dict[str, tuple[str, ...]]] = {
    "skin": ("skin",),
    "nose": ("nose",),
    "eyes": ("l_eye", "r_eye"),
    "left_eye": ("l_eye",),
    "right_eye": ("r_eye",),
    "brows": ("l_brow", "r_brow"),
    "left_brow": ("l_brow",),
    "right_brow": ("r_brow",),
    "ears": ("l_ear", "r_ear"),
    "mouth": ("mouth", "u_lip", "l_lip"),
    "lips": ("u_lip", "l_lip"),
    "hair": ("hair",),
    "glasses": ("eye_g",),
    "hat": ("hat",),
    "neck": ("neck",),
    "clothes": ("cloth",),
}
"""What a person calls a region → CelebAMask-HQ classes it covers; the words of the command line."""

# Classes of one set → class of the other. A class that is absent here has no counterpart there.
_TO_HELEN: Final = {
    "l_ear": "skin",  # the paper's parser has no ears; they sit on the skin
    "r_ear": "skin",
    "eye_g": "skin",
    "hat": "background",
    "ear_r": "background",
    "neck_l": "background",
    "neck": "background",
    "cloth": "background",
}


def remap_table(source: LabelSet, target: LabelSet) -> NDArray[np.uint8]:
    """Return a 256-entry table t with `t[source_map] = target_map`.

    Same-named classes map to each other; CelebAMask-HQ classes that Helen lacks go where
    `_TO_HELEN` says. Any other class, and every unused value, becomes `IGNORE`.
    """
    table = np.full(256, IGNORE, np.uint8)
    for value, name in enumerate(source.classes):
        if name not in target.classes and target is HELEN11:
            name = _TO_HELEN.get(name, name)
        if name in target.classes:
            table[value] = target.value(name)
    return table
