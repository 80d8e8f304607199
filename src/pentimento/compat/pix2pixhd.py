"""Official pix2pixHD checkpoints (`latest_net_G.pth`, `_E.pth`, `_D.pth`)."""

import re

from pentimento.compat.official import KeyMap
from pentimento.compat.pix2pix import resnet


def generator(downs: int = 4, blocks: int = 9, *, local: bool = False) -> KeyMap:
    """Return the key map of the networks of one generator, as `<network>.<key>`.

    Args:
        downs: halvings of the global generator.
        blocks: its residual blocks.
        local: the networks are `trunk` and `enhancer`; else `trunk` and `head`.
    """
    trunk = resnet(blocks, downs)
    last = trunk.official("last.weight").removesuffix(".weight")

    def official(key: str) -> str:
        network, _, rest = key.partition(".")
        if network == "trunk":
            return trunk.official(rest)
        if network == "head":
            return rest.replace("0.", f"{last}.", 1)
        return _enhancer(rest)

    def _enhancer(key: str) -> str:
        part, _, rest = key.partition(".")
        if part == "blocks":
            n, conv, tail = rest.split(".")
            return f"model1_2.{n}.conv_block.{1 if conv == 'conv1' else 5}.{tail}"
        # Behind the 3 blocks: the doubling with its norm and activation, and a padding.
        tail = key.rpartition(".")[2]
        place = {"first": "model1_1.1", "down": "model1_1.4", "up": "model1_2.3"}
        return f"{place.get(part, 'model1_2.7')}.{tail}"

    return KeyMap("pix2pixHD's local enhancer" if local else "pix2pixHD's generator", official)


def encoder(downs: int = 4) -> KeyMap:
    """Return the key map of the instance encoder."""
    return KeyMap("pix2pixHD's encoder", resnet(0, downs).official)


def critic(scales: int, *, features: bool = True) -> KeyMap:
    """Return the key map of `MultiscaleCritic`.

    Args:
        scales: how many; officially the last one sees the full resolution.
        features: saved with `--no_ganFeat_loss` unset: every layer has a name of its own.
    """

    def official(key: str) -> str:
        found = re.fullmatch(r"scales\.(\d+)\.layers\.(\d+)\.(\d+)\.(.*)", key)
        assert found is not None
        scale, layer = scales - 1 - int(found[1]), int(found[2])
        if features:
            return f"scale{scale}_layer{layer}.{found[3]}.{found[4]}"
        place = (0 if layer == 0 else 3 * layer - 1) + int(found[3])
        return f"layer{scale}.{place}.{found[4]}"

    return KeyMap("pix2pixHD's critic", official)
