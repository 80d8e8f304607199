"""Official RetinaFace checkpoints (biubug6): MobileNet of quarter width, ResNet-50."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from torch import Tensor

from pentimento.compat.official import KeyMap
from pentimento.errors import CheckpointError
from pentimento.systems.perceive.retinaface import RetinaFace, paper, resnet50

_CONTEXT: Final = {
    "near": "conv3X3", "middle1": "conv5X5_1", "middle2": "conv5X5_2", "far2": "conv7X7_2",
    "far3": "conv7x7_3",
}  # fmt: skip
_HEADS: Final = {"scores": "ClassHead", "boxes": "BboxHead", "points": "LandmarkHead"}


def _official(key: str) -> str:
    key = re.sub(r"^pyramid\.(output|merge)s\.(\d)\.", lambda m: f"fpn.{m[1]}{int(m[2]) + 1}.", key)
    key = re.sub(r"^context\.(\d)\.(\w+)\.", lambda m: f"ssh{int(m[1]) + 1}.{_CONTEXT[m[2]]}.", key)
    return re.sub(r"^heads\.(\w+)\.(\d)\.", lambda m: f"{_HEADS[m[1]]}.{m[2]}.conv1x1.", key)


RETINAFACE: Final = KeyMap("RetinaFace", _official)
"""For `retinaface.Detector` without a dense branch."""


def recognises(official: Mapping[str, Tensor]) -> bool:
    """Tell whether a state is a RetinaFace, going by its keys."""
    return "fpn.output1.0.weight" in official and "ssh1.conv3X3.0.weight" in official


def from_official(official: Mapping[str, Tensor]) -> RetinaFace:
    """Return the system of an official state; which backbone it has shows in its keys.

    Raises:
        CheckpointError: it is neither, or not complete.
    """
    if "fpn.output1.0.weight" not in official:
        raise CheckpointError(
            "not the state of a RetinaFace that is known here (biubug6's mobilenet0.25 or "
            f"ResNet-50); it has {sorted(official)[:3]}"
        )
    config = paper() if "body.stage1.0.0.weight" in official else resnet50()
    width = int(official["fpn.output1.0.weight"].shape[0])
    system = RetinaFace(replace(config, width=width))
    detector = system.networks["detector"]
    detector.load_state_dict(RETINAFACE.from_official(official, detector.state_dict()))
    return system
