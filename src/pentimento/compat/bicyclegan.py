"""Official BicycleGAN checkpoints (`latest_net_G.pth`, `_E.pth`, `_D.pth`, `_D2.pth`)."""

import re
from typing import Final

from pentimento.compat.official import KeyMap


def _generator(key: str) -> str:
    found = re.fullmatch(r"(down|up)\.(\d+)\.conv\.(.*)", key)
    assert found is not None
    way, n, rest = found[1], int(found[2]), found[3]
    # An activation comes first, but for the outermost level on the way down.
    place = 0 if (way, n) == ("down", 0) else 1
    return "model." + "submodule." * n + f"{way}.{place}.{rest}"


GENERATOR: Final = KeyMap("BicycleGAN's generator", _generator)


def _encoder(key: str) -> str:
    part, _, rest = key.partition(".")
    if part == "blocks":
        n, layer, tail = rest.split(".")
        place = {"conv1": "conv.2", "conv2": "conv.5.0", "shortcut": "shortcut.1"}[layer]
        return f"conv.{int(n) + 1}.{place}.{tail}"
    return {"first": "conv.0", "mean": "fc.0", "log_variance": "fcVar.0"}[part] + f".{rest}"


ENCODER: Final = KeyMap("BicycleGAN's encoder", _encoder)


def _critic(key: str) -> str:
    found = re.fullmatch(r"scales\.(\d)\.layers\.(\d+)\.(\d)\.(.*)", key)
    assert found is not None
    start = 0 if found[2] == "0" else 3 * int(found[2]) - 1
    return f"model_{found[1]}.{start + int(found[3])}.{found[4]}"


CRITIC: Final = KeyMap("BicycleGAN's critic", _critic)
