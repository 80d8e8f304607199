"""The data that travels between the parts: frozen, and validated when constructed.

Alphabet: H, W picture height and width in pixels; C colour channels; N points or boxes. Arrays are
numpy, so that seeing, measuring and saving a picture never needs torch. Pixel frames: x to the
right, y down, the centre of the top-left pixel at (0.5, 0.5).
"""

from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from pentimento.labels import CELEBAMASK19, IGNORE, LabelSet, remap_table

ColourMode = Literal["grey", "rgb", "cmyk"]
_CHANNELS: dict[str, int] = {"grey": 1, "rgb": 3, "cmyk": 4}


@dataclass(frozen=True)
class Picture:
    """A decoded picture, upright, with all that must survive an edit.

    Attributes:
        pixels: (H, W, C) uint8 or uint16 in the file's own colour mode; orientation already
            applied; never premultiplied.
        mode: `grey` (C=1), `rgb` (C=3) or `cmyk` (C=4; 0 = no ink).
        alpha: (H, W) of the dtype of `pixels`, or None.
        icc: the ICC profile's bytes, or None.
        dpi: (x, y) dots per inch, or None.
        exif: EXIF bytes without orientation and without any position, or None.
        format: Pillow's format name of the file (`JPEG`, `PNG`, `WEBP`, `TIFF`), or None.
        name: what errors call this picture, usually the file's name.
    """

    pixels: NDArray[Any]
    mode: ColourMode = "rgb"
    alpha: NDArray[Any] | None = None
    icc: bytes | None = None
    dpi: tuple[float, float] | None = None
    exif: bytes | None = None
    format: str | None = None
    name: str = "picture"

    def __post_init__(self) -> None:
        """Check shapes and types once, here, so that nothing later has to."""
        if self.pixels.dtype not in (np.uint8, np.uint16):
            raise ValueError(
                f"{self.name}: pixels must be uint8 or uint16, got {self.pixels.dtype}"
            )
        if self.mode not in _CHANNELS:
            raise ValueError(f"{self.name}: mode must be grey, rgb or cmyk, got {self.mode!r}")
        if self.pixels.ndim != 3 or self.pixels.shape[2] != _CHANNELS[self.mode]:
            raise ValueError(
                f"{self.name}: a {self.mode} picture is (H, W, {_CHANNELS[self.mode]}), "
                f"got {self.pixels.shape}"
            )
        if 0 in self.pixels.shape:
            raise ValueError(f"{self.name}: an empty picture, shape {self.pixels.shape}")
        if self.alpha is not None and (
            self.alpha.shape != self.pixels.shape[:2] or self.alpha.dtype != self.pixels.dtype
        ):
            raise ValueError(
                f"{self.name}: alpha must be {self.pixels.shape[:2]} {self.pixels.dtype}, "
                f"got {self.alpha.shape} {self.alpha.dtype}"
            )

    @property
    def height(self) -> int:
        """Height in pixels."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Width in pixels."""
        return int(self.pixels.shape[1])


@dataclass(frozen=True)
class LabelMap:
    """A class for every pixel.

    Attributes:
        values: (H, W) uint8; each a class of `labels`, or `IGNORE` (255).
        labels: the label set that gives the values their names.
    """

    values: NDArray[np.uint8]
    labels: LabelSet = CELEBAMASK19

    def __post_init__(self) -> None:
        """Refuse wrong shapes and values that name no class."""
        if self.values.dtype != np.uint8 or self.values.ndim != 2 or 0 in self.values.shape:
            raise ValueError(
                f"a label map is a non-empty (H, W) uint8 array, got {self.values.shape} "
                f"{self.values.dtype}"
            )
        beyond = (self.values >= len(self.labels)) & (self.values != IGNORE)
        if beyond.any():
            unknown = np.unique(self.values[beyond]).tolist()
            raise ValueError(
                f"values {unknown} are no classes of {self.labels.name} "
                f"(0..{len(self.labels) - 1}, {IGNORE} = unknown)"
            )

    def mask(self, *classes: str) -> NDArray[np.bool_]:
        """Return (H, W) bool: True where the pixel has one of the named classes."""
        return np.isin(self.values, self.labels.values(*classes))

    def remap(self, target: LabelSet) -> "LabelMap":
        """Return the same map in another label set; classes unknown there become `IGNORE`."""
        if target == self.labels:
            return self
        return LabelMap(remap_table(self.labels, target)[self.values], target)


