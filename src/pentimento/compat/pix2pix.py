"""Official pix2pix and CycleGAN checkpoints: bare state dicts called `latest_net_G.pth` and so on.

What the files do not say about themselves is read from their keys and shapes: the generator, its
width, levels or blocks, channels, normalisation, and whether a ResNet has dropout. A generator
alone, of pix2pix or of one direction of CycleGAN, becomes a pix2pix model without a critic.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from torch import Tensor, nn

from pentimento.compat.official import KeyMap, State, fill, read_all, write_pth
from pentimento.errors import CheckpointError
from pentimento.systems.generate import cyclegan, pix2pix
from pentimento.systems.generate.cyclegan import CycleGAN
from pentimento.systems.generate.pix2pix import Pix2Pix


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


# --- recognising ----------------------------------------------------------------------------------


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
            "none that `pentimento convert --help` names, and neither a U-Net nor a ResNet "
            f"generator of pix2pix or CycleGAN; its first keys are {', '.join(list(state)[:3])}"
        )
    if any(key.endswith("conv_block.5.weight_orig") for key in state):
        raise CheckpointError("spectral normalisation is not part of these generators")
    first = min(int(block) for block in blocks)
    if first != 10:
        raise CheckpointError(
            f"its residual blocks begin at model.{first}, those of pix2pix and CycleGAN at "
            "model.10; CUT, for one, numbers its layers differently and is not read here"
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


# --- whole models ---------------------------------------------------------------------------------

CYCLE: Final = {"a_to_b": "G_A", "b_to_a": "G_B", "critic_b": "D_A", "critic_a": "D_B"}
PLAIN: Final = {"generator": "G", "critic": "D"}
"""Network → the end of its official file's name."""


def from_files(files: Mapping[str, Path]) -> tuple[Pix2Pix | CycleGAN, dict[str, str]]:
    """Build the system of official files: ending (`G`, `D`, or all of `G_A` …) → file.

    Returns:
        The system with its weights, and what was dropped or assumed: key or field → why.

    Raises:
        CheckpointError: a file is not of these networks, or holds more than tensors.
    """
    if files.keys() >= set(CYCLE.values()):
        return _cyclegan({name: files[end] for name, end in CYCLE.items()})
    return _pix2pix({name: files[end] for name, end in PLAIN.items() if end in files})


def _pix2pix(files: Mapping[str, Path]) -> tuple[Pix2Pix, dict[str, str]]:
    states, notes = read_all(files)
    generator = infer_generator(states["generator"])
    fields, keys = dict(generator.config), {"generator": generator.keys}
    fields["size"] = max(64, 2 ** fields["depth"]) if fields["generator"] == "unet" else 256
    fields["load_size"] = round(fields["size"] * 286 / 256)
    if fields["generator"] == "unet":
        notes["dropout"] = "assumed `always`: a U-Net's keys do not tell, and it is the default"
    fields["critic"] = "none"
    if "critic" in states:
        critic = infer_critic(states["critic"])
        keys["critic"] = critic.keys
        fields |= critic.config
        seen = next(iter(states["critic"].values())).shape[1]
        fields["conditional"] = seen == fields["in_channels"] + fields["out_channels"]
    system = Pix2Pix(pix2pix.Config(**fields))
    _fill(system.networks, states, keys, files)
    return system, notes


def _cyclegan(files: Mapping[str, Path]) -> tuple[CycleGAN, dict[str, str]]:
    states, notes = read_all(files)
    found = infer_generator(states["a_to_b"])
    critic = infer_critic(states["critic_b"])
    if found.config["generator"] != "resnet" or critic.config["critic"] != "patch":
        raise CheckpointError(
            "CycleGAN is built of ResNet generators and patch critics here; convert its "
            "generators one by one"
        )
    c = found.config
    fields: dict[str, Any] = {
        "a_channels": c["in_channels"],
        "b_channels": c["out_channels"],
        "blocks": c["depth"],
        "identity_weight": 0.5 if c["in_channels"] == c["out_channels"] else 0.0,
        **{name: c[name] for name in ("width", "norm", "dropout")},
        **{name: critic.config[name] for name in ("critic_width", "critic_layers")},
    }
    system = CycleGAN(cyclegan.Config(**fields))
    keys = {name: found.keys if "_to_" in name else critic.keys for name in files}
    _fill(system.networks, states, keys, files)
    return system, notes


def _fill(
    networks: nn.ModuleDict,
    states: Mapping[str, State],
    keys: Mapping[str, KeyMap],
    files: Mapping[str, Path],
) -> None:
    for name, network in networks.items():
        fill(network, keys[name], states[name], files[name])


def to_files(system: Pix2Pix | CycleGAN, folder: Path, epoch: str) -> list[Path]:
    """Write a system's networks as the official code saves them; return the files.

    Raises:
        CheckpointError: the official code has no such network.
    """
    if system.config.resize:
        raise CheckpointError(
            "this model doubles by repetition and convolution; the official code has no such "
            "networks"
        )
    if isinstance(system, CycleGAN) and system.config.keep != "nothing":
        raise CheckpointError(
            f"this model keeps the {system.config.keep} of its source; the official code would not"
        )
    ends = CYCLE if isinstance(system, CycleGAN) else PLAIN
    return [
        write_pth(network, _keys(system, name), folder, epoch, ends[name])
        for name, network in system.networks.items()
    ]


def _keys(system: Pix2Pix | CycleGAN, network: str) -> KeyMap:
    c = system.config
    if network.startswith("critic"):
        return PIXEL_CRITIC if getattr(c, "critic", "patch") == "pixel" else PATCH_CRITIC
    if isinstance(c, cyclegan.Config):
        return resnet(c.blocks, dropout=c.dropout != "off")
    if c.generator == "unet":
        return unet(c.depth)
    return resnet(c.depth, dropout=c.dropout != "off")
