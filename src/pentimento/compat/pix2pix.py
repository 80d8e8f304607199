"""Official pix2pix and CycleGAN checkpoints: bare state dicts called `latest_net_G.pth` and so on.

What the files do not say about themselves is read from their keys and shapes: the generator, its
width, levels or blocks, channels, normalisation, and whether a ResNet has dropout.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from pentimento.compat.official import KeyMap, State
from pentimento.errors import CheckpointError

_PREFIXES: Final = re.compile(r"^(?:module\.|_orig_mod\.)+")
_BUFFERS: Final = ("running_mean", "running_var", "num_batches_tracked")


def unet(downs: int) -> KeyMap:
    """Return the key map of `nn.unet.UNet`: each level sits inside the one above."""

    def official(key: str) -> str:
        found = re.fullmatch(r"(down|up)\.(\d+)\.(conv|norm)\.(.*)", key)
        assert found is not None
        way, n, part, rest = found[1], int(found[2]), found[3], found[4]
        outer, inner = n == 0, n == downs - 1
        if outer:
            return f"model.model.{0 if way == 'down' else 3}.{rest}"
        convs = {"down": 1, "up": 3 if inner else 5}
        place = convs[way] + (part == "norm")
        return "model.model.1." + "model.3." * (n - 1) + f"model.{place}.{rest}"

    return KeyMap("pix2pix's U-Net", official)


def resnet(blocks: int, downs: int = 2, *, dropout: bool = False) -> KeyMap:
    """Return the key map of `nn.resnet_generator.ResNetGenerator`.

    Dropout is a layer of its own between a block's convolutions and moves the second one by 1.
    """

    def official(key: str) -> str:
        part, _, rest = key.partition(".")
        first_block = 4 + 3 * downs
        if part == "first":
            layer, tail = rest.split(".")
            return f"model.{1 + (layer == 'norm')}.{tail}"
        if part == "last":
            return f"model.{first_block + blocks + 3 * downs + 1}.{rest}"
        n, layer, tail = rest.split(".")
        if part == "blocks":
            place = {"conv1": 1, "norm1": 2, "conv2": 5, "norm2": 6}[layer]
            place += dropout and layer.endswith("2")
            return f"model.{first_block + int(n)}.conv_block.{place}.{tail}"
        start = 4 if part == "down" else first_block + blocks
        return f"model.{start + 3 * int(n) + (layer == 'norm')}.{tail}"

    return KeyMap("a ResNet generator", official)


def _patch(key: str) -> str:
    n, layer, tail = key.removeprefix("layers.").split(".")
    start = 0 if n == "0" else 3 * int(n) - 1
    return f"model.{start + int(layer)}.{tail}"


PATCH_CRITIC: Final = KeyMap("a patch critic", _patch)


def _pixel(key: str) -> str:
    n, layer, tail = key.removeprefix("layers.").split(".")
    return f"net.{(0, 2, 5)[int(n)] + int(layer)}.{tail}"


PIXEL_CRITIC: Final = KeyMap("a pixel critic", _pixel)


# --- files of any age -----------------------------------------------------------------------------


def plain(official: Mapping[str, Tensor]) -> tuple[State, dict[str, str]]:
    """Bring a state dict of any age to today's keys.

    Returns:
        The state without the prefixes of wrappers, and what was dropped or added: key → why.
    """
    state = {_PREFIXES.sub("", key): tensor for key, tensor in official.items()}
    if len(state) != len(official):
        raise CheckpointError("two keys differ only in `module.` or `_orig_mod.`; not one network")
    notes = {}
    for key in list(state):
        layer, _, name = key.rpartition(".")
        if name in _BUFFERS and f"{layer}.weight" not in state:
            del state[key]
            notes[key] = "dropped: running statistics that old InstanceNorm kept and never used"
    for key in [key for key in state if key.endswith(".running_mean")]:
        counter = key.replace("running_mean", "num_batches_tracked")
        if counter not in state:
            state[counter] = torch.tensor(0)
            notes[counter] = "added: a counter that files before PyTorch 0.4.1 lack; nothing uses it"
    return state, notes


@dataclass(frozen=True)
class Found:
    """What a checkpoint's keys say.

    Attributes:
        config: fields of the system's Config.
        keys: the key map for it.
    """

    config: dict[str, Any]
    keys: KeyMap


def infer_generator(state: Mapping[str, Tensor]) -> Found:
    """Recognise a generator by its keys; `state` has been made `plain`.

    Raises:
        CheckpointError: it is neither a U-Net nor a ResNet of these repositories.
    """
    shape = {key: tuple(tensor.shape) for key, tensor in state.items()}
    norm = "batch" if any(key.endswith("running_mean") for key in state) else "instance"
    if "model.model.0.weight" in state and "model.model.3.weight" in state:
        width, c_in = shape["model.model.0.weight"][:2]
        # The innermost doubling is called model.3 once per level, but for the outermost.
        downs = max(key.count("model.3.") + ("model.model.1." in key) for key in state)
        fields = {
            "generator": "unet",
            "depth": downs,
            "in_channels": c_in,
            "out_channels": shape["model.model.3.weight"][1],
        }
        return Found(fields | {"width": width, "norm": norm}, unet(downs))
    blocks = {key.split(".")[1] for key in state if ".conv_block." in key}
    last = max((key for key in state if key.endswith(".weight")), key=_place, default="")
    if "model.1.weight" not in state or not blocks or len(shape["model.1.weight"]) != 4:
        raise CheckpointError(
            "neither a U-Net nor a ResNet generator of pix2pix or CycleGAN; its first keys are "
            f"{', '.join(list(state)[:3])}"
        )
    if any(key.endswith("conv_block.5.weight_orig") for key in state):
        raise CheckpointError("spectral normalisation is not part of these generators")
    first = min(int(block) for block in blocks)
    if first != 10:
        raise CheckpointError(
            f"its residual blocks begin at model.{first}, those of pix2pix and CycleGAN at "
            "model.10; pix2pixHD and CUT number their layers differently and are not read here"
        )
    width, c_in = shape["model.1.weight"][:2]
    dropout = len(shape.get(f"model.{first}.conv_block.6.weight", ())) == 4
    fields = {
        "generator": "resnet",
        "depth": len(blocks),
        "in_channels": c_in,
        "out_channels": shape[last][0],
        "width": width,
        "norm": norm,
        "dropout": "always" if dropout else "off",
    }
    return Found(fields, resnet(len(blocks), dropout=dropout))


def infer_critic(state: Mapping[str, Tensor]) -> Found:
    """Recognise a patch or a pixel critic; `state` has been made `plain`.

    Raises:
        CheckpointError: it is neither.
    """
    for kind, first, keys in (
        ("patch", "model.0.weight", PATCH_CRITIC),
        ("pixel", "net.0.weight", PIXEL_CRITIC),
    ):
        if first in state:
            convs = sum(tensor.ndim == 4 for tensor in state.values())
            fields: dict[str, Any] = {"critic": kind, "critic_width": state[first].shape[0]}
            if kind == "patch":
                fields["critic_layers"] = convs - 2
            return Found(fields, keys)
    raise CheckpointError(f"no patch or pixel critic; its first keys are {list(state)[:3]}")


def _place(key: str) -> int:
    found = re.match(r"model\.(\d+)\.", key)
    return int(found[1]) if found else -1