@dataclass(frozen=True)
class Boxes:
    """Axis-aligned boxes in pixels with scores.

    Attributes:
        xyxy: (N, 4) float32, left, top, right, bottom; right and bottom are exclusive edges.
        scores: (N,) float32 in [0, 1].
    """

    xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]

    def __post_init__(self) -> None:
        """Refuse boxes that are inside out or scores that do not match."""
        if self.xyxy.ndim != 2 or self.xyxy.shape[1] != 4:
            raise ValueError(f"boxes are (N, 4), got {self.xyxy.shape}")
        if self.scores.shape != self.xyxy.shape[:1]:
            raise ValueError(f"{len(self.xyxy)} boxes but scores of shape {self.scores.shape}")
        if (self.xyxy[:, 2:] < self.xyxy[:, :2]).any():
            raise ValueError("a box must have left <= right and top <= bottom")

    def __len__(self) -> int:
        """Return the number of boxes."""
        return len(self.xyxy)


@dataclass(frozen=True)
class Instances:
    """Boxes with the class of each.

    Attributes:
        boxes: N boxes with scores.
        classes: (N,) int64, places in `names`.
        names: of the classes.
    """

    boxes: Boxes
    classes: NDArray[np.int64]
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse classes that do not fit the boxes or name nothing."""
        if self.classes.shape != self.boxes.scores.shape:
            raise ValueError(f"{len(self.boxes)} boxes but classes of shape {self.classes.shape}")
        if len(self.classes) and not 0 <= self.classes.min() <= self.classes.max() < len(
            self.names
        ):
            raise ValueError(f"classes must be within 0..{len(self.names) - 1}")

    def __len__(self) -> int:
        """Return the number of instances."""
        return len(self.boxes)


@dataclass(frozen=True)
class Keypoints:
    """Named point sets in pixels.

    Attributes:
        xy: (N, 2) float32.
        visible: (N,) bool; False where a point is hidden by something in front of it.
    """

    xy: NDArray[np.float32]
    visible: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))

    def __post_init__(self) -> None:
        """Default `visible` to all True; check shapes."""
        if self.xy.ndim != 2 or self.xy.shape[1] != 2:
            raise ValueError(f"keypoints are (N, 2), got {self.xy.shape}")
        if self.visible.size == 0 and len(self.xy):
            object.__setattr__(self, "visible", np.ones(len(self.xy), bool))
        if self.visible.shape != self.xy.shape[:1]:
            raise ValueError(f"{len(self.xy)} points but visibility {self.visible.shape}")

    def scaled(self, factor: float) -> Self:
        """Return the points of the same picture resized by `factor`."""
        return type(self)(self.xy * np.float32(factor), self.visible)


@dataclass(frozen=True)
class UVMap:
    """Dense correspondence: where on the head's surface each pixel lies.

    Attributes:
        uv: (H, W, 2) float32 in [0, 1]; undefined where `covered` is False.
        covered: (H, W) bool.
    """

    uv: NDArray[np.float32]
    covered: NDArray[np.bool_]

    def __post_init__(self) -> None:
        """Check that both maps have one size."""
        if self.uv.ndim != 3 or self.uv.shape[2] != 2 or self.uv.shape[:2] != self.covered.shape:
            raise ValueError(f"uv {self.uv.shape} and covered {self.covered.shape} do not fit")
