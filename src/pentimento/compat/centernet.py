"""Official CenterNet (points) checkpoints."""

import re
from collections.abc import Mapping
from typing import Final

from torch import Tensor

from pentimento.compat.official import KeyMap
from pentimento.errors import CheckpointError
from pentimento.systems.perceive.centernet import CenterNet, Config


def _official(key: str) -> str:
    key = key.removeprefix("trunk.")
    return re.sub(r"^(layer\d\.\d)\.skip\.", r"\1.downsample.", key)


CENTERNET: Final = KeyMap("CenterNet", _official)
"""For every detector of `systems/perceive/centernet.py`."""


_TELLING: Final = ("base.base_layer.0.weight", "deconv_layers.0.weight", "kps.0.up1.0.conv1.weight")


def recognises(official: Mapping[str, Tensor]) -> bool:
    """Tell whether a state is a CenterNet of points, going by its keys."""
    heads = {"hm.2.weight", "hm.0.1.weight"} & official.keys()
    return bool(heads) and any(key in official for key in _TELLING)


def from_official(official: Mapping[str, Tensor]) -> CenterNet:
    """Return the system of an official state; trunk, heads and classes show in its keys.

    ImageNet's classifier `base.fc`, which released DLA files carry along, is left out. Classes are
    called by their number: the files do not name them.

    Raises:
        CheckpointError: not a CenterNet, or not complete.
    """
    state = {key: value for key, value in official.items() if not key.startswith("base.fc.")}
    stacked = "kps.0.up1.0.conv1.weight" in state
    heat = "hm.0.1.weight" if stacked else "hm.2.weight"
    if not recognises(state):
        raise CheckpointError(f"not the state of a CenterNet; it has {sorted(state)[:3]}")
    joints = state["hps.2.weight"].shape[0] // 2 if "hps.2.weight" in state else 0
    classes = tuple(f"class {number}" for number in range(state[heat].shape[0]))
    if stacked:
        config = Config(backbone="hourglass104", classes=classes, size=512)
    elif "base.base_layer.0.weight" in state:
        inner = state["hm.0.weight"].shape[0]
        config = Config(
            backbone="dla34", head_width=inner, classes=classes, joints=joints, size=512
        )
    else:
        deformable = "deconv_layers.0.conv_offset_mask.weight" in state
        config = Config(
            backbone="resnet18_dcn" if deformable else "resnet18", classes=classes, joints=joints,
            head_width=state["hm.0.weight"].shape[0], width=state["conv1.weight"].shape[0],
            size=512,
        )  # fmt: skip
    system = CenterNet(config)
    network = system.networks["detector"]
    network.load_state_dict(CENTERNET.from_official(state, network.state_dict()))
    return system
