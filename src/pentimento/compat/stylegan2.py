"""Official StyleGAN2 checkpoints in the layout of rosinality's PyTorch port (`g_ema`, `d`)."""

import re
from typing import Final

from pentimento.compat.official import KeyMap


def _generator(key: str) -> str:
    part, _, rest = key.partition(".")
    if part == "mapping":
        return f"style.{rest}"
    if rest == "input":
        return "input.input"
    if rest.startswith("noise_"):
        return f"noises.{rest}"
    # The official code keeps the layers of the lowest resolution apart.
    rest = re.sub(r"^convs\.0\.", "conv1.", rest)
    rest = re.sub(r"^to_rgbs\.0\.", "to_rgb1.", rest)
    return re.sub(r"^(convs|to_rgbs)\.(\d+)", lambda m: f"{m[1]}.{int(m[2]) - 1}", rest)


def _critic(key: str) -> str:
    # Positions in nn.Sequential: a strided layer starts with its filter.
    strided = re.search(r"convs\.[1-9]\d*\.(conv2|skip)\.", key) is not None
    key = key.replace(".prefilter.", ".0.")
    key = key.replace(".filter.", f".{int(strided)}.")
    return key.replace(".act.", f".{int(strided) + 1}.")


GENERATOR: Final = KeyMap("a StyleGAN2 generator", _generator)
"""For a module with `mapping` (`nn.stylegan.Mapping`) and `synthesis` (`Synthesis`)."""

CRITIC: Final = KeyMap("a StyleGAN2 critic", _critic)
"""For `nn.stylegan.Critic`."""
