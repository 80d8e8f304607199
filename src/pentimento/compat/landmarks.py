"""Official landmark checkpoints: face-HRNet, princeton-vl's stacked hourglass, and FAN."""

import re
from collections.abc import Mapping
from typing import Final

from torch import Tensor

from pentimento.compat.official import KeyMap
from pentimento.errors import CheckpointError
from pentimento.systems.perceive import hourglass, landmarks
from pentimento.systems.perceive.hourglass import StackedHourglasses
from pentimento.systems.perceive.landmarks import Landmarks


def _hrnet(key: str) -> str:
    key = re.sub(r"^first\.", "transition1.0.", key)
    key = re.sub(r"^downs\.(\d)\.", lambda m: f"transition{int(m[1]) + 1}.{int(m[1]) + 1}.0.", key)
    key = re.sub(r"^stages\.(\d)\.", lambda m: f"stage{int(m[1]) + 2}.", key)
    return key.replace(".fuse.", ".fuse_layers.")


def _residual(key: str) -> str:
    key = re.sub(r"\.(conv[123])\.", r".\1.conv.", key)
    return key.replace(".skip.", ".skip_layer.conv.")


def _princeton(key: str) -> str:
    # A convolution with its norm is one module there, with names.
    key = re.sub(r"^pre\.0\.", "pre.0.conv.", key)
    key = re.sub(r"^pre\.1\.", "pre.0.bn.", key)
    key = re.sub(r"^pre\.([3456])\.", lambda m: f"pre.{int(m[1]) - 2}.", key)
    key = re.sub(r"^hourglasses\.(\d+)\.", r"hgs.\1.0.", key)
    key = re.sub(r"^features\.(\d+)\.1\.", r"features.\1.1.conv.", key)
    key = re.sub(r"^features\.(\d+)\.2\.", r"features.\1.1.bn.", key)
    key = re.sub(r"^outs\.(\d+)\.", r"outs.\1.conv.", key)
    key = re.sub(r"^merge_outs\.(\d+)\.", r"merge_preds.\1.conv.conv.", key)
    key = re.sub(r"^merge_features\.(\d+)\.", r"merge_features.\1.conv.conv.", key)
    return _residual(key)


_FAN_PRE: Final = {"0": "conv1", "1": "bn1", "3": "conv2", "5": "conv3", "6": "conv4"}


def _fan(key: str) -> str:
    key = re.sub(r"^pre\.(\d)\.", lambda m: f"{_FAN_PRE[m[1]]}.", key)

    def branch(match: re.Match[str]) -> str:
        stack, deeper, part = match[1], match[2].count("low2."), match[3]
        level = 4 - deeper
        if part == "low2":
            return f"m{stack}.b2_plus_{level}."
        return f"m{stack}.{ {'up1': 'b1', 'low1': 'b2', 'low3': 'b3'}[part] }_{level}."

    key = re.sub(
        r"^hourglasses\.(\d+)\.((?:low2\.)*?)(up1|low1|low2|low3)\.(?=bn|conv|down)", branch, key
    )
    key = re.sub(r"^features\.(\d+)\.0\.", r"top_m_\1.", key)
    key = re.sub(r"^features\.(\d+)\.1\.", r"conv_last\1.", key)
    key = re.sub(r"^features\.(\d+)\.2\.", r"bn_end\1.", key)
    key = re.sub(r"^outs\.(\d+)\.", r"l\1.", key)
    key = re.sub(r"^merge_features\.(\d+)\.", r"bl\1.", key)
    return re.sub(r"^merge_outs\.(\d+)\.", r"al\1.", key)


HRNET: Final = KeyMap("face-HRNet", _hrnet)
"""For `landmarks.HRNet`."""

PRINCETON: Final = KeyMap("the stacked hourglass of princeton-vl", _princeton)
"""For `hourglass.StackedHourglass` with `residual` blocks."""

FAN: Final = KeyMap("FAN", _fan)
"""For `hourglass.StackedHourglass` with `parallel` blocks."""

DEPTH: Final = KeyMap(
    "FAN's depth network",
    lambda key: re.sub(r"^layers\.(\d)\.", lambda m: f"layer{int(m[1]) + 1}.", key),
)
"""For `hourglass.DepthNet`."""


_TELLING: Final = (
    "stage4.0.fuse_layers.0.1.0.weight",
    "hgs.0.0.up1.bn1.weight",
    "m0.b1_4.bn1.weight",
)


def recognises(official: Mapping[str, Tensor]) -> bool:
    """Tell whether a state is one of the three, going by its keys."""
    return any(key.endswith(_TELLING) for key in official)


def from_official(official: Mapping[str, Tensor]) -> Landmarks | StackedHourglasses:
    """Return the system of an official state; which one it is shows in its keys.

    Raises:
        CheckpointError: it is none of the three, or not complete.
    """
    # princeton-vl's trainer wraps its network once more.
    state = {
        key.removeprefix("model.module.").removeprefix("model."): t for key, t in official.items()
    }
    if _TELLING[0] in state:
        points = state["head.3.weight"].shape[0] if "head.3.weight" in state else 0
        if points not in (68, 98):
            raise CheckpointError(
                f"a face-HRNet of {points} points; 68 (300-W) and 98 (WFLW) are known here"
            )
        found = Landmarks(landmarks.paper() if points == 68 else landmarks.wflw())
        keys = HRNET
        network = found.networks["landmarks"]
        network.load_state_dict(keys.from_official(state, network.state_dict()))
        return found
    if _TELLING[1] in state:
        stacks = _count(state, r"outs\.(\d+)\.")
        width, points = state["outs.0.conv.weight"].shape[1], state["outs.0.conv.weight"].shape[0]
        config2 = hourglass.Config(stacks=stacks, width=width, points=points)
        keys = PRINCETON
    elif _TELLING[2] in state:
        stacks = _count(state, r"l(\d+)\.")
        config2 = hourglass.Config(
            block="parallel", stacks=stacks, points=state["l0.weight"].shape[0]
        )
        keys = FAN
    else:
        raise CheckpointError(
            "not the state of a landmark network that is known here (face-HRNet, princeton-vl's "
            f"stacked hourglass, FAN); it has {sorted(official)[:3]}"
        )
    stacked = StackedHourglasses(config2)
    network = stacked.networks["hourglass"]
    network.load_state_dict(keys.from_official(state, network.state_dict()))
    return stacked


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    return 1 + max(int(m[1]) for key in state if (m := re.match(pattern, key)))
