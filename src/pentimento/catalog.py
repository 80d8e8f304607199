"""The one table of systems: the only place where a string becomes a class.

Torch is imported only when a row is resolved, so that listing the table is instant.
"""

from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any, Final, Literal

Task = Literal["generate", "perceive"]


@dataclass(frozen=True)
class Row:
    """One system.

    Attributes:
        target: `module:Class` below `pentimento.systems`.
        task: what it is for.
        line: one line for people.
    """

    target: str
    task: Task
    line: str

    def module(self) -> ModuleType:
        """Import the system's file; it holds `Config`, `PRESETS` and `open_data`."""
        return import_module("pentimento.systems." + self.target.partition(":")[0])

    def system(self) -> Any:
        """Import the system's class."""
        return getattr(self.module(), self.target.partition(":")[2])


CATALOG: Final[dict[str, Row]] = {
    "cgan": Row(
        "generate.cgan:ConditionalGAN",
        "generate",
        "small pictures of the class that is asked for",
    ),
    "pix2pix": Row(
        "generate.pix2pix:Pix2Pix",
        "generate",
        "translate pictures, learnt from pairs (U-Net, ResNet)",
    ),
    "pix2pixhd": Row(
        "generate.pix2pixhd:Pix2PixHD",
        "generate",
        "large pictures from label maps, coarse to fine, in drawn styles",
    ),
    "spade": Row(
        "generate.spade:SPADE",
        "generate",
        "pictures from label maps that steer every layer, in drawn styles",
    ),
    "bicyclegan": Row(
        "generate.bicyclegan:BicycleGAN",
        "generate",
        "many pictures for one condition, each in its style",
    ),
    "cyclegan": Row(
        "generate.cyclegan:CycleGAN",
        "generate",
        "translate between two kinds of pictures without pairs",
    ),
    "style_transfer": Row(
        "generate.style_transfer:StyleTransfer",
        "generate",
        "the content of one picture in the manner of another",
    ),
    "super_resolution": Row(
        "generate.super_resolution:SuperResolution",
        "generate",
        "the large picture behind a small one (SRGAN, ESRGAN)",
    ),
    "maskgan": Row(
        "generate.maskgan:MaskGAN",
        "generate",
        "repaint a face from an edited mask, in the style of a picture",
    ),
    "swapping_autoencoder": Row(
        "generate.swapping_autoencoder:SwappingAutoencoder",
        "generate",
        "mix the structure of one picture with the texture of another",
    ),
    "tcp": Row(
        "generate.tcp:TCP",
        "generate",
        "repaint a region with the content or style of another picture",
    ),
    "retinaface": Row(
        "perceive.retinaface:RetinaFace",
        "perceive",
        "every face of a picture: box, five points, surface",
    ),
    "face_parsing": Row(
        "perceive.face_parsing:FaceParsing",
        "perceive",
        "19 parts of an aligned face (U-Net, BiSeNet)",
    ),
    "landmarks": Row(
        "perceive.landmarks:Landmarks",
        "perceive",
        "5, 68 or 98 points of a face, by heatmaps or by coordinates",
    ),
    "densepose": Row(
        "perceive.densepose:DensePose",
        "perceive",
        "people in pictures, and which point of the body each pixel shows",
    ),
    "face_charts": Row(
        "perceive.face_charts:FaceCharts",
        "perceive",
        "which point of the head each pixel of an aligned face shows",
    ),
    "position_map": Row(
        "perceive.position_map:PositionMap",
        "perceive",
        "where every point of an aligned face is in space, seen or hidden (PRNet)",
    ),
    "hourglass": Row(
        "perceive.hourglass:StackedHourglasses",
        "perceive",
        "points by stacked hourglasses, each supervised; FAN for faces",
    ),
    "features": Row(
        "perceive.features:Features",
        "perceive",
        "what perceptual losses compare with: a small network for pictures of any kind",
    ),
    "cornernet": Row(
        "perceive.cornernet:CornerNet",
        "perceive",
        "boxes of named objects, as pairs of corners",
    ),
    "centernet_triplets": Row(
        "perceive.centernet_triplets:CenterNetTriplets",
        "perceive",
        "boxes of named objects, as two corners and a centre",
    ),
    "centernet": Row(
        "perceive.centernet:CenterNet",
        "perceive",
        "boxes of named objects, their joints and ways, as points",
    ),
    "portrait": Row(
        "generate.portrait:Portrait",
        "generate",
        "repaint a face by its mask, or with parts of another face",
    ),
}


def row(name: str) -> Row:
    """Return the row of a system; ValueError lists the systems there are."""
    if name not in CATALOG:
        raise ValueError(f"no system is called {name!r}; there are {', '.join(sorted(CATALOG))}")
    return CATALOG[name]


def name_of(system: type) -> str:
    """Return the name under which a system's class is listed."""
    target = f"{system.__module__.removeprefix('pentimento.systems.')}:{system.__qualname__}"
    for name, entry in CATALOG.items():
        if entry.target == target:
            return name
    raise ValueError(f"{target} has no row in the catalogue; only listed systems can be saved")
