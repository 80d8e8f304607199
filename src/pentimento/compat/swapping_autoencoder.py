"""Official swapping-autoencoder checkpoints (`{N}k_checkpoint.pth`): four networks, flat keys."""

import re
from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from pentimento.compat.official import KeyMap, State
from pentimento.nn.stylegan import BILINEAR, Blur

_LAYER: Final = {"prefilter": "Blur", "filter": "Conv", "act": "Act"}


def _layers(key: str) -> str:
    """Rename the parts of `nn.stylegan.ConvLayer`."""
    return ".".join(_LAYER.get(part, part) for part in key.split("."))


def _numbered(key: str, part: str, official: str) -> str:
    """Rename `part.n` to the official name with 2 to the power of n, counted from `official`."""
    name, first = official.split("#")
    return re.sub(rf"^{part}\.(\d+)", lambda m: f"{name}{2 ** (int(first) + int(m[1]))}", key)


def encoder(structure_downs: int = 4) -> KeyMap:
    """Return the key map of `Encoder`."""

    def official(key: str) -> str:
        key = _numbered(key, "trunk", "DownToSpatialCode.ResBlockDownBy#0")
        key = _numbered(key, "texture_trunk", f"DownToGlobalCode.ConvLayerDownBy#{structure_downs}")
        key = re.sub("^from_rgb", "FromRGB", key)
        key = re.sub("^to_structure", "ToSpatialCode", key)
        return _layers(re.sub("^to_texture", "ToGlobalCode.0", key))

    return KeyMap("the swapping autoencoder's encoder", official)


def _generator(key: str) -> str:
    key = re.sub(r"^head\.(\d+)", r"HeadResnetBlock\1", key)
    key = _numbered(key, "up", "UpsamplingResBlock#4")
    key = re.sub("^modulate", "SpatialCodeModulation", key)
    return _layers(re.sub("^to_rgb", "ToRGB", key))


def _unused_filter(ours: Mapping[str, Tensor]) -> State:
    return {"ToRGB.upsample.kernel": Blur(BILINEAR, (2, 1), up=2).kernel}


GENERATOR: Final = KeyMap("the swapping autoencoder's generator", _generator, _unused_filter)

CRITIC: Final = KeyMap("the swapping autoencoder's critic", lambda k: "stylegan2_D." + _layers(k))


def _patch_critic(key: str) -> str:
    # The official code counts on from its first convolution, but calls the first block by its size.
    if key.startswith("convs.1."):
        return _layers(key.replace("convs.1.", "convs.128x128."))
    key = re.sub(r"^convs\.([2-9])", lambda m: f"convs.{int(m[1]) - 1}", key)
    return _layers(re.sub("^pair", "pairlinear", key))


PATCH_CRITIC: Final = KeyMap("the swapping autoencoder's patch critic", _patch_critic)


def whole(structure_downs: int = 4) -> KeyMap:
    """Return the key map of `SwappingAutoencoder.networks`: a whole checkpoint file."""
    parts = {
        "encoder": ("E.", encoder(structure_downs)),
        "generator": ("G.", GENERATOR),
        "critic": ("D.", CRITIC),
        "patch_critic": ("Dpatch.", PATCH_CRITIC),
    }

    def official(key: str) -> str:
        network, _, rest = key.partition(".")
        prefix, keys = parts[network]
        return prefix + keys.official(rest)

    def unused(ours: Mapping[str, Tensor]) -> State:
        counter = torch.zeros(1, dtype=torch.long)
        filters = {f"G.{key}": kernel for key, kernel in _unused_filter(ours).items()}
        return {"num_discriminator_iters": counter} | filters

    return KeyMap("the swapping autoencoder", official, unused)
